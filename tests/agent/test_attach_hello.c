/*
 * Who gets in at the podterm.v1 server: the first message, tokens, keys, and
 * what strangers are kept to. With the real agent and shim.
 */
#include "agent/attach.h"

#include "base/loop.h"
#include "base/mem.h"
#include "base/own.h"
#include "gateway/wsframe.h"
#include "tests/lib/onebox.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

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
    l = box_owner(ECHO_LINES, NULL);
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
    assert_int_equal(drip->close_code, 4503);
    agentlink_refused(silent, "unavailable", 4503);
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

#define T(name) cmocka_unit_test_teardown(name, box_teardown)

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
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
