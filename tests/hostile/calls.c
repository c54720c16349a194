/* System calls by their number: what attacks kernels, what is root's, what is
 * not known, and the doors of other ABIs. */
#include "tests/hostile/hostile.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define HIGH (1L << 32)
#define X32 0x40000000L
/* numbers that are the same on every machine */
#define NR_IO_URING_SETUP 425
#define NR_IO_URING_ENTER 426
#define NR_IO_URING_REGISTER 427
#define NR_PROCESS_MADVISE 440
#define NR_QUOTACTL_FD 443
#define NR_MEMFD_SECRET 447
#define NR_LSM_SET_SELF_ATTR 460
#define NR_FILE_SETATTR 469
#define UNKNOWN_FROM 480
#define UNKNOWN_TO 1023

static char page[4096] __attribute__((aligned(4096)));

static void number(const struct attempt *a)
{
    outcome_reached(
        syscall(a->n[0], a->n[1], a->n[2], a->n[3], a->n[4], a->n[5]));
}

/* A range that no kernel gives out yet, or never again: each must say so. */
static void unknown(const struct attempt *a)
{
    for (long nr = a->n[0]; nr <= a->n[1]; nr++) {
        long r = syscall(nr, 0L, 0L, 0L, 0L, 0L, 0L);

        if (r >= 0 || errno != ENOSYS) {
            printf("# number %ld\n", nr);
            outcome(r, "one was there");
            return;
        }
    }
    errno = ENOSYS;
    outcome(-1, "");
}

/* --- other ABIs --- */

#if defined(__x86_64__)
static long int80(long nr, long b, long c, long d)
{
    long r;

    __asm__ volatile("int $0x80"
                     : "=a"(r)
                     : "a"(nr), "b"(b), "c"(c), "d"(d)
                     : "memory", "r8", "r9", "r10", "r11");
    return (int)r;
}

static void i386(const struct attempt *a)
{
    long r = int80(a->n[0], a->n[1], a->n[2], a->n[3]);

    errno = r < 0 ? (int)-r : 0;
    outcome_reached(r < 0 ? -1 : r);
}

/* Its arguments lie in memory, where that ABI can name them. */
static void i386_socketcall(const struct attempt *a)
{
    uint32_t *args = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
    long r;

    if (args == MAP_FAILED) {
        outcome(-1, "");
        return;
    }
    for (int i = 0; i < 3; i++)
        args[i] = (uint32_t)a->n[i];
    r = int80(102, 1 /* SOCKET */, (long)args, 0);
    errno = r < 0 ? (int)-r : 0;
    outcome_reached(r < 0 ? -1 : r);
}
#else
static void i386(const struct attempt *a)
{
    (void)a;
    absent("this processor has no such ABI");
}
#define i386_socketcall i386
#endif

static void x32(const struct attempt *a)
{
#if defined(__x86_64__)
    outcome_reached(
        syscall(X32 | a->n[0], a->n[1], a->n[2], a->n[3], a->n[4], a->n[5]));
#else
    i386(a);
#endif
}

/* --- terminals --- */

/* n: the request; on our terminal, or one that we open. */
static void on_terminal(const struct attempt *a)
{
    char c = '\n';
    int own = 0, disc = 0;

    if (a->n[1]) {
        int master = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC);

        own = master;
        if (master < 0 || grantpt(master) < 0 || unlockpt(master) < 0 ||
            (own = open(ptsname(master), O_RDWR | O_NOCTTY | O_CLOEXEC)) < 0) {
            absent("no terminal of its own");
            return;
        }
    } else if (!isatty(0)) {
        absent("no terminal");
        return;
    }
    outcome(syscall(SYS_ioctl, own, a->n[0],
                    (int)a->n[0] == TIOCSETD ? (void *)&disc : (void *)&c),
            "done");
}

/* --- being more --- */

static void set_uid(const struct attempt *a)
{
    (void)a;
    outcome(setresuid(0, 0, 0), "root");
}

static void set_gid(const struct attempt *a)
{
    (void)a;
    outcome(setresgid(0, 0, 0), "root's group");
}

static void set_groups(const struct attempt *a)
{
    gid_t none = 0;

    (void)a;
    outcome(setgroups(1, &none), "root's group");
}

static void set_fsuid(const struct attempt *a)
{
    (void)a;
    setfsuid(0);
    errno = EPERM;
    outcome(setfsuid((uid_t)-1) == 0 ? 0 : -1, "root's files");
}

static void set_capabilities(const struct attempt *a)
{
    uint32_t head[2] = {0x20080522, 0};
    uint32_t data[6] = {~0u, ~0u, 0, 0x1ff, 0x1ff, 0};

    (void)a;
    outcome(syscall(SYS_capset, head, data), "all of them");
}

static void control(const struct attempt *a)
{
    outcome(prctl((int)a->n[0], a->n[1], a->n[2], a->n[3], a->n[4]), "done");
}

