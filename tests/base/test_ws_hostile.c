/*
 * The doorway on libwebsockets against peers that send what no honest one
 * does: every guard of docs/libraries.md between a socket and our verbs. (Who
 * has no key: test_ws_intruder.c; heads that drip, line ends in targets:
 * test_ws_http.c.)
 */
#include "base/mem.h"
#include "base/ws.h"
#include "tests/lib/certs.h"
#include "tests/lib/programs.h"
#include "tests/lib/wsbed.h"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

static void serve(void)
{
    const struct ws_server_conf conf = bed_conf();

    bed_serve(&conf);
}

static int start(void **state)
{
    (void)state;
    bed_start();
    return 0;
}

static int stop(void **state)
{
    (void)state;
    bed_stop();
    return 0;
}

/* --- heads no honest client sends --- */

/* Send it; the connection must end, with an answer that begins so ("" = with
 * none at all), and nothing may reach a verb. */
static void refused(const char *text, size_t len, const char *answer)
{
    const int before = bed.requests + bed.opened;
    struct peer *p = bed_dial();

    peer_send(p, text, len);
    if (!peer_wait_closed(p, 3000))
        fail_msg("not closed after: %s\ncame: %s", text, p->in ? p->in : "");
    if (answer[0] ? !p->in || strncmp(p->in, answer, strlen(answer)) != 0
                  : p->len != 0)
        fail_msg("%s\nwas answered: %s\nnot: %s", text, p->in ? p->in : "",
                 answer);
    if (bed.requests + bed.opened != before)
        fail_msg("%s\nreached a handler", text);
    peer_free(p);
}

static void refused_text(const char *text, const char *answer)
{
    refused(text, strlen(text), answer);
}

static void what_is_no_request_is_hung_up_on(void **state)
{
    static const char *const texts[] = {
        "CONNECT h:80 HTTP/1.1\r\nHost: h\r\n\r\n",
        "CONNECT 127.0.0.1:22 HTTP/1.1\r\nHost: 127.0.0.1:22\r\n\r\n",
        "GET /x HTTP/1.1\r\nHost: h\r\nConnection: Upgrade, HTTP2-Settings\r\n"
        "Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n",
        "GET /v1/attach HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\n"
        "Upgrade: h2c, websocket\r\n\r\n",
        "GET /v1/attach HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\n"
        "Upgrade: TLS/1.0\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "BREW /pot HTTP/1.1\r\nHost: h\r\n\r\n",
        "\r\n\r\n\r\n\r\n\r\n",
    };

    (void)state;
    serve();
    for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
        const int before = bed.requests + bed.opened;
        struct peer *p = bed_dial();

        peer_say(p, texts[i]);
        run_for(bed.loop, 30);
        peer_say(p, "are you raw?");
        if (!peer_wait_closed(p, 3000))
            fail_msg("not closed: %s", texts[i]);
        if (p->len && (strstr(p->in, " 200") || strstr(p->in, " 101") ||
                       strstr(p->in, "raw")))
            fail_msg("%s\nwas answered: %s", texts[i], p->in);
        assert_int_equal(bed.requests + bed.opened, before);
        peer_free(p);
    }
}

