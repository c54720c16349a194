#include "agent/proxy_internal.h"

#include "base/log.h"
#include "base/mem.h"
#include "base/own.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define PROXY_TICK_MS 250

/* Lines that a program can bring about. */
static struct log_rate rate = {.burst = 100, .interval_ms = 100};

/* --- an end --- */

static void tell_end(const struct proxy_conn *c)
{
    if (!c->host[0] && !c->why[0])
        return; /* it came and went */
    if (!log_rate_ok(&rate, loop_now_ms()))
        return;
    log_info("egress", "verdict", "s", c->verdict, "host", "s", c->host, "port",
             "i", (int64_t)c->port, "addr", "s", c->addr, "up", "i",
             c->up.bytes, "down", "i", c->down.bytes, "ms", "i",
             loop_now_ms() - c->began_ms, "why", "s", c->why, "suppressed", "i",
             rate.suppressed, NULL);
}

void proxy_conn_end(struct proxy_conn *c)
{
    struct proxy *p = c->p;
    struct proxy_conn **at = &p->conns;

    while (*at != c)
        at = &(*at)->next;
    *at = c->next;
    p->count--;
    p->bytes += c->up.bytes + c->down.bytes;
    tell_end(c);
    proxy_dial_stop(c->dialling);
    loop_fd_stop(c->client_watch);
    loop_fd_stop(c->server_watch);
    own_fd_release(&c->client);
    own_fd_release(&c->server);
    proxy_flow_fini(&c->up);
    proxy_flow_fini(&c->down);
    buf_fini(&c->in);
    free(c);
}

static void cut(struct proxy_conn *c, const char *why)
{
    snprintf(c->why, sizeof(c->why), "%s", why);
    proxy_conn_end(c);
}

/* --- what to wait for --- */

static bool is_open(const struct proxy_conn *c)
{
    return c->phase >= PROXY_WATCHED && c->phase <= PROXY_OPEN;
}

static bool may_read_client(const struct proxy_conn *c)
{
    if (c->phase == PROXY_DIALLING)
        return false;
    return !c->up.is_ended && !proxy_flow_is_full(&c->up);
}

void proxy_conn_watch(struct proxy_conn *c)
{
    int client = may_read_client(c) ? LOOP_READ : 0, server = 0;

    if (is_open(c)) {
        if (proxy_flow_is_full(&c->down))
            client |= LOOP_WRITE;
        else if (!c->down.is_ended)
            server |= LOOP_READ;
        if (proxy_flow_is_full(&c->up))
            server |= LOOP_WRITE;
    }
    loop_fd_events(c->client_watch, client);
    if (c->server_watch)
        loop_fd_events(c->server_watch, server);
}

/* --- open --- */

/* Both directions have ended and that was passed on? */
static bool is_done(const struct proxy_conn *c)
{
    return c->down.is_shut && (c->up.is_shut || c->phase == PROXY_BODY);
}

static bool is_spent(const struct proxy_conn *c)
{
    return c->p->bytes + c->up.bytes + c->down.bytes > c->p->bytes_max;
}

/* What may have moved has: go on, or end. */
static void settle(struct proxy_conn *c)
{
    c->moved_ms = loop_now_ms();
    if (is_done(c))
        proxy_conn_end(c);
    else if (is_spent(c))
        cut(c, "the session's bytes are used up");
    else
        proxy_conn_watch(c);
}

/* An error of a socket comes as a hang-up alone, and reading tells it. */
static int with_errors(int events)
{
    return events & LOOP_HANGUP ? events | LOOP_READ : events;
}

static void on_server(void *arg, int events)
{
    struct proxy_conn *c = arg;

    events = with_errors(events);
    if ((events & LOOP_WRITE) && proxy_flow_drain(&c->up, c->server) < 0) {
        cut(c, "the server is gone");
        return;
    }
    if ((events & LOOP_READ) &&
        proxy_flow_move(&c->down, c->server, c->client) < 0) {
        cut(c,
            errno == ECONNRESET ? "the server is gone" : "the program is gone");
        return;
    }
    /* room for what was held back */
    if (c->phase == PROXY_WATCHED && !proxy_flow_is_full(&c->up) &&
        c->in.len > 0) {
        proxy_way_go(c);
        return;
    }
    settle(c);
}

void proxy_conn_adopt(struct proxy_conn *c, int fd)
{
    c->server = fd;
    c->server_watch = loop_fd_start(c->p->loop, fd, 0, on_server, c);
}

/* --- the client --- */

/* It says nothing more. */
static void client_ended(struct proxy_conn *c)
{
    if (c->phase == PROXY_BODY && proxy_body_is_over(&c->body)) {
        c->up.is_ended = c->up.is_shut = true; /* its request was whole */
    } else if (is_open(c)) {
        c->up.is_ended = true;
        if (proxy_flow_drain(&c->up, c->server) < 0) {
            cut(c, "the server is gone");
            return;
        }
    } else {
        proxy_conn_end(c);
        return;
    }
    settle(c);
}

