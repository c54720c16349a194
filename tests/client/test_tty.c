/*
 * The user's terminal on every way out, over a real PTY: this process plays
 * the terminal; a session leader plays the shell that waits; the client under
 * test is the leader's foreground job.
 */
#include "client/tty.h"

#include "base/mem.h"

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
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define ASK "\033[5n"
#define ANSWER "\033[0n"
#define PATIENCE_MS 5000
#define SLACK_MS 800 /* what a loaded machine may add */

static const int fatal[] = {SIGTERM, SIGHUP, SIGINT, SIGQUIT, SIGABRT,
                            SIGSEGV, SIGBUS, SIGFPE, SIGILL};
#define FATAL_COUNT (sizeof(fatal) / sizeof(*fatal))

struct fixture {
    int master_fd, slave_fd;
    int news_fd; /* the leader tells: the job's pid, then its status */
    int life_fd; /* the leader leaves when this closes */
    pid_t leader, job;
    struct termios before;
    char out[65536]; /* what the terminal was sent */
    size_t out_len;
};

static pid_t live_leader, live_job; /* what a failed test leaves behind */

static int64_t now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * INT64_C(1000) + t.tv_nsec / 1000000;
}

static void put_or_die(int fd, const void *bytes, size_t len)
{
    if (write(fd, bytes, len) != (ssize_t)len)
        _exit(99);
}

/* The job: raw mode, "ready", then its way out. */
static void run_job(void (*way_out)(void))
{
    struct err e = {0};

    for (size_t i = 0; i < FATAL_COUNT; i++)
        signal(fatal[i], SIG_DFL); /* cmocka and sanitizers have theirs */
    if (!tty_is_terminal(0, 1) || tty_raw(0, 1, &e) < 0)
        _exit(98);
    put_or_die(1, "ready", 5);
    way_out();
    _exit(97);
}

static void run_leader(struct fixture *f, int news_fd, int life_fd,
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
    put_or_die(news_fd, &job, sizeof(job));
    if (waitpid(job, &status, 0) != job)
        _exit(99);
    put_or_die(news_fd, &status, sizeof(status));
    (void)!read(life_fd, &c, 1);
    _exit(0);
}

static void take_output(struct fixture *f, int ms)
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

static bool is_sent(struct fixture *f, const char *text)
{
    return memmem(f->out, f->out_len, text, strlen(text)) != NULL;
}

static void wait_for(struct fixture *f, const char *text)
{
    int64_t until = now_ms() + PATIENCE_MS;

    while (!is_sent(f, text) && now_ms() < until)
        take_output(f, 20);
    if (!is_sent(f, text))
        fail_msg("the terminal was not sent \"%s\"", text);
}

static int teardown(void **arg)
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

static void start(struct fixture *f, void (*way_out)(void))
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
    wait_for(f, "ready");
}

static void assert_raw(struct fixture *f)
{
    struct termios now;

    assert_int_equal(tcgetattr(f->slave_fd, &now), 0);
    assert_int_equal(now.c_lflag & (ICANON | ECHO | ISIG), 0);
    assert_int_equal(now.c_oflag & OPOST, 0);
}

static void type(struct fixture *f, const char *text)
{
    assert_int_equal(write(f->master_fd, text, strlen(text)), strlen(text));
}

static int job_status(struct fixture *f)
{
    int64_t until = now_ms() + PATIENCE_MS;
    struct pollfd p = {.fd = f->news_fd, .events = POLLIN};
    int status = 0;

    while (poll(&p, 1, 0) == 0 && now_ms() < until)
        take_output(f, 5);
    assert_int_equal(read(f->news_fd, &status, sizeof(status)), sizeof(status));
    live_job = 0;
    take_output(f, 0);
    return status;
}

/* The shell's view: settings and flags as before, nothing to read. */
static void assert_as_before(struct fixture *f)
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

static void end(struct fixture *f)
{
    live_job = live_leader = 0;
    close(f->life_fd);
    assert_int_equal(waitpid(f->leader, NULL, 0), f->leader);
    close(f->news_fd);
    close(f->slave_fd);
    close(f->master_fd);
}

static void returns(void)
{
    tty_restore();
    tty_restore();
    _exit(7);
}

static void calls_exit(void)
{
    exit(7);
}

static void waits(void)
{
    for (;;)
        pause();
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
    waits();
}

static void check_way(void (*way)(void), int kill_with, int exits_with)
{
    struct fixture f;
    int status;

    start(&f, way);
    if (kill_with && way == waits) {
        assert_raw(&f);
        kill(f.job, kill_with);
    }
    wait_for(&f, ASK);
    assert_true(is_sent(&f, "\033[?1049l"));
    assert_true(is_sent(&f, "\033[?2004l"));
    assert_true(is_sent(&f, "\033[?1000l") && is_sent(&f, "\033[?1006l"));
    assert_true(is_sent(&f, "\033[?1004l") && is_sent(&f, "\033[?1l"));
    assert_true(is_sent(&f, "\033(B") && is_sent(&f, "\033[23;0t"));
    type(&f, ANSWER);
    status = job_status(&f);
    if (kill_with) {
        assert_true(WIFSIGNALED(status));
        assert_int_equal(WTERMSIG(status), kill_with);
    } else {
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), exits_with);
    }
    assert_as_before(&f);
    end(&f);
}

