#include "runner-image/parts.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/vocab.h" /* LEAVE_*: constants only, nothing is linked */

/* Kill our direct children; their orphans become our children in turn. */
static void kill_children(void)
{
    DIR *d = opendir("/proc");
    struct dirent *de;
    char path[64], line[512];

    while (d && (de = readdir(d))) {
        pid_t pid = (pid_t)atoi(de->d_name);
        int fd, parent = 0;
        ssize_t n;
        char *p;

        if (pid <= 1)
            continue;
        snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
        fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
            continue;
        n = read(fd, line, sizeof(line) - 1);
        close(fd);
        line[n > 0 ? n : 0] = 0;
        /* the name in parentheses may hold anything: look for its last ) */
        p = strrchr(line, ')');
        if (p && sscanf(p + 1, " %*c %d", &parent) == 1 && parent == getpid())
            kill(pid, SIGKILL);
    }
    if (d)
        closedir(d);
}

/*
 * End everything the program left. As PID 1 one call reaches every process
 * of the namespace, and the kernel holds forks off while it does. Never
 * kill(-1) otherwise: that would be every process of the user.
 */
static void kill_rest(struct shim *s)
{
    int64_t until = shim_now_ms() + SHIM_SWEEP_MS;

    if (s->is_init) {
        kill(-1, SIGKILL);
        return;
    }
    for (;;) {
        pid_t pid;

        kill_children();
        while ((pid = waitpid(-1, NULL, WNOHANG)) > 0)
            ;
        if (pid < 0 || shim_now_ms() >= until)
            return;
        poll(NULL, 0, 1);
    }
}

_Noreturn void ending_leave(struct shim *s, int code)
{
    kill_rest(s);
    _exit(code);
}

/* --- signals --- */

/* What a container sees of its own cgroup, of version 2 and of 1: a line
 * "oom_kill N". Neither is there on one machine. */
long ending_memory_kills(void)
{
    static const char *const paths[] = {
        "/sys/fs/cgroup/memory.events",
        "/sys/fs/cgroup/memory/memory.oom_control",
    };
    long kills = 0;

    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
        int fd = open(paths[i], O_RDONLY | O_CLOEXEC);
        char text[1024] = "\n";
        const char *at;
        ssize_t n;

        if (fd < 0)
            continue;
        n = read(fd, text + 1, sizeof(text) - 2);
        close(fd);
        text[n > 0 ? n + 1 : 1] = 0;
        at = strstr(text, "\noom_kill ");
        if (at)
            kills += strtol(at + sizeof("\noom_kill ") - 1, NULL, 10);
    }
    return kills;
}

/* Killed by nobody's word while somebody in here was killed for memory: a
 * child that was, before, is no end of the program's. */
static uint8_t kind_of(const struct shim *s, int status)
{
    if (!WIFSIGNALED(status))
        return SHIM_END_CODE;
    return WTERMSIG(status) == SIGKILL && !s->is_killed &&
                   ending_memory_kills() > s->memory_kills
               ? SHIM_END_MEMORY
               : SHIM_END_SIGNAL;
}

static void reap(struct shim *s)
{
    int status;
    pid_t pid;

    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        if (pid != s->program || s->state != SHIM_RUNNING)
            continue;
        s->state = SHIM_ENDED;
        s->end_kind = kind_of(s, status);
        s->end_value =
            WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status);
        link_tell_exited(s);
        kill_rest(s); /* see the head of shim.c */
    }
}

/*
 * SIGTERM from outside means that the platform stops us. A sender inside
 * our PID namespace shows its pid, one outside shows 0; what the program
 * sends is ignored. A program that floods us with it can only hide the
 * platform's own behind one still pending, and is then killed in its turn.
 */
void ending_on_signal(struct shim *s)
{
    struct signalfd_siginfo si;

    while (read(s->signal_fd, &si, sizeof(si)) == (ssize_t)sizeof(si)) {
        if (si.ssi_signo != SIGTERM)
            continue;
        /* whoever queues one may put any sender into it, but not this code */
        if (si.ssi_code != SI_USER && si.ssi_code != SI_KERNEL)
            continue;
        if (s->is_init ? si.ssi_pid != 0
                       : si.ssi_uid != 0 && si.ssi_uid != s->agent_uid)
            continue;
        s->is_stopped = true;
    }
    reap(s);
}

int ending_watch(struct shim *s)
{
    static const int own_fault[] = {SIGSEGV, SIGBUS,  SIGFPE,
                                    SIGILL,  SIGABRT, SIGSYS};
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    struct sigaction normal = {.sa_handler = SIG_DFL};
    sigset_t watched;

    /* ignored ones are not queued, however many the program sends */
    for (int i = 1; i < NSIG; i++)
        if (i != SIGCHLD && i != SIGTERM)
            sigaction(i, &ignore, NULL);
    for (size_t i = 0; i < sizeof(own_fault) / sizeof(own_fault[0]); i++)
        sigaction(own_fault[i], &normal, NULL);
    sigaction(SIGCHLD, &normal, NULL);
    sigaction(SIGTERM, &normal, NULL);
    sigemptyset(&watched);
    sigaddset(&watched, SIGCHLD);
    sigaddset(&watched, SIGTERM);
    if (sigprocmask(SIG_SETMASK, &watched, NULL) < 0)
        return -1;
    s->signal_fd = signalfd(-1, &watched, SFD_CLOEXEC | SFD_NONBLOCK);
    return s->signal_fd < 0 ? -1 : 0;
}
