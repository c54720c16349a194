/*
 * What both views of a task list do alike: its texts, and how they are
 * written.
 */
#ifndef PODTERM_SAMPLE_CLI_SCREEN_TEXT_H
#define PODTERM_SAMPLE_CLI_SCREEN_TEXT_H

#include "base/buf.h"
#include "sample-cli/screen.h"

#include <stddef.h>
#include <stdint.h>

/* A text as it may be shown, whoever's words it has, in at most cols columns;
 * how many it took. */
size_t screen_text(const struct screen *s, const char *text, size_t len,
                   size_t cols, struct buf *out);
/* "try 2, 1.5s": what is worth saying beside the detail, if anything. */
void screen_aside(const struct task *task, int64_t now_ms, struct buf *out);
/* The whole of it, or s->error says why not: a view has nobody to tell. */
void screen_write(struct screen *s, const struct buf *b);

#endif
