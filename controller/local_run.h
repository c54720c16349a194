/*
 * The local launcher's own: a run, and what of its life blocks (directory,
 * processes, files), done on worker threads. While a job runs, only it
 * touches the run's fields below "job's".
 */
#ifndef PODTERM_CONTROLLER_LOCAL_RUN_H
#define PODTERM_CONTROLLER_LOCAL_RUN_H

#include "base/loop.h"
#include "base/proc.h"
#include "base/worker.h"
#include "controller/archive.h"
#include "controller/launcher.h"
#include "controller/removals.h"
#include "controller/sessdir.h"
#include "controller/settings.h"
#include "controller/slots.h"

struct local {
    struct launcher base; /* first */
    struct loop *loop;
    struct worker *worker;
    const struct settings *set;
    int life_fd; /* -1 = none */
    bool is_root;
    struct slots slots;
    int uids_fd;             /* holds our uids; -1 when not root */
    struct worker *archives; /* takes what agents fetched; NULL when not root */
    struct removals *removals;
    int inotify_fd;
    struct loop_fd *inotify;
    struct run *runs;
    int count;
    bool has_told_strange; /* of a name in sessions/ that is not ours */
};

enum run_state { RUN_PREPARING, RUN_UP, RUN_CLEANING };

struct run {
    struct local *l;
    struct run *next;
    enum run_state state;
    char sid[ID_SIZE];
    char *dir;
    struct sessdir_owner owner;    /* as root; 0 otherwise */
    uint64_t charge;               /* as struct launch has it; 0 = unknown */
    struct archive *archive;       /* as root, until it runs; NULL */
    bool is_listening, is_running; /* told */
    bool is_quiet;                 /* discarded: nothing is told */
    enum end_reason wanted;
    char wanted_detail[256];
    struct loop_fd *exit_watch;
    struct loop_timer *kill_timer, *retry;
    void (*job)(void *arg);
    void (*job_done)(void *arg);
    /* job's */
    struct launch *what;
    const char *trusted;
    int pid_fd, watch;
    struct proc_id keeper;
    char *gone; /* its directory, still to be removed; NULL = none */
    struct err failure;
    struct launch_end end;
};

struct local_status { /* status.json */
    bool is_running;
    char addr[64];
    char isolation[12]; /* "" = what the launcher gave it */
    uint8_t layers;     /* enum cage_layer and LAYER_KNOWN, or 0 */
    int64_t started_ms;
};

/* Is there all a session needs? Sets base->isolation. */
int local_probe(struct launcher *base, struct err *e);
/* Jobs; arg is a struct run. Prepare and find leave pid_fd -1 when there is
 * no keeper. */
void local_prepare(void *arg);
void local_find(void *arg);
void local_clean(void *arg);
/* The agent's status, checked: ERR_ABSENT while there is none. */
int local_status_read(const char *dir, struct local_status *out, struct err *e);

#endif
