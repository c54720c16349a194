#include "sample-cli/claude_read.h"

#include "base/json.h"

#include <stdio.h>
#include <string.h>

void claude_read_init(struct claude_read *c,
                      int (*text)(void *arg, const char *text, size_t len,
                                  struct err *e),
                      void *arg)
{
    *c = (struct claude_read){.message = {.text = text, .arg = arg}};
    buf_init(&c->line, CLAUDE_LINE_MAX);
}

void claude_read_fini(struct claude_read *c)
{
    buf_fini(&c->line);
}

/* The end: an error, or the text whole, where it did not come in parts. */
static int claude_read_result(struct claude_read *c, const struct json *j,
                              struct err *e)
{
    const char *text = json_get_str(j, "result");
    const char *kind = json_get_str(j, "subtype");

    c->has_result = true;
    if (json_get_bool(j, "is_error", &c->is_error) < 0)
        c->is_error = !kind || strcmp(kind, "success") != 0;
    if (c->is_error) {
        snprintf(c->said, sizeof(c->said), "%s",
                 text   ? text
                 : kind ? kind
                        : "an error that it does not name");
        return 0;
    }
    if (c->message.has_text || !text || !*text)
        return 0;
    c->message.has_text = true;
    return c->message.text(c->message.arg, text, strlen(text), e);
}

static int claude_read_line(struct claude_read *c, struct err *e)
{
    struct err none = {0};
    const char *line = buf_cstr(&c->line);
    /* a terminal's sequences before it have been seen */
    const char *from = memchr(line, '{', c->line.len);
    own_json struct json *j = NULL;

    if (!from)
        return 0;
    j = json_parse(from, c->line.len - (size_t)(from - line), &none);
    if (json_get_is(j, "type", "stream_event"))
        return message_event(&c->message, json_get(j, "event"), e);
    if (json_get_is(j, "type", "result"))
        return claude_read_result(c, j, e);
    return 0;
}

int claude_read_feed(struct claude_read *c, const void *bytes, size_t len,
                     struct err *e)
{
    const char *p = bytes;

    c->bytes += len;
    if (c->bytes > CLAUDE_BYTES_MAX)
        return err_set(e, ERR_TOO_LARGE, "more than %zu bytes",
                       CLAUDE_BYTES_MAX);
    while (len) {
        const char *lf = memchr(p, '\n', len);
        size_t n = lf ? (size_t)(lf - p) : len;
        int r;

        if (buf_append(&c->line, p, n) < 0)
            return err_set(e, ERR_TOO_LARGE, "a line of more than %zu bytes",
                           CLAUDE_LINE_MAX);
        if (!lf)
            break;
        r = claude_read_line(c, e);
        buf_clear(&c->line);
        if (r < 0)
            return -1;
        p += n + 1;
        len -= n + 1;
    }
    return 0;
}

int claude_read_end(struct claude_read *c, struct err *e)
{
    /* a last line without its end */
    int r = claude_read_line(c, e);

    buf_clear(&c->line);
    if (r < 0)
        return -1;
    if (!c->has_result)
        return err_set(e, ERR_PEER, "it ended without a result");
    if (c->is_error)
        return err_set(e, ERR_PEER, "%s", c->said);
    if (!c->message.has_text)
        return err_set(e, ERR_PEER, "its answer is empty");
    return 0;
}
