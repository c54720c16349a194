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
    if (start_take(&r, 1) != SHIM_NETWORK_VERSION)
        return r.is_bad ? EPROTO : ENOTSUP;
    out->egress = (uint8_t)start_take(&r, 1);
    out->cwd = take_string(&r);
    take_strings(&r, out->argv, 1, SHIM_ARGS_MAX);
    take_strings(&r, out->env, 0, SHIM_ENV_MAX);
    if (r.is_bad || r.left || out->size.ws_col < 1 || out->size.ws_row < 1 ||
        out->size.ws_col > SHIM_SIZE_MAX || out->size.ws_row > SHIM_SIZE_MAX)
        return EPROTO;
    return 0;
}
