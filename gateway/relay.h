/*
 * The open connection: bytes pass as they are, still masked; frame heads are
 * followed, so that our own messages fall between others'.
 */
#ifndef PODTERM_GATEWAY_RELAY_H
#define PODTERM_GATEWAY_RELAY_H

#include "gateway/gateway.h"

/* AGENT_UP: HELLO goes to the agent as it came, then all that follows. */
void relay_start(struct pair *p);
/* One turn in both directions. true: there is more to do at once. */
bool relay_turn(struct pair *p);
/*
 * Put whole frames of ours towards the client: now, or behind the message
 * under way (at most GATEWAY_QUEUE_MAX bytes wait). false: no room.
 */
bool relay_say(struct pair *p, const void *frames, size_t len);
/* The silence after which l is pinged. */
int64_t relay_ping_ms(const struct pair *p, const struct leg *l);
/* Ping whoever is silent, end whoever stays so. Returns when to look again,
 * milliseconds on our clock; the pair may be dead after it. */
int64_t relay_watch(struct pair *p, bool with_agent);
/* Part with the agent; a close frame goes where one may. */
void relay_leave_agent(struct pair *p);

#endif
