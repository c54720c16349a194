/*
 * Tells a warm agent which session it is of (PROTOCOL.md, "Activation").
 * Blocking: for a worker's thread.
 */
#ifndef PODTERM_CONTROLLER_ACTIVATE_H
#define PODTERM_CONTROLLER_ACTIVATE_H

#include "base/err.h"
#include "base/seal.h"
#include "base/token_activate.h"

#include <stdbool.h>
#include <stdint.h>

struct activate {
    const char *addr;    /* of the agent: "10.0.0.1:7440" */
    const char *pod_uid; /* of its pod */
    const char *pool_psk_id;
    const uint8_t *pool_key; /* SESSION_KEY_BYTES; as is key */
    const struct token_signer *signer;
    const char *iss;  /* the controller's, as the warm spec names it */
    const char *spec; /* of the session, JSON text */
    const uint8_t *key;
    int deadline_ms; /* for all of it; at most TOKEN_LIFE_S is of use */
    bool *is_ours;   /* set when the session's key opens the door; NULL = not
                      asked for */
};

/*
 * Say it until it is heard or the deadline is there: one token, so that
 * saying it twice is safe. An agent that has taken it listens under the
 * session's key, and there tells whether it was this very token.
 *
 * returns  0 the pod is this session's; or -1:
 *   ERR_CONFLICT   it is another's, or will be nobody's: take another pod
 *   ERR_DENIED     the agent refuses token or spec
 *   ERR_TOO_LARGE  it takes no spec of that size: start a pod for it
 *   ERR_INPUT      the spec is none, or too large for a token
 *   ERR_PEER       no agent answers there
 *   ERR_TIMEOUT    it was reached and is silent: it may have heard
 *   ERR_SYSTEM     the machine
 * After ERR_PEER, ERR_TIMEOUT and ERR_SYSTEM it may be this session's all the
 * same: whom the session's key opens the door, is.
 */
int activate_send(const struct activate *what, struct err *e);

/* The key of one pod where a pool has one secret (SEAL_KEY_BYTES). */
void activate_key(const uint8_t *secret, const char *pod_uid,
                  uint8_t out[SESSION_KEY_BYTES]);

#endif
