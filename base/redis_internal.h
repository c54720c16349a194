/*
 * What the files of the Redis client share: the doorway on hiredis, and one
 * connection. Nobody else includes it.
 */
#ifndef PODTERM_BASE_REDIS_INTERNAL_H
#define PODTERM_BASE_REDIS_INTERNAL_H

#include "base/buf.h"
#include "base/redis.h"
#include "base/tls.h"

/* --- the protocol (base/redis_wire.c) --- */

/* Append the command in the protocol's form; out is a secret buffer.
 * ERR_TOO_LARGE. */
int redis_wire_put(struct buf *out, const struct redis_cmd *c, struct err *e);

struct redis_wire; /* reads replies */

struct redis_wire *redis_wire_new(void);
void redis_wire_free(struct redis_wire *w);
/* Bytes of the server's. ERR_SYSTEM: more than a reply may have. */
int redis_wire_feed(struct redis_wire *w, const void *bytes, size_t len,
                    struct err *e);
/* 1: *out is the next reply, the caller's; 0: it is not whole yet; -1
 * ERR_SYSTEM: it is none, and the reader is of no use any more. */
int redis_wire_take(struct redis_wire *w, struct redis_reply **out,
                    struct err *e);
/* Are there bytes behind the replies taken? */
bool redis_wire_has_more(const struct redis_wire *w);

/* --- one connection (base/redis_link.c) --- */

struct redis_link {
    int fd;
    struct tls *tls; /* NULL = plain */
    struct redis_wire *wire;
    struct redis_link *next; /* while it idles */
};

/* Dial, log in, choose the database: all before the connection's deadline.
 * tls_ctx: NULL = plain. NULL with ERR_SYSTEM. */
struct redis_link *redis_link_new(const struct redis_conf *conf,
                                  struct ssl_ctx_st *tls_ctx, struct err *e);
void redis_link_free(struct redis_link *l);
/* Idle, and nothing was said or closed by the server meanwhile? */
bool redis_link_is_quiet(const struct redis_link *l);
/*
 * Send count commands at once and read their replies before until_ms. 0;
 * -1: the connection is of no use any more, no reply is left in out;
 * *is_sent: at least a part of them left.
 */
int redis_link_ask(struct redis_link *l, const struct redis_cmd *cmds,
                   size_t count, int64_t until_ms, struct redis_reply **out,
                   bool *is_sent, struct err *e);
int64_t redis_now_ms(void);
/* What the server says in an error, as it may stand in our log. -1. */
int redis_refused(const struct redis_reply *r, struct err *e);

#endif
