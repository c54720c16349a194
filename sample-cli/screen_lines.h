/*
 * Which lines a frame of a task list has, and which go where they are too
 * many. Pure.
 */
#ifndef PODTERM_SAMPLE_CLI_SCREEN_LINES_H
#define PODTERM_SAMPLE_CLI_SCREEN_LINES_H

#include "sample-cli/tasks.h"

#include <stdbool.h>
#include <stddef.h>

#define LINES_MAX 256

enum line_kind {
    LINE_TASK,
    LINE_TAIL, /* a row of the output of the task above */
    LINE_MORE, /* says how many are left out */
};

struct line {
    enum line_kind kind;
    bool is_bare; /* LINE_TASK: without its detail */
    size_t depth;
    const struct task *task; /* borrowed */
    const char *text;        /* LINE_TAIL: len bytes */
    size_t len;
    size_t more;
};

struct lines {
    struct line items[LINES_MAX + 1]; /* one while it is added */
    size_t count;
    size_t left_out; /* tasks: there was no room for them in items */
    size_t width;
};

void lines_init(struct lines *l, size_t cols);
/* A task, the end of its output while it runs, and all below it. */
void lines_add(struct lines *l, const struct task *task, size_t depth);
/* At most so many lines. The first to go are those that wait, from the end;
 * then what is over, from the start; then output; what runs goes last. */
void lines_fit(struct lines *l, size_t most);
/* The columns of the longest title with its indent. */
size_t lines_title_cols(const struct task *items, size_t count, size_t depth,
                        bool is_utf8);

#endif
