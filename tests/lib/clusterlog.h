/*
 * When things happened in a session of tests/lib/clusterbed.h, told by the
 * logs of the controller and of the pod's agent. Both are of millisecond
 * clocks; on a cluster of other machines the pod's is another clock.
 */
#ifndef PODTERM_TESTS_LIB_CLUSTERLOG_H
#define PODTERM_TESTS_LIB_CLUSTERLOG_H

#include "tests/lib/clusterbed.h"

#define CLUSTERLOG_NEVER 0.0

/* "2026-01-02T03:04:05.678Z" as wall clock ms. */
double clusterlog_time(const char *text);

/* The last line of this event (with this session's id; NULL = of any) in what
 * is a log: wall clock ms, or CLUSTERLOG_NEVER. */
double clusterlog_when(const char *log, const char *event, const char *sid);

/* What controller 0 has logged so far, and what the agent of a session's pod
 * has: the caller's. The session's pod must be there. */
char *clusterlog_controller(struct clusterbed *b);
char *clusterlog_agent(struct clusterbed *b, const char *sid);

#endif
