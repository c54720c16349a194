/*
 * The user's terminal on every way out, over a real PTY: this process plays
 * the terminal; a session leader plays the shell that waits; the client under
 * test is the leader's foreground job (tests/lib/ttyjob.h). Among jobs:
 * test_tty_jobs.c.
 */
#include "client/tty.h"

#include "tests/lib/ttyjob.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <pty.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define SLACK_MS 800 /* what a loaded machine may add */

static void calls_exit(void)
{
    exit(7);
}

static void faults(void)
{
    char *page =
        mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (page != MAP_FAILED)
        *(volatile char *)page = 1;
}

/* The stack is gone: the handler must not need it. (Not a recursion: a
 * sanitizer would take that for its own.) */
static void faults_without_a_stack(void)
{
#ifdef __x86_64__
    __asm__ volatile("xor %%esp, %%esp\n\tpush %%rax" ::: "memory");
#else
    faults();
#endif
}

/* A thread of the library's takes the signal, while main sits. */
static void *raises(void *arg)
{
    (void)arg;
    pthread_kill(pthread_self(), SIGTERM);
    return NULL;
}

static void dies_in_a_thread(void)
{
    pthread_t t;

    pthread_create(&t, NULL, raises, NULL);
    ttyjob_waits();
}

static void restored_on_return(void **arg)
{
    (void)arg;
    ttyjob_check(ttyjob_returns, 0, 7);
}

static void restored_on_exit(void **arg)
{
    (void)arg;
    ttyjob_check(calls_exit, 0, 7);
}

static void restored_on_every_fatal_signal(void **arg)
{
    (void)arg;
    for (size_t i = 0; i < TTYJOB_FATAL; i++)
        ttyjob_check(ttyjob_waits, ttyjob_fatal(i), 0);
}

static void restored_on_a_fault(void **arg)
{
    (void)arg;
    ttyjob_check(faults, SIGSEGV, 0);
    ttyjob_check(faults_without_a_stack, SIGSEGV, 0);
    ttyjob_check(dies_in_a_thread, SIGTERM, 0);
}

/* All that the filter lets a program set (FILTER_OSC, but for titles, which are
 * pushed, prompt marks, and links) has its way back. */
static void what_a_program_may_set_is_set_back(void **arg)
{
    static const char *const back[] = {
        "\033]104\033\\", "\033]105\033\\", "\033]110\033\\", "\033]111\033\\",
        "\033]112\033\\", "\033]113\033\\", "\033]114\033\\", "\033]115\033\\",
        "\033]116\033\\", "\033]117\033\\", "\033]118\033\\", "\033]119\033\\",
        "\033]22;\033\\", "\033]7;\033\\",  "\033]8;;\033\\", "\033[23;0t",
        "\033[>m"};
    struct ttyjob f;

    (void)arg;
    ttyjob_start(&f, ttyjob_returns);
    ttyjob_expect(&f, ASK);
    for (size_t i = 0; i < sizeof(back) / sizeof(*back); i++)
        if (!ttyjob_has(&f, back[i]))
            fail_msg("row %zu is missing", i);
    assert_false(ttyjob_has(&f, "\033]9;"));
    ttyjob_type(&f, ANSWER);
    assert_int_equal(WEXITSTATUS(ttyjob_status(&f)), 7);
    ttyjob_end(&f);
}

static void shows_progress(void)
{
    tty_progress(true);
    ttyjob_returns();
}

static void a_progress_bar_is_taken_away(void **arg)
{
    struct ttyjob f;

    (void)arg;
    ttyjob_start(&f, shows_progress);
    ttyjob_expect(&f, "\033]9;4;0\033\\" ASK);
    ttyjob_type(&f, ANSWER);
    assert_int_equal(WEXITSTATUS(ttyjob_status(&f)), 7);
    ttyjob_end(&f);
}

static void late_answers_do_not_reach_the_next_reader(void **arg)
{
    struct ttyjob f;

    (void)arg;
    ttyjob_start(&f, ttyjob_returns);
    /* reports under way, the program's own question answered, typing */
    ttyjob_type(&f, "\033[<0;10;10M\033[<0;10;10m");
    ttyjob_expect(&f, ASK);
    ttyjob_type(&f, "\033[24;80R" ANSWER "\033[I");
    usleep(10 * 1000);
    ttyjob_type(&f, "\033[M !!\033]11;rgb:0/0/0\033\\ls\r" ANSWER);
    assert_int_equal(WEXITSTATUS(ttyjob_status(&f)), 7);
    ttyjob_expect_before(&f);
    ttyjob_end(&f);
}

static void a_terminal_that_never_answers_costs_its_time_once(void **arg)
{
    struct ttyjob f;
    int64_t begun, took;

    (void)arg;
    ttyjob_start(&f, ttyjob_returns);
    ttyjob_expect(&f, ASK);
    begun = ttyjob_now_ms();
    assert_int_equal(WEXITSTATUS(ttyjob_status(&f)), 7);
    took = ttyjob_now_ms() - begun;
    assert_in_range(took, TTY_QUIET_MS - 100, TTY_QUIET_MS + SLACK_MS);
    ttyjob_expect_before(&f);
    ttyjob_end(&f);
}

