/*
 * The egress proxy beside haproxy as a bare TCP proxy (mode tcp, one thread;
 * as it comes, and with splicing): CPU a byte in each direction, CPU and
 * latency of small messages, and from connect to a server's first byte. Both
 * stand between the same client and the same server on loopback.
 *
 * usage: proxy_bench [seconds of each flood] [rounds] [connections]
 */
#include "base/buf.h"
#include "base/mem.h"
#include "base/own.h"
#include "base/proc.h"
#include "tests/lib/figures.h"
#include "tests/lib/ownhosts.h"
#include "tests/lib/programs.h"
#include "tests/lib/rivals.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
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
#define CONNS_MAX 5000
#define MESSAGES 4000
#define WARM 50
#define PIECE 65536
#define NAME "localhost"

enum who { PROXY, HAPROXY, SPLICING, DIRECT, WHO_COUNT };
enum mode { DOWN = 'd', UP = 'u', ECHO = 'e' };

static const char *const who_name[] = {"proxy", "haproxy", "haproxy_splice",
                                       "direct"};

struct relay {
    int port;     /* a client connects here */
    int server;   /* and comes out there */
    pid_t pid;    /* of the relay; 0 = there is none */
    pid_t behind; /* of the server */
    int link_fd;  /* the proxy's */
};

static struct relay relays[WHO_COUNT];
static double seconds = 1;
static int rounds = 7, conns = 300;
static struct buf greeting; /* a ClientHello, and a record's head behind it */
static char *dir;

/* --- what is said first --- */

static void make_greeting(void)
{
    const size_t name = strlen(NAME), extension = name + 5;
    const size_t body = 2 + 32 + 1 + 4 + 2 + 2 + 4 + extension;
    static const uint8_t random[32] = "no more than what names a server";

    buf_init(&greeting, 1024);
    buf_append(&greeting, "\x16\3\1", 3);
    buf_append_u16(&greeting, (uint16_t)(body + 4));
    buf_append_u32(&greeting, 1u << 24 | (uint32_t)body);
    buf_append_u16(&greeting, 0x0303);
    buf_append(&greeting, random, sizeof(random));
    buf_append_u8(&greeting, 0);
    buf_append(&greeting, "\0\2\x13\1\1\0", 6);
    buf_append_u16(&greeting, (uint16_t)(4 + extension));
    buf_append_u16(&greeting, 0);
    buf_append_u16(&greeting, (uint16_t)extension);
    buf_append_u16(&greeting, (uint16_t)(name + 3));
    buf_append_u8(&greeting, 0);
    buf_append_u16(&greeting, (uint16_t)name);
    buf_append_str(&greeting, NAME);
    buf_append(&greeting, "\x17\3\3\x40\0", 5);
}

/* --- the server: one connection at a time --- */

static void serve_one(int fd)
{
    static uint8_t bytes[PIECE];
    uint8_t first[1024];
    ssize_t n;

    if (recv(fd, first, greeting.len + 1, MSG_WAITALL) !=
        (ssize_t)greeting.len + 1)
        return;
    switch (first[greeting.len]) {
    case DOWN:
        while (send(fd, bytes, sizeof(bytes), MSG_NOSIGNAL) > 0)
            ;
        break;
    case UP:
        while (recv(fd, bytes, sizeof(bytes), 0) > 0)
            ;
        break;
    default:
        while ((n = recv(fd, bytes, sizeof(bytes), 0)) > 0)
            if (send(fd, bytes, (size_t)n, MSG_NOSIGNAL) < 0)
                return;
        break;
    }
}

static int listen_on(int flags, int *port)
{
    struct sockaddr_in at = {.sin_family = AF_INET,
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(at);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | flags, 0);

    assert_int_equal(bind(fd, (struct sockaddr *)&at, len), 0);
    assert_int_equal(listen(fd, 64), 0);
    getsockname(fd, (struct sockaddr *)&at, &len);
    *port = ntohs(at.sin_port);
    return fd;
}

static void start_server(struct relay *r)
{
    int listener = listen_on(0, &r->server), one = 1;

    r->behind = fork();
    if (r->behind) {
        close(listener);
        return;
    }
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (;;) {
        own_fd int fd = accept(listener, NULL, NULL);

        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
        serve_one(fd);
    }
}

/* --- the relays --- */

static void start_haproxy(struct relay *r, bool is_splicing)
{
    own_mem char *conf = NULL;
    FILE *f;

    r->port = rival_port();
    conf = mem_printf("%s/%d.cfg", dir, r->port);
    f = fopen(conf, "w");
    assert_non_null(f);
    fprintf(f,
            "global\n nbthread 1\n maxconn 1000\n"
            "defaults\n mode tcp\n timeout connect 5s\n timeout client 1h\n"
            " timeout server 1h\n%s"
            "frontend f\n bind 127.0.0.1:%d\n default_backend b\n"
            "backend b\n server s 127.0.0.1:%d\n",
            is_splicing ? " option splice-request\n option splice-response\n"
                        : "",
            r->port, r->server);
    fclose(f);
    r->pid = fork();
    if (r->pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        execlp("haproxy", "haproxy", "-db", "-q", "-f", conf, NULL);
        _exit(127);
    }
}

