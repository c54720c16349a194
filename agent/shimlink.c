/*
 * States: no shim (listening; up to SHIMLINK_PENDING_MAX connections may say
 * HELLO), one shim (`live`; the listener is paused). A connection lives in a
 * struct link: born in link_new, freed in link_free, promoted to `live` by a
 * right HELLO. Breaking a link while somebody else uses it is done by
 * shutdown(2): the loop then finds its end, and `lost` comes from one place.
 */
#include "agent/shimlink.h"

#include "agent/shimlink_peer.h"
#include "agent/shimlink_start.h"
#include "base/buf.h"
#include "base/mem.h"
#include "base/own.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* Room for every message a shim may send on one connection, and more. */
#define LINK_IN_BYTES 2048
#define SHIMLINK_BACKLOG 16
#define COOKIE_NEW SHIM_COOKIE ".new"

struct link {
    struct shimlink *owner;
    int fd;
    struct loop_fd *watch;
    int64_t since_ms;
    unsigned seen; /* one bit for each shim_type that came */
    int listeners; /* that came */
    bool is_start_sent;
    enum shim_state state; /* as its HELLO said */
    struct buf out;        /* what the socket did not take yet; secret */
    size_t in_len;
    uint8_t in[LINK_IN_BYTES];
};

struct shimlink {
    struct loop *loop;
    struct shimlink_verbs verbs;
    void *arg;
    int dir_fd;
    int listen_fd;
    struct loop_fd *watch;
    struct loop_timer *timer; /* HELLO deadlines; listening again */
    struct link *pending[SHIMLINK_PENDING_MAX];
    struct link *live;
    uid_t runner_uid;
    bool is_caged;
    uint8_t cookie[SHIM_COOKIE_BYTES];
};

/* --- links --- */

static void link_free(struct link *k)
{
    if (!k)
        return;
    loop_fd_stop(k->watch);
    close(k->fd);
    buf_fini_secret(&k->out);
    explicit_bzero(k->in, sizeof(k->in));
    free(k);
}

static void link_events(struct link *k)
{
    loop_fd_events(k->watch, LOOP_READ | (k->out.len ? LOOP_WRITE : 0));
}

/* Write what is queued. A dead socket is found by reading it. */
static void link_flush(struct link *k)
{
    while (k->out.len) {
        ssize_t n =
            send(k->fd, k->out.data, k->out.len, MSG_NOSIGNAL | MSG_DONTWAIT);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        buf_drop(&k->out, (size_t)n);
    }
    if (!k->out.len)
        buf_fini_secret(&k->out); /* START carries the user's secrets */
    link_events(k);
}

/* Queue a whole message and write what goes. msg begins with the place for
 * its length, which is filled in here. */
static int link_send(struct link *k, uint8_t *msg, size_t len, struct err *e)
{
    uint32_t size = (uint32_t)(len - SHIM_LENGTH_BYTES);

    for (int i = 0; i < SHIM_LENGTH_BYTES; i++)
        msg[i] = (uint8_t)(size >> (24 - 8 * i));
    if (buf_append(&k->out, msg, len) < 0) {
        shutdown(k->fd, SHUT_RDWR);
        return err_set(e, ERR_PEER, "shim: it does not read");
    }
    link_flush(k);
    return 0;
}

static int link_send_small(struct link *k, uint8_t type, int body,
                           struct err *e)
{
    uint8_t msg[SHIM_LENGTH_BYTES + 2] = {0, 0, 0, 0, type, (uint8_t)body};

    return link_send(k, msg, sizeof(msg) - (body < 0), e);
}

/* --- listening --- */

static void shimlink_arm(struct shimlink *s)
{
    int64_t now = loop_now_ms(), wait = -1;

    for (int i = 0; i < SHIMLINK_PENDING_MAX; i++)
        if (s->pending[i]) {
            int64_t left = s->pending[i]->since_ms + SHIMLINK_HELLO_MS - now;

            if (wait < 0 || left < wait)
                wait = left < 1 ? 1 : left;
        }
    if (wait >= 0)
        loop_timer_again(s->timer, wait, 0);
}

static void on_timer(void *arg)
{
    struct shimlink *s = arg;
    int64_t now = loop_now_ms();

    for (int i = 0; i < SHIMLINK_PENDING_MAX; i++)
        if (s->pending[i] &&
            now - s->pending[i]->since_ms >= SHIMLINK_HELLO_MS) {
            link_free(s->pending[i]);
            s->pending[i] = NULL;
        }
    if (!s->live)
        loop_fd_events(s->watch, LOOP_READ);
    shimlink_arm(s);
}

static void shimlink_forget(struct shimlink *s, const struct link *k)
{
    for (int i = 0; i < SHIMLINK_PENDING_MAX; i++)
        if (s->pending[i] == k)
            s->pending[i] = NULL;
}

