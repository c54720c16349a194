/*
 * Tests the gateway program with an open connection: bytes whole in both
 * directions, injection, backpressure, silence, loss, draining, TLS.
 */
#include "base/frame.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/seal.h"
#include "gateway/wsframe.h"
#include "tests/lib/certs.h"
#include "tests/lib/gwbench.h"

#include <setjmp.h>
#include <stdarg.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

/* A sanitizer keeps freed memory for a while. */
#ifdef __SANITIZE_ADDRESS__
#define MEMORY_KB (256 * 1024)
#else
#define MEMORY_KB 1024
#endif

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

static struct wspeer *open_pair(struct wspeer **agent, char sid[ID_SIZE])
{
    bench_session(b, STATE_RUNNING, sid);
    return bench_open(b, sid, agent);
}

/* A message of len bytes that tells its number and is checked by it. */
static void fill(uint8_t *m, size_t len, uint32_t number)
{
    m[0] = FRAME_OUTPUT;
    for (size_t i = 1; i < len; i++)
        m[i] = (uint8_t)((number * 2654435761u + i * 40503u) >> 7);
}

static void send_numbered(struct wspeer *p, uint32_t number, size_t len)
{
    uint8_t *m = mem_zero(len, 1);

    fill(m, len, number);
    wspeer_send(p, WSFRAME_BINARY, m, len);
    free(m);
}

static void expect_numbered(struct wspeer *p, uint32_t number, size_t len)
{
    uint8_t *want = mem_zero(len, 1);
    struct wsmsg m;

    do {
        assert_true(wspeer_recv(p, &m));
    } while (m.opcode == WSFRAME_PING || m.opcode == WSFRAME_PONG);
    fill(want, len, number);
    assert_int_equal(m.opcode, WSFRAME_BINARY);
    assert_int_equal(m.len, len);
    assert_memory_equal(m.bytes, want, len);
    free(want);
}

static const size_t sizes[] = {1, 2, 9, 125, 126, 127, 4096, 16384, 32777};
#define SIZES (sizeof(sizes) / sizeof(sizes[0]))

static void bytes_pass_whole_in_both_directions(void **state)
{
    struct wspeer *c, *a;
    char sid[ID_SIZE];

    (void)state;
    start(NULL, NULL, NULL);
    c = open_pair(&a, sid);
    for (uint32_t i = 0; i < 300; i++) {
        send_numbered(c, i, sizes[i % SIZES]);
        send_numbered(a, i + 1000, sizes[(i * 7) % SIZES]);
        expect_numbered(a, i, sizes[i % SIZES]);
        expect_numbered(c, i + 1000, sizes[(i * 7) % SIZES]);
    }
    /* a close goes through as it is, then both ends */
    wspeer_send(a, WSFRAME_CLOSE, "\x03\xe8", 2);
    wspeer_free(a);
    wspeer_closed(c, 1000);
    wspeer_free(c);
}

static void frames_survive_any_cut(void **state)
{
    struct wspeer *c, *a;
    uint8_t frame[70000];
    char sid[ID_SIZE];
    unsigned seed = 5;

    (void)state;
    start(NULL, NULL, NULL);
    c = open_pair(&a, sid);
    for (uint32_t i = 0; i < 60; i++) {
        size_t len = sizes[i % SIZES];
        size_t n = wsframe_write(frame, WSFRAME_BINARY, len, NULL);

        fill(frame + n, len, i);
        for (size_t at = 0; at < n + len;) {
            size_t step = 1 + (size_t)rand_r(&seed) % 3000;

            if (i % 3 == 0 && len < 200)
                step = 1;
            if (step > n + len - at)
                step = n + len - at;
            wspeer_write(a, frame + at, step);
            at += step;
        }
        expect_numbered(c, i, len);
    }
    wspeer_free(c);
    wspeer_free(a);
}

