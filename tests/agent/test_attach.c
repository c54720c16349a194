/*
 * The podterm.v1 server: the real agent, the real shim, a program on a real
 * terminal, and clients of every manner on loopback.
 */
#include "agent/attach.h"

#include "base/loop.h"
#include "base/mem.h"
#include "base/own.h"
#include "gateway/wsframe.h"
#include "tests/lib/agentbox.h"

#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define MS 5000
#define QUIET_MS 150 /* long enough to see that nothing comes */

/* A program that says what it reads, a line at a time. */
#define ECHO_LINES                                                             \
    "stty -echo; echo ready; while read -r l; do echo \"<$l>\"; done"
static struct agentbox *box;

static int teardown(void **state)
{
    (void)state;
    agentbox_free(box);
    box = NULL;
    return 0;
}

static struct agentlink *owner(const char *script, const char *over)
{
    box = agentbox_new(script, over);
    return agentlink_new(box, ROLE_OWNER, -1);
}

/* --- HELLO --- */

static void a_hello_that_is_not_one_is_refused(void **state)
{
    static const struct {
        const char *bytes;
        size_t len;
    } rows[] = {
        {"", 0},
        {"\x06\0\0\0\0\0\0\0\1", 9},   /* PING first */
        {"\x07", 1},                   /* END */
        {"\x02\0\0\0\0\0\0\0\0x", 10}, /* INPUT */
        {"\x81{}", 3},                 /* a server's message */
        {"\x7f{}", 3},                 /* no message at all */
        {"\x01{}", 3},
        {"\x01[]", 3},
        {"\x01{", 2},
        {"\x01{\"token\":7}", 12},
        {"\x01{\"token\":\"x\",\"token\":\"x\"}", 25},
        {"\x01{\"token\":\"x\",\"more\":1}", 22},
        {"\x01{\"token\":\"x\",\"cols\":0,\"rows\":1}", 31},
        {"\x01{\"token\":\"x\",\"cols\":80}", 23},
        {"\x01{\"token\":\"x\",\"cols\":1001,\"rows\":1}", 34},
    };

    (void)state;
    box = agentbox_new_alone("exit", NULL);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct agentlink *l = agentlink_dial(box);

        agentlink_raw(l, rows[i].bytes, rows[i].len);
        agentlink_refused(l, "bad_request", 4400);
        agentlink_free(l);
    }
}

static void an_oversize_hello_is_refused(void **state)
{
    struct agentlink *l;
    uint8_t *big = mem_zero(65536, 1);

    (void)state;
    box = agentbox_new_alone("exit", NULL);
    memset(big, ' ', 65536);
    big[0] = FRAME_HELLO;
    l = agentlink_dial(box);
    agentlink_raw(l, big, FRAME_HELLO_MAX + 1);
    agentlink_refused(l, "bad_request", 4400);
    agentlink_free(l);
    /* over any message's limit: the frame itself is too large */
    l = agentlink_dial(box);
    agentlink_raw(l, big, 65536);
    agentlink_refused(l, NULL, 1009);
    agentlink_free(l);
    free(big);
}

static void text_is_no_message(void **state)
{
    struct agentlink *l;

    (void)state;
    l = owner(ECHO_LINES, NULL);
    wspeer_send(l->peer, WSFRAME_TEXT, "hello", 5);
    agentlink_refused(l, NULL, 1003);
    agentlink_free(l);
    l = agentlink_dial(box);
    wspeer_send(l->peer, WSFRAME_TEXT, "{}", 2);
    agentlink_refused(l, NULL, 1003);
    agentlink_free(l);
}

/* Late ones share the wait: silent, dripped, and stuck in TLS. */
static void a_late_hello_is_refused_ten_seconds_after_accept(void **state)
{
    struct agentlink *silent, *drip;
    struct wspeer *bare;
    int64_t start = loop_now_ms();

    (void)state;
    box = agentbox_new_alone("exit", NULL);
    bare = wspeer_try_dial(box->addr);
    silent = agentlink_dial(box);
    drip = agentlink_dial(box);
    drip->peer->may_die = true;
    while (loop_now_ms() - start < 10800 && !drip->is_over) {
        /* a HELLO of 8 KiB, a byte of it every 300 ms */
        static const uint8_t head[] = {0x82, 0xfe, 0x20, 0, 0, 0, 0, 0, 1};
        static size_t at;

        wspeer_write(drip->peer, at < sizeof(head) ? head + at : head + 4, 1);
        at++;
        agentlink_next(drip, 300);
    }
    assert_int_equal(drip->close_code, 4400);
    agentlink_refused(silent, "bad_request", 4400);
    assert_true(wspeer_ends(bare, 2000));
    assert_in_range(loop_now_ms() - start, 8000, 11000);
    agentlink_free(drip);
    agentlink_free(silent);
    wspeer_free(bare);
}

