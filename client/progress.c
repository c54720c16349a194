#include "client/progress.h"

#include "base/mem.h"
#include "base/own.h"
#include "client/aside.h"
#include "client/escape.h"
#include "client/say.h"
#include "client/tty.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PROGRESS_STAGES 32 /* told stages that are remembered */
#define PROGRESS_NAME_WIDTH 10

struct progress {
    int fd;
    enum progress_kind kind;
    bool color;
    bool is_begun, is_raw;
    bool is_after; /* the program may have left the cursor in a line */
    /* the line on the terminal that is still rewritten */
    char open[REPLY_WORD_MAX];
    /* stages that were told to their end; a re-attachment repeats them */
    char told[PROGRESS_STAGES][REPLY_WORD_MAX];
    int told_count;
    char plain[REPLY_WORD_MAX]; /* told as going on, and when */
    int64_t plain_ms;
    struct aside aside; /* while it is raw */
    bool is_away;
};

struct progress *progress_new(int fd, enum progress_kind kind, bool color)
{
    struct progress *p = mem_zero(1, sizeof(*p));

    p->fd = fd;
    p->kind = kind;
    p->color = color;
    return p;
}

void progress_free(struct progress *p)
{
    free(p);
}

struct progress *progress_for(int fd, bool is_json, bool is_quiet)
{
    const char *term = getenv("TERM");
    bool is_dumb = !term || !term[0] || strcmp(term, "dumb") == 0;

    if (is_json)
        return progress_new(fd, PROGRESS_JSON, false);
    if (is_quiet)
        return progress_new(fd, PROGRESS_QUIET, false);
    if (!isatty(fd) || is_dumb)
        return progress_new(fd, PROGRESS_PLAIN, false);
    return progress_new(fd, PROGRESS_TERMINAL, say_colors(fd));
}

/* --- writing --- */

static void progress_write(struct progress *p, const char *text)
{
    aside_write(p->fd, text);
}

/* A line of its own; a raw terminal wants a carriage return too. */
static void progress_line(struct progress *p, const char *text)
{
    char shown[SAY_LINE_MAX];
    own_mem char *line = NULL;

    if (p->open[0] || p->is_after)
        progress_write(p, "\n");
    p->open[0] = 0;
    p->is_after = false;
    say_text(text, shown, sizeof(shown));
    line = mem_printf("%spodterm: %s%s", p->is_raw ? "\r\n" : "", shown,
                      p->is_raw ? "\r\n" : "\n");
    progress_write(p, line);
}

static void progress_json(struct progress *p, struct json *j)
{
    char *text = NULL;
    size_t len = 0;
    FILE *f = open_memstream(&text, &len);

    if (!f)
        abort();
    say_json(f, j);
    fclose(f);
    progress_write(p, text);
    free(text);
    json_free(j);
}

static struct json *progress_event(const char *name)
{
    struct json *j = json_object();

    json_set_str(j, "event", name);
    return j;
}

/* --- beside the program --- */

bool progress_clear(struct progress *p)
{
    return p->is_raw && aside_clear(&p->aside);
}

int64_t progress_stands_ms(const struct progress *p)
{
    return aside_stands_ms(&p->aside);
}

/* Beside the program while it has the terminal, else as a line. shorter: what
 * to say where there is no room for it, NULL behind the last. true: it is in
 * the title. */
static bool progress_say(struct progress *p, const char *text,
                         const char *const *shorter, int64_t stands_ms)
{
    if (p->is_away || (p->is_raw && p->kind == PROGRESS_QUIET && isatty(p->fd)))
        return false; /* nothing of ours among the program's */
    if (p->is_raw && p->kind == PROGRESS_TERMINAL)
        return aside_say(&p->aside, text, shorter, stands_ms);
    progress_line(p, text);
    return false;
}

/* --- stages --- */

static bool progress_was_told(const struct progress *p, const char *stage)
{
    for (int i = 0; i < p->told_count; i++)
        if (strcmp(p->told[i], stage) == 0)
            return true;
    return false;
}

static void progress_remember(struct progress *p, const char *stage)
{
    if (p->told_count < PROGRESS_STAGES)
        snprintf(p->told[p->told_count++], REPLY_WORD_MAX, "%s", stage);
}

