/*
 * HEAD -> CALL -> LAST. In CALL the request's body goes up and the answer
 * comes down, each at the pace of its slower side; nothing here waits.
 */
#include "agent/broker_internal.h"

#include "base/hush.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/own.h"
#include "base/seal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char to_be_continued[] = "HTTP/1.1 100 Continue\r\n\r\n";

/* --- refusals --- */

/* Libraries ask for nothing so, but whether somebody is there. */
static bool is_head(const struct broker_conn *c)
{
    return strcmp(c->method, "HEAD") == 0;
}

static void put_refusal(struct broker_conn *c, int status, int64_t after_ms,
                        const char *why)
{
    struct buf body;

    buf_init(&body, 2 * ERR_TEXT_MAX + 256);
    (void)broker_refusal(c->api, status, why, &body);
    buf_printf(&c->out,
               "HTTP/1.1 %d \r\nContent-Type: application/json\r\n"
               "Content-Length: %zu\r\nConnection: close\r\n",
               status, body.len);
    if (after_ms > 0)
        buf_printf(&c->out, "Retry-After: %lld\r\n",
                   (long long)(after_ms + 999) / 1000);
    buf_append_str(&c->out, "\r\n");
    if (!is_head(c))
        buf_append(&c->out, body.data, body.len);
    buf_fini(&body);
}

/* Nothing more is asked of the API. */
static void hang_up(struct broker_conn *c)
{
    if (c->stream)
        http_stream_stop(c->stream);
    c->stream = NULL;
}

static void last(struct broker_conn *c)
{
    c->phase = BROKER_LAST;
    c->due_ms = 0;
    buf_clear(&c->in);
    buf_clear(&c->up);
    if (broker_conn_flush(c) < 0)
        broker_conn_end(c);
}

static void refuse(struct broker_conn *c, const char *verdict, int status,
                   int64_t after_ms, const char *why)
{
    hang_up(c);
    if (c->is_answered) {
        broker_conn_cut(c, verdict, why);
        return;
    }
    c->verdict = verdict;
    snprintf(c->why, sizeof(c->why), "%s", why);
    c->status = status;
    put_refusal(c, status, after_ms, why);
    last(c);
}

void broker_way_refuse(struct broker_conn *c, int status, int64_t after_ms,
                       const char *why)
{
    if (c->b->verbs->refused && !is_head(c))
        c->b->verbs->refused(c->b->arg, why);
    refuse(c, "refused", status, after_ms, why);
}

/* --- the answer --- */

/* Does the key stand there? */
static bool has_key(const struct broker_conn *c, const void *bytes, size_t len)
{
    return memmem(bytes, len, c->key.data, c->key.len) != NULL;
}

static void put_fields(struct broker_conn *c, struct http_text rest)
{
    struct http_text line, name, value;

    while (http_line_take(&rest, &line))
        if (http_field_take(line, &name, &value) == 0 &&
            broker_field_comes(name) && !has_key(c, line.at, line.len)) {
            buf_append(&c->out, line.at, line.len);
            buf_append_str(&c->out, "\r\n");
        }
}

static bool is_encoded(struct http_text rest)
{
    struct http_text line, name, value;

    while (http_line_take(&rest, &line))
        if (http_field_take(line, &name, &value) == 0 &&
            http_text_is(name, "content-encoding") &&
            !http_text_is(value, "identity"))
            return true;
    return false;
}

static void on_head(void *arg, int status, struct http_text fields)
{
    struct broker_conn *c = arg;
    char why[128];

    if (status >= 300 && status < 400) {
        snprintf(why, sizeof(why),
                 "the API answered with a redirect (%d), which is not followed",
                 status);
        refuse(c, "failed", 502, 0, why);
        return;
    }
    if (is_encoded(fields)) {
        refuse(c, "failed", 502, 0,
               "the API's answer is compressed, which was not asked for");
        return;
    }
    c->is_answered = true;
    c->status = status;
    c->moved_ms = loop_now_ms();
    buf_printf(&c->out, "HTTP/1.1 %d %s\r\n", status,
               status == 200 ? "OK" : "");
    put_fields(c, fields);
    buf_append_str(&c->out, status == 204 ? "Connection: close\r\n\r\n"
                                          : "Transfer-Encoding: chunked\r\n"
                                            "Connection: close\r\n\r\n");
    /* the program is looked after by its own watch: this is the API's call */
    (void)broker_conn_flush(c);
}

