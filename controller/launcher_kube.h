/*
 * The launcher on a cluster: each session is a Job of its own (PROTOCOL.md 8,
 * infra/k8s/session-job.yaml). It may be made by one controller and followed
 * by the next: all it knows lies in the cluster.
 */
#ifndef PODTERM_CONTROLLER_LAUNCHER_KUBE_H
#define PODTERM_CONTROLLER_LAUNCHER_KUBE_H

#include "base/loop.h"
#include "controller/keys.h"
#include "controller/kube.h"
#include "controller/launcher.h"
#include "controller/settings.h"

#define LAUNCHER_KUBE_THREADS 4    /* calls to the API at once */
#define LAUNCHER_KUBE_WAKERS 8     /* warm agents told at once */
#define LAUNCHER_KUBE_ROOM_MS 2000 /* a start for which there was no room */
/* To be without the right: an API server that starts knows no Roles yet. */
#define LAUNCHER_KUBE_RIGHT_MS 30000
#define LAUNCHER_KUBE_GONE_MS 45000 /* for a pod to end after its Job went */
#define LAUNCHER_KUBE_LOST_MS 60000 /* for one that leaves, over its grace */
#define LAUNCHER_KUBE_LOOK_MS 5000  /* for the pod of a Job that is over */
#define LAUNCHER_KUBE_POD_MS 5000   /* for a Job to have a pod; else told */
#define LAUNCHER_KUBE_PULL_S 120    /* of failing to get an image */
#define LAUNCHER_KUBE_MAKE_S 30     /* of failing to make a container of it */
#define LAUNCHER_KUBE_CRASHES 3     /* of an agent that never listened */

/* Reads the template and where the API is. NULL with *e. The kube is the
 * launcher's; leases use it too. */
struct launcher *launcher_kube_new(struct loop *loop,
                                   const struct settings *set,
                                   const struct keys *keys, struct err *e);
struct kube *launcher_kube(struct launcher *l);

#endif
