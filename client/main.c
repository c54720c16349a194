/* podterm: the command a person types. Finds the command and runs it. */
#include "client/command.h"

#include <stdio.h>
#include <string.h>

static const struct command {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *summary;
} commands[] = {
    {"run", cmd_run, "start a session and attach this terminal to it"},
    {"attach", cmd_attach, "attach this terminal to a session"},
    {"ls", cmd_ls, "list your sessions"},
    {"end", cmd_end, "end sessions"},
    {"dev", cmd_dev, "run all of podterm on this machine"},
    {"version", cmd_version, "print the version"},
};
#define COMMAND_COUNT (sizeof commands / sizeof *commands)

static void help(FILE *to)
{
    fprintf(to, "usage: podterm COMMAND [options]\n\n");
    for (size_t i = 0; i < COMMAND_COUNT; i++)
        fprintf(to, "  %-8s  %s\n", commands[i].name, commands[i].summary);
    fprintf(to,
            "\n`podterm COMMAND --help` tells a command's options. Exit "
            "codes: the program's\nown; %d when podterm itself failed.\n",
            EXIT_PODTERM);
}

int main(int argc, char **argv)
{
    const char *name = argc > 1 ? argv[1] : "";

    if (!strcmp(name, "--help") || !strcmp(name, "-h") ||
        !strcmp(name, "help")) {
        help(stdout);
        return 0;
    }
    if (!strcmp(name, "--version"))
        name = "version";
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        if (strcmp(name, commands[i].name) != 0)
            continue;
        return commands[i].run(argc - 1, argv + 1);
    }
    if (*name)
        fprintf(stderr, "podterm: there is no command \"%s\"\n", name);
    help(stderr);
    return EXIT_PODTERM;
}
