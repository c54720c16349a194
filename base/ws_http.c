/*
 * HTTP requests: a whole one is read and copied, the handler answers when it
 * can, every answer closes the connection. What libwebsockets gets wrong
 * about bodies is refused before it matters: Transfer-Encoding (never
 * decoded), lengths that are not plain numbers, bytes behind the body.
 */
#include "base/mem.h"
#include "base/own.h"
#include "base/ws_internal.h"
#include "base/ws_target.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define WS_ANSWER_CHUNK 32768 /* bytes a turn of the loop */
#define WS_QUERY_MAX 32       /* parameters of a query */
#define WS_LENGTH_DIGITS 10

struct ws_named {
    const char *name;
    int token; /* -1: not among those libwebsockets knows */
};

/* the headers kept; libwebsockets finds the others under "name:" */
static const struct ws_named ws_kept[] = {
    {"authorization", WSI_TOKEN_HTTP_AUTHORIZATION},
    {"content-type", WSI_TOKEN_HTTP_CONTENT_TYPE},
    {"origin", WSI_TOKEN_ORIGIN},
    {"host", WSI_TOKEN_HOST},
    {"idempotency-key", -1},
    {"x-forwarded-for", WSI_TOKEN_X_FORWARDED_FOR},
    {"if-none-match", WSI_TOKEN_HTTP_IF_NONE_MATCH},
    {"accept", WSI_TOKEN_HTTP_ACCEPT},
    {"accept-encoding", WSI_TOKEN_HTTP_ACCEPT_ENCODING},
    {"traceparent", -1},
    {"x-request-id", -1},
    {"access-control-request-method", -1},
    {"access-control-request-headers", WSI_TOKEN_HTTP_AC_REQUEST_HEADERS},
};
#define WS_KEPT (sizeof(ws_kept) / sizeof(*ws_kept))

static const struct ws_named ws_methods[] = {
    {"GET", WSI_TOKEN_GET_URI},         {"POST", WSI_TOKEN_POST_URI},
    {"PUT", WSI_TOKEN_PUT_URI},         {"PATCH", WSI_TOKEN_PATCH_URI},
    {"DELETE", WSI_TOKEN_DELETE_URI},   {"HEAD", WSI_TOKEN_HEAD_URI},
    {"OPTIONS", WSI_TOKEN_OPTIONS_URI},
};
#define WS_METHODS (sizeof(ws_methods) / sizeof(*ws_methods))

bool ws_http_is_method(const char *name, size_t len)
{
    for (size_t i = 0; i < WS_METHODS; i++)
        if (strlen(ws_methods[i].name) == len &&
            memcmp(ws_methods[i].name, name, len) == 0)
            return true;
    return false;
}

struct ws_request {
    struct ws_conn *conn; /* NULL: gone */
    struct sockaddr_storage peer, client;
    int fd;
    const char *method;
    char *path;
    char *headers[WS_KEPT];
    char *query[WS_QUERY_MAX]; /* "name=value", decoded */
    int query_count;
    struct buf body;
    size_t length; /* Content-Length */
    bool is_asked; /* the handler has it until it answers */
    bool is_answered;
    bool is_unread; /* its body is dropped as it comes */
    /* the answer: head and body in one piece behind LWS_PRE bytes */
    uint8_t *out;
    size_t out_len, out_sent;
    const uint8_t *rest; /* what follows of a lasting body, borrowed */
    size_t rest_len;
};

/* --- reading a head --- */

