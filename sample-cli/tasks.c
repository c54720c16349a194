#include "sample-cli/tasks.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

/* Tasks of one level, taken in order by one or several threads. */
struct level {
    struct tasks *t;
    struct task *items;
    size_t count, next;
    bool is_broken; /* a needed one failed */
};

bool task_is_over(const struct task *task)
{
    return task->state >= TASK_DONE;
}

int64_t task_ms(const struct task *task, int64_t now_ms)
{
    if (!task->started_ms)
        return 0;
    return (task->ended_ms ? task->ended_ms : now_ms) - task->started_ms;
}

/* --- the lock --- */

static void tasks_lock(struct tasks *t)
{
    if (pthread_mutex_lock(&t->lock) != 0)
        abort();
}

static void tasks_unlock(struct tasks *t)
{
    pthread_mutex_unlock(&t->lock);
}

/* The view's thread looks again. */
static void tasks_wake(struct tasks *t)
{
    uint64_t one = 1;
    ssize_t n = write(t->wake_fd, &one, sizeof(one));

    (void)n; /* a full counter wakes as well */
}

static void tasks_show(struct tasks *t, enum tasks_event event)
{
    if (!t->view.show)
        return;
    tasks_lock(t);
    t->view.show(t->view.arg, t, event, t->now_ms());
    tasks_unlock(t);
}

void tasks_cancel(struct tasks *t)
{
    tasks_lock(t);
    t->is_stopped = true;
    pthread_cond_broadcast(&t->wake);
    tasks_unlock(t);
    tasks_wake(t);
}

/* --- from within a task --- */

/* Once a task has been given up, what it says is not heard. */
static bool task_is_heard(const struct task *task)
{
    return !task->list->is_abandoned;
}

/* A text that was cut at len bytes, in the midst of a character perhaps:
 * without that one's beginning. */
static void task_trim(char *text, size_t len)
{
    size_t at = len, size;

    while (at && ((unsigned char)text[at - 1] & 0xc0) == 0x80)
        at--;
    if (!at || (unsigned char)text[at - 1] < 0xc0)
        return;
    at--;
    size = (unsigned char)text[at] >= 0xf0   ? 4
           : (unsigned char)text[at] >= 0xe0 ? 3
                                             : 2;
    if (at + size > len)
        text[at] = 0;
}

void task_tell(struct task *task, const char *fmt, ...)
{
    char text[TASK_DETAIL_MAX];
    va_list ap;

    va_start(ap, fmt);
    if (vsnprintf(text, sizeof(text), fmt, ap) >= (int)sizeof(text))
        task_trim(text, sizeof(text) - 1);
    va_end(ap);
    tasks_lock(task->list);
    if (task_is_heard(task))
        memcpy(task->detail, text, sizeof(text));
    tasks_unlock(task->list);
}

/* Behind what is there; of that as much goes as must, in whole characters. */
static void task_tail_add(struct task *task, const char *text, size_t len)
{
    const size_t room = TASK_TAIL_MAX - 1;
    size_t have = strlen(task->tail), drop;

    if (len > room) {
        text += len - room;
        len = room;
    }
    drop = have + len > room ? have + len - room : 0;
    while (drop < have && ((unsigned char)task->tail[drop] & 0xc0) == 0x80)
        drop++;
    memmove(task->tail, task->tail + drop, have - drop);
    memcpy(task->tail + have - drop, text, len);
    task->tail[have - drop + len] = 0;
    /* a character that was cut in text itself */
    for (drop = 0; ((unsigned char)task->tail[drop] & 0xc0) == 0x80;)
        drop++;
    memmove(task->tail, task->tail + drop, strlen(task->tail + drop) + 1);
}

void task_say(struct task *task, const char *text, size_t len)
{
    tasks_lock(task->list);
    if (task_is_heard(task)) {
        if (text)
            task_tail_add(task, text, len);
        else
            task->tail[0] = 0;
    }
    tasks_unlock(task->list);
}

bool task_is_stopped(struct task *task)
{
    bool is_stopped;

    tasks_lock(task->list);
    is_stopped = task->list->is_stopped;
    tasks_unlock(task->list);
    return is_stopped;
}

int64_t task_now_ms(const struct task *task)
{
    return task->list->now_ms();
}

