#include "controller/live_internal.h"

#include "base/log.h"
#include "base/mem.h"
#include "base/own.h"
#include "controller/app.h"
#include "controller/counts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* To learn that a session found has started: here, or in a cluster. */
#define TAKE_UP_MS 2000
#define TAKE_UP_FAR_MS 30000
/* Between two tellings of viewers: each costs the agent one of the token ids
 * it remembers, for a minute and a half. */
#define TELL_GAP_MS 1000

struct session *session_find(struct live *l, const char *sid)
{
    struct session *s = l->all;

    while (s && strcmp(s->sid, sid) != 0)
        s = s->next;
    return s;
}

void session_free(struct session *s)
{
    free(s->record);
    free(s);
}

static void release(struct session *s)
{
    s->l->count--;
    count_add(COUNT_LIVE, -1);
    loop_timer_stop(s->deadline);
    loop_timer_stop(s->retry);
    loop_timer_stop(s->tell_wait);
    control_stop(s->ender);
    control_stop(s->asker);
    control_stop(s->teller);
    s->is_forgotten = true;
    if (!s->is_writing)
        session_free(s);
}

void session_forget(struct session *s)
{
    struct live *l = s->l;
    struct session **at = &l->all;

    while (*at != s)
        at = &(*at)->next;
    *at = s->next;
    release(s);
    if (l->stopped && l->count == 0)
        l->stopped(l->stopped_arg);
}

/* --- what the launcher tells --- */

static void told_stage(void *arg, const char *sid, const char *stage,
                       const char *state, const char *detail)
{
    struct session *s = session_find(arg, sid);
    struct store_stage *at;

    if (!s || s->facts.stage_count == FACT_STAGES_MAX)
        return;
    at = &s->facts.stages[s->facts.stage_count++];
    snprintf(at->stage, sizeof at->stage, "%s", stage);
    snprintf(at->state, sizeof at->state, "%s", state);
    snprintf(at->detail, sizeof at->detail, "%s", detail);
    at->ms = loop_wall_ms();
    s->facts.has_any = true;
    session_write_soon(s);
}

static void told_claimed(void *arg, const char *sid, const char *ref)
{
    struct session *s = session_find(arg, sid);

    if (!s)
        return;
    snprintf(s->facts.ref, sizeof s->facts.ref, "%s", ref);
    s->facts.has_any = true;
    session_write(s);
}

static void told_launched(void *arg, const char *sid)
{
    struct session *s = session_find(arg, sid);

    if (!s)
        return;
    s->facts.is_launched = s->facts.has_any = true;
    session_write_soon(s);
}

static void told_listening(void *arg, const char *sid, const char *addr,
                           const char *uid, const char *isolation)
{
    struct session *s = session_find(arg, sid);

    if (!s)
        return;
    s->facts.is_listening = s->facts.has_any = true;
    snprintf(s->facts.addr, sizeof s->facts.addr, "%s", addr);
    snprintf(s->facts.uid, sizeof s->facts.uid, "%s", uid);
    snprintf(s->facts.isolation, sizeof s->facts.isolation, "%s", isolation);
    count_start((loop_wall_ms() - s->created_ms) * 1000);
    session_write_soon(s);
}

static void deadline_passed(void *arg);

static void deadline_set(struct session *s, int64_t at_ms)
{
    int64_t left_ms = at_ms - loop_wall_ms();

    loop_timer_stop(s->deadline);
    s->deadline = loop_timer_start(s->l->app->loop, left_ms > 1 ? left_ms : 1,
                                   0, deadline_passed, s);
}

static void deadline_passed(void *arg)
{
    struct session *s = arg;
    struct launcher *launcher = s->l->app->launcher;

    if (s->is_running)
        launcher->end(launcher, s->sid, REASON_LIFETIME,
                      "The session outlived every limit.");
    else
        launcher->end(launcher, s->sid, REASON_START_FAILED,
                      "The program did not start in time.");
}

static void cage_known(void *arg, int64_t told)
{
    struct session *s = arg;

    s->asker = NULL;
    if (told <= 0) {
        log_warn("session.cage_unknown", "sid", "s", s->sid, NULL);
        return;
    }
    s->facts.layers = (uint8_t)told;
    s->facts.has_any = true;
    session_write_soon(s);
}

