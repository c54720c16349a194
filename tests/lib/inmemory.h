/* Does a process still hold what it should have wiped? As root. */
#ifndef PODTERM_TESTS_LIB_INMEMORY_H
#define PODTERM_TESTS_LIB_INMEMORY_H

#include <stddef.h>
#include <sys/types.h>

/* How often the bytes stand in a process's memory that can be written. */
int inmemory_count(pid_t pid, const void *what, size_t len);

#endif
