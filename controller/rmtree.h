/*
 * Removes a tree of any depth and width that a hostile uid made, when none
 * of its processes lives any more. No link is followed and the tree is never
 * left. Takes RMTREE_LEVELS descriptors at most. Blocking; any thread.
 */
#ifndef PODTERM_CONTROLLER_RMTREE_H
#define PODTERM_CONTROLLER_RMTREE_H

#include "base/err.h"

#include <stdatomic.h>
#include <stdint.h>

#define RMTREE_LEVELS 32 /* gone down at once */

/*
 * Remove name below parent_fd; one that is gone is fine. until_ms (loop
 * clock, may be set by another thread meanwhile; NULL = never): when it stops
 * between two entries. 0 = gone, 1 = stopped, -1 = something stays.
 */
int rmtree(int parent_fd, const char *name, const _Atomic int64_t *until_ms,
           struct err *e);

#endif
