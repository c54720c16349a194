/*
 * What is done to the objects of one session: Job and Secret made, removed,
 * listed. Each may be done again after it failed half way, by whoever leads
 * then: names are the session's, and a removal says whom it means. Nothing is
 * done by who does not lead (any more): ERR_BUSY. Blocking: from worker
 * threads.
 * Source: SECURITY rules 9, 18; kubernetes.io, "Garbage Collection".
 */
#ifndef PODTERM_CONTROLLER_KUBE_JOB_H
#define PODTERM_CONTROLLER_KUBE_JOB_H

#include "controller/jobspec.h"
#include "controller/kube.h"

#define KUBE_JOB_QUOTA "exceeded quota" /* the API says so */
#define KUBE_UID_SIZE 64
#define KUBE_LABEL_SIZE 64 /* of a label's value, and its end */
/* On Jobs, pods and Secrets: whose they are. Nobody else's are looked at. */
#define KUBE_INSTALLATION "podterm.dev/installation"

struct kube_place { /* where sessions live; borrowed parts */
    struct kube *kube;
    const struct launch_sink *sink; /* who knows whether we lead; NULL = yes */
    const char *ns;
    const struct jobspec *spec;
    const char *agent_image;
    char installation[KUBE_LABEL_SIZE]; /* kube_job_label */
};

/* An installation's name as a label: itself where it may be one, or else a
 * digest of it. */
void kube_job_label(const char *name, char out[KUBE_LABEL_SIZE]);
/* Of those, the query of a list or a watch; the caller's. */
char *kube_job_selector(const struct kube_place *p);

/*
 * Make what's Job, then its Secret; what is there already is ours. 0 with the
 * Job's uid, or -1: ERR_BUSY there is no room (the text has KUBE_JOB_QUOTA in
 * it; without a uid there is no such Job), or nobody answers: again later;
 * ERR_DENIED we have no right to, or none that the API knows of yet; ERR_INPUT
 * refused for good; ERR_TIMEOUT cancelled.
 */
int kube_job_make(const struct kube_place *p, const struct launch *what,
                  char uid[KUBE_UID_SIZE], struct err *e);

/* The same of a warm one: what->sid is its id, spec and key are the pool's. */
int kube_job_make_warm(const struct kube_place *p, const struct launch *what,
                       char uid[KUBE_UID_SIZE], struct err *e);

/* Remove the Job of that name and uid with all it owns, or its Secret alone,
 * which only what has a name of our own making has. Gone is fine. uid "": the name is one of our own making, and whether there
 * is such a Job is not known. 0, or -1: again later (ERR_TIMEOUT:
 * cancelled). */
int kube_job_remove(const struct kube_place *p, const char *name,
                    const char *uid, struct err *e);
int kube_job_forget(const struct kube_place *p, const char *name,
                    struct err *e);
/* Write on a warm pod whose it is: what a store that was emptied is filled
 * from. 0, or -1: again later; a pod that is gone is fine. */
int kube_job_claim(const struct kube_place *p, const char *pod, const char *sid,
                   const char *record, const char *trust, struct err *e);

/* Give each Job to take(), until it says false; or each pod that says whose
 * it is. 0 or -1. */
int kube_job_list(const struct kube_place *p,
                  bool (*take)(void *arg, const struct json *job), void *arg,
                  struct err *e);

int kube_job_list_claimed(const struct kube_place *p,
                          bool (*take)(void *arg, const struct json *pod),
                          void *arg, struct err *e);

#endif