static void broken_frames_go_no_further(void **state)
{
    struct wspeer *c, *a;
    char sid[ID_SIZE];
    struct wsmsg m;

    (void)state;
    start("--agent-lost-ms=100", NULL, NULL);
    c = open_pair(&a, sid);
    wspeer_write(c, "\x81\x82zzzzhi", 8); /* text */
    wspeer_closed(c, 1003);
    assert_true(wspeer_recv(a, &m)); /* the agent is told to go, masked */
    assert_int_equal(m.opcode, WSFRAME_CLOSE);
    assert_true(wspeer_ends(a, 1000));
    wspeer_free(c);
    wspeer_free(a);
    c = open_pair(&a, sid);
    wspeer_write(c, "\x82\xff\x00\x00\x00\x00\x00\x02\x00\x00zzzz", 14);
    wspeer_closed(c, 1009);
    wspeer_free(c);
    wspeer_free(a);
    /* an agent that breaks them is lost */
    c = open_pair(&a, sid);
    wspeer_write(a, "\x82\x82zzzzhi", 8);
    free(wspeer_refused(c, "agent_lost", 4502));
    wspeer_free(c);
    wspeer_free(a);
}

/* A flood from the agent, pings put in by the gateway: every frame whole. */
static void our_pings_fall_between_messages(void **state)
{
    struct wspeer *c, *a;
    char sid[ID_SIZE];
    uint32_t sent = 0, got = 0;
    int pings = 0;
    int64_t until;

    (void)state;
    start("--ping-ms=50", "--dead-ms=2000", NULL);
    c = open_pair(&a, sid);
    until = now_ms() + 1500;
    while (now_ms() < until || got < sent) {
        struct wsmsg m;
        uint8_t want[4200];

        if (now_ms() < until && sent - got < 40) {
            send_numbered(a, sent++, 4101);
            continue;
        }
        assert_true(wspeer_recv(c, &m));
        if (m.opcode == WSFRAME_PING) {
            pings++;
            wspeer_send(c, WSFRAME_PONG, "", 0);
            continue;
        }
        fill(want, 4101, got++);
        assert_int_equal(m.len, 4101);
        assert_memory_equal(m.bytes, want, 4101);
    }
    assert_true(pings >= 10);
    assert_true(got > 200);
    wspeer_free(c);
    wspeer_free(a);
}

static void a_slow_reader_costs_bounded_memory(void **state)
{
    static uint8_t big[65545];
    struct wspeer *c, *a;
    char sid[ID_SIZE];
    long before, after;
    uint8_t *frame = mem_zero(sizeof(big) + 14, 1);
    size_t n, at = 0, len;
    uint32_t sent = 0;

    (void)state;
    start(NULL, NULL, NULL);
    c = open_pair(&a, sid);
    before = bench_memory_kb(b);
    for (;;) { /* until nothing goes any more */
        n = wsframe_write(frame, WSFRAME_BINARY, sizeof(big), NULL);
        fill(frame + n, sizeof(big), sent);
        len = n + sizeof(big);
        at = wspeer_try_write(a, frame, len, 300);
        if (at < len)
            break;
        sent++;
        assert_true(sent < 2000); /* 128 MB: nobody held anything back */
    }
    assert_true(sent > 3);
    after = bench_memory_kb(b);
    assert_true(after - before < MEMORY_KB);
    for (uint32_t i = 0; i < sent; i++)
        expect_numbered(c, i, sizeof(big));
    wspeer_write(a, frame + at, len - at);
    expect_numbered(c, sent, sizeof(big));
    wspeer_free(c);
    wspeer_free(a);
    free(frame);
}

static void a_stalled_agent_stops_its_client_and_nobody_else(void **state)
{
    static uint8_t big[32777];
    struct wspeer *c, *a, *c2, *a2;
    char sid[ID_SIZE];
    int64_t cpu;
    long before;
    size_t sent = 0;

    (void)state;
    start(NULL, NULL, NULL);
    c = open_pair(&a, sid);
    c2 = open_pair(&a2, sid);
    before = bench_memory_kb(b);
    for (;;) { /* the agent reads nothing */
        static const uint8_t mask[4] = {1, 2, 3, 4};
        uint8_t frame[sizeof(big) + 14];
        size_t n = wsframe_write(frame, WSFRAME_BINARY, sizeof(big), mask);

        memset(frame + n, 0, sizeof(big));
        if (wspeer_try_write(c, frame, n + sizeof(big), 300) < n + sizeof(big))
            break;
        assert_true(++sent < 4000);
    }
    assert_true(bench_memory_kb(b) - before < MEMORY_KB);
    cpu = bench_cpu_us(b);
    poll(NULL, 0, 500);
    assert_true(bench_cpu_us(b) - cpu < 100000); /* and costs no core */
    send_numbered(c2, 1, 500);
    expect_numbered(a2, 1, 500);
    wspeer_reset(c); /* leaving is noticed although nothing is read */
    assert_true(wspeer_ends(a, 3000));
    wspeer_free(a);
    wspeer_free(c2);
    wspeer_free(a2);
}

