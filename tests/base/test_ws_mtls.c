/*
 * Should a server ever ask for client certificates: libwebsockets leaves the
 * verdict to its callback, and takes "nothing to say" for a yes. The linker
 * lets the test make an ordinary server ask.
 */
// link: -Wl,--wrap=lws_create_vhost
#include "base/ws.h"
#include "tests/lib/certs.h"
#include "tests/lib/peer.h"
#include "tests/lib/programs.h"

#include <libwebsockets.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <openssl/ssl.h>

#include <cmocka.h>

#define ASK "GET /x HTTP/1.1\r\nHost: h\r\n\r\n"

static char *dir;
static struct loop *loop;
static struct ws_context *ws;
static struct ws_server *server;
static int requests;

struct lws_vhost *
__real_lws_create_vhost(struct lws_context *x,
                        const struct lws_context_creation_info *info);
struct lws_vhost *
__wrap_lws_create_vhost(struct lws_context *x,
                        const struct lws_context_creation_info *info);

static const char *path(const char *name)
{
    static char out[2][256];
    static unsigned next;

    next = (next + 1) % 2;
    snprintf(out[next], sizeof(out[next]), "%s/%s", dir, name);
    return out[next];
}

struct lws_vhost *
__wrap_lws_create_vhost(struct lws_context *x,
                        const struct lws_context_creation_info *info)
{
    struct lws_context_creation_info asks = *info;

    asks.options |= LWS_SERVER_OPTION_REQUIRE_VALID_OPENSSL_CLIENT_CERT;
    asks.ssl_ca_filepath = path("good-ca.pem");
    return __real_lws_create_vhost(x, &asks);
}

static void request(void *arg, struct ws_request *r)
{
    (void)arg;
    requests++;
    ws_respond(r, 200, NULL, 0, "asked", 5);
}

static int start(void **state)
{
    struct err e = {0};
    struct ws_server_conf conf = {
        .listen_fd = listen_tcp("127.0.0.1:0", false, &e),
        .request = request,
        .cert_path = path("srv.pem"),
        .key_path = path("srv.key"),
        .body_max = 1000,
    };

    (void)state;
    requests = 0;
    loop = loop_new();
    ws = ws_context_new(loop, 64, &e);
    server = ws_server_new(ws, &conf, &e);
    if (!server)
        print_error("%s\n", e.text);
    return server ? 0 : -1;
}

static int stop(void **state)
{
    (void)state;
    ws_server_free(server);
    ws_context_free(ws);
    loop_free(loop);
    return 0;
}

/* Ask with that certificate, NULL = none: is there an answer? */
static bool is_answered(const char *cert, const char *key)
{
    struct peer *p = peer_dial(loop, ws_server_port(server));
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    SSL *ssl = SSL_new(ctx);
    char answer[64] = "";
    int n = -1;

    loop_fd_stop(p->watch); /* its bytes are TLS's */
    p->watch = NULL;
    if (cert) {
        assert_int_equal(SSL_use_certificate_file(ssl, cert, SSL_FILETYPE_PEM),
                         1);
        assert_int_equal(SSL_use_PrivateKey_file(ssl, key, SSL_FILETYPE_PEM),
                         1);
    }
    SSL_set_fd(ssl, p->fd);
    for (int i = 0; i < 2000 && SSL_connect(ssl) != 1; i++)
        run_for(loop, 1);
    SSL_write(ssl, ASK, sizeof(ASK) - 1);
    for (int i = 0; i < 2000 && n <= 0; i++) {
        n = SSL_read(ssl, answer, sizeof(answer) - 1);
        if (n <= 0 && SSL_get_error(ssl, n) != SSL_ERROR_WANT_READ)
            break;
        run_for(loop, 1);
    }
    SSL_free(ssl);
    SSL_CTX_free(ctx);
    peer_free(p);
    return strstr(answer, " 200 ") != NULL;
}

static void a_certificate_of_another_root_is_refused(void **state)
{
    (void)state;
    assert_true(is_answered(path("good.pem"), path("good.key")));
    assert_int_equal(requests, 1);
    assert_false(is_answered(path("evil.pem"), path("evil.key")));
    assert_false(is_answered(NULL, NULL));
    assert_int_equal(requests, 1);
}

static int setup_all(void **state)
{
    (void)state;
    dir = scratch_new();
    certs_make(dir, "srv", "DNS:localhost");
    certs_make(dir, "good", "DNS:good");
    certs_make(dir, "evil", "DNS:good");
    return 0;
}

static int teardown_all(void **state)
{
    (void)state;
    scratch_remove(dir);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            a_certificate_of_another_root_is_refused, start, stop),
    };

    return cmocka_run_group_tests_name("base/ws, client certificates", tests,
                                       setup_all, teardown_all);
}
