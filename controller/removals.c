#include "controller/removals.h"

#include "base/log.h"
#include "base/mem.h"
#include "base/worker.h"
#include "controller/sessdir.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>

struct removal {
    struct removals *of;
    struct removal *next;
    char *path;
    uint64_t owner;
    bool is_gone; /* or never will be: failure says why */
    struct err failure;
};

struct removals {
    struct worker *worker;
    atomic_bool is_stopping;
    pthread_mutex_t lock; /* of the list */
    struct removal *all;
};

static void removal_run(void *arg)
{
    struct removal *m = arg;
    _Atomic int64_t until_ms = loop_now_ms() + REMOVALS_SLICE_MS;

    if (!atomic_load(&m->of->is_stopping))
        m->is_gone = sessdir_remove(m->path, &until_ms, &m->failure) != 1;
}

static void removal_forget(struct removal *m)
{
    struct removal **at = &m->of->all;

    pthread_mutex_lock(&m->of->lock);
    while (*at != m)
        at = &(*at)->next;
    *at = m->next;
    pthread_mutex_unlock(&m->of->lock);
    free(m->path);
    free(m);
}

static void removal_done(void *arg)
{
    struct removal *m = arg;

    if (m->failure.kind)
        log_err(&m->failure, "session.left_behind");
    if (m->is_gone || !worker_add(m->of->worker, removal_run, removal_done, m))
        removal_forget(m);
}

struct removals *removals_new(struct loop *l)
{
    struct removals *r = mem_zero(1, sizeof *r);

    pthread_mutex_init(&r->lock, NULL);
    atomic_init(&r->is_stopping, false);
    r->worker = worker_new(l, REMOVALS_THREADS, SIZE_MAX);
    return r;
}

void removals_free(struct removals *r)
{
    if (!r)
        return;
    atomic_store(&r->is_stopping, true);
    worker_free(r->worker); /* it takes no more: each is forgotten */
    pthread_mutex_destroy(&r->lock);
    free(r);
}

void removals_add(struct removals *r, char *path, uint64_t owner)
{
    struct removal *m = mem_zero(1, sizeof *m);

    m->of = r;
    m->path = path;
    m->owner = owner;
    pthread_mutex_lock(&r->lock);
    m->next = r->all;
    r->all = m;
    pthread_mutex_unlock(&r->lock);
    if (!worker_add(r->worker, removal_run, removal_done, m))
        removal_forget(m);
}

int removals_count(struct removals *r, uint64_t owner)
{
    int count = 0;

    pthread_mutex_lock(&r->lock);
    for (const struct removal *m = r->all; m; m = m->next)
        count += m->owner == owner;
    pthread_mutex_unlock(&r->lock);
    return count;
}