static void endless_input_costs_no_more(void **arg)
{
    struct ttyjob f;
    int64_t begun, until;
    struct pollfd p;

    (void)arg;
    ttyjob_start(&f, ttyjob_returns);
    ttyjob_expect(&f, ASK);
    begun = ttyjob_now_ms();
    until = begun + PATIENCE_MS;
    p = (struct pollfd){.fd = f.news_fd, .events = POLLIN};
    while (poll(&p, 1, 5) == 0 && ttyjob_now_ms() < until)
        ttyjob_type(&f, ANSWER "x");
    assert_true(ttyjob_now_ms() - begun < TTY_QUIET_MS + SLACK_MS);
    assert_int_equal(WEXITSTATUS(ttyjob_status(&f)), 7);
    ttyjob_end(&f);
}

static void sits_behind_a_full_terminal(void)
{
    char fill[4096];

    memset(fill, 'x', sizeof(fill));
    fcntl(1, F_SETFL, fcntl(1, F_GETFL) | O_NONBLOCK);
    for (int i = 0; i < 200; i++)
        if (write(1, fill, sizeof(fill)) < 0 && errno == EAGAIN)
            usleep(1000);
    tty_restore();
    _exit(7);
}

static void a_terminal_that_takes_nothing_does_not_hold_us(void **arg)
{
    struct ttyjob f;
    struct pollfd p;
    int status = 0;

    (void)arg;
    ttyjob_start(&f, sits_behind_a_full_terminal);
    p = (struct pollfd){.fd = f.news_fd, .events = POLLIN};
    assert_int_equal(poll(&p, 1, PATIENCE_MS), 1); /* nothing was read */
    assert_int_equal(read(f.news_fd, &status, sizeof(status)), sizeof(status));
    assert_int_equal(WEXITSTATUS(status), 7);
    ttyjob_expect_before(&f);
    ttyjob_end(&f);
}

/* A signal in the midst of restoring: done again, then death. */
static void a_signal_while_restoring_leaves_no_raw_terminal(void **arg)
{
    struct ttyjob f;
    int status;

    (void)arg;
    ttyjob_start(&f, ttyjob_returns);
    ttyjob_expect(&f, ASK);
    kill(f.job, SIGTERM);
    status = ttyjob_status(&f);
    assert_true(WIFSIGNALED(status));
    ttyjob_expect_before(&f);
    ttyjob_end(&f);
}

static void a_terminal_that_is_gone_ends_at_once(void **arg)
{
    struct ttyjob f;
    int status;

    (void)arg;
    ttyjob_start(&f, ttyjob_waits);
    close(f.slave_fd);
    close(f.master_fd);
    f.slave_fd = f.master_fd = -1;
    kill(f.job, SIGHUP); /* as a shell tells its jobs */
    status = ttyjob_status(&f);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGHUP);
    ttyjob_end(&f);
}

static void the_size_is_clamped_and_has_a_default(void **arg)
{
    struct winsize size = {.ws_row = 2000, .ws_col = 5000};
    uint16_t cols = 0, rows = 0;
    int master, slave, pipes[2];
    struct err e = {0};

    (void)arg;
    assert_int_equal(openpty(&master, &slave, NULL, NULL, &size), 0);
    assert_int_equal(pipe(pipes), 0);
    tty_size(slave, &cols, &rows);
    assert_int_equal(cols, 1000);
    assert_int_equal(rows, 1000);
    size = (struct winsize){.ws_row = 0, .ws_col = 120};
    assert_int_equal(ioctl(slave, TIOCSWINSZ, &size), 0);
    tty_size(slave, &cols, &rows);
    assert_int_equal(cols, 120);
    assert_int_equal(rows, 24);
    tty_size(pipes[0], &cols, &rows);
    assert_int_equal(cols, 80);
    assert_int_equal(rows, 24);
    assert_true(tty_is_terminal(slave, slave));
    assert_false(tty_is_terminal(slave, pipes[1]));
    assert_false(tty_is_terminal(pipes[0], slave));
    tty_restore(); /* never raw */
    assert_int_equal(tty_raw(pipes[0], pipes[1], &e), -1);
    assert_int_equal(e.kind, ERR_SYSTEM);
    close(pipes[0]);
    close(pipes[1]);
    close(master);
    close(slave);
}

#define T(f) cmocka_unit_test_teardown(f, ttyjob_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(restored_on_return),
        T(restored_on_exit),
        T(restored_on_every_fatal_signal),
        T(restored_on_a_fault),
        T(what_a_program_may_set_is_set_back),
        T(a_progress_bar_is_taken_away),
        T(late_answers_do_not_reach_the_next_reader),
        T(a_terminal_that_never_answers_costs_its_time_once),
        T(endless_input_costs_no_more),
        T(a_terminal_that_takes_nothing_does_not_hold_us),
        T(a_signal_while_restoring_leaves_no_raw_terminal),
        T(a_terminal_that_is_gone_ends_at_once),
        T(the_size_is_clamped_and_has_a_default),
    };

    return cmocka_run_group_tests_name("client/tty", tests, NULL, NULL);
}
