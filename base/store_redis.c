/* Sessions in Redis: opened, made, read, changed; ids spent. */
#include "base/store_redis_internal.h"

#include "base/digest.h"
#include "base/mem.h"
#include "base/own.h"
#include "base/store_row.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define UPDATE_TRIES 500 /* collisions with others, in a row */
#define OWNER_HEX (STORE_REDIS_OWNER_SIZE - 1)
#define NAME_SIZE 128 /* of a key */
#define NUMBER_SIZE 24

/* --- pieces --- */

struct redis_reply *store_redis_run(struct store *s, struct redis_cmd *c,
                                    bool *is_lost, struct err *e)
{
    return redis_call(store_redis_of(s), c, is_lost, e);
}

/* What begins a script's command; its arguments follow. */
static void script(struct redis_cmd *c, const char *lua)
{
    redis_arg(c, "EVAL");
    redis_arg(c, lua);
    redis_arg(c, "0");
}

int store_redis_odd(struct err *e)
{
    return err_set(e, ERR_SYSTEM, "store: an answer of another form");
}

int store_redis_number(const struct redis_reply *r, int64_t *out)
{
    char *end;
    long long v;

    if (r->kind == REDIS_INTEGER) {
        *out = r->integer;
        return r->integer < 0 ? -1 : 0;
    }
    if (r->kind != REDIS_TEXT || r->len == 0 || r->len > 19 ||
        strspn(r->text, "0123456789") != r->len)
        return -1;
    v = strtoll(r->text, &end, 10);
    *out = v;
    return 0;
}

int store_redis_row(const struct redis_reply *row,
                    const struct redis_reply *rev, const char *id,
                    struct store_session *out, struct err *e)
{
    int64_t number;

    if (row->kind != REDIS_TEXT || store_redis_number(rev, &number) < 0)
        return store_redis_odd(e);
    if (store_row_take(row->text, row->len, out, e) < 0)
        return -1;
    /* another session's, put in this one's place */
    if (id[0] && strcmp(out->id, id) != 0)
        return err_set(e, ERR_SYSTEM, "store: a row in another one's place");
    out->rev = number;
    return 0;
}

static void name_of(char out[NAME_SIZE], const char *kind, const char *id)
{
    snprintf(out, NAME_SIZE, STORE_REDIS_PREFIX "%s:%s", kind, id);
}

static void digest_name(const char *a, const char *b, char out[OWNER_HEX + 1])
{
    struct digest *d = digest_new(DIGEST_SHA256);
    uint8_t hash[SHA256_BYTES];

    digest_add(d, a,
               strlen(a) + 1); /* with its end: "ab","c" is not "a","bc" */
    digest_add(d, b, strlen(b));
    digest_end(d, hash);
    digest_free(d);
    hex_encode(hash, OWNER_HEX / 2, out);
}

void store_redis_owner(const char *iss, const char *sub,
                       char out[STORE_REDIS_OWNER_SIZE])
{
    digest_name(iss, sub, out);
}

/* --- making --- */

/* What create's script takes, as text; borrowed by the command. */
struct made {
    struct buf row;
    char created[NUMBER_SIZE], ended[NUMBER_SIZE], quota[NUMBER_SIZE];
    char now[NUMBER_SIZE], life[NUMBER_SIZE];
    char owner[OWNER_HEX + 1], key[OWNER_HEX + 1], hash[2 * SHA256_BYTES + 1];
};

static void number(char out[NUMBER_SIZE], int64_t v)
{
    snprintf(out, NUMBER_SIZE, "%lld", (long long)v);
}

/* The first four arguments of create and restore. */
static void made_row(struct made *m, const struct store_session *row,
                     struct redis_cmd *c)
{
    buf_init_secret(&m->row, STORE_ROW_BYTES_MAX);
    store_row_put(&m->row, row);
    number(m->created, row->created_ms);
    store_redis_owner(row->owner_iss, row->owner_sub, m->owner);
    redis_arg(c, row->id);
    redis_arg_bytes(c, m->row.data, m->row.len);
    redis_arg(c, m->created);
    redis_arg(c, m->owner);
}

