/*
 * What we last saw of the record, and since when it is so (our own clock):
 *
 *   none, never seen        make it
 *   none, but it was there  make it when that has been so for our duration
 *   ours, or nobody's       write it
 *   another's               write it when it has been so for the duration
 *
 * Each write names the version it changes, so of two at once one fails. What
 * a write is worth is counted from before it was sent: others count from when
 * they saw it, which is later, and for longer.
 */
#include "controller/lease.h"

#include "base/log.h"
#include "base/mem.h"
#include "base/own.h"
#include "base/seal.h"
#include "controller/counts.h"
#include "controller/kube_internal.h"
#include "controller/view.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define LEASE_API "/apis/coordination.k8s.io/v1/namespaces/%s/leases"
#define SAY_AGAIN_MS 60000
#define LEASE_TRIES 3 /* of a write that found the record changed */
#define TRANSITIONS_MAX 2147483647
#define STATUS_ABSENT 404
#define STATUS_CONFLICT 409

struct lease {
    struct loop *loop;
    struct kube *kube;
    char *collection, *path, *name, *holder;
    int64_t duration_ms, renew_ms, retry_ms;
    void (*changed)(void *arg, bool is_leader);
    void *arg;
    pthread_t thread;
    /* the thread's */
    struct json *record; /* as the API last gave it; NULL = there is none */
    char *seen;          /* its spec's text; NULL = there was no record */
    int64_t seen_ms;     /* since when */
    int64_t held_ms;     /* ours until then, if nobody says otherwise */
    bool is_stale;       /* the record has changed since, or may have */
    bool was_there;      /* ever */
    bool has_written;    /* it may be ours to give up */
    bool is_failing;     /* and that was told */
    int64_t told_ms;     /* then */
    int64_t heard_ms;    /* of the last turn that went well */
    /* the loop's */
    bool is_leader, is_ending;
    atomic_bool is_stopped;
    struct loop_timer *timer;
    atomic_bool is_blind;
    _Atomic int64_t until_ms; /* leader until then; 0 = not */
};

struct word { /* from the thread to the loop */
    struct lease *l;
    int64_t until_ms; /* 0 = not any more */
};

/* --- on the loop --- */

static void tell(struct lease *l, bool is_leader)
{
    if (l->is_leader == is_leader)
        return;
    l->is_leader = is_leader;
    count_add(COUNT_LEADER, is_leader ? 1 : -1);
    count_add(COUNT_LEASE_TRANSITIONS, 1);
    log_info(is_leader ? "lease.held" : "lease.lost", "lease", "s", l->path,
             "holder", "s", l->holder, NULL);
    l->changed(l->arg, is_leader);
}

static void on_time(void *arg)
{
    struct lease *l = arg;
    int64_t left_ms = atomic_load(&l->until_ms) - loop_now_ms();

    if (left_ms > 0) { /* a timer may be a little early */
        loop_timer_again(l->timer, left_ms, 0);
        return;
    }
    tell(l, false);
}

static void on_word(void *arg)
{
    struct word *w = arg;
    struct lease *l = w->l;
    int64_t left_ms = w->until_ms - loop_now_ms();

    if (l->is_ending) {
        free(w);
        return;
    }
    if (left_ms > 0) {
        atomic_store(&l->until_ms, w->until_ms);
        loop_timer_again(l->timer, left_ms, 0);
        tell(l, true);
    } else if (w->until_ms == 0) {
        atomic_store(&l->until_ms, 0);
        tell(l, false);
    } /* else it is too late to begin, and the timer tells the end */
    free(w);
}

static void post(struct lease *l, int64_t until_ms)
{
    struct word *w = mem_zero(1, sizeof *w);

    l->held_ms = until_ms;
    *w = (struct word){l, until_ms};
    loop_post(l->loop, on_word, w);
}

/* --- the record --- */

static bool is_holding(const struct lease *l)
{
    return loop_now_ms() < l->held_ms;
}

/* Takes the record (NULL = there is none) for what is so now. */
static void take(struct lease *l, struct json *record)
{
    const struct json *spec = json_get(record, "spec");
    char *text = record ? (spec ? json_text(spec) : mem_str("")) : NULL;
    bool is_same =
        text && l->seen ? strcmp(text, l->seen) == 0 : text == l->seen;

    if (!is_same || (!record && !l->was_there))
        l->seen_ms = loop_now_ms();
    l->was_there = l->was_there || record;
    free(l->seen);
    l->seen = text;
    json_free(l->record);
    l->record = record;
    l->is_stale = false;
}

/* It is there, and another than was seen. */
static void note_other(struct lease *l)
{
    l->was_there = true;
    free(l->seen);
    l->seen = mem_str("?"); /* no spec's text */
}

static int take_answer(struct lease *l, struct json *record, struct err *e)
{
    const char *version =
        json_get_str(json_get(record, "metadata"), "resourceVersion");

    /* without a version a write would not be held against anything */
    if (!version || !*version) {
        json_free(record);
        return err_set(e, ERR_SYSTEM, "%s: no Lease", l->path);
    }
    take(l, record);
    return 0;
}

