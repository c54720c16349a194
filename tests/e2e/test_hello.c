/*
 * What a peer may say first, and how long it may take, at the gateway and at
 * the agent alike; and frames that break an attachment, never the session.
 */
#include "base/frame.h"
#include "base/loop.h"
#include "base/mem.h"
#include "base/own.h"
#include "gateway/wsframe.h"
#include "tests/lib/onesession.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define HELLO_MS 10000 /* accept to a verified HELLO */

static char *fresh(const char *who, const char *role)
{
    char *token = stack_token(stack, who, ann.sid, role, NULL);

    assert_non_null(token);
    return token;
}

static struct wspeer *upgraded(bool at_agent)
{
    return at_agent ? direct_attach(&agent) : direct_gateway(stack);
}

/* --- HELLO --- */

enum {
    DRIPPED_HEAD,
    DRIPPED_HELLO,
    DRIPPED_HANDSHAKE,
    DRIPPED_AGENT_HELLO,
    DRIPS,
    SILENCE = DRIPS,
    AGENT_SILENCE,
    SLOW_COUNT
};

static void slow_start(struct wspeer *p[SLOW_COUNT])
{
    static const uint8_t part[] = {0x82, 0xfe, 0x10, 0, 1, 2, 3, 4};
    own_mem char *addr = mem_printf("127.0.0.1:%d", stack->attach_port);

    p[DRIPPED_HEAD] = wspeer_dial(addr, NULL);
    wspeer_puts(p[DRIPPED_HEAD], "GET /v1/attach HTTP/1.1\r\nX-Drip: ");
    p[DRIPPED_HELLO] = direct_gateway(stack);
    wspeer_write(p[DRIPPED_HELLO], part, sizeof(part));
    p[DRIPPED_HANDSHAKE] = wspeer_dial(agent.addr, NULL);
    wspeer_write(p[DRIPPED_HANDSHAKE], "\x16\x03\x01\x02\x00", 5);
    p[DRIPPED_AGENT_HELLO] = direct_attach(&agent);
    wspeer_write(p[DRIPPED_AGENT_HELLO], part, sizeof(part));
    p[SILENCE] = direct_gateway(stack);
    p[AGENT_SILENCE] = direct_attach(&agent);
    for (int i = 0; i < SLOW_COUNT; i++)
        p[i]->may_die = true;
}

/* Each sends a byte now and then, or nothing: at ten seconds it is told, or
 * ended where no message is possible yet. */
static void hello_has_ten_seconds_however_it_is_dripped(void **arg)
{
    struct wspeer *p[SLOW_COUNT];
    int64_t from = loop_now_ms(), told[SLOW_COUNT] = {0};
    int left = SLOW_COUNT;

    (void)arg;
    slow_start(p);
    while (left > 0 && loop_now_ms() < from + HELLO_MS + 2500)
        for (int i = 0; i < SLOW_COUNT; i++) {
            if (told[i])
                continue;
            if (i < DRIPS)
                wspeer_try_write(p[i], "a", 1, 100);
            if (wspeer_more(p[i], 50) != 0) {
                told[i] = loop_now_ms() - from;
                left--;
            }
        }
    for (int i = 0; i < SLOW_COUNT; i++) {
        if (told[i] < HELLO_MS - 1500)
            fail_msg("connection %d was told after %lld ms", i,
                     (long long)told[i]);
        if (i == DRIPPED_HEAD || i == DRIPPED_HANDSHAKE) {
            assert_true(wspeer_ends(p[i], WSPEER_MS));
            wspeer_free(p[i]);
        } else {
            direct_refused(p[i], "unavailable", 4503);
        }
    }
}