static void restored_on_return(void **arg)
{
    (void)arg;
    check_way(returns, 0, 7);
}

static void restored_on_exit(void **arg)
{
    (void)arg;
    check_way(calls_exit, 0, 7);
}

static void restored_on_every_fatal_signal(void **arg)
{
    (void)arg;
    for (size_t i = 0; i < FATAL_COUNT; i++)
        check_way(waits, fatal[i], 0);
}

static void restored_on_a_fault(void **arg)
{
    (void)arg;
    check_way(faults, SIGSEGV, 0);
    check_way(faults_without_a_stack, SIGSEGV, 0);
    check_way(dies_in_a_thread, SIGTERM, 0);
}

static void late_answers_do_not_reach_the_next_reader(void **arg)
{
    struct fixture f;

    (void)arg;
    start(&f, returns);
    /* reports under way, the program's own question answered, typing */
    type(&f, "\033[<0;10;10M\033[<0;10;10m");
    wait_for(&f, ASK);
    type(&f, "\033[24;80R" ANSWER "\033[I");
    usleep(10 * 1000);
    type(&f, "\033[M !!\033]11;rgb:0/0/0\033\\ls\r" ANSWER);
    assert_int_equal(WEXITSTATUS(job_status(&f)), 7);
    assert_as_before(&f);
    end(&f);
}

static void a_terminal_that_never_answers_costs_its_time_once(void **arg)
{
    struct fixture f;
    int64_t begun, took;

    (void)arg;
    start(&f, returns);
    wait_for(&f, ASK);
    begun = now_ms();
    assert_int_equal(WEXITSTATUS(job_status(&f)), 7);
    took = now_ms() - begun;
    assert_in_range(took, TTY_QUIET_MS - 100, TTY_QUIET_MS + SLACK_MS);
    assert_as_before(&f);
    end(&f);
}

static void endless_input_costs_no_more(void **arg)
{
    struct fixture f;
    int64_t begun, until;
    struct pollfd p;

    (void)arg;
    start(&f, returns);
    wait_for(&f, ASK);
    begun = now_ms();
    until = begun + PATIENCE_MS;
    p = (struct pollfd){.fd = f.news_fd, .events = POLLIN};
    while (poll(&p, 1, 5) == 0 && now_ms() < until)
        type(&f, ANSWER "x");
    assert_true(now_ms() - begun < TTY_QUIET_MS + SLACK_MS);
    assert_int_equal(WEXITSTATUS(job_status(&f)), 7);
    end(&f);
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
    struct fixture f;
    struct pollfd p;
    int status = 0;

    (void)arg;
    start(&f, sits_behind_a_full_terminal);
    p = (struct pollfd){.fd = f.news_fd, .events = POLLIN};
    assert_int_equal(poll(&p, 1, PATIENCE_MS), 1); /* nothing was read */
    assert_int_equal(read(f.news_fd, &status, sizeof(status)), sizeof(status));
    assert_int_equal(WEXITSTATUS(status), 7);
    assert_as_before(&f);
    end(&f);
}

/* A signal in the midst of restoring: done again, then death. */
static void a_signal_while_restoring_leaves_no_raw_terminal(void **arg)
{
    struct fixture f;
    int status;

    (void)arg;
    start(&f, returns);
    wait_for(&f, ASK);
    kill(f.job, SIGTERM);
    status = job_status(&f);
    assert_true(WIFSIGNALED(status));
    assert_as_before(&f);
    end(&f);
}

static void a_terminal_that_is_gone_ends_at_once(void **arg)
{
    struct fixture f;
    int status = 0;

    (void)arg;
    start(&f, waits);
    close(f.slave_fd);
    close(f.master_fd);
    kill(f.job, SIGHUP); /* as a shell tells its jobs */
    assert_int_equal(read(f.news_fd, &status, sizeof(status)), sizeof(status));
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGHUP);
    live_job = live_leader = 0;
    close(f.life_fd);
    assert_int_equal(waitpid(f.leader, NULL, 0), f.leader);
    close(f.news_fd);
}

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
    returns();
}

static void a_forked_child_leaves_the_terminal_alone(void **arg)
{
    (void)arg;
    check_way(forks, 0, 7);
}

static void in_the_background(void)
{
    signal(SIGTTOU, SIG_IGN);
    tcsetpgrp(0, getppid()); /* the shell is in front */
    signal(SIGTTOU, SIG_DFL);
    put_or_die(1, "behind", 6);
    returns();
}

