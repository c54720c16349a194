/* What may be asked of the egress proxy, and what its server then gets. */
#include "agent/proxy_request.h"

#include "base/mem.h"
#include "base/own.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define CRLF "\r\n"

static struct proxy_request r;

static int parse(const char *text)
{
    struct err e = {0};
    size_t seen = 0;
    long end = http_head_end(text, strlen(text), &seen);
    int code;

    memset(&r, 0, sizeof(r));
    if (end <= 0)
        return -1;
    code = proxy_request_parse(text, (size_t)end, &r, &e);
    if (code < 0) {
        assert_int_equal(e.kind, ERR_INPUT);
        assert_true(e.text[0]);
    }
    return code;
}

static void connects(const char *target, const char *host, int port)
{
    own_mem char *text =
        mem_printf("CONNECT %s HTTP/1.1" CRLF "Host: x" CRLF CRLF, target);

    if (parse(text) < 0)
        fail_msg("%s was refused", target);
    assert_true(r.is_connect);
    assert_string_equal(r.host, host);
    assert_int_equal(r.port, port);
}

static void a_connect_names_a_host_and_a_port(void **arg)
{
    static const char *const bad[] = {
        "api.example.com",
        "api.example.com:",
        ":443",
        "api.example.com:0",
        "api.example.com:65536",
        "api.example.com:4x3",
        "https://api.example.com:443",
        "http://a.example:80/",
        "a.example:443/",
        "a.example:443?x",
        "a.example:443#x",
        "u@a.example:443",
        "u:p@a.example:443",
        "a.example::443",
        "0x7f.1:443",
        "127.1:443",
        "[::1:443",
        "::1:443",
        "a..example:443",
        "*:443",
        "/",
        "a_\xc3\xa4.example:443",
        "a.example:+443",
        "a.example: 443",
        "[::ffff:1.2.3.4%25eth0]:443",
    };

    (void)arg;
    connects("api.example.com:443", "api.example.com", 443);
    connects("API.Example.com:8443", "api.example.com", 8443);
    connects("192.0.2.7:443", "192.0.2.7", 443);
    assert_true(r.host_is_literal);
    connects("[2001:db8::1]:443", "2001:db8::1", 443);
    assert_true(r.host_is_literal);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        own_mem char *text =
            mem_printf("CONNECT %s HTTP/1.1" CRLF "Host: x" CRLF CRLF, bad[i]);

        if (parse(text) == 0)
            fail_msg("%s became %s:%d", bad[i], r.host, r.port);
    }
    assert_int_equal(parse("CONNECT a.example:443 HTTP/1.0" CRLF CRLF), 0);
}

static void written(const char *text, const char *want)
{
    struct err e = {0};
    struct buf out;

    if (parse(text) < 0)
        fail_msg("refused: %s", text);
    assert_false(r.is_connect);
    buf_init(&out, PROXY_HEAD_MAX);
    assert_int_equal(proxy_request_write(&r, &out, &e), 0);
    buf_append_u8(&out, 0);
    assert_string_equal((char *)out.data, want);
    buf_fini(&out);
}

static void a_plain_request_is_written_for_its_server(void **arg)
{
    (void)arg;
    written("GET http://deb.example:8080/a/b?c=d HTTP/1.1" CRLF
            "Host: somebody.else" CRLF "Accept: */*" CRLF
            "Proxy-Authorization: Basic c2VjcmV0" CRLF
            "Proxy-Connection: keep-alive" CRLF
            "Connection: keep-alive, X-Hop" CRLF "X-Hop: 1" CRLF
            "Upgrade: h2c" CRLF "TE: trailers" CRLF "Cookie:   a=b  " CRLF CRLF,
            "GET /a/b?c=d HTTP/1.1" CRLF "Host: deb.example:8080" CRLF
            "Accept: */*" CRLF "Cookie: a=b" CRLF "Via: 1.1 podterm" CRLF
            "Connection: close" CRLF CRLF);
    written("HEAD http://Deb.Example HTTP/1.0" CRLF CRLF,
            "HEAD / HTTP/1.1" CRLF "Host: deb.example" CRLF
            "Via: 1.1 podterm" CRLF "Connection: close" CRLF CRLF);
    written("OPTIONS http://[2001:db8::1]?q HTTP/1.1" CRLF "Host: x" CRLF CRLF,
            "OPTIONS /?q HTTP/1.1" CRLF "Host: [2001:db8::1]" CRLF
            "Via: 1.1 podterm" CRLF "Connection: close" CRLF CRLF);
    written("POST http://a.example/ HTTP/1.1" CRLF "Host: x" CRLF
            "Content-Length: 5" CRLF "Expect: 100-continue" CRLF CRLF,
            "POST / HTTP/1.1" CRLF "Host: a.example" CRLF
            "Content-Length: 5" CRLF "Expect: 100-continue" CRLF
            "Via: 1.1 podterm" CRLF "Connection: close" CRLF CRLF);
    assert_int_equal(r.length, 5);
}

