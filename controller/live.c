#include "controller/live.h"

#include "base/log.h"
#include "base/mem.h"
#include "base/own.h"
#include "controller/app.h"
#include "controller/control.h"
#include "controller/counts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FACT_STAGES_MAX 8 /* stages gathered for one write */
#define TAKE_UP_MS 2000   /* to learn that a session found has started */
#define RETRY_MS 250      /* a write the store refused is tried again */
/* Between two tellings of viewers: each costs the agent one of the token ids
 * it remembers, for a minute and a half. */
#define TELL_GAP_MS 1000

struct facts { /* what a record has still to be told */
    bool has_any;
    struct store_stage stages[FACT_STAGES_MAX];
    int stage_count;
    bool is_listening;
    char addr[64], uid[64], isolation[12];
    bool is_running;
    int64_t started_ms;
    bool is_ended;
    struct launch_end end;
    uint32_t told; /* changes of viewers the agent has heard of; 0 = none */
};

struct session { /* one live session */
    struct live *l;
    struct session *next;
    char sid[ID_SIZE];
    int64_t created_ms, last_ms; /* wall clock; last = the backstop */
    bool is_running, is_gone;    /* gone: the launcher told its end */
    bool is_deleted;             /* DELETE was asked */
    struct facts facts;          /* gathered */
    struct facts writing;        /* with the worker */
    bool is_writing, is_refused; /* refused: the record had ended already */
    struct err failure;
    struct loop_timer *deadline, *retry;
    struct control *ender, *teller; /* END, VIEWERS under way */
    struct loop_timer *tell_wait;   /* for the gap to be over */
    int64_t told_at_ms;             /* when the last telling began */
    bool is_untold; /* after the write: viewers the agent has not heard of */
    bool is_tell_due;
};

struct live {
    struct app *app;
    struct session *all;
    int count;
    void (*stopped)(void *arg);
    void *stopped_arg;
};

static struct session *find(struct live *l, const char *sid)
{
    struct session *s = l->all;

    while (s && strcmp(s->sid, sid) != 0)
        s = s->next;
    return s;
}

static void release(struct session *s)
{
    s->l->count--;
    count_add(COUNT_LIVE, -1);
    loop_timer_stop(s->deadline);
    loop_timer_stop(s->retry);
    loop_timer_stop(s->tell_wait);
    control_stop(s->ender);
    control_stop(s->teller);
    free(s);
}

static void forget(struct session *s)
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

/* --- the record --- */

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
    /* asked for by its owner: what was lost on the way was not lost */
    if (row->end_wanted && end->reason == REASON_RUNNER_LOST) {
        row->reason = REASON_DELETED;
        row->detail[0] = '\0';
    }
}

static int apply(void *arg, struct store_session *row, struct err *e)
{
    struct session *s = arg;
    const struct facts *f = &s->writing;

    s->is_refused = row->state == STATE_ENDED;
    if (s->is_refused)
        return err_set(e, ERR_ENDED, "the record has ended");
    for (int i = 0; i < f->stage_count; i++)
        store_stage_add(row, f->stages[i].stage, f->stages[i].state,
                        f->stages[i].detail, f->stages[i].ms);
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
    if (f->told && f->told == row->viewers_untold)
        row->viewers_untold = 0;
    if (f->is_ended)
        apply_end(row, &f->end);
    s->is_untold = row->viewers_untold != 0;
    return 0;
}

static void write_run(void *arg)
{
    struct session *s = arg;
    struct store_session *row = mem_zero(1, sizeof *row);

    memset(&s->failure, 0, sizeof s->failure);
    if (store_update_if(s->l->app->store, s->sid, apply, s, row, &s->failure) ==
            0 &&
        s->writing.is_ended)
        s->writing.end.reason = row->reason;
    free(row);
}

/* What came later joins what could not be written. */
static void facts_merge(struct facts *to, const struct facts *newer)
{
    for (int i = 0; i < newer->stage_count; i++)
        if (to->stage_count < FACT_STAGES_MAX)
            to->stages[to->stage_count++] = newer->stages[i];
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
    if (newer->told)
        to->told = newer->told;
    if (newer->is_ended) {
        to->is_ended = true;
        to->end = newer->end;
    }
}

static void write_next(struct session *s);
static void tell(void *arg);

static void written(void *arg)
{
    struct session *s = arg;

    s->is_writing = false;
    if (s->failure.kind == ERR_SYSTEM || s->failure.kind == ERR_BUSY) {
        log_err(&s->failure, "session.record");
        if (s->failure.is_full && s->is_gone && s->l->stopped) {
            forget(s); /* nobody can tell when; the next start closes it */
            return;
        }
        facts_merge(&s->writing, &s->facts);
        s->facts = s->writing;
        loop_timer_again(s->retry, RETRY_MS, 0);
        return;
    }
    if (s->writing.is_ended) {
        log_info("session.end", "sid", "s", s->sid, "reason", "s",
                 end_reason_name(s->writing.end.reason), "detail", "s",
                 s->writing.end.detail, NULL);
        if (!s->is_refused)
            count_ended(s->writing.end.reason);
        forget(s);
        return;
    }
    if (s->is_refused || s->failure.kind == ERR_ABSENT)
        s->l->app->launcher->end(s->l->app->launcher, s->sid, REASON_DELETED,
                                 "");
    else if (s->is_untold && (s->writing.is_listening || s->writing.told))
        tell(s); /* changed before it listened, or meanwhile */
    write_next(s);
}

