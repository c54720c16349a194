/*
 * One direction of a relayed connection: bytes go from one socket to another
 * without being seen; many by splice(2), through a pipe, few by a copy.
 * Half-closes pass on.
 * One thread: the loop's.
 */
#ifndef PODTERM_AGENT_PROXY_FLOW_H
#define PODTERM_AGENT_PROXY_FLOW_H

#include "base/buf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PROXY_FLOW_TURN (1 << 20) /* bytes at most before others have a turn */
#define PROXY_FLOW_COPY 16384     /* at once: fewer are copied */

struct proxy_flow {
    int pipe[2];      /* owned; -1 until needed */
    size_t held;      /* bytes in it */
    struct buf ahead; /* to be written before what comes: owned */
    size_t ahead_at;
    bool is_many;  /* the last came in such numbers */
    bool is_ended; /* nothing more comes from the source */
    bool is_shut;  /* and that was passed on */
    int64_t bytes; /* passed on */
};

/* ahead_max: at least PROXY_FLOW_COPY. */
void proxy_flow_init(struct proxy_flow *f, size_t ahead_max);
void proxy_flow_fini(struct proxy_flow *f);

/* Bytes wait for the sink to take them? Else the source is to be read. */
bool proxy_flow_is_full(const struct proxy_flow *f);
/* Write what is ahead and in the pipe; when that is gone and the source has
 * ended, end the sink's. 0, or -1: the sink is gone (errno). */
int proxy_flow_drain(struct proxy_flow *f, int to);
/* Move until the source has nothing more, the sink is full, or the turn is
 * over. 0, or -1: one of the two is gone (errno). */
int proxy_flow_move(struct proxy_flow *f, int from, int to);

#endif
