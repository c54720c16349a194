/*
 * Tests the gateway program from outside until a connection is open: waiting
 * for the session's row, dialling its agent, and how many may do so.
 */
#include "base/frame.h"
#include "base/json.h"
#include "base/loop.h"
#include "base/mem.h"
#include "gateway/wsframe.h"
#include "tests/lib/gwbench.h"
#include "tests/lib/ports.h"

#include <setjmp.h>
#include <stdarg.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

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
    bench_run(NULL, NULL, NULL);
    bench_session(bench, STATE_PENDING, sid);
    bench_row(bench, sid, stage_pulled, (void *)"running");
    c = bench_attach(bench, sid);
    expect_stage(c, "pulled", "running");
    bench_row(bench, sid, stage_pulled, (void *)"done");
    expect_stage(c, "pulled", "done");
    assert_null(bench_accept_tcp(bench, 50));
    wspeer_send(c, WSFRAME_PING, "x", 1); /* pings are answered meanwhile */
    assert_true(wspeer_recv(c, &m));
    assert_int_equal(m.opcode, WSFRAME_PONG);
    began = loop_now_ms();
    bench_address(bench, sid, bench->agent_addr);
    a = bench_accept(bench, NULL);
    assert_true(loop_now_ms() - began < 500);
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
    bench_run(NULL, NULL, NULL);
    bench_session(bench, STATE_PENDING, sid);
    c = bench_attach(bench, sid);
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
    bench_run(NULL, NULL, NULL);
    bench_session(bench, STATE_PENDING, sid);
    c = bench_attach(bench, sid);
    poll(NULL, 0, 50);
    bench_end(bench, sid);
    free(wspeer_refused(c, "session_ended", 4410));
    wspeer_free(c);
}

static void a_token_is_not_held_until_its_end(void **state)
{
    struct session_claims claims;
    char sid[ID_SIZE], *token;
    struct wspeer *c;
    int64_t began = loop_now_ms();

    (void)state;
    bench_run(NULL, NULL, NULL);
    bench_session(bench, STATE_PENDING, sid);
    claims = bench_claims(sid, ROLE_OWNER);
    claims.iat -= 53;
    claims.nbf -= 53;
    claims.exp -= 53; /* 7 s left: 2 s to wait with */
    token = bench_token(bench, &claims);
    c = bench_client();
    bench_attach_token(c, token);
    free(wspeer_refused(c, "token", 4401));
    assert_in_range(loop_now_ms() - began, 800, 4500);
    wspeer_free(c);
    free(token);
    /* nothing left to wait with: refused at once */
    claims = bench_claims(sid, ROLE_OWNER);
    claims.iat -= 57;
    claims.nbf -= 57;
    claims.exp -= 57;
    began = loop_now_ms();
    free(bench_refused(&claims, "token", 4401));
    assert_true(loop_now_ms() - began < 500);
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
    bench_run("--start-timeout-ms=30000", NULL, NULL);
    bench_session(bench, STATE_PENDING, sid);
    bench_row(bench, sid, created_long_ago, &ago);
    claims = bench_claims(sid, ROLE_OWNER);
    free(bench_refused(&claims, "start_timeout", 4504));
}

/* --- dialling --- */

static void a_silent_agent_holds_nobody(void **state)
{
    char sid[ID_SIZE];
    struct wspeer *c, *a;
    int64_t began = loop_now_ms();

    (void)state;
    bench_run("--dial-ms=300", "--agent-lost-ms=300", NULL);
    bench_session(bench, STATE_RUNNING, sid);
    began = loop_now_ms();
    c = bench_attach(bench, sid);
    a = bench_accept_tcp(bench, WSPEER_MS); /* accepts and says nothing */
    assert_non_null(a);
    free(wspeer_refused(c, "agent_lost", 4502));
    assert_in_range(loop_now_ms() - began, 550, 2000);
    assert_true(wspeer_ends(a, 1000));
    wspeer_free(c);
    wspeer_free(a);
}

static void a_client_that_leaves_while_we_dial_is_noticed(void **state)
{
    char sid[ID_SIZE];
    struct wspeer *c, *a;

    (void)state;
    bench_run(NULL, NULL, NULL);
    bench_session(bench, STATE_RUNNING, sid);
    c = bench_attach(bench, sid);
    a = bench_accept_tcp(bench, WSPEER_MS);
    assert_non_null(a);
    wspeer_free(c);
    assert_true(wspeer_ends(a, 1000)); /* dial-ms is 10 s */
    wspeer_free(a);
    c = bench_attach(bench, sid);
    a = bench_accept_tcp(bench, WSPEER_MS);
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
    bench_run("--agent-lost-ms=200", NULL, NULL);
    bench_session(bench, STATE_RUNNING, sid);
    bench->agent_key[0] ^= 1; /* the agent's key is not the store's */
    c = bench_attach(bench, sid);
    a = bench_accept_tcp(bench, WSPEER_MS);
    assert_non_null(a);
    a->tls = tls_accept(bench->agent_ctx, a->fd);
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
    bench_run("--agent-lost-ms=100", NULL, NULL);
    bench_session(bench, STATE_RUNNING, sid);
    for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
        struct wspeer *c = bench_attach(bench, sid);
        struct wspeer *a = bench_accept_tcp(bench, WSPEER_MS);

        assert_non_null(a);
        a->tls = tls_accept(bench->agent_ctx, a->fd);
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
    bench_run("--agent-cidrs=10.0.0.0/8", NULL, NULL);
    bench_session(bench, STATE_RUNNING, sid);
    c = bench_attach(bench, sid);
    free(wspeer_refused(c, "unavailable", 4503));
    assert_null(bench_accept_tcp(bench, 100));
    assert_true(bench_logged(bench, "--agent-cidrs", 1000));
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
    bench_run(NULL, NULL, NULL);
    bench_session(bench, STATE_RUNNING, sid);
    bench_row(bench, sid, spoil_key, NULL);
    c = bench_attach(bench, sid);
    free(wspeer_refused(c, "unavailable", 4503));
    assert_null(bench_accept_tcp(bench, 50));
    wspeer_free(c);
}

