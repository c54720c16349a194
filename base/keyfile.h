/*
 * Files that hold a key: read only when nobody else could have read or
 * written them, and made whole or not at all.
 */
#ifndef PODTERM_BASE_KEYFILE_H
#define PODTERM_BASE_KEYFILE_H

#include "base/buf.h"
#include "base/err.h"

/*
 * Read a regular file of at most out->max bytes that is owned by us or root
 * and that neither group nor others may touch; root may let a group read what
 * is its own, since we can only be of that group (links are followed: a
 * mounted secret is both). ERR_ABSENT when there is none, ERR_INPUT when it
 * breaks a rule, which the text names; ERR_SYSTEM.
 */
int keyfile_read(const char *path, struct buf *out, struct err *e);

/*
 * Make a file (0600) with these bytes, which appears whole. ERR_CONFLICT when
 * the name is taken (that file is left as it is); ERR_SYSTEM.
 */
int keyfile_make(const char *path, const void *bytes, size_t len,
                 struct err *e);

#endif