static void bodies_without_a_plain_length_are_refused(void **state)
{
    static const struct {
        const char *lines, *answer;
    } rows[] = {
        {"Transfer-Encoding: chunked\r\n", "HTTP/1.1 411 "},
        {"Transfer-Encoding: gzip, chunked\r\n", "HTTP/1.1 411 "},
        {"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
         "HTTP/1.1 411 "},
        {"Content-Length: 5\r\nTransfer-Encoding: identity\r\n",
         "HTTP/1.1 411 "},
        {"", "HTTP/1.1 411 "},
        {"Content-Length: -1\r\n", "HTTP/1.1 400 "},
        {"Content-Length: +5\r\n", "HTTP/1.1 400 "},
        {"Content-Length: 5,  7\r\n", "HTTP/1.1 400 "},
        {"Content-Length: 5, 5\r\n", "HTTP/1.1 400 "},
        {"Content-Length: 5\r\nContent-Length: 5\r\n", "HTTP/1.1 400 "},
        {"Content-Length: 5\r\nContent-Length: 7\r\n", "HTTP/1.1 400 "},
        {"Content-Length: 5x\r\n", "HTTP/1.1 400 "},
        {"Content-Length: 0x5\r\n", "HTTP/1.1 400 "},
        {"Content-Length: 5.0\r\n", "HTTP/1.1 400 "},
        {"Content-Length: 1e1\r\n", "HTTP/1.1 400 "},
        {"Content-Length: 18446744073709551621\r\n", "HTTP/1.1 400 "},
        {"Content-Length: 99999999999\r\n", "HTTP/1.1 400 "},
        {"Content-Length: 4294967301\r\n", "HTTP/1.1 413 "},
        {"Content-Length: 1001\r\n", "HTTP/1.1 413 "},
    };
    static const char *const methods[] = {"POST", "PUT", "PATCH"};
    char text[512];

    (void)state;
    serve();
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        snprintf(text, sizeof(text), "%s /x HTTP/1.1\r\nHost: h\r\n%s\r\n",
                 methods[i % 3], rows[i].lines);
        refused_text(text, rows[i].answer);
    }
    refused_text("GET /x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n"
                 "\r\n5\r\nhello\r\n0\r\n\r\n",
                 "HTTP/1.1 411 ");
    refused_text("GET /x HTTP/1.1\r\nHost: h\r\nContent-Length: -1\r\n\r\n",
                 "HTTP/1.1 400 ");
}

/* What the library writes to stderr by default: cookies (4.1), values of
 * queries (4.3). */
static void the_library_writes_nothing_of_what_it_reads(void **state)
{
    static const char *const asks[] = {
        "GET /x?q=hunter2&p=hunter2 HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET /x HTTP/1.1\r\nHost: h\r\nCookie: a=hunter2; b=hunter2\r\n\r\n",
        "GET /x HTTP/1.1\r\nHost: hunter2\r\nUpgrade: hunter2\r\n\r\n",
        "hunter2\r\n\r\n",
    };
    const int log_fd = memfd_create("log", MFD_CLOEXEC);
    const int stderr_fd = dup(STDERR_FILENO);
    char said[1024] = "";

    (void)state;
    dup2(log_fd, STDERR_FILENO);
    serve();
    for (size_t i = 0; i < sizeof(asks) / sizeof(*asks); i++) {
        struct peer *p = bed_dial();

        peer_say(p, asks[i]);
        peer_wait_closed(p, 3000);
        peer_free(p);
    }
    dup2(stderr_fd, STDERR_FILENO);
    close(stderr_fd);
    (void)!pread(log_fd, said, sizeof(said) - 1, 0);
    close(log_fd);
    assert_string_equal(said, "");
}

static void one_connection_is_one_request(void **state)
{
    static const char *const texts[] = {
        /* pipelined */
        "GET /a HTTP/1.1\r\nHost: h\r\n\r\nGET /b HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET /a HTTP/1.1\r\nHost: h\r\nConnection: keep-alive\r\n\r\n"
        "GET /b HTTP/1.1\r\nHost: h\r\n\r\n",
        /* smuggled behind a body, or as one */
        "POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nbody"
        "GET /b HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET /a HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nbody"
        "GET /b HTTP/1.1\r\nHost: h\r\n\r\n",
        "POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n"
        "GET /b HTTP/1.1\r\nHost: h\r\n\r\n",
    };

    (void)state;
    serve();
    for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
        struct peer *p = bed_dial();
        const int before = bed.requests;
        const char *first;

        peer_say(p, texts[i]);
        if (!peer_wait_closed(p, 3000))
            fail_msg("not closed: %s", texts[i]);
        if (bed.requests > before + 1)
            fail_msg("asked twice: %s", texts[i]);
        first = p->len ? strstr(p->in, "HTTP/1.1") : NULL;
        if (bed.requests > before && !first)
            fail_msg("asked and not answered: %s", texts[i]);
        if (first && strstr(first + 1, "HTTP/1.1"))
            fail_msg("answered twice: %s", texts[i]);
        peer_free(p);
    }
    assert_true(bed.requests >= 3);
}

