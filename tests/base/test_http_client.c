/* The HTTP client's answers, from servers that do not mean well.
 * test_http_client_peers.c: who they are. */
#include "base/http_client.h"

#include "base/mem.h"
#include "tests/lib/canned.h"
#include "tests/lib/fileserver.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void an_answer_is_taken_apart(void **arg)
{
    static const char text[] =
        "HTTP/1.1 103 Early Hints\r\nETag: \"early\"\r\nLink: x\r\n\r\n"
        "HTTP/1.1 206 Partial Content\r\nContent-Length: 5\r\n"
        "ETag: \"e\"\r\nlast-modified:\t Mon  \r\nContent-Range: bytes 5-9/10"
        "\r\nRetry-After: 7\r\nCache-Control: max-age=60\r\n"
        "Content-Type: text/plain\r\nSet-Cookie: a=b\r\n\r\nhello";
    struct canned *s = CANNED(text);
    struct http_request r =
        canned_request(canned_url("http", "127.0.0.1", s->port));
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
    r = canned_request(canned_url("http", "127.0.0.1", s->port));
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
    r = canned_request(canned_url("http", "127.0.0.1", s->port));
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
        canned_request(canned_url("http", "127.0.0.1", fileserver_port(s)));
    struct taken t = {0};

    (void)arg;
    r.body_max = 100000;
    canned_fails(&r, ERR_TOO_LARGE, "more than 100000 bytes");
    r.data = take;
    r.arg = &t;
    canned_fails(&r, ERR_TOO_LARGE, "more than 100000 bytes");
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
            canned_request(canned_url("http", "127.0.0.1", s->port));
        struct http_answer a;
        struct err e = {0};

        r.body_max = 10;
        if (http_do(&r, &a, &e) < 0)
            fail_msg("%zu: %s", i, e.text);
        assert_int_equal(a.body.len, 10);
        http_answer_fini(&a);
        r.body_max = 9;
        canned_fails(&r, ERR_TOO_LARGE, "more than 9 bytes");
        r.body_max = 0;
        canned_fails(&r, ERR_TOO_LARGE, "more than 0 bytes");
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
    struct http_request r =
        canned_request(canned_url("http", "127.0.0.1", s->port));
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
            canned_request(canned_url("http", "127.0.0.1", s->port));

        canned_fails(&r, ERR_PEER, "");
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
    struct http_request r =
        canned_request(canned_url("http", "127.0.0.1", s->port));
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
    struct http_request r =
        canned_request(canned_url("http", "127.0.0.1", s->port));
    struct taken t = {.stops = true};

    (void)arg;
    r.arg = &t;
    r.head = take_head;
    r.data = take;
    canned_fails(&r, ERR_DENIED, "a teapot");
    assert_int_equal(t.status, 418);
    assert_int_equal(t.bytes, 0);
    r.head = NULL;
    canned_fails(&r, ERR_SYSTEM, "disk full");
    canned_stop(s);
    /* an answer without a body has a head too */
    s = CANNED("HTTP/1.1 418 x\r\nContent-Length: 0\r\n\r\n");
    r = canned_request(canned_url("http", "127.0.0.1", s->port));
    r.arg = &t;
    r.head = take_head;
    canned_fails(&r, ERR_DENIED, "a teapot");
    canned_stop(s);
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
    };

    return cmocka_run_group_tests_name("base/http_client", tests,
                                       canned_group_setup, NULL);
}
