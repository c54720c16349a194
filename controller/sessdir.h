/*
 * The session directory of PROTOCOL.md 7: made, read and removed. What lies
 * in it was written by less trusted uids: everything is opened relative to
 * its directory and never through a link. Blocking; any thread.
 */
#ifndef PODTERM_CONTROLLER_SESSDIR_H
#define PODTERM_CONTROLLER_SESSDIR_H

#include "base/buf.h"
#include "base/err.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* Before the id in the name of one that is being removed. */
#define SESSDIR_GONE ".gone-"

struct sessdir_owner { /* uids as root; is_root false = all is ours */
    bool is_root;
    uid_t agent, runner;
};

/* Make STATE/sessions (0711) and STATE/cache (0700), ours alone as STATE is;
 * links and what others may write are refused. */
int sessdir_setup(const char *state_dir, bool is_root, struct err *e);

/* Make dir with agent/, ipc/, bundle/, spec.json, trust and an empty
 * end.json. Removes what it made when it fails. */
int sessdir_make(const char *dir, const struct sessdir_owner *o,
                 const char *spec, const char *trust, struct err *e);

/*
 * Read dir/name, a regular file of at most out->max bytes.
 * ERR_ABSENT: no such file; ERR_INPUT: no regular file, too long.
 */
int sessdir_read(const char *dir, const char *name, struct buf *out,
                 struct err *e);

/* The uids of a directory made as root: its group is the runner, whose is
 * agent/ the agent. 0 = unknown. */
struct sessdir_owner sessdir_owner_of(const char *dir);

/* Take dir's name away and close it to its uids, at once, so that nothing
 * new finds its way in. Its new path, the caller's, or NULL; one that is gone
 * or is so named is fine. */
char *sessdir_hide(const char *dir, struct err *e);

/* Hide dir and remove it and all below it; one that is gone is fine.
 * Returns and until_ms as in controller/rmtree.h: what is left, a next call
 * takes up. */
int sessdir_remove(const char *dir, const _Atomic int64_t *until_ms,
                   struct err *e);

#endif
