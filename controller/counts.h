/*
 * The controller's metrics. Rows are atomics: any thread counts.
 */
#ifndef PODTERM_CONTROLLER_COUNTS_H
#define PODTERM_CONTROLLER_COUNTS_H

#include "base/buf.h"
#include "base/vocab.h"

#include <stdint.h>

enum count {
    COUNT_REQUESTS_2XX,
    COUNT_REQUESTS_4XX,
    COUNT_REQUESTS_5XX,
    COUNT_REFUSED_IDENTITY,
    COUNT_REFUSED_QUOTA,
    COUNT_REFUSED_BUSY, /* no worker free */
    COUNT_CREATED,
    COUNT_REPLAYED,
    COUNT_TOKENS,
    COUNT_TAKEN_UP,
    COUNT_WOKEN,  /* sessions that took a warm runner */
    COUNT_WARM,   /* gauge: warm runners that are ready */
    COUNT_LEADER, /* gauge: 1 = this process leads (controller/lease.h) */
    COUNT_LEASE_TRANSITIONS, /* it began to, or ceased */
    COUNT_LIVE,              /* gauge */
    COUNT_ENDED,             /* first of REASON_COUNT rows, by reason */
    COUNT_ROWS = COUNT_ENDED + REASON_COUNT,
};

void count_add(enum count which, int64_t n);
void count_set(enum count which, int64_t value); /* a gauge */
int64_t count_get(enum count which);
void count_ended(enum end_reason reason);
void count_request(int status, int64_t us); /* and its time */
void count_start(int64_t us); /* from create to the agent listening */
int counts_text(struct buf *out);

#endif
