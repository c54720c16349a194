/*
 * The key broker as a program meets it, and one that wants the key. The broker
 * runs in a process of its own; here are the program and the API.
 */
#include "agent/broker.h"

#include "agent/proxy_request.h"
#include "base/keyfile.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/own.h"

#include <arpa/inet.h>
#include <errno.h>
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

#define SOON_MS 5000
#define CRLF "\r\n"
#define KEY "sk-not-a-real-key-0123456789"
#define OTHER_KEY "sk-of-openai-not-real-98765"

static struct {
    pid_t broker;
    int port;    /* the broker's */
    int api, at; /* the API's listener, and its port */
    int told;    /* reads what was refused and spent, and the log's lines */
    char said[262144];
    size_t said_len;
    struct broker_rules rules;
    bool has_no_key;
} bed;

/* --- the broker's process --- */

static void refused(void *arg, const char *why)
{
    dprintf(*(const int *)arg, "refused %s\n", why);
}

static void spent(void *arg, int64_t requests, int64_t bytes)
{
    dprintf(*(const int *)arg, "spent %lld %lld\n", (long long)requests,
            (long long)bytes);
}

static int key(void *arg, enum broker_api api, struct buf *out, struct err *e)
{
    (void)arg;
    if (bed.has_no_key)
        return err_set(e, ERR_ABSENT, "there is none");
    return buf_append_str(out, api == BROKER_OPENAI ? OTHER_KEY : KEY);
}

_Noreturn static void broker_main(int listener, int told)
{
    static const struct broker_verbs verbs = {
        .refused = refused, .spent = spent, .key = key};
    struct loop *l = loop_new();
    struct err e = {0};

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    signal(SIGPIPE, SIG_IGN);
    log_init("broker", "info");
    log_fd(told);
    if (!broker_new(l, listener, &bed.rules, &verbs, &told, &e))
        abort();
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
    (void)arg;
    memset(&bed, 0, sizeof(bed));
    bed.api = listen_on(0, &bed.at);
    for (int a = 0; a < BROKER_API_COUNT; a++) {
        bed.rules.apis[a].is_here = true;
        snprintf(bed.rules.apis[a].url, URL_MAX, "http://127.0.0.1:%d%s",
                 bed.at, a == BROKER_OPENAI ? "/gate" : "");
    }
    bed.rules.requests = bed.rules.per_minute = 100;
    bed.rules.bytes = 1 << 30;
    return 0;
}

/* The rules are as they stand. */
static void start(void)
{
    int fds[2], listener = listen_on(SOCK_NONBLOCK, &bed.port);

    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    bed.broker = fork();
    if (bed.broker == 0) {
        close(bed.api);
        broker_main(listener, fds[1]);
    }
    close(listener);
    close(fds[1]);
    bed.told = fds[0];
}

static int end(void **arg)
{
    (void)arg;
    if (bed.broker > 0) {
        int status;

        kill(bed.broker, SIGTERM);
        waitpid(bed.broker, &status, 0);
        assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM);
        close(bed.told);
    }
    close(bed.api);
    assert_null(strstr(bed.said, KEY));
    return 0;
}

/* --- the program, the API --- */

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

static bool is_quiet(int fd, int ms)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};

    return poll(&p, 1, ms) == 0;
}

/* Until this is in it, or its end (NULL), at most size - 1 bytes. */
static size_t hear(int fd, const char *until, char *out, size_t size)
{
    size_t at = 0;

    out[0] = 0;
    while (at < size - 1 && !(until && strstr(out, until))) {
        ssize_t n = recv(fd, out + at, size - 1 - at, 0);

        if (n < 0 && errno == EAGAIN)
            fail_msg("nothing more came, but: %s", out);
        if (n <= 0)
            break;
        at += (size_t)n;
        out[at] = 0;
    }
    if (until && !strstr(out, until))
        fail_msg("no \"%s\", but: %s", until, out);
    return at;
}

static void hears(int fd, const char *until)
{
    char out[4096];

    hear(fd, until, out, sizeof(out));
}