/*
 * A link ends. After a broken rule the next connection waits a little: a
 * runner that was taken over can be restarted no faster than that.
 */
static void link_end(struct link *k, const struct err *why, bool is_breach)
{
    struct shimlink *s = k->owner;
    bool was_live = s->live == k;

    shimlink_forget(s, k);
    link_free(k);
    if (!was_live)
        return;
    s->live = NULL;
    loop_timer_again(s->timer, is_breach ? SHIMLINK_AGAIN_MS : 0, 0);
    s->verbs.lost(s->arg, why);
}

/* --- what a shim says --- */

static bool is_same_cookie(const uint8_t *a, const uint8_t *b)
{
    volatile uint8_t differ = 0;

    for (size_t i = 0; i < SHIM_COOKIE_BYTES; i++)
        differ = (uint8_t)(differ | (a[i] ^ b[i]));
    return differ == 0;
}

static int on_hello(struct link *k, const struct shimlink_message *m,
                    struct err *e)
{
    struct shimlink *s = k->owner;

    if (!is_same_cookie(m->cookie, s->cookie))
        return err_set(e, ERR_DENIED, "shim: wrong cookie");
    /* from here on the file is of use to the program alone */
    unlinkat(s->dir_fd, SHIM_COOKIE, 0);
    shimlink_forget(s, k);
    for (int i = 0; i < SHIMLINK_PENDING_MAX; i++) {
        link_free(s->pending[i]);
        s->pending[i] = NULL;
    }
    s->live = k;
    k->state = m->state;
    loop_fd_events(s->watch, 0);
    if (link_send_small(k, SHIM_HELLO_OK, -1, e) < 0)
        return -1;
    s->verbs.hello(s->arg, k->state, m->kind, m->value);
    return 0;
}

/* What may come when: each kind once (listeners: a few), and only after what
 * it answers. */
static int link_allow(struct link *k, enum shim_type type, bool has_fd,
                      struct err *e)
{
    unsigned bit = 1u << type;
    bool is_right = false;

    switch (type) {
    case SHIM_HELLO:
        is_right = k->owner->live != k;
        break;
    case SHIM_STARTED:
        is_right = k->owner->live == k && has_fd &&
                   (k->is_start_sent || k->state != SHIM_WAITING);
        break;
    case SHIM_LISTENER:
        is_right = k->owner->live == k && has_fd && k->owner->verbs.listener &&
                   (k->is_start_sent || k->state != SHIM_WAITING);
        break;
    case SHIM_EXITED:
        is_right = k->seen & 1u << SHIM_STARTED;
        break;
    case SHIM_STOPPING:
        is_right = k->owner->live == k;
        break;
    default:
        is_right = k->is_start_sent;
        break;
    }
    if (!is_right || (k->seen & bit && type != SHIM_LISTENER) ||
        (type == SHIM_LISTENER && k->listeners++ == SHIM_PORTS_MAX) ||
        (has_fd && type != SHIM_STARTED && type != SHIM_LISTENER))
        return err_set(e, ERR_PEER, "shim: type 0x%02x is out of place",
                       (unsigned)type);
    k->seen |= bit;
    return 0;
}

/* *fd is taken (and set to -1) by STARTED and LISTENER. */
static int link_message(struct link *k, const struct shimlink_message *m,
                        int *fd, struct err *e)
{
    struct shimlink *s = k->owner;
    struct shimlink_run run;

    if (link_allow(k, m->type, *fd >= 0, e) < 0)
        return -1;
    switch (m->type) {
    case SHIM_HELLO:
        return on_hello(k, m, e);
    case SHIM_STARTED:
        if (shimlink_check_master(*fd, e) < 0)
            return -1;
        run = (struct shimlink_run){m->value, m->held, m->landlock};
        s->verbs.started(s->arg, own_fd_give(fd), &run);
        return 0;
    case SHIM_LISTENER:
        if (shimlink_check_listener(*fd, e) < 0)
            return -1;
        s->verbs.listener(s->arg, m->port, own_fd_give(fd));
        return 0;
    case SHIM_EXITED:
        s->verbs.exited(s->arg, m->kind, m->value);
        return 0;
    case SHIM_STOPPING:
        s->verbs.stopping(s->arg);
        return 0;
    default:
        s->verbs.failed(s->arg, m->value, m->text);
        return 0;
    }
}

/* Take every whole message. A descriptor belongs to the last of them: the
 * kernel ends a read behind the bytes it came with. */
