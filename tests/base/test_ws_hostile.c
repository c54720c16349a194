/*
 * The doorway on libwebsockets against peers without a key and peers that
 * send what no honest one does: every guard of docs/libraries.md and every row
 * of its TLS part that lies between a socket and our verbs. (Heads that drip,
 * line ends in targets, planted roots: test_ws.c; TLS alone: test_tls.c.)
 */
#include "base/mem.h"
#include "base/ws.h"
#include "tests/lib/certs.h"
#include "tests/lib/peer.h"
#include "tests/lib/programs.h"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define SUB "podterm.v1"
#define ID_A "aaaaaaaaaaaaaaaaaaaaaaaaaa"
#define ID_B "bbbbbbbbbbbbbbbbbbbbbbbbbb"
#define MESSAGE_MAX 1000
#define BODY_MAX 1000

struct world {
    struct loop *loop;
    struct ws_context *ws;
    struct ws_server *server;
    struct ws_conn *conn;
    int requests, opened, closed, messages, code;
    size_t last_len;
    bool is_text;
    uint64_t tag;
};

static struct world w;
static uint8_t key_a[32], key_b[32];

static void *opened(void *arg, struct ws_conn *c)
{
    w.conn = c;
    w.opened++;
    w.tag = ws_conn_tag(c);
    return arg;
}

static void message(void *user, const uint8_t *bytes, size_t len, bool is_text)
{
    (void)user;
    (void)bytes;
    w.messages++;
    w.last_len = len;
    w.is_text = is_text;
}

static void drained(void *user)
{
    (void)user;
}

static void closed(void *user, int code, const char *reason)
{
    (void)user;
    (void)reason;
    w.closed++;
    w.code = code;
}

static const struct ws_verbs verbs = {opened, message, drained, closed};

static void request(void *arg, struct ws_request *r)
{
    (void)arg;
    w.requests++;
    ws_respond(r, 200, NULL, 0, "asked", 5);
}

static int find(void *arg, const uint8_t *id, size_t len, uint8_t out[32],
                uint64_t *tag)
{
    (void)arg;
    if (len == strlen(ID_A) && memcmp(id, ID_A, len) == 0)
        *tag = 1;
    else if (len == strlen(ID_B) && memcmp(id, ID_B, len) == 0)
        *tag = 2;
    else
        return -1;
    memcpy(out, *tag == 1 ? key_a : key_b, 32);
    return 0;
}

static void serve_until(bool is_psk, int head_deadline_ms)
{
    struct err e = {0};
    struct ws_server_conf conf = {
        .listen_fd = listen_tcp("127.0.0.1:0", false, &e),
        .ws_path = "/v1/attach",
        .subprotocol = SUB,
        .verbs = &verbs,
        .request = request,
        .arg = &w,
        .body_max = BODY_MAX,
        .message_max = MESSAGE_MAX,
        .psk_find = is_psk ? find : NULL,
        .head_deadline_ms = head_deadline_ms,
    };

    assert_true(conf.listen_fd >= 0);
    w.server = ws_server_new(w.ws, &conf, &e);
    if (!w.server)
        fail_msg("%s", e.text);
}

static void serve(bool is_psk)
{
    serve_until(is_psk, 0);
}

static int start(void **state)
{
    struct err e = {0};

    (void)state;
    memset(&w, 0, sizeof(w));
    memset(key_a, 7, sizeof(key_a));
    memset(key_b, 8, sizeof(key_b));
    w.loop = loop_new();
    w.ws = ws_context_new(w.loop, 256, &e);
    return w.ws ? 0 : -1;
}

static int stop(void **state)
{
    (void)state;
    ws_server_free(w.server);
    ws_context_free(w.ws);
    loop_free(w.loop);
    return 0;
}

/* --- without the key: a TLS client of any kind, in a thread --- */

struct intruder {
    const uint8_t *id;
    size_t id_len;
    const uint8_t *key;  /* 32 bytes; NULL = no PSK */
    const char *old_psk; /* a TLS 1.2 PSK identity */
    uint16_t suite;      /* of the PSK */
    const char *groups;
    const char *ask; /* what is sent; NULL = a GET */
    int version_max;
    bool wants_h2;
    bool takes_tickets;
    int port;
    atomic_bool is_done;
    /* what came of it */
    bool is_in;
    int alert;
    int tickets;
    char answer[256];
};

