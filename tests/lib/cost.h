/*
 * What a session costs every process on its way, in memory: measured before
 * and after. A process that cannot be found fails the test.
 */
#ifndef PODTERM_TESTS_LIB_COST_H
#define PODTERM_TESTS_LIB_COST_H

#include "tests/lib/stack.h"

#include <sys/types.h>

/* Of those that no stream passes through: heaps that warm up (a fresh
 * controller's by some 270 KiB), no more. */
#define COST_OTHERS_KIB 512

enum cost_of {
    COST_GATEWAY,
    COST_AGENT, /* its main process */
    COST_CONTROLLER,
    COST_KEEPER,
    COST_SUPERVISOR,
    COST_SHIM,
    COST_COUNT,
};

struct cost {
    pid_t pid[COST_COUNT];
    int kib[COST_COUNT]; /* at cost_begin */
};

void cost_begin(struct cost *c, const struct stack *s, const char *sid);
/* Waits until gateway and agent have not grown for quiet_ms, that is, every
 * buffer on the way is full, and begins anew; fails when that takes max_ms. */
void cost_settle(struct cost *c, int quiet_ms, int max_ms);
/* Since then gateway and agent have grown by at most so much, the others by
 * COST_OTHERS_KIB, and they are the same processes; else the test fails. */
void cost_within(const struct cost *c, int gateway_kib, int agent_kib);

#endif
