/*
 * Verified archives by digest and owner (SECURITY rule 11). Archives only,
 * never trees. Entries appear by rename, only with the bytes of their name,
 * and are never written again. The directory belongs to who calls, alone.
 * Blocking; any thread.
 */
#ifndef PODTERM_BASE_CACHE_H
#define PODTERM_BASE_CACHE_H

#include "base/err.h"
#include "base/url.h"

#include <stdbool.h>
#include <stdint.h>

#define CACHE_BYTES_MAX (INT64_C(4) << 30) /* per owner; oldest go first */
#define CACHE_OWNER_MAX 600

/* What an entry belongs to: its session's owner, or, for hosts the operator
 * marks as public, everybody. */
void cache_owner(const struct domain_list *public_hosts, const char *url,
                 const char *iss, const char *sub, char out[CACHE_OWNER_MAX]);

/* Has the open file this digest? Then it stands at its start. */
bool cache_is_right(int fd, const char *sha256);

/* Copy an entry into the empty file behind to_fd and check the copy: 0 with
 * to_fd at its start; -1: not there, or not right (then removed). */
int cache_get(const char *dir, const char *owner, const char *sha256,
              int to_fd);
/* Give an entry a second name, path: for one that may read it, and no more.
 * Its bytes are not looked at. -1: not there, or that cannot be. */
int cache_link(const char *dir, const char *owner, const char *sha256,
               const char *path);
/* Copy the file behind fd into the cache, if it is a regular one of at most
 * max_bytes (ERR_INPUT, before a byte is copied) and the copy has this digest.
 * Failure is no error of the session: 0, or -1 with *e for the log. */
int cache_put(const char *dir, const char *owner, const char *sha256, int fd,
              int64_t max_bytes, struct err *e);

#endif
