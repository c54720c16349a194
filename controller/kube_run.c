/*
 * A run goes MAKING (a worker makes Job and Secret, again and again while
 * there is no room) -> FOLLOWED (pods and Jobs are watched) -> REMOVING where
 * we end it -> TOLD (what is left is removed) -> freed. One that takes a warm
 * pod begins with CLAIMING -> WAKING instead (kube_claim.c), after AWAITING where
 * we have just begun to lead.
 */
#include "controller/kube_run.h"

#include "base/log.h"
#include "base/mem.h"
#include "base/own.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NO_WORKER_MS 20 /* the pool is full: again */
#define REMOVE_AGAIN_MS 2000
#define ROOM_SHARE_MS 500 /* between two that ask for room */
#define NO_JOB "NoJob"    /* what it waits for: there is no room for one */

/* --- the table --- */

struct kube_run *kube_run_find(struct kube_launcher *l, const char *sid)
{
    struct kube_run *r = l->runs;

    while (r && strcmp(r->sid, sid) != 0)
        r = r->next;
    return r;
}

struct kube_run *kube_run_of_job(struct kube_launcher *l, const char *job)
{
    struct kube_run *r = l->runs;

    while (r && strcmp(r->job, job) != 0)
        r = r->next;
    return r;
}

struct kube_run *kube_run_new(struct kube_launcher *l, const char *sid)
{
    struct kube_run *r = mem_zero(1, sizeof *r);

    r->l = l;
    snprintf(r->sid, sizeof r->sid, "%s", sid);
    jobspec_name(sid, r->job);
    r->next = l->runs;
    l->runs = r;
    l->count++;
    return r;
}

static bool is_line_of(const char *text, const char *line)
{
    const size_t len = strlen(line);

    for (const char *at = text; (at = strstr(at, line)); at++)
        if ((at == text || at[-1] == '\n') &&
            (at[len] == '\n' || at[len] == '\0'))
            return true;
    return false;
}

bool kube_trust_holds(const char *trust, const char *trusted)
{
    own_mem char *kids = mem_str(trust ? trust : "");
    char *save = NULL;

    for (char *kid = strtok_r(kids, "\n", &save); kid;
         kid = strtok_r(NULL, "\n", &save))
        if (!is_line_of(trusted, kid))
            return false;
    return trust != NULL;
}

static void stop_timers(struct kube_run *r)
{
    loop_timer_stop(r->retry);
    loop_timer_stop(r->last);
    loop_timer_stop(r->lost);
    loop_timer_stop(r->look);
    r->retry = r->last = r->lost = r->look = NULL;
}

static void run_free(struct kube_run *r)
{
    stop_timers(r);
    launch_free(r->what);
    free(r->record);
    free(r->trust);
    wipe(r->warm.key, sizeof r->warm.key);
    free(r);
}

void kube_run_drop(struct kube_run *r)
{
    struct kube_run **at = &r->l->runs;

    while (*at != r)
        at = &(*at)->next;
    *at = r->next;
    r->l->count--;
    stop_timers(r);
    atomic_store(&r->is_dropped, true);
    if (!r->is_working)
        run_free(r);
}

/* --- the worker --- */

void kube_run_later(struct kube_run *r, int64_t ms, void (*cb)(void *arg))
{
    loop_timer_stop(r->retry);
    r->retry = loop_timer_start(r->l->loop, ms, 0, cb, r);
}

static void last_look(struct kube_run *r, int64_t ms, void (*cb)(void *arg))
{
    loop_timer_stop(r->last);
    r->last = loop_timer_start(r->l->loop, ms, 0, cb, r);
}

/* Another may lead by now: what has not begun is not done. */
static void work(void *arg)
{
    struct kube_run *r = arg;

    if (!atomic_load(&r->is_dropped))
        r->work(r);
}

static void ask(struct kube_run *r, struct worker *w, void (*run)(void *arg),
                void (*done)(void *arg), void (*again)(void *arg))
{
    memset(&r->failure, 0, sizeof r->failure);
    loop_timer_stop(r->retry);
    r->retry = NULL;
    r->work = run;
    r->is_working = worker_add(w, work, done, r);
    if (!r->is_working)
        kube_run_later(r, NO_WORKER_MS, again);
}

void kube_run_ask(struct kube_run *r, void (*run)(void *arg),
                  void (*done)(void *arg), void (*again)(void *arg))
{
    ask(r, r->l->worker, run, done, again);
}

void kube_run_ask_agent(struct kube_run *r, void (*run)(void *arg),
                        void (*done)(void *arg), void (*again)(void *arg))
{
    ask(r, r->l->waker, run, done, again);
}