static void what_two_servers_could_read_in_two_ways_is_refused(void **arg)
{
#define GET "GET http://a.example/ HTTP/1.1" CRLF
    static const char *const bad[] = {
        GET CRLF, /* without Host */
        GET "Host: a" CRLF "Host: b" CRLF CRLF,
        GET "Host: a" CRLF "Content-Length: 1" CRLF
            "Content-Length: 1" CRLF CRLF,
        GET "Host: a" CRLF "Content-Length: 1" CRLF
            "Transfer-Encoding: chunked" CRLF CRLF,
        GET "Host: a" CRLF "Transfer-Encoding: chunked" CRLF
            "Transfer-Encoding: chunked" CRLF CRLF,
        GET "Host: a" CRLF "Transfer-Encoding: gzip, chunked" CRLF CRLF,
        GET "Host: a" CRLF "Transfer-Encoding: xchunked" CRLF CRLF,
        GET "Host: a" CRLF "Transfer-Encoding: identity" CRLF CRLF,
        GET "Host: a" CRLF "Content-Length: +1" CRLF CRLF,
        GET "Host: a" CRLF "Content-Length: -1" CRLF CRLF,
        GET "Host: a" CRLF "Content-Length: 1, 1" CRLF CRLF,
        GET "Host: a" CRLF "Content-Length: 0x1" CRLF CRLF,
        GET "Host: a" CRLF "Content-Length:" CRLF CRLF,
        GET "Host: a" CRLF "Content-Length: 1000000000000000" CRLF CRLF,
        GET "Host: a" CRLF "Content-Length : 1" CRLF CRLF,
        GET "Host: a" CRLF " folded" CRLF CRLF,
        GET "Host: a" CRLF "\tfolded" CRLF CRLF,
        GET "Host: a" CRLF "no colon" CRLF CRLF,
        GET "Host: a" CRLF ": none" CRLF CRLF,
        GET "Host: a" CRLF "X: a\nContent-Length: 3" CRLF CRLF,
        GET "Host: a" CRLF "X: a\rContent-Length: 3" CRLF CRLF,
        GET "Host: a" CRLF "Connection: content-length" CRLF CRLF,
        GET "Host: a" CRLF "Connection: Transfer-Encoding" CRLF CRLF,
        GET "Host: a" CRLF "Connection: close, host" CRLF CRLF,
        GET "Host: a" CRLF "Connection: a b" CRLF CRLF,
        GET "Host: a" CRLF "Connection: close" CRLF "Connection: x" CRLF CRLF,
        "GET http://a.example/ HTTP/1.0" CRLF
        "Transfer-Encoding: chunked" CRLF CRLF,
        "CONNECT a.example:443 HTTP/1.1" CRLF "Host: a" CRLF
        "Content-Length: 3" CRLF CRLF,
        "CONNECT a.example:443 HTTP/1.1" CRLF "Host: a" CRLF
        "Transfer-Encoding: chunked" CRLF CRLF,
    };

    (void)arg;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        if (parse(bad[i]) == 0)
            fail_msg("it was taken: %s", bad[i]);
}

