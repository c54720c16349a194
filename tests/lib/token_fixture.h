/*
 * What the tests of tokens share: three signers, the key set of two of them,
 * a right session token's claims, and the rule a token broke.
 */
#ifndef PODTERM_TESTS_LIB_TOKEN_FIXTURE_H
#define PODTERM_TESTS_LIB_TOKEN_FIXTURE_H

#include "base/token.h"

#define NOW 1800000000
#define ISS "https://podterm.test"
#define AUD "podterm-test"
#define SID "abcdefghijklmnopqrstuvwxyz"
#define JTI "234567abcdefghijklmnopqrst"
#define BND "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"

/* signer and standby are in keys, stranger is not */
extern struct token_signer *signer, *standby, *stranger;
extern struct token_keys *keys;
extern const struct session_claims good;
extern const struct token_expect identity;

int token_setup(void **state);
int token_teardown(void **state);

/* The text of the rule a token broke; "" when it was taken. */
const char *session_rule(const char *token, size_t len, int64_t now);
const char *identity_rule(const char *token, const struct token_expect *want);
/* want NULL: the token was taken; else a part of the rule's text. */
void assert_rule(const char *name, const char *got, const char *want);

/* Payloads that are right at NOW; the caller's. */
char *session_body(void);
char *identity_body(void);

#endif
