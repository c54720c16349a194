/*
 * Two views of a task list.
 *
 * Live, on a terminal: what is over stands in the scroll-back and is never
 * touched again; what runs and what is to come is drawn below it again and
 * again, at most SCREEN_FRAME_MS apart. No line is longer than the terminal is
 * wide, and what is redrawn is lower than the terminal is high: where it would
 * not be, what waits goes first, then what is over, and a line says how many
 * are not shown. While it runs the cursor is hidden and keys are not echoed
 * into the picture (they are not lost: who reads next gets them). What is over
 * and was no success says why in rows of its own where one line is too short.
 *
 * Resizing: width and height are asked for at every frame, so a new size
 * holds from the next one on, and one that meets another size than it was
 * drawn for does not wrap, nor scroll unless it has just grown (a terminal
 * that gets lower in that moment keeps blank rows). Between frames the cursor
 * stands where the next one begins. A terminal that takes it along when it
 * breaks its lines anew, and that gives up the rows below it first when it
 * gets lower (tmux and xterm.js do both), keeps no copy of a frame. One that
 * pushes rows out at its top instead keeps those of a frame in its
 * scroll-back: nothing can reach them there. What stands there already is
 * broken anew by the terminal, or not: it is never drawn again.
 *
 * Plain, everywhere else: lines for a log, without a control character, as
 * it happens. One for each task when it is over, each with the titles of the
 * groups it is in; one for a try that has failed and will be repeated; and one
 * for a task that has been at work for SCREEN_SILENCE_MS, and again every
 * SCREEN_STILL_MS, so that nobody takes a long one for a dead one.
 *
 * A live view leaves the terminal as it was at TASKS_END; whoever leaves
 * otherwise calls screen_leave, or, from a signal handler, screen_restore.
 */
#ifndef PODTERM_SAMPLE_CLI_SCREEN_H
#define PODTERM_SAMPLE_CLI_SCREEN_H

#include "base/buf.h"
#include "sample-cli/tasks.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SCREEN_FRAME_MS 80
#define SCREEN_LINES_MAX 256 /* drawn again in one frame */
#define SCREEN_WHY_MIN 8     /* columns; in fewer a failure's detail is cut */
#define SCREEN_TAIL_ROWS 6   /* of a running task's output */
#define SCREEN_SILENCE_MS 2000
#define SCREEN_STILL_MS 30000
#define SCREEN_TIMER_MS 1000 /* what took less is not told its time */
#define SCREEN_COLS 80       /* where the terminal does not tell */
#define SCREEN_ROWS 24
#define SCREEN_COLS_MAX 1000        /* a wider one is drawn on up to here */
#define SCREEN_BYTES_MAX (64 << 20) /* of a frame, and what settles above it */

struct screen {
    int fd;       /* borrowed */
    bool is_live; /* a terminal that moves its cursor */
    bool is_utf8;
    bool has_color;
    /* private: */
    size_t cols, rows;
    size_t over;  /* of the list's own: stand above */
    size_t lines; /* drawn below them, and below the cursor */
    size_t title_cols;
    int64_t frame_ms; /* when it was drawn */
    unsigned frames;
    uint64_t change;   /* plain: the last one that has been told */
    int64_t looked_ms; /* plain: when that was */
    int error;         /* errno of the first write that failed, 0 = none;
               EOVERFLOW: a frame was too large, and its end is missing */
};

/* What fd and the environment (TERM, NO_COLOR) allow; is_plain: no live view,
 * whatever they say. is_utf8 comes from the locale. source: no-color.org */
void screen_init(struct screen *s, int fd, bool is_utf8, bool is_plain);
struct tasks_view screen_view(struct screen *s);

/* Hide the cursor, stop the echo: a live view does it at TASKS_BEGIN, and
 * whoever comes back from a stop (SIGTSTP) does it again. The next frame is
 * then drawn where the cursor stands. */
void screen_enter(struct screen *s);
void screen_leave(struct screen *s);
/* The same for signal handlers: for whichever screen has been entered. */
void screen_restore(void);

/* Size of fd's terminal, SCREEN_COLS x SCREEN_ROWS where there is none. */
void screen_size(int fd, size_t *cols, size_t *rows);
/* One frame into out for s->cols x s->rows: pure, but for s' private part. */
int screen_draw(struct screen *s, const struct tasks *t, int64_t now_ms,
                struct buf *out);

#endif
