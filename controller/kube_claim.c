/*
 * A session that takes a warm pod: its name goes into the record first, so
 * that whoever comes after us looks there and makes no second one; then its
 * agent is told whose it is; last it is written on the pod, for the day the
 * store is emptied.
 */
#include "controller/kube_run.h"

#include "base/addr.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/own.h"
#include "controller/activate.h"
#include "controller/counts.h"

#include <stdio.h>
#include <string.h>

#define WAKE_MS 5000     /* for the agent to be told */
#define WAKES_MAX 3      /* warm pods tried before a Job is made */
#define GIVE_UP_MS 2000  /* between tries to remove a pod that failed us */
#define ASK_AGAIN_MS 500 /* one that may be ours, and did not say so */
#define MARK_MS 2000     /* between tries to write whose it is */

static void woken(void *arg);
static void give_up_again(void *arg);

/* --- telling the agent --- */

static void wake(void *arg)
{
    struct kube_run *r = arg;
    const struct kube_launcher *l = r->l;
    own_mem char *addr = kube_run_addr(r, &r->warm.pod);
    const struct activate what = {
        .addr = addr,
        .pod_uid = r->warm.pod.uid,
        .pool_psk_id = r->warm.psk_id,
        .pool_key = r->warm.key,
        .signer = l->keys->signer,
        .iss = l->set->issuer,
        .spec = r->what->spec,
        .key = r->what->key,
        .deadline_ms = WAKE_MS,
        .is_ours = &r->is_ours,
    };

    if (launch_check_leads(&l->base.sink, &r->failure) == 0)
        activate_send(&what, &r->failure);
}

static void wake_again(void *arg)
{
    struct kube_run *r = arg;

    kube_run_ask_agent(r, wake, woken, wake_again);
}

static void woken(void *arg)
{
    struct kube_run *r = arg;
    enum err_kind kind = r->failure.kind;

    if (!kube_run_is_back(r))
        return;
    /* told before by another process: its own token was another */
    if (kind == ERR_NONE || (kind == ERR_CONFLICT && r->is_ours)) {
        wipe(r->warm.key, sizeof r->warm.key);
        r->is_to_mark = r->record != NULL;
        count_add(COUNT_WOKEN, 1);
        kube_run_launched(r);
        return;
    }
    if (kind == ERR_BUSY || (kind == ERR_CONFLICT && r->is_again)) {
        /* it was just becoming one's, perhaps ours; or it was not asked */
        r->is_again = r->is_again && kind == ERR_BUSY;
        kube_run_later(r, ASK_AGAIN_MS, wake_again);
        return;
    }
    log_err(&r->failure, "session.not_woken");
    if (kind == ERR_INPUT || kind == ERR_TOO_LARGE)
        r->wakes = WAKES_MAX; /* no other will take it either */
    give_up_again(r);
}

/* --- a pod that failed us must not run what we start elsewhere --- */

static void given_up(void *arg);

static void remove_pod(void *arg)
{
    struct kube_run *r = arg;

    kube_job_remove(&r->l->place, r->job, r->uid, &r->failure);
}

static void give_up_again(void *arg)
{
    struct kube_run *r = arg;

    kube_run_ask(r, remove_pod, given_up, give_up_again);
}

/* What was seen of the Job that it had before is not the next one's. */
static void forget_job(struct kube_run *r)
{
    memset(&r->pod, 0, sizeof r->pod);
    r->has_pod = r->is_pod_gone = r->has_job = r->is_job_gone = false;
    r->is_job_over = r->is_again = r->is_ours = r->is_without_room = false;
    r->job_says[0] = r->told_wait[0] = '\0';
    r->uid[0] = '\0';
}

static void start_anew(struct kube_run *r)
{
    memset(&r->warm, 0, sizeof r->warm);
    forget_job(r);
    jobspec_name(r->sid, r->job);
    if (r->wanted)
        kube_run_finish(r);
    else
        kube_run_choose(r);
}

static void given_up(void *arg)
{
    struct kube_run *r = arg;

    if (!kube_run_is_back(r) || r->failure.kind == ERR_TIMEOUT)
        return;
    if (r->failure.kind) {
        log_err(&r->failure, "session.not_woken");
        kube_run_later(r, GIVE_UP_MS, give_up_again);
        return;
    }
    start_anew(r);
}

/* --- claiming --- */

static void take(struct kube_run *r, const struct podview *pod)
{
    snprintf(r->job, sizeof r->job, "%s", r->warm.job);
    snprintf(r->uid, sizeof r->uid, "%s", r->warm.uid);
    r->pod = *pod;
    r->has_pod = true;
    r->pod_listed = r->l->pods_list;
}

