/*
 * Tests the gateway program from outside: the real binary, a store the test
 * fills, a fake agent that speaks TLS-PSK. This file: plain requests, HELLO,
 * tokens. test_gateway_wait.c: waiting and dialling. test_relay.c: the open
 * connection.
 */
#include "base/frame.h"
#include "base/loop.h"
#include "base/mem.h"
#include "base/seal.h"
#include "gateway/wsframe.h"
#include "tests/lib/forge.h"
#include "tests/lib/gwbench.h"

#include <setjmp.h>
#include <stdarg.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* --- plain HTTP --- */

/* Send one request, read all; the status. */
static int http(const char *request, char **body)
{
    struct wspeer *c = wspeer_dial(bench->addr, NULL);
    int status = 0;

    wspeer_puts(c, request);
    while (wspeer_more(c, WSPEER_MS) > 0)
        continue;
    assert_true(c->in_len > 12);
    status = atoi((char *)c->in + 9);
    if (body)
        *body = mem_strn((char *)c->in, c->in_len);
    wspeer_free(c);
    return status;
}

#define GET(path) "GET " path " HTTP/1.1\r\nHost: x\r\n\r\n"

static void plain_requests_get_short_answers(void **state)
{
    char *body;

    (void)state;
    bench_run(NULL, NULL, NULL);
    assert_int_equal(http(GET("/livez"), NULL), 200);
    for (int i = 0; i < 200 && http(GET("/readyz"), NULL) != 200; i++)
        poll(NULL, 0, 10);
    assert_int_equal(http(GET("/readyz"), NULL), 200);
    assert_int_equal(http(GET("/metrics"), &body), 200);
    assert_non_null(strstr(body, "podterm_gateway_connections_total"));
    assert_non_null(strstr(body, "podterm_gateway_refusals_total{code="));
    free(body);
    /* what comes through a proxy on this machine is not this machine */
    assert_int_equal(http("GET /metrics HTTP/1.1\r\nHost: x\r\n"
                          "X-Forwarded-For: 1.2.3.4\r\n\r\n",
                          NULL),
                     404);
    assert_int_equal(http(GET("/"), NULL), 404);
    assert_int_equal(http(GET("/v1/attach"), NULL), 426);
    assert_int_equal(http("POST / HTTP/1.1\r\nHost: x\r\n\r\n", NULL), 405);
    assert_int_equal(http("GET / HTTP/1.0\r\nHost: x\r\n\r\n", NULL), 505);
    assert_int_equal(http("GET /livez HTTP/1.1\r\nHost: x\r\n\r\nmore", NULL),
                     400);
    assert_int_equal(http("\x16\x03\x01\x02\x05\x01", NULL), 400);
}

static void a_head_has_a_largest_size(void **state)
{
    char *text = mem_zero(9000, 1);

    (void)state;
    bench_run(NULL, NULL, NULL);
    snprintf(text, 9000, "GET / HTTP/1.1\r\nHost: x\r\nX: ");
    memset(text + strlen(text), 'a', 8192 - strlen(text));
    assert_int_equal(http(text, NULL), 431);
    free(text);
}

static void metrics_have_a_port_of_their_own(void **state)
{
    char *port = NULL, *at, addr[64] = "127.0.0.1:";
    char line[64];
    FILE *log;

    (void)state;
    bench_run("--metrics-listen=127.0.0.1:0", "--hosts=only.this:1", NULL);
    log = fopen(bench->log_path, "r");
    port = mem_zero(65536, 1);
    port[fread(port, 1, 65535, log)] = 0;
    fclose(log);
    at = strstr(port, "\"metrics\":\"127.0.0.1:");
    assert_non_null(at);
    snprintf(line, sizeof(line), "%.5s", at + 21);
    line[strspn(line, "0123456789")] = 0;
    strcat(addr, line);
    memcpy(bench->addr, addr, sizeof(addr));
    free(port);
    assert_int_equal(http(GET("/livez"), NULL), 200);
    assert_int_equal(http(GET("/metrics"), NULL), 200);
    assert_int_equal(http(GET("/v1/attach"), NULL), 404);
}