static int link_parse(struct link *k, int *fd, struct err *e)
{
    struct shimlink_message m = {0}, next = {0};
    size_t at = 0, used = 0, ahead = 0;
    int got, none = -1, more;

    got = shimlink_parse(k->in, k->in_len, &m, &used, e);
    while (got > 0) {
        at += used;
        more = shimlink_parse(k->in + at, k->in_len - at, &next, &ahead, e);
        if (link_message(k, &m, more > 0 ? &none : fd, e) < 0)
            return -1;
        got = more;
        used = ahead;
        m = next;
    }
    if (got < 0)
        return -1;
    if (*fd >= 0)
        return err_set(e, ERR_PEER, "shim: a descriptor without its message");
    k->in_len -= at;
    memmove(k->in, k->in + at, k->in_len);
    return 0;
}

/*
 * One read. Room for one descriptor is given: a second makes the kernel
 * close it and say MSG_CTRUNC, which is the end of the link.
 * returns bytes, 0 at the end, -1/EAGAIN, -1/EPROTO for a breach
 */
static ssize_t link_read(struct link *k, int *fd)
{
    struct iovec iov = {k->in + k->in_len, sizeof(k->in) - k->in_len};
    union {
        struct cmsghdr align;
        char room[CMSG_SPACE(sizeof(int))];
    } control = {0};
    struct msghdr msg = {.msg_iov = &iov,
                         .msg_iovlen = 1,
                         .msg_control = control.room,
                         .msg_controllen = CMSG_LEN(sizeof(int))};
    ssize_t n = recvmsg(k->fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    const struct cmsghdr *c = n > 0 ? CMSG_FIRSTHDR(&msg) : NULL;

    if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS &&
        c->cmsg_len == CMSG_LEN(sizeof(int)))
        memcpy(fd, CMSG_DATA(c), sizeof(int));
    if (n > 0 && (msg.msg_flags & MSG_CTRUNC)) {
        errno = EPROTO;
        return -1;
    }
    return n;
}

static void link_receive(struct link *k)
{
    own_fd int fd = -1;
    ssize_t n = link_read(k, &fd);
    struct err e = {0};

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        bool is_breach = n < 0 && errno == EPROTO;

        err_set(&e, ERR_PEER, "shim: %s",
                is_breach ? "more than one descriptor" : "connection closed");
        link_end(k, &e, is_breach);
        return;
    }
    k->in_len += (size_t)n;
    if (link_parse(k, &fd, &e) < 0)
        link_end(k, &e, true);
}

static void on_link(void *arg, int events)
{
    struct link *k = arg;

    if (events & LOOP_WRITE)
        link_flush(k);
    if (events & (LOOP_READ | LOOP_HANGUP))
        link_receive(k);
}

static void link_new(struct shimlink *s, int fd)
{
    struct link *k = mem_zero(1, sizeof(*k));
    int slot = 0;

    for (int i = 0; i < SHIMLINK_PENDING_MAX; i++) {
        if (!s->pending[i]) {
            slot = i;
            break;
        }
        if (s->pending[i]->since_ms < s->pending[slot]->since_ms)
            slot = i;
    }
    link_free(s->pending[slot]);
    s->pending[slot] = k;
    k->owner = s;
    k->fd = fd;
    k->since_ms = loop_now_ms();
    buf_init(&k->out, SHIMLINK_QUEUE_MAX);
    k->watch = loop_fd_start(s->loop, fd, LOOP_READ, on_link, k);
    /* a real shim has spoken already, and must not wait behind others */
    link_receive(k);
}

static void on_accept(void *arg, int events)
{
    struct shimlink *s = arg;

    (void)events;
    while (!s->live) {
        own_fd int fd =
            accept4(s->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        struct err e = {0};

        if (fd < 0)
            break;
        if (shimlink_check_peer(fd, s->runner_uid, s->is_caged, &e) == 0)
            link_new(s, own_fd_give(&fd));
    }
    shimlink_arm(s);
}

/* --- start and end --- */

/* Whole or not at all: the shim may look at any time. */
static int shimlink_write_cookie(struct shimlink *s, struct err *e)
{
    own_fd int fd = -1;

    unlinkat(s->dir_fd, COOKIE_NEW, 0);
    fd = openat(s->dir_fd, COOKIE_NEW,
                O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0644);
    if (fd < 0)
        return err_sys(e, "cannot create the shim's cookie");
    if (write(fd, s->cookie, SHIM_COOKIE_BYTES) != SHIM_COOKIE_BYTES ||
        fchmod(fd, 0644) < 0 ||
        renameat(s->dir_fd, COOKIE_NEW, s->dir_fd, SHIM_COOKIE) < 0)
        return err_sys(e, "cannot write the shim's cookie");
    return 0;
}

static int shimlink_listen(struct shimlink *s, struct err *e)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};

    /* by descriptor: a socket's address holds 107 bytes, a path may be
     * longer */
    snprintf(at.sun_path, sizeof(at.sun_path), "/proc/self/fd/%d/%s", s->dir_fd,
             SHIM_SOCKET);
    if (unlinkat(s->dir_fd, SHIM_SOCKET, 0) < 0 && errno != ENOENT)
        return err_sys(e, "cannot remove the old shim socket");
    s->listen_fd =
        socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (s->listen_fd < 0 ||
        bind(s->listen_fd, (struct sockaddr *)&at, sizeof(at)) < 0 ||
        fchmodat(s->dir_fd, SHIM_SOCKET, 0666, 0) < 0 ||
        listen(s->listen_fd, SHIMLINK_BACKLOG) < 0)
        return err_sys(e, "cannot make the shim socket");
    return 0;
}

