/*
 * WebSocket frame heads: read, judged, written. Pure functions; the payload
 * is never looked at. No extension is ever agreed on, so RSV bits are errors.
 * Source: RFC 6455 section 5.
 */
#ifndef PODTERM_GATEWAY_WSFRAME_H
#define PODTERM_GATEWAY_WSFRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WSFRAME_HEAD_MAX 14
#define WSFRAME_CONTROL_MAX 125 /* bytes of a control frame's payload */

enum wsframe_opcode {
    WSFRAME_CONTINUATION = 0,
    WSFRAME_TEXT = 1,
    WSFRAME_BINARY = 2,
    WSFRAME_CLOSE = 8,
    WSFRAME_PING = 9,
    WSFRAME_PONG = 10,
};

enum wsframe_code { /* close codes for broken frames alone */
                    WSFRAME_BROKEN = 1002,
                    WSFRAME_NO_TEXT = 1003,
                    WSFRAME_TOO_LARGE = 1009,
};

#define WSFRAME_MORE 1 /* the head is not whole yet */

struct wsframe {
    uint8_t opcode;
    bool is_final;
    uint8_t head_len;
    uint8_t mask[4]; /* zeroes when not masked */
    uint64_t len;    /* of the payload */
};

static inline bool wsframe_is_control(uint8_t opcode)
{
    return opcode >= WSFRAME_CLOSE;
}

/*
 * Read a frame's head.
 *
 * is_masked  what this direction must be: true from a client
 * in_message a fragmented message is open: continuation frames only
 * returns    0 with *out, WSFRAME_MORE, or an enum wsframe_code. The same
 *            bytes give the same answer however they are cut
 */
int wsframe_read(const uint8_t *bytes, size_t len, bool is_masked,
                 bool in_message, struct wsframe *out);

/* Write the head of a whole message (final, no fragment); mask NULL = none.
 * Returns its bytes, at most WSFRAME_HEAD_MAX. */
size_t wsframe_write(uint8_t out[WSFRAME_HEAD_MAX], uint8_t opcode, size_t len,
                     const uint8_t mask[4]);

/* Mask or unmask in place. */
void wsframe_mask(uint8_t *bytes, size_t len, const uint8_t mask[4]);

#endif
