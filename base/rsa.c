#include "base/rsa.h"

#include "base/mem.h"

#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <stdlib.h>
#include <string.h>

static const uint8_t exponent_65537[] = {1, 0, 1};

struct rsa_key {
    EVP_PKEY *pkey;
    size_t bytes; /* of the modulus */
};

/* OpenSSL keeps its errors in a queue of the thread: emptied here, so that
 * they are not read as the fault of a TLS connection later. */
static struct rsa_key *rsa_fail(EVP_PKEY *pkey, struct err *e,
                                enum err_kind kind, const char *what)
{
    EVP_PKEY_free(pkey);
    ERR_clear_error();
    err_set(e, kind, "RSA key: %s", what);
    return NULL;
}

static bool rsa_exponent_is_right(const EVP_PKEY *pkey)
{
    BIGNUM *v = NULL;
    bool is_right =
        EVP_PKEY_get_bn_param(pkey, OSSL_PKEY_PARAM_RSA_E, &v) == 1 &&
        BN_is_word(v, 65537);

    BN_free(v);
    return is_right;
}

/* Takes pkey. */
static struct rsa_key *rsa_wrap(EVP_PKEY *pkey, struct err *e)
{
    struct rsa_key *k;
    int bits;

    if (!EVP_PKEY_is_a(pkey, "RSA"))
        return rsa_fail(pkey, e, ERR_INPUT, "it is of another kind");
    bits = EVP_PKEY_get_bits(pkey);
    if (bits < RSA_BITS_MIN || bits > RSA_BITS_MAX)
        return rsa_fail(pkey, e, ERR_INPUT, "it must have 2048 to 4096 bits");
    if (!rsa_exponent_is_right(pkey))
        return rsa_fail(pkey, e, ERR_INPUT, "its exponent must be 65537");
    k = mem_zero(1, sizeof(*k));
    k->pkey = pkey;
    k->bytes = (size_t)EVP_PKEY_get_size(pkey);
    return k;
}

void rsa_free(struct rsa_key *k)
{
    if (!k)
        return;
    EVP_PKEY_free(k->pkey);
    free(k);
}

struct rsa_key *rsa_make(struct err *e)
{
    EVP_PKEY *pkey = EVP_RSA_gen((size_t)RSA_BITS_MIN);

    if (!pkey)
        return rsa_fail(NULL, e, ERR_SYSTEM, "none could be made");
    return rsa_wrap(pkey, e);
}

/* A private key whose halves do not belong together signs what nobody can
 * check. */
static bool rsa_is_whole(const struct rsa_key *k)
{
    static const char text[] = "podterm";
    uint8_t sig[RSA_BYTES_MAX];
    struct err ignored;
    long len = rsa_sign(k, text, sizeof(text), sig, &ignored);

    return len > 0 && rsa_verify(k, text, sizeof(text), sig, (size_t)len);
}

/* Without it OpenSSL asks the terminal for a passphrase. */
static int rsa_no_passphrase(char *out, int cap, int writing, void *user)
{
    (void)out;
    (void)cap;
    (void)writing;
    (void)user;
    return -1;
}

struct rsa_key *rsa_from_pem(const void *pem, size_t len, struct err *e)
{
    EVP_PKEY *pkey = NULL;
    struct rsa_key *k;
    BIO *bio;

    if (len == 0 || len > RSA_PEM_MAX)
        return rsa_fail(NULL, e, ERR_INPUT, "not a PEM text's length");
    bio = BIO_new_mem_buf(pem, (int)len);
    if (!bio)
        abort();
    pkey = PEM_read_bio_PrivateKey(bio, NULL, rsa_no_passphrase, NULL);
    BIO_free(bio);
    if (!pkey)
        return rsa_fail(NULL, e, ERR_INPUT,
                        "not an unencrypted PEM private key");
    k = rsa_wrap(pkey, e);
    if (k && !rsa_is_whole(k)) {
        rsa_free(k);
        return rsa_fail(NULL, e, ERR_INPUT,
                        "its private and public half do not match");
    }
    return k;
}

int rsa_to_pem(const struct rsa_key *k, struct buf *out, struct err *e)
{
    BIO *bio = BIO_new(BIO_s_mem()); /* wiped by BIO_free */
    char *text;
    long len;
    int r = -1;

    if (!bio)
        abort();
    if (PEM_write_bio_PKCS8PrivateKey(bio, k->pkey, NULL, NULL, 0, NULL,
                                      NULL) == 1) {
        len = BIO_get_mem_data(bio, &text);
        r = buf_append(out, text, (size_t)len);
    }
    BIO_free(bio);
    if (r < 0)
        rsa_fail(NULL, e, ERR_SYSTEM, "it could not be written");
    return r;
}