static int intruder_psk(SSL *ssl, const EVP_MD *md, const unsigned char **id,
                        size_t *id_len, SSL_SESSION **out)
{
    struct intruder *t = SSL_get_app_data(ssl);
    const unsigned char suite[] = {(unsigned char)(t->suite >> 8),
                                   (unsigned char)t->suite};
    SSL_SESSION *s;

    (void)md;
    *out = NULL;
    if (!t->key)
        return 1;
    s = SSL_SESSION_new();
    SSL_SESSION_set1_master_key(s, t->key, 32);
    SSL_SESSION_set_cipher(s, SSL_CIPHER_find(ssl, suite));
    SSL_SESSION_set_protocol_version(s, TLS1_3_VERSION);
    *id = t->id;
    *id_len = t->id_len;
    *out = s;
    return 1;
}

static unsigned int intruder_old_psk(SSL *ssl, const char *hint, char *id,
                                     unsigned int id_max, unsigned char *key,
                                     unsigned int key_max)
{
    struct intruder *t = SSL_get_app_data(ssl);

    (void)hint;
    if (key_max < 32)
        return 0;
    snprintf(id, id_max, "%s", t->old_psk);
    memcpy(key, key_a, 32);
    return 32;
}

static int intruder_ticket(SSL *ssl, SSL_SESSION *s)
{
    struct intruder *t = SSL_get_app_data(ssl);

    (void)s;
    t->tickets++;
    return 0;
}

static SSL_CTX *intruder_ctx(struct intruder *t)
{
    static const unsigned char h2[] = "\2h2";
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());

    SSL_CTX_set_verify(ctx, SSL_VERIFY_NONE, NULL);
    if (t->version_max)
        SSL_CTX_set_max_proto_version(ctx, t->version_max);
    if (t->old_psk) {
        SSL_CTX_set_cipher_list(ctx, "PSK:@SECLEVEL=0");
        SSL_CTX_set_psk_client_callback(ctx, intruder_old_psk);
    } else {
        SSL_CTX_set_psk_use_session_callback(ctx, intruder_psk);
    }
    if (t->groups)
        SSL_CTX_set1_groups_list(ctx, t->groups);
    if (t->wants_h2)
        SSL_CTX_set_alpn_protos(ctx, h2, 3);
    if (t->takes_tickets) {
        SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_CLIENT);
        SSL_CTX_sess_set_new_cb(ctx, intruder_ticket);
    }
    return ctx;
}

static void intruder_speak(struct intruder *t, SSL *ssl)
{
    const char *ask =
        t->ask ? t->ask : "GET /metrics HTTP/1.1\r\nHost: h\r\n\r\n";
    int n;

    /* (a TLS 1.3 client is done before the server has judged its key) */
    ERR_clear_error();
    if (SSL_connect(ssl) == 1 && SSL_write(ssl, ask, (int)strlen(ask)) > 0) {
        n = SSL_read(ssl, t->answer, sizeof(t->answer) - 1);
        t->is_in = n > 0;
        if (n > 0)
            return;
    }
    t->alert = ERR_GET_REASON(ERR_peek_last_error()) - SSL_AD_REASON_OFFSET;
    ERR_clear_error();
}

static void *intruder_run(void *arg)
{
    struct intruder *t = arg;
    struct sockaddr_in at = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)t->port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct timeval limit = {.tv_sec = 5};
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    SSL_CTX *ctx = intruder_ctx(t);
    SSL *ssl = SSL_new(ctx);

    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    SSL_set_app_data(ssl, t);
    SSL_set_fd(ssl, fd);
    if (connect(fd, (struct sockaddr *)&at, sizeof(at)) == 0)
        intruder_speak(t, ssl);
    SSL_free(ssl);
    SSL_CTX_free(ctx);
    close(fd);
    atomic_store(&t->is_done, true);
    return NULL;
}

static bool intruder_is_done(void *arg)
{
    return atomic_load(&((struct intruder *)arg)->is_done);
}

static void intrude(struct intruder *t)
{
    pthread_t thread;

    t->port = ws_server_port(w.server);
    if (!t->suite)
        t->suite = 0x1302;
    assert_int_equal(pthread_create(&thread, NULL, intruder_run, t), 0);
    run_until(w.loop, intruder_is_done, t, 8000);
    pthread_join(thread, NULL);
}

#define WITH(i, k) .id = (const uint8_t *)(i), .id_len = strlen(i), .key = (k)

