/*
 * What a bundle that has taken the unpacker over can still do: each attack is
 * tried in a child that was locked in, and counts as refused when it fails or
 * the kernel ends the child for it.
 */
#include "tests/lib/locked.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
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
static long mount_over(void)
{
    return syscall(SYS_mount, "none", "/tmp", "tmpfs", 0, NULL);
}

/* --- other processes --- */

static long fork_one(void)
{
    return syscall(SYS_fork);
}
static long clone_one(void)
{
    return syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
}
static long vfork_one(void)
{
    return syscall(SYS_clone, CLONE_VM | SIGCHLD, 0, 0, 0, 0);
}
static long clone3_one(void)
{
    uint64_t args[11] = {0};

    args[4] = SIGCHLD;
    return syscall(SYS_clone3, args, sizeof(args));
}
static long run_shell(void)
{
    static char *const argv[] = {(char *)"true", NULL};

    return syscall(SYS_execve, "/bin/true", argv, NULL);
}
static long run_fd(void)
{
    static char *const argv[] = {(char *)"true", NULL};

    return syscall(SYS_execveat, locked.archive_fd, "", argv, NULL,
                   AT_EMPTY_PATH);
}
static long trace_parent(void)
{
    return syscall(SYS_ptrace, 16 /* ATTACH */, locked.parent, NULL, NULL);
}
static long read_parent(void)
{
    static char byte;
    struct iovec here = {&byte, 1}, there = {&locked.parent, 1};

    return syscall(SYS_process_vm_readv, locked.parent, &here, 1, &there, 1, 0);
}
static long kill_parent(void)
{
    return syscall(SYS_kill, locked.parent, 0);
}
static long tgkill_parent(void)
{
    return syscall(SYS_tgkill, locked.parent, locked.parent, 0);
}
static long tkill_parent(void)
{
    return syscall(SYS_tkill, locked.parent, 0);
}
static long queue_parent(void)
{
    siginfo_t info = {.si_signo = 0, .si_code = SI_QUEUE};

    return syscall(SYS_rt_sigqueueinfo, locked.parent, 0, &info);
}
static long handle_parent(void)
{
    return syscall(SYS_pidfd_open, locked.parent, 0);
}
static long own_pipe(void)
{
    return syscall(SYS_fcntl, locked.pipe_fds[1], F_SETOWN, locked.parent);
}
static long pipe_signal(void)
{
    return syscall(SYS_fcntl, locked.pipe_fds[1], F_SETSIG, SIGKILL);
}
static long pipe_async(void)
{
    return syscall(SYS_fcntl, locked.pipe_fds[1], F_SETFL, O_ASYNC);
}
static long limit_parent(void)
{
    return syscall(SYS_prlimit64, locked.parent, RLIMIT_NOFILE, NULL, NULL);
}
static long slow_parent(void)
{
    return syscall(SYS_setpriority, PRIO_PROCESS, locked.parent, 19);
}

/* --- the kernel, the network --- */

static long inet_socket(void)
{
    return syscall(SYS_socket, 2, 1, 0);
}
static long unix_socket(void)
{
    return syscall(SYS_socket, 1, 1, 0);
}
static long socket_pair(void)
{
    int ends[2];

    return syscall(SYS_socketpair, 1, 1, 0, ends);
}
static long unshare_user(void)
{
    return syscall(SYS_unshare, 0x10000000);
}
static long io_uring(void)
{
    char params[128] = {0};

    return syscall(SYS_io_uring_setup, 1, params);
}
static long use_bpf(void)
{
    return syscall(SYS_bpf, 0, NULL, 0) == 0 || errno == EINVAL ? 0 : -1;
}
static long user_fault(void)
{
    return syscall(SYS_userfaultfd, 1);
}
static long make_memfd(void)
{
    return syscall(SYS_memfd_create, "x", 0);
}
static long push_input(void)
{
    return syscall(SYS_ioctl, 0, 0x5412, "x") < 0 && errno == EPERM ? -1 : 0;
}
static long be_dumpable(void)
{
    return syscall(SYS_prctl, PR_SET_DUMPABLE, 1, 0, 0, 0);
}
static long more_files(void)
{
    struct rlimit lim = {RLIM_INFINITY, RLIM_INFINITY};

    return syscall(SYS_setrlimit, RLIMIT_FSIZE, &lim);
}
static long be_root(void)
{
    return syscall(SYS_setuid, 0);
}
static long add_key(void)
{
    return syscall(SYS_add_key, "user", "k", "x", 1, -3);
}
static long other_abi(void)
{
#ifdef __x86_64__
    long r;

    /* i386's getpid */
    __asm__ volatile("int $0x80" : "=a"(r) : "a"(20) : "memory");
    return r;
#else
    return -1;
#endif
}
static long x32_abi(void)
{
#ifdef __x86_64__
    return syscall(0x40000000 | SYS_getpid);
#else
    return -1;
#endif
}

static void nothing_else_works(void **arg)
{
#define A(f)                                                                   \
    {                                                                          \
#f, f                                                                  \
    }
    static const struct {
        const char *name;
        long (*attack)(void);
    } rows[] = {
        A(read_passwd),   A(read_passwd_old), A(list_root),     A(read_memory),
        A(write_beside),  A(write_archive),   A(cut_archive),   A(dir_beside),
        A(link_beside),   A(link_in),         A(link_out),      A(read_back),
        A(make_device),   A(make_fifo),       A(unlink_beside), A(rename_out),
        A(change_mode),   A(change_dir),      A(change_root),   A(mount_over),
        A(fork_one),      A(clone_one),       A(vfork_one),     A(clone3_one),
        A(run_shell),     A(run_fd),          A(trace_parent),  A(read_parent),
        A(kill_parent),   A(tgkill_parent),   A(tkill_parent),  A(queue_parent),
        A(handle_parent), A(own_pipe),        A(pipe_signal),   A(pipe_async),
        A(limit_parent),  A(slow_parent),     A(inet_socket),   A(unix_socket),
        A(socket_pair),   A(unshare_user),    A(io_uring),      A(use_bpf),
        A(user_fault),    A(make_memfd),      A(push_input),    A(be_dumpable),
        A(more_files),    A(be_root),         A(add_key),       A(other_abi),
        A(x32_abi),
    };
#undef A
    int bad = 0;

    (void)arg;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        if (locked_worked(rows[i].attack)) {
            print_error("%s worked\n", rows[i].name);
            bad++;
        }
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
