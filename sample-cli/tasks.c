#include "sample-cli/tasks.h"

#include <stdarg.h>
#include <stdio.h>

static void tasks_show(struct tasks *t, enum tasks_event event)
{
    if (t->view.show)
        t->view.show(t->view.arg, t, event, t->now_ms());
}

void tasks_tick(struct tasks *t)
{
    tasks_show(t, TASKS_TICK);
}

void task_tell(struct tasks *t, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(t->items[t->at].detail, TASK_DETAIL_MAX, fmt, ap);
    va_end(ap);
}

static void tasks_do(struct tasks *t, struct task *task)
{
    struct err e = {0};
    int r;

    task->state = TASK_RUNNING;
    tasks_show(t, TASKS_STATE);
    r = task->run(t, t->arg, &e);
    if (r < 0)
        task_tell(t, "%s", e.text);
    task->state = r < 0 ? TASK_FAILED : r > 0 ? TASK_SKIPPED : TASK_DONE;
    tasks_show(t, TASKS_STATE);
}

int tasks_run(struct tasks *t)
{
    bool is_over = false;
    int failed = 0;

    t->at = 0;
    tasks_show(t, TASKS_BEGIN);
    for (size_t i = 0; i < t->count; i++) {
        struct task *task = &t->items[i];

        t->at = i;
        if (is_over) {
            task->state = TASK_SKIPPED;
            tasks_show(t, TASKS_STATE);
            continue;
        }
        tasks_do(t, task);
        failed += task->state == TASK_FAILED;
        is_over = task->state == TASK_FAILED && task->is_needed;
    }
    tasks_show(t, TASKS_END);
    return failed;
}
