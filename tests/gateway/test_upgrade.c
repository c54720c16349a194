/* Tests gateway/upgrade.c: one spelling of a request, everything else out. */
#include "gateway/upgrade.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define KEY "dGhlIHNhbXBsZSBub25jZQ=="
#define HEAD                                                                   \
    "GET /v1/attach HTTP/1.1\r\nHost: h:1\r\nUpgrade: websocket\r\n"           \
    "Connection: Upgrade\r\nSec-WebSocket-Key: " KEY "\r\n"                    \
    "Sec-WebSocket-Version: 13\r\n"
#define GOOD HEAD "Sec-WebSocket-Protocol: podterm.v1\r\n\r\n"

/* Feed step bytes at a time; 0 or the status, 1 = not whole. */
static int parse(const char *text, size_t step, struct upgrade *u)
{
    size_t all = strlen(text), seen = 0;
    long end = 0;

    for (size_t len = step < all ? step : all; end == 0; len += step) {
        if (len > all)
            len = all;
        end = http_head_end(text, len, &seen);
        if (len == all)
            break;
    }
    if (end == 0)
        return 1;
    return end < 0 ? 400 : upgrade_parse(text, (size_t)end, u);
}

static int status(const char *text)
{
    struct upgrade a = {0}, b = {0};
    int whole = parse(text, strlen(text) + 1, &a);

    assert_int_equal(whole, parse(text, 1, &b));
    assert_memory_equal(&a, &b, sizeof(a));
    return whole;
}

static void a_browsers_request_is_understood(void **state)
{
    struct upgrade u;
    const char *text =
        "GET /v1/attach?x=1 HTTP/1.1\r\nHost: [::1]:8080\r\n"
        "User-Agent: Mozilla/5.0 (\xc3\xa9)\r\nUPGRADE: WebSocket\r\n"
        "Connection: keep-alive, Upgrade\r\nSec-WebSocket-Key:" KEY "\r\n"
        "Sec-WebSocket-Version:  13 \r\nOrigin: https://a.example\r\n"
        "X-Forwarded-For: 1.2.3.4, 5.6.7.8\r\n"
        "Sec-WebSocket-Extensions: permessage-deflate\r\n"
        "Sec-WebSocket-Protocol: tty, podterm.v1\r\n\r\n";

    (void)state;
    assert_int_equal(parse(text, 7, &u), 0);
    assert_true(u.is_websocket && u.has_subprotocol && u.has_query);
    assert_true(http_text_is(u.path, "/v1/attach"));
    assert_true(http_text_is(u.host, "[::1]:8080"));
    assert_true(http_text_is(u.origin, "https://a.example"));
    assert_true(http_text_is(u.forwarded, "1.2.3.4, 5.6.7.8"));
    assert_true(http_text_is(u.key, KEY));
}

static void a_plain_get_is_no_upgrade(void **state)
{
    struct upgrade u;

    (void)state;
    assert_int_equal(parse("GET /livez HTTP/1.1\r\nHost: h\r\n\r\n", 1, &u), 0);
    assert_false(u.is_websocket);
    assert_null(u.origin.at);
    assert_true(http_text_is(u.path, "/livez"));
}

