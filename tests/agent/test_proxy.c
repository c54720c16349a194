/*
 * The egress proxy as a program meets it, and one that wants out. The proxy
 * runs in a process of its own, locked in as ever; here are the program, the
 * server and the resolver.
 */
// link: -Wl,--wrap=getaddrinfo,--wrap=freeaddrinfo
#include "agent/proxy.h"

#include "agent/lockdown.h"
#include "base/buf.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/own.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define SOON_MS 5000
#define NAME "api.example.com" /* of the sample greeting */
#define SAMPLE "tests/fuzz/corpus/hello/"
#define CRLF "\r\n"

static struct {
    pid_t proxy;
    int port;       /* the proxy's */
    int server, at; /* a listener, and its port */
    int told;       /* reads what was refused, and the log's lines */
    char said[65536];
    size_t said_len;
    struct proxy_rules rules;
} bed;

static atomic_int *look_ups; /* shared with the proxy's process */

/* --- the resolver --- */

int __wrap_getaddrinfo(const char *host, const char *port,
                       const struct addrinfo *hints, struct addrinfo **out);
void __wrap_freeaddrinfo(struct addrinfo *all);

int __wrap_getaddrinfo(const char *host, const char *port,
                       const struct addrinfo *hints, struct addrinfo **out)
{
    struct sockaddr_in *sa = mem_zero(1, sizeof(struct sockaddr_storage));

    (void)hints;
    atomic_fetch_add(look_ups, 1);
    sa->sin_family = AF_INET;
    sa->sin_port = htons((uint16_t)atoi(port));
    sa->sin_addr.s_addr = inet_addr(
        strncmp(host, "inside.", 7) == 0 ? "169.254.169.254" : "127.0.0.1");
    *out = mem_zero(1, sizeof(**out));
    (*out)->ai_family = AF_INET;
    (*out)->ai_addr = (struct sockaddr *)sa;
    (*out)->ai_addrlen = sizeof(*sa);
    return 0;
}

void __wrap_freeaddrinfo(struct addrinfo *all)
{
    free(all->ai_addr);
    free(all);
}

/* --- the proxy's process --- */

static void refused(void *arg, const char *host, uint16_t port, const char *why)
{
    const int *fd = arg;

    dprintf(*fd, "refused %s:%u %s\n", host, port, why);
}

_Noreturn static void proxy_main(int listener, int told)
{
    static const struct proxy_verbs verbs = {.refused = refused};
    static const struct lockdown_network how = {.event = "proxy.lockdown",
                                                .memory_bytes = 128 << 20,
                                                .descriptors = 1024};
    struct loop *l = loop_new();
    struct worker *w;
    struct err e = {0};

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    signal(SIGPIPE, SIG_IGN);
    log_init("proxy", "info");
    log_fd(told);
    if (lockdown_network(&how, &e) < 0)
        _exit(1);
    w = worker_new(l, 2, 8);
    proxy_new(l, w, listener, &bed.rules, &verbs, &told);
    loop_run(l);
    _exit(0);
}

static int listen_on(int flags, int *port)
{
    struct sockaddr_in sa = {.sin_family = AF_INET,
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(sa);
    int fd = socket(AF_INET, SOCK_STREAM | flags, 0);

    assert_int_equal(bind(fd, (struct sockaddr *)&sa, len), 0);
    assert_int_equal(listen(fd, 64), 0);
    getsockname(fd, (struct sockaddr *)&sa, &len);
    *port = ntohs(sa.sin_port);
    return fd;
}

static int begin(void **arg)
{
    struct err e = {0};

    (void)arg;
    memset(&bed, 0, sizeof(bed));
    if (!look_ups)
        look_ups = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
                        MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    atomic_store(look_ups, 0);
    bed.server = listen_on(0, &bed.at);
    assert_int_equal(
        cidr_list_parse("127.0.0.1/32", &bed.rules.addrs.allow, &e), 0);
    return 0;
}

/* domains: %d is the server's port. The rules are as they stand. */
static void start(const char *domains)
{
    own_mem char *text = mem_printf("%s", domains);
    own_mem char *list = NULL;
    int fds[2], listener;
    struct err e = {0};

    list = mem_printf(NAME ":%d,inside.example:%d,*.wide.example:%d%s%s",
                      bed.at, bed.at, bed.at, *text ? "," : "", text);
    if (domain_list_parse(list, &bed.rules.domains, &e) < 0)
        fail_msg("%s", e.text);
    listener = listen_on(SOCK_NONBLOCK, &bed.port);
    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    bed.proxy = fork();
    if (bed.proxy == 0) {
        close(bed.server);
        proxy_main(listener, fds[1]);
    }
    close(listener);
    close(fds[1]);
    bed.told = fds[0];
}

static int end(void **arg)
{
    (void)arg;
    if (bed.proxy > 0) {
        int status;

        kill(bed.proxy, SIGTERM);
        waitpid(bed.proxy, &status, 0);
        assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM);
        close(bed.told);
    }
    close(bed.server);
    domain_list_fini(&bed.rules.domains);
    cidr_list_fini(&bed.rules.addrs.allow);
    return 0;
}