static void the_right_key_gets_an_answer(void **state)
{
    /* else the tests below could not fail */
    struct intruder t = {WITH(ID_A, key_a), .takes_tickets = true};
    struct intruder other_group = {WITH(ID_B, key_b), .groups = "P-256:X25519"};
    struct intruder h2 = {WITH(ID_A, key_a), .wants_h2 = true};

    (void)state;
    serve(true);
    intrude(&t);
    assert_true(t.is_in);
    assert_non_null(strstr(t.answer, "200 OK"));
    assert_int_equal(t.tickets, 0); /* a ticket would be a second key */
    intrude(&other_group);          /* HelloRetryRequest */
    assert_true(other_group.is_in);
    intrude(&h2); /* not spoken, also where only it is offered */
    assert_true(h2.is_in);
    assert_memory_equal(h2.answer, "HTTP/1.1", 8);
    assert_int_equal(w.requests, 3);
}

static void keys_and_ids_that_are_wrong_fail_alike(void **state)
{
    static uint8_t long_id[8192];
    struct intruder tries[] = {
        {WITH(ID_A, key_b)},     /* wrong key */
        {WITH(ID_B, key_a)},     /* swapped */
        {WITH("nobody", key_a)}, /* unknown id */
        {WITH("x", key_a)},
        {.id = long_id, .id_len = sizeof(long_id), .key = key_a},
    };

    (void)state;
    memset(long_id, 'a', sizeof(long_id));
    serve(true);
    for (size_t i = 0; i < sizeof(tries) / sizeof(*tries); i++) {
        intrude(&tries[i]);
        assert_false(tries[i].is_in);
        /* which one it is depends on OpenSSL's version: 47, 51 since 3.5 */
        assert_true(tries[i].alert > 0);
        assert_int_equal(tries[i].alert, tries[0].alert);
    }
    assert_int_equal(w.requests + w.opened, 0);
}

static void without_the_right_kind_of_key_no_http_byte_is_parsed(void **state)
{
    struct intruder tries[] = {
        {.key = NULL}, /* no PSK */
        {.version_max = TLS1_2_VERSION},
        {.version_max = TLS1_2_VERSION, .old_psk = ID_A},
        {WITH(ID_A, key_a), .suite = 0x1301}, /* SHA-256 */
    };

    (void)state;
    serve(true);
    for (size_t i = 0; i < sizeof(tries) / sizeof(*tries); i++) {
        intrude(&tries[i]);
        if (tries[i].is_in || tries[i].alert <= 0)
            fail_msg("try %zu: in %d, alert %d", i, tries[i].is_in,
                     tries[i].alert);
    }
    assert_int_equal(w.requests + w.opened, 0);
}

static void plain_text_to_a_tls_port_gets_no_http(void **state)
{
    static const char *const texts[] = {
        "GET /metrics HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET /v1/attach HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "\x16\x03\x01\xff\xff\x01\xff\xff\xff\x03\x03 noise noise noise",
        "\x80\x2e\x01\x03\x01 an SSL 2 hello of long ago ............",
        "SSH-2.0-x\r\n",
    };

    (void)state;
    serve(true);
    for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
        struct peer *p = peer_dial(w.loop, ws_server_port(w.server));

        peer_send(p, texts[i], strlen(texts[i]));
        peer_send(p, "                                ", 32);
        /* (a half record waits for its rest, and meets the deadline) */
        if (!peer_wait_closed(p, i == 3 || i == 4 ? 100 : 3000) && i != 3 &&
            i != 4)
            fail_msg("text %zu", i);
        assert_null(p->in ? strstr(p->in, "HTTP") : NULL);
        peer_free(p);
    }
    run_for(w.loop, 50);
    assert_int_equal(w.requests + w.opened, 0);
    assert_int_equal(ws_server_conns(w.server), 0);
}

static void a_handshake_that_drips_meets_the_deadline(void **state)
{
    static const char hello[] = "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03";
    const int64_t before = loop_now_ms();
    struct peer *silent, *drips;

    (void)state;
    serve_until(true, 300);
    silent = peer_dial(w.loop, ws_server_port(w.server));
    drips = peer_dial(w.loop, ws_server_port(w.server));
    for (int i = 0; i < 40 && !(drips->is_closed && silent->is_closed); i++) {
        if (!drips->is_closed)
            peer_send(drips, i < (int)sizeof(hello) - 1 ? hello + i : "x", 1);
        run_for(w.loop, 25);
    }
    assert_true(drips->is_closed);
    assert_true(silent->is_closed);
    assert_in_range(loop_now_ms() - before, 290, 900);
    peer_free(drips);
    peer_free(silent);
}