static void who_waits_longest_makes_room(void **state)
{
    struct agentlink *waiting[ATTACH_WAITING_MAX], *l;

    (void)state;
    box = agentbox_new(ECHO_LINES, NULL);
    for (int i = 0; i < ATTACH_WAITING_MAX; i++)
        waiting[i] = agentlink_dial(box);
    l = agentlink_new(box, ROLE_OWNER, -1);
    agentlink_expect(l, "ready", MS);
    agentlink_refused(waiting[0], "busy", 4429);
    assert_int_equal(agentlink_next(waiting[1], QUIET_MS), 0);
    agentlink_free(l);
    for (int i = 0; i < ATTACH_WAITING_MAX; i++)
        agentlink_free(waiting[i]);
}

static void connections_without_a_key_keep_nobody_out(void **state)
{
    struct wspeer *bare[100];
    struct agentlink *l;

    (void)state;
    box = agentbox_new(ECHO_LINES, NULL);
    for (int i = 0; i < 100; i++)
        bare[i] = wspeer_try_dial(box->addr);
    l = agentlink_new(box, ROLE_OWNER, -1);
    agentlink_expect(l, "ready", MS);
    agentlink_free(l);
    for (int i = 0; i < 100; i++)
        wspeer_free(bare[i]);
}

/* --- tokens and keys --- */

static void change_sid(struct session_claims *c)
{
    random_id(c->sid);
}

static void change_bnd(struct session_claims *c)
{
    memset(c->bnd, 'a', 64);
}

static void change_iss(struct session_claims *c)
{
    snprintf(c->iss, sizeof(c->iss), "https://other.test");
}

static void change_aud(struct session_claims *c)
{
    snprintf(c->aud, sizeof(c->aud), "other");
}

static void change_expired(struct session_claims *c)
{
    c->iat = c->nbf = loop_wall_s() - 200;
    c->exp = c->iat + 60;
}

static void change_early(struct session_claims *c)
{
    c->iat = c->nbf = loop_wall_s() + 100;
    c->exp = c->iat + 60;
}

static void change_sub(struct session_claims *c)
{
    snprintf(c->sub, sizeof(c->sub), "mallory");
}

static void change_to_vera(struct session_claims *c)
{
    snprintf(c->sub, sizeof(c->sub), "vera");
}

static void change_to_viewer(struct session_claims *c)
{
    c->role = ROLE_VIEWER; /* the owner is no viewer either */
}

static void change_to_control_of_mallory(struct session_claims *c)
{
    c->role = ROLE_CONTROL;
    change_sub(c);
}

static void no_token_but_the_right_one_opens(void **state)
{
    static const struct {
        void (*change)(struct session_claims *c);
        const char *word;
        int code;
    } rows[] = {
        {change_sid, "token", 4401},
        {change_bnd, "token", 4401},
        {change_iss, "token", 4401},
        {change_aud, "token", 4401},
        {change_expired, "token", 4401},
        {change_early, "token", 4401},
        {change_sub, "denied", 4403},
        {change_to_vera, "denied", 4403},
        {change_to_viewer, "denied", 4403},
        {change_to_control_of_mallory, "denied", 4403},
    };
    struct agentlink *l;
    own_mem char *token = NULL, *bad = NULL;

    (void)state;
    box = agentbox_new_alone("exit", NULL);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        own_mem char *text =
            agentbox_token(box, ROLE_OWNER, NULL, rows[i].change);

        l = agentlink_dial(box);
        agentlink_hello(l, text, -1, 0, 0);
        agentlink_refused(l, rows[i].word, rows[i].code);
        agentlink_free(l);
    }
    /* rightly made, then touched */
    bad = agentbox_token(box, ROLE_OWNER, NULL, NULL);
    bad[strlen(bad) - 9] ^= 1;
    l = agentlink_dial(box);
    agentlink_hello(l, bad, -1, 0, 0);
    agentlink_refused(l, "token", 4401);
    agentlink_free(l);
    /* and what is refused has spent nothing */
    token = agentbox_token(box, ROLE_OWNER, NULL, NULL);
    l = agentlink_dial(box);
    agentlink_hello(l, token, 5, 0, 0); /* ahead of the program */
    agentlink_refused(l, "bad_request", 4400);
    agentlink_free(l);
    l = agentlink_dial(box);
    agentlink_hello(l, token, 0, 0, 0);
    agentlink_until(l, FRAME_READY, MS);
    agentlink_free(l);
}

