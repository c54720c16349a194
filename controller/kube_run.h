/* Between launcher_kube.c (verbs, watches) and kube_run.c (one session). */
#ifndef PODTERM_CONTROLLER_KUBE_RUN_H
#define PODTERM_CONTROLLER_KUBE_RUN_H

#include "base/loop.h"
#include "base/worker.h"
#include "controller/jobview.h"
#include "controller/kube_job.h"
#include "controller/kube_pool.h"
#include "controller/launcher_kube.h"
#include "controller/podview.h"

#include <stdatomic.h>

#define KUBE_FIRST_LIST 1 /* of pods: what there is is not known before */

struct kube_known {    /* a Job that was listed */
    char sid[ID_SIZE]; /* "" = a warm one's */
    char name[64];
    char uid[KUBE_UID_SIZE];
    bool is_finished;
    bool is_spoilt;       /* its pod says it is somebody's, and not with our
                             record: nobody is to have it */
    bool is_anothers;     /* it says it is another installation's */
    char *record, *trust; /* NULL = none */
};

struct kube_launcher {
    struct launcher base;
    struct loop *loop;
    const struct settings *set;
    const struct keys *keys;
    struct worker *worker; /* calls to the API, which wait for their turn */
    struct worker *waker;  /* calls to warm agents */
    struct kube_pool *pool;
    struct kube_place place;
    struct jobspec *spec;
    int agent_port;
    /* LAUNCHER_KUBE_*_MS */
    int64_t gone_ms, lost_ms, look_ms, room_ms, right_ms, pod_ms;
    int64_t vain_ms; /* KUBE_POOL_VAIN_MS */
    struct kube_run *runs;
    int count;
    struct kube_known *known;
    size_t known_count;
    struct kube_watch *pods, *jobs;
    /* The lists that come now: what was not in one, once complete, is gone. */
    uint32_t pods_list, jobs_list;
};

enum kube_state {
    RUN_CLAIMING, /* until its name is in the record */
    RUN_WAKING,   /* it is told whose it is */
    RUN_SEEKING,  /* one that was claimed before is looked for */
    RUN_AWAITING, /* which warm pods there are is not known yet */
    RUN_MAKING,   /* Job and Secret */
    RUN_FOLLOWED, /* the watches tell of it */
    RUN_REMOVING, /* the Job; the pod's end is awaited */
    RUN_TOLD,     /* the sink knows its end; what is left is removed */
};

struct kube_run {
    struct kube_launcher *l;
    struct kube_run *next;
    char sid[ID_SIZE];
    enum kube_state state;
    struct launch *what; /* until it has all that it needs */
    char *record, *trust;
    char job[64];                  /* its name */
    char uid[KUBE_UID_SIZE];       /* the Job's; "" = not made yet */
    struct kube_warm warm;         /* a warm pod's door, until it is ours */
    bool is_again;                 /* it may have been told before */
    bool is_ours;                  /* its door opened to the session's key */
    bool is_to_mark;               /* its pod does not say yet whose it is */
    int wakes;                     /* warm pods that were tried */
    bool is_quiet;                 /* nothing is told */
    bool is_to_remove, is_removed; /* the Job, and all with it */
    bool is_without_room; /* the quota has no place for its Job, which is not
                             there */
    bool is_asked;        /* the Job may be there, whatever was answered */
    bool has_job, is_job_gone, is_job_over; /* as the watches saw it */
    char job_uid[KUBE_UID_SIZE];            /* of that */
    char job_says[256];                     /* why it failed */
    bool has_pod, is_pod_gone;
    struct podview pod;              /* as last seen */
    uint32_t pod_listed, job_listed; /* in which list it was last */
    bool told_scheduled, told_listening, told_running;
    char told_wait[64];
    int64_t fails_ms; /* since when its image or container cannot be had; 0 */
    enum end_reason wanted;
    char wanted_detail[256];
    struct loop_timer *retry; /* a worker is asked again */
    struct loop_timer *last;  /* for the pod to be seen, or to go */
    struct loop_timer *lost;  /* for its node to end what leaves */
    struct loop_timer *look;  /* for what it waits for to have lasted */
    int64_t forbidden_ms;     /* since when; 0 = it is not */
    bool is_working;
    atomic_bool is_dropped; /* its worker's done frees it */
    /* the worker's */
    void (*work)(void *arg);
    char made_uid[KUBE_UID_SIZE];
    struct err failure;
};