/* --- heads no honest client sends --- */

/* Send it; the connection must end, with an answer that begins so ("" = with
 * none at all), and nothing may reach a verb. */
static void refused(const char *text, size_t len, const char *answer)
{
    const int before = w.requests + w.opened;
    struct peer *p = peer_dial(w.loop, ws_server_port(w.server));

    peer_send(p, text, len);
    if (!peer_wait_closed(p, 3000))
        fail_msg("not closed after: %s\ncame: %s", text, p->in ? p->in : "");
    if (answer[0] ? !p->in || strncmp(p->in, answer, strlen(answer)) != 0
                  : p->len != 0)
        fail_msg("%s\nwas answered: %s\nnot: %s", text, p->in ? p->in : "",
                 answer);
    if (w.requests + w.opened != before)
        fail_msg("%s\nreached a handler", text);
    peer_free(p);
}

static void refused_text(const char *text, const char *answer)
{
    refused(text, strlen(text), answer);
}

static void what_is_no_request_is_hung_up_on(void **state)
{
    static const char *const texts[] = {
        "CONNECT h:80 HTTP/1.1\r\nHost: h\r\n\r\n",
        "CONNECT 127.0.0.1:22 HTTP/1.1\r\nHost: 127.0.0.1:22\r\n\r\n",
        "GET /x HTTP/1.1\r\nHost: h\r\nConnection: Upgrade, HTTP2-Settings\r\n"
        "Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n",
        "GET /v1/attach HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\n"
        "Upgrade: h2c, websocket\r\n\r\n",
        "GET /v1/attach HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\n"
        "Upgrade: TLS/1.0\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "BREW /pot HTTP/1.1\r\nHost: h\r\n\r\n",
        "\r\n\r\n\r\n\r\n\r\n",
    };

    (void)state;
    serve(false);
    for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
        const int before = w.requests + w.opened;
        struct peer *p = peer_dial(w.loop, ws_server_port(w.server));

        peer_say(p, texts[i]);
        run_for(w.loop, 30);
        peer_say(p, "are you raw?");
        if (!peer_wait_closed(p, 3000))
            fail_msg("not closed: %s", texts[i]);
        if (p->len && (strstr(p->in, " 200") || strstr(p->in, " 101") ||
                       strstr(p->in, "raw")))
            fail_msg("%s\nwas answered: %s", texts[i], p->in);
        assert_int_equal(w.requests + w.opened, before);
        peer_free(p);
    }
}

static void bodies_without_a_plain_length_are_refused(void **state)
{
    static const struct {
        const char *lines, *answer;
    } rows[] = {
        {"Transfer-Encoding: chunked\r\n", "HTTP/1.1 411 "},
        {"Transfer-Encoding: gzip, chunked\r\n", "HTTP/1.1 411 "},
        {"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
         "HTTP/1.1 411 "},
        {"Content-Length: 5\r\nTransfer-Encoding: identity\r\n",
         "HTTP/1.1 411 "},
        {"", "HTTP/1.1 411 "},
        {"Content-Length: -1\r\n", "HTTP/1.1 400 "},
        {"Content-Length: +5\r\n", "HTTP/1.1 400 "},
        {"Content-Length: 5,  7\r\n", "HTTP/1.1 400 "},
        {"Content-Length: 5, 5\r\n", "HTTP/1.1 400 "},
        {"Content-Length: 5\r\nContent-Length: 5\r\n", "HTTP/1.1 400 "},
        {"Content-Length: 5\r\nContent-Length: 7\r\n", "HTTP/1.1 400 "},
        {"Content-Length: 5x\r\n", "HTTP/1.1 400 "},
        {"Content-Length: 0x5\r\n", "HTTP/1.1 400 "},
        {"Content-Length: 5.0\r\n", "HTTP/1.1 400 "},
        {"Content-Length: 1e1\r\n", "HTTP/1.1 400 "},
        {"Content-Length: 18446744073709551621\r\n", "HTTP/1.1 400 "},
        {"Content-Length: 99999999999\r\n", "HTTP/1.1 400 "},
        {"Content-Length: 4294967301\r\n", "HTTP/1.1 413 "},
        {"Content-Length: 1001\r\n", "HTTP/1.1 413 "},
    };
    static const char *const methods[] = {"POST", "PUT", "PATCH"};
    char text[512];

    (void)state;
    serve(false);
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        snprintf(text, sizeof(text), "%s /x HTTP/1.1\r\nHost: h\r\n%s\r\n",
                 methods[i % 3], rows[i].lines);
        refused_text(text, rows[i].answer);
    }
    refused_text("GET /x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n"
                 "\r\n5\r\nhello\r\n0\r\n\r\n",
                 "HTTP/1.1 411 ");
    refused_text("GET /x HTTP/1.1\r\nHost: h\r\nContent-Length: -1\r\n\r\n",
                 "HTTP/1.1 400 ");
}

