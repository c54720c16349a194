#include "base/metrics.h"

#include <string.h>

/* upper bounds in microseconds: 100 us to 60 s */
static const int64_t bounds_us[HISTOGRAM_BUCKETS] = {
    100,   250,    500,    1000,    2500,    5000,     10000,
    50000, 100000, 250000, 1000000, 5000000, 10000000, 60000000};

void histogram_add(struct histogram *h, int64_t us)
{
    int i = 0;

    while (i < HISTOGRAM_BUCKETS && us > bounds_us[i])
        i++;
    atomic_fetch_add_explicit(&h->bucket[i], 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&h->sum_us, us, memory_order_relaxed);
}

static int metrics_rows(struct buf *out, struct metric *rows, size_t count)
{
    const char *last = "";

    for (size_t i = 0; i < count; i++) {
        struct metric *m = &rows[i];

        if (strcmp(last, m->name) != 0 &&
            buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", m->name, m->help,
                       m->name,
                       m->kind == METRIC_COUNTER ? "counter" : "gauge") < 0)
            return -1;
        last = m->name;
        if (buf_printf(out, "%s%s%s%s %lld\n", m->name, m->labels[0] ? "{" : "",
                       m->labels, m->labels[0] ? "}" : "",
                       (long long)metric_get(m)) < 0)
            return -1;
    }
    return 0;
}

static int metrics_histogram(struct buf *out, struct histogram *h)
{
    int64_t sum = 0;

    if (buf_printf(out, "# HELP %s %s\n# TYPE %s histogram\n", h->name, h->help,
                   h->name) < 0)
        return -1;
    for (int i = 0; i <= HISTOGRAM_BUCKETS; i++) {
        sum += atomic_load_explicit(&h->bucket[i], memory_order_relaxed);
        if (i < HISTOGRAM_BUCKETS
                ? buf_printf(out, "%s_bucket{le=\"%g\"} %lld\n", h->name,
                             (double)bounds_us[i] / 1e6, (long long)sum) < 0
                : buf_printf(out, "%s_bucket{le=\"+Inf\"} %lld\n", h->name,
                             (long long)sum) < 0)
            return -1;
    }
    return buf_printf(out, "%s_sum %.6f\n%s_count %lld\n", h->name,
                      (double)atomic_load(&h->sum_us) / 1e6, h->name,
                      (long long)sum);
}

int metrics_text(struct buf *out, struct metric *rows, size_t count,
                 struct histogram *hists, size_t hist_count)
{
    if (metrics_rows(out, rows, count) < 0)
        return -1;
    for (size_t i = 0; i < hist_count; i++)
        if (metrics_histogram(out, &hists[i]) < 0)
            return -1;
    return 0;
}
