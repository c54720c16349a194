#include "runner-image/parts.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static void put_u32(uint8_t *out, uint32_t v)
{
    out[0] = (uint8_t)(v >> 24);
    out[1] = (uint8_t)(v >> 16);
    out[2] = (uint8_t)(v >> 8);
    out[3] = (uint8_t)v;
}

void link_hang_up(struct shim *s)
{
    if (s->sock_fd >= 0)
        close(s->sock_fd);
    if (s->is_greeted)
        s->lost_ms = shim_now_ms();
    s->sock_fd = -1;
    s->in_len = 0;
    s->is_greeted = false;
}

/* Our messages are small and few: what does not fit into the socket's buffer
 * at once means an agent that stopped reading, and is a lost link. */
static void tell(struct shim *s, uint8_t type, const void *body, size_t len,
                 int fd)
{
    uint8_t head[SHIM_LENGTH_BYTES + 1];
    struct iovec iov[2] = {{head, sizeof(head)}, {(void *)body, len}};
    union {
        struct cmsghdr align;
        char room[CMSG_SPACE(sizeof(int))];
    } control;
    struct msghdr msg = {.msg_iov = iov, .msg_iovlen = 2};

    if (s->sock_fd < 0 || (type != SHIM_HELLO && !s->is_greeted))
        return;
    put_u32(head, (uint32_t)(1 + len));
    head[SHIM_LENGTH_BYTES] = type;
    if (fd >= 0) {
        memset(&control, 0, sizeof(control));
        msg.msg_control = control.room;
        msg.msg_controllen = sizeof(control.room);
        control.align.cmsg_level = SOL_SOCKET;
        control.align.cmsg_type = SCM_RIGHTS;
        control.align.cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(&control.align), &fd, sizeof(int));
    }
    if (sendmsg(s->sock_fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT) !=
        (ssize_t)(sizeof(head) + len))
        link_hang_up(s);
}

void link_tell_listeners(struct shim *s)
{
    for (int i = 0; i < s->listener_count; i++) {
        uint16_t port = s->listeners[i].port;
        uint8_t body[SHIM_LISTENER_BYTES] = {(uint8_t)(port >> 8),
                                             (uint8_t)port};

        tell(s, SHIM_LISTENER, body, sizeof(body), s->listeners[i].fd);
    }
}

void link_tell_started(struct shim *s)
{
    uint8_t body[SHIM_STARTED_BYTES];

    put_u32(body, (uint32_t)s->program);
    body[4] = s->held;
    body[5] = s->landlock;
    tell(s, SHIM_STARTED, body, sizeof(body), s->master_fd);
}

void link_tell_exited(struct shim *s)
{
    uint8_t body[SHIM_EXITED_BYTES] = {s->end_kind};

    put_u32(body + 1, (uint32_t)s->end_value);
    tell(s, SHIM_EXITED, body, sizeof(body), -1);
}

void link_tell_stopping(struct shim *s)
{
    tell(s, SHIM_STOPPING, NULL, 0, -1);
}

void link_tell_failed(struct shim *s, int error, const char *what,
                      const char *name)
{
    uint8_t body[SHIM_FAILED_BYTES + SHIM_TEXT_MAX + 1];
    char *text = (char *)body + SHIM_FAILED_BYTES;

    put_u32(body, (uint32_t)error);
    snprintf(text, SHIM_TEXT_MAX + 1, "%s%s", what, name);
    tell(s, SHIM_FAILED, body, SHIM_FAILED_BYTES + strlen(text), -1);
}

static void tell_hello(struct shim *s)
{
    uint8_t body[SHIM_HELLO_BYTES] = {SHIM_VERSION, s->state, s->end_kind};

    put_u32(body + 3, (uint32_t)s->end_value);
    memcpy(body + 7, s->cookie, SHIM_COOKIE_BYTES);
    tell(s, SHIM_HELLO, body, sizeof(body), -1);
}

/* --- reaching the agent --- */

/* Read once; the agent removes the file after the first HELLO. */
static bool read_cookie(struct shim *s)
{
    uint8_t raw[SHIM_COOKIE_BYTES + 1];
    ssize_t n;
    int fd;

    if (s->has_cookie)
        return true;
    fd = open(SHIM_COOKIE, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return false;
    n = read(fd, raw, sizeof(raw));
    close(fd);
    if (n != SHIM_COOKIE_BYTES)
        return false;
    memcpy(s->cookie, raw, SHIM_COOKIE_BYTES);
    s->has_cookie = true;
    return true;
}

/*
 * The agent lives in another PID namespace, so a listener made by the
 * program shows a pid and ours shows 0. Where we are not PID 1 (isolation
 * none) all share one namespace and only the uid is left to judge by.
 */
static bool is_agent(const struct shim *s, int fd)
{
    struct ucred peer;
    socklen_t len = sizeof(peer);

    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0)
        return false;
    return (peer.pid == 0 || !s->is_init) && peer.uid == s->agent_uid;
}

void link_dial(struct shim *s)
{
    /* relative: IPC_DIR is our working directory, and may be too long */
    struct sockaddr_un to = {.sun_family = AF_UNIX, .sun_path = SHIM_SOCKET};
    int fd;

    if (!read_cookie(s))
        return;
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return;
    if (connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0 ||
        !is_agent(s, fd)) {
        close(fd);
        return;
    }
    s->sock_fd = fd;
    s->hello_ms = shim_now_ms();
    tell_hello(s);
}
