/*
 * Signed tokens: make, sign, strictly verify; key sets in and out.
 * Form, algorithm, type and key id are judged before the signature is
 * (base/rsa.h), and the payload is not read before it holds.
 *
 * Not on libjwt: its 1.10.2 (Debian 12) signs `typ` JWT alone, and refuses a
 * rightly signed token of any other, so that the kinds of tokens could not
 * be told apart by it; tests hold ours against it where it can follow.
 *
 * Threads: a signer and a key set are immutable after loading and may be
 * shared; replace the pointer to change them.
 */
#ifndef PODTERM_BASE_TOKEN_H
#define PODTERM_BASE_TOKEN_H

#include "base/err.h"
#include "base/json.h"
#include "base/vocab.h"

#include <stdbool.h>
#include <stdint.h>

#define TOKEN_TYP_SESSION "podterm-session+jwt"
#define TOKEN_TYP_IDENTITY "JWT" /* also absent, for OIDC issuers */
#define TOKEN_TYP_ACTIVATE "podterm-activate+jwt"

#define TOKEN_MAX 6144            /* bytes of a whole token */
#define TOKEN_ACTIVATE_MAX 163840 /* of one of typ activate */
#define TOKEN_LIFE_S 60           /* of a session token */
#define TOKEN_SKEW_S 30           /* largest skew a verifier forgives */
#define TOKEN_KEYS_MAX 16         /* usable keys in a set */
#define TOKEN_KID_MAX 128         /* bytes of a key id */
#define TOKEN_JWKS_MAX 65536      /* bytes of a key set's text */
#define TOKEN_JWKS_ENTRIES_MAX 64 /* entries in it, usable or not */
#define TOKEN_STR_MAX 256         /* bytes of iss, aud, sub with terminator */

struct token_signer; /* one private RSA key with its kid */
struct token_keys;   /* public keys by kid */

/* --- keys --- */

/* Load a PEM private key (base/keyfile.h: 0600 or stricter; base/rsa.h:
 * 2048-4096 bits, e 65537). kid is the RFC 7638 thumbprint. NULL with
 * ERR_ABSENT when there is no file, ERR_INPUT when it breaks a rule. */
struct token_signer *token_signer_load(const char *pem_path, struct err *e);
/* Make a fresh RSA-2048 key; with a path, keep it there (0600, whole or not
 * at all; ERR_CONFLICT when the name is taken). */
struct token_signer *token_signer_make(const char *pem_path, struct err *e);
void token_signer_free(struct token_signer *s);
const char *token_signer_kid(const struct token_signer *s);
/* The public half as a JWK object {kty,n,e,kid,alg,use}; caller's. */
struct json *token_signer_jwk(const struct token_signer *s);

/*
 * Read a JWKS {"keys":[...]}: RSA keys with a unique kid, alg RS256 or
 * absent, use "sig" or absent, 2048-4096 bits, e 65537; keys of other types,
 * algorithms or uses are skipped, a malformed or private RSA key fails the
 * set. At least one usable key. NULL with ERR_INPUT.
 */
struct token_keys *token_keys_parse(const char *text, size_t len,
                                    struct err *e);
struct token_keys *token_keys_of(const struct json *jwks, struct err *e);
void token_keys_free(struct token_keys *k);
bool token_keys_has(const struct token_keys *k, const char *kid);
size_t token_keys_count(const struct token_keys *k);

/* --- any JWT --- */

/* Sign payload as a compact JWT with header {alg:RS256,typ,kid}.
 * Returns text owned by the caller, or NULL (ERR_INPUT: too long a token). */
char *token_sign(const struct token_signer *s, const char *typ,
                 const struct json *payload, struct err *e);

struct token_expect {
    const char *typ; /* exact; NULL = "JWT" or absent (identity) */
    const char *iss; /* exact */
    const char *aud; /* exact; the token's aud is this string, or an
                              array that holds it when aud_may_be_list */
    bool aud_may_be_list;
    int64_t now_s;      /* wall clock */
    int64_t skew_s;     /* 0..TOKEN_SKEW_S; cut to that */
    int64_t life_max_s; /* exp - iat at most; 0 = no limit */
};

/*
 * Verify a compact JWT wholly: form (three canonical base64url parts, at
 * most TOKEN_MAX, an activation TOKEN_ACTIVATE_MAX), strict JSON without
 * duplicates, header has only alg, typ, kid (x5t and jku and the like are
 * refused, cty and crit too), alg RS256, kid known, signature; then iss, aud,
 * exp and iat (both must be there), nbf.
 *
 * returns  the payload, owned by the caller, or NULL with ERR_TOKEN; the
 *          text names the rule broken, never the token
 * `kid_unknown` (may be NULL) is set true when an unlisted kid was the
 * reason, false otherwise: the caller may refetch its key set and try again.
 */
struct json *token_verify(const struct token_keys *keys, const char *token,
                          size_t len, const struct token_expect *want,
                          bool *kid_unknown, struct err *e);

/* --- session tokens --- */

struct session_claims {
    char iss[TOKEN_STR_MAX];
    char aud[TOKEN_STR_MAX];
    char sub[TOKEN_STR_MAX];
    char sid[ID_SIZE];
    char jti[ID_SIZE];
    char bnd[65]; /* bundle's SHA-256, hex */
    enum role role;
    int64_t iat, nbf, exp; /* seconds since 1970 */
};

/* Sign c as a session token; iat, nbf, exp are taken as they stand. NULL with
 * ERR_INPUT when another claim is not of its form. */
char *session_token_sign(const struct token_signer *s,
                         const struct session_claims *c, struct err *e);
/* token_verify with typ session, life at most 2 * TOKEN_LIFE_S, and every
 * claim present, of its form, and nothing else in the payload. */
int session_token_verify(const struct token_keys *keys, const char *token,
                         size_t len, const char *iss, const char *aud,
                         int64_t now_s, int64_t skew_s,
                         struct session_claims *out, bool *kid_unknown,
                         struct err *e);

#endif