static void new_privileges(const struct attempt *a)
{
    (void)a;
    if (prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1)
        refused("none");
    else
        through("set-user-id programs count");
}

static void unfiltered(const struct attempt *a)
{
    (void)a;
    if (prctl(PR_GET_SECCOMP, 0, 0, 0, 0) == 2)
        refused("filtered");
    else
        through("no filter");
}

static void real_time(const struct attempt *a)
{
    struct sched_param p = {.sched_priority = 1};

    (void)a;
    /* (musl has no sched_setscheduler) */
    outcome(syscall(SYS_sched_setscheduler, 0, SCHED_FIFO, &p), "done");
}

static void priority(const struct attempt *a)
{
    (void)a;
    outcome(setpriority(PRIO_PROCESS, 0, -20), "done");
}

static void raise_limit(const struct attempt *a)
{
    struct rlimit lim;

    if (getrlimit((int)a->n[0], &lim) == 0) {
        if (lim.rlim_max == RLIM_INFINITY) {
            through("it has none");
            return;
        }
        lim.rlim_max++;
    }
    outcome(setrlimit((int)a->n[0], &lim), "raised");
}

static void set_clock(const struct attempt *a)
{
    struct timespec t;

    (void)a;
    clock_gettime(CLOCK_REALTIME, &t);
    outcome(syscall(SYS_clock_settime, CLOCK_REALTIME, &t), "set");
}

static void shift_clock(const struct attempt *a)
{
    struct {
        unsigned modes;
        char rest[508];
    } how = {.modes = 0x0100 /* SETOFFSET */};

    (void)a;
    outcome_reached(syscall(SYS_adjtimex, &how));
}

static void map_zero(const struct attempt *a)
{
    void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);

    (void)a;
    outcome(p == MAP_FAILED ? -1 : 0, "the page that null points to");
}

#define NR(called, ...)                                                        \
    {                                                                          \
        .name = called, .run = number, .n = { __VA_ARGS__ }                    \
    }
#define HARM(called, ...)                                                      \
    {                                                                          \
        .name = called, .run = number, .n = {__VA_ARGS__}, .is_harmful = true  \
    }
#define I386(called, ...)                                                      \
    {                                                                          \
        .name = "i386_" called, .run = i386, .n = { __VA_ARGS__ }              \
    }
#define XX32(called, ...)                                                      \
    {                                                                          \
        .name = "x32_" called, .run = x32, .n = { __VA_ARGS__ }                \
    }
#define TTY(called, ...)                                                       \
    {                                                                          \
        .name = called, .run = on_terminal, .n = { __VA_ARGS__ }               \
    }
#define P (long)page

