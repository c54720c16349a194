/*
 * WebSocket and HTTP between honest peers: our client against our server,
 * with and without TLS.
 */
#include "base/mem.h"
#include "base/ws.h"
#include "tests/lib/certs.h"
#include "tests/lib/peer.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#define SUB "podterm.v1"
#define ID "abcdefghijklmnopqrstuvwxyz"
#define MESSAGE_MAX 131072

static char dir[] = "/tmp/podterm-test-ws-XXXXXX";
static uint8_t key[32], other_key[32];

/* one end of a connection, as a service would hold it */
struct end {
    struct ws_conn *conn;
    int opened, closed, code, messages, drains;
    char reason[160];
    uint8_t *last;
    size_t last_len, total;
    bool is_text, refuse, echo;
    int to_write; /* messages still to be written in drained */
    size_t write_len;
    char origin[64], authorization[64];
};

struct world {
    struct loop *loop;
    struct ws_context *ws;
    struct ws_server *server;
    struct ws_request *asked; /* not answered yet */
    int requests;
    bool answer_later;
    struct end at_server, at_client;
};

static struct world w;

static void *opened(void *arg, struct ws_conn *c)
{
    struct end *e = arg == &w ? &w.at_server : arg;
    const char *text;

    e->conn = c;
    e->opened++;
    text = ws_conn_header(c, "origin");
    snprintf(e->origin, sizeof(e->origin), "%s", text ? text : "-");
    text = ws_conn_header(c, "authorization");
    snprintf(e->authorization, sizeof(e->authorization), "%s",
             text ? text : "-");
    return e->refuse ? NULL : e;
}

static void message(void *user, const uint8_t *bytes, size_t len, bool is_text)
{
    struct end *e = user;

    e->messages++;
    e->total += len;
    e->is_text = is_text;
    free(e->last);
    e->last = mem_copy(bytes, len);
    e->last_len = len;
    if (e->echo)
        ws_send(e->conn, bytes, len);
}

static void drained(void *user)
{
    static uint8_t room[WS_PRE + 65545];
    struct end *e = user;

    e->drains++;
    if (!e->to_write)
        return;
    for (size_t i = 0; i < e->write_len; i++)
        room[WS_PRE + i] = (uint8_t)(i * 7 + (size_t)e->to_write);
    assert_int_equal(ws_write(e->conn, room + WS_PRE, e->write_len), 0);
    if (--e->to_write)
        ws_want_write(e->conn);
}

static void closed(void *user, int code, const char *reason)
{
    struct end *e = user;

    e->closed++;
    e->code = code;
    snprintf(e->reason, sizeof(e->reason), "%s", reason);
    e->conn = NULL;
}

static const struct ws_verbs verbs = {opened, message, drained, closed};

static void request(void *arg, struct ws_request *r)
{
    static const struct ws_header type[] = {
        {"content-type", "text/plain"},
        {"x-bad", "a\r\nx-injected: b"},
    };
    char text[512];
    size_t len;
    const uint8_t *body = ws_request_body(r, &len);
    const char *q = ws_request_query(r, "a");
    const char *id = ws_request_header(r, "x-request-id");

    (void)arg;
    w.requests++;
    if (w.answer_later) {
        w.asked = r;
        return;
    }
    len = (size_t)snprintf(text, sizeof(text), "%s %s a=%s id=%s body=%.*s",
                           ws_request_method(r), ws_request_path(r),
                           q ? q : "none", id ? id : "none", (int)len,
                           body ? (const char *)body : "");
    ws_respond(r, 200, type, 2, text, len);
}

static int find(void *arg, const uint8_t *id, size_t len, uint8_t out[32],
                uint64_t *tag)
{
    (void)arg;
    if (len != strlen(ID) || memcmp(id, ID, len) != 0)
        return -1;
    memcpy(out, key, 32);
    *tag = 4711;
    return 0;
}

static const char *path(const char *name)
{
    static char out[4][128];
    static unsigned next;

    next = (next + 1) % 4;
    snprintf(out[next], sizeof(out[next]), "%s/%s", dir, name);
    return out[next];
}

static struct ws_server_conf base_conf(void)
{
    struct err e = {0};
    struct ws_server_conf conf = {
        .listen_fd = listen_tcp("127.0.0.1:0", false, &e),
        .ws_path = "/v1/attach",
        .subprotocol = SUB,
        .verbs = &verbs,
        .request = request,
        .arg = &w,
        .body_max = 100000,
        .message_max = MESSAGE_MAX,
    };

    assert_true(conf.listen_fd >= 0);
    return conf;
}

static void serve(const struct ws_server_conf *conf)
{
    struct err e = {0};

    w.server = ws_server_new(w.ws, conf, &e);
    if (!w.server)
        fail_msg("%s", e.text);
}

