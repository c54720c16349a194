/*
 * The commands of `podterm`, one file each (cmd_<name>.c), and all that is told
 * of them: `--help`, the manual pages and shell completion are made from these
 * structs alone (manual.h, complete.h).
 */
#ifndef PODTERM_CLIENT_COMMAND_H
#define PODTERM_CLIENT_COMMAND_H

#include "base/conf.h"

#include <stdbool.h>
#include <stddef.h>

#define EXIT_PODTERM 125 /* podterm itself failed, not the program */

/* What the operands are, for completion. */
enum command_operand {
    COMMAND_NOTHING,
    COMMAND_SESSION,  /* one session */
    COMMAND_SESSIONS, /* any number of them */
    COMMAND_FILE,     /* an archive (archive.h) first */
    COMMAND_SHELL,    /* one of COMMAND_SHELLS */
};
#define COMMAND_SHELLS "bash", "zsh", "fish"

/* A flag that may be given several times. */
struct command_list {
    const char *name;    /* "env"; NULL ends a table */
    const char *unit;    /* "NAME[=VALUE]" */
    const char *help;    /* one sentence or more, without a dot at the end */
    const char **values; /* owned; borrowed texts */
    size_t count;
};

struct command_exit {
    const char *code, *means; /* code NULL ends a table */
};

struct command {
    const char *name;
    const char *summary;       /* one line: "list your sessions" */
    const char *const *usages; /* behind "podterm NAME"; NULL ends them */
    const char *const *about;  /* paragraphs; NULL ends them */
    const struct conf_row *rows;
    size_t row_count;
    struct command_list *lists; /* or NULL */
    const struct command_exit *exits;
    enum command_operand operand;
    bool is_prefix; /* what follows the first operand is not ours */
    /* argv[0] is the command's name; the exit status */
    int (*run)(const struct command *c, int argc, char **argv);
};

extern const struct command command_attach, command_completion, command_dev,
    command_end, command_ls, command_run, command_share, command_version;

/* All, in the order in which they are told; NULL behind the last. */
const struct command *command_at(size_t i);
const struct command *command_find(const char *name);

/* The codes that all commands but run, attach and dev end with. */
extern const struct command_exit command_exits[];

#endif