/* Bytes for people, in units of a thousand. */
static void progress_bytes(int64_t n, char out[24])
{
    static const char *const units[] = {"B", "kB", "MB", "GB", "TB"};
    double v = (double)n;
    int u = 0;

    while (v >= 999.95 && u < 4) {
        v /= 1000;
        u++;
    }
    snprintf(out, 24, u ? "%.1f %s" : "%.0f %s", v, units[u]);
}

/* What is to be said of the stage behind its name. */
static void progress_text(const struct reply_stage *st, char *out, size_t size)
{
    char done[24] = "", total[24] = "";

    if (st->done >= 0)
        progress_bytes(st->done, done);
    if (st->total > 0)
        progress_bytes(st->total, total);
    if (strcmp(st->state, "done") == 0)
        snprintf(out, size, "%6.2f s%s%s%s%s", (double)st->ms / 1000,
                 *done ? "  " : "", done, st->detail[0] ? "  " : "",
                 st->detail);
    else if (strcmp(st->state, "running") != 0)
        snprintf(out, size, "%s%s%s", st->state, st->detail[0] ? ": " : "",
                 st->detail);
    else if (*total && st->done <= st->total)
        snprintf(out, size, "%3d %%  %s of %s",
                 (int)((double)st->done * 100 / (double)st->total), done,
                 total);
    else
        snprintf(out, size, "%s%s%s", *done ? done : "...",
                 st->detail[0] ? "  " : "", st->detail);
}

static const char *progress_color(const struct progress *p, const char *state)
{
    if (!p->color)
        return "";
    if (strcmp(state, "done") == 0)
        return "\033[32m";
    if (strcmp(state, "failed") == 0)
        return "\033[31m";
    return "\033[33m";
}

static void progress_show(struct progress *p, const struct reply_stage *st,
                          bool is_final)
{
    char text[REPLY_TEXT_MAX + 128], shown[SAY_LINE_MAX], name[128];
    own_mem char *line = NULL;
    uint16_t cols, rows;
    int room;

    progress_text(st, text, sizeof(text));
    say_text(text, shown, sizeof(shown));
    say_text(st->stage, name, sizeof(name));
    tty_size(p->fd, &cols, &rows);
    /* a line that wraps could not be rewritten; say_text leaves no bytes
     * that move the cursor */
    room = cols - PROGRESS_NAME_WIDTH - 4;
    if (!is_final && room > 0 && (int)strlen(shown) > room)
        shown[room] = 0;
    if (p->open[0] && strcmp(p->open, st->stage) != 0)
        progress_write(p, "\n");
    line = mem_printf("\r  %s%-*s%s %s\033[K%s", progress_color(p, st->state),
                      PROGRESS_NAME_WIDTH, name, p->color ? "\033[0m" : "",
                      shown, is_final ? "\n" : "");
    progress_write(p, line);
    snprintf(p->open, sizeof(p->open), "%s", is_final ? "" : st->stage);
}

static void progress_plain(struct progress *p, const struct reply_stage *st,
                           bool is_final, int64_t now_ms)
{
    char text[REPLY_TEXT_MAX + 128], line[REPLY_TEXT_MAX + 192];
    size_t blank;

    if (!is_final && strcmp(p->plain, st->stage) == 0 &&
        now_ms - p->plain_ms < PROGRESS_PLAIN_MS)
        return;
    snprintf(p->plain, sizeof(p->plain), "%s", is_final ? "" : st->stage);
    p->plain_ms = now_ms;
    progress_text(st, text, sizeof(text));
    blank = strspn(text, " ");
    snprintf(line, sizeof(line), "%s: %s", st->stage, text + blank);
    progress_line(p, line);
}

static void progress_stage_json(struct progress *p,
                                const struct reply_stage *st)
{
    struct json *j = progress_event("stage");

    json_set_str(j, "stage", st->stage);
    json_set_str(j, "state", st->state);
    json_set_int(j, "ms", st->ms);
    if (st->done >= 0)
        json_set_int(j, "done", st->done);
    if (st->total >= 0)
        json_set_int(j, "total", st->total);
    if (st->detail[0])
        json_set_str(j, "detail", st->detail);
    progress_json(p, j);
}