/* (with the key: a plain request line is judged before libwebsockets has it) */
static void a_zero_byte_in_a_query_hides_nothing(void **state)
{
    static const char *const asks[] = {
        "GET /x?q=%00b HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET /x?q=a%00b HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET /x?a=1&q%00=2 HTTP/1.1\r\nHost: h\r\n\r\n",
    };

    (void)state;
    serve(true);
    for (size_t i = 0; i < sizeof(asks) / sizeof(*asks); i++) {
        struct intruder t = {WITH(ID_A, key_a), .ask = asks[i]};

        intrude(&t);
        /* libwebsockets 4.1 hangs up by itself, 4.3 takes one in a value
         * (and drops one at its end, where nothing is behind it) */
        if (t.is_in && !strstr(t.answer, "HTTP/1.1 400 "))
            fail_msg("%s\nwas answered: %s", asks[i], t.answer);
    }
    assert_int_equal(w.requests, 0);
}

/* What the library writes to stderr by default: cookies (4.1), values of
 * queries (4.3). */
static void the_library_writes_nothing_of_what_it_reads(void **state)
{
    static const char *const asks[] = {
        "GET /x?q=hunter2&p=hunter2 HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET /x HTTP/1.1\r\nHost: h\r\nCookie: a=hunter2; b=hunter2\r\n\r\n",
        "GET /x HTTP/1.1\r\nHost: hunter2\r\nUpgrade: hunter2\r\n\r\n",
        "hunter2\r\n\r\n",
    };
    const int log_fd = memfd_create("log", MFD_CLOEXEC);
    const int stderr_fd = dup(STDERR_FILENO);
    char said[1024] = "";

    (void)state;
    dup2(log_fd, STDERR_FILENO);
    serve(false);
    for (size_t i = 0; i < sizeof(asks) / sizeof(*asks); i++) {
        struct peer *p = peer_dial(w.loop, ws_server_port(w.server));

        peer_say(p, asks[i]);
        peer_wait_closed(p, 3000);
        peer_free(p);
    }
    dup2(stderr_fd, STDERR_FILENO);
    close(stderr_fd);
    (void)!pread(log_fd, said, sizeof(said) - 1, 0);
    close(log_fd);
    assert_string_equal(said, "");
}

static void one_connection_is_one_request(void **state)
{
    static const char *const texts[] = {
        /* pipelined */
        "GET /a HTTP/1.1\r\nHost: h\r\n\r\nGET /b HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET /a HTTP/1.1\r\nHost: h\r\nConnection: keep-alive\r\n\r\n"
        "GET /b HTTP/1.1\r\nHost: h\r\n\r\n",
        /* smuggled behind a body, or as one */
        "POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nbody"
        "GET /b HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET /a HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nbody"
        "GET /b HTTP/1.1\r\nHost: h\r\n\r\n",
        "POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n"
        "GET /b HTTP/1.1\r\nHost: h\r\n\r\n",
    };

    (void)state;
    serve(false);
    for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
        struct peer *p = peer_dial(w.loop, ws_server_port(w.server));
        const int before = w.requests;
        const char *first;

        peer_say(p, texts[i]);
        if (!peer_wait_closed(p, 3000))
            fail_msg("not closed: %s", texts[i]);
        if (w.requests > before + 1)
            fail_msg("asked twice: %s", texts[i]);
        first = p->len ? strstr(p->in, "HTTP/1.1") : NULL;
        if (w.requests > before && !first)
            fail_msg("asked and not answered: %s", texts[i]);
        if (first && strstr(first + 1, "HTTP/1.1"))
            fail_msg("answered twice: %s", texts[i]);
        peer_free(p);
    }
    assert_true(w.requests >= 3);
}