static int upgrade_status(const char *host, const char *extra)
{
    struct wspeer *c = wspeer_dial(bench->addr, NULL);
    char *head;
    int status;

    wspeer_ask(c, host, extra);
    head = wspeer_head(c);
    assert_non_null(head);
    status = atoi(head + 9);
    free(head);
    wspeer_free(c);
    return status;
}

static void only_known_hosts_and_origins_are_answered(void **state)
{
    (void)state;
    bench_run("--hosts=localhost:8081,127.0.0.1:8081",
              "--origins=http://localhost:8080", NULL);
    assert_int_equal(upgrade_status("localhost:8081", ""), 101);
    assert_int_equal(upgrade_status("LOCALHOST:8081", ""), 101);
    assert_int_equal(upgrade_status("localhost:8082", ""), 421);
    assert_int_equal(upgrade_status("rebound.example:8081", ""), 421);
    assert_int_equal(
        upgrade_status("localhost:8081", "Origin: http://localhost:8080\r\n"),
        101);
    assert_int_equal(
        upgrade_status("localhost:8081", "Origin: http://evil.test\r\n"), 403);
    assert_int_equal(upgrade_status("localhost:8081", "Origin: null\r\n"), 403);
    assert_int_equal(http(GET("/livez"), NULL), 421);
}

static void without_a_list_no_browser_may_attach(void **state)
{
    (void)state;
    bench_run(NULL, NULL, NULL);
    assert_int_equal(upgrade_status("x", ""), 101);
    assert_int_equal(upgrade_status("x", "Origin: http://x\r\n"), 403);
}

/* --- HELLO --- */

static void hello_reaches_the_agent_as_it_came(void **state)
{
    char sid[ID_SIZE], *hello, *got;
    struct wspeer *c, *a;
    struct wsmsg m;

    (void)state;
    bench_run(NULL, NULL, NULL);
    bench_session(bench, STATE_RUNNING, sid);
    hello = bench_hello(bench, sid);
    c = bench_client();
    wspeer_binary(c, FRAME_HELLO, hello);
    a = bench_accept(bench, &got);
    assert_string_equal(got, hello);
    wspeer_binary(a, FRAME_READY, "{}");
    assert_true(wspeer_recv(c, &m));
    assert_int_equal(m.bytes[0], FRAME_READY);
    wspeer_free(c);
    wspeer_free(a);
    free(hello);
    free(got);
}

static void hello_may_come_byte_by_byte_and_in_fragments(void **state)
{
    uint8_t frame[2048], mask[4] = {1, 2, 3, 4};
    char sid[ID_SIZE], *hello, *got;
    struct wspeer *c, *a;
    size_t len, half, n;

    (void)state;
    bench_run(NULL, NULL, NULL);
    bench_session(bench, STATE_RUNNING, sid);
    hello = bench_hello(bench, sid);
    len = strlen(hello) + 1;
    half = len / 2;
    c = bench_client();
    /* first half as a fragment, byte by byte, with a ping behind it */
    n = wsframe_write(frame, WSFRAME_BINARY, half, mask);
    frame[0] = WSFRAME_BINARY;
    frame[n] = FRAME_HELLO;
    memcpy(frame + n + 1, hello, half - 1);
    wsframe_mask(frame + n, half, mask);
    for (size_t i = 0; i < n + half; i++) {
        wspeer_write(c, frame + i, 1);
        if (i % 16 == 0)
            poll(NULL, 0, 1);
    }
    wspeer_send(c, WSFRAME_PING, "are you there", 13);
    n = wsframe_write(frame, WSFRAME_CONTINUATION, len - half, mask);
    memcpy(frame + n, hello + half - 1, len - half);
    wsframe_mask(frame + n, len - half, mask);
    wspeer_write(c, frame, n + len - half);
    a = bench_accept(bench, &got);
    assert_string_equal(got, hello);
    {
        struct wsmsg m;

        assert_true(wspeer_recv(c, &m));
        assert_int_equal(m.opcode, WSFRAME_PONG);
        assert_memory_equal(m.bytes, "are you there", 13);
    }
    wspeer_free(c);
    wspeer_free(a);
    free(hello);
    free(got);
}

