/*
 * Dialling. Each kind of client has a vhost with a TLS context of ours, so
 * that neither ../share nor the system's roots are trusted behind our back,
 * and gets key or name at the start of its handshake.
 */
#include "base/addr.h"
#include "base/mem.h"
#include "base/ws_internal.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#define WS_HOST_MAX 116       /* bytes of Host, and of Origin */
#define WS_TARGET_MAX 2000    /* bytes of a path */
#define WS_SUBPROTOCOL_MAX 62 /* bytes of one name */

enum ws_kind { WS_PLAIN, WS_PSK, WS_CERT };

struct ws_vhost {
    struct ws_vhost *next;
    enum ws_kind kind;
    char *ca_path; /* NULL = system roots */
    char *subprotocol;
    char name[16];
    struct ssl_ctx_st *ctx;
    struct lws_vhost *lws;
    struct lws_protocols protocols[2];
};

/* libwebsockets keeps "host" for the Host header and knows no more about it;
 * what the certificate must name has neither port nor brackets. */
static char *ws_host_name(const char *host)
{
    const char *end;

    if (host[0] == '[') {
        end = strchr(host, ']');
        return end ? mem_strn(host + 1, (size_t)(end - host - 1))
                   : mem_str(host);
    }
    end = strrchr(host, ':');
    return end ? mem_strn(host, (size_t)(end - host)) : mem_str(host);
}

void ws_dialled_free(struct ws_dialled *d)
{
    if (!d)
        return;
    explicit_bzero(d->psk_key, sizeof(d->psk_key));
    free(d->host);
    free(d->cert_host);
    free(d->psk_id);
    free(d->subprotocol);
    free(d);
}

/* A handshake is about to start: whose is it? Told apart by SSL, as
 * connections of one kind share a vhost. */
static void ws_client_start(void *arg, struct ssl_st *ssl)
{
    struct ws_context *x = arg;

    for (struct ws_conn *c = x->conns; c; c = c->next) {
        const struct ws_dialled *d = c->dialled;

        if (!d || !c->wsi || lws_get_ssl(c->wsi) != ssl)
            continue;
        if (d->psk_id ? tls_psk_client_use(ssl, d->psk_id, d->psk_key)
                      : tls_client_use_host(ssl, d->cert_host))
            ws_kill(c);
        return;
    }
}

/* The last gate before the request leaves. */
int ws_client_gate(struct ws_conn *c)
{
    const struct ws_dialled *d = c->dialled;
    struct ssl_st *ssl = lws_get_ssl(c->wsi);

    if (c->phase != WS_DIALING || d->is_tls != (ssl != NULL))
        return -1;
    return d->psk_id && !tls_psk_client_gate(ssl) ? -1 : 0;
}

/* The answer is a 101; has it chosen what we offered? libwebsockets takes
 * silence for consent. */
int ws_client_check(struct ws_conn *c)
{
    char value[WS_SUBPROTOCOLS_MAX + 2];

    if (lws_hdr_copy(c->wsi, value, sizeof(value), WSI_TOKEN_PROTOCOL) > 0 &&
        strcmp(value, c->dialled->subprotocol) == 0)
        return 0;
    strcpy(c->close_reason, "the server does not speak our subprotocol");
    return -1;
}

static void ws_free_watcher(uv_handle_t *h)
{
    free(h); /* as libwebsockets, whose memory it is, would */
}

static void ws_close_watcher(uv_handle_t *h, void *wsi)
{
    if (h->type == UV_POLL && h->data == wsi && !uv_is_closing(h))
        uv_close(h, ws_free_watcher);
}

/* Where connect(2) fails, libwebsockets closes the socket and forgets the
 * handle that watched it, which stays in the loop. */
void ws_client_gone(const struct ws_conn *c)
{
    if (!c->was_open && lws_get_socket_fd(c->wsi) < 0)
        uv_walk(loop_uv(c->x->loop), ws_close_watcher, c->wsi);
}