static void heads_that_never_fit_are_dropped(void **state)
{
    static const char hidden[] = "GET /x HTTP/1.1\r\nHost: h\0evil\r\n"
                                 "Transfer-Encoding: chunked\r\n\r\n";
    static char big[70000];
    size_t len;

    (void)state;
    serve();
    len = (size_t)snprintf(big, sizeof(big),
                           "GET /x HTTP/1.1\r\nHost: h\r\nX-Big: ");
    memset(big + len, 'a', sizeof(big) - len);
    refused(big, sizeof(big), "");
    len = (size_t)snprintf(big, sizeof(big), "GET /");
    memset(big + len, 'a', sizeof(big) - len);
    refused(big, sizeof(big), "");
    len = (size_t)snprintf(big, sizeof(big), "GET /x HTTP/1.1\r\nHost: h\r\n");
    for (int i = 0; len < sizeof(big) - 40; i++)
        len += (size_t)snprintf(big + len, 40, "X-%d: b\r\n", i);
    refused(big, len, "");
    /* a zero byte hides nothing */
    refused(hidden, sizeof(hidden) - 1, "HTTP/1.1 4");
    run_for(bed.loop, 50);
    assert_int_equal(ws_server_conns(bed.server), 0);
}

/* --- upgrades --- */

static void upgrades_that_break_a_rule_are_refused(void **state)
{
    static const struct {
        const char *text, *answer;
    } rows[] = {
        {UP_OF("POST", "/v1/attach", "", UP_VERSION, UP_SUB), "HTTP/1.1 405 "},
        {UP_OF("POST", "/v1/attach", "Content-Length: 0\r\n", UP_VERSION,
               UP_SUB),
         "HTTP/1.1 405 "},
        {UP_OF("PUT", "/v1/attach", "", UP_VERSION, UP_SUB), "HTTP/1.1 405 "},
        {UP("Content-Length: 5\r\n"), "HTTP/1.1 400 "},
        {UP("Transfer-Encoding: chunked\r\n"), "HTTP/1.1 400 "},
        {UP_OF("GET", "/v1/attach", "", "Sec-WebSocket-Version: 12\r\n",
               UP_SUB),
         "HTTP/1.1 426 "},
        {UP_OF("GET", "/v1/attach", "", "Sec-WebSocket-Version: 130\r\n",
               UP_SUB),
         "HTTP/1.1 426 "},
        {UP_OF("GET", "/v1/attach", "", "", UP_SUB), "HTTP/1.1 426 "},
        {UP_OF("GET", "/", "", UP_VERSION, UP_SUB), "HTTP/1.1 404 "},
        {UP_OF("GET", "/v1/attach/", "", UP_VERSION, UP_SUB), "HTTP/1.1 404 "},
        {UP_OF("GET", "/v1/attachx", "", UP_VERSION, UP_SUB), "HTTP/1.1 404 "},
        {UP_OF("GET", "/v1/attach", "", UP_VERSION, ""), "HTTP/1.1 400 "},
        {UP_OF("GET", "/v1/attach", "", UP_VERSION,
               "Sec-WebSocket-Protocol: other\r\n"),
         "HTTP/1.1 400 "},
        {UP_OF("GET", "/v1/attach", "", UP_VERSION,
               "Sec-WebSocket-Protocol: podterm.v10\r\n"),
         "HTTP/1.1 400 "},
        {UP_OF("GET", "/v1/attach", "", UP_VERSION,
               "Sec-WebSocket-Protocol: \x01\r\n"),
         "HTTP/1.1 400 "},
        {UP("Origin: http://a\r\nOrigin: http://b\r\n"), "HTTP/1.1 400 "},
        {UP("Host: other\r\n"), "HTTP/1.1 400 "},
        {UP("Authorization: Bearer a\r\nAuthorization: Bearer b\r\n"),
         "HTTP/1.1 400 "},
    };
    struct peer *p;

    (void)state;
    serve();
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
        refused_text(rows[i].text, rows[i].answer);
    /* the very request that all of them change a little is taken */
    p = bed_dial();
    peer_say(p, UP("Origin: http://a\r\n"));
    assert_true(peer_wait(p, "HTTP/1.1 101 ", 2000));
    assert_int_equal(bed.opened, 1);
    peer_free(p);
}

