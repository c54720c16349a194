#include "client/sink.h"

#include "base/buf.h"
#include "base/mem.h"
#include "base/own.h"
#include "client/filter.h"
#include "client/watch.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/socket.h>

#define SINK_TURN_BYTES 32768 /* filtered and written at once */

enum sink_kind {
    SINK_PLAIN,   /* never blocks for long: files */
    SINK_OWN,     /* non-blocking, an opening of our own */
    SINK_SOCKET,  /* send(2) can be told not to wait */
    SINK_CAREFUL, /* shared and blocking: asked before each small write */
};

struct sink {
    struct loop *loop;
    const struct sink_verbs *verbs;
    void *arg;
    enum sink_kind kind;
    int fd;              /* written to */
    int opened_fd;       /* ours to close, or -1 */
    struct watch *watch; /* NULL: SINK_PLAIN */
    bool is_blocked, is_failed, is_pumping, is_held;
    struct buf queue; /* as it came */
    size_t queue_at;  /* taken from its front */
    bool is_filtered;
    uint64_t seen; /* bytes at the queue's front that were shown before */
    struct filter filter;
    struct modes modes;
    /* what is being written, made of `raw` bytes of the queue */
    uint8_t out[SINK_TURN_BYTES + FILTER_HELD_MAX];
    size_t out_len, out_at, raw;
};

/* The same terminal or pipe opened anew: its flags are ours alone. */
static int sink_reopen(int fd)
{
    struct stat st;
    char path[48];

    if (fstat(fd, &st) < 0 || !(S_ISFIFO(st.st_mode) || isatty(fd)))
        return -1;
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    return open(path, O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
}

static bool sink_is_socket(int fd)
{
    struct stat st;

    return fstat(fd, &st) == 0 && S_ISSOCK(st.st_mode);
}

static void sink_pump(struct sink *s);

static void sink_ready(void *arg)
{
    struct sink *s = arg;

    s->is_blocked = false;
    sink_pump(s);
}

struct sink *sink_new(struct loop *l, int fd, bool filter,
                      const struct sink_verbs *verbs, void *arg)
{
    struct sink *s = mem_zero(1, sizeof(*s));

    s->loop = l;
    s->verbs = verbs;
    s->arg = arg;
    s->fd = fd;
    s->opened_fd = -1;
    s->is_filtered = filter;
    filter_init(&s->filter);
    modes_init(&s->modes);
    buf_init(&s->queue, SINK_MAX);
    if (!watch_can(fd))
        return s;
    s->opened_fd = sink_reopen(fd);
    if (s->opened_fd >= 0)
        s->fd = s->opened_fd;
    s->watch = watch_start(l, s->fd, LOOP_WRITE, sink_ready, s);
    if (!s->watch)
        return s;
    s->kind = s->opened_fd >= 0    ? SINK_OWN
              : sink_is_socket(fd) ? SINK_SOCKET
                                   : SINK_CAREFUL;
    return s;
}

void sink_free(struct sink *s)
{
    if (!s)
        return;
    watch_stop(s->watch);
    own_fd_release(&s->opened_fd);
    buf_fini(&s->queue);
    free(s);
}

/* Bytes written, 0 = it would block, -1 = failed (errno). */
static ssize_t sink_write(struct sink *s, const uint8_t *bytes, size_t len)
{
    ssize_t n;

    if (s->kind == SINK_CAREFUL) {
        struct pollfd p = {.fd = s->fd, .events = POLLOUT};

        /* a pipe that is writable takes this much without waiting */
        if (poll(&p, 1, 0) <= 0)
            return 0;
        len = len < PIPE_BUF ? len : PIPE_BUF;
    }
    do
        n = s->kind == SINK_SOCKET
                ? send(s->fd, bytes, len, MSG_DONTWAIT | MSG_NOSIGNAL)
                : write(s->fd, bytes, len);
    while (n < 0 && errno == EINTR);
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
        return 0;
    return n;
}

static void sink_fail(struct sink *s, int error)
{
    s->is_failed = true;
    if (s->watch)
        watch_on(s->watch, false);
    buf_clear(&s->queue);
    s->queue_at = s->out_len = s->out_at = s->raw = 0;
    s->verbs->failed(s->arg, error);
}

/* The next run of the queue into `out`; false when there is none. */
static bool sink_take(struct sink *s)
{
    size_t left = s->queue.len - s->queue_at;
    size_t n = left < SINK_TURN_BYTES ? left : SINK_TURN_BYTES;

    if (s->seen > 0 && n > s->seen)
        n = (size_t)s->seen;
    if (n == 0) {
        buf_clear(&s->queue);
        s->queue_at = 0;
        return false;
    }
    s->out_at = 0;
    s->raw = n;
    s->filter.is_again = s->seen > 0;
    s->seen -= s->seen > 0 ? n : 0;
    if (s->is_filtered) {
        s->out_len =
            filter_run(&s->filter, s->queue.data + s->queue_at, n, s->out);
    } else {
        memcpy(s->out, s->queue.data + s->queue_at, n);
        s->out_len = n;
    }
    s->queue_at += n;
    return true;
}

static void sink_wrote(struct sink *s, size_t n)
{
    modes_see(&s->modes, s->out + s->out_at, n);
    s->out_at += n;
}

/* Write until it would block or nothing is left. */
static void sink_pump(struct sink *s)
{
    if (s->is_pumping)
        return;
    s->is_pumping = true;
    while (!s->is_blocked && !s->is_failed && !s->is_held) {
        ssize_t n;

        if (s->out_at == s->out_len) {
            size_t raw = s->raw;

            s->raw = 0;
            if (raw > 0)
                s->verbs->written(s->arg, raw);
            if (s->is_failed || !sink_take(s))
                break;
            continue;
        }
        n = sink_write(s, s->out + s->out_at, s->out_len - s->out_at);
        if (n < 0)
            sink_fail(s, errno);
        else if (n == 0 && s->watch)
            s->is_blocked = true;
        else if (n == 0)
            poll(NULL, 0, 10); /* a file that wants us to wait */
        else
            sink_wrote(s, (size_t)n);
    }
    s->is_pumping = false;
    if (s->watch && !s->is_failed)
        watch_on(s->watch, s->is_blocked);
}

int sink_add(struct sink *s, const uint8_t *bytes, size_t len)
{
    if (s->is_failed)
        return 0;
    if (s->queue_at > 0) {
        buf_drop(&s->queue, s->queue_at);
        s->queue_at = 0;
    }
    if (buf_append(&s->queue, bytes, len) < 0)
        return -1;
    sink_pump(s);
    return 0;
}

void sink_was_seen(struct sink *s, uint64_t len)
{
    s->seen = len > 0 ? s->queue.len - s->queue_at + len : 0;
}

void sink_hold(struct sink *s, bool hold)
{
    s->is_held = hold;
    if (!hold)
        sink_pump(s);
}

const struct modes *sink_modes(const struct sink *s)
{
    return &s->modes;
}

bool sink_is_at_rest(const struct sink *s)
{
    return s->queue.len == s->queue_at && s->out_at == s->out_len &&
           s->raw == 0;
}
