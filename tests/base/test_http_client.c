/* The HTTP client against servers that do not mean well. */
#include "base/http_client.h"

#include "base/addr.h"
#include "base/loop.h"
#include "base/mem.h"
#include "base/ws.h"
#include "tests/lib/certs.h"
#include "tests/lib/fileserver.h"
#include "tests/lib/programs.h"

#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define SECRET "sig=SECRET"

/* A server that takes a head and answers with bytes as given. */
struct canned {
    pthread_t thread;
    int listen_fd, port;
    const char *bytes;
    size_t len;
    bool hangs; /* the connection stays when all is said */
    atomic_bool is_over;
    atomic_int conns;
    char head[8192];
};

static void canned_serve(struct canned *s, int fd)
{
    size_t len = 0;
    char end;

    while (len < sizeof(s->head) - 1 && !atomic_load(&s->is_over)) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        ssize_t n;

        if (poll(&p, 1, 20) == 0)
            continue;
        n = recv(fd, s->head + len, sizeof(s->head) - 1 - len, 0);
        if (n <= 0)
            return;
        len += (size_t)n;
        s->head[len] = 0;
        if (strstr(s->head, "\r\n\r\n"))
            break;
    }
    send(fd, s->bytes, s->len, MSG_NOSIGNAL);
    while (s->hangs && !atomic_load(&s->is_over)) {
        struct pollfd p = {.fd = fd, .events = POLLIN};

        if (poll(&p, 1, 20) > 0 && recv(fd, &end, 1, 0) <= 0)
            return;
    }
    shutdown(fd, SHUT_WR);
    while (recv(fd, &end, 1, 0) > 0) /* no reset over what was sent */
        ;
}

static void *canned_run(void *arg)
{
    struct canned *s = arg;

    while (!atomic_load(&s->is_over)) {
        struct pollfd p = {.fd = s->listen_fd, .events = POLLIN};
        int fd;

        if (poll(&p, 1, 20) <= 0)
            continue;
        fd = accept(s->listen_fd, NULL, NULL);
        if (fd < 0)
            continue;
        atomic_fetch_add(&s->conns, 1);
        canned_serve(s, fd);
        close(fd);
    }
    return NULL;
}

static struct canned *canned_start(const char *bytes, size_t len, bool hangs)
{
    struct canned *s = mem_zero(1, sizeof(*s));
    struct sockaddr_in at;
    socklen_t at_len = sizeof(at);
    struct err e = {0};

    s->bytes = bytes;
    s->len = len;
    s->hangs = hangs;
    s->listen_fd = listen_tcp("127.0.0.1:0", false, &e);
    assert_true(s->listen_fd >= 0);
    assert_int_equal(getsockname(s->listen_fd, (struct sockaddr *)&at, &at_len),
                     0);
    s->port = ntohs(at.sin_port);
    assert_int_equal(pthread_create(&s->thread, NULL, canned_run, s), 0);
    return s;
}

static int canned_stop(struct canned *s)
{
    int conns;

    atomic_store(&s->is_over, true);
    pthread_join(s->thread, NULL);
    close(s->listen_fd);
    conns = atomic_load(&s->conns);
    free(s);
    return conns;
}

static const char *url_of(const char *scheme, const char *host, int port)
{
    static char out[256];

    snprintf(out, sizeof(out), "%s://%s:%d/f?" SECRET, scheme, host, port);
    return out;
}

static struct http_request request_to(const char *url)
{
    return (struct http_request){
        .url = url, .allow_http = true, .total_ms = 5000, .body_max = 1000};
}

/* Fails with kind; the query is never told. */
static void fails(const struct http_request *r, enum err_kind kind,
                  const char *says)
{
    struct http_answer a;
    struct err e = {0};

    if (http_do(r, &a, &e) == 0)
        fail_msg("%s was answered with %d", r->url, a.status);
    if (e.kind != kind || !strstr(e.text, says))
        fail_msg("%s: kind %d, \"%s\", not \"%s\"", r->url, (int)e.kind, e.text,
                 says);
    assert_null(strstr(e.text, "SECRET"));
}

#define CANNED(text) canned_start(text, sizeof(text) - 1, false)