static void names_too_long_for_the_library_open_nothing(void **state)
{
    char text[2048], name[400];

    (void)state;
    serve();
    for (size_t len = 60; len < 390; len += 33) {
        memset(name, 'a', len);
        name[len] = 0;
        snprintf(text, sizeof(text),
                 UP_OF("GET", "/v1/attach", "", UP_VERSION,
                       "Sec-WebSocket-Protocol: %s, " SUB "\r\n"),
                 name);
        struct peer *p = bed_dial();

        peer_say(p, text);
        run_for(bed.loop, 30);
        /* the name is one we know, or there is no connection */
        if (len > 126 && (p->len && strstr(p->in, " 101")))
            fail_msg("%zu bytes opened", len);
        if (p->len && strstr(p->in, " 101"))
            assert_non_null(strstr(p->in, SUB));
        peer_free(p);
    }
}

/* --- messages --- */

static bool is_closed(void *arg)
{
    (void)arg;
    return bed.closed > 0;
}

static bool has_message(void *arg)
{
    (void)arg;
    return bed.messages > 0;
}

static void a_text_frame_is_told_apart(void **state)
{
    struct peer *p;

    (void)state;
    serve();
    p = bed_attach();
    bed_frame(p, 0x81, 5);
    assert_true(run_until(bed.loop, has_message, NULL, 2000));
    assert_true(bed.is_text);
    bed_frame(p, 0x01, 5); /* in two fragments */
    bed_frame(p, 0x80, 5);
    run_for(bed.loop, 50);
    assert_int_equal(bed.messages, 2);
    assert_true(bed.is_text);
    assert_int_equal(bed.last_len, 10);
    bed_frame(p, 0x82, BED_MESSAGE_MAX);
    run_for(bed.loop, 50);
    assert_int_equal(bed.messages, 3);
    assert_false(bed.is_text);
    assert_int_equal(bed.last_len, BED_MESSAGE_MAX);
    peer_free(p);
}

/* Has it been told something, or hung up on? */
static bool has_heard(void *arg)
{
    const struct peer *p = arg;

    return p->len >= 4 || p->is_closed;
}

/* The connection is closed with 1009 and no message was told. */
static void too_large(struct peer *p)
{
    static const char code[] = {3, (char)0xf1};

    bed.closed = 0;
    assert_true(run_until(bed.loop, has_heard, p, 3000));
    assert_true(p->len >= 4);
    assert_int_equal(p->in[0], (char)0x88);
    assert_memory_equal(p->in + 2, code, 2);
    peer_free(p);
    assert_true(run_until(bed.loop, is_closed, NULL, 3000));
    assert_int_equal(bed.code, 1009);
    assert_int_equal(bed.messages, 0);
}

static void a_message_over_the_limit_is_1009_before_it_is_there(void **state)
{
    static const uint8_t huge[] = {0x82, 0xff, 0x3f, 0xff, 0xff,
                                   0xff, 0xff, 0xff, 0xff, 0xff,
                                   1,    2,    3,    4,    'x'};
    static const uint8_t large[] = {0x82, 0xff, 0, 0, 0, 0, 0x40, 0,
                                    0,    0,    1, 2, 3, 4, 'x'};
    struct peer *p;

    (void)state;
    serve();
    p = bed_attach();
    peer_send(p, huge, sizeof(huge)); /* announced alone: 2^62 */
    too_large(p);
    p = bed_attach();
    peer_send(p, large, sizeof(large)); /* 1 GiB */
    too_large(p);
    p = bed_attach();
    bed_frame(p, 0x82, BED_MESSAGE_MAX + 1);
    too_large(p);
    p = bed_attach();
    for (int i = 0; i < 12; i++) /* in fragments, each within it */
        bed_frame(p, i ? 0x00 : 0x02, 100);
    too_large(p);
}