static void made_wish(struct made *m, const struct store_wish *w,
                      struct redis_cmd *c)
{
    number(m->quota, w->quota);
    number(m->now, w->now_s);
    number(m->life, STORE_IDEMPOTENCY_S);
    hex_encode(w->body_hash, SHA256_BYTES, m->hash);
    if (w->key[0])
        digest_name("key", w->key, m->key);
    redis_arg(c, m->quota);
    redis_arg(c, m->key);
    redis_arg(c, m->hash);
    redis_arg(c, m->now);
    redis_arg(c, m->life);
    redis_arg_bytes(c, w->launch_len ? w->launch : "", w->launch_len);
}

static int judge_created(const struct redis_reply *r, struct store_session *row,
                         const struct store_wish *w, struct err *e)
{
    const size_t n = r->kind == REDIS_ARRAY ? r->count : 0;
    const char *said =
        n > 0 && r->items[0]->kind == REDIS_TEXT ? r->items[0]->text : "";
    int64_t v;

    if (strcmp(said, "conflict") == 0)
        return err_set(e, ERR_CONFLICT,
                       "this idempotency key was used with another body");
    if (strcmp(said, "quota") == 0 && n == 2 &&
        store_redis_number(r->items[1], &v) == 0 &&
        store_quota_judge(v, w->quota, e) < 0)
        return -1;
    if (strcmp(said, "created") == 0 && n == 2 &&
        store_redis_number(r->items[1], &v) == 0) {
        row->rev = v;
        return STORE_CREATED;
    }
    if (strcmp(said, "replayed") != 0 || n != 4 ||
        r->items[3]->kind != REDIS_TEXT)
        return store_redis_odd(e);
    if (store_redis_row(r->items[1], r->items[2], r->items[3]->text, row, e) <
        0)
        return -1;
    return STORE_REPLAYED;
}

/* Ours is the only session of its fresh id, so the script may run twice: a
 * session whose first answer was lost is not made and forgotten. */
static int store_redis_create(struct store *s, struct store_session *row,
                              const struct store_wish *w, struct err *e)
{
    own_redis_reply struct redis_reply *r = NULL;
    own_mem struct made *m = mem_zero(1, sizeof(*m));
    struct redis_cmd c = {0};
    struct err first = {0};
    bool is_lost = false;
    int got = -1;

    script(&c, store_redis_lua_create);
    made_row(m, row, &c);
    made_wish(m, w, &c);
    r = store_redis_run(s, &c, &is_lost, &first);
    if (!r && is_lost)
        r = store_redis_run(s, &c, NULL, &first);
    if (r)
        got = judge_created(r, row, w, e);
    else
        *e = first;
    buf_fini(&m->row);
    return got;
}

static const char *ended_of(const struct store_session *row,
                            char out[NUMBER_SIZE])
{
    if (row->state != STATE_ENDED)
        return "";
    number(out, row->ended_ms);
    return out;
}

static int store_redis_restore(struct store *s, struct store_session *row,
                               struct err *e)
{
    own_redis_reply struct redis_reply *r = NULL;
    own_mem struct made *m = mem_zero(1, sizeof(*m));
    struct redis_cmd c = {0};

    script(&c, store_redis_lua_restore);
    made_row(m, row, &c);
    redis_arg(&c, ended_of(row, m->ended));
    r = store_redis_run(s, &c, NULL, e);
    buf_fini(&m->row);
    if (!r)
        return -1;
    if (r->kind == REDIS_NIL)
        return err_set(e, ERR_CONFLICT, "there is a session of this id");
    return store_redis_number(r, &row->rev) < 0 ? store_redis_odd(e) : 0;
}

/* --- what starts a session --- */

static struct redis_reply *launch_ask(struct store *s, const char *verb,
                                      const char *id, struct err *e)
{
    struct redis_cmd c = {0};
    char name[NAME_SIZE];

    name_of(name, "l", id);
    redis_arg(&c, verb);
    redis_arg(&c, name);
    return store_redis_run(s, &c, NULL, e);
}

static int store_redis_launch_get(struct store *s, const char *id,
                                  struct buf *out, struct err *e)
{
    own_redis_reply struct redis_reply *r = NULL;

