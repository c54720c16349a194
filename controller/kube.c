#include "controller/kube_internal.h"

#include "base/log.h"
#include "base/mem.h"
#include "base/own.h"
#include "base/seal.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define WAIT_MS 200 /* before the second try; doubles */
#define STATUS_UNKNOWN_TOKEN 401
#define STATUS_BUSY 429

struct kube *kube_new(struct kube_conf *conf)
{
    struct kube *k = mem_zero(1, sizeof *k);
    pthread_condattr_t attr;

    k->conf = *conf;
    *conf = (struct kube_conf){0};
    pthread_mutex_init(&k->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&k->wake, &attr);
    pthread_condattr_destroy(&attr);
    atomic_init(&k->is_cancelled, false);
    k->turns = KUBE_CALLS_BURST;
    k->turns_ms = loop_now_ms();
    return k;
}

void kube_free(struct kube *k)
{
    if (!k)
        return;
    for (int i = 0; i < KUBE_KEPT; i++)
        http_keep_fini(&k->kept[i]);
    kube_conf_fini(&k->conf);
    pthread_cond_destroy(&k->wake);
    pthread_mutex_destroy(&k->lock);
    free(k);
}

void kube_cancel(struct kube *k)
{
    pthread_mutex_lock(&k->lock);
    atomic_store(&k->is_cancelled, true);
    pthread_cond_broadcast(&k->wake);
    pthread_mutex_unlock(&k->lock);
}

void kube_wake(struct kube *k, atomic_bool *stop)
{
    pthread_mutex_lock(&k->lock);
    atomic_store(stop, true);
    pthread_cond_broadcast(&k->wake);
    pthread_mutex_unlock(&k->lock);
}

const char *kube_ns(const struct kube *k)
{
    return k->conf.ns;
}

/* --- waiting --- */

static void sleep_locked(struct kube *k, int64_t ms, const atomic_bool *stop)
{
    struct timespec until;

    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += ms / 1000;
    until.tv_nsec += ms % 1000 * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    while (!atomic_load(&k->is_cancelled) && !(stop && atomic_load(stop)) &&
           pthread_cond_timedwait(&k->wake, &k->lock, &until) == 0)
        ;
}

void kube_sleep(struct kube *k, int64_t ms, const atomic_bool *stop)
{
    pthread_mutex_lock(&k->lock);
    sleep_locked(k, ms, stop);
    pthread_mutex_unlock(&k->lock);
}

/* Wait for our turn. Turns are taken in advance, so that nobody who came
 * later goes first for long. Who has no time to wait is counted. */
static void take_turn(struct kube *k, const struct kube_call *c)
{
    int64_t now_ms = loop_now_ms();

    pthread_mutex_lock(&k->lock);
    k->turns += (double)(now_ms - k->turns_ms) * KUBE_CALLS_S / 1000;
    if (k->turns > KUBE_CALLS_BURST)
        k->turns = KUBE_CALLS_BURST;
    k->turns_ms = now_ms;
    k->turns -= 1;
    if (k->turns < 0 && !c->until_ms)
        sleep_locked(k, (int64_t)(-k->turns * 1000 / KUBE_CALLS_S), c->stop);
    pthread_mutex_unlock(&k->lock);
}

/* --- connections --- */

/* NULL = all are in use: a connection of its own. The lowest first, so that
 * few are used, and often: one that was long idle is not taken. */
static struct http_keep *keep_take(struct kube *k)
{
    struct http_keep *keep = NULL;

    pthread_mutex_lock(&k->lock);
    for (int i = 0; i < KUBE_KEPT && !keep; i++)
        if (!k->is_kept_used[i]) {
            k->is_kept_used[i] = true;
            keep = &k->kept[i];
        }
    pthread_mutex_unlock(&k->lock);
    return keep;
}

static void keep_give(struct kube *k, const struct http_keep *keep)
{
    if (!keep)
        return;
    pthread_mutex_lock(&k->lock);
    k->is_kept_used[keep - k->kept] = false;
    pthread_mutex_unlock(&k->lock);
}

/* --- one call --- */

static bool is_over(const struct kube *k, const atomic_bool *stop)
{
    return atomic_load(&k->is_cancelled) || (stop && atomic_load(stop));
}

static bool is_cancelled(void *arg)
{
    const struct kube_try *t = arg;

    return is_over(t->kube, t->stop);
}

int kube_try_init(struct kube_try *t, struct kube *k, const char *path,
                  struct err *e)
{
    struct buf token;

    *t = (struct kube_try){.kube = k};
    buf_init_secret(&token, KUBE_TOKEN_MAX);
    if (kube_conf_token(&k->conf, &token, e) < 0) {
        buf_fini_secret(&token);
        return -1;
    }
    if (token.len)
        t->auth = mem_printf("Authorization: Bearer %s", buf_cstr(&token));
    buf_fini_secret(&token);
    t->url = mem_printf("%s%s", k->conf.server, path);
    t->headers[0] = "Accept: application/json";
    t->headers[1] = t->auth;
    t->request = (struct http_request){
        .url = t->url,
        .headers = t->headers,
        .ca_pem = k->conf.ca,
        .cert_pem = k->conf.cert,
        .key_pem = k->conf.key,
        .body_max = KUBE_ANSWER_MAX,
        .is_cancelled = is_cancelled,
        .arg = t,
    };
    return 0;
}