static int accepted(void)
{
    struct timeval soon = {.tv_sec = SOON_MS / 1000};
    int fd;

    if (is_quiet(bed.api, SOON_MS))
        fail_msg("the API is not asked");
    fd = accept(bed.api, NULL, NULL);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &soon, sizeof(soon));
    return fd;
}

/* The log's lines and verbs, until one has both words. */
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
            fail_msg("the broker is gone; it said: %s", bed.said);
        bed.said_len += (size_t)n;
        bed.said[bed.said_len] = 0;
    }
}

static int ask(const char *text)
{
    int fd = dial();

    say_text(fd, text);
    return fd;
}

#define POST(path, more, body)                                                 \
    "POST " path " HTTP/1.1" CRLF "Host: 127.0.0.1:3129" CRLF                  \
    "Content-Type: application/json" CRLF more "Content-Length: " body
#define MESSAGES POST("/anthropic/v1/messages", "", "2" CRLF CRLF "{}")
#define GET(path, more)                                                        \
    "GET " path " HTTP/1.1" CRLF "Host: 127.0.0.1:3129" CRLF more CRLF
#define OK "HTTP/1.1 200 OK" CRLF "Content-Type: text/event-stream" CRLF
#define EVENT "event: ping\ndata: {}\n\n"

/* Its head, and the API's connection. */
static int api_hears(char *out, size_t size)
{
    int fd = accepted();

    hear(fd, CRLF CRLF, out, size);
    return fd;
}

/* Asked, and answered so; what the program got. */
static void answered(const char *request, const char *answer, char *out,
                     size_t size)
{
    char head[8192];
    int fd = ask(request), api = api_hears(head, sizeof(head));

    say_text(api, answer);
    shutdown(api, SHUT_WR);
    hear(fd, NULL, out, size);
    close(api);
    close(fd);
}

/* Refused with that status and words, and the API not asked. */
static void refused_with(int fd, int status, const char *words)
{
    char got[2048], want[32];

    hear(fd, NULL, got, sizeof(got));
    snprintf(want, sizeof(want), "HTTP/1.1 %d ", status);
    if (strncmp(got, want, strlen(want)) != 0 || !strstr(got, words) ||
        !strstr(got, "\"message\":\"podterm: "))
        fail_msg("not %d with \"%s\", but: %s", status, words, got);
    close(fd);
    assert_true(is_quiet(bed.api, 50));
}

static int lines_with(const char *text, const char *word)
{
    int n = 0;

    while ((text = strcasestr(text, word))) {
        n++;
        text += strlen(word);
    }
    return n;
}

/* --- the key --- */

static void the_key_is_added_and_the_programs_own_is_not_sent(void **arg)
{
    char head[8192], got[4096];
    int fd, api;

    (void)arg;
    start();
    fd = ask(POST("/anthropic/v1/messages?beta=true",
                  "x-api-key: mine" CRLF "Authorization: Bearer mine" CRLF
                  "Proxy-Authorization: Basic bWluZQ==" CRLF
                  "Cookie: a=mine" CRLF "anthropic-version: 2023-06-01" CRLF
                  "X-Forwarded-For: mine" CRLF "Accept-Encoding: gzip" CRLF
                  "Connection: close, x-app" CRLF "x-app: mine" CRLF
                  "anthropic-beta: tools" CRLF,
                  "2" CRLF CRLF "{}"));
    api = api_hears(head, sizeof(head));
    assert_true(
        strncmp(head, "POST /v1/messages?beta=true HTTP/1.1" CRLF, 38) == 0);
    assert_int_equal(lines_with(head, "x-api-key: " KEY CRLF), 1);
    assert_int_equal(lines_with(head, "x-api-key"), 1);
    assert_int_equal(lines_with(head, "mine"), 0);
    assert_int_equal(lines_with(head, "authorization"), 0);
    assert_int_equal(lines_with(head, "cookie"), 0);
    assert_int_equal(lines_with(head, "accept-encoding: identity" CRLF), 1);
    assert_int_equal(lines_with(head, "accept-encoding"), 1);
    assert_int_equal(lines_with(head, "anthropic-version: 2023-06-01" CRLF), 1);
    assert_int_equal(lines_with(head, "anthropic-beta: tools" CRLF), 1);
    assert_int_equal(lines_with(head, "content-length: 2" CRLF), 1);
    assert_int_equal(lines_with(head, "expect"), 0);
    assert_int_equal(lines_with(head, "127.0.0.1:3129"), 0);
    say_text(api,
             OK "Set-Cookie: a=b" CRLF "request-id: r1" CRLF "x-echo: " KEY CRLF
                "anthropic-organization-id: o" CRLF "Retry-After: " KEY CRLF
                "Content-Length: 2" CRLF CRLF "hi");
    hear(fd, NULL, got, sizeof(got));
    assert_non_null(strstr(got, "HTTP/1.1 200 OK" CRLF));
    assert_non_null(strstr(got, "request-id: r1" CRLF));
    assert_non_null(strstr(got, CRLF CRLF "2" CRLF "hi" CRLF "0" CRLF CRLF));
    assert_null(strcasestr(got, "cookie"));
    assert_null(strcasestr(got, "organization"));
    assert_null(strcasestr(got, "retry-after"));
    assert_null(strstr(got, KEY));
    close(fd);
    close(api);
    told("\"ev\":\"broker\"", "\"verdict\":\"allowed\",\"api\":\"anthropic\","
                              "\"method\":\"POST\",\"path\":\"/v1/messages\","
                              "\"status\":200,\"up\":2,\"down\":2,");
    assert_null(strstr(bed.said, "beta=true"));
}

