#include "tests/lib/redishold.h"

#include "base/loop.h"
#include "base/mem.h"
#include "tests/lib/rivals.h"

#include <assert.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define LOOK_MS 5
#define PIECE 65536

enum hold { HOLD_NOTHING, HOLD_ARMED, HOLD_HELD, HOLD_LET_GO, HOLD_ANSWERED };

struct redishold {
    int listen_fd, server_port;
    char url[48];
    pthread_t thread;
    atomic_bool is_over;
    atomic_int conns, state;
    uint8_t want[64]; /* set before it is armed */
    size_t want_len;
    char after[256]; /* set before it is held */
};

struct way {
    struct redishold *h;
    int fds[2]; /* who asks, who answers */
    bool is_held;
};

static bool put(int fd, const uint8_t *bytes, size_t len)
{
    while (len > 0) {
        ssize_t n = send(fd, bytes, len, MSG_NOSIGNAL);

        if (n <= 0)
            return false;
        bytes += n;
        len -= (size_t)n;
    }
    return true;
}

static void hold(struct way *w, const uint8_t *bytes, size_t len)
{
    struct redishold *h = w->h;
    const uint8_t *at =
        h->want_len ? memmem(bytes, len, h->want, h->want_len) : NULL;
    int armed = HOLD_ARMED;
    size_t left;

    if (!at || atomic_load(&h->state) != HOLD_ARMED)
        return;
    at += h->want_len;
    left = len - (size_t)(at - bytes);
    snprintf(h->after, sizeof h->after, "%.*s", (int)left, (const char *)at);
    w->is_held = atomic_compare_exchange_strong(&h->state, &armed, HOLD_HELD);
    while (w->is_held && !atomic_load(&h->is_over) &&
           atomic_load(&h->state) == HOLD_HELD)
        poll(NULL, 0, LOOK_MS);
}

/* What one side has said goes to the other; false: it has nothing more. */
static bool carry(struct way *w, int from)
{
    uint8_t piece[PIECE];
    ssize_t n = recv(w->fds[from], piece, sizeof piece, 0);

    if (n <= 0)
        return false;
    if (from == 0)
        hold(w, piece, (size_t)n);
    if (!put(w->fds[!from], piece, (size_t)n))
        return false;
    if (from == 1 && w->is_held) {
        w->is_held = false;
        atomic_store(&w->h->state, HOLD_ANSWERED);
    }
    return true;
}

static void *way_run(void *arg)
{
    struct way *w = arg;
    bool is_open = true;

    while (is_open && !atomic_load(&w->h->is_over)) {
        struct pollfd p[2] = {{.fd = w->fds[0], .events = POLLIN},
                              {.fd = w->fds[1], .events = POLLIN}};

        if (poll(p, 2, 50) <= 0)
            continue;
        for (int i = 0; i < 2 && is_open; i++)
            is_open = !p[i].revents || carry(w, i);
    }
    close(w->fds[0]);
    close(w->fds[1]);
    atomic_fetch_sub(&w->h->conns, 1);
    free(w);
    return NULL;
}

static void *listen_run(void *arg)
{
    struct redishold *h = arg;

    while (!atomic_load(&h->is_over)) {
        struct pollfd p = {.fd = h->listen_fd, .events = POLLIN};
        struct way *w;
        pthread_t t;
        int fd;

        if (poll(&p, 1, 20) <= 0)
            continue;
        fd = accept4(h->listen_fd, NULL, NULL, SOCK_CLOEXEC);
        if (fd < 0)
            continue;
        w = mem_zero(1, sizeof *w);
        w->h = h;
        w->fds[0] = fd;
        w->fds[1] = rival_dial(h->server_port);
        atomic_fetch_add(&h->conns, 1);
        if (pthread_create(&t, NULL, way_run, w) != 0)
            abort();
        pthread_detach(t);
    }
    return NULL;
}

struct redishold *redishold_start(int port)
{
    struct redishold *h = mem_zero(1, sizeof *h);
    struct sockaddr_in sa = {.sin_family = AF_INET};
    socklen_t len = sizeof sa;

    h->server_port = port;
    h->listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sa.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(bind(h->listen_fd, (struct sockaddr *)&sa, sizeof sa), 0);
    assert_int_equal(listen(h->listen_fd, 64), 0);
    getsockname(h->listen_fd, (struct sockaddr *)&sa, &len);
    snprintf(h->url, sizeof h->url, "redis://127.0.0.1:%d", ntohs(sa.sin_port));
    if (pthread_create(&h->thread, NULL, listen_run, h) != 0)
        abort();
    return h;
}

void redishold_stop(struct redishold *h)
{
    if (!h)
        return;
    atomic_store(&h->is_over, true);
    pthread_join(h->thread, NULL);
    while (atomic_load(&h->conns))
        poll(NULL, 0, LOOK_MS);
    close(h->listen_fd);
    free(h);
}

const char *redishold_url(const struct redishold *h)
{
    return h->url;
}

void redishold_arm(struct redishold *h, const void *bytes, size_t len)
{
    assert(len <= sizeof h->want);
    memcpy(h->want, bytes, len);
    h->want_len = len;
    atomic_store(&h->state, HOLD_ARMED);
}

static void await(struct redishold *h, int state, int ms)
{
    int64_t until = loop_now_ms() + ms;

    while (atomic_load(&h->state) != state) {
        if (loop_now_ms() > until)
            fail_msg("redishold: in state %d, not %d",
                     (int)atomic_load(&h->state), state);
        poll(NULL, 0, LOOK_MS);
    }
}

void redishold_wait(struct redishold *h, int ms, char *text, size_t len)
{
    await(h, HOLD_HELD, ms);
    snprintf(text, len, "%s", h->after);
}

void redishold_release(struct redishold *h, int ms)
{
    atomic_store(&h->state, HOLD_LET_GO);
    await(h, HOLD_ANSWERED, ms);
}
