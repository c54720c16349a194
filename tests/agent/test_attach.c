/*
 * The podterm.v1 server: the real agent, the real shim, a program on a real
 * terminal, and clients of every manner on loopback. Who gets in:
 * test_attach_hello.c.
 */
#include "agent/attach.h"

#include "base/own.h"
#include "tests/lib/onebox.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* --- roles --- */

static void each_role_may_send_what_its_row_says(void **state)
{
    static const struct {
        uint8_t type;
        const char *body;
        size_t len;
    } msgs[] = {
        {FRAME_INPUT, "\0\0\0\0\0\0\0\0x", 9},
        {FRAME_RESIZE, "\0\x50\0\x18", 4},
        {FRAME_SIGNAL, "\1", 1},
        {FRAME_END, "", 0},
        {FRAME_PING, "\0\0\0\0\0\0\0\1", 8},
        {FRAME_OUTPUT_ACK, "\0\0\0\0\0\0\0\0", 8},
        {FRAME_VIEWERS, "\0\0\0\0\0\0\0\1", 8},
    };
    static const enum role roles[] = {ROLE_VIEWER, ROLE_CONTROL};

    (void)state;
    box = agentbox_new(ECHO_LINES, NULL);
    for (size_t i = 0; i < 2; i++)
        for (size_t m = 0; m < sizeof(msgs) / sizeof(msgs[0]); m++) {
            uint8_t msg[16] = {msgs[m].type};
            struct agentlink *l;

            if (frame_is_allowed(roles[i], msgs[m].type))
                continue;
            l = agentlink_new(box, roles[i], -1);
            memcpy(msg + 1, msgs[m].body, msgs[m].len);
            agentlink_raw(l, msg, 1 + msgs[m].len);
            agentlink_refused(l, "denied", 4403);
            agentlink_free(l);
        }
    /* nothing of it reached the program */
    {
        struct agentlink *l = agentlink_new(box, ROLE_OWNER, -1);

        assert_int_equal(l->typed, 0);
        agentlink_says(l, "a\r");
        agentlink_expect(l, "<a>", MS);
        agentlink_free(l);
    }
}

static void malformed_messages_end_the_attachment_alone(void **state)
{
    static const struct {
        const char *bytes;
        size_t len;
    } rows[] = {
        {"\x02\0\0\0\0\0\0\0\0", 9}, /* INPUT without a byte */
        {"\x02\xff\xff\xff\xff\xff\xff\xff\xffx", 10},
        {"\x03\0\x50\0", 4},       /* RESIZE cut */
        {"\x03\0\0\0\x18", 5},     /* no columns */
        {"\x03\x03\xe9\0\x18", 5}, /* 1001 */
        {"\x04\0\0", 3},
        {"\x04\0\0\0\0\0\xff\xff\xff", 9}, /* ACK of what was not sent */
        {"\x05\0", 2},
        {"\x05\x06", 2},
        {"\x05\x01\x01", 3},
        {"\x07x", 2},
        {"\x01{\"token\":\"x\"}", 13}, /* HELLO again */
    };
    struct agentlink *l;

    (void)state;
    box = agentbox_new(ECHO_LINES, NULL);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        l = agentlink_new(box, ROLE_OWNER, -1);
        agentlink_raw(l, rows[i].bytes, rows[i].len);
        agentlink_refused(l, "bad_request", 4400);
        agentlink_free(l);
    }
    l = agentlink_new(box, ROLE_OWNER, -1);
    agentlink_says(l, "still here\r");
    agentlink_expect(l, "<still here>", MS);
    agentlink_free(l);
}

static void a_control_ends_the_session(void **state)
{
    struct agentlink *l, *control;
    own_json struct json *report = NULL;

    (void)state;
    l = box_owner(ECHO_LINES, NULL);
    agentlink_expect(l, "ready", MS);
    control = agentlink_new(box, ROLE_CONTROL, -1);
    agentlink_end(control);
    agentlink_until(l, FRAME_EXIT, MS);
    assert_string_equal(l->reason, "deleted");
    agentlink_refused(l, NULL, 1000);
    assert_int_equal(control->stages, 0);
    report = agentbox_ends(box, "deleted", MS);
    agentlink_free(control);
    agentlink_free(l);
}