struct shimlink *shimlink_new(struct loop *l, const struct shimlink_conf *conf,
                              struct err *e)
{
    struct shimlink *s = mem_zero(1, sizeof(*s));
    int made = -1;

    s->loop = l;
    s->verbs = *conf->verbs;
    s->arg = conf->arg;
    s->runner_uid = conf->runner_uid;
    s->is_caged = conf->is_caged;
    s->listen_fd = -1;
    memcpy(s->cookie, conf->cookie, SHIM_COOKIE_BYTES);
    s->dir_fd = open(conf->ipc_dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (s->dir_fd < 0)
        err_sys(e, "cannot open");
    else if (conf->is_cookie_spent)
        made = unlinkat(s->dir_fd, SHIM_COOKIE, 0) == 0 || errno == ENOENT
                   ? 0
                   : err_sys(e, "cannot remove the spent cookie");
    else
        made = shimlink_write_cookie(s, e);
    if (made < 0 || shimlink_listen(s, e) < 0) {
        err_wrap(e, "ipc directory %s", conf->ipc_dir);
        shimlink_free(s);
        return NULL;
    }
    s->timer = loop_timer_start(l, 0, 0, on_timer, s);
    s->watch = loop_fd_start(l, s->listen_fd, LOOP_READ, on_accept, s);
    return s;
}

void shimlink_free(struct shimlink *s)
{
    if (!s)
        return;
    /* the door first: a shim redials as soon as it is let go */
    loop_timer_stop(s->timer);
    loop_fd_stop(s->watch);
    if (s->listen_fd >= 0) {
        unlinkat(s->dir_fd, SHIM_SOCKET, 0);
        close(s->listen_fd);
    }
    for (int i = 0; i < SHIMLINK_PENDING_MAX; i++)
        link_free(s->pending[i]);
    link_free(s->live);
    if (s->dir_fd >= 0)
        close(s->dir_fd);
    explicit_bzero(s->cookie, sizeof(s->cookie));
    free(s);
}

/* --- what the agent says --- */

bool shimlink_is_up(const struct shimlink *s)
{
    return s->live != NULL;
}

static int no_shim(struct err *e)
{
    return err_set(e, ERR_PEER, "shim: not connected");
}

int shimlink_start(struct shimlink *s, const struct shimlink_start *what,
                   struct err *e)
{
    struct buf msg;
    int r;

    if (!s->live)
        return no_shim(e);
    if (s->live->is_start_sent)
        return err_set(e, ERR_CONFLICT, "shim: START was sent before");
    if (what->cols < 1 || what->cols > SHIM_SIZE_MAX || what->rows < 1 ||
        what->rows > SHIM_SIZE_MAX || !what->argv[0])
        return err_set(e, ERR_INPUT, "START of size %ux%u, %s a command",
                       what->cols, what->rows, what->argv[0] ? "with" : "no");
    buf_init(&msg, SHIM_LENGTH_BYTES + SHIM_MESSAGE_MAX);
    if (buf_append_u32(&msg, 0) < 0 || buf_append_u8(&msg, SHIM_START) < 0 ||
        shimlink_start_put(&msg, what) < 0) {
        buf_fini_secret(&msg);
        return err_set(e, ERR_TOO_LARGE,
                       "command and environment together are larger than %d "
                       "bytes, or more than %d strings each",
                       SHIM_MESSAGE_MAX, SHIM_ARGS_MAX);
    }
    s->live->is_start_sent = true;
    r = link_send(s->live, msg.data, msg.len, e);
    buf_fini_secret(&msg);
    return r;
}

int shimlink_signal(struct shimlink *s, int number, struct err *e)
{
    if (!s->live)
        return no_shim(e);
    return link_send_small(s->live, SHIM_SIGNAL, number, e);
}

int shimlink_leave(struct shimlink *s, int code, struct err *e)
{
    if (!s->live)
        return no_shim(e);
    return link_send_small(s->live, SHIM_LEAVE, code, e);
}
