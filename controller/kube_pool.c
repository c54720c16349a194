#include "controller/kube_pool.h"

#include "base/log.h"
#include "base/mem.h"
#include "base/token_activate.h"
#include "controller/counts.h"
#include "controller/kube_run.h"
#include "controller/spec.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Beside every change; what KEDA is told does not last (STORE_DEMAND_S). */
#define TICK_MS 2000

struct warm {
    struct kube_pool *p;
    struct warm *next;
    char id[ID_SIZE]; /* "" = one of KEDA's */
    char job[64], uid[KUBE_UID_SIZE];
    int64_t made_ms; /* monotonic */
    bool is_making;  /* with a worker */
    bool is_leaving; /* it is removed, has left, or is a session's */
    bool is_unfit;   /* nobody is to have it; removed until it is gone */
    int64_t vain_ms; /* monotonic: since when it seems nobody's; 0 = not */
    bool is_dropped; /* its worker's done frees it */
    bool is_alleged; /* so far only a pod speaks of its Job */
    bool has_job, has_pod;
    uint32_t job_listed, pod_listed;
    struct podview pod;
    /* the worker's */
    struct launch *what; /* NULL = it is made */
    char made_uid[KUBE_UID_SIZE];
    struct err failure;
};

struct kube_pool {
    struct kube_launcher *l;
    struct warm *all;
    struct loop_timer *tick, *again;
    int64_t burst_ms; /* monotonic: of its first claim; 0 = there is none */
    bool is_on;
    bool has_pods;    /* all that were there have been listed */
    int64_t deficit;  /* as KEDA was told; -1 = not yet */
    int64_t unfit_ms; /* monotonic: since when it makes such; 0 = it does not */
    char unfit[ERR_TEXT_MAX]; /* as was logged last */
};

static void keep(struct kube_pool *p);

/* --- the table --- */

static struct warm *find(struct kube_pool *p, const char *job)
{
    struct warm *w = p->all;

    while (w && strcmp(w->job, job) != 0)
        w = w->next;
    return w;
}

static struct warm *add(struct kube_pool *p, const char *job, const char *uid)
{
    struct warm *w = mem_zero(1, sizeof *w);
    const char *id = jobspec_warm_id(job);

    w->p = p;
    snprintf(w->job, sizeof w->job, "%s", job);
    snprintf(w->uid, sizeof w->uid, "%s", uid);
    if (id)
        memcpy(w->id, id, ID_SIZE);
    w->made_ms = loop_now_ms();
    w->next = p->all;
    p->all = w;
    return w;
}

static void warm_free(struct warm *w)
{
    launch_free(w->what);
    free(w);
}

static void drop(struct warm *w)
{
    struct warm **at = &w->p->all;

    while (*at != w)
        at = &(*at)->next;
    *at = w->next;
    w->is_dropped = true;
    if (!w->is_making)
        warm_free(w);
}

/* --- removing --- */

static void unmake(void *arg)
{
    struct warm *w = arg;

    kube_job_remove(&w->p->l->place, w->job, w->made_uid, &w->failure);
}

static void unmade(void *arg)
{
    struct warm *w = arg;

    w->is_making = false;
    if (w->is_dropped) {
        warm_free(w);
        return;
    }
    if (w->failure.kind == ERR_NONE) {
        if (!w->has_pod) /* else until that is gone: it must not come back */
            drop(w);
    } else {
        if (w->failure.kind != ERR_TIMEOUT)
            log_err(&w->failure, "pool.not_removed");
        w->is_leaving = false; /* the next turn tries again */
    }
}

static void leave(struct warm *w)
{
    if (w->is_making || w->is_leaving)
        return;
    memset(&w->failure, 0, sizeof w->failure);
    memcpy(w->made_uid, w->uid, sizeof w->made_uid);
    w->is_leaving = true;
    w->is_making = worker_add(w->p->l->worker, unmake, unmade, w);
    if (!w->is_making)
        w->is_leaving = false;
}

/* --- making --- */

static void make(void *arg)
{
    struct warm *w = arg;

    kube_job_make_warm(&w->p->l->place, w->what, w->made_uid, &w->failure);
}

static void make_later(struct kube_pool *p, int64_t ms);

static void keep_again(void *arg)
{
    struct kube_pool *p = arg;

    loop_timer_stop(p->again);
    p->again = NULL;
    if (p->burst_ms && kube_run_is_any_waking(p->l) &&
        loop_now_ms() - p->burst_ms < KUBE_POOL_BURST_MAX_MS) {
        make_later(p, KUBE_POOL_BURST_LOOK_MS);
        return;
    }
    p->burst_ms = 0;
    keep(p);
}

