#include "base/frame.h"

#include "base/buf.h"

#include <string.h>

struct frame_rule {
    uint8_t type;
    bool is_up;
    unsigned roles; /* of FRAME_O, FRAME_V, FRAME_C */
    size_t min, max;
    const char *name;
};

static const struct frame_rule rules[] = {
#define X(name, number, min, max, roles) {number, true, roles, min, max, #name},
    FRAME_UP(X)
#undef X
#define X(name, number, min, max) {number, false, 0, min, max, #name},
        FRAME_DOWN(X)
#undef X
};

#define FRAME_OFFSET_MAX ((uint64_t)1 << 63)

static const struct frame_rule *frame_rule_of(uint8_t type)
{
    for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++)
        if (rules[i].type == type)
            return &rules[i];
    return NULL;
}

static int frame_take_offset(struct cursor *c, struct frame *f)
{
    if (buf_take_u64(c, &f->offset) < 0 || f->offset > FRAME_OFFSET_MAX ||
        cursor_left(c) > FRAME_OFFSET_MAX - f->offset)
        return -1;
    return 0;
}

static int frame_take_size(struct cursor *c, struct frame *f)
{
    if (buf_take_u16(c, &f->cols) < 0 || buf_take_u16(c, &f->rows) < 0)
        return -1;
    if (f->cols < FRAME_CELLS_MIN || f->cols > FRAME_CELLS_MAX ||
        f->rows < FRAME_CELLS_MIN || f->rows > FRAME_CELLS_MAX)
        return -1;
    return 0;
}

static int frame_take_signal(struct cursor *c, struct frame *f)
{
    if (buf_take_u8(c, &f->signal) < 0 || f->signal < FRAME_SIG_INT ||
        f->signal > FRAME_SIG_KILL)
        return -1;
    return 0;
}

/* The fixed part of a body; what is left behind it is body bytes. */
static int frame_take_fields(struct cursor *c, struct frame *f)
{
    switch ((enum frame_type)f->type) {
    case FRAME_INPUT:
    case FRAME_OUTPUT:
    case FRAME_INPUT_ACK:
    case FRAME_OUTPUT_ACK:
        return frame_take_offset(c, f);
    case FRAME_PING:
    case FRAME_PONG:
    case FRAME_VIEWERS:
        return buf_take_u64(c, &f->offset);
    case FRAME_RESIZE:
    case FRAME_RESIZED:
        return frame_take_size(c, f);
    case FRAME_SIGNAL:
        return frame_take_signal(c, f);
    case FRAME_HELLO:
    case FRAME_READY:
    case FRAME_STAGE:
    case FRAME_EXIT:
    case FRAME_ERROR:
    case FRAME_END:
    case FRAME_MOVE:
        return 0;
    }
    return -1;
}

int frame_parse(const void *bytes, size_t len, bool is_up, struct frame *out)
{
    struct cursor c = cursor_of(bytes, len);
    const struct frame_rule *rule;
    struct frame f = {0};

    if (buf_take_u8(&c, &f.type) < 0)
        return -1;
    rule = frame_rule_of(f.type);
    if (!rule || rule->is_up != is_up || cursor_left(&c) < rule->min ||
        cursor_left(&c) > rule->max || frame_take_fields(&c, &f) < 0)
        return -1;
    f.body_len = cursor_left(&c);
    if (buf_take_bytes(&c, f.body_len, &f.body) < 0)
        return -1;
    *out = f;
    return 0;
}

bool frame_is_allowed(enum role role, uint8_t type)
{
    const struct frame_rule *rule = frame_rule_of(type);

    if (!rule || role >= ROLE_COUNT || type == FRAME_HELLO)
        return false;
    return rule->is_up && (rule->roles & 1u << role);
}

static int frame_take_subject(struct cursor *c, char out[FRAME_SUBJECT_SIZE])
{
    uint8_t len;

    if (buf_take_u8(c, &len) < 0 || len == 0 ||
        buf_take_copy(c, out, len) < 0 || memchr(out, 0, len))
        return -1;
    return 0;
}

int frame_viewers_read(const struct frame *f, struct frame_viewers *out)
{
    struct cursor c = cursor_of(f->body, f->body_len);
    struct frame_viewers v = {.version = f->offset};

    for (; cursor_left(&c) > 0; v.count++)
        if (v.count == FRAME_VIEWERS_MAX ||
            frame_take_subject(&c, v.subjects[v.count]) < 0)
            return -1;
    *out = v;
    return 0;
}

size_t frame_viewers(uint8_t *out, const struct frame_viewers *v)
{
    size_t at = frame_head_offset(out, FRAME_VIEWERS, v->version);

    for (uint32_t i = 0; i < v->count; i++) {
        size_t len = strlen(v->subjects[i]);

        out[at++] = (uint8_t)len;
        memcpy(out + at, v->subjects[i], len);
        at += len;
    }
    return at;
}

int frame_viewers_find(const struct frame_viewers *v, const char *subject)
{
    for (uint32_t i = 0; i < v->count; i++)
        if (strcmp(v->subjects[i], subject) == 0)
            return (int)i;
    return -1;
}

const char *frame_name(uint8_t type)
{
    const struct frame_rule *rule = frame_rule_of(type);

    return rule ? rule->name : "?";
}

size_t frame_head(uint8_t *out, uint8_t type)
{
    out[0] = type;
    return 1;
}

size_t frame_head_offset(uint8_t *out, uint8_t type, uint64_t offset)
{
    out[0] = type;
    for (size_t i = 0; i < 8; i++)
        out[1 + i] = (uint8_t)(offset >> (56 - 8 * i));
    return 9;
}

size_t frame_size(uint8_t *out, uint8_t type, uint16_t cols, uint16_t rows)
{
    out[0] = type;
    out[1] = (uint8_t)(cols >> 8);
    out[2] = (uint8_t)cols;
    out[3] = (uint8_t)(rows >> 8);
    out[4] = (uint8_t)rows;
    return 5;
}
