/*
 * A number alone decides for nearly every call, and the kernel remembers that
 * of the first filter: such a call costs next to nothing. What depends on
 * arguments is judged by the second one, by the low half of each: they are
 * ints to the kernel, and what stands above them is without effect.
 */
#include "agent/callfilter.h"

#include "base/mem.h"
#include "base/own.h"

#include <errno.h>
#include <linux/netlink.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <seccomp.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define LOW(i, value)                                                          \
    SCMP_CMP(i, SCMP_CMP_MASKED_EQ, UINT32_MAX, (uint32_t)(value))
#define BITS(i, mask, value)                                                   \
    SCMP_CMP(i, SCMP_CMP_MASKED_EQ, (uint32_t)(mask), (uint32_t)(value))
#define TYPE_MASK 0xf /* of socket's second argument: the rest is flags */
#define FAMILIES 46   /* AF_MAX of today's kernels */
#define TCP_ULP_ 31

/* By name: the library may not know one, or this processor not have it. */
static const char *const allowed[] = {
    /* files */
    "access",
    "chdir",
    "chmod",
    "chown",
    "close",
    "close_range",
    "copy_file_range",
    "creat",
    "dup",
    "dup2",
    "dup3",
    "faccessat",
    "faccessat2",
    "fadvise64",
    "fallocate",
    "fchdir",
    "fchmod",
    "fchmodat",
    "fchmodat2",
    "fchown",
    "fchownat",
    "fcntl",
    "fdatasync",
    "fgetxattr",
    "flistxattr",
    "flock",
    "fremovexattr",
    "fsetxattr",
    "fstat",
    "fstatfs",
    "fsync",
    "ftruncate",
    "futimesat",
    "getcwd",
    "getdents",
    "getdents64",
    "getxattr",
    "inotify_add_watch",
    "inotify_init",
    "inotify_init1",
    "inotify_rm_watch",
    "ioctl",
    "lchown",
    "lgetxattr",
    "link",
    "linkat",
    "listxattr",
    "llistxattr",
    "lremovexattr",
    "lseek",
    "lsetxattr",
    "lstat",
    "memfd_create",
    "mkdir",
    "mkdirat",
    "mknod",
    "mknodat",
    "newfstatat",
    "open",
    "openat",
    "openat2",
    "pipe",
    "pipe2",
    "pread64",
    "preadv",
    "preadv2",
    "pwrite64",
    "pwritev",
    "pwritev2",
    "read",
    "readahead",
    "readlink",
    "readlinkat",
    "readv",
    "removexattr",
    "rename",
    "renameat",
    "renameat2",
    "rmdir",
    "sendfile",
    "setxattr",
    "splice",
    "stat",
    "statfs",
    "statx",
    "symlink",
    "symlinkat",
    "sync",
    "sync_file_range",
    "syncfs",
    "tee",
    "truncate",
    "umask",
    "unlink",
    "unlinkat",
    "utime",
    "utimensat",
    "utimes",
    "vmsplice",
    "write",
    "writev",
    /* memory */
    "brk",
    "madvise",
    "map_shadow_stack",
    "membarrier",
    "mincore",
    "mlock",
    "mlock2",
    "mlockall",
    "mmap",
    "mprotect",
    "mremap",
    "mseal",
    "msync",
    "munlock",
    "munlockall",
    "munmap",
    "pkey_alloc",
    "pkey_free",
    "pkey_mprotect",
    "process_mrelease",
    "remap_file_pages",
    "cachestat",
    /* processes and threads */
    "arch_prctl",
    "clone",
    "execve",
    "execveat",
    "exit",
    "exit_group",
    "fork",
    "futex",
    "futex_requeue",
    "futex_wait",
    "futex_waitv",
    "futex_wake",
    "get_robust_list",
    "get_thread_area",
    "getcpu",
    "getegid",
    "geteuid",
    "getgid",
    "getgroups",
    "getpgid",
    "getpgrp",
    "getpid",
    "getppid",
    "getpriority",
    "getresgid",
    "getresuid",
    "getrlimit",
    "getrusage",
    "getsid",
    "gettid",
    "getuid",
    "ioprio_get",
    "ioprio_set",
    "kill",
    "pidfd_open",
    "pidfd_send_signal",
    "prctl",

    "restart_syscall",
    "rseq",
    "sched_get_priority_max",
    "sched_get_priority_min",
    "sched_getaffinity",
    "sched_getattr",
    "sched_getparam",
    "sched_getscheduler",
    "sched_rr_get_interval",
    "sched_setaffinity",
    "sched_setattr",
    "sched_setparam",
    "sched_setscheduler",
    "sched_yield",
    "set_robust_list",
    "set_thread_area",
    "set_tid_address",
    "setfsgid",
    "setfsuid",
    "setgid",
    "setgroups",
    "setpgid",
    "setpriority",
    "setregid",
    "setresgid",
    "setresuid",
    "setreuid",
    "setrlimit",
    "setsid",
    "setuid",
    "sysinfo",
    "tgkill",
    "times",
    "tkill",
    "uname",
    "vfork",
    "wait4",
    "waitid",
    "capget",
    "capset",
    /* locking oneself in further */
    "landlock_add_rule",
    "landlock_create_ruleset",
    "landlock_restrict_self",
    "seccomp",
    /* signals and time */
    "alarm",
    "clock_getres",
    "clock_gettime",
    "clock_nanosleep",
    "getitimer",
    "gettimeofday",
    "nanosleep",
    "pause",
    "rt_sigaction",
    "rt_sigpending",
    "rt_sigprocmask",
    "rt_sigqueueinfo",
    "rt_sigreturn",
    "rt_sigsuspend",
    "rt_sigtimedwait",
    "rt_tgsigqueueinfo",
    "setitimer",
    "sigaltstack",
    "signalfd",
    "signalfd4",
    "time",
    "timer_create",
    "timer_delete",
    "timer_getoverrun",
    "timer_gettime",
    "timer_settime",
    "timerfd_create",
    "timerfd_gettime",
    "timerfd_settime",
    /* waiting */
    "epoll_create",
    "epoll_create1",
    "epoll_ctl",
    "epoll_pwait",
    "epoll_pwait2",
    "epoll_wait",
    "eventfd",
    "eventfd2",
    "poll",
    "ppoll",
    "pselect6",
    "select",
    "io_cancel",
    "io_destroy",
    "io_getevents",
    "io_pgetevents",
    "io_setup",
    "io_submit",
    /* sockets that there are */
    "accept",
    "accept4",
    "bind",
    "connect",
    "getpeername",
    "getsockname",
    "getsockopt",
    "listen",
    "recvfrom",
    "recvmmsg",
    "recvmsg",
    "sendmmsg",
    "sendmsg",
    "sendto",
    "setsockopt",
    "shutdown",
    /* System V's and POSIX' own */
    "mq_getsetattr",
    "mq_notify",
    "mq_open",
    "mq_timedreceive",
    "mq_timedsend",
    "mq_unlink",
    "msgctl",
    "msgget",
    "msgrcv",
    "msgsnd",
    "semctl",
    "semget",
    "semop",
    "semtimedop",
    "shmat",
    "shmctl",
    "shmdt",
    "shmget",
    /* the rest */
    "getrandom",
};

