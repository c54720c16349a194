/*
 * What the agent tells the platform: its readiness (status file) and its end
 * (report). Fields and limits: PROTOCOL.md, "Session directory".
 */
#ifndef PODTERM_AGENT_REPORT_H
#define PODTERM_AGENT_REPORT_H

#include "agent/state.h"
#include "base/err.h"

#define REPORT_MAX 2048 /* bytes */

/*
 * Write the end report in place (the file may be a bind mount, which rename
 * cannot replace) with one write(2), keeping the room it has on the disk.
 * h: reason, exit, times and counts.
 */
int report_write(const char *path, const struct state_head *h, struct err *e);

/* The report of an agent that has no state: it could not begin (start_failed)
 * or not come back (runner_lost). A report that is there stands. */
int report_write_lost(const char *path, enum end_reason reason,
                      const char *detail, struct err *e);

/* Replace the status file: state "listening" or "running"; isolation as the
 * spec says it; layers (enum cage_layer) hold once it has started. */
int status_write(const char *path, const char *state, const char *addr,
                 int64_t started_ms, const char *isolation, unsigned layers,
                 struct err *e);

#endif