static void who_says_nothing_is_sent_away_in_time(void **state)
{
    struct wspeer *mute, *head, *c, *drip;
    int64_t began = loop_now_ms();
    char *text;

    (void)state;
    bench_run("--hello-ms=500", NULL, NULL);
    began = loop_now_ms();
    mute = wspeer_dial(bench->addr, NULL);
    head = wspeer_dial(bench->addr, NULL);
    wspeer_puts(head, "GET /v1/attach HTTP/1.1\r\nHost: x\r\n");
    drip = bench_client();
    c = bench_client();
    for (int i = 0; i < 30; i++) { /* a drip does not move the deadline */
        wspeer_try_write(drip, "\x8a\x80zzzz", 6, 10);
        poll(NULL, 0, 10);
    }
    assert_true(wspeer_ends(mute, 1000));
    assert_true(wspeer_ends(head, 1000));
    text = wspeer_refused(c, "unavailable", 4503);
    free(text);
    free(wspeer_refused(drip, "unavailable", 4503));
    assert_in_range(loop_now_ms() - began, 450, 1500);
    wspeer_free(mute);
    wspeer_free(head);
    wspeer_free(c);
    wspeer_free(drip);
}

static void broken_frames_end_with_their_code(void **state)
{
    static const struct {
        const char *bytes;
        size_t len;
        int code;
    } cases[] = {
        {"\x81\x82zzzzhi", 8, 1003},
        {"\x82\x02hi", 4, 1002},           /* not masked */
        {"\xc2\x80zzzz", 6, 1002},         /* RSV */
        {"\x80\x80zzzz", 6, 1002},         /* continues nothing */
        {"\x82\xfe\xff\xffzzzz", 8, 1009}, /* 65535 bytes of HELLO */
        {"\x82\xff\x3f\xff\xff\xff\xff\xff\xff\xffzzzz", 14, 1009},
    };

    (void)state;
    bench_run(NULL, NULL, NULL);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct wspeer *c = bench_client();

        wspeer_write(c, cases[i].bytes, cases[i].len);
        wspeer_closed(c, cases[i].code);
        wspeer_free(c);
    }
}

static void what_is_no_hello_is_a_bad_request(void **state)
{
    static const char *const bad[] = {
        "",
        "{}",
        "[]",
        "{\"token\":7}",
        "{\"token\":\"x\",\"cols\":0}",
        "{\"token\":\"x\",\"rows\":1001}",
        "{\"token\":\"x\",\"cols\":1.5}",
        "{\"token\":\"x\",\"output_from\":-1}",
        "{\"token\":\"x\",\"more\":1}",
        "{\"token\":\"x\",\"token\":\"x\"}",
        "{\"token\":\"x\"}x",
    };
    struct wspeer *c;

    (void)state;
    bench_run(NULL, NULL, NULL);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        c = bench_client();
        wspeer_binary(c, FRAME_HELLO, bad[i]);
        free(wspeer_refused(c, "bad_request", 4400));
        wspeer_free(c);
    }
    c = bench_client();
    wspeer_binary(c, FRAME_INPUT, "........x");
    free(wspeer_refused(c, "bad_request", 4400));
    wspeer_free(c);
}

static void a_goodbye_is_answered_with_its_code_alone(void **state)
{
    static const struct {
        const char *body;
        size_t len;
        int code;
    } cases[] = {
        {"\x03\xe8", 2, 1000},
        {"\x0f\xa1"
         "bye",
         5, 4001},
        {"\x03\xe8\xff\xfe", 4, 1000}, /* no UTF-8: nothing for us to send */
        {"\x03\xed", 2, 1002},         /* 1005 and 1006 are never sent */
        {"\x03\xee", 2, 1002},
        {"\x00\x01", 2, 1002},
        {"\x13\x88", 2, 1002}, /* 5000 */
    };

    (void)state;
    bench_run(NULL, NULL, NULL);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct wspeer *c = bench_client();

        wspeer_send(c, WSFRAME_CLOSE, cases[i].body, cases[i].len);
        wspeer_closed(c, cases[i].code);
        wspeer_free(c);
    }
}

