#include "agent/broker_internal.h"

#include "base/keyfile.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/own.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BROKER_TICK_MS 250
#define READ_BYTES 16384 /* at once */

/* Lines that a program can bring about. */
static struct log_rate rate = {.burst = 100, .interval_ms = 100};

/* --- an end --- */

static void tell_end(const struct broker_conn *c)
{
    if (!c->method[0] && !c->why[0])
        return; /* it came and went */
    if (!log_rate_ok(&rate, loop_now_ms()))
        return;
    log_info("broker", "verdict", "s", c->verdict, "api", "s",
             c->path[0] ? broker_api_name(c->api) : "", "method", "s",
             c->method, "path", "s", c->path, "status", "i", (int64_t)c->status,
             "up", "i", c->up_bytes, "down", "i", c->down_bytes, "ms", "i",
             loop_now_ms() - c->began_ms, "why", "s", c->why, "suppressed", "i",
             rate.suppressed, NULL);
}

static void tell_spent(struct broker *b)
{
    if (b->verbs->spent)
        b->verbs->spent(b->arg, b->budget.requests, b->budget.bytes);
}

void broker_conn_end(struct broker_conn *c)
{
    struct broker *b = c->b;
    struct broker_conn **at = &b->conns;

    while (*at != c)
        at = &(*at)->next;
    *at = c->next;
    b->count--;
    tell_end(c);
    if (c->up_bytes || c->down_bytes)
        tell_spent(b);
    if (c->stream)
        http_stream_stop(c->stream);
    loop_fd_stop(c->watch);
    own_fd_release(&c->fd);
    buf_fini(&c->in);
    buf_fini(&c->up);
    buf_fini(&c->out);
    buf_fini_secret(&c->key);
    buf_fini_secret(&c->held);
    free(c);
}

void broker_conn_cut(struct broker_conn *c, const char *verdict,
                     const char *why)
{
    c->verdict = verdict;
    snprintf(c->why, sizeof(c->why), "%s", why);
    broker_conn_end(c);
}

/* --- the program's side --- */

/* Room for what it says next? What comes behind its request is read, too: so
 * its end is seen. */
static size_t may_read(const struct broker_conn *c)
{
    size_t room = READ_BYTES;

    if (c->phase == BROKER_HEAD)
        room = c->in.max - c->in.len;
    else if (c->phase == BROKER_CALL && !proxy_body_is_over(&c->body))
        room = broker_way_room(c);
    return room < READ_BYTES ? room : READ_BYTES;
}

void broker_conn_watch(struct broker_conn *c)
{
    loop_fd_events(c->watch, (may_read(c) > 0 ? LOOP_READ : 0) |
                                 (c->out_at < c->out.len ? LOOP_WRITE : 0));
}

int broker_conn_flush(struct broker_conn *c)
{
    while (c->out_at < c->out.len) {
        ssize_t n = send(c->fd, c->out.data + c->out_at, c->out.len - c->out_at,
                         MSG_NOSIGNAL | MSG_DONTWAIT);

        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            break;
        if (n < 0)
            return -1;
        c->moved_ms = loop_now_ms();
        c->out_at += (size_t)n;
    }
    if (c->out_at == c->out.len || c->out_at >= BROKER_AHEAD_MAX) {
        buf_drop(&c->out, c->out_at);
        c->out_at = 0;
    }
    if (c->out.len == 0) {
        if (c->phase == BROKER_LAST && !c->is_shut) {
            c->is_shut = true;
            c->due_ms = loop_now_ms() + BROKER_LINGER_MS;
            shutdown(c->fd, SHUT_WR);
        }
    }
    broker_conn_watch(c);
    return 0;
}

/* A program that goes while its API is asked is not waited for: the API is
 * told so by its connection's end. */
static void program_gone(struct broker_conn *c)
{
    if (c->phase == BROKER_CALL)
        broker_conn_cut(c, c->verdict, "the program is gone");
    else
        broker_conn_end(c);
}

static void read_program(struct broker_conn *c)
{
    uint8_t bytes[READ_BYTES];
    ssize_t n = recv(c->fd, bytes, may_read(c), MSG_DONTWAIT);

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        program_gone(c);
        return;
    }
    if (c->phase == BROKER_LAST ||
        (c->phase == BROKER_CALL && proxy_body_is_over(&c->body)))
        return; /* behind its request: nobody's */
    c->moved_ms = loop_now_ms();
    buf_append(&c->in, bytes, (size_t)n);
    broker_way_go(c);
}

static void on_program(void *arg, int events)
{
    struct broker_conn *c = arg;
    struct http_stream *stream = c->stream;

    if (events & LOOP_WRITE) {
        if (broker_conn_flush(c) < 0) {
            program_gone(c);
            return;
        }
        /* the connection may be gone behind this: what it wanted to read
         * comes again */
        if (stream && c->out.len == 0) {
            http_stream_resume(stream);
            return;
        }
    }
    if ((events & (LOOP_READ | LOOP_HANGUP)) && may_read(c) > 0)
        read_program(c);
    else if (events & LOOP_HANGUP)
        program_gone(c);
}