char *ws_header_copy(struct lws *wsi, const char *name, int *count)
{
    int token = -1, len;
    char key[64];
    char *value;

    *count = 0;
    for (size_t i = 0; i < WS_KEPT; i++)
        if (strcmp(ws_kept[i].name, name) == 0)
            token = ws_kept[i].token;
    snprintf(key, sizeof(key), "%s:", name);
    if (token >= 0)
        len = lws_hdr_total_length(wsi, (enum lws_token_indexes)token);
    else
        len = lws_hdr_custom_length(wsi, key, (int)strlen(key));
    if (len <= 0)
        return NULL;
    if (token >= 0 &&
        lws_hdr_fragment_length(wsi, (enum lws_token_indexes)token, 1) > 0) {
        *count = -1;
        return NULL;
    }
    value = mem_zero(1, (size_t)len + 1);
    if (token >= 0)
        len = lws_hdr_copy(wsi, value, len + 1, (enum lws_token_indexes)token);
    else
        len = lws_hdr_custom_copy(wsi, value, len + 1, key, (int)strlen(key));
    if (len > 0 && strlen(value) == (size_t)len) {
        *count = 1;
        return value;
    }
    free(value);
    *count = len > 0 ? -1 : 0;
    return NULL;
}

static int ws_read_headers(struct ws_request *r, struct lws *wsi)
{
    for (size_t i = 0; i < WS_KEPT; i++) {
        int count;

        r->headers[i] = ws_header_copy(wsi, ws_kept[i].name, &count);
        if (count < 0)
            return 400;
    }
    return 0;
}

static bool ws_has_control(const char *text)
{
    for (; *text; text++)
        if ((unsigned char)*text < 0x20 || *text == 0x7f)
            return true;
    return false;
}

/* By fragment: the whole is joined with a separator of the version's. */
static int ws_read_query(struct ws_request *r, struct lws *wsi)
{
    for (int i = 0;; i++) {
        const int len =
            lws_hdr_fragment_length(wsi, WSI_TOKEN_HTTP_URI_ARGS, i);
        char *part;

        if (len <= 0)
            return 0;
        if (i == WS_QUERY_MAX)
            return 400;
        part = mem_zero(1, (size_t)len + 2);
        r->query[r->query_count++] = part;
        if (lws_hdr_copy_fragment(wsi, part, len + 1, WSI_TOKEN_HTTP_URI_ARGS,
                                  i) != len ||
            strlen(part) != (size_t)len || ws_has_control(part))
            return 400; /* a zero byte among them, or another */
    }
}

/*
 * libwebsockets takes a line end that was percent-encoded in the target for
 * the request line's own: what follows became a header. Then no version was
 * seen.
 */
bool ws_http_has_version(struct lws *wsi)
{
    char text[16];
    const int len = lws_hdr_copy(wsi, text, sizeof(text), WSI_TOKEN_HTTP);

    return len == 8 &&
           (strcmp(text, "HTTP/1.1") == 0 || strcmp(text, "HTTP/1.0") == 0);
}

static int ws_read_target(struct ws_request *r, struct lws *wsi)
{
    if (!ws_http_has_version(wsi))
        return 400;
    for (size_t i = 0; i < WS_METHODS; i++) {
        const enum lws_token_indexes t =
            (enum lws_token_indexes)ws_methods[i].token;
        const int len = lws_hdr_total_length(wsi, t);

        if (len <= 0)
            continue;
        r->method = ws_methods[i].name;
        r->path = mem_zero(1, (size_t)len + 1);
        if (lws_hdr_copy(wsi, r->path, len + 1, t) != len ||
            strlen(r->path) != (size_t)len || ws_has_control(r->path))
            return 400;
        return 0;
    }
    return 405;
}

/* Content-Length: digits alone, once. */
static int ws_read_length(struct ws_request *r, struct lws *wsi)
{
    char text[WS_LENGTH_DIGITS + 1];
    const enum lws_token_indexes t = WSI_TOKEN_HTTP_CONTENT_LENGTH;
    const bool wants_body = strcmp(r->method, "POST") == 0 ||
                            strcmp(r->method, "PUT") == 0 ||
                            strcmp(r->method, "PATCH") == 0;
    size_t digits;

    if (lws_hdr_total_length(wsi, WSI_TOKEN_HTTP_TRANSFER_ENCODING))
        return 411;
    if (!lws_hdr_total_length(wsi, t))
        return wants_body ? 411 : 0;
    if (lws_hdr_fragment_length(wsi, t, 1) > 0 ||
        lws_hdr_copy(wsi, text, sizeof(text), t) <= 0)
        return 400;
    digits = strspn(text, "0123456789");
    if (!digits || text[digits])
        return 400;
    r->length = strtoul(text, NULL, 10);
    return 0;
}

