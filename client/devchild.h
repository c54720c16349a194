/*
 * One child process of `podterm dev`: started with a session and a log file of
 * its own, told when it has exited, started again with a growing delay when
 * that was not meant. Runs on the loop's thread, whose death ends the child.
 */
#ifndef PODTERM_CLIENT_DEVCHILD_H
#define PODTERM_CLIENT_DEVCHILD_H

#include "base/err.h"
#include "base/loop.h"

#include <stdbool.h>
#include <sys/types.h>

#define DEVCHILD_ARGS_MAX 64
#define DEVCHILD_BACK_MIN_MS 100  /* before it is started again */
#define DEVCHILD_BACK_MAX_MS 1500 /* a killed one is back within 5 s */
#define DEVCHILD_GOOD_MS 3000     /* up that long: the least delay again */

struct devchild {
    struct loop *loop;                 /* borrowed */
    const char *name;                  /* "controller" */
    const char *path;                  /* of the program */
    char *argv[DEVCHILD_ARGS_MAX + 1]; /* owned texts */
    int argc;
    int log_fd;     /* its stderr; owned; -1 = ours */
    off_t log_from; /* of its log: what it has said since it was started */
    int life_fd;    /* becomes its descriptor 3; borrowed; -1 = none */
    bool restart;   /* when it exits unasked */
    bool is_stopping;
    void (*exited)(void *arg, struct devchild *c, int status); /* waitpid's */
    void *arg;
    pid_t pid; /* 0 = not running */
    int pid_fd;
    struct loop_fd *watch;
    struct loop_timer *again;
    int64_t started_ms;
    int back_ms;
};

/* Empty; the caller fills name, path, exited, arg. */
void devchild_init(struct devchild *c, struct loop *loop);
/* Add an argument, printf style. Asserts that there is room. */
void devchild_arg(struct devchild *c, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
int devchild_start(struct devchild *c, struct err *e);
/* SIGTERM; `exited` follows. False when it is not running. */
bool devchild_stop(struct devchild *c);
void devchild_kill(struct devchild *c); /* SIGKILL */
void devchild_fini(struct devchild *c);

#endif