static void heads_that_never_fit_are_dropped(void **state)
{
    static const char hidden[] = "GET /x HTTP/1.1\r\nHost: h\0evil\r\n"
                                 "Transfer-Encoding: chunked\r\n\r\n";
    static char big[70000];
    size_t len;

    (void)state;
    serve(false);
    len = (size_t)snprintf(big, sizeof(big),
                           "GET /x HTTP/1.1\r\nHost: h\r\nX-Big: ");
    memset(big + len, 'a', sizeof(big) - len);
    refused(big, sizeof(big), "");
    len = (size_t)snprintf(big, sizeof(big), "GET /");
    memset(big + len, 'a', sizeof(big) - len);
    refused(big, sizeof(big), "");
    len = (size_t)snprintf(big, sizeof(big), "GET /x HTTP/1.1\r\nHost: h\r\n");
    for (int i = 0; len < sizeof(big) - 40; i++)
        len += (size_t)snprintf(big + len, 40, "X-%d: b\r\n", i);
    refused(big, len, "");
    /* a zero byte hides nothing */
    refused(hidden, sizeof(hidden) - 1, "HTTP/1.1 4");
    run_for(w.loop, 50);
    assert_int_equal(ws_server_conns(w.server), 0);
}

/* --- upgrades --- */

#define UP_KEY "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
#define UP_OF(method, target, more, version, sub)                              \
    method " " target " HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\n"         \
           "Connection: Upgrade\r\n" UP_KEY more version sub "\r\n"
#define UP_VERSION "Sec-WebSocket-Version: 13\r\n"
#define UP_SUB "Sec-WebSocket-Protocol: " SUB "\r\n"
#define UP(more) UP_OF("GET", "/v1/attach", more, UP_VERSION, UP_SUB)

static void upgrades_that_break_a_rule_are_refused(void **state)
{
    static const struct {
        const char *text, *answer;
    } rows[] = {
        {UP_OF("POST", "/v1/attach", "", UP_VERSION, UP_SUB), "HTTP/1.1 405 "},
        {UP_OF("POST", "/v1/attach", "Content-Length: 0\r\n", UP_VERSION,
               UP_SUB),
         "HTTP/1.1 405 "},
        {UP_OF("PUT", "/v1/attach", "", UP_VERSION, UP_SUB), "HTTP/1.1 405 "},
        {UP("Content-Length: 5\r\n"), "HTTP/1.1 400 "},
        {UP("Transfer-Encoding: chunked\r\n"), "HTTP/1.1 400 "},
        {UP_OF("GET", "/v1/attach", "", "Sec-WebSocket-Version: 12\r\n",
               UP_SUB),
         "HTTP/1.1 426 "},
        {UP_OF("GET", "/v1/attach", "", "Sec-WebSocket-Version: 130\r\n",
               UP_SUB),
         "HTTP/1.1 426 "},
        {UP_OF("GET", "/v1/attach", "", "", UP_SUB), "HTTP/1.1 426 "},
        {UP_OF("GET", "/", "", UP_VERSION, UP_SUB), "HTTP/1.1 404 "},
        {UP_OF("GET", "/v1/attach/", "", UP_VERSION, UP_SUB), "HTTP/1.1 404 "},
        {UP_OF("GET", "/v1/attachx", "", UP_VERSION, UP_SUB), "HTTP/1.1 404 "},
        {UP_OF("GET", "/v1/attach", "", UP_VERSION, ""), "HTTP/1.1 400 "},
        {UP_OF("GET", "/v1/attach", "", UP_VERSION,
               "Sec-WebSocket-Protocol: other\r\n"),
         "HTTP/1.1 400 "},
        {UP_OF("GET", "/v1/attach", "", UP_VERSION,
               "Sec-WebSocket-Protocol: podterm.v10\r\n"),
         "HTTP/1.1 400 "},
        {UP_OF("GET", "/v1/attach", "", UP_VERSION,
               "Sec-WebSocket-Protocol: \x01\r\n"),
         "HTTP/1.1 400 "},
        {UP("Origin: http://a\r\nOrigin: http://b\r\n"), "HTTP/1.1 400 "},
        {UP("Host: other\r\n"), "HTTP/1.1 400 "},
        {UP("Authorization: Bearer a\r\nAuthorization: Bearer b\r\n"),
         "HTTP/1.1 400 "},
    };
    struct peer *p;

    (void)state;
    serve(false);
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
        refused_text(rows[i].text, rows[i].answer);
    /* the very request that all of them change a little is taken */
    p = peer_dial(w.loop, ws_server_port(w.server));
    peer_say(p, UP("Origin: http://a\r\n"));
    assert_true(peer_wait(p, "HTTP/1.1 101 ", 2000));
    assert_int_equal(w.opened, 1);
    peer_free(p);
}

