#include "agent/health.h"

#include "base/mem.h"

#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

/* A connection lives from accept to its first byte, or HEALTH_WAIT_MS. */
struct health_conn {
    struct loop_fd *watch;
    struct loop_timer *deadline;
    int fd;            /* -1 = free slot */
    uint64_t accepted; /* which one it is, in order */
};

struct health {
    struct loop *loop;
    struct loop_fd *watch;
    int fd;
    uint64_t accepted; /* so far */
    struct health_conn conns[HEALTH_CONNS];
};

static const char answer[] = "HTTP/1.1 200 OK\r\n"
                             "Content-Type: text/plain\r\n"
                             "Content-Length: 3\r\n"
                             "Connection: close\r\n\r\n"
                             "ok\n";

static void health_close(struct health_conn *c)
{
    if (c->fd < 0)
        return;
    loop_fd_stop(c->watch);
    loop_timer_stop(c->deadline);
    close(c->fd);
    c->watch = NULL;
    c->deadline = NULL;
    c->fd = -1;
}

/* The answer waits for the first bytes: to close with a request still on its
 * way would reset the connection under the answer. */
static void health_readable(void *arg, int events)
{
    struct health_conn *c = arg;
    char drop[HEALTH_READ_MAX];

    (void)events;
    if (recv(c->fd, drop, sizeof(drop), MSG_DONTWAIT) > 0) {
        ssize_t n = send(c->fd, answer, sizeof(answer) - 1,
                         MSG_DONTWAIT | MSG_NOSIGNAL);

        (void)n; /* a peer that cannot take 90 bytes gets none */
    }
    health_close(c);
}

static void health_late(void *arg)
{
    health_close(arg);
}

/* A free slot; when all are taken the oldest question is dropped. */
static struct health_conn *health_slot(struct health *h)
{
    struct health_conn *oldest = &h->conns[0];

    for (int i = 0; i < HEALTH_CONNS; i++) {
        struct health_conn *c = &h->conns[i];

        if (c->fd < 0)
            return c;
        if (c->accepted < oldest->accepted)
            oldest = c;
    }
    health_close(oldest);
    return oldest;
}

static void health_accept(void *arg, int events)
{
    struct health *h = arg;
    int fd = accept4(h->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    struct health_conn *c;

    (void)events;
    if (fd < 0)
        return;
    c = health_slot(h);
    c->fd = fd;
    c->accepted = ++h->accepted;
    c->watch = loop_fd_start(h->loop, fd, LOOP_READ, health_readable, c);
    c->deadline = loop_timer_start(h->loop, HEALTH_WAIT_MS, 0, health_late, c);
}

struct health *health_start(struct loop *l, int listen_fd)
{
    struct health *h = mem_zero(1, sizeof(*h));

    h->loop = l;
    h->fd = listen_fd;
    for (int i = 0; i < HEALTH_CONNS; i++)
        h->conns[i] = (struct health_conn){.fd = -1};
    h->watch = loop_fd_start(l, listen_fd, LOOP_READ, health_accept, h);
    return h;
}

void health_stop(struct health *h)
{
    if (!h)
        return;
    loop_fd_stop(h->watch);
    for (int i = 0; i < HEALTH_CONNS; i++)
        health_close(&h->conns[i]);
    close(h->fd);
    free(h);
}
