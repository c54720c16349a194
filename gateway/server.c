#include "gateway/server.h"

#include "base/log.h"
#include "base/ws.h"
#include "gateway/chores.h"
#include "gateway/relay.h"
#include "gateway/waiting.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define EVENTS_MAX 256 /* of one batch */
#define ACCEPTS_MAX 64 /* of one batch */
#define JOBS_QUEUE_MAX 4096
#define LISTEN_AGAIN_MS 100 /* out of descriptors: accept again then */

static int64_t clock_ms(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* --- start --- */

static int watch(struct gateway *gw, int fd, struct source *src,
                 enum source_kind kind, struct err *e)
{
    struct epoll_event ev = {.events = EPOLLIN, .data.ptr = src};

    src->kind = kind;
    if (epoll_ctl(gw->epoll_fd, EPOLL_CTL_ADD, fd, &ev) < 0)
        return err_sys(e, "epoll_ctl");
    return 0;
}

/* A listener; several gateways may share the port (SO_REUSEPORT). */
static int listener_open(const char *text, const char *flag, struct err *e)
{
    const int fd = listen_tcp(text, true, e);

    return fd < 0 ? err_wrap(e, "%s", flag) : fd;
}

static void listener_name(int fd, char out[ADDR_TEXT_MAX])
{
    struct sockaddr_storage addr = {0};
    socklen_t len = sizeof(addr);

    getsockname(fd, (struct sockaddr *)&addr, &len);
    addr_text((struct sockaddr *)&addr, out);
}

static int listen_start(struct gateway *gw, struct err *e)
{
    const struct settings *s = &gw->set;

    gw->listen_fd = listener_open(s->listen, "--listen", e);
    if (gw->listen_fd < 0 ||
        watch(gw, gw->listen_fd, &gw->listen_source, SOURCE_LISTENER, e) < 0)
        return -1;
    if (!s->metrics_listen)
        return 0;
    gw->metrics_fd = listener_open(s->metrics_listen, "--metrics-listen", e);
    if (gw->metrics_fd < 0)
        return -1;
    return watch(gw, gw->metrics_fd, &gw->metrics_source, SOURCE_METRICS, e);
}

/* Every descriptor the system lets us have: two a connection. */
static void descriptors_raise(void)
{
    struct rlimit rl;

    if (getrlimit(RLIMIT_NOFILE, &rl) == 0 && rl.rlim_cur < rl.rlim_max) {
        rl.rlim_cur = rl.rlim_max;
        setrlimit(RLIMIT_NOFILE, &rl);
    }
}

static int signals_start(struct gateway *gw, struct err *e)
{
    sigset_t set;

    signal(SIGPIPE, SIG_IGN);
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    sigprocmask(SIG_BLOCK, &set, NULL);
    gw->signal_fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    if (gw->signal_fd < 0)
        return err_sys(e, "signalfd");
    return watch(gw, gw->signal_fd, &gw->signal_source, SOURCE_SIGNALS, e);
}

static void limits_start(struct gateway *gw)
{
    const struct settings *s = &gw->set;
    uint8_t seed[16];

    gw->limits.unproven_max = (int)s->unproven_max;
    gw->limits.unproven_addr_max = (int)s->unproven_addr_max;
    gw->limits.attached_addr_max = (int)s->attached_addr_max;
    gw->limits.attached_user_max = (int)s->attached_user_max;
    random_bytes(seed, sizeof(seed));
    limits_init(&gw->limits, seed);
}

static int keys_start(struct gateway *gw, struct err *e)
{
    const struct settings *s = &gw->set;

    if (seal_key_load(s->seal_key_file, gw->seal_key, e) < 0)
        return err_wrap(e, "--seal-key-file (the controller makes it: "
                           "keys/seal in its state directory)");
    gw->psk_ctx = tls_psk_client_ctx(e);
    if (!gw->psk_ctx)
        return -1;
    gw->keyset = keyset_new(s->jwks_file, s->jwks_url, s->jwks_ca);
    if (!s->tls_cert)
        return 0;
    tls_files_init(&gw->tls_files, s->tls_cert, s->tls_key);
    gw->server_ctx = tls_server_ctx(s->tls_cert, s->tls_key, e);
    return gw->server_ctx ? 0 : -1;
}

int server_start(struct gateway *gw, struct err *e)
{
    const struct settings *s = &gw->set;
    char name[ADDR_TEXT_MAX], metrics[ADDR_TEXT_MAX] = "";

    gw->listen_fd = gw->metrics_fd = gw->signal_fd = -1;
    gw->waiting.cursor = -1;
    gw->now_ms = clock_ms();
    wheel_init(&gw->wheel, gw->now_ms);
    seal_init();
    descriptors_raise();
    limits_start(gw);
    gw->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (gw->epoll_fd < 0)
        return err_sys(e, "epoll_create1");
    if (signals_start(gw, e) < 0 || keys_start(gw, e) < 0)
        return -1;
    gw->store =
        store_open(&(struct store_conf){.where = s->store,
                                        .user = s->redis_user,
                                        .password_file = s->redis_password_file,
                                        .ca = s->redis_ca},
                   e);
    if (!gw->store)
        return err_wrap(e, "--store");
    gw->jobs = jobs_new((int)s->threads, JOBS_QUEUE_MAX, e);
    if (!gw->jobs ||
        watch(gw, jobs_fd(gw->jobs), &gw->jobs_source, SOURCE_JOBS, e) < 0)
        return -1;
    if (listen_start(gw, e) < 0)
        return -1;
    listener_name(gw->listen_fd, name);
    if (gw->metrics_fd >= 0)
        listener_name(gw->metrics_fd, metrics);
    log_info("gateway.ready", "addr", "s", name, "metrics", "s", metrics, "tls",
             "b", gw->server_ctx != NULL, NULL);
    return 0;
}

void server_stop(struct gateway *gw)
{
    while (gw->pairs)
        pair_doom(gw->pairs, CLOSE_DRAINED);
    jobs_free(gw->jobs); /* the last jobs' done find DEAD pairs */
    while (pair_next_ready(&gw->keys) || pair_next_ready(&gw->bulk))
        continue;
    pairs_bury(gw);
    store_free(gw->store);
    keyset_free(gw->keyset);
    tls_ctx_free(gw->psk_ctx);
    tls_ctx_free(gw->server_ctx);
    limits_fini(&gw->limits);
    wipe(gw->seal_key, sizeof(gw->seal_key));
    for (int *fd = (int[]){gw->listen_fd, gw->metrics_fd, gw->signal_fd,
                           gw->epoll_fd, -2};
         *fd != -2; fd++)
        if (*fd > 0)
            close(*fd);
}

/* --- draining --- */

static void listener_close(struct gateway *gw)
{
    if (gw->listen_fd >= 0)
        close(gw->listen_fd);
    gw->listen_fd = -1;
    gw->listen_again_ms = 0;
}

static void drain_pair(struct pair *p)
{
    struct buf move;

    switch (p->phase) {
    case SESSION_HEAD:
        pair_doom(p, CLOSE_DRAINED);
        break;
    case SESSION_OPEN:
        buf_init(&move, 16);
        say_move(&move);
        relay_say(p, move.data, move.len);
        buf_fini(&move);
        break;
    case SESSION_CLOSING:
    case SESSION_DEAD:
        break;
    default:
        p->why = CLOSE_DRAINED;
        pair_refuse(p, SESSION_ON_REFUSED,
                    &(struct refusal){.close_code = 1012});
        break;
    }
}

static void drain_start(struct gateway *gw)
{
    struct pair *next;

    gw->is_draining = true;
    gw->drain_ms = gw->now_ms + gw->set.drain_ms;
    listener_close(gw);
    log_info("gateway.drain", "attached", "i", (int64_t)gw->attached, NULL);
    for (struct pair *p = gw->pairs; p; p = next) {
        next = p->next;
        drain_pair(p);
    }
}

/* The deadline: close who is left; a while later drop who did not go. */
static void drain_late(struct gateway *gw)
{
    struct pair *next;

    for (struct pair *p = gw->pairs; p; p = next) {
        next = p->next;
        if (p->phase == SESSION_CLOSING)
            continue;
        p->why = CLOSE_DRAINED;
        pair_refuse(p, SESSION_ON_REFUSED,
                    &(struct refusal){.close_code = 1012});
    }
    gw->drain_ms = 0;
}

static void drain_tick(struct gateway *gw)
{
    if (!gw->is_draining)
        return;
    if (gw->drain_ms && gw->now_ms >= gw->drain_ms)
        drain_late(gw);
    if (!gw->pairs)
        gw->is_over = true;
}

static void signals_read(struct gateway *gw)
{
    struct signalfd_siginfo info;

    while (read(gw->signal_fd, &info, sizeof(info)) == sizeof(info)) {
        if (info.ssi_signo == SIGHUP)
            chores_now(gw);
        else if (!gw->is_draining)
            drain_start(gw);
        else
            gw->is_over = true; /* asked twice */
    }
}

/* --- accepting --- */

static void listener_pause(struct gateway *gw)
{
    static struct log_rate rate = {.burst = 1, .interval_ms = 10000};

    if (log_rate_ok(&rate, gw->now_ms))
        log_error("accept.failed", "why", "s", strerror(errno), NULL);
    /* level-triggered: left in the set it would spin */
    epoll_ctl(gw->epoll_fd, EPOLL_CTL_DEL, gw->listen_fd, NULL);
    gw->listen_again_ms = gw->now_ms + LISTEN_AGAIN_MS;
}

static void listener_again(struct gateway *gw)
{
    struct err e;

    if (!gw->listen_again_ms || gw->now_ms < gw->listen_again_ms)
        return;
    gw->listen_again_ms = 0;
    if (watch(gw, gw->listen_fd, &gw->listen_source, SOURCE_LISTENER, &e) < 0)
        log_err(&e, "accept.failed");
}

static void listener_accept(struct gateway *gw, int listen_fd, bool is_metrics)
{
    for (int i = 0; i < ACCEPTS_MAX && listen_fd >= 0; i++) {
        struct sockaddr_storage peer = {0};
        socklen_t len = sizeof(peer);
        int fd = accept4(listen_fd, (struct sockaddr *)&peer, &len,
                         SOCK_NONBLOCK | SOCK_CLOEXEC);

        addr_unmap(&peer);
        if (fd >= 0) {
            pair_new(gw, fd, &peer, is_metrics);
            continue;
        }
        if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS ||
            errno == ENOMEM) {
            if (gw->limits.oldest)
                pair_doom(pair_of_node(gw->limits.oldest), CLOSE_CROWDED);
            if (!is_metrics)
                listener_pause(gw);
        }
        return;
    }
}

