/*
 * Tests the gateway program from outside: the real binary, a store the test
 * fills, a fake agent that speaks TLS-PSK. This file: admission, waiting,
 * dialling, refusals. test_relay.c: the open connection.
 */
#include "base/frame.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/seal.h"
#include "gateway/wsframe.h"
#include "tests/lib/forge.h"
#include "tests/lib/gwbench.h"

#include <setjmp.h>
#include <stdarg.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

static struct bench *b;

static int setup(void **state)
{
    (void)state;
    b = bench_new();
    return 0;
}

static int teardown(void **state)
{
    struct bench *mine = b;

    (void)state;
    b = NULL;
    return bench_free(mine) ? 0 : -1;
}

static void start(const char *a1, const char *a2, const char *a3)
{
    const char *const args[] = {a1, a2, a3, NULL};

    bench_start(b, args);
}

static int64_t now_ms(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* An upgraded client that has said nothing. */
static struct wspeer *client(void)
{
    struct wspeer *c = wspeer_dial(b->addr, NULL);

    wspeer_upgrade(c, b->addr, "");
    return c;
}

static void attach_text(struct wspeer *c, const char *token)
{
    char *hello = mem_printf("{\"token\":\"%s\"}", token);

    wspeer_binary(c, FRAME_HELLO, hello);
    free(hello);
}

/* Attach with these claims and expect to be refused; the ERROR's text. */
static char *refused(const struct session_claims *claims, const char *word,
                     int code)
{
    struct wspeer *c = client();
    char *token = bench_token(b, claims), *text;

    attach_text(c, token);
    text = wspeer_refused(c, word, code);
    wspeer_free(c);
    free(token);
    return text;
}

/* --- plain HTTP --- */

/* Send one request, read all; the status. */
static int http(const char *request, char **body)
{
    struct wspeer *c = wspeer_dial(b->addr, NULL);
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
    start(NULL, NULL, NULL);
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
    start(NULL, NULL, NULL);
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
    start("--metrics-listen=127.0.0.1:0", "--hosts=only.this:1", NULL);
    log = fopen(b->log_path, "r");
    port = mem_zero(65536, 1);
    port[fread(port, 1, 65535, log)] = 0;
    fclose(log);
    at = strstr(port, "\"metrics\":\"127.0.0.1:");
    assert_non_null(at);
    snprintf(line, sizeof(line), "%.5s", at + 21);
    line[strspn(line, "0123456789")] = 0;
    strcat(addr, line);
    memcpy(b->addr, addr, sizeof(addr));
    free(port);
    assert_int_equal(http(GET("/livez"), NULL), 200);
    assert_int_equal(http(GET("/metrics"), NULL), 200);
    assert_int_equal(http(GET("/v1/attach"), NULL), 404);
}

static int upgrade_status(const char *host, const char *extra)
{
    struct wspeer *c = wspeer_dial(b->addr, NULL);
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
    start("--hosts=localhost:8081,127.0.0.1:8081",
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
    start(NULL, NULL, NULL);
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
    start(NULL, NULL, NULL);
    bench_session(b, STATE_RUNNING, sid);
    hello = bench_hello(b, sid);
    c = client();
    wspeer_binary(c, FRAME_HELLO, hello);
    a = bench_accept(b, &got);
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
    start(NULL, NULL, NULL);
    bench_session(b, STATE_RUNNING, sid);
    hello = bench_hello(b, sid);
    len = strlen(hello) + 1;
    half = len / 2;
    c = client();
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
    a = bench_accept(b, &got);
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
    int64_t began = now_ms();
    char *text;

    (void)state;
    start("--hello-ms=500", NULL, NULL);
    began = now_ms();
    mute = wspeer_dial(b->addr, NULL);
    head = wspeer_dial(b->addr, NULL);
    wspeer_puts(head, "GET /v1/attach HTTP/1.1\r\nHost: x\r\n");
    drip = client();
    c = client();
    for (int i = 0; i < 30; i++) { /* a drip does not move the deadline */
        wspeer_try_write(drip, "\x8a\x80zzzz", 6, 10);
        poll(NULL, 0, 10);
    }
    assert_true(wspeer_ends(mute, 1000));
    assert_true(wspeer_ends(head, 1000));
    text = wspeer_refused(c, "bad_request", 4400);
    free(text);
    free(wspeer_refused(drip, "bad_request", 4400));
    assert_in_range(now_ms() - began, 450, 1500);
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
    start(NULL, NULL, NULL);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct wspeer *c = client();

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
    start(NULL, NULL, NULL);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        c = client();
        wspeer_binary(c, FRAME_HELLO, bad[i]);
        free(wspeer_refused(c, "bad_request", 4400));
        wspeer_free(c);
    }
    c = client();
    wspeer_binary(c, FRAME_INPUT, "........x");
    free(wspeer_refused(c, "bad_request", 4400));
    wspeer_free(c);
    c = client();
    wspeer_send(c, WSFRAME_CLOSE, "\x03\xe8", 2); /* a polite goodbye */
    wspeer_closed(c, 1000);
    wspeer_free(c);
}

/* --- tokens --- */

static void bad_tokens_are_refused(void **state)
{
    struct session_claims c;
    struct wspeer *peer;
    char sid[ID_SIZE], *token, *head, *hs;

    (void)state;
    start(NULL, NULL, NULL);
    bench_session(b, STATE_RUNNING, sid);
    c = bench_claims(sid, ROLE_OWNER);
    strcpy(c.aud, "another");
    free(refused(&c, "token", 4401));
    c = bench_claims(sid, ROLE_OWNER);
    strcpy(c.iss, "https://else.test");
    free(refused(&c, "token", 4401));
    c = bench_claims(sid, ROLE_OWNER);
    c.iat = c.nbf -= 200;
    c.exp -= 200;
    free(refused(&c, "token", 4401));
    /* the HS256 attack, and the same payload under another typ */
    c = bench_claims(sid, ROLE_OWNER);
    token = bench_token(b, &c);
    head = forge_head(b->signer, "JWT");
    hs = forge_token(b->signer, head, "{}");
    peer = client();
    attach_text(peer, hs);
    free(wspeer_refused(peer, "token", 4401));
    wspeer_free(peer);
    peer = client();
    attach_text(peer, "not.a.token");
    free(wspeer_refused(peer, "token", 4401));
    wspeer_free(peer);
    /* one character of the signature */
    token[strlen(token) - 20] ^= 1;
    peer = client();
    attach_text(peer, token);
    free(wspeer_refused(peer, "token", 4401));
    wspeer_free(peer);
    assert_null(bench_accept_tcp(b, 50)); /* nothing was dialled */
    free(token);
    free(head);
    free(hs);
}

static void a_token_is_spent_once(void **state)
{
    char sid[ID_SIZE], *hello;
    struct wspeer *c, *a, *again;

    (void)state;
    start(NULL, NULL, NULL);
    bench_session(b, STATE_RUNNING, sid);
    hello = bench_hello(b, sid);
    c = client();
    wspeer_binary(c, FRAME_HELLO, hello);
    a = bench_accept(b, NULL);
    again = client();
    wspeer_binary(again, FRAME_HELLO, hello);
    free(wspeer_refused(again, "token", 4401));
    assert_null(bench_accept_tcp(b, 50));
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
    start(NULL, NULL, NULL);
    bench_session(b, STATE_RUNNING, sid);
    random_id(none);
    c = bench_claims(none, ROLE_OWNER);
    free(refused(&c, "denied", 4403));
    c = bench_claims(sid, ROLE_OWNER);
    strcpy(c.sub, "user-2");
    free(refused(&c, "denied", 4403));
    c = bench_claims(sid, ROLE_OWNER);
    c.bnd[0] = 'f';
    free(refused(&c, "denied", 4403));
    c = bench_claims(sid, ROLE_VIEWER);
    strcpy(c.sub, "user-2");
    free(refused(&c, "denied", 4403));
    bench_row(b, sid, add_viewer, (void *)"user-2");
    c = bench_claims(sid, ROLE_VIEWER);
    strcpy(c.sub, "user-2");
    token = bench_token(b, &c);
    p = client();
    attach_text(p, token);
    a = bench_accept(b, NULL);
    wspeer_free(p);
    wspeer_free(a);
    free(token);
    /* being deleted: the controller may, nobody else */
    bench_row(b, sid, want_end, NULL);
    c = bench_claims(sid, ROLE_OWNER);
    text = refused(&c, "session_ended", 4410);
    assert_non_null(strstr(text, "\"reason\":\"deleted\""));
    free(text);
    c = bench_claims(sid, ROLE_CONTROL);
    strcpy(c.sub, "controller");
    token = bench_token(b, &c);
    p = client();
    attach_text(p, token);
    a = bench_accept(b, NULL);
    wspeer_free(p);
    wspeer_free(a);
    free(token);
}

static void an_ended_session_says_how_it_ended(void **state)
{
    struct session_claims c;
    char sid[ID_SIZE], *text;

    (void)state;
    start(NULL, NULL, NULL);
    bench_session(b, STATE_RUNNING, sid);
    bench_end(b, sid);
    c = bench_claims(sid, ROLE_OWNER);
    text = refused(&c, "session_ended", 4410);
    assert_non_null(strstr(text, "\"reason\":\"exited\""));
    assert_non_null(strstr(text, "\"exit_code\":7"));
    assert_non_null(strstr(text, "\"output_end\":1234"));
    assert_non_null(strstr(text, "\"detail\":\"It was done.\""));
    free(text);
}

static void a_new_key_is_taken_up_and_an_old_one_dropped(void **state)
{
    struct token_signer *fresh, *old = b->signer;
    struct session_claims c;
    char sid[ID_SIZE], *jwks, *path = mem_printf("%s/jwks.json", b->dir);
    struct err e = {0};
    FILE *f;

    (void)state;
    start("--jwks-refresh-ms=1000", NULL, NULL);
    bench_session(b, STATE_RUNNING, sid);
    bench_end(b, sid); /* so that a good token is told so at once */
    fresh = token_signer_make(NULL, &e);
    b->signer = fresh;
    c = bench_claims(sid, ROLE_OWNER);
    free(refused(&c, "token", 4401));
    jwks = forge_jwks(fresh, NULL);
    f = fopen(path, "w");
    fputs(jwks, f);
    fclose(f);
    poll(NULL, 0, 2500);
    c = bench_claims(sid, ROLE_OWNER);
    free(refused(&c, "session_ended", 4410));
    b->signer = old;
    c = bench_claims(sid, ROLE_OWNER);
    free(refused(&c, "token", 4401));
    token_signer_free(fresh);
    free(jwks);
    free(path);
}

/* --- waiting --- */

static void stage_pulled(struct store_session *row, void *arg)
{
    store_stage_add(row, "pulled", arg, "image", row->created_ms + 42);
}

static void expect_stage(struct wspeer *c, const char *stage, const char *state)
{
    struct wsmsg m;
    struct err e = {0};
    struct json *j;

    assert_true(wspeer_recv(c, &m));
    assert_int_equal(m.opcode, WSFRAME_BINARY);
    assert_int_equal(m.bytes[0], FRAME_STAGE);
    j = json_parse(m.bytes + 1, m.len - 1, &e);
    assert_non_null(j);
    assert_string_equal(json_get_str(j, "stage"), stage);
    assert_string_equal(json_get_str(j, "state"), state);
    json_free(j);
}

static void a_pending_session_tells_its_stages_then_is_dialled(void **state)
{
    char sid[ID_SIZE];
    struct wspeer *c, *a;
    struct wsmsg m;
    int64_t began;

    (void)state;
    start(NULL, NULL, NULL);
    bench_session(b, STATE_PENDING, sid);
    bench_row(b, sid, stage_pulled, (void *)"running");
    c = bench_attach(b, sid);
    expect_stage(c, "pulled", "running");
    bench_row(b, sid, stage_pulled, (void *)"done");
    expect_stage(c, "pulled", "done");
    assert_null(bench_accept_tcp(b, 50));
    wspeer_send(c, WSFRAME_PING, "x", 1); /* pings are answered meanwhile */
    assert_true(wspeer_recv(c, &m));
    assert_int_equal(m.opcode, WSFRAME_PONG);
    began = now_ms();
    bench_address(b, sid, b->agent_addr);
    a = bench_accept(b, NULL);
    assert_true(now_ms() - began < 500);
    wspeer_binary(a, FRAME_READY, "{}");
    assert_true(wspeer_recv(c, &m));
    assert_int_equal(m.bytes[0], FRAME_READY);
    wspeer_free(c);
    wspeer_free(a);
}

static void before_ready_only_hello_may_be_sent(void **state)
{
    char sid[ID_SIZE];
    struct wspeer *c;

    (void)state;
    start(NULL, NULL, NULL);
    bench_session(b, STATE_PENDING, sid);
    c = bench_attach(b, sid);
    poll(NULL, 0, 100);
    wspeer_binary(c, FRAME_END, "");
    free(wspeer_refused(c, "bad_request", 4400));
    wspeer_free(c);
}

static void a_pending_session_that_ends_says_so(void **state)
{
    char sid[ID_SIZE];
    struct wspeer *c;

    (void)state;
    start(NULL, NULL, NULL);
    bench_session(b, STATE_PENDING, sid);
    c = bench_attach(b, sid);
    poll(NULL, 0, 50);
    bench_end(b, sid);
    free(wspeer_refused(c, "session_ended", 4410));
    wspeer_free(c);
}

static void a_token_is_not_held_until_its_end(void **state)
{
    struct session_claims claims;
    char sid[ID_SIZE], *token;
    struct wspeer *c;
    int64_t began = now_ms();

    (void)state;
    start(NULL, NULL, NULL);
    bench_session(b, STATE_PENDING, sid);
    claims = bench_claims(sid, ROLE_OWNER);
    claims.iat -= 53;
    claims.nbf -= 53;
    claims.exp -= 53; /* 7 s left: 2 s to wait with */
    token = bench_token(b, &claims);
    c = client();
    attach_text(c, token);
    free(wspeer_refused(c, "token", 4401));
    assert_in_range(now_ms() - began, 800, 4500);
    wspeer_free(c);
    free(token);
    /* nothing left to wait with: refused at once */
    claims = bench_claims(sid, ROLE_OWNER);
    claims.iat -= 57;
    claims.nbf -= 57;
    claims.exp -= 57;
    began = now_ms();
    free(refused(&claims, "token", 4401));
    assert_true(now_ms() - began < 500);
}

static void created_long_ago(struct store_session *row, void *arg)
{
    row->created_ms -= *(int *)arg;
}

static void a_session_that_does_not_start_times_out(void **state)
{
    struct session_claims claims;
    char sid[ID_SIZE];
    int ago = 60000;

    (void)state;
    start("--start-timeout-ms=30000", NULL, NULL);
    bench_session(b, STATE_PENDING, sid);
    bench_row(b, sid, created_long_ago, &ago);
    claims = bench_claims(sid, ROLE_OWNER);
    free(refused(&claims, "start_timeout", 4504));
}

/* --- dialling --- */

static void a_silent_agent_holds_nobody(void **state)
{
    char sid[ID_SIZE];
    struct wspeer *c, *a;
    int64_t began = now_ms();

    (void)state;
    start("--dial-ms=300", "--agent-lost-ms=300", NULL);
    bench_session(b, STATE_RUNNING, sid);
    began = now_ms();
    c = bench_attach(b, sid);
    a = bench_accept_tcp(b, WSPEER_MS); /* accepts and says nothing */
    assert_non_null(a);
    free(wspeer_refused(c, "agent_lost", 4502));
    assert_in_range(now_ms() - began, 550, 2000);
    assert_true(wspeer_ends(a, 1000));
    wspeer_free(c);
    wspeer_free(a);
}

static void a_client_that_leaves_while_we_dial_is_noticed(void **state)
{
    char sid[ID_SIZE];
    struct wspeer *c, *a;

    (void)state;
    start(NULL, NULL, NULL);
    bench_session(b, STATE_RUNNING, sid);
    c = bench_attach(b, sid);
    a = bench_accept_tcp(b, WSPEER_MS);
    assert_non_null(a);
    wspeer_free(c);
    assert_true(wspeer_ends(a, 1000)); /* dial-ms is 10 s */
    wspeer_free(a);
    c = bench_attach(b, sid);
    a = bench_accept_tcp(b, WSPEER_MS);
    assert_non_null(a);
    wspeer_reset(c);
    assert_true(wspeer_ends(a, 1000));
    wspeer_free(a);
}

static void an_agent_with_another_key_gets_no_byte_of_the_token(void **state)
{
    char sid[ID_SIZE];
    struct wspeer *c, *a;

    (void)state;
    start("--agent-lost-ms=200", NULL, NULL);
    bench_session(b, STATE_RUNNING, sid);
    b->agent_key[0] ^= 1; /* the agent's key is not the store's */
    c = bench_attach(b, sid);
    a = bench_accept_tcp(b, WSPEER_MS);
    assert_non_null(a);
    a->tls = tls_accept(b->agent_ctx, a->fd);
    assert_false(wspeer_shake(a));
    free(wspeer_refused(c, "agent_lost", 4502));
    wspeer_free(c);
    wspeer_free(a);
}

static void an_agent_that_is_no_websocket_is_lost(void **state)
{
    static const char *const answers[] = {
        "HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
        "Connection: Upgrade\r\nSec-WebSocket-Accept: "
        "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
        "hello\n",
    };
    char sid[ID_SIZE];

    (void)state;
    start("--agent-lost-ms=100", NULL, NULL);
    bench_session(b, STATE_RUNNING, sid);
    for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
        struct wspeer *c = bench_attach(b, sid);
        struct wspeer *a = bench_accept_tcp(b, WSPEER_MS);

        assert_non_null(a);
        a->tls = tls_accept(b->agent_ctx, a->fd);
        assert_true(wspeer_shake(a));
        free(wspeer_head(a));
        wspeer_puts(a, answers[i]);
        free(wspeer_refused(c, "agent_lost", 4502));
        wspeer_free(c);
        wspeer_free(a);
    }
}

