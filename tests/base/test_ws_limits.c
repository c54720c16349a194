/*
 * Peers without a whole request keep nobody out: the shares of addresses, who
 * makes room, the one deadline, and bodies nobody asked for.
 */
#include "base/addr.h"
#include "base/ws.h"
#include "tests/lib/ports.h"
#include "tests/lib/wsbed.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define PEERS 8
#define HEAD "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n"
#define GET "GET / HTTP/1.1\r\nHost: h\r\n"
static struct {
    struct cidr_list proxies;
    struct peer *peers[PEERS];
    struct ws_request *asked[PEERS]; /* not answered yet */
    int count;
    bool answer_later;
    size_t body; /* bytes of the newest one's */
    char client[ADDR_TEXT_MAX];
} w;

static void request(void *arg, struct ws_request *r)
{
    (void)arg;
    ws_request_body(r, &w.body);
    addr_text_ip((const struct sockaddr *)ws_request_client(r), w.client);
    if (w.answer_later)
        w.asked[w.count++] = r;
    else
        ws_respond(r, 200, NULL, 0, "asked", 5);
}

static bool wants_body(void *arg, const struct ws_request *r)
{
    (void)arg;
    return ws_request_header(r, "authorization") != NULL;
}

static struct ws_server_conf base_conf(void)
{
    struct ws_server_conf conf = bed_conf();

    conf.request = request;
    conf.body_max = 100000;
    return conf;
}

/* A server that counts, and believes this proxy; at NULL = on loopback. */
static void serve_share_at(const char *at, int max, const char *proxies)
{
    struct ws_server_conf conf = base_conf();
    struct err e = {0};

    if (at) {
        close(conf.listen_fd);
        conf.listen_fd = listen_tcp(at, false, &e);
        assert_true(conf.listen_fd >= 0);
    }
    assert_int_equal(cidr_list_parse(proxies, &w.proxies, &e), 0);
    conf.conns_per_address_max = max;
    conf.trusted_proxies = &w.proxies;
    conf.proxy_hops = 1;
    bed_serve(&conf);
}

static void serve_share(int max, const char *proxies)
{
    serve_share_at(NULL, max, proxies);
}

static int start(void **state)
{
    (void)state;
    memset(&w, 0, sizeof(w));
    bed_start();
    return 0;
}

static int stop(void **state)
{
    (void)state;
    for (int i = 0; i < PEERS; i++)
        if (w.peers[i])
            peer_free(w.peers[i]);
    bed_stop();
    for (int i = 0; i < w.count; i++)
        ws_respond(w.asked[i], 200, NULL, 0, NULL, 0);
    cidr_list_fini(&w.proxies);
    return 0;
}

/* The i-th peer, from an address; it says `text`, which is then read. */
static struct peer *say(int i, const char *from, const char *text)
{
    struct peer *p = peer_dial_from(bed.loop, ws_server_port(bed.server), from);

    w.peers[i] = p;
    peer_say(p, text);
    run_for(bed.loop, 30);
    return p;
}

/* --- shares --- */

static void an_address_holds_no_more_than_its_share(void **state)
{
    (void)state;
    serve_share(3, "");
    for (int i = 0; i < 5; i++)
        say(i, "127.0.0.1", i % 2 ? HEAD "\r\n" : "GET / HT");
    for (int i = 0; i < 5; i++)
        assert_int_equal(w.peers[i]->is_closed, i < 2);
    assert_int_equal(ws_server_conns(bed.server), 3);
    assert_true(peer_wait(say(5, "127.0.0.2", GET "\r\n"), "asked", 1000));
    for (int i = 2; i < 5; i++)
        assert_false(w.peers[i]->is_closed);
}

static void what_is_being_served_is_not_dropped_for_a_share(void **state)
{
    (void)state;
    serve_share(2, "");
    w.answer_later = true;
    say(0, "127.0.0.1", GET "\r\n");
    say(1, "127.0.0.1", GET "\r\n");
    assert_int_equal(w.count, 2);
    assert_true(peer_wait_closed(say(2, "127.0.0.1", ""), 1000));
    assert_false(w.peers[0]->is_closed || w.peers[1]->is_closed);
    say(3, "127.0.0.2", GET "\r\n");
    assert_int_equal(w.count, 3);
    /* who goes gives the place back */
    ws_respond(w.asked[--w.count], 200, NULL, 0, NULL, 0);
    ws_respond(w.asked[--w.count], 200, NULL, 0, NULL, 0);
    assert_true(peer_wait_closed(w.peers[1], 1000));
    say(4, "127.0.0.1", GET "\r\n");
    assert_int_equal(w.count, 2);
}