/* --- the loop --- */

static void dispatch(struct gateway *gw, struct source *src, uint32_t events)
{
    struct leg *leg = (struct leg *)(void *)src;
    struct pair *p;

    switch (src->kind) {
    case SOURCE_CLIENT:
        p = (struct pair *)(void *)((char *)leg -
                                    offsetof(struct pair, client));
        break;
    case SOURCE_AGENT:
        p = (struct pair *)(void *)((char *)leg - offsetof(struct pair, agent));
        break;
    case SOURCE_LISTENER:
        listener_accept(gw, gw->listen_fd, false);
        return;
    case SOURCE_METRICS:
        listener_accept(gw, gw->metrics_fd, true);
        return;
    case SOURCE_JOBS:
        jobs_collect(gw->jobs);
        return;
    case SOURCE_SIGNALS:
        signals_read(gw);
        return;
    default:
        return;
    }
    leg_event(leg, events);
    pair_ready(p);
}

static void timer_fire(void *arg, struct wheel_timer *t)
{
    (void)arg;
    pair_timer(
        (struct pair *)(void *)((char *)t - offsetof(struct pair, timer)));
}

static void ready_turns(struct ready *r, int turns)
{
    struct pair *p;

    for (; turns > 0 && (p = pair_next_ready(r)); turns--)
        if (pair_turn(p))
            pair_ready(p);
}

