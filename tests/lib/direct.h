/*
 * Raw attachments: through the gateway, and past it to a session's agent with
 * the real session key (which whoever may read the state directory can open)
 * or with another.
 */
#ifndef PODTERM_TESTS_LIB_DIRECT_H
#define PODTERM_TESTS_LIB_DIRECT_H

#include "base/seal.h"
#include "tests/lib/stack.h"

struct direct {
    char addr[64]; /* "127.0.0.1:PORT" of the agent */
    char psk_id[ID_SIZE];
    uint8_t key[SESSION_KEY_BYTES];
};

/* Read it from the stack's store, once the session's agent listens. Fails
 * the test when that takes more than 10 s. */
void direct_find(const struct stack *s, const char *sid, struct direct *out);
/* Connect and shake hands; NULL when the agent refuses the handshake. */
struct wspeer *direct_dial(const struct direct *d);
/* The same, and upgrade to podterm.v1. */
struct wspeer *direct_attach(const struct direct *d);
/* The whole answer to a GET, the caller's. */
char *direct_get(const struct direct *d, const char *path);
/* The agent's own count of that name. */
uint64_t direct_metric(const struct direct *d, const char *name);
/* An upgraded client of the gateway that has said nothing. */
struct wspeer *direct_gateway(const struct stack *s);
void direct_hello(struct wspeer *p, const char *token);
/* Expect READY, after stages or none. Returns p. */
struct wspeer *direct_ready(struct wspeer *p);
/* Expect ERROR with this code word (NULL: none) and a close frame with code;
 * what was under way before is skipped. Frees p. */
void direct_refused(struct wspeer *p, const char *word, int code);

#endif
