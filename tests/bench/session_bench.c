/*
 * Sessions end to end, beside their peers in the same run: terminal
 * throughput and CPU per byte (bare PTY loop, socat, ttyd where it is on
 * PATH), key echo alone and beside floods, start to first byte, attach rate,
 * private memory. Prints absolutes and, what counts, ratios.
 *
 * usage: session_bench [MB] — MB of each flood, default 256
 */
#include "base/frame.h"
#include "base/loop.h"
#include "base/mem.h"
#include "base/own.h"
#include "base/proc.h"
#include "tests/lib/stack.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pty.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <termios.h>

#include <cmocka.h>

#define ROUNDS 3        /* of each, interleaved; medians are told */
#define ECHO_KEYS 500
#define FLOODS 10
#define IDLES 20
#define ATTACHES 200

extern char **environ;

static long megabytes = 256;

struct rate {
    double mbs;     /* MB per second */
    double ns_byte; /* CPU of the servers, ns per byte */
};

/* CPU time of a process in ns, from /proc/PID/schedstat of its threads. */
static double cpu_ns(pid_t pid)
{
    char path[64], line[256];
    long unsigned user = 0, sys = 0;
    char *at;
    FILE *f;

    snprintf(path, sizeof(path), "/proc/%d/stat", pid);
    f = fopen(path, "r");
    if (!f)
        return 0;
    if (!fgets(line, sizeof(line), f))
        line[0] = 0;
    fclose(f);
    at = strrchr(line, ')');
    if (at)
        sscanf(at + 2, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu",
               &user, &sys);
    return (double)(user + sys) * 1e9 / (double)sysconf(_SC_CLK_TCK);
}

static double self_ns(void)
{
    struct rusage u;

    getrusage(RUSAGE_SELF, &u);
    return ((double)u.ru_utime.tv_sec + (double)u.ru_stime.tv_sec) * 1e9 +
           ((double)u.ru_utime.tv_usec + (double)u.ru_stime.tv_usec) * 1e3;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return x < y ? -1 : x > y;
}

static double quantile(double *v, size_t n, double q)
{
    qsort(v, n, sizeof(*v), compare);
    return v[(size_t)((double)(n - 1) * q)];
}

/* --- throughput --- */

static struct rate flood_floor(void)
{
    char cmd[128];
    uint8_t buf[65536];
    double start_cpu = self_ns();
    int64_t start = loop_now_us(), bytes = 0;
    struct termios tio;
    int fd;
    pid_t pid;

    cfmakeraw(&tio);
    snprintf(cmd, sizeof(cmd), "stty raw; head -c %ldM /dev/zero", megabytes);
    pid = forkpty(&fd, NULL, NULL, NULL);
    if (pid == 0) {
        execl("/bin/sh", "sh", "-c", cmd, NULL);
        _exit(127);
    }
    for (;;) {
        ssize_t n = read(fd, buf, sizeof(buf));

        if (n <= 0)
            break;
        bytes += n;
    }
    waitpid(pid, NULL, 0);
    close(fd);
    return (struct rate){(double)bytes / (double)(loop_now_us() - start),
                         (self_ns() - start_cpu) / (double)bytes};
}

static int tcp_dial(int port)
{
    struct sockaddr_in sa = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)port)};
    int one = 1;

    sa.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    for (int i = 0; i < 200; i++) {
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

        if (connect(fd, (struct sockaddr *)&sa, sizeof(sa)) == 0) {
            setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
            return fd;
        }
        close(fd);
        poll(NULL, 0, 10);
    }
    return -1;
}

