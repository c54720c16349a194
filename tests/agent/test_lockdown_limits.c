/*
 * The unpacker's limits, what the kernel says of a locked process, and kernels
 * that cannot lock.
 */
#include "agent/lockdown.h"

#include "base/log.h"
#include "base/mem.h"
#include "base/own.h"
#include "tests/lib/locked.h"
#include "tests/lib/nocall.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <seccomp.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

/* --- limits --- */

static long write_too_much(void)
{
    static const char bytes[65536];
    long fd = locked_open(locked.tree_fd, "large", O_WRONLY | O_CREAT, 0644);

    for (int i = 0; i <= FILE_BYTES; i += (int)sizeof(bytes))
        if (write((int)fd, bytes, sizeof(bytes)) < 0)
            return -1;
    return 0;
}

static long map_too_much(void)
{
    void *p = mmap(NULL, MEMORY_BYTES, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    return p == MAP_FAILED ? -1 : 0;
}

static long open_too_many(void)
{
    long fd = 0;

    for (int i = 0; i < 320 && fd >= 0; i++)
        fd = locked_open(locked.tree_fd, ".", O_RDONLY | O_DIRECTORY, 0);
    return fd;
}

static void its_limits_hold(void **arg)
{
    struct stat st;

    (void)arg;
    assert_false(locked_worked(write_too_much));
    assert_int_equal(fstatat(locked.tree_fd, "large", &st, 0), 0);
    assert_int_equal(st.st_size, FILE_BYTES);
    assert_true(HAS_SHADOW || !locked_worked(map_too_much));
    assert_false(locked_worked(open_too_many));
}

static long wait_for_parent(void)
{
    char c;

    if (write(locked.pipe_fds[1], "l", 1) != 1) /* locked */
        return -1;
    for (;;)
        if (pread(locked.archive_fd, &c, 1, 0) != 0)
            return 0;
}

static void slurp(pid_t pid, const char *name, char *out, size_t size)
{
    own_mem char *path = mem_printf("/proc/%d/%s", pid, name);
    own_fd int fd = open(path, O_RDONLY);
    ssize_t n = read(fd, out, size - 1);

    assert_true(n > 0);
    out[n] = 0;
}

static void the_kernel_says_so_too(void **arg)
{
    own_mem char *archive = mem_printf("%s/archive", locked.dir);
    char text[8192], c;
    pid_t pid = fork();
    int status;

    (void)arg;
    if (pid == 0) {
        struct err e = {0};

        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (lockdown_unpacker(locked.tree_fd, FILE_BYTES, MEMORY_BYTES, &e) < 0)
            _exit(LOCK_FAILED);
        _exit(wait_for_parent() < 0);
    }
    assert_int_equal(read(locked.pipe_fds[0], &c, 1), 1);
    slurp(pid, "status", text, sizeof(text));
    assert_non_null(strstr(text, "NoNewPrivs:\t1"));
    assert_non_null(strstr(text, "Seccomp:\t2"));
    slurp(pid, "limits", text, sizeof(text));
    assert_non_null(strstr(text, "Max cpu time              600 "));
    assert_non_null(strstr(text, "Max open files            320"));
    assert_non_null(strstr(text, "Max file size             1048576 "));
    assert_true(HAS_SHADOW ||
                strstr(text, "Max data size             67108864 "));
    {
        own_fd int fd = open(archive, O_WRONLY);

        assert_int_equal(write(fd, "x", 1), 1);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

/* --- other kernels --- */

/* Exit code 0: locked in; what is logged is in the pipe. */
static int lock_without(int call, int dir_fd)
{
    int status;
    pid_t pid = fork();

    if (pid == 0) {
        scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ALLOW);
        struct err e = {0};

        log_fd(locked.pipe_fds[1]);
        if (call >= 0 &&
            (seccomp_rule_add(ctx, SCMP_ACT_ERRNO(ENOSYS), call, 0) < 0 ||
             seccomp_load(ctx) < 0))
            _exit(LOCK_FAILED);
        if (lockdown_unpacker(dir_fd, FILE_BYTES, MEMORY_BYTES, &e) < 0)
            _exit(e.kind == ERR_SYSTEM ? 1 : 2);
        _exit(syscall(SYS_openat, AT_FDCWD, "/etc/passwd", O_RDONLY) < 0 ? 0
                                                                         : 3);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void a_kernel_without_landlock_is_told_of(void **arg)
{
    char text[1024] = "";

    (void)arg;
    assert_int_equal(
        lock_without(SCMP_SYS(landlock_create_ruleset), locked.tree_fd), 0);
    assert_int_equal(fcntl(locked.pipe_fds[0], F_SETFL, O_NONBLOCK), 0);
    assert_true(read(locked.pipe_fds[0], text, sizeof(text) - 1) > 0);
    assert_non_null(strstr(text, "landlock"));
    /* and one with it is not */
    assert_int_equal(lock_without(-1, locked.tree_fd), 0);
    assert_int_equal(read(locked.pipe_fds[0], text, sizeof(text)), -1);
}

/* What of it went wrong; 0 = nothing. */
static int look_around(void)
{
    own_mem char *archive = mem_printf("%s/archive", locked.dir);
    const char *const shut[] = {archive, "/etc/passwd", "/proc/self/mem",
                                "../archive"};

    for (size_t i = 0; i < sizeof(shut) / sizeof(shut[0]); i++)
        if (locked_open(locked.tree_fd, shut[i], O_RDONLY, 0) >= 0)
            return 10 + (int)i;
    if (syscall(SYS_mkdirat, locked.tree_fd, "../beside", 0755) < 0 ||
        syscall(SYS_mkdirat, locked.tree_fd, "d", 0755) < 0 ||
        locked_open(locked.tree_fd, "d/f", O_WRONLY | O_CREAT, 0644) < 0)
        return 20;
    return syscall(SYS_linkat, locked.tree_fd, "d/f", locked.tree_fd, "hard",
                   0) < 0
               ? 21
               : 0;
}

static bool may_unshare(void)
{
    int status;
    pid_t pid = fork();

    if (pid == 0)
        _exit(unshare(CLONE_NEWUSER) < 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status == 0;
}

static void without_landlock_the_tree_is_all_there_is(void **arg)
{
    own_mem char *beside = mem_printf("%s/beside", locked.dir);
    int status;
    pid_t pid;

    (void)arg;
    if (!may_unshare())
        skip();
    pid = fork();
    if (pid == 0) {
        struct err e = {0};

        log_fd(locked.pipe_fds[1]);
        nocall(SYS_landlock_create_ruleset, ENOSYS);
        if (lockdown_unpacker(locked.tree_fd, FILE_BYTES, MEMORY_BYTES, &e) < 0)
            _exit(LOCK_FAILED);
        _exit(look_around());
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    /* the root's ".." is the root */
    assert_int_equal(access(beside, F_OK), -1);
    assert_int_equal(faccessat(locked.tree_fd, "beside", F_OK, 0), 0);
}

static void what_cannot_be_locked_fails(void **arg)
{
    (void)arg;
    assert_int_equal(
        lock_without(SCMP_SYS(landlock_restrict_self), locked.tree_fd), 1);
    assert_int_equal(lock_without(SCMP_SYS(seccomp), locked.tree_fd), 1);
    assert_int_equal(lock_without(-1, -1), 1);
}

#define T(name)                                                                \
    cmocka_unit_test_setup_teardown(name, locked_setup, locked_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(its_limits_hold),
        T(the_kernel_says_so_too),
        T(a_kernel_without_landlock_is_told_of),
        T(without_landlock_the_tree_is_all_there_is),
        T(what_cannot_be_locked_fails),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
