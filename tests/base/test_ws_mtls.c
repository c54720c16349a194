/*
 * Should a server ever ask for client certificates: libwebsockets leaves the
 * verdict to its callback, and takes "nothing to say" for a yes. The linker
 * lets the test make an ordinary server ask.
 */
// link: -Wl,--wrap=lws_create_vhost
#include "base/ws.h"
#include "tests/lib/certs.h"
#include "tests/lib/tlskit.h"
#include "tests/lib/wsbed.h"

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

struct lws_vhost *
__real_lws_create_vhost(struct lws_context *x,
                        const struct lws_context_creation_info *info);
struct lws_vhost *
__wrap_lws_create_vhost(struct lws_context *x,
                        const struct lws_context_creation_info *info);

struct lws_vhost *
__wrap_lws_create_vhost(struct lws_context *x,
                        const struct lws_context_creation_info *info)
{
    struct lws_context_creation_info asks = *info;

    asks.options |= LWS_SERVER_OPTION_REQUIRE_VALID_OPENSSL_CLIENT_CERT;
    asks.ssl_ca_filepath = kit_path("good-ca.pem");
    return __real_lws_create_vhost(x, &asks);
}

static int start(void **state)
{
    struct ws_server_conf conf;

    (void)state;
    bed_start();
    conf = bed_conf();
    conf.cert_path = kit_path("srv.pem");
    conf.key_path = kit_path("srv.key");
    bed_serve(&conf);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    bed_stop();
    return 0;
}

/* Ask with that certificate, NULL = none: is there an answer? */
static bool is_answered(const char *cert, const char *key)
{
    struct peer *p = bed_dial();
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
        run_for(bed.loop, 1);
    SSL_write(ssl, ASK, sizeof(ASK) - 1);
    for (int i = 0; i < 2000 && n <= 0; i++) {
        n = SSL_read(ssl, answer, sizeof(answer) - 1);
        if (n <= 0 && SSL_get_error(ssl, n) != SSL_ERROR_WANT_READ)
            break;
        run_for(bed.loop, 1);
    }
    SSL_free(ssl);
    SSL_CTX_free(ctx);
    peer_free(p);
    return strstr(answer, " 200 ") != NULL;
}

static void a_certificate_of_another_root_is_refused(void **state)
{
    (void)state;
    assert_true(is_answered(kit_path("good.pem"), kit_path("good.key")));
    assert_int_equal(bed.requests, 1);
    assert_false(is_answered(kit_path("evil.pem"), kit_path("evil.key")));
    assert_false(is_answered(NULL, NULL));
    assert_int_equal(bed.requests, 1);
}

static int setup_all(void **state)
{
    kit_setup(state);
    certs_make(kit_dir, "good", "DNS:good");
    certs_make(kit_dir, "evil", "DNS:good");
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            a_certificate_of_another_root_is_refused, start, stop),
    };

    return cmocka_run_group_tests_name("base/ws, client certificates", tests,
                                       setup_all, kit_teardown);
}
