/*
 * Bringing an archive here: https (http and file: where the operator allows
 * them), every hop and every address judged, resumed with Range after a
 * drop, retried with backoff, hashed while it comes. Blocking; for a worker.
 */
#ifndef PODTERM_AGENT_FETCH_H
#define PODTERM_AGENT_FETCH_H

#include "agent/spec.h"
#include "base/digest.h"
#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

#define FETCH_TRIES_MAX 6    /* connections in all, redirects not counted */
#define FETCH_BACKOFF_MS 200 /* before the second, doubling */
#define FETCH_BACKOFF_MAX_MS 5000
#define FETCH_SLOW_S 10 /* below min_bytes_s that long: given up */

struct fetch_conf {
    const struct agent_spec *spec;
    int file_fd;        /* empty regular file, read-write */
    int slow_s;         /* 0 = FETCH_SLOW_S */
    int64_t backoff_ms; /* 0 = FETCH_BACKOFF_MS */
    void (*progress)(void *arg, int64_t done, int64_t total);
    bool (*is_cancelled)(void *arg);
    void *arg;
};

struct fetch_result {
    int64_t bytes;
    uint8_t sha256[SHA256_BYTES];
    uint8_t blake2b[BLAKE2B_BYTES]; /* when the bundle is signed */
};

/*
 * returns 0 with the whole archive in file_fd; -1 ERR_DENIED (a rule),
 *         ERR_INPUT (the URL, a 4xx, too large), ERR_PEER (the network, after
 *         all tries), ERR_SYSTEM (disk full), ERR_TIMEOUT (cancelled). The
 *         text shows URLs without their query.
 */
int fetch_run(const struct fetch_conf *conf, struct fetch_result *out,
              struct err *e);

#endif
