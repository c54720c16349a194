/*
 * Listening, and who may speak. libwebsockets never listens: its own sockets
 * know no SO_REUSEPORT and no limit, so connections are accepted here and
 * given to it. Each server has an lws_context of its own, since within one
 * context a Host header or a server name moves a connection to another vhost.
 */
#include "base/addr.h"
#include "base/mem.h"
#include "base/own.h"
#include "base/ws_internal.h"
#include "base/ws_target.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#define WS_ACCEPTS_A_TURN 64
#define WS_BREATH_MS 100  /* no descriptor left: try again then */
#define WS_SPARE_FDS 16   /* of a context, beside connections */
#define WS_NO_NAME "\x01" /* the first protocol: nobody can ask for it */

/* --- accepting --- */

static void ws_server_adopt(struct ws_server *s, int fd,
                            const struct sockaddr_storage *peer)
{
    struct ws_conn *c = ws_conn_new(s->x, WS_HEAD);
    const int on = 1;
    lws_adopt_desc_t info = {
        .vh = s->vhost,
        .type = LWS_ADOPT_SOCKET | LWS_ADOPT_HTTP | LWS_ADOPT_ALLOW_SSL,
        .opaque = c,
    };

    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    c->server = s;
    c->peer = *peer;
    ws_limits_born(c);
    c->fd = fd;
    c->ping_ms = WS_DEFAULT(s->conf.ping_ms, WS_PING_MS);
    c->dead_ms = WS_DEFAULT(s->conf.dead_ms, WS_DEAD_MS);
    c->message_max = s->conf.message_max;
    s->conns++;
    ws_phase(c, WS_HEAD,
             WS_DEFAULT(s->conf.head_deadline_ms, WS_HEAD_DEADLINE_MS));
    info.fd.sockfd = fd;
    s->is_born = false;
    if (lws_adopt_descriptor_vhost_via_info(&info)) {
        ws_target_watch(c);
        return;
    }
    if (s->is_born)
        return; /* it failed: WSI_DESTROY comes or has come */
    close(fd);
    s->conns--;
    ws_conn_free(c);
}

static void ws_server_breathe(void *arg)
{
    struct ws_server *s = arg;

    loop_timer_stop(s->breather);
    s->breather = NULL;
    if (s->listener)
        loop_fd_events(s->listener, LOOP_READ);
}

static void ws_server_accept(void *arg, int events)
{
    struct ws_server *s = arg;
    const int max = WS_DEFAULT(s->conf.conns_max, WS_CONNS_MAX);

    (void)events;
    for (int i = 0; i < WS_ACCEPTS_A_TURN && s->listener; i++) {
        if (s->conns >= max + WS_SPARE_FDS / 2)
            return; /* those who make room go first */

        struct sockaddr_storage peer = {0};
        socklen_t len = sizeof(peer);
        const int fd = accept4(s->conf.listen_fd, (struct sockaddr *)&peer,
                               &len, SOCK_CLOEXEC | SOCK_NONBLOCK);

        addr_unmap(&peer);
        if (fd >= 0 && ws_limits_let_in(s, &peer)) {
            ws_server_adopt(s, fd, &peer);
        } else if (fd >= 0) {
            close(fd);
        } else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS ||
                   errno == ENOMEM) {
            /* the listener stays readable: not a busy loop */
            loop_fd_events(s->listener, 0);
            ws_limits_make_room(s, NULL);
            s->breather = loop_timer_start(s->x->loop, WS_BREATH_MS, 0,
                                           ws_server_breathe, s);
            return;
        } else if (errno != EINTR && errno != ECONNABORTED) {
            return;
        }
    }
}

/* --- who may speak --- */

int ws_server_tls(struct ws_server *s, struct ssl_ctx_st *ctx)
{
    s->ctx = ctx;
    if (s->conf.psk_find)
        return tls_psk_server_setup(ctx, s->conf.psk_find, s->conf.psk_arg);
    return tls_server_setup(ctx, s->conf.cert_path, s->conf.key_path,
                            &s->tls_error);
}

int ws_server_admit(struct ws_conn *c)
{
    if (!c->server->conf.psk_find)
        return 0;
    return tls_psk_peer(lws_get_ssl(c->wsi), &c->tag);
}

