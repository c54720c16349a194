/*
 * HEAD -> DIALLING -> GREETING -> WATCHED -> OPEN for CONNECT; HEAD ->
 * DIALLING -> BODY for a plain request. Anything else is REFUSED.
 */
#include "agent/proxy_internal.h"

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

static const char established[] = "HTTP/1.1 200 Connection established\r\n\r\n";

static const char *reason_of(int status)
{
    switch (status) {
    case 400:
        return "Bad Request";
    case 403:
        return "Forbidden";
    case 408:
        return "Request Timeout";
    case 431:
        return "Request Header Fields Too Large";
    case 502:
        return "Bad Gateway";
    case 504:
        return "Gateway Timeout";
    default:
        return "Service Unavailable";
    }
}

/* Nobody sees its greeting refused but by its connection's end: TLS has no
 * place for a sentence. The owner is told, and the log. */
void proxy_way_refuse(struct proxy_conn *c, int status, const char *why)
{
    char text[ERR_TEXT_MAX + 64], answer[ERR_TEXT_MAX + 256];
    int len;

    c->verdict = "refused";
    snprintf(c->why, sizeof(c->why), "%s", why);
    if (c->p->verbs->refused)
        c->p->verbs->refused(c->p->arg, c->host, c->port, c->why);
    if (c->phase >= PROXY_GREETING) {
        proxy_conn_end(c);
        return;
    }
    snprintf(text, sizeof(text), "podterm: %s\n", why);
    len = snprintf(answer, sizeof(answer),
                   "HTTP/1.1 %d %s\r\nContent-Type: text/plain\r\n"
                   "Content-Length: %zu\r\nConnection: close\r\n\r\n%s",
                   status, reason_of(status), strlen(text), text);
    c->phase = PROXY_REFUSED;
    c->due_ms = loop_now_ms() + PROXY_LINGER_MS;
    /* it is the first that is sent there, and fits */
    if (send(c->client, answer, (size_t)len, MSG_NOSIGNAL | MSG_DONTWAIT) < 0) {
        proxy_conn_end(c);
        return;
    }
    shutdown(c->client, SHUT_WR);
    buf_clear(&c->in);
    proxy_conn_watch(c);
}

/* --- the request --- */

static bool is_allowed(const struct proxy_conn *c)
{
    const struct proxy_rules *rules = c->p->rules;
    const uint16_t usual =
        c->request.is_connect ? PROXY_TLS_PORT : PROXY_HTTP_PORT;

    return !c->request.host_is_literal &&
           domain_list_has(&rules->domains, c->host, c->port, usual);
}

static void refuse_domain(struct proxy_conn *c)
{
    char why[ERR_TEXT_MAX];

    if (c->request.host_is_literal)
        snprintf(why, sizeof(why),
                 "%s is an address; this program may reach servers by name",
                 c->host);
    else if (!c->request.is_connect && !c->p->rules->allow_http)
        snprintf(why, sizeof(why),
                 "plain http is not allowed here; ask %s by https", c->host);
    else
        snprintf(why, sizeof(why),
                 "%s:%u is not among the domains that this program may reach",
                 c->host, c->port);
    proxy_way_refuse(c, 403, why);
}

static void dialled(void *arg, int fd, const struct sockaddr *to,
                    const struct err *e);

static void on_request(struct proxy_conn *c)
{
    memcpy(c->host, c->request.host, sizeof(c->host));
    c->port = c->request.port;
    if (!is_allowed(c) ||
        (!c->request.is_connect && !c->p->rules->allow_http)) {
        refuse_domain(c);
        return;
    }
    c->phase = PROXY_DIALLING;
    c->due_ms = 0; /* the dial has its own */
    proxy_conn_watch(c);
    c->dialling = proxy_dial_start(&c->p->dial, c->host, c->port, dialled, c);
}

static void read_head(struct proxy_conn *c)
{
    long end = http_head_end((const char *)c->in.data, c->in.len, &c->seen);
    struct err e = {0};

    if (end < 0) {
        proxy_way_refuse(c, 400, "this is no request of HTTP/1.1");
    } else if (end > PROXY_HEAD_MAX ||
               (end == 0 && c->in.len >= PROXY_HEAD_MAX)) {
        proxy_way_refuse(c, 431, "the request's head is too large");
    } else if (end > 0) {
        if (proxy_request_parse((const char *)c->in.data, (size_t)end,
                                &c->request, &e) < 0) {
            proxy_way_refuse(c, 400, e.text);
            return;
        }
        c->seen = (size_t)end;
        on_request(c);
    }
}

/* --- its server --- */

