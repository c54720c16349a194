#include "controller/reaper.h"

#include "base/log.h"
#include "base/mem.h"
#include "base/own.h"
#include "controller/app.h"
#include "controller/counts.h"
#include "controller/launch.h"
#include "controller/live.h"
#include "controller/record.h"
#include "controller/spec.h"

#include <stdlib.h>
#include <string.h>

#define CHANGES_MAX 256 /* rows looked at in one turn of following */

struct found { /* a live record */
    struct store_session row;
    struct launch *what; /* NULL = it is not to be started */
};

struct haul { /* gathered by a worker, used on the loop */
    struct found *rows;
    size_t row_count;
    char (*unknown)[ID_SIZE]; /* what lies there without a live record */
    size_t unknown_count;
    int64_t rev; /* of the newest record seen */
    struct err failure;
};

struct reaper {
    struct app *app;
    struct loop_timer *timer, *turn;
    bool is_pruning;
    bool is_leader;    /* of several, as we were told */
    bool is_in_charge; /* all is taken up */
    /* haul is the worker's; void: what it brings counts no more */
    bool is_working, is_gathering, is_void;
    struct haul haul;
    int64_t rev;   /* followed up to there */
    char *trusted; /* kids still published; outlives every take-up */
};

static void haul_fini(struct haul *h)
{
    for (size_t i = 0; i < h->row_count; i++)
        launch_free(h->rows[i].what);
    free(h->rows);
    free(h->unknown);
    memset(h, 0, sizeof *h);
}

/* --- gathering: any thread --- */

/* NULL where it has been started, or what it was to be started with cannot be
 * read any more. -1: the store does not say, which is neither. */
static int launch_of(struct app *app, const char *sid, struct launch **what,
                     struct err *e)
{
    struct err why = {0};
    struct buf sealed;
    int got;

    buf_init(&sealed, STORE_LAUNCH_MAX);
    got = store_launch_get(app->store, sid, &sealed, e);
    if (got == 0) {
        *what = launch_open(sid, sealed.data, sealed.len, &app->keys, &why);
        if (!*what)
            log_err(&why, "session.start_lost");
    } else if (e->kind == ERR_ABSENT) {
        *e = (struct err){0};
        got = 0;
    }
    buf_fini(&sealed);
    return got;
}

static int add_row(struct app *app, struct haul *h,
                   const struct store_session *row, struct err *e)
{
    struct found *f;

    h->rows = mem_resize(h->rows, h->row_count + 1, sizeof *h->rows);
    f = &h->rows[h->row_count++];
    *f = (struct found){.row = *row};
    return row->state == STATE_PENDING ? launch_of(app, row->id, &f->what, e)
                                       : 0;
}

static int gather_rows(struct app *app, struct haul *h, struct err *e)
{
    char cursor[64] = "", next[64];

    do {
        own_mem struct store_session *rows = NULL;
        int n = store_list(app->store, NULL, NULL, true, cursor, 100, &rows,
                           next, e);

        if (n < 0)
            return -1;
        for (int i = 0; i < n; i++)
            if (add_row(app, h, &rows[i], e) < 0)
                return -1;
        memcpy(cursor, next, sizeof cursor);
    } while (cursor[0]);
    return 0;
}

/*
 * The store has no record of what lies there: where one is kept beside it, the
 * store was emptied. Only what the record itself says makes it an orphan; a
 * store that refuses it, or another who leads by now, says nothing of it.
 */
static int restore(struct app *app, const char *sid, bool *is_orphan,
                   struct err *e)
{
    struct launcher *l = app->launcher;
    const char *here = app->set->installation;
    own_mem char *record = l->record ? l->record(l, sid) : NULL;
    own_mem struct store_session *row = mem_zero(1, sizeof *row);
    struct err why = {0};

