/*
 * Contexts: the settings every libwebsockets context and vhost has, one timer
 * for all connections' times, and the end of it all.
 */
#include "base/mem.h"
#include "base/ws_internal.h"

#include <stdlib.h>
#include <string.h>
#include <uv.h>

#define WS_TEARDOWN_TURNS 1000 /* of the loop, until every handle is closed */
#define WS_CODE_LOST 1006

static void ws_log_nothing(int level, const char *line)
{
    (void)level, (void)line; /* it would print queries, cookies and keys */
}

/* --- times --- */

/* What is due at a connection; the next time to look, or INT64_MAX. */
static int64_t ws_conn_tick(struct ws_conn *c, int64_t now)
{
    if (c->phase == WS_DEAD)
        return INT64_MAX;
    if (c->due_ms && now >= c->due_ms) {
        if (c->phase == WS_DIALING)
            strcpy(c->close_reason, "timed out");
        ws_kill(c);
        return INT64_MAX;
    }
    if (c->phase == WS_ANSWERING) {
        if (ws_http_is_stuck(c)) {
            ws_kill(c);
            return INT64_MAX;
        }
        return now + 100 < c->due_ms ? now + 100 : c->due_ms;
    }
    if (c->phase != WS_OPEN)
        return c->due_ms ? c->due_ms : INT64_MAX;
    if (c->is_paused) {
        /* its answer to a ping is among what we do not read */
        c->heard_ms = now;
        c->pinged_ms = 0;
    }
    if (c->pinged_ms && now - c->pinged_ms >= c->dead_ms) {
        ws_kill(c);
        return INT64_MAX;
    }
    if (!c->pinged_ms) {
        if (now - c->heard_ms < c->ping_ms)
            return c->heard_ms + c->ping_ms;
        c->pinged_ms = now;
        c->wants_ping = true;
        lws_callback_on_writable(c->wsi);
    }
    /* what is heard moves no timer: one that answers is looked at again
     * before its next ping is due */
    return c->pinged_ms + c->dead_ms < now + c->ping_ms
               ? c->pinged_ms + c->dead_ms
               : now + c->ping_ms;
}

static void ws_tick(void *arg)
{
    struct ws_context *x = arg;
    const int64_t now = loop_now_ms();
    int64_t next = INT64_MAX;

    x->armed_ms = 0;
    for (struct ws_conn *c = x->conns, *after; c; c = after) {
        int64_t at;

        after = c->next;
        at = ws_conn_tick(c, now);
        if (at < next)
            next = at;
    }
    if (next != INT64_MAX && (!x->armed_ms || next < x->armed_ms)) {
        x->armed_ms = next;
        loop_timer_again(x->timer, next - now, 0);
    }
}

void ws_timer(struct ws_conn *c, int64_t at_ms)
{
    struct ws_context *x = c->x;

    if (x->armed_ms && x->armed_ms <= at_ms)
        return;
    x->armed_ms = at_ms;
    loop_timer_again(x->timer, at_ms - loop_now_ms(), 0);
}

void ws_phase(struct ws_conn *c, enum ws_phase phase, int ms)
{
    c->phase = phase;
    c->due_ms = ms ? loop_now_ms() + ms : 0;
    if (ms)
        ws_timer(c, c->due_ms);
}

/* --- contexts --- */

struct lws_context *ws_lws_new(struct ws_context *x, void *user, int fds)
{
    /* our own timer pings: theirs counts seconds and drops a paused peer */
    static const lws_retry_bo_t no_policy = {0};
    struct lws_context_creation_info info = {0};
    void *loops[1] = {loop_uv(x->loop)};

    lws_set_log_level(0, ws_log_nothing);
    info.port = CONTEXT_PORT_NO_LISTEN;
    info.options = LWS_SERVER_OPTION_EXPLICIT_VHOSTS | LWS_SERVER_OPTION_LIBUV |
                   LWS_SERVER_OPTION_DO_SSL_GLOBAL_INIT |
                   LWS_SERVER_OPTION_JUST_USE_RAW_ORIGIN |
                   LWS_SERVER_OPTION_DISABLE_OS_CA_CERTS;
    info.foreign_loops = loops;
    info.user = user;
    info.fd_limit_per_thread = (unsigned int)fds;
    info.max_http_header_data = WS_HEAD_MAX;
    info.pt_serv_buf_size = WS_SERV_BUFFER;
    info.retry_and_idle_policy = &no_policy;
    info.gid = (__typeof__(info.gid))-1;
    info.uid = (__typeof__(info.uid))-1;
    return lws_create_context(&info);
}

void ws_vhost_info(const struct ws_context *x,
                   struct lws_context_creation_info *info, const char *name,
                   const struct lws_protocols *protocols, uint64_t options)
{
    static const lws_retry_bo_t no_policy = {0};

    *info = (struct lws_context_creation_info){0};
    info->vhost_name = name;
    info->protocols = protocols;
    info->options = LWS_SERVER_OPTION_EXPLICIT_VHOSTS |
                    LWS_SERVER_OPTION_DO_SSL_GLOBAL_INIT |
                    LWS_SERVER_OPTION_DISABLE_OS_CA_CERTS | options;
    info->alpn = "http/1.1";
    info->extensions = NULL;       /* none: who may compress can send a bomb */
    info->http_proxy_address = ""; /* else $http_proxy */
    /* else it makes one of its own, which trusts ../share, and with several
     * contexts in a process never frees it */
    info->provided_client_ssl_ctx = x->bare;
    info->retry_and_idle_policy = &no_policy;
    info->gid = (__typeof__(info->gid))-1;
    info->uid = (__typeof__(info->uid))-1;
}

struct ws_context *ws_context_new(struct loop *l, int fd_max, struct err *e)
{
    struct ws_context *x;

    if (fd_max < 16) {
        err_set(e, ERR_INPUT, "too few descriptors allowed: %d", fd_max);
        return NULL;
    }
    x = mem_zero(1, sizeof(*x));
    x->bare = tls_psk_client_ctx(e); /* without a key it shakes no hand */
    if (!x->bare) {
        free(x);
        return NULL;
    }
    x->loop = l;
    x->fd_max = fd_max;
    x->timer = loop_timer_start(l, INT32_MAX, 0, ws_tick, x);
    return x;
}

static void ws_turn(struct ws_context *x)
{
    uv_run(loop_uv(x->loop), UV_RUN_NOWAIT);
}

void ws_context_free(struct ws_context *x)
{
    struct ws_server *s;

    if (!x)
        return;
    x->is_freed = true;
    for (s = x->servers; s; s = s->next)
        ws_server_close(s);
    for (struct ws_conn *c = x->conns, *after; c; c = after) {
        after = c->next;
        if (c->verbs && !c->is_told)
            ws_tell_closed(c, WS_CODE_LOST, "");
    }
    /* with a loop that is not theirs, libwebsockets' contexts go in two
     * steps with turns of the loop in between */
    for (s = x->servers; s; s = s->next)
        lws_context_destroy(s->lws);
    lws_context_destroy(x->client);
    loop_run_posted(x->loop);
    for (int i = 0; x->conns && i < WS_TEARDOWN_TURNS; i++)
        ws_turn(x);
    for (int i = 0; i < 8; i++) /* their own handles */
        ws_turn(x);
    while ((s = x->servers)) {
        x->servers = s->next;
        lws_context_destroy(s->lws);
        ws_server_release(s);
    }
    lws_context_destroy(x->client);
    ws_client_free(x);
    ws_linger_free(x);
    loop_timer_stop(x->timer);
    tls_ctx_free(x->bare);
    free(x);
}
