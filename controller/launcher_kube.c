#include "controller/launcher_kube.h"

#include "base/log.h"
#include "base/mem.h"
#include "base/own.h"
#include "controller/kube_run.h"
#include "controller/record.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define QUEUE_MAX 4096 /* calls that wait for a thread */

/* --- what the watches see, brought to the loop --- */

struct news {
    struct kube_launcher *l;
    enum kube_event what;
    bool is_job;
    struct podview pod;
    struct jobview job; /* without what is borrowed */
};

static void pod_news(const struct news *n)
{
    struct kube_run *r = kube_run_of_job(n->l, n->pod.job);
    const uint32_t list = n->what == KUBE_LISTED ? n->l->pods_list : 0;

    if (n->pod.pool[0])
        kube_pool_pod(n->l->pool, &n->pod, n->what == KUBE_GONE, list);
    if (!r)
        return;
    if (list)
        r->pod_listed = list;
    kube_run_pod(r, &n->pod, n->what == KUBE_GONE);
}

static void job_news(const struct news *n)
{
    struct kube_run *r = kube_run_of_job(n->l, n->job.name);
    const uint32_t list = n->what == KUBE_LISTED ? n->l->jobs_list : 0;

    if (!r) {
        /* made for one who led before, and asked for it long ago: what we
         * make ourselves has its run before */
        if (n->what == KUBE_CHANGED && jobspec_id(n->job.name) && n->job.is_new)
            kube_pool_stray(n->l->pool, n->job.name, n->job.uid);
        kube_pool_job(n->l->pool, &n->job, n->what == KUBE_GONE, list);
        return;
    }
    if (list)
        r->job_listed = list;
    kube_run_job(r, &n->job, n->what == KUBE_GONE);
}

static void all_listed(struct kube_launcher *l, bool is_job)
{
    struct kube_run *next;

    for (struct kube_run *r = l->runs; r; r = next) {
        next = r->next;
        if (is_job)
            kube_run_jobs_listed(r);
        else
            kube_run_pods_listed(r);
    }
    kube_pool_listed(l->pool, is_job, is_job ? l->jobs_list : l->pods_list);
    if (is_job)
        l->jobs_list++;
    else
        l->pods_list++;
}

static void on_news(void *arg)
{
    struct news *n = arg;

    if (n->what == KUBE_ALL_LISTED)
        all_listed(n->l, n->is_job);
    else if (n->is_job)
        job_news(n);
    else
        pod_news(n);
    free(n);
}

static void post(struct kube_launcher *l, enum kube_event what, bool is_job,
                 const struct json *object)
{
    struct news *n = mem_zero(1, sizeof *n);
    struct err e = {0};
    int got = 0;

    n->l = l;
    n->what = what;
    n->is_job = is_job;
    if (what != KUBE_ALL_LISTED)
        got = is_job ? jobview_of(object, &n->job, &e)
                     : podview_of(object, &n->pod, &e);
    n->job.record = n->job.trust = NULL;
    if (got == 0 && !is_job && what != KUBE_ALL_LISTED)
        kube_pool_look(l->pool, object, &n->pod);
    if (got == 0)
        loop_post(l->loop, on_news, n);
    else
        free(n); /* somebody else's */
}

static void pod_event(void *arg, enum kube_event what,
                      const struct json *object)
{
    post(arg, what, false, object);
}

static void job_event(void *arg, enum kube_event what,
                      const struct json *object)
{
    post(arg, what, true, object);
}

/* --- Jobs found at the start --- */

static void known_clear(struct kube_launcher *l)
{
    for (size_t i = 0; i < l->known_count; i++) {
        free(l->known[i].record);
        free(l->known[i].trust);
    }
    free(l->known);
    l->known = NULL;
    l->known_count = 0;
}

static struct kube_known *known_job(const struct kube_launcher *l,
                                    const char *name)
{
    for (size_t i = 0; i < l->known_count; i++)
        if (strcmp(l->known[i].name, name) == 0)
            return &l->known[i];
    return NULL;
}

