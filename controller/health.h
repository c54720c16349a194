/*
 * What is open to all: is it alive, ready, its metrics, its public keys.
 */
#ifndef PODTERM_CONTROLLER_HEALTH_H
#define PODTERM_CONTROLLER_HEALTH_H

#define HEALTH_METRICS_MAX 65536 /* bytes */

struct call;

void health_livez(struct call *c);
void health_readyz(struct call *c); /* the store answers */
void health_metrics(struct call *c);
void health_jwks(struct call *c);

#endif
