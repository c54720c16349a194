/* Between kubeworld.c (what there is) and kubeworld_serve.c (who asks). */
#ifndef PODTERM_TESTS_LIB_KUBEWORLD_INTERNAL_H
#define PODTERM_TESTS_LIB_KUBEWORLD_INTERNAL_H

#include "base/json.h"
#include "tests/lib/kubeworld.h"

#include <pthread.h>
#include <stdatomic.h>

#define FAULTS_MAX 16

struct object {
    const char *kind;
    char name[128];
    struct json *j;
};

struct event {
    const char *kind, *type;
    char *text;
    struct json *labels; /* for selectors */
};

struct fault {
    char method[8], path[96];
    enum kubeworld_fault what;
    int status, times;
    const char *text;
};

struct kubeworld {
    int listen_fd, port;
    struct ssl_ctx_st *ctx;
    pthread_t thread;
    atomic_bool is_over;
    atomic_int conns;
    pthread_mutex_t lock; /* guards what follows */
    struct object *all;
    size_t count;
    struct event *events;          /* the n-th makes version n + 1 */
    size_t event_count, forgotten; /* before that, a watch comes too late */
    int uids, cuts, watches;
    bool is_hidden;
    struct fault faults[FAULTS_MAX];
    size_t fault_count;
    char **asked; /* "METHOD path\nbody" */
    size_t asked_count;
};

/* All under lock. */
struct object *kubeworld_find(struct kubeworld *w, const char *kind,
                              const char *name);
/* Takes j. */
struct object *kubeworld_add(struct kubeworld *w, const char *kind,
                             struct json *j);
void kubeworld_drop(struct kubeworld *w, struct object *o);
void kubeworld_tell(struct kubeworld *w, const char *type,
                    const struct object *o);
struct json *kubeworld_meta(const struct json *j);

/* The server's thread; arg a struct kubeworld. */
void *kubeworld_serve(void *arg);

#endif
