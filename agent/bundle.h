/*
 * From a bundle's URL to a tree the program can be started from: fetch,
 * verify, unpack, read the manifest. One job on a worker thread; what it has
 * to say comes to the loop's thread.
 *
 * Nothing is parsed as an archive before size, digest and signature are
 * right. On a refusal nothing is left in the bundle directory or in tmp_dir.
 */
#ifndef PODTERM_AGENT_BUNDLE_H
#define PODTERM_AGENT_BUNDLE_H

#include "agent/spec.h"
#include "base/err.h"
#include "base/loop.h"
#include "base/worker.h"

#include <stdint.h>

#define BUNDLE_ROOT "root"     /* the tree's name in the bundle directory */
#define BUNDLE_PROGRESS_MS 100 /* between two running stages of one kind */

struct bundle;

struct bundle_stage {
    char stage[16];      /* "fetch", "verified", "unpacked" */
    char state[12];      /* "running", "done" */
    char detail[160];    /* no URL query ever */
    int64_t done, total; /* bytes; total 0 = not known */
};

struct bundle_verbs {
    void (*stage)(void *arg, const struct bundle_stage *s);
    /* Last. argv: the command as the runner sees it, NULL-terminated, the
     * callee's (bundle_argv_free); or NULL and *e, whose text may be shown
     * to the user. */
    void (*done)(void *arg, char **argv, const struct err *e);
};

struct bundle_conf {
    const struct agent_spec *spec; /* outlives the job */
    const char *bundle_dir;        /* BUNDLE_ROOT appears in it by rename */
    const char *tmp_dir;           /* for the archive while it comes */
    /* verified archives: a cache of our own, or a file to look for at first
     * and a name to leave a fetched one under for who keeps them (both are
     * another user's, who trusts us with nothing); each NULL = none */
    const char *cache_dir, *cached_path, *keep_path;
    const char *runner_root; /* where the runner sees BUNDLE_ROOT */
    const struct bundle_verbs *verbs;
    void *arg;
};

/* Start the job on w. conf is copied, its strings are not. */
struct bundle *bundle_start(struct loop *l, struct worker *w,
                            const struct bundle_conf *conf);
/* Stop as soon as may be; done is not called any more. Takes NULL. */
void bundle_cancel(struct bundle *b);
void bundle_argv_free(char **argv);

#endif
