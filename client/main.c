/* podterm: the command a person types. Finds the command and runs it. */
#include "client/command.h"
#include "client/say.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

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

/* A descriptor of ours would else become stdin, stdout or stderr. */
static int fill_standard_fds(void)
{
    for (int fd = 0; fd <= 2; fd++)
        if (fcntl(fd, F_GETFD) < 0 && errno == EBADF &&
            open("/dev/null", O_RDWR) != fd) /* the lowest that is free */
            return -1;
    return 0;
}

static const struct command *find(const char *name)
{
    for (size_t i = 0; i < COMMAND_COUNT; i++)
        if (strcmp(name, commands[i].name) == 0)
            return &commands[i];
    return NULL;
}

static int help_on(const char *name)
{
    const struct command *c = find(name);
    char told[32], flag[] = "--help";
    char *argv[] = {told, flag, NULL};

    if (!c) {
        fprintf(stderr, "podterm: there is no command \"%s\"\n", name);
        help(stderr);
        return EXIT_PODTERM;
    }
    snprintf(told, sizeof(told), "%s", c->name);
    return c->run(2, argv);
}

/* Nothing that was to be read is lost without a word. */
static int leave(int status)
{
    struct err e = {0};

    errno = 0;
    if ((fflush(stdout) == 0 && !ferror(stdout)) || status)
        return status;
    err_set(&e, ERR_SYSTEM,
            "standard output could not be written, so not all was told%s%s",
            errno ? ": " : "", errno ? strerror(errno) : "");
    return say_failed(NULL, &e);
}

static int run(int argc, char **argv)
{
    const char *name = argc > 1 ? argv[1] : "";
    const struct command *c;

    if (!strcmp(name, "--help") || !strcmp(name, "-h") ||
        !strcmp(name, "help")) {
        if (argc > 2 && name[0] != '-')
            return help_on(argv[2]);
        help(stdout);
        return 0;
    }
    if (!strcmp(name, "--version"))
        name = "version";
    c = find(name);
    if (c)
        return c->run(argc - 1, argv + 1);
    if (*name)
        fprintf(stderr, "podterm: there is no command \"%s\"\n", name);
    help(stderr);
    return EXIT_PODTERM;
}

int main(int argc, char **argv)
{
    if (fill_standard_fds() < 0)
        return EXIT_PODTERM; /* there is nowhere to say it */
    return leave(run(argc, argv));
}