/* The front of what is held. */
static void put_chunk(struct broker_conn *c, size_t len)
{
    if (len == 0 || c->status == 204)
        return;
    buf_printf(&c->out, "%zx\r\n", len);
    buf_append(&c->out, c->held.data, len);
    buf_append_str(&c->out, "\r\n");
    buf_drop(&c->held, len);
}

static bool spend(struct broker_conn *c, int64_t *count, size_t len)
{
    *count += (int64_t)len;
    c->moved_ms = loop_now_ms();
    if (broker_budget_bytes(&c->b->budget, (int64_t)len))
        return true;
    broker_way_refuse(c, 403, 0, "the bytes of this session are used up");
    return false;
}

static bool on_data(void *arg, const uint8_t *bytes, size_t len)
{
    struct broker_conn *c = arg;

    if (c->out.len - c->out_at > BROKER_AHEAD_MAX)
        return false;
    if (!spend(c, &c->down_bytes, len))
        return true;
    if (buf_append(&c->held, bytes, len) < 0 ||
        has_key(c, c->held.data, c->held.len)) {
        refuse(c, "failed", 502, 0, "the API's answer had the key in it");
        return true;
    }
    put_chunk(c, c->held.len - hush_tail((const char *)c->held.data,
                                         c->held.len, buf_cstr(&c->key)));
    if (broker_conn_flush(c) < 0)
        broker_conn_cut(c, c->verdict, "the program is gone");
    return true;
}

static void on_done(void *arg, const struct err *e)
{
    struct broker_conn *c = arg;

    c->stream = NULL;
    if (e && e->kind == ERR_DENIED) {
        broker_way_refuse(c, 403, 0, e->text);
        return;
    }
    if (e || !c->is_answered) {
        refuse(c, "failed", 502, 0, e ? e->text : "the API has not answered");
        return;
    }
    put_chunk(c, c->held.len);
    if (c->status != 204)
        buf_append_str(&c->out, "0\r\n\r\n");
    last(c);
}

/* --- the request's body --- */

size_t broker_way_room(const struct broker_conn *c)
{
    return c->up.max - (c->up.len - c->up_at);
}

static size_t on_body(void *arg, uint8_t *to, size_t room, bool *is_over)
{
    struct broker_conn *c = arg;
    size_t n = c->up.len - c->up_at;

    n = n < room ? n : room;
    if (n > 0)
        memcpy(to, c->up.data + c->up_at, n);
    c->up_at += n;
    *is_over = proxy_body_is_over(&c->body) && c->up_at == c->up.len;
    broker_conn_watch(c);
    return n;
}

static bool on_again(void *arg)
{
    struct broker_conn *c = arg;

    if (!c->is_up_whole)
        return false;
    c->up_at = 0;
    return true;
}

static int put_content(struct broker_conn *c, const uint8_t *bytes, size_t len)
{
    if (len > c->up.max - c->up.len) {
        buf_drop(&c->up, c->up_at);
        c->up_at = 0;
        c->is_up_whole = false;
    }
    return buf_append(&c->up, bytes, len);
}

