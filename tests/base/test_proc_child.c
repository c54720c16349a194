/* What a spawned process starts with: descriptors, signals, place, rights. */
#include "base/mem.h"
#include "base/own.h"
#include "base/proc.h"
#include "tests/lib/spawned.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

#define TEXT_MAX 8192
#define NOBODY 65534

static struct err e;

static int fresh(void **state)
{
    (void)state;
    e = (struct err){0};
    return 0;
}

/* What a shell script says on its descriptor 1, started as `how` says. */
static char *say(struct proc_spawn *how, const char *script)
{
    char *text = mem_zero(1, TEXT_MAX);
    char *argv[] = {"sh", "-c", (char *)script, NULL};
    int ends[2], fds[3] = {-1, -1, 2};
    size_t got = 0;
    ssize_t n;
    pid_t pid;
    int fd;

    assert_return_code(pipe2(ends, O_CLOEXEC), errno);
    fds[1] = ends[1];
    how->path = "/bin/sh";
    how->argv = argv;
    if (!how->fds) {
        how->fds = fds;
        how->fd_count = 3;
    }
    fd = proc_spawn(how, &pid, &e);
    close(ends[1]);
    assert_string_equal(e.text, "");
    while ((n = read(ends[0], text + got, TEXT_MAX - 1 - got)) > 0)
        got += (size_t)n;
    close(ends[0]);
    assert_int_equal(spawned_wait(fd), 0);
    close(fd);
    return text;
}

/* --- what the child starts with --- */

static void a_child_has_the_descriptors_given_and_no_other(void **state)
{
    own_fd int leak = open("/etc/hosts", O_RDONLY); /* no close-on-exec */
    own_fd int high = fcntl(leak, F_DUPFD, 500);
    int out[2], in[2], fds[8];
    struct proc_spawn how = {.fds = fds, .fd_count = 8};
    char text[512], *argv[] = {"sh", "-c",
                               "cd /proc/$$/fd; for f in *; do "
                               "[ -e $f ] && echo $f $(readlink $f); done",
                               NULL};
    size_t got = 0;
    ssize_t n;
    pid_t pid;
    int fd;

    (void)state;
    assert_return_code(pipe(out), errno);
    assert_return_code(pipe(in), errno);
    /* numbers that cross: each would hit one still needed */
    for (int i = 0; i < 8; i++)
        fds[i] = -1;
    fds[1] = out[1];
    fds[3] = in[0];
    fds[5] = out[1];
    fds[6] = leak;
    how.path = "/bin/sh";
    how.argv = argv;
    fd = proc_spawn(&how, &pid, &e);
    assert_true(fd >= 0);
    close(out[1]);
    close(in[0]);
    close(in[1]);
    while ((n = read(out[0], text + got, sizeof(text) - 1 - got)) > 0)
        got += (size_t)n;
    text[got] = 0;
    close(out[0]);
    assert_int_equal(spawned_wait(fd), 0);
    close(fd);
    assert_non_null(strstr(text, "0 /dev/null\n"));
    assert_non_null(strstr(text, "1 pipe:"));
    assert_non_null(strstr(text, "2 /dev/null\n"));
    assert_non_null(strstr(text, "\n3 pipe:"));
    assert_null(strstr(text, "\n4 "));
    assert_non_null(strstr(text, "\n5 pipe:"));
    assert_non_null(strstr(text, "\n6 /etc/hosts\n"));
    assert_null(strstr(text, "\n7 "));
    assert_null(strstr(text, "\n50"));
    assert_true(high >= 500);
    /* ours are as they were */
    assert_int_equal(fcntl(leak, F_GETFD), 0);
}

static void standard_descriptors_are_made_where_we_have_none(void **state)
{
    own_fd int zero = dup(0);
    struct proc_spawn how = {0};
    char *text;

    (void)state;
    close(0); /* /dev/null opens as 0 itself in the child */
    text = say(&how, "readlink /proc/$$/fd/0");
    dup2(zero, 0);
    assert_string_equal(text, "/dev/null\n");
    free(text);
}

