/*
 * A review as it comes in: kept whole up to a limit, and shown as it comes as
 * the output of a task, made safe for a terminal. The key is taken out of it
 * (base/hush.h): what may be its beginning waits for what comes next.
 */
#ifndef PODTERM_SAMPLE_CLI_REPLY_H
#define PODTERM_SAMPLE_CLI_REPLY_H

#include "base/buf.h"
#include "base/err.h"
#include "sample-cli/tasks.h"

#include <stdbool.h>
#include <stddef.h>

#define REPLY_MAX ((size_t)256 * 1024) /* bytes; more is an error */

struct reply {
    struct buf text;   /* as it was sent: not safe to show */
    struct task *task; /* where it is shown; NULL = nowhere */
    bool is_utf8;      /* of the terminal */
    const char *key;   /* borrowed; NULL = none */
    struct buf held;   /* the end of what came, which may begin the key */
};

void reply_init(struct reply *r, bool is_utf8);
void reply_fini(struct reply *r);
/* Forget what came: the next one is asked, and shows it at task. */
void reply_start(struct reply *r, struct task *task, const char *key);
/* Some more text (struct message's `text`). -1: ERR_TOO_LARGE. */
int reply_add(void *reply, const char *text, size_t len, struct err *e);
/* A peer's words, safe to show, and without the key. */
void reply_hush(const struct reply *r, struct err *e);
/* Nothing more will come. */
void reply_end(struct reply *r);

#endif