static int free_port(void)
{
    struct sockaddr_in sa = {.sin_family = AF_INET};
    socklen_t len = sizeof(sa);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    sa.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (bind(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0 ||
        getsockname(fd, (struct sockaddr *)&sa, &len) < 0)
        abort();
    close(fd);
    return ntohs(sa.sin_port);
}

static pid_t socat_start(int port, const char *cmd)
{
    own_mem char *listen = mem_printf(
        "TCP-LISTEN:%d,bind=127.0.0.1,reuseaddr,nodelay", port);
    own_mem char *exec = mem_printf("SYSTEM:%s,pty,rawer,echo=0", cmd);
    pid_t pid = fork();

    if (pid == 0) {
        execlp("socat", "socat", listen, exec, NULL);
        _exit(127);
    }
    return pid;
}

static struct rate flood_socat(void)
{
    char cmd[64];
    uint8_t buf[65536];
    int port = free_port(), fd;
    struct rusage before, after;
    int64_t start, bytes = 0;
    double ns;
    pid_t pid;

    snprintf(cmd, sizeof(cmd), "head -c %ldM /dev/zero", megabytes);
    getrusage(RUSAGE_CHILDREN, &before);
    pid = socat_start(port, cmd);
    fd = tcp_dial(port);
    start = loop_now_us();
    for (;;) {
        ssize_t n = read(fd, buf, sizeof(buf));

        if (n <= 0)
            break;
        bytes += n;
    }
    start = loop_now_us() - start;
    ns = cpu_ns(pid);
    close(fd);
    kill(pid, SIGTERM);
    waitpid(pid, NULL, 0);
    getrusage(RUSAGE_CHILDREN, &after);
    return (struct rate){(double)bytes / (double)start, ns / (double)bytes};
}

/* A reader as lean as the peers': frames are walked, not copied. */
static int64_t drain_frames(struct stack_link *l)
{
    int64_t bytes = 0, unacked = 0;

    while (!l->is_ended) {
        uint64_t before = l->output;

        if (!stack_pump(l, NULL, NULL, false))
            break;
        bytes += (int64_t)(l->output - before);
        unacked += (int64_t)(l->output - before);
        if (unacked > 65536) {
            stack_ack(l);
            unacked = 0;
        }
    }
    return bytes;
}

static double stack_cpu(struct stack *s, const char *name, const char *flag)
{
    pid_t pids[64];
    int n = stack_pids(s, name, flag, pids, 64);
    double sum = 0;

    for (int i = 0; i < n; i++)
        sum += cpu_ns(pids[i]);
    return sum;
}

static struct rate flood_podterm(struct stack *s, struct stack_bundle *b,
                                 double *agent_ns, double *gateway_ns)
{
    struct stack_session ss;
    struct stack_link l = {0};
    double agent, gateway;
    int64_t start, bytes;

    stack_create(s, "bench", b, "", &ss);
    if (!stack_attach(s, &l, ss.token, 0, 80, 24))
        fail_msg("attach: %s", l.error);
    agent = stack_cpu(s, "podterm-agent", "--main");
    gateway = stack_cpu(s, "podterm-gateway", NULL);
    stack_type(&l, 0, "g", 1); /* the program waits for a key */
    start = loop_now_us();
    while (l.output < (uint64_t)megabytes << 20) {
        if (!stack_pump(&l, NULL, NULL, false))
            fail_msg("the stream broke at %llu",
                     (unsigned long long)l.output);
        stack_ack(&l);
    }
    bytes = (int64_t)l.output;
    start = loop_now_us() - start;
    *agent_ns = (stack_cpu(s, "podterm-agent", "--main") - agent) /
                (double)bytes;
    *gateway_ns = (stack_cpu(s, "podterm-gateway", NULL) - gateway) /
                  (double)bytes;
    drain_frames(&l);
    stack_cut(&l);
    json_free(stack_wait(s, "bench", ss.sid, "ended", 10000));
    stack_session_fini(&ss);
    return (struct rate){(double)bytes / (double)start,
                         *agent_ns + *gateway_ns};
}

static void bench_throughput(struct stack *s)
{
    double floor[ROUNDS], socat[ROUNDS], ours[ROUNDS];
    double floor_ns[ROUNDS], socat_ns[ROUNDS], agent_ns[ROUNDS],
        gateway_ns[ROUNDS];
    struct stack_bundle b;
    char script[128];

    snprintf(script, sizeof(script),
             "stty raw -echo; head -c 1 >/dev/null; head -c %ldM /dev/zero",
             megabytes);
    stack_pack(s, "flood", script, &b);
    for (int i = 0; i < ROUNDS; i++) {
        struct rate r = flood_floor();

        floor[i] = r.mbs;
        floor_ns[i] = r.ns_byte;
        r = flood_socat();
        socat[i] = r.mbs;
        socat_ns[i] = r.ns_byte;
        r = flood_podterm(s, &b, &agent_ns[i], &gateway_ns[i]);
        ours[i] = r.mbs;
    }
#define MEDIAN(v) quantile(v, ROUNDS, 0.5)
    printf("throughput MB/s     floor %.0f  socat %.0f  podterm %.0f   "
           "podterm/floor %.2f  podterm/socat %.2f\n",
           MEDIAN(floor), MEDIAN(socat), MEDIAN(ours),
           MEDIAN(ours) / MEDIAN(floor), MEDIAN(ours) / MEDIAN(socat));
    printf("CPU ns/byte         floor %.2f  socat %.2f  agent %.2f  gateway "
           "%.2f   agent/socat %.2f\n",
           MEDIAN(floor_ns), MEDIAN(socat_ns), MEDIAN(agent_ns),
           MEDIAN(gateway_ns), MEDIAN(agent_ns) / MEDIAN(socat_ns));
}

/* --- echo --- */

static void echo_socat(double *us)
{
    int port = free_port();
    pid_t pid = socat_start(port, "cat");
    int fd = tcp_dial(port);
    char c = 'k';

    for (int i = -20; i < ECHO_KEYS; i++) {
        int64_t start = loop_now_us();

        if (write(fd, &c, 1) != 1 || read(fd, &c, 1) != 1)
            abort();
        if (i >= 0)
            us[i] = (double)(loop_now_us() - start);
        poll(NULL, 0, 1);
    }
    close(fd);
    kill(pid, SIGTERM);
    waitpid(pid, NULL, 0);
}

static void echo_podterm(struct stack *s, struct stack_bundle *b, double *us)
{
    struct stack_session ss;
    struct stack_link l = {0};

    stack_create(s, "bench", b, "", &ss);
    if (!stack_attach(s, &l, ss.token, 0, 80, 24))
        fail_msg("attach: %s", l.error);
    while (l.output < 5) /* "echo\n" of stty done */
        stack_pump(&l, NULL, NULL, true);
    for (int i = -20; i < ECHO_KEYS; i++) {
        uint64_t at = l.output;
        int64_t start = loop_now_us();

        stack_type(&l, l.input_acked, "k", 1);
        while (l.output == at)
            stack_pump(&l, NULL, NULL, false);
        if (i >= 0)
            us[i] = (double)(loop_now_us() - start);
        stack_ack(&l);
        while (l.input_acked < (uint64_t)(i + 21))
            stack_pump(&l, NULL, NULL, false);
        poll(NULL, 0, 1);
    }
    stack_delete(s, "bench", ss.sid);
    stack_cut(&l);
    json_free(stack_wait(s, "bench", ss.sid, "ended", 10000));
    stack_session_fini(&ss);
}

/* A child that reads one flooding session until it is killed. */
static pid_t flood_child(struct stack *s, struct stack_bundle *b, int i,
                         char sid[ID_SIZE])
{
    struct stack_session ss;
    struct stack_link l = {0};
    char who[32];
    pid_t pid;

    snprintf(who, sizeof(who), "flood%d", i);
    stack_create(s, who, b, "", &ss);
    snprintf(sid, ID_SIZE, "%s", ss.sid);
    pid = fork();
    if (pid == 0) {
        if (stack_attach(s, &l, ss.token, 0, 80, 24))
            for (;;) {
                stack_pump(&l, NULL, NULL, false);
                stack_ack(&l);
            }
        _exit(1);
    }
    stack_session_fini(&ss);
    return pid;
}

static void bench_echo(struct stack *s)
{
    double socat[ECHO_KEYS], ours[ECHO_KEYS], busy[ECHO_KEYS];
    char sids[FLOODS][ID_SIZE];
    struct stack_bundle cat, yes;
    pid_t pids[FLOODS];

    stack_pack(s, "cat", "stty raw -echo; echo echo; exec cat", &cat);
    stack_pack(s, "yes", "stty raw -echo; exec yes", &yes);
    echo_socat(socat);
    echo_podterm(s, &cat, ours);
    printf("echo us p50/p99     socat %.0f/%.0f  podterm %.0f/%.0f   p50 "
           "podterm/socat %.2f\n",
           quantile(socat, ECHO_KEYS, 0.5), quantile(socat, ECHO_KEYS, 0.99),
           quantile(ours, ECHO_KEYS, 0.5), quantile(ours, ECHO_KEYS, 0.99),
           quantile(ours, ECHO_KEYS, 0.5) / quantile(socat, ECHO_KEYS, 0.5));
    for (int i = 0; i < FLOODS; i++)
        pids[i] = flood_child(s, &yes, i, sids[i]);
    poll(NULL, 0, 500);
    echo_podterm(s, &cat, busy);
    printf("echo ms beside %d floods  podterm %.2f/%.2f\n", FLOODS,
           quantile(busy, ECHO_KEYS, 0.5) / 1e3,
           quantile(busy, ECHO_KEYS, 0.99) / 1e3);
    for (int i = 0; i < FLOODS; i++) {
        char who[32];

        snprintf(who, sizeof(who), "flood%d", i);
        kill(pids[i], SIGKILL);
        waitpid(pids[i], NULL, 0);
        stack_delete(s, who, sids[i]);
    }
}

/* --- start, attach, memory --- */

static void bench_start(struct stack *s)
{
    double first[10], attach[ATTACHES];
    struct stack_session ss;
    struct stack_link l;
    struct stack_bundle b;

    stack_pack(s, "hello", "echo hello; exec sleep 600", &b);
    for (int i = 0; i < 10; i++) {
        int64_t start = loop_now_us();

        l = (struct stack_link){0};
        stack_create(s, "bench", &b, "", &ss);
        if (!stack_attach(s, &l, ss.token, 0, 80, 24))
            fail_msg("attach: %s", l.error);
        while (l.output == 0)
            stack_pump(&l, NULL, NULL, false);
        first[i] = (double)(loop_now_us() - start) / 1e3;
        stack_cut(&l);
        if (i < 9) {
            stack_delete(s, "bench", ss.sid);
            json_free(stack_wait(s, "bench", ss.sid, "ended", 10000));
            stack_session_fini(&ss);
        }
    }
    printf("start to first byte ms   p50 %.0f  max %.0f (bundle cached)\n",
           quantile(first, 10, 0.5), quantile(first, 10, 1.0));
    for (int i = 0; i < ATTACHES; i++) {
        own_mem char *token = stack_token(s, "bench", ss.sid, "owner", NULL);
        int64_t start = loop_now_us();

        l = (struct stack_link){0};
        if (!stack_attach(s, &l, token, 0, 80, 24))
            fail_msg("attach %d: %s", i, l.error);
        attach[i] = (double)(loop_now_us() - start) / 1e3;
        stack_cut(&l);
    }
    printf("attach ms p50/p99   %.1f/%.1f, %.0f a second one at a time\n",
           quantile(attach, ATTACHES, 0.5), quantile(attach, ATTACHES, 0.99),
           1e3 / quantile(attach, ATTACHES, 0.5));
    stack_delete(s, "bench", ss.sid);
    json_free(stack_wait(s, "bench", ss.sid, "ended", 10000));
    stack_session_fini(&ss);
}

/* Private_Clean + Private_Dirty in KiB. */
static double private_kb(pid_t pid)
{
    char path[64], line[256];
    double sum = 0;
    FILE *f;

    snprintf(path, sizeof(path), "/proc/%d/smaps_rollup", pid);
    f = fopen(path, "r");
    while (f && fgets(line, sizeof(line), f)) {
        long kb;

        if (sscanf(line, "Private_Clean: %ld", &kb) == 1 ||
            sscanf(line, "Private_Dirty: %ld", &kb) == 1)
            sum += (double)kb;
    }
    if (f)
        fclose(f);
    return sum;
}

static double memory_of(struct stack *s, const char *name, const char *flag,
                        int *count)
{
    pid_t pids[256];
    double sum = 0;

    *count = stack_pids(s, name, flag, pids, 256);
    for (int i = 0; i < *count; i++)
        sum += private_kb(pids[i]);
    return sum;
}

static void bench_memory(struct stack *s)
{
    struct stack_session ss[IDLES];
    struct stack_link l[IDLES];
    struct stack_bundle b;
    double before, after, agents, keepers, shims;
    int n, mains;

    stack_pack(s, "idle", "exec sleep 600", &b);
    before = memory_of(s, "podterm-gateway", NULL, &n);
    for (int i = 0; i < IDLES; i++) {
        char who[32];

        snprintf(who, sizeof(who), "idle%d", i / 4);
        stack_create(s, who, &b, "", &ss[i]);
        l[i] = (struct stack_link){0};
        if (!stack_attach(s, &l[i], ss[i].token, 0, 80, 24))
            fail_msg("attach: %s", l[i].error);
    }
    poll(NULL, 0, 1000);
    after = memory_of(s, "podterm-gateway", NULL, &n);
    memory_of(s, "podterm-agent", "--main", &mains);
    agents = memory_of(s, "podterm-agent", NULL, &n);
    keepers = memory_of(s, "podterm-keeper", NULL, &n);
    shims = memory_of(s, "podterm-shim", NULL, &n);
    printf("private KiB a session   agent %.0f (supervisor and main)  keeper "
           "%.0f  shim %.0f  gateway %.1f (growth)\n",
           agents / mains, keepers / IDLES, n ? shims / IDLES : 0,
           (after - before) / IDLES);
    for (int i = 0; i < IDLES; i++) {
        stack_cut(&l[i]);
        stack_delete(s, ss[i].who, ss[i].sid);
        stack_session_fini(&ss[i]);
    }
}

static void run(void **arg)
{
    struct stack *s = stack_new(NULL);

    (void)arg;
    setvbuf(stdout, NULL, _IOLBF, 0);
    bench_memory(s);
    bench_start(s);
    bench_echo(s);
    bench_throughput(s);
    stack_free(s);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(run)};

    if (argc > 1)
        megabytes = atol(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
