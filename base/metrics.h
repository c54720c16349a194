/*
 * Prometheus text metrics (exposition format 0.0.4). Counters and gauges are
 * plain rows in a table of the service; the values are atomics, so any
 * thread may change them.
 */
#ifndef PODTERM_BASE_METRICS_H
#define PODTERM_BASE_METRICS_H

#include "base/buf.h"

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

enum metric_kind { METRIC_COUNTER, METRIC_GAUGE };

struct metric {
    const char *name;   /* podterm_gateway_connections_total */
    const char *labels; /* reason="idle" or "" ; fixed, from our tables */
    enum metric_kind kind;
    const char *help; /* rows of one name stand together; first one's help */
    _Atomic int64_t value;
};

static inline void metric_add(struct metric *m, int64_t n)
{
    atomic_fetch_add_explicit(&m->value, n, memory_order_relaxed);
}
static inline void metric_set(struct metric *m, int64_t n)
{
    atomic_store_explicit(&m->value, n, memory_order_relaxed);
}
static inline int64_t metric_get(const struct metric *m)
{
    return atomic_load_explicit(&((struct metric *)m)->value,
                                memory_order_relaxed);
}

/* A histogram with fixed bounds in microseconds. */
#define HISTOGRAM_BUCKETS 14
struct histogram {
    const char *name; /* ..._seconds */
    const char *help;
    _Atomic int64_t bucket[HISTOGRAM_BUCKETS + 1]; /* last = more */
    _Atomic int64_t sum_us;
};
void histogram_add(struct histogram *h, int64_t us);

/* Append to out; 0, or -1 when it is full. */
int metrics_text(struct buf *out, struct metric *rows, size_t count,
                 struct histogram *hists, size_t hist_count);

#endif
