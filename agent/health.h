/*
 * The health port: a fixed responder of our own, so that no HTTP parser
 * stands on a port that is open to the pod's network. Whatever is sent (at
 * most HEALTH_READ_MAX bytes are read), the answer is constant, then the
 * connection is closed.
 */
#ifndef PODTERM_AGENT_HEALTH_H
#define PODTERM_AGENT_HEALTH_H

#include "base/loop.h"

#define HEALTH_READ_MAX 1024 /* bytes */
#define HEALTH_CONNS 8       /* at once */
#define HEALTH_WAIT_MS 2000  /* for the first byte */

struct health;

/* listen_fd: a listening socket, taken over. */
struct health *health_start(struct loop *l, int listen_fd);
void health_stop(struct health *h); /* takes NULL */

#endif
