#include "tests/lib/seat.h"

#include "base/loop.h"
#include "base/mem.h"
#include "base/own.h"

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
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define ASKED "\033[5n"
#define ANSWER "\033[0n"

static _Noreturn void seat_child(struct seat *s, const char *const *argv,
                                 const char *const *env, int stdout_fd)
{
    signal(SIGPIPE, SIG_DFL);
    setsid();
    ioctl(s->slave_fd, TIOCSCTTY, 0);
    dup2(s->slave_fd, 0);
    dup2(stdout_fd >= 0 ? stdout_fd : s->slave_fd, 1);
    dup2(s->slave_fd, 2);
    for (; env && *env; env++)
        putenv((char *)(uintptr_t)*env);
    execvp(argv[0], (char *const *)(uintptr_t)argv);
    _exit(126);
}

void seat_start(struct seat *s, const char *const *argv, const char *const *env,
                int cols, int rows, int stdout_fd)
{
    struct winsize size = {.ws_col = (unsigned short)cols,
                           .ws_row = (unsigned short)rows};

    memset(s, 0, sizeof(*s));
    s->is_answering = true;
    assert_int_equal(openpty(&s->master_fd, &s->slave_fd, NULL, NULL, &size),
                     0);
    fcntl(s->master_fd, F_SETFD, FD_CLOEXEC);
    fcntl(s->slave_fd, F_SETFD, FD_CLOEXEC);
    fcntl(s->master_fd, F_SETFL, O_NONBLOCK);
    assert_int_equal(tcgetattr(s->slave_fd, &s->before), 0);
    s->flags_before = fcntl(s->slave_fd, F_GETFL);
    s->cap = 1 << 16;
    s->out = mem_zero(s->cap, 1);
    s->pid = fork();
    assert_true(s->pid >= 0);
    if (s->pid == 0)
        seat_child(s, argv, env, stdout_fd);
}

/* What is there within ms; a device status report is answered. */
static void seat_read(struct seat *s, int ms)
{
    struct pollfd p = {.fd = s->master_fd, .events = POLLIN};
    const size_t from = s->len > 3 ? s->len - 3 : 0; /* answered once */
    ssize_t n;

    if (poll(&p, 1, ms) <= 0)
        return;
    if (s->cap - s->len < 32768) {
        s->cap *= 2;
        s->out = mem_resize(s->out, s->cap, 1);
    }
    n = read(s->master_fd, s->out + s->len, s->cap - s->len - 1);
    if (n <= 0)
        return;
    s->len += (size_t)n;
    s->out[s->len] = 0;
    if (s->is_answering && strstr(s->out + from, ASKED))
        seat_say(s, ANSWER);
}

bool seat_has(struct seat *s, const char *text)
{
    const char *at =
        memmem(s->out + s->seen, s->len - s->seen, text, strlen(text));

    if (!at)
        return false;
    s->seen = (size_t)(at - s->out) + strlen(text);
    return true;
}

void seat_expect(struct seat *s, const char *text, int ms)
{
    const int64_t until = loop_now_ms() + ms;

    while (!seat_has(s, text)) {
        if (loop_now_ms() > until)
            fail_msg("\"%s\" did not come within %d ms, but: %s", text, ms,
                     s->out + s->seen);
        seat_read(s, 50);
    }
}

void seat_pass(struct seat *s, int ms)
{
    const int64_t until = loop_now_ms() + ms;

    while (loop_now_ms() < until)
        seat_read(s, 20);
}

void seat_type(struct seat *s, const void *bytes, size_t len)
{
    const char *at = bytes;
    const int64_t until = loop_now_ms() + 20000;

    while (len > 0) {
        ssize_t n = write(s->master_fd, at, len);

        if (n > 0) {
            at += n;
            len -= (size_t)n;
        } else {
            assert_true(loop_now_ms() < until);
            seat_read(s, 5);
        }
    }
}

void seat_say(struct seat *s, const char *text)
{
    seat_type(s, text, strlen(text));
}

void seat_resize(struct seat *s, int cols, int rows)
{
    struct winsize size = {.ws_col = (unsigned short)cols,
                           .ws_row = (unsigned short)rows};

    assert_int_equal(ioctl(s->master_fd, TIOCSWINSZ, &size), 0);
}

bool seat_is_restored(struct seat *s)
{
    struct termios now;

    return tcgetattr(s->slave_fd, &now) == 0 &&
           now.c_iflag == s->before.c_iflag &&
           now.c_oflag == s->before.c_oflag &&
           now.c_lflag == s->before.c_lflag &&
           now.c_cflag == s->before.c_cflag &&
           memcmp(now.c_cc, s->before.c_cc, sizeof(now.c_cc)) == 0 &&
           fcntl(s->slave_fd, F_GETFL) == s->flags_before;
}

int seat_wait(struct seat *s, int ms)
{
    const int64_t until = loop_now_ms() + ms;
    int status;

    while (waitpid(s->pid, &status, WNOHANG) == 0) {
        if (loop_now_ms() > until)
            fail_msg("it has not ended within %d ms: %s", ms, s->out);
        seat_read(s, 10);
    }
    s->pid = -1;
    seat_pass(s, 20);
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

void seat_free(struct seat *s)
{
    if (s->pid > 0) {
        kill(s->pid, SIGKILL);
        waitpid(s->pid, NULL, 0);
    }
    close(s->master_fd);
    close(s->slave_fd);
    free(s->out);
    s->out = NULL;
}
