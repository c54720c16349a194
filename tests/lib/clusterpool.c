#include "tests/lib/clusterpool.h"

#include "base/loop.h"
#include "base/mem.h"
#include "base/own.h"
#include "controller/podview.h"

#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define FILL_MS 60000  /* some polls, on a machine with other work */
#define BLIND_MS 10000 /* without one answer of the API */

struct clusterpool_watch {
    struct clusterbed *bed;
    int poll_ms, target;
    pthread_t thread;
    atomic_bool is_over;
    /* of the thread until it is joined */
    int64_t above_ms, seen_ms; /* since when it is above; last look */
    int looks, above, blind_ms;
    struct err e;
};

/* --- a look --- */

static int take(struct clusterpool *p, const struct json *pod, struct err *e)
{
    struct podview v;

    if (podview_of(pod, &v, e) < 0)
        return -1;
    if (v.is_leaving || v.is_over)
        return 0;
    if (p->here == CLUSTERPOOL_MAX)
        return err_set(e, ERR_TOO_LARGE, "more than %d warm pods", p->here);
    snprintf(p->uids[p->here++], sizeof p->uids[0], "%s", v.uid);
    p->ready += v.is_listening && v.is_pulled;
    return 0;
}

static int look(struct clusterbed *b, struct clusterpool *p, struct err *e)
{
    own_mem char *path =
        mem_printf("/api/v1/namespaces/%s/pods"
                   "?labelSelector=" PODVIEW_POOL ",!" PODVIEW_LABEL,
                   b->ns);
    own_json struct json *all = NULL;
    const struct json *items;
    int status = kube_do(b->kube, &(struct kube_call){.path = path}, &all, e);

    *p = (struct clusterpool){0};
    if (status != 200)
        return status < 0 ? -1 : err_set(e, ERR_PEER, "answer %d", status);
    items = json_get(all, "items");
    for (size_t i = 0; i < json_count(items); i++)
        if (take(p, json_at(items, i), e) < 0)
            return -1;
    return 0;
}

void clusterpool_look(struct clusterbed *b, struct clusterpool *p)
{
    struct err e = {0};

    if (look(b, p, &e) < 0)
        fail_msg("the pool: %s", e.text);
}

bool clusterpool_holds(const struct clusterpool *p, const char *uid)
{
    for (int i = 0; i < p->here; i++)
        if (strcmp(p->uids[i], uid) == 0)
            return true;
    return false;
}

int clusterbed_warm(struct clusterbed *b, bool only_ready)
{
    struct clusterpool p;

    clusterpool_look(b, &p);
    return only_ready ? p.ready : p.here;
}

void clusterbed_wait_warm(struct clusterbed *b, int want)
{
    int64_t until = loop_now_ms() + CLUSTERBED_START_MS;

    while (clusterbed_warm(b, true) != want) {
        if (loop_now_ms() > until)
            fail_msg("%d warm pods are ready, not %d", clusterbed_warm(b, true),
                     want);
        poll(NULL, 0, CLUSTERPOOL_LOOK_MS);
    }
}

/* --- over time --- */

/* Since when it is above: *since_ms, 0 = it is not. Is that two polls? */
static bool is_above(const struct clusterpool *p, int target, int poll_ms,
                     int64_t *since_ms)
{
    const int64_t now_ms = loop_now_ms();

    if (p->here <= target)
        *since_ms = 0;
    else if (!*since_ms)
        *since_ms = now_ms;
    return *since_ms && now_ms - *since_ms > poll_ms;
}

void clusterpool_until(struct clusterbed *b, int poll_ms, int want,
                       int settled_ms)
{
    const int64_t until_ms = loop_now_ms() + FILL_MS + settled_ms;
    int64_t above_ms = 0, ready_ms = 0;
    struct clusterpool p;

    for (;;) {
        const int64_t now_ms = loop_now_ms();

        clusterpool_look(b, &p);
        if (is_above(&p, want, poll_ms, &above_ms))
            fail_msg("%d warm pods for two polls, not %d", p.here, want);
        if (p.here != want || p.ready != want)
            ready_ms = 0;
        else if (!ready_ms)
            ready_ms = now_ms;
        if (ready_ms && now_ms - ready_ms >= settled_ms)
            return;
        if (now_ms > until_ms)
            fail_msg("%d warm pods, %d of them ready, not %d", p.here, p.ready,
                     want);
        poll(NULL, 0, CLUSTERPOOL_LOOK_MS);
    }
}

/* --- from a thread --- */

static void *watch(void *arg)
{
    struct clusterpool_watch *w = arg;
    struct clusterpool p;

    w->seen_ms = loop_now_ms();
    while (!atomic_load(&w->is_over)) {
        struct err e = {0};

        if (look(w->bed, &p, &e) < 0) {
            w->e = e;
        } else {
            if (is_above(&p, w->target, w->poll_ms, &w->above_ms) &&
                p.here > w->above)
                w->above = p.here;
            w->looks++;
            w->seen_ms = loop_now_ms();
        }
        if (loop_now_ms() - w->seen_ms > w->blind_ms)
            w->blind_ms = (int)(loop_now_ms() - w->seen_ms);
        poll(NULL, 0, CLUSTERPOOL_LOOK_MS);
    }
    return NULL;
}

struct clusterpool_watch *clusterpool_begin(struct clusterbed *b, int poll_ms,
                                            int target)
{
    struct clusterpool_watch *w = mem_zero(1, sizeof *w);

    w->bed = b;
    w->poll_ms = poll_ms;
    w->target = target;
    if (pthread_create(&w->thread, NULL, watch, w) != 0)
        abort();
    return w;
}

void clusterpool_drop(struct clusterpool_watch *w)
{
    if (!w)
        return;
    atomic_store(&w->is_over, true);
    pthread_join(w->thread, NULL);
    free(w);
}

void clusterpool_end(struct clusterpool_watch *w)
{
    int looks, above, blind_ms;
    const int target = w->target;
    struct err e;

    atomic_store(&w->is_over, true);
    pthread_join(w->thread, NULL);
    looks = w->looks;
    above = w->above;
    blind_ms = w->blind_ms;
    e = w->e;
    free(w);
    print_message("%d looks at the pool\n", looks);
    if (above)
        fail_msg("%d warm pods for two polls, not %d", above, target);
    if (!looks || blind_ms > BLIND_MS)
        fail_msg("nobody could look for %d ms: %s", blind_ms, e.text);
}
