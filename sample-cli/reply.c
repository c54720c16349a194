#include "sample-cli/reply.h"

#include "base/hush.h"
#include "sample-cli/text.h"

void reply_init(struct reply *r, bool is_utf8)
{
    *r = (struct reply){.is_utf8 = is_utf8};
    buf_init(&r->text, REPLY_MAX);
    buf_init(&r->held, 2 * REPLY_MAX);
}

void reply_fini(struct reply *r)
{
    buf_fini(&r->text);
    buf_fini(&r->held);
}

void reply_start(struct reply *r, struct task *task, const char *key)
{
    buf_clear(&r->text);
    buf_clear(&r->held);
    r->task = task;
    r->key = key;
    if (task)
        task_say(task, NULL, 0);
}

/* Without the key by now. */
static int reply_show(struct reply *r, const char *text, size_t len,
                      struct err *e)
{
    struct buf safe;

    if (buf_append(&r->text, text, len) < 0)
        return err_set(e, ERR_TOO_LARGE, "an answer of more than %zu bytes",
                       REPLY_MAX);
    if (!r->task || !len)
        return 0;
    /* "\u{10ffff}" is the longest that one byte can become, of four */
    buf_init(&safe, 10 * len + 1);
    (void)text_escape_lines(&safe, text, len, r->is_utf8);
    task_say(r->task, buf_cstr(&safe), safe.len);
    buf_fini(&safe);
    return 0;
}

int reply_add(void *reply, const char *text, size_t len, struct err *e)
{
    struct reply *r = reply;
    size_t tail;
    int result;

    if (buf_append(&r->held, text, len) < 0)
        return err_set(e, ERR_TOO_LARGE, "an answer of more than %zu bytes",
                       REPLY_MAX);
    hush_bytes((char *)r->held.data, r->held.len, r->key);
    tail = hush_tail((const char *)r->held.data, r->held.len, r->key);
    result = reply_show(r, (const char *)r->held.data, r->held.len - tail, e);
    buf_drop(&r->held, r->held.len - tail);
    return result;
}

void reply_end(struct reply *r)
{
    struct err e = {0};

    hush_cut((char *)r->held.data, r->held.len, r->key);
    (void)reply_show(r, (const char *)r->held.data, r->held.len, &e);
    buf_clear(&r->held);
}

void reply_hush(const struct reply *r, struct err *e)
{
    hush_err(e, r->key);
    text_escape_err(e, r->is_utf8);
}
