/* Which RSA keys are taken, and what they sign. */
#include "base/rsa.h"

#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define TEXT "header.payload"

static const uint8_t e65537[] = {1, 0, 1};
static struct rsa_key *key;

static int setup(void **state)
{
    struct err e = {0};

    (void)state;
    key = rsa_make(&e);
    return key ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    rsa_free(key);
    return 0;
}

/* The PEM of pkey, which is taken; freed by the caller. */
static char *pem_of(EVP_PKEY *pkey, const EVP_CIPHER *cipher)
{
    BIO *bio = BIO_new(BIO_s_mem());
    char *at, *out;
    long len;

    assert_non_null(pkey);
    assert_int_equal(PEM_write_bio_PKCS8PrivateKey(bio, pkey, cipher, "pass",
                                                   cipher ? 4 : 0, NULL, NULL),
                     1);
    len = BIO_get_mem_data(bio, &at);
    out = calloc(1, (size_t)len + 1);
    assert_non_null(out);
    memcpy(out, at, (size_t)len);
    BIO_free(bio);
    EVP_PKEY_free(pkey);
    return out;
}

static EVP_PKEY *make(unsigned bits, unsigned long exponent)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, "RSA", NULL);
    BIGNUM *e = BN_new();
    EVP_PKEY *out = NULL;

    BN_set_word(e, exponent);
    EVP_PKEY_keygen_init(ctx);
    EVP_PKEY_CTX_set_rsa_keygen_bits(ctx, (int)bits);
    EVP_PKEY_CTX_set1_rsa_keygen_pubexp(ctx, e);
    EVP_PKEY_generate(ctx, &out);
    BN_free(e);
    EVP_PKEY_CTX_free(ctx);
    return out;
}

static void refused(char *pem, const char *why)
{
    struct err e = {0};

    if (rsa_from_pem(pem, strlen(pem), &e))
        fail_msg("taken, though: %s", why);
    assert_int_equal(e.kind, ERR_INPUT);
    if (!strstr(e.text, why))
        fail_msg("\"%s\" does not say \"%s\"", e.text, why);
    assert_int_equal(ERR_peek_error(), 0); /* left for no TLS to stumble on */
    free(pem);
}

static void a_signature_holds_for_its_text_and_key_alone(void **state)
{
    uint8_t sig[RSA_BYTES_MAX], n[RSA_BYTES_MAX];
    struct err e = {0};
    struct rsa_key *other = rsa_make(&e), *public;
    const long len = rsa_sign(key, TEXT, strlen(TEXT), sig, &e);
    const size_t n_len = rsa_modulus(key, n);

    (void)state;
    assert_int_equal(len, RSA_BITS_MIN / 8);
    assert_int_equal(n_len, RSA_BITS_MIN / 8);
    public = rsa_from_parts(n, n_len, e65537, 3, &e);
    assert_non_null(public);
    assert_true(rsa_verify(key, TEXT, strlen(TEXT), sig, (size_t)len));
    assert_true(rsa_verify(public, TEXT, strlen(TEXT), sig, (size_t)len));
    assert_false(rsa_verify(other, TEXT, strlen(TEXT), sig, (size_t)len));
    assert_false(rsa_verify(key, TEXT, strlen(TEXT) - 1, sig, (size_t)len));
    assert_false(rsa_verify(key, "", 0, sig, (size_t)len));
    assert_false(rsa_verify(key, TEXT, strlen(TEXT), sig, (size_t)len - 1));
    assert_false(rsa_verify(key, TEXT, strlen(TEXT), sig, (size_t)len + 1));
    assert_false(rsa_verify(key, TEXT, strlen(TEXT), sig, 0));
    for (long i = 0; i < len; i += 15) {
        sig[i] ^= 1;
        assert_false(rsa_verify(public, TEXT, strlen(TEXT), sig, (size_t)len));
        sig[i] ^= 1;
    }
    memset(sig, 0, sizeof(sig));
    assert_false(rsa_verify(key, TEXT, strlen(TEXT), sig, (size_t)len));
    memset(sig, 0xff, sizeof(sig));
    assert_false(rsa_verify(key, TEXT, strlen(TEXT), sig, (size_t)len));
    assert_int_equal(ERR_peek_error(), 0);
    /* a public key signs nothing */
    assert_int_equal(rsa_sign(public, TEXT, strlen(TEXT), sig, &e), -1);
    assert_int_equal(e.kind, ERR_SYSTEM);
    assert_int_equal(ERR_peek_error(), 0);
    rsa_free(public);
    rsa_free(other);
}

