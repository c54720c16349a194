/*
 * A way to a Redis on which what is asked can be held up: from a thread of
 * its own for each connection, as if the network stood still there. What goes
 * wrong fails the test.
 */
#ifndef PODTERM_TESTS_LIB_REDISHOLD_H
#define PODTERM_TESTS_LIB_REDISHOLD_H

#include <stddef.h>

struct redishold;

/* To the server on this port of 127.0.0.1. */
struct redishold *redishold_start(int port);
void redishold_stop(struct redishold *h); /* takes NULL */
/* redis://127.0.0.1:PORT */
const char *redishold_url(const struct redishold *h);

/* The next bytes to the server that have these in them do not go on. */
void redishold_arm(struct redishold *h, const void *bytes, size_t len);
/* Until that is so: what follows those bytes, as text of len bytes at most. */
void redishold_wait(struct redishold *h, int ms, char *text, size_t len);
/* They go on; returns when who asked has the answer before him. */
void redishold_release(struct redishold *h, int ms);

#endif
