/*
 * The spec from its file into the state, or back from the state after a
 * restart. The environment is kept apart, so that it can be wiped alone.
 */
#ifndef PODTERM_AGENT_SPECFILE_H
#define PODTERM_AGENT_SPECFILE_H

#include "agent/spec.h"
#include "agent/state.h"
#include "base/err.h"

/*
 * Open the state and fill *spec. First start: spec_path is read, kept in the
 * state and deleted (a file that cannot be deleted, as on a read-only mount,
 * stays). Later: the state alone is read.
 */
int specfile_load(const char *spec_path, const char *state_path,
                  struct state *state, struct agent_spec *spec, struct err *e);

#endif
