/* HTTP requests on the loop: whom they speak to, how they end, and that bytes
 * pass at the pace of the slower side. */
#include "base/http_stream.h"

#include "base/buf.h"
#include "base/mem.h"
#include "base/own.h"
#include "tests/lib/canned.h"
#include "tests/lib/certs.h"
#include "tests/lib/fileserver.h"
#include "tests/lib/peer.h"
#include "tests/lib/programs.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define SOON_MS 10000

/* One request, and what was told of it. */
struct call {
    struct http_stream *stream;
    struct http_stream_conf conf;
    int status, heads, holds;
    struct buf fields, body;
    struct err e;
    const char *send; /* its body: given away a byte at a time, */
    size_t sent;
    size_t ready; /* and no further than here */
    bool is_asked;
    bool stops_at_head, stops_at_data;
    bool is_done, is_whole;
};

static struct loop *loop;
static struct http_pool *pool;

static void on_head(void *arg, int status, struct http_text fields)
{
    struct call *c = arg;

    c->heads++;
    c->status = status;
    buf_append(&c->fields, fields.at, fields.len);
    if (c->stops_at_head) {
        http_stream_stop(c->stream);
        c->is_done = true;
    }
}

static bool on_data(void *arg, const uint8_t *bytes, size_t len)
{
    struct call *c = arg;

    if (c->holds > 0) {
        c->holds--;
        return false;
    }
    assert_int_equal(buf_append(&c->body, bytes, len), 0);
    if (c->stops_at_data) {
        http_stream_stop(c->stream);
        c->is_done = true;
    }
    return true;
}

static size_t on_body(void *arg, uint8_t *to, size_t room, bool *is_over)
{
    struct call *c = arg;

    assert_true(room > 0);
    c->is_asked = true;
    *is_over = !c->send[c->sent];
    if (*is_over || c->sent == c->ready)
        return 0;
    *to = (uint8_t)c->send[c->sent++];
    return 1;
}

static bool on_again(void *arg)
{
    struct call *c = arg;

    c->sent = 0;
    return true;
}

static void on_done(void *arg, const struct err *e)
{
    struct call *c = arg;

    assert_false(c->is_done);
    c->is_done = true;
    c->is_whole = !e;
    if (e)
        c->e = *e;
}

static const struct http_stream_verbs verbs = {.head = on_head,
                                               .data = on_data,
                                               .body = on_body,
                                               .again = on_again,
                                               .done = on_done};

static bool is_done(void *arg)
{
    return ((struct call *)arg)->is_done;
}

static bool is_asked(void *arg)
{
    return ((struct call *)arg)->is_asked;
}

static bool is_held(void *arg)
{
    return ((struct call *)arg)->holds == 0;
}

static void call_start(struct call *c, const char *url)
{
    if (!c->conf.method)
        c->conf.method = "GET";
    c->conf.url = url;
    c->conf.verbs = &verbs;
    c->conf.arg = c;
    buf_init(&c->fields, HTTP_STREAM_HEAD_MAX);
    buf_init(&c->body, 1 << 22);
    c->stream = http_stream_start(pool, &c->conf);
}

static void call_end(struct call *c)
{
    if (!run_until(loop, is_done, c, SOON_MS))
        fail_msg("it is not done");
}

static void call_fini(struct call *c)
{
    buf_fini(&c->fields);
    buf_fini(&c->body);
}

static int setup(void **arg)
{
    (void)arg;
    loop = loop_new();
    pool = http_pool_new(loop);
    assert_non_null(pool);
    return 0;
}

static int teardown(void **arg)
{
    (void)arg;
    http_pool_free(pool);
    loop_free(loop);
    return 0;
}

/* The connections that are kept are closed: it waits for that. */
static int ended(struct canned *s)
{
    http_pool_free(pool);
    pool = http_pool_new(loop);
    return canned_stop(s);
}

/* --- one answer --- */

#define PLAIN "HTTP/1.1 200 OK\r\nA: b\r\nContent-Length: 5\r\n\r\nhello"

static void an_answer_is_told_in_parts(void **arg)
{
    struct canned *s = CANNED("HTTP/1.1 100 Continue\r\nX: y\r\n\r\n"
                              "HTTP/1.1 103 Early Hints\r\nX: y\r\n\r\n" PLAIN);
    struct call c = {.conf = {.allow_http = true}};

    (void)arg;
    call_start(&c, canned_url("http", "127.0.0.1", s->port));
    call_end(&c);
    assert_true(c.is_whole);
    assert_int_equal(c.heads, 1);
    assert_int_equal(c.status, 200);
    assert_string_equal(buf_cstr(&c.fields), "A: b\r\nContent-Length: 5\r\n");
    assert_string_equal(buf_cstr(&c.body), "hello");
    call_fini(&c);
    ended(s);
}

