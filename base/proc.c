#include "base/proc.h"

#include "base/own.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define PROC_STACK_BYTES (64 * 1024) /* of the child between clone and exec */
#define PROC_FDS_MAX 64

/* --- identity --- */

static int proc_read(const char *path, char *out, size_t size)
{
    own_fd int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n;

    if (fd < 0)
        return -1;
    n = read(fd, out, size - 1);
    if (n <= 0)
        return -1;
    out[n] = 0;
    return 0;
}

/* Field 22 of /proc/PID/stat; the name in field 2 may hold anything, so the
 * count starts behind its last bracket. A zombie lives no more. */
static int proc_start_time(pid_t pid, uint64_t *out)
{
    char path[64], text[1024], *at;
    int field = 2;

    snprintf(path, sizeof(path), "/proc/%d/stat", pid);
    if (proc_read(path, text, sizeof(text)) < 0 || !(at = strrchr(text, ')')))
        return -1;
    if (at[1] == ' ' && (at[2] == 'Z' || at[2] == 'X'))
        return -1;
    while (field < 22) {
        at = strchr(at + 1, ' ');
        if (!at)
            return -1;
        field++;
    }
    errno = 0;
    *out = strtoull(at + 1, NULL, 10);
    return errno ? -1 : 0;
}

int proc_identify(pid_t pid, struct proc_id *out, struct err *e)
{
    struct proc_id id = {.pid = pid};

    if (proc_start_time(pid, &id.start) < 0)
        return err_set(e, ERR_ABSENT, "process %d is gone", pid);
    if (proc_read("/proc/sys/kernel/random/boot_id", id.boot_id,
                  sizeof(id.boot_id)) < 0)
        return err_sys(e, "boot id");
    id.boot_id[strcspn(id.boot_id, "\n")] = 0;
    *out = id;
    return 0;
}

int proc_pidfd(pid_t pid)
{
    return (int)syscall(SYS_pidfd_open, pid, 0);
}

int proc_open(const struct proc_id *id, struct err *e)
{
    own_fd int fd = -1;
    struct proc_id now;

    if (id->pid <= 0)
        return err_set(e, ERR_ABSENT, "no process");
    /* the descriptor first: what is identified after it, it holds */
    fd = proc_pidfd(id->pid);
    if (fd < 0)
        return err_set(e, ERR_ABSENT, "process %d is gone", id->pid);
    if (proc_identify(id->pid, &now, e) < 0)
        return -1;
    if (now.start != id->start || strcmp(now.boot_id, id->boot_id) != 0)
        return err_set(e, ERR_ABSENT, "process %d is another one now", id->pid);
    return own_fd_give(&fd);
}

int proc_signal(int pid_fd, int signum)
{
    return (int)syscall(SYS_pidfd_send_signal, pid_fd, signum, NULL, 0);
}

int proc_reap(int pid_fd, int *status)
{
    siginfo_t info = {0};

    if (waitid(P_PIDFD, (id_t)pid_fd, &info, WEXITED | WNOHANG) < 0)
        return -1;
    if (info.si_pid == 0)
        return 0;
    *status =
        info.si_code == CLD_EXITED
            ? (info.si_status & 0xff) << 8
            : (info.si_status & 0x7f) | (info.si_code == CLD_DUMPED ? 0x80 : 0);
    return 1;
}

/* --- spawning --- */

/* Shared with the child, which runs on our memory until it execs. */
struct proc_child {
    const struct proc_spawn *how;
    int *fds; /* copies above every target number */
    pid_t parent;
    const char *step; /* what failed */
    int error;
};

/* The child leaves its borrowed stack by exec: what a sanitizer noted of it
 * would stay, and be held against the next child there. */
#define PROC_CHILD __attribute__((no_sanitize_address, noinline))

static int proc_child_fail(struct proc_child *c, const char *step)
{
    c->step = step;
    c->error = errno ? errno : EIO;
    return 127;
}

PROC_CHILD static int proc_child_fds(struct proc_child *c)
{
    const struct proc_spawn *how = c->how;

    for (int i = 0; i < how->fd_count || i < 3; i++) {
        int from = i < how->fd_count ? c->fds[i] : -1;

        if (from < 0 && i >= 3) {
            close(i);
            continue;
        }
        if (from < 0) {
            from = open("/dev/null", O_RDWR | O_CLOEXEC);
            if (from < 0)
                return -1;
        }
        if (from == i) {
            if (fcntl(i, F_SETFD, 0) < 0)
                return -1;
        } else if (dup2(from, i) < 0) {
            return -1;
        }
    }
    proc_close_from(how->fd_count > 3 ? how->fd_count : 3);
    return 0;
}

/* No capability is left, nor comes back with exec: the sets are empty, and
 * under no_new_privs nobody gains one, not even uid 0. */