static void another_digest_or_padding_is_no_rs256(void **state)
{
    uint8_t sig[RSA_BYTES_MAX];
    struct buf pem;
    struct err e = {0};
    BIO *bio;
    EVP_PKEY *pkey;

    (void)state;
    buf_init(&pem, RSA_PEM_MAX);
    assert_int_equal(rsa_to_pem(key, &pem, &e), 0);
    bio = BIO_new_mem_buf(pem.data, (int)pem.len);
    pkey = PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL);
    assert_non_null(pkey);
    for (int i = 0; i < 3; i++) {
        EVP_MD_CTX *ctx = EVP_MD_CTX_new();
        EVP_PKEY_CTX *pctx;
        size_t len = sizeof(sig);

        assert_int_equal(
            EVP_DigestSignInit(ctx, &pctx, i == 1 ? EVP_sha512() : EVP_sha256(),
                               NULL, pkey),
            1);
        if (i == 2)
            EVP_PKEY_CTX_set_rsa_padding(pctx, RSA_PKCS1_PSS_PADDING);
        assert_int_equal(
            EVP_DigestSign(ctx, sig, &len, (const uint8_t *)TEXT, strlen(TEXT)),
            1);
        assert_int_equal(rsa_verify(key, TEXT, strlen(TEXT), sig, len), !i);
        EVP_MD_CTX_free(ctx);
    }
    EVP_PKEY_free(pkey);
    BIO_free(bio);
    buf_fini_secret(&pem);
}

static void a_key_reads_back_from_its_pem(void **state)
{
    uint8_t n[RSA_BYTES_MAX], m[RSA_BYTES_MAX], sig[RSA_BYTES_MAX];
    struct rsa_key *again;
    struct buf pem, small;
    struct err e = {0};
    long len;

    (void)state;
    buf_init(&pem, RSA_PEM_MAX);
    assert_int_equal(rsa_to_pem(key, &pem, &e), 0);
    assert_memory_equal(pem.data, "-----BEGIN PRIVATE KEY-----", 27);
    again = rsa_from_pem(pem.data, pem.len, &e);
    assert_non_null(again);
    assert_int_equal(rsa_modulus(again, n), rsa_modulus(key, m));
    assert_memory_equal(n, m, RSA_BITS_MIN / 8);
    len = rsa_sign(again, TEXT, strlen(TEXT), sig, &e);
    assert_true(rsa_verify(key, TEXT, strlen(TEXT), sig, (size_t)len));
    rsa_free(again);
    buf_init(&small, 100);
    assert_int_equal(rsa_to_pem(key, &small, &e), -1);
    buf_fini_secret(&small);
    buf_fini_secret(&pem);
    rsa_free(NULL);
}

static void weak_keys_and_other_kinds_are_refused(void **state)
{
    (void)state;
    refused(pem_of(make(1024, 65537), NULL), "2048");
    refused(pem_of(make(2047, 65537), NULL), "2048");
    refused(pem_of(make(2048, 3), NULL), "65537");
    refused(pem_of(EVP_EC_gen("P-256"), NULL), "another kind");
    refused(pem_of(EVP_PKEY_Q_keygen(NULL, NULL, "ED25519"), NULL),
            "another kind");
    /* asks nobody for a passphrase */
    refused(pem_of(make(2048, 65537), EVP_aes_256_cbc()), "unencrypted");
}

