/*
 * Guards of the doorway on libwebsockets that others stand before, each
 * alone: the linker lets the test take the others out, or do what a newer
 * libwebsockets does.
 */
// link: -Wl,--wrap=tls_psk_server_setup -Wl,--wrap=tls_psk_client_ctx
// link: -Wl,--wrap=ws_http_body -Wl,--wrap=ws_http_body_end
#include "base/mem.h"
#include "base/own.h"
#include "base/ws.h"
#include "tests/lib/tlskit.h"
#include "tests/lib/wsbed.h"

#include <arpa/inet.h>
#include <openssl/ssl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define EXCESS 60000
#define DEADLINE_MS 3000 /* of a head and its body */

static size_t body_len;         /* of the last request */
static bool takes_certificates; /* TLS-PSK is as weak as can be */
static size_t excess; /* bytes that libwebsockets 4.3.5 gives beyond a body */

/* --- what is taken out --- */

int __real_tls_psk_server_setup(struct ssl_ctx_st *ctx, tls_psk_find find,
                                void *arg);
int __wrap_tls_psk_server_setup(struct ssl_ctx_st *ctx, tls_psk_find find,
                                void *arg);
struct ssl_ctx_st *__real_tls_psk_client_ctx(struct err *e);
struct ssl_ctx_st *__wrap_tls_psk_client_ctx(struct err *e);
int __real_ws_http_body(struct ws_conn *c, const uint8_t *bytes, size_t len);
int __wrap_ws_http_body(struct ws_conn *c, const uint8_t *bytes, size_t len);
int __real_ws_http_body_end(struct ws_conn *c);
int __wrap_ws_http_body_end(struct ws_conn *c);

/* A server that also has a certificate, so that who has no key gets in. */
int __wrap_tls_psk_server_setup(struct ssl_ctx_st *ctx, tls_psk_find find,
                                void *arg)
{
    int r = __real_tls_psk_server_setup(ctx, find, arg);

    if (takes_certificates) {
        SSL_CTX_use_certificate_chain_file(ctx, kit_path("srv.pem"));
        SSL_CTX_use_PrivateKey_file(ctx, kit_path("srv.key"), SSL_FILETYPE_PEM);
    }
    return r;
}

static int anybody(X509_STORE_CTX *store, void *arg)
{
    (void)arg;
    X509_STORE_CTX_set_error(store, X509_V_OK);
    return 1;
}

/* A client that takes any certificate. */
struct ssl_ctx_st *__wrap_tls_psk_client_ctx(struct err *e)
{
    struct ssl_ctx_st *ctx = __real_tls_psk_client_ctx(e);

    if (ctx && takes_certificates)
        SSL_CTX_set_cert_verify_callback(ctx, anybody, NULL);
    return ctx;
}

/* 4.3.5 hands over whatever follows the body, and never says that it ends. */
int __wrap_ws_http_body(struct ws_conn *c, const uint8_t *bytes, size_t len)
{
    own_mem uint8_t *more = NULL;

    if (!excess)
        return __real_ws_http_body(c, bytes, len);
    more = mem_zero(len + excess, 1);
    memcpy(more, bytes, len);
    return __real_ws_http_body(c, more, len + excess);
}

int __wrap_ws_http_body_end(struct ws_conn *c)
{
    return excess ? 0 : __real_ws_http_body_end(c);
}

/* --- both ends --- */

static void request(void *arg, struct ws_request *r)
{
    (void)arg;
    bed.requests++;
    ws_request_body(r, &body_len);
    ws_respond(r, 200, NULL, 0, "asked", 5);
}

static void serve(bool is_psk)
{
    struct ws_server_conf conf = bed_conf();

    conf.request = request;
    conf.psk_find = is_psk ? kit_find : NULL;
    conf.head_deadline_ms = DEADLINE_MS;
    bed_serve(&conf);
}

static int start(void **state)
{
    (void)state;
    bed_start();
    return 0;
}

static int stop(void **state)
{
    (void)state;
    takes_certificates = false;
    excess = 0;
    bed_stop();
    return 0;
}

/* --- a finished handshake is not enough --- */

