/*
 * The gateway as a relay between a plain client and a TLS agent, beside
 * haproxy and nginx with the same two legs: MB/s, the relay's CPU a byte,
 * echo latency, private memory an idle session costs, attachments a second.
 *
 * usage: relay_bench [seconds of each flood] [rounds] [idle sessions]
 */
#include "base/mem.h"
#include "base/own.h"
#include "base/frame.h"
#include "base/tls.h"
#include "gateway/wsframe.h"
#include "tests/lib/certs.h"
#include "tests/lib/fakelegs.h"
#include "tests/lib/figures.h"
#include "tests/lib/rivals.h"

#include <fcntl.h>
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

#define ROUNDS_MAX 20
#define KEYS 1500
#define WARM_KEYS 20

enum who { GATEWAY, HAPROXY, NGINX, WHO_COUNT };

static const char *const who_name[] = {"gateway", "haproxy", "nginx"};
static const size_t frame_sizes[] = {16384, 4096};

struct relay {
    struct bench *b;
    char sid[ID_SIZE];
    struct ssl_ctx_st *cert_ctx; /* the agents' of a rival; NULL: PSK */
};

static struct relay relays[WHO_COUNT];
static double seconds = 1;
static int rounds = 5, idles = 1000;

/* --- the relays --- */

static void haproxy_conf(FILE *f, const struct bench *b)
{
    fprintf(f,
            "global\n nbthread 1\n maxconn 4000\n"
            "defaults\n mode http\n timeout connect 5s\n timeout client 1h\n"
            " timeout server 1h\n timeout tunnel 1h\n"
            "frontend f\n bind %s\n default_backend b\n"
            "backend b\n server s %s ssl verify none no-ssl-reuse "
            "ssl-min-ver TLSv1.3 ciphersuites TLS_AES_256_GCM_SHA384\n",
            b->addr, b->agent_addr);
}

static void nginx_conf(FILE *f, const struct bench *b)
{
    const char *d = b->dir;

    fprintf(f,
            "daemon off;\nmaster_process off;\nworker_processes 1;\n"
            "pid %s/nginx.pid;\nerror_log %s/nginx.log crit;\n"
            "events { worker_connections 8192; }\n"
            "http {\n access_log off;\n"
            " client_body_temp_path %s/body;\n proxy_temp_path %s/proxy;\n"
            " fastcgi_temp_path %s/f;\n uwsgi_temp_path %s/u;\n"
            " scgi_temp_path %s/s;\n"
            " server {\n  listen %s;\n  location / {\n"
            "   proxy_pass https://%s;\n   proxy_http_version 1.1;\n"
            "   proxy_set_header Upgrade $http_upgrade;\n"
            "   proxy_set_header Connection upgrade;\n"
            "   proxy_read_timeout 1h;\n   proxy_send_timeout 1h;\n"
            "   proxy_ssl_verify off;\n   proxy_ssl_session_reuse off;\n"
            "   proxy_ssl_protocols TLSv1.3;\n"
            "   proxy_ssl_conf_command Ciphersuites TLS_AES_256_GCM_SHA384;\n"
            "  }\n }\n}\n",
            d, d, d, d, d, d, d, b->addr, b->agent_addr);
}

static void rival_exec(const struct bench *b, enum who who, char *conf)
{
    char *haproxy[] = {"haproxy", "-db", "-q", "-f", conf, NULL};
    char *nginx[] = {"nginx", "-p", b->dir, "-c", conf, NULL};
    char **argv = who == HAPROXY ? haproxy : nginx;
    int fd = open(b->log_path, O_WRONLY | O_CREAT | O_APPEND, 0600);

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    dup2(fd, 1);
    dup2(fd, 2);
    execvp(argv[0], argv);
    _exit(127);
}

static void rival_start(struct relay *r, enum who who)
{
    own_mem char *conf = mem_printf("%s/%s.conf", r->b->dir, who_name[who]);
    own_mem char *cert = mem_printf("%s/agent.pem", r->b->dir);
    own_mem char *key = mem_printf("%s/agent.key", r->b->dir);
    struct err e = {0};
    FILE *f = fopen(conf, "w");

    certs_make(r->b->dir, "agent", "DNS:localhost");
    r->cert_ctx = tls_server_ctx(cert, key, &e);
    if (!r->cert_ctx)
        fail_msg("%s", e.text);
    snprintf(r->b->addr, sizeof(r->b->addr), "127.0.0.1:%d", rival_port());
    if (who == HAPROXY)
        haproxy_conf(f, r->b);
    else
        nginx_conf(f, r->b);
    fclose(f);
    r->b->pid = fork();
    if (r->b->pid == 0)
        rival_exec(r->b, who, conf);
    for (int i = 0; i < 250 && !bench_listens(r->b); i++)
        poll(NULL, 0, 20);
    if (!bench_listens(r->b))
        fail_msg("%s did not start: %s", who_name[who], r->b->log_path);
}