static void what_is_no_private_key_is_refused(void **state)
{
    static char big[RSA_PEM_MAX + 2];
    struct err e = {0};
    BIO *bio = BIO_new(BIO_s_mem());
    EVP_PKEY *pkey = make(2048, 65537);
    char *public = calloc(1, 4096), *cut;
    int n;

    (void)state;
    assert_int_equal(PEM_write_bio_PUBKEY(bio, pkey), 1);
    n = BIO_read(bio, public, 4095);
    assert_true(n > 0);
    refused(public, "private key");
    cut = pem_of(pkey, NULL);
    cut[strlen(cut) / 2] = 0;
    refused(cut, "private key");
    refused(strdup("nonsense"), "private key");
    refused(strdup("-----BEGIN PRIVATE KEY-----\nAAAA\n"
                   "-----END PRIVATE KEY-----\n"),
            "private key");
    refused(strdup(""), "length");
    memset(big, 'a', sizeof(big) - 1);
    assert_null(rsa_from_pem(big, sizeof(big) - 1, &e));
    assert_non_null(strstr(e.text, "length"));
    BIO_free(bio);
}

/* The private exponent of one key with the modulus of another. */
static void halves_that_do_not_match_are_refused(void **state)
{
    EVP_PKEY *a = make(2048, 65537), *b = make(2048, 65537), *mixed = NULL;
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, "RSA", NULL);
    OSSL_PARAM *from_a = NULL, *from_b = NULL, *n;

    (void)state;
    assert_int_equal(EVP_PKEY_todata(a, EVP_PKEY_KEYPAIR, &from_a), 1);
    assert_int_equal(EVP_PKEY_todata(b, EVP_PKEY_KEYPAIR, &from_b), 1);
    n = OSSL_PARAM_locate(from_a, OSSL_PKEY_PARAM_RSA_N);
    assert_non_null(n);
    *n = *OSSL_PARAM_locate(from_b, OSSL_PKEY_PARAM_RSA_N);
    assert_int_equal(EVP_PKEY_fromdata_init(ctx), 1);
    assert_int_equal(EVP_PKEY_fromdata(ctx, &mixed, EVP_PKEY_KEYPAIR, from_a),
                     1);
    refused(pem_of(mixed, NULL), "do not match");
    OSSL_PARAM_free(from_a);
    OSSL_PARAM_free(from_b);
    EVP_PKEY_CTX_free(ctx);
    EVP_PKEY_free(a);
    EVP_PKEY_free(b);
}

static void parts_must_be_a_modulus_and_65537(void **state)
{
    static const uint8_t three[] = {3}, zeros[] = {0, 1, 0, 1};
    uint8_t n[RSA_BYTES_MAX + 1] = {0};
    struct err e = {0};
    const size_t len = rsa_modulus(key, n);

    (void)state;
    assert_null(rsa_from_parts(n, len, three, 1, &e));
    assert_int_equal(e.kind, ERR_INPUT);
    assert_null(rsa_from_parts(n, len, zeros, 4, &e));
    assert_null(rsa_from_parts(n, len, e65537, 0, &e));
    assert_null(rsa_from_parts(n, len - 1, e65537, 3, &e));
    assert_null(rsa_from_parts(n, 0, e65537, 3, &e));
    assert_null(rsa_from_parts(n, RSA_BYTES_MAX + 1, e65537, 3, &e));
    n[len - 1] ^= 1; /* even */
    assert_null(rsa_from_parts(n, len, e65537, 3, &e));
    n[len - 1] ^= 1;
    memmove(n + 1, n, len); /* a leading zero: another spelling */
    n[0] = 0;
    assert_null(rsa_from_parts(n, len + 1, e65537, 3, &e));
    n[1] = 1; /* right many bytes, too few bits */
    assert_null(rsa_from_parts(n + 1, len, e65537, 3, &e));
    assert_int_equal(e.kind, ERR_INPUT);
    assert_int_equal(ERR_peek_error(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_signature_holds_for_its_text_and_key_alone),
        cmocka_unit_test(another_digest_or_padding_is_no_rs256),
        cmocka_unit_test(a_key_reads_back_from_its_pem),
        cmocka_unit_test(weak_keys_and_other_kinds_are_refused),
        cmocka_unit_test(what_is_no_private_key_is_refused),
        cmocka_unit_test(halves_that_do_not_match_are_refused),
        cmocka_unit_test(parts_must_be_a_modulus_and_65537),
    };

    return cmocka_run_group_tests_name("base/rsa", tests, setup, teardown);
}
