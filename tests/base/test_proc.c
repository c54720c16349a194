/* Processes: who they are, how they end, and what a spawned one starts with. */
#include "base/mem.h"
#include "base/own.h"
#include "base/proc.h"

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

#define WAIT_MS 5000
#define TEXT_MAX 8192
#define NOBODY 65534

static struct err e;

static int fresh(void **state)
{
    (void)state;
    e = (struct err){0};
    return 0;
}

static char *const sleeper[] = {"sleep", "60", NULL};

static int spawn_sleeper(pid_t *pid)
{
    const struct proc_spawn how = {.path = "/bin/sleep", .argv = sleeper};
    int fd = proc_spawn(&how, pid, &e);

    assert_string_equal(e.text, "");
    assert_true(fd >= 0);
    return fd;
}

static int wait_end(int pid_fd)
{
    struct pollfd p = {.fd = pid_fd, .events = POLLIN};
    int status = -1;

    assert_int_equal(poll(&p, 1, WAIT_MS), 1);
    assert_int_equal(proc_reap(pid_fd, &status), 1);
    return status;
}

static void end(int pid_fd)
{
    assert_return_code(proc_signal(pid_fd, SIGKILL), errno);
    assert_int_equal(wait_end(pid_fd), SIGKILL);
    close(pid_fd);
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
    assert_int_equal(wait_end(fd), 0);
    close(fd);
    return text;
}

/* --- identity --- */

static void a_process_is_known_by_its_start_time_too(void **state)
{
    own_fd int again = -1;
    struct proc_id id, other;
    pid_t pid;
    int fd = spawn_sleeper(&pid);

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
    end(fd);
}

static void a_process_that_ended_is_absent_reaped_or_not(void **state)
{
    struct pollfd p = {.events = POLLIN};
    struct proc_id id, now;
    pid_t pid;
    int fd = spawn_sleeper(&pid), status;

    (void)state;
    assert_int_equal(proc_identify(pid, &id, &e), 0);
    assert_return_code(proc_signal(fd, SIGKILL), errno);
    p.fd = fd;
    assert_int_equal(poll(&p, 1, WAIT_MS), 1);
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
    status = wait_end(fd);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 7);
    assert_int_equal(proc_reap(fd, &status), -1);
    close(fd);

    fd = spawn_sleeper(&pid);
    assert_int_equal(proc_reap(fd, &status), 0);
    proc_signal(fd, SIGTERM);
    status = wait_end(fd);
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
    assert_int_equal(wait_end(fd), 0);
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
    fd = spawn_sleeper(&pid);
    sigprocmask(SIG_SETMASK, NULL, &after);
    assert_int_equal(sigismember(&after, SIGUSR2), 1);
    assert_int_equal(sigismember(&after, SIGTERM), 0);
    assert_ptr_equal(signal(SIGUSR1, SIG_DFL), SIG_IGN);
    sigemptyset(&before);
    sigprocmask(SIG_SETMASK, &before, NULL);
    end(fd);
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
                                   .argv = sleeper,
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
                                   .argv = sleeper,
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
    assert_int_equal(poll(&p, 1, WAIT_MS), 1);
}

static void the_death_signal_outlives_a_change_of_user(void **state)
{
    (void)state;
    dies_with_its_parent(false);
    if (geteuid() == 0)
        dies_with_its_parent(true);
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

        how.argv = sleeper;
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
                                   .argv = sleeper,
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
        wait_end(fd);
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

        if (fd >= 0 && poll(&p, 1, WAIT_MS) == 1 &&
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
        TEST(a_failed_start_names_its_step_and_leaves_nothing),
        TEST(more_descriptors_than_the_limit_are_refused),
        TEST(spawning_costs_the_same_from_a_large_process),
        TEST(threads_spawn_at_once),
        TEST(an_undumpable_process_leaves_no_core_and_no_way_in),
        TEST(closing_from_a_number_keeps_what_lies_below),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
