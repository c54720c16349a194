/* podterm version */
#include "base/own.h"
#include "client/command.h"
#include "client/options.h"
#include "client/say.h"

#include <stdio.h>

static bool json;

static const struct conf_row rows[] = {
    {"json", CONF_BOOL, &json, 0, 0, NULL, "", "say it as JSON"}};

static int version_run(const struct command *c, int argc, char **argv)
{
    own_mem char **operands = NULL;
    struct err e = {0};
    size_t count = 0;
    int got = options_load(c, argc, argv, &operands, &count, NULL, &e);

    if (got == 1)
        return 0;
    if (got < 0 || count > 0) {
        if (got == 0)
            err_set(&e, ERR_INPUT, "version takes no operands");
        return say_failed(NULL, &e);
    }
    if (json)
        printf("{\"version\":\"%s\"}\n", PODTERM_VERSION);
    else
        printf("podterm %s\n", PODTERM_VERSION);
    return 0;
}

const struct command command_version = {
    .name = "version",
    .summary = "print the version",
    .usages = (const char *const[]){"[--json]", NULL},
    .about = (const char *const[]){NULL},
    .rows = rows,
    .row_count = sizeof(rows) / sizeof(*rows),
    .run = version_run,
};
