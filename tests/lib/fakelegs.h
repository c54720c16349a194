/*
 * Many agents in one process, for benches of relays: they take what is
 * dialled at a bench's agent socket (TLS, upgrade, HELLO), say READY and then
 * do as told. It is forked off, so what it costs is not the measurer's.
 */
#ifndef PODTERM_TESTS_LIB_FAKELEGS_H
#define PODTERM_TESTS_LIB_FAKELEGS_H

#include "tests/lib/gwbench.h"

enum fakelegs_mode {
    FAKELEGS_FLOOD, /* messages of `size` bytes, as fast as they go */
    FAKELEGS_ECHO,  /* every message goes back */
};

/* ctx: what they accept with; the bench's own, or one with a certificate.
 * Returns the pid; dies with its parent. */
pid_t fakelegs_start(struct bench *b, struct ssl_ctx_st *ctx,
                     enum fakelegs_mode mode, size_t size);
void fakelegs_stop(pid_t pid);

/* Clients, forked off likewise: attach `count` times to sid, one after the
 * other, and stay, answering pings. A byte comes on *ready_fd (the caller's)
 * once all are attached; end of file instead when one was refused. */
pid_t fakelegs_crowd(struct bench *b, const char *sid, int count,
                     int *ready_fd);

#endif
