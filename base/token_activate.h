/*
 * What wakes a warm agent: a token of typ TOKEN_TYP_ACTIVATE that carries a
 * session's whole spec and its key. Its audience is the one pod it is for.
 * Also the pool key that controller and agent derive alike where a pool has
 * one secret. Source: PROTOCOL.md, "Activation"; SECURITY rule 5.
 */
#ifndef PODTERM_BASE_TOKEN_ACTIVATE_H
#define PODTERM_BASE_TOKEN_ACTIVATE_H

#include "base/err.h"
#include "base/json.h"
#include "base/seal.h"
#include "base/token.h"
#include "base/vocab.h"

#include <stddef.h>
#include <stdint.h>

#define ACTIVATE_PATH "/v1/activate"
#define ACTIVATE_TYPE "application/jwt"
#define ACTIVATE_UID_MAX 64 /* bytes of a pod's UID */

struct activate_claims {
    char iss[TOKEN_STR_MAX];
    char aud[TOKEN_STR_MAX]; /* the pod's UID */
    char sid[ID_SIZE];       /* the spec's too */
    char jti[ID_SIZE];
    uint8_t key[SESSION_KEY_BYTES];
    struct json *spec;     /* owned */
    int64_t iat, nbf, exp; /* seconds since 1970 */
};
/* Wipes key and spec; takes what is all zero. */
void activate_claims_fini(struct activate_claims *c);

/* Sign c; the token is secret, and the caller's to wipe and free. NULL with
 * ERR_INPUT: a claim is not of its form, or all is past TOKEN_ACTIVATE_MAX. */
char *activate_token_sign(const struct token_signer *s,
                          const struct activate_claims *c, struct err *e);
/*
 * token_verify with typ activate and a life of at most TOKEN_LIFE_S, then
 * every claim of its form and nothing else in the payload; the spec is an
 * object, and not looked into.
 *
 * returns  0 and *out (activate_claims_fini), or -1: ERR_TOKEN as
 *          token_verify, ERR_INPUT for a claim
 */
int activate_token_verify(const struct token_keys *keys, const char *token,
                          size_t len, const char *iss, const char *aud,
                          int64_t now_s, int64_t skew_s,
                          struct activate_claims *out, struct err *e);

/* 1 to ACTIVATE_UID_MAX letters, digits and hyphens? */
bool activate_uid_is_valid(const char *uid);
/* The pool key of one pod: HKDF-SHA-256 of the pool's secret and its UID. */
void activate_pool_key(const uint8_t secret[SEAL_KEY_BYTES], const char *uid,
                       uint8_t out[SESSION_KEY_BYTES]);

#endif
