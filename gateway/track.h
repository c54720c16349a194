/*
 * Follows one direction of a relayed WebSocket by its frame heads, so that
 * messages of our own go between others' and never into one, and what
 * RFC 6455 forbids goes no further. Pure; 48 bytes; payload is skipped.
 *
 * A message is bounded with its heads counted, so that one that never ends
 * (2^62 bytes announced, or empty fragments for ever) cannot hold back ours.
 */
#ifndef PODTERM_GATEWAY_TRACK_H
#define PODTERM_GATEWAY_TRACK_H

#include "base/frame.h"
#include "gateway/wsframe.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TRACK_SLACK 4096 /* bytes of heads a fragmented message may cost */
#define TRACK_UP_MAX (FRAME_UP_MAX + TRACK_SLACK)
#define TRACK_DOWN_MAX (FRAME_DOWN_MAX + TRACK_SLACK)
#define TRACK_NO_CUT SIZE_MAX

struct track {
    uint64_t left;    /* payload bytes to come of this frame */
    uint32_t message; /* bytes of this message so far, heads counted */
    uint8_t head[WSFRAME_HEAD_MAX];
    uint8_t head_len;
    bool is_up;        /* client to agent: masked, TRACK_UP_MAX */
    bool in_message;   /* between fragments, or inside one */
    bool ends_message; /* the frame under way is the last fragment */
    bool is_closing;   /* the frame under way is a close frame */
    bool is_closed;    /* a close frame has gone by: nothing may follow */
};

void track_init(struct track *t, bool is_up);

/*
 * Follow len more bytes.
 *
 * cut      offset (1..len) behind the first message or control frame that
 *          ends in these bytes where a whole message may be put in, or
 *          TRACK_NO_CUT
 * returns  0, or an enum wsframe_code: the bytes must not be forwarded
 */
int track_feed(struct track *t, const uint8_t *bytes, size_t len, size_t *cut);

/* May a whole message be put behind what was fed so far? */
bool track_is_between(const struct track *t);
/* May a control frame? (also between two fragments) */
bool track_is_between_frames(const struct track *t);

#endif
