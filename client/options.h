/*
 * What all commands share of their command lines: flags anywhere before the
 * operands (or among them), flags that may be repeated, and the server.
 */
#ifndef PODTERM_CLIENT_OPTIONS_H
#define PODTERM_CLIENT_OPTIONS_H

#include "base/conf.h"
#include "client/detach.h"
#include "client/remote.h"

#include <stdbool.h>
#include <stddef.h>

/* Of every command that attaches a terminal (client/detach.h). */
#define OPTIONS_DETACH_ROW(slot)                                               \
    {                                                                          \
        "detach-key", CONF_STR, &(slot), 1, 16, "~", "KEY",                    \
            "on a terminal: Enter, this key and a dot detach, and the "        \
            "program goes on (^X is Ctrl-X; none turns it off)"                \
    }

struct options { /* of every command that talks to a server */
    const char *server, *ca, *as, *identity_command;
    bool json;
};

#define OPTIONS_SERVER_ROWS(o)                                                 \
    {"server",    CONF_STR,                                                    \
     &(o).server, 1,                                                           \
     2000,        "http://127.0.0.1:8080",                                     \
     "URL",       "the controller (http on this machine alone)"},              \
        {"ca",    CONF_STR,                                                    \
         &(o).ca, 1,                                                           \
         4096,    NULL,                                                        \
         "FILE",  "certificates to trust instead of the system's, PEM"},       \
        {"as",    CONF_STR,                                                    \
         &(o).as, 1,                                                           \
         128,     NULL,                                                        \
         "NAME",  "who to be at a development server [your login name]"},      \
        {"identity-command",                                                   \
         CONF_STR,                                                             \
         &(o).identity_command,                                                \
         0,                                                                    \
         4096,                                                                 \
         NULL,                                                                 \
         "COMMAND",                                                            \
         "prints an identity token; run by /bin/sh whenever a fresh "          \
         "one is needed"},                                                     \
    {                                                                          \
        "json", CONF_BOOL, &(o).json, 0, 0, NULL, "", "say it as JSON lines"   \
    }

/* A flag that may be given several times. */
struct options_list {
    const char *name;    /* "env" */
    const char **values; /* owned; borrowed texts */
    size_t count;
};

struct options_command {
    const char *program, *summary;
    const struct conf_row *rows;
    size_t row_count;
    struct options_list *lists; /* name == NULL ends it; may be NULL */
    const char *more;           /* printed behind --help */
    bool is_prefix;             /* what follows the first operand is not ours */
};

/* Operands point into argv; *operands is the caller's. 0; 1 = help was
 * printed; -1 with *e. */
int options_load(const struct options_command *c, int argc, char **argv,
                 char ***operands, size_t *count, struct err *e);
/* The server of these options; with it the user's identity.
 * options_remote_fini. */
int options_remote(const struct options *o, struct remote *remote,
                   struct err *e);
void options_remote_fini(struct remote *remote);

#endif