static EVP_PKEY *rsa_build(const BIGNUM *n, const BIGNUM *exponent)
{
    OSSL_PARAM_BLD *bld = OSSL_PARAM_BLD_new();
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, "RSA", NULL);
    OSSL_PARAM *params = NULL;
    EVP_PKEY *pkey = NULL;

    if (bld && ctx &&
        OSSL_PARAM_BLD_push_BN(bld, OSSL_PKEY_PARAM_RSA_N, n) == 1 &&
        OSSL_PARAM_BLD_push_BN(bld, OSSL_PKEY_PARAM_RSA_E, exponent) == 1)
        params = OSSL_PARAM_BLD_to_param(bld);
    if (params && EVP_PKEY_fromdata_init(ctx) == 1)
        EVP_PKEY_fromdata(ctx, &pkey, EVP_PKEY_PUBLIC_KEY, params);
    OSSL_PARAM_free(params);
    EVP_PKEY_CTX_free(ctx);
    OSSL_PARAM_BLD_free(bld);
    return pkey;
}

struct rsa_key *rsa_from_parts(const uint8_t *n, size_t n_len,
                               const uint8_t *exponent, size_t exponent_len,
                               struct err *e)
{
    BIGNUM *bn_n, *bn_e;
    EVP_PKEY *pkey;

    if (exponent_len != sizeof(exponent_65537) ||
        memcmp(exponent, exponent_65537, sizeof(exponent_65537)) != 0)
        return rsa_fail(NULL, e, ERR_INPUT, "its exponent must be 65537");
    if (n_len < RSA_BITS_MIN / 8 || n_len > RSA_BYTES_MAX)
        return rsa_fail(NULL, e, ERR_INPUT, "it must have 2048 to 4096 bits");
    if (n[0] == 0 || !(n[n_len - 1] & 1))
        return rsa_fail(NULL, e, ERR_INPUT, "its modulus is not one");
    bn_n = BN_bin2bn(n, (int)n_len, NULL);
    bn_e = BN_bin2bn(exponent, (int)exponent_len, NULL);
    if (!bn_n || !bn_e)
        abort();
    pkey = rsa_build(bn_n, bn_e);
    BN_free(bn_n);
    BN_free(bn_e);
    if (!pkey)
        return rsa_fail(NULL, e, ERR_INPUT, "its modulus is not one");
    return rsa_wrap(pkey, e);
}

size_t rsa_modulus(const struct rsa_key *k, uint8_t out[RSA_BYTES_MAX])
{
    BIGNUM *n = NULL;
    int len;

    if (EVP_PKEY_get_bn_param(k->pkey, OSSL_PKEY_PARAM_RSA_N, &n) != 1)
        abort();
    len = BN_bn2bin(n, out);
    BN_free(n);
    return (size_t)len;
}

long rsa_sign(const struct rsa_key *k, const void *bytes, size_t len,
              uint8_t out[RSA_BYTES_MAX], struct err *e)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    size_t sig_len = RSA_BYTES_MAX;
    int ok;

    if (!ctx)
        abort();
    ok = EVP_DigestSignInit(ctx, NULL, EVP_sha256(), NULL, k->pkey) == 1 &&
         EVP_DigestSign(ctx, out, &sig_len, bytes, len) == 1;
    EVP_MD_CTX_free(ctx);
    if (!ok) {
        rsa_fail(NULL, e, ERR_SYSTEM, "it does not sign");
        return -1;
    }
    return (long)sig_len;
}

bool rsa_verify(const struct rsa_key *k, const void *bytes, size_t len,
                const uint8_t *sig, size_t sig_len)
{
    EVP_MD_CTX *ctx;
    bool is_right;

    if (sig_len != k->bytes)
        return false;
    ctx = EVP_MD_CTX_new();
    if (!ctx)
        abort();
    is_right =
        EVP_DigestVerifyInit(ctx, NULL, EVP_sha256(), NULL, k->pkey) == 1 &&
        EVP_DigestVerify(ctx, sig, sig_len, bytes, len) == 1;
    EVP_MD_CTX_free(ctx);
    if (!is_right)
        ERR_clear_error();
    return is_right;
}