static void every_broken_head_has_its_status(void **state)
{
    static const struct {
        const char *text;
        int status;
    } cases[] = {
        {GOOD, 0},
        {HEAD "\r\n", 0}, /* no subprotocol: the caller refuses it */
        {"POST / HTTP/1.1\r\nHost: h\r\n\r\n", 405},
        {"get / HTTP/1.1\r\nHost: h\r\n\r\n", 405},
        {"GET / HTTP/1.0\r\nHost: h\r\n\r\n", 505},
        {"GET / HTTP/2.0\r\nHost: h\r\n\r\n", 505},
        {"GET / HTTPS1.1\r\nHost: h\r\n\r\n", 400},
        {"GET  / HTTP/1.1\r\nHost: h\r\n\r\n", 400},
        {"GET / HTTP/1.1 \r\nHost: h\r\n\r\n", 400},
        {"GET /\x7f HTTP/1.1\r\nHost: h\r\n\r\n", 400},
        {"GET http://h/ HTTP/1.1\r\nHost: h\r\n\r\n", 400},
        {"GET /a#b HTTP/1.1\r\nHost: h\r\n\r\n", 400},
        {"GET /\r\nHost: h\r\n\r\n", 400},
        {"\r\n\r\n", 400},
        {"\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\nHost:\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\nHost: h\r\nHost: h\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\nHost : h\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\nHost: h\r\n folded\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\nHost: h\r\n\tfolded: x\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\nHost: h\r\nno colon\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\nHost: h\r\n: x\r\n\r\n", 400},
        {"GET / HTTP/1.1\nHost: h\n\n", 400},
        {"GET / HTTP/1.1\r\nHost: h\rX: y\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\nHost: h\r\nX: \x01\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: a\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\nHost: h\r\nOrigin: a b\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\nHost: h\r\nOrigin: a\r\nOrigin: b\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\nHost: h\r\nUpgrade: h2c\r\n\r\n", 400},
        {HEAD "Upgrade: websocket\r\n\r\n", 400},
        {HEAD "Sec-WebSocket-Key: " KEY "\r\n\r\n", 400},
        {HEAD "Sec-WebSocket-Protocol: a,,podterm.v1\r\n\r\n", 400},
        {HEAD "Sec-WebSocket-Protocol: \r\n\r\n", 400},
        {"GET / HTTP/1.1\r\nHost: h\r\n", 1},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        if (status(cases[i].text) != cases[i].status)
            fail_msg("case %zu: %s", i, cases[i].text);
}

static int with_line(const char *from, const char *to)
{
    char text[1024];
    const char *at = strstr(GOOD, from);

    assert_non_null(at);
    snprintf(text, sizeof(text), "%.*s%s%s", (int)(at - GOOD), GOOD, to,
             at + strlen(from));
    return status(text);
}

static void websocket_headers_have_one_form(void **state)
{
    struct upgrade u;

    (void)state;
    assert_int_equal(with_line("13", "12"), 426);
    assert_int_equal(with_line("13", "013"), 426);
    assert_int_equal(with_line("Connection: Upgrade", "Connection: close"),
                     400);
    assert_int_equal(with_line(KEY, "dGhlIHNhbXBsZSBub25jZQ="), 400);
    assert_int_equal(with_line(KEY, "dGhlIHNhbXBsZSBub25jZR=="), 400);
    assert_int_equal(with_line(KEY, "dGhlIHNhbXBs*SBub25jZQ=="), 400);
    assert_int_equal(with_line("Sec-WebSocket-Key: " KEY "\r\n", ""), 400);
    assert_int_equal(with_line("Sec-WebSocket-Version: 13\r\n", ""), 400);
    /* the name is exact: another case is another protocol */
    assert_int_equal(
        parse(HEAD "Sec-WebSocket-Protocol: PODTERM.V1\r\n\r\n", 9, &u), 0);
    assert_false(u.has_subprotocol);
}

static void a_target_has_a_limit(void **state)
{
    char path[1100], text[1400];
    struct upgrade u;

    (void)state;
    memset(path, 'a', sizeof(path));
    path[0] = '/';
    path[1024] = 0;
    snprintf(text, sizeof(text), "GET %s HTTP/1.1\r\nHost: h\r\n\r\n", path);
    assert_int_equal(parse(text, 100, &u), 0);
    path[1024] = 'a';
    path[1025] = 0;
    snprintf(text, sizeof(text), "GET %s HTTP/1.1\r\nHost: h\r\n\r\n", path);
    assert_int_equal(parse(text, 100, &u), 400);
}

static void the_accept_value_is_the_rfcs(void **state)
{
    char accept[UPGRADE_ACCEPT_LEN + 1];

    (void)state;
    upgrade_accept(KEY, accept);
    assert_string_equal(accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
}

static void our_own_texts_are_understood_by_ourselves(void **state)
{
    char text[UPGRADE_TEXT_MAX], accept[UPGRADE_ACCEPT_LEN + 1];
    struct upgrade u;
    size_t len = upgrade_write_request(KEY, text);
    int code;

    (void)state;
    assert_true(len < sizeof(text));
    assert_int_equal(parse(text, 5, &u), 0);
    assert_true(u.is_websocket && u.has_subprotocol);
    upgrade_accept(KEY, accept);
    len = upgrade_write_101(KEY, text);
    assert_true(len < sizeof(text));
    assert_null(upgrade_answer(text, len, accept, &code));
    assert_int_equal(code, 101);
}

#define A101                                                                   \
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"               \
    "Connection: Upgrade\r\n"
#define ACC "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"
#define PRO "Sec-WebSocket-Protocol: podterm.v1\r\n"

static void every_wrong_answer_of_an_agent_is_named(void **state)
{
    static const struct {
        const char *text;
        int status;
        bool is_good;
    } cases[] = {
        {A101 ACC PRO "\r\n", 101, true},
        {A101 PRO "\r\n", 101, false},
        {A101 ACC "\r\n", 101, false},
        {A101 ACC PRO "Sec-WebSocket-Extensions: x\r\n\r\n", 101, false},
        {A101 ACC PRO ACC "\r\n", 101, false},
        {A101 "Sec-WebSocket-Accept: t3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" PRO
              "\r\n",
         101, false},
        {A101 ACC "Sec-WebSocket-Protocol: tty\r\n\r\n", 101, false},
        {"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n", 503, false},
        {"HTTP/1.1 1010\r\n\r\n", 0, false},
        {"HTTP/1.0 101 x\r\n\r\n", 0, false},
        {"SSH-2.0-OpenSSH\r\n\r\n", 0, false},
        {"\r\n\r\n", 0, false},
    };
    int code;

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const char *why = upgrade_answer(cases[i].text, strlen(cases[i].text),
                                         "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", &code);

        if ((why == NULL) != cases[i].is_good || code != cases[i].status)
            fail_msg("case %zu: %s", i, why ? why : "accepted");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_browsers_request_is_understood),
        cmocka_unit_test(a_plain_get_is_no_upgrade),
        cmocka_unit_test(every_broken_head_has_its_status),
        cmocka_unit_test(websocket_headers_have_one_form),
        cmocka_unit_test(a_target_has_a_limit),
        cmocka_unit_test(the_accept_value_is_the_rfcs),
        cmocka_unit_test(our_own_texts_are_understood_by_ourselves),
        cmocka_unit_test(every_wrong_answer_of_an_agent_is_named),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
