/*
 * A bundle's way from its URL to a tree: archives made once, and for each
 * test the directories, the loop and what was told. A binary that uses it is
 * its own unpacker when called with --unpack.
 */
#ifndef PODTERM_TESTS_LIB_BUNDLEBED_H
#define PODTERM_TESTS_LIB_BUNDLEBED_H

#include "agent/bundle.h"
#include "tests/lib/fileserver.h"

#include <stdbool.h>
#include <stddef.h>

#define STAGES_MAX 64
#define ROOT_SEEN "/run/podterm/bundle/root"

struct bundlebed {
    char *dir; /* of this test: bundle/, tmp/, cache/ */
    char *bundle_dir, *tmp_dir, *cache_dir;
    struct loop *loop;
    struct worker *worker;
    struct agent_spec spec;
    struct bundle_conf conf;
    struct fileserver *server;
    char **argv;
    struct err e;
    bool is_done;
    struct bundle_stage stages[STAGES_MAX];
    int stage_count;
};

extern char *bundlebed_archives; /* the directory they are in, with keys */
extern bool bundlebed_can_mount; /* we have a mount namespace of our own */

/* A cmocka group's setup and teardown, and a test's. */
int bundlebed_group_setup(void **state);
int bundlebed_group_teardown(void **state);
int bundlebed_setup(void **state);
int bundlebed_teardown(void **state);

/* A whole file, freed by the caller. */
char *bundlebed_slurp(const char *path, size_t *len);
/* How many entries a directory has. */
int bundlebed_entries(const char *path);

/* Want the archive of this name, as it is. */
void bundlebed_want(struct bundlebed *f, const char *name);
/* Demand a signature of the key of this name (ours, theirs). */
void bundlebed_use_key(struct bundlebed *f, const char *name);
/* Fetch, verify, unpack: 0 with f->argv, or -1 with f->e. */
int bundlebed_run(struct bundlebed *f);
/* The same; it must come to a tree whose program is argv0. */
void bundlebed_ready(struct bundlebed *f, const char *argv0);
/* The same; it must be refused with these words and leave nothing. */
void bundlebed_refused(struct bundlebed *f, const char *words);
/* Was this stage told in this state? */
bool bundlebed_has_stage(const struct bundlebed *f, const char *stage,
                         const char *state);

#endif