bool task_sleep(struct task *task, int64_t ms)
{
    struct tasks *t = task->list;
    struct timespec at;
    bool is_stopped;
    int r = 0;

    clock_gettime(CLOCK_MONOTONIC, &at);
    at.tv_sec += ms / 1000;
    at.tv_nsec += ms % 1000 * 1000000;
    if (at.tv_nsec >= 1000000000) {
        at.tv_sec++;
        at.tv_nsec -= 1000000000;
    }
    tasks_lock(t);
    while (!t->is_stopped && r != ETIMEDOUT)
        r = pthread_cond_timedwait(&t->wake, &t->lock, &at);
    is_stopped = t->is_stopped;
    tasks_unlock(t);
    return !is_stopped;
}

static void task_set(struct task *task, enum task_state state)
{
    tasks_lock(task->list);
    if (task_is_heard(task)) {
        task->state = state;
        task->change = ++task->list->changes;
        if (state == TASK_RETRYING)
            task->retried = task->change;
        if (state == TASK_RUNNING && !task->started_ms) {
            task->started_ms = task->list->now_ms();
            task->tries = 1;
        } else if (task_is_over(task) && task->started_ms) {
            task->ended_ms = task->list->now_ms();
        }
    }
    tasks_unlock(task->list);
    tasks_wake(task->list);
}

bool task_retry(struct task *task, int64_t wait_ms, const char *why)
{
    task_tell(task, "%s", why);
    task_set(task, TASK_RETRYING);
    if (!task_sleep(task, wait_ms))
        return false;
    tasks_lock(task->list);
    task->tries++;
    tasks_unlock(task->list);
    task_set(task, TASK_RUNNING);
    return true;
}

/* --- running --- */

static void tasks_level(struct tasks *t, struct task *items, size_t count,
                        size_t at_once);

/* As the worst of its tasks. */
static enum task_state task_sum(const struct task *group)
{
    size_t seen[TASK_STATE_COUNT] = {0};

    for (size_t i = 0; group->tasks && i < group->count; i++)
        seen[group->tasks[i].state]++;
    if (seen[TASK_FAILED])
        return TASK_FAILED;
    if (seen[TASK_STOPPED])
        return TASK_STOPPED;
    return seen[TASK_SKIPPED] == group->count ? TASK_SKIPPED : TASK_DONE;
}

/* Its own run decides how it ends: false = it has none, or it is too late. */
static bool task_decide(struct task *task)
{
    tasks_lock(task->list);
    task->has_run = task->run && (!task->tasks || !task->list->is_stopped);
    tasks_unlock(task->list);
    return task->has_run;
}

static enum task_state task_do(struct task *task)
{
    struct err e = {0};
    int r;

    if (task->tasks)
        tasks_level(task->list, task->tasks, task->count, task->at_once);
    if (!task_decide(task))
        return task_sum(task);
    r = task->run(task, task->arg ? task->arg : task->list->arg, &e);
    if (r < 0)
        task_tell(task, "%s", e.text);
    return r < 0            ? TASK_FAILED
           : r == TASK_SKIP ? TASK_SKIPPED
           : r == TASK_STOP ? TASK_STOPPED
                            : TASK_DONE;
}

/* It and all below it are not started any more. */
static void task_leave(struct task *task, enum task_state state)
{
    for (size_t i = 0; i < task->count; i++)
        task_leave(&task->tasks[i], state);
    if (state == TASK_STOPPED)
        task_tell(task, "not started");
    task_set(task, state);
}

/* The next one of a level; NULL = none is left. */
static struct task *level_next(struct level *v, enum task_state *leave)
{
    struct task *task = NULL;

    tasks_lock(v->t);
    if (v->next < v->count)
        task = &v->items[v->next++];
    *leave = v->is_broken       ? TASK_SKIPPED
             : v->t->is_stopped ? TASK_STOPPED
                                : TASK_PENDING;
    tasks_unlock(v->t);
    return task;
}

static void *level_work(void *arg)
{
    struct level *v = arg;
    enum task_state leave;
    struct task *task;

    while ((task = level_next(v, &leave))) {
        enum task_state end;

        if (leave != TASK_PENDING) {
            task_leave(task, leave);
            continue;
        }
        task_set(task, TASK_RUNNING);
        end = task_do(task);
        if (end == TASK_FAILED && task->is_needed) {
            tasks_lock(v->t);
            v->is_broken = true;
            tasks_unlock(v->t);
        }
        task_set(task, end);
    }
    return NULL;
}

static void tasks_level(struct tasks *t, struct task *items, size_t count,
                        size_t at_once)
{
    struct level v = {.t = t, .items = items, .count = count};
    pthread_t threads[TASKS_AT_ONCE_MAX];
    size_t more = 0;

    if (at_once > TASKS_AT_ONCE_MAX)
        at_once = TASKS_AT_ONCE_MAX;
    /* where no thread can be had, those that are there do the work */
    while (more + 1 < at_once && more + 1 < count &&
           pthread_create(&threads[more], NULL, level_work, &v) == 0)
        more++;
    level_work(&v);
    for (size_t i = 0; i < more; i++)
        pthread_join(threads[i], NULL);
}

