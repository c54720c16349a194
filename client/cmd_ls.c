/*
 * podterm ls: the caller's sessions. On a terminal a table that fits it; in a
 * pipe a line each, its fields between tabs; or JSON.
 */
#include "base/loop.h"
#include "base/mem.h"
#include "base/own.h"
#include "client/command.h"
#include "client/options.h"
#include "client/reply.h"
#include "client/say.h"
#include "client/sessions.h"
#include "client/tty.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LS_PAGES_MAX 10000
#define LS_STATE 8   /* cells */
#define LS_AGE 4     /* cells */
#define LS_END 14    /* cells a session's end has at least, if it has one */
#define LS_BUNDLE 12 /* and its bundle's name */
#define LS_BUNDLE_MAX 40
#define LS_ID_SHORT 8 /* of an id, where there is no room for all of it */

static struct options opt;
static bool all;

static const struct conf_row rows[] = {
    OPTIONS_SERVER_ROWS(opt),
    {"all", CONF_BOOL, &all, 0, 0, NULL, "", "also sessions that have ended"},
};

struct ls { /* how it is shown */
    bool is_table, is_colored;
    size_t cols;
    size_t id, bundle; /* cells */
    size_t count;
};

/* --- a table --- */

/* Text in so many cells, cut or filled; cells 0: as it is. */
static void ls_cell(const char *text, size_t cells, bool is_last)
{
    const size_t n = say_cells(text);

    if (n <= cells || cells == 0) {
        printf("%s%*s", text, is_last || !cells ? 0 : (int)(cells - n), "");
        return;
    }
    printf("%.*s~%*s", (int)say_cut(text, cells - 1), text,
           is_last ? 0 : (int)(cells - 1 - say_cells_upto(text, cells - 1)),
           "");
}

static void ls_layout(struct ls *l)
{
    const size_t fixed = LS_STATE + LS_AGE + 4 * 2;

    l->id = ID_LEN;
    if (l->cols < l->id + fixed + LS_BUNDLE + LS_END)
        l->id = LS_ID_SHORT;
    l->bundle = LS_BUNDLE;
    if (l->cols > l->id + fixed + LS_BUNDLE + LS_END)
        l->bundle = l->cols - l->id - fixed - LS_END;
    if (l->bundle > LS_BUNDLE_MAX)
        l->bundle = LS_BUNDLE_MAX;
}

static const char *ls_color(const struct ls *l, const char *state)
{
    if (!l->is_colored)
        return "";
    if (strcmp(state, "running") == 0)
        return "\033[32m";
    return strcmp(state, "ended") == 0 ? "\033[2m" : "\033[33m";
}

/* One line of it, never longer than the terminal is wide. */
static void ls_line(const struct ls *l, const struct sessions_row *r)
{
    const size_t used = l->id + LS_STATE + LS_AGE + l->bundle + 4 * 2;
    const char *color = ls_color(l, r->state);
    char id[sizeof(r->id)];

    snprintf(id, sizeof(id), "%.*s", (int)l->id, r->id);
    if (l->cols < used) { /* too narrow for a table */
        ls_cell(id, l->cols < LS_ID_SHORT ? l->cols : LS_ID_SHORT, true);
        putchar('\n');
        return;
    }
    ls_cell(id, l->id, false);
    printf("  %s", color);
    ls_cell(r->state, LS_STATE, false);
    printf("%s  %*s  ", *color ? "\033[0m" : "", LS_AGE, r->age);
    ls_cell(r->bundle, l->bundle, !r->end[0]);
    if (r->end[0] && l->cols > used) {
        printf("  ");
        ls_cell(r->end, l->cols - used, true);
    }
    putchar('\n');
}

static void ls_head(const struct ls *l)
{
    static const struct sessions_row head = {.id = "ID",
                                             .state = "STATE",
                                             .age = "AGE",
                                             .bundle = "BUNDLE",
                                             .end = "END"};
    struct ls plain = *l;

    plain.is_colored = false;
    ls_line(&plain, &head);
}

/* --- each session --- */

static void ls_session(struct ls *l, const struct json *session)
{
    struct sessions_row r;

    l->count++;
    if (opt.json) {
        say_json(stdout, session);
        return;
    }
    sessions_row(session, loop_wall_s(), &r);
    if (!l->is_table) {
        printf("%s\t%s\t%s\t%s\t%s\n", r.id, r.state, r.created, r.bundle,
               r.end);
        return;
    }
    if (l->count == 1)
        ls_head(l);
    ls_line(l, &r);
}

static int ls_pages(const struct remote *remote, struct ls *l, struct err *e)
{
    own_mem char *cursor = NULL;

    for (int i = 0; i < LS_PAGES_MAX; i++) {
        own_json struct json *page = remote_list(remote, all, cursor, e);
        const struct json *list = json_get(page, "sessions");
        const char *next = json_get_str(page, "next_cursor");

        if (!page)
            return -1;
        for (size_t k = 0; k < json_count(list); k++)
            ls_session(l, json_at(list, k));
        free(cursor);
        cursor = next ? mem_str(next) : NULL;
        if (!cursor)
            break;
    }
    if (l->count == 0 && !opt.json)
        say(all ? "no sessions"
                : "no sessions that go on (--all shows those that have ended)");
    return 0;
}

static int ls_run(const struct command *c, int argc, char **argv)
{
    own_mem char **operands = NULL;
    struct err e = {0};
    struct remote remote;
    struct ls l = {.is_table = isatty(STDOUT_FILENO)};
    size_t count = 0;
    uint16_t cols, lines;
    int got = options_load(c, argc, argv, &operands, &count, NULL, &e);

    if (got == 1)
        return 0;
    if (got == 0 && count > 0)
        got = err_set(&e, ERR_INPUT, "ls takes no operands (see --help)");
    if (got < 0 || options_remote(&opt, &remote, &e) < 0)
        return say_failed(NULL, &e);
    tty_size(STDOUT_FILENO, &cols, &lines);
    l.cols = cols;
    l.is_colored = say_colors(STDOUT_FILENO);
    ls_layout(&l);
    got = ls_pages(&remote, &l, &e);
    options_remote_fini(&remote);
    return got < 0 ? say_failed("ls", &e) : 0;
}

const struct command command_ls = {
    .name = "ls",
    .summary = "list your sessions",
    .usages = (const char *const[]){"[options]", NULL},
    .about =
        (const char *const[]){
            "On a terminal it is a table that fits its width: id, state, age, "
            "the bundle's name, and how it ended. Where there is no room for a "
            "whole id its first characters stand there, which every command "
            "takes. In a pipe each session is a line of five fields with a tab "
            "between them and no heading: id, state, time of creation, "
            "bundle, end. With --json it is a JSON object a line, with "
            "all that is known.",
            "What a server or a bundle chose is shown with its control "
            "characters escaped.",
            NULL},
    .rows = rows,
    .row_count = sizeof(rows) / sizeof(*rows),
    .run = ls_run,
};
