/*
 * Debian's redis-server, started by a test in a directory of its own and
 * stopped by its process id. What goes wrong fails the test.
 */
#ifndef PODTERM_TESTS_LIB_REDISD_H
#define PODTERM_TESTS_LIB_REDISD_H

#include "base/redis.h"

#include <sys/types.h>

struct redisd {
    pid_t pid; /* 0 = not running */
    int port;  /* of 127.0.0.1 */
    char *dir;
    char url[48];            /* redis://127.0.0.1:PORT */
    const char *const *more; /* borrowed */
    struct redis *redis;     /* the test's own, as the default user */
};

/* more: further words of its command line, NULL-terminated, or NULL; a word
 * "DIR/…" begins with its directory, which dir (given away) names, or NULL =
 * a fresh one. With "--tls-port" it speaks TLS alone, and the url says so;
 * redis is NULL then. */
void redisd_start(struct redisd *d, char *dir, const char *const *more);
void redisd_stop(struct redisd *d); /* fine on one that never ran */
/* kill -9; and again on the same port, empty. */
void redisd_kill(struct redisd *d);
void redisd_again(struct redisd *d);
/* Stop it in its tracks, and let it go on. */
void redisd_freeze(const struct redisd *d, bool is_frozen);

/* One command of words; the reply, the caller's. */
struct redis_reply *redisd_ask(const struct redisd *d, ...)
    __attribute__((sentinel));
/* The same, whose reply is a number. */
int64_t redisd_number(const struct redisd *d, ...) __attribute__((sentinel));

#endif
