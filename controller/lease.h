/*
 * One leader among several controllers, by a Lease of the Kubernetes API: who
 * holds it renews it, who does not watches whether it is renewed, and takes it
 * when it has not been for its whole duration. Clocks of machines are never
 * compared: each measures by its own how long the record has stayed as it is.
 * The rights needed are get, create and update.
 *
 * A leader that could not renew in time is none any more before another can
 * be one, whatever the API does; this holds by the clock, so that a process
 * that stood still is judged right as well (lease_is_leader). One way is left
 * to two leaders: a Lease that is removed by hand while a controller starts
 * that has never seen it; they meet at the next renewal.
 * Source: kubernetes.io, "Leases"; LeaseSpec of coordination.k8s.io/v1.
 */
#ifndef PODTERM_CONTROLLER_LEASE_H
#define PODTERM_CONTROLLER_LEASE_H

#include "base/loop.h"
#include "controller/kube.h"

#include <stdbool.h>
#include <stdint.h>

#define LEASE_DURATION_MS 15000 /* others wait that long */
#define LEASE_RENEW_MS 10000    /* not renewed for that long: no leader */
#define LEASE_RETRY_MS 2000     /* between two looks or renewals */
#define LEASE_DURATION_MAX_S 60 /* what another may ask us to wait */
#define LEASE_RELEASE_MS 2000   /* what giving it up may take */
#define LEASE_HOLDER_MAX 128    /* bytes of conf's holder */

struct lease_conf {
    const char *ns, *name; /* as the API takes them */
    const char *holder;    /* to which each process adds something random */
    /* 0 = as above; retry < renew < duration */
    int64_t duration_ms, renew_ms, retry_ms;
};

struct lease;

/*
 * Take part, in a thread of its own, until stopped. changed runs on the loop,
 * with what is so from now on; at first we are no leader. All of conf is
 * copied.
 */
struct lease *lease_start(struct loop *l, struct kube *k,
                          const struct lease_conf *conf,
                          void (*changed)(void *arg, bool is_leader),
                          void *arg);
/*
 * On the loop's thread, when nothing new is begun as the leader any more and
 * before kube_cancel: gives the Lease up, so that another takes it at once.
 * changed is not called for it. Takes LEASE_RELEASE_MS and a second; takes
 * NULL. It may be asked who leads until it is freed: not we.
 */
void lease_stop(struct lease *l);
void lease_free(struct lease *l); /* after lease_stop; takes NULL */

/* From any thread: are we the leader, told so, by the clock as it is now? */
bool lease_is_leader(const struct lease *l);
/* From any thread: has no look at it, or renewal, gone well for its whole
 * duration? Then we do not lead, and do not know of anybody who does. */
bool lease_is_blind(const struct lease *l);
/* What others see in the Lease when we hold it. */
const char *lease_holder(const struct lease *l);

#endif