/* Is name one of the comma-separated names of the header? */
static bool ws_list_has(const char *list, const char *name)
{
    const size_t len = strlen(name);

    while (*list) {
        size_t n;

        list += strspn(list, ", \t");
        n = strcspn(list, ", \t");
        if (n == len && memcmp(list, name, len) == 0)
            return true;
        list += n;
    }
    return false;
}

static bool ws_token_is(struct lws *wsi, enum lws_token_indexes t,
                        const char *want)
{
    char value[32];

    return lws_hdr_copy(wsi, value, sizeof(value), t) > 0 &&
           strcasecmp(value, want) == 0;
}

/* 0, or the status an upgrade request is refused with; -1 = hang up. */
static int ws_judge_upgrade(struct ws_conn *c)
{
    const struct ws_server_conf *f = &c->server->conf;
    char value[WS_SUBPROTOCOLS_MAX + 2];
    int count = 0;

    /* h2c, and whatever else may be upgraded to */
    if (!ws_token_is(c->wsi, WSI_TOKEN_UPGRADE, "websocket") ||
        ws_server_admit(c) < 0)
        return -1;
    /* libwebsockets would upgrade all of these */
    if (lws_hdr_total_length(c->wsi, WSI_TOKEN_GET_URI) <= 0)
        return 405;
    if (!ws_http_has_version(c->wsi) ||
        lws_hdr_total_length(c->wsi, WSI_TOKEN_HTTP_TRANSFER_ENCODING) ||
        lws_hdr_total_length(c->wsi, WSI_TOKEN_HTTP_CONTENT_LENGTH))
        return 400;
    if (!ws_token_is(c->wsi, WSI_TOKEN_VERSION, "13"))
        return 426;
    if (!f->ws_path ||
        lws_hdr_copy(c->wsi, value, sizeof(value), WSI_TOKEN_GET_URI) <= 0 ||
        strcmp(value, f->ws_path) != 0)
        return 404;
    if (lws_hdr_copy(c->wsi, value, sizeof(value), WSI_TOKEN_PROTOCOL) <= 0 ||
        !ws_list_has(value, f->subprotocol))
        return 400;
    for (size_t i = 0; i < 3; i++) {
        static const char *const once[] = {"origin", "host", "authorization"};

        free(ws_header_copy(c->wsi, once[i], &count));
        if (count < 0)
            return 400;
    }
    own_mem char *forwarded = ws_header_copy(c->wsi, "x-forwarded-for", &count);

    return count < 0 ? 400 : ws_limits_head(c, forwarded);
}

int ws_server_upgrade(struct ws_conn *c)
{
    const int status = ws_judge_upgrade(c);

    if (status)
        return status < 0 ? -1 : ws_http_refuse_upgrade(c, status);
    c->verbs = c->server->conf.verbs;
    c->is_told = true; /* closed is owed from opened on */
    return 0;
}

void ws_server_gone(struct ws_conn *c)
{
    c->server->conns--;
}

int64_t ws_conn_age_ms(const struct ws_conn *c)
{
    return loop_now_ms() - c->born_ms;
}

/* --- birth and death --- */

static char *ws_copy(const char *text)
{
    return text ? mem_str(text) : NULL;
}

static void ws_server_own(struct ws_server *s, const struct ws_server_conf *f)
{
    s->conf = *f;
    s->conf.cert_path = ws_copy(f->cert_path);
    s->conf.key_path = ws_copy(f->key_path);
    s->conf.ws_path = ws_copy(f->ws_path);
    s->conf.subprotocol = ws_copy(f->subprotocol);
    for (int i = 0; i < 2; i++)
        s->protocols[i] = (struct lws_protocols){
            .name = i ? s->conf.subprotocol : WS_NO_NAME,
            .callback = ws_callback,
            .rx_buffer_size =
                f->rx_buffer_bytes ? f->rx_buffer_bytes : WS_RX_BUFFER,
            /* else a write is cut to the size of the read buffer and the
             * rest copied */
            .tx_packet_size = 2 * WS_WRITE_MAX,
        };
    if (!f->ws_path)
        s->protocols[1] = (struct lws_protocols){0};
}

