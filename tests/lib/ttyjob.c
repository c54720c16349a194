#include "tests/lib/ttyjob.h"

#include "client/tty.h"

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
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

int ttyjob_fatal(size_t i)
{
    const int list[TTYJOB_FATAL] = {
        SIGTERM, SIGHUP,    SIGINT,   SIGQUIT, SIGABRT, SIGSEGV,
        SIGBUS,  SIGFPE,    SIGILL,   SIGTRAP, SIGSYS,  SIGUSR1,
        SIGUSR2, SIGALRM,   SIGPROF,  SIGXCPU, SIGXFSZ, SIGVTALRM,
        SIGPOLL, SIGSTKFLT, SIGRTMIN, SIGRTMAX};

    return list[i];
}

static pid_t live_leader, live_job; /* what a failed test leaves behind */

int64_t ttyjob_now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * INT64_C(1000) + t.tv_nsec / 1000000;
}

void ttyjob_put(int fd, const void *bytes, size_t len)
{
    if (write(fd, bytes, len) != (ssize_t)len)
        _exit(99);
}

/* The job: raw mode, "ready", then its way out. */
static void run_job(void (*way_out)(void))
{
    struct err e = {0};

    for (size_t i = 0; i < TTYJOB_FATAL; i++)
        signal(ttyjob_fatal(i),
               SIG_DFL); /* cmocka and sanitizers have theirs */
    if (!tty_is_terminal(0, 1) || tty_raw(0, 1, &e) < 0)
        _exit(98);
    ttyjob_put(1, "ready", 5);
    way_out();
    _exit(97);
}

static void run_leader(struct ttyjob *f, int news_fd, int life_fd,
                       void (*way_out)(void))
{
    int status = 0;
    pid_t job;
    char c;

    signal(SIGTTOU, SIG_IGN); /* as shells do */
    signal(SIGHUP, SIG_IGN);
    setsid();
    if (ioctl(f->slave_fd, TIOCSCTTY, 0) < 0)
        _exit(99);
    close(f->master_fd);
    job = fork();
    if (job == 0) {
        setpgid(0, 0);
        tcsetpgrp(f->slave_fd, getpid());
        signal(SIGTTOU, SIG_DFL);
        signal(SIGHUP, SIG_DFL);
        dup2(f->slave_fd, 0);
        dup2(f->slave_fd, 1);
        close(news_fd);
        close(life_fd);
        run_job(way_out);
    }
    setpgid(job, job);
    ttyjob_put(news_fd, &job, sizeof(job));
    if (waitpid(job, &status, 0) != job)
        _exit(99);
    ttyjob_put(news_fd, &status, sizeof(status));
    (void)!read(life_fd, &c, 1);
    _exit(0);
}

void ttyjob_take(struct ttyjob *f, int ms)
{
    struct pollfd p = {.fd = f->master_fd, .events = POLLIN};
    ssize_t n;

    if (poll(&p, 1, ms) <= 0)
        return;
    n = read(f->master_fd, f->out + f->out_len,
             sizeof(f->out) - 1 - f->out_len);
    if (n > 0)
        f->out_len += (size_t)n;
    f->out[f->out_len] = 0;
}

bool ttyjob_has(struct ttyjob *f, const char *text)
{
    return memmem(f->out, f->out_len, text, strlen(text)) != NULL;
}

void ttyjob_expect(struct ttyjob *f, const char *text)
{
    int64_t until = ttyjob_now_ms() + PATIENCE_MS;

    while (!ttyjob_has(f, text) && ttyjob_now_ms() < until)
        ttyjob_take(f, 20);
    if (!ttyjob_has(f, text))
        fail_msg("the terminal was not sent \"%s\"", text);
}

int ttyjob_teardown(void **arg)
{
    (void)arg;
    if (live_job > 0)
        kill(live_job, SIGKILL);
    if (live_leader > 0) {
        kill(live_leader, SIGKILL);
        waitpid(live_leader, NULL, 0);
    }
    live_job = live_leader = 0;
    return 0;
}

