#include "tests/lib/peer.h"

#include "base/mem.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct wait {
    struct loop *loop;
    bool (*done)(void *arg);
    void *arg;
    int64_t until_ms;
};

static void wait_look(void *arg)
{
    struct wait *w = arg;

    if ((w->done && w->done(w->arg)) || loop_now_ms() >= w->until_ms)
        loop_stop(w->loop);
}

bool run_until(struct loop *l, bool (*done)(void *arg), void *arg, int ms)
{
    struct wait w = {l, done, arg, loop_now_ms() + ms};
    struct loop_timer *t = loop_timer_start(l, 0, 1, wait_look, &w);

    loop_run(l);
    loop_timer_stop(t);
    return done ? done(arg) : true;
}

void run_for(struct loop *l, int ms)
{
    run_until(l, NULL, NULL, ms);
}

static void peer_read(void *arg, int events)
{
    struct peer *p = arg;
    ssize_t n;

    do { /* after a reset nobody calls again */
        p->in = mem_resize(p->in, p->len + 65536 + 1, 1);
        n = recv(p->fd, p->in + p->len, 65536, MSG_DONTWAIT);
        if (n > 0)
            p->len += (size_t)n;
        p->in[p->len] = 0;
    } while (n > 0 && events & LOOP_HANGUP);
    if (n > 0 || (n < 0 && errno == EAGAIN))
        return;
    p->is_closed = true;
    p->is_reset = n < 0;
    loop_fd_stop(p->watch);
    p->watch = NULL;
}

struct peer *peer_dial(struct loop *l, int port)
{
    return peer_dial_from(l, port, "127.0.0.1");
}

struct peer *peer_dial_from(struct loop *l, int port, const char *from)
{
    struct sockaddr_in self = {.sin_family = AF_INET,
                               .sin_addr.s_addr = inet_addr(from)};
    struct sockaddr_in at = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct peer *p = mem_zero(1, sizeof(*p));

    p->loop = l;
    p->in = mem_zero(1, 1);
    p->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (p->fd < 0 || bind(p->fd, (struct sockaddr *)&self, sizeof(self)) < 0 ||
        connect(p->fd, (struct sockaddr *)&at, sizeof(at)) < 0)
        abort();
    p->watch = loop_fd_start(l, p->fd, LOOP_READ, peer_read, p);
    return p;
}

void peer_free(struct peer *p)
{
    loop_fd_stop(p->watch);
    close(p->fd);
    free(p->in);
    free(p);
}

void peer_send(struct peer *p, const void *bytes, size_t len)
{
    const char *at = bytes;

    for (int i = 0; len && i < 1000; i++) {
        const ssize_t n = send(p->fd, at, len, MSG_DONTWAIT | MSG_NOSIGNAL);

        if (n > 0) {
            at += n;
            len -= (size_t)n;
        } else if (errno == EAGAIN) {
            run_for(p->loop, 1);
        } else {
            return; /* closed on us: the test sees it */
        }
    }
}

void peer_say(struct peer *p, const char *text)
{
    peer_send(p, text, strlen(text));
}

static bool peer_is_closed(void *arg)
{
    return ((struct peer *)arg)->is_closed;
}

bool peer_wait_closed(struct peer *p, int ms)
{
    return run_until(p->loop, peer_is_closed, p, ms);
}

struct peer_want {
    struct peer *peer;
    const char *text;
    size_t len;
};

static bool peer_has(void *arg)
{
    struct peer_want *w = arg;

    return w->text ? strstr(w->peer->in, w->text) != NULL
                   : w->peer->len >= w->len;
}

bool peer_wait(struct peer *p, const char *text, int ms)
{
    return run_until(p->loop, peer_has, &(struct peer_want){p, text, 0}, ms);
}

bool peer_wait_len(struct peer *p, size_t len, int ms)
{
    return run_until(p->loop, peer_has, &(struct peer_want){p, NULL, len}, ms);
}

void peer_clear(struct peer *p)
{
    p->len = 0;
    p->in[0] = 0;
}

size_t peer_frame(unsigned char *out, int first, const void *payload,
                  size_t len)
{
    static const unsigned char mask[4] = {0x11, 0x22, 0x33, 0x44};
    size_t n = 0;

    out[n++] = (unsigned char)first;
    if (len < 126) {
        out[n++] = (unsigned char)(0x80 | len);
    } else if (len < 65536) {
        out[n++] = 0x80 | 126;
        out[n++] = (unsigned char)(len >> 8);
        out[n++] = (unsigned char)len;
    } else {
        out[n++] = 0x80 | 127;
        for (int i = 7; i >= 0; i--)
            out[n++] = (unsigned char)(len >> (8 * i));
    }
    memcpy(out + n, mask, 4);
    n += 4;
    for (size_t i = 0; i < len; i++)
        out[n++] = ((const unsigned char *)payload)[i] ^ mask[i & 3];
    return n;
}