void ws_server_release(struct ws_server *s)
{
    free((char *)(uintptr_t)s->conf.cert_path);
    free((char *)(uintptr_t)s->conf.key_path);
    free((char *)(uintptr_t)s->conf.ws_path);
    free((char *)(uintptr_t)s->conf.subprotocol);
    free(s);
}

static int ws_server_open(struct ws_server *s, struct err *e)
{
    struct lws_context_creation_info info;
    const bool is_tls = s->conf.psk_find || s->conf.cert_path;
    int fds = WS_DEFAULT(s->conf.conns_max, WS_CONNS_MAX) + WS_SPARE_FDS;

    if (fds > s->x->fd_max)
        fds = s->x->fd_max;
    s->lws = ws_lws_new(s->x, s, fds);
    if (!s->lws)
        return err_set(e, ERR_SYSTEM,
                       "libwebsockets did not start: is "
                       "libwebsockets-evlib-uv installed?");
    ws_vhost_info(s->x, &info, "server", s->protocols,
                  is_tls ? LWS_SERVER_OPTION_CREATE_VHOST_SSL_CTX : 0);
    info.port = CONTEXT_PORT_NO_LISTEN_SERVER;
    s->vhost = lws_create_vhost(s->lws, &info);
    if (s->vhost && is_tls == (s->ctx != NULL))
        return 0;
    if (s->tls_error.kind) {
        *e = s->tls_error;
        return -1;
    }
    return err_set(e, ERR_SYSTEM, "TLS server could not be set up");
}

static int ws_server_check(const struct ws_server_conf *f, struct err *e)
{
    if (f->psk_find && f->cert_path)
        return err_set(e, ERR_INPUT, "a key and a certificate for one server");
    if (!f->cert_path != !f->key_path)
        return err_set(e, ERR_INPUT,
                       "TLS certificate and key belong together: set both");
    if (f->ws_path && (!f->subprotocol || !f->verbs || !f->message_max))
        return err_set(e, ERR_INPUT,
                       "a WebSocket path without subprotocol or limit");
    return 0;
}

struct ws_server *ws_server_new(struct ws_context *x,
                                const struct ws_server_conf *conf,
                                struct err *e)
{
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } at = {.v6 = {0}};
    socklen_t len = sizeof(at);
    struct ws_server *s;

    if (ws_server_check(conf, e) < 0)
        goto refused;
    s = mem_zero(1, sizeof(*s));
    s->x = x;
    ws_server_own(s, conf);
    s->next = x->servers;
    x->servers = s;
    if (ws_server_open(s, e) < 0) {
        s->conf.listen_fd = -1;
        goto refused; /* ws_context_free has the rest */
    }
    getsockname(conf->listen_fd, &at.any, &len);
    s->port =
        ntohs(at.any.sa_family == AF_INET6 ? at.v6.sin6_port : at.v4.sin_port);
    s->listener =
        loop_fd_start(x->loop, conf->listen_fd, LOOP_READ, ws_server_accept, s);
    return s;
refused:
    close(conf->listen_fd);
    return NULL;
}

void ws_server_stop_accepting(struct ws_server *s)
{
    if (!s->listener)
        return;
    loop_timer_stop(s->breather);
    s->breather = NULL;
    loop_fd_stop(s->listener);
    s->listener = NULL;
    close(s->conf.listen_fd);
    s->conf.listen_fd = -1;
}

void ws_server_close(struct ws_server *s)
{
    ws_server_stop_accepting(s);
    for (struct ws_conn *c = s->x->conns, *after; c; c = after) {
        after = c->next;
        if (c->server != s)
            continue;
        ws_http_gone(c);
        if (c->verbs)
            ws_tell_closed(c, 1001, "");
    }
}

void ws_server_free(struct ws_server *s)
{
    if (!s)
        return;
    ws_server_close(s);
    for (struct ws_conn *c = s->x->conns; c; c = c->next)
        if (c->server == s)
            ws_drop(c);
}

int ws_server_reload(struct ws_server *s, struct err *e)
{
    if (!s->ctx || s->conf.psk_find)
        return err_set(e, ERR_INPUT, "this server has no certificate");
    return tls_server_setup(s->ctx, s->conf.cert_path, s->conf.key_path, e);
}

int ws_server_conns(const struct ws_server *s)
{
    return s->conns;
}

int ws_server_port(const struct ws_server *s)
{
    return s->port;
}
