/*
 * Connections that were answered before all they sent was read.
 */
#include "base/mem.h"
#include "base/ws_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define WS_LINGERS_MAX 64
#define WS_LINGER_BYTES (4 * 1024 * 1024)
#define WS_LINGER_MS 2000

/*
 * Closing a socket with input unread resets the connection, and the answer
 * that explains why is lost. A duplicate keeps it open and reads to its end.
 */
struct ws_linger {
    struct ws_linger *next, **back;
    struct ws_context *x;
    struct loop_fd *watch;
    struct loop_timer *timer;
    size_t left;
    int fd;
};

static void ws_linger_end(void *arg)
{
    struct ws_linger *g = arg;

    loop_fd_stop(g->watch);
    loop_timer_stop(g->timer);
    close(g->fd);
    *g->back = g->next;
    if (g->next)
        g->next->back = g->back;
    g->x->linger_count--;
    free(g);
}

static void ws_linger_read(void *arg, int events)
{
    struct ws_linger *g = arg;
    char trash[16384];
    const ssize_t n = recv(g->fd, trash, sizeof(trash), MSG_DONTWAIT);

    (void)events;
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0 || (size_t)n >= g->left)
        ws_linger_end(g);
    else
        g->left -= (size_t)n;
}

void ws_linger(struct ws_conn *c)
{
    struct ws_context *x = c->x;
    struct ws_linger *g;
    int fd;

    if (x->linger_count >= WS_LINGERS_MAX || x->is_freed)
        return;
    fd = fcntl(c->fd, F_DUPFD_CLOEXEC, 0);
    if (fd < 0)
        return;
    g = mem_zero(1, sizeof(*g));
    *g = (struct ws_linger){.x = x, .left = WS_LINGER_BYTES, .fd = fd};
    g->next = x->lingers;
    g->back = &x->lingers;
    if (g->next)
        g->next->back = &g->next;
    x->lingers = g;
    x->linger_count++;
    g->watch = loop_fd_start(x->loop, fd, LOOP_READ, ws_linger_read, g);
    g->timer = loop_timer_start(x->loop, WS_LINGER_MS, 0, ws_linger_end, g);
}

void ws_linger_free(struct ws_context *x)
{
    for (struct ws_linger *g = x->lingers, *next; g; g = next) {
        next = g->next;
        ws_linger_end(g);
    }
}
