/*
 * WebSocket between honest peers: our client against our server. With TLS:
 * test_ws_tls.c; HTTP: test_ws_http.c.
 */
#include "base/loop.h"
#include "tests/lib/wsends.h"

#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#include <cmocka.h>

/* --- WebSocket --- */

static void a_message_goes_there_and_back(void **state)
{
    (void)state;
    both_open();
    both.server.echo = true;
    assert_int_equal(ws_send(both.client.conn, "hello", 5), 0);
    assert_true(run_until(bed.loop, client_has_message, NULL, 2000));
    assert_int_equal(both.client.last_len, 5);
    assert_memory_equal(both.client.last, "hello", 5);
    assert_false(both.client.is_text);
    assert_int_equal(ws_conn_tag(both.server.conn), 0);
    assert_int_equal(ws_conn_peer(both.server.conn)->ss_family, AF_INET);
}

static void an_empty_message_arrives(void **state)
{
    (void)state;
    both_open();
    assert_int_equal(ws_send(both.client.conn, "", 0), 0);
    assert_true(run_until(bed.loop, server_has_message, NULL, 2000));
    assert_int_equal(both.server.last_len, 0);
}

static void the_server_streams_whole_messages(void **state)
{
    struct wsend_count c = {&both.client, 200};

    (void)state;
    both_open();
    both.server.to_write = 200;
    both.server.write_len = 65545;
    ws_want_write(both.server.conn);
    assert_true(run_until(bed.loop, wsend_has, &c, 10000));
    assert_int_equal(both.client.total, 200 * 65545);
    assert_int_equal(both.server.drains, 200);
    wsend_check_last(&both.client, 65545, 1);
}

static void the_client_streams_whole_messages(void **state)
{
    struct wsend_count c = {&both.server, 100};

    (void)state;
    both_open();
    both.client.to_write = 100;
    both.client.write_len = 32777;
    ws_want_write(both.client.conn);
    assert_true(run_until(bed.loop, wsend_has, &c, 10000));
    assert_int_equal(both.server.total, 100 * 32777);
    wsend_check_last(&both.server, 32777, 1);
}

static void queued_messages_go_before_drained(void **state)
{
    struct wsend_count c = {&both.client, 3};

    (void)state;
    both_open();
    both.server.to_write = 1;
    both.server.write_len = 10;
    ws_want_write(both.server.conn);
    ws_send(both.server.conn, "one", 3);
    ws_send(both.server.conn, "two", 3);
    assert_int_equal(ws_conn_queued(both.server.conn), 6);
    assert_int_equal(both.server.drains, 0);
    assert_true(run_until(bed.loop, wsend_has, &c, 2000));
    assert_int_equal(both.client.last_len, 10); /* drained's came last */
    assert_int_equal(ws_conn_queued(both.server.conn), 0);
}

static void the_queue_has_a_limit(void **state)
{
    static uint8_t big[WS_QUEUE_MAX];

    (void)state;
    both_open();
    assert_int_equal(ws_send(both.server.conn, big, sizeof(big) - 1), 0);
    assert_int_equal(ws_send(both.server.conn, big, 1), 0);
    assert_int_equal(ws_send(both.server.conn, big, 1), -1);
    assert_int_equal(ws_conn_queued(both.server.conn), WS_QUEUE_MAX);
}

static void closing_flushes_and_tells_both_ends(void **state)
{
    (void)state;
    both_open();
    ws_send(both.server.conn, "last words", 10);
    ws_close(both.server.conn, 4403, "denied");
    ws_close(both.server.conn, 4400, "no effect");
    assert_int_equal(ws_send(both.server.conn, "x", 1), -1);
    assert_true(run_until(bed.loop, both_are_closed, NULL, 3000));
    assert_int_equal(both.client.messages, 1);
    assert_int_equal(both.client.code, 4403);
    assert_int_equal(both.server.code, 4403);
    assert_int_equal(both.client.closed, 1);
    assert_int_equal(both.server.closed, 1);
    assert_string_equal(both.client.reason, "");
    assert_int_equal(ws_server_conns(bed.server), 0);
}

static void aborting_is_told_as_1006(void **state)
{
    (void)state;
    both_open();
    ws_abort(both.client.conn);
    assert_int_equal(both.client.closed, 0); /* from the loop alone */
    assert_true(run_until(bed.loop, both_are_closed, NULL, 3000));
    assert_int_equal(both.client.code, 1006);
    assert_int_equal(both.server.code, 1006);
}

static void a_refused_opening_is_not_told_closed(void **state)
{
    const struct ws_server_conf conf = both_conf();
    struct ws_dial_conf d;

    (void)state;
    both.server.refuse = true;
    bed_serve(&conf);
    d = both_dial_conf();
    both_dial(&d);
    assert_true(run_until(bed.loop, client_is_closed, NULL, 3000));
    run_for(bed.loop, 50);
    assert_int_equal(both.server.opened, 1);
    assert_int_equal(both.server.closed, 0);
    assert_int_equal(ws_server_conns(bed.server), 0);
}

