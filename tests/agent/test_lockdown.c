/*
 * What a bundle that has taken the unpacker over can still do: each attack is
 * tried in a child that was locked in, and counts as refused when it fails or
 * the kernel ends the child for it.
 */
#include "tests/lib/locked.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

/* --- what it needs goes on --- */

static long do_its_work(void)
{
    long fd;
    char c;

    if (syscall(SYS_mkdirat, locked.tree_fd, "d", 0755) < 0)
        return -1;
    fd = locked_open(locked.tree_fd, "d/f", O_WRONLY | O_CREAT | O_EXCL, 0644);
    if (fd < 0 || write((int)fd, "x", 1) != 1 ||
        syscall(SYS_fchmod, fd, 0755) < 0 || close((int)fd) < 0)
        return -1;
    if (syscall(SYS_symlinkat, "d/f", locked.tree_fd, "link") < 0 ||
        syscall(SYS_linkat, locked.tree_fd, "d/f", locked.tree_fd, "hard", 0) <
            0)
        return -1;
    return read(locked.archive_fd, &c, 1) < 0 ||
                   write(locked.pipe_fds[1], "x", 1) != 1
               ? -1
               : 0;
}

static void unpacking_goes_on(void **arg)
{
    struct stat st;

    (void)arg;
    assert_true(locked_worked(do_its_work));
    assert_int_equal(fstatat(locked.tree_fd, "hard", &st, 0), 0);
    assert_int_equal(st.st_mode & 0777, 0755);
    assert_int_equal(st.st_nlink, 2);
}

static long give_up(void)
{
    abort();
}

static void a_library_that_aborts_dies_of_that(void **arg)
{
    int status = locked_child(give_up);

    (void)arg;
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGABRT);
}

/* --- files --- */

static long read_passwd(void)
{
    return locked_open(AT_FDCWD, "/etc/passwd", O_RDONLY, 0);
}
static long read_passwd_old(void)
{
    return syscall(SYS_openat, AT_FDCWD, "/etc/passwd", O_RDONLY);
}
static long list_root(void)
{
    return locked_open(AT_FDCWD, "/", O_RDONLY | O_DIRECTORY, 0);
}
static long read_memory(void)
{
    return locked_open(AT_FDCWD, "/proc/self/mem", O_RDWR, 0);
}
static long write_beside(void)
{
    return locked_open(locked.tree_fd, "../new", O_WRONLY | O_CREAT, 0644);
}
static long write_archive(void)
{
    return locked_open(locked.tree_fd, "../archive", O_WRONLY, 0);
}
static long cut_archive(void)
{
    return locked_open(locked.tree_fd, "../archive", O_RDONLY | O_TRUNC, 0);
}
static long dir_beside(void)
{
    return syscall(SYS_mkdirat, locked.tree_fd, "../d", 0755);
}
static long link_beside(void)
{
    return syscall(SYS_symlinkat, "/etc/shadow", locked.tree_fd, "../link");
}
static long link_in(void)
{
    return syscall(SYS_linkat, locked.tree_fd, "../archive", locked.tree_fd,
                   "in", 0);
}
static long link_out(void)
{
    long fd = locked_open(locked.tree_fd, "f", O_WRONLY | O_CREAT, 0644);

    return fd < 0 ? 0
                  : syscall(SYS_linkat, locked.tree_fd, "f", locked.tree_fd,
                            "../f", 0);
}
static long read_back(void)
{
    long fd = locked_open(locked.tree_fd, "g", O_WRONLY | O_CREAT, 0644);

    return fd < 0 ? 0 : locked_open(locked.tree_fd, "g", O_RDONLY, 0);
}
static long make_device(void)
{
    return syscall(SYS_mknodat, locked.tree_fd, "dev", S_IFCHR | 0666, 0x103);
}
static long make_fifo(void)
{
    return syscall(SYS_mknodat, locked.tree_fd, "fifo", S_IFIFO | 0666, 0);
}
static long unlink_beside(void)
{
    return syscall(SYS_unlinkat, locked.tree_fd, "../archive", 0);
}
static long rename_out(void)
{
    return syscall(SYS_renameat2, locked.tree_fd, "../archive", locked.tree_fd,
                   "a", 0);
}
static long change_mode(void)
{
    return syscall(SYS_fchmodat, locked.tree_fd, "../archive", 0777, 0);
}
static long change_dir(void)
{
    return syscall(SYS_fchdir, locked.tree_fd);
}
static long change_root(void)
{
    return syscall(SYS_chroot, "/");
}
/* --- the network --- */

static long inet_socket(void)
{
    return syscall(SYS_socket, 2, 1, 0);
}
static void nothing_else_works(void **arg)
{
    static const struct locked_try rows[] = {
        LOCKED_TRY(read_passwd),   LOCKED_TRY(read_passwd_old),
        LOCKED_TRY(list_root),     LOCKED_TRY(read_memory),
        LOCKED_TRY(write_beside),  LOCKED_TRY(write_archive),
        LOCKED_TRY(cut_archive),   LOCKED_TRY(dir_beside),
        LOCKED_TRY(link_beside),   LOCKED_TRY(link_in),
        LOCKED_TRY(link_out),      LOCKED_TRY(read_back),
        LOCKED_TRY(make_device),   LOCKED_TRY(make_fifo),
        LOCKED_TRY(unlink_beside), LOCKED_TRY(rename_out),
        LOCKED_TRY(change_mode),   LOCKED_TRY(change_dir),
        LOCKED_TRY(change_root),   LOCKED_TRY(inet_socket),
    };
    int bad = 0;

    (void)arg;
    bad += locked_tries(rows, sizeof(rows) / sizeof(rows[0]));
    bad += locked_tries(locked_common, locked_common_count);
    assert_int_equal(bad, 0);
}

#define T(name)                                                                \
    cmocka_unit_test_setup_teardown(name, locked_setup, locked_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(unpacking_goes_on),
        T(a_library_that_aborts_dies_of_that),
        T(nothing_else_works),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