/* --- the program, the server --- */

static int dial(void)
{
    struct sockaddr_in sa = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)bed.port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct timeval soon = {.tv_sec = SOON_MS / 1000};
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &soon, sizeof(soon));
    assert_int_equal(connect(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
    return fd;
}

static void say(int fd, const void *bytes, size_t len)
{
    assert_int_equal(send(fd, bytes, len, MSG_NOSIGNAL), len);
}

static void say_text(int fd, const char *text)
{
    say(fd, text, strlen(text));
}

/* Up to len bytes, or until its end; how many. Terminated. */
static size_t hear(int fd, char *out, size_t len)
{
    size_t at = 0;

    while (at < len) {
        ssize_t n = recv(fd, out + at, len - at, 0);

        if (n < 0 && errno == EAGAIN)
            fail_msg("nothing came, but %zu bytes", at);
        if (n <= 0)
            break;
        at += (size_t)n;
    }
    out[at] = 0;
    return at;
}

static void expect(int fd, const char *text)
{
    char got[512];

    assert_true(strlen(text) < sizeof(got));
    hear(fd, got, strlen(text));
    assert_string_equal(got, text);
}

static bool is_quiet(int fd, int ms)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};

    return poll(&p, 1, ms) == 0;
}

static int accepted(void)
{
    struct timeval soon = {.tv_sec = SOON_MS / 1000};
    int fd;

    assert_false(is_quiet(bed.server, SOON_MS));
    fd = accept(bed.server, NULL, NULL);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &soon, sizeof(soon));
    return fd;
}

/* The log's lines and refusals, until one has both words. */
static void told(const char *one, const char *two)
{
    for (;;) {
        char *line = bed.said, *next;
        ssize_t n;

        for (; (next = strchr(line, '\n')); line = next + 1) {
            *next = 0;
            if (strstr(line, one) && strstr(line, two)) {
                *next = '\n';
                return;
            }
            *next = '\n';
        }
        if (is_quiet(bed.told, SOON_MS))
            fail_msg("no \"%s\" with \"%s\" in: %s", one, two, bed.said);
        n = read(bed.told, bed.said + bed.said_len,
                 sizeof(bed.said) - 1 - bed.said_len);
        if (n <= 0)
            fail_msg("the proxy is gone; it said: %s", bed.said);
        bed.said_len += (size_t)n;
        bed.said[bed.said_len] = 0;
    }
}

