/*
 * One connection to the gateway, from the first address dialled to its close.
 * It looks at frames only as far as their form; what they mean is its owner's.
 */
#ifndef PODTERM_CLIENT_LEG_H
#define PODTERM_CLIENT_LEG_H

#include "base/frame.h"
#include "base/loop.h"
#include "base/ws.h"
#include "client/reply.h"
#include "client/target.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A connection that says nothing is asked after 10 s, and dead after 10 more:
 * a laptop that slept, a tunnel. */
#define LEG_PING_MS 10000
#define LEG_DEAD_MS 10000
#define LEG_DIAL_MS 10000 /* for each address */

struct leg;

struct leg_verbs {
    /* Established: the body of HELLO, in fresh memory that is wiped and freed
     * once it is sent. */
    char *(*hello)(void *arg, struct leg *l);
    void (*frame)(void *arg, struct leg *l, const struct frame *f);
    void (*drained)(void *arg, struct leg *l);
    /* The end, once; l is freed behind it. code as of ws_verbs; 0 = it was
     * never established. why: what failed, or "". */
    void (*closed)(void *arg, struct leg *l, int code, const char *why);
};

struct leg {
    struct leg *next; /* the owner's list */
    const struct leg_verbs *verbs;
    void *arg;
    struct loop *loop;
    struct ws_context *ws;
    struct ws_conn *conn; /* NULL between two addresses */
    struct loop_timer *timer;
    struct target target;
    const char *ca_path;
    size_t at;         /* address being dialled */
    int64_t opened_ms; /* 0 = not established yet */
    bool is_closing, is_paused;
    bool has_error; /* an ERROR came (kept by the owner) */
    struct reply_error error;
    char why[128];
};

/* Start dialling; every outcome comes by `closed`. */
struct leg *leg_new(struct loop *loop, struct ws_context *ws,
                    const struct target *t, const char *ca_path,
                    const struct leg_verbs *verbs, void *arg);
/* Queue a whole small message; false: the leg is no good any more. */
bool leg_send(struct leg *l, const void *bytes, size_t len);
void leg_want(struct leg *l);
/* Stop and start reading. */
void leg_pause(struct leg *l, bool pause);
/* `closed` follows from the loop; no frame comes any more. */
void leg_close(struct leg *l, int code);
/* At once, without `closed`: only when its ws_context is gone. */
void leg_free(struct leg *l);

#endif