/* None is made before that. */
static void make_later(struct kube_pool *p, int64_t ms)
{
    if (!p->again)
        p->again = loop_timer_start(p->l->loop, ms, 0, keep_again, p);
}

static void made(void *arg)
{
    struct warm *w = arg;
    struct kube_pool *p = w->p;

    w->is_making = false;
    if (w->is_dropped) { /* another leads, and finds it */
        warm_free(w);
        return;
    }
    if (w->made_uid[0])
        memcpy(w->uid, w->made_uid, sizeof w->uid);
    if (w->uid[0] && w->has_pod && strcmp(w->pod.job_uid, w->uid) != 0) {
        memset(&w->pod, 0, sizeof w->pod); /* of a Job of that name alone */
        w->has_pod = false;
    }
    if (w->failure.kind == ERR_NONE) {
        launch_free(w->what);
        w->what = NULL;
        keep(p);
        return;
    }
    if (w->failure.kind != ERR_TIMEOUT)
        log_err(&w->failure, "pool.not_made");
    /* its Job may be there: the next try is of the same */
    if (w->failure.kind != ERR_BUSY && !w->uid[0])
        drop(w);
    make_later(p, KUBE_POOL_AGAIN_MS);
}

static void ask(struct warm *w)
{
    memset(&w->failure, 0, sizeof w->failure);
    w->is_making = worker_add(w->p->l->worker, make, made, w);
}

static void make_one(struct kube_pool *p)
{
    struct kube_launcher *l = p->l;
    char id[ID_SIZE], job[JOBSPEC_NAME_SIZE];
    struct warm *w;

    random_id(id);
    jobspec_warm_name(id, job);
    w = add(p, job, "");
    w->what = spec_warm(l->set, l->keys, id);
    ask(w);
}

/* --- at its target --- */

/* Its own key, or that of a pod of KEDA's, which we must be able to make. */
static bool has_door(const struct warm *w)
{
    return w->id[0] || w->p->l->set->is_keda;
}

static bool is_listening(const struct warm *w)
{
    return !w->is_leaving && !w->is_unfit && !w->is_alleged && w->uid[0] &&
           w->has_pod && w->pod.is_listening && !w->pod.is_leaving &&
           !w->pod.is_over;
}

static bool is_ready(const struct warm *w)
{
    return is_listening(w) && w->pod.is_pulled && has_door(w);
}

static bool is_old(const struct kube_pool *p, const struct warm *w)
{
    return loop_now_ms() - w->made_ms >
           (p->l->set->warm_max_age_s - KUBE_POOL_LAST_S) * 1000;
}

static bool is_late(const struct warm *w)
{
    return !is_ready(w) &&
           loop_now_ms() - w->made_ms > (int64_t)KUBE_POOL_LATE_S * 1000;
}

/* What is missed least: 2 = one that leaves soon by itself, 1 = not ready. */
static int worth_of_leaving(const struct kube_pool *p, const struct warm *w)
{
    return is_old(p, w) ? 2 : !is_ready(w);
}

/* Of several the oldest. */
static struct warm *worst(struct kube_pool *p)
{
    struct warm *found = NULL;

    for (struct warm *w = p->all; w; w = w->next)
        if (!w->is_leaving && !w->is_making && !w->is_alleged &&
            (!found || worth_of_leaving(p, w) >= worth_of_leaving(p, found)))
            found = w;
    return found;
}

/*
 * KEDA makes what is told less the Jobs whose pods are not in phase Running
 * yet. Therefore a runner counts from when its agent listens, which is before
 * that: were it the other way round, each would be made twice that a poll of
 * KEDA's finds in between. One that waits for its image counts for KEDA alone.
 */
static bool counts_for_keda(const struct kube_pool *p, const struct warm *w)
{
    return is_listening(w) && has_door(w) && !is_old(p, w) &&
           (w->pod.is_pulled || !w->pod.waits_for[0]);
}

static void tell_deficit(struct kube_pool *p, int64_t counted, bool is_full)
{
    struct launch_sink *sink = &p->l->base.sink;
    int64_t deficit = p->l->set->warm_target - counted;

    if (!p->has_pods)
        return; /* those there are would seem to be missing */

    /* the next would be no better; or what there is of room is a session's */
    if ((p->unfit_ms && loop_now_ms() - p->unfit_ms < KUBE_POOL_UNFIT_MS) ||
        is_full)
        deficit = 0;
    deficit = deficit > 0 ? deficit : 0;
    if (deficit == p->deficit)
        return;
    p->deficit = deficit;
    sink->demand(sink->arg, deficit);
}

/* Given out, and yet no session's. */
static bool is_vain(const struct kube_pool *p, const struct warm *w)
{
    return w->vain_ms && loop_now_ms() - w->vain_ms > p->l->vain_ms &&
           !w->pod.sid[0] && !kube_run_of_job(p->l, w->job);
}