static int ws_read_head(struct ws_request *r, struct ws_conn *c)
{
    int status = ws_read_target(r, c->wsi);

    if (!status)
        status = ws_read_length(r, c->wsi);
    if (!status)
        status = ws_read_headers(r, c->wsi);
    if (!status)
        status = ws_read_query(r, c->wsi);
    if (!status)
        status = ws_limits_head(c, ws_request_header(r, "x-forwarded-for"));
    r->client = c->client;
    if (!status && r->length > c->server->conf.body_max)
        status = 413;
    return status;
}

static void ws_request_free(struct ws_request *r)
{
    for (size_t i = 0; i < WS_KEPT; i++)
        free(r->headers[i]);
    for (int i = 0; i < r->query_count; i++)
        free(r->query[i]);
    free(r->path);
    buf_fini_secret(&r->body);
    free(r->out);
    free(r);
}

/* --- answering --- */

/* What this module says itself, or must not be broken by a value. */
static bool ws_may_send(const struct ws_header *h)
{
    return h->name && h->value && h->name[0] && !strpbrk(h->name, "\r\n: ") &&
           !strpbrk(h->value, "\r\n") &&
           strcmp(h->name, "content-length") != 0 &&
           strcmp(h->name, "connection") != 0 &&
           strcmp(h->name, "transfer-encoding") != 0;
}

static void ws_build(struct ws_request *r, int status,
                     const struct ws_header *h, size_t count, const void *body,
                     size_t len, bool is_lasting)
{
    const bool has_body = status != 204 && status != 304;
    const size_t now =
        is_lasting && len > WS_ANSWER_CHUNK ? WS_ANSWER_CHUNK : len;
    struct buf out;

    buf_init(&out, SIZE_MAX / 2);
    memset(buf_reserve(&out, LWS_PRE), 0, LWS_PRE);
    buf_commit(&out, LWS_PRE);
    buf_printf(&out, "HTTP/1.1 %d %s\r\nconnection: close\r\n", status,
               ws_phrase(status));
    if (has_body)
        buf_printf(&out, "content-length: %zu\r\n", len);
    for (size_t i = 0; i < count; i++)
        if (ws_may_send(&h[i]))
            buf_printf(&out, "%s: %s\r\n", h[i].name, h[i].value);
    buf_append_str(&out, "\r\n");
    if (has_body && r->method && strcmp(r->method, "HEAD") != 0) {
        buf_append(&out, body, now);
        if (len > now)
            r->rest = (const uint8_t *)body + now;
        r->rest_len = len - now;
    }
    r->out = out.data;
    r->out_len = out.len;
    r->out_sent = LWS_PRE;
}

static void ws_answer(struct ws_request *r, int status,
                      const struct ws_header *h, size_t count, const void *body,
                      size_t len, bool is_lasting)
{
    struct ws_conn *c = r->conn;

    if (r->is_answered)
        return;
    r->is_answered = true;
    if (!c || c->phase == WS_DEAD) {
        if (c)
            c->request = NULL;
        ws_request_free(r);
        return;
    }
    ws_build(r, status, h, count, body, len, is_lasting);
    ws_phase(c, WS_ANSWERING, WS_ANSWER_DEADLINE_MS);
    ws_timer(c, loop_now_ms() + 100);
    /* Begun at once, while reading is still paused: libwebsockets 4.3 first
     * parses what else was sent (a pipelined request, an unread body), and
     * hangs up on it with nothing answered. */
    if (ws_http_write(c) < 0)
        ws_drop(c);
    else if (r->is_asked)
        lws_rx_flow_control(c->wsi, 1); /* else no more is written either */
}

void ws_respond(struct ws_request *r, int status, const struct ws_header *h,
                size_t count, const void *body, size_t len)
{
    ws_answer(r, status, h, count, body, len, false);
}

