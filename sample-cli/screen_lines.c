#include "sample-cli/screen_lines.h"

#include "sample-cli/screen.h"
#include "sample-cli/text.h"

#include <string.h>

#define LINES_INDENT 2

void lines_init(struct lines *l, size_t cols)
{
    l->count = l->left_out = 0;
    l->width = cols;
}

/* The higher, the sooner it goes. */
static int line_rank(const struct line *line)
{
    if (line->kind == LINE_TAIL)
        return 1;
    switch (line->task->state) {
    case TASK_RUNNING:
    case TASK_RETRYING:
        return 0;
    case TASK_PENDING:
        return 3;
    default:
        return 2;
    }
}

static void lines_drop(struct lines *l, size_t at)
{
    memmove(&l->items[at], &l->items[at + 1],
            (l->count - at - 1) * sizeof(*l->items));
    l->count--;
}

/* Of those with the highest rank: from the end where they are still to come
 * or run, from the start else. Returns its kind. */
static enum line_kind lines_drop_one(struct lines *l)
{
    enum line_kind kind;
    size_t worst = 0;

    for (size_t i = 1; i < l->count; i++) {
        int rank = line_rank(&l->items[i]);
        int most = line_rank(&l->items[worst]);

        if (rank > most || (rank == most && (rank == 0 || rank == 3)))
            worst = i;
    }
    kind = l->items[worst].kind;
    lines_drop(l, worst);
    return kind;
}

/* Where there is no room, the first to go makes it: that need not be the new
 * one. */
static void lines_put(struct lines *l, struct line line)
{
    l->items[l->count++] = line;
    if (l->count > LINES_MAX)
        l->left_out += lines_drop_one(l) == LINE_TASK;
}

/* The last rows of what a task says. */
static void lines_tail(struct lines *l, const struct task *task, size_t depth)
{
    size_t indent = LINES_INDENT * depth, rows = 0, skip, len;
    const char *text = task->tail;
    struct line row[SCREEN_TAIL_ROWS];
    size_t cols = l->width > indent + 1 ? l->width - indent - 1 : 0;

    if (!cols)
        return;
    while (*text) {
        len = text_row(text, cols, &skip);
        row[rows++ % SCREEN_TAIL_ROWS] = (struct line){.kind = LINE_TAIL,
                                                       .depth = depth,
                                                       .task = task,
                                                       .text = text,
                                                       .len = len};
        text += skip;
    }
    for (size_t i = rows > SCREEN_TAIL_ROWS ? rows - SCREEN_TAIL_ROWS : 0;
         i < rows; i++)
        lines_put(l, row[i % SCREEN_TAIL_ROWS]);
}

void lines_add(struct lines *l, const struct task *task, size_t depth)
{
    lines_put(l,
              (struct line){.kind = LINE_TASK, .depth = depth, .task = task});
    for (size_t i = 0; i < task->count; i++)
        lines_add(l, &task->tasks[i], depth + 1);
    if (!task_is_over(task))
        lines_tail(l, task, depth + 1);
}

void lines_fit(struct lines *l, size_t most)
{
    /* one line alone had better say what is done */
    size_t keep = most > 1 ? most - 1 : most, more = l->left_out;

    if (l->count <= most && !more)
        return;
    while (l->count > keep)
        more += lines_drop_one(l) == LINE_TASK;
    if (keep < most && more && l->count < LINES_MAX)
        l->items[l->count++] = (struct line){.kind = LINE_MORE, .more = more};
}

/* As it is shown. */
static size_t lines_width(const char *text, bool is_utf8)
{
    size_t len = strlen(text), width;
    struct buf b;

    buf_init(&b, TEXT_TAME_MAX(len));
    (void)text_tame(&b, text, len, is_utf8);
    width = text_width(buf_cstr(&b));
    buf_fini(&b);
    return width;
}

size_t lines_title_cols(const struct task *items, size_t count, size_t depth,
                        bool is_utf8)
{
    size_t most = 0;

    for (size_t i = 0; i < count; i++) {
        size_t cols =
            lines_width(items[i].title, is_utf8) + LINES_INDENT * depth;
        size_t below = lines_title_cols(items[i].tasks, items[i].count,
                                        depth + 1, is_utf8);

        most = cols > most ? cols : most;
        most = below > most ? below : most;
    }
    return most;
}