    *is_orphan = false;
    if (record_is_anothers(record, here)) {
        log_warn("session.anothers", "sid", "s", sid, NULL);
        return 0;
    }
    if (record_parse(record, sid, here, &app->keys, row, &why) < 0) {
        log_err(&why, "session.not_restored");
        *is_orphan = true;
        return 0;
    }
    if (launch_check_leads(&l->sink, e) < 0)
        return -1;
    if (store_restore(app->store, row, &why) < 0 && why.kind != ERR_CONFLICT) {
        *e = why;
        return err_wrap(e, "session %s is not restored", sid);
    }
    log_info("session.restored", "sid", "s", sid, NULL);
    return 0;
}

/* Is what lies there nobody's? */
static int judge_unknown(struct app *app, const char *sid, bool *is_orphan,
                         struct err *e)
{
    own_mem struct store_session *row = mem_zero(1, sizeof *row);
    struct err why = {0};

    if (store_get(app->store, sid, row, &why) == 0) {
        *is_orphan = row->state == STATE_ENDED;
        return 0;
    }
    if (why.kind == ERR_ABSENT)
        return restore(app, sid, is_orphan, e);
    *e = why;
    return -1;
}

static int gather_unknown(struct app *app, struct haul *h, struct err *e)
{
    struct launcher *l = app->launcher;
    own_mem char(*sids)[ID_SIZE] = NULL;
    int n = l->list(l, &sids, e);

    if (n > 0)
        h->unknown = mem_zero((size_t)n, sizeof *h->unknown);
    for (int i = 0; i < n; i++) {
        bool is_orphan;

        if (judge_unknown(app, sids[i], &is_orphan, e) < 0)
            return -1;
        if (is_orphan)
            memcpy(h->unknown[h->unknown_count++], sids[i], ID_SIZE);
    }
    return n < 0 ? -1 : 0;
}

/* What is written from now on is followed. */
static int gather_rev(struct app *app, struct haul *h, struct err *e)
{
    struct store_rev *revs = mem_zero(CHANGES_MAX, sizeof *revs);
    int n;

    do {
        n = store_changed_since(app->store, h->rev, revs, CHANGES_MAX, e);
        if (n > 0)
            h->rev = revs[n - 1].rev;
    } while (n == CHANGES_MAX);
    free(revs);
    return n < 0 ? -1 : 0;
}

static int gather(struct app *app, struct haul *h, struct err *e)
{
    /* what lies there first: a session that is made meanwhile has its record
     * before it has anything else */
    if (gather_unknown(app, h, e) < 0 || gather_rev(app, h, e) < 0)
        return -1;
    return gather_rows(app, h, e);
}

/* --- taking up: on the loop --- */

static void take_up(struct reaper *r, struct haul *h)
{
    struct launcher *launcher = r->app->launcher;

    for (size_t i = 0; i < h->unknown_count; i++) {
        log_info("session.discarded", "sid", "s", h->unknown[i], NULL);
        launcher->discard(launcher, h->unknown[i]);
    }
    for (size_t i = 0; i < h->row_count; i++) {
        live_take_up(r->app->live, &h->rows[i].row, r->trusted,
                     h->rows[i].what);
        h->rows[i].what = NULL;
    }
    count_add(COUNT_TAKEN_UP, (int64_t)h->row_count);
    if (h->row_count)
        log_info("sessions.taken_up", "count", "i", (int64_t)h->row_count,
                 NULL);
    if (launcher->begin)
        launcher->begin(launcher, r->trusted);
    live_watch_records(r->app->live);
    r->rev = h->rev;
    r->is_in_charge = true;
}

/* --- following --- */

static int follow(struct app *app, struct haul *h, struct err *e)
{
    struct store_rev *revs = mem_zero(CHANGES_MAX, sizeof *revs);
    own_mem struct store_session *row = mem_zero(1, sizeof *row);
    int n = store_changed_since(app->store, h->rev, revs, CHANGES_MAX, e);

    for (int i = 0; i < n; i++) {
        struct err ignored = {0}; /* gone since: nothing to do */

        if (store_get(app->store, revs[i].id, row, &ignored) == 0 &&
            row->state != STATE_ENDED && add_row(app, h, row, e) < 0)
            n = -1; /* all of it again */
        h->rev = revs[i].rev;
    }
    free(revs);
    return n < 0 ? -1 : 0;
}