static void a_child_hears_every_signal_again(void **state)
{
    struct proc_spawn how = {0};
    sigset_t block, old;
    char *text;

    (void)state;
    signal(SIGUSR1, SIG_IGN);
    signal(SIGPIPE, SIG_IGN);
    sigfillset(&block);
    sigprocmask(SIG_SETMASK, &block, &old);
    text = say(&how, "grep -E 'Sig(Blk|Ign|Cgt)' /proc/self/status");
    sigprocmask(SIG_SETMASK, &old, NULL);
    signal(SIGUSR1, SIG_DFL);
    signal(SIGPIPE, SIG_DFL);
    assert_non_null(strstr(text, "SigBlk:\t0000000000000000"));
    assert_non_null(strstr(text, "SigIgn:\t0000000000000000"));
    free(text);
}

static void our_own_signals_are_as_before(void **state)
{
    sigset_t before, after;
    pid_t pid;
    int fd;

    (void)state;
    sigemptyset(&before);
    sigaddset(&before, SIGUSR2);
    sigprocmask(SIG_SETMASK, &before, NULL);
    signal(SIGUSR1, SIG_IGN);
    fd = spawned_sleep(&pid);
    sigprocmask(SIG_SETMASK, NULL, &after);
    assert_int_equal(sigismember(&after, SIGUSR2), 1);
    assert_int_equal(sigismember(&after, SIGTERM), 0);
    assert_ptr_equal(signal(SIGUSR1, SIG_DFL), SIG_IGN);
    sigemptyset(&before);
    sigprocmask(SIG_SETMASK, &before, NULL);
    spawned_end(fd);
}

static void environment_and_place_are_from_nothing(void **state)
{
    char *env[] = {"ONLY=this", NULL};
    struct proc_spawn how = {0}, given = {.envp = env, .cwd = "/usr"};
    char *text;

    (void)state;
    setenv("SECRET_OF_OURS", "x", 1);
    text = say(&how, "/usr/bin/env; pwd");
    assert_null(strstr(text, "SECRET_OF_OURS"));
    assert_null(strstr(text, "HOME="));
    assert_non_null(strstr(text, "/\n"));
    free(text);
    text = say(&given, "/usr/bin/env; /bin/pwd");
    assert_non_null(strstr(text, "ONLY=this\n"));
    assert_non_null(strstr(text, "\n/usr\n"));
    unsetenv("SECRET_OF_OURS");
    free(text);
}

static void a_new_session_is_led_by_the_child(void **state)
{
    struct proc_spawn how = {.new_session = true};
    char *text = say(&how, "read -r p c s pp g sid r < /proc/self/stat; "
                           "[ $p = $sid ] && echo leads");

    (void)state;
    assert_string_equal(text, "leads\n");
    free(text);
}

/* --- rights --- */

static void rights_are_dropped_for_good(void **state)
{
    struct proc_spawn how = {.set_ids = true, .uid = NOBODY, .gid = 54321};
    char *text;

    (void)state;
    if (geteuid() != 0)
        skip();
    text = say(&how, "cat /proc/self/status");
    assert_non_null(strstr(text, "Uid:\t65534\t65534\t65534\t65534\n"));
    assert_non_null(strstr(text, "Gid:\t54321\t54321\t54321\t54321\n"));
    assert_non_null(strstr(text, "Groups:\t \n"));
    assert_non_null(strstr(text, "NoNewPrivs:\t1\n"));
    assert_non_null(strstr(text, "CapInh:\t0000000000000000\n"));
    assert_non_null(strstr(text, "CapPrm:\t0000000000000000\n"));
    assert_non_null(strstr(text, "CapEff:\t0000000000000000\n"));
    assert_non_null(strstr(text, "CapAmb:\t0000000000000000\n"));
    free(text);
}