static void an_answer_is_taken_apart(void **arg)
{
    static const char text[] =
        "HTTP/1.1 103 Early Hints\r\nETag: \"early\"\r\nLink: x\r\n\r\n"
        "HTTP/1.1 206 Partial Content\r\nContent-Length: 5\r\n"
        "ETag: \"e\"\r\nlast-modified:\t Mon  \r\nContent-Range: bytes 5-9/10"
        "\r\nRetry-After: 7\r\nCache-Control: max-age=60\r\n"
        "Content-Type: text/plain\r\nSet-Cookie: a=b\r\n\r\nhello";
    struct canned *s = CANNED(text);
    struct http_request r = request_to(url_of("http", "127.0.0.1", s->port));
    const char *const headers[] = {"range: bytes=5-", "x-a: b", NULL};
    struct http_answer a;
    struct err e = {0};

    (void)arg;
    r.headers = headers;
    r.method = "PUT";
    r.body = "body";
    r.body_len = 4;
    if (http_do(&r, &a, &e) < 0)
        fail_msg("%s", e.text);
    assert_int_equal(a.status, 206);
    assert_int_equal(a.length, 5);
    assert_string_equal(a.etag, "\"e\"");
    assert_string_equal(a.last_modified, "Mon");
    assert_string_equal(a.content_range, "bytes 5-9/10");
    assert_string_equal(a.retry_after, "7");
    assert_string_equal(a.cache_control, "max-age=60");
    assert_string_equal(a.content_type, "text/plain");
    assert_string_equal(a.location, "");
    assert_int_equal(a.body.len, 5);
    assert_memory_equal(a.body.data, "hello", 5);
    http_answer_fini(&a);
    assert_non_null(strstr(s->head, "PUT /f?" SECRET " HTTP/1.1\r\n"));
    assert_non_null(strstr(s->head, "\r\nrange: bytes=5-\r\n"));
    assert_non_null(strstr(s->head, "\r\nx-a: b\r\n"));
    assert_null(strcasestr(s->head, "accept-encoding"));
    assert_null(strcasestr(s->head, "expect:"));
    assert_null(strcasestr(s->head, "cookie"));
    assert_null(strcasestr(s->head, "authorization"));
    canned_stop(s);
}

static void values_that_do_not_fit_are_absent_not_cut(void **arg)
{
    char text[8192], etag[400];
    struct canned *s;
    struct http_request r;
    struct http_answer a;
    struct err e = {0};

    (void)arg;
    memset(etag, 'e', sizeof(etag) - 1);
    etag[sizeof(etag) - 1] = 0;
    snprintf(text, sizeof(text),
             "HTTP/1.1 302 x\r\nETag: %s\r\nLocation: https://a.b/%03000d\r\n"
             "Content-Length: 0\r\n\r\n",
             etag, 1);
    s = canned_start(text, strlen(text), false);
    r = request_to(url_of("http", "127.0.0.1", s->port));
    assert_int_equal(http_do(&r, &a, &e), 0);
    assert_string_equal(a.etag, "");
    assert_string_equal(a.location, "");
    http_answer_fini(&a);
    canned_stop(s);
}

static void a_redirect_is_not_followed(void **arg)
{
    struct canned *target = CANNED("HTTP/1.1 200 OK\r\n\r\nno");
    char text[256];
    struct canned *s;
    struct http_request r;
    struct http_answer a;
    struct err e = {0};

    (void)arg;
    snprintf(text, sizeof(text),
             "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:%d/x\r\n"
             "Content-Length: 0\r\n\r\n",
             target->port);
    s = canned_start(text, strlen(text), false);
    r = request_to(url_of("http", "127.0.0.1", s->port));
    assert_int_equal(http_do(&r, &a, &e), 0);
    assert_int_equal(a.status, 302);
    assert_non_null(strstr(a.location, "/x"));
    http_answer_fini(&a);
    canned_stop(s);
    assert_int_equal(canned_stop(target), 0);
}

/* --- sizes --- */

struct taken {
    size_t bytes, heads;
    int status;
    bool stops;
};

static int take(void *arg, const uint8_t *bytes, size_t len, struct err *e)
{
    struct taken *t = arg;

    (void)bytes;
    t->bytes += len;
    return t->stops ? err_set(e, ERR_SYSTEM, "disk full") : 0;
}

