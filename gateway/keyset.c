#include "gateway/keyset.h"

#include "base/http_client.h"
#include "base/mem.h"
#include "base/own.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>
#include <sys/stat.h>

#define FETCH_MS 5000 /* a fetch in all */

struct keyset {
    const char *file, *url, *ca_path; /* borrowed */
    pthread_rwlock_t lock;
    struct token_keys *keys; /* under lock; NULL until the first reading */
    pthread_mutex_t reading; /* one reading at a time */
    int64_t last_ms;         /* of the last reading, under reading */
};

struct keyset *keyset_new(const char *file, const char *url,
                          const char *ca_path)
{
    struct keyset *k = mem_zero(1, sizeof(*k));

    k->file = file;
    k->url = url;
    k->ca_path = ca_path;
    pthread_rwlock_init(&k->lock, NULL);
    pthread_mutex_init(&k->reading, NULL);
    k->last_ms = -KEYSET_UNKNOWN_MS;
    return k;
}

void keyset_free(struct keyset *k)
{
    if (!k)
        return;
    token_keys_free(k->keys);
    pthread_rwlock_destroy(&k->lock);
    pthread_mutex_destroy(&k->reading);
    free(k);
}

static struct token_keys *keys_from_file(const char *path, struct err *e)
{
    own_fd int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    own_mem char *text = mem_zero(TOKEN_JWKS_MAX + 1, 1);
    size_t len = 0;
    ssize_t n = 1;

    if (fd < 0) {
        err_sys(e, "%s", path);
        return NULL;
    }
    while (n > 0 && len <= TOKEN_JWKS_MAX) {
        n = read(fd, text + len, TOKEN_JWKS_MAX + 1 - len);
        if (n < 0) {
            err_sys(e, "%s", path);
            return NULL;
        }
        len += (size_t)n;
    }
    if (len > TOKEN_JWKS_MAX) {
        err_set(e, ERR_TOO_LARGE, "%s: more than %d bytes", path,
                TOKEN_JWKS_MAX);
        return NULL;
    }
    return token_keys_parse(text, len, e);
}

static struct token_keys *keys_from_url(const struct keyset *k, struct err *e)
{
    struct http_request r = {
        .url = k->url,
        .ca_path = k->ca_path,
        .connect_ms = FETCH_MS,
        .total_ms = FETCH_MS,
        .body_max = TOKEN_JWKS_MAX,
    };
    struct token_keys *keys = NULL;
    struct http_answer a = {0};

    if (http_do(&r, &a, e) < 0)
        return NULL;
    if (a.status != 200)
        err_set(e, ERR_PEER, "key set: status %d", a.status);
    else
        keys = token_keys_parse((const char *)a.body.data, a.body.len, e);
    http_answer_fini(&a);
    return keys;
}

/* With `reading` held. */
static int keyset_read(struct keyset *k, int64_t now_ms, struct err *e)
{
    struct token_keys *keys, *old;

    k->last_ms = now_ms;
    keys = k->file ? keys_from_file(k->file, e) : keys_from_url(k, e);
    if (!keys)
        return -1;
    pthread_rwlock_wrlock(&k->lock);
    old = k->keys;
    k->keys = keys;
    pthread_rwlock_unlock(&k->lock);
    token_keys_free(old);
    return 0;
}

int keyset_refresh(struct keyset *k, int64_t now_ms, struct err *e)
{
    int rc;

    if (pthread_mutex_trylock(&k->reading) != 0)
        return 1;
    rc = keyset_read(k, now_ms, e);
    pthread_mutex_unlock(&k->reading);
    return rc;
}

enum keyset_news keyset_refresh_unknown(struct keyset *k, int64_t now_ms)
{
    enum keyset_news news = KEYSET_SAME;
    struct err ignored;

    /* nobody waits for a reading of another's: a slow server would hold the
     * threads that known keys need */
    if (pthread_mutex_trylock(&k->reading) != 0)
        return KEYSET_BUSY;
    if (now_ms - k->last_ms >= KEYSET_UNKNOWN_MS &&
        keyset_read(k, now_ms, &ignored) == 0)
        news = KEYSET_FRESH;
    pthread_mutex_unlock(&k->reading);
    return news;
}

bool keyset_is_loaded(struct keyset *k)
{
    bool is_loaded;

    pthread_rwlock_rdlock(&k->lock);
    is_loaded = k->keys != NULL;
    pthread_rwlock_unlock(&k->lock);
    return is_loaded;
}

int keyset_verify(struct keyset *k, const char *token, size_t len,
                  const char *iss, const char *aud, int64_t now_s,
                  int64_t skew_s, struct session_claims *out, bool *kid_unknown,
                  struct err *e)
{
    int rc;

    *kid_unknown = false;
    pthread_rwlock_rdlock(&k->lock);
    if (k->keys)
        rc = session_token_verify(k->keys, token, len, iss, aud, now_s, skew_s,
                                  out, kid_unknown, e);
    else
        rc = err_set(e, ERR_SYSTEM, "no key set has been read yet");
    pthread_rwlock_unlock(&k->lock);
    return rc;
}