/* No call takes so long that there is no time for another. */
static struct kube_call call_of(const struct lease *l)
{
    return (struct kube_call){
        .path = l->path,
        .until_ms = loop_now_ms() + l->renew_ms / 2,
        .stop = &l->is_stopped,
    };
}

static int look(struct lease *l, struct err *e)
{
    const struct kube_call call = call_of(l);
    struct json *record = NULL;
    int status = kube_do(l->kube, &call, &record, e);

    if (status == STATUS_ABSENT)
        take(l, NULL);
    if (status == 200)
        return take_answer(l, record, e);
    json_free(record);
    return status == STATUS_ABSENT ? 0 : -1;
}

static const char *holder_of(const struct lease *l, bool *is_odd)
{
    const struct json *j =
        json_get(json_get(l->record, "spec"), "holderIdentity");
    const char *text = json_str(j);

    *is_odd = j && !text && !json_is_null(j);
    return text ? text : "";
}

static bool is_ours(const struct lease *l)
{
    return strcmp(holder_of(l, &(bool){false}), l->holder) == 0;
}

/* The record's duration, if it is one that can be meant, and longer. */
static int64_t wait_ms(const struct lease *l)
{
    int64_t s;

    if (json_get_int(json_get(l->record, "spec"), "leaseDurationSeconds", &s) <
            0 ||
        s < 1 || s > LEASE_DURATION_MAX_S || s * 1000 < l->duration_ms)
        return l->duration_ms;
    return s * 1000;
}

static bool may_write(const struct lease *l)
{
    bool is_odd, is_over = loop_now_ms() - l->seen_ms >= wait_ms(l);
    const char *holder = holder_of(l, &is_odd);

    if (!l->record) /* a leader makes it anew; others let it, if there is one */
        return is_over || !l->was_there || is_holding(l);
    return is_over || is_ours(l) || (!*holder && !is_odd);
}

/* A text of the form of metav1.MicroTime, which takes no other. */
static void set_time(struct json *spec, const char *name)
{
    char text[VIEW_TIME_MAX];
    own_mem char *micro = NULL;

    view_time(loop_wall_ms(), text);
    micro = mem_printf("%.*s000Z", (int)strcspn(text, "Z"), text);
    json_set_str(spec, name, micro);
}

static struct json *make_anew(const struct lease *l)
{
    struct json *j = json_object();

    json_set_str(j, "apiVersion", "coordination.k8s.io/v1");
    json_set_str(j, "kind", "Lease");
    json_set_str(json_set(j, "metadata", json_object()), "name", l->name);
    return j;
}

/* What is to be written: what others have put there stays. */
static struct json *make_record(const struct lease *l, const char *holder)
{
    struct json *j = l->record ? json_dup(l->record) : make_anew(l);
    const struct json *old = json_get(l->record, "spec");
    struct json *spec = json_is_object(old) ? json_dup(old) : json_object();
    int64_t n;

    spec = json_set(j, "spec", spec);
    if (json_get_int(old, "leaseTransitions", &n) < 0 || n < 0 ||
        n >= TRANSITIONS_MAX)
        n = 0;
    if (!is_ours(l)) {
        json_set_int(spec, "leaseTransitions", l->record ? n + 1 : 0);
        set_time(spec, "acquireTime");
    }
    json_set_str(spec, "holderIdentity", holder);
    json_set_int(spec, "leaseDurationSeconds",
                 *holder ? (l->duration_ms + 999) / 1000 : 1);
    set_time(spec, "renewTime");
    return j;
}

/* 0 it is written; 1 another was faster; -1 */
static int put(struct lease *l, const char *holder,
               const struct kube_call *limits, struct err *e)
{
    own_json struct json *body = make_record(l, holder);
    struct kube_call call = *limits;
    struct json *record = NULL;
    struct err ignored = {0};
    int status;

    call.method = l->record ? "PUT" : "POST";
    call.path = l->record ? l->path : l->collection;
    call.body = body;
    l->has_written = true;
    status = kube_do(l->kube, &call, &record, e);
    l->is_stale = true;
    if (status == STATUS_CONFLICT && !l->record)
        note_other(l);
    if (status == STATUS_CONFLICT || (l->record && status == STATUS_ABSENT))
        return 1;
    if (status != 200 && status != 201) {
        json_free(record);
        return -1;
    }
    /* it is written, even if what is answered cannot be read */
    take_answer(l, record, &ignored);
    return 0;
}

/* --- the thread --- */

static int64_t sooner(int64_t a_ms, int64_t b_ms)
{
    return a_ms < b_ms ? a_ms : b_ms;
}

/* Take or renew it, if that may be. */
static int turn(struct lease *l, struct err *e)
{
    for (int try = 0; try < LEASE_TRIES; try++) {
        int64_t sent_ms;
        struct kube_call call;
        int r;

        if ((l->is_stale || !is_holding(l)) && look(l, e) < 0)
            return -1;
        if (!may_write(l)) {
            if (l->held_ms)
                post(l, 0);
            return 0;
        }
        sent_ms = loop_now_ms();
        call = call_of(l);
        if (is_holding(l))
            call.until_ms = sooner(call.until_ms, l->held_ms);
        r = put(l, l->holder, &call, e);
        if (r == 0)
            post(l, sent_ms + l->renew_ms);
        if (r <= 0)
            return r;
    }
    return err_set(e, ERR_BUSY, "%s changes too fast", l->path);
}

