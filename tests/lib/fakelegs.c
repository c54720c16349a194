#include "tests/lib/fakelegs.h"

#include "base/frame.h"
#include "base/mem.h"
#include "gateway/wsframe.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define FLOOD_CHUNK (256 * 1024)

struct fakelegs {
    struct bench *b;
    struct ssl_ctx_st *ctx;
    enum fakelegs_mode mode;
    size_t size;
    int epoll_fd;
};

/* The relay dials, shakes and says HELLO without waiting for anybody else:
 * one at a time. NULL: it went away in between. */
static struct wspeer *leg_accept(struct fakelegs *f)
{
    int fd = accept4(f->b->agent_fd, NULL, NULL, SOCK_CLOEXEC);
    struct wspeer *p = fd < 0 ? NULL : wspeer_of(fd);
    struct wsmsg hello;

    if (!p)
        return NULL;
    p->is_agent = p->may_die = true;
    p->tls = tls_accept(f->ctx, p->fd);
    if (!wspeer_shake(p)) {
        wspeer_free(p);
        return NULL;
    }
    wspeer_answer(p);
    if (!wspeer_recv(p, &hello)) {
        wspeer_free(p);
        return NULL;
    }
    wspeer_binary(p, FRAME_READY, "{}");
    return p;
}

static void leg_flood(struct wspeer *p, size_t size)
{
    static uint8_t chunk[FLOOD_CHUNK];
    size_t len = 0;

    while (len + size + WSFRAME_HEAD_MAX <= sizeof(chunk)) {
        len += wsframe_write(chunk + len, WSFRAME_BINARY, size, NULL);
        len += size;
    }
    while (wspeer_try_write(p, chunk, len, 10000) == len)
        continue;
    wspeer_free(p);
}

/* Is a whole frame there? wspeer_recv would wait for it. */
static bool leg_has_frame(const struct wspeer *p)
{
    struct wsframe f;

    return wsframe_read(p->in, p->in_len, p->is_agent, false, &f) == 0 &&
           p->in_len - f.head_len >= f.len;
}

/* false: it is over. */
static bool leg_serve(struct wspeer *p)
{
    struct wsmsg m;
    int n;

    while ((n = wspeer_more(p, 0)) > 0)
        continue;
    while (p->in_len && leg_has_frame(p)) {
        if (!wspeer_recv(p, &m) || m.opcode == WSFRAME_CLOSE)
            return false;
        if (m.opcode == WSFRAME_PING)
            wspeer_send(p, WSFRAME_PONG, m.bytes, m.len);
        else if (m.opcode == WSFRAME_BINARY && p->is_agent)
            wspeer_send(p, WSFRAME_BINARY, m.bytes, m.len);
    }
    return n == 0;
}

static void legs_accept(struct fakelegs *f)
{
    struct epoll_event ev = {.events = EPOLLIN};
    struct wspeer *p = leg_accept(f);

    if (!p)
        return;
    if (f->mode == FAKELEGS_FLOOD) {
        leg_flood(p, f->size);
        return;
    }
    ev.data.ptr = p;
    assert_int_equal(epoll_ctl(f->epoll_fd, EPOLL_CTL_ADD, p->fd, &ev), 0);
    if (p->in_len && !leg_serve(p))
        wspeer_free(p);
}

static void legs_run(struct fakelegs *f)
{
    struct epoll_event ev = {.events = EPOLLIN}, got[64];

    f->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    assert_int_equal(epoll_ctl(f->epoll_fd, EPOLL_CTL_ADD, f->b->agent_fd, &ev),
                     0);
    for (;;) {
        int n = epoll_wait(f->epoll_fd, got, 64, -1);

        for (int i = 0; i < n; i++)
            if (!got[i].data.ptr)
                legs_accept(f);
            else if (!leg_serve(got[i].data.ptr))
                wspeer_free(got[i].data.ptr);
    }
}

pid_t fakelegs_start(struct bench *b, struct ssl_ctx_st *ctx,
                     enum fakelegs_mode mode, size_t size)
{
    struct fakelegs f = {.b = b, .ctx = ctx, .mode = mode, .size = size};
    pid_t pid = fork();

    if (pid)
        return pid;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    signal(SIGPIPE, SIG_IGN);
    legs_run(&f);
    _exit(0);
}

/* Whoever has something to say within ms. */
static void crowd_serve(int epoll_fd, int ms)
{
    struct epoll_event got[64];
    int n = epoll_wait(epoll_fd, got, 64, ms);

    for (int i = 0; i < n; i++)
        if (!leg_serve(got[i].data.ptr))
            wspeer_free(got[i].data.ptr);
}

static void crowd_run(struct bench *b, const char *sid, int count, int fd)
{
    int epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    struct wsmsg m;

    for (int i = 0; i < count; i++) {
        struct wspeer *c = bench_attach(b, sid);
        struct epoll_event ev = {.events = EPOLLIN, .data.ptr = c};

        if (!wspeer_recv(c, &m) || m.bytes[0] != FRAME_READY)
            fail_msg("attachment %d of a crowd was refused", i);
        c->may_die = true;
        assert_int_equal(epoll_ctl(epoll_fd, EPOLL_CTL_ADD, c->fd, &ev), 0);
        crowd_serve(epoll_fd, 0);
    }
    assert_int_equal(write(fd, "", 1), 1);
    for (;;)
        crowd_serve(epoll_fd, -1);
}

pid_t fakelegs_crowd(struct bench *b, const char *sid, int count, int *ready_fd)
{
    int fds[2];
    pid_t pid;

    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        close(fds[0]);
        crowd_run(b, sid, count, fds[1]);
    }
    close(fds[1]);
    *ready_fd = fds[0];
    return pid;
}

void fakelegs_stop(pid_t pid)
{
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
}