static int take_head(void *arg, const struct http_answer *a, struct err *e)
{
    struct taken *t = arg;

    t->heads++;
    t->status = a->status;
    return a->status == 418 ? err_set(e, ERR_DENIED, "a teapot") : 0;
}

static void an_endless_chunked_body_ends_at_the_limit(void **arg)
{
    const struct fileserver_reply endless = {.trick = FILESERVER_ENDLESS};
    struct fileserver *s = fileserver_start("x", 1, &endless, 1, NULL);
    struct http_request r =
        request_to(url_of("http", "127.0.0.1", fileserver_port(s)));
    struct taken t = {0};

    (void)arg;
    r.body_max = 100000;
    fails(&r, ERR_TOO_LARGE, "more than 100000 bytes");
    r.data = take;
    r.arg = &t;
    fails(&r, ERR_TOO_LARGE, "more than 100000 bytes");
    assert_in_range(t.bytes, 1, 100000);
    fileserver_stop(s);
}

static void a_body_may_fill_its_limit_but_not_pass_it(void **arg)
{
    static const char *const answers[] = {
        "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n0123456789",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        "5\r\n01234\r\n5\r\n56789\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n0123456789",
        "HTTP/1.1 500 No\r\nContent-Length: 10\r\n\r\n0123456789",
    };

    (void)arg;
    for (size_t i = 0; i < 4; i++) {
        struct canned *s = canned_start(answers[i], strlen(answers[i]), false);
        struct http_request r =
            request_to(url_of("http", "127.0.0.1", s->port));
        struct http_answer a;
        struct err e = {0};

        r.body_max = 10;
        if (http_do(&r, &a, &e) < 0)
            fail_msg("%zu: %s", i, e.text);
        assert_int_equal(a.body.len, 10);
        http_answer_fini(&a);
        r.body_max = 9;
        fails(&r, ERR_TOO_LARGE, "more than 9 bytes");
        r.body_max = 0;
        fails(&r, ERR_TOO_LARGE, "more than 0 bytes");
        canned_stop(s);
    }
}

static void a_compressed_body_is_not_unpacked(void **arg)
{
    static const char text[] = /* "bomb" */
        "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 24\r\n"
        "\r\n\x1f\x8b\x08\0\0\0\0\0\0\x03\x4b\xca\xcf\x4d\x02\0\x8d\x1b\xbe"
        "\x5f\x04\0\0\0";
    struct canned *s = CANNED(text);
    struct http_request r = request_to(url_of("http", "127.0.0.1", s->port));
    struct http_answer a;
    struct err e = {0};

    (void)arg;
    assert_int_equal(http_do(&r, &a, &e), 0);
    assert_int_equal(a.body.len, 24);
    assert_int_equal(a.body.data[0], 0x1f);
    http_answer_fini(&a);
    canned_stop(s);
}

static void a_body_cut_short_is_an_error(void **arg)
{
    static const char *const answers[] = {
        "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n",
        "",
        "hello",
        "HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nhello",
    };

    (void)arg;
    for (size_t i = 0; i < sizeof(answers) / sizeof(*answers); i++) {
        struct canned *s = canned_start(answers[i], strlen(answers[i]), false);
        struct http_request r =
            request_to(url_of("http", "127.0.0.1", s->port));

        fails(&r, ERR_PEER, "");
        canned_stop(s);
    }
}

static void a_trailer_changes_nothing_that_was_acted_on(void **arg)
{
    static const char text[] =
        "HTTP/1.1 200 OK\r\nETag: \"e\"\r\nTransfer-Encoding: chunked\r\n\r\n"
        "5\r\nhello\r\n0\r\nETag: \"other\"\r\nLocation: https://a.b/\r\n"
        "HTTP/1.1: 500 No\r\n\r\n";
    struct canned *s = CANNED(text);
    struct http_request r = request_to(url_of("http", "127.0.0.1", s->port));
    struct taken t = {0};
    struct http_answer a;
    struct err e = {0};

    (void)arg;
    r.head = take_head;
    r.arg = &t;
    if (http_do(&r, &a, &e) < 0)
        fail_msg("%s", e.text);
    assert_int_equal(t.heads, 1);
    assert_int_equal(a.status, 200);
    assert_string_equal(a.etag, "\"e\"");
    assert_string_equal(a.location, "");
    assert_int_equal(a.body.len, 5);
    http_answer_fini(&a);
    canned_stop(s);
}

