/* podterm attach: this terminal to a session that is there. */
#include "base/mem.h"
#include "base/own.h"
#include "client/attach.h"
#include "client/command.h"
#include "client/options.h"
#include "client/say.h"

#include <stdio.h>
#include <unistd.h>

static struct options opt;
static bool view, raw, quiet;
static int64_t retry_s;
static const char *escape_text;

static const struct conf_row rows[] = {
    OPTIONS_SERVER_ROWS(opt),
    {"view", CONF_BOOL, &view, 0, 0, NULL, "",
     "watch only, as one whom the session's owner lets: nothing typed reaches "
     "the program; Ctrl-C leaves"},
    {"raw", CONF_BOOL, &raw, 0, 0, NULL, "",
     "do not filter what the program sends to this terminal"},
    {"quiet", CONF_BOOL, &quiet, 0, 0, NULL, "", "no progress on stderr"},
    OPTIONS_ESCAPE_ROW(escape_text),
    {"retry-s", CONF_INT, &retry_s, 1, 86400, "600", "s",
     "how long a lost connection is tried again; a first one for 60 at most"},
};

static int attach_to(struct remote *remote, const char *text, struct err *e)
{
    struct attach_conf conf = {.remote = remote,
                               .role = view ? ROLE_VIEWER : ROLE_OWNER,
                               .is_unfiltered = raw,
                               .retry_ms = retry_s * 1000};
    struct attach_result result;

    if (escape_key(escape_text, &conf.escape_key, e) < 0)
        return say_failed(NULL, e);
    if (remote_find(remote, text, conf.sid, e) < 0)
        return say_failed(text, e);
    conf.progress = progress_for(STDERR_FILENO, opt.json, quiet);
    attach_run(&conf, &result);
    progress_free(conf.progress);
    if (result.is_stuck) {
        fflush(NULL);
        _exit(result.status);
    }
    return result.status;
}

static int attach_command(const struct command *c, int argc, char **argv)
{
    own_mem char **operands = NULL;
    struct err e = {0};
    struct remote remote;
    size_t count = 0;
    int got = options_load(c, argc, argv, &operands, &count, NULL, &e);

    if (got == 1)
        return 0;
    if (got == 0 && count != 1)
        got = err_set(&e, ERR_INPUT,
                      "which session? podterm attach ID (podterm ls lists "
                      "them)");
    if (got < 0 || options_remote(&opt, &remote, &e) < 0)
        return say_failed(NULL, &e);
    got = attach_to(&remote, operands[0], &e);
    options_remote_fini(&remote);
    return got;
}

const struct command command_attach = {
    .name = "attach",
    .summary = "attach this terminal to a session",
    .usages = (const char *const[]){"[options] ID", NULL},
    .about =
        (const char *const[]){
            "ID is a session's id or its first characters, 4 at least. An "
            "older attachment of the owner's gives way; viewers (--view, "
            "podterm share) look on beside it.",
            OPTIONS_ESCAPE_ABOUT,
            "With --json each line on standard error is a JSON object "
            "(PROTOCOL.md 9).",
            NULL},
    .rows = rows,
    .row_count = sizeof(rows) / sizeof(*rows),
    .exits = options_attach_exits,
    .operand = COMMAND_SESSION,
    .run = attach_command,
};
