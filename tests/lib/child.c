#include "tests/lib/child.h"

#include "base/buf.h"
#include "base/loop.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#define CHILD_BYTES_MAX (64 << 20)

static void child_exec(const struct child *c, const int *out, const int *err)
{
    if (out) {
        int null = open("/dev/null", O_RDONLY);

        dup2(null, 0);
        dup2(out[1], 1);
        dup2(err[1], 2);
    }
    for (const char *const *p = c->env; p && *p; p++)
        putenv((char *)(size_t)*p);
    if (c->cwd && chdir(c->cwd) < 0)
        _exit(126);
    execvp(c->argv[0], (char *const *)(size_t)c->argv);
    fprintf(stderr, "%s: %s\n", c->argv[0], strerror(errno));
    _exit(127);
}

/* Start it; descriptors to read from in fds (-1 = none). */
static pid_t child_start(const struct child *c, int fds[2])
{
    struct winsize size = {.ws_col = (unsigned short)c->cols,
                           .ws_row = (unsigned short)c->rows};
    int out[2] = {-1, -1}, err[2] = {-1, -1};
    pid_t pid;

    fflush(NULL);
    if (c->cols > 0) {
        fds[1] = -1;
        pid = forkpty(&fds[0], NULL, NULL, &size);
    } else {
        assert_int_equal(pipe2(out, O_CLOEXEC), 0);
        assert_int_equal(pipe2(err, O_CLOEXEC), 0);
        pid = fork();
    }
    assert_true(pid >= 0);
    if (pid == 0)
        child_exec(c, c->cols > 0 ? NULL : out, err);
    if (c->cols <= 0) {
        close(out[1]);
        close(err[1]);
        fds[0] = out[0];
        fds[1] = err[0];
    }
    return pid;
}

/* false: its other end is gone. */
static bool child_read(int fd, struct buf *to)
{
    uint8_t *p = buf_reserve(to, 65536);
    ssize_t n;

    assert_non_null(p);
    n = read(fd, p, 65536);
    if (n > 0)
        buf_commit(to, (size_t)n);
    return n > 0 || (n < 0 && (errno == EINTR || errno == EAGAIN));
}

void child_run(struct child *c)
{
    int64_t until = loop_now_ms() + CHILD_MS;
    struct buf said[2];
    int fds[2], status;
    pid_t pid = child_start(c, fds);

    buf_init(&said[0], CHILD_BYTES_MAX);
    buf_init(&said[1], CHILD_BYTES_MAX);
    while (fds[0] >= 0 || fds[1] >= 0) {
        struct pollfd p[2] = {{fds[0], POLLIN, 0}, {fds[1], POLLIN, 0}};
        int64_t left = until - loop_now_ms();

        if (left <= 0) {
            kill(pid, SIGKILL);
            waitpid(pid, NULL, 0);
            fail_msg("%s does not end; it said: %s", c->argv[0],
                     buf_cstr(&said[0]));
        }
        poll(p, 2, (int)left);
        for (int i = 0; i < 2; i++) {
            if (!p[i].revents || child_read(fds[i], &said[i]))
                continue;
            close(fds[i]);
            fds[i] = -1;
        }
        if (c->came)
            c->came(c->arg, buf_cstr(&said[0]), c->cols > 0 ? fds[0] : -1);
    }
    waitpid(pid, &status, 0);
    c->code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    c->len = said[0].len;
    buf_cstr(&said[0]);
    buf_cstr(&said[1]);
    c->out = said[0].data ? (char *)said[0].data : calloc(1, 1);
    c->err = said[1].data ? (char *)said[1].data : calloc(1, 1);
}

void child_fini(struct child *c)
{
    free(c->out);
    free(c->err);
    c->out = c->err = NULL;
}

void child_expect(struct child *c, int code)
{
    child_run(c);
    if (c->code != code)
        fail_msg("%s: exit code %d, not %d; it said:\n%s%s", c->argv[0],
                 c->code, code, c->out, c->err);
}