/* --- caps --- */

static void the_oldest_unproven_of_an_address_goes_first(void **state)
{
    struct wspeer *c[4], *other;

    (void)state;
    bench_run("--unproven-per-address=3", NULL, NULL);
    other = wspeer_dial(bench->addr, "127.0.0.2:0");
    for (int i = 0; i < 4; i++) {
        c[i] = wspeer_dial(bench->addr, NULL);
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
    bench_run("--unproven-max=5", NULL, NULL);
    for (int i = 0; i < 6; i++) {
        char from[32];

        snprintf(from, sizeof(from), "127.0.0.%d:0", 10 + i);
        c[i] = wspeer_dial(bench->addr, from);
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
    bench_run("--attached-per-user=1", NULL, NULL);
    bench_session(bench, STATE_RUNNING, sid);
    c = bench_open(bench, sid, &a);
    d = bench_attach(bench, sid);
    free(wspeer_refused(d, "busy", 4429));
    wspeer_free(d);
    wspeer_free(c);
    assert_true(wspeer_ends(a, 2000));
    wspeer_free(a);
    poll(NULL, 0, 50);
    c = bench_open(bench, sid, &a); /* and given back */
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
    bench_run("--attached-per-address=1", "--trusted-proxies=127.0.0.1/32",
              NULL);
    bench_session(bench, STATE_RUNNING, sid);
    for (int i = 0; i < 3; i++) {
        p[i] = wspeer_dial(bench->addr, NULL);
        wspeer_upgrade(p[i], "x", xff[i]);
        hello = bench_hello(bench, sid);
        wspeer_binary(p[i], FRAME_HELLO, hello);
        free(hello);
        if (i < 2)
            a[i] = bench_accept(bench, NULL);
    }
    free(wspeer_refused(p[2], "busy", 4429));
    for (int i = 0; i < 3; i++)
        wspeer_free(p[i]);
    wspeer_free(a[0]);
    wspeer_free(a[1]);
}

/* One after the other at the same listener, each by the name it has. */
static void ipv4_and_ipv6_clients_come_to_one_listener(void **state)
{
    static const struct {
        const char *at, *logged;
    } ways[] = {{"127.0.0.1", "\"ip\":\"127.0.0.1\""},
                {"[::1]", "\"ip\":\"::1\""}};
    char port[16], sid[ID_SIZE];
    struct wspeer *c, *a, *d;

    (void)state;
    ports_need_ipv6();
    bench_run("--listen=[::]:0", "--attached-per-address=1", NULL);
    assert_int_equal(strncmp(bench->addr, "[::]:", 5), 0);
    snprintf(port, sizeof(port), "%s", strrchr(bench->addr, ':'));
    bench_session(bench, STATE_RUNNING, sid);
    for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
        snprintf(bench->addr, sizeof(bench->addr), "%s%s", ways[i].at, port);
        c = bench_open(bench, sid, &a);
        d = bench_attach(bench, sid); /* counted by its address */
        free(wspeer_refused(d, "busy", 4429));
        wspeer_free(d);
        wspeer_free(c);
        assert_true(wspeer_ends(a, 2000));
        wspeer_free(a);
        assert_true(bench_logged(bench, ways[i].logged, 1000));
    }
}

/* A proxy is known by its IPv4 address on a socket of both, too. */
static void a_trusted_proxy_comes_to_it_too(void **state)
{
    char sid[ID_SIZE], *hello, *port;
    struct wspeer *p, *a;

    (void)state;
    ports_need_ipv6();
    bench_run("--listen=[::]:0", "--trusted-proxies=127.0.0.1/32", NULL);
    port = mem_str(strrchr(bench->addr, ':'));
    snprintf(bench->addr, sizeof(bench->addr), "127.0.0.1%s", port);
    free(port);
    bench_session(bench, STATE_RUNNING, sid);
    p = wspeer_dial(bench->addr, NULL);
    wspeer_upgrade(p, "x", "X-Forwarded-For: 198.51.100.9\r\n");
    hello = bench_hello(bench, sid);
    wspeer_binary(p, FRAME_HELLO, hello);
    free(hello);
    a = bench_accept(bench, NULL);
    wspeer_free(p);
    wspeer_free(a);
    assert_true(bench_logged(bench, "\"ip\":\"198.51.100.9\"", 1000));
}

#define T(f) cmocka_unit_test_setup_teardown(f, bench_setup, bench_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
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
        T(ipv4_and_ipv6_clients_come_to_one_listener),
        T(a_trusted_proxy_comes_to_it_too),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