static void who_attaches_is_told_the_stages_so_far(void **state)
{
    static const char *const order[] = {"fetch", "verified", "unpacked",
                                        "started"};
    struct agentlink *l;

    (void)state;
    l = box_owner(ECHO_LINES, NULL);
    agentlink_expect(l, "ready", MS);
    agentlink_free(l);
    for (int role = ROLE_OWNER; role <= ROLE_VIEWER; role++) {
        l = agentlink_new(box, (enum role)role, -1);
        for (int i = 0; i < 4; i++) {
            agentlink_until(l, FRAME_STAGE, MS);
            assert_string_equal(l->stage, order[i]);
            assert_int_equal(l->text_len, 0); /* before any output */
        }
        agentlink_expect(l, "ready", MS);
        assert_int_equal(l->stages, 4);
        agentlink_free(l);
    }
}

/* --- several at once --- */

static void a_second_owner_takes_over_without_losing_a_byte(void **state)
{
    struct agentlink *a, *b;

    (void)state;
    a = box_owner(ECHO_LINES, NULL);
    agentlink_expect(a, "ready", MS);
    agentlink_says(a, "one\r");
    agentlink_expect(a, "<one>", MS);
    b = agentlink_new(box, ROLE_OWNER, (int64_t)a->output);
    assert_int_equal(b->output_from, a->output);
    assert_int_equal(b->typed, a->typed);
    agentlink_refused(a, "replaced", 4409);
    agentlink_says(b, "two\r");
    agentlink_expect(b, "<two>", MS);
    assert_null(strstr(b->text, "one"));
    agentlink_free(a);
    agentlink_free(b);
}

static void eight_viewers_and_no_ninth(void **state)
{
    struct agentlink *l, *viewers[ATTACH_VIEWERS_MAX], *ninth;
    own_mem char *token = NULL;

    (void)state;
    l = box_owner(ECHO_LINES,
                  "{\"viewers\":[\"v0\",\"v1\",\"v2\",\"v3\",\"victor\"]}");
    agentlink_expect(l, "ready", MS);
    for (int i = 0; i < ATTACH_VIEWERS_MAX; i++) {
        char sub[] = {'v', (char)('0' + i / ATTACH_VIEWER_SEATS), 0};

        viewers[i] = agentlink_new_as(box, ROLE_VIEWER, sub, -1);
    }
    ninth = agentlink_dial(box);
    token = agentbox_token(box, ROLE_VIEWER, "victor", NULL);
    agentlink_hello(ninth, token, -1, 0, 0);
    agentlink_refused(ninth, "busy", 4429);
    agentlink_free(ninth);
    agentlink_says(l, "shown\r");
    for (int i = 0; i < ATTACH_VIEWERS_MAX; i++)
        agentlink_expect(viewers[i], "<shown>", MS);
    agentlink_free(viewers[0]);
    agentlink_run(l, QUIET_MS);
    viewers[0] = agentlink_new_as(box, ROLE_VIEWER, "victor", -1);
    agentlink_expect(viewers[0], "<shown>", MS);
    for (int i = 0; i < ATTACH_VIEWERS_MAX; i++)
        agentlink_free(viewers[i]);
    agentlink_free(l);
}

