/*
 * START: what the shim is told to run, with an environment made from nothing.
 */
#ifndef PODTERM_AGENT_LAUNCH_H
#define PODTERM_AGENT_LAUNCH_H

#include "agent/shimlink.h"
#include "agent/spec.h"
#include "base/err.h"

#include <stdint.h>

struct launch {
    const struct agent_spec *spec; /* env, limits, isolation, egress */
    char *const *argv;             /* NULL-terminated */
    const char *root;              /* the bundle's tree as the runner sees it */
    const char *home;              /* HOME and working directory */
    uint16_t cols, rows;
};

/* As shimlink_start. The environment is PATH (the bundle's bin/ first), HOME,
 * TERM, COLORTERM, LANG and the request's, which wins; it is wiped after. */
int launch_program(struct shimlink *shim, const struct launch *l,
                   struct err *e);

#endif
