/* Processes: who they are, how they end, and what starting one costs.
 * test_proc_child.c: what a spawned one starts with. */
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

static struct err e;

static int fresh(void **state)
{
    (void)state;
    e = (struct err){0};
    return 0;
}

/* --- identity --- */

static void a_process_is_known_by_its_start_time_too(void **state)
{
    own_fd int again = -1;
    struct proc_id id, other;
    pid_t pid;
    int fd = spawned_sleep(&pid);

    (void)state;
    assert_int_equal(proc_identify(pid, &id, &e), 0);
    assert_int_equal(id.pid, pid);
    assert_true(id.start > 0);
    assert_int_equal(strlen(id.boot_id), 36);
    again = proc_open(&id, &e);
    assert_true(again >= 0);

    other = id;
    other.start++;
    assert_int_equal(proc_open(&other, &e), -1);
    assert_int_equal(e.kind, ERR_ABSENT);
    other = id;
    other.boot_id[0] ^= 1;
    e = (struct err){0};
    assert_int_equal(proc_open(&other, &e), -1);
    assert_int_equal(e.kind, ERR_ABSENT);
    spawned_end(fd);
}

static void a_process_that_ended_is_absent_reaped_or_not(void **state)
{
    struct pollfd p = {.events = POLLIN};
    struct proc_id id, now;
    pid_t pid;
    int fd = spawned_sleep(&pid), status;

    (void)state;
    assert_int_equal(proc_identify(pid, &id, &e), 0);
    assert_return_code(proc_signal(fd, SIGKILL), errno);
    p.fd = fd;
    assert_int_equal(poll(&p, 1, SPAWNED_MS), 1);
    assert_int_equal(proc_identify(pid, &now, &e), -1); /* a zombie */
    assert_int_equal(e.kind, ERR_ABSENT);
    assert_int_equal(proc_open(&id, &e), -1);
    assert_int_equal(proc_reap(fd, &status), 1);
    close(fd);
    e = (struct err){0};
    assert_int_equal(proc_open(&id, &e), -1);
    assert_int_equal(e.kind, ERR_ABSENT);
}

static void numbers_that_are_no_process_are_absent(void **state)
{
    struct proc_id id = {.pid = 0};

    (void)state;
    assert_int_equal(proc_open(&id, &e), -1);
    assert_int_equal(e.kind, ERR_ABSENT);
    id.pid = -1;
    assert_int_equal(proc_open(&id, &e), -1);
    assert_int_equal(proc_identify(0x3fffffff, &id, &e), -1);
    assert_int_equal(e.kind, ERR_ABSENT);
}

static void a_name_full_of_brackets_does_not_shift_the_fields(void **state)
{
    struct proc_id before, after;

    (void)state;
    assert_int_equal(proc_identify(getpid(), &before, &e), 0);
    assert_return_code(prctl(PR_SET_NAME, ") R 1 2 (x) 7 ", 0, 0, 0), errno);
    assert_int_equal(proc_identify(getpid(), &after, &e), 0);
    prctl(PR_SET_NAME, "test_proc", 0, 0, 0);
    assert_true(before.start == after.start);
}

/* --- ends --- */

static void reaping_tells_running_exited_signalled_and_not_ours(void **state)
{
    char *argv[] = {"sh", "-c", "exit 7", NULL};
    const struct proc_spawn how = {.path = "/bin/sh", .argv = argv};
    int status = -1, fd;
    pid_t pid;

    (void)state;
    fd = proc_spawn(&how, &pid, &e);
    status = spawned_wait(fd);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 7);
    assert_int_equal(proc_reap(fd, &status), -1);
    close(fd);

    fd = spawned_sleep(&pid);
    assert_int_equal(proc_reap(fd, &status), 0);
    proc_signal(fd, SIGTERM);
    status = spawned_wait(fd);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGTERM);
    close(fd);

    fd = proc_pidfd(getppid());
    assert_true(fd >= 0);
    assert_int_equal(proc_reap(fd, &status), -1);
    close(fd);
}

static void pidfds_are_not_inherited(void **state)
{
    own_fd int fd = proc_pidfd(getpid());

    (void)state;
    assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
}

/* --- failures --- */

static int open_count(void)
{
    int n = 0;

    for (int fd = 0; fd < 1024; fd++)
        n += fcntl(fd, F_GETFD) >= 0;
    return n;
}

static void a_failed_start_names_its_step_and_leaves_nothing(void **state)
{
    const struct {
        struct proc_spawn how;
        const char *step, *why;
    } rows[] = {
        {{.path = "/nowhere/x"}, "exec", "No such file"},
        {{.path = "/etc"}, "exec", "Permission denied"},
        {{.path = "/bin/sleep", .cwd = "/nowhere"}, "chdir", "No such file"},
        {{.path = "/bin/sleep", .death_signal = 999},
         "death signal",
         "Invalid"},
        {{.path = "/bin/sleep", .fds = (int[]){-1, 987}, .fd_count = 2},
         "descriptors",
         "Bad file"},
    };
    int before = open_count(), status;
    pid_t pid;

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct proc_spawn how = rows[i].how;

        how.argv = spawned_sleeper;
        pid = -7;
        assert_int_equal(proc_spawn(&how, &pid, &e), -1);
        assert_int_equal(e.kind, ERR_SYSTEM);
        assert_non_null(strstr(e.text, rows[i].how.path));
        assert_non_null(strstr(e.text, rows[i].step));
        assert_non_null(strstr(e.text, rows[i].why));
        assert_int_equal(pid, -7);
    }
    assert_int_equal(open_count(), before);
    assert_int_equal(waitpid(-1, &status, WNOHANG), -1); /* no zombie */
    assert_int_equal(errno, ECHILD);
}

