/*
 * The judgement of an activation and what is kept of it: from the token's
 * bytes to a state file that a session's agent resumes. No sockets.
 * Source: PROTOCOL.md, "Activation"; SECURITY rule 5.
 */
#ifndef PODTERM_AGENT_ACTIVATION_H
#define PODTERM_AGENT_ACTIVATION_H

#include "agent/spec.h"
#include "agent/state.h"
#include "agent/warmfile.h"
#include "base/err.h"
#include "base/json.h"
#include "base/token_activate.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WARM_POOL_MAX 63 /* bytes of a pool's name */
#define WARM_AGE_MAX_S 86400

/* What a warm agent is told in place of a session spec. */
struct warm_spec {
    char pool[WARM_POOL_MAX + 1];
    char psk_id[ID_SIZE]; /* of the pool key */
    int64_t max_age_s;
    struct agent_spec trust; /* token_* alone: whose activations count */
};

bool warm_spec_is(const struct json *root); /* or is it a session's? */
/* 0 and *out (warm_spec_fini), or -1 with ERR_INPUT naming the member. */
int warm_spec_of(const struct json *root, struct warm_spec *out, struct err *e);
void warm_spec_fini(struct warm_spec *w);

struct activation {
    struct activate_claims claims;
    struct agent_spec spec;
    uint8_t digest[SHA256_BYTES]; /* of the token */
};

/*
 * Judge a token for the pod of this UID. The session's spec is judged as a
 * spec file's is, must be the claim's session, of the same installation, and
 * have a key and id of its own.
 *
 * returns  0 and *out (activation_fini), or -1: ERR_TOKEN it is not for us
 *          or not good (any more), ERR_INPUT what it says is not of its form
 */
int activation_read(const struct warm_spec *w,
                    const uint8_t pool_key[SESSION_KEY_BYTES], const char *uid,
                    const void *token, size_t len, int64_t now_s,
                    struct activation *out, struct err *e);
/*
 * Make it the session of the agent whose state file is state_path, whole or
 * not at all: with it, the shim's cookie goes there. 0, or -1 ERR_SYSTEM,
 * ERR_INPUT when the spec is too large.
 */
int activation_keep(const struct activation *a, const struct warmfile *f,
                    const char *state_path, struct err *e);
void activation_fini(struct activation *a); /* wipes */

/* Are these the very bytes that were accepted? */
bool activation_is(const uint8_t digest[SHA256_BYTES], const void *token,
                   size_t len);

#endif
