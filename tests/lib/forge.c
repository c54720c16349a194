#include "tests/lib/forge.h"

#include "base/digest.h"
#include "base/loop.h"
#include "base/mem.h"
#include "base/own.h"
#include "base/token_keys.h"

#include <assert.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/param_build.h>
#include <openssl/pem.h>
#include <string.h>

static char *forge_b64(const void *bytes, size_t len)
{
    char *out = mem_zero(base64_size(len), 1);

    base64url_encode(bytes, len, out);
    return out;
}

static char *forge_signed_part(const char *head, const char *body)
{
    own_mem char *h = forge_b64(head, strlen(head));
    own_mem char *b = forge_b64(body, strlen(body));

    return mem_printf("%s.%s", h, b);
}

char *forge_token(const struct token_signer *s, const char *head,
                  const char *body)
{
    own_mem char *text = forge_signed_part(head, body), *sig = NULL;
    uint8_t raw[RSA_BYTES_MAX];
    long len = rsa_sign(token_signer_key(s), text, strlen(text), raw, NULL);

    assert(len > 0);
    sig = forge_b64(raw, (size_t)len);
    return mem_printf("%s.%s", text, sig);
}

/* What `openssl rsa -pubout` prints of the key. */
static EVP_PKEY *forge_public(const struct token_signer *s)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, "RSA", NULL);
    OSSL_PARAM_BLD *bld = OSSL_PARAM_BLD_new();
    uint8_t n[RSA_BYTES_MAX];
    EVP_PKEY *pkey = NULL;
    OSSL_PARAM *params;
    BIGNUM *bn;

    bn = BN_bin2bn(n, (int)rsa_modulus(token_signer_key(s), n), NULL);
    OSSL_PARAM_BLD_push_BN(bld, OSSL_PKEY_PARAM_RSA_N, bn);
    OSSL_PARAM_BLD_push_uint(bld, OSSL_PKEY_PARAM_RSA_E, 65537);
    params = OSSL_PARAM_BLD_to_param(bld);
    assert(EVP_PKEY_fromdata_init(ctx) == 1);
    assert(EVP_PKEY_fromdata(ctx, &pkey, EVP_PKEY_PUBLIC_KEY, params) == 1);
    OSSL_PARAM_free(params);
    OSSL_PARAM_BLD_free(bld);
    BN_free(bn);
    EVP_PKEY_CTX_free(ctx);
    return pkey;
}

char *forge_public_pem(const struct token_signer *s)
{
    EVP_PKEY *pkey = forge_public(s);
    BIO *bio = BIO_new(BIO_s_mem());
    char *text, *out;
    long len;

    assert(PEM_write_bio_PUBKEY(bio, pkey) == 1);
    len = BIO_get_mem_data(bio, &text);
    out = mem_strn(text, (size_t)len);
    BIO_free(bio);
    EVP_PKEY_free(pkey);
    return out;
}

char *forge_hs256(const struct token_signer *s, const char *head,
                  const char *body)
{
    own_mem char *text = forge_signed_part(head, body);
    own_mem char *pem = forge_public_pem(s), *sig = NULL;
    uint8_t mac[32];

    HMAC(EVP_sha256(), pem, (int)strlen(pem), (const uint8_t *)text,
         strlen(text), mac, NULL);
    sig = forge_b64(mac, sizeof(mac));
    return mem_printf("%s.%s", text, sig);
}

char *forge_jwks(const struct token_signer *a, const struct token_signer *b)
{
    own_json struct json *set = json_object();
    struct json *keys = json_set(set, "keys", json_array());

    json_set(keys, NULL, token_signer_jwk(a));
    if (b)
        json_set(keys, NULL, token_signer_jwk(b));
    return json_text(set);
}

char *forge_head(const struct token_signer *s, const char *typ)
{
    return mem_printf("{\"alg\":\"RS256\",\"typ\":\"%s\",\"kid\":\"%s\"}", typ,
                      token_signer_kid(s));
}

char *forge_bearer(const struct token_signer *s, const char *typ,
                   const char *iss, const char *aud, const char *sub)
{
    long long now = loop_wall_s();
    own_mem char *head = forge_head(s, typ);
    own_mem char *body = mem_printf("{\"iss\":\"%s\",\"aud\":%s,\"sub\":"
                                    "\"%s\",\"iat\":%lld,\"exp\":%lld}",
                                    iss, aud, sub, now, now + 600);
    own_mem char *token = forge_token(s, head, body);

    return mem_printf("Bearer %s", token);
}