void ws_respond_lasting(struct ws_request *r, int status,
                        const struct ws_header *h, size_t count,
                        const void *body, size_t len)
{
    ws_answer(r, status, h, count, body, len, true);
}

static void ws_refuse(struct ws_request *r, int status)
{
    char body[WS_PROBLEM_MAX];
    const size_t len = ws_problem(status, body);

    if (!r->method)
        r->method = "GET";
    ws_respond(r, status, ws_problem_headers, WS_PROBLEM_HEADERS, body, len);
}

void ws_http_refuse_early(struct ws_conn *c, int status)
{
    struct ws_request r = {.method = "GET"};
    char body[WS_PROBLEM_MAX];
    const size_t len = ws_problem(status, body);

    ws_build(&r, status, ws_problem_headers, WS_PROBLEM_HEADERS, body, len,
             false);
    ws_linger(c);
    if (send(c->fd, r.out + LWS_PRE, r.out_len - LWS_PRE,
             MSG_DONTWAIT | MSG_NOSIGNAL) > 0)
        shutdown(c->fd, SHUT_WR);
    free(r.out);
    ws_kill(c);
}

int ws_http_refuse_upgrade(struct ws_conn *c, int status)
{
    uint8_t out[LWS_PRE + 256];
    const int len = snprintf(
        (char *)out + LWS_PRE, sizeof(out) - LWS_PRE,
        "HTTP/1.1 %d %s\r\nconnection: close\r\n%scontent-length: 0\r\n\r\n",
        status, ws_phrase(status),
        status == 426 ? "upgrade: websocket\r\nsec-websocket-version: 13\r\n"
                      : "");

    lws_write(c->wsi, out + LWS_PRE, (size_t)len, LWS_WRITE_HTTP_FINAL);
    ws_linger(c);
    return -1; /* what was not sent at once is flushed before the end */
}

/* The next chunk of a lasting body goes where the answer's last one was:
 * libwebsockets wants head-room, and may write to what it is given. */
static void ws_take_rest(struct ws_request *r)
{
    size_t len = r->rest_len > WS_ANSWER_CHUNK ? WS_ANSWER_CHUNK : r->rest_len;

    if (r->out_sent < r->out_len || !len)
        return;
    memcpy(r->out + LWS_PRE, r->rest, len); /* the first was as long */
    r->rest += len;
    r->rest_len -= len;
    r->out_sent = LWS_PRE;
    r->out_len = LWS_PRE + len;
}

int ws_http_write(struct ws_conn *c)
{
    struct ws_request *r = c->request;
    size_t len;

    if (c->phase == WS_DEAD)
        return -1;
    if (c->phase != WS_ANSWERING)
        return 0;
    ws_take_rest(r);
    len = r->out_len - r->out_sent;
    if (len > WS_ANSWER_CHUNK)
        len = WS_ANSWER_CHUNK;
    if (len && lws_write(c->wsi, r->out + r->out_sent, len, LWS_WRITE_HTTP) < 0)
        return -1;
    r->out_sent += len;
    if (r->out_sent < r->out_len || r->rest_len ||
        lws_partial_buffered(c->wsi)) {
        ws_phase(c, WS_ANSWERING, WS_ANSWER_DEADLINE_MS);
        lws_callback_on_writable(c->wsi);
        return 0;
    }
    if (r->body.len < r->length || r->is_unread)
        ws_linger(c);
    return -1;
}

bool ws_http_is_stuck(const struct ws_conn *c)
{
    char byte;

    /* libwebsockets leaves such input unread and its socket event standing:
     * the loop would spin until the answer is out */
    return lws_partial_buffered(c->wsi) &&
           recv(c->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) >= 0;
}

/* --- requests as they come --- */

