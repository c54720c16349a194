/*
 * Tests how an open connection of the gateway program ends: silence, loss,
 * half closed, draining.
 */
#include "base/frame.h"
#include "base/loop.h"
#include "gateway/wsframe.h"
#include "tests/lib/gwbench.h"

#include <setjmp.h>
#include <stdarg.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

static void a_silent_client_is_dropped_and_a_live_one_not(void **state)
{
    struct wspeer *c, *a, *live, *live_agent;
    char sid[ID_SIZE];
    int64_t began;

    (void)state;
    bench_run("--ping-ms=100", "--dead-ms=300", NULL);
    began = loop_now_ms();
    c = bench_pair(&a, sid);
    live = bench_pair(&live_agent, sid);
    while (loop_now_ms() - began < 1000) {
        struct wspeer *all[] = {a, live, live_agent};

        for (int i = 0; i < 3; i++) { /* all but c answer pings */
            struct wsmsg m;

            if (wspeer_more(all[i], 5) <= 0 && all[i]->in_len == 0)
                continue;
            while (all[i]->in_len && wspeer_recv(all[i], &m))
                if (m.opcode == WSFRAME_PING)
                    wspeer_send(all[i], WSFRAME_PONG, "", 0);
                else if (m.opcode == WSFRAME_CLOSE)
                    goto told;
        }
    }
    fail_msg("the silent client was not dropped");
told:
    assert_in_range(loop_now_ms() - began, 350, 900);
    wspeer_send_numbered(live, 5, 50);
    wspeer_expect_numbered(live_agent, 5, 50);
    wspeer_free(c);
    wspeer_free(a);
    wspeer_free(live);
    wspeer_free(live_agent);
}

static void a_silent_agent_is_lost(void **state)
{
    struct wspeer *c, *a;
    char sid[ID_SIZE];
    int64_t until = loop_now_ms() + 2000;

    (void)state;
    bench_run("--agent-ping-ms=100", "--dead-ms=200", "--agent-lost-ms=50");
    c = bench_pair(&a, sid);
    while (loop_now_ms() < until) {
        struct wsmsg m;

        if (wspeer_more(c, 10) <= 0 && c->in_len == 0)
            continue;
        if (c->in_len > 2 && c->in[0] == (0x80 | WSFRAME_BINARY))
            break;
        assert_true(wspeer_recv(c, &m));
        wspeer_send(c, WSFRAME_PONG, "", 0);
    }
    free(wspeer_refused(c, "agent_lost", 4502));
    wspeer_free(c);
    wspeer_free(a);
}

static void half_closed_connections_have_a_limit(void **state)
{
    struct wspeer *c, *a;
    char sid[ID_SIZE];

    (void)state;
    bench_run("--half-close-ms=400", NULL, NULL);
    /* the client is done; the agent's answer still arrives; then it is over */
    c = bench_pair(&a, sid);
    wspeer_send_numbered(c, 1, 100);
    shutdown(c->fd, SHUT_WR);
    wspeer_expect_numbered(a, 1, 100);
    assert_int_equal(wspeer_more(a, 1000), -1); /* the agent sees the end */
    wspeer_send_numbered(a, 2, 100);
    wspeer_expect_numbered(c, 2, 100);
    assert_true(wspeer_ends(c, 1000)); /* though the agent never follows */
    wspeer_free(c);
    wspeer_free(a);
    /* a close frame that nobody follows up */
    c = bench_pair(&a, sid);
    wspeer_send(c, WSFRAME_CLOSE, "\x03\xe8", 2);
    assert_true(wspeer_ends(c, 1000));
    assert_true(wspeer_ends(a, 1000));
    wspeer_free(c);
    wspeer_free(a);
}

static void a_lost_agent_is_told_apart_from_an_end(void **state)
{
    struct wspeer *c, *a;
    char sid[ID_SIZE], *text;
    int64_t began;

    (void)state;
    bench_run("--agent-lost-ms=800", NULL, NULL);
    c = bench_pair(&a, sid);
    wspeer_reset(a);
    poll(NULL, 0, 200);
    bench_end(bench, sid); /* the controller writes it a moment later */
    began = loop_now_ms();
    text = wspeer_refused(c, "session_ended", 4410);
    assert_true(loop_now_ms() - began < 400);
    assert_non_null(strstr(text, "\"exit_code\":7"));
    free(text);
    wspeer_free(c);
    c = bench_pair(&a, sid);
    began = loop_now_ms();
    wspeer_free(a);
    free(wspeer_refused(c, "agent_lost", 4502));
    assert_in_range(loop_now_ms() - began, 700, 2000);
    wspeer_free(c);
    /* lost inside a message: no ERROR fits, the bare end is left */
    c = bench_pair(&a, sid);
    wspeer_write(a, "\x82\x7e\x04\x00half", 8);
    wspeer_free(a);
    assert_true(wspeer_ends(c, 2000));
    assert_null(memmem(c->in, c->in_len, "agent_lost", 10));
    wspeer_free(c);
}