static void an_address_outside_the_networks_is_never_dialled(void **state)
{
    char sid[ID_SIZE];
    struct wspeer *c;

    (void)state;
    start("--agent-cidrs=10.0.0.0/8", NULL, NULL);
    bench_session(b, STATE_RUNNING, sid);
    c = bench_attach(b, sid);
    free(wspeer_refused(c, "unavailable", 4503));
    assert_null(bench_accept_tcp(b, 100));
    assert_true(bench_logged(b, "--agent-cidrs", 1000));
    wspeer_free(c);
}

static void spoil_key(struct store_session *row, void *arg)
{
    (void)arg;
    row->psk_sealed[30] ^= 1;
}

static void a_key_that_does_not_open_is_never_used(void **state)
{
    char sid[ID_SIZE];
    struct wspeer *c;

    (void)state;
    start(NULL, NULL, NULL);
    bench_session(b, STATE_RUNNING, sid);
    bench_row(b, sid, spoil_key, NULL);
    c = bench_attach(b, sid);
    free(wspeer_refused(c, "unavailable", 4503));
    assert_null(bench_accept_tcp(b, 50));
    wspeer_free(c);
}

/* --- caps --- */

static void the_oldest_unproven_of_an_address_goes_first(void **state)
{
    struct wspeer *c[4], *other;

    (void)state;
    start("--unproven-per-address=3", NULL, NULL);
    other = wspeer_dial(b->addr, "127.0.0.2:0");
    for (int i = 0; i < 4; i++) {
        c[i] = wspeer_dial(b->addr, NULL);
        poll(NULL, 0, 20);
    }
    assert_true(wspeer_ends(c[0], 500));
    for (int i = 1; i < 4; i++)
        assert_false(wspeer_ends(c[i], 20));
    assert_false(wspeer_ends(other, 20)); /* older, but not of that address */
    for (int i = 0; i < 4; i++)
        wspeer_free(c[i]);
    wspeer_free(other);
}

