/*
 * Activations for tests/lib/agentbox.h: their tokens, right or bent, and the
 * request as a controller, or somebody else, would send it.
 */
#ifndef PODTERM_TESTS_LIB_WARMPOST_H
#define PODTERM_TESTS_LIB_WARMPOST_H

#include "base/token_activate.h"
#include "tests/lib/agentbox.h"

/* The box's session, for AGENTBOX_POD, from now on. change: may be NULL; the
 * caller's (free). */
char *warm_token(struct agentbox *b, void (*change)(struct activate_claims *c));

/* TLS with this key; NULL where it is refused. */
struct wspeer *warm_dial(struct agentbox *b, const char *id,
                         const uint8_t *key);
struct wspeer *warm_dial_pool(struct agentbox *b);
/* The head of the request, for a body of len bytes. */
void warm_head(struct wspeer *p, size_t len);
/* What comes: the status; 0 = the connection ended without one. */
int warm_status(struct wspeer *p);

/* All of it under the pool's or the session's key: the status; 0 = no answer,
 * -1 = TLS was refused. */
int warm_post(struct agentbox *b, const char *token);
int warm_post_session(struct agentbox *b, const char *token);

#endif