static void told_running(void *arg, const char *sid, int64_t started_ms,
                         uint8_t layers)
{
    struct session *s = session_find(arg, sid);

    if (!s)
        return;
    s->facts.layers = layers;
    if (!layers && !s->known.layers && !s->asker)
        s->asker = control_start(s->l->app, sid, CONTROL_CAGE, cage_known, s);
    s->is_running = true;
    s->facts.is_running = s->facts.has_any = true;
    s->facts.started_ms = started_ms > 0 ? started_ms : loop_wall_ms();
    deadline_set(s, s->last_ms);
    session_write_soon(s);
}

static void told_ended(void *arg, const char *sid, const struct launch_end *end)
{
    struct session *s = session_find(arg, sid);

    if (!s)
        return;
    s->is_gone = true;
    control_stop(s->ender);
    control_stop(s->teller);
    control_stop(s->asker);
    s->ender = s->teller = s->asker = NULL;
    s->facts.is_ended = s->facts.has_any = true;
    s->facts.end = *end;
    session_write(s);
}

/* --- what KEDA is told --- */

static void demand_run(void *arg)
{
    struct live *l = arg;
    struct err e = {0};

    if (launch_leads(&l->app->launcher->sink) &&
        store_demand(l->app->store, l->demand_said, &e) < 0)
        log_err(&e, "pool.demand");
}

static void demand_next(struct live *l);

static void demand_done(void *arg)
{
    struct live *l = arg;

    l->is_demanding = false;
    demand_next(l);
}

static void demand_next(struct live *l)
{
    if (l->is_demanding || !l->is_demand_due)
        return;
    l->demand_said = l->demand;
    l->is_demanding = worker_add(l->app->worker, demand_run, demand_done, l);
    l->is_demand_due = !l->is_demanding; /* else with the next */
}

static void told_demand(void *arg, int64_t deficit)
{
    struct live *l = arg;

    l->demand = deficit;
    l->is_demand_due = true;
    demand_next(l);
}

struct launch_sink live_sink(struct live *l)
{
    return (struct launch_sink){
        .stage = told_stage,
        .claimed = told_claimed,
        .launched = told_launched,
        .listening = told_listening,
        .running = told_running,
        .ended = told_ended,
        .demand = told_demand,
        .arg = l,
    };
}

/* --- the table --- */

static struct session *add(struct live *l, const struct store_session *row)
{
    const struct settings *set = l->app->set;
    struct session *s = mem_zero(1, sizeof *s);
    int64_t start_ms = row->created_ms + set->start_timeout_s * 1000;
    int64_t soon_ms = loop_wall_ms() +
                      (l->app->launcher->record ? TAKE_UP_FAR_MS : TAKE_UP_MS);

    s->l = l;
    memcpy(s->sid, row->id, ID_SIZE);
    s->created_ms = row->created_ms;
    s->is_running = row->state == STATE_RUNNING;
    s->last_ms =
        row->created_ms + 1000 * settings_longest_s(set, row->lifetime_s);
    s->next = l->all;
    l->all = s;
    l->count++;
    count_add(COUNT_LIVE, 1);
    s->retry = loop_timer_start(l->app->loop, INT32_MAX, 0, session_retry, s);
    deadline_set(s, s->is_running        ? s->last_ms
                    : start_ms > soon_ms ? start_ms
                                         : soon_ms);
    return s;
}

void live_start(struct live *l, const struct store_session *row,
                struct launch *what)
{
    struct session *s;

    if (session_find(l, row->id)) {
        launch_free(what);
        return;
    }
    s = add(l, row);
    s->record = what->record ? mem_str(what->record) : NULL;
    l->app->launcher->start(l->app->launcher, what);
}

void live_take_up(struct live *l, const struct store_session *row,
                  const char *trusted, struct launch *what)
{
    struct launcher *launcher = l->app->launcher;
    struct session *s = add(l, row);

    s->untold_seen = row->viewers_untold;
    session_know(s, row);
    launcher->take_up(launcher, row->id, row->launch_ref, trusted, what);
    if (row->end_wanted)
        live_delete(l, row->id);
}