static void callbacks_stop_it_with_their_own_error(void **arg)
{
    struct canned *s = CANNED("HTTP/1.1 418 x\r\nContent-Length: 3\r\n\r\nabc");
    struct http_request r = request_to(url_of("http", "127.0.0.1", s->port));
    struct taken t = {.stops = true};

    (void)arg;
    r.arg = &t;
    r.head = take_head;
    r.data = take;
    fails(&r, ERR_DENIED, "a teapot");
    assert_int_equal(t.status, 418);
    assert_int_equal(t.bytes, 0);
    r.head = NULL;
    fails(&r, ERR_SYSTEM, "disk full");
    canned_stop(s);
    /* an answer without a body has a head too */
    s = CANNED("HTTP/1.1 418 x\r\nContent-Length: 0\r\n\r\n");
    r = request_to(url_of("http", "127.0.0.1", s->port));
    r.arg = &t;
    r.head = take_head;
    fails(&r, ERR_DENIED, "a teapot");
    canned_stop(s);
}

/* --- who is spoken to --- */

static void the_environment_sends_it_nowhere_else(void **arg)
{
    static const char *const names[] = {"http_proxy",  "https_proxy",
                                        "HTTPS_PROXY", "all_proxy",
                                        "ALL_PROXY",   "ftp_proxy"};
    struct canned *proxy = CANNED("HTTP/1.1 200 OK\r\n\r\nproxy");
    struct canned *s =
        CANNED("HTTP/1.1 401 No\r\nWWW-Authenticate: Basic realm=a\r\n"
               "Content-Length: 0\r\n\r\n");
    struct http_request r = request_to(url_of("http", "127.0.0.1", s->port));
    char *home = scratch_new(), *netrc = mem_printf("%s/.netrc", home);
    const char *old_home = getenv("HOME");
    char *kept = old_home ? mem_str(old_home) : NULL;
    char text[64];
    struct http_answer a;
    struct err e = {0};
    FILE *out = fopen(netrc, "w");

    (void)arg;
    snprintf(text, sizeof(text), "http://127.0.0.1:%d", proxy->port);
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
        setenv(names[i], text, 1);
    setenv("HOME", home, 1);
    assert_non_null(out);
    fputs("machine 127.0.0.1 login me password hunter2\n"
          "default login me password hunter2\n",
          out);
    fclose(out);
    assert_int_equal(http_do(&r, &a, &e), 0);
    assert_int_equal(a.status, 401);
    http_answer_fini(&a);
    assert_null(strcasestr(s->head, "authorization"));
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
        unsetenv(names[i]);
    if (kept)
        setenv("HOME", kept, 1);
    assert_int_equal(canned_stop(s), 1);
    assert_int_equal(canned_stop(proxy), 0);
    free(kept);
    free(netrc);
    scratch_remove(home);
}

struct judge {
    int asked;
    int family; /* this one alone passes; 0 = any */
    int passes; /* so many times, then no more; -1 = always */
};

static int judge(void *arg, const struct sockaddr *sa, struct err *e)
{
    struct judge *j = arg;
    char ip[ADDR_TEXT_MAX];

    addr_text_ip(sa, ip);
    j->asked++;
    if ((j->family && sa->sa_family != j->family) ||
        (j->passes >= 0 && j->asked > j->passes))
        return err_set(e, ERR_DENIED, "address %s is not public", ip);
    return 0;
}

static void a_refused_address_is_never_dialled(void **arg)
{
    struct canned *s = CANNED("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    static const char *const hosts[] = {"127.0.0.1", "localhost",
                                        "[::ffff:127.0.0.1]"};
    struct judge j = {.passes = 0};

    (void)arg;
    for (size_t i = 0; i < 3; i++) {
        struct http_request r = request_to(url_of("http", hosts[i], s->port));

        j = (struct judge){.passes = 0};
        r.judge = judge;
        r.arg = &j;
        fails(&r, ERR_DENIED, "is not public");
        assert_true(j.asked >= 1);
    }
    assert_int_equal(canned_stop(s), 0);
}

