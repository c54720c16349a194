/*
 * The controller's keys, made at the first start below STATE/keys: the
 * signing key and its standby, the secret session keys come from, and the
 * key they are sealed with. Immutable after loading; shared by threads.
 *
 * Emergency change: remove signer.pem and start again. The standby, which
 * every live session's agent already knows, signs from then on, a new
 * standby is made, and sessions that trust the removed key are ended.
 */
#ifndef PODTERM_CONTROLLER_KEYS_H
#define PODTERM_CONTROLLER_KEYS_H

#include "base/err.h"
#include "base/seal.h"
#include "base/token.h"
#include "base/vocab.h"

#include <stdint.h>

struct keys {
    struct token_signer *signer, *standby;
    struct json *jwks; /* both public halves */
    char *jwks_text;
    uint8_t session_secret[32];
    uint8_t seal[SEAL_KEY_BYTES];
    uint8_t launch_seal[SEAL_KEY_BYTES]; /* never leaves controllers */
};

/*
 * Load what state_dir holds, make what is missing, and publish the key set
 * as state_dir/jwks.json (by rename) for gateways. 0 or -1 with *e.
 */
int keys_load(struct keys *k, const char *state_dir, struct err *e);
/*
 * Take all four from a directory of the operator's (a mounted secret), which
 * several controllers share: none is made or moved there. Published as above.
 */
int keys_take(struct keys *k, const char *dir, const char *state_dir,
              struct err *e);
void keys_fini(struct keys *k); /* wipes; fine on a half-loaded one */

/* The session's pre-shared key: HKDF of session_secret and sid. */
void keys_session(const struct keys *k, const char *sid,
                  uint8_t out[SESSION_KEY_BYTES]);
/* The same, sealed for the session's row. */
void keys_sealed(const struct keys *k, const char *sid,
                 uint8_t out[SEALED_KEY_BYTES]);

/* The key of a warm runner of this id until it is a session's. */
void keys_pool(const struct keys *k, const char *id,
               uint8_t out[SESSION_KEY_BYTES]);

/*
 * Sign a session token that starts now.
 *
 * expires_s  filled with its `exp`
 * returns    the token, the caller's, or NULL with *e
 */
char *keys_token(const struct keys *k, const char *issuer, const char *audience,
                 const char *sid, const char *sub, enum role role,
                 const char *bundle_sha256, int64_t now_s, int64_t *expires_s,
                 struct err *e);

#endif