static void keep(struct kube_pool *p)
{
    const struct kube_short wait = kube_run_short(p->l);
    /* sessions that wait for room have what there will be; those that can take
     * no runner have the room of one */
    const int64_t target = p->l->set->warm_target - wait.others;
    const bool is_time = !p->again && !wait.all;
    int64_t here = 0, ready = 0, making = 0, counted = 0;

    if (!p->is_on)
        return;
    for (struct warm *w = p->all; w; w = w->next) {
        if (w->is_alleged)
            continue;
        if (is_vain(p, w)) {
            w->vain_ms = 0;
            w->is_leaving = false;
            w->is_unfit = true;
        }
        if (is_late(w) || w->is_unfit || (w->pod.is_stuck && !w->is_leaving))
            leave(w);
        else if (w->what && !w->is_making && !w->is_leaving &&
                 (is_time || (!p->again && (w->uid[0] || w->has_job))))
            ask(w);
        here += !w->is_leaving && !w->pod.is_leaving;
        ready += is_ready(w) && !is_old(p, w);
        counted += counts_for_keda(p, w);
        making += w->is_making;
    }
    count_set(COUNT_WARM, ready);
    /* (before they are seen all look alike) */
    for (int64_t i = here; i > target && p->has_pods; i--) {
        struct warm *w = worst(p);

        if (w)
            leave(w);
    }
    if (p->l->set->is_keda)
        tell_deficit(p, counted, wait.all > 0);
    else
        for (; here < target && making < KUBE_POOL_MAKING_MAX && is_time;
             here++, making++)
            make_one(p);
}

static void tick(void *arg)
{
    struct kube_pool *p = arg;

    p->deficit = -1; /* a store that was emptied is told again */
    keep(p);
}

/* --- what is seen --- */

void kube_pool_known(struct kube_pool *p, const char *job, const char *uid,
                     const char *trust, const char *trusted)
{
    struct warm *w = add(p, job, uid);

    w->has_job = true;
    /* what those of KEDA's trust is the operator's: infra/keda/README.md */
    if (w->id[0] ? !kube_trust_holds(trust, trusted) : !has_door(w))
        w->is_unfit = true;
}

void kube_pool_look(const struct kube_pool *p, const struct json *pod,
                    struct podview *v)
{
    const struct kube_launcher *l = p->l;
    struct err e = {0};

    if (v->pool[0] && !v->sid[0] &&
        jobspec_is_now(l->spec, pod, v->job, l->set->agent_image,
                       l->set->runner_image, &e) < 0)
        snprintf(v->unfit, sizeof v->unfit, "%s", e.text);
}

/* Said once, however many are made alike. */
static void is_not_to_be_used(struct warm *w, const char *why)
{
    struct kube_pool *p = w->p;

    w->is_unfit = true;
    if (!w->id[0] && p->has_pods) /* made since we look */
        p->unfit_ms = loop_now_ms();
    if (strcmp(p->unfit, why) == 0)
        return;
    snprintf(p->unfit, sizeof p->unfit, "%s", why);
    log_warn("pool.unfit", "job", "s", w->job, "why", "s", why, NULL);
}

void kube_pool_pod(struct kube_pool *p, const struct podview *v, bool is_gone,
                   uint32_t list)
{
    struct warm *w = find(p, v->job);

    if (!v->job[0] || !p->is_on)
        return;
    if (!w && !is_gone && !v->is_over && !v->is_leaving && !v->sid[0] &&
        !jobspec_id(v->job) && !kube_run_of_job(p->l, v->job)) {
        w = add(p, v->job, v->job_uid);
        w->is_alleged = true;
    }
    if (!w || (w->uid[0] && strcmp(w->uid, v->job_uid) != 0))
        return;
    w->has_pod = true;
    w->pod = *v;
    if (list)
        w->pod_listed = list;
    if ((v->sid[0] && !w->is_unfit) || kube_run_of_job(p->l, v->job))
        w->is_leaving = true; /* a session's, whoever gave it out */
    else if (v->is_running)
        w->is_unfit = true; /* a program ran in it, and nobody's does */
    else if (v->unfit[0] && !w->is_unfit)
        is_not_to_be_used(w, v->unfit);
    if (is_gone || v->is_over)
        drop(w);
    keep(p);
}

/* Its pod, which is seen apart, may be there for a while. */
static void job_gone(struct warm *w)
{
    if (w->has_pod)
        w->is_leaving = true;
    else
        drop(w);
}

