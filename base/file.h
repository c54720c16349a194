/*
 * Whole files: read into a bounded buffer, copied from one descriptor to
 * another. Blocking; any thread.
 */
#ifndef PODTERM_BASE_FILE_H
#define PODTERM_BASE_FILE_H

#include "base/buf.h"
#include "base/err.h"

#include <stdint.h>

/* Open a file to be read: links are followed, one that would block is not
 * waited for. The descriptor, the caller's, or -1: ERR_ABSENT, ERR_SYSTEM. */
int file_open(const char *path, struct err *e);
/* Append what is left of an open file to out; path: for errors. 0, or -1:
 * ERR_INPUT (more than out->max), ERR_SYSTEM. */
int file_take(int fd, const char *path, struct buf *out, struct err *e);
/* Both. */
int file_read(const char *path, struct buf *out, struct err *e);

/* Bytes that nobody can change any more, in memory alone: for descriptors that
 * processes pass on. name: for show. -1: ERR_SYSTEM. */
int file_sealed(const char *name, const void *bytes, size_t len, struct err *e);

/* Copy the first len bytes of `from`, whose position stays, to where `to`
 * stands; where the file system can, both share their blocks. 0, or -1 with
 * errno. */
int file_copy(int from, int to, int64_t len);

#endif