static void write_next(struct session *s)
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

static void retry(void *arg)
{
    write_next(arg);
}

/* --- what the launcher tells --- */

static void told_stage(void *arg, const char *sid, const char *stage,
                       const char *state, const char *detail)
{
    struct session *s = find(arg, sid);
    struct store_stage *at;

    if (!s || s->facts.stage_count == FACT_STAGES_MAX)
        return;
    at = &s->facts.stages[s->facts.stage_count++];
    snprintf(at->stage, sizeof at->stage, "%s", stage);
    snprintf(at->state, sizeof at->state, "%s", state);
    snprintf(at->detail, sizeof at->detail, "%s", detail);
    at->ms = loop_wall_ms();
    s->facts.has_any = true;
    write_next(s);
}

static void told_listening(void *arg, const char *sid, const char *addr,
                           const char *uid, const char *isolation)
{
    struct session *s = find(arg, sid);

    if (!s)
        return;
    s->facts.is_listening = s->facts.has_any = true;
    snprintf(s->facts.addr, sizeof s->facts.addr, "%s", addr);
    snprintf(s->facts.uid, sizeof s->facts.uid, "%s", uid);
    snprintf(s->facts.isolation, sizeof s->facts.isolation, "%s", isolation);
    count_start((loop_wall_ms() - s->created_ms) * 1000);
    write_next(s);
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

static void told_running(void *arg, const char *sid, int64_t started_ms)
{
    struct session *s = find(arg, sid);

    if (!s)
        return;
    s->is_running = true;
    s->facts.is_running = s->facts.has_any = true;
    s->facts.started_ms = started_ms > 0 ? started_ms : loop_wall_ms();
    deadline_set(s, s->last_ms);
    write_next(s);
}

static void told_ended(void *arg, const char *sid, const struct launch_end *end)
{
    struct session *s = find(arg, sid);

    if (!s)
        return;
    s->is_gone = true;
    control_stop(s->ender);
    control_stop(s->teller);
    s->ender = s->teller = NULL;
    s->facts.is_ended = s->facts.has_any = true;
    s->facts.end = *end;
    write_next(s);
}

struct launch_sink live_sink(struct live *l)
{
    return (struct launch_sink){told_stage, told_listening, told_running,
                                told_ended, l};
}

/* --- the table --- */

static struct session *add(struct live *l, const struct store_session *row)
{
    const struct settings *set = l->app->set;
    struct session *s = mem_zero(1, sizeof *s);
    int64_t start_ms = row->created_ms + set->start_timeout_s * 1000;
    int64_t soon_ms = loop_wall_ms() + TAKE_UP_MS;

    s->l = l;
    memcpy(s->sid, row->id, ID_SIZE);
    s->created_ms = row->created_ms;
    s->is_running = row->state == STATE_RUNNING;
    s->last_ms = start_ms + 1000 * (row->lifetime_s + set->linger_s +
                                    set->linger_detached_s + LIVE_SLACK_S);
    s->next = l->all;
    l->all = s;
    l->count++;
    count_add(COUNT_LIVE, 1);
    s->retry = loop_timer_start(l->app->loop, INT32_MAX, 0, retry, s);
    deadline_set(s, s->is_running        ? s->last_ms
                    : start_ms > soon_ms ? start_ms
                                         : soon_ms);
    return s;
}

void live_start(struct live *l, const struct store_session *row,
                struct launch *what)
{
    add(l, row);
    l->app->launcher->start(l->app->launcher, what);
}

void live_take_up(struct live *l, const struct store_session *row,
                  const char *trusted)
{
    add(l, row);
    l->app->launcher->take_up(l->app->launcher, row->id, trusted);
    if (row->end_wanted)
        live_delete(l, row->id);
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
    struct session *s = find(l, sid);

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
        write_next(s);
    }
    if (told < 0 || s->is_tell_due)
        tell(s);
}

/* One at a time; what changes meanwhile is told by the next. */
static void tell(void *arg)
{
    struct session *s = arg;
    int64_t left_ms = s->told_at_ms + TELL_GAP_MS - loop_now_ms();

    if (s->is_gone)
        return;
    s->is_tell_due = true;
    if (s->teller)
        return;
    loop_timer_stop(s->tell_wait);
    s->tell_wait = NULL;
    if (left_ms > 0) {
        s->tell_wait = loop_timer_start(s->l->app->loop, left_ms, 0, tell, s);
        return;
    }
    s->is_tell_due = false;
    s->told_at_ms = loop_now_ms();
    s->teller = control_start(s->l->app, s->sid, CONTROL_VIEWERS, tell_over, s);
}

void live_viewers(struct live *l, const char *sid)
{
    struct session *s = find(l, sid);

    if (s)
        tell(s);
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

void live_free(struct live *l)
{
    struct session *next;

    if (!l)
        return;
    for (struct session *s = l->all; s; s = next) {
        next = s->next;
        release(s);
    }
    free(l);
}
