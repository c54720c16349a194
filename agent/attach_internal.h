/*
 * What agent/attach.c (who is here, and what they say) and
 * agent/attach_send.c (what they are told) share. For these two alone.
 */
#ifndef PODTERM_AGENT_ATTACH_INTERNAL_H
#define PODTERM_AGENT_ATTACH_INTERNAL_H

#include "agent/attach.h"
#include "base/frame.h"

enum attach_phase {
    ATTACH_HELLO,   /* nothing but HELLO is read */
    ATTACH_OPEN,    /* authenticated */
    ATTACH_MOVING,  /* MOVE was sent */
    ATTACH_CLOSING, /* a close is under way: all is ignored */
};

/* What is owed to the peer, sent when the socket can take it. */
enum {
    DUE_INPUT_ACK = 1,
    DUE_RESIZED = 2,
    DUE_PONG = 4,
    DUE_NOTICE = 8,
    DUE_EXIT = 16,
};

struct attach {
    struct attach_set *set;
    struct attach *next;
    struct ws_conn *conn;
    enum attach_phase phase;
    enum role role;
    int viewer; /* as in struct greet */
    unsigned due;
    uint32_t stages_due; /* bit per stage of the state */
    uint64_t sent;       /* next OUTPUT offset */
    uint64_t acked;
    uint64_t jump_from, jump_bytes; /* a viewer's last jump */
    uint64_t pong;
    int64_t opened_ms;
    int64_t moved_ms;
    bool is_exit_sent;
};

struct attach_set {
    struct life *life;
    struct loop *loop;
    struct attach *all; /* list, newest first */
    struct attach *owner;
    struct loop_timer *ack_timer; /* armed while is_ack_waiting */
    bool is_ack_waiting;
    uint64_t input_told; /* by the last INPUT_ACK */
    char notice[256];
    bool is_ended;
    /* One message is made at a time: one buffer serves everybody. */
    uint8_t out[WS_PRE + FRAME_HEAD_MAX + ATTACH_TURN_BYTES];
};

/* For the counter of bytes sent. */
void attach_count_output(size_t len);

/* --- attach_send.c --- */

/* Ask for attach_drained, unless it is not open. */
void attach_want(struct attach *a);
/* Is there output that could go now, or EXIT behind it? */
bool attach_flows(const struct attach *a);
/* The verb: the socket takes a message. */
void attach_drained(void *user);

#endif
