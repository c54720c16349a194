/* One connection to a Redis: dialled, logged in, asked. */
#include "base/redis_internal.h"

#include "base/keyfile.h"
#include "base/mem.h"
#include "base/own.h"
#include "base/seal.h"
#include "base/tls.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#define REDIS_READ_BYTES 16384
#define REDIS_PIPELINE_BYTES_MAX (2 << 20)

int64_t redis_now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* --- bytes --- */

/* 0 when the socket is ready for events before until_ms. */
static int link_wait(const struct redis_link *l, short events, int64_t until_ms,
                     struct err *e)
{
    struct pollfd p = {.fd = l->fd, .events = events};

    for (;;) {
        const int64_t left_ms = until_ms - redis_now_ms();
        const int n = poll(&p, 1, left_ms > 0 ? (int)left_ms : 0);

        if (n > 0)
            return 0;
        if (n == 0 && left_ms <= 0)
            return err_set(e, ERR_SYSTEM, "redis: no answer in time");
        if (n < 0 && errno != EINTR)
            return err_sys(e, "redis: poll");
    }
}

static int link_tls_wait(const struct redis_link *l, ssize_t why,
                         int64_t until_ms, struct err *e)
{
    if (why == TLS_WANT_READ)
        return link_wait(l, POLLIN, until_ms, e);
    if (why == TLS_WANT_WRITE)
        return link_wait(l, POLLOUT, until_ms, e);
    return err_set(e, ERR_SYSTEM,
                   why == TLS_CLOSED ? "redis: the connection was closed"
                                     : "redis: TLS failed");
}

/* Some bytes moved, or -1. */
static ssize_t link_read(const struct redis_link *l, void *out, size_t cap,
                         int64_t until_ms, struct err *e)
{
    for (;;) {
        const ssize_t n =
            l->tls ? tls_read(l->tls, out, cap) : recv(l->fd, out, cap, 0);

        if (n > 0)
            return n;
        if (l->tls) {
            if (link_tls_wait(l, n, until_ms, e) < 0)
                return -1;
        } else if (n == 0) {
            return err_set(e, ERR_SYSTEM, "redis: the connection was closed");
        } else if (errno != EAGAIN && errno != EINTR) {
            return err_sys(e, "redis: read");
        } else if (link_wait(l, POLLIN, until_ms, e) < 0) {
            return -1;
        }
    }
}

static ssize_t link_write(const struct redis_link *l, const void *bytes,
                          size_t len, int64_t until_ms, struct err *e)
{
    for (;;) {
        const ssize_t n = l->tls ? tls_write(l->tls, bytes, len)
                                 : send(l->fd, bytes, len, MSG_NOSIGNAL);

        if (n > 0)
            return n;
        if (l->tls) {
            if (link_tls_wait(l, n, until_ms, e) < 0)
                return -1;
        } else if (errno != EAGAIN && errno != EINTR) {
            return err_sys(e, "redis: write");
        } else if (link_wait(l, POLLOUT, until_ms, e) < 0) {
            return -1;
        }
    }
}

/* --- asking --- */

static int link_send(const struct redis_link *l, const struct redis_cmd *cmds,
                     size_t count, int64_t until_ms, bool *is_sent,
                     struct err *e)
{
    struct buf out;
    int r = 0;

    buf_init_secret(&out, REDIS_PIPELINE_BYTES_MAX);
    for (size_t i = 0; r == 0 && i < count; i++)
        r = redis_wire_put(&out, &cmds[i], e);
    for (size_t done = 0; r == 0 && done < out.len;) {
        const ssize_t n =
            link_write(l, out.data + done, out.len - done, until_ms, e);

        if (n < 0)
            r = -1;
        else
            done += (size_t)n;
        *is_sent = *is_sent || n > 0;
    }
    buf_fini(&out);
    return r;
}

static int link_receive(const struct redis_link *l, int64_t until_ms,
                        struct redis_reply **out, struct err *e)
{
    char bytes[REDIS_READ_BYTES];

    for (;;) {
        const int r = redis_wire_take(l->wire, out, e);
        ssize_t n;

        if (r != 0)
            return r < 0 ? -1 : 0;
        n = link_read(l, bytes, sizeof(bytes), until_ms, e);
        if (n < 0 || redis_wire_feed(l->wire, bytes, (size_t)n, e) < 0)
            return -1;
        /* one that drips is as slow as one that is silent */
        if (redis_now_ms() >= until_ms)
            return err_set(e, ERR_SYSTEM, "redis: no whole answer in time");
    }
}

int redis_link_ask(struct redis_link *l, const struct redis_cmd *cmds,
                   size_t count, int64_t until_ms, struct redis_reply **out,
                   bool *is_sent, struct err *e)
{
    size_t got = 0;

    if (link_send(l, cmds, count, until_ms, is_sent, e) == 0)
        while (got < count && link_receive(l, until_ms, &out[got], e) == 0)
            got++;
    if (got == count && !redis_wire_has_more(l->wire))
        return 0;
    if (got == count)
        err_set(e, ERR_SYSTEM, "redis: more came than was asked for");
    while (got > 0)
        redis_reply_free(out[--got]);
    return -1;
}

int redis_refused(const struct redis_reply *r, struct err *e)
{
    char text[160];
    size_t n = 0;

    for (const char *p = r->text; *p && n + 1 < sizeof(text); p++)
        text[n++] = (char)(*p >= ' ' && *p < 0x7f ? *p : '?');
    text[n] = '\0';
    return err_set(e, ERR_SYSTEM, "redis: %s", text);
}