static void each_api_has_its_own(void **arg)
{
    char head[8192], got[4096];
    int fd, api;

    (void)arg;
    start();
    fd = ask(GET("/openai/v1/models/x", "Authorization: Bearer a" CRLF));
    api = api_hears(head, sizeof(head));
    assert_true(strncmp(head, "GET /gate/v1/models/x HTTP/1.1" CRLF, 32) == 0);
    assert_int_equal(lines_with(head, "authorization: Bearer " OTHER_KEY CRLF),
                     1);
    assert_int_equal(lines_with(head, "authorization"), 1);
    assert_null(strstr(head, KEY));
    say_text(api, OK "Content-Length: 0" CRLF CRLF);
    hear(fd, NULL, got, sizeof(got));
    close(fd);
    close(api);
}

static void an_answer_that_says_the_key_is_cut(void **arg)
{
    char got[4096];

    (void)arg;
    start();
    answered(MESSAGES, OK CRLF "data: you sent " KEY "\n\n", got, sizeof(got));
    assert_null(strstr(got, KEY));
    assert_null(strstr(got, CRLF "0" CRLF CRLF));
    told("\"ev\":\"broker\"", "the API's answer had the key in it");
}

/* In two parts, which are chunks of their own. */
static void not_even_in_parts(void **arg)
{
    char got[4096], head[8192], rest[4096];
    int fd, api;

    (void)arg;
    start();
    fd = ask(MESSAGES);
    api = api_hears(head, sizeof(head));
    say_text(api, OK CRLF "data: first\n\nyou sent sk-not-a-re");
    hear(fd, "you sent ", got, sizeof(got));
    assert_null(strstr(got, "sk-"));
    usleep(100000);
    say_text(api, &KEY[11]);
    hear(fd, NULL, rest, sizeof(rest));
    assert_null(strstr(rest, "real-key"));
    assert_null(strstr(rest, "sk-"));
    close(fd);
    close(api);
}

static void what_only_begins_like_it_passes(void **arg)
{
    char got[4096];

    (void)arg;
    start();
    answered(MESSAGES, OK "Content-Length: 14" CRLF CRLF "hi sk-not-a-re", got,
             sizeof(got));
    assert_non_null(strstr(got, "sk-not-a-re"));
    assert_non_null(strstr(got, CRLF "0" CRLF CRLF));
}

static void an_error_of_the_apis_passes_as_it_is(void **arg)
{
    char got[4096];

    (void)arg;
    start();
    answered(MESSAGES,
             "HTTP/1.1 429 Too Many" CRLF "retry-after: 7" CRLF
             "Content-Length: 5" CRLF CRLF "slow!",
             got, sizeof(got));
    assert_true(strncmp(got, "HTTP/1.1 429 ", 13) == 0);
    assert_non_null(strstr(got, "retry-after: 7" CRLF));
    assert_non_null(strstr(got, "slow!"));
    told("\"ev\":\"broker\"", "\"status\":429");
}