static int start(void **state)
{
    struct err e = {0};

    (void)state;
    memset(&w, 0, sizeof(w));
    w.loop = loop_new();
    w.ws = ws_context_new(w.loop, 256, &e);
    return w.ws ? 0 : -1;
}

static int stop(void **state)
{
    (void)state;
    ws_server_free(w.server);
    ws_context_free(w.ws);
    if (w.asked)
        ws_respond(w.asked, 200, NULL, 0, NULL, 0);
    loop_free(w.loop);
    free(w.at_server.last);
    free(w.at_client.last);
    return 0;
}

static struct ws_dial_conf dial_conf(void)
{
    static struct sockaddr_in at;

    at = (struct sockaddr_in){.sin_family = AF_INET,
                              .sin_port =
                                  htons((uint16_t)ws_server_port(w.server)),
                              .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    return (struct ws_dial_conf){
        .addr = (struct sockaddr *)&at,
        .addr_len = sizeof(at),
        .host = "localhost",
        .path = "/v1/attach",
        .subprotocol = SUB,
        .verbs = &verbs,
        .arg = &w.at_client,
        .message_max = MESSAGE_MAX,
    };
}

static void dial(const struct ws_dial_conf *conf)
{
    struct err e = {0};

    w.at_client.conn = ws_dial(w.ws, conf, &e);
    if (!w.at_client.conn)
        fail_msg("%s", e.text);
}

static bool both_open(void *arg)
{
    (void)arg;
    return w.at_server.opened && w.at_client.opened;
}

static bool both_closed(void *arg)
{
    (void)arg;
    return w.at_server.closed && w.at_client.closed;
}

static bool client_closed(void *arg)
{
    (void)arg;
    return w.at_client.closed;
}

static bool client_has_message(void *arg)
{
    (void)arg;
    return w.at_client.messages > 0;
}

static bool server_has_message(void *arg)
{
    (void)arg;
    return w.at_server.messages > 0;
}

static void open_plain(void)
{
    const struct ws_server_conf conf = base_conf();
    struct ws_dial_conf d;

    serve(&conf);
    d = dial_conf();
    dial(&d);
    assert_true(run_until(w.loop, both_open, NULL, 3000));
}

/* --- WebSocket --- */

static void a_message_goes_there_and_back(void **state)
{
    (void)state;
    open_plain();
    w.at_server.echo = true;
    assert_int_equal(ws_send(w.at_client.conn, "hello", 5), 0);
    assert_true(run_until(w.loop, client_has_message, NULL, 2000));
    assert_int_equal(w.at_client.last_len, 5);
    assert_memory_equal(w.at_client.last, "hello", 5);
    assert_false(w.at_client.is_text);
    assert_int_equal(ws_conn_tag(w.at_server.conn), 0);
    assert_int_equal(ws_conn_peer(w.at_server.conn)->ss_family, AF_INET);
}

static void an_empty_message_arrives(void **state)
{
    (void)state;
    open_plain();
    assert_int_equal(ws_send(w.at_client.conn, "", 0), 0);
    assert_true(run_until(w.loop, server_has_message, NULL, 2000));
    assert_int_equal(w.at_server.last_len, 0);
}

struct count {
    struct end *end;
    int messages;
};

static bool has_count(void *arg)
{
    struct count *c = arg;

    return c->end->messages >= c->messages;
}

static void check_last(const struct end *e, size_t len, int number)
{
    assert_int_equal(e->last_len, len);
    for (size_t i = 0; i < len; i++)
        if (e->last[i] != (uint8_t)(i * 7 + (size_t)number))
            fail_msg("byte %zu", i);
}

static void the_server_streams_whole_messages(void **state)
{
    struct count c = {&w.at_client, 200};

    (void)state;
    open_plain();
    w.at_server.to_write = 200;
    w.at_server.write_len = 65545;
    ws_want_write(w.at_server.conn);
    assert_true(run_until(w.loop, has_count, &c, 10000));
    assert_int_equal(w.at_client.total, 200 * 65545);
    assert_int_equal(w.at_server.drains, 200);
    check_last(&w.at_client, 65545, 1);
}

static void the_client_streams_whole_messages(void **state)
{
    struct count c = {&w.at_server, 100};

    (void)state;
    open_plain();
    w.at_client.to_write = 100;
    w.at_client.write_len = 32777;
    ws_want_write(w.at_client.conn);
    assert_true(run_until(w.loop, has_count, &c, 10000));
    assert_int_equal(w.at_server.total, 100 * 32777);
    check_last(&w.at_server, 32777, 1);
}

static void queued_messages_go_before_drained(void **state)
{
    struct count c = {&w.at_client, 3};

    (void)state;
    open_plain();
    w.at_server.to_write = 1;
    w.at_server.write_len = 10;
    ws_want_write(w.at_server.conn);
    ws_send(w.at_server.conn, "one", 3);
    ws_send(w.at_server.conn, "two", 3);
    assert_int_equal(ws_conn_queued(w.at_server.conn), 6);
    assert_int_equal(w.at_server.drains, 0);
    assert_true(run_until(w.loop, has_count, &c, 2000));
    assert_int_equal(w.at_client.last_len, 10); /* drained's came last */
    assert_int_equal(ws_conn_queued(w.at_server.conn), 0);
}

static void the_queue_has_a_limit(void **state)
{
    static uint8_t big[WS_QUEUE_MAX];

    (void)state;
    open_plain();
    assert_int_equal(ws_send(w.at_server.conn, big, sizeof(big) - 1), 0);
    assert_int_equal(ws_send(w.at_server.conn, big, 1), 0);
    assert_int_equal(ws_send(w.at_server.conn, big, 1), -1);
    assert_int_equal(ws_conn_queued(w.at_server.conn), WS_QUEUE_MAX);
}

static void closing_flushes_and_tells_both_ends(void **state)
{
    (void)state;
    open_plain();
    ws_send(w.at_server.conn, "last words", 10);
    ws_close(w.at_server.conn, 4403, "denied");
    ws_close(w.at_server.conn, 4400, "no effect");
    assert_int_equal(ws_send(w.at_server.conn, "x", 1), -1);
    assert_true(run_until(w.loop, both_closed, NULL, 3000));
    assert_int_equal(w.at_client.messages, 1);
    assert_int_equal(w.at_client.code, 4403);
    assert_int_equal(w.at_server.code, 4403);
    assert_int_equal(w.at_client.closed, 1);
    assert_int_equal(w.at_server.closed, 1);
    assert_string_equal(w.at_client.reason, "");
    assert_int_equal(ws_server_conns(w.server), 0);
}

static void aborting_is_told_as_1006(void **state)
{
    (void)state;
    open_plain();
    ws_abort(w.at_client.conn);
    assert_int_equal(w.at_client.closed, 0); /* from the loop alone */
    assert_true(run_until(w.loop, both_closed, NULL, 3000));
    assert_int_equal(w.at_client.code, 1006);
    assert_int_equal(w.at_server.code, 1006);
}

static void a_refused_opening_is_not_told_closed(void **state)
{
    const struct ws_server_conf conf = base_conf();
    struct ws_dial_conf d;

    (void)state;
    w.at_server.refuse = true;
    serve(&conf);
    d = dial_conf();
    dial(&d);
    assert_true(run_until(w.loop, client_closed, NULL, 3000));
    run_for(w.loop, 50);
    assert_int_equal(w.at_server.opened, 1);
    assert_int_equal(w.at_server.closed, 0);
    assert_int_equal(ws_server_conns(w.server), 0);
}

static void a_paused_end_reads_nothing_and_loses_nothing(void **state)
{
    struct count c = {&w.at_server, 50};

    (void)state;
    open_plain();
    ws_pause(w.at_server.conn);
    w.at_client.to_write = 50;
    w.at_client.write_len = 32777;
    ws_want_write(w.at_client.conn);
    run_for(w.loop, 200);
    assert_int_equal(w.at_server.messages, 0);
    ws_resume(w.at_server.conn);
    assert_true(run_until(w.loop, has_count, &c, 5000));
    assert_int_equal(w.at_server.total, 50 * 32777);
    check_last(&w.at_server, 32777, 1);
}

static void headers_are_seen_in_opened(void **state)
{
    const struct ws_server_conf conf = base_conf();
    struct ws_dial_conf d;

    (void)state;
    serve(&conf);
    d = dial_conf();
    d.origin = "http://localhost:1";
    dial(&d);
    assert_true(run_until(w.loop, both_open, NULL, 3000));
    assert_string_equal(w.at_server.origin, "http://localhost:1");
    assert_string_equal(w.at_server.authorization, "-");
    assert_null(ws_conn_header(w.at_server.conn, "origin")); /* too late */
}

static void a_dial_nobody_answers_fails_with_a_reason(void **state)
{
    struct ws_server_conf conf = base_conf();
    struct ws_dial_conf d;

    (void)state;
    serve(&conf);
    d = dial_conf();
    ws_server_stop_accepting(w.server);
    dial(&d);
    assert_true(run_until(w.loop, client_closed, NULL, 3000));
    assert_int_equal(w.at_client.opened, 0);
    assert_int_equal(w.at_client.code, 1006);
    assert_true(strlen(w.at_client.reason) > 0);
}

static void a_dial_without_an_answer_times_out(void **state)
{
    struct ws_server_conf conf = base_conf();
    struct err e = {0};
    struct ws_dial_conf d;
    struct sockaddr_in at;
    const int silent = listen_tcp("127.0.0.1:0", false, &e);
    socklen_t len = sizeof(at);

    (void)state;
    serve(&conf);
    d = dial_conf();
    assert_int_equal(getsockname(silent, (struct sockaddr *)&at, &len), 0);
    d.addr = (struct sockaddr *)&at;
    d.timeout_ms = 200;
    dial(&d);
    assert_true(run_until(w.loop, client_closed, NULL, 2000));
    assert_string_equal(w.at_client.reason, "timed out");
    close(silent);
}

static void a_dial_may_be_given_up(void **state)
{
    struct ws_server_conf conf = base_conf();
    struct ws_dial_conf d;

    (void)state;
    serve(&conf);
    d = dial_conf();
    dial(&d);
    ws_abort(w.at_client.conn);
    assert_true(run_until(w.loop, client_closed, NULL, 2000));
    assert_int_equal(w.at_client.opened, 0);
    assert_int_equal(w.at_client.closed, 1);
}

static void bad_dials_are_refused_at_once(void **state)
{
    struct ws_server_conf conf = base_conf();
    struct ws_dial_conf d;
    struct err e = {0};

    (void)state;
    serve(&conf);
    d = dial_conf();
    d.host = "a\r\nx-injected: b";
    assert_null(ws_dial(w.ws, &d, &e));
    assert_int_equal(e.kind, ERR_INPUT);
    d = dial_conf();
    d.path = "/a b";
    assert_null(ws_dial(w.ws, &d, &e));
    d = dial_conf();
    d.message_max = 0;
    assert_null(ws_dial(w.ws, &d, &e));
    assert_int_equal(w.at_client.closed, 0);
}

static void freeing_the_context_tells_the_open_ends(void **state)
{
    (void)state;
    open_plain();
    ws_server_free(w.server);
    assert_int_equal(w.at_server.closed, 1);
    w.server = NULL;
    ws_context_free(w.ws);
    w.ws = NULL;
    assert_int_equal(w.at_client.closed, 1);
    assert_int_equal(w.at_server.closed, 1);
}

/* --- pings --- */

static struct ws_server_conf quick_conf(void)
{
    struct ws_server_conf conf = base_conf();

