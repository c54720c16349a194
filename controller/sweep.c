#include "controller/sweep.h"

#include "base/log.h"
#include "base/mem.h"

#include <stdlib.h>

struct sweep {
    struct app *app;
    struct loop_timer *timer;
    bool is_running;
};

static void run(void *arg)
{
    struct sweep *s = arg;
    struct err e = {0};
    int gone = store_sweep(s->app->store, &e);

    if (gone < 0)
        log_err(&e, "store.sweep");
    if (gone > 0) /* no gateway of ours writes such */
        log_warn("store.strange_ids", "removed", "i", (int64_t)gone, NULL);
}

static void done(void *arg)
{
    ((struct sweep *)arg)->is_running = false;
}

static void turn(void *arg)
{
    struct sweep *s = arg;

    if (!s->is_running)
        s->is_running = worker_add(s->app->worker, run, done, s);
}

struct sweep *sweep_start(struct app *app, int every_ms)
{
    struct sweep *s = mem_zero(1, sizeof *s);

    s->app = app;
    s->timer = loop_timer_start(app->loop, every_ms, every_ms, turn, s);
    return s;
}

void sweep_stop(struct sweep *s)
{
    if (!s)
        return;
    loop_timer_stop(s->timer);
    free(s);
}
