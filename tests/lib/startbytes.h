/* Parts of START (runner-image/shim.h) for tests that write it themselves. */
#ifndef PODTERM_TESTS_LIB_STARTBYTES_H
#define PODTERM_TESTS_LIB_STARTBYTES_H

#include "base/buf.h"

/* The kernel's share of the cage: none of it. */
void start_put_no_cage(struct buf *b);
/* Without a network, and nothing listens. */
void start_put_no_network(struct buf *b);

#endif