static void start_proxy(struct relay *r)
{
    own_mem char *path = program_path("podterm-agent");
    own_mem char *rules =
        mem_printf("{\"domains\":\"" NAME ":%d\",\"allow_http\":false,"
                   "\"allow_cidrs\":\"127.0.0.1/32\",\"deny_cidrs\":\"\"}\n",
                   r->server);
    own_mem char *log = mem_printf("%s/proxy.log", dir);
    own_fd int log_fd = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);
    own_fd int listener = listen_on(SOCK_NONBLOCK, &r->port);
    char *argv[] = {"podterm-agent", "--proxy", "bench", NULL};
    int pair[2];
    struct err e = {0};

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair),
                     0);
    {
        int fds[5] = {-1, -1, log_fd, pair[1], listener};
        struct proc_spawn how = {.path = path,
                                 .argv = argv,
                                 .fds = fds,
                                 .fd_count = 5,
                                 .death_signal = SIGKILL};
        own_fd int pid_fd = proc_spawn(&how, &r->pid, &e);

        if (pid_fd < 0)
            fail_msg("%s", e.text);
    }
    close(pair[1]);
    r->link_fd = pair[0];
    assert_true(send(pair[0], rules, strlen(rules), MSG_NOSIGNAL) > 0);
}

static void relay_begin(enum who who)
{
    struct relay *r = &relays[who];

    start_server(r);
    if (who == PROXY)
        start_proxy(r);
    else if (who == DIRECT)
        r->port = r->server;
    else
        start_haproxy(r, who == SPLICING);
    close(rival_dial(r->port)); /* it listens */
}

static void relay_end(struct relay *r)
{
    const pid_t pids[] = {r->pid, r->behind};

    for (int i = 0; i < 2; i++)
        if (pids[i] > 0) {
            kill(pids[i], SIGKILL);
            waitpid(pids[i], NULL, 0);
        }
}

/* --- a connection --- */

static void take_exactly(int fd, void *out, size_t len)
{
    if (recv(fd, out, len, MSG_WAITALL) != (ssize_t)len)
        fail_msg("the connection ended: %s", strerror(errno));
}

static int connect_to(struct relay *r, enum mode mode)
{
    static const char yes[] = "HTTP/1.1 200 Connection established\r\n\r\n";
    uint8_t first[1024];
    char ask[128], said[sizeof(yes)] = "";
    int fd = rival_dial(r->port);

    if (r == &relays[PROXY]) {
        snprintf(ask, sizeof(ask),
                 "CONNECT " NAME ":%d HTTP/1.1\r\nHost: " NAME ":%d\r\n\r\n",
                 r->server, r->server);
        assert_true(send(fd, ask, strlen(ask), MSG_NOSIGNAL) > 0);
        take_exactly(fd, said, sizeof(yes) - 1);
        assert_string_equal(said, yes);
    }
    memcpy(first, greeting.data, greeting.len);
    first[greeting.len] = (uint8_t)mode;
    assert_true(send(fd, first, greeting.len + 1, MSG_NOSIGNAL) > 0);
    return fd;
}

/* --- floods --- */

static double flood(struct relay *r, enum mode mode, double *mbs)
{
    static uint8_t bytes[PIECE];
    own_fd int fd = connect_to(r, mode);
    int64_t start = figures_now_us();
    double cpu = figures_cpu_ns(r->pid), took, got = 0;

    do {
        ssize_t n = mode == DOWN ? recv(fd, bytes, sizeof(bytes), 0)
                                 : send(fd, bytes, sizeof(bytes), MSG_NOSIGNAL);

        if (n <= 0)
            fail_msg("the flood ended: %s", strerror(errno));
        got += (double)n;
        took = (double)(figures_now_us() - start);
    } while (took < seconds * 1e6);
    *mbs = got / took;
    return (figures_cpu_ns(r->pid) - cpu) / got;
}

static void bench_floods(enum mode mode, const char *what)
{
    static double mbs[DIRECT][ROUNDS_MAX], ns[DIRECT][ROUNDS_MAX];
    const size_t n = (size_t)rounds;
    char name[64];

    for (size_t i = 0; i < n; i++)
        for (int w = 0; w < DIRECT; w++)
            ns[w][i] = flood(&relays[w], mode, &mbs[w][i]);
    snprintf(name, sizeof(name), "proxy.%s.to_haproxy.cpu", what);
    figures_at_most(name, figures_ratio(ns[PROXY], ns[HAPROXY], n), "ratio", 1);
    snprintf(name, sizeof(name), "proxy.%s.to_haproxy_splice.cpu", what);
    figures_say(name, figures_ratio(ns[PROXY], ns[SPLICING], n), "ratio");
    for (int w = 0; w < DIRECT; w++) {
        snprintf(name, sizeof(name), "proxy.%s.%s.cpu", what, who_name[w]);
        figures_say(name, figures_median(ns[w], n), "ns/byte");
        snprintf(name, sizeof(name), "proxy.%s.%s.rate", what, who_name[w]);
        figures_say(name, figures_median(mbs[w], n), "MB/s");
    }
}

