/*
 * Judges what a session's pod may be, in a template and, of those that KEDA
 * makes, in the pod itself: what is in it must be known (an allow-list), and
 * mounts count by what they are, whatever they are called. The runner sees of
 * the agent's volumes the socket's directory and the bundle, read-only, and
 * nothing that holds a secret. Each refusal names the field and says why. Pure.
 * Source: SECURITY rules 5, 6, 9; kubernetes.io, "Pod Security Standards".
 */
#ifndef PODTERM_CONTROLLER_JOBJUDGE_H
#define PODTERM_CONTROLLER_JOBJUDGE_H

#include "base/err.h"
#include "base/json.h"

/* A batch/v1 Job as a template. secret: the volume whose Secret's name will be
 * set. 0, or -1 ERR_INPUT. */
int jobjudge_template(const struct json *job, const char *secret,
                      struct err *e);

struct jobjudge_like {      /* what a pod of KEDA's has to be like */
    const struct json *pod; /* the template's pod spec */
    const char *agent_image, *runner_image;
};

/* The spec of a pod of KEDA's: it has the pool's secret, in an init container
 * that is gone before the rest starts, in place of the session's. */
int jobjudge_pooled(const struct json *spec, const struct jobjudge_like *like,
                    struct err *e);

#endif
