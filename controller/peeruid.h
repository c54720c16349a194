/*
 * Whose process is at the other end of a loopback TCP connection: the uid in
 * the peer's own row of /proc/net/tcp{,6}. Source: proc(5); SECURITY rule 1.
 */
#ifndef PODTERM_CONTROLLER_PEERUID_H
#define PODTERM_CONTROLLER_PEERUID_H

#include "base/err.h"

#include <stdbool.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/types.h>

/*
 * peer, local  the two ends as the server sees them
 * returns      0 with *uid, or -1 ERR_DENIED: not loopback, no such row, or
 *              a row that is not ESTABLISHED with an inode (a closed peer's
 *              row says uid 0)
 */
int peer_uid(const struct sockaddr_storage *peer,
             const struct sockaddr_storage *local, uid_t *uid, struct err *e);

/* The same from an open table (tests); is_v6 = layout of tcp6. */
int peer_uid_from(FILE *table, bool is_v6, const struct sockaddr_storage *peer,
                  const struct sockaddr_storage *local, uid_t *uid);

#endif
