/*
 * The user's terminal among jobs, over a real PTY: stopped, continued, in the
 * background, forked, with handlers of its own. Ways out: test_tty.c.
 */
#include "client/tty.h"

#include "tests/lib/ttyjob.h"

#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <cmocka.h>

static void forks(void)
{
    pid_t child = fork();
    int status = 0;
    struct termios now;

    if (child == 0)
        exit(3); /* its atexit handlers are ours */
    waitpid(child, &status, 0);
    if (tcgetattr(0, &now) < 0 || (now.c_lflag & ICANON) ||
        WEXITSTATUS(status) != 3)
        _exit(96);
    ttyjob_returns();
}

static void a_forked_child_leaves_the_terminal_alone(void **arg)
{
    (void)arg;
    ttyjob_check(forks, 0, 7);
}

static void in_the_background(void)
{
    signal(SIGTTOU, SIG_IGN);
    tcsetpgrp(0, getppid()); /* the shell is in front */
    signal(SIGTTOU, SIG_DFL);
    ttyjob_put(1, "behind", 6);
    ttyjob_returns();
}

static void another_job_s_terminal_is_left_alone(void **arg)
{
    struct ttyjob f;
    int waiting = 0;

    (void)arg;
    ttyjob_start(&f, in_the_background);
    ttyjob_expect(&f, "behind");
    ttyjob_type(&f, "typed");
    assert_int_equal(WEXITSTATUS(ttyjob_status(&f)), 7);
    assert_false(ttyjob_has(&f, ASK));
    /* the kernel hands typed bytes over a moment later */
    for (int i = 0; waiting < 5 && i < 200; i++) {
        assert_int_equal(ioctl(f.slave_fd, FIONREAD, &waiting), 0);
        poll(NULL, 0, 10);
    }
    assert_int_equal(waiting, 5);
    ttyjob_expect_raw(&f); /* whoever is in front decides */
    ttyjob_end(&f);
}

static void own_handler(int number)
{
    (void)number;
    tty_restore();
    _exit(7);
}

static void has_its_own_handler(void)
{
    signal(SIGTERM, own_handler);
    raise(SIGTERM);
}

static void a_caller_s_own_handler_stays(void **arg)
{
    (void)arg;
    ttyjob_check(has_its_own_handler, 0, 7);
}

static void goes_in_again(void)
{
    struct err e = {0};
    struct sigaction now;

    tty_restore();
    sigaction(SIGTERM, NULL, &now);
    if (now.sa_handler != SIG_DFL)
        _exit(96);
    if (tty_raw(0, 1, &e) < 0 || tty_raw(0, 1, &e) < 0)
        _exit(96);
    ttyjob_put(1, "again", 5);
    ttyjob_waits();
}

static void raw_again_after_a_restore_is_restored_again(void **arg)
{
    struct ttyjob f;

    (void)arg;
    ttyjob_start(&f, goes_in_again);
    ttyjob_expect(&f, ASK);
    ttyjob_type(&f, ANSWER);
    ttyjob_expect(&f, "again");
    ttyjob_expect_raw(&f);
    kill(f.job, SIGTERM);
    assert_int_equal(WTERMSIG(ttyjob_status(&f)), SIGTERM);
    ttyjob_expect_before(&f);
    ttyjob_end(&f);
}

static void on_continued(int number)
{
    (void)number;
    tty_again();
}

static void continues(void)
{
    signal(SIGCONT, on_continued);
    ttyjob_put(1, "listening", 9);
    ttyjob_waits();
}

static bool is_raw(struct ttyjob *f)
{
    struct termios now;

    return tcgetattr(f->slave_fd, &now) == 0 && !(now.c_lflag & ECHO);
}

/* A shell has the terminal while its job is stopped. */
static void raw_again_after_a_stop_and_restored_at_the_end(void **arg)
{
    struct ttyjob f;
    int64_t until;

    (void)arg;
    ttyjob_start(&f, continues);
    ttyjob_expect(&f, "listening");
    kill(f.job, SIGSTOP);
    assert_int_equal(tcsetattr(f.slave_fd, TCSANOW, &f.before), 0);
    assert_false(is_raw(&f));
    kill(f.job, SIGCONT);
    until = ttyjob_now_ms() + PATIENCE_MS;
    while (!is_raw(&f) && ttyjob_now_ms() < until)
        ttyjob_take(&f, 5);
    ttyjob_expect_raw(&f);
    kill(f.job, SIGTERM);
    assert_int_equal(WTERMSIG(ttyjob_status(&f)), SIGTERM);
    ttyjob_expect_before(&f);
    ttyjob_end(&f);
}

static void continues_behind(void)
{
    signal(SIGTTOU, SIG_IGN);
    tcsetpgrp(0, getppid()); /* the shell is in front */
    signal(SIGTTOU, SIG_DFL);
    ttyjob_put(1, tty_is_front(0) ? "front" : "behind", 6);
    raise(SIGSTOP);
    tty_again(); /* would stop it again */
    ttyjob_put(1, "passed", 6);
    ttyjob_waits();
}

static void a_job_continued_behind_leaves_the_terminal_alone(void **arg)
{
    struct ttyjob f;

    (void)arg;
    ttyjob_start(&f, continues_behind);
    ttyjob_expect(&f, "behind");
    assert_int_equal(tcsetattr(f.slave_fd, TCSANOW, &f.before), 0);
    for (int i = 0; i < 500 && !ttyjob_has(&f, "passed"); i++) {
        kill(f.job, SIGCONT); /* it may not have stopped yet */
        ttyjob_take(&f, 10);
    }
    assert_true(ttyjob_has(&f, "passed"));
    assert_false(is_raw(&f));
    kill(f.job, SIGTERM);
    assert_int_equal(WTERMSIG(ttyjob_status(&f)), SIGTERM);
    ttyjob_end(&f);
}

#define T(f) cmocka_unit_test_teardown(f, ttyjob_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(a_forked_child_leaves_the_terminal_alone),
        T(another_job_s_terminal_is_left_alone),
        T(a_caller_s_own_handler_stays),
        T(raw_again_after_a_restore_is_restored_again),
        T(raw_again_after_a_stop_and_restored_at_the_end),
        T(a_job_continued_behind_leaves_the_terminal_alone),
    };

    return cmocka_run_group_tests_name("client/tty_jobs", tests, NULL, NULL);
}