static void give_up(struct lease *l)
{
    const struct kube_call limits = {
        .path = l->path, .until_ms = loop_now_ms() + LEASE_RELEASE_MS};
    struct err e = {0};

    if (!l->has_written)
        return;
    for (int try = 0; try < LEASE_TRIES; try++) {
        struct json *record = NULL;

        if (l->is_stale && (kube_do(l->kube, &limits, &record, &e) != 200 ||
                            take_answer(l, record, &e) < 0))
            break;
        if (!l->record || !is_ours(l))
            return;
        if (put(l, "", &limits, &e) == 0)
            return;
    }
    log_warn("lease.kept", "error", "s", e.text, NULL);
}

/* An outage is a line a minute, not one each turn. */
static void note(struct lease *l, int r, const struct err *e)
{
    const int64_t now_ms = loop_now_ms();

    if (r < 0 && (!l->is_failing || now_ms - l->told_ms > SAY_AGAIN_MS)) {
        log_warn("lease.call", "lease", "s", l->path, "error", "s", e->text,
                 NULL);
        l->told_ms = now_ms;
    }
    if (r == 0 && l->is_failing)
        log_info("lease.call", "lease", "s", l->path, "error", "s", "", NULL);
    l->is_failing = r < 0;
    atomic_store(&l->is_blind, r < 0 && now_ms - l->heard_ms > l->duration_ms);
    if (r == 0)
        l->heard_ms = now_ms;
}

/* No longer than said, so that what was given up is soon found; and not all
 * at once. */
static int64_t pause_ms(const struct lease *l)
{
    uint16_t more;

    random_bytes(&more, sizeof more);
    return l->retry_ms - more % (l->retry_ms / 4 + 1);
}

static void *lease_run(void *arg)
{
    struct lease *l = arg;

    while (!atomic_load(&l->is_stopped)) {
        struct err e = {0};
        int r = turn(l, &e);

        if (atomic_load(&l->is_stopped))
            break;
        note(l, r, &e);
        kube_sleep(l->kube, pause_ms(l), &l->is_stopped);
    }
    give_up(l);
    return NULL;
}

/* --- birth and death --- */

static int64_t or_else(int64_t ms, int64_t otherwise_ms)
{
    return ms ? ms : otherwise_ms;
}

struct lease *lease_start(struct loop *loop, struct kube *k,
                          const struct lease_conf *conf,
                          void (*changed)(void *arg, bool is_leader), void *arg)
{
    struct lease *l = mem_zero(1, sizeof *l);
    char id[ID_SIZE];

    l->loop = loop;
    l->kube = k;
    l->duration_ms = or_else(conf->duration_ms, LEASE_DURATION_MS);
    l->renew_ms = or_else(conf->renew_ms, LEASE_RENEW_MS);
    l->retry_ms = or_else(conf->retry_ms, LEASE_RETRY_MS);
    assert(0 < l->retry_ms && l->retry_ms < l->renew_ms &&
           l->renew_ms < l->duration_ms &&
           l->duration_ms <= LEASE_DURATION_MAX_S * 1000);
    l->collection = mem_printf(LEASE_API, conf->ns);
    l->path = mem_printf("%s/%s", l->collection, conf->name);
    l->name = mem_str(conf->name);
    random_id(id);
    l->holder = mem_printf("%.*s_%s", LEASE_HOLDER_MAX, conf->holder, id);
    l->changed = changed;
    l->arg = arg;
    l->is_stale = true;
    l->heard_ms = loop_now_ms();
    atomic_init(&l->is_blind, false);
    atomic_init(&l->is_stopped, false);
    atomic_init(&l->until_ms, 0);
    l->timer = loop_timer_start(loop, l->renew_ms, 0, on_time, l);
    if (pthread_create(&l->thread, NULL, lease_run, l) != 0)
        abort();
    return l;
}

void lease_stop(struct lease *l)
{
    if (!l)
        return;
    l->is_ending = true;
    atomic_store(&l->until_ms, 0);
    if (l->is_leader)
        count_add(COUNT_LEADER, -1);
    kube_wake(l->kube, &l->is_stopped);
    pthread_join(l->thread, NULL);
    loop_run_posted(l->loop); /* its last words */
    loop_timer_stop(l->timer);
}

void lease_free(struct lease *l)
{
    if (!l)
        return;
    json_free(l->record);
    free(l->seen);
    free(l->collection);
    free(l->path);
    free(l->name);
    free(l->holder);
    free(l);
}

bool lease_is_leader(const struct lease *l)
{
    return loop_now_ms() < atomic_load(&((struct lease *)l)->until_ms);
}

bool lease_is_blind(const struct lease *l)
{
    return atomic_load(&l->is_blind);
}

const char *lease_holder(const struct lease *l)
{
    return l->holder;
}