/* What could be another line, or is none, is not told of. */
static void a_line_is_one_line(void **arg)
{
    struct canned *s =
        CANNED("HTTP/1.1 200 OK\r\nA: b\rSet-Cookie: c\r\nB: \x01\r\n"
               "Good: yes\r\nContent-Length: 0\r\n\r\n");
    struct call c = {.conf = {.allow_http = true}};

    (void)arg;
    call_start(&c, canned_url("http", "127.0.0.1", s->port));
    call_end(&c);
    assert_null(strstr(buf_cstr(&c.fields), "Cookie"));
    assert_null(strstr(buf_cstr(&c.fields), "B:"));
    assert_non_null(strstr(buf_cstr(&c.fields), "Good: yes\r\n"));
    call_fini(&c);
    ended(s);
}

static void what_is_held_comes_again(void **arg)
{
    struct canned *s = CANNED(PLAIN);
    struct call c = {.conf = {.allow_http = true}, .holds = 1};

    (void)arg;
    call_start(&c, canned_url("http", "127.0.0.1", s->port));
    assert_true(run_until(loop, is_held, &c, SOON_MS));
    assert_false(run_until(loop, is_done, &c, 100));
    assert_int_equal(c.body.len, 0);
    http_stream_resume(c.stream);
    call_end(&c);
    assert_string_equal(buf_cstr(&c.body), "hello");
    call_fini(&c);
    ended(s);
}

static void one_that_is_stopped_says_no_more(void **arg)
{
    (void)arg;
    for (int i = 0; i < 3; i++) {
        struct canned *s = CANNED(PLAIN);
        struct call c = {.conf = {.allow_http = true},
                         .stops_at_head = i == 0,
                         .stops_at_data = i == 1};

        call_start(&c, canned_url("http", "127.0.0.1", s->port));
        if (i == 2) {
            http_stream_stop(c.stream);
            c.is_done = true;
        }
        call_end(&c);
        /* (done would find is_done) */
        assert_false(run_until(loop, is_asked, &c, 50));
        assert_false(c.is_whole);
        call_fini(&c);
        ended(s);
    }
}

static void what_is_not_whole_is_told(void **arg)
{
    own_mem char *head = mem_zero(HTTP_STREAM_HEAD_MAX + 1024, 1);
    struct canned *s =
        CANNED("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\ncut");
    struct call c = {.conf = {.allow_http = true}};
    int len;

    (void)arg;
    call_start(&c, canned_url("http", "127.0.0.1", s->port));
    call_end(&c);
    assert_false(c.is_whole);
    assert_int_equal(c.e.kind, ERR_PEER);
    assert_null(strstr(c.e.text, "SECRET"));
    call_fini(&c);
    ended(s);

    len = sprintf(head, "HTTP/1.1 200 OK\r\n");
    while (len < HTTP_STREAM_HEAD_MAX + 512)
        len += sprintf(head + len, "A%d: bbbbbbbbbbbbbbbbbbbbbbbbbbb\r\n", len);
    len += sprintf(head + len, "\r\n");
    s = canned_start(head, (size_t)len, false);
    c = (struct call){.conf = {.allow_http = true}};
    call_start(&c, canned_url("http", "127.0.0.1", s->port));
    call_end(&c);
    assert_int_equal(c.e.kind, ERR_TOO_LARGE);
    assert_int_equal(c.heads, 0);
    call_fini(&c);
    ended(s);
}

static void a_redirect_is_an_answer(void **arg)
{
    struct canned *s = CANNED("HTTP/1.1 302 Found\r\nLocation: /other\r\n"
                              "Content-Length: 0\r\n\r\n");
    struct call c = {.conf = {.allow_http = true}};

    (void)arg;
    call_start(&c, canned_url("http", "127.0.0.1", s->port));
    call_end(&c);
    assert_true(c.is_whole);
    assert_int_equal(c.status, 302);
    call_fini(&c);
    assert_int_equal(ended(s), 1);
}

/* --- a body that goes --- */