static void followed(struct reaper *r, struct haul *h)
{
    for (size_t i = 0; i < h->row_count; i++) {
        live_follow(r->app->live, &h->rows[i].row, r->trusted, h->rows[i].what);
        h->rows[i].what = NULL;
    }
    r->rev = h->rev;
}

/* --- turns: one job of the worker at a time --- */

static void turn_run(void *arg)
{
    struct reaper *r = arg;
    struct haul *h = &r->haul;

    if (r->is_gathering)
        gather(r->app, h, &h->failure);
    else
        follow(r->app, h, &h->failure);
}

/* What was started stays as it is: another leads. */
static void rest(struct reaper *r)
{
    struct launcher *launcher = r->app->launcher;

    live_rest(r->app->live);
    if (launcher->rest)
        launcher->rest(launcher);
}

/* What it brings counts no more. Resting may lead to the next turn. */
static void turn_void(struct reaper *r)
{
    r->is_void = false;
    haul_fini(&r->haul);
    if (r->is_gathering) /* what it gathered from could not rest before */
        rest(r);
}

static void turn_done(void *arg)
{
    struct reaper *r = arg;
    struct haul *h = &r->haul;
    int64_t next_ms = h->failure.kind ? REAPER_AGAIN_MS : REAPER_FOLLOW_MS;

    r->is_working = false;
    if (r->is_void) {
        turn_void(r);
    } else {
        if (h->failure.kind)
            log_err(&h->failure, "sessions.look");
        else if (r->is_gathering)
            take_up(r, h);
        else
            followed(r, h);
        haul_fini(h);
    }
    if (r->is_leader)
        loop_timer_again(r->turn, next_ms, 0);
}

static void turn(void *arg)
{
    struct reaper *r = arg;

    if (r->is_working || !r->is_leader)
        return;
    r->haul.rev = r->is_in_charge ? r->rev : 0;
    r->is_gathering = !r->is_in_charge;
    r->is_working = worker_add(r->app->worker, turn_run, turn_done, r);
    if (!r->is_working)
        loop_timer_again(r->turn, REAPER_FOLLOW_MS, 0);
}

/* Nobody acts for us from now on; who gathers has begun nothing yet. */
static void cease(struct reaper *r)
{
    r->is_in_charge = false;
    r->is_void = r->is_working;
    if (!r->is_working || !r->is_gathering)
        rest(r);
}

void reaper_lead(struct reaper *r, bool is_leader)
{
    if (r->is_leader == is_leader)
        return;
    r->is_leader = is_leader;
    log_info(is_leader ? "controller.leads" : "controller.rests", NULL);
    if (is_leader)
        turn(r);
    else
        cease(r);
}

void reaper_anew(struct reaper *r)
{
    if (!r->is_in_charge)
        return;
    cease(r);
    if (!r->is_working) /* else when that is done */
        loop_timer_again(r->turn, REAPER_AGAIN_MS, 0);
}

bool reaper_leads(const struct reaper *r)
{
    return r->is_in_charge;
}

/* --- old records --- */

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

/* --- start --- */

static int take_up_now(struct reaper *r, struct err *e)
{
    int got = gather(r->app, &r->haul, e);

    if (got == 0)
        take_up(r, &r->haul);
    haul_fini(&r->haul);
    return got;
}

struct reaper *reaper_start(struct app *app, bool is_alone, struct err *e)
{
    struct reaper *r = mem_zero(1, sizeof *r);

    r->app = app;
    r->is_leader = is_alone;
    r->trusted = spec_trust(&app->keys);
    if (is_alone && take_up_now(r, e) < 0) {
        reaper_stop(r);
        return NULL;
    }
    r->timer =
        loop_timer_start(app->loop, REAPER_PRUNE_MS, REAPER_PRUNE_MS, prune, r);
    r->turn = loop_timer_start(app->loop, INT32_MAX, 0, turn, r);
    return r;
}

void reaper_stop(struct reaper *r)
{
    if (!r)
        return;
    loop_timer_stop(r->timer);
    loop_timer_stop(r->turn);
    haul_fini(&r->haul);
    free(r->trusted);
    free(r);
}
