#include "runner-image/parts.h"

#include <errno.h>
#include <string.h>

uint64_t start_take(struct reader *r, size_t width)
{
    uint64_t v = 0;

    if (r->left < width) {
        r->is_bad = true;
        return 0;
    }
    for (size_t i = 0; i < width; i++)
        v = v << 8 | r->at[i];
    r->at += width;
    r->left -= width;
    return v;
}

/* A string, moved to the front of its own length field so that there is room
 * for the terminator. */
static char *take_string(struct reader *r)
{
    uint8_t *room = r->at;
    size_t len = (size_t)start_take(r, 4);

    if (r->is_bad || len > r->left || memchr(r->at, 0, len)) {
        r->is_bad = true;
        return NULL;
    }
    memmove(room, r->at, len);
    room[len] = 0;
    r->at += len;
    r->left -= len;
    return (char *)room;
}

static void take_strings(struct reader *r, char **out, size_t min, size_t max)
{
    size_t count = (size_t)start_take(r, 2);

    if (count < min || count > max)
        r->is_bad = true;
    for (size_t i = 0; i < count && !r->is_bad; i++)
        out[i] = take_string(r);
    out[r->is_bad ? 0 : count] = NULL;
}

static void take_ports(struct reader *r, uint16_t *out, int *count)
{
    *count = (int)start_take(r, 1);
    if (*count > SHIM_PORTS_MAX)
        r->is_bad = true;
    for (int i = 0; i < *count && !r->is_bad; i++)
        out[i] = (uint16_t)start_take(r, 2);
}

static void take_filter(struct reader *r, struct start *out, int i)
{
    size_t count;

    out->filters[i].when = (uint8_t)start_take(r, 1);
    count = (size_t)start_take(r, 2);
    if (out->filters[i].when > SHIM_UNLESS_PORTS || count < 1 ||
        count > SHIM_FILTER_MAX)
        r->is_bad = true;
    for (size_t at = 0; at < count && !r->is_bad; at++) {
        struct sock_filter *one = &out->filters[i].code[at];

        one->code = (uint16_t)start_take(r, 2);
        one->jt = (uint8_t)start_take(r, 1);
        one->jf = (uint8_t)start_take(r, 1);
        one->k = (uint32_t)start_take(r, 4);
    }
    out->filters[i].count = (uint16_t)count;
}

static void take_cage(struct reader *r, struct start *out)
{
    out->want = (uint8_t)start_take(r, 1);
    out->must = (uint8_t)start_take(r, 1);
    out->filter_count = (int)start_take(r, 1);
    if (out->filter_count > SHIM_FILTERS_MAX ||
        (out->want | out->must) & ~SHIM_LAYERS_ALL)
        r->is_bad = true;
    for (int i = 0; i < out->filter_count && !r->is_bad; i++)
        take_filter(r, out, i);
    take_strings(r, out->readable, 0, SHIM_PATHS_MAX);
    take_strings(r, out->writable, 0, SHIM_PATHS_MAX);
    take_ports(r, out->ports, &out->port_count);
}

int start_read(uint8_t *body, size_t len, struct start *out)
{
    struct reader r = {body, len, false};

    out->size.ws_col = (unsigned short)start_take(&r, 2);
    out->size.ws_row = (unsigned short)start_take(&r, 2);
    if (start_take(&r, 1) != SHIM_SANDBOX_VERSION)
        return r.is_bad ? EPROTO : ENOTSUP;
    out->isolation = (uint8_t)start_take(&r, 1);
    out->limits.nproc = start_take(&r, 8);
    out->limits.nofile = start_take(&r, 8);
    out->limits.data_bytes = start_take(&r, 8);
    out->limits.fsize_bytes = start_take(&r, 8);
    out->limits.cpu_s = start_take(&r, 8);
    take_cage(&r, out);
    if (start_take(&r, 1) != SHIM_NETWORK_VERSION)
        return r.is_bad ? EPROTO : ENOTSUP;
    out->egress = (uint8_t)start_take(&r, 1);
    take_ports(&r, out->listen, &out->listen_count);
    out->cwd = take_string(&r);
    take_strings(&r, out->argv, 1, SHIM_ARGS_MAX);
    take_strings(&r, out->env, 0, SHIM_ENV_MAX);
    if (r.is_bad || r.left || out->size.ws_col < 1 || out->size.ws_row < 1 ||
        out->size.ws_col > SHIM_SIZE_MAX || out->size.ws_row > SHIM_SIZE_MAX)
        return EPROTO;
    return 0;
}