static void the_address_is_judged_again_when_connected(void **arg)
{
    struct canned *s = CANNED("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    struct http_request r = request_to(url_of("http", "127.0.0.1", s->port));
    struct judge j = {.passes = 1};
    struct http_answer a;
    struct err e = {0};

    (void)arg;
    r.judge = judge;
    r.arg = &j;
    fails(&r, ERR_DENIED, "127.0.0.1 is not public");
    assert_int_equal(j.asked, 2);
    assert_string_equal(s->head, ""); /* no byte of the request left */
    j = (struct judge){.passes = -1};
    assert_int_equal(http_do(&r, &a, &e), 0);
    assert_int_equal(j.asked, 2);
    http_answer_fini(&a);
    canned_stop(s);
}

static void of_a_name_s_addresses_the_allowed_one_is_used(void **arg)
{
    struct canned *s = CANNED("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    struct http_request r = request_to(url_of("http", "localhost", s->port));
    struct judge j = {.family = AF_INET, .passes = -1};
    struct http_answer a;
    struct err e = {0};

    (void)arg;
    r.judge = judge;
    r.arg = &j;
    if (http_do(&r, &a, &e) < 0)
        fail_msg("%s", e.text);
    assert_int_equal(e.kind, ERR_NONE);
    assert_int_equal(a.status, 200);
    http_answer_fini(&a);
    canned_stop(s);
}

static void only_http_and_https_are_spoken(void **arg)
{
    static const char *const urls[] = {
        "file:///etc/passwd?" SECRET,  "ftp://127.0.0.1/?" SECRET,
        "gopher://127.0.0.1/?" SECRET, "dict://127.0.0.1/?" SECRET,
        "scp://127.0.0.1/?" SECRET,    "?" SECRET,
        "http://a b/?" SECRET,         "http://127.0.0.1:99999/?" SECRET,
    };
    struct canned *s = CANNED("HTTP/1.1 200 OK\r\n\r\n");
    struct http_request r;

    (void)arg;
    for (size_t i = 0; i < sizeof(urls) / sizeof(*urls); i++) {
        r = request_to(urls[i]);
        fails(&r, ERR_INPUT, "URL");
    }
    r = request_to(url_of("http", "127.0.0.1", s->port));
    r.allow_http = false;
    fails(&r, ERR_INPUT, "URL");
    assert_int_equal(canned_stop(s), 0);
}

/* --- TLS --- */

static void a_certificate_is_checked(void **arg)
{
    const struct fileserver_reply plain = {0};
    char *dir = scratch_new(), *ca = mem_printf("%s/srv-ca.pem", dir);
    char *other = mem_printf("%s/new-ca.pem", dir);
    struct fileserver *s;
    struct http_request r;
    struct http_answer a;
    struct err e = {0};

    (void)arg;
    certs_make(dir, "srv", "IP:127.0.0.1");
    certs_make(dir, "new", "IP:127.0.0.1");
    s = fileserver_start("hello", 5, &plain, 1, dir);
    r = request_to(url_of("https", "127.0.0.1", fileserver_port(s)));
    r.allow_http = false;
    r.ca_path = ca;
    if (http_do(&r, &a, &e) < 0)
        fail_msg("%s", e.text);
    assert_int_equal(a.body.len, 5);
    http_answer_fini(&a);
    r.ca_path = other;
    fails(&r, ERR_PEER, "");
    r.ca_path = NULL; /* the system's roots */
    fails(&r, ERR_PEER, "");
    r.ca_path = "/nowhere/ca.pem";
    fails(&r, ERR_PEER, "");
    r = request_to(url_of("https", "localhost", fileserver_port(s)));
    r.ca_path = ca; /* right root, wrong name */
    fails(&r, ERR_PEER, "");
    assert_int_equal(fileserver_requests(s), 1);
    fileserver_stop(s);
    free(ca);
    free(other);
    scratch_remove(dir);
}

/* The write that meets a hang-up must not be the end of a process that does
 * not ignore SIGPIPE: the library, told to set no signals, sends without. */
static void a_peer_that_hangs_up_kills_nobody(void **arg)
{
    enum { BODY = 8 << 20 };
    const struct fileserver_reply gone = {.trick = FILESERVER_HANG_UP};
    char *dir = scratch_new(), *ca = mem_printf("%s/srv-ca.pem", dir);
    char *body = mem_zero(1, BODY);
    struct fileserver *s;
    struct http_request r;
    struct sigaction now;

    (void)arg;
    certs_make(dir, "srv", "IP:127.0.0.1");
    s = fileserver_start("hello", 5, &gone, 1, dir);
    r = request_to(url_of("https", "127.0.0.1", fileserver_port(s)));
    r.ca_path = ca;
    r.body = body;
    r.body_len = BODY;
    signal(SIGPIPE, SIG_DFL);
    for (int i = 0; i < 3; i++)
        fails(&r, ERR_PEER, "");
    sigaction(SIGPIPE, NULL, &now);
    assert_true(now.sa_handler == SIG_DFL);
    signal(SIGPIPE, SIG_IGN);
    fileserver_stop(s);
    free(body);
    free(ca);
    scratch_remove(dir);
}

/* --- time --- */

static bool is_cancelled(void *arg)
{
    (void)arg;
    return true;
}

static void time_is_bounded_in_every_way(void **arg)
{
    static const char half[] =
        "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhello";
    struct canned *s = canned_start(half, sizeof(half) - 1, true);
    struct canned *silent = canned_start("", 0, true);
    struct http_request r = request_to(url_of("http", "127.0.0.1", s->port));
    int64_t begun = loop_now_ms();

    (void)arg;
    r.total_ms = 200; /* in the midst of a body */
    fails(&r, ERR_PEER, "");
    r.total_ms = 20000;
    r.low_speed_bytes = 1000;
    r.low_speed_s = 1;
    fails(&r, ERR_PEER, "");
    r.low_speed_bytes = r.low_speed_s = 0;
    r.is_cancelled = is_cancelled;
    fails(&r, ERR_TIMEOUT, "cancelled");
    canned_stop(s);
    r = request_to(url_of("http", "127.0.0.1", silent->port));
    r.total_ms = 200;
    fails(&r, ERR_PEER, "");
    canned_stop(silent);
    assert_true(loop_now_ms() - begun < 8000);
}

static void failures_to_connect_do_not_tell_the_query(void **arg)
{
    struct canned *s = CANNED("");
    const char *url = url_of("http", "127.0.0.1", s->port);
    struct http_request r = request_to(url);

    (void)arg;
    canned_stop(s); /* nobody listens there any more */
    fails(&r, ERR_PEER, "");
    r = request_to("http://no-such-host.invalid/?" SECRET);
    fails(&r, ERR_PEER, "");
}

static int setup(void **arg)
{
    (void)arg;
    signal(SIGPIPE, SIG_IGN); /* the servers are threads of ours */
    http_client_init();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_answer_is_taken_apart),
        cmocka_unit_test(values_that_do_not_fit_are_absent_not_cut),
        cmocka_unit_test(a_redirect_is_not_followed),
        cmocka_unit_test(an_endless_chunked_body_ends_at_the_limit),
        cmocka_unit_test(a_body_may_fill_its_limit_but_not_pass_it),
        cmocka_unit_test(a_compressed_body_is_not_unpacked),
        cmocka_unit_test(a_body_cut_short_is_an_error),
        cmocka_unit_test(a_trailer_changes_nothing_that_was_acted_on),
        cmocka_unit_test(callbacks_stop_it_with_their_own_error),
        cmocka_unit_test(the_environment_sends_it_nowhere_else),
        cmocka_unit_test(a_refused_address_is_never_dialled),
        cmocka_unit_test(the_address_is_judged_again_when_connected),
        cmocka_unit_test(of_a_name_s_addresses_the_allowed_one_is_used),
        cmocka_unit_test(only_http_and_https_are_spoken),
        cmocka_unit_test(a_certificate_is_checked),
        cmocka_unit_test(a_peer_that_hangs_up_kills_nobody),
        cmocka_unit_test(time_is_bounded_in_every_way),
        cmocka_unit_test(failures_to_connect_do_not_tell_the_query),
    };

    return cmocka_run_group_tests_name("base/http_client", tests, setup, NULL);
}