/* By what lies in the cluster, or else by what the record says of it: that may
 * name a warm one that failed the session, and is another's now (not where it
 * was launched: that was in there). Where both say the same it is that one,
 * however many carry a copy of its mark. */
static struct kube_known *known_find(const struct kube_launcher *l,
                                     const char *sid, const char *ref,
                                     bool is_launched)
{
    struct kube_known *k = known_job(l, ref);

    if (k && (strcmp(k->sid, sid) == 0 ||
              (is_launched && !k->sid[0] && !k->is_spoilt && !k->is_anothers)))
        return k;
    for (size_t i = 0; i < l->known_count; i++)
        if (strcmp(l->known[i].sid, sid) == 0)
            return &l->known[i];
    return k && !k->sid[0] && !k->is_anothers ? k : NULL;
}

static struct kube_known *known_add(struct kube_launcher *l, const char *name,
                                    const char *uid)
{
    struct kube_known *k;

    l->known = mem_resize(l->known, l->known_count + 1, sizeof *l->known);
    k = &l->known[l->known_count++];
    memset(k, 0, sizeof *k);
    snprintf(k->name, sizeof k->name, "%s", name);
    snprintf(k->uid, sizeof k->uid, "%s", uid);
    return k;
}

/* Whose a Job is its name says, which nobody can change. */
static bool take_known(void *arg, const struct json *job)
{
    struct kube_launcher *l = arg;
    struct kube_known *k;
    const char *id;
    struct jobview v;
    struct err e = {0};

    if (jobview_of(job, &v, &e) < 0 || v.is_leaving)
        return true;
    k = known_add(l, v.name, v.uid);
    id = jobspec_id(v.name);
    if (id)
        memcpy(k->sid, id, sizeof k->sid);
    k->is_finished = v.is_finished;
    k->record = v.record ? mem_str(v.record) : NULL;
    k->trust = v.trust ? mem_str(v.trust) : NULL;
    return true;
}

/* With a record that we have written for that session? */
static bool is_marked(const struct kube_launcher *l, const char *sid,
                      const char *record)
{
    own_mem struct store_session *row = mem_zero(1, sizeof *row);
    struct err e = {0};

    if (record_parse(record, sid, l->set->installation, l->keys, row, &e) == 0)
        return true;
    err_wrap(&e, "what its pod says of session %s", sid);
    log_err(&e, "session.mark");
    return false;
}

/*
 * A warm pod that says whose it is: then its Job is that session's. Anybody
 * who may patch pods could have written that, therefore: of a Job that we have
 * listed, and that is not known to be a session's, with our record.
 */
static bool take_claimed(void *arg, const struct json *pod)
{
    struct kube_launcher *l = arg;
    const struct json *notes =
        json_get(json_get(pod, "metadata"), "annotations");
    const char *record = json_get_str(notes, JOBSPEC_ANNOTATION);
    const char *trust = json_get_str(notes, JOBSPEC_TRUST);
    struct kube_known *k;
    struct podview v;
    struct err e = {0};

    if (podview_of(pod, &v, &e) < 0 || !v.sid[0] || !v.pool[0] || v.is_leaving)
        return true;
    k = known_job(l, v.job);
    if (!k || k->sid[0] || strcmp(k->uid, v.job_uid) != 0)
        return true;
    if (!is_marked(l, v.sid, record)) {
        k->is_anothers = record_is_anothers(record, l->set->installation);
        k->is_spoilt = !k->is_anothers;
        return true;
    }
    memcpy(k->sid, v.sid, sizeof k->sid);
    k->is_finished |= v.is_over;
    free(k->record);
    free(k->trust);
    k->record = mem_str(record);
    k->trust = trust ? mem_str(trust) : NULL;
    return true;
}

static int kube_launcher_list(struct launcher *base, char (**sids)[ID_SIZE],
                              struct err *e)
{
    struct kube_launcher *l = (struct kube_launcher *)base;