static int ask(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

static int ask(const char *fmt, ...)
{
    char text[1024];
    va_list ap;
    int fd = dial();

    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    say_text(fd, text);
    return fd;
}

/* Refused with that status and words, and nothing dialled. */
static void refused_with(int fd, int status, const char *words)
{
    char got[2048], want[32];

    hear(fd, got, sizeof(got) - 1);
    snprintf(want, sizeof(want), "HTTP/1.1 %d ", status);
    if (strncmp(got, want, strlen(want)) != 0 || !strstr(got, words))
        fail_msg("not %d with \"%s\", but: %s", status, words, got);
    close(fd);
    assert_true(is_quiet(bed.server, 50));
}

#define CONNECT "CONNECT %s:%d HTTP/1.1" CRLF "Host: x" CRLF CRLF

/* A tunnel, so far without a word in it. */
static int tunnel(int *server)
{
    int fd = ask(CONNECT, NAME, bed.at);

    *server = accepted();
    expect(fd, "HTTP/1.1 200 Connection established" CRLF CRLF);
    return fd;
}

static void greet(int fd, const char *sample)
{
    own_mem char *path = mem_printf(SAMPLE "%s", sample);
    struct err e = {0};
    struct buf b;

    buf_init(&b, 65536);
    assert_int_equal(file_read(path, &b, &e), 0);
    say(fd, b.data, b.len);
    buf_fini(&b);
}

static void heard_greeting(int fd, const char *sample)
{
    own_mem char *path = mem_printf(SAMPLE "%s", sample);
    char got[4096];
    struct err e = {0};
    struct buf b;

    buf_init(&b, 65536);
    assert_int_equal(file_read(path, &b, &e), 0);
    assert_int_equal(hear(fd, got, b.len), b.len);
    assert_memory_equal(got, b.data, b.len);
    buf_fini(&b);
}

/* A tunnel that is open: its greeting has passed. */
static int opened(int *server)
{
    int fd = tunnel(server);

    greet(fd, "openssl");
    heard_greeting(*server, "openssl");
    return fd;
}

#define APPLICATION "\x17\3\3\1\1hello"

/* --- what is allowed --- */

static void a_tunnel_carries_all_both_ways(void **arg)
{
    enum { MUCH = 8 << 20, PIECE = 60000 };
    own_mem char *out = mem_zero(1, MUCH), *in = mem_zero(1, MUCH + 1);
    int server, fd;
    size_t sent = 0, got = 0;

    (void)arg;
    start("");
    fd = opened(&server);
    say(fd, APPLICATION, 10);
    expect(server, APPLICATION);
    for (size_t i = 0; i < MUCH; i++)
        out[i] = (char)(i * 2654435761u >> 13);
    /* one reads while the other writes, and slower */
    fcntl(server, F_SETFL, O_NONBLOCK);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    while (got < MUCH) {
        ssize_t n =
            sent < MUCH
                ? send(server, out + sent,
                       MUCH - sent < PIECE ? MUCH - sent : PIECE, MSG_NOSIGNAL)
                : 0;

        sent += n > 0 ? (size_t)n : 0;
        n = recv(fd, in + got, 30000, 0);
        if (n == 0)
            fail_msg("ended after %zu", got);
        got += n > 0 ? (size_t)n : 0;
    }
    assert_memory_equal(in, out, MUCH);
    close(fd);
    close(server);
    told("\"verdict\":\"allowed\",\"host\":\"" NAME "\"",
         "\"addr\":\"127.0.0.1\",\"up\":331,\"down\":8388608");
    assert_int_equal(atomic_load(look_ups), 1);
}

/* What is copied and what is spliced, in turns, as one stream. */
static void few_bytes_and_many_keep_their_order(void **arg)
{
    static const size_t sizes[] = {1,     16383, 7, 16384,  60000, 3,
                                   16385, 65536, 5, 100000, 16384, 2};
    const size_t count = sizeof(sizes) / sizeof(sizes[0]);
    uint8_t next = 0;
    int server, fd;

    (void)arg;
    start("");
    fd = opened(&server);
    say(fd, APPLICATION, 10);
    expect(server, APPLICATION);
    for (size_t i = 0; i < 4 * count; i++) {
        const size_t len = sizes[i % count];
        own_mem char *out = mem_zero(1, len), *in = mem_zero(1, len + 1);
        const bool is_up = i / count % 2 == 0;

        for (size_t at = 0; at < len; at++)
            out[at] = (char)(next++ * 7);
        say(is_up ? fd : server, out, len);
        assert_int_equal(hear(is_up ? server : fd, in, len), len);
        assert_memory_equal(in, out, len);
    }
    close(fd);
    close(server);
    told("\"verdict\":\"allowed\"", "\"up\":582511,\"down\":582180");
}

static void a_half_close_passes_on(void **arg)
{
    int server, fd;
    char got[8];

    (void)arg;
    start("");
    fd = opened(&server);
    say(fd, APPLICATION, 10);
    shutdown(fd, SHUT_WR);
    expect(server, APPLICATION);
    assert_int_equal(hear(server, got, 1), 0);
    say_text(server, "still here");
    expect(fd, "still here");
    close(server);
    assert_int_equal(hear(fd, got, 1), 0);
    told("\"up\":331,\"down\":10", "");
    close(fd);
}

static void a_greeting_in_pieces_is_held_until_it_is_judged(void **arg)
{
    int server, fd;
    struct err e = {0};
    struct buf b;

    (void)arg;
    start("");
    fd = tunnel(&server);
    buf_init(&b, 65536);
    assert_int_equal(file_read(SAMPLE "cut", &b, &e), 0);
    for (size_t i = 0; i < b.len - 1; i++)
        say(fd, b.data + i, 1);
    assert_true(is_quiet(server, 100));
    say(fd, b.data + b.len - 1, 1);
    heard_greeting(server, "cut");
    buf_fini(&b);
    close(fd);
    close(server);
}

/* --- what is not --- */

static void what_is_not_on_the_list_is_neither_looked_up_nor_dialled(void **arg)
{
    static const char *const names[] = {"other.example",
                                        "example.com",
                                        "com",
                                        "apixexample.com",
                                        "api.example.com.evil.example",
                                        "xapi.example.com",
                                        "wide.example",
                                        "widewide.example",
                                        "localhost",
                                        "metadata.google.internal"};

    (void)arg;
    start("");
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        own_mem char *why = mem_printf(
            "%s:%d is not among the domains that this program may reach",
            names[i], bed.at);
        own_mem char *line = mem_printf("\"host\":\"%s\"", names[i]);

        refused_with(ask(CONNECT, names[i], bed.at), 403, why);
        told("refused ", why);
        told("\"verdict\":\"refused\"", line);
    }
    refused_with(ask(CONNECT, NAME, bed.at == 443 ? 444 : 443), 403,
                 "is not among");
    refused_with(ask(CONNECT, NAME, 22), 403, "is not among");
    assert_int_equal(atomic_load(look_ups), 0);
}

