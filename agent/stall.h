/*
 * Watches over the loop's thread. A call that should not block can be made to
 * all the same: who shares an open file description with us (the shim, the
 * PTY master's) can clear its O_NONBLOCK, and Linux offers no read(2) or
 * write(2) of a terminal that is non-blocking by itself. So a loop that stands
 * still is first helped out of its system call by a signal that does nothing,
 * which makes it fail with EINTR; should that not help, the process is killed
 * and its supervisor starts another. The timers are the kernel's: nothing of
 * ours has to run, and a loop that turns never hears of them.
 * Source: timer_create(2), signal(7).
 */
#ifndef PODTERM_AGENT_STALL_H
#define PODTERM_AGENT_STALL_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#define STALL_NUDGE_MS 3000 /* without a beat: the first signal */
#define STALL_AGAIN_MS 200  /* and each further: one may come too early */
#define STALL_KILL_MS 10000 /* without a beat: SIGKILL */

struct stall {
    bool is_on;
    timer_t nudge, kill;
    int64_t nudge_ms, kill_ms;
};

/* Begin, on the thread that is watched; one a process. nudge_ms, kill_ms: the
 * constants above, but for tests. */
int stall_start(struct stall *s, int64_t nudge_ms, int64_t kill_ms,
                struct err *e);
/* The loop turns. */
void stall_beat(struct stall *s);
void stall_stop(struct stall *s); /* takes one that was not started */

#endif
