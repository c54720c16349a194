/*
 * WebSocket without delay: no packet waits to be filled, and news that come
 * from outside a connection's own events go without a turn of the loop.
 */
#include "base/mem.h"
#include "base/ws.h"
#include "tests/lib/tlskit.h"
#include "tests/lib/wsbed.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define PIECE 32768

struct end {
    struct ws_conn *conn;
    int to_write; /* messages drained has still to write */
    int written;
    int messages;
    bool is_prompt;    /* ask for drained in message, by the prompt way */
    int drains_inside; /* of them, within that call */
};

static struct end at_server, at_client;

static void *opened(void *arg, struct ws_conn *c)
{
    struct end *e = arg;

    e->conn = c;
    return e;
}

static void message(void *user, const uint8_t *bytes, size_t len, bool is_text)
{
    struct end *e = user;
    int before = e->written;

    (void)is_text;
    if (len == PIECE)
        assert_int_equal(bytes[0], (uint8_t)e->messages);
    e->messages++;
    if (e->is_prompt) {
        ws_want_write_now(e->conn);
        e->drains_inside += e->written - before;
    }
}

static void drained(void *user)
{
    static uint8_t room[WS_PRE + PIECE];
    struct end *e = user;

    if (!e->to_write)
        return;
    memset(room + WS_PRE, (uint8_t)e->written, PIECE);
    assert_int_equal(ws_write(e->conn, room + WS_PRE, PIECE), 0);
    e->written++;
    if (--e->to_write)
        ws_want_write(e->conn);
}

static void closed(void *user, int code, const char *reason)
{
    struct end *e = user;

    (void)code;
    (void)reason;
    e->conn = NULL;
}

static const struct ws_verbs verbs = {opened, message, drained, closed};

static bool both_open(void *arg)
{
    (void)arg;
    return at_server.conn && at_client.conn;
}

static bool all_came(void *arg)
{
    int *count = arg;

    return at_client.messages >= *count;
}

static void open_both(bool with_key)
{
    struct err e = {0};
    struct ws_server_conf conf = {
        .listen_fd = listen_tcp("127.0.0.1:0", false, &e),
        .psk_find = with_key ? kit_find : NULL,
        .ws_path = "/v1/attach",
        .subprotocol = "podterm.v1",
        .verbs = &verbs,
        .arg = &at_server,
        .message_max = 2 * PIECE,
    };
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct ws_dial_conf dial = {
        .addr = (struct sockaddr *)&to,
        .addr_len = sizeof(to),
        .host = "localhost",
        .path = "/v1/attach",
        .subprotocol = "podterm.v1",
        .psk_id = with_key ? KIT_ID : NULL,
        .psk_key = with_key ? kit_key : NULL,
        .verbs = &verbs,
        .arg = &at_client,
        .message_max = 2 * PIECE,
    };

    bed_serve(&conf);
    to.sin_port = htons((uint16_t)ws_server_port(bed.server));
    assert_non_null(ws_dial(bed.ws, &dial, &e));
    assert_true(run_until(bed.loop, both_open, NULL, 3000));
}

static int start(void **state)
{
    (void)state;
    at_server = at_client = (struct end){0};
    bed_start();
    return 0;
}

static int stop(void **state)
{
    (void)state;
    bed_stop();
    return 0;
}

static void no_packet_waits_to_be_filled(void **state)
{
    int found = 0;

    (void)state;
    open_both(false);
    for (int fd = 3; fd < 256; fd++) {
        struct sockaddr_in peer;
        socklen_t len = sizeof(peer), one = sizeof(int);
        int is_set = 0;

        if (getpeername(fd, (struct sockaddr *)&peer, &len) < 0 ||
            peer.sin_family != AF_INET)
            continue;
        assert_int_equal(
            getsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &is_set, &one), 0);
        assert_int_not_equal(is_set, 0);
        found++;
    }
    assert_int_equal(found, 2); /* accepted and dialled */
}

static void news_from_elsewhere_go_at_once(void **state)
{
    int wanted = 2;

    for (int with_key = 0; with_key < 2; with_key++) {
        if (with_key) {
            stop(state);
            start(state);
        }
        open_both(with_key);
        at_server.to_write = 2;
        ws_want_write_now(at_server.conn);
        assert_int_equal(at_server.written, 2); /* the loop did not turn */
        assert_true(run_until(bed.loop, all_came, &wanted, 3000));
    }
}

static void what_the_socket_does_not_take_goes_later_whole(void **state)
{
    int wanted = 2000;

    (void)state;
    open_both(true);
    ws_pause(at_client.conn);
    at_server.to_write = wanted;
    for (int i = 0; i < wanted; i++)
        ws_want_write_now(at_server.conn);
    assert_true(at_server.written < wanted); /* 64 MB fit in no socket */
    ws_resume(at_client.conn);
    /* (a loaded machine may take long over them) */
    assert_true(run_until(bed.loop, all_came, &wanted, 60000));
    assert_int_equal(at_client.messages, wanted);
}

static void inside_a_verb_it_waits_for_its_turn(void **state)
{
    int wanted = 1;

    (void)state;
    open_both(false);
    at_server.is_prompt = true;
    at_server.to_write = 1;
    assert_int_equal(ws_send(at_client.conn, "k", 1), 0);
    assert_true(run_until(bed.loop, all_came, &wanted, 3000));
    assert_int_equal(at_server.drains_inside, 0);
}

static void a_closing_connection_is_not_written_to(void **state)
{
    (void)state;
    open_both(false);
    at_server.to_write = 1;
    ws_close(at_server.conn, 1000, "");
    ws_want_write_now(at_server.conn);
    assert_int_equal(at_server.written, 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, start, stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(no_packet_waits_to_be_filled),
        TEST(news_from_elsewhere_go_at_once),
        TEST(what_the_socket_does_not_take_goes_later_whole),
        TEST(inside_a_verb_it_waits_for_its_turn),
        TEST(a_closing_connection_is_not_written_to),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