void kube_try_fini(struct kube_try *t)
{
    if (t->auth)
        explicit_bzero(t->auth, strlen(t->auth));
    free(t->auth);
    free(t->url);
}

int64_t kube_retry_after_ms(const char *text)
{
    char *end;
    long s = strtol(text, &end, 10);

    if (end == text || *end || s < 0)
        return 0;
    return s < KUBE_WAIT_MAX_MS / 1000 ? s * 1000 : KUBE_WAIT_MAX_MS;
}

/* What the API says of a call it did not do. */
int kube_said(int status, const struct buf *body, struct err *e)
{
    struct err ignored = {0};
    own_json struct json *j = json_parse(body->data, body->len, &ignored);
    const char *said = json_get_str(j, "message");

    return err_set(e, status >= 500 ? ERR_SYSTEM : ERR_DENIED,
                   "the Kubernetes API answers %d: %.270s", status,
                   said ? said : "(nothing that is JSON)");
}

/* How an answer begins: metadata come first in it. */
#define HEAD_BYTES 8192

static int take_answer(const struct http_answer *a, const struct kube_call *c,
                       struct json **out, struct err *e)
{
    struct json *j;

    if (a->status < 200 || a->status >= 400) {
        kube_said(a->status, &a->body, e);
        return a->status >= 200 && a->status < 500 ? a->status : -1;
    }
    if (!out)
        return a->status;
    j = json_parse_upto(a->body.data, a->body.len, KUBE_VALUES_MAX, e);
    if (!j) {
        if (e->kind != ERR_TOO_LARGE)
            e->kind = ERR_SYSTEM;
        else if (c->head)
            buf_append(c->head, a->body.data,
                       a->body.len < HEAD_BYTES ? a->body.len : HEAD_BYTES);
        return err_wrap(e, "the Kubernetes API's answer");
    }
    *out = j;
    return a->status;
}

/* What is left of the call's time: at least 1, as 0 would be the usual. */
static int total_ms(const struct kube_call *c)
{
    int64_t left_ms = c->until_ms - loop_now_ms();

    if (!c->until_ms || left_ms > INT_MAX)
        return 0;
    return left_ms > 0 ? (int)left_ms : 1;
}

static int once(struct kube *k, const struct kube_call *c, const char *body,
                struct json **out, int64_t *wait_ms, struct err *e)
{
    struct http_answer a;
    own_mem char *type =
        mem_printf("Content-Type: %s",
                   c->content_type ? c->content_type : "application/json");
    struct kube_try t;
    int r = -1;

    take_turn(k, c);
    if (kube_try_init(&t, k, c->path, e) < 0)
        return -1;
    t.stop = c->stop;
    t.request.total_ms = total_ms(c);
    t.request.method = c->method;
    if (body) {
        t.headers[t.headers[1] ? 2 : 1] = type;
        t.request.body = body;
        t.request.body_len = strlen(body);
    }
    t.request.keep = keep_take(k);
    if (http_do(&t.request, &a, e) == 0) {
        *wait_ms = kube_retry_after_ms(a.retry_after);
        r = take_answer(&a, c, out, e);
        http_answer_fini(&a);
    }
    keep_give(k, t.request.keep);
    kube_try_fini(&t);
    return r;
}

static bool is_to_repeat(const struct kube *k, const struct kube_call *c,
                         int got, int try, const struct err *e)
{
    if (is_over(k, c->stop) || try == KUBE_TRIES ||
        (got < 0 && e->kind == ERR_TOO_LARGE)) /* it would be again */
        return false;
    /* the token may just have been exchanged */
    return got < 0 || got == STATUS_BUSY ||
           (got == STATUS_UNKNOWN_TOKEN && try == 1);
}

int kube_do(struct kube *k, const struct kube_call *c, struct json **out,
            struct err *e)
{
    char *body = c->body ? json_text(c->body) : NULL;
    int64_t step_ms = WAIT_MS;
    int got = -1;

    for (int try = 1;; try++) {
        int64_t wait_ms = 0;
        uint16_t more;

        got = once(k, c, body, out, &wait_ms, e);
        if (!is_to_repeat(k, c, got, try, e))
            break;
        random_bytes(&more, sizeof more);
        if (wait_ms < step_ms)
            wait_ms = step_ms;
        wait_ms += more % WAIT_MS;
        if (c->until_ms && loop_now_ms() + wait_ms >= c->until_ms)
            break;
        log_debug("kube.again", "try", "i", (int64_t)try, "error", "s", e->text,
                  NULL);
        kube_sleep(k, wait_ms, c->stop);
        step_ms *= 2;
    }
    if (body && c->is_secret)
        explicit_bzero(body, strlen(body));
    free(body);
    if (got < 0 && is_over(k, c->stop))
        return err_set(e, ERR_TIMEOUT, "cancelled");
    return got;
}
