/*
 * What the processes on a program's way out (egress proxy, key broker) have in
 * common: they begin with a line of rules from the main process, tell it what
 * they refused, and end with it. agent/egress is the other end.
 * One thread: the loop's.
 */
#ifndef PODTERM_AGENT_EGRESS_CHILD_H
#define PODTERM_AGENT_EGRESS_CHILD_H

#include "base/err.h"
#include "base/json.h"
#include "base/log.h"
#include "base/loop.h"

#include <stdbool.h>
#include <stdint.h>

#define EGRESS_LINK_FD                                                         \
    3                      /* to the main process: its rules come, one line; \
                               refusals go, a line each. At its end we end */
#define EGRESS_LISTEN_FD 4 /* where the program connects */
#define EGRESS_KEYS_FD 5   /* the broker's alone */
#define EGRESS_RULES_MAX 65536   /* bytes of that line */
#define EGRESS_TOLD_MS 60000     /* the same is told again after that */
#define EGRESS_TOLD_BURST 5      /* and of so many at once, */
#define EGRESS_TOLD_EACH_MS 5000 /* then of one in that time */
#define EGRESS_TOLD_KEPT 16
#define EGRESS_NAMES_MS 5000 /* how often it is looked */
#define EGRESS_NAMES_WAIT_MS 60000

struct egress_child {
    struct loop *loop;
    struct {
        char what[ERR_TEXT_MAX];
        int64_t at_ms;
    } kept[EGRESS_TOLD_KEPT]; /* private from here: told of late; the oldest
                                 gives way */
    int next;
    struct log_rate rate;
    uint64_t names;   /* as it was locked in with them */
    int64_t since_ms; /* they are others; 0 = they are not */
    bool (*is_busy)(void *arg);
    void *busy_arg;
};

/* Nothing of this process is left to chance or to others; then its rules, the
 * caller's. NULL with *e: ERR_PEER, ERR_INPUT. */
struct json *egress_child_begin(struct egress_child *c, const char *sid,
                                struct err *e);
/* It has locked itself in (lockdown_network), and has a loop from here on: one
 * that is older may hold what it is forbidden now, and libuv gives up over
 * that. */
void egress_child_locked(struct egress_child *c);
/* Until the main process hangs up; or files by which names are resolved were
 * replaced, and nobody is served (is_busy) or EGRESS_NAMES_WAIT_MS are over:
 * what stands there now we may not read, the next of us may. */
void egress_child_run(struct egress_child *c, bool (*is_busy)(void *arg),
                      void *arg);

/* Tell it that something was refused, unless the same (what) was told of
 * late. why: a sentence, printable ASCII. */
void egress_child_refused(struct egress_child *c, const char *what,
                          const char *why);
/* One line; one that is not read is one too many. */
void egress_child_say(const struct json *j);

#endif
