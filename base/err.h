/*
 * Errors as values on the caller's stack.
 *
 * A function that can fail takes `struct err *e` last and returns -1 (or
 * NULL) with *e filled; a function that succeeds leaves *e alone. The kind
 * says what to do about it, the text is for our log and our own user, never
 * for a remote peer.
 */
#ifndef PODTERM_BASE_ERR_H
#define PODTERM_BASE_ERR_H

#include <stdbool.h>

/* kind, HTTP status, WebSocket close code, code word (PROTOCOL.md) */
#define ERR_KINDS(X)                                                           \
    X(INPUT, 400, 4400, "bad_request")                                         \
    X(TOKEN, 401, 4401, "token")                                               \
    X(DENIED, 403, 4403, "denied")                                             \
    X(ABSENT, 404, 4403, "not_found")                                          \
    X(CONFLICT, 422, 4400, "conflict")                                         \
    X(REPLACED, 409, 4409, "replaced")                                         \
    X(ENDED, 409, 4410, "session_ended")                                       \
    X(TOO_LARGE, 413, 1009, "too_large")                                       \
    X(BUSY, 429, 4429, "busy")                                                 \
    X(PEER, 502, 4502, "agent_lost")                                           \
    X(SYSTEM, 503, 4503, "unavailable")                                        \
    X(TIMEOUT, 504, 4504, "start_timeout")

enum err_kind {
    ERR_NONE = 0,
#define X(name, http, ws, word) ERR_##name,
    ERR_KINDS(X)
#undef X
        ERR_KIND_COUNT
};

#define ERR_TEXT_MAX 320

struct err {
    enum err_kind kind;
    char text[ERR_TEXT_MAX]; /* one line, no newline, always terminated */
    bool is_full;            /* for want of disk space */
};

/* Fill *e; text is cut at ERR_TEXT_MAX - 1. Always returns -1. */
int err_set(struct err *e, enum err_kind kind, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* Like err_set with ERR_SYSTEM, and ": strerror(errno)" added. Returns -1. */
int err_sys(struct err *e, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* Put "context: " before the text that is there; kind stays. Returns -1. */
int err_wrap(struct err *e, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

#ifdef __clang_analyzer__ /* it sees one file at a time: tell it the result */
#define err_set(...) (err_set(__VA_ARGS__), -1)
#define err_sys(...) (err_sys(__VA_ARGS__), -1)
#define err_wrap(...) (err_wrap(__VA_ARGS__), -1)
#endif

/* HTTP status, WebSocket close code and code word of a kind; ERR_NONE gives
 * 200, 1000 and "ok". */
int err_http_status(enum err_kind kind);
int err_ws_code(enum err_kind kind);
const char *err_word(enum err_kind kind);

#endif