void progress_stage(struct progress *p, const struct reply_stage *st,
                    int64_t now_ms)
{
    bool is_final =
        strcmp(st->state, "done") == 0 || strcmp(st->state, "failed") == 0;

    if (strcmp(st->stage, "notice") == 0) {
        progress_notice(p, st->detail);
        return;
    }
    if (!st->stage[0] || p->is_begun || progress_was_told(p, st->stage))
        return;
    if (is_final)
        progress_remember(p, st->stage);
    if (p->kind == PROGRESS_JSON)
        progress_stage_json(p, st);
    else if (p->kind == PROGRESS_TERMINAL)
        progress_show(p, st, is_final);
    else if (p->kind == PROGRESS_PLAIN)
        progress_plain(p, st, is_final, now_ms);
}

/* --- the rest --- */

void progress_session(struct progress *p, const char *sid)
{
    own_mem char *text = NULL;

    if (p->kind == PROGRESS_JSON) {
        struct json *j = progress_event("session");

        json_set_str(j, "id", sid);
        progress_json(p, j);
    } else if (p->kind != PROGRESS_QUIET) {
        text = mem_printf("session %s", sid);
        progress_line(p, text);
    }
}

void progress_ready(struct progress *p, const struct reply_ready *r)
{
    own_mem char *text = NULL;

    if (p->kind == PROGRESS_JSON) {
        struct json *j = progress_event("ready");

        json_set_bool(j, "isolated", r->is_isolated);
        json_set_int(j, "output_from", (int64_t)r->output_from);
        json_set_int(j, "skipped", (int64_t)r->output_from);
        progress_json(p, j);
        return;
    }
    if (!r->is_isolated)
        progress_line(p, "the program is NOT isolated from the machine it "
                         "runs on");
    if (r->output_from > 0) {
        text = mem_printf("output before byte %" PRIu64 " is no longer kept",
                          r->output_from);
        progress_line(p, text);
    }
}

static void progress_end_line(struct progress *p)
{
    if (p->open[0])
        progress_write(p, "\n");
    p->open[0] = 0;
}

void progress_interrupted(struct progress *p)
{
    if (p->kind != PROGRESS_TERMINAL || p->is_begun)
        return;
    progress_write(p, "\n");
    p->open[0] = 0;
}

void progress_way_out(struct progress *p, int escape_key)
{
    own_mem char *text = NULL;
    char name[16];

    if (p->kind != PROGRESS_TERMINAL || escape_key == ESCAPE_NONE)
        return;
    escape_name(escape_key, name);
    text = mem_printf("Enter, then %s and a dot detaches: the program goes on "
                      "(%s? tells more)",
                      name, name);
    progress_line(p, text);
}

void progress_viewer(struct progress *p)
{
    if (p->kind == PROGRESS_TERMINAL || p->kind == PROGRESS_PLAIN)
        progress_line(p, "you watch only: nothing you type reaches the "
                         "program; Ctrl-C leaves");
}

void progress_begin(struct progress *p, bool raw, const struct modes *screen)
{
    progress_end_line(p);
    p->is_begun = true;
    p->is_raw = raw;
    p->aside = (struct aside){.fd = p->fd, .screen = screen};
}

void progress_finish(struct progress *p)
{
    if (p->is_raw)
        progress_clear(p);
    progress_end_line(p);
    p->is_after |= p->is_raw;
    p->is_raw = false;
}

void progress_lost(struct progress *p, const char *why, bool can_leave)
{
    static const char *const shorter[] = {"connection lost; attaching again...",
                                          "connection lost", "lost", NULL};
    static const char *const leaving[] = {
        "connection lost; attaching again... (Ctrl-C leaves)",
        "connection lost (Ctrl-C leaves)", "lost (Ctrl-C leaves)",
        "Ctrl-C leaves", NULL};
    own_mem char *text = NULL;

    if (p->kind == PROGRESS_JSON) {
        struct json *j = progress_event("lost");

        json_set_str(j, "detail", why);
        progress_json(p, j);
        return;
    }
    text = p->is_begun
               ? mem_printf("connection lost; the program goes on; attaching "
                            "again...%s",
                            can_leave ? " (Ctrl-C leaves)" : "")
               : mem_printf("no connection (%s); trying again...", why);
    progress_say(p, text, can_leave ? leaving : shorter, -1);
}

