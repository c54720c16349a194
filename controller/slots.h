/*
 * Uids from a reserved range, two a session: its agent's and, one above, its
 * program's. So no two sessions share one. Loop thread only.
 */
#ifndef PODTERM_CONTROLLER_SLOTS_H
#define PODTERM_CONTROLLER_SLOTS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct slots {
    uid_t first;
    size_t count;  /* of pairs */
    bool *is_used; /* owned */
    size_t next;   /* where the search begins: reuse comes late */
};

/* uids: how many there are, at least two. */
void slots_init(struct slots *s, uid_t first, size_t uids);
void slots_fini(struct slots *s);
/* An agent's uid, or 0 when all are in use. */
uid_t slots_take(struct slots *s);
/* Mark the pair of a uid of an earlier process's session; one outside is
 * ignored. */
void slots_mark(struct slots *s, uid_t uid);
void slots_give(struct slots *s, uid_t uid);
/* Kill every process of uid (as root; not uid 0). Blocking, any thread. */
void slots_sweep(uid_t uid);

#endif
