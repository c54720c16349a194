/*
 * Readiness of a descriptor we were given (stdin, stdout) and share with
 * others: its flags are never touched. A loop would make it non-blocking for
 * the user's shell too, so it is watched through an epoll instance between.
 */
#ifndef PODTERM_CLIENT_WATCH_H
#define PODTERM_CLIENT_WATCH_H

#include "base/loop.h"

#include <stdbool.h>

struct watch;

/* Can fd be waited for? Not a regular file or /dev/null: those never block. */
bool watch_can(int fd);
/* Watch fd, off at first. events as in base/loop.h, LOOP_READ or LOOP_WRITE;
 * cb comes while the event holds (also on an error or hang-up). NULL when it
 * cannot be watched. */
struct watch *watch_start(struct loop *l, int fd, int events,
                          void (*cb)(void *arg), void *arg);
void watch_on(struct watch *w, bool on);
void watch_stop(struct watch *w); /* takes NULL */

#endif
