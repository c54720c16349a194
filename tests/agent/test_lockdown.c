/*
 * What a bundle that has taken the unpacker over can still do: each attack is
 * tried in a child that was locked in, and counts as refused when it fails or
 * the kernel ends the child for it.
 */
#include "agent/lockdown.h"

#include "base/log.h"
#include "base/mem.h"
#include "base/own.h"
#include "tests/lib/programs.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
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
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define FILE_BYTES (1 << 20)
#define MEMORY_BYTES (64ul << 20)
/* agent/lockdown.c: no limit of memory there */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define HAS_SHADOW true
#else
#define HAS_SHADOW false
#endif
#define LOCK_FAILED 99

static char *dir;
static int tree_fd = -1, archive_fd = -1, pipe_fds[2] = {-1, -1};
static pid_t parent;

static int setup(void **arg)
{
    own_mem char *tree = NULL, *archive = NULL;

    (void)arg;
    dir = scratch_new();
    tree = mem_printf("%s/tree", dir);
    archive = mem_printf("%s/archive", dir);
    assert_return_code(mkdir(tree, 0755), errno);
    tree_fd = open(tree, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    close(open(archive, O_WRONLY | O_CREAT, 0600));
    archive_fd = open(archive, O_RDONLY | O_CLOEXEC);
    assert_int_equal(pipe2(pipe_fds, O_CLOEXEC), 0);
    parent = getpid();
    return 0;
}

static int teardown(void **arg)
{
    (void)arg;
    close(tree_fd);
    close(archive_fd);
    close(pipe_fds[0]);
    close(pipe_fds[1]);
    scratch_remove(dir);
    return 0;
}

/* The wait status of a child that locked itself in and then did as told; its
 * exit code is 0 when that worked. */
static int in_child(long (*attack)(void))
{
    int status;
    pid_t pid = fork();

    if (pid == 0) {
        struct err e = {0};

        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (lockdown_unpacker(tree_fd, FILE_BYTES, MEMORY_BYTES, &e) < 0)
            _exit(LOCK_FAILED);
        _exit(attack() < 0 ? 1 : 0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (WIFEXITED(status))
        assert_int_not_equal(WEXITSTATUS(status), LOCK_FAILED);
    return status;
}

static bool worked(long (*attack)(void))
{
    int status = in_child(attack);

    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static long open_how(int at, const char *path, int flags, int mode)
{
    struct open_how how = {.flags = (unsigned)flags, .mode = (unsigned)mode};

    return syscall(SYS_openat2, at, path, &how, sizeof(how));
}

/* --- what it needs goes on --- */

static long do_its_work(void)
{
    long fd;
    char c;

    if (syscall(SYS_mkdirat, tree_fd, "d", 0755) < 0)
        return -1;
    fd = open_how(tree_fd, "d/f", O_WRONLY | O_CREAT | O_EXCL, 0644);
    if (fd < 0 || write((int)fd, "x", 1) != 1 ||
        syscall(SYS_fchmod, fd, 0755) < 0 || close((int)fd) < 0)
        return -1;
    if (syscall(SYS_symlinkat, "d/f", tree_fd, "link") < 0 ||
        syscall(SYS_linkat, tree_fd, "d/f", tree_fd, "hard", 0) < 0)
        return -1;
    return read(archive_fd, &c, 1) < 0 || write(pipe_fds[1], "x", 1) != 1 ? -1
                                                                          : 0;
}

static void unpacking_goes_on(void **arg)
{
    struct stat st;

    (void)arg;
    assert_true(worked(do_its_work));
    assert_int_equal(fstatat(tree_fd, "hard", &st, 0), 0);
    assert_int_equal(st.st_mode & 0777, 0755);
    assert_int_equal(st.st_nlink, 2);
}

static long give_up(void)
{
    abort();
}

static void a_library_that_aborts_dies_of_that(void **arg)
{
    int status = in_child(give_up);

    (void)arg;
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGABRT);
}

/* --- files --- */

static long read_passwd(void)
{
    return open_how(AT_FDCWD, "/etc/passwd", O_RDONLY, 0);
}
static long read_passwd_old(void)
{
    return syscall(SYS_openat, AT_FDCWD, "/etc/passwd", O_RDONLY);
}
static long list_root(void)
{
    return open_how(AT_FDCWD, "/", O_RDONLY | O_DIRECTORY, 0);
}
static long read_memory(void)
{
    return open_how(AT_FDCWD, "/proc/self/mem", O_RDWR, 0);
}
static long write_beside(void)
{
    return open_how(tree_fd, "../new", O_WRONLY | O_CREAT, 0644);
}
static long write_archive(void)
{
    return open_how(tree_fd, "../archive", O_WRONLY, 0);
}
static long cut_archive(void)
{
    return open_how(tree_fd, "../archive", O_RDONLY | O_TRUNC, 0);
}
static long dir_beside(void)
{
    return syscall(SYS_mkdirat, tree_fd, "../d", 0755);
}
static long link_beside(void)
{
    return syscall(SYS_symlinkat, "/etc/shadow", tree_fd, "../link");
}
static long link_in(void)
{
    return syscall(SYS_linkat, tree_fd, "../archive", tree_fd, "in", 0);
}
static long link_out(void)
{
    long fd = open_how(tree_fd, "f", O_WRONLY | O_CREAT, 0644);

    return fd < 0 ? 0 : syscall(SYS_linkat, tree_fd, "f", tree_fd, "../f", 0);
}
static long read_back(void)
{
    long fd = open_how(tree_fd, "g", O_WRONLY | O_CREAT, 0644);

    return fd < 0 ? 0 : open_how(tree_fd, "g", O_RDONLY, 0);
}
static long make_device(void)
{
    return syscall(SYS_mknodat, tree_fd, "dev", S_IFCHR | 0666, 0x103);
}
static long make_fifo(void)
{
    return syscall(SYS_mknodat, tree_fd, "fifo", S_IFIFO | 0666, 0);
}
static long unlink_beside(void)
{
    return syscall(SYS_unlinkat, tree_fd, "../archive", 0);
}
static long rename_out(void)
{
    return syscall(SYS_renameat2, tree_fd, "../archive", tree_fd, "a", 0);
}
static long change_mode(void)
{
    return syscall(SYS_fchmodat, tree_fd, "../archive", 0777, 0);
}
static long change_dir(void)
{
    return syscall(SYS_fchdir, tree_fd);
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

    return syscall(SYS_execveat, archive_fd, "", argv, NULL, AT_EMPTY_PATH);
}
static long trace_parent(void)
{
    return syscall(SYS_ptrace, 16 /* ATTACH */, parent, NULL, NULL);
}
static long read_parent(void)
{
    static char byte;
    struct iovec here = {&byte, 1}, there = {&parent, 1};

    return syscall(SYS_process_vm_readv, parent, &here, 1, &there, 1, 0);
}
static long kill_parent(void)
{
    return syscall(SYS_kill, parent, 0);
}
static long tgkill_parent(void)
{
    return syscall(SYS_tgkill, parent, parent, 0);
}
static long tkill_parent(void)
{
    return syscall(SYS_tkill, parent, 0);
}
static long queue_parent(void)
{
    siginfo_t info = {.si_signo = 0, .si_code = SI_QUEUE};

    return syscall(SYS_rt_sigqueueinfo, parent, 0, &info);
}
static long handle_parent(void)
{
    return syscall(SYS_pidfd_open, parent, 0);
}
static long own_pipe(void)
{
    return syscall(SYS_fcntl, pipe_fds[1], F_SETOWN, parent);
}
static long pipe_signal(void)
{
    return syscall(SYS_fcntl, pipe_fds[1], F_SETSIG, SIGKILL);
}
static long pipe_async(void)
{
    return syscall(SYS_fcntl, pipe_fds[1], F_SETFL, O_ASYNC);
}
static long limit_parent(void)
{
    return syscall(SYS_prlimit64, parent, RLIMIT_NOFILE, NULL, NULL);
}
static long slow_parent(void)
{
    return syscall(SYS_setpriority, PRIO_PROCESS, parent, 19);
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
        if (worked(rows[i].attack)) {
            print_error("%s worked\n", rows[i].name);
            bad++;
        }
    assert_int_equal(bad, 0);
}

/* --- limits --- */

static long write_too_much(void)
{
    static const char bytes[65536];
    long fd = open_how(tree_fd, "large", O_WRONLY | O_CREAT, 0644);

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

    for (int i = 0; i < 64 && fd >= 0; i++)
        fd = open_how(tree_fd, ".", O_RDONLY | O_DIRECTORY, 0);
    return fd;
}

static void its_limits_hold(void **arg)
{
    struct stat st;

    (void)arg;
    assert_false(worked(write_too_much));
    assert_int_equal(fstatat(tree_fd, "large", &st, 0), 0);
    assert_int_equal(st.st_size, FILE_BYTES);
    assert_true(HAS_SHADOW || !worked(map_too_much));
    assert_false(worked(open_too_many));
}

static long wait_for_parent(void)
{
    char c;

    if (write(pipe_fds[1], "l", 1) != 1) /* locked */
        return -1;
    for (;;)
        if (pread(archive_fd, &c, 1, 0) != 0)
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
    own_mem char *archive = mem_printf("%s/archive", dir);
    char text[8192], c;
    pid_t pid = fork();
    int status;

    (void)arg;
    if (pid == 0) {
        struct err e = {0};

        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (lockdown_unpacker(tree_fd, FILE_BYTES, MEMORY_BYTES, &e) < 0)
            _exit(LOCK_FAILED);
        _exit(wait_for_parent() < 0);
    }
    assert_int_equal(read(pipe_fds[0], &c, 1), 1);
    slurp(pid, "status", text, sizeof(text));
    assert_non_null(strstr(text, "NoNewPrivs:\t1"));
    assert_non_null(strstr(text, "Seccomp:\t2"));
    slurp(pid, "limits", text, sizeof(text));
    assert_non_null(strstr(text, "Max cpu time              600 "));
    assert_non_null(strstr(text, "Max open files            64 "));
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

        log_fd(pipe_fds[1]);
        if (call >= 0 &&
            (seccomp_rule_add(ctx, SCMP_ACT_ERRNO(ENOSYS), call, 0) < 0 ||
             seccomp_load(ctx) < 0))
            _exit(LOCK_FAILED);
        if (lockdown_unpacker(dir_fd, FILE_BYTES, MEMORY_BYTES, &e) < 0)
            _exit(e.kind == ERR_SYSTEM ? 1 : 2);
        _exit(read_passwd_old() < 0 ? 0 : 3);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void a_kernel_without_landlock_is_told_of(void **arg)
{
    char text[1024] = "";

    (void)arg;
    assert_int_equal(lock_without(SCMP_SYS(landlock_create_ruleset), tree_fd),
                     0);
    assert_int_equal(fcntl(pipe_fds[0], F_SETFL, O_NONBLOCK), 0);
    assert_true(read(pipe_fds[0], text, sizeof(text) - 1) > 0);
    assert_non_null(strstr(text, "landlock"));
    /* and one with it is not */
    assert_int_equal(lock_without(-1, tree_fd), 0);
    assert_int_equal(read(pipe_fds[0], text, sizeof(text)), -1);
}

static void what_cannot_be_locked_fails(void **arg)
{
    (void)arg;
    assert_int_equal(lock_without(SCMP_SYS(landlock_restrict_self), tree_fd),
                     1);
    assert_int_equal(lock_without(SCMP_SYS(seccomp), tree_fd), 1);
    assert_int_equal(lock_without(-1, -1), 1);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(unpacking_goes_on),           T(a_library_that_aborts_dies_of_that),
        T(nothing_else_works),          T(its_limits_hold),
        T(the_kernel_says_so_too),      T(a_kernel_without_landlock_is_told_of),
        T(what_cannot_be_locked_fails),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