static void *tasks_work(void *arg)
{
    struct tasks *t = arg;

    tasks_level(t, t->items, t->count, 1);
    tasks_lock(t);
    t->is_over = true;
    tasks_unlock(t);
    tasks_wake(t);
    return NULL;
}

/* --- the view's thread --- */

/* They did not stop in time. */
static void tasks_give_up(struct task *items, size_t count, int64_t now_ms)
{
    for (size_t i = 0; i < count; i++) {
        struct task *task = &items[i];

        tasks_give_up(task->tasks, task->count, now_ms);
        if (task_is_over(task))
            continue;
        if (!task->tasks)
            snprintf(task->detail, sizeof(task->detail), "%s",
                     task->started_ms ? "did not stop, and was left"
                                      : "not started");
        task->state = TASK_STOPPED;
        task->change = ++task->list->changes;
        if (task->started_ms)
            task->ended_ms = now_ms;
    }
}

static bool tasks_is_over(struct tasks *t, int64_t *since_ms)
{
    const int64_t now = t->now_ms();
    bool is_over;

    tasks_lock(t);
    if (t->is_stopped && !*since_ms)
        *since_ms = now;
    if (!t->is_over && *since_ms &&
        now - *since_ms >= (t->grace_ms ? t->grace_ms : TASKS_GRACE_MS)) {
        tasks_give_up(t->items, t->count, now);
        t->is_abandoned = true;
    }
    is_over = t->is_over || t->is_abandoned;
    tasks_unlock(t);
    return is_over;
}

static void tasks_watch(struct tasks *t)
{
    struct pollfd fds[2] = {{t->wake_fd, POLLIN, 0}, {t->stop_fd, POLLIN, 0}};
    int64_t since_ms = 0; /* stopped */
    uint64_t count;

    while (!tasks_is_over(t, &since_ms)) {
        bool is_state = false;

        if (poll(fds, 2, TASKS_TICK_MS) > 0) {
            is_state =
                fds[0].revents && read(t->wake_fd, &count, sizeof(count)) > 0;
            if (fds[1].revents & POLLIN && t->stop(t->stop_arg))
                tasks_cancel(t);
            else if (fds[1].revents & ~POLLIN)
                fds[1].fd = -1; /* nobody is there any more to say it */
        }
        tasks_show(t, is_state ? TASKS_STATE : TASKS_TICK);
    }
}

static void tasks_prepare(struct tasks *t, struct task *items, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct task *task = &items[i];

        assert(task->run || task->tasks);
        task->list = t;
        task->state = TASK_PENDING;
        task->has_run = false;
        task->change = task->retried = 0;
        task->tries = 0;
        task->started_ms = task->ended_ms = 0;
        task->detail[0] = task->tail[0] = 0;
        tasks_prepare(t, task->tasks, task->count);
    }
}

static void tasks_count(struct tasks *t, const struct task *items, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        tasks_count(t, items[i].tasks, items[i].count);
        if (items[i].tasks && !items[i].has_run)
            continue; /* its tasks have been counted */
        t->failed += items[i].state == TASK_FAILED;
        t->stopped += items[i].state == TASK_STOPPED;
    }
}

static void tasks_open(struct tasks *t)
{
    pthread_condattr_t attr;

    pthread_mutex_init(&t->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&t->wake, &attr);
    pthread_condattr_destroy(&attr);
    t->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (t->wake_fd < 0)
        abort();
    t->is_over = t->is_stopped = t->is_abandoned = false;
    t->failed = t->stopped = 0;
    t->changes = 0;
    tasks_prepare(t, t->items, t->count);
}

int tasks_run(struct tasks *t)
{
    pthread_t thread;

    tasks_open(t);
    tasks_show(t, TASKS_BEGIN);
    if (pthread_create(&thread, NULL, tasks_work, t) != 0)
        abort();
    tasks_watch(t);
    tasks_show(t, TASKS_END);
    tasks_lock(t);
    tasks_count(t, t->items, t->count);
    tasks_unlock(t);
    if (!t->is_abandoned) {
        pthread_join(thread, NULL);
        pthread_cond_destroy(&t->wake);
        pthread_mutex_destroy(&t->lock);
        close(t->wake_fd);
    } else {
        pthread_detach(thread); /* it may still look at the list */
    }
    return t->failed;
}
