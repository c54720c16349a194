/*
 * What the gateway counts. Rows are indexed by the names below; every close
 * and every refusal has one.
 */
#ifndef PODTERM_GATEWAY_COUNTERS_H
#define PODTERM_GATEWAY_COUNTERS_H

#include "base/buf.h"
#include "base/err.h"
#include "base/metrics.h"

/* name, word in logs and labels */
// clang-format off
#define CLOSES(X)                                                              \
    X(REFUSED, "refused") X(CLIENT_LEFT, "client_left")                        \
    X(CLIENT_DEAD, "client_dead") X(AGENT_DONE, "agent_done")                  \
    X(HALF_CLOSED, "half_closed") X(LATE, "late") X(CROWDED, "crowded")        \
    X(ANSWERED, "answered") X(DRAINED, "drained") X(BUG, "bug")
// clang-format on

enum close_why {
    CLOSE_NONE,
#define X(n, s) CLOSE_##n,
    CLOSES(X)
#undef X
        CLOSE_COUNT
};

enum counter {
    COUNT_CONNECTIONS,
    COUNT_UNPROVEN, /* gauges: now */
    COUNT_ATTACHED,
    COUNT_WAITING,
    COUNT_BYTES_UP,
    COUNT_BYTES_DOWN,
    COUNT_STORE_ERRORS,
    COUNT_KEYSET_ERRORS,
    COUNT_DIAL_FAILED,
    COUNT_CLOSE_FIRST,
    COUNT_REFUSAL_FIRST = COUNT_CLOSE_FIRST + CLOSE_COUNT - 1,
    COUNTER_COUNT = COUNT_REFUSAL_FIRST + 9
};

extern struct metric counters[COUNTER_COUNT];

enum timing {
    TIMING_DIAL,  /* address known to the agent's 101 */
    TIMING_CHECK, /* HELLO whole to token verified and spent */
    TIMING_COUNT
};
extern struct histogram timings[TIMING_COUNT];

static inline void count(enum counter c, int64_t n)
{
    metric_add(&counters[c], n);
}
void count_close(enum close_why why);
void count_refusal(enum err_kind kind);
const char *close_why_name(enum close_why why);
/* The exposition text. */
void counters_text(struct buf *out);

#endif