/* A TLS stream beside the loop: turns of each until the handshake is over. */
static int shake(struct tls *t)
{
    int rc = TLS_WANT_READ;

    for (int i = 0; i < 1000 && (rc == TLS_WANT_READ || rc == TLS_WANT_WRITE);
         i++) {
        rc = tls_handshake(t);
        run_for(bed.loop, 1);
    }
    return rc;
}

/* What comes within ms, until the end. */
static size_t hear(struct tls *t, char *out, size_t cap, int ms)
{
    size_t len = 0;

    for (int i = 0; i < ms && len < cap; i++) {
        ssize_t n = tls_read(t, out + len, cap - len);

        if (n > 0)
            len += (size_t)n;
        else if (n != TLS_WANT_READ)
            break;
        run_for(bed.loop, 1);
    }
    return len;
}

#define UP_TO(upgrade, more)                                                   \
    "GET /v1/attach HTTP/1.1\r\nHost: h\r\nUpgrade: " upgrade "\r\n"           \
    "Connection: Upgrade, HTTP2-Settings\r\n" more                             \
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"                          \
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: " SUB "\r\n\r\n"
#define UP_WITH(upgrade) UP_TO(upgrade, "")

static void who_has_shown_no_key_is_not_heard(void **state)
{
    static const char *const asks[] = {
        "GET /metrics HTTP/1.1\r\nHost: h\r\n\r\n",
        "POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\nx",
        "POST /x HTTP/1.1\r\nHost: h\r\n\r\n",
        UP_WITH("websocket"),
    };
    struct err e = {0};
    struct ssl_ctx_st *ctx;

    (void)state;
    takes_certificates = true;
    serve(true);
    ctx = tls_client_ctx(kit_path("srv-ca.pem"), &e);
    assert_non_null(ctx);
    for (size_t i = 0; i < sizeof(asks) / sizeof(*asks); i++) {
        struct peer *p = bed_dial();
        struct tls *t;
        char got[256];

        loop_fd_stop(p->watch); /* its bytes are TLS's */
        p->watch = NULL;
        t = tls_dial(ctx, p->fd, "localhost");
        assert_int_equal(shake(t), 0); /* TLS had no objection */
        assert_int_equal(tls_write(t, asks[i], strlen(asks[i])),
                         strlen(asks[i]));
        if (hear(t, got, sizeof(got), 1000) > 0)
            fail_msg("%s\nwas answered", asks[i]);
        tls_free(t);
        peer_free(p);
    }
    assert_int_equal(bed.requests + bed.opened, 0);
    tls_ctx_free(ctx);
}

