/*
 * The one callback libwebsockets sees, and what can be done with an open
 * connection.
 */
#include "base/mem.h"
#include "base/own.h"
#include "base/ws_internal.h"
#include "base/ws_target.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

static_assert(WS_PRE >= LWS_PRE, "head-room of ws_write");

#define WS_CODE_NONE 1005
#define WS_CODE_LOST 1006
#define WS_CODE_TOO_LARGE 1009
#define WS_WRITE_CLOSE ((enum lws_write_protocol)4) /* not in its headers */
#define WS_NOW_MAX 4 /* messages of one ws_want_write_now */

/* --- birth and death --- */

struct ws_conn *ws_conn_new(struct ws_context *x, enum ws_phase phase)
{
    struct ws_conn *c = mem_zero(1, sizeof(*c));

    c->x = x;
    c->born_ms = loop_now_ms();
    c->phase = phase;
    c->last = &c->first;
    c->fd = -1;
    c->next = x->conns;
    c->back = &x->conns;
    if (c->next)
        c->next->back = &c->next;
    x->conns = c;
    return c;
}

static void ws_drop_queue(struct ws_conn *c)
{
    while (c->first) {
        struct ws_out *o = c->first;

        c->first = o->next;
        free(o);
    }
    c->last = &c->first;
    c->queued = 0;
}

static void ws_drop_headers(struct ws_conn *c)
{
    while (c->headers) {
        struct ws_out *h = c->headers;

        c->headers = h->next;
        free(h);
    }
}

void ws_conn_free(struct ws_conn *c)
{
    *c->back = c->next;
    if (c->next)
        c->next->back = c->back;
    ws_drop_queue(c);
    buf_fini(&c->message);
    ws_target_stop(c);
    ws_dialled_free(c->dialled);
    ws_drop_headers(c);
    free(c);
}

void ws_tell_closed(struct ws_conn *c, int code, const char *reason)
{
    if (c->is_told)
        return;
    c->is_told = true;
    c->phase = WS_DEAD;
    c->due_ms = 0;
    c->verbs->closed(c->user, code, reason);
}

static void ws_tell_later(void *arg)
{
    struct ws_conn *c = arg;

    ws_tell_closed(c, WS_CODE_LOST, c->close_reason);
    ws_conn_free(c);
}

void ws_drop(struct ws_conn *c)
{
    c->phase = WS_DEAD;
    c->due_ms = 0;
    if (!c->wsi)
        return;
    lws_set_timeout(c->wsi, PENDING_TIMEOUT_KILLED_BY_PARENT,
                    LWS_TO_KILL_ASYNC);
    /* a time-out set outside its own callbacks is not looked at otherwise */
    lws_cancel_service(lws_get_context(c->wsi));
}

void ws_kill(struct ws_conn *c)
{
    if (c->phase != WS_DEAD)
        ws_drop(c);
}

void ws_stillborn(struct ws_conn *c)
{
    c->phase = WS_DEAD;
    c->due_ms = 0;
    loop_post(c->x->loop, ws_tell_later, c);
}

/* The connection is of no use any more, though it may live a little. */
static int ws_ended(struct ws_conn *c)
{
    if (c->verbs)
        ws_tell_closed(c, c->close_code ? c->close_code : WS_CODE_LOST,
                       c->was_open ? "" : c->close_reason);
    return 0;
}

/* What libwebsockets does not say of a dial that failed. */
static void ws_say_untrusted(struct ws_conn *c)
{
    const bool is_checked = c->dialled && c->dialled->cert_host;
    const char *why =
        is_checked ? tls_client_refused(lws_get_ssl(c->wsi)) : NULL;

    if (why && !c->close_reason[0])
        snprintf(c->close_reason, sizeof(c->close_reason),
                 "the server's certificate is not trusted: %.80s", why);
}

static int ws_failed(struct ws_conn *c, const char *why, size_t len)
{
    size_t n = 0;

    ws_say_untrusted(c);
    if (!c->close_reason[0])
        for (size_t i = 0;
             why && i < len && why[i] && n < sizeof(c->close_reason) - 1; i++)
            c->close_reason[n++] =
                why[i] >= ' ' && why[i] < 0x7f ? why[i] : '?';
    return c->is_starting ? 0 : ws_ended(c);
}

static int ws_gone(struct ws_conn *c)
{
    if (c->dialled)
        ws_client_gone(c);
    c->wsi = NULL;
    if (c->is_starting) { /* ws_dial is on the stack and deals with it */
        c->is_destroyed = true;
        return 0;
    }
    ws_http_gone(c);
    if (c->server)
        ws_server_gone(c);
    ws_ended(c);
    ws_conn_free(c);
    return 0;
}

