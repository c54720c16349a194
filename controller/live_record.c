/*
 * One session's record: what the launcher told is written in order, one write
 * at a time. A record that the store has lost is written anew from what the
 * cluster keeps of it.
 *
 * Another controller may lead by now and have written to it, whatever we
 * believe (a clock may stand still with its machine). Therefore a runner is
 * given out once, by the store's word, and nothing is written to a record
 * that names a runner of another's choice.
 */
#include "controller/live_internal.h"

#include "base/log.h"
#include "base/mem.h"
#include "controller/app.h"
#include "controller/counts.h"
#include "controller/reaper.h"
#include "controller/record.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RETRY_MS 250 /* a write the store refused is tried again */
/* A warm runner that was given out is not there for longer, or a session's. */
#define GIVEN_S 90000

static void apply_end(struct store_session *row, const struct launch_end *end)
{
    row->state = STATE_ENDED;
    row->reason = end->reason;
    row->has_exit = end->has_exit;
    row->exit_code = end->exit_code;
    row->exit_signal = end->exit_signal;
    snprintf(row->detail, sizeof row->detail, "%s", end->detail);
    if (end->started_ms >= row->created_ms)
        row->started_ms = end->started_ms;
    row->ended_ms = end->ended_ms;
    row->output_bytes = end->output_bytes;
    row->input_bytes = end->input_bytes;
    if (end->layers && !row->cage)
        row->cage = end->layers;
    /* asked for by its owner: what was lost on the way was not lost */
    if (row->end_wanted && end->reason == REASON_RUNNER_LOST) {
        row->reason = REASON_DELETED;
        row->detail[0] = '\0';
    }
}

static void apply_facts(const struct facts *f, struct store_session *row)
{
    for (int i = 0; i < f->stage_count; i++)
        store_stage_add(row, f->stages[i].stage, f->stages[i].state,
                        f->stages[i].detail, f->stages[i].ms);
    if (f->ref[0])
        snprintf(row->launch_ref, sizeof row->launch_ref, "%s", f->ref);
    if (f->is_listening) {
        snprintf(row->agent_addr, sizeof row->agent_addr, "%s", f->addr);
        snprintf(row->agent_uid, sizeof row->agent_uid, "%s", f->uid);
        if (!row->isolation[0]) /* one taken up keeps what it was given */
            snprintf(row->isolation, sizeof row->isolation, "%s", f->isolation);
        if (row->state == STATE_PENDING)
            row->state = STATE_STARTING;
    }
    if (f->is_running && row->state != STATE_RUNNING) {
        row->state = STATE_RUNNING;
        row->started_ms = f->started_ms;
    }
    if (f->layers)
        row->cage = f->layers;
    if (f->told && f->told == row->viewers_untold)
        row->viewers_untold = 0;
    if (f->is_ended)
        apply_end(row, &f->end);
}

/* None at all: the store has lost what was written last. */
static bool is_anothers(const struct session *s,
                        const struct store_session *row)
{
    return row->launch_ref[0] && strcmp(row->launch_ref, s->known.ref) != 0 &&
           strcmp(row->launch_ref, s->writing.ref) != 0;
}

static int apply(void *arg, struct store_session *row, struct err *e)
{
    struct session *s = arg;

    s->is_refused = row->state == STATE_ENDED;
    if (s->is_refused)
        return err_set(e, ERR_ENDED, "the record has ended");
    if (is_anothers(s, row))
        return err_set(e, ERR_CONFLICT,
                       "another controller has it run in %.60s",
                       row->launch_ref);
    memcpy(row->launch_ref, s->known.ref, sizeof row->launch_ref);
    apply_facts(&s->writing, row);
    s->is_untold = row->viewers_untold != 0;
    return 0;
}

static void remember(struct session *s, const struct store_session *row)
{
    const struct app *a = s->l->app;

    free(s->record);
    s->record = record_text(row, a->set->installation, &a->keys);
}