/* Known, and refused in a way that programs take for a missing right. */
static const char *const forbidden[] = {
    /* another process' memory and descriptors */
    "kcmp",
    "pidfd_getfd",
    "process_madvise",
    "process_vm_readv",
    "process_vm_writev",
    "ptrace",
    /* new namespaces, other roots */
    "chroot",
    "fsconfig",
    "fsmount",
    "fsopen",
    "fspick",
    "mount",
    "mount_setattr",
    "move_mount",
    "open_by_handle_at",
    "open_tree",
    "pivot_root",
    "setns",
    "umount2",
    "unshare",
    /* large doors to the kernel */
    "bpf",
    "fanotify_init",
    "lookup_dcookie",
    "perf_event_open",
    "userfaultfd",
    /* the machine's own matters */
    "acct",
    "adjtimex",
    "clock_adjtime",
    "clock_settime",
    "delete_module",
    "finit_module",
    "init_module",
    "ioperm",
    "iopl",
    "kexec_file_load",
    "kexec_load",
    "quotactl",
    "quotactl_fd",
    "reboot",
    "setdomainname",
    "sethostname",
    "settimeofday",
    "swapoff",
    "swapon",
    "syslog",
    "vhangup",
    /* where memory lies */
    "get_mempolicy",
    "mbind",
    "migrate_pages",
    "move_pages",
    "set_mempolicy",
};

/* personality(2): what others than Linux' plain one do is an attacker's. */
static const uint32_t personas[] = {
    0x0,        /* Linux */
    0xffffffff, /* which one is it? */
    0x0040000,  /* without address randomization: debuggers */
};