static void a_request_line_has_one_spelling(void **arg)
{
    static const char *const bad[] = {
        "GET /path HTTP/1.1",
        "GET https://a.example/ HTTP/1.1",
        "GET ftp://a.example/ HTTP/1.1",
        "GET http:/a.example/ HTTP/1.1",
        "GET http:///x HTTP/1.1",
        "GET http://u:p@a.example/ HTTP/1.1",
        "GET http://a.example/#x HTTP/1.1",
        "GET  http://a.example/ HTTP/1.1",
        "GET http://a.example/  HTTP/1.1",
        "GET http://a.example/ HTTP/1.1 ",
        "GET http://a.example/ HTTP/2.0",
        "GET http://a.example/ http/1.1",
        "GET http://a.example/",
        "G@T http://a.example/ HTTP/1.1",
        " GET http://a.example/ HTTP/1.1",
        "GET http://a.example/\xc3\xa4 HTTP/1.1",
        "GET http://a.example:80x/ HTTP/1.1",
        "GET http://a.example:/ HTTP/1.1 x",
        "connect a.example:443 HTTP/1.1",
        "ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEFG http://a.example/ HTTP/1.1",
        "PRI * HTTP/2.0",
    };

    (void)arg;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        own_mem char *text = mem_printf("%s" CRLF "Host: x" CRLF CRLF, bad[i]);

        if (parse(text) == 0)
            fail_msg("it was taken: %s", bad[i]);
    }
}

static void headers_are_bounded(void **arg)
{
    struct buf b;

    (void)arg;
    for (int n = PROXY_FIELDS_MAX - 1; n <= PROXY_FIELDS_MAX; n++) {
        buf_init(&b, PROXY_HEAD_MAX);
        buf_append(&b, GET "Host: a" CRLF, strlen(GET "Host: a" CRLF));
        for (int i = 0; i < n; i++)
            buf_append(&b, "X: y" CRLF, 6);
        buf_append(&b, CRLF "\0", 3);
        assert_int_equal(parse((char *)b.data), n < PROXY_FIELDS_MAX ? 0 : -1);
        buf_fini(&b);
    }
}

/* --- bodies --- */

static long take(const char *head, const char *bytes, bool *is_over)
{
    struct proxy_body b;
    long n;

    assert_int_equal(parse(head), 0);
    proxy_body_init(&b, &r);
    n = proxy_body_take(&b, bytes, strlen(bytes));
    *is_over = proxy_body_is_over(&b);
    return n;
}

#define CHUNKED GET "Host: a" CRLF "Transfer-Encoding: chunked" CRLF CRLF
#define FIVE GET "Host: a" CRLF "Content-Length: 5" CRLF CRLF

static void a_second_request_does_not_follow_the_body(void **arg)
{
    static const char second[] = "GET http://other/ HTTP/1.1" CRLF CRLF;
    own_mem char *text = NULL;
    bool is_over;

    (void)arg;
    assert_int_equal(take(GET "Host: a" CRLF CRLF, second, &is_over), 0);
    assert_true(is_over);
    text = mem_printf("hello%s", second);
    assert_int_equal(take(FIVE, text, &is_over), 5);
    assert_true(is_over);
    assert_int_equal(take(FIVE, "hell", &is_over), 4);
    assert_false(is_over);
    free(text);
    text = mem_printf("5" CRLF "hello" CRLF "00a" CRLF "0123456789" CRLF
                      "0" CRLF CRLF "%s",
                      second);
    assert_int_equal(take(CHUNKED, text, &is_over), 32);
    assert_true(is_over);
}

static void chunks_have_one_spelling(void **arg)
{
    static const char *const bad[] = {
        "5\nhello",
        "5\r\nhelloX",
        "5\r\nhello\rX",
        "5;ext=1\r\nhello\r\n",
        " 5\r\nhello\r\n",
        "5 \r\nhello\r\n",
        "0x5\r\nhello\r\n",
        "-1\r\n",
        "\r\n",
        "g\r\n",
        "1000000000000\r\n",
        "0\r\nTrailer: x\r\n\r\n",
        "5\r\rhello",
        "0\r\n\rX",
    };
    bool is_over;

    (void)arg;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        if (take(CHUNKED, bad[i], &is_over) >= 0)
            fail_msg("it was taken: %s", bad[i]);
    assert_int_equal(take(CHUNKED, "FFFFFFFFFFFF\r\nmuch", &is_over), 18);
    assert_false(is_over);
}

