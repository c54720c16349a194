#include "gateway/wsframe.h"

#include <string.h>

/* What the first byte alone tells. */
static int first_byte(uint8_t b, bool in_message, struct wsframe *f)
{
    f->opcode = b & 0x0f;
    f->is_final = (b & 0x80) != 0;
    if (b & 0x70)
        return WSFRAME_BROKEN;
    switch (f->opcode) {
    case WSFRAME_CONTINUATION:
        return in_message ? 0 : WSFRAME_BROKEN;
    case WSFRAME_TEXT:
        return in_message ? WSFRAME_BROKEN : WSFRAME_NO_TEXT;
    case WSFRAME_BINARY:
        return in_message ? WSFRAME_BROKEN : 0;
    case WSFRAME_CLOSE:
    case WSFRAME_PING:
    case WSFRAME_PONG:
        return f->is_final ? 0 : WSFRAME_BROKEN;
    default:
        return WSFRAME_BROKEN;
    }
}

/* The second byte: mask bit and the seven bits of length. */
static int second_byte(uint8_t b, bool is_masked, struct wsframe *f)
{
    if (((b & 0x80) != 0) != is_masked)
        return WSFRAME_BROKEN;
    f->len = b & 0x7f;
    if (wsframe_is_control(f->opcode) && f->len > WSFRAME_CONTROL_MAX)
        return WSFRAME_BROKEN;
    if (f->opcode == WSFRAME_CLOSE && f->len == 1)
        return WSFRAME_BROKEN;
    return 0;
}

/* Lengths that would have fitted a shorter form are refused (5.2). */
static int long_length(const uint8_t *bytes, size_t size, struct wsframe *f)
{
    uint64_t n = 0;

    for (size_t i = 0; i < size; i++)
        n = n << 8 | bytes[i];
    if (n < (size == 2 ? 126u : 65536u) || n >> 63)
        return WSFRAME_BROKEN;
    f->len = n;
    return 0;
}

int wsframe_read(const uint8_t *bytes, size_t len, bool is_masked,
                 bool in_message, struct wsframe *out)
{
    struct wsframe f = {0};
    size_t more, at = 2;
    int code;

    if (len < 1)
        return WSFRAME_MORE;
    code = first_byte(bytes[0], in_message, &f);
    if (code)
        return code;
    if (len < 2)
        return WSFRAME_MORE;
    code = second_byte(bytes[1], is_masked, &f);
    if (code)
        return code;
    more = f.len == 126 ? 2 : f.len == 127 ? 8 : 0;
    if (len < at + more)
        return WSFRAME_MORE;
    if (more && (code = long_length(bytes + at, more, &f)))
        return code;
    at += more;
    if (is_masked) {
        if (len < at + 4)
            return WSFRAME_MORE;
        memcpy(f.mask, bytes + at, 4);
        at += 4;
    }
    f.head_len = (uint8_t)at;
    *out = f;
    return 0;
}

size_t wsframe_write(uint8_t out[WSFRAME_HEAD_MAX], uint8_t opcode, size_t len,
                     const uint8_t mask[4])
{
    uint8_t bit = mask ? 0x80 : 0;
    uint64_t n = len;
    size_t at = 2, more = len < 126 ? 0 : len < 65536 ? 2 : 8;

    out[0] = (uint8_t)(0x80 | opcode);
    out[1] = (uint8_t)(bit | (more == 0 ? len : more == 2 ? 126u : 127u));
    for (size_t i = 0; i < more; i++)
        out[at++] = (uint8_t)(n >> (8 * (more - 1 - i)));
    if (mask) {
        memcpy(out + at, mask, 4);
        at += 4;
    }
    return at;
}

void wsframe_mask(uint8_t *bytes, size_t len, const uint8_t mask[4])
{
    for (size_t i = 0; i < len; i++)
        bytes[i] ^= mask[i & 3];
}
