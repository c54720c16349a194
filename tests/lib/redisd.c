#include "tests/lib/redisd.h"

#include "base/mem.h"
#include "base/own.h"
#include "tests/lib/ports.h"
#include "tests/lib/programs.h"

#include <netinet/in.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define READY_MS 10000
#define WORDS_MAX 64

static bool is_tls(const struct redisd *d)
{
    return strncmp(d->url, "rediss", 6) == 0;
}

/* In the child; its output goes to a file beside its data. */
static void become(const struct redisd *d)
{
    char port[12], log[512];
    const char *argv[WORDS_MAX] = {
        "redis-server",
        "--bind",
        "127.0.0.1",
        "--save",
        "",
        "--appendonly",
        "no",
        "--dir",
        d->dir,
        "--logfile",
        log,
        "--port",
        is_tls(d) ? "0" : port,
    };
    int n = 13;

    snprintf(port, sizeof(port), "%d", d->port);
    snprintf(log, sizeof(log), "%s/redis.log", d->dir);
    for (const char *const *w = d->more; w && *w && n < WORDS_MAX - 2; w++) {
        argv[n++] = strncmp(*w, "DIR/", 4) == 0
                        ? mem_printf("%s%s", d->dir, *w + 3)
                        : *w;
        if (strcmp(*w, "--tls-port") == 0)
            argv[n++] = port;
    }
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    execvp(argv[0], (char **)(uintptr_t)argv);
    _exit(127);
}

static bool accepts(int port)
{
    struct sockaddr_in sa = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    own_fd int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    return connect(fd, (struct sockaddr *)&sa, sizeof(sa)) == 0;
}

static void launch(struct redisd *d)
{
    d->pid = fork();
    assert_true(d->pid >= 0);
    if (d->pid == 0)
        become(d);
    for (int waited_ms = 0; !accepts(d->port); waited_ms += 5) {
        if (waited_ms > READY_MS || waitpid(d->pid, NULL, WNOHANG) != 0)
            fail_msg("redis-server did not start: see %s/redis.log", d->dir);
        poll(NULL, 0, 5);
    }
}

void redisd_start(struct redisd *d, char *dir, const char *const *more)
{
    struct redis_conf conf = {0};
    struct err e = {0};
    bool tls = false;

    for (const char *const *w = more; w && *w; w++)
        tls = tls || strcmp(*w, "--tls-port") == 0;
    *d = (struct redisd){.dir = dir ? dir : scratch_new(), .more = more};
    d->port = port_free();
    snprintf(d->url, sizeof(d->url), "%s://127.0.0.1:%d",
             tls ? "rediss" : "redis", d->port);
    launch(d);
    if (tls)
        return;
    assert_int_equal(redis_url_parse(d->url, &conf, &e), 0);
    d->redis = redis_new(&conf, &e);
    assert_non_null(d->redis);
}

static void end(struct redisd *d, int sig)
{
    if (d->pid <= 0)
        return;
    kill(d->pid, sig);
    assert_int_equal(waitpid(d->pid, NULL, 0), d->pid);
    d->pid = 0;
}

void redisd_stop(struct redisd *d)
{
    end(d, SIGKILL); /* it has nothing to save */
    redis_free(d->redis);
    scratch_remove(d->dir);
    *d = (struct redisd){0};
}

void redisd_kill(struct redisd *d)
{
    end(d, SIGKILL);
}

void redisd_again(struct redisd *d)
{
    launch(d);
}

void redisd_freeze(const struct redisd *d, bool is_frozen)
{
    assert_int_equal(kill(d->pid, is_frozen ? SIGSTOP : SIGCONT), 0);
}

static struct redis_reply *ask(const struct redisd *d, va_list words)
{
    struct redis_cmd c = {0};
    struct redis_reply *r;
    struct err e = {0};

    for (const char *w; (w = va_arg(words, const char *));)
        redis_arg(&c, w);
    r = redis_call(d->redis, &c, NULL, &e);
    if (!r)
        fail_msg("%s: %s", c.args[0], e.text);
    return r;
}

struct redis_reply *redisd_ask(const struct redisd *d, ...)
{
    struct redis_reply *r;
    va_list words;

    va_start(words, d);
    r = ask(d, words);
    va_end(words);
    return r;
}

int64_t redisd_number(const struct redisd *d, ...)
{
    struct redis_reply *r;
    int64_t n;
    va_list words;

    va_start(words, d);
    r = ask(d, words);
    va_end(words);
    assert_int_equal(r->kind, REDIS_INTEGER);
    n = r->integer;
    redis_reply_free(r);
    return n;
}
