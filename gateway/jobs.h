/*
 * Threads for what blocks (store, token, key set), for a process whose loop
 * is its own epoll: a job runs on a thread, then its `done` on the owner's
 * thread, which watches jobs_fd and calls jobs_collect.
 */
#ifndef PODTERM_GATEWAY_JOBS_H
#define PODTERM_GATEWAY_JOBS_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>

struct jobs;

/* threads 1..64; at most queue_max jobs wait. */
struct jobs *jobs_new(int threads, size_t queue_max, struct err *e);
/* Waits for every job that was added and runs its done. Takes NULL. */
void jobs_free(struct jobs *j);
/* Readable while finished jobs wait (eventfd). */
int jobs_fd(const struct jobs *j);
/* false when the queue is full: nothing was queued. */
bool jobs_add(struct jobs *j, void (*run)(void *arg), void (*done)(void *arg),
              void *arg);
void jobs_collect(struct jobs *j);

#endif
