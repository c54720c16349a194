/*
 * Attachments: the podterm.v1 server. One owner who types, at most
 * ATTACH_VIEWERS_MAX viewers who only read and never hold the owner back, and
 * control connections that may only end the session or say who may view it.
 *
 * Per attachment the memory is constant: everything but the few messages of
 * the greeting is made when the socket can take it, from the state's ring and
 * from flags ("an INPUT_ACK is due"), never queued. Loop's thread only.
 */
#ifndef PODTERM_AGENT_ATTACH_H
#define PODTERM_AGENT_ATTACH_H

#include "agent/life.h"
#include "base/err.h"
#include "base/frame.h"
#include "base/metrics.h"
#include "base/ws.h"

#include <stdbool.h>

#define ATTACH_VIEWERS_MAX 8
#define ATTACH_VIEWER_SEATS 2 /* of them, by one subject */
#define ATTACH_CONTROLS_MAX 4
#define ATTACH_WAITING_MAX 16 /* connections that have not said HELLO */
#define ATTACH_HELLO_MS 10000 /* accept to verified HELLO */
/* of OUTPUT in one message: with both heads it fills two TLS records */
#define ATTACH_TURN_BYTES (32768 - 4 - FRAME_HEAD_MAX)
#define ATTACH_ACK_MS 5      /* an INPUT_ACK comes so long after its key, */
#define ATTACH_ACK_SHARE 4   /* or once that part of the window waits */
#define ATTACH_MOVE_MS 10000 /* MOVE to close */

struct attach_set;

struct attach_set *attach_set_new(struct life *life, struct loop *loop);
void attach_set_free(struct attach_set *set); /* takes NULL */
struct life *attach_life(const struct attach_set *set);

/* The verbs for base/ws.h; the server's arg is the attach_set. */
extern const struct ws_verbs attach_verbs;

/* The session has something new for everybody. */
void attach_output(struct attach_set *set);
void attach_input_acked(struct attach_set *set);
void attach_stage(struct attach_set *set, const struct state_stage *st);
void attach_resized(struct attach_set *set);
void attach_ended(struct attach_set *set); /* EXIT behind the last OUTPUT */
/* A note to owners ("idle: ends in 60 s"); a STAGE that is not kept. */
void attach_notice(struct attach_set *set, const char *detail);

/* These will be the viewers: who is not among them any more is cut off. Before
 * they stand in the life's spec. */
void attach_viewers(struct attach_set *set, const struct frame_viewers *next);

bool attach_has_owner(const struct attach_set *set);
/* Did the owner get and acknowledge all, EXIT included? */
bool attach_owner_is_done(const struct attach_set *set);
/* Has everybody been sent EXIT? */
bool attach_all_told(const struct attach_set *set);
/* Close all with 1000, or with an error when reason is not NULL. */
void attach_close_all(struct attach_set *set, enum err_kind kind,
                      const char *reason);
int attach_count(const struct attach_set *set);
void attach_tick(struct attach_set *set, int64_t now_ms);

/* Counters for /metrics. */
struct metric *attach_metrics(size_t *count);

#endif
