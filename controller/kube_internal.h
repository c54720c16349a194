/* Between kube.c (calls), kube_list.c and kube_watch.c. */
#ifndef PODTERM_CONTROLLER_KUBE_INTERNAL_H
#define PODTERM_CONTROLLER_KUBE_INTERNAL_H

#include "base/http_client.h"
#include "base/loop.h"
#include "controller/kube.h"

#include <pthread.h>

#define KUBE_KEPT 8 /* connections kept between calls */

struct kube {
    struct kube_conf conf;
    pthread_mutex_t lock;
    struct http_keep kept[KUBE_KEPT];
    bool is_kept_used[KUBE_KEPT]; /* by a call that is under way */
    pthread_cond_t wake;          /* cancelled, or a watch is */
    atomic_bool is_cancelled;
    double turns;     /* calls that may be made now; below 0: taken ahead */
    int64_t turns_ms; /* when they were counted */
};

struct kube_try { /* a request with who we are */
    struct kube *kube;
    const atomic_bool *stop; /* NULL = only all of them */
    struct http_request request;
    const char *headers[5]; /* NULL-terminated; room for two more */
    char *auth, *url;
};

/* A GET of path; arg is the try itself. */
int kube_try_init(struct kube_try *t, struct kube *k, const char *path,
                  struct err *e);
void kube_try_fini(struct kube_try *t);
/* What the server names goes into an address as it is: only such as may. */
bool kube_is_plain(const char *text, size_t size);
/* Fills *e with what a Status says; -1. */
int kube_said(int status, const struct buf *body, struct err *e);
/* Of a Retry-After's seconds, at most KUBE_WAIT_MAX_MS; 0 = it is none. */
int64_t kube_retry_after_ms(const char *text);
/* The name of the first object in a text that is not parsed; "" = not found. */
#define KUBE_NAME_SIZE 254
void kube_name_in(const char *text, size_t len, char out[KUBE_NAME_SIZE]);
/* Until then, or cancelled, or *stop (NULL = never) by kube_wake. */
void kube_sleep(struct kube *k, int64_t ms, const atomic_bool *stop);

#endif
