#include "base/loop.h"

#include "base/mem.h"

#include <pthread.h>
#include <stdlib.h>
#include <time.h>
#include <uv.h>

#define LOOP_CALLS_A_TURN 256

/* A posted call, in a list guarded by the loop's lock. */
struct loop_call {
    void (*fn)(void *arg);
    void *arg;
    struct loop_call *next;
};

struct loop {
    uv_loop_t uv;
    uv_async_t wake;
    pthread_mutex_t lock; /* guards first, last */
    struct loop_call *first, **last;
};

struct loop_fd {
    uv_poll_t uv;
    void (*cb)(void *arg, int events);
    void *arg;
    int events; /* LOOP_* watched for now */
};

struct loop_timer {
    uv_timer_t uv;
    void (*cb)(void *arg);
    void *arg;
};

struct loop_signal {
    uv_signal_t uv;
    void (*cb)(void *arg, int signum);
    void *arg;
};

static void loop_check(int r)
{
    if (r < 0) /* a bad descriptor or memory: our own mistake */
        abort();
}

static struct loop_call *loop_take_call(struct loop *l)
{
    struct loop_call *c;

    pthread_mutex_lock(&l->lock);
    c = l->first;
    if (c) {
        l->first = c->next;
        if (!l->first)
            l->last = &l->first;
    }
    pthread_mutex_unlock(&l->lock);
    return c;
}

void loop_run_posted(struct loop *l)
{
    struct loop_call *c;

    while ((c = loop_take_call(l))) {
        c->fn(c->arg);
        free(c);
    }
}

static void loop_run_calls(uv_async_t *wake)
{
    struct loop *l = wake->data;

    /* one that posts itself again must not keep the loop from the rest */
    for (int i = 0; i < LOOP_CALLS_A_TURN; i++) {
        struct loop_call *c = loop_take_call(l);

        if (!c)
            return;
        c->fn(c->arg);
        free(c);
    }
    uv_async_send(wake);
}

struct loop *loop_new(void)
{
    struct loop *l = mem_zero(1, sizeof(*l));

    loop_check(uv_loop_init(&l->uv));
    loop_check(uv_async_init(&l->uv, &l->wake, loop_run_calls));
    l->wake.data = l;
    pthread_mutex_init(&l->lock, NULL);
    l->last = &l->first;
    return l;
}

static void loop_free_handle(uv_handle_t *h)
{
    free(h->data);
}

/* Handles of this module lie at the start of their object and point to it;
 * others' (libwebsockets') memory is theirs. */
static void loop_close_left(uv_handle_t *h, void *arg)
{
    (void)arg;
    if (!uv_is_closing(h))
        uv_close(h, h->data == h ? loop_free_handle : NULL);
}

void loop_free(struct loop *l)
{
    if (!l)
        return;
    uv_walk(&l->uv, loop_close_left, NULL);
    while (uv_run(&l->uv, UV_RUN_NOWAIT))
        ;
    uv_loop_close(&l->uv);
    while (l->first) {
        struct loop_call *c = l->first;

        l->first = c->next;
        free(c);
    }
    pthread_mutex_destroy(&l->lock);
    free(l);
}

void loop_run(struct loop *l)
{
    uv_run(&l->uv, UV_RUN_DEFAULT);
}

void loop_stop(struct loop *l)
{
    uv_stop(&l->uv);
}

