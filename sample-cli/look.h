/*
 * Looking over a source tree: the stages, and all they find.
 */
#ifndef PODTERM_SAMPLE_CLI_LOOK_H
#define PODTERM_SAMPLE_CLI_LOOK_H

#include "sample-cli/findings.h"
#include "sample-cli/lang.h"
#include "sample-cli/tasks.h"
#include "sample-cli/walk.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#define LOOK_AT_ONCE 4 /* rules that look at the files side by side */

struct look_conf {
    const char *root;
    const char *skip;
    int64_t depth_max;      /* directories below the root */
    int64_t entries_max;    /* names of any kind */
    int64_t file_bytes_max; /* larger files are not read */
    int64_t large_bytes;    /* larger files are told */
    int64_t line_max;       /* characters */
    bool is_utf8;
};

struct look_lang {
    long files;
    int64_t lines, bytes;
};

struct look {
    struct look_conf conf;
    struct walk walk;
    struct findings findings;
    struct look_lang langs[LANG_COUNT];
    int64_t read, unread; /* files */
    pthread_mutex_t lock; /* findings, while rules look side by side */
};

/* Nothing is opened yet. */
void look_init(struct look *l, const struct look_conf *conf);
void look_fini(struct look *l);
/* The stages, to be run in this order with l as the list's argument; *count
 * of them. Static: for one look at a time. Without the first, which is needed,
 * nothing was looked at. */
struct task *look_tasks(size_t *count);

#endif