void progress_slow(struct progress *p, int64_t ms, int escape_key)
{
    static const char *const shorter[] = {"no answer", NULL};
    own_mem char *text = NULL;
    char name[16] = "";

    if (p->kind == PROGRESS_JSON) {
        struct json *j = progress_event("slow");

        json_set_int(j, "ms", ms);
        progress_json(p, j);
        return;
    }
    if (escape_key != ESCAPE_NONE)
        escape_name(escape_key, name);
    text = mem_printf("no answer for %" PRId64 " s; the program goes on%s%s%s",
                      ms / 1000, *name ? " (Enter, then " : "", name,
                      *name ? ". detaches)" : "");
    progress_say(p, text, shorter, -1);
}

void progress_back(struct progress *p, uint64_t skipped)
{
    const char *shorter[] = {"attached again", "back", NULL};
    own_mem char *text = NULL, *less = NULL;

    if (p->kind == PROGRESS_JSON) {
        struct json *j = progress_event("attached");

        json_set_int(j, "skipped", (int64_t)skipped);
        progress_json(p, j);
        return;
    }
    text = skipped ? mem_printf("attached again: %" PRIu64
                                " bytes of output were skipped",
                                skipped)
                   : mem_str("attached again: nothing was lost");
    if (skipped) {
        less = mem_printf("%" PRIu64 " bytes were skipped", skipped);
        shorter[0] = less;
        shorter[1] = "bytes were skipped";
    }
    progress_say(p, text, shorter, PROGRESS_BACK_MS);
}

void progress_notice(struct progress *p, const char *text)
{
    static const char *const none[] = {NULL};

    if (p->kind == PROGRESS_JSON) {
        struct json *j = progress_event("notice");

        json_set_str(j, "detail", text);
        progress_json(p, j);
    } else if (progress_say(p, text, none, PROGRESS_NOTICE_MS)) {
        progress_write(p, "\a"); /* a title alone is easily missed */
    }
}

void progress_asked(struct progress *p, const char *text, const char *shorter)
{
    const char *const less[] = {shorter, NULL};

    if (p->kind == PROGRESS_JSON)
        progress_notice(p, text);
    else if (p->kind == PROGRESS_TERMINAL && p->is_raw &&
             aside_has_corner(&p->aside))
        aside_say(&p->aside, text, less, PROGRESS_NOTICE_MS);
    else
        progress_line(p, text);
}

void progress_resumed(struct progress *p)
{
    p->is_away = false;
}

void progress_suspended(struct progress *p)
{
    p->is_away = true;
    if (p->kind != PROGRESS_JSON)
        aside_write(p->fd, "\npodterm: suspended; the program goes on. Come "
                           "back with: fg\n");
}

void progress_end(struct progress *p, const struct reply_end *end, int status,
                  const char *sentence)
{
    if (p->kind == PROGRESS_JSON) {
        struct json *j = progress_event("exit");

        json_set_str(j, "reason", end->word);
        if (end->code >= 0)
            json_set_int(j, "code", end->code);
        if (end->signal)
            json_set_int(j, "signal", end->signal);
        if (end->detail[0])
            json_set_str(j, "detail", end->detail);
        json_set_int(j, "status", status);
        progress_json(p, j);
    } else if (sentence[0]) {
        progress_line(p, sentence);
    }
}

void progress_detached(struct progress *p, const char *sid, const char *text)
{
    if (p->kind == PROGRESS_JSON) {
        struct json *j = progress_event("detached");

        json_set_str(j, "id", sid);
        json_set_str(j, "message", text);
        progress_json(p, j);
    } else {
        progress_line(p, text);
    }
}

void progress_failed(struct progress *p, const char *text)
{
    if (p->kind == PROGRESS_JSON) {
        struct json *j = progress_event("error");

        json_set_str(j, "message", text);
        progress_json(p, j);
    } else {
        progress_line(p, text);
    }
}
