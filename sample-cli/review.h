/*
 * The review: a stage that asks Claude about what was found, by the first way
 * that answers.
 *
 *   1. the `claude` command, where it is on PATH
 *   2. the Messages API, where ANTHROPIC_API_KEY or ANTHROPIC_BASE_URL is set
 *   3. nobody: the stage is skipped, and says what is missing
 *
 * A way that fails says why, and the next one is asked. What is sent is
 * sample-cli/brief.h's; the files in it, and those kept back, are named before
 * it is sent.
 */
#ifndef PODTERM_SAMPLE_CLI_REVIEW_H
#define PODTERM_SAMPLE_CLI_REVIEW_H

#include "sample-cli/brief.h"
#include "sample-cli/look.h"
#include "sample-cli/reply.h"
#include "sample-cli/tasks.h"

#include <stdbool.h>
#include <stdint.h>

#define REVIEW_MODEL "claude-sonnet-5" /* for the API, where none is named */

struct review_conf {
    const char *model;     /* NULL = the command's own choice, REVIEW_MODEL */
    int64_t timeout_ms;    /* of each way */
    int64_t bytes_max;     /* of what is sent */
    int64_t max_tokens;    /* of the API's answer */
    const char *ca_path;   /* roots for the API; NULL = the system's */
    const char *key, *url; /* of the API; NULL and "" = not set */
    const char *path;      /* PATH */
    bool is_shown;         /* what would be sent is, and nobody is asked */
    bool is_utf8;
};

enum review_way { REVIEW_BY_NONE, REVIEW_BY_COMMAND, REVIEW_BY_API };

struct review {
    struct review_conf conf;
    struct look *look;
    char *command; /* owned; NULL = none was found */
    struct brief brief;
    struct reply reply;  /* not safe to show */
    enum review_way way; /* which has answered */
    const char *note;    /* to be said beside the answer, NULL = nothing */
    bool is_broken;      /* the reply is a part: its sender failed */
    struct task parts[4];
};

/* look is the one whose stages have run before. */
void review_init(struct review *r, const struct review_conf *conf,
                 struct look *look);
void review_fini(struct review *r);
/* The stage, to be put behind look's. */
struct task review_task(struct review *r);
/* "the claude command", ... */
const char *review_by(enum review_way way);
/* How asking in this way went: what a view shows of it. */
const struct task *review_try(const struct review *r, enum review_way way);
/* The model that has answered; NULL = the claude command's own choice. */
const char *review_model(const struct review *r);

#endif