static void another_job_s_terminal_is_left_alone(void **arg)
{
    struct fixture f;
    int waiting = 0;

    (void)arg;
    start(&f, in_the_background);
    wait_for(&f, "behind");
    type(&f, "typed");
    assert_int_equal(WEXITSTATUS(job_status(&f)), 7);
    assert_false(is_sent(&f, ASK));
    /* the kernel hands typed bytes over a moment later */
    for (int i = 0; waiting < 5 && i < 200; i++) {
        assert_int_equal(ioctl(f.slave_fd, FIONREAD, &waiting), 0);
        poll(NULL, 0, 10);
    }
    assert_int_equal(waiting, 5);
    assert_raw(&f); /* whoever is in front decides */
    end(&f);
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
    check_way(has_its_own_handler, 0, 7);
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
    put_or_die(1, "again", 5);
    waits();
}

static void raw_again_after_a_restore_is_restored_again(void **arg)
{
    struct fixture f;

    (void)arg;
    start(&f, goes_in_again);
    wait_for(&f, ASK);
    type(&f, ANSWER);
    wait_for(&f, "again");
    assert_raw(&f);
    kill(f.job, SIGTERM);
    assert_int_equal(WTERMSIG(job_status(&f)), SIGTERM);
    assert_as_before(&f);
    end(&f);
}

static void on_continued(int number)
{
    (void)number;
    tty_again();
}

static void continues(void)
{
    signal(SIGCONT, on_continued);
    put_or_die(1, "listening", 9);
    waits();
}

static bool is_raw(struct fixture *f)
{
    struct termios now;

    return tcgetattr(f->slave_fd, &now) == 0 && !(now.c_lflag & ECHO);
}

/* A shell has the terminal while its job is stopped. */
static void raw_again_after_a_stop_and_restored_at_the_end(void **arg)
{
    struct fixture f;
    int64_t until;

    (void)arg;
    start(&f, continues);
    wait_for(&f, "listening");
    kill(f.job, SIGSTOP);
    assert_int_equal(tcsetattr(f.slave_fd, TCSANOW, &f.before), 0);
    assert_false(is_raw(&f));
    kill(f.job, SIGCONT);
    until = now_ms() + PATIENCE_MS;
    while (!is_raw(&f) && now_ms() < until)
        take_output(&f, 5);
    assert_raw(&f);
    kill(f.job, SIGTERM);
    assert_int_equal(WTERMSIG(job_status(&f)), SIGTERM);
    assert_as_before(&f);
    end(&f);
}

static void continues_behind(void)
{
    signal(SIGTTOU, SIG_IGN);
    tcsetpgrp(0, getppid()); /* the shell is in front */
    signal(SIGTTOU, SIG_DFL);
    put_or_die(1, tty_is_front(0) ? "front" : "behind", 6);
    raise(SIGSTOP);
    tty_again(); /* would stop it again */
    put_or_die(1, "passed", 6);
    waits();
}

static void a_job_continued_behind_leaves_the_terminal_alone(void **arg)
{
    struct fixture f;

    (void)arg;
    start(&f, continues_behind);
    wait_for(&f, "behind");
    assert_int_equal(tcsetattr(f.slave_fd, TCSANOW, &f.before), 0);
    for (int i = 0; i < 500 && !is_sent(&f, "passed"); i++) {
        kill(f.job, SIGCONT); /* it may not have stopped yet */
        take_output(&f, 10);
    }
    assert_true(is_sent(&f, "passed"));
    assert_false(is_raw(&f));
    kill(f.job, SIGTERM);
    assert_int_equal(WTERMSIG(job_status(&f)), SIGTERM);
    end(&f);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(restored_on_return, teardown),
        cmocka_unit_test_teardown(restored_on_exit, teardown),
        cmocka_unit_test_teardown(restored_on_every_fatal_signal, teardown),
        cmocka_unit_test_teardown(restored_on_a_fault, teardown),
        cmocka_unit_test_teardown(late_answers_do_not_reach_the_next_reader,
                                  teardown),
        cmocka_unit_test_teardown(
            a_terminal_that_never_answers_costs_its_time_once, teardown),
        cmocka_unit_test_teardown(endless_input_costs_no_more, teardown),
        cmocka_unit_test_teardown(
            a_terminal_that_takes_nothing_does_not_hold_us, teardown),
        cmocka_unit_test_teardown(
            a_signal_while_restoring_leaves_no_raw_terminal, teardown),
        cmocka_unit_test_teardown(a_terminal_that_is_gone_ends_at_once,
                                  teardown),
        cmocka_unit_test_teardown(a_forked_child_leaves_the_terminal_alone,
                                  teardown),
        cmocka_unit_test_teardown(another_job_s_terminal_is_left_alone,
                                  teardown),
        cmocka_unit_test_teardown(a_caller_s_own_handler_stays, teardown),
        cmocka_unit_test_teardown(raw_again_after_a_restore_is_restored_again,
                                  teardown),
        cmocka_unit_test_teardown(
            raw_again_after_a_stop_and_restored_at_the_end, teardown),
        cmocka_unit_test_teardown(
            a_job_continued_behind_leaves_the_terminal_alone, teardown),
        cmocka_unit_test_teardown(the_size_is_clamped_and_has_a_default,
                                  teardown),
    };

    return cmocka_run_group_tests_name("client/tty", tests, NULL, NULL);
}
