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

#define TICK_MS 5000 /* beside every change */

struct warm {
    struct kube_pool *p;
    struct warm *next;
    char id[ID_SIZE]; /* "" = one of KEDA's */
    char job[64], uid[KUBE_UID_SIZE];
    int64_t made_ms; /* monotonic */
    bool is_making;  /* with a worker */
    bool is_leaving; /* it is removed, or has left */
    bool is_dropped; /* its worker's done frees it */
    bool has_job, has_pod;
    uint32_t job_listed, pod_listed;
    struct podview pod;
    /* the worker's */
    struct launch *what;
    char made_uid[KUBE_UID_SIZE];
    struct err failure;
};

struct kube_pool {
    struct kube_launcher *l;
    struct warm *all;
    struct loop_timer *tick, *again;
    bool is_on;
    int64_t deficit; /* as KEDA was told; -1 = not yet */
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

    w->p = p;
    snprintf(w->job, sizeof w->job, "%s", job);
    snprintf(w->uid, sizeof w->uid, "%s", uid);
    if (strncmp(job, "w-", 2) == 0 && id_is_valid(job + 2))
        memcpy(w->id, job + 2, ID_SIZE);
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

    kube_job_remove(&w->p->l->place, w->job, w->uid, &w->failure);
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

static void keep_again(void *arg)
{
    struct kube_pool *p = arg;

    loop_timer_stop(p->again);
    p->again = NULL;
    keep(p);
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
    launch_free(w->what);
    w->what = NULL;
    if (w->failure.kind == ERR_NONE) {
        memcpy(w->uid, w->made_uid, sizeof w->uid);
        keep(p);
        return;
    }
    if (w->failure.kind != ERR_TIMEOUT)
        log_err(&w->failure, "pool.not_made");
    drop(w);
    if (!p->again)
        p->again =
            loop_timer_start(p->l->loop, KUBE_POOL_AGAIN_MS, 0, keep_again, p);
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
    w->is_making = worker_add(l->worker, make, made, w);
    if (!w->is_making)
        drop(w);
}

/* --- at its target --- */

static bool is_ready(const struct warm *w)
{
    return !w->is_leaving && w->uid[0] && w->has_pod && w->pod.is_listening &&
           w->pod.is_pulled && !w->pod.is_leaving && !w->pod.is_over;
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

/* One that is not ready first, then the oldest. */
static struct warm *worst(struct kube_pool *p)
{
    struct warm *found = NULL;

    for (struct warm *w = p->all; w; w = w->next)
        if (!w->is_leaving && !w->is_making &&
            (!found || !is_ready(w) || is_ready(found)))
            found = w;
    return found;
}

static void tell_deficit(struct kube_pool *p, int64_t ready)
{
    struct launch_sink *sink = &p->l->base.sink;
    int64_t deficit = p->l->set->warm_target - ready;

    deficit = deficit > 0 ? deficit : 0;
    if (deficit == p->deficit)
        return;
    p->deficit = deficit;
    sink->demand(sink->arg, deficit);
}

static void keep(struct kube_pool *p)
{
    const int64_t target = p->l->set->warm_target;
    int64_t here = 0, ready = 0, making = 0;

    if (!p->is_on)
        return;
    for (struct warm *w = p->all; w; w = w->next) {
        if (is_late(w) || (w->pod.is_stuck && !w->is_leaving))
            leave(w);
        here += !w->is_leaving;
        ready += is_ready(w) && !is_old(p, w);
        making += w->is_making;
    }
    count_set(COUNT_WARM, ready);
    for (int64_t i = here; i > target; i--) {
        struct warm *w = worst(p);

        if (w)
            leave(w);
    }
    if (p->l->set->is_keda)
        tell_deficit(p, ready);
    else
        for (; here < target && making < KUBE_POOL_MAKING_MAX && !p->again;
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
    if (!kube_trust_holds(trust, trusted))
        leave(w);
}

void kube_pool_pod(struct kube_pool *p, const struct podview *v, bool is_gone,
                   uint32_t list)
{
    struct warm *w = find(p, v->job);

    if (!v->job[0] || !p->is_on)
        return;
    if (!w && !is_gone && !v->is_over)
        w = add(p, v->job, v->job_uid);
    if (!w)
        return;
    if (!w->uid[0])
        memcpy(w->uid, v->job_uid, sizeof w->uid);
    w->has_pod = true;
    w->pod = *v;
    if (list)
        w->pod_listed = list;
    if (is_gone || v->is_over)
        drop(w);
    keep(p);
}

void kube_pool_job(struct kube_pool *p, const struct jobview *v, bool is_gone,
                   uint32_t list)
{
    struct warm *w = find(p, v->name);

    if (!w)
        return;
    w->has_job = true;
    if (list)
        w->job_listed = list;
    if (is_gone || v->is_finished || v->is_leaving)
        drop(w);
    keep(p);
}

void kube_pool_listed(struct kube_pool *p, bool is_job, uint32_t list)
{
    struct warm *next;

    for (struct warm *w = p->all; w; w = next) {
        next = w->next;
        if (is_job ? w->has_job && w->job_listed != list
                   : w->has_pod && w->pod_listed != list)
            drop(w);
    }
    keep(p);
}

/* --- taking one --- */

void kube_pool_door(const struct kube_pool *p, struct kube_warm *w)
{
    const struct kube_launcher *l = p->l;

    if (strncmp(w->job, "w-", 2) == 0 && id_is_valid(w->job + 2)) {
        memcpy(w->psk_id, w->job + 2, ID_SIZE);
        keys_pool(l->keys, w->psk_id, w->key);
    } else {
        memcpy(w->psk_id, KUBE_POOL_PSK_ID, ID_SIZE);
        activate_pool_key(l->set->pool_secret, w->pod.uid, w->key);
    }
}

bool kube_pool_take(struct kube_pool *p, const char *image,
                    struct kube_warm *out)
{
    struct warm *best = NULL;

    if (!p->is_on || !image || strcmp(image, p->l->set->runner_image) != 0)
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
    drop(best);
    keep(p);
    return true;
}

/* --- on and off --- */

void kube_pool_begin(struct kube_pool *p)
{
    p->is_on = true;
    p->deficit = -1;
    p->tick = loop_timer_start(p->l->loop, TICK_MS, TICK_MS, tick, p);
}

void kube_pool_rest(struct kube_pool *p)
{
    p->is_on = false;
    loop_timer_stop(p->tick);
    loop_timer_stop(p->again);
    p->tick = p->again = NULL;
    while (p->all)
        drop(p->all);
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
