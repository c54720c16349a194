#include "base/token_keys.h"

#include "base/digest.h"
#include "base/keyfile.h"
#include "base/mem.h"
#include "base/own.h"

#include <stdlib.h>
#include <string.h>

#define KID_THUMBPRINT 43    /* characters of a SHA-256 in base64url */
#define EXPONENT_MAX 8       /* bytes looked at; only 65537 is taken */
#define EXPONENT_TEXT "AQAB" /* 65537 */

struct token_signer {
    struct rsa_key *key;
    char *modulus; /* base64url */
    char kid[KID_THUMBPRINT + 2];
};

struct token_keys {
    size_t count;
    struct {
        char *kid;
        struct rsa_key *key;
    } keys[TOKEN_KEYS_MAX];
};

/* --- signers --- */

/* RFC 7638: the members in this order, without white space. */
static void token_thumbprint(struct token_signer *s)
{
    own_mem char *text =
        mem_printf("{\"e\":\"%s\",\"kty\":\"RSA\",\"n\":\"%s\"}", EXPONENT_TEXT,
                   s->modulus);
    uint8_t hash[SHA256_BYTES];

    sha256(text, strlen(text), hash);
    base64url_encode(hash, sizeof(hash), s->kid);
}

/* Takes key. */
static struct token_signer *token_signer_of(struct rsa_key *key)
{
    struct token_signer *s = mem_zero(1, sizeof(*s));
    uint8_t n[RSA_BYTES_MAX];
    size_t len = rsa_modulus(key, n);

    s->key = key;
    s->modulus = mem_zero(base64_size(len), 1);
    base64url_encode(n, len, s->modulus);
    token_thumbprint(s);
    return s;
}

struct token_signer *token_signer_load(const char *pem_path, struct err *e)
{
    struct rsa_key *key = NULL;
    struct buf pem;

    buf_init(&pem, RSA_PEM_MAX);
    if (keyfile_read(pem_path, &pem, e) == 0) {
        key = rsa_from_pem(pem.data, pem.len, e);
        if (!key)
            err_wrap(e, "%s", pem_path);
    }
    buf_fini_secret(&pem);
    return key ? token_signer_of(key) : NULL;
}

static int token_key_keep(const struct rsa_key *key, const char *path,
                          struct err *e)
{
    struct buf pem;
    int r;

    buf_init(&pem, RSA_PEM_MAX);
    r = rsa_to_pem(key, &pem, e);
    if (r == 0)
        r = keyfile_make(path, pem.data, pem.len, e);
    buf_fini_secret(&pem);
    return r;
}

struct token_signer *token_signer_make(const char *pem_path, struct err *e)
{
    struct rsa_key *key = rsa_make(e);

    if (!key)
        return NULL;
    if (pem_path && token_key_keep(key, pem_path, e) < 0) {
        rsa_free(key);
        return NULL;
    }
    return token_signer_of(key);
}

void token_signer_free(struct token_signer *s)
{
    if (!s)
        return;
    rsa_free(s->key);
    free(s->modulus);
    free(s);
}

const char *token_signer_kid(const struct token_signer *s)
{
    return s->kid;
}

const struct rsa_key *token_signer_key(const struct token_signer *s)
{
    return s->key;
}

struct json *token_signer_jwk(const struct token_signer *s)
{
    struct json *jwk = json_object();

    json_set_str(jwk, "kty", "RSA");
    json_set_str(jwk, "n", s->modulus);
    json_set_str(jwk, "e", EXPONENT_TEXT);
    json_set_str(jwk, "kid", s->kid);
    json_set_str(jwk, "alg", "RS256");
    json_set_str(jwk, "use", "sig");
    return jwk;
}

/* --- key sets --- */

const struct rsa_key *token_keys_find(const struct token_keys *k,
                                      const char *kid)
{
    for (size_t i = 0; i < k->count; i++)
        if (strcmp(k->keys[i].kid, kid) == 0)
            return k->keys[i].key;
    return NULL;
}

bool token_keys_has(const struct token_keys *k, const char *kid)
{
    return token_keys_find(k, kid) != NULL;
}

size_t token_keys_count(const struct token_keys *k)
{
    return k->count;
}

void token_keys_free(struct token_keys *k)
{
    if (!k)
        return;
    for (size_t i = 0; i < k->count; i++) {
        free(k->keys[i].kid);
        rsa_free(k->keys[i].key);
    }
    free(k);
}

