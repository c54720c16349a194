/* Other processes: traced, read, signalled, looked at. */
#include "tests/hostile/hostile.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#define NR_PIDFD_SEND_SIGNAL 424
#define NR_PIDFD_OPEN 434
#define NR_PIDFD_GETFD 438
#define PIDS_MAX 65536

enum whom { ONE = 1, PARENT, SELF, CHILD, HOST };

/* A child that only waits; its end is ours. */
static pid_t a_child(void)
{
    pid_t pid = fork();

    if (pid == 0) {
        alarm(30);
        pause();
        _exit(0);
    }
    return pid;
}

/* HOST: 0 = nobody was named. */
static pid_t pid_of(enum whom whom)
{
    switch (whom) {
    case ONE:
        return 1;
    case PARENT:
        return getppid();
    case SELF:
        return getpid();
    case CHILD:
        return a_child();
    default:
        return atoi(told("PID"));
    }
}

static void done_with(enum whom whom, pid_t pid)
{
    if (whom == CHILD && pid > 0) {
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
    }
}

/* n: request, whom. One that is held is let go again: the parent is who tells
 * how it went. */
static void trace(const struct attempt *a)
{
    pid_t pid = pid_of((enum whom)a->n[1]);
    long r;

    r = ptrace((int)a->n[0], pid, NULL, NULL);
    outcome(r, "traced");
    if (r == 0 && a->n[0] == PTRACE_ATTACH) {
        waitpid(pid, NULL, __WALL);
        ptrace(PTRACE_DETACH, pid, NULL, NULL);
    }
    done_with((enum whom)a->n[1], pid);
}

static void trace_me(const struct attempt *a)
{
    (void)a;
    outcome(ptrace(PTRACE_TRACEME, 0, NULL, NULL), "traced");
}

/* n: number, whom. One byte of our own, which is where a child's is. */
static void read_memory(const struct attempt *a)
{
    static char there = 'x';
    char here = 0;
    struct iovec mine = {&here, 1}, theirs = {&there, 1};
    pid_t pid = pid_of((enum whom)a->n[1]);

    outcome(syscall(a->n[0], pid, &mine, 1L, &theirs, 1L, 0L), "one byte");
    done_with((enum whom)a->n[1], pid);
}

static void take_descriptor(const struct attempt *a)
{
    pid_t pid = pid_of((enum whom)a->n[0]);
    long fd = syscall(NR_PIDFD_OPEN, pid, 0L);

    outcome(fd < 0 ? -1 : syscall(NR_PIDFD_GETFD, fd, 0L, 0L),
            "a descriptor of its");
    done_with((enum whom)a->n[0], pid);
}

static void compare(const struct attempt *a)
{
    pid_t pid = pid_of((enum whom)a->n[0]);

    outcome(syscall(SYS_kcmp, getpid(), pid, 1L, 0L, 0L), "compared");
    done_with((enum whom)a->n[0], pid);
}

static void robust_list(const struct attempt *a)
{
    void *head;
    size_t len;

    outcome(
        syscall(SYS_get_robust_list, pid_of((enum whom)a->n[0]), &head, &len),
        "where its locks lie");
}

/* --- /proc --- */