/* On the loop again: is there still somebody who wants to know? */
bool kube_run_is_back(struct kube_run *r)
{
    r->is_working = false;
    if (!atomic_load(&r->is_dropped))
        return true;
    run_free(r);
    return false;
}

/* --- what is left after the end --- */

static void cleaned(void *arg);

static void clean(void *arg)
{
    struct kube_run *r = arg;

    /* a Job that ended by itself stays to be looked at until its TTL; the key
     * of its session does not */
    if (r->is_to_remove)
        kube_job_remove(&r->l->place, r->job, r->uid, &r->failure);
    else
        kube_job_forget(&r->l->place, r->job, &r->failure);
}

static void clean_again(void *arg)
{
    struct kube_run *r = arg;

    kube_run_ask(r, clean, cleaned, clean_again);
}

static void cleaned(void *arg)
{
    struct kube_run *r = arg;

    if (!kube_run_is_back(r))
        return;
    if (r->failure.kind == ERR_NONE || r->failure.kind == ERR_TIMEOUT) {
        kube_run_drop(r);
        return;
    }
    log_err(&r->failure, "session.left_behind");
    kube_run_later(r, REMOVE_AGAIN_MS, clean_again);
}

/* --- the end --- */

static void tell_end(struct kube_run *r)
{
    struct launch_sink *sink = &r->l->base.sink;
    struct launch_end end;

    podview_end(&r->pod, r->wanted, r->wanted_detail, loop_wall_ms(), &end);
    /* asked for, or not seen to be over: then it must not stay */
    r->is_to_remove =
        r->wanted || !r->pod.is_over || end.reason == REASON_DELETED;
    if (!r->is_quiet)
        sink->ended(sink->arg, r->sid, &end);
}

void kube_run_clean(struct kube_run *r)
{
    if ((!r->uid[0] && !r->is_asked) || r->is_job_gone || r->is_removed)
        kube_run_drop(r);
    else
        clean_again(r);
}

void kube_run_finish(struct kube_run *r)
{
    if (r->state == RUN_TOLD)
        return;
    r->state = RUN_TOLD;
    stop_timers(r);
    tell_end(r);
    if (!r->is_working)
        kube_run_clean(r);
}

static void pod_stays(void *arg)
{
    struct kube_run *r = arg;

    log_warn("session.pod_stays", "sid", "s", r->sid, NULL);
    kube_run_finish(r);
}

static void removed(void *arg);

static void remove_job(void *arg)
{
    struct kube_run *r = arg;

    kube_job_remove(&r->l->place, r->job, r->uid, &r->failure);
}

static void remove_again(void *arg)
{
    struct kube_run *r = arg;

    kube_run_ask(r, remove_job, removed, remove_again);
}

static void removed(void *arg)
{
    struct kube_run *r = arg;

    if (!kube_run_is_back(r) || r->failure.kind == ERR_TIMEOUT)
        return; /* we stop: the next controller ends it */
    r->is_removed = r->failure.kind == ERR_NONE;
    if (r->state == RUN_TOLD) {
        kube_run_clean(r);
        return;
    }
    if (r->failure.kind) {
        log_err(&r->failure, "session.not_removed");
        kube_run_later(r, REMOVE_AGAIN_MS, remove_again);
        return;
    }
    if (r->is_pod_gone || r->is_quiet ||
        (!r->has_pod && r->l->pods_list > KUBE_FIRST_LIST))
        kube_run_finish(r);
    else
        last_look(r, r->l->gone_ms, pod_stays);
}

/* With what it waited for, when it never began. */
static void want(struct kube_run *r, enum end_reason why, const char *detail)
{
    const struct podview *v = &r->pod;

    if (r->wanted)
        return;
    r->wanted = why;
    if (why == REASON_START_FAILED && v->waits_for[0])
        snprintf(r->wanted_detail, sizeof r->wanted_detail, "%s (%s: %.160s)",
                 detail, v->waits_for, v->waits_why);
    else
        snprintf(r->wanted_detail, sizeof r->wanted_detail, "%s", detail);
}

void kube_run_end(struct kube_run *r, enum end_reason why, const char *detail)
{
    if (r->state == RUN_TOLD || r->state == RUN_REMOVING)
        return;
    want(r, why, detail);
    if (r->is_working || r->state == RUN_SEEKING)
        return; /* what is made, told or found is removed then */
    if (r->state == RUN_CLAIMING && r->uid[0])
        return; /* is it ours? another may have been given it */
    if (!r->uid[0] && !r->is_asked) {
        kube_run_finish(r);
        return;
    }
    stop_timers(r);
    r->state = RUN_REMOVING;
    remove_again(r);
}

