/*
 * Uids from a reserved range, one a session, so that no two sessions' programs
 * share one. The range's first is the agents'. Loop thread only.
 */
#ifndef PODTERM_CONTROLLER_SLOTS_H
#define PODTERM_CONTROLLER_SLOTS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct slots {
    uid_t first; /* of the sessions */
    size_t count;
    bool *is_used; /* owned */
    size_t next;   /* where the search begins: reuse comes late */
};

void slots_init(struct slots *s, uid_t first, size_t count);
void slots_fini(struct slots *s);
/* A uid, or 0 when all are in use. */
uid_t slots_take(struct slots *s);
/* Mark a uid of an earlier process's session; one outside is ignored. */
void slots_mark(struct slots *s, uid_t uid);
void slots_give(struct slots *s, uid_t uid);
/* Kill every process of uid (as root; not uid 0). Blocking, any thread. */
void slots_sweep(uid_t uid);

#endif
