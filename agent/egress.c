#include "agent/egress.h"

#include "agent/egress_child.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/own.h"
#include "base/proc.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

/* Which process, and what the log says of it. */
struct kind {
    const char *flag;
    const char *breach, *died, *lost, *not_started;
    const char *sentence; /* for the owner: it is lost */
};

static const struct kind kinds[] = {
    [EGRESS_KIND_PROXY] = {"--proxy", "proxy.breach", "proxy.died",
                           "proxy.lost", "proxy.not_started",
                           "the program's network is gone: its proxy died "
                           "again and again"},
    [EGRESS_KIND_BROKER] = {"--broker", "broker.breach", "broker.died",
                            "broker.lost", "broker.not_started",
                            "the program's APIs are gone: the key broker died "
                            "again and again"},
};

struct egress {
    struct loop *loop;
    const struct kind *kind;
    struct egress_conf conf;
    char *rules, *sid, *keys_dir;     /* the conf's */
    int listen_fd, link_fd, child_fd; /* -1 = none */
    struct loop_fd *link, *child;
    struct loop_timer *again;
    int64_t deaths_ms[EGRESS_DEATHS_MAX]; /* a ring */
    unsigned deaths;
    size_t len;
    char line[EGRESS_LINE_MAX]; /* of what it says, not whole yet */
};

static void put_down(struct egress *g)
{
    loop_timer_stop(g->again);
    loop_fd_stop(g->link);
    loop_fd_stop(g->child);
    g->again = NULL;
    g->link = g->child = NULL;
    own_fd_release(&g->link_fd);
    g->link_fd = -1;
    if (g->child_fd >= 0) {
        proc_signal(g->child_fd, SIGKILL);
        waitid(P_PIDFD, (id_t)g->child_fd, &(siginfo_t){0}, WEXITED);
    }
    own_fd_release(&g->child_fd);
    g->child_fd = -1;
    g->len = 0;
}

/* --- what it says --- */

/* What is spent never grows less. */
static int take_spent(struct egress *g, const struct json *j)
{
    int64_t requests, bytes;

    if (json_get_int(j, "spent_requests", &requests) < 0 ||
        json_get_int(j, "spent_bytes", &bytes) < 0 ||
        requests < g->conf.spent_requests || bytes < g->conf.spent_bytes)
        return -1;
    g->conf.spent_requests = requests;
    g->conf.spent_bytes = bytes;
    if (g->conf.verbs->spent)
        g->conf.verbs->spent(g->conf.arg, requests, bytes);
    return 0;
}

/* One that breaks the form was taken over, perhaps: it is ended. */
static int take_line(struct egress *g, const char *line, size_t len)
{
    struct err e = {0};
    own_json struct json *j = json_parse(line, len, &e);
    const char *text = json_get_str(j, "refused");

    if (!text)
        return g->conf.kind == EGRESS_KIND_BROKER ? take_spent(g, j) : -1;
    for (const char *c = text; *c; c++)
        if (*c < 0x20 || *c > 0x7e)
            return -1;
    g->conf.verbs->notice(g->conf.arg, text);
    return 0;
}

static int take_lines(struct egress *g)
{
    char *at = g->line, *end;
    size_t left = g->len;

    while ((end = memchr(at, '\n', left))) {
        if (take_line(g, at, (size_t)(end - at)) < 0)
            return -1;
        left -= (size_t)(end - at) + 1;
        at = end + 1;
    }
    memmove(g->line, at, left);
    g->len = left;
    return left < sizeof(g->line) ? 0 : -1;
}

static void on_link(void *arg, int events)
{
    struct egress *g = arg;
    ssize_t n = recv(g->link_fd, g->line + g->len, sizeof(g->line) - g->len,
                     MSG_DONTWAIT);

    (void)events;
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n > 0) {
        g->len += (size_t)n;
        if (take_lines(g) == 0)
            return;
        log_warn(g->kind->breach, NULL);
        proc_signal(g->child_fd, SIGKILL);
    }
    loop_fd_stop(g->link); /* on_child follows */
    g->link = NULL;
}

/* --- its life --- */

static void start(struct egress *g);

static void start_again(void *arg)
{
    start(arg);
}