/* --- asked as a server: the key broker --- */

static int parse_origin(const char *text)
{
    struct err e = {0};
    size_t seen = 0;
    long end = http_head_end(text, strlen(text), &seen);

    memset(&r, 0, sizeof(r));
    return end <= 0 ? -1
                    : proxy_request_parse_origin(text, (size_t)end, &r, &e);
}

static void a_server_takes_paths_alone(void **arg)
{
    static const char *const bad[] = {
        "CONNECT a.example:443 HTTP/1.1" CRLF "Host: x" CRLF CRLF,
        "CONNECT /a HTTP/1.1" CRLF "Host: x" CRLF CRLF,
        "GET http://a.example/ HTTP/1.1" CRLF "Host: x" CRLF CRLF,
        "GET * HTTP/1.1" CRLF "Host: x" CRLF CRLF,
        "GET a HTTP/1.1" CRLF "Host: x" CRLF CRLF,
        "GET /a#b HTTP/1.1" CRLF "Host: x" CRLF CRLF,
        "GET /a HTTP/1.0" CRLF "Host: x" CRLF CRLF,
        "GET /a HTTP/1.1" CRLF CRLF,
        "GET /a HTTP/1.1" CRLF "Host: x" CRLF "Host: x" CRLF CRLF,
    };

    (void)arg;
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
        if (parse_origin(bad[i]) == 0)
            fail_msg("taken: %s", bad[i]);
    assert_int_equal(parse_origin("GET /a?b HTTP/1.1" CRLF "Host: x" CRLF
                                  "Connection: close, x-one" CRLF CRLF),
                     0);
    assert_int_equal(r.target.len, 4);
    assert_memory_equal(r.target.at, "/a?b", 4);
    assert_string_equal(r.host, "");
    assert_int_equal(r.port, 0);
    assert_false(proxy_request_passes(&r, (struct http_text){"X-One", 5}));
    assert_false(proxy_request_passes(&r, (struct http_text){"te", 2}));
    assert_true(proxy_request_passes(&r, (struct http_text){"x-two", 5}));
}

static void content_is_told_from_its_frame(void **arg)
{
    static const char chunks[] =
        "3" CRLF "abc" CRLF "a" CRLF "0123456789" CRLF "0" CRLF CRLF "behind";
    char got[32];
    size_t len = sizeof(chunks) - 1;

    (void)arg;
    for (size_t step = 1; step <= len; step++) {
        struct proxy_body b;
        size_t at = 0, have = 0;

        assert_int_equal(parse_origin("POST /a HTTP/1.1" CRLF "Host: x" CRLF
                                      "Transfer-Encoding: chunked" CRLF CRLF),
                         0);
        proxy_body_init(&b, &r);
        while (at < len && !proxy_body_is_over(&b)) {
            size_t n = len - at < step ? len - at : step, content = 0;
            long used = proxy_body_piece(&b, chunks + at, n, &content);

            assert_true(used > 0);
            assert_true(content == 0 || content == (size_t)used);
            memcpy(got + have, chunks + at, content);
            have += content;
            at += (size_t)used;
        }
        assert_int_equal(have, 13);
        assert_memory_equal(got, "abc0123456789", 13);
        assert_string_equal(chunks + at, "behind");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_connect_names_a_host_and_a_port),
        cmocka_unit_test(a_plain_request_is_written_for_its_server),
        cmocka_unit_test(what_two_servers_could_read_in_two_ways_is_refused),
        cmocka_unit_test(a_request_line_has_one_spelling),
        cmocka_unit_test(headers_are_bounded),
        cmocka_unit_test(a_second_request_does_not_follow_the_body),
        cmocka_unit_test(chunks_have_one_spelling),
        cmocka_unit_test(a_server_takes_paths_alone),
        cmocka_unit_test(content_is_told_from_its_frame),
    };

    return cmocka_run_group_tests_name("agent/proxy_request", tests, NULL,
                                       NULL);
}