static void what_cannot_be_read_is_no_answer(void **arg)
{
    char got[4096];

    (void)arg;
    start();
    answered(MESSAGES,
             "HTTP/1.1 302 Found" CRLF "Location: http://other.example/" CRLF
             "Content-Length: 0" CRLF CRLF,
             got, sizeof(got));
    assert_true(strncmp(got, "HTTP/1.1 502 ", 13) == 0);
    assert_non_null(strstr(got, "redirect (302)"));
    assert_null(strstr(got, "other.example"));
    answered(MESSAGES,
             OK "Content-Encoding: gzip" CRLF "Content-Length: 1" CRLF CRLF "x",
             got, sizeof(got));
    assert_true(strncmp(got, "HTTP/1.1 502 ", 13) == 0);
    assert_non_null(strstr(got, "compressed"));
    answered(MESSAGES, "SSH-2.0-x" CRLF, got, sizeof(got));
    assert_true(strncmp(got, "HTTP/1.1 502 ", 13) == 0);
    answered(MESSAGES, OK "Content-Length: 10" CRLF CRLF "cut", got,
             sizeof(got));
    assert_true(strncmp(got, "HTTP/1.1 200 ", 13) == 0);
    assert_null(strstr(got, CRLF "0" CRLF CRLF));
    told("\"verdict\":\"failed\"", "\"status\":200");
}

/* --- bodies as they come --- */

static void an_event_is_there_before_the_answer_ends(void **arg)
{
    char head[8192], got[4096];
    int fd, api;

    (void)arg;
    start();
    fd = ask(MESSAGES);
    api = api_hears(head, sizeof(head));
    say_text(api, OK CRLF);
    hears(fd, CRLF CRLF);
    for (int i = 0; i < 3; i++) {
        say_text(api, EVENT);
        hears(fd, EVENT);
        assert_true(is_quiet(fd, 20));
    }
    shutdown(api, SHUT_WR);
    hear(fd, NULL, got, sizeof(got));
    assert_string_equal(got, "0" CRLF CRLF);
    close(fd);
    close(api);
}

static void a_body_goes_up_before_it_is_whole(void **arg)
{
    char head[8192], got[4096];
    int fd, api;

    (void)arg;
    start();
    fd =
        ask("POST /anthropic/v1/messages HTTP/1.1" CRLF "Host: x" CRLF
            "Transfer-Encoding: chunked" CRLF "Expect: 100-continue" CRLF CRLF);
    hears(fd, "HTTP/1.1 100 Continue" CRLF CRLF);
    say_text(fd, "5" CRLF "hello" CRLF);
    api = accepted();
    hear(api, "hello", head, sizeof(head));
    assert_int_equal(lines_with(head, "transfer-encoding: chunked" CRLF), 1);
    assert_int_equal(lines_with(head, "content-length"), 0);
    say_text(fd, "6" CRLF " there" CRLF "0" CRLF CRLF);
    hears(api, "0" CRLF CRLF);
    say_text(api, OK "Content-Length: 0" CRLF CRLF);
    hear(fd, NULL, got, sizeof(got));
    assert_true(strncmp(got, "HTTP/1.1 200 ", 13) == 0);
    close(fd);
    close(api);
    told("\"ev\":\"broker\"", "\"up\":11,");
}

/* As much as goes without waiting. */
static size_t pour(int fd, size_t most)
{
    static char bytes[65536];
    size_t all = 0;
    struct pollfd p = {.fd = fd, .events = POLLOUT};

    memset(bytes, 'x', sizeof(bytes));
    while (all < most && poll(&p, 1, 300) == 1) {
        ssize_t n = send(fd, bytes, sizeof(bytes), MSG_NOSIGNAL | MSG_DONTWAIT);

        if (n <= 0)
            break;
        all += (size_t)n;
    }
    return all;
}

#define HELD_MAX (16 << 20) /* what two sockets' buffers may take, and ours */