/* --- small messages, one after the other --- */

static double message_us(int fd)
{
    char bytes[16] = "0123456789abcde";
    int64_t start = figures_now_us();

    assert_int_equal(send(fd, bytes, sizeof(bytes), MSG_NOSIGNAL),
                     sizeof(bytes));
    take_exactly(fd, bytes, sizeof(bytes));
    return (double)(figures_now_us() - start);
}

static void bench_messages(void)
{
    static double us[WHO_COUNT][MESSAGES];
    double p50[WHO_COUNT], cpu[WHO_COUNT];
    int fd[WHO_COUNT];
    char name[64];

    for (int w = 0; w < WHO_COUNT; w++) {
        fd[w] = connect_to(&relays[w], ECHO);
        for (int i = 0; i < WARM; i++)
            message_us(fd[w]);
        cpu[w] = figures_cpu_ns(relays[w].pid);
    }
    for (int i = 0; i < MESSAGES; i++)
        for (int w = 0; w < WHO_COUNT; w++)
            us[w][i] = message_us(fd[w]);
    for (int w = 0; w < WHO_COUNT; w++) {
        cpu[w] = (figures_cpu_ns(relays[w].pid) - cpu[w]) / MESSAGES;
        close(fd[w]);
        p50[w] = figures_median(us[w], MESSAGES);
        snprintf(name, sizeof(name), "proxy.echo.%s.p50", who_name[w]);
        figures_say(name, p50[w], "us");
        snprintf(name, sizeof(name), "proxy.echo.%s.p99", who_name[w]);
        figures_say(name, figures_quantile(us[w], MESSAGES, 0.99), "us");
        if (w == DIRECT)
            continue;
        snprintf(name, sizeof(name), "proxy.echo.%s.cpu", who_name[w]);
        figures_say(name, cpu[w] / 1000, "us there and back");
    }
    figures_at_most("proxy.echo.to_haproxy.added",
                    (p50[PROXY] - p50[DIRECT]) / (p50[HAPROXY] - p50[DIRECT]),
                    "ratio", 1);
    figures_at_most("proxy.echo.to_haproxy.cpu", cpu[PROXY] / cpu[HAPROXY],
                    "ratio", 1);
}

/* --- from connect to a server's first byte --- */

static double connection_us(struct relay *r)
{
    int64_t start = figures_now_us();
    own_fd int fd = connect_to(r, ECHO);
    char byte = 'x';

    assert_int_equal(send(fd, &byte, 1, MSG_NOSIGNAL), 1);
    take_exactly(fd, &byte, 1);
    return (double)(figures_now_us() - start);
}

/* (What haproxy need not do is part of it: a name looked up, a request and
 * its answer, a greeting judged, a line in the log.) */
static void bench_connections(void)
{
    static double us[WHO_COUNT][CONNS_MAX];
    const size_t n = (size_t)conns;
    double p50[WHO_COUNT], cpu[WHO_COUNT];
    char name[64];

    for (int w = 0; w < WHO_COUNT; w++)
        cpu[w] = figures_cpu_ns(relays[w].pid);
    for (size_t i = 0; i < n; i++)
        for (int w = 0; w < WHO_COUNT; w++)
            us[w][i] = connection_us(&relays[w]);
    for (int w = 0; w < WHO_COUNT; w++) {
        cpu[w] = (figures_cpu_ns(relays[w].pid) - cpu[w]) / conns;
        p50[w] = figures_median(us[w], n);
        snprintf(name, sizeof(name), "proxy.connect.%s.p50", who_name[w]);
        figures_say(name, p50[w], "us");
        snprintf(name, sizeof(name), "proxy.connect.%s.p99", who_name[w]);
        figures_say(name, figures_quantile(us[w], n, 0.99), "us");
        if (w == DIRECT)
            continue;
        snprintf(name, sizeof(name), "proxy.connect.%s.cpu", who_name[w]);
        figures_say(name, cpu[w] / 1000, "us a connection");
    }
    figures_say("proxy.connect.over_haproxy", p50[PROXY] - p50[HAPROXY], "us");
}

int main(int argc, char **argv)
{
    figures_begin("egress proxy");
    own_hosts("127.0.0.1 " NAME "\n"); /* as good as the machine's, if not */
    if (argc > 1 && atof(argv[1]) > 0)
        seconds = atof(argv[1]);
    if (argc > 2 && atoi(argv[2]) > 0 && atoi(argv[2]) <= ROUNDS_MAX)
        rounds = atoi(argv[2]);
    if (argc > 3 && atoi(argv[3]) > 0 && atoi(argv[3]) <= CONNS_MAX)
        conns = atoi(argv[3]);
    make_greeting();
    dir = scratch_new();
    for (int w = 0; w < WHO_COUNT; w++)
        relay_begin(w);
    bench_floods(DOWN, "down");
    bench_floods(UP, "up");
    bench_messages();
    bench_connections();
    for (int w = 0; w < WHO_COUNT; w++)
        relay_end(&relays[w]);
    close(relays[PROXY].link_fd);
    scratch_remove(dir);
    buf_fini(&greeting);
    return 0;
}