/* --- making --- */

static void made(void *arg);

static void make(void *arg)
{
    struct kube_run *r = arg;

    kube_job_make(&r->l->place, r->what, r->made_uid, &r->failure);
}

static void make_again(void *arg)
{
    struct kube_run *r = arg;

    kube_run_ask(r, make, made, make_again);
}

/* A right that is missing may be one that the API does not know of yet. */
static bool is_forbidden_still(struct kube_run *r)
{
    if (r->failure.kind != ERR_DENIED)
        return false;
    if (!r->forbidden_ms)
        r->forbidden_ms = loop_now_ms();
    return loop_now_ms() - r->forbidden_ms < r->l->right_ms;
}

/* A runner of the pool may have come, or become ready, and needs no room. Not
 * where its Job may be there: then that is made whole. */
static void make_or_take(void *arg)
{
    struct kube_run *r = arg;

    if (!r->is_without_room || !kube_run_take_warm(r))
        make_again(r);
}

/* However many wait: the API is asked for other things, too. */
static int64_t room_ms(const struct kube_launcher *l)
{
    const int64_t share_ms = (kube_run_short(l).all - 1) * ROOM_SHARE_MS;

    return share_ms > l->room_ms ? share_ms : l->room_ms;
}

/* Said once; and with the end, if it comes to that. */
static void wait_for_room(struct kube_run *r)
{
    struct launch_sink *sink = &r->l->base.sink;
    const char *quota = strstr(r->failure.text, KUBE_JOB_QUOTA);
    char detail[160];

    r->is_without_room = quota && !r->uid[0];
    snprintf(r->pod.waits_for, sizeof r->pod.waits_for, NO_JOB);
    snprintf(r->pod.waits_why, sizeof r->pod.waits_why, "%.200s",
             quota ? quota : r->failure.text);
    if (!r->told_wait[0]) {
        log_warn("session.no_job", "sid", "s", r->sid, "error", "s",
                 r->failure.text, NULL);
        snprintf(detail, sizeof detail, NO_JOB ": %.140s", r->pod.waits_why);
        sink->stage(sink->arg, r->sid, "scheduled", "waiting", detail);
    }
    snprintf(r->told_wait, sizeof r->told_wait, NO_JOB);
    kube_run_later(r, room_ms(r->l), make_or_take);
}

static void make_failed(struct kube_run *r)
{
    if (r->failure.kind == ERR_TIMEOUT)
        return; /* we stop: the next controller makes it */
    if (is_forbidden_still(r)) {
        log_err(&r->failure, "session.not_started");
        r->failure.kind = ERR_BUSY;
    }
    if (r->failure.kind == ERR_BUSY && r->wanted) {
        kube_run_end(r, r->wanted, "");
        return;
    }
    if (r->failure.kind == ERR_BUSY) {
        wait_for_room(r);
        return;
    }
    log_err(&r->failure, "session.not_started");
    want(r, REASON_START_FAILED,
         "The cluster refuses the session's Job: the controller's log says "
         "why (session.not_started).");
    kube_run_finish(r); /* without its Secret no pod has started */
}

static void job_over(struct kube_run *r);

/* Its start is done: all there is to know lies in the cluster. */
void kube_run_launched(struct kube_run *r)
{
    struct launch_sink *sink = &r->l->base.sink;

    log_debug("session.launched", "sid", "s", r->sid, NULL);
    launch_free(r->what);
    r->what = NULL;
    r->state = RUN_FOLLOWED;
    sink->launched(sink->arg, r->sid);
    if (r->has_pod && (r->pod.is_over || r->is_pod_gone)) {
        kube_run_finish(r);
    } else if (r->wanted) {
        kube_run_end(r, r->wanted, "");
    } else {
        if (r->is_job_over)
            job_over(r);
        kube_run_advance(r);
    }
}

/* That it is owned by a Job of this name is anybody's word. */
static bool is_its(const struct kube_run *r, const struct podview *v)
{
    return strcmp(v->job_uid, r->uid) == 0;
}

