/*
 * Directories of ended sessions, removed by threads of their own: nothing
 * waits for them, however large they are. Each gets REMOVALS_SLICE_MS at a
 * turn, so that a small one does not wait for large ones.
 */
#ifndef PODTERM_CONTROLLER_REMOVALS_H
#define PODTERM_CONTROLLER_REMOVALS_H

#include "base/loop.h"

#include <stdint.h>

#define REMOVALS_THREADS 2
#define REMOVALS_SLICE_MS 250

struct removals;

struct removals *removals_new(struct loop *l);
/* Stops within a slice; what is left, the next start finds. Takes NULL. */
void removals_free(struct removals *r);
/* Takes path, a session's directory. owner: whom it counts for, 0 = nobody.
 * Loop thread. */
void removals_add(struct removals *r, char *path, uint64_t owner);
/* How many of this owner's are not gone yet. Any thread. */
int removals_count(struct removals *r, uint64_t owner);

#endif