    conf.ping_ms = 50;
    conf.dead_ms = 150;
    return conf;
}

static void a_silent_but_living_peer_stays(void **state)
{
    const struct ws_server_conf conf = quick_conf();
    struct ws_dial_conf d;

    (void)state;
    serve(&conf);
    d = dial_conf();
    dial(&d);
    assert_true(run_until(w.loop, both_open, NULL, 3000));
    run_for(w.loop, 600);
    assert_int_equal(w.at_server.closed, 0);
}

static const char upgrade[] =
    "GET /v1/attach HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
    "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    "Sec-WebSocket-Protocol: " SUB "\r\n\r\n";

static void a_dead_peer_is_pinged_and_dropped(void **state)
{
    const struct ws_server_conf conf = quick_conf();
    struct peer *p;

    (void)state;
    serve(&conf);
    p = peer_dial(w.loop, ws_server_port(w.server));
    peer_say(p, upgrade);
    assert_true(peer_wait(p, "\r\n\r\n", 1000));
    peer_clear(p);
    assert_true(peer_wait_closed(p, 2000));
    assert_memory_equal(p->in, "\x89\x01.", 3);
    run_for(w.loop, 20);
    assert_int_equal(w.at_server.closed, 1);
    assert_int_equal(w.at_server.code, 1006);
    peer_free(p);
}

static void a_pong_keeps_a_peer(void **state)
{
    const struct ws_server_conf conf = quick_conf();
    struct peer *p;
    unsigned char frame[16];
    const size_t len = peer_frame(frame, 0x8a, ".", 1);

    (void)state;
    serve(&conf);
    p = peer_dial(w.loop, ws_server_port(w.server));
    peer_say(p, upgrade);
    assert_true(peer_wait(p, "\r\n\r\n", 1000));
    for (int i = 0; i < 5; i++) {
        peer_clear(p);
        assert_true(peer_wait_len(p, 3, 1000));
        peer_send(p, frame, len);
    }
    assert_int_equal(w.at_server.closed, 0);
    peer_free(p);
}

static void a_paused_peer_is_not_dead(void **state)
{
    const struct ws_server_conf conf = quick_conf();
    struct peer *p;

    (void)state;
    serve(&conf);
    p = peer_dial(w.loop, ws_server_port(w.server));
    peer_say(p, upgrade);
    assert_true(peer_wait(p, "\r\n\r\n", 1000));
    ws_pause(w.at_server.conn);
    run_for(w.loop, 500);
    assert_int_equal(w.at_server.closed, 0);
    ws_resume(w.at_server.conn);
    assert_true(peer_wait_closed(p, 2000));
    peer_free(p);
}

/* --- TLS --- */

static void open_psk(const uint8_t *with, const char *id)
{
    struct ws_server_conf conf = base_conf();
    struct ws_dial_conf d;

    conf.psk_find = find;
    serve(&conf);
    d = dial_conf();
    d.psk_id = id;
    d.psk_key = with;
    dial(&d);
}

static void a_key_opens_and_is_known_by_its_tag(void **state)
{
    struct count c = {&w.at_client, 100};

    (void)state;
    open_psk(key, ID);
    assert_true(run_until(w.loop, both_open, NULL, 3000));
    assert_int_equal(ws_conn_tag(w.at_server.conn), 4711);
    w.at_server.to_write = 100;
    w.at_server.write_len = 65545;
    ws_want_write(w.at_server.conn);
    assert_true(run_until(w.loop, has_count, &c, 10000));
    check_last(&w.at_client, 65545, 1);
    w.at_server.echo = true;
    ws_send(w.at_client.conn, "x", 1);
    c.messages = 101;
    assert_true(run_until(w.loop, has_count, &c, 2000));
}

static void a_paused_tls_end_loses_nothing(void **state)
{
    struct count c = {&w.at_server, 50};

    (void)state;
    open_psk(key, ID);
    assert_true(run_until(w.loop, both_open, NULL, 3000));
    for (int round = 0; round < 3; round++) {
        w.at_client.to_write = 50;
        w.at_client.write_len = 32777;
        ws_want_write(w.at_client.conn);
        for (int i = 0; i < 10; i++) {
            ws_pause(w.at_server.conn);
            run_for(w.loop, 3);
            ws_resume(w.at_server.conn);
            run_for(w.loop, 1);
        }
        assert_true(run_until(w.loop, has_count, &c, 5000));
        check_last(&w.at_server, 32777, 1);
        c.messages += 50;
    }
}

static void wrong_keys_and_ids_never_open(void **state)
{
    char reason[160];

    (void)state;
    open_psk(other_key, ID);
    assert_true(run_until(w.loop, client_closed, NULL, 3000));
    snprintf(reason, sizeof(reason), "%s", w.at_client.reason);
    w.at_client.closed = 0;
    ws_server_free(w.server);
    open_psk(key, "unknown");
    assert_true(run_until(w.loop, client_closed, NULL, 3000));
    assert_string_equal(w.at_client.reason, reason);
    assert_int_equal(w.at_client.opened, 0);
    assert_int_equal(w.at_server.opened, 0);
}

static void many_keys_dial_at_once(void **state)
{
    struct end ends[12] = {{0}};
    struct ws_server_conf conf = base_conf();
    struct ws_dial_conf d;
    struct err e = {0};

    (void)state;
    conf.psk_find = find;
    serve(&conf);
    d = dial_conf();
    d.psk_id = ID;
    for (int i = 0; i < 12; i++) {
        d.psk_key = i % 3 ? key : other_key;
        d.arg = &ends[i];
        assert_non_null(ws_dial(w.ws, &d, &e));
    }
    run_for(w.loop, 500);
    for (int i = 0; i < 12; i++) {
        assert_int_equal(ends[i].opened, i % 3 ? 1 : 0);
        assert_int_equal(ends[i].closed, i % 3 ? 0 : 1);
    }
    assert_int_equal(ws_server_conns(w.server), 8);
    ws_context_free(w.ws); /* while ends[] is there */
    w.ws = NULL;
    w.server = NULL;
}

static void serve_cert(const char *name)
{
    struct ws_server_conf conf = base_conf();
    char pem[64], pkey[64];

    snprintf(pem, sizeof(pem), "%s.pem", name);
    snprintf(pkey, sizeof(pkey), "%s.key", name);
    conf.cert_path = path(pem);
    conf.key_path = path(pkey);
    serve(&conf);
}

/* Dial by certificate; did it open? */
static bool cert_opens(const char *host, const char *ca)
{
    struct ws_dial_conf d = dial_conf();
    const int before = w.at_client.opened;

    w.at_client.closed = 0;
    d.host = host;
    d.ca_check = true;
    d.ca_path = ca;
    dial(&d);
    run_for(w.loop, 150);
    return w.at_client.opened > before;
}

static void a_certificate_opens_for_its_name_and_root_alone(void **state)
{
    (void)state;
    serve_cert("srv");
    assert_true(cert_opens("localhost", path("srv-ca.pem")));
    assert_true(cert_opens("localhost:8443", path("srv-ca.pem")));
    assert_true(cert_opens("127.0.0.1:8443", path("srv-ca.pem")));
    assert_true(cert_opens("[::1]:8443", path("srv-ca.pem")));
    assert_false(cert_opens("example.com", path("srv-ca.pem")));
    assert_false(cert_opens("[::2]:8443", path("srv-ca.pem")));
    assert_false(cert_opens("localhost", path("new-ca.pem")));
    assert_false(cert_opens("localhost", NULL));
}

static void a_psk_client_gives_a_certificate_nothing(void **state)
{
    struct ws_dial_conf d;

    (void)state;
    serve_cert("srv");
    d = dial_conf();
    d.psk_id = ID;
    d.psk_key = key;
    dial(&d);
    assert_true(run_until(w.loop, client_closed, NULL, 3000));
    assert_int_equal(w.at_client.opened, 0);
    assert_int_equal(w.at_server.opened, 0);
}

static void a_planted_share_is_not_trusted(void **state)
{
    char work[160], share[160], back[512];

    (void)state;
    snprintf(work, sizeof(work), "%s/work", dir);
    snprintf(share, sizeof(share), "%s/share", dir);
    assert_int_equal(mkdir(work, 0700) | mkdir(share, 0700), 0);
    certs_plant(dir, "srv", share);
    assert_non_null(getcwd(back, sizeof(back)));
    assert_int_equal(chdir(work), 0); /* ../share is what was planted */
    serve_cert("srv");
    assert_false(cert_opens("localhost", NULL));
    assert_false(cert_opens("localhost", path("new-ca.pem")));
    assert_int_equal(chdir(back), 0);
}

static void a_reload_serves_new_connections_and_keeps_old_ones(void **state)
{
    struct err e = {0};
    struct ws_conn *old;
    char a[160], b[160];

    (void)state;
    /* the server's own copy, to be replaced under it */
    for (int i = 0; i < 2; i++) {
        snprintf(a, sizeof(a), "cp %s %s/live.%s",
                 path(i ? "srv.key" : "srv.pem"), dir, i ? "key" : "pem");
        assert_int_equal(system(a), 0);
    }
    serve_cert("live");
    assert_true(cert_opens("localhost", path("srv-ca.pem")));
    old = w.at_server.conn;
    snprintf(b, sizeof(b), "cp %s %s/live.pem", path("new.pem"), dir);
    assert_int_equal(system(b), 0);
    assert_int_equal(ws_server_reload(w.server, &e), -1); /* keys differ */
    assert_true(cert_opens("localhost", path("srv-ca.pem")));
    snprintf(b, sizeof(b), "cp %s %s/live.key", path("new.key"), dir);
    assert_int_equal(system(b), 0);
    assert_int_equal(ws_server_reload(w.server, &e), 0);
    assert_false(cert_opens("localhost", path("srv-ca.pem")));
    assert_true(cert_opens("localhost", path("new-ca.pem")));
    assert_int_equal(ws_send(old, "still here", 10), 0);
    assert_true(run_until(w.loop, client_has_message, NULL, 1000));
}

/* --- HTTP --- */

static struct peer *ask(const char *text)
{
    const struct ws_server_conf conf = base_conf();
    struct peer *p;