    if (!id_is_valid(id))
        return err_set(e, ERR_ABSENT, "no such session");
    r = launch_ask(s, "GET", id, e);
    if (!r)
        return -1;
    if (r->kind == REDIS_NIL)
        return err_set(e, ERR_ABSENT, "nothing to start this session from");
    if (r->kind != REDIS_TEXT)
        return store_redis_odd(e);
    if (r->len > STORE_LAUNCH_MAX || buf_append(out, r->text, r->len) < 0)
        return err_set(e, ERR_SYSTEM, "store: launch blob is too large");
    return 0;
}

static int store_redis_launch_drop(struct store *s, const char *id,
                                   struct err *e)
{
    own_redis_reply struct redis_reply *r = NULL;

    if (!id_is_valid(id))
        return 0;
    r = launch_ask(s, "DEL", id, e);
    return r ? 0 : -1;
}

/* --- read and change --- */

static int store_redis_get(struct store *s, const char *id,
                           struct store_session *out, struct err *e)
{
    own_redis_reply struct redis_reply *r = NULL;
    struct redis_cmd c = {0};
    char name[NAME_SIZE];

    if (!id_is_valid(id))
        return err_set(e, ERR_ABSENT, "no such session");
    name_of(name, "s", id);
    redis_arg(&c, "HMGET");
    redis_arg(&c, name);
    redis_arg(&c, "row");
    redis_arg(&c, "rev");
    r = store_redis_run(s, &c, NULL, e);
    if (!r)
        return -1;
    if (r->kind != REDIS_ARRAY || r->count != 2)
        return store_redis_odd(e);
    if (r->items[0]->kind == REDIS_NIL)
        return err_set(e, ERR_ABSENT, "no such session");
    return store_redis_row(r->items[0], r->items[1], id, out, e);
}

/* 1: written; 0: somebody was faster; -1 */
static int replace(struct store *s, int64_t rev, struct store_session *row,
                   struct err *e)
{
    own_redis_reply struct redis_reply *r = NULL;
    char was[NUMBER_SIZE], ended[NUMBER_SIZE];
    struct redis_cmd c = {0};
    struct buf bytes;

    buf_init_secret(&bytes, STORE_ROW_BYTES_MAX);
    store_row_put(&bytes, row);
    number(was, rev);
    script(&c, store_redis_lua_update);
    redis_arg(&c, row->id);
    redis_arg(&c, was);
    redis_arg_bytes(&c, bytes.data, bytes.len);
    redis_arg(&c, ended_of(row, ended));
    r = store_redis_run(s, &c, NULL, e);
    buf_fini(&bytes);
    if (!r)
        return -1;
    if (r->kind == REDIS_NIL)
        return err_set(e, ERR_ABSENT, "no such session");
    if (r->kind == REDIS_TEXT && strcmp(r->text, "changed") == 0)
        return 0;
    return store_redis_number(r, &row->rev) < 0 ? store_redis_odd(e) : 1;
}

static int store_redis_update(struct store *s, const char *id,
                              store_change_fn change, void *arg,
                              struct store_session *out, struct err *e)
{
    struct store_session *old = mem_zero(2, sizeof(*old)), *row = old + 1;
    int r = 0;

    for (int i = 0; r == 0 && i < UPDATE_TRIES; i++) {
        r = store_redis_get(s, id, old, e);
        if (r == 0)
            r = store_change(old, row, change, arg, e);
        if (r == 0)
            r = replace(s, old->rev, row, e);
    }
    if (r == 0)
        err_set(e, ERR_SYSTEM,
                "store: others change this session all the "
                "time");
    if (r == 1 && out)
        *out = *row;
    wipe(old, 2 * sizeof(*old));
    free(old);
    return r == 1 ? 0 : -1;
}

/* --- spent ids, health, demand --- */

/* By the server's clock: it forgets the id when it has expired. */
static int set_once(struct store *s, const char *kind, const char *id,
                    int64_t expires_s, int64_t now_s, struct err *e)
{
    own_redis_reply struct redis_reply *r = NULL;
    char name[NAME_SIZE], life[NUMBER_SIZE];
    struct redis_cmd c = {0};

    name_of(name, kind, id);
    number(life, expires_s > now_s ? expires_s - now_s : 1);
    redis_arg(&c, "SET");
    redis_arg(&c, name);
    redis_arg(&c, "1");
    redis_arg(&c, "NX");
    redis_arg(&c, "EX");
    redis_arg(&c, life);
    r = store_redis_run(s, &c, NULL, e);
    if (!r)
        return -1;
    if (r->kind == REDIS_NIL)
        return err_set(e, ERR_TOKEN, "id was spent before");
    return r->kind == REDIS_TEXT && strcmp(r->text, "OK") == 0
               ? 0
               : store_redis_odd(e);
}