/* What of `in` is the body's, goes up; it is read only where it has room. */
static void take_body(struct broker_conn *c)
{
    struct http_stream *stream = c->stream;
    size_t at = 0, content;

    while (at < c->in.len && !proxy_body_is_over(&c->body)) {
        long n = proxy_body_piece(&c->body, (const char *)c->in.data + at,
                                  c->in.len - at, &content);

        if (n < 0) {
            broker_way_refuse(c, 400, 0, "the request's body is malformed");
            return;
        }
        if (c->up_bytes + (int64_t)content > c->b->body_max) {
            broker_way_refuse(c, 413, 0, "the request's body is too large");
            return;
        }
        if (put_content(c, c->in.data + at, content) < 0) {
            broker_conn_cut(c, "failed", "its body did not fit");
            return;
        }
        if (!spend(c, &c->up_bytes, content))
            return;
        at += (size_t)n;
    }
    buf_clear(&c->in);
    if (proxy_body_is_over(&c->body))
        c->due_ms = 0;
    broker_conn_watch(c);
    http_stream_more(stream); /* the connection may be gone behind this */
}

/* --- the call --- */

static const struct http_stream_verbs stream_verbs = {
    .head = on_head,
    .data = on_data,
    .body = on_body,
    .again = on_again,
    .done = on_done,
};

/* One function judges the addresses of bundles, domains and APIs. */
static int judge(void *arg, const struct sockaddr *sa, struct err *e)
{
    const struct broker_conn *c = arg;
    struct addr_policy policy = c->b->rules->addrs;

    policy.allow_loopback = c->b->rules->apis[c->api].is_here;
    return addr_judge(&policy, sa, e);
}

/* Lines for the API, NULL-terminated, the caller's: the program's that pass,
 * and ours. The first is the key's. */
static char **call_headers(const struct broker_conn *c,
                           const struct proxy_request *r)
{
    struct http_text rest = r->fields, line, name, value;
    char **out = mem_zero(PROXY_FIELDS_MAX + 3, sizeof(*out));
    const char *head = broker_api_row(c->api)->key_head;
    size_t n = 0, len = strlen(head);

    out[n] = mem_zero(len + c->key.len + 1, 1);
    memcpy(out[n], head, len);
    memcpy(out[n++] + len, c->key.data, c->key.len);
    out[n++] = mem_str("accept-encoding: identity");
    while (http_line_take(&rest, &line) && line.len > 0)
        if (http_field_take(line, &name, &value) == 0 && value.len > 0 &&
            proxy_request_passes(r, name) && broker_field_goes(name))
            out[n++] = mem_printf("%.*s: %.*s", (int)name.len, name.at,
                                  (int)value.len, value.at);
    return out;
}

static void headers_free(char **headers)
{
    wipe(headers[0], strlen(headers[0]));
    for (size_t i = 0; headers[i]; i++)
        free(headers[i]);
    free(headers);
}

static void call(struct broker_conn *c, const struct proxy_request *r,
                 struct http_text path, struct http_text query)
{
    const struct broker_rules *rules = c->b->rules;
    own_mem char *url =
        mem_printf("%s%.*s%.*s", rules->apis[c->api].url, (int)path.len,
                   path.at, (int)query.len, query.at);
    char **headers = call_headers(c, r);
    struct http_stream_conf conf = {
        .method = c->method,
        .url = url,
        .headers = (const char *const *)headers,
        .has_body = strcmp(c->method, "POST") == 0,
        .length = r->is_chunked ? -1 : r->length,
        .ca_path = rules->ca_path,
        .allow_http = rules->apis[c->api].is_here,
        .judge = judge,
        .judge_arg = c,
        .verbs = &stream_verbs,
        .arg = c,
    };

    c->stream = http_stream_start(c->b->pool, &conf);
    headers_free(headers);
}

/* --- the request --- */

static bool expects_word(const struct proxy_request *r)
{
    struct http_text rest = r->fields, line, name, value;

    while (http_line_take(&rest, &line) && line.len > 0)
        if (http_field_take(line, &name, &value) == 0 &&
            http_text_is(name, "expect"))
            return true;
    return false;
}