static void expect_move(struct wspeer *c)
{
    struct wsmsg m;

    assert_true(wspeer_recv(c, &m));
    assert_int_equal(m.opcode, WSFRAME_BINARY);
    assert_int_equal(m.len, 1);
    assert_int_equal(m.bytes[0], FRAME_MOVE);
}

static void sigterm_moves_clients_and_has_a_deadline(void **state)
{
    struct wspeer *c, *a, *half, *half_agent, *pending;
    char sid[ID_SIZE], cold[ID_SIZE];
    int64_t began;

    (void)state;
    bench_run("--drain-ms=600", NULL, NULL);
    c = bench_pair(&a, sid);
    half = bench_pair(&half_agent, sid);
    bench_session(bench, STATE_PENDING, cold);
    pending = bench_attach(bench, cold);
    poll(NULL, 0, 50);
    /* one is inside a message when the signal comes */
    wspeer_write(half_agent,
                 "\x82\x0a"
                 "12345",
                 7);
    poll(NULL, 0, 50);
    began = loop_now_ms();
    kill(bench->pid, SIGTERM);
    expect_move(c);
    wspeer_closed(pending, 1012);
    wspeer_write(half_agent, "67890", 5);
    {
        struct wsmsg m;

        assert_true(wspeer_recv(half, &m));
        assert_int_equal(m.len, 10);
        assert_memory_equal(m.bytes, "1234567890", 10);
    }
    expect_move(half);
    assert_false(bench_listens(bench)); /* nobody new is let in */
    wspeer_send_numbered(a, 3,
                         1000); /* the old leg carries data until the end */
    wspeer_expect_numbered(c, 3, 1000);
    wspeer_closed(c, 1012);
    wspeer_closed(half, 1012);
    wspeer_free(c);
    wspeer_free(half);
    wspeer_free(pending);
    assert_int_equal(bench_wait(bench, 5000), 0);
    assert_in_range(loop_now_ms() - began, 550, 2000);
    wspeer_free(a);
    wspeer_free(half_agent);
}

static void an_idle_gateway_leaves_at_once(void **state)
{
    (void)state;
    bench_run(NULL, NULL, NULL);
    assert_int_equal(bench_stop(bench, 500), 0);
}

static void a_second_signal_does_not_wait(void **state)
{
    struct wspeer *c, *a;
    char sid[ID_SIZE];

    (void)state;
    bench_run(NULL, NULL, NULL);
    c = bench_pair(&a, sid);
    kill(bench->pid, SIGTERM);
    expect_move(c);
    kill(bench->pid, SIGINT);
    assert_int_equal(bench_wait(bench, 1000), 0);
    assert_true(wspeer_ends(c, 500));
    wspeer_free(c);
    wspeer_free(a);
}

static void several_may_share_a_port(void **state)
{
    pid_t first;
    char listen[80];

    (void)state;
    bench_run("--listen=127.0.0.1:0", NULL, NULL);
    first = bench->pid;
    snprintf(listen, sizeof(listen), "--listen=%s", bench->addr);
    bench_run(listen, NULL, NULL); /* fails the test when it does not start */
    assert_int_equal(bench_stop(bench, 1000), 0);
    bench->pid = first;
    assert_int_equal(bench_stop(bench, 1000), 0);
}

#define T(f) cmocka_unit_test_setup_teardown(f, bench_setup, bench_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(a_silent_client_is_dropped_and_a_live_one_not),
        T(a_silent_agent_is_lost),
        T(half_closed_connections_have_a_limit),
        T(a_lost_agent_is_told_apart_from_an_end),
        T(sigterm_moves_clients_and_has_a_deadline),
        T(an_idle_gateway_leaves_at_once),
        T(a_second_signal_does_not_wait),
        T(several_may_share_a_port),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
