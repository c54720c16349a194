/*
 * One session's processes, from start to nothing left: the agent and the
 * shim's cage are started, watched, and ended together.
 */
#ifndef PODTERM_KEEPER_KEEP_H
#define PODTERM_KEEPER_KEEP_H

#include "keeper/cage.h"
#include "keeper/oom.h"

#define KEEP_KEY_FD 3
#define KEEP_LIFE_FD 4
#define KEEP_BROKER_FD 5 /* the keys of APIs: passed on, never read */

/* Between one thing ending and the next being told to. The sum of what a
 * SIGTERM to us can take stays below the launcher's patience (3 s). */
/* we were told to stop: the agent's time to hear of it from the shim and
 * report */
#define KEEP_STOP_MS 500
#define KEEP_LEAVE_MS 500   /* agent gone: its LEAVE may be on the way */
#define KEEP_LINGER_MS 2000 /* shim gone: the agent's last words */
#define KEEP_KILL_MS 1000   /* from SIGTERM to SIGKILL, each */
#define KEEP_SWEEP_MS 500   /* killing strays */

struct keep_conf {
    const char *dir;       /* the session's; PROTOCOL.md 7 */
    const char *agent;     /* path of the program */
    const char *cache_dir; /* or NULL */
    const char *listen;    /* for the agent: "127.0.0.1:0" */
    bool has_life;         /* fd KEEP_LIFE_FD: EOF means stop */
    bool has_broker;       /* fd KEEP_BROKER_FD */
    struct oom oom;        /* opened before we became undumpable */
    struct cage_conf cage; /* its directories are filled in here */
};

/* Write keeper.json (first of all: it says whom to end), start both, wait.
 * Returns when nothing is left below this process: 0, or -1 with *e when
 * they could not be started. */
int keep_run(struct keep_conf *conf, struct err *e);

#endif