static const struct attempt all[] = {
    NR("io_uring_setup", NR_IO_URING_SETUP, 8, P),
    NR("io_uring_enter", NR_IO_URING_ENTER, -1, 0, 0, 0),
    NR("io_uring_register", NR_IO_URING_REGISTER, -1, 0, 0, 0),
    NR("io_uring_high_bits", NR_IO_URING_SETUP, 8 | HIGH, P),
    NR("keyctl_get", SYS_keyctl, 0, -3, 1),
    NR("keyctl_join", SYS_keyctl, 1, 0),
    NR("keyctl_read_session", SYS_keyctl, 11, -3, P, 4096),
    NR("add_key", SYS_add_key, (long)"user", (long)"podterm", P, 1, -2),
    NR("request_key", SYS_request_key, (long)"user", (long)"podterm", 0, -2),
    NR("userfaultfd", SYS_userfaultfd, 0),
    NR("userfaultfd_user_mode", SYS_userfaultfd, 1),
    NR("bpf_map", SYS_bpf, 0, P, 72),
    NR("bpf_program", SYS_bpf, 5, P, 72),
    NR("perf_event_open", SYS_perf_event_open, P, 0, -1, -1, 0),
    NR("perf_event_open_all", SYS_perf_event_open, P, -1, 0, -1, 0),
    NR("syslog", SYS_syslog, 3, P, 16),
    NR("fanotify_init", SYS_fanotify_init, 0x200, 0),
    NR("open_by_handle_at", SYS_open_by_handle_at, AT_FDCWD, P, 0),
    NR("quotactl", SYS_quotactl, 0x80000200, (long)"/dev/none", 0, P),
    NR("quotactl_fd", NR_QUOTACTL_FD, -1, 0x80000200, 0, P),
    NR("process_madvise", NR_PROCESS_MADVISE, -1, 0, 0, 0, 0),
    NR("memfd_secret", NR_MEMFD_SECRET, 0),
    NR("lsm_set_self_attr", NR_LSM_SET_SELF_ATTR, 0, 0, 0, 0),
    NR("file_setattr", NR_FILE_SETATTR, -1, 0, 0, 0, 0),
    NR("reboot", SYS_reboot, 0, 0, 0, 0),
    NR("kexec_load", SYS_kexec_load, 0, 17, 0, 0),
#ifdef SYS_kexec_file_load
    NR("kexec_file_load", SYS_kexec_file_load, -1, -1, 0, 0, -1),
#endif
    NR("init_module", SYS_init_module, 0, 0, (long)""),
    NR("finit_module", SYS_finit_module, -1, (long)"", 0),
    NR("delete_module", SYS_delete_module, (long)"podterm-none", 0x800),
    NR("swapon", SYS_swapon, 0, 0),
    NR("swapoff", SYS_swapoff, (long)"/nowhere"),
    NR("acct", SYS_acct, (long)"/nowhere"),
    NR("settimeofday", SYS_settimeofday, 0, 0),
    NR("sethostname", SYS_sethostname, (long)"x", -1),
    NR("setdomainname", SYS_setdomainname, (long)"x", -1),
    HARM("vhangup", SYS_vhangup, 0),
    NR("move_pages_1", SYS_move_pages, 1, 0, 0, 0, 0),
    NR("migrate_pages_1", SYS_migrate_pages, 1, 0, 0, 0),
#ifdef SYS_iopl
    NR("iopl", SYS_iopl, 3),
    NR("ioperm", SYS_ioperm, 0x80, 1, 1),
    NR("modify_ldt", SYS_modify_ldt, 0, P, 4096),
#endif
#ifdef SYS_uselib
    NR("uselib", SYS_uselib, (long)"/nowhere"),
#endif
    {.name = "clock_settime", .run = set_clock, .is_harmful = true},
    {.name = "adjtimex", .run = shift_clock, .is_harmful = true},
    {.name = "map_zero", .run = map_zero},
    {.name = "unknown_numbers",
     .run = unknown,
     .n = {UNKNOWN_FROM, UNKNOWN_TO}},
    {.name = "unknown_number_max",
     .run = unknown,
     .n = {0x3fffffff, 0x3fffffff}},
#if defined(__x86_64__)
    {.name = "unknown_numbers_between", .run = unknown, .n = {337, 423}},
#endif
    I386("getpid", 20),
    I386("open", 5, 0, 0, 0),
    I386("socket", 359, 2, 2, 0),
    I386("mptcp", 359, 2, 1, 262),
    I386("unshare", 310, 0x10000000),
    I386("clone", 120, 0x10000011),
    I386("mount", 21, 0, 0, 0),
    I386("ptrace", 26, 0, 0, 0),
    I386("keyctl", 288, 0, -3, 1),
    I386("io_uring_setup", 425, 1, 0),
    I386("bpf", 357, 0, 0, 0),
    I386("userfaultfd", 374, 0),
    {.name = "i386_socketcall_udp", .run = i386_socketcall, .n = {2, 2, 0}},
    {.name = "i386_socketcall_vsock", .run = i386_socketcall, .n = {40, 1, 0}},
    XX32("getpid", 39),
    XX32("socket", 41, 2, 2, 0),
    XX32("unshare", 272, 0x10000000),
    XX32("ptrace", 521, 0, 0, 0),
    XX32("io_uring_setup", 425, 8, P),
    XX32("keyctl", 250, 0, -3, 1),
    TTY("tty_sti", TIOCSTI, 0),
    TTY("tty_linux", TIOCLINUX, 0),
    TTY("tty_setd", TIOCSETD, 0),
    TTY("tty_sti_high_bits", TIOCSTI | HIGH, 0),
    TTY("tty_linux_high_bits", TIOCLINUX | HIGH, 0),
    TTY("tty_setd_high_bits", TIOCSETD | HIGH, 0),
    TTY("own_tty_sti", TIOCSTI, 1),
    TTY("own_tty_setd", TIOCSETD, 1),
    {.name = "setuid", .run = set_uid},
    {.name = "setgid", .run = set_gid},
    {.name = "setgroups", .run = set_groups},
    {.name = "setfsuid", .run = set_fsuid},
    {.name = "capset", .run = set_capabilities},
    {.name = "capability_ambient", .run = control, .n = {47, 2, 21}},
    {.name = "capability_bounding", .run = control, .n = {24, 21}},
    {.name = "securebits", .run = control, .n = {28, 0x2f}},
    {.name = "set_mm", .run = control, .n = {35, 1, (long)page}},
    {.name = "new_privileges", .run = new_privileges},
    {.name = "unfiltered", .run = unfiltered},
    {.name = "real_time", .run = real_time},
    {.name = "priority", .run = priority},
    {.name = "limit_processes", .run = raise_limit, .n = {RLIMIT_NPROC}},
    {.name = "limit_files", .run = raise_limit, .n = {RLIMIT_NOFILE}},
    {.name = "limit_core", .run = raise_limit, .n = {RLIMIT_CORE}},
};

void calls_run(void)
{
    ATTEMPTS(all);
}
