#include "sample-cli/screen_plain.h"

#include "sample-cli/screen_text.h"

#include <string.h>

static const char *const words[TASK_STATE_COUNT] = {
    [TASK_PENDING] = "wait", [TASK_RUNNING] = "run", [TASK_RETRYING] = "retry",
    [TASK_DONE] = "ok",      [TASK_FAILED] = "FAIL", [TASK_SKIPPED] = "skip",
    [TASK_STOPPED] = "STOP",
};

/* The groups a task is in. */
struct path {
    const struct path *up; /* NULL = it is the list's own */
    const char *title;
};

struct plain {
    const struct screen *s;
    int64_t now_ms;
    uint64_t change; /* the last one there is */
    struct buf *out;
};

static void plain_text(const struct plain *p, const char *text)
{
    screen_text(p->s, text, strlen(text), SIZE_MAX, p->out);
}

static void plain_path(const struct plain *p, const struct path *path)
{
    if (!path)
        return;
    plain_path(p, path->up);
    plain_text(p, path->title);
    buf_append_str(p->out, ": ");
}

static void plain_line(const struct plain *p, const struct task *task,
                       enum task_state state, const struct path *up)
{
    struct buf aside;

    buf_init(&aside, TASK_DETAIL_MAX);
    screen_aside(task, p->now_ms, &aside);
    buf_printf(p->out, "%-5s ", words[state]);
    plain_path(p, up);
    plain_text(p, task->title);
    buf_append_str(p->out, task->detail[0] ? ": " : "");
    plain_text(p, task->detail);
    if (aside.len)
        buf_printf(p->out, " (%s)", buf_cstr(&aside));
    buf_append_str(p->out, "\n");
    buf_fini(&aside);
}

/* Has it been at work for ms, once or (is_again) as often as that, since the
 * last look? */
static bool plain_passes(const struct plain *p, const struct task *task,
                         int64_t ms, bool is_again)
{
    int64_t is = p->now_ms - task->started_ms;
    int64_t was = p->s->looked_ms - task->started_ms;
    int64_t at = is_again ? is / ms * ms : ms;

    return at > 0 && is >= at && was < at;
}

/* The wait may be over by now. */
static bool plain_is_retried(const struct plain *p, const struct task *task)
{
    return task->retried > p->s->change && !task_is_over(task);
}

/* Is there something else to say of it now? */
static bool plain_is_news(const struct plain *p, const struct task *task)
{
    bool is_new = task->change > p->s->change;

    switch (task->state) {
    case TASK_PENDING:
        return false;
    case TASK_RUNNING:
        /* a group does nothing itself until its own run is at work */
        return (!task->tasks || task->has_run) &&
               (plain_passes(p, task, SCREEN_SILENCE_MS, false) ||
                plain_passes(p, task, SCREEN_STILL_MS, true));
    case TASK_RETRYING:
        return plain_passes(p, task, SCREEN_STILL_MS, true);
    default:
        /* a group says something where it has something to say */
        return is_new && (!task->tasks || task->detail[0]);
    }
}

static void plain_tell(struct plain *p, const struct task *items, size_t count,
                       const struct path *up)
{
    for (size_t i = 0; i < count; i++) {
        const struct task *task = &items[i];
        const struct path path = {up, task->title};

        plain_tell(p, task->tasks, task->count, &path);
        if (plain_is_retried(p, task))
            plain_line(p, task, TASK_RETRYING, up);
        else if (plain_is_news(p, task))
            plain_line(p, task, task->state, up);
        if (task->change > p->change)
            p->change = task->change;
    }
}

void screen_plain(struct screen *s, const struct tasks *t, int64_t now_ms)
{
    struct buf out;
    struct plain p = {s, now_ms, s->change, &out};

    buf_init(&out, SCREEN_BYTES_MAX);
    plain_tell(&p, t->items, t->count, NULL);
    s->change = p.change;
    s->looked_ms = now_ms;
    screen_write(s, &out);
    buf_fini(&out);
}