static void read_file(const struct attempt *a)
{
    int fd = open(a->text, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    char bytes[64];
    ssize_t n = fd < 0 ? -1 : pread(fd, bytes, sizeof(bytes), 0);

    if (n < 0 && fd >= 0 && errno == EIO) /* mem: nothing at zero, but open */
        through("opened");
    else
        outcome(n, "read");
}

static void list_directory(const struct attempt *a)
{
    DIR *d = opendir(a->text);

    outcome(d && readdir(d) ? 0 : -1, "listed");
}

static void enter(const struct attempt *a)
{
    char path[64];

    snprintf(path, sizeof(path), "%s/", a->text);
    outcome(access(path, F_OK), "it leads there");
}

static void read_link(const struct attempt *a)
{
    char to[256];

    outcome(readlink(a->text, to, sizeof(to)), "where it leads");
}

/* All that is in view beside PID 1 is of our own session. */
static void others_in_view(const struct attempt *a)
{
    DIR *d = opendir("/proc");
    struct dirent *de;

    (void)a;
    while (d && (de = readdir(d))) {
        pid_t pid =
            isdigit((unsigned char)de->d_name[0]) ? atoi(de->d_name) : 0;

        if (pid > 1 && getsid(pid) != getsid(0)) {
            through("process %d", (int)pid);
            return;
        }
    }
    refused("none");
}

static void others_environment(const struct attempt *a)
{
    DIR *d = opendir("/proc");
    struct dirent *de;

    while (d && (de = readdir(d))) {
        char path[300];
        pid_t pid =
            isdigit((unsigned char)de->d_name[0]) ? atoi(de->d_name) : 0;

        if (pid < 1 || getsid(pid) == getsid(0))
            continue;
        snprintf(path, sizeof(path), "/proc/%s/%s", de->d_name, a->text);
        if (open(path, O_RDONLY | O_CLOEXEC) >= 0) {
            through("%s", path);
            return;
        }
    }
    refused("none");
}

/* --- signals and the like --- */

static void signal_to(const struct attempt *a)
{
    outcome(kill(pid_of((enum whom)a->n[0]), (int)a->n[1]), "sent");
}

static void signal_host(const struct attempt *a)
{
    if (*told("PID"))
        signal_to(a);
    else
        absent("no such process here");
}

static void signal_thread(const struct attempt *a)
{
    outcome(syscall(SYS_tgkill, 1L, 1L, a->n[0]), "sent");
}

static void signal_queued(const struct attempt *a)
{
    union sigval v = {.sival_int = 7};

    outcome(sigqueue(1, (int)a->n[0], v), "sent");
}

static void signal_by_pidfd(const struct attempt *a)
{
    long fd = syscall(NR_PIDFD_OPEN, 1L, 0L);

    outcome(fd < 0 ? -1 : syscall(NR_PIDFD_SEND_SIGNAL, fd, a->n[0], 0L, 0L),
            "sent");
}

/* Everything that has a number, asked with a signal that does nothing. */
static void signal_everybody(const struct attempt *a)
{
    int telling = ESRCH;

    (void)a;
    for (pid_t pid = 2; pid < PIDS_MAX; pid++) {
        pid_t sid = getsid(pid);

        if (sid == getsid(0))
            continue; /* our own */
        if (kill(pid, 0) == 0) {
            through("process %d", (int)pid);
            return;
        }
        if (errno != ESRCH)
            telling = errno;
    }
    errno = telling;
    outcome(-1, "");
}

static void limit_of(const struct attempt *a)
{
    const struct rlimit lim = {0, 0}; /* of a core, which is none already */

    outcome(syscall(SYS_prlimit64, pid_of((enum whom)a->n[0]), RLIMIT_CORE,
                    &lim, 0L),
            "its limits");
}

static void priority_of(const struct attempt *a)
{
    outcome(setpriority(PRIO_PROCESS, (id_t)pid_of((enum whom)a->n[0]), 19),
            "its priority");
}

static void affinity_of(const struct attempt *a)
{
    unsigned long mask = 1;

    outcome(syscall(SYS_sched_setaffinity, pid_of((enum whom)a->n[0]),
                    sizeof(mask), &mask),
            "its processors");
}

#define OF(called, function, ...)                                              \
    {                                                                          \
        .name = called, .run = function, .n = { __VA_ARGS__ }                  \
    }
#define HARM(called, function, ...)                                            \
    {                                                                          \
        .name = called, .run = function, .n = {__VA_ARGS__},                   \
        .is_harmful = true                                                     \
    }
#define AT(called, function, path)                                             \
    {                                                                          \
        .name = called, .run = function, .text = path                          \
    }

static const struct attempt all[] = {
    HARM("ptrace_1", trace, PTRACE_ATTACH, ONE),
    HARM("ptrace_parent", trace, PTRACE_ATTACH, PARENT),
    OF("ptrace_child", trace, PTRACE_ATTACH, CHILD),
    HARM("ptrace_seize_1", trace, PTRACE_SEIZE, ONE),
    OF("ptrace_seize_child", trace, PTRACE_SEIZE, CHILD),
    OF("ptrace_me", trace_me, 0),
    OF("vm_read_1", read_memory, SYS_process_vm_readv, ONE),
    OF("vm_read_parent", read_memory, SYS_process_vm_readv, PARENT),
    OF("vm_read_self", read_memory, SYS_process_vm_readv, SELF),
    OF("vm_read_child", read_memory, SYS_process_vm_readv, CHILD),
    HARM("vm_write_1", read_memory, SYS_process_vm_writev, ONE),
    OF("vm_write_self", read_memory, SYS_process_vm_writev, SELF),
    OF("vm_write_child", read_memory, SYS_process_vm_writev, CHILD),
    OF("pidfd_getfd_1", take_descriptor, ONE),
    OF("pidfd_getfd_self", take_descriptor, SELF),
    OF("pidfd_getfd_child", take_descriptor, CHILD),
    OF("kcmp_1", compare, ONE),
    OF("kcmp_child", compare, CHILD),
    OF("robust_list_1", robust_list, ONE),
    AT("proc_1_mem", read_file, "/proc/1/mem"),
    AT("proc_1_environ", read_file, "/proc/1/environ"),
    AT("proc_1_maps", read_file, "/proc/1/maps"),
    AT("proc_1_auxv", read_file, "/proc/1/auxv"),
    AT("proc_1_stack", read_file, "/proc/1/stack"),
    AT("proc_1_syscall", read_file, "/proc/1/syscall"),
    AT("proc_1_task_mem", read_file, "/proc/1/task/1/mem"),
    AT("proc_1_fd", list_directory, "/proc/1/fd"),
    AT("proc_1_fdinfo", list_directory, "/proc/1/fdinfo"),
    AT("proc_1_map_files", list_directory, "/proc/1/map_files"),
    AT("proc_1_root", enter, "/proc/1/root"),
    AT("proc_1_cwd", enter, "/proc/1/cwd"),
    AT("proc_1_exe", read_link, "/proc/1/exe"),
    AT("proc_1_ns", read_link, "/proc/1/ns/net"),
    AT("proc_1_fd_3", read_link, "/proc/1/fd/3"),
    OF("proc_others", others_in_view, 0),
    AT("proc_others_environ", others_environment, "environ"),
    AT("proc_others_mem", others_environment, "mem"),
    HARM("kill_1_kill", signal_to, ONE, SIGKILL),
    HARM("kill_1_stop", signal_to, ONE, SIGSTOP),
    HARM("kill_1_term", signal_to, ONE, SIGTERM),
    HARM("kill_1_hup", signal_to, ONE, SIGHUP),
    HARM("kill_1_usr1", signal_to, ONE, SIGUSR1),
    OF("kill_1_nothing", signal_to, ONE, 0),
    HARM("tgkill_1", signal_thread, SIGKILL),
    HARM("sigqueue_1", signal_queued, SIGTERM),
    HARM("pidfd_signal_1", signal_by_pidfd, SIGKILL),
    OF("kill_host", signal_host, HOST, 0),
    OF("kill_everybody", signal_everybody, 0),
    HARM("limits_of_1", limit_of, ONE),
    HARM("priority_of_1", priority_of, ONE),
    HARM("affinity_of_1", affinity_of, ONE),
};

void processes_run(void)
{
    ATTEMPTS(all);
}