static void an_answer_nobody_reads_is_held_back(void **arg)
{
    char head[8192];
    static char got[1 << 20];
    size_t poured, all = 0;
    int fd, api;

    (void)arg;
    start();
    fd = ask(MESSAGES);
    api = api_hears(head, sizeof(head));
    say_text(api, OK CRLF);
    poured = pour(api, 4 * HELD_MAX);
    assert_true(poured < HELD_MAX);
    shutdown(api, SHUT_WR);
    for (size_t n; (n = hear(fd, NULL, got, 65536)) > 0;)
        all += n;
    assert_true(all > poured); /* it is there, and its chunks' frames */
    close(fd);
    close(api);
}

static void a_body_the_api_does_not_take_is_held_back(void **arg)
{
    char head[8192];
    size_t poured;
    int fd, api;

    (void)arg;
    bed.rules.body_max = 1 << 30;
    start();
    fd = ask(POST("/anthropic/v1/messages", "", "1000000000" CRLF CRLF));
    api = api_hears(head, sizeof(head));
    poured = pour(fd, 4 * HELD_MAX);
    assert_true(poured < HELD_MAX);
    close(fd);
    close(api);
}

static void an_api_is_told_when_the_program_goes(void **arg)
{
    char head[8192];
    int fd, api;

    (void)arg;
    start();
    fd = ask(MESSAGES);
    api = api_hears(head, sizeof(head));
    close(fd);
    hear(api, NULL, head, sizeof(head)); /* its end comes */
    told("\"ev\":\"broker\"", "the program is gone");
    close(api);
}

static void a_kept_connection_serves_the_next(void **arg)
{
    char head[8192], got[4096];
    int fd, api;

    (void)arg;
    start();
    fd = ask(MESSAGES);
    api = api_hears(head, sizeof(head));
    for (int i = 0; i < 3; i++) {
        if (i > 0) {
            fd = ask(MESSAGES);
            hear(api, CRLF CRLF, head, sizeof(head));
        }
        if (!strstr(head, "{}"))
            hears(api, "{}");
        say_text(api, OK "Content-Length: 2" CRLF CRLF "hi");
        hear(fd, NULL, got, sizeof(got));
        assert_non_null(strstr(got, "hi"));
        close(fd);
    }
    assert_true(is_quiet(bed.api, 50));
    close(api);
}

static void a_dead_one_is_dialled_again(void **arg)
{
    char head[8192], got[4096];
    int fd, api;

    (void)arg;
    start();
    answered(MESSAGES, OK "Content-Length: 2" CRLF CRLF "hi", got, sizeof(got));
    usleep(50000);
    fd = ask(MESSAGES);
    api = api_hears(head, sizeof(head));
    if (!strstr(head, "{}"))
        hears(api, "{}");
    say_text(api, OK "Content-Length: 5" CRLF CRLF "again");
    hear(fd, NULL, got, sizeof(got));
    assert_non_null(strstr(got, "again"));
    close(fd);
    close(api);
}

/* --- what is refused --- */

static void what_is_not_listed_is_refused_in_its_form(void **arg)
{
    (void)arg;
    bed.rules.apis[BROKER_OPENAI].url[0] = 0;
    start();
    refused_with(ask(GET("/anthropic/v1/organizations", "")), 403,
                 "\"type\":\"permission_error\"");
    told("refused", "GET /v1/organizations is not among");
    told("\"verdict\":\"refused\"", "\"path\":\"/v1/organizations\","
                                    "\"status\":403");
    refused_with(ask(GET("/anthropic/v1/messages", "")), 403,
                 "GET /v1/messages is not among");
    refused_with(ask(GET("/openai/v1/models", "")), 404, "not_found_error");
    refused_with(ask(GET("/", "")), 404, "not_found_error");
    refused_with(ask(GET("/anthropic/../anthropic/v1/models", "")), 404,
                 "no such API");
}

/* Is somebody there? Who watches need not hear of that, nor is it answered
 * with a body. */
static void a_head_is_refused_without_a_word(void **arg)
{
    char got[4096];
    int fd;

    (void)arg;
    start();
    fd = ask("HEAD /anthropic/api/hello HTTP/1.1" CRLF "Host: x" CRLF CRLF);
    hear(fd, NULL, got, sizeof(got));
    assert_true(strncmp(got, "HTTP/1.1 403 ", 13) == 0);
    assert_string_equal(strstr(got, CRLF CRLF), CRLF CRLF);
    close(fd);
    told("\"ev\":\"broker\"", "\"method\":\"HEAD\",\"path\":\"/api/hello\"");
    assert_null(strstr(bed.said, "refused HEAD"));
}

