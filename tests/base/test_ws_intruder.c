/*
 * The doorway on libwebsockets against peers without a key: TLS clients of
 * every kind, in a thread. (TLS alone: test_tls.c.)
 */
#include "base/mem.h"
#include "base/ws.h"
#include "tests/lib/certs.h"
#include "tests/lib/programs.h"
#include "tests/lib/wsbed.h"

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

#define ID_A "aaaaaaaaaaaaaaaaaaaaaaaaaa"
#define ID_B "bbbbbbbbbbbbbbbbbbbbbbbbbb"

static uint8_t key_a[32], key_b[32];

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

static void serve_until(int head_deadline_ms)
{
    struct ws_server_conf conf = bed_conf();

    conf.psk_find = find;
    conf.head_deadline_ms = head_deadline_ms;
    bed_serve(&conf);
}

static int start(void **state)
{
    (void)state;
    memset(key_a, 7, sizeof(key_a));
    memset(key_b, 8, sizeof(key_b));
    bed_start();
    return 0;
}

static int stop(void **state)
{
    (void)state;
    bed_stop();
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

    t->port = ws_server_port(bed.server);
    if (!t->suite)
        t->suite = 0x1302;
    assert_int_equal(pthread_create(&thread, NULL, intruder_run, t), 0);
    run_until(bed.loop, intruder_is_done, t, 8000);
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
    serve_until(0);
    intrude(&t);
    assert_true(t.is_in);
    assert_non_null(strstr(t.answer, "200 OK"));
    assert_int_equal(t.tickets, 0); /* a ticket would be a second key */
    intrude(&other_group);          /* HelloRetryRequest */
    assert_true(other_group.is_in);
    intrude(&h2); /* not spoken, also where only it is offered */
    assert_true(h2.is_in);
    assert_memory_equal(h2.answer, "HTTP/1.1", 8);
    assert_int_equal(bed.requests, 3);
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
    serve_until(0);
    for (size_t i = 0; i < sizeof(tries) / sizeof(*tries); i++) {
        intrude(&tries[i]);
        assert_false(tries[i].is_in);
        /* which one it is depends on OpenSSL's version: 47, 51 since 3.5 */
        assert_true(tries[i].alert > 0);
        assert_int_equal(tries[i].alert, tries[0].alert);
    }
    assert_int_equal(bed.requests + bed.opened, 0);
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
    serve_until(0);
    for (size_t i = 0; i < sizeof(tries) / sizeof(*tries); i++) {
        intrude(&tries[i]);
        if (tries[i].is_in || tries[i].alert <= 0)
            fail_msg("try %zu: in %d, alert %d", i, tries[i].is_in,
                     tries[i].alert);
    }
    assert_int_equal(bed.requests + bed.opened, 0);
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
    serve_until(0);
    for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
        struct peer *p = bed_dial();

        peer_send(p, texts[i], strlen(texts[i]));
        peer_send(p, "                                ", 32);
        /* (a half record waits for its rest, and meets the deadline) */
        if (!peer_wait_closed(p, i == 3 || i == 4 ? 100 : 3000) && i != 3 &&
            i != 4)
            fail_msg("text %zu", i);
        assert_null(p->in ? strstr(p->in, "HTTP") : NULL);
        peer_free(p);
    }
    run_for(bed.loop, 50);
    assert_int_equal(bed.requests + bed.opened, 0);
    assert_int_equal(ws_server_conns(bed.server), 0);
}

static void a_handshake_that_drips_meets_the_deadline(void **state)
{
    static const char hello[] = "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03";
    const int64_t before = loop_now_ms();
    struct peer *silent, *drips;

    (void)state;
    serve_until(300);
    silent = bed_dial();
    drips = bed_dial();
    for (int i = 0; i < 40 && !(drips->is_closed && silent->is_closed); i++) {
        if (!drips->is_closed)
            peer_send(drips, i < (int)sizeof(hello) - 1 ? hello + i : "x", 1);
        run_for(bed.loop, 25);
    }
    assert_true(drips->is_closed);
    assert_true(silent->is_closed);
    assert_in_range(loop_now_ms() - before, 290, 900);
    peer_free(drips);
    peer_free(silent);
}

/* With the key: a plain request line is judged before libwebsockets has it. */
static void a_zero_byte_in_a_query_hides_nothing(void **state)
{
    static const char *const asks[] = {
        "GET /x?q=%00b HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET /x?q=a%00b HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET /x?a=1&q%00=2 HTTP/1.1\r\nHost: h\r\n\r\n",
    };

    (void)state;
    serve_until(0);
    for (size_t i = 0; i < sizeof(asks) / sizeof(*asks); i++) {
        struct intruder t = {WITH(ID_A, key_a), .ask = asks[i]};

        intrude(&t);
        /* libwebsockets 4.1 hangs up by itself, 4.3 takes one in a value
         * (and drops one at its end, where nothing is behind it) */
        if (t.is_in && !strstr(t.answer, "HTTP/1.1 400 "))
            fail_msg("%s\nwas answered: %s", asks[i], t.answer);
    }
    assert_int_equal(bed.requests, 0);
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
        TEST(a_zero_byte_in_a_query_hides_nothing),
    };

    return cmocka_run_group_tests_name("base/ws, intruders", tests, NULL, NULL);
}