static void the_last_output_reaches_a_slow_reader(void **state)
{
    static uint8_t big[65545];
    struct wspeer *c, *a;
    char sid[ID_SIZE];
    uint8_t frame[14];
    uint32_t sent = 0;
    size_t n;

    (void)state;
    start("--half-close-ms=300", NULL, NULL);
    c = open_pair(&a, sid);
    for (; sent < 30; sent++) { /* 2 MB, and gone */
        n = wsframe_write(frame, WSFRAME_BINARY, sizeof(big), NULL);
        fill(big, sizeof(big), sent);
        if (wspeer_try_write(a, frame, n, 200) < n)
            break;
        if (wspeer_try_write(a, big, sizeof(big), 200) < sizeof(big)) {
            fail_msg("the buffers of this machine are too small");
        }
    }
    wspeer_send(a, WSFRAME_CLOSE, "\x03\xe8", 2);
    tls_bye(a->tls);
    shutdown(a->fd, SHUT_WR);
    poll(NULL, 0, 800); /* longer than half-close-ms */
    for (uint32_t i = 0; i < sent; i++)
        expect_numbered(c, i, sizeof(big));
    wspeer_closed(c, 1000);
    wspeer_free(c);
    wspeer_free(a);
}

static void a_silent_client_is_dropped_and_a_live_one_not(void **state)
{
    struct wspeer *c, *a, *live, *live_agent;
    char sid[ID_SIZE];
    int64_t began;

    (void)state;
    start("--ping-ms=100", "--dead-ms=300", NULL);
    began = now_ms();
    c = open_pair(&a, sid);
    live = open_pair(&live_agent, sid);
    while (now_ms() - began < 1000) {
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
    assert_in_range(now_ms() - began, 350, 900);
    send_numbered(live, 5, 50);
    expect_numbered(live_agent, 5, 50);
    wspeer_free(c);
    wspeer_free(a);
    wspeer_free(live);
    wspeer_free(live_agent);
}

static void a_silent_agent_is_lost(void **state)
{
    struct wspeer *c, *a;
    char sid[ID_SIZE];
    int64_t until = now_ms() + 2000;

    (void)state;
    start("--agent-ping-ms=100", "--dead-ms=200", "--agent-lost-ms=50");
    c = open_pair(&a, sid);
    while (now_ms() < until) {
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
    start("--half-close-ms=400", NULL, NULL);
    /* the client is done; the agent's answer still arrives; then it is over */
    c = open_pair(&a, sid);
    send_numbered(c, 1, 100);
    shutdown(c->fd, SHUT_WR);
    expect_numbered(a, 1, 100);
    assert_int_equal(wspeer_more(a, 1000), -1); /* the agent sees the end */
    send_numbered(a, 2, 100);
    expect_numbered(c, 2, 100);
    assert_true(wspeer_ends(c, 1000)); /* though the agent never follows */
    wspeer_free(c);
    wspeer_free(a);
    /* a close frame that nobody follows up */
    c = open_pair(&a, sid);
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
    start("--agent-lost-ms=800", NULL, NULL);
    c = open_pair(&a, sid);
    wspeer_reset(a);
    poll(NULL, 0, 200);
    bench_end(b, sid); /* the controller writes it a moment later */
    began = now_ms();
    text = wspeer_refused(c, "session_ended", 4410);
    assert_true(now_ms() - began < 400);
    assert_non_null(strstr(text, "\"exit_code\":7"));
    free(text);
    wspeer_free(c);
    c = open_pair(&a, sid);
    began = now_ms();
    wspeer_free(a);
    free(wspeer_refused(c, "agent_lost", 4502));
    assert_in_range(now_ms() - began, 700, 2000);
    wspeer_free(c);
    /* lost inside a message: no ERROR fits, the bare end is left */
    c = open_pair(&a, sid);
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
    start("--drain-ms=600", NULL, NULL);
    c = open_pair(&a, sid);
    half = open_pair(&half_agent, sid);
    bench_session(b, STATE_PENDING, cold);
    pending = bench_attach(b, cold);
    poll(NULL, 0, 50);
    /* one is inside a message when the signal comes */
    wspeer_write(half_agent,
                 "\x82\x0a"
                 "12345",
                 7);
    poll(NULL, 0, 50);
    began = now_ms();
    kill(b->pid, SIGTERM);
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
    assert_false(bench_listens(b)); /* nobody new is let in */
    send_numbered(a, 3, 1000);      /* the old leg carries data until the end */
    expect_numbered(c, 3, 1000);
    wspeer_closed(c, 1012);
    wspeer_closed(half, 1012);
    wspeer_free(c);
    wspeer_free(half);
    wspeer_free(pending);
    assert_int_equal(bench_wait(b, 5000), 0);
    assert_in_range(now_ms() - began, 550, 2000);
    wspeer_free(a);
    wspeer_free(half_agent);
}

static void an_idle_gateway_leaves_at_once(void **state)
{
    (void)state;
    start(NULL, NULL, NULL);
    assert_int_equal(bench_stop(b, 500), 0);
}

static void a_second_signal_does_not_wait(void **state)
{
    struct wspeer *c, *a;
    char sid[ID_SIZE];

    (void)state;
    start(NULL, NULL, NULL);
    c = open_pair(&a, sid);
    kill(b->pid, SIGTERM);
    expect_move(c);
    kill(b->pid, SIGINT);
    assert_int_equal(bench_wait(b, 1000), 0);
    assert_true(wspeer_ends(c, 500));
    wspeer_free(c);
    wspeer_free(a);
}

static void several_may_share_a_port(void **state)
{
    pid_t first;
    char listen[80];

    (void)state;
    start("--listen=127.0.0.1:0", NULL, NULL);
    first = b->pid;
    snprintf(listen, sizeof(listen), "--listen=%s", b->addr);
    start(listen, NULL, NULL); /* fails the test when it does not start */
    assert_int_equal(bench_stop(b, 1000), 0);
    b->pid = first;
    assert_int_equal(bench_stop(b, 1000), 0);
}

/* A client over TLS, checked against the CA of that name. */
static struct wspeer *tls_client(const char *name)
{
    char *ca = mem_printf("%s/%s-ca.pem", b->dir, name);
    struct err e = {0};
    struct ssl_ctx_st *ctx = tls_client_ctx(ca, &e);
    struct wspeer *c = wspeer_dial(b->addr, NULL);

    assert_non_null(ctx);
    c->tls = tls_dial(ctx, c->fd, "localhost");
    tls_ctx_free(ctx);
    free(ca);
    if (wspeer_shake(c))
        return c;
    wspeer_free(c);
    return NULL;
}

static struct wspeer *tls_open(const char *name, struct wspeer **agent)
{
    struct wspeer *c = tls_client(name);
    char sid[ID_SIZE], *hello;

    assert_non_null(c);
    bench_session(b, STATE_RUNNING, sid);
    hello = bench_hello(b, sid);
    wspeer_upgrade(c, "localhost", "");
    wspeer_binary(c, FRAME_HELLO, hello);
    free(hello);
    *agent = bench_accept(b, NULL);
    return c;
}

static void rename_cert(const char *from)
{
    static const char *const kinds[] = {".pem", ".key"};

    for (int i = 0; i < 2; i++) {
        char *a = mem_printf("%s/%s%s", b->dir, from, kinds[i]);
        char *z = mem_printf("%s/live%s", b->dir, kinds[i]);

        assert_return_code(rename(a, z), 0);
        free(a);
        free(z);
    }
}

static void start_tls(const char *more)
{
    char *cert = mem_printf("--tls-cert=%s/live.pem", b->dir);
    char *key = mem_printf("--tls-key=%s/live.key", b->dir);

    certs_make(b->dir, "one", "DNS:localhost");
    certs_make(b->dir, "two", "DNS:localhost");
    rename_cert("one");
    start(cert, key, more);
    free(cert);
    free(key);
}

static void clients_may_come_over_tls(void **state)
{
    struct wspeer *c, *a, *plain, *mute;

    (void)state;
    start_tls("--hello-ms=1000");
    mute = wspeer_dial(b->addr, NULL); /* never says a TLS word */
    c = tls_open("one", &a);
    for (uint32_t i = 0; i < 200; i++) {
        send_numbered(c, i, sizes[i % SIZES]);
        send_numbered(a, i + 1000, sizes[(i * 7) % SIZES]);
        expect_numbered(a, i, sizes[i % SIZES]);
        expect_numbered(c, i + 1000, sizes[(i * 7) % SIZES]);
    }
    plain = wspeer_dial(b->addr, NULL);
    wspeer_puts(plain, "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_true(wspeer_ends(plain, 1000));
    assert_true(wspeer_ends(mute, 2000));
    wspeer_send(a, WSFRAME_CLOSE, "\x03\xe8", 2);
    wspeer_free(a);
    wspeer_closed(c, 1000);
    wspeer_free(c);
    wspeer_free(plain);
    wspeer_free(mute);
}

static void a_renewed_certificate_is_taken_up(void **state)
{
    struct wspeer *c, *a, *d = NULL;

    (void)state;
    start_tls(NULL);
    c = tls_open("one", &a);
    assert_null(tls_client("two"));
    rename_cert("two");
    kill(b->pid, SIGHUP);
    for (int i = 0; i < 100 && !d; i++) {
        d = tls_client("two");
        poll(NULL, 0, 20);
    }
    assert_non_null(d);
    assert_null(tls_client("one"));
    send_numbered(c, 1, 5000); /* who was there stays */
    expect_numbered(a, 1, 5000);
    wspeer_free(c);
    wspeer_free(a);
    wspeer_free(d);
}

#define MANY 200
static void many_come_and_go(void **state)
{
    static struct wspeer *c[MANY], *a[MANY];
    char sid[ID_SIZE];
    long before = 0, after;

    (void)state;
    start("--attached-per-user=1000", NULL, NULL);
    bench_session(b, STATE_RUNNING, sid);
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < MANY; i++)
            c[i] = bench_open(b, sid, &a[i]);
        for (uint32_t i = 0; i < MANY; i++)
            send_numbered(c[i], i, 300);
        for (uint32_t i = 0; i < MANY; i++)
            expect_numbered(a[i], i, 300);
        for (int i = 0; i < MANY; i++) {
            if (i % 3 == 0)
                wspeer_reset(c[i]);
            else
                wspeer_free(c[i]);
            assert_true(wspeer_ends(a[i], 2000));
            wspeer_free(a[i]);
        }
        after = bench_memory_kb(b);
        if (round == 0)
            before = after;
        else
            assert_true(after - before <
                        2 * MEMORY_KB); /* nothing is left behind */
    }
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
int main(void)
{
    const struct CMUnitTest tests[] = {
        T(bytes_pass_whole_in_both_directions),
        T(frames_survive_any_cut),
        T(broken_frames_go_no_further),
        T(our_pings_fall_between_messages),
        T(a_slow_reader_costs_bounded_memory),
        T(a_stalled_agent_stops_its_client_and_nobody_else),
        T(the_last_output_reaches_a_slow_reader),
        T(a_silent_client_is_dropped_and_a_live_one_not),
        T(a_silent_agent_is_lost),
        T(half_closed_connections_have_a_limit),
        T(a_lost_agent_is_told_apart_from_an_end),
        T(sigterm_moves_clients_and_has_a_deadline),
        T(an_idle_gateway_leaves_at_once),
        T(a_second_signal_does_not_wait),
        T(several_may_share_a_port),
        T(clients_may_come_over_tls),
        T(a_renewed_certificate_is_taken_up),
        T(many_come_and_go),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
