/*
 * The `claude` command, asked one question without a person beside it: no
 * tools, no files, no settings but the user's own, in an empty directory (or
 * /, where /proc lacks one), in a session of its own without a terminal. The
 * question goes to its standard input. It and its session are killed when it
 * ends, says too much, takes too long, or we are told to stop.
 */
#ifndef PODTERM_SAMPLE_CLI_CLAUDE_H
#define PODTERM_SAMPLE_CLI_CLAUDE_H

#include "base/err.h"
#include "sample-cli/reply.h"
#include "sample-cli/tasks.h"

#include <stddef.h>
#include <stdint.h>

#define CLAUDE_ERR_MAX 4096 /* bytes of its standard error, the rest is cut */

struct claude_conf {
    const char *path;   /* of the command */
    const char *system; /* what is asked */
    const char *model;  /* NULL = its own choice */
    const char *prompt;
    size_t prompt_len;
    int64_t timeout_ms;
};

/* The first executable `claude` in the absolute directories of a PATH, the
 * caller's; NULL = there is none. */
char *claude_find(const char *path_env);
/* 0; -1 with ERR_PEER (it says why), ERR_TIMEOUT, ERR_TOO_LARGE, ERR_SYSTEM.
 * note: what is to be said beside the answer, NULL = nothing. When the task
 * was stopped meanwhile: ERR_ENDED. */
int claude_ask(const struct claude_conf *conf, struct task *task,
               struct reply *reply, const char **note, struct err *e);

#endif
