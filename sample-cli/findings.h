/*
 * What was found: a bounded list. Of every rule at most FINDINGS_KEPT_MAX are
 * kept; all are counted.
 */
#ifndef PODTERM_SAMPLE_CLI_FINDINGS_H
#define PODTERM_SAMPLE_CLI_FINDINGS_H

#include <stddef.h>

#define FINDINGS_KEPT_MAX 200 /* of each rule */
#define FINDING_TEXT_MAX 400  /* bytes of a sentence, the rest is cut */

/* id, the word in JSON */
#define RULES(X)                                                               \
    X(NOT_LOOKED_AT, "not-looked-at")                                          \
    X(LARGE, "large-file")                                                     \
    X(BINARY, "binary")                                                        \
    X(LONG_LINE, "long-line")                                                  \
    X(TRAILING, "trailing-space")                                              \
    X(MARKER, "marker")                                                        \
    X(FINAL_NEWLINE, "final-newline")                                          \
    X(LINE_ENDINGS, "line-endings")                                            \
    X(DUPLICATE, "duplicate")

enum rule {
#define X(id, word) RULE_##id,
    RULES(X)
#undef X
        RULE_COUNT
};

struct finding {
    enum rule rule;
    char *path; /* below the root, as the file system has it */
    long line;  /* from 1; 0 = the whole file */
    char *text; /* a sentence, safe to show */
};

struct findings {
    struct finding *items; /* owned, in the order they were added */
    size_t count;
    long found[RULE_COUNT]; /* also those that were not kept */
};

/* An empty list is all zeroes. */
void findings_fini(struct findings *f);
void findings_add(struct findings *f, enum rule rule, const char *path,
                  long line, const char *fmt, ...)
    __attribute__((format(printf, 5, 6)));
/* All of from's go behind those of to; from is empty then. */
void findings_move(struct findings *to, struct findings *from);
/* Of all rules together. */
long findings_total(const struct findings *f);
/* By path, then line, then rule. */
void findings_sort(struct findings *f);
const char *rule_word(enum rule rule);

#endif