static void an_address_is_no_name(void **arg)
{
    static const char *const addrs[] = {"127.0.0.1", "[::1]", "1.1.1.1",
                                        "169.254.169.254",
                                        "[::ffff:169.254.169.254]"};

    (void)arg;
    start("127.0.0.1:80,127.0.0.1");
    for (size_t i = 0; i < sizeof(addrs) / sizeof(addrs[0]); i++)
        refused_with(ask(CONNECT, addrs[i], bed.at), 403, "is an address");
    assert_int_equal(atomic_load(look_ups), 0);
}

static void a_name_that_points_inside_is_refused(void **arg)
{
    (void)arg;
    start("");
    refused_with(ask(CONNECT, "inside.example", bed.at), 403,
                 "169.254.169.254");
    told("\"verdict\":\"refused\",\"host\":\"inside.example\"", "");
    assert_int_equal(atomic_load(look_ups), 1);
}

/* The server hears nothing of it. */
static void cut(const char *sample, const char *words)
{
    int server, fd = tunnel(&server);
    char got[8];

    greet(fd, sample);
    assert_int_equal(hear(fd, got, 1), 0);
    assert_int_equal(hear(server, got, 1), 0);
    told("refused " NAME, words);
    told("\"verdict\":\"refused\"", words);
    close(fd);
    close(server);
}

static void a_greeting_names_the_same_server_openly(void **arg)
{
    (void)arg;
    start("");
    cut("node", "names another server, registry.npmjs.example");
    cut("noname", "does not name the server");
    cut("chromium", "Encrypted Client Hello");
    cut("ssh", "does not speak TLS");
}

static void a_second_greeting_is_judged_too(void **arg)
{
    int server, fd;
    char got[8];

    (void)arg;
    start("");
    fd = opened(&server);
    say(fd, "\x14\3\3\0\1\1", 6);
    hear(server, got, 6);
    greet(fd, "openssl"); /* as after a retry */
    heard_greeting(server, "openssl");
    greet(fd, "node");
    assert_int_equal(hear(fd, got, 1), 0);
    assert_int_equal(hear(server, got, 1), 0);
    told("refused ", "its second TLS greeting names another server");
    close(fd);
    close(server);
}