void live_follow(struct live *l, const struct store_session *row,
                 const char *trusted, struct launch *what)
{
    struct session *s = session_find(l, row->id);

    /* a new one of another's, or ours whose answer is just being made: who
     * led before has begun nothing of what came after we looked */
    if (!s && what && !row->launch_ref[0] && !row->end_wanted) {
        live_start(l, row, what);
        return;
    }
    if (!s && what) {
        live_take_up(l, row, trusted, what);
        return;
    }
    launch_free(what);
    if (!s || row->state == STATE_ENDED)
        return;
    if (row->end_wanted)
        live_delete(l, row->id);
    if (row->viewers_untold && row->viewers_untold != s->untold_seen)
        session_tell(s);
    s->untold_seen = row->viewers_untold;
}

static void delete_failed(void *arg, int64_t told)
{
    struct session *s = arg;
    struct launcher *launcher = s->l->app->launcher;

    (void)told;
    s->ender = NULL;
    launcher->end(launcher, s->sid, REASON_DELETED, "");
}

void live_delete(struct live *l, const char *sid)
{
    struct session *s = session_find(l, sid);

    if (!s || s->is_gone || s->is_deleted)
        return;
    s->is_deleted = true;
    s->ender = control_start(l->app, sid, CONTROL_END, delete_failed, s);
}

static void tell_over(void *arg, int64_t told)
{
    static struct log_rate rate = {.burst = 20, .interval_ms = 1000};
    struct session *s = arg;

    s->teller = NULL;
    if (told < 0 && log_rate_ok(&rate, loop_now_ms()))
        log_warn("session.viewers_unheard", "sid", "s", s->sid, "suppressed",
                 "i", rate.suppressed, NULL);
    if (told > 0) {
        s->facts.told = (uint32_t)told;
        s->facts.has_any = true;
        session_write(s);
    }
    if (told < 0 || s->is_tell_due)
        session_tell(s);
}

static void tell_now(void *arg)
{
    session_tell(arg);
}

/* One at a time; what changes meanwhile is told by the next. */
void session_tell(struct session *s)
{
    int64_t left_ms = s->told_at_ms + TELL_GAP_MS - loop_now_ms();

    if (s->is_gone)
        return;
    s->is_tell_due = true;
    if (s->teller)
        return;
    loop_timer_stop(s->tell_wait);
    s->tell_wait = NULL;
    if (left_ms > 0) {
        s->tell_wait =
            loop_timer_start(s->l->app->loop, left_ms, 0, tell_now, s);
        return;
    }
    s->is_tell_due = false;
    s->told_at_ms = loop_now_ms();
    s->teller = control_start(s->l->app, s->sid, CONTROL_VIEWERS, tell_over, s);
}

void live_viewers(struct live *l, const char *sid)
{
    struct session *s = session_find(l, sid);

    if (s)
        session_tell(s);
}

void live_stop(struct live *l, void (*stopped)(void *arg), void *arg)
{
    struct session *next;

    l->stopped = stopped;
    l->stopped_arg = arg;
    if (l->count == 0) {
        stopped(arg);
        return;
    }
    for (struct session *s = l->all; s; s = next) {
        next = s->next;
        l->app->launcher->end(l->app->launcher, s->sid, REASON_RUNNER_LOST,
                              "podterm was stopped.");
    }
}

void live_watch_records(struct live *l)
{
    if (!l->revive_timer && l->app->launcher->record)
        l->revive_timer = loop_timer_start(l->app->loop, REVIVE_MS, REVIVE_MS,
                                           session_revive, l);
}

int live_count(const struct live *l)
{
    return l->count;
}

struct live *live_new(struct app *app)
{
    struct live *l = mem_zero(1, sizeof *l);

    l->app = app;
    return l;
}

void live_rest(struct live *l)
{
    struct session *next;

    for (struct session *s = l->all; s; s = next) {
        next = s->next;
        release(s);
    }
    l->all = NULL;
}

void live_free(struct live *l)
{
    if (!l)
        return;
    live_rest(l);
    loop_timer_stop(l->revive_timer);
    free(l);
}
