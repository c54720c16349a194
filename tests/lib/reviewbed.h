/*
 * sample-cli's review, by the real program: over a small tree, with a stand-in
 * for `claude` on PATH, and with a server that speaks the Messages API's event
 * stream, or worse.
 */
#ifndef PODTERM_TESTS_LIB_REVIEWBED_H
#define PODTERM_TESTS_LIB_REVIEWBED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define REVIEWBED_KEY "sk-test-not-a-real-key"
#define REVIEWBED_ANSWERS 8

/* What a connection gets. */
struct answer {
    const char *bytes; /* NULL = nothing at all */
    size_t piece;      /* bytes of one write; 0 = all */
    int piece_ms;      /* between them; 0 = a moment */
    const char *again; /* then this for ever */
    bool hangs;        /* then nothing, and the connection stays */
};

struct reviewbed {
    char *dir, *tree, *exe;
    char *url; /* ANTHROPIC_BASE_URL=... of the server */
    struct answer answers[REVIEWBED_ANSWERS]; /* of each connection in turn */
    int answered;                             /* connections */
    char request[1 << 17];                    /* the last one */
    int64_t took_ms;                          /* the last run */
};
extern struct reviewbed reviewbed;

/* A cmocka setup and teardown; *state is the server's url. */
int reviewbed_setup(void **state);
int reviewbed_teardown(void **state);
/* Run it over the tree and expect 0; what it prints is the caller's. claude:
 * a script; url, option: NULL = none. Neither the key nor a control character
 * is ever printed. */
char *reviewbed_run(const char *claude, const char *url, const char *option);
void reviewbed_has(const char *out, const char *want);

#define SH "#!/bin/sh\ncat >\"$0.prompt\"\n"
#define GOOD                                                                   \
    SH "cat <<'E'\nnoise\n{\"type\":\"system\"}\n"                             \
       "{\"type\":\"stream_event\",\"event\":{\"type\":\"content_block_"       \
       "delta\""                                                               \
       ",\"delta\":{\"type\":\"text_delta\",\"text\":\"Fine\\u001b[2J.\\nY\"}" \
       "}}\n{\"type\":\"result\",\"subtype\":\"success\",\"is_error\":false,"  \
       "\"result\":\"other\"}\nE\n"
#define NOT_SIGNED_IN                                                          \
    SH "echo '{\"type\":\"result\",\"subtype\":\"success\",\"is_error\":true," \
       "\"result\":\"Not logged in\"}'; exit 1"
#define STREAM "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
#define TEXT(t)                                                                \
    "event: content_block_delta\r\ndata: {\"type\":\"content_block_delta\","   \
    "\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"" t             \
    "\"}}\r\n\r\n"
#define START                                                                  \
    "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{"    \
    "\"model\":\"m\"}}\n\nevent: ping\ndata: {\"type\": \"ping\"}\n\n"
#define STOP(why)                                                              \
    "data: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"" why      \
    "\"}}\n\nevent: message_stop\ndata: {\"type\":\"message_stop\"}\n\n"
#define WHOLE                                                                  \
    STREAM START TEXT("Well ") TEXT("done ä\\u001b[m.") STOP("end_turn")
#define REFUSAL(status, type)                                                  \
    "HTTP/1.1 " status "\r\nContent-Type: application/json\r\n"                \
    "Retry-After: 0\r\nConnection: close\r\n\r\n{\"type\":\"error\","          \
    "\"error\":{\"type\":\"" type "\",\"message\":\"no: " REVIEWBED_KEY "\"}}"

#endif
