#include "sample-cli/reply.h"

#include "sample-cli/text.h"

void reply_init(struct reply *r, bool is_utf8)
{
    *r = (struct reply){.is_utf8 = is_utf8};
    buf_init(&r->text, REPLY_MAX);
}

void reply_fini(struct reply *r)
{
    buf_fini(&r->text);
}

void reply_start(struct reply *r, struct task *task)
{
    buf_clear(&r->text);
    r->task = task;
    if (task)
        task_say(task, NULL, 0);
}

int reply_add(void *reply, const char *text, size_t len, struct err *e)
{
    struct reply *r = reply;
    struct buf safe;

    if (buf_append(&r->text, text, len) < 0)
        return err_set(e, ERR_TOO_LARGE, "an answer of more than %zu bytes",
                       REPLY_MAX);
    if (!r->task)
        return 0;
    /* "\u{10ffff}" is the longest that one byte can become, of four */
    buf_init(&safe, 10 * len + 1);
    (void)text_escape_lines(&safe, text, len, r->is_utf8);
    task_say(r->task, buf_cstr(&safe), safe.len);
    buf_fini(&safe);
    return 0;
}
