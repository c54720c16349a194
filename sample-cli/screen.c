#include "sample-cli/screen.h"

#include "sample-cli/text.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define SCREEN_INDENT 2 /* columns of the mark and the blank behind it */

struct mark {
    const char *utf8, *ascii, *color, *word;
};

static const struct mark marks[] = {
    [TASK_PENDING] = {"\xc2\xb7", ".", "\033[2m", "wait"},
    [TASK_RUNNING] = {"", "", "\033[36m", "run"},
    [TASK_DONE] = {"\xe2\x9c\x94", "+", "\033[32m", "ok"},
    [TASK_FAILED] = {"\xe2\x9c\x96", "x", "\033[31m", "FAIL"},
    [TASK_SKIPPED] = {"\xe2\x86\x93", "-", "\033[33m", "skip"},
};

static const char *const spin_utf8[] = {
    "\xe2\xa0\x8b", "\xe2\xa0\x99", "\xe2\xa0\xb9", "\xe2\xa0\xb8",
    "\xe2\xa0\xbc", "\xe2\xa0\xb4", "\xe2\xa0\xa6", "\xe2\xa0\xa7",
    "\xe2\xa0\x87", "\xe2\xa0\x8f"};
static const char *const spin_ascii[] = {"-", "\\", "|", "/"};
#define COUNT(a) (sizeof(a) / sizeof(*(a)))

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

static bool screen_is_over(const struct task *task)
{
    return task->state != TASK_PENDING && task->state != TASK_RUNNING;
}

static const char *screen_mark(const struct screen *s, enum task_state state)
{
    if (state == TASK_RUNNING)
        return s->is_utf8 ? spin_utf8[s->frames % COUNT(spin_utf8)]
                          : spin_ascii[s->frames % COUNT(spin_ascii)];
    return s->is_utf8 ? marks[state].utf8 : marks[state].ascii;
}

/* A text in a colour, or not. */
static int screen_paint(const struct screen *s, const char *color,
                        const char *text, size_t cols, struct buf *out)
{
    if (s->has_color && buf_append_str(out, color) < 0)
        return -1;
    if (text_clip(out, text, cols, s->is_utf8) < 0)
        return -1;
    return s->has_color ? buf_append_str(out, "\033[0m") : 0;
}

static int screen_blanks(struct buf *out, size_t count)
{
    while (count--)
        if (buf_append_u8(out, ' ') < 0)
            return -1;
    return 0;
}

/* Title, blanks up to the details' column, detail. Returns the columns. */
static size_t screen_words(const struct screen *s, const struct task *task,
                           size_t room, struct buf *out)
{
    size_t title = text_width(task->title), used = title, gap;
    bool is_dim = task->state == TASK_PENDING;

    if (title >= room || !task->detail[0]) {
        screen_paint(s, is_dim ? "\033[2m" : "", task->title, room, out);
        return title < room ? title : room;
    }
    screen_paint(s, is_dim ? "\033[2m" : "", task->title, room, out);
    gap = s->title_cols - title + 2;
    if (title + gap >= room)
        return used;
    screen_blanks(out, gap);
    used += gap;
    screen_paint(s, "\033[2m", task->detail, room - used, out);
    used += text_width(task->detail);
    return used < room ? used : room;
}

/*
 * One task's line. The last column stays free: a terminal that has it filled
 * has begun to think of the next line. Returns the columns.
 */
static size_t screen_line(const struct screen *s, const struct task *task,
                          struct buf *out)
{
    size_t room = s->cols - 1, used = 0;

    if (room) {
        screen_paint(s, marks[task->state].color, screen_mark(s, task->state),
                     1, out);
        used = 1;
    }
    if (room > SCREEN_INDENT) {
        screen_blanks(out, SCREEN_INDENT - 1);
        used = SCREEN_INDENT + screen_words(s, task, room - SCREEN_INDENT, out);
    }
    /* what stood here before was perhaps longer */
    buf_append_str(out, "\033[K\r\n");
    return used;
}

/* Up to where the last frame began: its lines take more rows where the
 * terminal has become narrower and has broken them. */
static int screen_back(const struct screen *s, struct buf *out)
{
    size_t up = 0;

    for (size_t i = 0; i < s->lines; i++)
        up += s->widths[i] ? (s->widths[i] + s->cols - 1) / s->cols : 1;
    if (up > s->rows - 1)
        up = s->rows - 1;
    return up ? buf_printf(out, "\033[%zuA\r", up) : 0;
}

int screen_draw(struct screen *s, const struct tasks *t, int64_t now_ms,
                struct buf *out)
{
    size_t most =
        s->rows - 1 < SCREEN_LINES_MAX ? s->rows - 1 : SCREEN_LINES_MAX;

    for (size_t i = 0; i < t->count; i++)
        if (text_width(t->items[i].title) > s->title_cols)
            s->title_cols = text_width(t->items[i].title);
    screen_back(s, out);
    while (s->over < t->count && screen_is_over(&t->items[s->over]))
        screen_line(s, &t->items[s->over++], out);
    s->lines = 0;
    for (size_t i = s->over; i < t->count && s->lines < most; i++)
        s->widths[s->lines++] = screen_line(s, &t->items[i], out);
    s->frame_ms = now_ms;
    s->frames++;
    return buf_append_str(out, "\033[J");
}

/* The whole of it, or remember why not: a view has nobody to tell. */
static void screen_write(struct screen *s, const struct buf *b)
{
    size_t done = 0;

    while (done < b->len && !s->error) {
        ssize_t n = write(s->fd, b->data + done, b->len - done);

        if (n >= 0) {
            done += (size_t)n;
        } else if (errno == EAGAIN) {
            struct pollfd p = {s->fd, POLLOUT, 0};

            poll(&p, 1, -1);
        } else if (errno != EINTR) {
            s->error = errno;
        }
    }
}

static void screen_show_live(struct screen *s, const struct tasks *t,
                             enum tasks_event event, int64_t now_ms)
{
    struct buf out;

    if (event == TASKS_TICK && now_ms - s->frame_ms < SCREEN_FRAME_MS)
        return;
    buf_init(&out, SCREEN_BYTES_MAX);
    screen_size(s->fd, &s->cols, &s->rows);
    screen_draw(s, t, now_ms, &out);
    screen_write(s, &out);
    buf_fini(&out);
}

static void screen_show_plain(struct screen *s, const struct tasks *t)
{
    struct buf out;

    buf_init(&out, SCREEN_BYTES_MAX);
    for (; s->over < t->count && screen_is_over(&t->items[s->over]);
         s->over++) {
        const struct task *task = &t->items[s->over];

        buf_printf(&out, "%-5s %s%s%s\n", marks[task->state].word, task->title,
                   task->detail[0] ? ": " : "", task->detail);
    }
    screen_write(s, &out);
    buf_fini(&out);
}

static void screen_show(void *arg, const struct tasks *t,
                        enum tasks_event event, int64_t now_ms)
{
    struct screen *s = arg;

    if (s->is_live)
        screen_show_live(s, t, event, now_ms);
    else
        screen_show_plain(s, t);
}

struct tasks_view screen_view(struct screen *s)
{
    return (struct tasks_view){.show = screen_show, .arg = s};
}
