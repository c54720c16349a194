#include "agent/shimlink_start.h"

#include <string.h>

static int put_string(struct buf *b, const char *text)
{
    size_t len = strlen(text);

    if (len > SHIM_MESSAGE_MAX || buf_append_u32(b, (uint32_t)len) < 0)
        return -1;
    return buf_append(b, text, len);
}

static int put_strings(struct buf *b, const char *const *list, size_t max)
{
    size_t count = 0;
    int r;

    while (list && list[count])
        if (++count > max)
            return -1;
    r = buf_append_u16(b, (uint16_t)count);
    for (size_t i = 0; i < count && r == 0; i++)
        r = put_string(b, list[i]);
    return r;
}

static int put_ports(struct buf *b, const uint16_t *ports, int count)
{
    int r = buf_append_u8(b, (uint8_t)count);

    for (int i = 0; i < count && r == 0; i++)
        r = buf_append_u16(b, ports[i]);
    return r;
}

static int put_filter(struct buf *b, const struct shimlink_filter *f)
{
    int r = 0;

    if (f->count < 1 || f->count > SHIM_FILTER_MAX ||
        buf_append_u8(b, (uint8_t)f->when) < 0 ||
        buf_append_u16(b, (uint16_t)f->count) < 0)
        return -1;
    for (size_t i = 0; i < f->count && r == 0; i++) {
        r = buf_append_u16(b, f->code[i].code) < 0 ||
                    buf_append_u8(b, f->code[i].jt) < 0 ||
                    buf_append_u8(b, f->code[i].jf) < 0
                ? -1
                : buf_append_u32(b, f->code[i].k);
    }
    return r;
}

static int put_cage(struct buf *b, const struct shimlink_cage *c)
{
    int r = 0;

    if (buf_append_u8(b, c->want) < 0 || buf_append_u8(b, c->must) < 0 ||
        buf_append_u8(b, (uint8_t)c->filter_count) < 0)
        return -1;
    for (int i = 0; i < c->filter_count && r == 0; i++)
        r = put_filter(b, &c->filters[i]);
    if (r < 0 || put_strings(b, c->readable, SHIM_PATHS_MAX) < 0 ||
        put_strings(b, c->writable, SHIM_PATHS_MAX) < 0)
        return -1;
    return put_ports(b, c->ports, c->port_count);
}

static int put_limits(struct buf *b, const struct shim_limits *l)
{
    if (buf_append_u64(b, l->nproc) < 0 || buf_append_u64(b, l->nofile) < 0 ||
        buf_append_u64(b, l->data_bytes) < 0 ||
        buf_append_u64(b, l->fsize_bytes) < 0 ||
        buf_append_u64(b, l->cpu_s) < 0)
        return -1;
    return 0;
}

int shimlink_start_put(struct buf *b, const struct shimlink_start *w)
{
    static const struct shimlink_cage none = {0};

    if (buf_append_u16(b, w->cols) < 0 || buf_append_u16(b, w->rows) < 0 ||
        buf_append_u8(b, SHIM_SANDBOX_VERSION) < 0 ||
        buf_append_u8(b, (uint8_t)w->isolation) < 0 ||
        put_limits(b, &w->limits) < 0 ||
        put_cage(b, w->cage ? w->cage : &none) < 0 ||
        buf_append_u8(b, SHIM_NETWORK_VERSION) < 0 ||
        buf_append_u8(b, (uint8_t)w->egress) < 0 ||
        put_ports(b, w->listen, w->listen_count) < 0 ||
        put_string(b, w->cwd) < 0 ||
        put_strings(b, w->argv, SHIM_ARGS_MAX) < 0 ||
        put_strings(b, w->env, SHIM_ENV_MAX) < 0)
        return -1;
    return 0;
}