static const uint32_t new_namespaces[] = {
    CLONE_NEWUSER, CLONE_NEWNS,  CLONE_NEWPID,    CLONE_NEWNET,
    CLONE_NEWIPC,  CLONE_NEWUTS, CLONE_NEWCGROUP,
};

/* Into a terminal that may once be another's; line disciplines, which are
 * modules that the kernel loads for whoever asks. */
static const uint32_t forbidden_ioctls[] = {TIOCSTI, TIOCLINUX, TIOCSETD};

/* Past what judges connect(2), and other protocols beneath TCP's calls. */
static const uint32_t forbidden_tcp[] = {TCP_FASTOPEN_CONNECT, TCP_ULP_};

/* Those a program may ask for; no more than what is said of them, as others
 * are not let through anyway. */
static const uint32_t other_protocols[] = {
    IPPROTO_ICMP, IPPROTO_UDP,     IPPROTO_DCCP, IPPROTO_ICMPV6,
    IPPROTO_SCTP, IPPROTO_UDPLITE, IPPROTO_RAW,  262 /* MPTCP */,
};

/* --- building --- */

struct build {
    scmp_filter_ctx ctx;
    int r; /* the first failure: -errno */
};

static void begin(struct build *b, uint32_t otherwise)
{
    b->ctx = seccomp_init(otherwise);
    b->r = b->ctx ? 0 : -ENOMEM;
    /* other ABIs of this machine have numbers of their own: none of it */
    if (b->r == 0)
        b->r = seccomp_attr_set(b->ctx, SCMP_FLTATR_ACT_BADARCH,
                                SCMP_ACT_ERRNO(ENOSYS));
    /* a tree, not a list of three hundred */
    if (b->r == 0)
        b->r = seccomp_attr_set(b->ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2);
}

/* A call that is not there on this processor has a number below 0. */
static void rule(struct build *b, uint32_t action, const char *name,
                 unsigned count, const struct scmp_arg_cmp *args)
{
    int number = seccomp_syscall_resolve_name(name);

    if (b->r == 0 && number >= 0)
        b->r = seccomp_rule_add_array(b->ctx, action, number, count, args);
}
#define RULE(b, action, name, ...)                                             \
    rule(b, action, name,                                                      \
         sizeof((struct scmp_arg_cmp[]){__VA_ARGS__}) /                        \
             sizeof(struct scmp_arg_cmp),                                      \
         (struct scmp_arg_cmp[]){__VA_ARGS__})

static int load(int fd, struct callfilter *out, struct err *e)
{
    off_t size = lseek(fd, 0, SEEK_END);

    if (size <= 0)
        return err_sys(e, "seccomp filter");
    out->code = mem_zero(1, (size_t)size);
    out->count = (size_t)size / sizeof(*out->code);
    if (pread(fd, out->code, (size_t)size, 0) == size)
        return 0;
    callfilter_fini(out);
    return err_sys(e, "seccomp filter");
}

static int finish(struct build *b, struct callfilter *out, struct err *e)
{
    own_fd int fd = memfd_create("podterm-filter", MFD_CLOEXEC);

    *out = (struct callfilter){0};
    if (b->r == 0)
        b->r = fd < 0 ? -errno : seccomp_export_bpf(b->ctx, fd);
    if (b->ctx)
        seccomp_release(b->ctx);
    if (b->r < 0) {
        errno = -b->r;
        return err_sys(e, "seccomp filter");
    }
    return load(fd, out, e);
}

void callfilter_fini(struct callfilter *f)
{
    free(f->code);
    *f = (struct callfilter){0};
}

/* --- the filters --- */

static void allow_inet(struct build *b, int type, int protocol)
{
    static const int families[] = {AF_INET, AF_INET6};

    for (size_t i = 0; i < COUNT(families); i++)
        RULE(b, SCMP_ACT_ALLOW, "socket", LOW(0, families[i]),
             BITS(1, TYPE_MASK, type), LOW(2, protocol));
}

static void allow_sockets(struct build *b, bool has_udp)
{
    RULE(b, SCMP_ACT_ALLOW, "socket", LOW(0, AF_UNIX));
    RULE(b, SCMP_ACT_ALLOW, "socketpair", LOW(0, AF_UNIX));
    RULE(b, SCMP_ACT_ALLOW, "socket", LOW(0, AF_NETLINK),
         LOW(2, NETLINK_ROUTE));
    allow_inet(b, SOCK_STREAM, 0);
    allow_inet(b, SOCK_STREAM, IPPROTO_TCP);
    if (has_udp) {
        allow_inet(b, SOCK_DGRAM, 0);
        allow_inet(b, SOCK_DGRAM, IPPROTO_UDP);
    }
}

