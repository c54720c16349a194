/*
 * Verified archives by digest and owner (SECURITY rule 11). Archives only,
 * never trees; every use hashes the bytes again from the very descriptor that
 * is unpacked; entries appear by rename and are read-only. Blocking.
 */
#ifndef PODTERM_AGENT_CACHE_H
#define PODTERM_AGENT_CACHE_H

#include "base/err.h"

#include <stdint.h>

#define CACHE_BYTES_MAX (INT64_C(4) << 30) /* per owner; oldest go first */

/* owner: what the entry belongs to: "iss\nsub", or "public". */

/* An open archive whose digest was just checked, at its start, or -1: not
 * there, or not right (then removed). */
int cache_get(const char *dir, const char *owner, const char *sha256);
/* Copy the verified file behind fd into the cache. Failure is no error of the
 * session: 0, or -1 with *e for the log. */
int cache_put(const char *dir, const char *owner, const char *sha256, int fd,
              struct err *e);

#endif
