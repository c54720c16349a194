#include "tests/lib/locked.h"

#include "base/mem.h"
#include "base/own.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

/* (Where it did work it would be taken off again: locked_teardown.) */
static long mount_over(void)
{
    own_mem char *tree = mem_printf("%s/tree", locked.dir);

    return syscall(SYS_mount, "none", tree, "tmpfs", 0, NULL);
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

const struct locked_try locked_common[] = {
    LOCKED_TRY(mount_over),    LOCKED_TRY(fork_one),
    LOCKED_TRY(clone_one),     LOCKED_TRY(vfork_one),
    LOCKED_TRY(clone3_one),    LOCKED_TRY(run_shell),
    LOCKED_TRY(run_fd),        LOCKED_TRY(trace_parent),
    LOCKED_TRY(read_parent),   LOCKED_TRY(kill_parent),
    LOCKED_TRY(tgkill_parent), LOCKED_TRY(tkill_parent),
    LOCKED_TRY(queue_parent),  LOCKED_TRY(handle_parent),
    LOCKED_TRY(own_pipe),      LOCKED_TRY(pipe_signal),
    LOCKED_TRY(pipe_async),    LOCKED_TRY(limit_parent),
    LOCKED_TRY(slow_parent),   LOCKED_TRY(unix_socket),
    LOCKED_TRY(socket_pair),   LOCKED_TRY(unshare_user),
    LOCKED_TRY(io_uring),      LOCKED_TRY(use_bpf),
    LOCKED_TRY(user_fault),    LOCKED_TRY(make_memfd),
    LOCKED_TRY(push_input),    LOCKED_TRY(be_dumpable),
    LOCKED_TRY(more_files),    LOCKED_TRY(be_root),
    LOCKED_TRY(add_key),       LOCKED_TRY(other_abi),
    LOCKED_TRY(x32_abi),
};
const size_t locked_common_count =
    sizeof(locked_common) / sizeof(locked_common[0]);
