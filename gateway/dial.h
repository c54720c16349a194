/*
 * The way to an agent: TCP, TLS 1.3 with the session's key, upgrade. HELLO
 * and its token leave only when tls_handshake's last gate has passed.
 */
#ifndef PODTERM_GATEWAY_DIAL_H
#define PODTERM_GATEWAY_DIAL_H

#include "gateway/gateway.h"

/* ADDRESS: start dialling what the greeting names. */
void dial_start(struct pair *p);
/* A turn of the agent's leg while DIALING. */
bool dial_turn(struct pair *p);

#endif
