/*
 * What a server tells in JSON: READY, STAGE, EXIT and ERROR of podterm.v1,
 * and the end in a session's record. Pure: bytes in, structs out. Strings are
 * kept as they came, cut to size: whoever shows them escapes them. Members
 * that are not known are ignored (these bodies may grow).
 * Source: PROTOCOL.md, "JSON bodies"; controller/openapi.yaml.
 */
#ifndef PODTERM_CLIENT_REPLY_H
#define PODTERM_CLIENT_REPLY_H

#include "base/err.h"
#include "base/json.h"
#include "base/vocab.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define REPLY_WORD_MAX 32
#define REPLY_TEXT_MAX 512

struct reply_ready {
    uint64_t output_from, input_received;
    uint64_t output_seen; /* by owners, so far; 0 where it is not told */
    uint64_t window, input_window; /* bytes, 1..REPLY_WINDOW_MAX */
    bool is_isolated;              /* isolation is "full" */
};
#define REPLY_WINDOW_MAX (4 << 20)

struct reply_stage {
    char stage[REPLY_WORD_MAX];
    char state[REPLY_WORD_MAX]; /* running, done, waiting, failed */
    int64_t ms;                 /* since the session was created */
    int64_t done, total;        /* bytes; -1 = not told */
    char detail[REPLY_TEXT_MAX];
};

struct reply_end {
    int reason; /* enum end_reason; -1 = a word we do not know */
    char word[REPLY_WORD_MAX];
    int code;           /* of the program, 0..255; -1 = none */
    int signal;         /* 1..64; 0 = none */
    int64_t output_end; /* -1 = not told */
    char detail[REPLY_TEXT_MAX];
};

struct reply_error {
    enum err_kind kind; /* ERR_NONE: a word we do not know */
    char message[REPLY_TEXT_MAX];
    int64_t retry_after_ms; /* 0 = none */
    struct reply_end end;   /* with ERR_ENDED */
};

/* Each returns 0, or -1 with ERR_INPUT: the peer does not keep to the
 * protocol. */
int reply_ready(const void *text, size_t len, struct reply_ready *out,
                struct err *e);
int reply_stage(const void *text, size_t len, struct reply_stage *out,
                struct err *e);
int reply_exit(const void *text, size_t len, struct reply_end *out,
               struct err *e);
int reply_error(const void *text, size_t len, struct reply_error *out,
                struct err *e);
/* The end out of a session's record (the API's); false when it has none. */
bool reply_record(const struct json *session, struct reply_end *out);

/* What the client leaves with: the program's code, 128 + signal, or
 * EXIT_PODTERM for any other end. */
int reply_status(const struct reply_end *end);
/* The end in a sentence into out; "" when there is nothing to say (the
 * program exited). */
void reply_sentence(const struct reply_end *end, char *out, size_t size);

#endif