static void a_paused_end_reads_nothing_and_loses_nothing(void **state)
{
    struct wsend_count c = {&both.server, 50};

    (void)state;
    both_open();
    ws_pause(both.server.conn);
    both.client.to_write = 50;
    both.client.write_len = 32777;
    ws_want_write(both.client.conn);
    run_for(bed.loop, 200);
    assert_int_equal(both.server.messages, 0);
    ws_resume(both.server.conn);
    assert_true(run_until(bed.loop, wsend_has, &c, 5000));
    assert_int_equal(both.server.total, 50 * 32777);
    wsend_check_last(&both.server, 32777, 1);
}

static void headers_are_seen_in_opened(void **state)
{
    const struct ws_server_conf conf = both_conf();
    struct ws_dial_conf d;

    (void)state;
    bed_serve(&conf);
    d = both_dial_conf();
    d.origin = "http://localhost:1";
    both_dial(&d);
    assert_true(run_until(bed.loop, both_are_open, NULL, 3000));
    assert_string_equal(both.server.origin, "http://localhost:1");
    assert_string_equal(both.server.authorization, "-");
    assert_null(ws_conn_header(both.server.conn, "origin")); /* too late */
}

static void a_dial_nobody_answers_fails_with_a_reason(void **state)
{
    struct ws_server_conf conf = both_conf();
    struct ws_dial_conf d;

    (void)state;
    bed_serve(&conf);
    d = both_dial_conf();
    ws_server_stop_accepting(bed.server);
    both_dial(&d);
    assert_true(run_until(bed.loop, client_is_closed, NULL, 3000));
    assert_int_equal(both.client.opened, 0);
    assert_int_equal(both.client.code, 1006);
    assert_true(strlen(both.client.reason) > 0);
}

static void count_handle(uv_handle_t *h, void *count)
{
    (void)h;
    ++*(int *)count;
}

static int handles(void)
{
    int n = 0;

    uv_walk(loop_uv(bed.loop), count_handle, &n);
    return n;
}

/* Handles of the loop that 20 dials to an address without a host leave. */
static int left_by_dials(const char *address)
{
    struct ws_server_conf conf = both_conf();
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(9)};
    struct ws_dial_conf d;
    int before = 0;

    bed_serve(&conf);
    d = both_dial_conf();
    ws_server_stop_accepting(bed.server);
    if (address) {
        assert_int_equal(inet_pton(AF_INET, address, &at.sin_addr), 1);
        d.addr = (struct sockaddr *)&at;
    }
    for (int i = 0; i <= 20; i++) {
        both_dial(&d);
        assert_true(run_until(bed.loop, client_is_closed, NULL, 3000));
        both.client.closed = 0;
        run_for(bed.loop, 3); /* what is closing is gone after a turn */
        if (i == 0)           /* the first one makes what all need */
            before = handles();
    }
    return handles() - before;
}

static void refused_dials_leave_nothing_in_the_loop(void **state)
{
    (void)state;
    assert_int_equal(left_by_dials(NULL), 0);
}

/* connect(2) itself fails, as it does when a refusal comes at once. */
static void impossible_dials_leave_nothing_in_the_loop(void **state)
{
    (void)state;
    assert_int_equal(left_by_dials("224.0.0.1"), 0);
}

static void a_dial_without_an_answer_times_out(void **state)
{
    struct ws_server_conf conf = both_conf();
    struct err e = {0};
    struct ws_dial_conf d;
    struct sockaddr_in at;
    const int silent = listen_tcp("127.0.0.1:0", false, &e);
    socklen_t len = sizeof(at);

    (void)state;
    bed_serve(&conf);
    d = both_dial_conf();
    assert_int_equal(getsockname(silent, (struct sockaddr *)&at, &len), 0);
    d.addr = (struct sockaddr *)&at;
    d.timeout_ms = 200;
    both_dial(&d);
    assert_true(run_until(bed.loop, client_is_closed, NULL, 2000));
    assert_string_equal(both.client.reason, "timed out");
    close(silent);
}

static void a_dial_may_be_given_up(void **state)
{
    struct ws_server_conf conf = both_conf();
    struct ws_dial_conf d;

    (void)state;
    bed_serve(&conf);
    d = both_dial_conf();
    both_dial(&d);
    ws_abort(both.client.conn);
    assert_true(run_until(bed.loop, client_is_closed, NULL, 2000));
    assert_int_equal(both.client.opened, 0);
    assert_int_equal(both.client.closed, 1);
}