static void uid_0_keeps_no_capability_either(void **state)
{
    struct proc_spawn how = {.set_ids = true};
    char *text;

    (void)state;
    if (geteuid() != 0)
        skip();
    text = say(&how, "cat /proc/self/status");
    assert_non_null(strstr(text, "Uid:\t0\t0\t0\t0\n"));
    assert_non_null(strstr(text, "CapPrm:\t0000000000000000\n"));
    assert_non_null(strstr(text, "CapEff:\t0000000000000000\n"));
    free(text);
}

static void without_set_ids_rights_stay(void **state)
{
    struct proc_spawn how = {0};
    char *text = say(&how, "cat /proc/self/status"), want[64];

    (void)state;
    snprintf(want, sizeof(want), "Uid:\t%u\t%u", getuid(), geteuid());
    assert_non_null(strstr(text, want));
    assert_non_null(strstr(text, "NoNewPrivs:\t0\n"));
    free(text);
}

static void a_user_who_may_not_change_is_told(void **state)
{
    const struct proc_spawn how = {.path = "/bin/sleep",
                                   .argv = spawned_sleeper,
                                   .set_ids = true,
                                   .uid = 0,
                                   .gid = 0};
    int status;
    pid_t pid, child;

    (void)state;
    if (geteuid() != 0)
        skip();
    child = fork();
    if (child == 0) {
        if (setresgid(NOBODY, NOBODY, NOBODY) < 0 ||
            setresuid(NOBODY, NOBODY, NOBODY) < 0)
            _exit(9);
        _exit(proc_spawn(&how, &pid, &e) == -1 && e.kind == ERR_SYSTEM &&
                      strstr(e.text, "user and group")
                  ? 0
                  : 1);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

/* The parent is a process of its own, so that its death can be seen: it
 * tells the grandchild's pid, or 0. */
static void dies_with_its_parent(bool set_ids)
{
    const struct proc_spawn how = {.path = "/bin/sleep",
                                   .argv = spawned_sleeper,
                                   .death_signal = SIGKILL,
                                   .set_ids = set_ids,
                                   .uid = NOBODY,
                                   .gid = NOBODY};
    struct pollfd p = {.events = POLLIN};
    int ends[2], status;
    pid_t parent, pid = 0;
    own_fd int fd = -1;

    assert_return_code(pipe2(ends, O_CLOEXEC), errno);
    parent = fork();
    if (parent == 0) {
        if (proc_spawn(&how, &pid, &e) < 0)
            pid = 0;
        if (write(ends[1], &pid, sizeof(pid)) != sizeof(pid))
            _exit(1);
        for (;;)
            pause();
    }
    assert_int_equal(read(ends[0], &pid, sizeof(pid)), sizeof(pid));
    close(ends[0]);
    close(ends[1]);
    assert_true(pid > 0);
    fd = proc_pidfd(pid);
    assert_true(fd >= 0);
    p.fd = fd;
    assert_int_equal(poll(&p, 1, 50), 0);
    kill(parent, SIGKILL);
    waitpid(parent, &status, 0);
    assert_int_equal(poll(&p, 1, SPAWNED_MS), 1);
}

static void the_death_signal_outlives_a_change_of_user(void **state)
{
    (void)state;
    dies_with_its_parent(false);
    if (geteuid() == 0)
        dies_with_its_parent(true);
}

#define TEST(f) cmocka_unit_test_setup(f, fresh)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_child_has_the_descriptors_given_and_no_other),
        TEST(standard_descriptors_are_made_where_we_have_none),
        TEST(a_child_hears_every_signal_again),
        TEST(our_own_signals_are_as_before),
        TEST(environment_and_place_are_from_nothing),
        TEST(a_new_session_is_led_by_the_child),
        TEST(rights_are_dropped_for_good),
        TEST(uid_0_keeps_no_capability_either),
        TEST(without_set_ids_rights_stay),
        TEST(a_user_who_may_not_change_is_told),
        TEST(the_death_signal_outlives_a_change_of_user),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