/* --- tokens --- */

static void bad_tokens_are_refused(void **state)
{
    struct session_claims c;
    struct wspeer *peer;
    char sid[ID_SIZE], *token, *head, *hs;

    (void)state;
    bench_run(NULL, NULL, NULL);
    bench_session(bench, STATE_RUNNING, sid);
    c = bench_claims(sid, ROLE_OWNER);
    strcpy(c.aud, "another");
    free(bench_refused(&c, "token", 4401));
    c = bench_claims(sid, ROLE_OWNER);
    strcpy(c.iss, "https://else.test");
    free(bench_refused(&c, "token", 4401));
    c = bench_claims(sid, ROLE_OWNER);
    c.iat = c.nbf -= 200;
    c.exp -= 200;
    free(bench_refused(&c, "token", 4401));
    /* the HS256 attack, and the same payload under another typ */
    c = bench_claims(sid, ROLE_OWNER);
    token = bench_token(bench, &c);
    head = forge_head(bench->signer, "JWT");
    hs = forge_token(bench->signer, head, "{}");
    peer = bench_client();
    bench_attach_token(peer, hs);
    free(wspeer_refused(peer, "token", 4401));
    wspeer_free(peer);
    peer = bench_client();
    bench_attach_token(peer, "not.a.token");
    free(wspeer_refused(peer, "token", 4401));
    wspeer_free(peer);
    /* one character of the signature */
    token[strlen(token) - 20] ^= 1;
    peer = bench_client();
    bench_attach_token(peer, token);
    free(wspeer_refused(peer, "token", 4401));
    wspeer_free(peer);
    assert_null(bench_accept_tcp(bench, 50)); /* nothing was dialled */
    free(token);
    free(head);
    free(hs);
}

static void a_token_is_spent_once(void **state)
{
    char sid[ID_SIZE], *hello;
    struct wspeer *c, *a, *again;

    (void)state;
    bench_run(NULL, NULL, NULL);
    bench_session(bench, STATE_RUNNING, sid);
    hello = bench_hello(bench, sid);
    c = bench_client();
    wspeer_binary(c, FRAME_HELLO, hello);
    a = bench_accept(bench, NULL);
    again = bench_client();
    wspeer_binary(again, FRAME_HELLO, hello);
    free(wspeer_refused(again, "token", 4401));
    assert_null(bench_accept_tcp(bench, 50));
    wspeer_free(again);
    wspeer_free(c);
    wspeer_free(a);
    free(hello);
}

static void add_viewer(struct store_session *row, void *arg)
{
    strcpy(row->viewers[0], arg);
}

static void want_end(struct store_session *row, void *arg)
{
    (void)arg;
    row->end_wanted = true;
}

static void claims_must_fit_the_row(void **state)
{
    struct session_claims c;
    struct wspeer *p, *a;
    char sid[ID_SIZE], none[ID_SIZE], *token, *text;

    (void)state;
    bench_run(NULL, NULL, NULL);
    bench_session(bench, STATE_RUNNING, sid);
    random_id(none);
    c = bench_claims(none, ROLE_OWNER);
    free(bench_refused(&c, "denied", 4403));
    c = bench_claims(sid, ROLE_OWNER);
    strcpy(c.sub, "user-2");
    free(bench_refused(&c, "denied", 4403));
    c = bench_claims(sid, ROLE_OWNER);
    c.bnd[0] = 'f';
    free(bench_refused(&c, "denied", 4403));
    c = bench_claims(sid, ROLE_VIEWER);
    strcpy(c.sub, "user-2");
    free(bench_refused(&c, "denied", 4403));
    bench_row(bench, sid, add_viewer, (void *)"user-2");
    c = bench_claims(sid, ROLE_VIEWER);
    strcpy(c.sub, "user-2");
    token = bench_token(bench, &c);
    p = bench_client();
    bench_attach_token(p, token);
    a = bench_accept(bench, NULL);
    wspeer_free(p);
    wspeer_free(a);
    free(token);
    /* being deleted: nobody new */
    bench_row(bench, sid, want_end, NULL);
    c = bench_claims(sid, ROLE_OWNER);
    text = bench_refused(&c, "session_ended", 4410);
    assert_non_null(strstr(text, "\"reason\":\"deleted\""));
    free(text);
}

