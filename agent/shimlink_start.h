/* START as bytes (runner-image/shim.h): pure. */
#ifndef PODTERM_AGENT_SHIMLINK_START_H
#define PODTERM_AGENT_SHIMLINK_START_H

#include "agent/shimlink.h"
#include "base/buf.h"

/* Append its body. -1: a limit of shim.h, or the buffer's, is passed. */
int shimlink_start_put(struct buf *b, const struct shimlink_start *w);

#endif