static int ws_ask(struct ws_conn *c)
{
    struct ws_request *r = c->request;

    r->is_asked = true;
    ws_phase(c, WS_ASKED, 0);
    lws_set_timeout(c->wsi, NO_PENDING_TIMEOUT, 0);
    /* until it is answered there is nothing to read: pipelined input would
     * make the loop spin */
    lws_rx_flow_control(c->wsi, 0);
    if (c->server->conf.request)
        c->server->conf.request(c->server->conf.arg, r);
    else
        ws_refuse(r, 404);
    return c->phase == WS_DEAD ? -1 : 0;
}

int ws_http_head(struct ws_conn *c)
{
    const struct ws_server_conf *f = &c->server->conf;
    struct ws_request *r;
    int status;

    if (c->phase != WS_HEAD)
        return -1; /* a second request: every answer closes */
    r = mem_zero(1, sizeof(*r));
    r->conn = c;
    r->peer = c->peer;
    r->fd = c->fd;
    c->request = r;
    buf_init_secret(&r->body, f->body_max);
    c->phase = WS_BODY; /* due when the head was */
    lws_set_timeout(c->wsi, NO_PENDING_TIMEOUT, 0);
    status = ws_read_head(r, c);
    if (status) {
        r->is_unread = true;
        ws_refuse(r, status);
        return c->phase == WS_DEAD ? -1 : 0;
    }
    r->is_unread = r->length && f->wants_body && !f->wants_body(f->arg, r);
    return r->length && !r->is_unread ? 0 : ws_ask(c);
}

int ws_http_body(struct ws_conn *c, const uint8_t *bytes, size_t len)
{
    struct ws_request *r = c->request;
    int kept;

    if (!r || c->phase == WS_DEAD)
        return -1;
    if (r->is_unread || !len)
        return 0;
    /* libwebsockets 4.3 hands over whatever follows the body as well */
    if (c->phase != WS_BODY || len > r->length - r->body.len)
        return -1;
    kept = buf_append(&r->body, bytes, len);
    /* a body may hold secrets, and libwebsockets' buffer stays as it is */
    explicit_bzero((void *)(uintptr_t)bytes, len);
    return kept;
}

int ws_http_body_end(struct ws_conn *c)
{
    struct ws_request *r = c->request;

    if (!r || c->phase == WS_DEAD)
        return -1;
    if (r->is_unread || !r->length)
        return 0;
    /* 4.1 says it again for every byte behind the body */
    if (c->phase != WS_BODY || r->body.len != r->length)
        return -1;
    return ws_ask(c);
}

void ws_http_gone(struct ws_conn *c)
{
    struct ws_request *r = c->request;

    if (!r)
        return;
    c->request = NULL;
    r->conn = NULL;
    if (r->is_answered || !r->is_asked)
        ws_request_free(r); /* else the handler still has it */
}

/* --- what handlers ask --- */

const char *ws_request_method(const struct ws_request *r)
{
    return r->method;
}

const char *ws_request_path(const struct ws_request *r)
{
    return r->path;
}

const char *ws_request_query(const struct ws_request *r, const char *name)
{
    const size_t len = strlen(name);

    for (int i = 0; i < r->query_count; i++) {
        const char *part = r->query[i];

        if (strncmp(part, name, len) != 0)
            continue;
        if (part[len] == '=')
            return part + len + 1;
        if (!part[len])
            return part + len;
    }
    return NULL;
}

const char *ws_request_header(const struct ws_request *r, const char *name)
{
    for (size_t i = 0; i < WS_KEPT; i++)
        if (strcmp(ws_kept[i].name, name) == 0)
            return r->headers[i];
    return NULL;
}

const uint8_t *ws_request_body(const struct ws_request *r, size_t *len)
{
    *len = r->body.len;
    return r->body.data;
}

const struct sockaddr_storage *ws_request_peer(const struct ws_request *r)
{
    return &r->peer;
}

const struct sockaddr_storage *ws_request_client(const struct ws_request *r)
{
    return &r->client;
}

int ws_request_fd(const struct ws_request *r)
{
    return r->fd;
}

bool ws_request_is_gone(const struct ws_request *r)
{
    return !r->conn || r->conn->phase == WS_DEAD;
}
