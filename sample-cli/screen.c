#include "sample-cli/screen.h"

#include "sample-cli/screen_lines.h"
#include "sample-cli/screen_plain.h"
#include "sample-cli/screen_text.h"
#include "sample-cli/text.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#define SCREEN_INDENT 2 /* columns of the mark and the blank behind it */
#define HIDE "\033[?25l"
#define SHOW "\033[?25h"
#define WRAP_OFF "\033[?7l"
#define WRAP_ON "\033[?7h"
#define SAVE "\0337" /* the cursor */
#define BACK "\0338" /* to where it was saved */
#define DOWN "\033D" /* scrolls at the bottom, as LF does */

struct mark {
    const char *utf8, *ascii, *color;
};

static const struct mark marks[TASK_STATE_COUNT] = {
    [TASK_PENDING] = {"\xc2\xb7", ".", "\033[2m"},
    [TASK_RUNNING] = {"", "", "\033[36m"},
    [TASK_RETRYING] = {"\xe2\x86\xbb", "~", "\033[33m"},
    [TASK_DONE] = {"\xe2\x9c\x94", "+", "\033[32m"},
    [TASK_FAILED] = {"\xe2\x9c\x96", "x", "\033[31m"},
    [TASK_SKIPPED] = {"\xe2\x86\x93", "-", "\033[33m"},
    [TASK_STOPPED] = {"\xe2\x96\xa0", "!", "\033[31m"},
};

static const char *const spin_utf8[] = {
    "\xe2\xa0\x8b", "\xe2\xa0\x99", "\xe2\xa0\xb9", "\xe2\xa0\xb8",
    "\xe2\xa0\xbc", "\xe2\xa0\xb4", "\xe2\xa0\xa6", "\xe2\xa0\xa7",
    "\xe2\xa0\x87", "\xe2\xa0\x8f"};
static const char *const spin_ascii[] = {"-", "\\", "|", "/"};
#define COUNT(a) (sizeof(a) / sizeof(*(a)))

/* --- the terminal, and how it was --- */

static struct {
    atomic_bool is_entered;
    atomic_size_t lines; /* below the cursor */
    int fd;
    bool has_tty; /* standard input's settings are kept: */
    struct termios tty;
} entered;

/* Below what is drawn: whoever writes next does not write over it. (printf is
 * not for signal handlers.) */
static void screen_pass(void)
{
    size_t lines = atomic_exchange(&entered.lines, 0);
    char text[32], *at = text + sizeof(text);
    ssize_t n;

    if (!lines)
        return;
    at -= 5;
    memcpy(at, "\r\n\033[J", 5);
    if (--lines) {
        *--at = 'B';
        for (; lines; lines /= 10)
            *--at = (char)('0' + lines % 10);
        at -= 2;
        memcpy(at, "\033[", 2);
    }
    n = write(entered.fd, at, (size_t)(text + sizeof(text) - at));
    (void)n; /* it may be gone */
}

void screen_restore(void)
{
    ssize_t n;

    if (!atomic_exchange(&entered.is_entered, false))
        return;
    screen_pass();
    n = write(entered.fd, SHOW, sizeof(SHOW) - 1);
    (void)n;
    if (entered.has_tty)
        tcsetattr(STDIN_FILENO, TCSADRAIN, &entered.tty);
}

void screen_leave(struct screen *s)
{
    if (s->is_live)
        screen_restore();
}

/* In the background we may not touch it, and would be stopped for it. */
static bool screen_quiet_keys(void)
{
    struct termios quiet;

    if (tcgetpgrp(STDIN_FILENO) != getpgrp() ||
        tcgetattr(STDIN_FILENO, &entered.tty) < 0)
        return false;
    quiet = entered.tty;
    quiet.c_lflag &= ~(tcflag_t)(ECHO | ECHONL);
    return tcsetattr(STDIN_FILENO, TCSADRAIN, &quiet) == 0;
}

void screen_enter(struct screen *s)
{
    ssize_t n;

    s->lines = 0; /* somebody else has written since */
    if (s->is_live)
        atomic_store(&entered.lines, 0);
    if (!s->is_live || atomic_load(&entered.is_entered))
        return;
    entered.fd = s->fd;
    entered.has_tty = screen_quiet_keys();
    atomic_store(&entered.is_entered, true);
    n = write(s->fd, HIDE, sizeof(HIDE) - 1);
    (void)n; /* the next frame finds out */
}

void screen_size(int fd, size_t *cols, size_t *rows)
{
    struct winsize size = {0};
    int r = ioctl(fd, TIOCGWINSZ, &size);

    *cols = r == 0 && size.ws_col ? size.ws_col : SCREEN_COLS;
    *rows = r == 0 && size.ws_row ? size.ws_row : SCREEN_ROWS;
}

void screen_init(struct screen *s, int fd, bool is_utf8, bool is_plain)
{
    const char *term = getenv("TERM"), *no_color = getenv("NO_COLOR");

    *s = (struct screen){.fd = fd, .is_utf8 = is_utf8};
    s->is_live =
        !is_plain && isatty(fd) && term && *term && strcmp(term, "dumb") != 0;
    s->has_color = s->is_live && !(no_color && *no_color);
    screen_size(fd, &s->cols, &s->rows);
}

