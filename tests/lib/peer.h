/*
 * A raw TCP client on the loop under test, and waiting with a limit: what a
 * hostile or old peer would send, byte for byte.
 */
#ifndef PODTERM_TESTS_LIB_PEER_H
#define PODTERM_TESTS_LIB_PEER_H

#include "base/loop.h"

#include <stdbool.h>
#include <stddef.h>

struct peer {
    struct loop *loop;
    int fd;
    struct loop_fd *watch;
    char *in; /* what came, with a zero byte behind it */
    size_t len;
    bool is_closed; /* by the other side */
    bool is_reset;  /* not politely */
};

/* Run the loop until done(arg), at most ms. Returns done(arg). */
bool run_until(struct loop *l, bool (*done)(void *arg), void *arg, int ms);
/* Run the loop for ms. */
void run_for(struct loop *l, int ms);

struct peer *peer_dial(struct loop *l, int port);
/* The same from another address of loopback: "127.0.0.2". */
struct peer *peer_dial_from(struct loop *l, int port, const char *from);
void peer_free(struct peer *p);
void peer_send(struct peer *p, const void *bytes, size_t len);
void peer_say(struct peer *p, const char *text);
/* Until the other side closes, or ms. */
bool peer_wait_closed(struct peer *p, int ms);
/* Until `text` is among what came, or ms. */
bool peer_wait(struct peer *p, const char *text, int ms);
/* Until len bytes have come, or ms. */
bool peer_wait_len(struct peer *p, size_t len, int ms);
/* Forget what came. */
void peer_clear(struct peer *p);

/* A masked client frame into out; returns its length. first: FIN, opcode. */
size_t peer_frame(unsigned char *out, int first, const void *payload,
                  size_t len);

#endif
