#include "controller/identity.h"

#include "base/http_client.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/mem.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

/*
 * A fetch has a thread of its own: a provider that hangs holds none of those
 * that serve requests. Whoever needs its outcome waits until the fetch is
 * IDENTITY_WAIT_MS old, if not too many do; else it is told to come again.
 */
struct identity {
    struct identity_conf conf;
    pthread_rwlock_t keys_lock; /* read while a token is verified */
    struct token_keys *keys;
    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t fetch_over;
    pthread_t fetcher;
    bool has_fetcher; /* to be joined, running or not */
    bool is_fetching;
    bool is_last_good;            /* the last fetch that ended */
    unsigned begun;               /* fetches */
    int64_t fetched_ms, tried_ms; /* 0 = never */
    int64_t age_ms;
    struct timespec wait_until; /* real time, for waiters of this fetch */
    int waiters;
};

/* max-age of a Cache-Control header within our bounds. */
static int64_t age_of(const char *cache_control)
{
    const char *at = strcasestr(cache_control, "max-age=");
    int64_t ms =
        at ? strtoll(at + 8, NULL, 10) * 1000 : IDENTITY_AGE_DEFAULT_MS;

    if (ms < IDENTITY_AGE_MIN_MS)
        return IDENTITY_AGE_MIN_MS;
    return ms > IDENTITY_AGE_MAX_MS ? IDENTITY_AGE_MAX_MS : ms;
}

static int fetch_http(void *arg, struct token_keys **keys, int64_t *age_ms,
                      struct err *e)
{
    const struct identity *id = arg;
    struct http_answer a = {0};
    struct http_request r = {
        .url = id->conf.jwks_url,
        .ca_path = id->conf.ca_path,
        /* plain http for a provider on this machine only */
        .allow_http =
            strncmp(id->conf.jwks_url, "http://127.0.0.1:", 17) == 0 ||
            strncmp(id->conf.jwks_url, "http://[::1]:", 13) == 0,
        .connect_ms = 3000,
        .total_ms = 8000,
        .body_max = IDENTITY_JWKS_MAX,
    };
    int got = http_do(&r, &a, e);

    if (got == 0 && a.status != 200)
        got = err_set(e, ERR_PEER, "key set: status %d", a.status);
    if (got == 0) {
        *keys = token_keys_parse((const char *)a.body.data, a.body.len, e);
        *age_ms = age_of(a.cache_control);
        got = *keys ? 0 : err_wrap(e, "key set");
    }
    http_answer_fini(&a);
    return got;
}

struct identity *identity_new(const struct identity_conf *conf)
{
    struct identity *id = mem_zero(1, sizeof *id);
    pthread_condattr_t attr;

    id->conf = *conf;
    id->keys = conf->keys;
    if (!id->conf.fetch && conf->jwks_url) {
        id->conf.fetch = fetch_http;
        id->conf.fetch_arg = id;
    }
    if (!id->conf.now_ms)
        id->conf.now_ms = loop_now_ms;
    pthread_rwlock_init(&id->keys_lock, NULL);
    pthread_mutex_init(&id->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&id->fetch_over, &attr);
    pthread_condattr_destroy(&attr);
    return id;
}

void identity_free(struct identity *id)
{
    if (!id)
        return;
    if (id->has_fetcher)
        pthread_join(id->fetcher, NULL);
    token_keys_free(id->keys);
    pthread_rwlock_destroy(&id->keys_lock);
    pthread_mutex_destroy(&id->lock);
    pthread_cond_destroy(&id->fetch_over);
    free(id);
}

/* --- fetching --- */

static void swap_keys(struct identity *id, struct token_keys *fresh)
{
    struct token_keys *old;

    pthread_rwlock_wrlock(&id->keys_lock);
    old = id->keys;
    id->keys = fresh;
    pthread_rwlock_unlock(&id->keys_lock);
    token_keys_free(old);
}

static void *fetch_run(void *arg)
{
    struct identity *id = arg;
    struct token_keys *fresh = NULL;
    struct err e = {0};
    int64_t age_ms = 0;
    int got = id->conf.fetch(id->conf.fetch_arg, &fresh, &age_ms, &e);

    if (got == 0)
        swap_keys(id, fresh);
    else
        log_err(&e, "identity.fetch");
    pthread_mutex_lock(&id->lock);
    if (got == 0) {
        id->fetched_ms = id->tried_ms;
        id->age_ms = age_ms;
    }
    id->is_last_good = got == 0;
    id->is_fetching = false;
    pthread_cond_broadcast(&id->fetch_over);
    pthread_mutex_unlock(&id->lock);
    return NULL;
}

/* With id->lock held. The thread takes no signals: its maker, a worker, does
 * not either. */
