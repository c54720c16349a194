/*
 * Whom the kernel kills when memory runs out: what runs in the cage, before
 * the session's agent and the services. The value is inherited, so ours is
 * raised while the cage starts and put back before the agent does.
 * Source: proc_pid_oom_score_adj(5).
 */
#ifndef PODTERM_KEEPER_OOM_H
#define PODTERM_KEEPER_OOM_H

#define OOM_MORE 500 /* half of the machine's memory, as the kernel counts */

struct oom {
    int fd;    /* our own oom_score_adj; -1 = it cannot be written */
    int value; /* of ours, as it was */
};

/* While we are dumpable: afterwards the file is root's alone. Neither can
 * fail; what cannot be had is logged, and all stays as it was. */
void oom_open(struct oom *o);
void oom_raise(const struct oom *o);
void oom_restore(const struct oom *o);
void oom_close(struct oom *o);

#endif
