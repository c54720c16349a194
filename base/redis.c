/* The pool: who gets which connection, and when a dead server is tried. */
#include "base/redis.h"

#include "base/mem.h"
#include "base/redis_internal.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define REDIS_IDLE_MAX 16
#define REDIS_RETRY_MS 25 /* the first pause */

struct redis {
    struct redis_conf conf;
    struct ssl_ctx_st *tls_ctx; /* NULL = plain */
    pthread_mutex_t lock;       /* of what follows */
    struct redis_link *idle;
    int idle_count;
    /* the server cannot be reached: one thread tries, others hear `why` */
    int failures;
    bool is_trying;
    int64_t retry_ms;
    struct err why;
};

/* --- addresses --- */

static const char *redis_url_rest(const char *text, bool *is_tls)
{
    *is_tls = strncmp(text, "rediss://", 9) == 0;
    if (*is_tls)
        return text + 9;
    return strncmp(text, "redis://", 8) == 0 ? text + 8 : NULL;
}

bool redis_is_url(const char *text)
{
    bool ignored;

    return redis_url_rest(text, &ignored) != NULL;
}

/* "", "/" or "/DB" */
static int redis_url_db(const char *path, int *db)
{
    char *end;
    long v;

    if (!path[0] || !path[1])
        return 0;
    v = strtol(path + 1, &end, 10);
    if (path[1] < '0' || path[1] > '9' || *end || v > 65535)
        return -1;
    *db = (int)v;
    return 0;
}

int redis_url_parse(const char *text, struct redis_conf *out, struct err *e)
{
    struct redis_conf c = *out;
    const char *rest = redis_url_rest(text, &c.is_tls), *port;
    struct url u;
    char *as_http;
    int r;

    if (!rest)
        return err_set(e, ERR_INPUT, "not redis://HOST:PORT[/DB]");
    as_http = mem_printf("http://%s", rest);
    r = url_parse(as_http, &u, e);
    free(as_http);
    if (r < 0)
        return -1;
    port = rest[0] == '[' ? strchr(rest, ']') : rest;
    port = port ? strpbrk(port, ":/") : NULL;
    c.db = 0;
    if (!port || *port != ':' || u.has_query || redis_url_db(u.path, &c.db) < 0)
        return err_set(e, ERR_INPUT,
                       "a Redis is named as redis://HOST:PORT[/DB], or with "
                       "rediss:// for TLS; user and password are settings of "
                       "their own");
    snprintf(c.host, sizeof(c.host), "%s", u.host);
    c.port = u.port;
    *out = c;
    return 0;
}

/* --- the pool --- */

struct redis *redis_new(const struct redis_conf *conf, struct err *e)
{
    struct redis *r = mem_zero(1, sizeof(*r));

    r->conf = *conf;
    if (!r->conf.connect_ms)
        r->conf.connect_ms = REDIS_CONNECT_MS;
    if (!r->conf.command_ms)
        r->conf.command_ms = REDIS_COMMAND_MS;
    pthread_mutex_init(&r->lock, NULL);
    if (conf->is_tls) {
        r->tls_ctx = tls_client_ctx(conf->ca, e);
        if (!r->tls_ctx) {
            redis_free(r);
            return NULL;
        }
    }
    return r;
}

void redis_free(struct redis *r)
{
    if (!r)
        return;
    while (r->idle) {
        struct redis_link *l = r->idle;

        r->idle = l->next;
        redis_link_free(l);
    }
    if (r->tls_ctx)
        tls_ctx_free(r->tls_ctx);
    pthread_mutex_destroy(&r->lock);
    free(r);
}

static struct redis_link *redis_idle_take(struct redis *r)
{
    struct redis_link *l;

    pthread_mutex_lock(&r->lock);
    l = r->idle;
    if (l) {
        r->idle = l->next;
        r->idle_count--;
    }
    pthread_mutex_unlock(&r->lock);
    return l;
}

static void redis_idle_give(struct redis *r, struct redis_link *l)
{
    pthread_mutex_lock(&r->lock);
    if (r->idle_count < REDIS_IDLE_MAX) {
        l->next = r->idle;
        r->idle = l;
        r->idle_count++;
        l = NULL;
    }
    pthread_mutex_unlock(&r->lock);
    redis_link_free(l);
}

/* 0: this thread may dial; -1: what the last who did was told. */
static int redis_may_dial(struct redis *r, struct err *e)
{
    int got = 0;

    pthread_mutex_lock(&r->lock);
    if (r->failures && (r->is_trying || redis_now_ms() < r->retry_ms)) {
        *e = r->why;
        got = -1;
    } else {
        r->is_trying = true;
    }
    pthread_mutex_unlock(&r->lock);
    return got;
}

static void redis_dialled(struct redis *r, bool is_good, const struct err *e)
{
    int64_t pause_ms = REDIS_RETRY_MS;

    pthread_mutex_lock(&r->lock);
    r->is_trying = false;
    if (is_good) {
        r->failures = 0;
    } else {
        for (int i = 0; i < r->failures && pause_ms < REDIS_RETRY_MAX_MS; i++)
            pause_ms *= 2;
        if (pause_ms > REDIS_RETRY_MAX_MS)
            pause_ms = REDIS_RETRY_MAX_MS;
        r->failures++;
        r->retry_ms = redis_now_ms() + pause_ms;
        r->why = *e;
    }
    pthread_mutex_unlock(&r->lock);
}

static struct redis_link *redis_dial(struct redis *r, struct err *e)
{
    struct redis_link *l;

    if (redis_may_dial(r, e) < 0)
        return NULL;
    l = redis_link_new(&r->conf, r->tls_ctx, e);
    redis_dialled(r, l != NULL, e);
    return l;
}

/* One that the server closed meanwhile is not used: nothing that was sent
 * has to be guessed about. */
static struct redis_link *redis_take(struct redis *r, struct err *e)
{
    struct redis_link *l;

    while ((l = redis_idle_take(r))) {
        if (redis_link_is_quiet(l))
            return l;
        redis_link_free(l);
    }
    return redis_dial(r, e);
}

struct redis_reply *redis_call(struct redis *r, const struct redis_cmd *c,
                               bool *is_lost, struct err *e)
{
    struct redis_reply *reply = NULL;
    struct redis_link *l = redis_take(r, e);
    bool is_sent = false;

    if (is_lost)
        *is_lost = false;
    if (!l)
        return NULL;
    if (redis_link_ask(l, c, 1, redis_now_ms() + r->conf.command_ms, &reply,
                       &is_sent, e) < 0) {
        redis_link_free(l);
        if (is_lost)
            *is_lost = is_sent;
        return NULL;
    }
    if (reply->kind != REDIS_ERROR) {
        redis_idle_give(r, l);
        return reply;
    }
    /* perhaps it leads to a server that has become another's replica, or
     * knows an old password: the next call dials */
    redis_link_free(l);
    redis_refused(reply, e);
    redis_reply_free(reply);
    return NULL;
}