/* --- accepting --- */

static void adopt(struct broker *b, int fd)
{
    struct broker_conn *c = mem_zero(1, sizeof(*c));
    int one = 1;

    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    c->b = b;
    c->fd = fd;
    c->verdict = "allowed";
    c->began_ms = c->moved_ms = loop_now_ms();
    c->due_ms = c->began_ms + b->head_ms;
    buf_init(&c->in, PROXY_HEAD_MAX + READ_BYTES);
    buf_init(&c->up, BROKER_AHEAD_MAX);
    buf_init(&c->out, 4 * BROKER_AHEAD_MAX);
    buf_init_secret(&c->key, KEYFILE_LINE_MAX);
    buf_init_secret(&c->held, 2 * KEYFILE_LINE_MAX + READ_BYTES);
    c->next = b->conns;
    b->conns = c;
    b->count++;
    c->watch = loop_fd_start(b->loop, fd, LOOP_READ, on_program, c);
    if (b->count > b->conns_max) {
        char why[128];

        snprintf(why, sizeof(why), "this program has %d requests under way",
                 b->conns_max);
        broker_way_refuse(c, 429, 1000, why);
    }
}

static void on_listener(void *arg, int events)
{
    struct broker *b = arg;

    (void)events;
    for (int i = 0; i < 16; i++) {
        int fd =
            accept4(b->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

        if (fd < 0)
            return;
        /* those that are told so have a bound, too */
        if (b->count >= 2 * b->conns_max)
            close(fd);
        else
            adopt(b, fd);
    }
}

/* --- time --- */

static void late(struct broker_conn *c)
{
    if (c->phase == BROKER_LAST || (c->phase == BROKER_HEAD && c->in.len == 0))
        broker_conn_end(c);
    else
        broker_way_refuse(c, 408, 0, "the request did not come in time");
}

static void idle(struct broker_conn *c, const char *why)
{
    if (c->phase == BROKER_CALL)
        broker_way_refuse(c, 504, 0, why);
    else
        broker_conn_end(c);
}

static void on_tick(void *arg)
{
    struct broker *b = arg;
    int64_t now = loop_now_ms();

    for (struct broker_conn *c = b->conns, *next; c; c = next) {
        next = c->next;
        if (c->due_ms && now >= c->due_ms)
            late(c);
        else if (now - c->moved_ms >= b->idle_ms)
            idle(c, "nothing came for too long");
        else if (now - c->began_ms >= b->total_ms)
            idle(c, "the request took too long");
    }
}

static int64_t or (int64_t value, int64_t usual)
{
    return value > 0 ? value : usual;
}

struct broker *broker_new(struct loop *l, int listen_fd,
                          const struct broker_rules *rules,
                          const struct broker_verbs *verbs, void *arg,
                          struct err *e)
{
    struct http_pool *pool = http_pool_new(l);
    struct broker *b;

    if (!pool) {
        err_set(e, ERR_SYSTEM, "libcurl cannot be loaded");
        return NULL;
    }
    b = mem_zero(1, sizeof(*b));
    b->loop = l;
    b->pool = pool;
    b->listen_fd = listen_fd;
    b->rules = rules;
    b->verbs = verbs;
    b->arg = arg;
    b->conns_max = rules->conns_max > 0 ? rules->conns_max : BROKER_CONNS_MAX;
    b->head_ms = or (rules->head_ms, BROKER_HEAD_MS);
    b->body_ms = or (rules->body_ms, BROKER_BODY_MS);
    b->body_max = or (rules->body_max, BROKER_BODY_MAX);
    b->idle_ms = or (rules->idle_ms, BROKER_IDLE_MS);
    b->total_ms = or (rules->total_ms, BROKER_TOTAL_MS);
    broker_budget_init(&b->budget, rules->requests, rules->bytes,
                       rules->per_minute);
    b->budget.requests = rules->spent_requests;
    b->budget.bytes = rules->spent_bytes;
    b->listening = loop_fd_start(l, listen_fd, LOOP_READ, on_listener, b);
    b->tick = loop_timer_start(l, BROKER_TICK_MS, BROKER_TICK_MS, on_tick, b);
    return b;
}

void broker_free(struct broker *b)
{
    if (!b)
        return;
    for (struct broker_conn *c = b->conns, *next; c; c = next) {
        next = c->next;
        broker_conn_cut(c, c->verdict, "the session has ended");
    }
    loop_fd_stop(b->listening);
    loop_timer_stop(b->tick);
    http_pool_free(b->pool);
    broker_budget_fini(&b->budget);
    free(b);
}

int broker_count(const struct broker *b)
{
    return b->count;
}
