/*
 * The kubernetes launcher in a small world (tests/lib/kubeworld.h), without a
 * controller around it: what it tells its sink is written down, and claims
 * are kept as soon as they are told unless the test does that.
 */
#ifndef PODTERM_TESTS_LIB_KUBEBED_H
#define PODTERM_TESTS_LIB_KUBEBED_H

#include "base/loop.h"
#include "controller/kube_run.h"
#include "tests/lib/kubeworld.h"

#include <stdatomic.h>

#define KUBEBED_SOON_MS 20000 /* generous: machines are busy */
#define KUBEBED_IMAGE "example/runner:1"
#define KUBEBED_SAID 16384

struct kubebed {
    char *dir;
    struct kubeworld *world;
    struct loop *loop;
    struct keys keys;
    struct settings set;
    char *trusted;
    struct launcher *launcher;
    struct kube_launcher *inside;
    char said[KUBEBED_SAID]; /* "a:scheduled/done a:listening …"; the letter is
                                the first of the session's id */
    char ref[64];            /* as claimed last */
    char sid[ID_SIZE];       /* whose */
    char detail[256];        /* of the last end */
    bool keeps_no_claims;
    atomic_bool is_deposed; /* another leads, and nobody has told it yet */
    int64_t demand;
};

/* Ready to lead, and not leading yet; warm: the pool's target. */
void kubebed_start(struct kubebed *b, int warm);
void kubebed_stop(struct kubebed *b);
/* List, take nothing up, begin. */
void kubebed_begin(struct kubebed *b);
/* Another process leads: this one's launcher is freed, and a new one made. Or
 * (stays) the same one, after it has rested. */
void kubebed_next(struct kubebed *b, bool stays);

/* An id that begins with this letter. */
void kubebed_sid(char letter, char out[ID_SIZE]);
/* The record beside one of that id, as that installation writes it with our
 * keys; the caller's. */
char *kubebed_record(const struct kubebed *b, const char *sid,
                     const char *installation);
/* What a session of that id starts with; the caller's. */
struct launch *kubebed_what(struct kubebed *b, const char *sid);
void kubebed_launch(struct kubebed *b, const char *sid);
void kubebed_end(struct kubebed *b, const char *sid);

/* Until so many objects of that kind whose name begins so are there; or that
 * was said; fails the test otherwise. */
void kubebed_until(struct kubebed *b, const char *kind, const char *name,
                   int count);
void kubebed_hears(struct kubebed *b, const char *text);
/* Until the launcher has no session left. */
void kubebed_empty(struct kubebed *b);
/* How often was that said? */
int kubebed_said(const struct kubebed *b, const char *text);
/* Until the pool has so many that are ready. */
void kubebed_warm(struct kubebed *b, int count);
/* Both watches see what happens from now on. */
void kubebed_watched(struct kubebed *b);

#endif
