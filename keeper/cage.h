/*
 * The cage of a runner on one machine: the command line of bubblewrap, and
 * starting it. What the program then sees of the host is listed in cage.c;
 * everything else is not there.
 *
 * Inside: the runner is PID 1 of its own user, PID, mount, IPC, UTS, cgroup
 * and (egress none) network namespaces, without any capability, on a
 * read-only root; /tmp, /home/user and /dev/shm can be written and have a
 * size. As root the ids are dropped before bubblewrap starts: uid 0 in a
 * cage is no cage.
 */
#ifndef PODTERM_KEEPER_CAGE_H
#define PODTERM_KEEPER_CAGE_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define CAGE_OVERFLOW_UID 65534
#define CAGE_INFO_MAX 256 /* bytes of info_fd looked at */

struct cage_conf {
    const char *bwrap; /* path of the program */
    bool is_full;      /* false: no cage, the shim is run bare */
    bool is_open;      /* egress: share the network namespace */
    bool set_ids;      /* we are root: become uid first */
    uid_t uid;         /* the runner's; its gid is the same number as root */
    uid_t agent_uid;
    int64_t tmp_bytes, home_bytes, shm_bytes;
    /* What is in view, read-only; NULL in a probe. */
    const char *ipc_dir;
    const char *bundle_dir;
    const char *shim; /* path of the binary; copied into the cage */
};

struct cage {
    pid_t pid; /* bubblewrap, or the shim itself when bare */
    int pid_fd;
    int info_fd; /* says {"child-pid":N}; -1 when bare */
    int text_fd; /* what bubblewrap and shim write to stderr */
    int shim_fd; /* pidfd of the shim once cage_learn found it; -1 */
    size_t info_len;
    char info[CAGE_INFO_MAX];
};

/* Start the shim. Every descriptor in *out is the caller's. -1 with *e. */
int cage_spawn(const struct cage_conf *conf, struct cage *out, struct err *e);
/* info_fd can be read: learn who the shim is. info_fd is closed at its end,
 * not before: bubblewrap writes in pieces, and would die of SIGPIPE. */
void cage_learn(struct cage *c);
/* Signal the shim, through bubblewrap only when it is not known: bubblewrap
 * hands no signal on, it dies and its child is killed. */
void cage_signal(const struct cage *c, int signum);
/* Close what is open. Takes one that never started (all -1). */
void cage_fini(struct cage *c);

/*
 * Really run a program in such a cage.
 *
 * why      what bubblewrap said when it did not work, one printable line
 * returns  1 it works, 0 it does not, -1 with *e when not even tried
 */
int cage_probe(const struct cage_conf *conf, char *why, size_t size,
               struct err *e);

#endif
