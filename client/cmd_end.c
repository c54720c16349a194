/* podterm end: end sessions, and wait until they have. */
#include "base/loop.h"
#include "base/mem.h"
#include "base/own.h"
#include "client/command.h"
#include "client/options.h"
#include "client/say.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>

#define END_WAIT_MS 15000
#define END_TURN_MS 100

static struct options opt;

static const struct conf_row rows[] = {OPTIONS_SERVER_ROWS(opt)};

static bool end_is_over(const struct json *session)
{
    const char *state = json_get_str(session, "state");

    return state && strcmp(state, "ended") == 0;
}

static int end_one(const struct remote *remote, const char *text, struct err *e)
{
    const int64_t until = loop_now_ms() + END_WAIT_MS;
    own_json struct json *j = NULL;
    char sid[ID_SIZE];

    if (remote_find(remote, text, sid, e) < 0)
        return -1;
    j = remote_delete(remote, sid, e);
    while (j && !end_is_over(j)) {
        if (loop_now_ms() >= until)
            return err_set(
                e, ERR_TIMEOUT,
                "it has not ended after %d s, but will; podterm ls shows it "
                "until then",
                END_WAIT_MS / 1000);
        poll(NULL, 0, END_TURN_MS);
        json_free(j);
        j = remote_get(remote, sid, e);
    }
    if (!j)
        return -1;
    if (opt.json)
        say_json(stdout, j);
    else
        printf("%s ended\n", sid);
    return 0;
}

static int end_run(const struct command *c, int argc, char **argv)
{
    own_mem char **operands = NULL;
    struct err e = {0};
    struct remote remote;
    size_t count = 0;
    int got = options_load(c, argc, argv, &operands, &count, NULL, &e);
    int status = 0;

    if (got == 1)
        return 0;
    if (got == 0 && count == 0)
        got = err_set(&e, ERR_INPUT,
                      "which session? podterm end ID... (podterm ls lists "
                      "them)");
    if (got < 0 || options_remote(&opt, &remote, &e) < 0)
        return say_failed(NULL, &e);
    for (size_t i = 0; i < count; i++)
        if (end_one(&remote, operands[i], &e) < 0)
            status = say_failed(operands[i], &e);
    options_remote_fini(&remote);
    return status;
}

const struct command command_end = {
    .name = "end",
    .summary = "end sessions",
    .usages = (const char *const[]){"[options] ID...", NULL},
    .about =
        (const char *const[]){
            "Ends the sessions and waits until they have ended. A program gets "
            "SIGHUP, and two seconds later SIGKILL. ID is a session's id or "
            "its first characters, 4 at least.",
            NULL},
    .rows = rows,
    .row_count = sizeof(rows) / sizeof(*rows),
    .operand = COMMAND_SESSIONS,
    .run = end_run,
};
