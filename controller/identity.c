#include "controller/identity.h"

#include "base/http_client.h"
#include "base/loop.h"
#include "base/mem.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

struct identity {
    struct identity_conf conf;
    pthread_rwlock_t lock; /* keys: read while a token is verified */
    struct token_keys *keys;
    pthread_mutex_t fetching;     /* one fetch at a time; guards what follows */
    int64_t fetched_ms, tried_ms; /* 0 = never */
    int64_t age_ms;
    atomic_bool has_keys;
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

    id->conf = *conf;
    id->keys = conf->keys;
    id->has_keys = conf->keys != NULL;
    if (!id->conf.fetch && conf->jwks_url) {
        id->conf.fetch = fetch_http;
        id->conf.fetch_arg = id;
    }
    if (!id->conf.now_ms)
        id->conf.now_ms = loop_now_ms;
    pthread_rwlock_init(&id->lock, NULL);
    pthread_mutex_init(&id->fetching, NULL);
    return id;
}

void identity_free(struct identity *id)
{
    if (!id)
        return;
    token_keys_free(id->keys);
    pthread_rwlock_destroy(&id->lock);
    pthread_mutex_destroy(&id->fetching);
    free(id);
}

/* Fetch and swap the set in; with id->fetching held. */
static int fetch_now(struct identity *id, int64_t now_ms, struct err *e)
{
    struct token_keys *fresh = NULL, *old;
    int64_t age_ms = 0;

    id->tried_ms = now_ms;
    if (id->conf.fetch(id->conf.fetch_arg, &fresh, &age_ms, e) < 0)
        return -1;
    pthread_rwlock_wrlock(&id->lock);
    old = id->keys;
    id->keys = fresh;
    pthread_rwlock_unlock(&id->lock);
    token_keys_free(old);
    id->has_keys = true;
    id->fetched_ms = now_ms;
    id->age_ms = age_ms;
    return 0;
}

/*
 * Have a set that is young enough, or fresher than what did not know a kid.
 * true when the set may have changed. Whoever comes while another fetches
 * goes on with the old set if that will do, else waits.
 */
static bool refresh(struct identity *id, bool kid_unknown, struct err *e)
{
    bool fetched = false;
    int64_t now_ms;

    if (!id->conf.fetch)
        return false;
    if (pthread_mutex_trylock(&id->fetching) != 0) {
        if (!kid_unknown && id->has_keys)
            return false;
        pthread_mutex_lock(&id->fetching);
        pthread_mutex_unlock(&id->fetching);
        return true;
    }
    now_ms = id->conf.now_ms();
    bool is_old = !id->fetched_ms || now_ms - id->fetched_ms >= id->age_ms;
    bool is_calm =
        !id->tried_ms || now_ms - id->tried_ms >= IDENTITY_REFETCH_MS;
    if ((is_old || kid_unknown) && is_calm)
        fetched = fetch_now(id, now_ms, e) == 0;
    pthread_mutex_unlock(&id->fetching);
    return fetched;
}

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

    pthread_rwlock_rdlock(&id->lock);
    if (id->keys)
        claims =
            token_verify(id->keys, token, strlen(token), &want, kid_unknown, e);
    else
        err_set(e, ERR_SYSTEM, "no key set of the identity provider");
    pthread_rwlock_unlock(&id->lock);
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
    struct err why = {0}, fetch_why = {0};
    bool kid_unknown = false;
    struct json *claims;
    const char *token;
    int got;

    if (!authorization || strncasecmp(authorization, "bearer ", 7) != 0)
        return err_set(e, ERR_TOKEN,
                       "send an identity token: Authorization: Bearer ...");
    token = authorization + 7;
    if (strlen(token) > TOKEN_MAX)
        return err_set(e, ERR_TOKEN, "the token is too long");
    refresh(id, false, &fetch_why);
    claims = verify(id, token, &kid_unknown, &why);
    if (!claims && kid_unknown && refresh(id, true, &fetch_why))
        claims = verify(id, token, &kid_unknown, &why);
    if (!claims) {
        *e = why;
        if (fetch_why.kind && why.kind == ERR_SYSTEM)
            *e = fetch_why, e->kind = ERR_SYSTEM;
        return -1;
    }
    got = take_owner(id, claims, who, e);
    json_free(claims);
    return got;
}