PROC_CHILD static int proc_child_ids(const struct proc_spawn *how)
{
    struct __user_cap_header_struct head = {.version =
                                                _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct none[2] = {0};

    if (!how->set_ids)
        return 0;
    /* the bare calls: libc's own would tell the threads of a process whose
     * memory this child only borrows */
    if (syscall(SYS_setgroups, 0, NULL) < 0 ||
        syscall(SYS_setresgid, how->gid, how->gid, how->gid) < 0 ||
        syscall(SYS_setresuid, how->uid, how->uid, how->uid) < 0 ||
        syscall(SYS_capset, &head, none) < 0)
        return -1;
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
}

/* Past libc, which keeps 32 and 33 to itself and would leave them ignored
 * where our parent did so (make does). */
PROC_CHILD static void proc_child_signals(void)
{
    static const struct {
        void (*handler)(int);
        unsigned long flags;
        void (*restorer)(void);
        unsigned long mask;
    } dfl = {.handler = SIG_DFL};
    sigset_t none;

    for (int i = 1; i < NSIG; i++)
        syscall(SYS_rt_sigaction, i, &dfl, NULL, sizeof(dfl.mask));
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

PROC_CHILD static int proc_child_main(void *arg)
{
    static char *const empty[] = {NULL};
    struct proc_child *c = arg;
    const struct proc_spawn *how = c->how;

    errno = 0;
    proc_child_signals();
    if (how->new_session && setsid() < 0)
        return proc_child_fail(c, "setsid");
    if (chdir(how->cwd ? how->cwd : "/") < 0)
        return proc_child_fail(c, "chdir");
    if (proc_child_fds(c) < 0)
        return proc_child_fail(c, "descriptors");
    if (proc_child_ids(how) < 0)
        return proc_child_fail(c, "user and group");
    /* last: a change of user clears it */
    if (how->death_signal) {
        if (prctl(PR_SET_PDEATHSIG, how->death_signal, 0, 0, 0) < 0)
            return proc_child_fail(c, "death signal");
        if (getppid() != c->parent) { /* it died before we asked */
            errno = ESRCH;
            return proc_child_fail(c, "parent");
        }
    }
    execve(how->path, how->argv, how->envp ? how->envp : empty);
    return proc_child_fail(c, "exec");
}

/* The parent's descriptors, moved above every number the child will use, so
 * that no dup2 hits one that is still needed. */
static int proc_lift(const struct proc_spawn *how, int out[PROC_FDS_MAX])
{
    for (int i = 0; i < how->fd_count; i++) {
        out[i] = -1;
        if (how->fds[i] < 0)
            continue;
        out[i] = fcntl(how->fds[i], F_DUPFD_CLOEXEC, PROC_FDS_MAX);
        if (out[i] < 0)
            return -1;
    }
    return 0;
}

static void proc_unlift(const struct proc_spawn *how, int fds[PROC_FDS_MAX])
{
    for (int i = 0; i < how->fd_count; i++)
        if (fds[i] >= 0)
            close(fds[i]);
}

int proc_spawn(const struct proc_spawn *s, pid_t *pid, struct err *e)
{
    int fds[PROC_FDS_MAX], pid_fd = -1;
    struct proc_child c = {.how = s, .fds = fds, .parent = getpid()};
    sigset_t all, old;
    char *stack;
    pid_t child;

    for (int i = 0; i < PROC_FDS_MAX; i++)
        fds[i] = -1;
    if (s->fd_count > PROC_FDS_MAX)
        return err_set(e, ERR_SYSTEM, "%d descriptors for a child",
                       s->fd_count);
    stack = mmap(NULL, PROC_STACK_BYTES, PROT_READ | PROT_WRITE,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
    if (stack == MAP_FAILED)
        return err_sys(e, "stack for a child");
    if (proc_lift(s, fds) < 0) {
        err_sys(e, "descriptors for %s", s->path);
        proc_unlift(s, fds);
        munmap(stack, PROC_STACK_BYTES);
        return -1;
    }
    /* no handler of ours may run on the shared memory in the child */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    child = clone(proc_child_main, stack + PROC_STACK_BYTES,
                  CLONE_VM | CLONE_VFORK | CLONE_PIDFD | SIGCHLD, &c, &pid_fd);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (child < 0) {
        err_sys(e, "start %s", s->path);
    } else if (c.step) {
        while (waitpid(child, NULL, 0) < 0 && errno == EINTR)
            ;
        close(pid_fd);
        errno = c.error;
        err_sys(e, "start %s: %s", s->path, c.step);
        pid_fd = -1;
    } else {
        *pid = child;
    }
    proc_unlift(s, fds);
    munmap(stack, PROC_STACK_BYTES);
    return child < 0 ? -1 : pid_fd;
}

void proc_close_from(int low)
{
    if (syscall(SYS_close_range, (unsigned)low, ~0u, 0) < 0)
        for (int fd = low; fd < 65536; fd++)
            close(fd);
}

void proc_undumpable(void)
{
    struct rlimit none = {0, 0};

    setrlimit(RLIMIT_CORE, &none);
    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
}