static void open_plain(struct proxy_conn *c)
{
    struct err e = {0};

    if (proxy_request_write(&c->request, &c->up.ahead, &e) < 0) {
        proxy_way_refuse(c, 431, e.text);
        return;
    }
    proxy_body_init(&c->body, &c->request);
    buf_drop(&c->in, c->seen);
    c->phase = PROXY_BODY;
    proxy_way_go(c);
}

static void open_tunnel(struct proxy_conn *c)
{
    buf_drop(&c->in, c->seen);
    c->phase = PROXY_GREETING;
    c->due_ms = loop_now_ms() + c->p->greeting_ms;
    if (send(c->client, established, sizeof(established) - 1,
             MSG_NOSIGNAL | MSG_DONTWAIT) != sizeof(established) - 1) {
        proxy_conn_end(c);
        return;
    }
    proxy_way_go(c);
}

static void dialled(void *arg, int fd, const struct sockaddr *to,
                    const struct err *e)
{
    struct proxy_conn *c = arg;

    c->dialling = NULL;
    if (fd < 0) {
        proxy_way_refuse(c,
                         e->kind == ERR_DENIED    ? 403
                         : e->kind == ERR_TIMEOUT ? 504
                         : e->kind == ERR_BUSY    ? 503
                                                  : 502,
                         e->text);
        return;
    }
    addr_text_ip(to, c->addr);
    c->moved_ms = loop_now_ms();
    proxy_conn_adopt(c, fd);
    if (c->request.is_connect)
        open_tunnel(c);
    else
        open_plain(c);
}

/* --- what it says in the tunnel --- */

static void refuse_greeting(struct proxy_conn *c, const char *sentence,
                            const char *named)
{
    char why[ERR_TEXT_MAX];

    snprintf(why, sizeof(why), "the connection to %s:%u was cut: %s%s%s",
             c->host, c->port, sentence, *named ? ", " : "", named);
    proxy_way_refuse(c, 0, why);
}

/* The judged front of `in` goes up, at once where there is room. */
static int pass(struct proxy_conn *c, size_t len)
{
    if (buf_append(&c->up.ahead, c->in.data, len) < 0)
        return -1;
    buf_drop(&c->in, len);
    return proxy_flow_drain(&c->up, c->server);
}

static void read_greeting(struct proxy_conn *c)
{
    enum hello_verdict v = hello_read(c->in.data, c->in.len, &c->hello);

    if (v == HELLO_MORE) {
        proxy_conn_watch(c);
    } else if (v != HELLO_WHOLE) {
        refuse_greeting(c, hello_sentence(v), "");
    } else if (strcmp(c->hello.name, c->host) != 0) {
        refuse_greeting(c, "its TLS greeting names another server",
                        c->hello.name);
    } else if (pass(c, c->hello.used) < 0) {
        proxy_conn_end(c);
    } else {
        c->phase = PROXY_WATCHED;
        c->due_ms = 0;
        proxy_way_go(c);
    }
}

static void watch_greetings(struct proxy_conn *c)
{
    enum hello_verdict v = HELLO_PASSES;
    size_t used = 0;

    /* what waits for its sink is bounded */
    while ((v == HELLO_PASSES || v == HELLO_WHOLE) &&
           !proxy_flow_is_full(&c->up)) {
        v = hello_next(c->in.data, c->in.len, &c->hello, &used);
        if (v == HELLO_OVER)
            used = c->in.len;
        if ((v == HELLO_PASSES || v == HELLO_WHOLE || v == HELLO_OVER) &&
            pass(c, used) < 0) {
            proxy_conn_end(c);
            return;
        }
    }
    if (v == HELLO_OVER)
        c->phase = PROXY_OPEN;
    else if (hello_sentence(v)) {
        refuse_greeting(c, hello_sentence(v), "");
        return;
    }
    proxy_conn_watch(c);
}

static void pass_body(struct proxy_conn *c)
{
    long n = proxy_body_take(&c->body, (const char *)c->in.data, c->in.len);

    if (n < 0) {
        snprintf(c->why, sizeof(c->why), "its body is malformed");
        c->verdict = "refused";
        proxy_conn_end(c);
        return;
    }
    if (pass(c, (size_t)n) < 0) {
        proxy_conn_end(c);
        return;
    }
    /* whatever it says behind its request is nobody's */
    if (proxy_body_is_over(&c->body))
        buf_clear(&c->in);
    proxy_conn_watch(c);
}

void proxy_way_go(struct proxy_conn *c)
{
    switch (c->phase) {
    case PROXY_HEAD:
        read_head(c);
        break;
    case PROXY_GREETING:
        read_greeting(c);
        break;
    case PROXY_WATCHED:
        watch_greetings(c);
        break;
    case PROXY_BODY:
        pass_body(c);
        break;
    case PROXY_REFUSED:
        buf_clear(&c->in);
        break;
    default:
        break;
    }
}
