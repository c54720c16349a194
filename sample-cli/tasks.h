/*
 * A list of tasks done one after another, and told to a view as they go. It
 * knows nothing of what they do, nor of terminals: a program gives the tasks
 * and a view (sample-cli/screen.h has two).
 *
 *   PENDING -> RUNNING -> DONE | FAILED | SKIPPED
 *
 * A task that fails does not stop the list, unless it is needed: then all
 * later ones are skipped.
 */
#ifndef PODTERM_SAMPLE_CLI_TASKS_H
#define PODTERM_SAMPLE_CLI_TASKS_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TASK_DETAIL_MAX 256 /* bytes of what a task says of itself */

enum task_state {
    TASK_PENDING,
    TASK_RUNNING,
    TASK_DONE,
    TASK_FAILED,
    TASK_SKIPPED,
};

enum tasks_event {
    TASKS_BEGIN, /* nothing has run yet */
    TASKS_STATE, /* a task has started or ended */
    TASKS_TICK,  /* time has passed, or a detail has changed */
    TASKS_END,   /* nothing will run any more */
};

struct tasks;

struct task {
    const char *title;
    /* Does the task. 0; 1 = there was nothing to do (SKIPPED); -1 = FAILED,
     * the reason in *e. May call task_tell and tasks_tick. */
    int (*run)(struct tasks *t, void *arg, struct err *e);
    bool is_needed;
    /* kept by the list: */
    enum task_state state;
    char detail[TASK_DETAIL_MAX]; /* safe to show */
};

struct tasks_view {
    void (*show)(void *arg, const struct tasks *t, enum tasks_event event,
                 int64_t now_ms);
    void *arg;
};

struct tasks {
    struct task *items; /* borrowed */
    size_t count;
    size_t at; /* the one that runs, or ran last */
    void *arg; /* handed to every task */
    struct tasks_view view;
    int64_t (*now_ms)(void); /* monotonic */
};

/* Run them all. Returns how many failed. */
int tasks_run(struct tasks *t);
/* From within a task: what it is at, or has found. The text must be safe to
 * show. */
void task_tell(struct tasks *t, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
/* From within a task, often: lets the view move. */
void tasks_tick(struct tasks *t);

#endif