static void the_oldest_unproven_of_all_goes_first(void **state)
{
    struct wspeer *c[6];

    (void)state;
    start("--unproven-max=5", NULL, NULL);
    for (int i = 0; i < 6; i++) {
        char from[32];

        snprintf(from, sizeof(from), "127.0.0.%d:0", 10 + i);
        c[i] = wspeer_dial(b->addr, from);
        poll(NULL, 0, 20);
    }
    assert_true(wspeer_ends(c[0], 500));
    assert_false(wspeer_ends(c[1], 20));
    for (int i = 0; i < 6; i++)
        wspeer_free(c[i]);
}

static void attachments_are_capped(void **state)
{
    char sid[ID_SIZE];
    struct wspeer *c, *a, *d;

    (void)state;
    start("--attached-per-user=1", NULL, NULL);
    bench_session(b, STATE_RUNNING, sid);
    c = bench_open(b, sid, &a);
    d = bench_attach(b, sid);
    free(wspeer_refused(d, "busy", 4429));
    wspeer_free(d);
    wspeer_free(c);
    assert_true(wspeer_ends(a, 2000));
    wspeer_free(a);
    poll(NULL, 0, 50);
    c = bench_open(b, sid, &a); /* and given back */
    wspeer_free(c);
    wspeer_free(a);
}

