/* Answers to what is no upgrade: three fixed paths, else a short refusal.
 * Every answer closes the connection. */
#ifndef PODTERM_GATEWAY_PLAIN_H
#define PODTERM_GATEWAY_PLAIN_H

#include "gateway/gateway.h"

/* Say status with its constant sentence, and finish. */
void plain_answer(struct pair *p, int status);
/* A whole request that is no WebSocket upgrade. */
void plain_request(struct pair *p, const struct upgrade *u);

#endif
