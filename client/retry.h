/*
 * When to try again: 100 ms, doubling to 5 s, with jitter so that many
 * clients of one gateway do not come back in step. Pure.
 */
#ifndef PODTERM_CLIENT_RETRY_H
#define PODTERM_CLIENT_RETRY_H

#include <stdint.h>

#define RETRY_FIRST_MS 100
#define RETRY_MAX_MS 5000
#define RETRY_ASKED_MAX_MS 60000 /* a server may ask for that much */

struct retry {
    int step;
};

/* Milliseconds to wait now: between half of the step and the whole of it, at
 * least asked_ms (what the server asked for, 0 = nothing). random: any. */
int64_t retry_next(struct retry *r, int64_t asked_ms, uint32_t random);
/* A connection held: start over. */
void retry_reset(struct retry *r);

#endif
