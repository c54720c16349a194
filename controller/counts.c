#include "controller/counts.h"

#include "base/metrics.h"

#define C(text, label, words)                                                  \
    {                                                                          \
        text, label, METRIC_COUNTER, words, 0                                  \
    }
#define REQUESTS "podterm_controller_requests_total"
#define REFUSED "podterm_controller_refused_total"

static struct metric rows[COUNT_ROWS] = {
    [COUNT_REQUESTS_2XX] = C(REQUESTS, "class=\"2xx\"", "Requests answered"),
    [COUNT_REQUESTS_4XX] = C(REQUESTS, "class=\"4xx\"", ""),
    [COUNT_REQUESTS_5XX] = C(REQUESTS, "class=\"5xx\"", ""),
    [COUNT_REFUSED_IDENTITY] =
        C(REFUSED, "why=\"identity\"", "Requests refused"),
    [COUNT_REFUSED_QUOTA] = C(REFUSED, "why=\"quota\"", ""),
    [COUNT_REFUSED_BUSY] = C(REFUSED, "why=\"busy\"", ""),
    [COUNT_CREATED] =
        C("podterm_controller_sessions_created_total", "", "Sessions made"),
    [COUNT_REPLAYED] = C("podterm_controller_sessions_replayed_total", "",
                         "Creates answered by idempotency key"),
    [COUNT_TOKENS] =
        C("podterm_controller_tokens_total", "", "Session tokens signed"),
    [COUNT_TAKEN_UP] = C("podterm_controller_sessions_taken_up_total", "",
                         "Sessions of an earlier process gone on with"),
    [COUNT_WOKEN] = C("podterm_controller_sessions_woken_total", "",
                      "Sessions that took a warm runner"),
    [COUNT_WARM] = {"podterm_controller_warm_ready", "", METRIC_GAUGE,
                    "Warm runners that are ready", 0},
    [COUNT_LEADER] = {"podterm_leader", "", METRIC_GAUGE,
                      "1 while this controller holds the Lease", 0},
    [COUNT_LEASE_TRANSITIONS] =
        C("podterm_controller_lease_transitions_total", "",
          "Times this controller began or ceased to hold the Lease"),
    [COUNT_LIVE] = {"podterm_controller_sessions_live", "", METRIC_GAUGE,
                    "Sessions that have not ended", 0},
#define X(name, text)                                                          \
    [COUNT_ENDED + REASON_##name] =                                            \
        C("podterm_controller_sessions_ended_total", "reason=\"" text "\"",    \
          "Sessions ended"),
    END_REASONS(X)
#undef X
        /* the row of no reason: an end that was never told */
        [COUNT_ENDED] = C("podterm_controller_sessions_ended_total",
                          "reason=\"unknown\"", "Sessions ended"),
};

static struct histogram times[] = {
    {.name = "podterm_controller_request_seconds",
     .help = "Time to answer a request"},
    {.name = "podterm_controller_start_seconds",
     .help = "Time from create to the agent listening"},
};

void count_add(enum count which, int64_t n)
{
    metric_add(&rows[which], n);
}

void count_set(enum count which, int64_t value)
{
    metric_set(&rows[which], value);
}

int64_t count_get(enum count which)
{
    return metric_get(&rows[which]);
}

void count_ended(enum end_reason reason)
{
    metric_add(&rows[COUNT_ENDED + (int)reason], 1);
}

void count_request(int status, int64_t us)
{
    count_add(status < 400   ? COUNT_REQUESTS_2XX
              : status < 500 ? COUNT_REQUESTS_4XX
                             : COUNT_REQUESTS_5XX,
              1);
    histogram_add(&times[0], us);
}

void count_start(int64_t us)
{
    histogram_add(&times[1], us);
}

int counts_text(struct buf *out)
{
    return metrics_text(out, rows, COUNT_ROWS, times, 2);
}
