#include "client/watch.h"

#include "base/mem.h"
#include "base/own.h"

#include <stdlib.h>
#include <sys/epoll.h>

struct watch {
    struct loop_fd *loop_fd;
    int epoll_fd;
    void (*cb)(void *arg);
    void *arg;
};

static int watch_epoll(int fd, uint32_t events)
{
    own_fd int epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event want = {.events = events};

    if (epoll_fd < 0 || epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &want) < 0)
        return -1;
    return own_fd_give(&epoll_fd);
}

bool watch_can(int fd)
{
    own_fd int epoll_fd = watch_epoll(fd, EPOLLIN);

    return epoll_fd >= 0;
}

static void watch_ready(void *arg, int events)
{
    struct watch *w = arg;

    (void)events;
    w->cb(w->arg);
}

struct watch *watch_start(struct loop *l, int fd, int events,
                          void (*cb)(void *arg), void *arg)
{
    int epoll_fd = watch_epoll(fd, events == LOOP_WRITE ? EPOLLOUT : EPOLLIN);
    struct watch *w;

    if (epoll_fd < 0)
        return NULL;
    w = mem_zero(1, sizeof(*w));
    w->epoll_fd = epoll_fd;
    w->cb = cb;
    w->arg = arg;
    w->loop_fd = loop_fd_start(l, epoll_fd, 0, watch_ready, w);
    return w;
}

void watch_on(struct watch *w, bool on)
{
    loop_fd_events(w->loop_fd, on ? LOOP_READ : 0);
}

void watch_stop(struct watch *w)
{
    if (!w)
        return;
    loop_fd_stop(w->loop_fd);
    close(w->epoll_fd);
    free(w);
}