static void relay_begin(enum who who)
{
    static const char *const more[] = {"--attached-per-user=100000",
                                       "--attached-per-address=100000",
                                       "--unproven-per-address=100000", NULL};
    struct relay *r = &relays[who];

    r->b = bench_new();
    bench_session(r->b, STATE_RUNNING, r->sid);
    if (who == GATEWAY)
        bench_start(r->b, more);
    else
        rival_start(r, who);
}

static void relay_end(struct relay *r)
{
    tls_ctx_free(r->cert_ctx);
    bench_free(r->b);
}

static pid_t agents(struct relay *r, enum fakelegs_mode mode, size_t size)
{
    return fakelegs_start(r->b, r->cert_ctx ? r->cert_ctx : r->b->agent_ctx,
                          mode, size);
}

/* An attachment that has had its READY. */
static struct wspeer *attach(struct relay *r)
{
    struct wspeer *c = bench_attach(r->b, r->sid);
    struct wsmsg m;

    if (!wspeer_recv(c, &m))
        fail_msg("no READY came");
    return c;
}

/* --- floods --- */

struct rate {
    double mbs, ns;
};

static struct rate flood(struct relay *r, size_t size)
{
    static uint8_t buf[65536];
    pid_t agent = agents(r, FAKELEGS_FLOOD, size);
    struct wspeer *c = attach(r);
    struct pollfd pfd = {.fd = c->fd, .events = POLLIN};
    double cpu = figures_cpu_ns(r->b->pid), took;
    int64_t start = figures_now_us();
    uint64_t got = 0;

    do {
        ssize_t n =
            poll(&pfd, 1, 5000) == 1 ? recv(c->fd, buf, sizeof(buf), 0) : 0;

        if (n <= 0)
            fail_msg("the flood ended");
        got += (uint64_t)n;
        took = (double)(figures_now_us() - start);
    } while (took < seconds * 1e6);
    cpu = figures_cpu_ns(r->b->pid) - cpu;
    wspeer_free(c);
    fakelegs_stop(agent);
    return (struct rate){(double)got / took, cpu / (double)got};
}

static void bench_floods(size_t size)
{
    static double mbs[WHO_COUNT][ROUNDS_MAX], ns[WHO_COUNT][ROUNDS_MAX];
    const size_t n = (size_t)rounds;
    char name[64];

    for (size_t i = 0; i < n; i++)
        for (int w = 0; w < WHO_COUNT; w++) {
            struct rate got = flood(&relays[w], size);

            mbs[w][i] = got.mbs;
            ns[w][i] = got.ns;
        }
    for (int w = HAPROXY; w < WHO_COUNT; w++) {
        snprintf(name, sizeof(name), "relay.%zuB.gateway_to_%s.cpu", size,
                 who_name[w]);
        if (w == HAPROXY)
            figures_at_most(name, figures_ratio(ns[GATEWAY], ns[w], n), "ratio",
                            1);
        else
            figures_say(name, figures_ratio(ns[GATEWAY], ns[w], n), "ratio");
        snprintf(name, sizeof(name), "relay.%zuB.gateway_to_%s.rate", size,
                 who_name[w]);
        figures_say(name, figures_ratio(mbs[GATEWAY], mbs[w], n), "ratio");
    }
    for (int w = 0; w < WHO_COUNT; w++) {
        snprintf(name, sizeof(name), "relay.%zuB.%s", size, who_name[w]);
        figures_say(name, figures_median(mbs[w], n), "MB/s");
        snprintf(name, sizeof(name), "relay.%zuB.%s.cpu", size, who_name[w]);
        figures_say(name, figures_median(ns[w], n), "ns/byte");
    }
}

/* --- echo, key by key --- */

