/*
 * Identity tokens: whose they are. One issuer, audience and key set; the
 * set comes from a URL, is cached, and is fetched again when it is old or a
 * token names a key it lacks, at most once in IDENTITY_REFETCH_MS, by a
 * thread of its own. A fetch that fails leaves the last good set in use.
 *
 * Threads: identity_check may be called by any thread (worker pool only). It
 * waits for a fetch that it needs until that fetch is IDENTITY_WAIT_MS old,
 * and only waiters_max callers at once do: whatever the provider does, and
 * whoever asks, the pool serves on.
 * Source: OpenID Connect Core 3.1.3.7; SECURITY rules 12 and 16.
 */
#ifndef PODTERM_CONTROLLER_IDENTITY_H
#define PODTERM_CONTROLLER_IDENTITY_H

#include "base/err.h"
#include "base/token.h"
#include "controller/routes.h"

#include <stdint.h>

#define IDENTITY_REFETCH_MS 10000      /* between fetches for unknown kids */
#define IDENTITY_WAIT_MS 1000          /* whole seconds */
#define IDENTITY_WAITERS_MAX 2         /* threads a fetch may hold */
#define IDENTITY_AGE_MIN_MS 60000      /* a set is used that long, at least */
#define IDENTITY_AGE_DEFAULT_MS 300000 /* without Cache-Control */
#define IDENTITY_AGE_MAX_MS 86400000
#define IDENTITY_JWKS_MAX 262144 /* bytes of a key set */

struct identity;

struct identity_conf {
    const char *issuer, *audience;
    const char *jwks_url; /* NULL: `keys` are all there is */
    const char *ca_path;
    struct token_keys *keys; /* taken over; NULL with jwks_url */
    /* Fetch the key set: 0 with *keys the caller's and *age_ms, or -1.
     * NULL = over HTTP. Tests put their own here. */
    int (*fetch)(void *arg, struct token_keys **keys, int64_t *age_ms,
                 struct err *e);
    void *fetch_arg;
    int waiters_max;         /* callers that may wait at once; fewer than
                                there are threads */
    int64_t (*now_ms)(void); /* monotonic; NULL = the real one */
};

struct identity *identity_new(const struct identity_conf *conf);
void identity_free(struct identity *id);

/*
 * Judge the Authorization header.
 *
 * authorization  "Bearer TOKEN", or NULL when there was none
 * returns        0 with *who, or -1: ERR_TOKEN (absent, malformed, refused:
 *                final), ERR_SYSTEM (no key set could be had, or the token
 *                names a key that a set not asked for since may have: come
 *                again)
 */
int identity_check(struct identity *id, const char *authorization,
                   struct owner *who, struct err *e);

#endif