void session_know(struct session *s, const struct store_session *row)
{
    struct facts *f = &s->known;

    if (!s->l->app->launcher->record)
        return;
    remember(s, row);
    memcpy(f->ref, row->launch_ref, sizeof f->ref);
    f->is_listening = row->agent_addr[0] != '\0';
    memcpy(f->addr, row->agent_addr, sizeof f->addr);
    memcpy(f->uid, row->agent_uid, sizeof f->uid);
    memcpy(f->isolation, row->isolation, sizeof f->isolation);
    f->is_running = row->state == STATE_RUNNING;
    f->started_ms = row->started_ms;
    f->layers = row->cage;
}

/* The store was emptied: the session goes on, and so does its record. */
static int write_anew(struct session *s, struct store_session *row,
                      struct err *e)
{
    const struct app *a = s->l->app;

    if (record_parse(s->record, s->sid, a->set->installation, &a->keys, row,
                     e) < 0)
        return err_set(e, ERR_ABSENT, "the record is gone for good");
    row->end_wanted = s->is_deleted;
    apply_facts(&s->known, row);
    apply_facts(&s->writing, row);
    if (store_restore(a->store, row, e) < 0) {
        if (e->kind == ERR_CONFLICT) /* another has: there it is written */
            e->kind = ERR_BUSY;
        return -1;
    }
    log_info("session.restored", "sid", "s", s->sid, NULL);
    return 0;
}

/* Whoever claims it second is refused, whatever he knows. The session's own
 * is no other's. */
static int give_out_runner(struct session *s, struct err *e)
{
    const char *ref = s->writing.ref;
    const int64_t now_s = loop_wall_s();

    if (!ref[0] || strstr(ref, s->sid) || strcmp(ref, s->given) == 0)
        return 0;
    if (store_give_out(s->l->app->store, ref, now_s + GIVEN_S, now_s, e) < 0)
        return -1;
    memcpy(s->given, ref, sizeof s->given);
    return 0;
}

static void write_run(void *arg)
{
    struct session *s = arg;
    struct store *store = s->l->app->store;
    struct store_session *row = mem_zero(1, sizeof *row);
    int got;

    memset(&s->failure, 0, sizeof s->failure);
    s->is_refused = false;
    if (launch_check_leads(&s->l->app->launcher->sink, &s->failure) < 0 ||
        give_out_runner(s, &s->failure) < 0) {
        free(row);
        return;
    }
    got = store_update_if(store, s->sid, apply, s, row, &s->failure);
    if (got < 0 && s->failure.kind == ERR_ABSENT && s->record) {
        memset(&s->failure, 0, sizeof s->failure);
        got = write_anew(s, row, &s->failure);
    }
    if (got == 0 && s->writing.told && s->record)
        remember(s, row); /* with those who may watch now */
    if (got == 0)
        s->writing.stage_count = 0; /* said, also if the rest is not */
    if (got == 0 && s->writing.is_launched)
        got = store_launch_drop(store, s->sid, &s->failure);
    if (got == 0 && s->writing.is_ended)
        s->writing.end.reason = row->reason;
    free(row);
}

/* What came later joins what could not be written. */
static void facts_merge(struct facts *to, const struct facts *newer)
{
    for (int i = 0; i < newer->stage_count; i++)
        if (to->stage_count < FACT_STAGES_MAX)
            to->stages[to->stage_count++] = newer->stages[i];
    if (newer->ref[0])
        memcpy(to->ref, newer->ref, sizeof to->ref);
    to->is_launched |= newer->is_launched;
    if (newer->is_listening) {
        to->is_listening = true;
        memcpy(to->addr, newer->addr, sizeof to->addr);
        memcpy(to->uid, newer->uid, sizeof to->uid);
        memcpy(to->isolation, newer->isolation, sizeof to->isolation);
    }
    if (newer->is_running) {
        to->is_running = true;
        to->started_ms = newer->started_ms;
    }
    if (newer->layers)
        to->layers = newer->layers;
    if (newer->told)
        to->told = newer->told;
    if (newer->is_ended) {
        to->is_ended = true;
        to->end = newer->end;
    }
}

/* The rest is written with what comes. */
static void refuse_claim(struct session *s)
{
    struct launcher *launcher = s->l->app->launcher;

    log_err(&s->failure, "session.claim");
    s->writing.ref[0] = '\0';
    facts_merge(&s->writing, &s->facts);
    s->facts = s->writing;
    launcher->claim_refused(launcher, s->sid);
}