static void without_a_share_an_address_may_hold_all(void **state)
{
    struct ws_server_conf conf = base_conf();

    (void)state;
    bed_serve(&conf);
    for (int i = 0; i < PEERS; i++)
        say(i, "127.0.0.1", "");
    assert_int_equal(ws_server_conns(bed.server), PEERS);
}

/* --- behind proxies --- */

static void clients_behind_a_trusted_proxy_have_a_share_each(void **state)
{
    (void)state;
    serve_share(2, "127.0.0.1/32");
    w.answer_later = true;
    say(0, "127.0.0.1", GET "X-Forwarded-For: 192.0.2.1\r\n\r\n");
    assert_string_equal(w.client, "192.0.2.1");
    say(1, "127.0.0.1", GET "X-Forwarded-For: 9.9.9.9, 192.0.2.1\r\n\r\n");
    assert_string_equal(w.client, "192.0.2.1");
    assert_int_equal(w.count, 2);
    say(2, "127.0.0.1", HEAD "X-Forwarded-For: 192.0.2.1\r\n\r\n");
    assert_true(peer_wait(w.peers[2], "HTTP/1.1 429 Too Many", 1000));
    assert_true(peer_wait_closed(w.peers[2], 1000));
    say(3, "127.0.0.1", GET "X-Forwarded-For: 192.0.2.2\r\n\r\n");
    assert_string_equal(w.client, "192.0.2.2");
    assert_int_equal(w.count, 3);
}

static void an_ipv6_client_is_its_64(void **state)
{
    (void)state;
    serve_share(1, "127.0.0.1/32");
    w.answer_later = true;
    say(0, "127.0.0.1", GET "X-Forwarded-For: 2001:db8:0:1::1\r\n\r\n");
    say(1, "127.0.0.1", GET "X-Forwarded-For: 2001:db8:0:1:2::\r\n\r\n");
    assert_true(peer_wait(w.peers[1], "HTTP/1.1 429 ", 1000));
    say(2, "127.0.0.1", GET "X-Forwarded-For: 2001:db8:0:2::1\r\n\r\n");
    assert_int_equal(w.count, 2);
}

/* Both families come to one socket, and nobody has two names there. */
static void an_ipv4_peer_of_an_ipv6_socket_is_ipv4(void **state)
{
    (void)state;
    ports_need_ipv6();
    serve_share_at("[::]:0", 2, "127.0.0.1/32");
    w.answer_later = true;
    say(0, "127.0.0.2", GET "\r\n");
    assert_string_equal(w.client, "127.0.0.2");
    say(1, "127.0.0.2", GET "\r\n");
    assert_true(peer_wait_closed(say(2, "127.0.0.2", GET "\r\n"), 1000));
    say(3, "127.0.0.3", GET "\r\n");
    assert_int_equal(w.count, 3);
    say(4, "127.0.0.1", GET "X-Forwarded-For: 192.0.2.1\r\n\r\n");
    assert_string_equal(w.client, "192.0.2.1");
}

static void upgrades_count_as_well(void **state)
{
    (void)state;
    serve_share(1, "127.0.0.1/32");
    say(0, "127.0.0.1", UP("X-Forwarded-For: 192.0.2.1\r\n"));
    assert_int_equal(bed.opened, 1);
    say(1, "127.0.0.1", UP("X-Forwarded-For: 192.0.2.1\r\n"));
    assert_true(peer_wait(w.peers[1], "HTTP/1.1 429 ", 1000));
    say(2, "127.0.0.1", UP("X-Forwarded-For: 192.0.2.2\r\n"));
    assert_int_equal(bed.opened, 2);
}

static void what_strangers_say_they_forward_for_is_not_believed(void **state)
{
    (void)state;
    serve_share(2, "127.0.0.2/32");
    w.answer_later = true;
    say(0, "127.0.0.1", GET "X-Forwarded-For: 192.0.2.1\r\n\r\n");
    assert_string_equal(w.client, "127.0.0.1");
    say(1, "127.0.0.1", GET "X-Forwarded-For: 192.0.2.2\r\n\r\n");
    say(2, "127.0.0.1", GET "X-Forwarded-For: 192.0.2.3\r\n\r\n");
    assert_true(peer_wait_closed(w.peers[2], 1000));
    assert_int_equal(w.count, 2);
}

/* --- room and time --- */