static void more_descriptors_than_the_limit_are_refused(void **state)
{
    const struct proc_spawn how = {.path = "/bin/sleep",
                                   .argv = spawned_sleeper,
                                   .fds = (int[65]){0},
                                   .fd_count = 65};
    pid_t pid;

    (void)state;
    assert_int_equal(proc_spawn(&how, &pid, &e), -1);
    assert_int_equal(e.kind, ERR_SYSTEM);
}

/* --- speed and threads --- */

static int64_t spawn_us(int times)
{
    struct timespec from, to;
    char *argv[] = {"true", NULL};
    const struct proc_spawn how = {.path = "/bin/true", .argv = argv};
    pid_t pid;
    int64_t us = 0;

    for (int i = 0; i < times; i++) {
        int fd;

        clock_gettime(CLOCK_MONOTONIC, &from);
        fd = proc_spawn(&how, &pid, &e);
        clock_gettime(CLOCK_MONOTONIC, &to);
        us += (to.tv_sec - from.tv_sec) * 1000000 +
              (to.tv_nsec - from.tv_nsec) / 1000;
        spawned_wait(fd);
        close(fd);
    }
    return us / times;
}

/* The best of some: what a busy machine adds is not ours. */
static int64_t best_spawn_us(void)
{
    int64_t best = INT64_MAX;

    for (int i = 0; i < 100; i++) {
        int64_t us = spawn_us(1);

        best = us < best ? us : best;
    }
    return best;
}

/* fork would copy the page tables of 256 MiB; vfork does not. */
static void spawning_costs_the_same_from_a_large_process(void **state)
{
    size_t size = 256u << 20;
    int64_t small = best_spawn_us(), large;
    char *big = mmap(NULL, size, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    (void)state;
    assert_ptr_not_equal(big, MAP_FAILED);
    madvise(big, size, MADV_NOHUGEPAGE);
    for (size_t i = 0; i < size; i += 4096)
        big[i] = 1;
    large = best_spawn_us();
    munmap(big, size);
    print_message("spawn: %lld us small, %lld us with 256 MiB\n",
                  (long long)small, (long long)large);
    assert_true(large < small * 3 + 500);
}

static void *spawn_many(void *arg)
{
    char *argv[] = {"sh", "-c", "exit $((40 + 2))", NULL};
    const struct proc_spawn how = {.path = "/bin/sh", .argv = argv};
    struct err why = {0};
    intptr_t good = 0;

    (void)arg;
    for (int i = 0; i < 25; i++) {
        pid_t pid;
        int fd = proc_spawn(&how, &pid, &why), status = 0;
        struct pollfd p = {.fd = fd, .events = POLLIN};

        if (fd >= 0 && poll(&p, 1, SPAWNED_MS) == 1 &&
            proc_reap(fd, &status) == 1 && WEXITSTATUS(status) == 42)
            good++;
        close(fd);
    }
    return (void *)good;
}

static void threads_spawn_at_once(void **state)
{
    pthread_t threads[4];
    intptr_t good = 0;

    (void)state;
    for (int i = 0; i < 4; i++)
        pthread_create(&threads[i], NULL, spawn_many, NULL);
    for (int i = 0; i < 4; i++) {
        void *n;

        pthread_join(threads[i], &n);
        good += (intptr_t)n;
    }
    assert_int_equal(good, 100);
}

/* --- ourselves --- */

static void an_undumpable_process_leaves_no_core_and_no_way_in(void **state)
{
    struct rlimit r;
    int status;
    pid_t child = fork();

    (void)state;
    if (child == 0) {
        proc_undumpable();
        _exit(prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) == 0 &&
                      getrlimit(RLIMIT_CORE, &r) == 0 && r.rlim_max == 0
                  ? 0
                  : 1);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

static void closing_from_a_number_keeps_what_lies_below(void **state)
{
    int status;
    pid_t child = fork();

    (void)state;
    if (child == 0) {
        int low = dup(2), high = fcntl(2, F_DUPFD, 900);

        proc_close_from(low + 1);
        _exit(fcntl(low, F_GETFD) >= 0 && high >= 900 &&
                      fcntl(high, F_GETFD) < 0
                  ? 0
                  : 1);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

#define TEST(f) cmocka_unit_test_setup(f, fresh)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_process_is_known_by_its_start_time_too),
        TEST(a_process_that_ended_is_absent_reaped_or_not),
        TEST(numbers_that_are_no_process_are_absent),
        TEST(a_name_full_of_brackets_does_not_shift_the_fields),
        TEST(reaping_tells_running_exited_signalled_and_not_ours),
        TEST(pidfds_are_not_inherited),
        TEST(a_failed_start_names_its_step_and_leaves_nothing),
        TEST(more_descriptors_than_the_limit_are_refused),
        TEST(spawning_costs_the_same_from_a_large_process),
        TEST(threads_spawn_at_once),
        TEST(an_undumpable_process_leaves_no_core_and_no_way_in),
        TEST(closing_from_a_number_keeps_what_lies_below),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