static void names_too_long_for_the_library_open_nothing(void **state)
{
    char text[2048], name[400];

    (void)state;
    serve(false);
    for (size_t len = 60; len < 390; len += 33) {
        memset(name, 'a', len);
        name[len] = 0;
        snprintf(text, sizeof(text),
                 UP_OF("GET", "/v1/attach", "", UP_VERSION,
                       "Sec-WebSocket-Protocol: %s, " SUB "\r\n"),
                 name);
        struct peer *p = peer_dial(w.loop, ws_server_port(w.server));

        peer_say(p, text);
        run_for(w.loop, 30);
        /* the name is one we know, or there is no connection */
        if (len > 126 && (p->len && strstr(p->in, " 101")))
            fail_msg("%zu bytes opened", len);
        if (p->len && strstr(p->in, " 101"))
            assert_non_null(strstr(p->in, SUB));
        peer_free(p);
    }
}

/* --- messages --- */

static struct peer *attach(void)
{
    struct peer *p = peer_dial(w.loop, ws_server_port(w.server));

    peer_say(p, UP(""));
    assert_true(peer_wait(p, "\r\n\r\n", 2000));
    assert_non_null(strstr(p->in, "HTTP/1.1 101 "));
    peer_clear(p);
    return p;
}

static void frame(struct peer *p, int first, size_t len)
{
    static uint8_t payload[4 * MESSAGE_MAX], out[4 * MESSAGE_MAX + 16];

    assert_true(len <= sizeof(payload));
    memset(payload, 'x', sizeof(payload));
    peer_send(p, out, peer_frame(out, first, payload, len));
}

static bool is_closed(void *arg)
{
    (void)arg;
    return w.closed > 0;
}

static bool has_message(void *arg)
{
    (void)arg;
    return w.messages > 0;
}

static void a_text_frame_is_told_apart(void **state)
{
    struct peer *p;

    (void)state;
    serve(false);
    p = attach();
    frame(p, 0x81, 5);
    assert_true(run_until(w.loop, has_message, NULL, 2000));
    assert_true(w.is_text);
    frame(p, 0x01, 5); /* in two fragments */
    frame(p, 0x80, 5);
    run_for(w.loop, 50);
    assert_int_equal(w.messages, 2);
    assert_true(w.is_text);
    assert_int_equal(w.last_len, 10);
    frame(p, 0x82, MESSAGE_MAX);
    run_for(w.loop, 50);
    assert_int_equal(w.messages, 3);
    assert_false(w.is_text);
    assert_int_equal(w.last_len, MESSAGE_MAX);
    peer_free(p);
}

/* Has it been told something, or hung up on? */
static bool has_heard(void *arg)
{
    const struct peer *p = arg;

    return p->len >= 4 || p->is_closed;
}

/* The connection is closed with 1009 and no message was told. */
static void too_large(struct peer *p)
{
    static const char code[] = {3, (char)0xf1};

    w.closed = 0;
    assert_true(run_until(w.loop, has_heard, p, 3000));
    assert_true(p->len >= 4);
    assert_int_equal(p->in[0], (char)0x88);
    assert_memory_equal(p->in + 2, code, 2);
    peer_free(p);
    assert_true(run_until(w.loop, is_closed, NULL, 3000));
    assert_int_equal(w.code, 1009);
    assert_int_equal(w.messages, 0);
}

static void a_message_over_the_limit_is_1009_before_it_is_there(void **state)
{
    static const uint8_t huge[] = {0x82, 0xff, 0x3f, 0xff, 0xff,
                                   0xff, 0xff, 0xff, 0xff, 0xff,
                                   1,    2,    3,    4,    'x'};
    static const uint8_t large[] = {0x82, 0xff, 0, 0, 0, 0, 0x40, 0,
                                    0,    0,    1, 2, 3, 4, 'x'};
    struct peer *p;

    (void)state;
    serve(false);
    p = attach();
    peer_send(p, huge, sizeof(huge)); /* announced alone: 2^62 */
    too_large(p);
    p = attach();
    peer_send(p, large, sizeof(large)); /* 1 GiB */
    too_large(p);
    p = attach();
    frame(p, 0x82, MESSAGE_MAX + 1);
    too_large(p);
    p = attach();
    for (int i = 0; i < 12; i++) /* in fragments, each within it */
        frame(p, i ? 0x00 : 0x02, 100);
    too_large(p);
}