/* Into `in`, to be judged. */
static void read_client(struct proxy_conn *c)
{
    uint8_t bytes[HELLO_WIRE_MAX];
    size_t room = HELLO_WIRE_MAX - c->in.len;
    ssize_t n = recv(c->client, bytes, room, MSG_DONTWAIT);

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n < 0) {
        cut(c, "the program is gone");
        return;
    }
    if (n == 0) {
        client_ended(c);
        return;
    }
    c->moved_ms = loop_now_ms();
    buf_append(&c->in, bytes, (size_t)n);
    proxy_way_go(c);
}

static void on_client(void *arg, int events)
{
    struct proxy_conn *c = arg;

    events = with_errors(events);
    if ((events & LOOP_WRITE) && proxy_flow_drain(&c->down, c->client) < 0) {
        cut(c, "the program is gone");
        return;
    }
    if (!(events & LOOP_READ)) {
        settle(c);
    } else if (c->phase != PROXY_OPEN) {
        read_client(c);
    } else if (proxy_flow_move(&c->up, c->client, c->server) < 0) {
        cut(c,
            errno == ECONNRESET ? "the program is gone" : "the server is gone");
    } else {
        settle(c);
    }
}

/* --- accepting --- */

static void refuse_more(struct proxy_conn *c)
{
    char why[128];

    snprintf(why, sizeof(why), "this program has %d connections already",
             c->p->conns_max);
    proxy_way_refuse(c, 503, why);
}

static void adopt_client(struct proxy *p, int fd)
{
    struct proxy_conn *c = mem_zero(1, sizeof(*c));
    int one = 1;

    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    c->p = p;
    c->client = fd;
    c->server = -1;
    c->verdict = "allowed";
    c->began_ms = c->moved_ms = loop_now_ms();
    c->due_ms = c->began_ms + p->head_ms;
    buf_init(&c->in, HELLO_WIRE_MAX);
    proxy_flow_init(&c->up, 2 * HELLO_WIRE_MAX);
    proxy_flow_init(&c->down, PROXY_FLOW_COPY);
    c->next = p->conns;
    p->conns = c;
    p->count++;
    c->client_watch = loop_fd_start(p->loop, fd, LOOP_READ, on_client, c);
    if (p->count > p->conns_max)
        refuse_more(c);
}

static void on_listener(void *arg, int events)
{
    struct proxy *p = arg;

    (void)events;
    for (int i = 0; i < 16; i++) {
        int fd =
            accept4(p->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

        if (fd < 0)
            return;
        /* those that are told so have a bound, too */
        if (p->count >= 2 * p->conns_max)
            close(fd);
        else
            adopt_client(p, fd);
    }
}

/* --- time --- */

static void late(struct proxy_conn *c)
{
    if (c->phase == PROXY_HEAD && c->in.len > 0)
        proxy_way_refuse(c, 408, "the request did not come in time");
    else if (c->phase == PROXY_GREETING)
        proxy_way_refuse(c, 0, "its TLS greeting did not come in time");
    else
        proxy_conn_end(c);
}

static void on_tick(void *arg)
{
    struct proxy *p = arg;
    int64_t now = loop_now_ms();

    for (struct proxy_conn *c = p->conns, *next; c; c = next) {
        next = c->next;
        if (c->due_ms && now >= c->due_ms)
            late(c);
        else if (is_open(c) && now - c->moved_ms >= p->idle_ms)
            cut(c, "it was idle for too long");
    }
}

static int64_t or (int64_t value, int64_t usual)
{
    return value > 0 ? value : usual;
}

struct proxy *proxy_new(struct loop *l, struct worker *w, int listen_fd,
                        const struct proxy_rules *rules,
                        const struct proxy_verbs *verbs, void *arg)
{
    struct proxy *p = mem_zero(1, sizeof(*p));

    p->loop = l;
    p->listen_fd = listen_fd;
    p->rules = rules;
    p->verbs = verbs;
    p->arg = arg;
    p->conns_max = rules->conns_max > 0 ? rules->conns_max : PROXY_CONNS_MAX;
    p->head_ms = or (rules->head_ms, PROXY_HEAD_MS);
    p->greeting_ms = or (rules->greeting_ms, PROXY_GREETING_MS);
    p->idle_ms = or (rules->idle_ms, PROXY_IDLE_MS);
    p->bytes_max = or (rules->bytes_max, PROXY_BYTES_MAX);
    p->dial =
        (struct proxy_dial_conf){.loop = l,
                                 .worker = w,
                                 .rules = &rules->addrs,
                                 .dial_ms = or (rules->dial_ms, PROXY_DIAL_MS),
                                 .next_ms = PROXY_DIAL_NEXT_MS};
    p->listening = loop_fd_start(l, listen_fd, LOOP_READ, on_listener, p);
    p->tick = loop_timer_start(l, PROXY_TICK_MS, PROXY_TICK_MS, on_tick, p);
    return p;
}

void proxy_free(struct proxy *p)
{
    if (!p)
        return;
    for (struct proxy_conn *c = p->conns, *next; c; c = next) {
        next = c->next;
        cut(c, "the session has ended");
    }
    loop_fd_stop(p->listening);
    loop_timer_stop(p->tick);
    free(p);
}

int proxy_count(const struct proxy *p)
{
    return p->count;
}