/* Is a member absent or this text (1), another text (0), malformed (-1)? */
static int jwk_member_allows(const struct json *jwk, const char *name,
                             const char *text, struct err *e)
{
    const struct json *member = json_get(jwk, name);

    if (!member)
        return 1;
    if (!json_is_string(member))
        return err_set(e, ERR_INPUT, "its %s is not a string", name);
    return strcmp(json_str(member), text) == 0;
}

/* Bytes of a base64url member, or -1. */
static long jwk_bytes(const struct json *jwk, const char *name, uint8_t *out,
                      size_t cap)
{
    const char *text = json_get_str(jwk, name);

    return text ? base64url_decode(text, strlen(text), out, cap) : -1;
}

static struct rsa_key *jwk_key(const struct json *jwk, struct err *e)
{
    uint8_t n[RSA_BYTES_MAX], exponent[EXPONENT_MAX];
    long n_len = jwk_bytes(jwk, "n", n, sizeof(n));
    long exponent_len = jwk_bytes(jwk, "e", exponent, sizeof(exponent));

    if (json_get(jwk, "d")) {
        err_set(e, ERR_INPUT, "it holds a private key");
        return NULL;
    }
    if (n_len < 0 || exponent_len < 0) {
        err_set(e, ERR_INPUT, "n or e is missing, too long or not base64url");
        return NULL;
    }
    return rsa_from_parts(n, (size_t)n_len, exponent, (size_t)exponent_len, e);
}

/* 1 = a key of ours, 0 = one for another purpose, -1 = malformed */
static int jwk_judge(const struct json *jwk, struct err *e)
{
    const char *kty = json_get_str(jwk, "kty");
    int alg;

    if (!kty)
        return err_set(e, ERR_INPUT, "it is no object with a kty");
    if (strcmp(kty, "RSA") != 0)
        return 0;
    alg = jwk_member_allows(jwk, "alg", "RS256", e);
    return alg > 0 ? jwk_member_allows(jwk, "use", "sig", e) : alg;
}

static int token_keys_add(struct token_keys *k, const struct json *jwk,
                          struct err *e)
{
    int use = jwk_judge(jwk, e);
    const char *kid;
    struct rsa_key *key;

    if (use <= 0)
        return use;
    kid = json_get_str(jwk, "kid");
    if (!kid || !*kid || strlen(kid) > TOKEN_KID_MAX)
        return err_set(e, ERR_INPUT, "its kid must have 1 to %d bytes",
                       TOKEN_KID_MAX);
    if (token_keys_has(k, kid))
        return err_set(e, ERR_INPUT, "its kid is there twice");
    if (k->count == TOKEN_KEYS_MAX)
        return err_set(e, ERR_INPUT, "there are more than %d keys",
                       TOKEN_KEYS_MAX);
    key = jwk_key(jwk, e);
    if (!key)
        return -1;
    k->keys[k->count].kid = mem_str(kid);
    k->keys[k->count].key = key;
    k->count++;
    return 0;
}

static int token_keys_fill(struct token_keys *k, const struct json *jwks,
                           struct err *e)
{
    const struct json *list = json_get(jwks, "keys");
    size_t count = json_count(list);

    if (!json_is_array(list))
        return err_set(e, ERR_INPUT, "key set: no \"keys\" array");
    if (count > TOKEN_JWKS_ENTRIES_MAX)
        return err_set(e, ERR_INPUT, "key set: more than %d entries",
                       TOKEN_JWKS_ENTRIES_MAX);
    for (size_t i = 0; i < count; i++)
        if (token_keys_add(k, json_at(list, i), e) < 0)
            return err_wrap(e, "key set: key %zu", i);
    if (k->count == 0)
        return err_set(e, ERR_INPUT, "key set: no RS256 key in it");
    return 0;
}

struct token_keys *token_keys_of(const struct json *jwks, struct err *e)
{
    struct token_keys *k = mem_zero(1, sizeof(*k));

    if (token_keys_fill(k, jwks, e) < 0) {
        token_keys_free(k);
        return NULL;
    }
    return k;
}

struct token_keys *token_keys_parse(const char *text, size_t len, struct err *e)
{
    own_json struct json *jwks = NULL;

    if (len > TOKEN_JWKS_MAX) {
        err_set(e, ERR_INPUT, "key set: %zu bytes, at most %d", len,
                TOKEN_JWKS_MAX);
        return NULL;
    }
    jwks = json_parse(text, len, e);
    if (!jwks) {
        err_wrap(e, "key set");
        return NULL;
    }
    return token_keys_of(jwks, e);
}
