/*
 * A list of tasks that does them, one after another or side by side, and
 * tells a view how they stand. It knows nothing of what they do, nor of
 * terminals or signals: a program gives the tasks, a view (sample-cli/screen.h
 * has two) and, if it likes, a descriptor that says "stop".
 *
 *   PENDING -> RUNNING <-> RETRYING
 *              RUNNING -> DONE | SKIPPED | FAILED | STOPPED
 *   PENDING -> SKIPPED (a needed one failed) | STOPPED (not started any more)
 *
 * A task either does something (`run`) or has tasks of its own (`tasks`), or
 * both: then `run` comes last and says how the whole ended. Without it a
 * group ends as the worst of its tasks did: FAILED, STOPPED, else DONE, and
 * SKIPPED when all were. A task that fails does not stop its neighbours,
 * unless it is needed: then what comes after it is skipped.
 *
 * Use:
 *   static struct task items[] = {
 *       {.title = "Fetch", .run = fetch, .is_needed = true},
 *       {.title = "Check", .tasks = checks, .count = 3, .at_once = 3},
 *   };
 *   struct tasks list = {.items = items, .count = 2, .stop_fd = -1,
 *                        .now_ms = clock, .view = screen_view(&screen)};
 *   int failed = tasks_run(&list);
 * README.md beside this has a whole program, and what to link.
 *
 * Threads: tasks run in threads of the list's; the view and `stop` are called
 * in the one that called tasks_run, which does nothing else, so that the
 * screen moves while every task is busy. A task touches what is its own, or
 * takes care. Signals a program wants to handle it blocks before tasks_run
 * (a signalfd makes a good stop_fd).
 *
 * Texts may hold a stranger's words: titles, details, errors and output are
 * handed to the view as they are, and a view shows them safely (those of
 * screen.h escape what could move a terminal).
 *
 * Stopping: tasks_cancel, or `stop` returning true. Tasks see it by
 * task_is_stopped and return TASK_STOP. One that does not within grace_ms is
 * given up: is_abandoned says so, its thread is still there, and the program
 * must leave by _exit(2) without freeing what the task may touch.
 */
#ifndef PODTERM_SAMPLE_CLI_TASKS_H
#define PODTERM_SAMPLE_CLI_TASKS_H

#include "base/err.h"

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TASK_DETAIL_MAX 256 /* bytes of what a task says of itself */
#define TASK_TAIL_MAX 2048  /* bytes of its output that a view can show */
#define TASKS_AT_ONCE_MAX 16
#define TASKS_TICK_MS 80
#define TASKS_GRACE_MS 3000

/* what a task's run returns */
#define TASK_OK 0
#define TASK_SKIP 1    /* there was nothing to do; the detail may say why */
#define TASK_STOP 2    /* it was told to stop, and has */
#define TASK_FAIL (-1) /* *e says why */

enum task_state {
    TASK_PENDING,
    TASK_RUNNING,
    TASK_RETRYING, /* waits for its next try */
    TASK_DONE,
    TASK_FAILED,
    TASK_SKIPPED,
    TASK_STOPPED,
    TASK_STATE_COUNT,
};

enum tasks_event {
    TASKS_BEGIN, /* nothing has run yet */
    TASKS_STATE, /* tasks have started or ended */
    TASKS_TICK,  /* time has passed, or a detail has changed */
    TASKS_END,   /* nothing will run any more */
};

struct tasks;

struct task {
    const char *title;
    int (*run)(struct task *task, void *arg, struct err *e);
    void *arg;          /* for run; NULL = the list's */
    struct task *tasks; /* borrowed; NULL = none */
    size_t count;
    size_t at_once; /* of its tasks; 0 and 1 = one after another */
    bool is_needed;
    /* kept by the list, all zero at first; a view reads them: */
    enum task_state state;
    uint64_t change;              /* number of its last change of state */
    uint64_t retried;             /* that of its last retry; 0 = none */
    bool has_run;                 /* how it ends is what its own run says */
    int tries;                    /* 1 = the first */
    int64_t started_ms, ended_ms; /* 0 = not yet */
    char detail[TASK_DETAIL_MAX];
    char tail[TASK_TAIL_MAX]; /* the end of its output */
    /* private: */
    struct tasks *list;
};

struct tasks_view {
    void (*show)(void *arg, const struct tasks *t, enum tasks_event event,
                 int64_t now_ms);
    void *arg;
};

struct tasks {
    struct task *items; /* borrowed */
    size_t count;
    void *arg; /* handed to every task that has none of its own */
    struct tasks_view view;
    int64_t (*now_ms)(void); /* monotonic, > 0 */
    int stop_fd;             /* borrowed; -1 = none. When it is readable: */
    bool (*stop)(void *arg); /* takes what is there; true = stop */
    void *stop_arg;
    int grace_ms; /* 0 = TASKS_GRACE_MS */
    /* afterwards: */
    int failed, stopped; /* groups only where their own run says so */
    bool is_abandoned;
    /* private: */
    pthread_mutex_t lock;
    pthread_cond_t wake; /* sleepers: stopped */
    int wake_fd;         /* the thread of tasks_run: look */
    bool is_over, is_stopped;
    uint64_t changes; /* of state, of all its tasks */
};

/* Run them all. Returns how many failed, 0 = none. Not twice at a time. */
int tasks_run(struct tasks *t);
/* From any thread, while tasks_run runs. */
void tasks_cancel(struct tasks *t);

/* --- from within a task --- */

/* What it is at, or has found, instead of what it said last: one line. */
void task_tell(struct task *task, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
/* Some of its output, added to the tail, of which the last TASK_TAIL_MAX - 1
 * bytes are kept; lines end in \n. NULL: the tail is emptied. */
void task_say(struct task *task, const char *text, size_t len);
bool task_is_stopped(struct task *task);
/* The list's clock. */
int64_t task_now_ms(const struct task *task);
/* Wait. false: stopped before the time was over. */
bool task_sleep(struct task *task, int64_t ms);
/* The last try failed, why: wait, and count the next. false: stopped. */
bool task_retry(struct task *task, int64_t wait_ms, const char *why);

/* --- for views --- */

bool task_is_over(const struct task *task);
/* How long it took, or has been running; 0 = it never ran. */
int64_t task_ms(const struct task *task, int64_t now_ms);

#endif