static void frames_that_break_the_protocol_end_the_connection(void **state)
{
    static const struct {
        size_t len;
        uint8_t bytes[24];
    } rows[] = {
        {7, {0x83, 0x81, 1, 2, 3, 4, 'x'}}, /* reserved opcodes */
        {7, {0x8b, 0x81, 1, 2, 3, 4, 'x'}},
        {7, {0xc2, 0x81, 1, 2, 3, 4, 'x'}}, /* RSV1: no extension */
        {7, {0xa2, 0x81, 1, 2, 3, 4, 'x'}},
        {7, {0x92, 0x81, 1, 2, 3, 4, 'x'}},
        {12, {0x89, 0xfe, 0, 200, 1, 2, 3, 4, 'x', 'x', 'x', 'x'}},
        {14, {0x82, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 1, 1, 2, 3, 4}},
    };

    (void)state;
    serve();
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        static const char close_1002[] = {3, (char)0xea};
        struct peer *p = bed_attach();

        bed.closed = 0;
        peer_send(p, rows[i].bytes, rows[i].len);
        /* told 1002, or hung up on; what follows is not heard */
        if (!run_until(bed.loop, has_heard, p, 2000))
            fail_msg("row %zu goes on", i);
        if (p->len &&
            (p->in[0] != (char)0x88 || memcmp(p->in + 2, close_1002, 2) != 0))
            fail_msg("row %zu is answered", i);
        if (!p->is_closed)
            bed_frame(p, 0x82, 5);
        run_for(bed.loop, 20);
        assert_int_equal(bed.messages, 0);
        peer_free(p);
        assert_true(run_until(bed.loop, is_closed, NULL, 3000));
    }
}

static long private_kib(void)
{
    FILE *in = fopen("/proc/self/smaps_rollup", "r");
    char line[128];
    long kib = 0, v;

    while (in && fgets(line, sizeof(line), in))
        if (sscanf(line, "Private_Dirty: %ld", &v) == 1)
            kib = v;
    if (in)
        fclose(in);
    return kib;
}

static void pings_nobody_reads_the_answers_of_cost_little(void **state)
{
    static uint8_t pings[131 * 500];
    struct peer *p;
    long before;
    size_t len = 0;

    (void)state;
    serve();
    p = bed_attach();
    for (int i = 0; i < 500; i++) {
        uint8_t payload[125] = {0};

        len += peer_frame(pings + len, 0x89, payload, sizeof(payload));
    }
    loop_fd_stop(p->watch); /* the answers are never read */
    p->watch = NULL;
    before = private_kib();
    for (int i = 0; i < 100; i++) {
        (void)!send(p->fd, pings, len, MSG_DONTWAIT | MSG_NOSIGNAL);
        run_for(bed.loop, 2);
    }
    assert_true(private_kib() - before < 4096);
    peer_free(p);
    /* and others are served */
    p = bed_attach();
    bed_frame(p, 0x82, 3);
    assert_true(run_until(bed.loop, has_message, NULL, 2000));
    peer_free(p);
}

#define TEST(t) cmocka_unit_test_setup_teardown(t, start, stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_is_no_request_is_hung_up_on),
        TEST(bodies_without_a_plain_length_are_refused),
        TEST(the_library_writes_nothing_of_what_it_reads),
        TEST(one_connection_is_one_request),
        TEST(heads_that_never_fit_are_dropped),
        TEST(upgrades_that_break_a_rule_are_refused),
        TEST(names_too_long_for_the_library_open_nothing),
        TEST(a_text_frame_is_told_apart),
        TEST(a_message_over_the_limit_is_1009_before_it_is_there),
        TEST(frames_that_break_the_protocol_end_the_connection),
        TEST(pings_nobody_reads_the_answers_of_cost_little),
    };

    return cmocka_run_group_tests_name("base/ws, hostile", tests, NULL, NULL);
}
