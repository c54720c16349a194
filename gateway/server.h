/*
 * The process: sockets, the epoll loop, signals, draining, chores.
 * SIGTERM, SIGINT: drain, then leave; a second one: at once. SIGHUP: read
 * certificate and key set again.
 */
#ifndef PODTERM_GATEWAY_SERVER_H
#define PODTERM_GATEWAY_SERVER_H

#include "gateway/gateway.h"

/* gw is zeroed but for gw->set. 0, or -1 with *e; then server_stop. */
int server_start(struct gateway *gw, struct err *e);
/* Until drained. Returns the process' exit status. */
int server_run(struct gateway *gw);
/* Releases everything; fine on a half-started one. */
void server_stop(struct gateway *gw);

#endif