/* --- one line --- */

static const char *screen_mark(const struct screen *s, enum task_state state)
{
    if (state == TASK_RUNNING)
        return s->is_utf8 ? spin_utf8[s->frames % COUNT(spin_utf8)]
                          : spin_ascii[s->frames % COUNT(spin_ascii)];
    return s->is_utf8 ? marks[state].utf8 : marks[state].ascii;
}

/* A text in a colour, or not; how many columns it took. */
static size_t screen_paint(const struct screen *s, const char *color,
                           const char *text, size_t cols, struct buf *out)
{
    size_t used;

    if (s->has_color)
        buf_append_str(out, color);
    used = screen_text(s, text, strlen(text), cols, out);
    if (s->has_color)
        buf_append_str(out, "\033[0m");
    return used;
}

static size_t screen_blanks(struct buf *out, size_t count)
{
    for (size_t i = 0; i < count; i++)
        buf_append_u8(out, ' ');
    return count;
}

/* Detail and what stands beside it, in room columns. The aside, being short
 * and new each second, is the last to go. */
static void screen_detail(const struct screen *s, const struct line *line,
                          int64_t now_ms, size_t room, struct buf *out)
{
    const struct task *task = line->task;
    const char *detail = line->is_bare ? "" : task->detail;
    size_t used = 0, beside;
    struct buf aside;

    buf_init(&aside, TASK_DETAIL_MAX);
    screen_aside(task, now_ms, &aside);
    beside = aside.len ? aside.len + (*detail ? 2 : 0) : 0;
    if (beside > room)
        beside = 0;
    if (*detail)
        used = screen_paint(s, "\033[2m", detail, room - beside, out);
    if (beside) {
        if (used)
            used += screen_blanks(out, 2);
        screen_paint(s, "\033[36m", buf_cstr(&aside), room - used, out);
    }
    buf_fini(&aside);
}

/* Title, blanks up to the details' column, detail. */
static void screen_words(const struct screen *s, const struct line *line,
                         int64_t now_ms, size_t room, struct buf *out)
{
    const struct task *task = line->task;
    const char *color = task->state == TASK_PENDING ? "\033[2m" : "";
    size_t used = screen_paint(s, color, task->title, room, out);
    size_t column = s->title_cols + 2 - SCREEN_INDENT * line->depth;

    if (column <= used || column >= room)
        return;
    if ((!task->detail[0] || line->is_bare) && task->tries < 2 &&
        task_ms(task, now_ms) < SCREEN_TIMER_MS)
        return;
    used += screen_blanks(out, column - used);
    screen_detail(s, line, now_ms, room - used, out);
}

static void screen_task(const struct screen *s, const struct line *line,
                        int64_t now_ms, size_t room, struct buf *out)
{
    enum task_state state = line->task->state;
    size_t used = screen_paint(s, marks[state].color, screen_mark(s, state),
                               room ? 1 : 0, out);

    if (room <= SCREEN_INDENT)
        return;
    used += screen_blanks(out, SCREEN_INDENT - 1);
    screen_words(s, line, now_ms, room - used, out);
}

static void screen_more(const struct screen *s, const struct line *line,
                        size_t room, struct buf *out)
{
    struct buf text;

    buf_init(&text, 64);
    buf_printf(&text, "%s %zu more", s->is_utf8 ? "\xe2\x80\xa6" : "...",
               line->more);
    screen_paint(s, "\033[2m", buf_cstr(&text), room, out);
    buf_fini(&text);
}

/* One line. The last column stays free: a terminal that has it filled has
 * begun to think of the next line. */
static void screen_line(const struct screen *s, const struct line *line,
                        int64_t now_ms, struct buf *out)
{
    size_t room = s->cols - 1, used = 0;
    size_t indent = SCREEN_INDENT * line->depth;

    if (indent < room)
        used = screen_blanks(out, indent);
    switch (line->kind) {
    case LINE_TASK:
        screen_task(s, line, now_ms, room - used, out);
        break;
    case LINE_TAIL:
        screen_text(s, line->text, line->len, room - used, out);
        break;
    case LINE_MORE:
        screen_more(s, line, room - used, out);
        break;
    }
    /* what stood here before was perhaps longer */
    buf_append_str(out, "\033[K");
}

/* --- a frame --- */

/* What ends without success says why, and that is read to its end. */
static bool screen_is_cut(const struct screen *s, const struct task *task,
                          const char *detail, int64_t now_ms)
{
    size_t column = s->title_cols + 2 + SCREEN_INDENT;
    size_t width = text_width(detail);
    struct buf aside;

    if (task->state == TASK_DONE || !width)
        return false;
    buf_init(&aside, TASK_DETAIL_MAX);
    screen_aside(task, now_ms, &aside);
    width += aside.len ? aside.len + 2 : 0;
    buf_fini(&aside);
    return column + width > s->cols - 1;
}