    int n = 0;

    known_clear(l);
    *sids = NULL;
    if (kube_job_list(&l->place, take_known, l, e) < 0 ||
        kube_job_list_claimed(&l->place, take_claimed, l, e) < 0)
        return -1;
    if (l->known_count)
        *sids = mem_zero(l->known_count, sizeof **sids);
    for (size_t i = 0; i < l->known_count; i++)
        if (l->known[i].sid[0])
            memcpy((*sids)[n++], l->known[i].sid, ID_SIZE);
    return n;
}

/* --- the launcher's verbs --- */

/* Lists of a namespace that is not there are empty, and no error. To see it
 * is a right of its own, which the shipped Role does without: then nothing is
 * known of it. */
static int probe_namespace(struct kube_launcher *l, struct err *e)
{
    own_mem char *path = mem_printf("/api/v1/namespaces/%s", l->place.ns);
    struct err answer = {0};
    int status = kube_do(l->place.kube, &(struct kube_call){.path = path}, NULL,
                         &answer);

    if (status != 404)
        return 0;
    return err_set(e, ERR_ABSENT,
                   "the cluster has no namespace %s (--namespace): make it, or "
                   "name the one that sessions are to run in",
                   l->place.ns);
}

/* Whatever is wrong with the way to the API or our rights there is told
 * before anybody is let in. */
static int kube_launcher_probe(struct launcher *base, struct err *e)
{
    struct kube_launcher *l = (struct kube_launcher *)base;
    own_mem char *path =
        mem_printf("/apis/batch/v1/namespaces/%s/jobs?limit=1", l->place.ns);
    int status =
        kube_do(l->place.kube, &(struct kube_call){.path = path}, NULL, e);

    if (status == 200)
        return probe_namespace(l, e);
    if (status == 403)
        err_wrap(e, "namespace %s (--namespace)", l->place.ns);
    return -1;
}

static struct kube_run *run_of(struct launcher *base, struct launch *what)
{
    struct kube_run *r = kube_run_new((struct kube_launcher *)base, what->sid);

    r->what = what;
    r->record = what->record ? mem_str(what->record) : NULL;
    r->trust = mem_str(what->trust);
    return r;
}

static void kube_launcher_start(struct launcher *base, struct launch *what)
{
    kube_run_start(run_of(base, what));
}

static void kube_launcher_claim_kept(struct launcher *base, const char *sid)
{
    struct kube_run *r = kube_run_find((struct kube_launcher *)base, sid);

    if (r)
        kube_run_claimed(r);
}

static void kube_launcher_claim_refused(struct launcher *base, const char *sid)
{
    struct kube_run *r = kube_run_find((struct kube_launcher *)base, sid);

    if (r)
        kube_run_refused(r);
}

static struct kube_run *adopt(struct kube_launcher *l, const char *sid,
                              const struct kube_known *k)
{
    struct kube_run *r = kube_run_new(l, sid);

    r->state = RUN_FOLLOWED;
    r->has_job = true;
    memcpy(r->job, k->name, sizeof r->job);
    memcpy(r->uid, k->uid, sizeof r->uid);
    r->record = k->record ? mem_str(k->record) : NULL;
    return r;
}

static void kube_launcher_take_up(struct launcher *base, const char *sid,
                                  const char *ref, const char *trusted,
                                  struct launch *what)
{
    struct kube_launcher *l = (struct kube_launcher *)base;
    struct kube_known *k = known_find(l, sid, ref, !what);
    char own[JOBSPEC_NAME_SIZE];
    struct kube_run *r;

