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

int proxy_flow_move(struct proxy_flow *f, int from, int to)
{
    int64_t turn = f->bytes + PROXY_FLOW_TURN;

    if (f->pipe[0] < 0 && pipe2(f->pipe, O_CLOEXEC | O_NONBLOCK) < 0)
        return -1;
    while (proxy_flow_drain(f, to) == 0) {
        ssize_t n;

        if (proxy_flow_is_full(f) || f->is_ended || f->bytes >= turn)
            return 0;
        n = splice(from, NULL, f->pipe[1], NULL, PROXY_FLOW_TURN,
                   SPLICE_F_NONBLOCK | SPLICE_F_MOVE);
        if (n < 0)
            return is_later(errno) ? 0 : -1;
        f->is_ended = n == 0;
        f->held = (size_t)n;
    }
    return -1;
}