static bool is_affordable(struct broker_conn *c)
{
    struct broker_budget *budget = &c->b->budget;
    int64_t after_ms = 0;
    char why[160];

    switch (broker_budget_take(budget, loop_now_ms(), &after_ms)) {
    case BROKER_SPENT:
        if (c->b->verbs->spent)
            c->b->verbs->spent(c->b->arg, budget->requests, budget->bytes);
        return true;
    case BROKER_NO_REQUESTS:
        snprintf(why, sizeof(why),
                 "the %lld requests of this session are used up",
                 (long long)budget->requests_max);
        broker_way_refuse(c, 403, 0, why);
        return false;
    case BROKER_NO_BYTES:
        broker_way_refuse(c, 403, 0, "the bytes of this session are used up");
        return false;
    case BROKER_NOT_THIS_MINUTE:
    default:
        snprintf(why, sizeof(why), "more than %lld requests within a minute",
                 (long long)budget->per_minute);
        broker_way_refuse(c, 429, after_ms, why);
        return false;
    }
}

static bool has_its_key(struct broker_conn *c)
{
    struct err e = {0};

    if (c->b->verbs->key(c->b->arg, c->api, &c->key, &e) == 0)
        return true;
    log_err(&e, "broker.key");
    broker_way_refuse(c, 503, 0, "the operator's key cannot be had just now");
    return false;
}

/* May this be asked for at all? */
static bool is_allowed(struct broker_conn *c, const struct proxy_request *r,
                       struct http_text *path, struct http_text *query)
{
    char why[sizeof(c->method) + sizeof(c->path) + 80];

    if (broker_target(r->target, &c->api, path, query) < 0 ||
        !c->b->rules->apis[c->api].url[0]) {
        broker_way_refuse(c, 404, 0,
                          "there is no such API here; a path begins with its "
                          "name");
        return false;
    }
    snprintf(c->path, sizeof(c->path), "%.*s", (int)path->len, path->at);
    if (!broker_is_allowed(c->api, r->method, *path)) {
        snprintf(why, sizeof(why), "%s %s is not among what may be asked for",
                 c->method, c->path);
        broker_way_refuse(c, 403, 0, why);
        return false;
    }
    if (strcmp(c->method, "POST") != 0 && (r->is_chunked || r->length > 0)) {
        broker_way_refuse(c, 400, 0, "such a request has no body");
        return false;
    }
    if (r->length > c->b->body_max) {
        broker_way_refuse(c, 413, 0, "the request's body is too large");
        return false;
    }
    return true;
}

/* r lies in `in`, whose first head_len bytes it is. */
static void on_request(struct broker_conn *c, const struct proxy_request *r,
                       size_t head_len)
{
    struct http_text path, query;

    snprintf(c->method, sizeof(c->method), "%.*s", (int)r->method.len,
             r->method.at);
    if (!is_allowed(c, r, &path, &query) || !has_its_key(c) ||
        !is_affordable(c))
        return;
    proxy_body_init(&c->body, r);
    c->is_up_whole = true;
    if (!proxy_body_is_over(&c->body) && expects_word(r))
        buf_append_str(&c->out, to_be_continued);
    call(c, r, path, query);
    buf_drop(&c->in, head_len);
    c->phase = BROKER_CALL;
    c->due_ms =
        proxy_body_is_over(&c->body) ? 0 : loop_now_ms() + c->b->body_ms;
    if (broker_conn_flush(c) < 0)
        broker_conn_cut(c, c->verdict, "the program is gone");
    else
        take_body(c);
}

static void read_head(struct broker_conn *c)
{
    long end = http_head_end((const char *)c->in.data, c->in.len, &c->seen);
    struct proxy_request r;
    struct err e = {0};

    if (end < 0)
        broker_way_refuse(c, 400, 0, "this is no request of HTTP/1.1");
    else if (end > PROXY_HEAD_MAX || (end == 0 && c->in.len >= PROXY_HEAD_MAX))
        broker_way_refuse(c, 431, 0, "the request's head is too large");
    else if (end > 0 && proxy_request_parse_origin((const char *)c->in.data,
                                                   (size_t)end, &r, &e) < 0)
        broker_way_refuse(c, 400, 0, e.text);
    else if (end > 0)
        on_request(c, &r, (size_t)end);
}

void broker_way_go(struct broker_conn *c)
{
    if (c->phase == BROKER_HEAD)
        read_head(c);
    else
        take_body(c);
}
