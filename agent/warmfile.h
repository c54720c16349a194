/*
 * What must outlive a warm agent's process before it has a session: the
 * shim's cookie, since when it waits, and whether it may still be activated.
 * A mapped file beside the state file, written through the mapping alone.
 */
#ifndef PODTERM_AGENT_WARMFILE_H
#define PODTERM_AGENT_WARMFILE_H

#include "base/err.h"
#include "runner-image/shim.h"

#include <stdbool.h>
#include <stdint.h>

#define WARMFILE_SUFFIX ".warm"

struct warmfile {
    char magic[8]; /* stored last */
    uint32_t version;
    uint32_t cookie_used; /* 1: the file in the ipc directory is gone */
    uint8_t cookie[SHIM_COOKIE_BYTES];
    int64_t since_mono_ms; /* the first start */
    uint32_t is_used;      /* an activation is in the state file */
    uint32_t leave;        /* 0 = stays; else the shim's exit code + 1 */
};

/*
 * Open the file of the agent whose state file is state_path, or make it
 * (0600, a fresh cookie); *is_fresh: it was not there. NULL with ERR_SYSTEM,
 * also for one that is not ours or not whole.
 */
struct warmfile *warmfile_open(const char *state_path, bool *is_fresh,
                               struct err *e);
void warmfile_close(struct warmfile *w); /* the file stays; takes NULL */

#endif