/* --- open connections --- */

int ws_established(struct ws_conn *c)
{
    void *user;

    if (c->phase == WS_DEAD)
        return -1;
    c->heard_ms = loop_now_ms();
    c->was_open = true;
    ws_phase(c, WS_OPEN, 0);
    ws_timer(c, c->heard_ms + c->ping_ms);
    user = c->verbs->opened(c->server ? c->server->conf.arg : c->user, c);
    c->was_told_headers = true;
    ws_drop_headers(c);
    c->is_told = !user;
    c->user = user;
    return user ? 0 : -1;
}

static int ws_heard(struct ws_conn *c)
{
    c->heard_ms = loop_now_ms();
    c->pinged_ms = 0;
    return 0;
}

/* Take in a part; 0, or -1 when the message is over the limit. */
static int ws_collect(struct ws_conn *c, const uint8_t *bytes, size_t len,
                      size_t rest)
{
    const size_t have = c->message.len;

    /* judged by what is announced, before anything is allocated for it */
    if (len > c->message_max - have || rest > c->message_max - have - len)
        return -1;
    if (!have)
        buf_init(&c->message, c->message_max);
    if (!len)
        return 0;
    memcpy(buf_reserve(&c->message, len + rest), bytes, len);
    buf_commit(&c->message, len);
    return 0;
}

static int ws_receive(struct ws_conn *c, const uint8_t *bytes, size_t len)
{
    const bool is_final = lws_is_final_fragment(c->wsi);

    ws_heard(c);
    if (c->phase != WS_OPEN)
        return 0;
    if (!c->in_message) {
        c->in_message = true;
        c->is_text = !lws_frame_is_binary(c->wsi);
    }
    if (is_final && !c->message.len && len <= c->message_max) {
        c->in_message = false;
        c->verbs->message(c->user, bytes, len, c->is_text);
        return 0;
    }
    if (ws_collect(c, bytes, len, lws_remaining_packet_payload(c->wsi)) < 0) {
        ws_close(c, WS_CODE_TOO_LARGE, "message too large");
        return 0;
    }
    if (is_final) {
        struct buf whole = c->message;

        buf_init(&c->message, c->message_max);
        c->in_message = false;
        c->verbs->message(c->user, whole.data, whole.len, c->is_text);
        buf_fini(&whole);
    }
    return 0;
}

static int ws_write_ping(struct ws_conn *c)
{
    /* with a payload, for libwebsockets tells nobody of an empty PONG */
    uint8_t ping[LWS_PRE + 1];

    ping[LWS_PRE] = '.';
    c->wants_ping = false;
    return lws_write(c->wsi, ping + LWS_PRE, 1, LWS_WRITE_PING);
}

static int ws_write_queued(struct ws_conn *c)
{
    struct ws_out *o = c->first;
    int r;

    c->first = o->next;
    if (!c->first)
        c->last = &c->first;
    c->queued -= o->len;
    r = lws_write(c->wsi, o->bytes + LWS_PRE, o->len, LWS_WRITE_BINARY);
    free(o);
    return r;
}

/*
 * The close frame, by hand: Debian's libwebsockets on libuv closes twice when
 * a writeable callback returns -1 (a self-test left in its build), and the
 * second drops the connection before the frame is out.
 */
static int ws_write_close(struct ws_conn *c)
{
    uint8_t out[LWS_PRE + sizeof(c->close_reason) + 2];
    const size_t len = strlen(c->close_reason);

    if (c->is_close_sent)
        return 0;
    c->is_close_sent = true;
    out[LWS_PRE] = (uint8_t)(c->close_code >> 8);
    out[LWS_PRE + 1] = (uint8_t)c->close_code;
    memcpy(out + LWS_PRE + 2, c->close_reason, len);
    return lws_write(c->wsi, out + LWS_PRE, len + 2, WS_WRITE_CLOSE);
}

static void ws_drained(struct ws_conn *c)
{
    c->wants_write = false;
    c->is_draining = true;
    c->verbs->drained(c->user);
    c->is_draining = false;
}

/* One lws_write a call: what libwebsockets cannot send it copies. */
static int ws_writeable(struct ws_conn *c)
{
    int r = 0;

    if (c->phase != WS_OPEN && c->phase != WS_CLOSING)
        return c->phase == WS_DEAD ? -1 : 0;
    if (c->first) {
        r = ws_write_queued(c);
    } else if (c->phase == WS_CLOSING) {
        r = ws_write_close(c);
    } else if (c->wants_ping) {
        r = ws_write_ping(c);
    } else if (c->wants_write) {
        ws_drained(c);
    }
    if (r < 0 || c->phase == WS_DEAD)
        return -1;
    if (c->first || c->wants_ping || c->wants_write ||
        (c->phase == WS_CLOSING && !c->is_close_sent))
        lws_callback_on_writable(c->wsi);
    return 0;
}