bool redis_link_is_quiet(const struct redis_link *l)
{
    struct pollfd p = {.fd = l->fd, .events = POLLIN};

    return poll(&p, 1, 0) == 0 && !(l->tls && tls_pending(l->tls));
}

/* --- dialling --- */

static int link_connect(struct redis_link *l, const struct addrinfo *to,
                        int64_t until_ms, struct err *e)
{
    const int on = 1;
    socklen_t size = sizeof(int);
    int failed = 0;

    l->fd = socket(to->ai_family,
                   to->ai_socktype | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (l->fd < 0)
        return err_sys(e, "redis: socket");
    setsockopt(l->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    setsockopt(l->fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
    if (connect(l->fd, to->ai_addr, to->ai_addrlen) == 0)
        return 0;
    if (errno != EINPROGRESS)
        return err_sys(e, "redis: connect");
    if (link_wait(l, POLLOUT, until_ms, e) < 0)
        return -1;
    if (getsockopt(l->fd, SOL_SOCKET, SO_ERROR, &failed, &size) < 0)
        return err_sys(e, "redis: connect");
    errno = failed;
    return failed ? err_sys(e, "redis: connect") : 0;
}

static int link_dial(struct redis_link *l, const struct redis_conf *conf,
                     int64_t until_ms, struct err *e)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM,
                                   .ai_flags = AI_NUMERICSERV};
    struct addrinfo *list = NULL;
    char port[8];
    int r;

    snprintf(port, sizeof(port), "%u", conf->port);
    r = getaddrinfo(conf->host, port, &hints, &list);
    if (r != 0)
        return err_set(e, ERR_SYSTEM, "redis: %s: %s", conf->host,
                       gai_strerror(r));
    r = -1;
    for (const struct addrinfo *at = list; at && r < 0; at = at->ai_next) {
        own_fd_release(&l->fd);
        l->fd = -1;
        r = link_connect(l, at, until_ms, e);
    }
    freeaddrinfo(list);
    return r;
}

static int link_secure(struct redis_link *l, const struct redis_conf *conf,
                       struct ssl_ctx_st *ctx, int64_t until_ms, struct err *e)
{
    int r;

    if (!ctx)
        return 0;
    l->tls = tls_dial(ctx, l->fd, conf->host);
    while ((r = tls_handshake(l->tls)) != 0)
        if (link_tls_wait(l, r, until_ms, e) < 0)
            return err_wrap(e, "handshake with %s", conf->host);
    return 0;
}

/* The file is read each time, so that a new password needs no restart. */
static int link_password(const struct redis_conf *conf, struct buf *out,
                         struct err *e)
{
    if (keyfile_read(conf->password_file, out, e) < 0) {
        e->kind = ERR_SYSTEM;
        return err_wrap(e, "redis");
    }
    while (out->len > 0 &&
           (out->data[out->len - 1] == '\n' || out->data[out->len - 1] == '\r'))
        out->len--;
    return 0;
}

/* AUTH and SELECT, sent at once. */
static int link_login(struct redis_link *l, const struct redis_conf *conf,
                      const struct buf *password, int64_t until_ms,
                      struct err *e)
{
    struct redis_cmd cmds[2] = {0};
    struct redis_reply *replies[2];
    size_t count = 0;
    bool is_sent = false;
    char db[12];
    int r = 0;

    if (password->len > 0) {
        struct redis_cmd *auth = &cmds[count++];

        redis_arg(auth, "AUTH");
        if (conf->user)
            redis_arg(auth, conf->user);
        redis_arg_bytes(auth, password->data, password->len);
    }
    if (conf->db) {
        snprintf(db, sizeof(db), "%d", conf->db);
        redis_arg(&cmds[count], "SELECT");
        redis_arg(&cmds[count++], db);
    }
    if (redis_link_ask(l, cmds, count, until_ms, replies, &is_sent, e) < 0)
        return -1;
    for (size_t i = 0; i < count; i++) {
        if (r == 0 && replies[i]->kind == REDIS_ERROR)
            r = redis_refused(replies[i], e);
        redis_reply_free(replies[i]);
    }
    return r;
}

static int link_open(struct redis_link *l, const struct redis_conf *conf,
                     struct ssl_ctx_st *tls_ctx, struct err *e)
{
    const int64_t until_ms = redis_now_ms() + conf->connect_ms;
    struct buf password;
    int r = 0;

    buf_init_secret(&password, REDIS_PASSWORD_MAX);
    if (conf->password_file)
        r = link_password(conf, &password, e);
    if (r == 0 && (link_dial(l, conf, until_ms, e) < 0 ||
                   link_secure(l, conf, tls_ctx, until_ms, e) < 0 ||
                   link_login(l, conf, &password, until_ms, e) < 0))
        r = -1;
    buf_fini(&password);
    return r;
}

struct redis_link *redis_link_new(const struct redis_conf *conf,
                                  struct ssl_ctx_st *tls_ctx, struct err *e)
{
    struct redis_link *l = mem_zero(1, sizeof(*l));

    l->fd = -1;
    l->wire = redis_wire_new();
    if (link_open(l, conf, tls_ctx, e) == 0)
        return l;
    redis_link_free(l);
    return NULL;
}

void redis_link_free(struct redis_link *l)
{
    if (!l)
        return;
    if (l->tls)
        tls_bye(l->tls);
    tls_free(l->tls);
    own_fd_release(&l->fd);
    redis_wire_free(l->wire);
    free(l);
}