static void a_body_goes_as_it_comes(void **arg)
{
    for (int is_chunked = 0; is_chunked < 2; is_chunked++) {
        struct canned *s = CANNED(PLAIN);
        struct call c = {.conf = {.method = "POST",
                                  .allow_http = true,
                                  .has_body = true,
                                  .length = is_chunked ? -1 : 5},
                         .send = "hello",
                         .ready = 2};

        (void)arg;
        s->hangs = true;
        call_start(&c, canned_url("http", "127.0.0.1", s->port));
        assert_true(run_until(loop, is_asked, &c, SOON_MS));
        c.ready = 5;
        for (int i = 0; i < 20 && c.sent < 5; i++) {
            http_stream_more(c.stream);
            run_until(loop, is_done, &c, 20);
        }
        assert_int_equal(c.sent, 5);
        call_end(&c);
        assert_non_null(strcasestr(s->head, is_chunked
                                                ? "transfer-encoding: chunked"
                                                : "content-length: 5"));
        assert_null(strcasestr(s->head, "expect"));
        call_fini(&c);
        ended(s);
    }
}

/* --- whom it speaks to --- */

static int judge(void *arg, const struct sockaddr *sa, struct err *e)
{
    (void)arg;
    (void)sa;
    return err_set(e, ERR_DENIED, "address is not public");
}

static void a_refused_address_is_not_dialled(void **arg)
{
    struct canned *s = CANNED(PLAIN);
    struct call c = {.conf = {.allow_http = true, .judge = judge}};

    (void)arg;
    call_start(&c, canned_url("http", "localhost", s->port));
    call_end(&c);
    assert_int_equal(c.e.kind, ERR_DENIED);
    assert_string_equal(c.e.text, "address is not public");
    call_fini(&c);
    assert_int_equal(ended(s), 0);
}

static void http_is_not_spoken_unless_it_may_be(void **arg)
{
    struct canned *s = CANNED(PLAIN);
    struct call c = {0};

    (void)arg;
    call_start(&c, canned_url("http", "127.0.0.1", s->port));
    call_end(&c);
    assert_false(c.is_whole);
    call_fini(&c);
    assert_int_equal(ended(s), 0);
}

static void a_certificate_is_held_against_its_roots(void **arg)
{
    static const struct fileserver_reply reply = {0};
    char *dir = scratch_new();
    own_mem char *right = mem_printf("%s/srv-ca.pem", dir);
    own_mem char *wrong = mem_printf("%s/other-ca.pem", dir);
    struct fileserver *s;

    (void)arg;
    certs_make(dir, "srv", "DNS:localhost,IP:127.0.0.1");
    certs_make(dir, "other", "DNS:localhost");
    s = fileserver_start("hello", 5, &reply, 1, dir);
    for (int i = 0; i < 3; i++) {
        struct call c = {.conf = {.ca_path = i == 0   ? right
                                             : i == 1 ? wrong
                                                      : NULL}};

        call_start(&c, canned_url("https", "127.0.0.1", fileserver_port(s)));
        call_end(&c);
        assert_int_equal(c.is_whole, i == 0);
        assert_int_equal(c.body.len, i == 0 ? 5 : 0);
        call_fini(&c);
    }
    assert_int_equal(fileserver_requests(s), 1);
    fileserver_stop(s);
    scratch_remove(dir);
}

static void several_run_beside_each_other(void **arg)
{
    struct canned *s[4];
    struct call c[4];

    (void)arg;
    memset(c, 0, sizeof(c));
    for (int i = 0; i < 4; i++) {
        s[i] = CANNED(PLAIN);
        c[i].conf.allow_http = true;
        call_start(&c[i], canned_url("http", "127.0.0.1", s[i]->port));
    }
    for (int i = 0; i < 4; i++) {
        call_end(&c[i]);
        assert_string_equal(buf_cstr(&c[i].body), "hello");
        call_fini(&c[i]);
        ended(s[i]);
    }
}

/* (no verb is called, nothing is left) */
static void a_pool_ends_with_what_is_under_way(void **arg)
{
    struct canned *s = canned_start("", 0, true);
    struct call c = {.conf = {.allow_http = true}};

    (void)arg;
    call_start(&c, canned_url("http", "127.0.0.1", s->port));
    assert_false(run_until(loop, is_done, &c, 50));
    http_pool_free(pool);
    pool = NULL;
    assert_false(run_until(loop, is_done, &c, 50));
    call_fini(&c);
    canned_stop(s);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(an_answer_is_told_in_parts),
        T(a_line_is_one_line),
        T(what_is_held_comes_again),
        T(one_that_is_stopped_says_no_more),
        T(what_is_not_whole_is_told),
        T(a_redirect_is_an_answer),
        T(a_body_goes_as_it_comes),
        T(a_refused_address_is_not_dialled),
        T(http_is_not_spoken_unless_it_may_be),
        T(a_certificate_is_held_against_its_roots),
        T(several_run_beside_each_other),
        T(a_pool_ends_with_what_is_under_way),
    };

    return cmocka_run_group_tests(tests, canned_group_setup, NULL);
}