int callfilter_calls(bool has_udp, struct callfilter *out, struct err *e)
{
    struct build b;

    begin(&b, SCMP_ACT_ERRNO(ENOSYS));
    for (size_t i = 0; i < COUNT(allowed); i++)
        rule(&b, SCMP_ACT_ALLOW, allowed[i], 0, NULL);
    for (size_t i = 0; i < COUNT(forbidden); i++)
        rule(&b, SCMP_ACT_ERRNO(EPERM), forbidden[i], 0, NULL);
    for (size_t i = 0; i < COUNT(personas); i++)
        RULE(&b, SCMP_ACT_ALLOW, "personality", LOW(0, personas[i]));
    /* one's own: the shim has the program's uid */
    RULE(&b, SCMP_ACT_ALLOW, "prlimit64", LOW(0, 0));
    allow_sockets(&b, has_udp);
    return finish(&b, out, e);
}

/* In the words of a kernel that has no more. */
static void refuse_families(struct build *b, const char *call)
{
    for (int f = 0; f < FAMILIES; f++)
        if (f != AF_UNIX && f != AF_INET && f != AF_INET6 && f != AF_NETLINK)
            RULE(b, SCMP_ACT_ERRNO(EAFNOSUPPORT), call, LOW(0, f));
    RULE(b, SCMP_ACT_ERRNO(EAFNOSUPPORT), call,
         SCMP_CMP(0, SCMP_CMP_GE, FAMILIES));
}

static void refuse_inet(struct build *b, int family)
{
    const uint32_t no = SCMP_ACT_ERRNO(EPROTONOSUPPORT);

    for (int type = 0; type <= TYPE_MASK; type++)
        if (type != SOCK_STREAM && type != SOCK_DGRAM)
            RULE(b, no, "socket", LOW(0, family), BITS(1, TYPE_MASK, type));
    for (size_t i = 0; i < COUNT(other_protocols); i++)
        RULE(b, no, "socket", LOW(0, family), BITS(1, TYPE_MASK, SOCK_STREAM),
             LOW(2, other_protocols[i]));
}

static void refuse_fast_open(struct build *b)
{
    const uint32_t no = SCMP_ACT_ERRNO(EOPNOTSUPP);

    RULE(b, no, "sendto", BITS(3, MSG_FASTOPEN, MSG_FASTOPEN));
    RULE(b, no, "sendmsg", BITS(2, MSG_FASTOPEN, MSG_FASTOPEN));
    RULE(b, no, "sendmmsg", BITS(3, MSG_FASTOPEN, MSG_FASTOPEN));
    for (size_t i = 0; i < COUNT(forbidden_tcp); i++)
        RULE(b, SCMP_ACT_ERRNO(ENOPROTOOPT), "setsockopt", LOW(1, IPPROTO_TCP),
             LOW(2, forbidden_tcp[i]));
}

int callfilter_arguments(struct callfilter *out, struct err *e)
{
    struct build b;

    begin(&b, SCMP_ACT_ALLOW);
    for (size_t i = 0; i < COUNT(new_namespaces); i++)
        RULE(&b, SCMP_ACT_ERRNO(EPERM), "clone",
             BITS(0, new_namespaces[i], new_namespaces[i]));
    for (size_t i = 0; i < COUNT(forbidden_ioctls); i++)
        RULE(&b, SCMP_ACT_ERRNO(EPERM), "ioctl", LOW(1, forbidden_ioctls[i]));
    refuse_families(&b, "socket");
    refuse_families(&b, "socketpair");
    refuse_inet(&b, AF_INET);
    refuse_inet(&b, AF_INET6);
    refuse_fast_open(&b);
    return finish(&b, out, e);
}

int callfilter_no_inet(struct callfilter *out, struct err *e)
{
    struct build b;

    begin(&b, SCMP_ACT_ALLOW);
    RULE(&b, SCMP_ACT_ERRNO(EAFNOSUPPORT), "socket", LOW(0, AF_INET));
    RULE(&b, SCMP_ACT_ERRNO(EAFNOSUPPORT), "socket", LOW(0, AF_INET6));
    return finish(&b, out, e);
}
