/*
 * The warm pool: runners that are started and belong to nobody yet. Kept at
 * its target either here, by Jobs each with a key of its own, or by KEDA, that
 * makes them from one template and is told what is missing. Whoever is taken
 * out never comes back: it is a session's from then on. Loop's thread only.
 * Source: DESIGN 3, "Warm pool"; SECURITY rule 5.
 */
#ifndef PODTERM_CONTROLLER_KUBE_POOL_H
#define PODTERM_CONTROLLER_KUBE_POOL_H

#include "controller/jobview.h"
#include "controller/kube_job.h"
#include "controller/keys.h"
#include "controller/podview.h"

#define KUBE_POOL_MAKING_MAX 4  /* Jobs made at once */
#define KUBE_POOL_AGAIN_MS 3000 /* after one that could not be made */
/* After one was given out: what is started in its place would hold up, on a
 * small cluster, the session that begins. */
#define KUBE_POOL_REFILL_MS 500
/* And as long as any that took one does not run yet, up to this since the
 * first of them. */
#define KUBE_POOL_BURST_MAX_MS 3000
#define KUBE_POOL_BURST_LOOK_MS 100 /* between looks */
#define KUBE_POOL_LATE_S 300        /* to become ready; then it is removed */
/* One that was given out and is nobody's is removed then: later than it is
 * known who leads, whatever clocks do. */
#define KUBE_POOL_VAIN_MS 15000
/* After KEDA made one that is not to be used: it is asked for none. */
#define KUBE_POOL_UNFIT_MS 30000
/* One that leaves within that time is not given out any more. */
#define KUBE_POOL_LAST_S 10
/* What agents of a pool with one secret are called at the TLS door. */
#define KUBE_POOL_PSK_ID "podtermpoolpodtermpoolpodt"

struct kube_launcher;
struct kube_pool;

struct kube_warm { /* one that was taken out */
    char job[64], uid[KUBE_UID_SIZE];
    struct podview pod;
    char psk_id[ID_SIZE];
    uint8_t key[SESSION_KEY_BYTES];
};

struct kube_pool *kube_pool_new(struct kube_launcher *l);
void kube_pool_free(struct kube_pool *p); /* takes NULL */

/* A Job of the pool that was there before us. trust as in launcher.h. */
void kube_pool_known(struct kube_pool *p, const char *job, const char *uid,
                     const char *trust, const char *trusted);
/* From now on it is kept at its target; or no more, and all is forgotten. */
void kube_pool_begin(struct kube_pool *p);
void kube_pool_rest(struct kube_pool *p);

/* What the watches see of runners that are, or were, of a pool; list: in which
 * list (0 = none). */
void kube_pool_pod(struct kube_pool *p, const struct podview *v, bool is_gone,
                   uint32_t list);
void kube_pool_job(struct kube_pool *p, const struct jobview *v, bool is_gone,
                   uint32_t list);
void kube_pool_listed(struct kube_pool *p, bool is_job, uint32_t list);

/* Of one that is nobody's yet: fills v->unfit. From any thread. */
void kube_pool_look(const struct kube_pool *p, const struct json *pod,
                    struct podview *v);

/* A Job that nobody has made: it is removed. */
void kube_pool_stray(struct kube_pool *p, const char *job, const char *uid);

/* May sessions of that image take one? */
bool kube_pool_is_for(const struct kube_pool *p, const char *image);
/* Take a ready one for a session of that image; false: there is none. */
bool kube_pool_take(struct kube_pool *p, const char *image,
                    struct kube_warm *out);
/* One that was taken had been given out before, to whom is not known. */
void kube_pool_refused(struct kube_pool *p, const char *job);
/* Take that one for the session whose it is already: its pod, borrowed; NULL
 * = there is none. */
const struct podview *kube_pool_seen(struct kube_pool *p, const char *job);
/* The door of one that was taken before; pod's uid is known. */
void kube_pool_door(const struct kube_pool *p, struct kube_warm *w);

#endif
