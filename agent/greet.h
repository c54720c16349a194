/*
 * The JSON messages of an attachment, and the judgement of HELLO. No I/O, no
 * clock: times are passed in. Source: PROTOCOL.md, "JSON bodies".
 */
#ifndef PODTERM_AGENT_GREET_H
#define PODTERM_AGENT_GREET_H

#include "agent/spec.h"
#include "agent/state.h"
#include "base/err.h"
#include "base/frame.h"
#include "base/json.h"

#include <stddef.h>
#include <stdint.h>

/* A HELLO that was found good. */
struct greet {
    enum role role;
    int viewer;           /* where on the list of viewers; -1 = nowhere */
    uint16_t cols, rows;  /* 0 = no wish */
    uint64_t output_from; /* where OUTPUT starts: within the ring */
};

/*
 * Judge HELLO wholly: form, token (signature, times, issuer, audience), this
 * session, these bytes, this owner or one of its viewers, first use. The
 * token id is remembered in the state.
 *
 * returns 0, or -1: ERR_INPUT, ERR_TOKEN, ERR_DENIED, ERR_BUSY
 */
int greet_hello(const struct agent_spec *spec, struct state *s,
                const struct frame *hello, int64_t now_s, struct greet *out,
                struct err *e);

/* What a peer is told for a kind of refusal: fixed sentences. */
const char *greet_sentence(enum err_kind kind);

/* Bodies, the caller's (json_free). */
struct json *greet_ready(const struct agent_spec *spec,
                         const struct state_head *h, enum role role,
                         uint64_t output_from);
struct json *greet_stage(const struct state_stage *st);
struct json *greet_notice(const struct state_head *h, const char *detail,
                          int64_t now_wall_ms);
struct json *greet_exit(const struct state_head *h);

/* A whole JSON message into out. Returns its bytes, at most cap: our own
 * bodies are far below every limit (asserted). */
size_t greet_json(uint8_t *out, size_t cap, uint8_t type, const struct json *j);

#endif