static void made(void *arg)
{
    struct kube_run *r = arg;

    if (!kube_run_is_back(r))
        return;
    memcpy(r->uid, r->made_uid, sizeof r->uid);
    if (r->uid[0] && r->has_pod && !is_its(r, &r->pod)) {
        memset(&r->pod, 0, sizeof r->pod);
        r->has_pod = r->is_pod_gone = false;
    }
    if (r->uid[0] && r->has_job && strcmp(r->job_uid, r->uid) != 0) {
        r->has_job = r->is_job_gone = r->is_job_over = false; /* one before */
        r->job_says[0] = '\0';
    }
    if (r->failure.kind) {
        make_failed(r);
        return;
    }
    r->is_without_room = false;
    if (strcmp(r->pod.waits_for, NO_JOB) == 0)
        r->pod.waits_for[0] = '\0';
    if (!r->has_job) { /* in the list that comes now, or it is gone */
        r->has_job = true;
        memcpy(r->job_uid, r->uid, sizeof r->job_uid);
        r->job_listed = r->l->jobs_list;
    }
    kube_run_launched(r);
}

void kube_run_make(struct kube_run *r)
{
    r->state = RUN_MAKING;
    r->is_asked = true;
    jobspec_name(r->sid, r->job);
    make_again(r);
}

/* --- what the watches tell --- */

static void node_lost(void *arg)
{
    struct kube_run *r = arg;

    log_warn("session.node_lost", "sid", "s", r->sid, NULL);
    kube_run_finish(r);
}

/* A pod is ended by its node's kubelet alone: one that was told to go, had
 * its time and is still shown as running lies on a node that nobody hears. */
static void leaves(struct kube_run *r)
{
    if (r->state == RUN_FOLLOWED && r->pod.is_leaving && !r->lost)
        r->lost = loop_timer_start(r->l->loop, r->pod.grace_ms + r->l->lost_ms,
                                   0, node_lost, r);
}

void kube_run_pod(struct kube_run *r, const struct podview *v, bool is_gone)
{
    /* which Job is made is not known yet: judged once it is */
    bool is_early = r->state == RUN_MAKING && !r->uid[0];

    if (r->state == RUN_TOLD || (r->uid[0] && !is_its(r, v)) ||
        (r->has_pod && !is_early && strcmp(v->uid, r->pod.uid) != 0))
        return;
    r->has_pod = true;
    r->pod = *v;
    r->is_pod_gone = is_gone;
    if (is_early)
        return;
    if (!v->is_over && !is_gone) {
        kube_run_advance(r);
        leaves(r);
    } else if (r->state == RUN_FOLLOWED || r->state == RUN_REMOVING) {
        kube_run_finish(r); /* others look when they are done */
    }
}

void kube_run_pods_listed(struct kube_run *r)
{
    struct podview last = r->pod;

    if (r->state == RUN_SEEKING)
        kube_run_found(r, r->has_pod && !r->is_pod_gone ? &last : NULL);
    else if (r->state == RUN_AWAITING)
        kube_run_choose(r);
    else if (r->has_pod && r->pod_listed != r->l->pods_list)
        kube_run_pod(r, &last, true);
    else if (r->state == RUN_REMOVING && r->is_removed && !r->has_pod)
        kube_run_finish(r);
}

/* --- the Job --- */

static void pod_unseen(void *arg)
{
    struct kube_run *r = arg;

    if (!r->has_pod && r->job_says[0])
        want(r, REASON_START_FAILED, r->job_says);
    kube_run_finish(r);
}

/* It is over or gone: its pod may still tell how it ended. */
static void job_over(struct kube_run *r)
{
    if (r->state != RUN_FOLLOWED && r->state != RUN_REMOVING)
        return;
    if (r->is_pod_gone)
        kube_run_finish(r);
    else if (r->state == RUN_FOLLOWED && !r->last)
        last_look(r, r->has_pod ? r->l->gone_ms : r->l->look_ms, pod_unseen);
}

void kube_run_job(struct kube_run *r, const struct jobview *v, bool is_gone)
{
    if (r->state == RUN_TOLD || (r->uid[0] && strcmp(v->uid, r->uid) != 0))
        return;
    r->has_job = true;
    memcpy(r->job_uid, v->uid, sizeof r->job_uid);
    r->is_job_gone = is_gone;
    if (v->is_late)
        want(r, r->told_running ? REASON_LIFETIME : REASON_START_FAILED,
             r->told_running ? "The session outlived every limit."
                             : "The program did not start in time.");
    else if (v->is_failed)
        snprintf(r->job_says, sizeof r->job_says, "%s", v->message);
    r->is_job_over |= is_gone || v->is_finished;
    if (r->is_job_over)
        job_over(r);
}

void kube_run_jobs_listed(struct kube_run *r)
{
    if (!r->has_job || r->is_job_gone || r->job_listed == r->l->jobs_list)
        return;
    r->is_job_gone = r->is_job_over = true;
    job_over(r);
}
