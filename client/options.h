/*
 * What all commands share of their command lines: flags anywhere before the
 * operands (or among them), flags that may be repeated, and the server.
 */
#ifndef PODTERM_CLIENT_OPTIONS_H
#define PODTERM_CLIENT_OPTIONS_H

#include "client/command.h"
#include "client/escape.h"
#include "client/remote.h"

#include <stdbool.h>
#include <stddef.h>

/* Of every command that attaches a terminal (client/escape.h). */
#define OPTIONS_ESCAPE_ROW(slot)                                               \
    {                                                                          \
        "escape", CONF_STR, &(slot), 1, 16, "~", "CHAR|none",                  \
            "on a terminal: the key that behind Enter begins an escape, as ~ " \
            "in ssh (^X is Ctrl-X)"                                            \
    }

#define OPTIONS_ESCAPE_ABOUT                                                   \
    "On a terminal, behind Enter: ~. detaches and the program goes on "        \
    "(podterm "                                                                \
    "attach comes back), ~x ends the session once y confirms it, ~^Z "         \
    "suspends "                                                                \
    "podterm, ~~ types one ~, ~? tells these. Text that the terminal "         \
    "brackets "                                                                \
    "as pasted is never taken for one of them."

/* What run and attach end with. */
extern const struct command_exit options_attach_exits[];

struct options { /* of every command that talks to a server */
    const char *server, *ca, *as, *identity_command;
    bool json;
};

#define OPTIONS_SERVER_ROWS(o)                                                 \
    {"server",    CONF_STR,                                                    \
     &(o).server, 1,                                                           \
     2000,        REMOTE_SERVER,                                               \
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

/* Operands point into argv; *operands is the caller's. *before (may be NULL):
 * how many of them stood before a "--". 0; 1 = help was printed; -1 with *e. */
int options_load(const struct command *c, int argc, char **argv,
                 char ***operands, size_t *count, size_t *before,
                 struct err *e);
/* The server of these options; with it the user's identity.
 * options_remote_fini. */
int options_remote(const struct options *o, struct remote *remote,
                   struct err *e);
void options_remote_fini(struct remote *remote);

#endif