static int ws_peer_closes(struct ws_conn *c, const uint8_t *in, size_t len)
{
    if (c->is_close_sent)
        return -1; /* the answer to ours: all is said */
    if (c->phase == WS_OPEN)
        c->close_code = len >= 2 ? in[0] << 8 | in[1] : WS_CODE_NONE;
    return 0;
}

/* --- the callback --- */

/* Reasons that come without a connection of ours. */
static int ws_callback_bare(struct lws *wsi, enum lws_callback_reasons why,
                            void *user, size_t len)
{
    struct ws_server *s;

    switch (why) {
    case LWS_CALLBACK_OPENSSL_LOAD_EXTRA_SERVER_VERIFY_CERTS:
        s = lws_context_user(lws_get_context(wsi));
        return ws_server_tls(s, user);
    case LWS_CALLBACK_OPENSSL_PERFORM_CLIENT_CERT_VERIFICATION:
        return !len; /* 0 would accept any certificate */
    case LWS_CALLBACK_WSI_CREATE:
        s = lws_context_user(lws_get_context(wsi));
        if (s)
            s->is_born = true;
        return 0;
    default:
        return 0;
    }
}

static int ws_callback_http(struct ws_conn *c, enum lws_callback_reasons why,
                            void *in, size_t len)
{
    switch (why) {
    case LWS_CALLBACK_FILTER_HTTP_CONNECTION:
        return ws_server_admit(c);
    case LWS_CALLBACK_HTTP:
        return ws_http_head(c);
    case LWS_CALLBACK_HTTP_BODY:
        return ws_http_body(c, in, len);
    case LWS_CALLBACK_HTTP_BODY_COMPLETION:
        return ws_http_body_end(c);
    case LWS_CALLBACK_HTTP_WRITEABLE:
        return ws_http_write(c);
    case LWS_CALLBACK_HTTP_CONFIRM_UPGRADE:
        /* `in` may be freed memory: never looked at */
        return ws_server_upgrade(c);
    default:
        return 0;
    }
}

static int ws_callback_conn(struct ws_conn *c, struct lws *wsi,
                            enum lws_callback_reasons why, void *user, void *in,
                            size_t len)
{
    switch (why) {
    case LWS_CALLBACK_RAW_ADOPT:
    case LWS_CALLBACK_RAW_RX:
        return -1; /* a CONNECT would become a raw socket */
    case LWS_CALLBACK_FILTER_PROTOCOL_CONNECTION:
        return strcmp(lws_get_protocol(wsi)->name, c->server->conf.subprotocol);
    case LWS_CALLBACK_CLIENT_APPEND_HANDSHAKE_HEADER:
        return ws_client_gate(c);
    case LWS_CALLBACK_CLIENT_FILTER_PRE_ESTABLISH:
        return ws_client_check(c);
    case LWS_CALLBACK_ESTABLISHED:
    case LWS_CALLBACK_CLIENT_ESTABLISHED:
        return ws_established(c);
    case LWS_CALLBACK_RECEIVE:
    case LWS_CALLBACK_CLIENT_RECEIVE:
        return ws_receive(c, in, len);
    case LWS_CALLBACK_RECEIVE_PONG:
    case LWS_CALLBACK_CLIENT_RECEIVE_PONG:
        return ws_heard(c);
    case LWS_CALLBACK_SERVER_WRITEABLE:
    case LWS_CALLBACK_CLIENT_WRITEABLE:
        return ws_writeable(c);
    case LWS_CALLBACK_WS_PEER_INITIATED_CLOSE:
        return ws_peer_closes(c, in, len);
    case LWS_CALLBACK_CLIENT_CONNECTION_ERROR:
        return ws_failed(c, in, len);
    case LWS_CALLBACK_CLOSED:
    case LWS_CALLBACK_CLIENT_CLOSED:
        return ws_ended(c);
    case LWS_CALLBACK_WSI_DESTROY:
        return ws_gone(c);
    case LWS_CALLBACK_OPENSSL_LOAD_EXTRA_SERVER_VERIFY_CERTS:
    case LWS_CALLBACK_OPENSSL_PERFORM_CLIENT_CERT_VERIFICATION:
        return ws_callback_bare(wsi, why, user, len);
    default:
        return ws_callback_http(c, why, in, len);
    }
}

