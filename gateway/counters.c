#include "gateway/counters.h"

#include "gateway/say.h"

#include <stdio.h>
#include <string.h>

#define P "podterm_gateway_"
#define REFUSED(i, word)                                                       \
    [COUNT_REFUSAL_FIRST + i] = {P "refusals_total", "code=\"" word "\"",      \
                                 METRIC_COUNTER, "in-band refusals by word",   \
                                 0},

struct metric counters[COUNTER_COUNT] = {
    [COUNT_CONNECTIONS] = {P "connections_total", "", METRIC_COUNTER,
                           "connections accepted", 0},
    [COUNT_UNPROVEN] = {P "unproven", "", METRIC_GAUGE,
                        "connections without a verified HELLO", 0},
    [COUNT_ATTACHED] = {P "attached", "", METRIC_GAUGE,
                        "connections with a verified HELLO", 0},
    [COUNT_WAITING] = {P "waiting", "", METRIC_GAUGE,
                       "connections that wait for their session's row", 0},
    [COUNT_BYTES_UP] = {P "bytes_total", "direction=\"up\"", METRIC_COUNTER,
                        "bytes relayed", 0},
    [COUNT_BYTES_DOWN] = {P "bytes_total", "direction=\"down\"", METRIC_COUNTER,
                          "bytes relayed", 0},
    [COUNT_STORE_ERRORS] = {P "store_errors_total", "", METRIC_COUNTER,
                            "store calls that failed", 0},
    [COUNT_KEYSET_ERRORS] = {P "keyset_errors_total", "", METRIC_COUNTER,
                             "key sets that could not be read", 0},
    [COUNT_DIAL_FAILED] = {P "dials_failed_total", "", METRIC_COUNTER,
                           "agents that could not be reached", 0},
#define X(n, s)                                                                \
    [COUNT_CLOSE_FIRST + CLOSE_##n - 1] = {P "closes_total", "why=\"" s "\"",  \
                                           METRIC_COUNTER,                     \
                                           "connections ended by cause", 0},
    CLOSES(X)
#undef X
        REFUSED(0, "bad_request") REFUSED(1, "token") REFUSED(2, "denied")
            REFUSED(3, "replaced") REFUSED(4, "session_ended")
                REFUSED(5, "busy") REFUSED(6, "agent_lost")
                    REFUSED(7, "unavailable") REFUSED(8, "start_timeout")};

struct histogram timings[TIMING_COUNT] = {
    [TIMING_DIAL] = {.name = P "dial_seconds",
                     .help = "address known to the agent's 101"},
    [TIMING_CHECK] = {.name = P "check_seconds",
                      .help = "HELLO whole to token verified and spent"},
};

void count_close(enum close_why why)
{
    if (why != CLOSE_NONE)
        count((enum counter)(COUNT_CLOSE_FIRST + (int)why - 1), 1);
}

void count_refusal(enum err_kind kind)
{
    char label[48];

    snprintf(label, sizeof(label), "code=\"%s\"", say_word(kind));
    for (int i = COUNT_REFUSAL_FIRST; i < COUNTER_COUNT; i++)
        if (strcmp(counters[i].labels, label) == 0)
            count((enum counter)i, 1);
}

const char *close_why_name(enum close_why why)
{
    static const char *const names[] = {[CLOSE_NONE] = "",
#define X(n, s) [CLOSE_##n] = s,
                                        CLOSES(X)
#undef X
    };

    return why >= 0 && why < CLOSE_COUNT ? names[why] : "?";
}

void counters_text(struct buf *out)
{
    metrics_text(out, counters, COUNTER_COUNT, timings, TIMING_COUNT);
}