    if (!w.server)
        serve(&conf);
    p = peer_dial(w.loop, ws_server_port(w.server));
    peer_say(p, text);
    return p;
}

static void expect(const char *request_text, const char *answer)
{
    struct peer *p = ask(request_text);

    assert_true(peer_wait_closed(p, 2000));
    if (!strstr(p->in, answer))
        fail_msg("%s\nis not in\n%s", answer, p->in);
    peer_free(p);
}

static void requests_reach_the_handler_whole(void **state)
{
    (void)state;
    expect("GET /x/y?a=1%262&b=2 HTTP/1.1\r\nHost: h\r\n"
           "X-Request-Id: r7\r\n\r\n",
           "GET /x/y a=1&2 id=r7 body=");
    expect("GET / HTTP/1.1\r\nHost: h\r\n\r\n", "GET / a=none id=none");
    expect("GET /?ab=1 HTTP/1.1\r\nHost: h\r\n\r\n", "a=none");
    expect("GET /?a HTTP/1.1\r\nHost: h\r\n\r\n", "a= ");
    expect("POST /p HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nbody",
           "POST /p a=none id=none body=body");
    expect("POST /p HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n",
           "POST /p a=none id=none body=");
    expect("PATCH /p HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nhi",
           "PATCH /p a=none id=none body=hi");
    expect("DELETE /p HTTP/1.1\r\nHost: h\r\n\r\n", "DELETE /p");
    expect("OPTIONS /p HTTP/1.1\r\nHost: h\r\n\r\n", "OPTIONS /p");
    assert_int_equal(w.requests, 9);
}

static void an_answer_is_well_formed_and_closes(void **state)
{
    struct peer *p = ask("GET / HTTP/1.1\r\nHost: h\r\n\r\n");

    (void)state;
    assert_true(peer_wait_closed(p, 2000));
    assert_false(p->is_reset);
    assert_non_null(strstr(p->in, "HTTP/1.1 200 OK\r\n"));
    assert_non_null(strstr(p->in, "connection: close\r\n"));
    assert_non_null(strstr(p->in, "content-length: "));
    assert_non_null(strstr(p->in, "content-type: text/plain\r\n"));
    assert_null(strstr(p->in, "injected"));
    peer_free(p);
}

static void a_line_end_in_the_target_adds_no_header(void **state)
{
    static const char *const bad[] = {
        "GET /p%0aX-Forwarded-For:%201.2.3.4 HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET /p?q=1%0aHost:h HTTP/1.1\r\nAccept: y\r\n\r\n",
        "GET /p?q=1%0d%0aHost:h HTTP/1.1\r\nAccept: y\r\n\r\n",
        "GET /p?q=1%0dz HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET /p?q=%01 HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET /p%7f HTTP/1.1\r\nHost: h\r\n\r\n",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        struct peer *p = ask(bad[i]);

        if (!peer_wait_closed(p, 2000) || !strstr(p->in, "HTTP/1.1 400 ") ||
            !strstr(p->in, "nosniff"))
            fail_msg("%s: %s", bad[i], p->in);
        peer_free(p);
    }
    assert_int_equal(w.requests, 0);
}

static void head_has_no_body(void **state)
{
    struct peer *p = ask("HEAD / HTTP/1.1\r\nHost: h\r\n\r\n");
    const char *end;

    (void)state;
    assert_true(peer_wait_closed(p, 2000));
    end = strstr(p->in, "\r\n\r\n");
    assert_non_null(end);
    assert_int_equal(strlen(end), 4);
    peer_free(p);
}

static void a_body_in_pieces_is_put_together(void **state)
{
    struct peer *p =
        ask("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 6\r\n\r\n");

    (void)state;
    run_for(w.loop, 30);
    peer_say(p, "abc");
    run_for(w.loop, 30);
    peer_say(p, "def");
    assert_true(peer_wait(p, "body=abcdef", 2000));
    peer_free(p);
}

static void a_late_answer_arrives(void **state)
{
    static const char big[300000];
    struct peer *p;

    (void)state;
    w.answer_later = true;
    p = ask("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    run_for(w.loop, 100);
    assert_non_null(w.asked);
    assert_false(ws_request_is_gone(w.asked));
    ws_respond(w.asked, 200, NULL, 0, big, sizeof(big));
    w.asked = NULL;
    assert_true(peer_wait_closed(p, 3000));
    assert_true(p->len > sizeof(big));
    assert_false(p->is_reset);
    peer_free(p);
}

static void an_answer_after_the_server_went_is_only_freed(void **state)
{
    struct peer *p;

    (void)state;
    w.answer_later = true;
    p = ask("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    run_for(w.loop, 50);
    assert_non_null(w.asked);
    ws_server_free(w.server);
    w.server = NULL;
    assert_true(ws_request_is_gone(w.asked));
    run_for(w.loop, 50);
    ws_respond(w.asked, 200, NULL, 0, "x", 1);
    w.asked = NULL;
    peer_free(p);
}

static void
a_body_over_the_limit_is_413_with_an_answer_that_arrives(void **state)
{
    static char body[200001];
    struct peer *p;

    (void)state;
    memset(body, 'x', sizeof(body));
    p = ask("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 200001\r\n\r\n");
    peer_send(p, body, sizeof(body));
    assert_true(peer_wait(p, "HTTP/1.1 413 ", 2000));
    assert_int_equal(w.requests, 0);
    peer_free(p);
}

static void without_a_handler_everything_is_404(void **state)
{
    struct ws_server_conf conf = base_conf();

    (void)state;
    conf.request = NULL;
    serve(&conf);
    expect("GET / HTTP/1.1\r\nHost: h\r\n\r\n", "HTTP/1.1 404 Not Found");
}

/* --- limits --- */

static void over_the_limit_the_oldest_without_a_request_makes_room(void **state)
{
    struct ws_server_conf conf = base_conf();
    struct peer *p[3];

    (void)state;
    conf.conns_max = 2;
    serve(&conf);
    for (int i = 0; i < 3; i++)
        p[i] = peer_dial(w.loop, ws_server_port(w.server));
    assert_true(peer_wait_closed(p[0], 1000));
    assert_false(p[1]->is_closed);
    assert_false(p[2]->is_closed);
    assert_int_equal(ws_server_conns(w.server), 2);
    peer_free(p[1]);
    run_for(w.loop, 50);
    assert_int_equal(ws_server_conns(w.server), 1);
    peer_free(p[0]);
    peer_free(p[2]);
}

static void over_the_limit_nobody_served_makes_room(void **state)
{
    struct ws_server_conf conf = base_conf();
    struct peer *p[3];

    (void)state;
    conf.conns_max = 2;
    serve(&conf);
    w.answer_later = true;
    p[0] = ask("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    run_for(w.loop, 50);
    assert_non_null(w.asked);
    p[1] = peer_dial(w.loop, ws_server_port(w.server));
    p[2] = peer_dial(w.loop, ws_server_port(w.server));
    assert_true(peer_wait_closed(p[1], 1000));
    assert_false(p[0]->is_closed);
    assert_false(p[2]->is_closed);
    ws_respond(w.asked, 200, NULL, 0, "x", 1);
    w.asked = NULL;
    assert_true(peer_wait_closed(p[0], 1000));
    for (int i = 0; i < 3; i++)
        peer_free(p[i]);
}

static void a_slow_head_meets_its_deadline(void **state)
{
    struct ws_server_conf conf = base_conf();
    struct peer *p;
    const int64_t before = loop_now_ms();

    (void)state;
    conf.head_deadline_ms = 200;
    serve(&conf);
    p = peer_dial(w.loop, ws_server_port(w.server));
    for (int i = 0; i < 10 && !p->is_closed; i++) {
        peer_say(p, i ? "x" : "GET / HTTP/1.1\r\nX-Slow: ");
        run_for(w.loop, 50); /* a byte now and then does not help */
    }
    assert_true(p->is_closed);
    assert_in_range(loop_now_ms() - before, 190, 450);
    peer_free(p);
}

static void stopping_to_accept_keeps_connections(void **state)
{
    (void)state;
    open_plain();
    ws_server_stop_accepting(w.server);
    ws_server_stop_accepting(w.server);
    w.at_server.echo = true;
    ws_send(w.at_client.conn, "x", 1);
    assert_true(run_until(w.loop, client_has_message, NULL, 1000));
}

static void listening_errors_say_what_to_do(void **state)
{
    struct err e = {0};
    char name[64];
    const int fd = listen_tcp("127.0.0.1:0", false, &e);

    (void)state;
    assert_true(fd >= 0);
    assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
    assert_int_equal(listen_name(fd, name, sizeof(name)), 0);
    assert_int_equal(listen_tcp(name, false, &e), -1);
    assert_int_equal(e.kind, ERR_SYSTEM);
    assert_non_null(strstr(e.text, "choose another"));
    assert_int_equal(listen_tcp("localhost", false, &e), -1);
    assert_int_equal(e.kind, ERR_INPUT);
    close(fd);
}

static void a_server_half_described_is_refused(void **state)
{
    struct ws_server_conf conf = base_conf();
    struct err e = {0};

    (void)state;
    conf.cert_path = path("srv.pem");
    assert_null(ws_server_new(w.ws, &conf, &e));
    assert_int_equal(e.kind, ERR_INPUT);
    conf = base_conf();
    conf.cert_path = path("none.pem");
    conf.key_path = path("srv.key");
    assert_null(ws_server_new(w.ws, &conf, &e));
    assert_non_null(strstr(e.text, "none.pem"));
}

static int setup(void **state)
{
    (void)state;
    memset(key, 7, sizeof(key));
    memset(other_key, 8, sizeof(other_key));
    if (!mkdtemp(dir))
        return -1;
    certs_make(dir, "srv", "DNS:localhost,IP:127.0.0.1,IP:::1");
    certs_make(dir, "new", "DNS:localhost");
    return 0;
}

static int teardown(void **state)
{
    char cmd[128];

    (void)state;
    snprintf(cmd, sizeof(cmd), "rm -r %s", dir);
    return system(cmd);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, start, stop)

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
        TEST(a_dial_without_an_answer_times_out),
        TEST(a_dial_may_be_given_up),
        TEST(bad_dials_are_refused_at_once),
        TEST(freeing_the_context_tells_the_open_ends),
        TEST(a_silent_but_living_peer_stays),
        TEST(a_dead_peer_is_pinged_and_dropped),
        TEST(a_pong_keeps_a_peer),
        TEST(a_paused_peer_is_not_dead),
        TEST(a_key_opens_and_is_known_by_its_tag),
        TEST(a_paused_tls_end_loses_nothing),
        TEST(wrong_keys_and_ids_never_open),
        TEST(many_keys_dial_at_once),
        TEST(a_certificate_opens_for_its_name_and_root_alone),
        TEST(a_psk_client_gives_a_certificate_nothing),
        TEST(a_planted_share_is_not_trusted),
        TEST(a_reload_serves_new_connections_and_keeps_old_ones),
        TEST(requests_reach_the_handler_whole),
        TEST(an_answer_is_well_formed_and_closes),
        TEST(a_line_end_in_the_target_adds_no_header),
        TEST(head_has_no_body),
        TEST(a_body_in_pieces_is_put_together),
        TEST(a_late_answer_arrives),
        TEST(an_answer_after_the_server_went_is_only_freed),
        TEST(a_body_over_the_limit_is_413_with_an_answer_that_arrives),
        TEST(without_a_handler_everything_is_404),
        TEST(over_the_limit_the_oldest_without_a_request_makes_room),
        TEST(over_the_limit_nobody_served_makes_room),
        TEST(a_slow_head_meets_its_deadline),
        TEST(stopping_to_accept_keeps_connections),
        TEST(listening_errors_say_what_to_do),
        TEST(a_server_half_described_is_refused),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
