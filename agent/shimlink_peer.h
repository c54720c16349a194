/*
 * Who is at the other end of the shim's socket, and is that descriptor a
 * terminal: the checks of agent/shimlink.c that look at the kernel's word
 * and not at the peer's.
 */
#ifndef PODTERM_AGENT_SHIMLINK_PEER_H
#define PODTERM_AGENT_SHIMLINK_PEER_H

#include "base/err.h"

#include <stdbool.h>
#include <sys/types.h>

/*
 * Check the peer of a connected Unix socket by SO_PEERCRED (unix(7)).
 *
 * uid       it must have. A peer whose pid is 0 lives in a PID namespace
 *           beside ours and may show the overflow uid instead
 * is_caged  a peer whose pid we see must be PID 1 of a namespace right below
 *           ours (NSpid of its pidfd, or of its status where the kernel is
 *           older than SO_PEERPIDFD, 6.5)
 * returns   0, or -1 with ERR_DENIED
 */
int shimlink_check_peer(int fd, uid_t uid, bool is_caged, struct err *e);

/* Check that fd is a listening TCP socket of IPv4, and make it non-blocking:
 * 0, or -1 with ERR_PEER. */
int shimlink_check_listener(int fd, struct err *e);

/* Check that fd is a PTY master opened to read and write, and make it
 * non-blocking: 0, or -1 with ERR_PEER. */
int shimlink_check_master(int fd, struct err *e);

#endif