struct kube_short {
    int all;    /* sessions for whose Job there is no room */
    int others; /* of these, those that no warm pod is for; at most the pool's
                   target */
};

/* Does a session trust only keys that are still published? */
bool kube_trust_holds(const char *trust, const char *trusted);
struct kube_run *kube_run_find(struct kube_launcher *l, const char *sid);
struct kube_run *kube_run_of_job(struct kube_launcher *l, const char *job);
struct kube_run *kube_run_new(struct kube_launcher *l, const char *sid);
void kube_run_drop(struct kube_run *r); /* or when its worker is back */
void kube_run_end(struct kube_run *r, enum end_reason why, const char *detail);
/* The sink is told, and what is left removed. */
void kube_run_finish(struct kube_run *r);
void kube_run_pod(struct kube_run *r, const struct podview *v, bool is_gone);
void kube_run_job(struct kube_run *r, const struct jobview *v, bool is_gone);
/* A list is complete: was it in there? */
void kube_run_pods_listed(struct kube_run *r);
void kube_run_jobs_listed(struct kube_run *r);

/* --- for kube_claim.c --- */

/* Give run to the pool of threads, then done on the loop, which asks
 * kube_run_is_back first; again: the pool was full, a while ago. */
void kube_run_ask(struct kube_run *r, void (*run)(void *arg),
                  void (*done)(void *arg), void (*again)(void *arg));
/* The same for what asks an agent, and waits for no call to the API. */
void kube_run_ask_agent(struct kube_run *r, void (*run)(void *arg),
                        void (*done)(void *arg), void (*again)(void *arg));
bool kube_run_is_back(struct kube_run *r);
void kube_run_make(struct kube_run *r);
/* Its start is done; what its pod shows is told. May free it. */
void kube_run_launched(struct kube_run *r);
/* After the end: remove what is left. */
void kube_run_clean(struct kube_run *r);
/* Ask a worker again after a while; asking before forgets it. */
void kube_run_later(struct kube_run *r, int64_t ms, void (*cb)(void *arg));

/* --- kube_stages.c --- */

/* Tell what its pod shows, as far as it is not told yet. */
void kube_run_advance(struct kube_run *r);
/* Where the agent of its pod listens; the caller's. */
char *kube_run_addr(const struct kube_run *r, const struct podview *v);

/* --- kube_claim.c --- */

/* A warm pod, or else a Job of its own: once it is known what there is; or as
 * far as it is now. */
void kube_run_start(struct kube_run *r);
void kube_run_choose(struct kube_run *r);
/* For how many Jobs there is no room. */
struct kube_short kube_run_short(const struct kube_launcher *l);
/* Take a warm pod, if there is one that is ready. */
bool kube_run_take_warm(struct kube_run *r);
/* Does any that took a warm pod not run yet? */
bool kube_run_is_any_waking(const struct kube_launcher *l);
/* What it has the name of is to be in the record, before it is begun. */
void kube_run_claim(struct kube_run *r);
/* The claim is in the record; or another session has what was claimed. */
void kube_run_claimed(struct kube_run *r);
void kube_run_refused(struct kube_run *r);
/* Its pod was claimed before, and may have been told. uid: of that Job; "" =
 * not known. */
void kube_run_seek(struct kube_run *r, const char *job, const char *uid);
/* That pod is seen, or (NULL) there is none. */
void kube_run_found(struct kube_run *r, const struct podview *v);
/* Write on its pod whose it is. */
void kube_run_mark(struct kube_run *r);

#endif