void kube_run_claim(struct kube_run *r)
{
    struct launch_sink *sink = &r->l->base.sink;

    r->state = RUN_CLAIMING;
    sink->claimed(sink->arg, r->sid, r->job);
}

void kube_run_start(struct kube_run *r)
{
    if (r->l->pods_list <= KUBE_FIRST_LIST &&
        kube_pool_is_for(r->l->pool, r->what->image))
        r->state = RUN_AWAITING; /* those there are would seem to be none */
    else
        kube_run_choose(r);
}

struct kube_short kube_run_short(const struct kube_launcher *l)
{
    struct kube_short n = {0};

    for (const struct kube_run *r = l->runs; r; r = r->next) {
        if (r->state != RUN_MAKING || !r->is_without_room)
            continue;
        n.all++;
        if (n.others < l->set->warm_target &&
            (r->wakes >= WAKES_MAX ||
             !kube_pool_is_for(l->pool, r->what->image)))
            n.others++;
    }
    return n;
}

bool kube_run_take_warm(struct kube_run *r)
{
    if (r->wakes >= WAKES_MAX ||
        !kube_pool_take(r->l->pool, r->what->image, &r->warm))
        return false;
    r->wakes++;
    forget_job(r);
    take(r, &r->warm.pod);
    kube_run_claim(r);
    return true;
}

/* Also a Job of its own: whoever led before may have chosen a warm one. */
void kube_run_choose(struct kube_run *r)
{
    if (!kube_run_take_warm(r))
        kube_run_claim(r);
}

bool kube_run_is_any_waking(const struct kube_launcher *l)
{
    for (const struct kube_run *r = l->runs; r; r = r->next)
        if (r->warm.job[0] && !r->told_running && r->state <= RUN_FOLLOWED)
            return true;
    return false;
}

void kube_run_claimed(struct kube_run *r)
{
    if (r->state != RUN_CLAIMING)
        return;
    log_debug("session.claimed", "sid", "s", r->sid, NULL);
    if (!r->uid[0]) { /* a Job of its own */
        kube_run_make(r);
        return;
    }
    r->state = RUN_WAKING;
    if (r->wanted)
        kube_run_end(r, r->wanted, "");
    else
        wake_again(r);
}

/* It was never asked, and may be another's by now: it stays. */
void kube_run_refused(struct kube_run *r)
{
    if (r->state != RUN_CLAIMING || !r->uid[0])
        return;
    kube_pool_refused(r->l->pool, r->job);
    start_anew(r);
}

/* --- a claim of an earlier process --- */

void kube_run_seek(struct kube_run *r, const char *job, const char *uid)
{
    snprintf(r->job, sizeof r->job, "%s", job);
    snprintf(r->uid, sizeof r->uid, "%s", uid);
    r->state = RUN_SEEKING;
    if (r->l->pods_list > KUBE_FIRST_LIST) /* no list comes that tells */
        kube_run_found(r, kube_pool_seen(r->l->pool, job));
}

void kube_run_found(struct kube_run *r, const struct podview *v)
{
    if (!v || (v->is_over && !v->has_report)) {
        start_anew(r); /* it is gone, and was never told */
        return;
    }
    snprintf(r->warm.job, sizeof r->warm.job, "%s", v->job);
    snprintf(r->warm.uid, sizeof r->warm.uid, "%s", v->job_uid);
    r->warm.pod = *v;
    take(r, v);
    if (v->is_over || r->wanted) {
        r->state = RUN_FOLLOWED;
        if (v->is_over)
            kube_run_finish(r);
        else
            kube_run_end(r, r->wanted, "");
        return;
    }
    kube_pool_door(r->l->pool, &r->warm);
    r->is_again = true;
    r->state = RUN_WAKING;
    wake_again(r);
}

/* --- the mark --- */

static void mark(void *arg)
{
    struct kube_run *r = arg;

    kube_job_claim(&r->l->place, r->warm.pod.name, r->sid, r->record, r->trust,
                   &r->failure);
}

static void mark_again(void *arg);

static void marked(void *arg)
{
    struct kube_run *r = arg;

    if (!kube_run_is_back(r))
        return;
    r->is_to_mark = r->failure.kind != ERR_NONE;
    if (r->failure.kind && r->failure.kind != ERR_TIMEOUT)
        log_err(&r->failure, "session.not_marked");
    if (r->state == RUN_TOLD)
        kube_run_clean(r);
    else if (r->wanted)
        kube_run_end(r, r->wanted, "");
    else if (r->is_to_mark)
        kube_run_later(r, MARK_MS, mark_again);
}

static void mark_again(void *arg)
{
    struct kube_run *r = arg;

    if (r->state == RUN_FOLLOWED && !r->is_working)
        kube_run_ask(r, mark, marked, mark_again);
}

void kube_run_mark(struct kube_run *r)
{
    mark_again(r);
}