static void what_can_be_read_in_two_ways_is_refused(void **arg)
{
    static const char *const bad[] = {
        "POST /anthropic/v1/messages HTTP/1.1" CRLF "Host: x" CRLF
        "Content-Length: 2" CRLF "Transfer-Encoding: chunked" CRLF CRLF,
        "POST /anthropic/v1/messages HTTP/1.1" CRLF "Host: x" CRLF
        "Content-Length: 2" CRLF "Content-Length: 2" CRLF CRLF,
        "POST /anthropic/v1/messages HTTP/1.1" CRLF "Host: x" CRLF
        "Transfer-Encoding: gzip, chunked" CRLF CRLF,
        "POST /anthropic/v1/messages HTTP/1.1" CRLF "Host: x" CRLF
        "Content-Length: +2" CRLF CRLF,
        "POST /anthropic/v1/messages HTTP/1.1" CRLF "Host: x" CRLF
        " folded: y" CRLF CRLF,
        "POST /anthropic/v1/messages HTTP/1.1\nHost: x\n\n",
        "POST /anthropic/v1/messages HTTP/1.1" CRLF "Host: x" CRLF
        "Connection: content-length" CRLF "Content-Length: 2" CRLF CRLF,
        "POST http://127.0.0.1/anthropic/v1/messages HTTP/1.1" CRLF
        "Host: x" CRLF CRLF,
        "CONNECT api.anthropic.com:443 HTTP/1.1" CRLF "Host: x" CRLF CRLF,
        "GET /anthropic/v1/models HTTP/1.0" CRLF "Host: x" CRLF CRLF,
        "GET /anthropic/v1/models HTTP/1.1" CRLF CRLF,
        "GET /anthropic/v1/models HTTP/1.1" CRLF "Host: x" CRLF
        "Content-Length: 3" CRLF CRLF "abc",
        "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    };

    (void)arg;
    start();
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
        refused_with(ask(bad[i]), 400, "invalid_request_error");
}

static void a_body_has_its_form_and_its_limit(void **arg)
{
    char head[8192], got[4096];
    int fd, api;

    (void)arg;
    bed.rules.body_max = 1000;
    start();
    refused_with(ask(POST("/anthropic/v1/messages", "", "1001" CRLF CRLF)), 413,
                 "request_too_large");
    fd = ask("POST /anthropic/v1/messages HTTP/1.1" CRLF "Host: x" CRLF
             "Transfer-Encoding: chunked" CRLF CRLF "1" CRLF "a" CRLF);
    api = api_hears(head, sizeof(head));
    say_text(fd, "5;x=y" CRLF);
    hear(fd, NULL, got, sizeof(got));
    assert_true(strncmp(got, "HTTP/1.1 400 ", 13) == 0);
    close(fd);
    close(api);
    fd = ask("POST /anthropic/v1/messages HTTP/1.1" CRLF "Host: x" CRLF
             "Transfer-Encoding: chunked" CRLF CRLF "1" CRLF "a" CRLF);
    api = api_hears(head, sizeof(head));
    say_text(fd, "400" CRLF);
    pour(fd, 1);
    hear(fd, NULL, got, sizeof(got));
    assert_true(strncmp(got, "HTTP/1.1 413 ", 13) == 0);
    close(fd);
    close(api);
}

/* A second request behind the first is nobody's. */
static void what_comes_behind_a_request_goes_nowhere(void **arg)
{
    char head[8192], got[4096];
    int fd, api;

    (void)arg;
    start();
    fd = ask(MESSAGES GET("/anthropic/v1/models", ""));
    api = api_hears(head, sizeof(head));
    if (!strstr(head, "{}"))
        hears(api, "{}");
    assert_null(strstr(head, "models"));
    assert_true(is_quiet(api, 50));
    say_text(api, OK "Content-Length: 0" CRLF CRLF);
    hear(fd, NULL, got, sizeof(got));
    assert_int_equal(lines_with(got, "HTTP/1.1"), 1);
    close(fd);
    assert_true(is_quiet(bed.api, 50));
    close(api);
}

static void a_head_has_its_limit_and_its_time(void **arg)
{
    own_mem char *flood = mem_zero(PROXY_HEAD_MAX + 1, 1);
    char got[4096];
    int fd;

    (void)arg;
    bed.rules.head_ms = 300;
    start();
    memset(flood, 'a', PROXY_HEAD_MAX);
    fd = ask("GET /anthropic/v1/models HTTP/1.1" CRLF "Host: x" CRLF "x: ");
    say_text(fd, flood);
    refused_with(fd, 431, "too large");
    fd = ask("GET /anthropic/v1/mo");
    refused_with(fd, 408, "timeout_error");
    fd = dial();
    assert_int_equal(hear(fd, NULL, got, sizeof(got)), 0);
    close(fd);
}

static void a_body_has_its_time(void **arg)
{
    char head[8192], got[4096];
    int fd, api;

    (void)arg;
    bed.rules.body_ms = 300;
    start();
    fd = ask(POST("/anthropic/v1/messages", "", "10" CRLF CRLF "123"));
    api = api_hears(head, sizeof(head));
    hear(fd, NULL, got, sizeof(got));
    assert_true(strncmp(got, "HTTP/1.1 408 ", 13) == 0);
    close(fd);
    close(api);
}

static void an_api_that_says_nothing_is_given_up(void **arg)
{
    char head[8192], got[4096];
    int fd, api;

    (void)arg;
    bed.rules.idle_ms = 300;
    start();
    fd = ask(MESSAGES);
    api = api_hears(head, sizeof(head));
    hear(fd, NULL, got, sizeof(got));
    assert_true(strncmp(got, "HTTP/1.1 504 ", 13) == 0);
    close(fd);
    close(api);
}

static void one_that_never_ends_is_given_up_too(void **arg)
{
    char head[8192];
    static char got[1 << 20];
    int fd, api;

    (void)arg;
    bed.rules.total_ms = 600;
    start();
    fd = ask(MESSAGES);
    api = api_hears(head, sizeof(head));
    say_text(api, OK CRLF);
    for (int i = 0; i < 200 && is_quiet(api, 20); i++)
        if (send(api, EVENT, strlen(EVENT), MSG_NOSIGNAL) < 0)
            break;
    hear(fd, NULL, got, sizeof(got));
    assert_null(strstr(got, CRLF "0" CRLF CRLF));
    told("\"ev\":\"broker\"", "took too long");
    close(fd);
    close(api);
}

static void so_many_at_a_time(void **arg)
{
    char head[8192], got[4096];
    int fds[2], apis[2], fd;

    (void)arg;
    bed.rules.conns_max = 2;
    start();
    for (int i = 0; i < 2; i++) {
        fds[i] = ask(MESSAGES);
        apis[i] = api_hears(head, sizeof(head));
    }
    fd = dial();
    hear(fd, NULL, got, sizeof(got));
    assert_true(strncmp(got, "HTTP/1.1 429 ", 13) == 0);
    assert_non_null(strstr(got, "Retry-After: 1" CRLF));
    close(fd);
    for (int i = 0; i < 2; i++) {
        close(fds[i]);
        close(apis[i]);
    }
}

/* --- the budget --- */

static void what_is_used_up_is_refused(void **arg)
{
    char got[4096];

    (void)arg;
    bed.rules.requests = 3;
    bed.rules.spent_requests = 1; /* by one that has died */
    start();
    for (int i = 0; i < 2; i++)
        answered(MESSAGES, OK "Content-Length: 2" CRLF CRLF "hi", got,
                 sizeof(got));
    refused_with(ask(MESSAGES), 403, "the 3 requests of this session are used");
    told("spent", "spent 3 8");
    told("refused", "are used up");
}

static void a_minute_has_its_limit(void **arg)
{
    char got[4096];
    int fd;

    (void)arg;
    bed.rules.per_minute = 1;
    start();
    answered(MESSAGES, OK "Content-Length: 2" CRLF CRLF "hi", got, sizeof(got));
    fd = ask(MESSAGES);
    hear(fd, NULL, got, sizeof(got));
    assert_true(strncmp(got, "HTTP/1.1 429 ", 13) == 0);
    assert_non_null(strstr(got, "rate_limit_error"));
    assert_true(strstr(got, "Retry-After: 60") ||
                strstr(got, "Retry-After: 5"));
    close(fd);
}

static void bytes_are_counted_both_ways(void **arg)
{
    char got[4096];

    (void)arg;
    bed.rules.bytes = 10;
    start();
    answered(MESSAGES, OK "Content-Length: 20" CRLF CRLF "01234567890123456789",
             got, sizeof(got));
    assert_null(strstr(got, CRLF "0" CRLF CRLF));
    told("\"ev\":\"broker\"", "the bytes of this session are used up");
    refused_with(ask(MESSAGES), 403, "bytes of this session are used up");
}

static void without_its_key_nothing_is_asked(void **arg)
{
    (void)arg;
    bed.has_no_key = true;
    start();
    refused_with(ask(MESSAGES), 503, "overloaded_error");
    told("broker.key", "there is none");
}

static void an_upstream_inside_is_not_dialled(void **arg)
{
    (void)arg;
    for (int a = 0; a < BROKER_API_COUNT; a++) {
        bed.rules.apis[a].is_here = false; /* https alone, no loopback */
        snprintf(bed.rules.apis[a].url, URL_MAX, "https://127.0.0.1:%d",
                 bed.at);
    }
    snprintf(bed.rules.apis[BROKER_OPENAI].url, URL_MAX, "http://127.0.0.1:%d",
             bed.at);
    start();
    refused_with(ask(MESSAGES), 403, "address 127.0.0.1 is not public");
    told("refused", "127.0.0.1 is not public");
    refused_with(ask(GET("/openai/v1/models", "")), 502, "api_error");
}

static void a_server_nobody_vouches_for_gets_no_key(void **arg)
{
    char got[4096], head[4096];
    int fd, api;

    (void)arg;
    snprintf(bed.rules.apis[BROKER_ANTHROPIC].url, URL_MAX,
             "https://127.0.0.1:%d", bed.at);
    start();
    fd = ask(MESSAGES);
    api = accepted();
    say_text(api, OK "Content-Length: 2" CRLF CRLF "hi"); /* no TLS at all */
    hear(fd, NULL, got, sizeof(got));
    assert_true(strncmp(got, "HTTP/1.1 502 ", 13) == 0);
    hear(api, NULL, head, sizeof(head));
    assert_null(memmem(head, sizeof(head), KEY, strlen(KEY)));
    close(fd);
    close(api);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, begin, end)
    const struct CMUnitTest tests[] = {
        T(the_key_is_added_and_the_programs_own_is_not_sent),
        T(each_api_has_its_own),
        T(an_answer_that_says_the_key_is_cut),
        T(not_even_in_parts),
        T(what_only_begins_like_it_passes),
        T(an_error_of_the_apis_passes_as_it_is),
        T(what_cannot_be_read_is_no_answer),
        T(an_event_is_there_before_the_answer_ends),
        T(a_body_goes_up_before_it_is_whole),
        T(an_answer_nobody_reads_is_held_back),
        T(a_body_the_api_does_not_take_is_held_back),
        T(an_api_is_told_when_the_program_goes),
        T(a_kept_connection_serves_the_next),
        T(a_dead_one_is_dialled_again),
        T(what_is_not_listed_is_refused_in_its_form),
        T(a_head_is_refused_without_a_word),
        T(what_can_be_read_in_two_ways_is_refused),
        T(a_body_has_its_form_and_its_limit),
        T(what_comes_behind_a_request_goes_nowhere),
        T(a_head_has_its_limit_and_its_time),
        T(a_body_has_its_time),
        T(an_api_that_says_nothing_is_given_up),
        T(one_that_never_ends_is_given_up_too),
        T(so_many_at_a_time),
        T(what_is_used_up_is_refused),
        T(a_minute_has_its_limit),
        T(bytes_are_counted_both_ways),
        T(without_its_key_nothing_is_asked),
        T(an_upstream_inside_is_not_dialled),
        T(a_server_nobody_vouches_for_gets_no_key),
    };

    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
