#include "agent/proxy_flow.h"

#include "base/own.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

void proxy_flow_init(struct proxy_flow *f, size_t ahead_max)
{
    *f = (struct proxy_flow){.pipe = {-1, -1}};
    buf_init(&f->ahead, ahead_max);
}

void proxy_flow_fini(struct proxy_flow *f)
{
    own_fd_release(&f->pipe[0]);
    own_fd_release(&f->pipe[1]);
    f->pipe[0] = f->pipe[1] = -1;
    buf_fini(&f->ahead);
}

bool proxy_flow_is_full(const struct proxy_flow *f)
{
    return f->held > 0 || f->ahead_at < f->ahead.len;
}

static bool is_later(int error)
{
    return error == EAGAIN || error == EINTR;
}

static int drain_ahead(struct proxy_flow *f, int to)
{
    while (f->ahead_at < f->ahead.len) {
        ssize_t n =
            send(to, f->ahead.data + f->ahead_at, f->ahead.len - f->ahead_at,
                 MSG_NOSIGNAL | MSG_DONTWAIT);

        if (n < 0)
            return is_later(errno) ? 0 : -1;
        f->ahead_at += (size_t)n;
        f->bytes += n;
    }
    buf_clear(&f->ahead);
    f->ahead_at = 0;
    return 0;
}

static int drain_pipe(struct proxy_flow *f, int to)
{
    while (f->held > 0) {
        ssize_t n = splice(f->pipe[0], NULL, to, NULL, f->held,
                           SPLICE_F_NONBLOCK | SPLICE_F_MOVE);

        if (n < 0)
            return is_later(errno) ? 0 : -1;
        f->held -= (size_t)n;
        f->bytes += n;
    }
    return 0;
}

int proxy_flow_drain(struct proxy_flow *f, int to)
{
    if (drain_ahead(f, to) < 0)
        return -1;
    if (f->ahead_at == f->ahead.len && drain_pipe(f, to) < 0)
        return -1;
    if (f->is_ended && !f->is_shut && !proxy_flow_is_full(f)) {
        f->is_shut = true;
        shutdown(to, SHUT_WR);
    }
    return 0;
}

/* Few bytes: a copy costs less than a pipe. */
static int copy_some(struct proxy_flow *f, int from)
{
    uint8_t *at = buf_reserve(&f->ahead, PROXY_FLOW_COPY);
    ssize_t n = recv(from, at, PROXY_FLOW_COPY, MSG_DONTWAIT);

    if (n < 0)
        return is_later(errno) ? 0 : -1;
    buf_commit(&f->ahead, (size_t)n);
    f->is_ended = n == 0;
    f->is_many = n == PROXY_FLOW_COPY;
    return f->is_many;
}

static int splice_some(struct proxy_flow *f, int from)
{
    ssize_t n = splice(from, NULL, f->pipe[1], NULL, PROXY_FLOW_TURN,
                       SPLICE_F_NONBLOCK | SPLICE_F_MOVE);

    if (n < 0)
        return is_later(errno) ? 0 : -1;
    f->is_ended = n == 0;
    f->held = (size_t)n;
    return 1;
}

/* 1 = there may be more, 0 = not now, -1. Without a pipe all is copied. */
static int take_some(struct proxy_flow *f, int from)
{
    if (f->is_many && f->pipe[0] < 0 &&
        pipe2(f->pipe, O_CLOEXEC | O_NONBLOCK) < 0)
        f->is_many = false;
    return f->is_many ? splice_some(f, from) : copy_some(f, from);
}

int proxy_flow_move(struct proxy_flow *f, int from, int to)
{
    const int64_t began = f->bytes;
    int more = 1;

    while (more > 0) {
        if (proxy_flow_drain(f, to) < 0)
            return -1;
        if (proxy_flow_is_full(f) || f->is_ended ||
            f->bytes - began >= PROXY_FLOW_TURN)
            return 0;
        more = take_some(f, from);
    }
    if (more < 0 || proxy_flow_drain(f, to) < 0)
        return -1;
    f->is_many = f->is_many && f->bytes - began >= PROXY_FLOW_COPY;
    return 0;
}