/* Its Job is one that we look for; was the pod its own? */
static void prove(struct warm *w, const struct jobview *v)
{
    w->is_alleged = false;
    if (strcmp(w->uid, v->uid) == 0)
        return;
    memcpy(w->uid, v->uid, sizeof w->uid);
    memset(&w->pod, 0, sizeof w->pod);
    w->has_pod = false;
}

void kube_pool_job(struct kube_pool *p, const struct jobview *v, bool is_gone,
                   uint32_t list)
{
    struct warm *w = find(p, v->name);

    if (!w && p->is_on && v->pool[0] && !jobspec_id(v->name) && !is_gone &&
        !v->is_ending && !v->is_leaving)
        w = add(p, v->name, v->uid);
    if (w && w->is_alleged)
        prove(w, v);
    if (!w || (w->uid[0] && strcmp(w->uid, v->uid) != 0))
        return;
    w->has_job = true;
    if (list)
        w->job_listed = list;
    if (is_gone || v->is_ending || v->is_leaving)
        job_gone(w);
    keep(p);
}

void kube_pool_listed(struct kube_pool *p, bool is_job, uint32_t list)
{
    struct warm *next;

    for (struct warm *w = p->all; w; w = next) {
        next = w->next;
        if (is_job && w->has_job && w->job_listed != list)
            job_gone(w);
        else if (!is_job && w->has_pod && w->pod_listed != list)
            drop(w);
    }
    p->has_pods |= !is_job;
    keep(p);
}

void kube_pool_stray(struct kube_pool *p, const char *job, const char *uid)
{
    struct warm *w = find(p, job);

    if (!p->is_on || w)
        return;
    log_info("pool.stray", "job", "s", job, NULL);
    w = add(p, job, uid);
    w->has_job = w->is_unfit = true;
    keep(p);
}

/* --- taking one --- */

void kube_pool_refused(struct kube_pool *p, const char *job)
{
    struct warm *w = find(p, job);

    if (w)
        w->vain_ms = loop_now_ms();
}

const struct podview *kube_pool_seen(struct kube_pool *p, const char *job)
{
    struct warm *w = find(p, job);

    if (!w || !w->has_pod)
        return NULL;
    w->is_leaving = true;
    return &w->pod;
}

void kube_pool_door(const struct kube_pool *p, struct kube_warm *w)
{
    const struct kube_launcher *l = p->l;
    const char *id = jobspec_warm_id(w->job);

    if (id) {
        memcpy(w->psk_id, id, ID_SIZE);
        keys_pool(l->keys, w->psk_id, w->key);
    } else {
        memcpy(w->psk_id, KUBE_POOL_PSK_ID, ID_SIZE);
        activate_pool_key(l->set->pool_secret, w->pod.uid, w->key);
    }
}

bool kube_pool_is_for(const struct kube_pool *p, const char *image)
{
    return p->l->set->warm_target > 0 && image &&
           strcmp(image, p->l->set->runner_image) == 0;
}

bool kube_pool_take(struct kube_pool *p, const char *image,
                    struct kube_warm *out)
{
    struct warm *best = NULL;

    if (!p->is_on || !kube_pool_is_for(p, image))
        return false;
    for (struct warm *w = p->all; w; w = w->next)
        if (is_ready(w) && !is_old(p, w))
            best = w; /* the first made */
    if (!best)
        return false;
    memset(out, 0, sizeof *out);
    memcpy(out->job, best->job, sizeof out->job);
    memcpy(out->uid, best->uid, sizeof out->uid);
    out->pod = best->pod;
    kube_pool_door(p, out);
    best->is_leaving = true;
    if (!p->burst_ms)
        p->burst_ms = loop_now_ms();
    make_later(p, KUBE_POOL_REFILL_MS);
    keep(p);
    return true;
}

/* --- on and off --- */

void kube_pool_begin(struct kube_pool *p)
{
    p->is_on = true;
    p->has_pods = false;
    p->deficit = -1;
    p->unfit_ms = 0;
    p->unfit[0] = '\0';
    p->tick = loop_timer_start(p->l->loop, TICK_MS, TICK_MS, tick, p);
}

void kube_pool_rest(struct kube_pool *p)
{
    p->is_on = false;
    loop_timer_stop(p->tick);
    loop_timer_stop(p->again);
    p->tick = p->again = NULL;
    for (struct warm *w = p->all, *next; w; w = next) {
        next = w->next;
        drop(w);
    }
    count_set(COUNT_WARM, 0);
}

struct kube_pool *kube_pool_new(struct kube_launcher *l)
{
    struct kube_pool *p = mem_zero(1, sizeof *p);

    p->l = l;
    return p;
}

void kube_pool_free(struct kube_pool *p)
{
    if (!p)
        return;
    kube_pool_rest(p);
    free(p);
}
