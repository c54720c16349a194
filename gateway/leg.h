/*
 * One socket of a connection, plain or TLS, on edge-triggered epoll: one
 * registration for its life, and flags for what it can do now. What cannot
 * be written at once waits in `pend`; an idle leg holds no buffer.
 */
#ifndef PODTERM_GATEWAY_LEG_H
#define PODTERM_GATEWAY_LEG_H

#include "base/tls.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define LEG_PEND_MAX (192 * 1024) /* bytes; more is our own mistake */

/* Of leg_read, beside the bytes read. */
enum leg_result {
    LEG_NOTHING = 0,
    LEG_ENDED = -1,  /* the peer sends no more */
    LEG_BROKEN = -2, /* reset, TLS failure */
};

/* What epoll events point at. */
enum source_kind {
    SOURCE_CLIENT,
    SOURCE_AGENT,
    SOURCE_LISTENER,
    SOURCE_METRICS,
    SOURCE_JOBS,
    SOURCE_SIGNALS,
};
struct source {
    enum source_kind kind;
};

struct leg {
    struct source source; /* first: epoll's pointer is ours */
    int fd;               /* -1 = none */
    struct tls *tls;

    /* as epoll and the last call left it; TLS key updates cross over */
    bool can_read, can_write;
    bool read_needs_write, write_needs_read;

    bool is_shaking; /* TLS handshake under way */
    bool is_hung_up; /* the peer's FIN has arrived (perhaps unread) */
    bool is_ended;   /* read to its end */
    bool is_broken;
    bool is_shut; /* we send no more */

    uint8_t *pend;
    uint32_t pend_at, pend_len, pend_cap; /* bytes */

    int64_t heard_ms;  /* last byte read */
    int64_t pinged_ms; /* our ping that nothing answered yet, 0 = none */
};

void leg_init(struct leg *l, enum source_kind kind);
/* Take fd over and register it. -1 when epoll refuses (fd is closed). */
int leg_open(struct leg *l, int epoll_fd, int fd, int64_t now_ms);
/* Close and release; polite tells a TLS peer. May be called twice. */
void leg_close(struct leg *l, bool is_polite);
/* epoll told something. */
void leg_event(struct leg *l, uint32_t events);

/* Go on with the handshake: true when it is over. is_broken on failure. */
bool leg_shake(struct leg *l);
/* Would leg_read make progress? */
bool leg_is_readable(const struct leg *l);
/* Is there something to be noticed: bytes, the end, a failure? */
bool leg_has_news(const struct leg *l);
/* Up to cap bytes: > 0, or an enum leg_result. */
ssize_t leg_read(struct leg *l, uint8_t *out, size_t cap);
/* Send now or keep for later, in order. Nothing after leg_shut. */
void leg_send(struct leg *l, const void *bytes, size_t len);
/* Write what waits, as far as it goes. */
void leg_flush(struct leg *l);
/* Send no more: FIN (and close_notify) once nothing waits. */
void leg_shut(struct leg *l);
/* Milliseconds since the peer's kernel acknowledged anything. */
int64_t leg_silence_ms(const struct leg *l);

#endif