static double key_us(struct wspeer *c)
{
    int64_t start = figures_now_us();
    struct wsmsg m;

    wspeer_send(c, WSFRAME_BINARY, "0123456789abcdef", 16);
    if (!wspeer_recv(c, &m))
        fail_msg("echo ended");
    return (double)(figures_now_us() - start);
}

static void bench_echo(void)
{
    static double us[WHO_COUNT][KEYS];
    struct wspeer *c[WHO_COUNT];
    pid_t agent[WHO_COUNT];
    double p50[WHO_COUNT];
    char name[64];

    for (int w = 0; w < WHO_COUNT; w++) {
        agent[w] = agents(&relays[w], FAKELEGS_ECHO, 0);
        c[w] = attach(&relays[w]);
    }
    for (int i = -WARM_KEYS; i < KEYS; i++)
        for (int w = 0; w < WHO_COUNT; w++) {
            double t = key_us(c[w]);

            if (i >= 0)
                us[w][i] = t;
        }
    for (int w = 0; w < WHO_COUNT; w++) {
        wspeer_free(c[w]);
        fakelegs_stop(agent[w]);
        p50[w] = figures_median(us[w], KEYS);
        snprintf(name, sizeof(name), "relay.echo.%s.p50", who_name[w]);
        figures_say(name, p50[w], "us");
        snprintf(name, sizeof(name), "relay.echo.%s.p99", who_name[w]);
        figures_say(name, figures_quantile(us[w], KEYS, 0.99), "us");
    }
    figures_say("relay.echo.gateway_to_haproxy.p50",
                p50[GATEWAY] / p50[HAPROXY], "ratio");
    figures_say("relay.echo.gateway_to_nginx.p50", p50[GATEWAY] / p50[NGINX],
                "ratio");
}

/* --- idle sessions --- */

static void bench_idle(enum who w, int count)
{
    struct relay *r = &relays[w];
    struct wspeer **c = mem_zero((size_t)count, sizeof(*c));
    pid_t agent = agents(r, FAKELEGS_ECHO, 0);
    struct wspeer *first = attach(r);
    double before = figures_private_kib(r->b->pid), after;
    char **hello = mem_zero((size_t)count, sizeof(*hello)), name[64];
    int64_t took;
    struct wsmsg m;

    for (int i = 0; i < count; i++) /* not part of what is measured */
        hello[i] = bench_hello(r->b, r->sid);
    took = figures_now_us();
    for (int i = 0; i < count; i++) {
        c[i] = wspeer_dial(r->b->addr, NULL);
        wspeer_upgrade(c[i], r->b->addr, "");
        wspeer_binary(c[i], FRAME_HELLO, hello[i]);
        if (!wspeer_recv(c[i], &m))
            fail_msg("connection %d ended", i);
    }
    took = figures_now_us() - took;
    poll(NULL, 0, 500);
    after = figures_private_kib(r->b->pid);
    snprintf(name, sizeof(name), "relay.attach.%s", who_name[w]);
    figures_say(name, count * 1e6 / (double)took, "a second, one at a time");
    snprintf(name, sizeof(name), "relay.idle.%s", who_name[w]);
    if (w == GATEWAY)
        figures_at_most(name, (after - before) / count, "KiB private a session",
                        15);
    else
        figures_say(name, (after - before) / count, "KiB private a session");
    for (int i = 0; i < count; i++) {
        wspeer_free(c[i]);
        free(hello[i]);
    }
    wspeer_free(first);
    fakelegs_stop(agent);
    free(hello);
    free(c);
}

int main(int argc, char **argv)
{
    figures_begin("relay with a TLS agent leg");
    figures_many_files();
    if (argc > 1 && atof(argv[1]) > 0)
        seconds = atof(argv[1]);
    if (argc > 2 && atoi(argv[2]) > 0 && atoi(argv[2]) <= ROUNDS_MAX)
        rounds = atoi(argv[2]);
    if (argc > 3)
        idles = atoi(argv[3]);
    for (int w = 0; w < WHO_COUNT; w++)
        relay_begin(w);
    for (size_t i = 0; i < sizeof(frame_sizes) / sizeof(frame_sizes[0]); i++)
        bench_floods(frame_sizes[i]);
    bench_echo();
    for (int w = 0; w < WHO_COUNT; w++)
        bench_idle(w, w == NGINX ? idles / 5 : idles); /* it is slow at it */
    for (int w = 0; w < WHO_COUNT; w++)
        relay_end(&relays[w]);
    return 0;
}
