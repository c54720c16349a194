#include "tests/lib/tlsends.h"

#include "base/tls.h"

#include <openssl/err.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

struct ends ends;

void ends_turn(SSL *ssl, int *ok)
{
    if (*ok != 0)
        return;
    ERR_clear_error();
    *ok = SSL_do_handshake(ssl);
    if (*ok == 1)
        return;
    switch (SSL_get_error(ssl, *ok)) {
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE:
        *ok = 0;
        break;
    default:
        *ok = -1;
    }
}

static void told(const SSL *ssl, int where, int ret)
{
    (void)ssl;
    if (where & SSL_CB_READ && where & SSL_CB_ALERT)
        ends.alert = ret & 0xff;
}

void ends_meet(SSL_CTX *server, SSL_CTX *client)
{
    memset(&ends, 0, sizeof(ends));
    assert_int_equal(
        socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends.fds), 0);
    ends.server = SSL_new(server);
    ends.client = SSL_new(client);
    SSL_set_fd(ends.server, ends.fds[0]);
    SSL_set_fd(ends.client, ends.fds[1]);
    SSL_set_accept_state(ends.server);
    SSL_set_connect_state(ends.client);
    SSL_set_info_callback(ends.client, told);
}

void ends_shake(void)
{
    char byte;

    for (int i = 0; i < ENDS_TURNS; i++) {
        ends_turn(ends.client, &ends.client_ok);
        ends_turn(ends.server, &ends.server_ok);
    }
    /* a TLS 1.3 client hears of its refusal, and of tickets, afterwards */
    if (ends.client_ok == 1)
        (void)!SSL_read(ends.client, &byte, 1);
    ERR_clear_error();
}

void ends_part(void)
{
    /* else OpenSSL holds their sessions for broken */
    SSL_set_shutdown(ends.server, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    SSL_set_shutdown(ends.client, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    SSL_free(ends.server);
    SSL_free(ends.client);
    close(ends.fds[0]);
    close(ends.fds[1]);
}

int ends_anybody(X509_STORE_CTX *store, void *arg)
{
    (void)arg;
    X509_STORE_CTX_set_error(store, X509_V_OK);
    return 1;
}

SSL_CTX *ends_our_client(void)
{
    struct err e = {0};
    SSL_CTX *ctx = tls_psk_client_ctx(&e);

    assert_non_null(ctx);
    return ctx;
}

SSL_CTX *ends_our_server(void)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());

    assert_int_equal(tls_psk_server_setup(ctx, kit_find, NULL), 0);
    return ctx;
}

void ends_certify(SSL_CTX *ctx)
{
    assert_int_equal(
        SSL_CTX_use_certificate_chain_file(ctx, kit_path("srv.pem")), 1);
    assert_int_equal(
        SSL_CTX_use_PrivateKey_file(ctx, kit_path("srv.key"), SSL_FILETYPE_PEM),
        1);
}

SSL_CTX *ends_their_server(void)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());

    ends_certify(ctx);
    return ctx;
}
