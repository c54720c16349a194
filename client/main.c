/* podterm: the command a person types. Finds the command and runs it. */
#include "client/command.h"
#include "client/complete.h"
#include "client/manual.h"
#include "client/say.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* A descriptor of ours would else become stdin, stdout or stderr. */
static int fill_standard_fds(void)
{
    for (int fd = 0; fd <= 2; fd++)
        if (fcntl(fd, F_GETFD) < 0 && errno == EBADF &&
            open("/dev/null", O_RDWR) != fd) /* the lowest that is free */
            return -1;
    return 0;
}

static int unknown(const char *name)
{
    char shown[128];

    fprintf(stderr,
            "podterm: there is no command \"%s\"; `podterm --help` lists "
            "them\n",
            say_text(name, shown, sizeof(shown)));
    return EXIT_PODTERM;
}

/* Of a command, or of all: as text, or as a manual page. */
static int tell(const char *name, void (*how)(const struct command *, FILE *))
{
    const struct command *c = name ? command_find(name) : NULL;

    if (name && !c)
        return unknown(name);
    how(c, stdout);
    return 0;
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

    if (!strcmp(name, "--help") || !strcmp(name, "-h"))
        return tell(NULL, manual_help);
    if (!strcmp(name, "help"))
        return tell(argc > 2 ? argv[2] : NULL, manual_help);
    if (!strcmp(name, "__manual")) /* make man */
        return tell(argc > 2 ? argv[2] : NULL, manual_page);
    if (!strcmp(name, "__complete")) /* what `podterm completion` printed */
        return complete_words(argc - 2, argv + 2);
    if (!strcmp(name, "--version"))
        name = "version";
    c = command_find(name);
    if (c)
        return c->run(c, argc - 1, argv + 1);
    if (*name)
        return unknown(name);
    manual_help(NULL, stderr);
    return EXIT_PODTERM;
}

int main(int argc, char **argv)
{
    if (fill_standard_fds() < 0)
        return EXIT_PODTERM; /* there is nowhere to say it */
    return leave(run(argc, argv));
}
