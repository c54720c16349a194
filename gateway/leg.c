#include "gateway/leg.h"

#include "base/mem.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

void leg_init(struct leg *l, enum source_kind kind)
{
    *l = (struct leg){.source = {kind}, .fd = -1};
}

int leg_open(struct leg *l, int epoll_fd, int fd, int64_t now_ms)
{
    struct epoll_event ev = {.events =
                                 EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET,
                             .data.ptr = &l->source};
    int one = 1;

    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &ev) < 0) {
        close(fd);
        return -1;
    }
    l->fd = fd;
    l->heard_ms = now_ms;
    return 0;
}

static void pend_free(struct leg *l)
{
    free(l->pend);
    l->pend = NULL;
    l->pend_at = l->pend_len = l->pend_cap = 0;
}

void leg_close(struct leg *l, bool is_polite)
{
    if (l->fd < 0)
        return;
    if (l->tls && is_polite && !l->is_shaking && !l->is_broken)
        tls_bye(l->tls);
    tls_free(l->tls);
    close(l->fd); /* leaves the epoll set with it */
    pend_free(l);
    l->tls = NULL;
    l->fd = -1;
    l->can_read = l->can_write = false;
}

void leg_event(struct leg *l, uint32_t events)
{
    if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR))
        l->can_read = true;
    if (events & (EPOLLOUT | EPOLLHUP | EPOLLERR))
        l->can_write = true;
    if (events & (EPOLLRDHUP | EPOLLHUP))
        l->is_hung_up = true;
    if (events & EPOLLERR)
        l->is_broken = true;
}

bool leg_is_readable(const struct leg *l)
{
    return l->fd >= 0 && l->can_read && !l->is_ended && !l->is_broken &&
           !l->is_shaking && (!l->read_needs_write || l->can_write);
}

bool leg_has_news(const struct leg *l)
{
    return leg_is_readable(l) || (l->fd >= 0 && (l->is_ended || l->is_broken));
}

static bool leg_is_writable(const struct leg *l)
{
    return l->fd >= 0 && l->can_write && !l->is_broken && !l->is_shaking &&
           (!l->write_needs_read || l->can_read);
}

bool leg_shake(struct leg *l)
{
    int rc = tls_handshake(l->tls);

    if (rc == 0)
        l->is_shaking = false;
    else if (rc == TLS_WANT_READ)
        l->can_read = false;
    else if (rc == TLS_WANT_WRITE)
        l->can_write = false;
    else
        l->is_broken = true;
    return rc == 0;
}

static ssize_t read_plain(struct leg *l, uint8_t *out, size_t cap)
{
    ssize_t n;

    do {
        n = recv(l->fd, out, cap, 0);
    } while (n < 0 && errno == EINTR);
    if (n > 0) {
        /* a short read has emptied the socket, unless its end comes next */
        if ((size_t)n < cap && !l->is_hung_up)
            l->can_read = false;
        return n;
    }
    if (n == 0) {
        l->is_ended = true;
        return LEG_ENDED;
    }
    if (errno == EAGAIN) {
        l->can_read = false;
        return LEG_NOTHING;
    }
    l->is_broken = true;
    return LEG_BROKEN;
}

/* One record a call: gather until cap, so that the other leg writes once. */
static ssize_t read_tls(struct leg *l, uint8_t *out, size_t cap)
{
    size_t got = 0;

    while (got < cap) {
        ssize_t n = tls_read(l->tls, out + got, cap - got);

        if (n > 0) {
            got += (size_t)n;
            continue;
        }
        if (n == TLS_WANT_READ)
            l->can_read = false;
        else if (n == TLS_WANT_WRITE)
            l->can_write = !(l->read_needs_write = true);
        else if (n == TLS_CLOSED)
            l->is_ended = true;
        else
            l->is_broken = true;
        break;
    }
    if (got)
        return (ssize_t)got;
    if (l->is_broken)
        return LEG_BROKEN;
    return l->is_ended ? LEG_ENDED : LEG_NOTHING;
}