static void bad_dials_are_refused_at_once(void **state)
{
    struct ws_server_conf conf = both_conf();
    struct ws_dial_conf d;
    struct err e = {0};

    (void)state;
    bed_serve(&conf);
    d = both_dial_conf();
    d.host = "a\r\nx-injected: b";
    assert_null(ws_dial(bed.ws, &d, &e));
    assert_int_equal(e.kind, ERR_INPUT);
    d = both_dial_conf();
    d.path = "/a b";
    assert_null(ws_dial(bed.ws, &d, &e));
    d = both_dial_conf();
    d.message_max = 0;
    assert_null(ws_dial(bed.ws, &d, &e));
    assert_int_equal(both.client.closed, 0);
}

static void freeing_the_context_tells_the_open_ends(void **state)
{
    (void)state;
    both_open();
    ws_server_free(bed.server);
    assert_int_equal(both.server.closed, 1);
    bed.server = NULL;
    ws_context_free(bed.ws);
    bed.ws = NULL;
    assert_int_equal(both.client.closed, 1);
    assert_int_equal(both.server.closed, 1);
}

/* --- pings --- */

static struct ws_server_conf quick_conf(void)
{
    struct ws_server_conf conf = both_conf();

    conf.ping_ms = 50;
    conf.dead_ms = 150;
    return conf;
}

static void a_silent_but_living_peer_stays(void **state)
{
    const struct ws_server_conf conf = quick_conf();
    struct ws_dial_conf d;

    (void)state;
    bed_serve(&conf);
    d = both_dial_conf();
    both_dial(&d);
    assert_true(run_until(bed.loop, both_are_open, NULL, 3000));
    run_for(bed.loop, 600);
    assert_int_equal(both.server.closed, 0);
}

static void a_dead_peer_is_pinged_and_dropped(void **state)
{
    const struct ws_server_conf conf = quick_conf();
    struct peer *p;

    (void)state;
    bed_serve(&conf);
    p = bed_attach();
    assert_true(peer_wait_closed(p, 2000));
    assert_memory_equal(p->in, "\x89\x01.", 3);
    run_for(bed.loop, 20);
    assert_int_equal(both.server.closed, 1);
    assert_int_equal(both.server.code, 1006);
    peer_free(p);
}

static void a_pong_keeps_a_peer(void **state)
{
    const struct ws_server_conf conf = quick_conf();
    struct peer *p;
    unsigned char frame[16];
    const size_t len = peer_frame(frame, 0x8a, ".", 1);

    (void)state;
    bed_serve(&conf);
    p = bed_attach();
    for (int i = 0; i < 5; i++) {
        peer_clear(p);
        assert_true(peer_wait_len(p, 3, 1000));
        peer_send(p, frame, len);
    }
    assert_int_equal(both.server.closed, 0);
    peer_free(p);
}

static void a_paused_peer_is_not_dead(void **state)
{
    const struct ws_server_conf conf = quick_conf();
    struct peer *p;

    (void)state;
    bed_serve(&conf);
    p = bed_attach();
    ws_pause(both.server.conn);
    run_for(bed.loop, 500);
    assert_int_equal(both.server.closed, 0);
    ws_resume(both.server.conn);
    assert_true(peer_wait_closed(p, 2000));
    peer_free(p);
}

static void stopping_to_accept_keeps_connections(void **state)
{
    (void)state;
    both_open();
    ws_server_stop_accepting(bed.server);
    ws_server_stop_accepting(bed.server);
    both.server.echo = true;
    ws_send(both.client.conn, "x", 1);
    assert_true(run_until(bed.loop, client_has_message, NULL, 1000));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, both_start, both_stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_message_goes_there_and_back),
        TEST(an_empty_message_arrives),
        TEST(the_server_streams_whole_messages),
        TEST(the_client_streams_whole_messages),
        TEST(queued_messages_go_before_drained),
        TEST(the_queue_has_a_limit),
        TEST(closing_flushes_and_tells_both_ends),
        TEST(aborting_is_told_as_1006),
        TEST(a_refused_opening_is_not_told_closed),
        TEST(a_paused_end_reads_nothing_and_loses_nothing),
        TEST(headers_are_seen_in_opened),
        TEST(a_dial_nobody_answers_fails_with_a_reason),
        TEST(refused_dials_leave_nothing_in_the_loop),
        TEST(impossible_dials_leave_nothing_in_the_loop),
        TEST(a_dial_without_an_answer_times_out),
        TEST(a_dial_may_be_given_up),
        TEST(bad_dials_are_refused_at_once),
        TEST(freeing_the_context_tells_the_open_ends),
        TEST(a_silent_but_living_peer_stays),
        TEST(a_dead_peer_is_pinged_and_dropped),
        TEST(a_pong_keeps_a_peer),
        TEST(a_paused_peer_is_not_dead),
        TEST(stopping_to_accept_keeps_connections),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
