/*
 * Sessions as processes of this machine: a keeper each, which outlives this
 * process, in a directory each (PROTOCOL.md 7). As root every session has a
 * uid of its own from a reserved range, and all agents share its first.
 */
#ifndef PODTERM_CONTROLLER_LAUNCHER_LOCAL_H
#define PODTERM_CONTROLLER_LAUNCHER_LOCAL_H

#include "base/loop.h"
#include "base/worker.h"
#include "controller/launcher.h"
#include "controller/settings.h"

#define LOCAL_TERM_MS 3000 /* from SIGTERM to SIGKILL for a keeper */

/*
 * life_fd  read end of a pipe whose end of file ends the keepers too, or -1
 * sink     told of everything; sink->arg may be set later in base->sink
 */
struct launcher *launcher_local_new(struct loop *loop, struct worker *worker,
                                    const struct settings *set, int life_fd,
                                    struct err *e);

#endif
