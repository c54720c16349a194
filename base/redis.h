/*
 * A Redis server: commands sent, replies read, over a plain or a TLS
 * connection of our own (hiredis is the formatter and reader alone).
 *
 * A `struct redis` is a small pool: each call takes a connection that no
 * other thread uses, or makes one. Calls block, at most for their deadline,
 * and may come from any thread. A server that cannot be reached is tried
 * again with growing pauses, by one thread at a time; the others hear at once
 * what the last try said. Nothing is ever sent twice by itself.
 *
 * The server is another machine: a reply is bounded in bytes, values and
 * depth, and whatever is not one closes the connection.
 */
#ifndef PODTERM_BASE_REDIS_H
#define PODTERM_BASE_REDIS_H

#include "base/err.h"
#include "base/url.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define REDIS_REPLY_BYTES_MAX (4 << 20) /* of one reply */
#define REDIS_VALUES_MAX 16384          /* in it */
#define REDIS_ITEMS_MAX 4096            /* of one array of it */
#define REDIS_DEPTH_MAX 4               /* arrays inside each other */
#define REDIS_ARGS_MAX 24               /* of one command */
#define REDIS_PASSWORD_MAX 512          /* bytes of a password file */
#define REDIS_CONNECT_MS 2000
#define REDIS_COMMAND_MS 2000
#define REDIS_RETRY_MAX_MS 1000 /* longest pause between two tries */

struct redis_conf {
    char host[URL_HOST_MAX + 1];
    uint16_t port;
    int db;
    bool is_tls;
    /* borrowed until redis_free */
    const char *user;           /* NULL = the default user */
    const char *password_file;  /* read at each connection; NULL = none */
    const char *ca;             /* NULL = the system's */
    int connect_ms, command_ms; /* 0 = as above */
};

/* Is this text the address of a Redis, and no path? */
bool redis_is_url(const char *text);
/* redis://HOST:PORT[/DB] or rediss://…; fills host, port, db, is_tls alone.
 * ERR_INPUT. */
int redis_url_parse(const char *text, struct redis_conf *out, struct err *e);

enum redis_kind {
    REDIS_NIL,
    REDIS_INTEGER,
    REDIS_TEXT,
    REDIS_ERROR,
    REDIS_ARRAY
};

struct redis_reply {
    enum redis_kind kind;
    int64_t integer;
    char *text; /* with a zero byte behind its len; also of an error */
    size_t len;
    struct redis_reply **items; /* none is NULL */
    size_t count;
};

void redis_reply_free(struct redis_reply *r);
static inline void own_redis_reply_release(struct redis_reply **r)
{
    redis_reply_free(*r);
}
#define own_redis_reply __attribute__((cleanup(own_redis_reply_release)))

struct redis_cmd {
    const char *args[REDIS_ARGS_MAX];
    size_t lens[REDIS_ARGS_MAX];
    int count;
};
/* Both borrow. More than REDIS_ARGS_MAX is our own mistake. */
void redis_arg(struct redis_cmd *c, const char *text);
void redis_arg_bytes(struct redis_cmd *c, const void *bytes, size_t len);

struct redis;

/* Nothing is dialled yet; ERR_INPUT, ERR_SYSTEM: the CA cannot be used. */
struct redis *redis_new(const struct redis_conf *conf, struct err *e);
/* When no call is under way. Takes NULL. */
void redis_free(struct redis *r);

/*
 * Send one command and read its reply.
 *
 * returns  the reply, the caller's, never of kind REDIS_ERROR; NULL with
 *          ERR_SYSTEM: not reachable, too slow, not understood or refused.
 *          *is_lost, when given: the command left, and what became of it is
 *          not known
 */
struct redis_reply *redis_call(struct redis *r, const struct redis_cmd *c,
                               bool *is_lost, struct err *e);

#endif
