/*
 * Processes known by more than their number: (pid, start time, boot id), and
 * pidfds. A pid alone is never believed.
 */
#ifndef PODTERM_BASE_PROC_H
#define PODTERM_BASE_PROC_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct proc_id {
    pid_t pid;
    uint64_t start;   /* field 22 of /proc/PID/stat, clock ticks */
    char boot_id[37]; /* /proc/sys/kernel/random/boot_id */
};

/* Identity of a living process; ERR_ABSENT when there is none (a zombie is
 * none). */
int proc_identify(pid_t pid, struct proc_id *out, struct err *e);
/* A pidfd for exactly that process, or -1 (ERR_ABSENT: it is gone). */
int proc_open(const struct proc_id *id, struct err *e);
/* pidfd_open(2), close-on-exec. */
int proc_pidfd(pid_t pid);
/* pidfd_send_signal(2); 0 or -1/errno */
int proc_signal(int pid_fd, int signum);
/* waitid(P_PIDFD, WNOHANG): 1 and *status (as of waitpid) when a child of
 * ours has ended, 0 while it runs, -1 when it is no child of ours. */
int proc_reap(int pid_fd, int *status);

struct proc_spawn {
    const char *path; /* executed file */
    char *const *argv;
    char *const *envp; /* NULL = empty */
    /* descriptors the child gets: child number i is fds[i]; -1 = not open
     * (0..2: /dev/null). Everything else is closed. */
    const int *fds;
    int fd_count;
    bool new_session; /* setsid */
    int death_signal; /* PR_SET_PDEATHSIG, 0 = none; fires when the
                                  spawning thread ends */
    bool set_ids;     /* drop to uid/gid, no groups, no caps,
                                  no_new_privs */
    uid_t uid;
    gid_t gid;
    const char *cwd; /* NULL = "/" */
};
/* vfork-speed spawn; signals reset and unblocked. Returns the pidfd, the
 * caller's, and *pid; -1 with *e naming the step that failed. */
int proc_spawn(const struct proc_spawn *s, pid_t *pid, struct err *e);

/* Close every descriptor >= low. */
void proc_close_from(int low);
/* RLIMIT_CORE 0 and PR_SET_DUMPABLE 0: no memory of ours on disk or in a
 * debugger of the same user. */
void proc_undumpable(void);

#endif