int ws_callback(struct lws *wsi, enum lws_callback_reasons why, void *user,
                void *in, size_t len)
{
    struct ws_conn *c = lws_get_opaque_user_data(wsi);
    struct ws_context *x;
    int r;

    if (!c)
        return ws_callback_bare(wsi, why, user, len);
    c->wsi = wsi;
    x = c->x; /* c may be freed by this */
    x->depth++;
    r = ws_callback_conn(c, wsi, why, user, in, len);
    x->depth--;
    return r;
}

/* --- what services call --- */

int ws_send(struct ws_conn *c, const void *bytes, size_t len)
{
    struct ws_out *o;

    if (c->phase != WS_OPEN || len > WS_QUEUE_MAX - c->queued)
        return -1;
    o = mem_zero(1, sizeof(*o) + LWS_PRE + len);
    o->len = len;
    memcpy(o->bytes + LWS_PRE, bytes, len);
    *c->last = o;
    c->last = &o->next;
    c->queued += len;
    lws_callback_on_writable(c->wsi);
    return 0;
}

void ws_want_write(struct ws_conn *c)
{
    if (c->phase != WS_OPEN || c->wants_write)
        return;
    c->wants_write = true;
    if (!c->is_draining) /* else looked at when it returns */
        lws_callback_on_writable(c->wsi);
}

/* Nothing of ours or libwebsockets' stands before it, and the socket takes
 * it: lws_write needs no more than that, whoever calls it. */
static bool ws_can_write(struct ws_conn *c)
{
    return c->phase == WS_OPEN && !c->first && !c->wants_ping &&
           !lws_send_pipe_choked(c->wsi);
}

void ws_want_write_now(struct ws_conn *c)
{
    if (c->x->depth || c->is_draining || c->wants_write) {
        ws_want_write(c);
        return;
    }
    if (c->phase != WS_OPEN)
        return;
    c->wants_write = true;
    for (int i = 0; i < WS_NOW_MAX && c->wants_write && ws_can_write(c); i++)
        ws_drained(c);
    if (c->wants_write && c->phase == WS_OPEN)
        lws_callback_on_writable(c->wsi);
}

int ws_write(struct ws_conn *c, uint8_t *payload, size_t len)
{
    if (c->phase != WS_OPEN || len > WS_WRITE_MAX)
        return -1;
    if (lws_write(c->wsi, payload, len, LWS_WRITE_BINARY) < 0) {
        ws_kill(c);
        return -1;
    }
    return 0;
}

void ws_pause(struct ws_conn *c)
{
    if (c->phase != WS_OPEN || c->is_paused)
        return;
    c->is_paused = true;
    lws_rx_flow_control(c->wsi, 0);
}

void ws_resume(struct ws_conn *c)
{
    if (!c->is_paused)
        return;
    c->is_paused = false;
    c->heard_ms = loop_now_ms();
    c->pinged_ms = 0;
    if (c->phase != WS_OPEN)
        return;
    ws_timer(c, c->heard_ms + c->ping_ms);
    lws_rx_flow_control(c->wsi, 1);
    /* what it holds decrypted no socket event will tell of */
    lws_callback_on_writable(c->wsi);
}

void ws_close(struct ws_conn *c, int code, const char *reason)
{
    if (c->phase == WS_DIALING) {
        ws_abort(c);
        return;
    }
    if (c->phase != WS_OPEN)
        return;
    c->close_code = code;
    strncpy(c->close_reason, reason ? reason : "", 120);
    buf_fini(&c->message);
    ws_phase(c, WS_CLOSING, WS_CLOSE_DEADLINE_MS);
    if (c->is_paused) /* the peer's close frame must be read */
        lws_rx_flow_control(c->wsi, 1);
    lws_callback_on_writable(c->wsi);
}

void ws_abort(struct ws_conn *c)
{
    ws_kill(c);
}

const struct sockaddr_storage *ws_conn_peer(const struct ws_conn *c)
{
    return &c->peer;
}

uint64_t ws_conn_tag(const struct ws_conn *c)
{
    return c->tag;
}

const char *ws_conn_header(const struct ws_conn *c, const char *name)
{
    struct ws_conn *own = (struct ws_conn *)(uintptr_t)c;
    own_mem char *value = NULL;
    struct ws_out *h;
    int count;

    if (!c->server || c->was_told_headers || !c->wsi)
        return NULL;
    value = ws_header_copy(c->wsi, name, &count);
    if (!value)
        return NULL;
    h = mem_zero(1, sizeof(*h) + strlen(value) + 1);
    memcpy(h->bytes, value, strlen(value));
    h->next = own->headers;
    own->headers = h;
    return (const char *)h->bytes;
}

size_t ws_conn_queued(const struct ws_conn *c)
{
    return c->queued;
}
