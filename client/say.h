/*
 * What podterm itself says to its user. Every string here may hold what a
 * server chose, so every string is shown escaped: control characters, what is
 * not UTF-8, and characters that reorder or hide text become \x1b or \u202e.
 * Source: SECURITY rule 8.
 */
#ifndef PODTERM_CLIENT_SAY_H
#define PODTERM_CLIENT_SAY_H

#include "base/buf.h"
#include "base/err.h"
#include "base/json.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#define SAY_LINE_MAX 2048 /* bytes of one line, escapes included */

/* Append text escaped, as much as fits b; what does not fit is cut between
 * two characters. */
void say_escape(struct buf *b, const char *text, size_t len);
/* The same into out (size >= 1), always terminated. Returns out. */
const char *say_text(const char *text, char *out, size_t size);
/* Cells of a terminal that text (escaped) takes; of what fits into `most`
 * cells, how many bytes and how many cells. What may be wide counts as wide. */
size_t say_cells(const char *text);
size_t say_cut(const char *text, size_t most);
size_t say_cells_upto(const char *text, size_t most);
/* May colours be used there? A terminal, NO_COLOR not set, TERM not dumb. */
bool say_colors(int fd);
/* From now on what is said is a JSON line: {"event":"notice" or "error",
 * "message":...}. The command line asked for it. */
void say_as_json(bool on);
/* "podterm: ..." as a line on stderr, escaped as a whole. */
void say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* Print an error, with what was being done. Returns EXIT_PODTERM. */
int say_failed(const char *doing, const struct err *e);
/* One JSON value as one line of `to`; no character in it can reach a terminal
 * as a control. */
void say_json(FILE *to, const struct json *j);

#endif
