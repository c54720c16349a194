#include "agent/proxy_main.h"

#include "base/log.h"
#include "base/mem.h"
#include "base/own.h"
#include "base/proc.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define THREADS 4 /* look-ups at a time */
#define LOOK_UPS_MAX 64
#define REFUSED_MS 60000 /* the owner is told of the same again after that */
#define REFUSED_BURST 5  /* and of so many at once, */
#define REFUSED_EACH_MS 5000 /* then of one in that time */
#define REFUSED_KEPT 16

struct child {
    struct loop *loop;
    struct {
        char host[URL_HOST_MAX + 1];
        uint16_t port;
        int64_t at_ms;
    } kept[REFUSED_KEPT]; /* told of late; the oldest gives way */
    int next;
    struct log_rate rate;
};

int proxy_rules_of(const struct json *j, struct proxy_rules *out, struct err *e)
{
    static const char *const names[] = {"domains", "allow_http", "allow_cidrs",
                                        "deny_cidrs", NULL};
    const char *domains = json_get_str(j, "domains");
    const char *allow = json_get_str(j, "allow_cidrs");
    const char *deny = json_get_str(j, "deny_cidrs");

    memset(out, 0, sizeof(*out));
    if (json_only(j, names, e) < 0)
        return -1;
    if (!domains || !allow || !deny ||
        json_get_bool(j, "allow_http", &out->allow_http) < 0)
        return err_set(e, ERR_INPUT,
                       "domains, allow_http, allow_cidrs and deny_cidrs are "
                       "all to be there");
    if (domain_list_parse(domains, &out->domains, e) < 0)
        return err_wrap(e, "domains");
    if (cidr_list_parse(allow, &out->addrs.allow, e) < 0)
        return err_wrap(e, "allow_cidrs");
    if (cidr_list_parse(deny, &out->addrs.deny, e) < 0)
        return err_wrap(e, "deny_cidrs");
    return 0;
}

void proxy_rules_fini(struct proxy_rules *r)
{
    domain_list_fini(&r->domains);
    cidr_list_fini(&r->addrs.allow);
    cidr_list_fini(&r->addrs.deny);
}

/* --- telling the main process --- */

static bool is_told(struct child *c, const char *host, uint16_t port)
{
    const int64_t now = loop_now_ms();

    for (int i = 0; i < REFUSED_KEPT; i++)
        if (c->kept[i].at_ms && now - c->kept[i].at_ms < REFUSED_MS &&
            c->kept[i].port == port && strcmp(c->kept[i].host, host) == 0)
            return true;
    if (!log_rate_ok(&c->rate, now))
        return true;
    memcpy(c->kept[c->next].host, host, strlen(host) + 1);
    c->kept[c->next].port = port;
    c->kept[c->next].at_ms = now;
    c->next = (c->next + 1) % REFUSED_KEPT;
    return false;
}

static void refused(void *arg, const char *host, uint16_t port, const char *why)
{
    struct child *c = arg;
    own_json struct json *j = NULL;
    own_mem char *text = NULL, *line = NULL;

    if (is_told(c, host, port))
        return;
    j = json_object();
    json_set_str(j, "refused", why);
    text = json_text(j);
    line = mem_printf("%s\n", text);
    /* one that is not read is one too many */
    if (send(PROXY_LINK_FD, line, strlen(line), MSG_NOSIGNAL | MSG_DONTWAIT) <
        0)
        log_debug("proxy.not_told", NULL);
}

/* Nothing more comes there but its end. */
static void on_link(void *arg, int events)
{
    struct child *c = arg;
    char byte;

    (void)events;
    if (recv(PROXY_LINK_FD, &byte, 1, MSG_DONTWAIT) < 0 &&
        (errno == EAGAIN || errno == EINTR))
        return;
    loop_stop(c->loop);
}

/* --- its beginning --- */

static int read_rules(struct proxy_rules *out, struct err *e)
{
    own_mem char *text = mem_zero(1, PROXY_RULES_MAX);
    own_json struct json *j = NULL;
    size_t len = 0;

    while (len == 0 || text[len - 1] != '\n') {
        ssize_t n = recv(PROXY_LINK_FD, text + len, PROXY_RULES_MAX - len, 0);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return err_set(e, ERR_PEER, "the rules are not there");
        len += (size_t)n;
    }
    j = json_parse(text, len, e);
    return j ? proxy_rules_of(j, out, e) : -1;
}

/* Each connection takes two sockets and two pipes. */
static void raise_files(void)
{
    struct rlimit lim;

    if (getrlimit(RLIMIT_NOFILE, &lim) == 0) {
        lim.rlim_cur = lim.rlim_max;
        setrlimit(RLIMIT_NOFILE, &lim);
    }
}

int proxy_child_main(int argc, char **argv)
{
    static const struct proxy_verbs verbs = {.refused = refused};
    struct child c = {
        .rate = {.burst = REFUSED_BURST, .interval_ms = REFUSED_EACH_MS}};
    struct proxy_rules rules;
    struct loop_fd *link;
    struct worker *worker;
    struct proxy *proxy;
    struct err e = {0};

    log_session(argc > 2 ? argv[2] : "");
    proc_undumpable();
    mallopt(M_ARENA_MAX, 1);
    signal(SIGPIPE, SIG_IGN);
    raise_files();
    if (read_rules(&rules, &e) < 0) {
        log_err(&e, "proxy.failed");
        proxy_rules_fini(&rules);
        return EXIT_FAILURE;
    }
    c.loop = loop_new();
    worker = worker_new(c.loop, THREADS, LOOK_UPS_MAX);
    proxy = proxy_new(c.loop, worker, PROXY_LISTEN_FD, &rules, &verbs, &c);
    link = loop_fd_start(c.loop, PROXY_LINK_FD, LOOP_READ, on_link, &c);
    loop_run(c.loop);
    loop_fd_stop(link);
    proxy_free(proxy);
    _exit(EXIT_SUCCESS); /* look-ups under way are not waited for */
}