static void hello_has_a_form(void **arg)
{
    static const struct {
        const char *text;
        size_t len;
        const char *word;
        int code;
        uint8_t opcode;
    } rows[] = {
        {"\x01{}", 3, NULL, 1003, WSFRAME_TEXT},
        {"\x01{}", 3, "bad_request", 4400, WSFRAME_BINARY},
        {"\x01[]", 3, "bad_request", 4400, WSFRAME_BINARY},
        {"\x01{\"token\":1}", 12, "bad_request", 4400, WSFRAME_BINARY},
        {"\x02{}", 3, "bad_request", 4400, WSFRAME_BINARY},
        {"\x7f{}", 3, "bad_request", 4400, WSFRAME_BINARY},
        {"", 0, "bad_request", 4400, WSFRAME_BINARY},
    };
    own_mem char *token = fresh("ann", "owner");
    const char *const members[] = {"{\"token\":\"%s\",\"x\":1}",
                                   "{\"token\":\"%s\",\"token\":\"\"}",
                                   "{\"token\":\"%s\"} ."};
    struct wspeer *p;

    (void)arg;
    for (int at = 0; at < 2; at++) {
        for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
            p = upgraded(at);
            wspeer_send(p, rows[i].opcode, rows[i].text, rows[i].len);
            direct_refused(p, rows[i].word, rows[i].code);
        }
        for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++) {
            const char *rest = strstr(members[i], "%s") + 2;
            own_mem char *text = mem_printf("{\"token\":\"%s%s", token, rest);

            p = upgraded(at);
            wspeer_binary(p, FRAME_HELLO, text);
            direct_refused(p, "bad_request", 4400);
        }
    }
    p = direct_gateway(stack); /* none of that has spent it */
    direct_hello(p, token);
    wspeer_reset(direct_ready(p));
}

static void hello_has_a_largest_size(void **arg)
{
    own_mem uint8_t *text = mem_zero(FRAME_HELLO_MAX + 1, 1);
    struct wspeer *p = direct_gateway(stack);

    (void)arg;
    memset(text, ' ', FRAME_HELLO_MAX + 1);
    text[0] = FRAME_HELLO;
    wspeer_send(p, WSFRAME_BINARY, text, FRAME_HELLO_MAX + 1);
    direct_refused(p, NULL, 1009);
    p = direct_attach(&agent);
    wspeer_send(p, WSFRAME_BINARY, text, FRAME_HELLO_MAX + 1);
    direct_refused(p, "bad_request", 4400);
}

/* --- frames behind READY --- */

static struct wspeer *attached(bool at_agent, const char *who, const char *role)
{
    own_mem char *token = fresh(who, role);
    struct wspeer *p = upgraded(at_agent);

    direct_hello(p, token);
    return direct_ready(p);
}

static void broken_frames_end_an_attachment_and_not_the_session(void **arg)
{
    static const uint8_t unmasked[] = {0x82, 1, FRAME_END};
    own_mem uint8_t *big = mem_zero(FRAME_UP_MAX + 1, 1);

    (void)arg;
    big[0] = FRAME_INPUT;
    for (int at = 0; at < 2; at++) {
        struct wspeer *p = attached(at, "ann", "owner");

        wspeer_send(p, WSFRAME_TEXT, "\x07", 1);
        direct_refused(p, NULL, 1003);
        p = attached(at, "ann", "owner");
        wspeer_send(p, WSFRAME_BINARY, big, FRAME_UP_MAX + 1);
        direct_refused(p, NULL, 1009);
        if (!at) { /* libwebsockets takes it, from whoever has the key */
            p = attached(at, "ann", "owner");
            wspeer_write(p, unmasked, sizeof(unmasked));
            direct_refused(p, NULL, 1002);
        }
        p = attached(at, "ann", "owner");
        wspeer_binary(p, FRAME_HELLO, "{}"); /* once only */
        direct_refused(p, "bad_request", 4400);
        p = attached(at, "ann", "owner");
        wspeer_send(p, WSFRAME_BINARY, "\x81{}", 3); /* the other way's */
        direct_refused(p, "bad_request", 4400);
    }
    json_free(stack_wait(stack, "ann", ann.sid, "running", 0));
}

static void a_viewer_may_not_type_resize_signal_or_end(void **arg)
{
    static const struct {
        const char *text;
        size_t len;
    } rows[] = {
        {"\x02\0\0\0\0\0\0\0\0x", 10},
        {"\x03\0\x50\0\x18", 5},
        {"\x05\1", 2},
        {"\x07", 1},
    };

    (void)arg;
    for (size_t i = 0; i < 2 * sizeof(rows) / sizeof(rows[0]); i++) {
        struct wspeer *p = attached(i & 1, "vic", "viewer");

        wspeer_send(p, WSFRAME_BINARY, rows[i / 2].text, rows[i / 2].len);
        direct_refused(p, "denied", 4403);
    }
    json_free(stack_wait(stack, "ann", ann.sid, "running", 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hello_has_ten_seconds_however_it_is_dripped),
        cmocka_unit_test(hello_has_a_form),
        cmocka_unit_test(hello_has_a_largest_size),
        cmocka_unit_test(broken_frames_end_an_attachment_and_not_the_session),
        cmocka_unit_test(a_viewer_may_not_type_resize_signal_or_end),
    };

    return cmocka_run_group_tests(tests, onesession_setup, onesession_teardown);
}
