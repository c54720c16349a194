/*
 * What a reviewer is sent: numbers, findings, and parts of files, in so many
 * bytes at most, with nothing of a file that holds a secret of a known form
 * (sample-cli/secrets.h), nor the place of the tree on this machine.
 */
#ifndef PODTERM_SAMPLE_CLI_BRIEF_H
#define PODTERM_SAMPLE_CLI_BRIEF_H

#include "base/buf.h"
#include "sample-cli/look.h"

#include <stdbool.h>
#include <stddef.h>

#define BRIEF_BYTES_MIN 1024
#define BRIEF_BYTES_MAX (256 * 1024)
#define BRIEF_FINDINGS_MAX 60  /* in all, */
#define BRIEF_RULE_MAX 10      /* of one rule */
#define BRIEF_FILES_MAX 12     /* with a part of their text */
#define BRIEF_KEPT_MAX 100     /* names of those kept back that are listed */
#define BRIEF_EXCERPT_MAX 6144 /* bytes of one */
#define BRIEF_BEFORE 20        /* lines before a file's first finding */

struct brief {
    struct buf text;        /* UTF-8 without control characters but \n and \t */
    size_t findings, files; /* sent */
    size_t secret;          /* files left out for what they may hold */
    /* paths, owned, not safe to show: of `files`, and of `secret` the first */
    char *sent[BRIEF_FILES_MAX];
    char *kept[BRIEF_KEPT_MAX];
};

/* The task is one's own: into *out, which brief_fini releases; false when
 * goes_on said no. bytes_max: BRIEF_BYTES_MIN..BRIEF_BYTES_MAX. Sorts l's
 * findings. */
bool brief_make(struct look *l, size_t bytes_max, bool (*goes_on)(void *arg),
                void *arg, struct brief *out);
void brief_fini(struct brief *b);
/* What the reviewer is asked, whatever the sources are. */
const char *brief_question(void);

#endif
