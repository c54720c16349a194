/*
 * What agent/life.c (phases, runner, bundle, time), agent/life_network.c (the
 * program's proxies) and agent/life_end.c (the end and leaving) share of a
 * session. For these alone.
 */
#ifndef PODTERM_AGENT_LIFE_INTERNAL_H
#define PODTERM_AGENT_LIFE_INTERNAL_H

#include "agent/deadline.h"
#include "agent/life.h"
#include "agent/shimlink.h"
#include "agent/stall.h"
#include "agent/terminal.h"

struct bundle;
struct egress;

struct life {
    struct life_conf conf;
    struct loop *loop;
    struct agent_spec *spec;
    struct state *state;
    struct state_head *head;
    struct terminal *terminal;
    struct shimlink *shim;
    struct egress *egress; /* the proxy, where the program has one */
    struct egress *broker; /* the same of the key broker */
    struct bundle *bundle; /* while it is fetched and unpacked */
    struct attach_set *attachments;
    struct loop_timer *tick;
    struct loop_timer *kill;     /* SIGHUP was sent: SIGKILL next */
    struct loop_timer *drain;    /* after the exit, until the terminal is dry */
    struct loop_timer *wait;     /* for the shim; for linger; for leaving */
    struct loop_timer *listen;   /* for a port to be free */
    int listening, listen_tries; /* ports we listen on; tries at the next */
    bool has_listened;           /* on all there are to be */
    char **argv;                 /* of the program, once the bundle is ready */
    int64_t drain_since_ms;      /* the exit, or the wish to end, if later */
    int64_t quiet_since_ms;
    uint64_t quiet_at;  /* output_end then */
    bool shim_is_there; /* HELLO was good */
    bool is_leaving;
    bool is_status_due;    /* that it runs could not be written yet */
    int64_t owner_came_ms; /* when the newest owner attached */
    int64_t stop_by_ms;    /* the platform gives us a moment only; 0 = not so */
    struct deadline deadline;
    struct stall stall; /* beaten by the tick */
};

/* (Re)arm the timer in slot, once. */
void life_timer(struct life *l, struct loop_timer **slot, int64_t ms,
                void (*cb)(void *arg));

/* The program is started once all it needs is there. */
void life_try_start(struct life *l);

/* --- life_network.c --- */

/* A socket that the program connects to: its proxy's; taken. arg: the life. */
void life_listener(void *arg, uint16_t port, int listen_fd);
/* Listen where the program shares our network; goes on by itself. arg: the
 * life. */
void life_listen(void *arg);

/* --- life_end.c --- */

/* The program has its environment, or will never start. */
void life_env_forget(struct life *l);
void life_report(struct life *l);
/* How long the agent still waits for its owner; leaves when it need not. */
void life_linger(struct life *l);
/* The session is over: reason and exit are final. The first call stands. */
void life_finish(struct life *l, enum end_reason reason, const char *detail);
/* The program is gone and its terminal is dry. */
void life_finish_exit(struct life *l);
/* life_finish, and the shim is to leave with this code. */
void life_refuse(struct life *l, enum end_reason reason, int code,
                 const char *detail);
/* SIGHUP now, SIGKILL LIFE_KILL_MS later. */
void life_hang_up(struct life *l);
void life_shim_signal(struct life *l, int signum);
void life_send_leave(struct life *l);
/* Verbs of shim and terminal: the program has ended, its terminal has. */
void life_shim_exited(void *arg, enum shim_end kind, int value);
void life_terminal_ended(void *arg);

#endif
