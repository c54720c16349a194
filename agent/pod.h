/*
 * What an agent in a pod does before it listens: its directories on fresh
 * volumes, and the shim where the runner's container finds it. Locally the
 * launcher does both.
 */
#ifndef PODTERM_AGENT_POD_H
#define PODTERM_AGENT_POD_H

#include "base/err.h"

#define POD_SHIM "shim" /* its name in the ipc directory */
#define POD_SHIM_MAX (1 << 20)

/*
 * Copy the program shim_path into ipc_dir as POD_SHIM (0755), whole or not at
 * all; one of an earlier start is replaced. 0, or -1: ERR_INPUT it is no such
 * file, ERR_SYSTEM.
 */
int pod_give_shim(const char *shim_path, const char *ipc_dir, struct err *e);

/* Open the file that holds the session key. The descriptor, close-on-exec
 * and the caller's, or -1. */
int pod_key_fd(const char *path, struct err *e);

/*
 * The container before the agent's, where a pool has one secret: leave the
 * pod's own key of it (32 bytes, 0400) in the file out_path, in place of one
 * of an earlier start. Nothing is printed. 0, or -1: ERR_INPUT, ERR_SYSTEM.
 */
int pod_derive_key(const char *secret_path, const char *pod_uid,
                   const char *out_path, struct err *e);

#endif
