/*
 * Measures a relay between a plain client and a TLS agent: MB/s, the relay's
 * CPU nanoseconds a byte, echo latency, memory an idle connection costs and
 * connects a second. The same for haproxy, in one run, because only ratios
 * of one run mean anything.
 *
 *   make build/tests/bench/relay_bench all
 *   build/tests/bench/relay_bench [gateway|haproxy|both] [seconds] [idle]
 */
#include "base/frame.h"
#include "base/mem.h"
#include "base/seal.h"
#include "base/tls.h"
#include "gateway/wsframe.h"
#include "tests/lib/certs.h"
#include "tests/lib/gwbench.h"

#include <setjmp.h>
#include <stdarg.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define ECHO_ROUNDS 2000

enum agent_mode { AGENT_FLOOD, AGENT_ECHO, AGENT_HOLD };

struct relay {
    struct bench *b;
    bool is_haproxy;
    char sid[ID_SIZE];
    struct ssl_ctx_st *cert_ctx; /* the agent's, for haproxy */
};

static int64_t now_us(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

/* User and system time of a process with all its threads. */
static int64_t cpu_us(pid_t pid)
{
    unsigned long user = 0, system = 0;
    char path[64];
    FILE *f;

    snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    f = fopen(path, "r");
    if (f) {
        if (fscanf(f, "%*d %*s %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u "
                      "%lu %lu",
                   &user, &system) != 2)
            user = system = 0;
        fclose(f);
    }
    return (int64_t)(user + system) * 1000000 / sysconf(_SC_CLK_TCK);
}

static long memory_kb(pid_t pid, const char *name)
{
    char path[64], line[256];
    long kb = -1;
    FILE *f;

    snprintf(path, sizeof(path), "/proc/%d/smaps_rollup", (int)pid);
    f = fopen(path, "r");
    while (f && fgets(line, sizeof(line), f))
        if (strncmp(line, name, 4) == 0)
            kb = strtol(line + 4, NULL, 10);
    if (f)
        fclose(f);
    return kb;
}

/* --- the agent, in a process of its own --- */

static struct wspeer *agent_accept(struct relay *r)
{
    struct wspeer *a = bench_accept_tcp(r->b, 20000);
    struct wsmsg m;

    if (!a)
        _exit(1);
    a->tls = tls_accept(r->is_haproxy ? r->cert_ctx : r->b->agent_ctx, a->fd);
    if (!wspeer_shake(a))
        _exit(2);
    wspeer_answer(a);
    if (!wspeer_recv(a, &m))
        _exit(3);
    return a;
}

static void agent_flood(struct wspeer *a, size_t size)
{
    static uint8_t chunk[1 << 18];
    size_t len = 0;

    while (len + size + WSFRAME_HEAD_MAX <= sizeof(chunk)) {
        len += wsframe_write(chunk + len, WSFRAME_BINARY, size, NULL);
        len += size;
    }
    while (wspeer_try_write(a, chunk, len, 10000) == len)
        continue;
}

static void agent_echo(struct wspeer *a)
{
    struct wsmsg m;

    while (wspeer_recv(a, &m))
        wspeer_send(a, WSFRAME_BINARY, m.bytes, m.len);
}

static pid_t agent_start(struct relay *r, enum agent_mode mode, size_t size,
                         int count)
{
    pid_t pid = fork();

    if (pid)
        return pid;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (int i = 0; i < count; i++) {
        struct wspeer *a = agent_accept(r);

        if (mode == AGENT_FLOOD)
            agent_flood(a, size);
        else if (mode == AGENT_ECHO)
            agent_echo(a);
        else
            wspeer_binary(a, FRAME_READY, "{}");
    }
    for (;;)
        pause();
}

static void agent_stop(pid_t pid)
{
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
}

/* --- the relay --- */

static void haproxy_start(struct relay *r)
{
    char *conf = mem_printf("%s/haproxy.cfg", r->b->dir);
    FILE *f = fopen(conf, "w");

    snprintf(r->b->addr, sizeof(r->b->addr), "127.0.0.1:18980");
    fprintf(f,
            "global\n nbthread 1\n maxconn 4000\n"
            "defaults\n mode http\n timeout connect 5s\n timeout client 1h\n"
            " timeout server 1h\n timeout tunnel 1h\n"
            "frontend f\n bind %s\n default_backend b\n"
            "backend b\n server s %s ssl verify none no-ssl-reuse "
            "ssl-min-ver TLSv1.3 ciphersuites TLS_AES_256_GCM_SHA384\n",
            r->b->addr, r->b->agent_addr);
    fclose(f);
    r->b->pid = fork();
    if (r->b->pid == 0) {
        execlp("haproxy", "haproxy", "-db", "-q", "-f", conf, NULL);
        _exit(127);
    }
    for (int i = 0; i < 200 && !bench_listens(r->b); i++)
        poll(NULL, 0, 20);
    free(conf);
}

static void relay_start_one(struct relay *r, bool is_haproxy)
{
    static const char *const more[] = {"--attached-per-user=100000",
                                       "--attached-per-address=100000",
                                       "--unproven-per-address=100000", NULL};
    struct err e = {0};
    char *cert, *key;

    *r = (struct relay){.b = bench_new(), .is_haproxy = is_haproxy};
    bench_session(r->b, STATE_RUNNING, r->sid);
    if (!is_haproxy) {
        bench_start(r->b, more);
        return;
    }
    certs_make(r->b->dir, "agent", "DNS:localhost");
    cert = mem_printf("%s/agent.pem", r->b->dir);
    key = mem_printf("%s/agent.key", r->b->dir);
    r->cert_ctx = tls_server_ctx(cert, key, &e);
    if (!r->cert_ctx)
        fail_msg("%s", e.text);
    free(cert);
    free(key);
    haproxy_start(r);
}

static void relay_stop_one(struct relay *r)
{
    tls_ctx_free(r->cert_ctx);
    kill(r->b->pid, SIGTERM);
    bench_free(r->b);
}

/* --- the measurements --- */

static void measure_flood(struct relay *r, size_t size, int seconds)
{
    pid_t agent = agent_start(r, AGENT_FLOOD, size, 1);
    struct wspeer *c = bench_attach(r->b, r->sid);
    int64_t cpu, began, took;
    uint64_t got = 0;
    int n;

    if (wspeer_more(c, 5000) <= 0)
        fail_msg("the flood did not begin");
    c->in_len = 0;
    cpu = cpu_us(r->b->pid);
    began = now_us();
    while (now_us() - began < seconds * 1000000LL &&
           (n = wspeer_more(c, 5000)) > 0) {
        got += (uint64_t)n;
        c->in_len = 0;
    }
    took = now_us() - began;
    cpu = cpu_us(r->b->pid) - cpu;
    printf("  flood %5zu B  %7.0f MB/s  %5.2f ns/B\n", size,
           (double)got / (double)took,
           (double)cpu * 1000 / (double)(got ? got : 1));
    wspeer_free(c);
    agent_stop(agent);
}

static int by_size(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

    return x < y ? -1 : x > y;
}

static void measure_echo(struct relay *r)
{
    static int64_t us[ECHO_ROUNDS];
    pid_t agent = agent_start(r, AGENT_ECHO, 0, 1);
    struct wspeer *c = bench_attach(r->b, r->sid);
    struct wsmsg m;

    for (int i = 0; i < ECHO_ROUNDS; i++) {
        int64_t began = now_us();

        wspeer_send(c, WSFRAME_BINARY, "0123456789abcdef", 16);
        if (!wspeer_recv(c, &m))
            fail_msg("echo ended");
        us[i] = now_us() - began;
    }
    qsort(us, ECHO_ROUNDS, sizeof(us[0]), by_size);
    printf("  echo p50 %lld us, p99 %lld us\n",
           (long long)us[ECHO_ROUNDS / 2],
           (long long)us[ECHO_ROUNDS * 99 / 100]);
    wspeer_free(c);
    agent_stop(agent);
}

static void measure_idle(struct relay *r, int count)
{
    struct wspeer **c = mem_zero((size_t)count, sizeof(*c));
    pid_t agent = agent_start(r, AGENT_HOLD, 0, count + 1);
    struct wspeer *first = bench_attach(r->b, r->sid);
    long rss, pss;
    struct wsmsg m;
    int64_t began;

    wspeer_recv(first, &m);
    rss = memory_kb(r->b->pid, "Rss:");
    pss = memory_kb(r->b->pid, "Pss:");
    began = now_us();
    for (int i = 0; i < count; i++) {
        c[i] = bench_attach(r->b, r->sid);
        if (!wspeer_recv(c[i], &m))
            fail_msg("connection %d ended", i);
    }
    printf("  %d attached one at a time: %.0f/s\n", count,
           count * 1e6 / (double)(now_us() - began));
    poll(NULL, 0, 500);
    printf("  idle: RSS %.1f KB, PSS %.1f KB a connection\n",
           (double)(memory_kb(r->b->pid, "Rss:") - rss) / count,
           (double)(memory_kb(r->b->pid, "Pss:") - pss) / count);
    for (int i = 0; i < count; i++)
        wspeer_free(c[i]);
    wspeer_free(first);
    agent_stop(agent);
    free(c);
}

static void measure(bool is_haproxy, int seconds, int idle)
{
    struct relay r;

    printf("%s\n", is_haproxy ? "haproxy" : "gateway");
    fflush(stdout);
    relay_start_one(&r, is_haproxy);
    measure_flood(&r, 16384, seconds);
    fflush(stdout);
    measure_flood(&r, 4096, seconds);
    measure_echo(&r);
    fflush(stdout);
    measure_idle(&r, idle);
    fflush(stdout);
    relay_stop_one(&r);
}

int main(int argc, char **argv)
{
    const char *which = argc > 1 ? argv[1] : "both";
    int seconds = argc > 2 ? atoi(argv[2]) : 3;
    int idle = argc > 3 ? atoi(argv[3]) : 1000;

    if (strcmp(which, "haproxy") != 0)
        measure(false, seconds, idle);
    if (strcmp(which, "gateway") != 0)
        measure(true, seconds, idle);
    return 0;
}