/* --- kinds --- */

static bool ws_same(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

static struct ws_vhost *ws_vhost_find(struct ws_context *x, enum ws_kind kind,
                                      const struct ws_dial_conf *f)
{
    for (struct ws_vhost *v = x->client_vhosts; v; v = v->next)
        if (v->kind == kind && ws_same(v->subprotocol, f->subprotocol) &&
            (kind != WS_CERT || ws_same(v->ca_path, f->ca_path)))
            return v;
    return NULL;
}

static void ws_vhost_free(struct ws_vhost *v)
{
    tls_ctx_free(v->ctx);
    free(v->ca_path);
    free(v->subprotocol);
    free(v);
}

static int ws_vhost_open(struct ws_context *x, struct ws_vhost *v,
                         struct err *e)
{
    struct lws_context_creation_info info;

    if (v->kind == WS_PSK)
        v->ctx = tls_psk_client_ctx(e);
    else if (v->kind == WS_CERT)
        v->ctx = tls_client_ctx(v->ca_path, e);
    if (v->kind != WS_PLAIN && !v->ctx)
        return -1;
    if (v->ctx)
        tls_client_on_start(v->ctx, ws_client_start, x);
    if (!x->client)
        x->client = ws_lws_new(x, NULL, x->fd_max);
    if (!x->client)
        return err_set(e, ERR_SYSTEM,
                       "libwebsockets did not start: is "
                       "libwebsockets-evlib-uv installed?");
    v->protocols[0] = (struct lws_protocols){
        .name = v->subprotocol,
        .callback = ws_callback,
        .rx_buffer_size = WS_CLIENT_RX_BUFFER,
        .tx_packet_size = 2 * WS_WRITE_MAX,
    };
    ws_vhost_info(x, &info, v->name, v->protocols, 0);
    info.port = CONTEXT_PORT_NO_LISTEN;
    if (v->ctx)
        info.provided_client_ssl_ctx = v->ctx;
    v->lws = lws_create_vhost(x->client, &info);
    return v->lws ? 0 : err_set(e, ERR_SYSTEM, "client could not be set up");
}

static struct ws_vhost *
ws_vhost_get(struct ws_context *x, const struct ws_dial_conf *f, struct err *e)
{
    const enum ws_kind kind =
        f->psk_id ? WS_PSK : (f->ca_check ? WS_CERT : WS_PLAIN);
    struct ws_vhost *v = ws_vhost_find(x, kind, f);

    if (v)
        return v;
    v = mem_zero(1, sizeof(*v));
    v->kind = kind;
    v->ca_path = f->ca_path ? mem_str(f->ca_path) : NULL;
    v->subprotocol = mem_str(f->subprotocol);
    snprintf(v->name, sizeof(v->name), "client%p", (void *)v);
    if (ws_vhost_open(x, v, e) < 0) {
        ws_vhost_free(v);
        return NULL;
    }
    v->next = x->client_vhosts;
    x->client_vhosts = v;
    return v;
}

void ws_client_free(struct ws_context *x)
{
    while (x->client_vhosts) {
        struct ws_vhost *v = x->client_vhosts;

        x->client_vhosts = v->next;
        ws_vhost_free(v);
    }
}

/* --- dialling --- */

/* libwebsockets cuts what is longer, line end and all. */
static bool ws_is_clean(const char *text, size_t max)
{
    return text && text[0] && strlen(text) <= max && !strpbrk(text, "\r\n \t");
}

static int ws_dial_check(const struct ws_context *x,
                         const struct ws_dial_conf *f, struct err *e)
{
    if (x->is_freed)
        return err_set(e, ERR_SYSTEM, "shutting down");
    if (f->addr->sa_family != AF_INET && f->addr->sa_family != AF_INET6)
        return err_set(e, ERR_INPUT, "address family %d", f->addr->sa_family);
    if (!ws_is_clean(f->host, WS_HOST_MAX) ||
        !ws_is_clean(f->path, WS_TARGET_MAX) || f->path[0] != '/' ||
        !ws_is_clean(f->subprotocol, WS_SUBPROTOCOL_MAX) ||
        (f->origin && !ws_is_clean(f->origin, WS_HOST_MAX)))
        return err_set(e, ERR_INPUT,
                       "host, path, subprotocol or origin of a dial");
    if (f->psk_id && !f->psk_key)
        return err_set(e, ERR_INPUT, "an identity without a key");
    if (!f->message_max)
        return err_set(e, ERR_INPUT, "a dial without message_max");
    return 0;
}

static struct ws_conn *ws_dial_new(struct ws_context *x,
                                   const struct ws_dial_conf *f)
{
    struct ws_conn *c = ws_conn_new(x, WS_DIALING);
    struct ws_dialled *d = mem_zero(1, sizeof(*d));

    c->verbs = f->verbs;
    c->user = f->arg;
    c->message_max = f->message_max;
    c->ping_ms = WS_DEFAULT(f->ping_ms, WS_PING_MS);
    c->dead_ms = WS_DEFAULT(f->dead_ms, WS_DEAD_MS);
    memcpy(&c->peer, f->addr,
           f->addr_len < sizeof(c->peer) ? f->addr_len
                                         : (socklen_t)sizeof(c->peer));
    c->dialled = d;
    d->host = mem_str(f->host);
    d->subprotocol = mem_str(f->subprotocol);
    d->is_tls = f->psk_id || f->ca_check;
    if (f->psk_id) {
        d->psk_id = mem_str(f->psk_id);
        memcpy(d->psk_key, f->psk_key, sizeof(d->psk_key));
    } else if (f->ca_check) {
        d->cert_host = ws_host_name(f->host);
    }
    ws_phase(c, WS_DIALING, WS_DEFAULT(f->timeout_ms, WS_DIAL_DEADLINE_MS));
    return c;
}

static void ws_dial_start(struct ws_conn *c, struct ws_vhost *v,
                          const struct ws_dial_conf *f)
{
    static const lws_retry_bo_t no_policy = {0};
    char address[ADDR_TEXT_MAX];
    const struct lws_client_connect_info info = {
        .context = c->x->client,
        .vhost = v->lws,
        .address = address,
        .port = ntohs(f->addr->sa_family == AF_INET6
                          ? ((const struct sockaddr_in6 *)f->addr)->sin6_port
                          : ((const struct sockaddr_in *)f->addr)->sin_port),
        .ssl_connection = LCCSCF_HTTP_NO_FOLLOW_REDIRECT |
                          (c->dialled->is_tls ? LCCSCF_USE_SSL : 0),
        .path = f->path,
        .host = c->dialled->host,
        .origin = f->origin,
        .protocol = c->dialled->subprotocol,
        .alpn = "http/1.1",
        .pwsi = &c->wsi,
        .opaque_user_data = c,
        .retry_and_idle_policy = &no_policy,
    };

    addr_text_ip(f->addr, address);
    c->is_starting = true;
    if (!lws_client_connect_via_info(&info)) {
        if (!c->close_reason[0])
            strcpy(c->close_reason, "cannot connect");
        c->wsi = NULL;
        /* else its socket is closing, and WSI_DESTROY comes with that */
        if (c->is_destroyed)
            ws_stillborn(c);
    }
    c->is_starting = false;
    if (c->x->client)
        lws_cancel_service(c->x->client); /* its timers are set outside */
}

struct ws_conn *ws_dial(struct ws_context *x, const struct ws_dial_conf *conf,
                        struct err *e)
{
    struct ws_vhost *v;
    struct ws_conn *c;

    if (ws_dial_check(x, conf, e) < 0)
        return NULL;
    v = ws_vhost_get(x, conf, e);
    if (!v)
        return NULL;
    c = ws_dial_new(x, conf);
    ws_dial_start(c, v, conf);
    return c;
}
