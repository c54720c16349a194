/*
 * Calls to the Kubernetes API: one at a time from any thread, at no more than
 * KUBE_CALLS_S a second over KUBE_CALLS_BURST at once; the token is read anew
 * for each. Blocking: from worker threads.
 * Source: kubernetes.io, "Kubernetes API Concepts".
 */
#ifndef PODTERM_CONTROLLER_KUBE_H
#define PODTERM_CONTROLLER_KUBE_H

#include "base/json.h"
#include "controller/kube_conf.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define KUBE_CALLS_S 10
#define KUBE_CALLS_BURST 20
#define KUBE_ANSWER_MAX (4 * 1024 * 1024) /* bytes of an answer */
#define KUBE_VALUES_MAX 100000            /* in it; a pod has about 1000 */
#define KUBE_TRIES 5                      /* of a call that may be made again */
#define KUBE_WAIT_MAX_MS 10000 /* between two, whatever Retry-After says */

struct kube;

/* Takes what conf holds. */
struct kube *kube_new(struct kube_conf *conf);
void kube_free(struct kube *k); /* no call is under way; takes NULL */
/* Every call under way and to come ends soon, with ERR_TIMEOUT. */
void kube_cancel(struct kube *k);
/* Set *stop; who waits on it is woken. */
void kube_wake(struct kube *k, atomic_bool *stop);
/* The namespace of the configuration, or NULL. */
const char *kube_ns(const struct kube *k);

struct kube_call {
    const char *method;       /* NULL = GET */
    const char *path;         /* with its query, from the first slash on */
    const struct json *body;  /* NULL = none */
    const char *content_type; /* NULL = application/json */
    bool is_secret;           /* the body: its text is wiped */
    int64_t until_ms; /* monotonic: over by then, tries and all; it waits for
                         no turn, but takes one. 0 = no such time */
    const atomic_bool *stop; /* cancels this call alone: kube_wake. NULL */
    struct buf *head; /* gets how an answer of too many values begins; NULL */
};

/*
 * Make a call. Such as found the server busy or nobody at all are made again,
 * after what Retry-After says or a growing time; all ours are safe to repeat,
 * as names are ours and deletes say whom they mean.
 *
 * returns  the HTTP status (200..499), with the answer's object in *out (the
 *          caller's; may be NULL) or, from 400 on, the API's own sentence in
 *          *e; -1: ERR_TOO_LARGE it has too many bytes or values, ERR_PEER nobody who is who he should be answers, ERR_SYSTEM
 *          he answers nonsense or 5xx to the last, ERR_TIMEOUT cancelled
 */
int kube_do(struct kube *k, const struct kube_call *c, struct json **out,
            struct err *e);

/* --- kube_list.c --- */

#define KUBE_PAGE 20          /* objects of a list's page */
#define KUBE_VERSION_SIZE 128 /* of a collection; opaque */

/* Give each object of a collection to take (borrowed) until it says false;
 * path as for kube_watch_start, stop as in kube_call. One that is too large by
 * itself is left out, and logged. 0 with the collection's version, or -1. */
int kube_list(struct kube *k, const char *path, const atomic_bool *stop,
              bool (*take)(void *arg, const struct json *object), void *arg,
              char version[KUBE_VERSION_SIZE], struct err *e);

/* --- kube_watch.c --- */

#define KUBE_WATCH_S 300            /* of one watch, asked of the server */
#define KUBE_SILENCE_S 90           /* without a byte: it is dead */
#define KUBE_LINE_MAX (1024 * 1024) /* of an event; larger ones are left out */
#define KUBE_RELIST_MS 600000       /* all is listed again, whatever happens */

enum kube_event {
    KUBE_LISTED,  /* the object as it is now: at the start and after a gap */
    KUBE_CHANGED, /* or new */
    KUBE_GONE,
    KUBE_ALL_LISTED, /* no object: what has not come since the last
                        KUBE_ALL_LISTED is gone */
};

struct kube_watch;

/*
 * Follow a collection, in a thread of its own, until stopped: list, watch with
 * bookmarks from there, list again when the server has forgotten where we
 * were (410). path: as "/api/v1/namespaces/x/pods?labelSelector=y". event runs
 * on that thread; object is borrowed.
 */
struct kube_watch *kube_watch_start(struct kube *k, const char *path,
                                    void (*event)(void *arg,
                                                  enum kube_event what,
                                                  const struct json *object),
                                    void *arg);
void kube_watch_stop(struct kube_watch *w); /* joins; takes NULL */

#endif
