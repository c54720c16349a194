/*
 * The life of one session in its agent: from the spec to the report.
 *
 *   NEW ──bundle──► UNPACKED ──shim says hello──► STARTING ──► RUNNING ──► ENDED
 *     └────── refused, ended, lost ──────────────────────────────────────────┘
 *
 * It owns terminal, shim link, bundle pipeline and attachments, and is the
 * one place where an end is decided: the first reason stands. Everything it
 * needs to go on after a kill is in the state file. Loop's thread only.
 */
#ifndef PODTERM_AGENT_LIFE_H
#define PODTERM_AGENT_LIFE_H

#include "agent/spec.h"
#include "agent/state.h"
#include "base/err.h"
#include "base/loop.h"
#include "base/worker.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define LIFE_TICK_MS 1000
#define LIFE_KILL_MS 2000 /* SIGHUP to SIGKILL */
/* after the program's exit: silence that long on a terminal others still hold
 * is its end */
#define LIFE_QUIET_MS 300
#define LIFE_SHIM_WAIT_MS 10000 /* for the shim to come back */
#define LIFE_LISTEN_MS 50       /* between two tries at a proxy's port, */
#define LIFE_LISTEN_TRIES 100   /* of which there are so many */
/* for connections and shim at the very end; a keeper kills after a second */
#define LIFE_LEAVE_MS 700

struct attach_set;
struct life;

struct life_conf {
    struct loop *loop;
    struct agent_spec *spec; /* outlives the life; its env is forgotten */
    struct state *state;
    const char *ipc_dir;
    const char *bundle_dir;
    const char *tmp_dir;
    const char *cache_dir, *cached_path, *keep_path; /* as bundle_conf's */
    const char *runner_root; /* where the runner sees the bundle's tree */
    const char *runner_home;
    const char *report_path;
    const char *status_path; /* NULL = not wanted */
    const char *addr;        /* own address, for the status file */
    uid_t runner_uid;
    int broker_fd;           /* the keys of APIs; -1 = none, or */
    const char *broker_keys; /* a directory, in a pod; NULL */
    struct worker *worker;   /* for the bundle */
    /* the program runs: once in a process; NULL = nobody asks */
    void (*running)(void *arg);
    void *running_arg;
};

/* conf is copied, what it points to is not. */
struct life *life_new(const struct life_conf *conf, struct err *e);
/* Begin, or go on where the state says; the loop is stopped when all is
 * over. -1: that it listens cannot be told, so nobody would come. */
int life_begin(struct life *l, struct attach_set *set, struct err *e);
void life_free(struct life *l); /* takes NULL */

const struct agent_spec *life_spec(const struct life *l);
struct state *life_state(const struct life *l);

/* What an attachment may do to the session. */
int life_input(struct life *l, uint64_t offset, const uint8_t *bytes,
               size_t len, struct err *e);
void life_input_forget(struct life *l);
void life_resize(struct life *l, uint16_t cols, uint16_t rows);
void life_signal(struct life *l, uint8_t frame_signal);
/* From now on these may view it. ERR_INPUT when newer ones are in force. */
int life_viewers(struct life *l, const struct frame_viewers *v, struct err *e);
/* End the session for this reason, unless it has ended already. */
void life_end(struct life *l, enum end_reason reason, const char *detail);
/* The owner consumed output up to state's output_acked. */
void life_acked(struct life *l);
/* Somebody was sent EXIT. */
void life_told_exit(struct life *l);
/* An owner came (true) or the last one went. */
void life_owner(struct life *l, bool is_there);
/* The platform stops this process. */
void life_stop(struct life *l);

#endif