/* A key's echo waits for no round of floods: a turn for everybody who moves
 * little, then few of the others, then back to the sockets. */
static void ready_round(struct gateway *gw)
{
    ready_turns(&gw->keys, gw->keys.count);
    ready_turns(&gw->bulk, GATEWAY_BULK_TURNS);
}

static int sooner(int a, int b)
{
    return a < 0 ? b : b < 0 ? a : a < b ? a : b;
}

static int wait_ms(struct gateway *gw, int polls, int chores)
{
    int wait = wheel_wait_ms(&gw->wheel, gw->now_ms);
    int64_t due = gw->listen_again_ms;

    if (gw->keys.first || gw->bulk.first)
        return 0;
    wait = sooner(sooner(wait, polls), chores);
    if (gw->drain_ms && (!due || gw->drain_ms < due))
        due = gw->drain_ms;
    if (due)
        wait = sooner(wait, due > gw->now_ms ? (int)(due - gw->now_ms) : 0);
    return wait;
}

int server_run(struct gateway *gw)
{
    struct epoll_event events[EVENTS_MAX];

    while (!gw->is_over) {
        int polls = waiting_tick(gw), chores = chores_tick(gw);
        int n = epoll_wait(gw->epoll_fd, events, EVENTS_MAX,
                           wait_ms(gw, polls, chores));

        gw->now_ms = clock_ms();
        for (int i = 0; i < n; i++)
            dispatch(gw, events[i].data.ptr, events[i].events);
        wheel_turn(&gw->wheel, gw->now_ms, timer_fire, gw);
        ready_round(gw);
        listener_again(gw);
        pairs_bury(gw);
        drain_tick(gw);
    }
    log_info("gateway.stopped", NULL);
    return EXIT_SUCCESS;
}
