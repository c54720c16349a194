/*
 * The messages a gateway says itself: ERROR, STAGE, MOVE, close and ping, as
 * whole WebSocket frames towards a client. Pure.
 * Source: PROTOCOL.md, "JSON bodies" and "Refusals".
 */
#ifndef PODTERM_GATEWAY_SAY_H
#define PODTERM_GATEWAY_SAY_H

#include "base/buf.h"
#include "base/err.h"
#include "base/vocab.h"

#include <stdbool.h>
#include <stdint.h>

#define SAY_MAX 2200 /* bytes of ERROR and close together */

/* Why a client is sent away. */
struct refusal {
    enum err_kind kind;     /* an in-band refusal; ERR_NONE: close_code alone */
    int close_code;         /* with ERR_NONE: 1002, 1003, 1009, 1012 ... */
    const char *message;    /* a sentence for the user */
    int64_t retry_after_ms; /* 0 = not told */
    /* with ERR_ENDED */
    const char *detail; /* a sentence on the end; NULL or "" = none */
    enum end_reason reason;
    bool has_exit;
    int exit_code, exit_signal;
    int64_t output_end;
};

/* ERROR and the close frame of r, appended to out (max SAY_MAX). */
void say_refusal(struct buf *out, const struct refusal *r);
/* A STAGE message; detail "" = none. */
void say_stage(struct buf *out, const char *stage, const char *state,
               int64_t ms, const char *detail);
void say_move(struct buf *out);
void say_close(struct buf *out, int code);
/* The answer to a client's close: its code, never its text, and 1002 to one
 * that may not be sent. */
void say_close_back(struct buf *out, const uint8_t *payload, size_t len);
/* The word and close code that a kind has for a client. */
const char *say_word(enum err_kind kind);

#endif