static void a_token_opens_once_also_after_a_kill(void **state)
{
    own_mem char *token = NULL;
    struct agentlink *l;
    pid_t main_pid;

    (void)state;
    box = agentbox_new(ECHO_LINES, NULL);
    token = agentbox_token(box, ROLE_OWNER, NULL, NULL);
    l = agentlink_dial(box);
    agentlink_hello(l, token, -1, 0, 0);
    agentlink_until(l, FRAME_READY, MS);
    agentlink_expect(l, "ready", MS);
    agentlink_free(l);
    l = agentlink_dial(box);
    agentlink_hello(l, token, -1, 0, 0);
    agentlink_refused(l, "token", 4401);
    agentlink_free(l);
    main_pid = agentbox_main(box, 0);
    assert_int_equal(kill(main_pid, SIGKILL), 0);
    agentbox_main(box, main_pid);
    l = agentlink_dial(box);
    agentlink_hello(l, token, -1, 0, 0);
    agentlink_refused(l, "token", 4401);
    agentlink_free(l);
}

static void without_the_session_key_there_is_no_http(void **state)
{
    static const char *const asks[] = {
        "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /v1/attach HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "CONNECT 10.0.0.1:80 HTTP/1.1\r\n\r\n",
    };
    uint8_t wrong[SESSION_KEY_BYTES] = {1};

    (void)state;
    box = agentbox_new_alone("exit", NULL);
    assert_null(agentlink_try(box, wrong, box->psk_id));
    assert_null(agentlink_try(box, box->key, box->sid));
    assert_null(agentlink_try(box, box->key, ""));
    for (size_t i = 0; i < sizeof(asks) / sizeof(asks[0]); i++) {
        struct wspeer *p = wspeer_try_dial(box->addr);

        wspeer_puts(p, asks[i]);
        while (wspeer_more(p, MS) > 0)
            ;
        /* at most a TLS alert: content type 21 */
        assert_true(p->in_len == 0 || (p->in[0] == 21 && p->in_len < 16));
        wspeer_free(p);
    }
}

static char *get(const char *path)
{
    struct wspeer *p = wspeer_try_dial(box->addr);
    own_mem char *ask = mem_printf("GET %s HTTP/1.1\r\nHost: x\r\n\r\n", path);
    char *out;

    p->tls = tls_dial_psk(box->ctx, p->fd, box->psk_id, box->key);
    assert_true(wspeer_shake(p));
    wspeer_puts(p, ask);
    while (wspeer_more(p, MS) > 0)
        ;
    out = mem_strn((char *)p->in, p->in_len);
    wspeer_free(p);
    return out;
}

static void with_the_key_there_is_one_page(void **state)
{
    own_mem char *metrics = NULL, *other = NULL, *plain = NULL;

    (void)state;
    box = agentbox_new_alone("exit", NULL);
    metrics = get("/metrics");
    assert_ptr_equal(strstr(metrics, "HTTP/1.1 200"), metrics);
    assert_non_null(strstr(metrics, "podterm_agent_attachments_total 0"));
    other = get("/");
    assert_ptr_equal(strstr(other, "HTTP/1.1 404"), other);
    plain = get("/v1/attach");
    assert_ptr_equal(strstr(plain, "HTTP/1.1 404"), plain);
}

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
    l = owner(ECHO_LINES, NULL);
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
    l = owner(ECHO_LINES, NULL);
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
    a = owner(ECHO_LINES, NULL);
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
    l = owner(ECHO_LINES,
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
    l = owner(ECHO_LINES, NULL);
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
    l = owner(ECHO_LINES, "{\"viewer_history\":false}");
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
    l = owner("for s in INT QUIT TERM HUP; do trap \"echo [$s]\" $s; done; "
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

#define T(name) cmocka_unit_test_teardown(name, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(a_hello_that_is_not_one_is_refused),
        T(an_oversize_hello_is_refused),
        T(text_is_no_message),
        T(a_late_hello_is_refused_ten_seconds_after_accept),
        T(who_waits_longest_makes_room),
        T(connections_without_a_key_keep_nobody_out),
        T(no_token_but_the_right_one_opens),
        T(a_token_opens_once_also_after_a_kill),
        T(without_the_session_key_there_is_no_http),
        T(with_the_key_there_is_one_page),
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
