/*
 * Locking a process of ours in before it touches hostile bytes (doorway on
 * libseccomp; Landlock by bare system calls).
 */
#ifndef PODTERM_AGENT_LOCKDOWN_H
#define PODTERM_AGENT_LOCKDOWN_H

#include "base/err.h"

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

#endif
