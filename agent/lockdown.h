/*
 * Locking a process of ours in before it touches hostile bytes (doorway on
 * libseccomp; Landlock by bare system calls).
 */
#ifndef PODTERM_AGENT_LOCKDOWN_H
#define PODTERM_AGENT_LOCKDOWN_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * For the unpacker: no new privileges; memory, file size, descriptors and CPU
 * time limited; files writable below dir_fd alone (Landlock; a kernel without
 * it is told of in the log, and dir_fd is made our root where that can be); and the system calls it needs and no other, so
 * no process, no socket and no signal to another (they fail with EPERM, so
 * that a library that probes goes on).
 */
int lockdown_unpacker(int dir_fd, int64_t file_bytes, size_t memory_bytes,
                      struct err *e);

struct lockdown_network {
    const char *event; /* in the log, where the kernel has no Landlock */
    /* Files and directories that it may read besides what names are resolved
     * with; NULL ends them, NULL = none. What is not there is left out. */
    const char *const *reads;
    /* TCP ports that it may connect to, besides that of name servers (Linux
     * 6.7 and later); none = any. */
    const uint16_t *ports;
    size_t port_count;
    size_t memory_bytes, descriptors;
    /* Unix sockets that are one another's ends alone: libcurl wakes itself by
     * such a pair. (TLS besides reads what is below /etc/ssl.) */
    bool has_pairs;
};

/*
 * For a process that dials servers by their names on a program's behalf: no
 * new privileges; memory and descriptors limited, no core, no file but its
 * log; nothing writable or executable, readable what *n says (Landlock; a
 * kernel without it is told of in the log, there only no file can be
 * written); IP sockets for streams and datagrams, which listen nowhere; and
 * the system calls it needs and no other, so no process, no socket of this
 * machine's and no signal to another (they fail with EPERM).
 * Holds for this thread and those it starts: before any other is there.
 */
int lockdown_network(const struct lockdown_network *n, struct err *e);

/* A number that is another once /etc/resolv.conf or /etc/hosts has been
 * replaced: what stands there now cannot be read by who was locked in before,
 * and it does well to begin anew. */
uint64_t lockdown_names(void);

#endif
