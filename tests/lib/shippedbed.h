/*
 * podterm as infra/k8s ships it, running in its pods on a cluster of the
 * tests' own: an overlay on top of overlays/local that says where identities
 * and bundles of a test come from, what stands for Redis' image, and gives
 * agents their own seccomp profile. Users come in as through a load balancer:
 * by the Services. Every function fails the test when something does not do
 * in time what it is asked for.
 */
#ifndef PODTERM_TESTS_LIB_SHIPPEDBED_H
#define PODTERM_TESTS_LIB_SHIPPEDBED_H

#include "tests/lib/clusterbed.h"
#include "tests/lib/seat.h"

#define SHIPPEDBED_NS "podterm"
#define SHIPPEDBED_SESSIONS "podterm-sessions"
#define SHIPPEDBED_MOVE_MS 120000 /* for a pod to go and another to come */

struct shippedbed {
    struct clusterbed *around; /* sessions, bundles, users */
    struct clusterbed_process keys, api_door, attach_door;
    int keys_port, lock_fd;
    char *data; /* Redis' volume */
};

/* Install it and wait until all serve. */
struct shippedbed *shippedbed_new(void);
/* Remove it; takes NULL. */
void shippedbed_free(struct shippedbed *b);

/* kubectl -n podterm with these words, what it says cut into words by blanks
 * and lines: how many, at most cap, each the caller's. */
int shippedbed_names(char **out, int cap, const char *const *words);
/* The names of an application's pods that do not leave. */
int shippedbed_pods(const char *app, char **out, int cap);
/* The pod that holds the Lease; the caller's, NULL = none does. */
char *shippedbed_leader(void);
/* Delete it as a user does, and do not wait; wait until it is gone. */
void shippedbed_delete(const char *pod);
void shippedbed_wait_gone(const char *pod);
/* Wait until all pods that there should be are ready. */
void shippedbed_wait_ready(void);

/* The real `podterm run`, as who, on a terminal of 80x24. */
void shippedbed_run(struct shippedbed *b, struct seat *s, const char *who,
                    const struct stack_bundle *bundle);

#endif
