#include "sample-cli/sse.h"

#include <string.h>

void sse_init(struct sse *s,
              int (*event)(void *arg, const char *name, const char *data,
                           size_t len, struct err *e),
              void *arg)
{
    *s = (struct sse){.event = event, .arg = arg};
    buf_init(&s->line, SSE_LINE_MAX);
    buf_init(&s->data, SSE_DATA_MAX);
}

void sse_fini(struct sse *s)
{
    buf_fini(&s->line);
    buf_fini(&s->data);
}

/* An empty line: what has been gathered is an event, if it has data. */
static int sse_dispatch(struct sse *s, struct err *e)
{
    int r = 0;

    if (s->has_data)
        r = s->event(s->arg, s->name[0] ? s->name : "message",
                     buf_cstr(&s->data), s->data.len, e);
    buf_clear(&s->data);
    s->has_data = false;
    s->name[0] = 0;
    return r;
}

static int sse_add_data(struct sse *s, const char *value, size_t len,
                        struct err *e)
{
    if ((s->has_data && buf_append_u8(&s->data, '\n') < 0) ||
        buf_append(&s->data, value, len) < 0)
        return err_set(e, ERR_TOO_LARGE, "an event of more than %zu bytes",
                       SSE_DATA_MAX);
    s->has_data = true;
    return 0;
}

static bool sse_is(const char *line, size_t len, const char *field)
{
    return len == strlen(field) && memcmp(line, field, len) == 0;
}

/* "field: value", "field:value" or "field". Comments (no field), id and retry
 * are of no use here. */
static int sse_line(struct sse *s, struct err *e)
{
    const char *line = buf_cstr(&s->line);
    size_t len = s->line.len, field = len, at = len;
    const char *colon = memchr(line, ':', len);

    if (!s->is_begun && len >= 3 && memcmp(line, "\xef\xbb\xbf", 3) == 0) {
        buf_drop(&s->line, 3);
        s->is_begun = true;
        return sse_line(s, e);
    }
    s->is_begun = true;
    if (len == 0)
        return sse_dispatch(s, e);
    if (colon) {
        field = (size_t)(colon - line);
        at = field + 1;
        at += at < len && line[at] == ' ';
    }
    if (sse_is(line, field, "data"))
        return sse_add_data(s, line + at, len - at, e);
    if (sse_is(line, field, "event")) {
        /* a name that is too long is none we know */
        size_t n = len - at > SSE_NAME_MAX ? SSE_NAME_MAX : len - at;

        memcpy(s->name, line + at, n);
        s->name[n] = 0;
    }
    return 0;
}

int sse_feed(struct sse *s, const void *bytes, size_t len, struct err *e)
{
    const char *p = bytes;
    size_t i = 0;

    while (i < len) {
        size_t n = i;
        int r;

        if (s->was_cr && p[i] == '\n') {
            s->was_cr = false;
            i++;
            continue;
        }
        s->was_cr = false;
        while (n < len && p[n] != '\n' && p[n] != '\r')
            n++;
        if (buf_append(&s->line, p + i, n - i) < 0)
            return err_set(e, ERR_TOO_LARGE, "a line of more than %zu bytes",
                           SSE_LINE_MAX);
        if (n == len)
            break;
        s->was_cr = p[n] == '\r';
        r = sse_line(s, e);
        buf_clear(&s->line);
        if (r < 0)
            return -1;
        i = n + 1;
    }
    return 0;
}
