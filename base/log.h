/*
 * Logging: one JSON object a line on stderr, written with one write(2).
 * {"t":"2026-01-02T03:04:05.678Z","lvl":"info","part":"agent",
 *  "ev":"session.open","sid":"...",...}
 * The sink escapes every string; secrets and terminal content never come
 * here. base/ itself never logs above debug.
 */
#ifndef PODTERM_BASE_LOG_H
#define PODTERM_BASE_LOG_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

#define LOG_STR_MAX 512 /* bytes of a string that are shown; the rest is cut */

enum log_level { LOG_DEBUG_, LOG_INFO_, LOG_WARN_, LOG_ERROR_ };

/* part: name of the process ("gateway"). level: "debug", "info", "warn",
 * "error". -1 when level is none of them. */
int log_init(const char *part, const char *level);
/* The session id added to every line of this process (the agent); "" = none */
void log_session(const char *sid);
/* Where the lines go (default 2). */
void log_fd(int fd);

/*
 * log_info("session.open", "role", "s", "owner", "bytes", "i", (int64_t)9,
 *          NULL): triples of name, kind and value. kinds: "s" const char *
 * (NULL = null), "i" int64_t, "b" int as boolean, "f" double.
 */
void log_write(enum log_level level, const char *event, ...);
#define log_debug(...) log_write(LOG_DEBUG_, __VA_ARGS__)
#define log_info(...) log_write(LOG_INFO_, __VA_ARGS__)
#define log_warn(...) log_write(LOG_WARN_, __VA_ARGS__)
#define log_error(...) log_write(LOG_ERROR_, __VA_ARGS__)
/* event with the error's kind word and text */
void log_err(const struct err *e, const char *event);

/* At most `burst` lines, then one every interval_ms; the next line let
 * through carries "suppressed". For lines a peer can provoke:
 *     static struct log_rate rate = {.burst = 10, .interval_ms = 1000};
 *     if (log_rate_ok(&rate, now_ms)) log_warn(...); */
struct log_rate {
    int burst;
    int interval_ms;
    int64_t next_ms;    /* private */
    int used;           /* private */
    bool told;          /* private */
    int64_t suppressed; /* since the last line let through */
};
bool log_rate_ok(struct log_rate *r, int64_t now_ms);

#endif