    jobspec_name(sid, own);
    if (k) /* no more the pool's, whatever it says */
        memcpy(k->sid, sid, ID_SIZE);
    if (what && kube_trust_holds(what->trust, trusted)) {
        r = run_of(base, what);
        if (k && strcmp(k->name, own) != 0)
            kube_run_seek(r, k->name, k->uid);
        else if (!k && ref[0] && strcmp(ref, own) != 0)
            kube_run_seek(r, ref, "");
        else if (!ref[0] && !k)
            kube_run_start(r);
        else if (!ref[0]) {
            r->is_asked = true; /* its own is there */
            kube_run_claim(r);
        } else /* its Job, its Secret or both may be there: their names tell */
            kube_run_make(r);
        return;
    }
    launch_free(what);
    if (!k) {
        kube_run_finish(kube_run_new(l, sid));
        return;
    }
    r = adopt(l, sid, k);
    if (k->trust && !kube_trust_holds(k->trust, trusted))
        kube_run_end(r, REASON_RUNNER_LOST,
                     "A signing key this session trusts was withdrawn.");
    else if (!k->is_finished)
        kube_run_advance(r);
}

/* Made for a session that runs elsewhere, by a call that was late. */
static bool is_left_over(struct kube_launcher *l, const struct kube_known *k)
{
    const struct kube_run *r = k->sid[0] ? kube_run_find(l, k->sid) : NULL;

    return r && r->state == RUN_FOLLOWED && !k->is_finished &&
           jobspec_id(k->name) && strcmp(r->job, k->name) != 0;
}

static void kube_launcher_begin(struct launcher *base, const char *trusted)
{
    struct kube_launcher *l = (struct kube_launcher *)base;
    own_mem char *which = kube_job_selector(&l->place);
    own_mem char *pods =
        mem_printf("/api/v1/namespaces/%s/pods%s", l->place.ns, which);
    own_mem char *jobs =
        mem_printf("/apis/batch/v1/namespaces/%s/jobs%s", l->place.ns, which);

    kube_pool_begin(l->pool);
    for (size_t i = 0; i < l->known_count; i++) {
        const struct kube_known *k = &l->known[i];

        if (is_left_over(l, k))
            kube_pool_stray(l->pool, k->name, k->uid);
        if (k->sid[0] || k->is_finished || k->is_anothers)
            continue;
        if (k->is_spoilt)
            kube_pool_stray(l->pool, k->name, k->uid);
        else
            kube_pool_known(l->pool, k->name, k->uid, k->trust, trusted);
    }
    known_clear(l);
    l->pods_list = l->jobs_list = 1;
    l->pods = kube_watch_start(l->place.kube, pods, pod_event, l);
    l->jobs = kube_watch_start(l->place.kube, jobs, job_event, l);
}

static void kube_launcher_end(struct launcher *base, const char *sid,
                              enum end_reason why, const char *detail)
{
    struct kube_run *r = kube_run_find((struct kube_launcher *)base, sid);

    if (r)
        kube_run_end(r, why, detail);
}

static void kube_launcher_discard(struct launcher *base, const char *sid)
{
    struct kube_launcher *l = (struct kube_launcher *)base;
    const struct kube_known *k = known_find(l, sid, "", false);
    struct kube_run *r;

    if (!k)
        return;
    r = adopt(l, sid, k);
    r->is_quiet = true;
    if (k->is_finished) { /* it stays for its TTL; the key does not */
        r->pod.is_over = true;
        kube_run_finish(r);
    } else {
        kube_run_end(r, REASON_RUNNER_LOST, "");
    }
}

static char *kube_launcher_record(struct launcher *base, const char *sid)
{
    struct kube_launcher *l = (struct kube_launcher *)base;
    const struct kube_run *r = kube_run_find(l, sid);
    const struct kube_known *k = known_find(l, sid, "", false);
    const char *record = r ? r->record : k ? k->record : NULL;

    return record ? mem_str(record) : NULL;
}

