/* One TLS connection on a non-blocking socket. */
#include "base/tls.h"

#include "base/mem.h"

#include <limits.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdlib.h>

#define TLS_RECORD_MAX 16384
/* Taken from the socket in one read(2) where the peer has sent so much: two
 * records with their overhead. Kept while bytes wait in it, not between. */
#define TLS_READ_BYTES (2 * (TLS_RECORD_MAX + 256))

struct tls {
    SSL *ssl;
    bool is_psk_client;
    bool is_broken; /* after SSL_ERROR_SSL nothing may be called any more */
    bool is_bye_sent;
};

static struct tls *tls_new(SSL_CTX *ctx, int fd)
{
    struct tls *t = mem_zero(1, sizeof(*t));

    ERR_clear_error();
    t->ssl = SSL_new(ctx);
    if (!t->ssl || !SSL_set_fd(t->ssl, fd))
        abort(); /* out of memory */
    SSL_set_mode(t->ssl, SSL_MODE_ENABLE_PARTIAL_WRITE |
                             SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                             SSL_MODE_RELEASE_BUFFERS);
    SSL_set_read_ahead(t->ssl, 1);
    SSL_set_default_read_buffer_len(t->ssl, TLS_READ_BYTES);
    return t;
}

struct tls *tls_accept(struct ssl_ctx_st *ctx, int fd)
{
    struct tls *t = tls_new(ctx, fd);

    SSL_set_accept_state(t->ssl);
    return t;
}

struct tls *tls_dial_psk(struct ssl_ctx_st *ctx, int fd, const char *id,
                         const uint8_t key[32])
{
    struct tls *t = tls_new(ctx, fd);

    SSL_set_connect_state(t->ssl);
    t->is_psk_client = true;
    t->is_broken = tls_psk_client_use(t->ssl, id, key) < 0;
    return t;
}

struct tls *tls_dial(struct ssl_ctx_st *ctx, int fd, const char *host)
{
    struct tls *t = tls_new(ctx, fd);

    SSL_set_connect_state(t->ssl);
    t->is_broken = tls_client_use_host(t->ssl, host) < 0;
    return t;
}

void tls_free(struct tls *t)
{
    if (!t)
        return;
    SSL_free(t->ssl);
    ERR_clear_error();
    free(t);
}

static int tls_why(struct tls *t, int r)
{
    switch (SSL_get_error(t->ssl, r)) {
    case SSL_ERROR_WANT_READ:
        return TLS_WANT_READ;
    case SSL_ERROR_WANT_WRITE:
        return TLS_WANT_WRITE;
    case SSL_ERROR_ZERO_RETURN:
        return TLS_CLOSED;
    case SSL_ERROR_SSL:
        t->is_broken = true;
        /* a peer that hangs up without close_notify: the messages above
         * this layer have ends of their own */
        if (ERR_GET_REASON(ERR_peek_error()) ==
            SSL_R_UNEXPECTED_EOF_WHILE_READING) {
            ERR_clear_error();
            return TLS_CLOSED;
        }
        ERR_clear_error();
        return TLS_FAILED;
    default:
        t->is_broken = true;
        ERR_clear_error();
        return TLS_FAILED;
    }
}

int tls_handshake(struct tls *t)
{
    int r;

    if (t->is_broken)
        return TLS_FAILED;
    ERR_clear_error();
    r = SSL_do_handshake(t->ssl);
    if (r != 1)
        return tls_why(t, r);
    if (t->is_psk_client && !tls_psk_client_gate(t->ssl)) {
        t->is_broken = true;
        return TLS_FAILED;
    }
    return 0;
}

ssize_t tls_read(struct tls *t, void *out, size_t cap)
{
    int r;

    if (t->is_broken)
        return TLS_FAILED;
    ERR_clear_error();
    r = SSL_read(t->ssl, out, cap > INT_MAX ? INT_MAX : (int)cap);
    return r > 0 ? r : tls_why(t, r);
}

ssize_t tls_write(struct tls *t, const void *bytes, size_t len)
{
    int r;

    if (t->is_broken)
        return TLS_FAILED;
    ERR_clear_error();
    r = SSL_write(t->ssl, bytes,
                  len > TLS_RECORD_MAX ? TLS_RECORD_MAX : (int)len);
    return r > 0 ? r : tls_why(t, r);
}

void tls_bye(struct tls *t)
{
    if (t->is_broken || t->is_bye_sent || !SSL_is_init_finished(t->ssl))
        return;
    t->is_bye_sent = true;
    ERR_clear_error();
    SSL_shutdown(t->ssl);
    ERR_clear_error();
}

size_t tls_pending(const struct tls *t)
{
    return (size_t)SSL_pending(t->ssl);
}
