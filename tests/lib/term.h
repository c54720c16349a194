/*
 * A terminal of the simplest kind, to see what a program's output looks like:
 * text with autowrap (?7h) and without (?7l), CR, LF and index (ESC D),
 * scrolling, cursor up (A) and down (B), kept and brought back (ESC 7, ESC 8),
 * erase to the line's (K) and the screen's end (J), colours (m, ignored), the
 * cursor hidden and shown (?25l, ?25h). Fails the test on anything else. Every
 * character is one column wide.
 */
#ifndef PODTERM_TESTS_LIB_TERM_H
#define PODTERM_TESTS_LIB_TERM_H

#include <stdbool.h>
#include <stddef.h>

#define TERM_COLS_MAX 200
#define TERM_ROWS_MAX 60

struct term {
    size_t cols, rows, x, y, kept_x, kept_y;
    char cells[TERM_ROWS_MAX][TERM_COLS_MAX][5]; /* one character each */
    int wraps;    /* characters beyond a row's end */
    int colors;   /* m seen */
    int scrolled; /* lines gone at the top */
    bool is_cursor_hidden, no_wrap;
};

void term_init(struct term *t, size_t cols, size_t rows);
void term_feed(struct term *t, const char *text);
/* A row without its trailing blanks, the caller's. */
char *term_row(const struct term *t, size_t y);
/* All rows with text, each with a newline, the caller's. */
char *term_text(const struct term *t);

#endif