static int store_redis_spend(struct store *s, const char *jti,
                             int64_t expires_s, int64_t now_s, struct err *e)
{
    if (strlen(jti) > ID_LEN) /* a key's name is no place for more */
        return err_set(e, ERR_TOKEN, "token id is too long");
    return set_once(s, "t", jti, expires_s, now_s, e);
}

static int store_redis_give_out(struct store *s, const char *id,
                                int64_t expires_s, int64_t now_s, struct err *e)
{
    return set_once(s, "g", id, expires_s, now_s, e);
}

static int store_redis_ping(struct store *s, struct err *e)
{
    own_redis_reply struct redis_reply *r = NULL;
    struct redis_cmd c = {0};

    redis_arg(&c, "PING");
    r = store_redis_run(s, &c, NULL, e);
    return r ? 0 : -1;
}

static bool store_redis_warning(struct store *s, char out[160])
{
    static const char name[] = "maxmemory_policy:";
    own_redis_reply struct redis_reply *r = NULL;
    struct redis_cmd c = {0};
    struct err ignored = {0};
    const char *at;
    int len;

    redis_arg(&c, "INFO");
    redis_arg(&c, "memory");
    r = store_redis_run(s, &c, NULL, &ignored);
    at = r && r->kind == REDIS_TEXT ? strstr(r->text, name) : NULL;
    if (!at)
        return false;
    at += strlen(name);
    len = (int)strspn(at, "abcdefghijklmnopqrstuvwxyz-");
    if (len == 10 && strncmp(at, "noeviction", 10) == 0)
        return false;
    snprintf(out, 160,
             "Redis may drop sessions when its memory is full: set its "
             "maxmemory-policy to noeviction (it is %.*s)",
             len > 32 ? 32 : len, at);
    return true;
}

static int store_redis_demand(struct store *s, int64_t deficit, struct err *e)
{
    own_redis_reply struct redis_reply *r = NULL;
    char want[NUMBER_SIZE], life[NUMBER_SIZE];
    struct redis_cmd c = {0};

    number(want, deficit);
    number(life, STORE_DEMAND_S);
    script(&c, store_redis_lua_demand);
    redis_arg(&c, want);
    redis_arg(&c, life);
    r = store_redis_run(s, &c, NULL, e);
    return r ? 0 : -1;
}

/* --- opening --- */

static void store_redis_close(struct store *s)
{
    redis_free(store_redis_of(s));
    free(s);
}

static const struct store_ops store_redis_ops = {
    .close = store_redis_close,
    .create = store_redis_create,
    .restore = store_redis_restore,
    .launch_get = store_redis_launch_get,
    .launch_drop = store_redis_launch_drop,
    .get = store_redis_get,
    .update = store_redis_update,
    .list = store_redis_list,
    .prune = store_redis_prune,
    .give_out = store_redis_give_out,
    .spend = store_redis_spend,
    .changed_since = store_redis_changed_since,
    .ping = store_redis_ping,
    .warning = store_redis_warning,
    .demand = store_redis_demand,
    .sweep = store_redis_sweep,
};

struct store *store_redis_open(const struct store_conf *conf, struct err *e)
{
    struct redis_conf c = {.user = conf->user,
                           .password_file = conf->password_file,
                           .ca = conf->ca,
                           .connect_ms = conf->connect_ms,
                           .command_ms = conf->command_ms};
    struct store_redis *s;
    struct redis *redis;

    if (redis_url_parse(conf->where, &c, e) < 0)
        return NULL;
    if (conf->user && !conf->password_file) {
        err_set(e, ERR_INPUT, "a Redis user needs a password file");
        return NULL;
    }
    if (conf->ca && !c.is_tls) {
        err_set(e, ERR_INPUT, "a CA is for rediss://, which speaks TLS");
        return NULL;
    }
    redis = redis_new(&c, e);
    if (!redis)
        return NULL;
    s = mem_zero(1, sizeof(*s));
    s->base.ops = &store_redis_ops;
    s->redis = redis;
    return &s->base;
}
