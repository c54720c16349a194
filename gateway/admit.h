/*
 * From accept to a verified HELLO: the request's head, HELLO, the token. Until
 * then nothing else is accepted and almost nothing allocated.
 * Source: PROTOCOL.md "Rules"; SECURITY rules 3, 4 and 15.
 */
#ifndef PODTERM_GATEWAY_ADMIT_H
#define PODTERM_GATEWAY_ADMIT_H

#include "gateway/gateway.h"

/* A turn in HEAD. true: there is more to do at once. */
bool admit_head(struct pair *p);
/* A turn from HELLO to DIALING: HELLO, then control frames alone. */
bool admit_listen(struct pair *p);
/* UPGRADED: answer 101. */
void admit_greet(struct pair *p);
/* GREETED: have the token verified and spent. */
void admit_check(struct pair *p);

#endif