/* Signed by the controller, for this session, in the owner's name: the agent
 * behind would obey it. */
static void control_does_not_pass_this_door(void **state)
{
    static const char *const subs[] = {"controller", "user-1"};
    struct session_claims c;
    char sid[ID_SIZE];

    (void)state;
    bench_run(NULL, NULL, NULL);
    bench_session(bench, STATE_RUNNING, sid);
    for (int i = 0; i < 4; i++) {
        if (i == 2) /* while it is being deleted, too */
            bench_row(bench, sid, want_end, NULL);
        c = bench_claims(sid, ROLE_CONTROL);
        strcpy(c.sub, subs[i % 2]);
        free(bench_refused(&c, "denied", 4403));
    }
}

static void an_ended_session_says_how_it_ended(void **state)
{
    struct session_claims c;
    char sid[ID_SIZE], *text;

    (void)state;
    bench_run(NULL, NULL, NULL);
    bench_session(bench, STATE_RUNNING, sid);
    bench_end(bench, sid);
    c = bench_claims(sid, ROLE_OWNER);
    text = bench_refused(&c, "session_ended", 4410);
    assert_non_null(strstr(text, "\"reason\":\"exited\""));
    assert_non_null(strstr(text, "\"exit_code\":7"));
    assert_non_null(strstr(text, "\"output_end\":1234"));
    assert_non_null(strstr(text, "\"detail\":\"It was done.\""));
    free(text);
}

static void a_new_key_is_taken_up_and_an_old_one_dropped(void **state)
{
    struct token_signer *fresh, *old = bench->signer;
    struct session_claims c;
    char sid[ID_SIZE], *jwks, *path = mem_printf("%s/jwks.json", bench->dir);
    struct err e = {0};
    FILE *f;

    (void)state;
    bench_run("--jwks-refresh-ms=1000", NULL, NULL);
    bench_session(bench, STATE_RUNNING, sid);
    bench_end(bench, sid); /* so that a good token is told so at once */
    fresh = token_signer_make(NULL, &e);
    bench->signer = fresh;
    c = bench_claims(sid, ROLE_OWNER);
    free(bench_refused(&c, "token", 4401));
    jwks = forge_jwks(fresh, NULL);
    f = fopen(path, "w");
    fputs(jwks, f);
    fclose(f);
    poll(NULL, 0, 2500);
    c = bench_claims(sid, ROLE_OWNER);
    free(bench_refused(&c, "session_ended", 4410));
    bench->signer = old;
    c = bench_claims(sid, ROLE_OWNER);
    free(bench_refused(&c, "token", 4401));
    token_signer_free(fresh);
    free(jwks);
    free(path);
}

#define T(f) cmocka_unit_test_setup_teardown(f, bench_setup, bench_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(plain_requests_get_short_answers),
        T(a_head_has_a_largest_size),
        T(metrics_have_a_port_of_their_own),
        T(only_known_hosts_and_origins_are_answered),
        T(without_a_list_no_browser_may_attach),
        T(hello_reaches_the_agent_as_it_came),
        T(hello_may_come_byte_by_byte_and_in_fragments),
        T(who_says_nothing_is_sent_away_in_time),
        T(broken_frames_end_with_their_code),
        T(what_is_no_hello_is_a_bad_request),
        T(a_goodbye_is_answered_with_its_code_alone),
        T(bad_tokens_are_refused),
        T(a_token_is_spent_once),
        T(claims_must_fit_the_row),
        T(control_does_not_pass_this_door),
        T(an_ended_session_says_how_it_ended),
        T(a_new_key_is_taken_up_and_an_old_one_dropped),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
