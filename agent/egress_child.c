#include "agent/egress_child.h"

#include "agent/lockdown.h"
#include "base/mem.h"
#include "base/own.h"
#include "base/proc.h"

#include <errno.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>

/* --- its beginning --- */

/* Each connection takes several. */
static void raise_files(void)
{
    struct rlimit lim;

    if (getrlimit(RLIMIT_NOFILE, &lim) == 0) {
        lim.rlim_cur = lim.rlim_max;
        setrlimit(RLIMIT_NOFILE, &lim);
    }
}

static struct json *read_rules(struct err *e)
{
    own_mem char *text = mem_zero(1, EGRESS_RULES_MAX);
    size_t len = 0;

    while (len == 0 || text[len - 1] != '\n') {
        ssize_t n = recv(EGRESS_LINK_FD, text + len, EGRESS_RULES_MAX - len, 0);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            err_set(e, ERR_PEER, "the rules are not there");
            return NULL;
        }
        len += (size_t)n;
    }
    return json_parse(text, len, e);
}

struct json *egress_child_begin(struct egress_child *c, const char *sid,
                                struct err *e)
{
    *c = (struct egress_child){.rate = {.burst = EGRESS_TOLD_BURST,
                                        .interval_ms = EGRESS_TOLD_EACH_MS}};
    log_init("agent", "info");
    log_session(sid);
    proc_undumpable();
    mallopt(M_ARENA_MAX, 1);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN); /* a log that may not grow is no end */
    raise_files();
    c->names = lockdown_names();
    return read_rules(e);
}

void egress_child_locked(struct egress_child *c)
{
    c->loop = loop_new();
}

/* Nothing more comes there but its end. */
static void on_link(void *arg, int events)
{
    struct egress_child *c = arg;
    char byte;

    (void)events;
    if (recv(EGRESS_LINK_FD, &byte, 1, MSG_DONTWAIT) < 0 &&
        (errno == EAGAIN || errno == EINTR))
        return;
    loop_stop(c->loop);
}

static void on_names(void *arg)
{
    struct egress_child *c = arg;

    if (lockdown_names() == c->names) {
        c->since_ms = 0;
        return;
    }
    if (!c->since_ms)
        c->since_ms = loop_now_ms();
    if (c->is_busy(c->busy_arg) &&
        loop_now_ms() - c->since_ms < EGRESS_NAMES_WAIT_MS)
        return;
    log_info("egress.names_replaced", NULL);
    loop_stop(c->loop);
}

void egress_child_run(struct egress_child *c, bool (*is_busy)(void *arg),
                      void *arg)
{
    struct loop_timer *names = loop_timer_start(c->loop, EGRESS_NAMES_MS,
                                                EGRESS_NAMES_MS, on_names, c);
    struct loop_fd *link =
        loop_fd_start(c->loop, EGRESS_LINK_FD, LOOP_READ, on_link, c);

    c->is_busy = is_busy;
    c->busy_arg = arg;
    loop_run(c->loop);
    loop_fd_stop(link);
    loop_timer_stop(names);
}

/* --- telling the main process --- */

static bool is_told(struct egress_child *c, const char *what)
{
    const int64_t now = loop_now_ms();

    for (int i = 0; i < EGRESS_TOLD_KEPT; i++)
        if (c->kept[i].at_ms && now - c->kept[i].at_ms < EGRESS_TOLD_MS &&
            strncmp(c->kept[i].what, what, ERR_TEXT_MAX - 1) == 0)
            return true;
    if (!log_rate_ok(&c->rate, now))
        return true;
    snprintf(c->kept[c->next].what, ERR_TEXT_MAX, "%s", what);
    c->kept[c->next].at_ms = now;
    c->next = (c->next + 1) % EGRESS_TOLD_KEPT;
    return false;
}

void egress_child_say(const struct json *j)
{
    own_mem char *text = json_text(j);
    own_mem char *line = mem_printf("%s\n", text);

    if (send(EGRESS_LINK_FD, line, strlen(line), MSG_NOSIGNAL | MSG_DONTWAIT) <
        0)
        log_debug("egress.not_told", NULL);
}

void egress_child_refused(struct egress_child *c, const char *what,
                          const char *why)
{
    own_json struct json *j = NULL;

    if (is_told(c, what))
        return;
    j = json_object();
    json_set_str(j, "refused", why);
    egress_child_say(j);
}
