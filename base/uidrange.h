/*
 * A range of uids of this machine that one installation has to itself: who
 * runs programs under them also ends whatever runs under them, so two that
 * shared a uid would end each other's sessions. Held by a lock that the kernel
 * drops with the process, however it goes. Any thread. Source: fcntl(2), open
 * file description locks.
 */
#ifndef PODTERM_BASE_UIDRANGE_H
#define PODTERM_BASE_UIDRANGE_H

#include "base/err.h"

#include <stdint.h>

#define UIDRANGE_DIR "/run/podterm"

/*
 * Take first .. first + count - 1.
 *
 * dir      where the lock file lies; made (0755) when it is missing
 * name     of the lock file: locks of one name exclude each other
 * returns  a descriptor that holds it, the caller's; -1: ERR_BUSY when another
 *          process holds some of them, ERR_SYSTEM
 */
int uidrange_take(const char *dir, const char *name, int64_t first,
                  int64_t count, struct err *e);

#endif
