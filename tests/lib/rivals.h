/*
 * Other terminal servers to compare with, and a reader as lean as theirs:
 * frames are walked, not copied. Each serves one program on a PTY on a port
 * of its own. Every function fails the test when something does not happen.
 */
#ifndef PODTERM_TESTS_LIB_RIVALS_H
#define PODTERM_TESTS_LIB_RIVALS_H

#include "tests/lib/stack.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* One connection to a program's terminal, whoever carries it. */
struct wire {
    int fd;
    pid_t server;            /* the rival's process; 0 = podterm's */
    pid_t front;             /* what stands before it; 0 = nothing */
    struct stack_link *link; /* podterm's: its offsets are kept here */
    bool is_framed;          /* WebSocket: ttyd's or podterm's */
    uint64_t output;         /* terminal bytes that came */
    uint64_t acked;          /* of them; podterm's */
    uint64_t typed;          /* next INPUT offset; podterm's */
    size_t skip;             /* bytes of a frame still to come */
    size_t have;             /* of buf */
    uint8_t buf[65536];
};

bool rival_has_ttyd(void);
/* `socat TCP-LISTEN … SYSTEM:cmd,pty` and a connection to it. */
void wire_socat(struct wire *w, const char *cmd);
/* podterm's whole way made of others' parts: haproxy before a socat that
 * speaks TLS. dir: for its files. */
void wire_chain(struct wire *w, const char *dir, const char *cmd);
/* `ttyd sh -c cmd` and a connection to it, its hello said. */
void wire_ttyd(struct wire *w, const char *cmd);
/* An attachment that is READY. */
void wire_podterm(struct wire *w, struct stack_link *l);

/* One read; bytes of terminal output in it. -1: the end. */
ssize_t wire_read(struct wire *w);
/* Type one key. */
void wire_key(struct wire *w, char key);
/* podterm's: read to EXIT, acknowledge all, and wait until it is closed: what
 * is cut before is waited for. */
void wire_let_go(struct wire *w);
/* Close, end the rival and wait for it. */
void wire_end(struct wire *w);

/* A port that was free a moment ago. */
int rival_port(void);
/* Connect to it on loopback, waiting until somebody listens. */
int rival_dial(int port);

#endif