/* --- plain http --- */

static void plain_requests_pass_where_they_may_one_a_connection(void **arg)
{
    own_mem char *want = NULL;
    int server, fd;
    char got[1024];

    (void)arg;
    bed.rules.allow_http = true;
    start("");
    fd =
        ask("POST http://%s:%d/a?b HTTP/1.1" CRLF "Host: evil.example" CRLF
            "Proxy-Authorization: Basic eA==" CRLF "Content-Length: 5" CRLF CRLF
            "helloGET http://%s:%d/second HTTP/1.1" CRLF CRLF,
            NAME, bed.at, NAME, bed.at);
    server = accepted();
    want = mem_printf("POST /a?b HTTP/1.1" CRLF "Host: " NAME ":%d" CRLF
                      "Content-Length: 5" CRLF "Via: 1.1 podterm" CRLF
                      "Connection: close" CRLF CRLF "hello",
                      bed.at);
    assert_int_equal(hear(server, got, strlen(want)), strlen(want));
    assert_string_equal(got, want);
    say_text(fd, "GET http://other/ HTTP/1.1" CRLF CRLF);
    assert_true(is_quiet(server, 100));
    say_text(server, "HTTP/1.1 302 Found" CRLF "Location: http://other/" CRLF
                     "Content-Length: 2" CRLF CRLF "ok");
    close(server);
    hear(fd, got, sizeof(got) - 1);
    assert_non_null(strstr(got, "302 Found"));
    assert_non_null(strstr(got, "\r\n\r\nok"));
    close(fd);
    told("\"verdict\":\"allowed\"", "\"host\":\"" NAME "\"");
    refused_with(
        ask("GET http://other.example/ HTTP/1.1" CRLF "Host: " NAME CRLF CRLF),
        403, "other.example:80 is not among the domains");
}

static void plain_requests_are_refused_where_they_may_not(void **arg)
{
    (void)arg;
    start(NAME ":80");
    refused_with(ask("GET http://%s:%d/ HTTP/1.1" CRLF "Host: x" CRLF CRLF,
                     NAME, bed.at),
                 403, "plain http is not allowed here");
    refused_with(ask("GET http://%s/ HTTP/1.1" CRLF "Host: x" CRLF CRLF, NAME),
                 403, "plain http is not allowed here");
    refused_with(ask("GET / HTTP/1.1" CRLF "Host: x" CRLF CRLF), 400,
                 "this is a proxy");
    refused_with(ask("\x16\3\1" CRLF CRLF), 400, "no request of HTTP/1.1");
    assert_int_equal(atomic_load(look_ups), 0);
}

static void a_body_that_is_malformed_ends_the_connection(void **arg)
{
    own_mem char *want = NULL;
    int server, fd;
    char got[8];

    (void)arg;
    bed.rules.allow_http = true;
    start("");
    fd = ask("POST http://%s:%d/ HTTP/1.1" CRLF "Host: x" CRLF
             "Transfer-Encoding: chunked" CRLF CRLF "3" CRLF "abc" CRLF,
             NAME, bed.at);
    server = accepted();
    want = mem_printf("POST / HTTP/1.1" CRLF "Host: " NAME ":%d" CRLF
                      "Transfer-Encoding: chunked" CRLF "Via: 1.1 podterm" CRLF
                      "Connection: close" CRLF CRLF "3" CRLF "abc" CRLF,
                      bed.at);
    expect(server, want);
    say_text(fd, "3;x=y" CRLF "def" CRLF);
    assert_int_equal(hear(fd, got, 1), 0);
    told("\"verdict\":\"refused\"", "its body is malformed");
    close(fd);
    close(server);
}

/* --- bounds --- */

