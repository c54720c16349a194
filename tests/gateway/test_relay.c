/*
 * Tests the gateway program with an open connection: bytes whole in both
 * directions, injection, backpressure, TLS. test_relay_end.c: how it ends.
 */
#include "base/frame.h"
#include "base/loop.h"
#include "base/mem.h"
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

#include <cmocka.h>

/* A sanitizer keeps freed memory for a while. */
#ifdef __SANITIZE_ADDRESS__
#define MEMORY_KB (256 * 1024)
#else
#define MEMORY_KB 1024
#endif

static const size_t sizes[] = {1, 2, 9, 125, 126, 127, 4096, 16384, 32777};
#define SIZES (sizeof(sizes) / sizeof(sizes[0]))

static void bytes_pass_whole_in_both_directions(void **state)
{
    struct wspeer *c, *a;
    char sid[ID_SIZE];

    (void)state;
    bench_run(NULL, NULL, NULL);
    c = bench_pair(&a, sid);
    for (uint32_t i = 0; i < 300; i++) {
        wspeer_send_numbered(c, i, sizes[i % SIZES]);
        wspeer_send_numbered(a, i + 1000, sizes[(i * 7) % SIZES]);
        wspeer_expect_numbered(a, i, sizes[i % SIZES]);
        wspeer_expect_numbered(c, i + 1000, sizes[(i * 7) % SIZES]);
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
    bench_run(NULL, NULL, NULL);
    c = bench_pair(&a, sid);
    for (uint32_t i = 0; i < 60; i++) {
        size_t len = sizes[i % SIZES];
        size_t n = wsframe_write(frame, WSFRAME_BINARY, len, NULL);

        wspeer_fill(frame + n, len, i);
        for (size_t at = 0; at < n + len;) {
            size_t step = 1 + (size_t)rand_r(&seed) % 3000;

            if (i % 3 == 0 && len < 200)
                step = 1;
            if (step > n + len - at)
                step = n + len - at;
            wspeer_write(a, frame + at, step);
            at += step;
        }
        wspeer_expect_numbered(c, i, len);
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
    bench_run("--agent-lost-ms=100", NULL, NULL);
    c = bench_pair(&a, sid);
    wspeer_write(c, "\x81\x82zzzzhi", 8); /* text */
    wspeer_closed(c, 1003);
    assert_true(wspeer_recv(a, &m)); /* the agent is told to go, masked */
    assert_int_equal(m.opcode, WSFRAME_CLOSE);
    assert_true(wspeer_ends(a, 1000));
    wspeer_free(c);
    wspeer_free(a);
    c = bench_pair(&a, sid);
    wspeer_write(c, "\x82\xff\x00\x00\x00\x00\x00\x02\x00\x00zzzz", 14);
    wspeer_closed(c, 1009);
    wspeer_free(c);
    wspeer_free(a);
    /* an agent that breaks them is lost */
    c = bench_pair(&a, sid);
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
    bench_run("--ping-ms=50", "--dead-ms=2000", NULL);
    c = bench_pair(&a, sid);
    until = loop_now_ms() + 1500;
    while (loop_now_ms() < until || got < sent) {
        struct wsmsg m;
        uint8_t want[4200];

        if (loop_now_ms() < until && sent - got < 40) {
            wspeer_send_numbered(a, sent++, 4101);
            continue;
        }
        assert_true(wspeer_recv(c, &m));
        if (m.opcode == WSFRAME_PING) {
            pings++;
            wspeer_send(c, WSFRAME_PONG, "", 0);
            continue;
        }
        wspeer_fill(want, 4101, got++);
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
    bench_run(NULL, NULL, NULL);
    c = bench_pair(&a, sid);
    before = bench_memory_kb(bench);
    for (;;) { /* until nothing goes any more */
        n = wsframe_write(frame, WSFRAME_BINARY, sizeof(big), NULL);
        wspeer_fill(frame + n, sizeof(big), sent);
        len = n + sizeof(big);
        at = wspeer_try_write(a, frame, len, 300);
        if (at < len)
            break;
        sent++;
        assert_true(sent < 2000); /* 128 MB: nobody held anything back */
    }
    assert_true(sent > 3);
    after = bench_memory_kb(bench);
    assert_true(after - before < MEMORY_KB);
    for (uint32_t i = 0; i < sent; i++)
        wspeer_expect_numbered(c, i, sizeof(big));
    wspeer_write(a, frame + at, len - at);
    wspeer_expect_numbered(c, sent, sizeof(big));
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
    bench_run(NULL, NULL, NULL);
    c = bench_pair(&a, sid);
    c2 = bench_pair(&a2, sid);
    before = bench_memory_kb(bench);
    for (;;) { /* the agent reads nothing */
        static const uint8_t mask[4] = {1, 2, 3, 4};
        uint8_t frame[sizeof(big) + 14];
        size_t n = wsframe_write(frame, WSFRAME_BINARY, sizeof(big), mask);

        memset(frame + n, 0, sizeof(big));
        if (wspeer_try_write(c, frame, n + sizeof(big), 300) < n + sizeof(big))
            break;
        assert_true(++sent < 4000);
    }
    assert_true(bench_memory_kb(bench) - before < MEMORY_KB);
    cpu = bench_cpu_us(bench);
    poll(NULL, 0, 500);
    assert_true(bench_cpu_us(bench) - cpu < 100000); /* and costs no core */
    wspeer_send_numbered(c2, 1, 500);
    wspeer_expect_numbered(a2, 1, 500);
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
    bench_run("--half-close-ms=300", NULL, NULL);
    c = bench_pair(&a, sid);
    for (; sent < 30; sent++) { /* 2 MB, and gone */
        n = wsframe_write(frame, WSFRAME_BINARY, sizeof(big), NULL);
        wspeer_fill(big, sizeof(big), sent);
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
        wspeer_expect_numbered(c, i, sizeof(big));
    wspeer_closed(c, 1000);
    wspeer_free(c);
    wspeer_free(a);
}

/* A client over TLS, checked against the CA of that name. */
static struct wspeer *tls_client(const char *name)
{
    char *ca = mem_printf("%s/%s-ca.pem", bench->dir, name);
    struct err e = {0};
    struct ssl_ctx_st *ctx = tls_client_ctx(ca, &e);
    struct wspeer *c = wspeer_dial(bench->addr, NULL);

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
    bench_session(bench, STATE_RUNNING, sid);
    hello = bench_hello(bench, sid);
    wspeer_upgrade(c, "localhost", "");
    wspeer_binary(c, FRAME_HELLO, hello);
    free(hello);
    *agent = bench_accept(bench, NULL);
    return c;
}

static void rename_cert(const char *from)
{
    static const char *const kinds[] = {".pem", ".key"};

    for (int i = 0; i < 2; i++) {
        char *a = mem_printf("%s/%s%s", bench->dir, from, kinds[i]);
        char *z = mem_printf("%s/live%s", bench->dir, kinds[i]);

        assert_return_code(rename(a, z), 0);
        free(a);
        free(z);
    }
}

static void start_tls(const char *more)
{
    char *cert = mem_printf("--tls-cert=%s/live.pem", bench->dir);
    char *key = mem_printf("--tls-key=%s/live.key", bench->dir);

    certs_make(bench->dir, "one", "DNS:localhost");
    certs_make(bench->dir, "two", "DNS:localhost");
    rename_cert("one");
    bench_run(cert, key, more);
    free(cert);
    free(key);
}

static void clients_may_come_over_tls(void **state)
{
    struct wspeer *c, *a, *plain, *mute;

    (void)state;
    start_tls("--hello-ms=1000");
    mute = wspeer_dial(bench->addr, NULL); /* never says a TLS word */
    c = tls_open("one", &a);
    for (uint32_t i = 0; i < 200; i++) {
        wspeer_send_numbered(c, i, sizes[i % SIZES]);
        wspeer_send_numbered(a, i + 1000, sizes[(i * 7) % SIZES]);
        wspeer_expect_numbered(a, i, sizes[i % SIZES]);
        wspeer_expect_numbered(c, i + 1000, sizes[(i * 7) % SIZES]);
    }
    plain = wspeer_dial(bench->addr, NULL);
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
    kill(bench->pid, SIGHUP);
    for (int i = 0; i < 100 && !d; i++) {
        d = tls_client("two");
        poll(NULL, 0, 20);
    }
    assert_non_null(d);
    assert_null(tls_client("one"));
    wspeer_send_numbered(c, 1, 5000); /* who was there stays */
    wspeer_expect_numbered(a, 1, 5000);
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
    bench_run("--attached-per-user=1000", NULL, NULL);
    bench_session(bench, STATE_RUNNING, sid);
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < MANY; i++)
            c[i] = bench_open(bench, sid, &a[i]);
        for (uint32_t i = 0; i < MANY; i++)
            wspeer_send_numbered(c[i], i, 300);
        for (uint32_t i = 0; i < MANY; i++)
            wspeer_expect_numbered(a[i], i, 300);
        for (int i = 0; i < MANY; i++) {
            if (i % 3 == 0)
                wspeer_reset(c[i]);
            else
                wspeer_free(c[i]);
            assert_true(wspeer_ends(a[i], 2000));
            wspeer_free(a[i]);
        }
        after = bench_memory_kb(bench);
        if (round == 0)
            before = after;
        else
            assert_true(after - before <
                        2 * MEMORY_KB); /* nothing is left behind */
    }
}

#define T(f) cmocka_unit_test_setup_teardown(f, bench_setup, bench_teardown)

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
        T(clients_may_come_over_tls),
        T(a_renewed_certificate_is_taken_up),
        T(many_come_and_go),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
