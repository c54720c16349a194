/* podterm ls: the caller's sessions as a table, or a JSON object a line. */
#include "base/loop.h"
#include "base/mem.h"
#include "base/own.h"
#include "client/command.h"
#include "client/options.h"
#include "client/reply.h"
#include "client/say.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define LS_PAGES_MAX 10000
#define LS_BUNDLE_MAX 40 /* columns of a bundle's name */

static struct options opt;
static bool all;

static const struct conf_row rows[] = {
    OPTIONS_SERVER_ROWS(opt),
    {"all", CONF_BOOL, &all, 0, 0, NULL, "", "also sessions that have ended"},
};

/* "3s", "5m", "2h", "4d" since an RFC 3339 time; "-" when it is none. */
static void ls_age(const char *when, int64_t now_s, char out[24])
{
    struct tm tm = {0};
    int64_t age;

    snprintf(out, 24, "-");
    if (!when || !strptime(when, "%Y-%m-%dT%H:%M:%S", &tm))
        return;
    age = now_s - (int64_t)timegm(&tm);
    age = age > 0 ? age : 0;
    if (age < 120)
        snprintf(out, 24, "%" PRId64 "s", age);
    else if (age < 7200)
        snprintf(out, 24, "%" PRId64 "m", age / 60);
    else if (age < 172800)
        snprintf(out, 24, "%" PRId64 "h", age / 3600);
    else
        snprintf(out, 24, "%" PRId64 "d", age / 86400);
}

/* The last part of the bundle's path, escaped and cut. */
static void ls_bundle(const struct json *session, char out[LS_BUNDLE_MAX + 1])
{
    const char *url = json_get_str(json_get(session, "bundle"), "url");
    const char *slash = url ? strrchr(url, '/') : NULL;

    if (slash && slash[1])
        url = slash + 1;
    say_text(url ? url : "-", out, LS_BUNDLE_MAX + 1);
}

static void ls_end(const struct json *session, char *out, size_t size)
{
    struct reply_end end;
    bool ending = false;

    json_get_bool(session, "ending", &ending);
    if (!reply_record(session, &end))
        snprintf(out, size, "%s", ending ? "ending" : "");
    else if (end.reason == REASON_EXITED && end.code >= 0)
        snprintf(out, size, "exited %d", end.code);
    else if (end.reason == REASON_SIGNALLED && end.signal)
        snprintf(out, size, "signal %d", end.signal);
    else
        snprintf(out, size, "%s", end.word);
}

static void ls_row(const struct json *session, int64_t now_s)
{
    const char *id = json_get_str(session, "id");
    const char *state = json_get_str(session, "state");
    char age[24], bundle[LS_BUNDLE_MAX + 1], end[64], shown[3][128];

    ls_age(json_get_str(session, "created_at"), now_s, age);
    ls_bundle(session, bundle);
    ls_end(session, end, sizeof(end));
    printf("%-26s  %-8s  %5s  %-*s  %s\n",
           say_text(id ? id : "-", shown[0], sizeof(shown[0])),
           say_text(state ? state : "-", shown[1], sizeof(shown[1])), age, 24,
           bundle, say_text(end, shown[2], sizeof(shown[2])));
}

static int ls_pages(const struct remote *remote, struct err *e)
{
    own_mem char *cursor = NULL;
    bool has_head = false;

    for (int i = 0; i < LS_PAGES_MAX; i++) {
        own_json struct json *page = remote_list(remote, all, cursor, e);
        const struct json *list = json_get(page, "sessions");
        const char *next = json_get_str(page, "next_cursor");

        if (!page)
            return -1;
        for (size_t k = 0; k < json_count(list); k++) {
            if (opt.json) {
                say_json(stdout, json_at(list, k));
                continue;
            }
            if (!has_head)
                printf("%-26s  %-8s  %5s  %-*s  %s\n", "ID", "STATE", "AGE", 24,
                       "BUNDLE", "END");
            has_head = true;
            ls_row(json_at(list, k), loop_wall_s());
        }
        free(cursor);
        cursor = next ? mem_str(next) : NULL;
        if (!cursor)
            break;
    }
    if (!has_head && !opt.json)
        say(all ? "no sessions"
                : "no sessions that go on (--all shows those that have ended)");
    return 0;
}

int cmd_ls(int argc, char **argv)
{
    const struct options_command c = {.program = "podterm ls",
                                      .summary = "lists your sessions",
                                      .rows = rows,
                                      .row_count =
                                          sizeof(rows) / sizeof(*rows)};
    own_mem char **operands = NULL;
    struct err e = {0};
    struct remote remote;
    size_t count = 0;
    int got = options_load(&c, argc, argv, &operands, &count, &e);

    if (got == 1)
        return 0;
    if (got == 0 && count > 0)
        got = err_set(&e, ERR_INPUT, "ls takes no operands (see --help)");
    if (got < 0 || options_remote(&opt, &remote, &e) < 0)
        return say_failed(NULL, &e);
    got = ls_pages(&remote, &e);
    options_remote_fini(&remote);
    return got < 0 ? say_failed("ls", &e) : 0;
}
