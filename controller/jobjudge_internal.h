/* Between jobjudge.c (the Job and its pod), jobjudge_container.c (one container)
 * and jobjudge_volumes.c (who mounts what). */
#ifndef PODTERM_CONTROLLER_JOBJUDGE_INTERNAL_H
#define PODTERM_CONTROLLER_JOBJUDGE_INTERNAL_H

#include "controller/jobjudge.h"

/* As the shim's command and the agent's flags have them. */
#define JOBJUDGE_OURS "/run/podterm"
#define JOBJUDGE_IPC "/run/podterm/ipc"
#define JOBJUDGE_BUNDLE "/run/podterm/bundle"
#define JOBJUDGE_REPORT "/dev/termination-log"
#define JOBJUDGE_POOL_KEY "pool-key" /* KEDA's: leaves the pod's own key */

#define JOBJUDGE_WHERE_SIZE 200 /* "spec.template.spec.containers[runner]" */
#define JOBJUDGE_BELOW_SIZE (JOBJUDGE_WHERE_SIZE + 64)

struct jobjudge {
    const char *root;   /* of the pod's spec: "spec.template.spec" */
    const char *secret; /* volume; NULL = the one of JOBJUDGE_POOL_KEY's */
    const struct json *pod, *agent, *runner;
    const struct json *key; /* that container; NULL = there is none */
};

/* "where.member: why"; -1 ERR_INPUT. */
int jobjudge_refuse(const char *where, const char *member, const char *why,
                    struct err *e);
/* Members must be among the known ones; what is false or null is not set. */
int jobjudge_only(const char *where, const struct json *object,
                  const char *const *known, struct err *e);
#define JOBJUDGE_ONLY(where, object, e, ...)                                   \
    jobjudge_only(where, object, (const char *const[]){__VA_ARGS__, NULL}, e)

const struct json *jobjudge_named(const struct json *list, const char *name);
bool jobjudge_is(const struct json *in, const char *name, bool value);
int64_t jobjudge_number(const struct json *in, const char *name); /* or -1 */
bool jobjudge_amount(const struct json *quantity); /* above nothing */

/* Seccomp and AppArmor of a container in that pod (NULL: the pod's own). */
int jobjudge_profile(const char *where, const struct json *pod_context,
                     const struct json *context, struct err *e);
/* What each container must be. list: "initContainers" or "containers". */
int jobjudge_container(const struct jobjudge *g, const char *list,
                       const struct json *c, struct err *e);
int jobjudge_volumes(const struct jobjudge *g, struct err *e);

#endif