static void kube_launcher_rest(struct launcher *base)
{
    struct kube_launcher *l = (struct kube_launcher *)base;

    kube_watch_stop(l->pods);
    kube_watch_stop(l->jobs);
    l->pods = l->jobs = NULL;
    while (l->runs)
        kube_run_drop(l->runs);
    kube_pool_rest(l->pool);
    known_clear(l);
    /* news that were under way mean nothing to anybody now; what they are
     * told with is ours */
    loop_run_posted(l->loop);
    l->pods_list = l->jobs_list = 0; /* what there is is not known any more */
}

static int kube_launcher_count(const struct launcher *base)
{
    return ((const struct kube_launcher *)base)->count;
}

/* Nothing of a session counts for its owner once it has ended. */
static int kube_launcher_clearing(struct launcher *base, uint64_t charge)
{
    (void)base;
    (void)charge;
    return 0;
}

static void kube_launcher_free(struct launcher *base)
{
    struct kube_launcher *l = (struct kube_launcher *)base;

    if (l->place.kube)
        kube_cancel(l->place.kube);
    kube_launcher_rest(base);
    /* calls under way end, and free their runs */
    if (l->waker)
        worker_free(l->waker);
    if (l->worker)
        worker_free(l->worker);
    kube_pool_free(l->pool);
    kube_free(l->place.kube);
    jobspec_free(l->spec);
    free(l);
}

/* --- making one --- */

static int open_kube(struct kube_launcher *l, struct err *e)
{
    struct kube_conf conf = {0};
    int got = l->set->kubeconfig ? kube_conf_file(l->set->kubeconfig, &conf, e)
                                 : kube_conf_pod(KUBE_POD_FILES, &conf, e);

    if (got < 0)
        return err_wrap(e, "the way to the Kubernetes API (--kubeconfig)");
    l->place.kube = kube_new(&conf);
    return 0;
}

struct launcher *launcher_kube_new(struct loop *loop,
                                   const struct settings *set,
                                   const struct keys *keys, struct err *e)
{
    static const struct launcher verbs = {
        .isolation = "full",
        .probe = kube_launcher_probe,
        .start = kube_launcher_start,
        .take_up = kube_launcher_take_up,
        .claim_kept = kube_launcher_claim_kept,
        .claim_refused = kube_launcher_claim_refused,
        .begin = kube_launcher_begin,
        .end = kube_launcher_end,
        .discard = kube_launcher_discard,
        .list = kube_launcher_list,
        .record = kube_launcher_record,
        .rest = kube_launcher_rest,
        .count = kube_launcher_count,
        .clearing = kube_launcher_clearing,
        .free = kube_launcher_free,
    };
    struct kube_launcher *l = mem_zero(1, sizeof *l);

    l->base = verbs;
    l->loop = loop;
    l->set = set;
    l->keys = keys;
    l->gone_ms = LAUNCHER_KUBE_GONE_MS;
    l->lost_ms = LAUNCHER_KUBE_LOST_MS;
    l->look_ms = LAUNCHER_KUBE_LOOK_MS;
    l->room_ms = LAUNCHER_KUBE_ROOM_MS;
    l->right_ms = LAUNCHER_KUBE_RIGHT_MS;
    l->pod_ms = LAUNCHER_KUBE_POD_MS;
    l->vain_ms = KUBE_POOL_VAIN_MS;
    l->pool = kube_pool_new(l);
    l->spec = jobspec_load(set->job_template, e);
    if (!l->spec || open_kube(l, e) < 0) {
        kube_launcher_free(&l->base);
        return NULL;
    }
    l->agent_port = jobspec_port(l->spec);
    l->place.sink = &l->base.sink;
    l->place.spec = l->spec;
    l->place.ns = set->namespace;
    l->place.agent_image = set->agent_image;
    kube_job_label(set->installation, l->place.installation);
    l->worker = worker_new(loop, LAUNCHER_KUBE_THREADS, QUEUE_MAX);
    l->waker = worker_new(loop, LAUNCHER_KUBE_WAKERS, QUEUE_MAX);
    return &l->base;
}

struct kube *launcher_kube(struct launcher *l)
{
    return ((struct kube_launcher *)l)->place.kube;
}
