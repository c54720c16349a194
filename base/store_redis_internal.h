/*
 * What the files of the Redis store share; nobody else includes it.
 *
 * Keys, all below "podterm:":
 *   rev                 the last revision given
 *   revs                sorted set: session by its revision
 *   s:SID               hash: row (base/store_row.h), rev, state, owner
 *   l:SID               launch blob
 *   all, live, ended    sorted sets: sessions by their creation (ended: by
 *                       their end)
 *   o:OWNER, ol:OWNER   the same of one owner: all, live
 *   k:OWNER:KEY         hash of an idempotency record; expires
 *   t:JTI               a spent token id; expires
 *   g:DIGEST            of what was given out; expires
 *   demand              list for KEDA; expires
 * OWNER and KEY are digests: what users choose is in no key's name.
 * Every operation is one command or one script, so that each is atomic.
 */
#ifndef PODTERM_BASE_STORE_REDIS_INTERNAL_H
#define PODTERM_BASE_STORE_REDIS_INTERNAL_H

#include "base/redis.h"
#include "base/store_internal.h"

#define STORE_REDIS_PREFIX "podterm:"

/* Scripts (base/store_redis_lua.c); each says what it takes and gives. */
extern const char store_redis_lua_create[];
extern const char store_redis_lua_restore[];
extern const char store_redis_lua_update[];
extern const char store_redis_lua_list[];
extern const char store_redis_lua_prune[];
extern const char store_redis_lua_demand[];
extern const char store_redis_lua_sweep[];

struct store_redis {
    struct store base; /* first: one pointer is both */
    struct redis *redis;
};

static inline struct redis *store_redis_of(struct store *s)
{
    return ((struct store_redis *)s)->redis;
}

/* redis_call on the store's server. */
struct redis_reply *store_redis_run(struct store *s, struct redis_cmd *c,
                                    bool *is_lost, struct err *e);
/* A reply of another form than was asked for. -1. */
int store_redis_odd(struct err *e);
/* The reply's item i, a text or integer, as a number >= 0. */
int store_redis_number(const struct redis_reply *r, int64_t *out);
/* Row and rev as two replies; id "" = any. */
int store_redis_row(const struct redis_reply *row,
                    const struct redis_reply *rev, const char *id,
                    struct store_session *out, struct err *e);

#define STORE_REDIS_OWNER_SIZE 33
/* What an owner is called in keys. */
void store_redis_owner(const char *iss, const char *sub,
                       char out[STORE_REDIS_OWNER_SIZE]);

/* --- operations in store_redis_list.c --- */

int store_redis_list(struct store *s, const struct store_query *q,
                     struct store_session **out, struct err *e);
int store_redis_changed_since(struct store *s, int64_t rev,
                              struct store_rev *out, int cap, struct err *e);
int store_redis_prune(struct store *s, int64_t before_ms, struct err *e);
int store_redis_sweep(struct store *s, struct err *e);

#endif
