#include "controller/reaper.h"

#include "base/log.h"
#include "base/mem.h"
#include "base/own.h"
#include "controller/app.h"
#include "controller/counts.h"
#include "controller/live.h"
#include "controller/spec.h"

#include <stdlib.h>
#include <string.h>

struct reaper {
    struct app *app;
    struct loop_timer *timer;
    bool is_pruning;
    char *trusted; /* kids still published; outlives every take-up */
};

/* Every live record is taken up; the launcher tells the end of those that
 * have no process. Returns how many, or -1. */
static int take_up_rows(struct reaper *r, struct err *e)
{
    char cursor[64] = "", next[64];
    int all = 0;

    do {
        own_mem struct store_session *rows = NULL;
        int n = store_list(r->app->store, NULL, NULL, true, cursor, 100, &rows,
                           next, e);

        if (n < 0)
            return -1;
        for (int i = 0; i < n; i++)
            live_take_up(r->app->live, &rows[i], r->trusted);
        all += n;
        memcpy(cursor, next, sizeof cursor);
    } while (cursor[0]);
    count_add(COUNT_TAKEN_UP, all);
    return all;
}

/* What lies there without a live record is removed. */
static int discard_unknown(struct reaper *r, struct err *e)
{
    struct launcher *launcher = r->app->launcher;
    struct store_session *row = mem_zero(1, sizeof *row);
    own_mem char(*sids)[ID_SIZE] = NULL;
    int n = launcher->list(launcher, &sids, e);

    for (int i = 0; i < n; i++) {
        struct err why = {0};

        if (store_get(r->app->store, sids[i], row, &why) == 0 &&
            row->state != STATE_ENDED)
            continue;
        if (why.kind && why.kind != ERR_ABSENT) {
            *e = why;
            n = -1;
            break;
        }
        log_info("session.discarded", "sid", "s", sids[i], NULL);
        launcher->discard(launcher, sids[i]);
    }
    free(row);
    return n < 0 ? -1 : 0;
}

static void prune_run(void *arg)
{
    struct reaper *r = arg;
    struct err e = {0};

    if (store_prune(r->app->store, loop_wall_ms() - r->app->set->keep_s * 1000,
                    &e) < 0)
        log_err(&e, "store.prune");
}

static void prune_done(void *arg)
{
    ((struct reaper *)arg)->is_pruning = false;
}

static void prune(void *arg)
{
    struct reaper *r = arg;

    if (!r->is_pruning)
        r->is_pruning = worker_add(r->app->worker, prune_run, prune_done, r);
}

struct reaper *reaper_start(struct app *app, struct err *e)
{
    struct reaper *r = mem_zero(1, sizeof *r);
    int taken;

    r->app = app;
    r->trusted = spec_trust(&app->keys);
    /* unknown directories first: taking up changes none, but a session that
     * ends meanwhile must not be discarded while it is cleaned up */
    if (discard_unknown(r, e) < 0 || (taken = take_up_rows(r, e)) < 0) {
        reaper_stop(r);
        return NULL;
    }
    if (taken)
        log_info("sessions.taken_up", "count", "i", (int64_t)taken, NULL);
    r->timer =
        loop_timer_start(app->loop, REAPER_PRUNE_MS, REAPER_PRUNE_MS, prune, r);
    return r;
}

void reaper_stop(struct reaper *r)
{
    if (!r)
        return;
    loop_timer_stop(r->timer);
    free(r->trusted);
    free(r);
}
