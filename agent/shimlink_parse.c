#include "agent/shimlink.h"

#include "base/buf.h"

#include <string.h>

/* Sizes of bodies from a shim; a type that is not here is refused before its
 * body is waited for. */
static const struct {
    size_t min, max;
} bodies[] = {
    [SHIM_HELLO] = {SHIM_HELLO_BYTES, SHIM_HELLO_BYTES},
    [SHIM_STARTED] = {SHIM_STARTED_BYTES, SHIM_STARTED_BYTES},
    [SHIM_EXITED] = {SHIM_EXITED_BYTES, SHIM_EXITED_BYTES},
    [SHIM_STOPPING] = {0, 0},
    [SHIM_FAILED] = {SHIM_FAILED_BYTES, SHIM_FAILED_BYTES + SHIM_TEXT_MAX},
    [SHIM_LISTENER] = {SHIM_LISTENER_BYTES, SHIM_LISTENER_BYTES},
};

/* The text goes to logs and to the user's screen: ASCII only, no control
 * characters. */
static void parse_text(struct cursor *c, char out[SHIM_TEXT_MAX + 1])
{
    size_t len = cursor_left(c);
    const uint8_t *raw;

    if (buf_take_bytes(c, len, &raw) < 0)
        len = 0;
    for (size_t i = 0; i < len; i++)
        out[i] = raw[i] >= 0x20 && raw[i] < 0x7f ? (char)raw[i] : '?';
    out[len] = 0;
}

static int parse_i32(struct cursor *c, int32_t *out)
{
    uint32_t v;

    if (buf_take_u32(c, &v) < 0)
        return -1;
    *out = (int32_t)v;
    return 0;
}

/* The end of a program: a code of 0..255 or a signal of 1..64. */
static int check_end(const struct shimlink_message *m, struct err *e)
{
    if (m->kind == SHIM_END_CODE && m->value >= 0 && m->value <= 255)
        return 0;
    if ((m->kind == SHIM_END_SIGNAL || m->kind == SHIM_END_MEMORY) &&
        m->value >= 1 && m->value <= 64)
        return 0;
    return err_set(e, ERR_PEER, "shim: exit of kind %u with %d",
                   (unsigned)m->kind, (int)m->value);
}

static int parse_hello(struct cursor *c, struct shimlink_message *m,
                       struct err *e)
{
    if (buf_take_u8(c, &m->version) < 0 || buf_take_u8(c, &m->state) < 0 ||
        buf_take_u8(c, &m->kind) < 0 || parse_i32(c, &m->value) < 0 ||
        buf_take_bytes(c, SHIM_COOKIE_BYTES, &m->cookie) < 0)
        return err_set(e, ERR_PEER, "shim: HELLO is cut short");
    if (m->version != SHIM_VERSION)
        return err_set(e, ERR_PEER, "shim: version %u, not %u",
                       (unsigned)m->version, SHIM_VERSION);
    if (m->state > SHIM_ENDED)
        return err_set(e, ERR_PEER, "shim: state %u", (unsigned)m->state);
    return m->state == SHIM_ENDED ? check_end(m, e) : 0;
}

static int parse_body(struct cursor *c, struct shimlink_message *m,
                      struct err *e)
{
    bool is_cut = false;

    switch (m->type) {
    case SHIM_HELLO:
        return parse_hello(c, m, e);
    case SHIM_EXITED:
        is_cut = buf_take_u8(c, &m->kind) < 0 || parse_i32(c, &m->value) < 0;
        if (!is_cut)
            return check_end(m, e);
        break;
    case SHIM_STARTED:
        is_cut = parse_i32(c, &m->value) < 0 || buf_take_u8(c, &m->held) < 0 ||
                 buf_take_u8(c, &m->landlock) < 0;
        m->held &= SHIM_LAYERS_ALL;
        break;
    case SHIM_LISTENER:
        is_cut = buf_take_u16(c, &m->port) < 0;
        break;
    case SHIM_FAILED:
        is_cut = parse_i32(c, &m->value) < 0;
        parse_text(c, m->text);
        break;
    default: /* STOPPING has no body */
        break;
    }
    return is_cut ? err_set(e, ERR_PEER, "shim: message is cut short") : 0;
}

int shimlink_parse(const void *bytes, size_t len, struct shimlink_message *out,
                   size_t *used, struct err *e)
{
    struct cursor c = cursor_of(bytes, len), body;
    struct shimlink_message m = {0};
    const uint8_t *raw;
    uint32_t size;
    uint8_t type;

    if (buf_take_u32(&c, &size) < 0)
        return 0;
    if (size < 1 || size > SHIM_MESSAGE_MAX)
        return err_set(e, ERR_PEER, "shim: message of %u bytes",
                       (unsigned)size);
    if (buf_take_u8(&c, &type) < 0)
        return 0;
    if (type < SHIM_HELLO || type > SHIM_LISTENER ||
        size - 1 < bodies[type].min || size - 1 > bodies[type].max)
        return err_set(e, ERR_PEER, "shim: message of type 0x%02x, %u bytes",
                       (unsigned)type, (unsigned)size);
    if (buf_take_bytes(&c, size - 1, &raw) < 0)
        return 0;
    body = cursor_of(raw, size - 1);
    m.type = type;
    if (parse_body(&body, &m, e) < 0)
        return -1;
    *out = m;
    *used = SHIM_LENGTH_BYTES + size;
    return 1;
}
