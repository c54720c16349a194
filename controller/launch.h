/*
 * A session's start as the store keeps it until the start is done, so that a
 * controller that is killed in between has not lost it: sealed under a key
 * that controllers alone have, with the session's id bound in.
 * Source: SECURITY rules 18, 19.
 */
#ifndef PODTERM_CONTROLLER_LAUNCH_H
#define PODTERM_CONTROLLER_LAUNCH_H

#include "base/buf.h"
#include "base/store.h"
#include "controller/keys.h"
#include "controller/launcher.h"

/* Append what, sealed, to out. 0, or -1 ERR_TOO_LARGE. */
int launch_seal(const struct launch *what, const struct keys *k,
                struct buf *out, struct err *e);
/* The caller's (launch_free), or NULL: not sealed for sid by us. */
struct launch *launch_open(const char *sid, const void *sealed, size_t len,
                           const struct keys *k, struct err *e);

#endif
