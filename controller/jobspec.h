/*
 * A session's Job and the Secret it owns, filled from a template that the
 * operator may change (infra/k8s/session-job.yaml). What would break the
 * session's isolation is refused when the template is read (jobjudge.h).
 * Source: SECURITY rules 5, 6, 9; kubernetes.io, "Jobs", "Sidecar Containers".
 */
#ifndef PODTERM_CONTROLLER_JOBSPEC_H
#define PODTERM_CONTROLLER_JOBSPEC_H

#include "base/json.h"
#include "controller/launcher.h"

#define JOBSPEC_ANNOTATION "podterm.dev/record" /* the row, without secrets */
#define JOBSPEC_TRUST "podterm.dev/trust"       /* kids, one a line */
#define JOBSPEC_MADE_OF "podterm.dev/made-of"   /* a warm pod's */
#define JOBSPEC_MANAGER "app.kubernetes.io/managed-by" /* label: podterm */
#define JOBSPEC_SELECTOR "app.kubernetes.io/managed-by=podterm"
#define JOBSPEC_VOLUME "session" /* of the Secret, in the agent alone */
#define JOBSPEC_STATE "agent-state"
#define JOBSPEC_NAME_SIZE (2 + ID_SIZE)
#define JOBSPEC_POOL "default" /* the pool the controller keeps itself */

struct jobspec;

/* path: the template. NULL with *e: ERR_ABSENT, ERR_INPUT, ERR_SYSTEM. */
struct jobspec *jobspec_load(const char *path, struct err *e);
/* The same from a tree, which it takes. */
struct jobspec *jobspec_of(struct json *job, struct err *e);
void jobspec_free(struct jobspec *j); /* takes NULL */

struct jobspec_values {
    const char *sid; /* of a warm one: an id that is no session's */
    bool is_warm;    /* then without record */
    const char *agent_image, *runner_image;
    const char *record; /* JSON for the annotation */
    const char *trust;  /* kids its agent trusts, one a line */
    int64_t deadline_s;
};

/* Where the agent listens in a pod made of it: the port named "agent". */
int jobspec_port(const struct jobspec *j);
/* "s-SID", of Job and Secret alike; a warm one's: "w-ID". */
void jobspec_name(const char *sid, char out[JOBSPEC_NAME_SIZE]);
void jobspec_warm_name(const char *id, char out[JOBSPEC_NAME_SIZE]);
/* The id in such a name, borrowed; NULL = it is no such name. */
const char *jobspec_id(const char *name);
const char *jobspec_warm_id(const char *name);
/* Whether a warm pod (the API's object) is what would be made now: of this
 * template and these images, or, of KEDA's, like it (jobjudge.h). 0, or -1
 * with *e saying what is not. */
int jobspec_is_now(const struct jobspec *j, const struct json *pod,
                   const char *job_name, const char *agent_image,
                   const char *runner_image, struct err *e);
/* Both the caller's. The Secret belongs to the Job of that uid, and holds
 * what's spec and key: its text is wiped when it is freed. */
struct json *jobspec_job(const struct jobspec *j,
                         const struct jobspec_values *v);
struct json *jobspec_secret(const struct launch *what, const char *job_uid);
/* A warm one's: what->sid is its id, spec and key are the pool's. */
struct json *jobspec_warm_secret(const struct launch *what,
                                 const char *job_uid);

#endif