static void who_has_shown_no_key_is_asked_nothing(void **state)
{
    struct err e = {0};
    own_fd int listen_fd = listen_tcp("127.0.0.1:0", false, &e), fd = -1;
    struct ssl_ctx_st *ctx =
        tls_server_ctx(kit_path("srv.pem"), kit_path("srv.key"), &e);
    struct sockaddr_storage at;
    socklen_t len = sizeof(at);
    struct ws_dial_conf conf = {
        .addr = (struct sockaddr *)&at,
        .addr_len = sizeof(at),
        .host = "agent.invalid",
        .path = "/v1/attach",
        .subprotocol = SUB,
        .psk_id = KIT_ID,
        .psk_key = kit_key,
        .verbs = &bed_verbs,
        .arg = &bed,
        .message_max = 1000,
        .timeout_ms = DEADLINE_MS,
    };
    struct tls *t;
    char got[256];

    (void)state;
    assert_non_null(ctx);
    takes_certificates = true;
    getsockname(listen_fd, (struct sockaddr *)&at, &len);
    assert_non_null(ws_dial(bed.ws, &conf, &e));
    for (int i = 0; i < 1000 && fd < 0; i++) {
        fd = accept4(listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        run_for(bed.loop, 1);
    }
    t = tls_accept(ctx, fd);
    assert_int_equal(shake(t), 0); /* TLS had no objection */
    assert_int_equal(hear(t, got, sizeof(got), 1000), 0);
    run_for(bed.loop, 50);
    assert_int_equal(bed.opened, 0);
    assert_int_equal(bed.closed, 1);
    tls_free(t);
    tls_ctx_free(ctx);
}

/* --- upgrades to something else --- */

static void nothing_but_websocket_is_upgraded_to(void **state)
{
    static const char *const asks[] = {
        UP_WITH("h2c"),
        UP_WITH("H2C"),
        UP_WITH("h2c, websocket"),
        UP_WITH("websocket, h2c"),
        UP_WITH("websocket2"),
        UP_WITH("websocke"),
        UP_WITH("web socket"),
        UP_WITH("TLS/1.2"),
        UP_WITH("a-name-that-is-longer-than-any-upgrade-there-ever-was"),
        /* with all that either of the two asks for */
        UP_TO("h2c", "HTTP2-Settings: AAMAAABkAAQAAP__\r\n"),
        "GET /v1/attach HTTP/1.1\r\nHost: h\r\nUpgrade: h2c\r\n"
        "Connection: Upgrade, HTTP2-Settings\r\n"
        "HTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n",
    };
    struct peer *p;

    (void)state;
    serve(false);
    for (size_t i = 0; i < sizeof(asks) / sizeof(*asks); i++) {
        p = bed_dial();
        peer_say(p, asks[i]);
        if (!peer_wait_closed(p, DEADLINE_MS / 2))
            fail_msg("not closed: %s", asks[i]);
        /* hung up on, or refused by libwebsockets before we are asked */
        if (p->len && strncmp(p->in, "HTTP/1.0 403 ", 13) != 0 &&
            strncmp(p->in, "HTTP/1.1 403 ", 13) != 0)
            fail_msg("%s\nwas answered: %s", asks[i], p->in);
        peer_free(p);
    }
    assert_int_equal(bed.requests + bed.opened, 0);
    /* the very request they all change a little is taken, in any case */
    p = bed_dial();
    peer_say(p, UP_WITH("WebSocket"));
    assert_true(peer_wait(p, "HTTP/1.1 101 ", 2000));
    peer_free(p);
}

/* --- more body than was said --- */

static void a_body_longer_than_it_said_is_hung_up_on(void **state)
{
    static const size_t more[] = {1, 100, BED_BODY_MAX, EXCESS};

    (void)state;
    serve(false);
    for (size_t i = 0; i < sizeof(more) / sizeof(*more); i++) {
        struct peer *p = bed_dial();

        excess = more[i];
        peer_say(p, "POST /x HTTP/1.1\r\nHost: h\r\n"
                    "Content-Length: 5\r\n\r\nhello");
        if (!peer_wait_closed(p, DEADLINE_MS / 2))
            fail_msg("it hangs with %zu bytes more", more[i]);
        assert_int_equal(p->len, 0);
        peer_free(p);
    }
    assert_int_equal(bed.requests, 0);
}

static void bytes_behind_a_body_are_no_part_of_it(void **state)
{
    static char big[EXCESS + 256];
    struct peer *p;
    size_t len;

    (void)state;
    serve(false);
    len = (size_t)snprintf(big, sizeof(big),
                           "POST /x HTTP/1.1\r\nHost: h\r\n"
                           "Content-Length: 5\r\n\r\nhello");
    memset(big + len, 'x', sizeof(big) - len);
    p = bed_dial();
    peer_send(p, big, sizeof(big));
    if (!peer_wait_closed(p, DEADLINE_MS / 2))
        fail_msg("it hangs: requests %d, %s", bed.requests, p->in);
    assert_in_range(bed.requests, 0, 1);
    if (bed.requests)
        assert_int_equal(body_len, 5);
    peer_free(p);
}

#define TEST(t) cmocka_unit_test_setup_teardown(t, start, stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(who_has_shown_no_key_is_not_heard),
        TEST(who_has_shown_no_key_is_asked_nothing),
        TEST(nothing_but_websocket_is_upgraded_to),
        TEST(a_body_longer_than_it_said_is_hung_up_on),
        TEST(bytes_behind_a_body_are_no_part_of_it),
    };

    return cmocka_run_group_tests(tests, kit_setup, kit_teardown);
}