static void fetch_start(struct identity *id, int64_t now_ms)
{
    struct err e = {0};

    if (id->has_fetcher)
        pthread_join(id->fetcher, NULL); /* it has nothing left to do */
    id->tried_ms = now_ms;
    id->begun++;
    clock_gettime(CLOCK_MONOTONIC, &id->wait_until);
    id->wait_until.tv_sec += IDENTITY_WAIT_MS / 1000;
    errno = pthread_create(&id->fetcher, NULL, fetch_run, id);
    id->has_fetcher = id->is_fetching = errno == 0;
    if (errno) {
        id->is_last_good = false;
        err_sys(&e, "pthread_create");
        log_err(&e, "identity.fetch");
    }
}

/* With id->lock held, which is let go meanwhile. */
static void fetch_await(struct identity *id)
{
    const struct timespec until = id->wait_until;
    int late = 0;

    if (id->waiters >= id->conf.waiters_max)
        return;
    id->waiters++;
    while (id->is_fetching && !late)
        late = pthread_cond_timedwait(&id->fetch_over, &id->lock, &until);
    id->waiters--;
}

/* How many fetches have begun by now. */
static unsigned fetches(struct identity *id)
{
    unsigned n;

    pthread_mutex_lock(&id->lock);
    n = id->begun;
    pthread_mutex_unlock(&id->lock);
    return n;
}

/*
 * Have a set that is young enough, or fresher than what did not know a kid,
 * as far as a short wait brings it.
 *
 * before   fetches that had begun when the token came
 * returns  is the set of now the last word on an unknown kid? Only if it was
 *          asked for after the token came: the key may be younger than any
 *          other, and another fetch may not be due yet.
 */
static bool refresh(struct identity *id, bool kid_unknown, unsigned before)
{
    bool is_final, is_old, is_calm;
    int64_t now_ms;

    if (!id->conf.fetch)
        return true;
    now_ms = id->conf.now_ms();
    pthread_mutex_lock(&id->lock);
    is_old = !id->fetched_ms || now_ms - id->fetched_ms >= id->age_ms;
    is_calm = !id->tried_ms || now_ms - id->tried_ms >= IDENTITY_REFETCH_MS;
    if (!id->is_fetching && is_calm && (is_old || kid_unknown))
        fetch_start(id, now_ms);
    if (id->is_fetching && (is_old || kid_unknown))
        fetch_await(id);
    is_final = !id->is_fetching && id->is_last_good && id->begun != before;
    pthread_mutex_unlock(&id->lock);
    return is_final;
}

/* --- judging --- */

static struct json *verify(struct identity *id, const char *token,
                           bool *kid_unknown, struct err *e)
{
    struct token_expect want = {
        .iss = id->conf.issuer,
        .aud = id->conf.audience,
        .aud_may_be_list = true,
        .now_s = loop_wall_s(),
        .skew_s = TOKEN_SKEW_S,
    };
    struct json *claims = NULL;

    *kid_unknown = false;
    pthread_rwlock_rdlock(&id->keys_lock);
    if (id->keys)
        claims =
            token_verify(id->keys, token, strlen(token), &want, kid_unknown, e);
    else
        err_set(e, ERR_SYSTEM, "no key set of the identity provider");
    pthread_rwlock_unlock(&id->keys_lock);
    return claims;
}

static int take_owner(const struct identity *id, const struct json *claims,
                      struct owner *who, struct err *e)
{
    const char *sub = json_get_str(claims, "sub");
    struct owner out = {0};

    if (!sub || !*sub || strlen(sub) >= sizeof out.sub)
        return err_set(e, ERR_TOKEN, "the token has no usable subject");
    for (const char *c = sub; *c; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            return err_set(e, ERR_TOKEN, "the token has no usable subject");
    memcpy(out.sub, sub, strlen(sub));
    strncpy(out.iss, id->conf.issuer, sizeof out.iss - 1);
    *who = out;
    return 0;
}

int identity_check(struct identity *id, const char *authorization,
                   struct owner *who, struct err *e)
{
    struct err why = {0};
    bool kid_unknown;
    struct json *claims;
    const char *token;
    unsigned before;
    int got;

    if (!authorization || strncasecmp(authorization, "bearer ", 7) != 0)
        return err_set(e, ERR_TOKEN,
                       "send an identity token: Authorization: Bearer ...");
    token = authorization + 7;
    if (strlen(token) > TOKEN_MAX)
        return err_set(e, ERR_TOKEN, "the token is too long");
    before = fetches(id);
    refresh(id, false, before);
    claims = verify(id, token, &kid_unknown, &why);
    if (!claims && kid_unknown) {
        const bool is_final = refresh(id, true, before);

        claims = verify(id, token, &kid_unknown, &why);
        /* whom we refuse gives up, and the key may be a new one */
        if (!claims && kid_unknown && !is_final)
            err_set(&why, ERR_SYSTEM, "a key that the next set may have");
    }
    if (!claims) {
        *e = why;
        return -1;
    }
    got = take_owner(id, claims, who, e);
    json_free(claims);
    return got;
}
