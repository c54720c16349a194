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
static const char *detach_text;

static const struct conf_row rows[] = {
    OPTIONS_SERVER_ROWS(opt),
    {"view", CONF_BOOL, &view, 0, 0, NULL, "", "watch only; Ctrl-C leaves"},
    {"raw", CONF_BOOL, &raw, 0, 0, NULL, "",
     "do not filter what the program sends to this terminal"},
    {"quiet", CONF_BOOL, &quiet, 0, 0, NULL, "", "no progress on stderr"},
    OPTIONS_DETACH_ROW(detach_text),
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

    if (detach_key(detach_text, &conf.detach_key, e) < 0)
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

int cmd_attach(int argc, char **argv)
{
    const struct options_command c = {
        .program = "podterm attach",
        .summary = "attaches this terminal to a session: podterm attach ID "
                   "(whole, or the first characters)",
        .rows = rows,
        .row_count = sizeof(rows) / sizeof(*rows),
        .more = "\nWith --json each line on stderr is a JSON object "
                "(PROTOCOL.md 9).\n"
                "\nExit code: the program's, 128 + n for signal n, 0 when you "
                "detached, 125 when\npodterm failed.\n"};
    own_mem char **operands = NULL;
    struct err e = {0};
    struct remote remote;
    size_t count = 0;
    int got = options_load(&c, argc, argv, &operands, &count, &e);

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
