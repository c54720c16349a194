/*
 * The walk: names every regular file below a directory, in the order of
 * their names. Symbolic links are counted and never followed, nor is
 * anything but files and directories opened. Bounded by entries, depth and
 * bytes of names; what a limit or the system keeps out of view becomes a
 * finding, never silence.
 */
#ifndef PODTERM_SAMPLE_CLI_WALK_H
#define PODTERM_SAMPLE_CLI_WALK_H

#include "base/err.h"
#include "sample-cli/findings.h"
#include "sample-cli/lang.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define WALK_PATH_MAX 4095                /* bytes of a path below the root */
#define WALK_NAMES_MAX ((size_t)16 << 20) /* bytes of all paths together */

struct walk_conf {
    int depth_max;              /* directories below the root, 1.. */
    int64_t entries_max;        /* names of any kind */
    const char *skip;           /* directories passed over: names with commas */
    bool (*goes_on)(void *arg); /* asked once a directory; NULL = always */
    void *arg;
};

struct walk_file {
    char *path; /* below the root */
    int64_t bytes;
    dev_t dev; /* with ino: one file under several names */
    ino_t ino;
    enum lang lang; /* filled by whoever reads the file: */
    bool is_text;   /* it was read, and is no binary */
};

struct walk {
    int root_fd;
    struct walk_file *files; /* owned */
    size_t count;
    int64_t entries, dirs, links, others, skipped;
    int64_t bytes; /* of all files */
    size_t names_bytes;
    bool is_cut;     /* a limit on entries or names was reached */
    bool is_stopped; /* goes_on said no: there is more */
};

/* Walk root into *w. ERR_INPUT: root is not there or no directory;
 * ERR_SYSTEM. *w is then empty. */
int walk_run(struct walk *w, const char *root, const struct walk_conf *conf,
             struct findings *f, struct err *e);
void walk_fini(struct walk *w);

#endif