void ttyjob_start(struct ttyjob *f, void (*way_out)(void))
{
    struct winsize size = {.ws_row = 33, .ws_col = 101};
    int news[2], life[2];

    memset(f, 0, sizeof(*f));
    assert_int_equal(openpty(&f->master_fd, &f->slave_fd, NULL, NULL, &size),
                     0);
    assert_int_equal(tcgetattr(f->slave_fd, &f->before), 0);
    f->before.c_cc[VERASE] = 010; /* something of the user's own */
    f->before.c_lflag &= ~(tcflag_t)ECHOCTL;
    assert_int_equal(tcsetattr(f->slave_fd, TCSANOW, &f->before), 0);
    assert_int_equal(pipe2(news, O_CLOEXEC), 0);
    assert_int_equal(pipe2(life, O_CLOEXEC), 0);
    f->leader = fork();
    assert_true(f->leader >= 0);
    if (f->leader == 0) {
        close(life[1]);
        run_leader(f, news[1], life[0], way_out);
    }
    close(news[1]);
    close(life[0]);
    f->news_fd = news[0];
    f->life_fd = life[1];
    assert_int_equal(read(f->news_fd, &f->job, sizeof(f->job)), sizeof(f->job));
    live_leader = f->leader;
    live_job = f->job;
    ttyjob_expect(f, "ready");
}

void ttyjob_expect_raw(struct ttyjob *f)
{
    struct termios now;

    assert_int_equal(tcgetattr(f->slave_fd, &now), 0);
    assert_int_equal(now.c_lflag & (ICANON | ECHO | ISIG), 0);
    assert_int_equal(now.c_oflag & OPOST, 0);
}

void ttyjob_type(struct ttyjob *f, const char *text)
{
    assert_int_equal(write(f->master_fd, text, strlen(text)), strlen(text));
}

int ttyjob_status(struct ttyjob *f)
{
    int64_t until = ttyjob_now_ms() + PATIENCE_MS;
    struct pollfd p = {.fd = f->news_fd, .events = POLLIN};
    int status = 0;

    while (poll(&p, 1, 0) == 0 && ttyjob_now_ms() < until)
        ttyjob_take(f, 5);
    assert_int_equal(read(f->news_fd, &status, sizeof(status)), sizeof(status));
    live_job = 0;
    ttyjob_take(f, 0);
    return status;
}

/* The shell's view: settings and flags as before, nothing to read. */
void ttyjob_expect_before(struct ttyjob *f)
{
    struct termios now;
    int waiting = -1;

    assert_int_equal(tcgetattr(f->slave_fd, &now), 0);
    assert_int_equal(now.c_iflag, f->before.c_iflag);
    assert_int_equal(now.c_oflag, f->before.c_oflag);
    assert_int_equal(now.c_cflag, f->before.c_cflag);
    assert_int_equal(now.c_lflag, f->before.c_lflag);
    assert_memory_equal(now.c_cc, f->before.c_cc, sizeof(now.c_cc));
    assert_int_equal(fcntl(f->slave_fd, F_GETFL) & O_NONBLOCK, 0);
    /* what is read raw now would be what a line reader gets */
    cfmakeraw(&now);
    assert_int_equal(tcsetattr(f->slave_fd, TCSANOW, &now), 0);
    assert_int_equal(ioctl(f->slave_fd, FIONREAD, &waiting), 0);
    assert_int_equal(waiting, 0);
}

void ttyjob_end(struct ttyjob *f)
{
    live_job = live_leader = 0;
    close(f->life_fd);
    assert_int_equal(waitpid(f->leader, NULL, 0), f->leader);
    close(f->news_fd);
    close(f->slave_fd);
    close(f->master_fd);
}

void ttyjob_returns(void)
{
    tty_restore();
    tty_restore();
    _exit(7);
}

void ttyjob_waits(void)
{
    for (;;)
        pause();
}

void ttyjob_check(void (*way)(void), int kill_with, int exits_with)
{
    struct ttyjob f;
    int status;

    ttyjob_start(&f, way);
    if (kill_with && way == ttyjob_waits) {
        ttyjob_expect_raw(&f);
        kill(f.job, kill_with);
    }
    ttyjob_expect(&f, ASK);
    assert_true(ttyjob_has(&f, "\033[?1049l"));
    assert_true(ttyjob_has(&f, "\033[?2004l"));
    assert_true(ttyjob_has(&f, "\033[?1000l") && ttyjob_has(&f, "\033[?1006l"));
    assert_true(ttyjob_has(&f, "\033[?1004l") && ttyjob_has(&f, "\033[?1l"));
    assert_true(ttyjob_has(&f, "\033(B") && ttyjob_has(&f, "\033[23;0t"));
    ttyjob_type(&f, ANSWER);
    status = ttyjob_status(&f);
    if (kill_with) {
        assert_true(WIFSIGNALED(status));
        assert_int_equal(WTERMSIG(status), kill_with);
    } else {
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), exits_with);
    }
    ttyjob_expect_before(&f);
    ttyjob_end(&f);
}
