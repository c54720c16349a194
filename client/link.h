/*
 * The state of a terminal's two streams over any number of connections:
 * which byte of output is wanted next, what may be acknowledged, which typed
 * bytes are kept because nobody has acknowledged them, what may be sent, and
 * how much was skipped. Pure: no I/O, no clock.
 *
 * Output: `next` is the offset of the next byte wanted, `queued` the bytes
 * received but not yet written out. What was written lies below next - queued;
 * that alone is acknowledged, and the next connection begins there, so nobody
 * holds more than `window` bytes here. Bytes that come twice are dropped; a
 * connection is never told of bytes that another one brought (`carried`): its
 * server did not send them.
 *
 * Input: `kept` holds what was typed from offset `base` on; bytes below `sent`
 * are under way. A connection's READY says what had arrived: the bytes below
 * are dropped, the rest is sent again. Each is applied exactly once.
 * Source: PROTOCOL.md, "Terminal protocol" and its "Rules".
 */
#ifndef PODTERM_CLIENT_LINK_H
#define PODTERM_CLIENT_LINK_H

#include "base/buf.h"
#include "base/vocab.h"
#include "client/reply.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LINK_KEPT_MAX (4 << 20)  /* bytes typed and not acknowledged */
#define LINK_TYPED_MAX (1 << 20) /* bytes kept beyond the window */

struct link {
    enum role role;
    bool is_ready;  /* on the connection of now */
    bool was_ready; /* on any */
    /* output */
    uint64_t next, queued;
    uint64_t carried; /* end of what the connection of now has brought */
    uint64_t acked;   /* what was told last */
    uint64_t window;
    uint64_t skipped; /* since link_skipped was asked */
    /* input */
    struct buf kept;
    uint64_t base, sent;
    uint64_t sent_max; /* highest that ever was under way */
    uint64_t input_window;
};

void link_init(struct link *l, enum role role);
void link_fini(struct link *l);

/* --- connections --- */

/* Where HELLO asks OUTPUT to start: true and *from; false = the oldest. */
bool link_hello(const struct link *l, uint64_t *from);
/* A connection is READY: from now on this one counts. */
void link_ready(struct link *l, const struct reply_ready *r);
/* The connection is gone. */
void link_lost(struct link *l);
/* Bytes of output nobody will ever see, since asked last. */
uint64_t link_skipped(struct link *l);

/* --- output --- */

/* OUTPUT [offset, offset + len) came. Returns how many bytes at its front are
 * known already (len = all); the rest now counts as queued. -1: the peer broke
 * the protocol: a gap for an owner, or more than the window allows. */
int64_t link_output(struct link *l, uint64_t offset, size_t len);
/* n queued bytes were written out. */
void link_written(struct link *l, uint64_t n);
/* Should an OUTPUT_ACK go out? Then *offset is its value, and it counts as
 * told: when all is written, or a quarter of the window is. */
bool link_ack(struct link *l, uint64_t *offset);
/* Was everything below end received and written? */
bool link_is_complete(const struct link *l, uint64_t end);

/* --- input --- */

/* How many bytes may be typed now: as many as the window has room for, and
 * `ahead` more that wait here. */
size_t link_room(const struct link *l, size_t ahead);
/* Keep typed bytes; at most what link_room gave. */
void link_type(struct link *l, const uint8_t *bytes, size_t len);
/* Does the window have no room for one more byte, so that what is typed now
 * would wait for the program to read? False while there is no connection. */
bool link_is_full(const struct link *l);
/* The next INPUT to send: its offset and bytes (borrowed, until the next
 * call); 0 = nothing. */
size_t link_input(const struct link *l, uint64_t *offset,
                  const uint8_t **bytes);
void link_input_sent(struct link *l, size_t len);
/* INPUT_ACK. -1: beyond what was sent. */
int link_input_acked(struct link *l, uint64_t offset);
/* Has all that was typed been acknowledged? */
bool link_is_idle(const struct link *l);

#endif