static void frames_that_break_the_protocol_end_the_connection(void **state)
{
    static const struct {
        size_t len;
        uint8_t bytes[24];
    } rows[] = {
        {7, {0x83, 0x81, 1, 2, 3, 4, 'x'}}, /* reserved opcodes */
        {7, {0x8b, 0x81, 1, 2, 3, 4, 'x'}},
        {7, {0xc2, 0x81, 1, 2, 3, 4, 'x'}}, /* RSV1: no extension */
        {7, {0xa2, 0x81, 1, 2, 3, 4, 'x'}},
        {7, {0x92, 0x81, 1, 2, 3, 4, 'x'}},
        {12, {0x89, 0xfe, 0, 200, 1, 2, 3, 4, 'x', 'x', 'x', 'x'}},
        {14, {0x82, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 1, 1, 2, 3, 4}},
    };

    (void)state;
    serve(false);
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        static const char close_1002[] = {3, (char)0xea};
        struct peer *p = attach();

        w.closed = 0;
        peer_send(p, rows[i].bytes, rows[i].len);
        /* told 1002, or hung up on; what follows is not heard */
        if (!run_until(w.loop, has_heard, p, 2000))
            fail_msg("row %zu goes on", i);
        if (p->len &&
            (p->in[0] != (char)0x88 || memcmp(p->in + 2, close_1002, 2) != 0))
            fail_msg("row %zu is answered", i);
        if (!p->is_closed)
            frame(p, 0x82, 5);
        run_for(w.loop, 20);
        assert_int_equal(w.messages, 0);
        peer_free(p);
        assert_true(run_until(w.loop, is_closed, NULL, 3000));
    }
}

static long private_kib(void)
{
    FILE *in = fopen("/proc/self/smaps_rollup", "r");
    char line[128];
    long kib = 0, v;

    while (in && fgets(line, sizeof(line), in))
        if (sscanf(line, "Private_Dirty: %ld", &v) == 1)
            kib = v;
    if (in)
        fclose(in);
    return kib;
}

static void pings_nobody_reads_the_answers_of_cost_little(void **state)
{
    static uint8_t pings[131 * 500];
    struct peer *p;
    long before;
    size_t len = 0;

    (void)state;
    serve(false);
    p = attach();
    for (int i = 0; i < 500; i++) {
        uint8_t payload[125] = {0};

        len += peer_frame(pings + len, 0x89, payload, sizeof(payload));
    }
    loop_fd_stop(p->watch); /* the answers are never read */
    p->watch = NULL;
    before = private_kib();
    for (int i = 0; i < 100; i++) {
        (void)!send(p->fd, pings, len, MSG_DONTWAIT | MSG_NOSIGNAL);
        run_for(w.loop, 2);
    }
    assert_true(private_kib() - before < 4096);
    peer_free(p);
    /* and others are served */
    p = attach();
    frame(p, 0x82, 3);
    assert_true(run_until(w.loop, has_message, NULL, 2000));
    peer_free(p);
}

#define TEST(t) cmocka_unit_test_setup_teardown(t, start, stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_right_key_gets_an_answer),
        TEST(keys_and_ids_that_are_wrong_fail_alike),
        TEST(without_the_right_kind_of_key_no_http_byte_is_parsed),
        TEST(plain_text_to_a_tls_port_gets_no_http),
        TEST(a_handshake_that_drips_meets_the_deadline),
        TEST(what_is_no_request_is_hung_up_on),
        TEST(bodies_without_a_plain_length_are_refused),
        TEST(a_zero_byte_in_a_query_hides_nothing),
        TEST(the_library_writes_nothing_of_what_it_reads),
        TEST(one_connection_is_one_request),
        TEST(heads_that_never_fit_are_dropped),
        TEST(upgrades_that_break_a_rule_are_refused),
        TEST(names_too_long_for_the_library_open_nothing),
        TEST(a_text_frame_is_told_apart),
        TEST(a_message_over_the_limit_is_1009_before_it_is_there),
        TEST(frames_that_break_the_protocol_end_the_connection),
        TEST(pings_nobody_reads_the_answers_of_cost_little),
    };

    return cmocka_run_group_tests_name("base/ws, hostile", tests, NULL, NULL);
}