static bool is_hopeless(struct egress *g)
{
    const int64_t now = loop_now_ms();
    const int64_t first = g->deaths_ms[g->deaths % EGRESS_DEATHS_MAX];

    g->deaths_ms[g->deaths++ % EGRESS_DEATHS_MAX] = now;
    return first && now - first < EGRESS_WINDOW_MS;
}

/* Its connections are cut; those that come wait in the socket's queue. */
static void died(struct egress *g)
{
    put_down(g);
    if (is_hopeless(g)) {
        log_error(g->kind->lost, NULL);
        own_fd_release(&g->listen_fd);
        g->listen_fd = -1;
        g->conf.verbs->notice(g->conf.arg, g->kind->sentence);
        return;
    }
    g->again = loop_timer_start(g->loop, EGRESS_AGAIN_MS, 0, start_again, g);
}

static void on_child(void *arg, int events)
{
    struct egress *g = arg;
    int status = 0;

    (void)events;
    if (proc_reap(g->child_fd, &status) == 0)
        return;
    own_fd_release(&g->child_fd); /* reaped */
    g->child_fd = -1;
    log_warn(g->kind->died, "status", "i", (int64_t)status, NULL);
    died(g);
}

/* The line it begins with, the caller's. */
static char *rules_line(const struct egress *g)
{
    if (g->conf.kind != EGRESS_KIND_BROKER)
        return mem_printf("%s\n", g->rules);
    return mem_printf("{\"rules\":%s,\"spent_requests\":%lld,"
                      "\"spent_bytes\":%lld}\n",
                      g->rules, (long long)g->conf.spent_requests,
                      (long long)g->conf.spent_bytes);
}

/* To whom nobody but us can speak. */
static int spawn(struct egress *g, int pair[2], struct err *e)
{
    char *argv[] = {"podterm-agent", (char *)(uintptr_t)g->kind->flag, g->sid,
                    g->keys_dir, NULL};
    int fds[] = {-1, -1, 2, pair[1], g->listen_fd, g->conf.keys_fd};
    struct proc_spawn how = {
        .path = "/proc/self/exe",
        .argv = argv,
        .envp = environ,
        .fds = fds,
        .fd_count = sizeof(fds) / sizeof(*fds),
        .death_signal = SIGKILL,
    };
    own_mem char *line = rules_line(g);
    pid_t pid;

    g->child_fd = proc_spawn(&how, &pid, e);
    if (g->child_fd < 0)
        return -1;
    if (send(pair[0], line, strlen(line), MSG_NOSIGNAL) < 0)
        return err_sys(e, "its rules");
    return 0;
}

static void start(struct egress *g)
{
    struct err e = {0};
    int pair[2];

    loop_timer_stop(g->again);
    g->again = NULL;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0) {
        log_error(g->kind->not_started, NULL);
        died(g);
        return;
    }
    g->link_fd = pair[0];
    if (spawn(g, pair, &e) < 0) {
        close(pair[1]);
        log_err(&e, g->kind->not_started);
        died(g);
        return;
    }
    close(pair[1]);
    g->link = loop_fd_start(g->loop, g->link_fd, LOOP_READ, on_link, g);
    g->child = loop_fd_start(g->loop, g->child_fd, LOOP_READ, on_child, g);
}

void egress_listen(struct egress *g, int listen_fd)
{
    put_down(g);
    own_fd_release(&g->listen_fd);
    g->listen_fd = listen_fd;
    start(g);
}

struct egress *egress_new(struct loop *l, const struct egress_conf *conf)
{
    struct egress *g = mem_zero(1, sizeof(*g));

    g->loop = l;
    g->kind = &kinds[conf->kind];
    g->conf = *conf;
    if (conf->kind != EGRESS_KIND_BROKER || conf->keys_dir)
        g->conf.keys_fd = -1;
    g->sid = mem_str(conf->sid);
    g->rules = mem_str(conf->rules);
    g->keys_dir = conf->keys_dir ? mem_str(conf->keys_dir) : NULL;
    g->listen_fd = g->link_fd = g->child_fd = -1;
    return g;
}

void egress_free(struct egress *g)
{
    if (!g)
        return;
    put_down(g);
    own_fd_release(&g->listen_fd);
    free(g->rules);
    free(g->sid);
    free(g->keys_dir);
    free(g);
}