static int64_t loop_clock_us(clockid_t which)
{
    struct timespec ts;

    clock_gettime(which, &ts);
    return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

int64_t loop_now_ms(void)
{
    return loop_clock_us(CLOCK_MONOTONIC) / 1000;
}

int64_t loop_now_us(void)
{
    return loop_clock_us(CLOCK_MONOTONIC);
}

int64_t loop_wall_s(void)
{
    return loop_clock_us(CLOCK_REALTIME) / 1000000;
}

int64_t loop_wall_ms(void)
{
    return loop_clock_us(CLOCK_REALTIME) / 1000;
}

/* --- descriptors --- */

static void loop_fd_ready(uv_poll_t *uv, int status, int events)
{
    struct loop_fd *w = uv->data;
    int out = 0;

    if (events & UV_READABLE)
        out |= LOOP_READ;
    if (events & UV_WRITABLE)
        out |= LOOP_WRITE;
    if (status < 0 || (events & UV_DISCONNECT))
        out |= LOOP_HANGUP;
    if (status < 0)
        w->events = 0; /* libuv has stopped it */
    w->cb(w->arg, out);
}

void loop_fd_events(struct loop_fd *w, int events)
{
    int uv = 0;

    /* uv_poll_start costs two epoll_ctl each time, changed or not */
    if (events == w->events)
        return;
    w->events = events;
    if (events & LOOP_READ)
        uv |= UV_READABLE;
    if (events & LOOP_WRITE)
        uv |= UV_WRITABLE;
    if (events & LOOP_HANGUP)
        uv |= UV_DISCONNECT;
    if (uv)
        loop_check(uv_poll_start(&w->uv, uv, loop_fd_ready));
    else
        uv_poll_stop(&w->uv);
}

struct loop_fd *loop_fd_start(struct loop *l, int fd, int events,
                              void (*cb)(void *arg, int events), void *arg)
{
    struct loop_fd *w = mem_zero(1, sizeof(*w));

    w->cb = cb;
    w->arg = arg;
    loop_check(uv_poll_init(&l->uv, &w->uv, fd));
    w->uv.data = w;
    loop_fd_events(w, events);
    return w;
}

void loop_fd_stop(struct loop_fd *w)
{
    if (!w)
        return;
    uv_poll_stop(&w->uv);
    uv_close((uv_handle_t *)&w->uv, loop_free_handle);
}

/* --- timers --- */

static void loop_timer_fired(uv_timer_t *uv)
{
    struct loop_timer *t = uv->data;

    t->cb(t->arg);
}

void loop_timer_again(struct loop_timer *t, int64_t ms, int64_t repeat_ms)
{
    uv_update_time(t->uv.loop);
    loop_check(uv_timer_start(&t->uv, loop_timer_fired,
                              ms > 0 ? (uint64_t)ms : 0,
                              repeat_ms > 0 ? (uint64_t)repeat_ms : 0));
}

struct loop_timer *loop_timer_start(struct loop *l, int64_t ms,
                                    int64_t repeat_ms, void (*cb)(void *arg),
                                    void *arg)
{
    struct loop_timer *t = mem_zero(1, sizeof(*t));

    t->cb = cb;
    t->arg = arg;
    loop_check(uv_timer_init(&l->uv, &t->uv));
    t->uv.data = t;
    loop_timer_again(t, ms, repeat_ms);
    return t;
}

void loop_timer_stop(struct loop_timer *t)
{
    if (!t)
        return;
    uv_timer_stop(&t->uv);
    uv_close((uv_handle_t *)&t->uv, loop_free_handle);
}

/* --- signals --- */

static void loop_signal_came(uv_signal_t *uv, int signum)
{
    struct loop_signal *s = uv->data;

    s->cb(s->arg, signum);
}

struct loop_signal *loop_signal_start(struct loop *l, int signum,
                                      void (*cb)(void *arg, int signum),
                                      void *arg)
{
    struct loop_signal *s = mem_zero(1, sizeof(*s));

    s->cb = cb;
    s->arg = arg;
    loop_check(uv_signal_init(&l->uv, &s->uv));
    s->uv.data = s;
    loop_check(uv_signal_start(&s->uv, loop_signal_came, signum));
    return s;
}

void loop_signal_stop(struct loop_signal *s)
{
    if (!s)
        return;
    uv_signal_stop(&s->uv);
    uv_close((uv_handle_t *)&s->uv, loop_free_handle);
}

/* --- other threads --- */

void loop_post(struct loop *l, void (*fn)(void *arg), void *arg)
{
    struct loop_call *c = mem_zero(1, sizeof(*c));

    c->fn = fn;
    c->arg = arg;
    pthread_mutex_lock(&l->lock);
    *l->last = c;
    l->last = &c->next;
    pthread_mutex_unlock(&l->lock);
    uv_async_send(&l->wake);
}

void *loop_uv(struct loop *l)
{
    return &l->uv;
}
