#include "gateway/track.h"

void track_init(struct track *t, bool is_up)
{
    *t = (struct track){.is_up = is_up};
}

bool track_is_between_frames(const struct track *t)
{
    return t->head_len == 0 && t->left == 0 && !t->is_closed;
}

bool track_is_between(const struct track *t)
{
    return track_is_between_frames(t) && !t->in_message;
}

/* A head is whole: enter the frame. */
static int frame_begin(struct track *t, const struct wsframe *f)
{
    uint64_t max = t->is_up ? TRACK_UP_MAX : TRACK_DOWN_MAX;
    uint64_t size = f->head_len + f->len;

    t->is_closing = f->opcode == WSFRAME_CLOSE;
    t->ends_message = false;
    t->head_len = 0;
    t->left = f->len;
    if (wsframe_is_control(f->opcode))
        return 0;
    if (f->len > max || t->message + size > max)
        return WSFRAME_TOO_LARGE;
    t->message += (uint32_t)size;
    t->in_message = true;
    t->ends_message = f->is_final;
    return 0;
}

/* The last byte of a frame has gone by. */
static void frame_end(struct track *t)
{
    if (t->is_closing)
        t->is_closed = true;
    if (t->ends_message) {
        t->in_message = t->ends_message = false;
        t->message = 0;
    }
}

/* One byte of a head. 0 = go on. */
static int head_byte(struct track *t, uint8_t byte)
{
    struct wsframe f;
    int code;

    if (t->is_closed)
        return WSFRAME_BROKEN;
    t->head[t->head_len++] = byte;
    code = wsframe_read(t->head, t->head_len, t->is_up, t->in_message, &f);
    if (code == WSFRAME_MORE)
        return 0;
    if (code)
        return code;
    code = frame_begin(t, &f);
    if (code == 0 && t->left == 0)
        frame_end(t);
    return code;
}

int track_feed(struct track *t, const uint8_t *bytes, size_t len, size_t *cut)
{
    size_t at = 0;

    *cut = TRACK_NO_CUT;
    while (at < len) {
        if (t->left) {
            size_t step = len - at;

            if (step > t->left)
                step = (size_t)t->left;
            at += step;
            t->left -= step;
            if (t->left == 0)
                frame_end(t);
        } else {
            int code = head_byte(t, bytes[at++]);

            if (code)
                return code;
        }
        if (*cut == TRACK_NO_CUT && track_is_between(t))
            *cut = at;
    }
    return 0;
}
