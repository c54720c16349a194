/*
 * Connections that wait for their session's row to change: pending ones for
 * an address, those whose agent is lost for the end. One poll asks for all,
 * and only while somebody waits.
 */
#ifndef PODTERM_GATEWAY_WAITING_H
#define PODTERM_GATEWAY_WAITING_H

#include "base/token.h"
#include "gateway/gateway.h"

/* The token is verified and spent, the row has not ended: dial at once, wait,
 * or refuse a token that is too near its end to wait with. */
void waiting_admitted(struct pair *p, const struct session_claims *claims,
                      const struct store_session *row);
/* Into and out of the list; joining has the row read at the next poll. */
void waiting_join(struct pair *p);
void waiting_leave(struct pair *p);
/* The time of a waiting connection is over. */
void waiting_deadline(struct pair *p);
/* Poll if it is time. Returns milliseconds until the next, -1 = none. */
int waiting_tick(struct gateway *gw);

#endif
