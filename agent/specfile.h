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
 * stays). Later: the state alone is read, and a warm spec that may be there
 * stays.
 */
int specfile_load(const char *spec_path, const char *state_path,
                  struct state *state, struct agent_spec *spec, struct err *e);

/* What stands in the file, be it this spec or a warm one; the caller's. */
struct json *specfile_parse(const char *path, struct err *e);
/* Split the environment off a good spec and keep both in the state. */
int specfile_keep(const struct json *root, struct state *state, struct err *e);
/* The values of the environment are secrets: none stays in freed memory. */
void specfile_wipe(const struct json *root);

#endif
