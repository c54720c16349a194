#include "client/identity.h"

#include "base/buf.h"
#include "base/loop.h"
#include "base/mem.h"
#include "base/own.h"
#include "base/proc.h"
#include "base/seal.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define IDENTITY_TURN_MS 200 /* how often a wait looks for a cancellation */

extern char **environ;

char *identity_login(void)
{
    const struct passwd *pw = getpwuid(getuid());
    char *name = pw && pw->pw_name[0] ? mem_str(pw->pw_name)
                                      : mem_printf("uid%u", (unsigned)getuid());

    for (char *c = name; *c; c++)
        if (*c < '!' || *c > '~')
            *c = '_';
    return name;
}

void identity_free(char *token)
{
    if (token)
        wipe(token, strlen(token));
    free(token);
}

/* A token is one word that may stand in a header. */
static char *identity_take(const char *text, size_t len, const char *from,
                           struct err *e)
{
    while (len > 0 && (text[len - 1] == '\n' || text[len - 1] == '\r' ||
                       text[len - 1] == ' '))
        len--;
    if (len == 0) {
        err_set(e, ERR_INPUT, "%s gave no identity token", from);
        return NULL;
    }
    for (size_t i = 0; i < len; i++)
        if (text[i] < '!' || text[i] > '~') {
            err_set(e, ERR_INPUT,
                    "%s gave something else than an identity token (one word "
                    "of printable characters)",
                    from);
            return NULL;
        }
    return mem_strn(text, len);
}

/* --- the development issuer --- */

static char *identity_dev(const struct identity *id, const struct server *s,
                          struct err *e)
{
    own_mem char *sub = server_quote(id->as);
    own_mem char *path = mem_printf("/dev/token?sub=%s", sub);
    own_json struct json *j = NULL;
    const char *token, *detail;
    int status;

    if (!s->is_loopback) {
        err_set(e, ERR_INPUT,
                "who are you? Give --identity-command (or set "
                "PODTERM_IDENTITY_COMMAND to) a command that prints an "
                "identity token for %s",
                s->base);
        return NULL;
    }
    j = server_call(s, "GET", path, NULL, NULL, NULL, &status, e);
    if (!j)
        return NULL;
    token = json_get_str(j, "id_token");
    detail = json_get_str(j, "detail");
    if (status == 404) {
        err_set(e, ERR_INPUT,
                "%s has no development issuer: give --identity-command (or set "
                "PODTERM_IDENTITY_COMMAND to) a command that prints an "
                "identity token",
                s->base);
        return NULL;
    }
    if (status != 200 || !token) {
        err_set(e, status >= 500 ? ERR_SYSTEM : ERR_DENIED,
                "%s gives no identity (%d)%s%.200s", s->base, status,
                detail ? ": " : "", detail ? detail : "");
        return NULL;
    }
    return identity_take(token, strlen(token), s->base, e);
}

/* --- the user's command --- */

/* Read until the end, the maximum, the deadline or a cancellation. */
static int identity_read(int fd, const struct server *s, struct buf *out,
                         struct err *e)
{
    const int64_t until = loop_now_ms() + IDENTITY_WAIT_MS;

    for (;;) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        char bytes[4096];
        ssize_t n;

        if (s->is_cancelled && atomic_load(s->is_cancelled))
            return err_set(e, ERR_TIMEOUT, "cancelled");
        if (loop_now_ms() >= until)
            return err_set(e, ERR_TIMEOUT,
                           "the identity command did not end within %d s",
                           IDENTITY_WAIT_MS / 1000);
        if (poll(&p, 1, IDENTITY_TURN_MS) <= 0)
            continue;
        n = read(fd, bytes, sizeof(bytes));
        if (n == 0)
            return 0;
        if (n < 0 && errno != EINTR)
            return err_sys(e, "the identity command");
        if (n > 0 && buf_append(out, bytes, (size_t)n) < 0)
            return err_set(e, ERR_INPUT,
                           "the identity command prints more than %d bytes",
                           IDENTITY_MAX);
    }
}

static int identity_spawn(const char *command, int out_fd, bool is_quiet,
                          pid_t *pid, struct err *e)
{
    char *argv[] = {(char *)"sh", (char *)"-c", (char *)(uintptr_t)command,
                    NULL};
    const int fds[3] = {-1, out_fd, is_quiet ? -1 : 2};
    own_mem char *cwd = getcwd(NULL, 0);
    const struct proc_spawn how = {.path = "/bin/sh",
                                   .argv = argv,
                                   .envp = environ,
                                   .fds = fds,
                                   .fd_count = 3,
                                   .death_signal = SIGTERM,
                                   .cwd = cwd};

    return proc_spawn(&how, pid, e);
}

/* The command has closed its output: how did it end? */
static int identity_wait(int pid_fd, struct err *e)
{
    struct pollfd p = {.fd = pid_fd, .events = POLLIN};
    int status = 0;

    if (poll(&p, 1, IDENTITY_WAIT_MS) <= 0)
        return err_set(e, ERR_TIMEOUT, "the identity command does not end");
    if (proc_reap(pid_fd, &status) != 1)
        return err_set(e, ERR_SYSTEM, "the identity command is gone");
    if (WIFSIGNALED(status))
        return err_set(e, ERR_SYSTEM,
                       "the identity command was ended by signal %d",
                       WTERMSIG(status));
    if (WEXITSTATUS(status) != 0)
        return err_set(e, ERR_SYSTEM,
                       "the identity command failed with code %d",
                       WEXITSTATUS(status));
    return 0;
}

static char *identity_command(const char *command, const struct server *s,
                              bool is_quiet, struct err *e)
{
    own_fd int read_fd = -1, write_fd = -1, pid_fd = -1;
    char *token = NULL;
    struct buf out;
    int ends[2];
    pid_t pid;

    if (pipe2(ends, O_CLOEXEC) < 0) {
        err_sys(e, "pipe");
        return NULL;
    }
    read_fd = ends[0];
    write_fd = ends[1];
    pid_fd = identity_spawn(command, write_fd, is_quiet, &pid, e);
    if (pid_fd < 0)
        return NULL;
    own_fd_release(&write_fd);
    write_fd = -1;
    buf_init(&out, IDENTITY_MAX);
    if (identity_read(read_fd, s, &out, e) == 0) {
        if (identity_wait(pid_fd, e) == 0)
            token = identity_take(buf_cstr(&out), out.len,
                                  "the identity command", e);
    } else {
        struct pollfd p = {.fd = pid_fd, .events = POLLIN};
        int status;

        proc_signal(pid_fd, SIGKILL);
        poll(&p, 1, 1000);
        proc_reap(pid_fd, &status);
    }
    buf_fini_secret(&out);
    return token;
}

char *identity_new(const struct identity *id, const struct server *s,
                   bool is_quiet, struct err *e)
{
    if (id->command && id->command[0])
        return identity_command(id->command, s, is_quiet, e);
    return identity_dev(id, s, e);
}
