#include "agent/proxy_dial.h"

#include "base/mem.h"
#include "base/own.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct attempt {
    struct proxy_dial *d;
    int fd; /* -1: not begun, or over */
    struct loop_fd *watch;
};

/* Freed when it is both told (or stopped) and back from the worker. */
struct proxy_dial {
    const struct proxy_dial_conf *conf;
    proxy_dialled *done;
    void *arg;
    bool is_looking, is_over;
    struct loop_timer *deadline, *next;
    char host[NI_MAXHOST], port[8];
    /* the worker's */
    struct sockaddr_storage addrs[PROXY_DIAL_ADDRS];
    int count;
    int fault; /* of getaddrinfo */
    /* the loop's */
    int at; /* the next one to try */
    int running;
    struct attempt attempts[PROXY_DIAL_ADDRS];
    struct err e; /* why the first failed, a refusal before all others */
};

static void put_down(struct proxy_dial *d)
{
    loop_timer_stop(d->deadline);
    loop_timer_stop(d->next);
    d->deadline = d->next = NULL;
    for (int i = 0; !d->is_looking && i < d->count; i++) { /* else none yet */
        loop_fd_stop(d->attempts[i].watch);
        d->attempts[i].watch = NULL;
        own_fd_release(&d->attempts[i].fd);
        d->attempts[i].fd = -1;
    }
    d->is_over = true;
    if (!d->is_looking)
        free(d);
}

static void tell(struct proxy_dial *d, int fd, const struct sockaddr *to)
{
    proxy_dialled *done = d->done;
    void *arg = d->arg;
    struct err e = d->e;
    struct sockaddr_storage at = {0};

    if (to)
        memcpy(&at, to, sizeof(at));
    put_down(d);
    done(arg, fd, to ? (struct sockaddr *)&at : NULL, &e);
}

static void fail_for(struct proxy_dial *d, const struct err *e)
{
    if (d->e.kind == ERR_NONE ||
        (e->kind == ERR_DENIED && d->e.kind != ERR_DENIED))
        d->e = *e;
}

static void late(void *arg)
{
    struct proxy_dial *d = arg;

    err_set(&d->e, ERR_TIMEOUT, "%s did not answer within %lld s", d->host,
            (long long)d->conf->dial_ms / 1000);
    tell(d, -1, NULL);
}

/* --- one address --- */

static void go_on(struct proxy_dial *d);

static void connected(void *arg, int events)
{
    struct attempt *a = arg;
    struct proxy_dial *d = a->d;
    struct err e = {0};
    int error = 0, fd = a->fd;
    socklen_t len = sizeof(error);

    (void)events;
    loop_fd_stop(a->watch);
    a->watch = NULL;
    a->fd = -1;
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) == 0 && error == 0) {
        tell(d, fd, (struct sockaddr *)&d->addrs[a - d->attempts]);
        return;
    }
    close(fd);
    d->running--;
    err_set(&e, ERR_PEER, "%s cannot be reached: %s", d->host, strerror(error));
    fail_for(d, &e);
    go_on(d);
}

/* 0 = it is under way. */
static int dial(struct proxy_dial *d, int i, struct err *e)
{
    const struct sockaddr *to = (struct sockaddr *)&d->addrs[i];
    struct attempt *a = &d->attempts[i];
    int one = 1;

    if (addr_judge(d->conf->rules, to, e) < 0)
        return -1;
    a->fd =
        socket(to->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (a->fd < 0)
        return err_sys(e, "a socket for %s", d->host);
    setsockopt(a->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    if (connect(a->fd, to, addr_len(&d->addrs[i])) < 0 &&
        errno != EINPROGRESS) {
        err_set(e, ERR_PEER, "%s cannot be reached: %s", d->host,
                strerror(errno));
        own_fd_release(&a->fd);
        a->fd = -1;
        return -1;
    }
    a->watch = loop_fd_start(d->conf->loop, a->fd, LOOP_WRITE, connected, a);
    d->running++;
    return 0;
}

static void next_too(void *arg)
{
    struct proxy_dial *d = arg;

    loop_timer_stop(d->next);
    d->next = NULL;
    go_on(d);
}

/* Begin the next address that may be dialled; fail when none is left. */
static void go_on(struct proxy_dial *d)
{
    struct err e = {0};

    while (d->at < d->count) {
        if (dial(d, d->at++, &e) < 0) {
            fail_for(d, &e);
            continue;
        }
        loop_timer_stop(d->next);
        d->next = d->at < d->count
                      ? loop_timer_start(d->conf->loop, d->conf->next_ms, 0,
                                         next_too, d)
                      : NULL;
        return;
    }
    if (d->running == 0)
        tell(d, -1, NULL);
}

/* --- the name --- */

/* In the resolver's order, the families taking turns. */
static void take_turns(struct proxy_dial *d, const struct addrinfo *all)
{
    const struct addrinfo *turn[2] = {all, NULL}; /* first family, the other */
    const int first = all ? all->ai_family : 0;
    int which = 0;

    turn[1] = all;
    while (d->count < PROXY_DIAL_ADDRS && (turn[0] || turn[1])) {
        const struct addrinfo *ai = turn[which];

        while (ai && (ai->ai_family == first) == (which == 1))
            ai = ai->ai_next;
        if (ai)
            memcpy(&d->addrs[d->count++], ai->ai_addr, ai->ai_addrlen);
        turn[which] = ai ? ai->ai_next : NULL;
        which = !which;
    }
}

static void look_up(void *arg)
{
    struct proxy_dial *d = arg;
    const struct addrinfo hints = {.ai_family = AF_UNSPEC,
                                   .ai_socktype = SOCK_STREAM,
                                   .ai_flags = AI_NUMERICSERV};
    struct addrinfo *all = NULL;

    d->fault = getaddrinfo(d->host, d->port, &hints, &all);
    if (d->fault)
        return;
    take_turns(d, all);
    freeaddrinfo(all);
}

static void looked_up(void *arg)
{
    struct proxy_dial *d = arg;

    d->is_looking = false;
    if (d->is_over) {
        free(d);
        return;
    }
    for (int i = 0; i < d->count; i++)
        d->attempts[i] = (struct attempt){.d = d, .fd = -1};
    if (d->fault || d->count == 0)
        err_set(&d->e, d->fault == EAI_AGAIN ? ERR_PEER : ERR_ABSENT,
                "%s has no address: %s", d->host,
                d->fault ? gai_strerror(d->fault) : "none at all");
    go_on(d);
}

static void refuse_later(void *arg)
{
    struct proxy_dial *d = arg;

    err_set(&d->e, ERR_BUSY, "too many names are looked up");
    tell(d, -1, NULL);
}

struct proxy_dial *proxy_dial_start(const struct proxy_dial_conf *conf,
                                    const char *host, uint16_t port,
                                    proxy_dialled *done, void *arg)
{
    struct proxy_dial *d = mem_zero(1, sizeof(*d));

    d->conf = conf;
    d->done = done;
    d->arg = arg;
    snprintf(d->host, sizeof(d->host), "%s", host);
    snprintf(d->port, sizeof(d->port), "%u", port);
    d->is_looking = worker_add(conf->worker, look_up, looked_up, d);
    d->deadline = d->is_looking
                      ? loop_timer_start(conf->loop, conf->dial_ms, 0, late, d)
                      : loop_timer_start(conf->loop, 0, 0, refuse_later, d);
    return d;
}

void proxy_dial_stop(struct proxy_dial *d)
{
    if (d)
        put_down(d);
}
