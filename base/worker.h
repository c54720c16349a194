/*
 * A pool of threads for what blocks (store, disk, name look-ups, signing).
 * A job runs on a worker, then its `done` on the loop's thread.
 */
#ifndef PODTERM_BASE_WORKER_H
#define PODTERM_BASE_WORKER_H

#include "base/loop.h"

#include <stdbool.h>
#include <stddef.h>

struct worker;

/* threads 1..64; at most queue_max jobs wait. */
struct worker *worker_new(struct loop *l, int threads, size_t queue_max);
/* On the loop's thread: waits for every job queued, runs their done, drops
 * none. */
void worker_free(struct worker *w);
/* Queue a job: run(arg) on a worker thread, then done(arg) on the loop
 * (done may be NULL). false when the queue is full or the pool is being freed:
 * nothing was queued. */
bool worker_add(struct worker *w, void (*run)(void *arg),
                void (*done)(void *arg), void *arg);

#endif
