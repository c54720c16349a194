/* Descriptors that come with a message over a Unix socket. */
#ifndef PODTERM_TESTS_LIB_PASSED_H
#define PODTERM_TESTS_LIB_PASSED_H

#include <stddef.h>
#include <sys/types.h>

/* One recvmsg(2) of at most len bytes. A descriptor that came along replaces
 * *fd, which is closed if it was one (-1 = none). */
ssize_t passed_recv(int sock, void *out, size_t len, int *fd);

#endif