/* The whole detail, in rows of its own. */
static void screen_why(const struct screen *s, const struct task *task,
                       const char *detail, size_t depth, struct buf *out)
{
    struct line row = {.kind = LINE_TAIL, .depth = depth, .task = task};
    size_t indent = SCREEN_INDENT * depth, skip;

    row.text = detail;
    while (*row.text) {
        row.len = text_row(row.text, s->cols - 1 - indent, &skip);
        screen_line(s, &row, 0, out);
        buf_append_str(out, "\r\n");
        row.text += skip;
    }
}

/* A task that is over, and all below it: for good. */
static void screen_settle_task(const struct screen *s, const struct task *task,
                               size_t depth, int64_t now_ms, struct buf *out)
{
    struct line line = {.kind = LINE_TASK, .depth = depth, .task = task};
    struct buf detail;

    buf_init(&detail, TEXT_TAME_MAX(TASK_DETAIL_MAX));
    screen_text(s, task->detail, strlen(task->detail), SIZE_MAX, &detail);
    line.is_bare = SCREEN_INDENT * (depth + 1) + SCREEN_WHY_MIN < s->cols &&
                   screen_is_cut(s, task, buf_cstr(&detail), now_ms);
    screen_line(s, &line, now_ms, out);
    buf_append_str(out, "\r\n");
    if (line.is_bare)
        screen_why(s, task, buf_cstr(&detail), depth + 1, out);
    buf_fini(&detail);
    for (size_t i = 0; i < task->count; i++)
        screen_settle_task(s, &task->tasks[i], depth + 1, now_ms, out);
}

/* Rows for a frame that is higher than the last one: only then may what stands
 * above scroll. (A terminal's driver passes LF on by itself, and others may
 * come in between.) */
static void screen_room(size_t lines, struct buf *out)
{
    buf_append_str(out, "\033[J");
    for (size_t i = 1; i < lines; i++)
        buf_append_str(out, DOWN);
    if (lines > 1)
        buf_printf(out, "\033[%zuA\r", lines - 1);
}

/*
 * The cursor is left where the frame begins: a terminal that is resized, and
 * breaks or joins its lines, takes it along, whatever we know of its size by
 * then. For the same reason lines do not wrap and rows do not scroll while
 * they are drawn: a frame that meets a smaller terminal than was asked for is
 * cut at its borders and no more.
 */
static void screen_frame(struct screen *s, const struct lines *lines,
                         size_t have, int64_t now_ms, struct buf *out)
{
    if (lines->count > have)
        screen_room(lines->count, out);
    buf_append_str(out, WRAP_OFF SAVE);
    for (size_t i = 0; i < lines->count; i++) {
        buf_append_str(out, i ? "\r\033[B" : "");
        screen_line(s, &lines->items[i], now_ms, out);
    }
    buf_append_str(out, "\033[J" BACK WRAP_ON);
    s->lines = lines->count;
}

int screen_draw(struct screen *s, const struct tasks *t, int64_t now_ms,
                struct buf *out)
{
    size_t most =
        s->rows - 1 < SCREEN_LINES_MAX ? s->rows - 1 : SCREEN_LINES_MAX;
    size_t have = s->lines;
    struct lines lines;

    s->title_cols = lines_title_cols(t->items, t->count, 0, s->is_utf8);
    buf_append_str(out, "\r");
    for (; s->over < t->count && task_is_over(&t->items[s->over]); have = 0)
        screen_settle_task(s, &t->items[s->over++], 0, now_ms, out);
    lines_init(&lines, s->cols);
    for (size_t i = s->over; i < t->count; i++)
        lines_add(&lines, &t->items[i], 0);
    lines_fit(&lines, most);
    screen_frame(s, &lines, have, now_ms, out);
    s->frame_ms = now_ms;
    s->frames++;
    return buf_append_str(out, "\r");
}

static void screen_show_live(struct screen *s, const struct tasks *t,
                             enum tasks_event event, int64_t now_ms)
{
    struct buf out;
    int r;

    if (event == TASKS_BEGIN)
        screen_enter(s);
    if ((event == TASKS_TICK || event == TASKS_STATE) &&
        now_ms - s->frame_ms < SCREEN_FRAME_MS && s->frames)
        return;
    buf_init(&out, SCREEN_BYTES_MAX);
    screen_size(s->fd, &s->cols, &s->rows);
    if (s->cols > SCREEN_COLS_MAX)
        s->cols = SCREEN_COLS_MAX;
    r = screen_draw(s, t, now_ms, &out);
    atomic_store(&entered.lines, s->lines);
    screen_write(s, &out);
    if (r < 0 && !s->error)
        s->error = EOVERFLOW;
    buf_fini(&out);
    if (event == TASKS_END)
        screen_leave(s);
}

static void screen_show(void *arg, const struct tasks *t,
                        enum tasks_event event, int64_t now_ms)
{
    struct screen *s = arg;

    if (s->is_live)
        screen_show_live(s, t, event, now_ms);
    else
        screen_plain(s, t, now_ms);
}

struct tasks_view screen_view(struct screen *s)
{
    return (struct tasks_view){.show = screen_show, .arg = s};
}