ssize_t leg_read(struct leg *l, uint8_t *out, size_t cap)
{
    if (l->is_broken)
        return LEG_BROKEN;
    if (l->is_ended)
        return LEG_ENDED;
    if (!leg_is_readable(l))
        return LEG_NOTHING;
    l->read_needs_write = false;
    return l->tls ? read_tls(l, out, cap) : read_plain(l, out, cap);
}

/* Bytes written (0 = would block); is_broken on failure. */
static size_t write_some(struct leg *l, const uint8_t *bytes, size_t len)
{
    ssize_t n;

    if (l->tls) {
        l->write_needs_read = false;
        n = tls_write(l->tls, bytes, len);
        if (n > 0)
            return (size_t)n;
        if (n == TLS_WANT_WRITE)
            l->can_write = false;
        else if (n == TLS_WANT_READ)
            l->can_read = !(l->write_needs_read = true);
        else
            l->is_broken = true;
        return 0;
    }
    do {
        n = send(l->fd, bytes, len, MSG_NOSIGNAL);
    } while (n < 0 && errno == EINTR);
    if (n >= 0) {
        if ((size_t)n < len)
            l->can_write = false;
        return (size_t)n;
    }
    if (errno == EAGAIN)
        l->can_write = false;
    else
        l->is_broken = true;
    return 0;
}

static size_t write_all(struct leg *l, const uint8_t *bytes, size_t len)
{
    size_t at = 0;

    while (at < len && leg_is_writable(l)) {
        size_t n = write_some(l, bytes + at, len - at);

        if (n == 0)
            break;
        at += n;
    }
    return at;
}

static void pend_add(struct leg *l, const uint8_t *bytes, size_t len)
{
    size_t need = l->pend_len + len;

    if (need > LEG_PEND_MAX) { /* a bound that callers keep: see relay.c */
        l->is_broken = true;
        return;
    }
    if (l->pend_at + need > l->pend_cap) {
        if (l->pend_at) {
            memmove(l->pend, l->pend + l->pend_at, l->pend_len);
            l->pend_at = 0;
        }
        if (need > l->pend_cap) {
            l->pend = mem_resize(l->pend, need, 1);
            l->pend_cap = (uint32_t)need;
        }
    }
    memcpy(l->pend + l->pend_at + l->pend_len, bytes, len);
    l->pend_len = (uint32_t)need;
}

void leg_send(struct leg *l, const void *bytes, size_t len)
{
    const uint8_t *p = bytes;
    size_t done = 0;

    if (l->fd < 0 || l->is_shut || l->is_broken)
        return;
    if (!l->pend_len)
        done = write_all(l, p, len);
    if (done < len && !l->is_broken)
        pend_add(l, p + done, len - done);
}

static void shut_now(struct leg *l)
{
    if (l->tls)
        tls_bye(l->tls);
    shutdown(l->fd, SHUT_WR);
}

void leg_flush(struct leg *l)
{
    size_t n;

    if (!l->pend_len || !leg_is_writable(l))
        return;
    n = write_all(l, l->pend + l->pend_at, l->pend_len);
    l->pend_at += (uint32_t)n;
    l->pend_len -= (uint32_t)n;
    if (l->pend_len)
        return;
    pend_free(l);
    if (l->is_shut && !l->is_broken)
        shut_now(l);
}

void leg_shut(struct leg *l)
{
    if (l->is_shut || l->fd < 0)
        return;
    l->is_shut = true;
    if (!l->pend_len && !l->is_broken && !l->is_shaking)
        shut_now(l);
}

int64_t leg_silence_ms(const struct leg *l)
{
    struct tcp_info info;
    socklen_t len = sizeof(info);

    if (getsockopt(l->fd, IPPROTO_TCP, TCP_INFO, &info, &len) < 0)
        return 0;
    return info.tcpi_last_ack_recv;
}
