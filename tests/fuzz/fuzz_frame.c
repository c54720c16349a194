/*
 * A frame that is taken lies within its bytes and its limits, is taken in one
 * direction only, and its head written again gives the same bytes; so does a
 * list of viewers.
 */
#include "base/frame.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool has_offset(uint8_t type)
{
    return type == FRAME_INPUT || type == FRAME_OUTPUT ||
           type == FRAME_INPUT_ACK || type == FRAME_OUTPUT_ACK ||
           type == FRAME_PING || type == FRAME_PONG || type == FRAME_VIEWERS;
}

static void check_viewers(const struct frame *f, const uint8_t *data,
                          size_t size)
{
    uint8_t again[FRAME_VIEWERS_BYTES_MAX];
    struct frame_viewers v;

    if (frame_viewers_read(f, &v) < 0)
        return;
    if (v.count > FRAME_VIEWERS_MAX || v.version != f->offset ||
        frame_viewers(again, &v) != size || memcmp(again, data, size) != 0)
        abort();
    for (uint32_t i = 0; i < v.count; i++) {
        int at = frame_viewers_find(&v, v.subjects[i]);

        if (at < 0 || at > (int)i || !v.subjects[i][0])
            abort();
    }
}

static void check(const uint8_t *data, size_t size, bool is_up)
{
    uint8_t head[FRAME_HEAD_MAX];
    struct frame f = {0};
    size_t n;

    if (frame_parse(data, size, is_up, &f) < 0)
        return;
    if (frame_parse(data, size, !is_up, &f) == 0)
        abort();
    if (f.type != data[0] || f.body + f.body_len != data + size ||
        size > (is_up ? FRAME_UP_MAX : FRAME_DOWN_MAX) ||
        frame_name(f.type)[0] == '?')
        abort();
    if (f.type == FRAME_RESIZE || f.type == FRAME_RESIZED)
        n = frame_size(head, f.type, f.cols, f.rows);
    else if (has_offset(f.type))
        n = frame_head_offset(head, f.type, f.offset);
    else
        n = frame_head(head, f.type);
    if (n > size || memcmp(head, data, n) != 0)
        abort();
    if (f.type == FRAME_VIEWERS)
        check_viewers(&f, data, size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    check(data, size, true);
    check(data, size, false);
    return 0;
}
