/*
 * What is done now and then on a worker thread: ask the store whether it
 * answers, read the key set again, take up a renewed certificate.
 */
#ifndef PODTERM_GATEWAY_CHORES_H
#define PODTERM_GATEWAY_CHORES_H

#include "gateway/gateway.h"

/* Start them if it is time. Returns milliseconds until the next, -1 while
 * they run. */
int chores_tick(struct gateway *gw);
/* Do everything at the next tick, due or not. */
void chores_now(struct gateway *gw);

#endif