static void one_viewer_has_two_seats_at_most(void **state)
{
    struct agentlink *l, *seats[ATTACH_VIEWER_SEATS], *more;
    own_mem char *token = NULL;

    (void)state;
    l = box_owner(ECHO_LINES, NULL);
    agentlink_expect(l, "ready", MS);
    for (int i = 0; i < ATTACH_VIEWER_SEATS; i++)
        seats[i] = agentlink_new_as(box, ROLE_VIEWER, "victor", -1);
    more = agentlink_dial(box);
    token = agentbox_token(box, ROLE_VIEWER, "victor", NULL);
    agentlink_hello(more, token, -1, 0, 0);
    agentlink_refused(more, "busy", 4429);
    agentlink_free(more);
    more = agentlink_new_as(box, ROLE_VIEWER, "vera", -1);
    agentlink_free(more);
    for (int i = 0; i < ATTACH_VIEWER_SEATS; i++)
        agentlink_free(seats[i]);
    agentlink_free(l);
}

static void without_history_a_viewer_begins_at_the_live_end(void **state)
{
    struct agentlink *l, *v;

    (void)state;
    l = box_owner(ECHO_LINES, "{\"viewer_history\":false}");
    agentlink_expect(l, "ready", MS);
    agentlink_says(l, "secret\r");
    agentlink_expect(l, "<secret>", MS);
    v = agentlink_new(box, ROLE_VIEWER, 0);
    assert_int_equal(v->output_from, l->output);
    agentlink_says(l, "open\r");
    agentlink_expect(v, "<open>", MS);
    assert_null(strstr(v->text, "secret"));
    agentlink_free(v);
    agentlink_free(l);
}

/* --- the rest of the messages --- */

static void a_resize_reaches_the_program_and_everybody(void **state)
{
    struct agentlink *l, *v;

    (void)state;
    box = agentbox_new("trap 'stty size' WINCH; stty size; echo ready; "
                       "while :; do sleep 0.05; done",
                       NULL);
    l = agentlink_dial(box);
    {
        own_mem char *token = agentbox_token(box, ROLE_OWNER, NULL, NULL);

        agentlink_hello(l, token, -1, 100, 40);
    }
    agentlink_until(l, FRAME_READY, MS);
    agentlink_expect(l, "ready", MS);
    v = agentlink_new(box, ROLE_VIEWER, -1);
    agentlink_resize(l, 132, 50);
    agentlink_expect(l, "50 132", MS);
    agentlink_until(v, FRAME_RESIZED, MS);
    assert_int_equal(v->cols, 132);
    assert_int_equal(v->rows, 50);
    agentlink_free(v);
    agentlink_free(l);
}

static void every_signal_arrives(void **state)
{
    static const struct {
        uint8_t number;
        const char *says;
    } rows[] = {{FRAME_SIG_INT, "INT"},
                {FRAME_SIG_QUIT, "QUIT"},
                {FRAME_SIG_TERM, "TERM"},
                {FRAME_SIG_HUP, "HUP"}};
    struct agentlink *l;
    own_json struct json *report = NULL;

    (void)state;
    l = box_owner("for s in INT QUIT TERM HUP; do trap \"echo [$s]\" $s; done; "
                  "echo ready; while :; do sleep 0.02; done",
                  NULL);
    agentlink_expect(l, "ready", MS);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char want[16];

        snprintf(want, sizeof(want), "[%s]", rows[i].says);
        agentlink_signal(l, rows[i].number);
        agentlink_expect(l, want, MS);
    }
    agentlink_signal(l, FRAME_SIG_KILL);
    agentlink_until(l, FRAME_EXIT, MS);
    assert_string_equal(l->reason, "signalled");
    assert_int_equal(l->exit_signal, SIGKILL);
    report = agentbox_ends(box, "signalled", MS);
    agentlink_free(l);
}

#define T(name) cmocka_unit_test_teardown(name, box_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(each_role_may_send_what_its_row_says),
        T(malformed_messages_end_the_attachment_alone),
        T(a_control_ends_the_session),
        T(who_attaches_is_told_the_stages_so_far),
        T(a_second_owner_takes_over_without_losing_a_byte),
        T(eight_viewers_and_no_ninth),
        T(one_viewer_has_two_seats_at_most),
        T(without_history_a_viewer_begins_at_the_live_end),
        T(a_resize_reaches_the_program_and_everybody),
        T(every_signal_arrives),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
