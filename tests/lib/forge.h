/*
 * Tokens as an attacker would make them: any header, any payload, rightly
 * signed unless told otherwise. Memory is the caller's (free).
 */
#ifndef PODTERM_TESTS_LIB_FORGE_H
#define PODTERM_TESTS_LIB_FORGE_H

#include "base/token.h"

/* head.body.signature of exactly these texts, signed RS256 by s. */
char *forge_token(const struct token_signer *s, const char *head,
                  const char *body);
/* The public half of s as `openssl pkey -pubout` prints it. */
char *forge_public_pem(const struct token_signer *s);
/* head.body.HMAC-SHA-256 under the public PEM of s: the HS256 attack. */
char *forge_hs256(const struct token_signer *s, const char *head,
                  const char *body);
/* {"keys":[…]} of one or two signers; b may be NULL. */
char *forge_jwks(const struct token_signer *a, const struct token_signer *b);
/* {"alg":"RS256","typ":typ,"kid":kid of s} */
char *forge_head(const struct token_signer *s, const char *typ);
/* "Bearer TOKEN" with these claims, good for ten minutes from now. aud: JSON,
 * so that it may be a list. */
char *forge_bearer(const struct token_signer *s, const char *typ,
                   const char *iss, const char *aud, const char *sub);

#endif