static void written(void *arg)
{
    struct session *s = arg;

    s->is_writing = false;
    if (s->is_forgotten) {
        session_free(s);
        return;
    }
    if (s->failure.kind == ERR_TOKEN) {
        refuse_claim(s);
        return;
    }
    if (s->failure.kind == ERR_CONFLICT) {
        log_err(&s->failure, "session.outrun");
        reaper_anew(s->l->app->reaper); /* and s is gone */
        return;
    }
    /* (a record that has ended, or is gone, has been told all it wants) */
    if (s->failure.kind && !s->is_refused && s->failure.kind != ERR_ABSENT) {
        log_err(&s->failure, "session.record");
        if (s->failure.is_full && s->is_gone && s->l->stopped) {
            session_forget(
                s); /* nobody can tell when; the next start closes it */
            return;
        }
        facts_merge(&s->writing, &s->facts);
        s->facts = s->writing;
        loop_timer_again(s->retry, RETRY_MS, 0);
        return;
    }
    s->writing.stage_count = 0;
    facts_merge(&s->known, &s->writing);
    if (s->writing.is_ended) {
        log_info("session.end", "sid", "s", s->sid, "reason", "s",
                 end_reason_name(s->writing.end.reason), "detail", "s",
                 s->writing.end.detail, NULL);
        if (!s->is_refused)
            count_ended(s->writing.end.reason);
        session_forget(s);
        return;
    }
    if (s->is_refused || s->failure.kind == ERR_ABSENT)
        s->l->app->launcher->end(s->l->app->launcher, s->sid, REASON_DELETED,
                                 "");
    else if (s->is_untold && (s->writing.is_listening || s->writing.told))
        session_tell(s); /* changed before it listened, or meanwhile */
    /* it was given out to it, also where there is no record any more */
    if (s->writing.ref[0])
        s->l->app->launcher->claim_kept(s->l->app->launcher, s->sid);
    session_write(s);
}

void session_write(struct session *s)
{
    if (s->is_writing || !s->facts.has_any)
        return;
    s->writing = s->facts;
    memset(&s->facts, 0, sizeof s->facts);
    s->is_writing = true;
    if (!worker_add(s->l->app->worker, write_run, written, s)) {
        s->is_writing = false;
        s->facts = s->writing;
        loop_timer_again(s->retry, RETRY_MS / 10, 0);
    }
}

void session_write_soon(struct session *s)
{
    loop_timer_again(s->retry, 0, 0);
}

void session_retry(void *arg)
{
    session_write(arg);
}

/* --- records the store has lost --- */

struct revive {
    struct live *l;
    int count;
    struct {
        char sid[ID_SIZE];
        bool is_lost;
    } of[]; /* each session at the time */
};

static void revive_run(void *arg)
{
    struct revive *v = arg;
    struct store_session *row = mem_zero(1, sizeof *row);

    for (int i = 0; i < v->count; i++) {
        struct err e = {0};

        v->of[i].is_lost =
            store_get(v->l->app->store, v->of[i].sid, row, &e) < 0 &&
            e.kind == ERR_ABSENT;
    }
    free(row);
}

static void revive_done(void *arg)
{
    struct revive *v = arg;

    v->l->revive = NULL;
    for (int i = 0; i < v->count; i++) {
        struct session *s =
            v->of[i].is_lost ? session_find(v->l, v->of[i].sid) : NULL;

        if (s) {
            s->facts.has_any = true;
            session_write(s);
        }
    }
    free(v);
}

void session_revive(void *arg)
{
    struct live *l = arg;
    struct revive *v;

    if (l->revive || l->count == 0)
        return;
    v = mem_zero(1, sizeof *v + (size_t)l->count * sizeof *v->of);
    v->l = l;
    for (struct session *s = l->all; s; s = s->next)
        memcpy(v->of[v->count++].sid, s->sid, ID_SIZE);
    if (worker_add(l->app->worker, revive_run, revive_done, v))
        l->revive = v;
    else
        free(v);
}