static void behind_a_trusted_proxy_the_clients_count(void **state)
{
    char sid[ID_SIZE], *hello;
    struct wspeer *p[3], *a[2];
    char far[700];
    const char *const xff[] = {
        "X-Forwarded-For: 9.9.9.9, 198.51.100.1\r\n",
        "X-Forwarded-For: 9.9.9.9, 198.51.100.2\r\n",
        far, /* what the client itself put there does not help it */
    };

    memset(far, 0, sizeof(far));
    strcpy(far, "X-Forwarded-For: ");
    memset(far + strlen(far), '7', 600);
    strcat(far, ", 198.51.100.1\r\n");

    (void)state;
    start("--attached-per-address=1", "--trusted-proxies=127.0.0.1/32", NULL);
    bench_session(b, STATE_RUNNING, sid);
    for (int i = 0; i < 3; i++) {
        p[i] = wspeer_dial(b->addr, NULL);
        wspeer_upgrade(p[i], "x", xff[i]);
        hello = bench_hello(b, sid);
        wspeer_binary(p[i], FRAME_HELLO, hello);
        free(hello);
        if (i < 2)
            a[i] = bench_accept(b, NULL);
    }
    free(wspeer_refused(p[2], "busy", 4429));
    for (int i = 0; i < 3; i++)
        wspeer_free(p[i]);
    wspeer_free(a[0]);
    wspeer_free(a[1]);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
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
        T(bad_tokens_are_refused),
        T(a_token_is_spent_once),
        T(claims_must_fit_the_row),
        T(an_ended_session_says_how_it_ended),
        T(a_new_key_is_taken_up_and_an_old_one_dropped),
        T(a_pending_session_tells_its_stages_then_is_dialled),
        T(before_ready_only_hello_may_be_sent),
        T(a_pending_session_that_ends_says_so),
        T(a_token_is_not_held_until_its_end),
        T(a_session_that_does_not_start_times_out),
        T(a_silent_agent_holds_nobody),
        T(a_client_that_leaves_while_we_dial_is_noticed),
        T(an_agent_with_another_key_gets_no_byte_of_the_token),
        T(an_agent_that_is_no_websocket_is_lost),
        T(an_address_outside_the_networks_is_never_dialled),
        T(a_key_that_does_not_open_is_never_used),
        T(the_oldest_unproven_of_an_address_goes_first),
        T(the_oldest_unproven_of_all_goes_first),
        T(attachments_are_capped),
        T(behind_a_trusted_proxy_the_clients_count),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
