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
 * The same of an API's key, which is one line: its bytes without the line's
 * end. A link is refused, too: what its name leads to may change.
 */
int keyfile_read_line(const char *path, struct buf *out, struct err *e);

#define KEYFILE_LINE_MAX 4096 /* bytes of such a file */
#define KEYFILE_LINE_MIN 8    /* of the key: what base/hush.h looks for */

/* Take the line's end off what was read from path. ERR_INPUT when what is
 * left is no key: several lines, blanks, bytes that are no visible ASCII, less
 * than KEYFILE_LINE_MIN. */
int keyfile_line(const char *path, struct buf *b, struct err *e);

/*
 * Make a file (0600) with these bytes, which appears whole. ERR_CONFLICT when
 * the name is taken (that file is left as it is); ERR_SYSTEM.
 */
int keyfile_make(const char *path, const void *bytes, size_t len,
                 struct err *e);

#endif