static void each_wait_has_its_end(void **arg)
{
    int64_t began = loop_now_ms();
    int silent, fd, server;
    char got[256];

    (void)arg;
    bed.rules.head_ms = bed.rules.greeting_ms = bed.rules.idle_ms = 600;
    start("");
    silent = dial();
    fd = ask("CONNECT ");
    for (int i = 0; i < 10; i++) {
        poll(NULL, 0, 40);
        say_text(fd, "a");
    }
    refused_with(fd, 408, "did not come in time");
    assert_int_equal(hear(silent, got, 1), 0);
    assert_in_range(loop_now_ms() - began, 500, 2500);
    close(silent);

    fd = tunnel(&server); /* silent in the tunnel */
    assert_int_equal(hear(fd, got, 1), 0);
    told("refused ", "its TLS greeting did not come in time");
    close(fd);
    close(server);

    fd = opened(&server); /* idle behind its greeting */
    assert_int_equal(hear(fd, got, 1), 0);
    told("\"verdict\":\"allowed\"", "it was idle for too long");
    close(fd);
    close(server);
}

static void a_head_is_bounded(void **arg)
{
    static char much[40000];
    int fd;

    (void)arg;
    memset(much, 'a', sizeof(much));
    start("");
    fd = ask("CONNECT %s:%d HTTP/1.1" CRLF "X: ", NAME, bed.at);
    say(fd, much, sizeof(much));
    refused_with(fd, 431, "too large");
    fd = ask("CONNECT %s:%d HTTP/1.1" CRLF, NAME, bed.at);
    for (int i = 0; i < 101; i++)
        say_text(fd, "X: y" CRLF);
    say_text(fd, CRLF);
    refused_with(fd, 400, "more than 100 headers");
}

static void connections_are_counted(void **arg)
{
    int held[3], server[3];

    (void)arg;
    bed.rules.conns_max = 3;
    start("");
    for (int i = 0; i < 3; i++)
        held[i] = tunnel(&server[i]);
    refused_with(dial(), 503, "has 3 connections already");
    for (int i = 0; i < 3; i++) {
        close(held[i]);
        close(server[i]);
    }
    told("\"verdict\":\"refused\"", "has 3 connections already");
    held[0] = tunnel(&server[0]);
    close(held[0]);
    close(server[0]);
}

static void bytes_are_counted(void **arg)
{
    static char much[65536];
    int server, fd;
    ssize_t n;

    (void)arg;
    bed.rules.bytes_max = 100000;
    start("");
    fd = opened(&server);
    say(fd, APPLICATION, 10);
    for (int i = 0; i < 100; i++)
        if (send(server, much, sizeof(much), MSG_NOSIGNAL) < 0)
            break;
    while ((n = recv(fd, much, sizeof(much), 0)) > 0)
        ;
    told("\"verdict\":\"allowed\"", "the session's bytes are used up");
    close(fd);
    close(server);
}

static void who_goes_in_the_midst_is_noticed(void **arg)
{
    int server, fd;
    char got[8];

    (void)arg;
    start("");
    fd = ask(CONNECT, "inside.example", bed.at);
    close(fd); /* before its answer */
    fd = tunnel(&server);
    close(fd);
    assert_int_equal(hear(server, got, 1), 0);
    close(server);
    fd = opened(&server);
    say(fd, APPLICATION, 10);
    expect(server, APPLICATION);
    setsockopt(server, SOL_SOCKET, SO_LINGER, &(struct linger){.l_onoff = 1},
               sizeof(struct linger));
    close(server); /* a reset */
    assert_int_equal(hear(fd, got, 1), 0);
    close(fd);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, begin, end)
    const struct CMUnitTest tests[] = {
        T(a_tunnel_carries_all_both_ways),
        T(few_bytes_and_many_keep_their_order),
        T(a_half_close_passes_on),
        T(a_greeting_in_pieces_is_held_until_it_is_judged),
        T(what_is_not_on_the_list_is_neither_looked_up_nor_dialled),
        T(an_address_is_no_name),
        T(a_name_that_points_inside_is_refused),
        T(a_greeting_names_the_same_server_openly),
        T(a_second_greeting_is_judged_too),
        T(plain_requests_pass_where_they_may_one_a_connection),
        T(plain_requests_are_refused_where_they_may_not),
        T(a_body_that_is_malformed_ends_the_connection),
        T(each_wait_has_its_end),
        T(a_head_is_bounded),
        T(connections_are_counted),
        T(bytes_are_counted),
        T(who_goes_in_the_midst_is_noticed),
    };

    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests_name("agent/proxy", tests, NULL, NULL);
}