static void bodies_that_do_not_come_make_room(void **state)
{
    struct ws_server_conf conf = base_conf();

    (void)state;
    conf.conns_max = 2;
    bed_serve(&conf);
    say(0, "127.0.0.1", HEAD "\r\n");
    say(1, "127.0.0.1", HEAD "\r\n12345");
    assert_true(peer_wait(say(2, "127.0.0.2", GET "\r\n"), "asked", 1000));
    assert_true(w.peers[0]->is_closed);
    assert_false(w.peers[1]->is_closed);
}

static void one_deadline_covers_head_and_body(void **state)
{
    struct ws_server_conf conf = base_conf();
    const int64_t before = loop_now_ms();

    (void)state;
    conf.head_deadline_ms = 400;
    bed_serve(&conf);
    say(0, "127.0.0.1", "POST / HTTP/1.1\r\nContent-Length: 10000\r\n");
    run_for(bed.loop, 200);
    peer_say(w.peers[0], "Host: h\r\n\r\n");
    for (int i = 0; i < 40 && !w.peers[0]->is_closed; i++) {
        peer_say(w.peers[0], "x"); /* dripping does not help */
        run_for(bed.loop, 20);
    }
    assert_true(w.peers[0]->is_closed);
    assert_in_range(loop_now_ms() - before, 390, 900);
    assert_true(
        peer_wait(say(1, "127.0.0.1", HEAD "\r\n1234567890"), "asked", 1000));
}

/* --- bodies --- */

static void serve_picky(void)
{
    struct ws_server_conf conf = base_conf();

    conf.wants_body = wants_body;
    bed_serve(&conf);
}

static void what_its_head_refuses_is_answered_without_its_body(void **state)
{
    static char big[50001];
    char head[128];

    (void)state;
    serve_picky();
    assert_true(peer_wait(say(0, "127.0.0.1", HEAD "\r\n"), "asked", 1000));
    w.body = 1;
    assert_true(
        peer_wait(say(1, "127.0.0.1", HEAD "\r\n1234567890"), "asked", 1000));
    assert_int_equal(w.body, 0);
    memset(big, 'x', sizeof(big) - 1);
    snprintf(head, sizeof(head),
             "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: %zu\r\n\r\n",
             sizeof(big) - 1);
    say(2, "127.0.0.1", head);
    peer_say(w.peers[2], big);
    assert_true(peer_wait(w.peers[2], "asked", 1000));
    assert_true(peer_wait_closed(w.peers[2], 3000));
    assert_false(w.peers[2]->is_reset);
}

static void it_may_be_answered_later_while_its_body_comes(void **state)
{
    (void)state;
    serve_picky();
    w.answer_later = true;
    say(0, "127.0.0.1", HEAD "\r\n12345");
    assert_int_equal(w.count, 1);
    peer_say(w.peers[0], "67890 and more");
    run_for(bed.loop, 50);
    assert_int_equal(w.count, 1);
    assert_int_equal(w.body, 0);
    ws_respond(w.asked[--w.count], 401, NULL, 0, "no", 2);
    assert_true(peer_wait(w.peers[0], "HTTP/1.1 401 ", 1000));
    assert_true(peer_wait_closed(w.peers[0], 3000));
}

static void a_body_that_is_wanted_is_waited_for(void **state)
{
    (void)state;
    serve_picky();
    say(0, "127.0.0.1", HEAD "Authorization: Bearer x\r\n\r\n12345");
    assert_int_equal(w.peers[0]->len, 0);
    peer_say(w.peers[0], "67890");
    assert_true(peer_wait(w.peers[0], "asked", 1000));
    assert_int_equal(w.body, 10);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, start, stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(an_address_holds_no_more_than_its_share),
        TEST(what_is_being_served_is_not_dropped_for_a_share),
        TEST(without_a_share_an_address_may_hold_all),
        TEST(clients_behind_a_trusted_proxy_have_a_share_each),
        TEST(an_ipv6_client_is_its_64),
        TEST(an_ipv4_peer_of_an_ipv6_socket_is_ipv4),
        TEST(upgrades_count_as_well),
        TEST(what_strangers_say_they_forward_for_is_not_believed),
        TEST(bodies_that_do_not_come_make_room),
        TEST(one_deadline_covers_head_and_body),
        TEST(what_its_head_refuses_is_answered_without_its_body),
        TEST(it_may_be_answered_later_while_its_body_comes),
        TEST(a_body_that_is_wanted_is_waited_for),
    };

    return cmocka_run_group_tests_name("base/ws, limits", tests, NULL, NULL);
}
