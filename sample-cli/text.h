/*
 * Text for people: names and excerpts of a stranger's tree made safe to show,
 * widths in terminal columns, numbers and sizes. Pure but for the locale that
 * wcwidth(3) asks (main sets it).
 */
#ifndef PODTERM_SAMPLE_CLI_TEXT_H
#define PODTERM_SAMPLE_CLI_TEXT_H

#include "base/buf.h"
#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TEXT_NUMBER_MAX 32 /* bytes of text_number and text_size, at most */
#define TEXT_TAME_MAX(len) (4 * (len) + 1) /* of len bytes: four for each */

/*
 * Append len bytes so that a terminal shows them and nothing else: control
 * characters (C0, DEL, C1), bytes that are not UTF-8, and characters that
 * turn the direction of writing become \xHH or \u{HHHH}, a backslash \\.
 * is_utf8 false: everything beyond ASCII is escaped, too. 0, or -1 when out
 * is full (its end is then a part of the text).
 */
int text_escape(struct buf *out, const void *bytes, size_t len, bool is_utf8);

/* The same, but a backslash stays: a text that is safe already, escaped or
 * not, is unchanged. For what is shown, not for what is told apart. */
int text_tame(struct buf *out, const void *bytes, size_t len, bool is_utf8);

/* Columns of a text without control characters. */
size_t text_width(const char *text);
/* Append as much of text as fits into cols columns; what is cut ends in an
 * ellipsis. 0, or -1 when out is full. */
int text_clip(struct buf *out, const char *text, size_t cols, bool is_utf8);

/* The bytes of text that make its first row in cols columns (1..): up to a
 * newline, or broken at a blank where there is one, never within a character
 * that fits. The newline, or the blank, that ends it is not counted; *skip is
 * what to pass over to the next row. 0 and *skip 0 at the text's end. */
size_t text_row(const char *text, size_t cols, size_t *skip);
/* The same as text_escape, but newlines stay, a tab becomes four blanks, and
 * CR before a newline goes: text of several lines. */
int text_escape_lines(struct buf *out, const void *bytes, size_t len,
                      bool is_utf8);

/* An error that has a stranger's words in its text: as text_escape, cut to
 * its size. */
void text_escape_err(struct err *e, bool is_utf8);

/* 900 -> "0.9s", 12345 -> "12s", 65000 -> "1m 05s"; returns out. */
const char *text_duration(int64_t ms, char out[TEXT_NUMBER_MAX]);
/* 1234567 -> "1,234,567"; returns out. v >= 0 */
const char *text_number(int64_t v, char out[TEXT_NUMBER_MAX]);
/* 1536 -> "1.5 KiB", 12 -> "12 bytes"; returns out. bytes >= 0 */
const char *text_size(int64_t bytes, char out[TEXT_NUMBER_MAX]);

#endif
