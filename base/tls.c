/* Contexts with certificates, and what client connections need by name. */
#include "base/tls.h"

#include "base/mem.h"

#include <arpa/inet.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* TLS 1.2 suites; 1.3 has nothing but AEAD */
#define TLS_AEAD                                                               \
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:"               \
    "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:"               \
    "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305"

static const uint8_t tls_alpn[] = "\x08http/1.1";
#define TLS_ALPN_LEN (sizeof(tls_alpn) - 1)

/* The newest reason of OpenSSL's queue, and an empty queue. */
static int tls_err(struct err *e, const char *what)
{
    const unsigned long code = ERR_peek_last_error();
    const char *why = code ? ERR_reason_error_string(code) : NULL;

    err_set(e, ERR_INPUT, "%s: %s", what, why ? why : "unknown reason");
    ERR_clear_error();
    return -1;
}

/* --- server --- */

static int tls_check_key_file(const char *path, struct err *e)
{
    struct stat st;

    if (stat(path, &st) < 0)
        return err_sys(e, "TLS key %s", path);
    if (st.st_mode & (S_IROTH | S_IWOTH))
        return err_set(e, ERR_INPUT,
                       "TLS key %s is open to others: chmod o-rwx it", path);
    return 0;
}

static int tls_select_alpn(SSL *ssl, const unsigned char **out,
                           unsigned char *out_len, const unsigned char *in,
                           unsigned int in_len, void *arg)
{
    unsigned char *choice;

    (void)ssl, (void)arg;
    if (SSL_select_next_proto(&choice, out_len, tls_alpn, TLS_ALPN_LEN, in,
                              in_len) != OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    *out = choice;
    return SSL_TLSEXT_ERR_OK;
}

static int tls_harden_server(SSL_CTX *ctx)
{
    SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                                 SSL_OP_CIPHER_SERVER_PREFERENCE |
                                 SSL_OP_NO_TICKET);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS |
                              SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_alpn_select_cb(ctx, tls_select_alpn, NULL);
    SSL_CTX_set_tlsext_servername_callback(ctx, NULL);
    return SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION) &&
                   SSL_CTX_set_cipher_list(ctx, TLS_AEAD) &&
                   SSL_CTX_set_num_tickets(ctx, 0)
               ? 0
               : -1;
}

static int tls_load(SSL_CTX *ctx, const char *cert_path, const char *key_path,
                    struct err *e)
{
    if (tls_check_key_file(key_path, e) < 0)
        return -1;
    ERR_clear_error();
    if (SSL_CTX_use_certificate_chain_file(ctx, cert_path) != 1) {
        tls_err(e, "no certificate in PEM form");
        return err_wrap(e, "TLS certificate %s", cert_path);
    }
    if (SSL_CTX_use_PrivateKey_file(ctx, key_path, SSL_FILETYPE_PEM) != 1) {
        tls_err(e, "no private key in PEM form that fits the certificate");
        return err_wrap(e, "TLS key %s", key_path);
    }
    if (SSL_CTX_check_private_key(ctx) != 1) {
        tls_err(e, "does not belong to the certificate");
        return err_wrap(e, "TLS key %s", key_path);
    }
    return 0;
}

struct ssl_ctx_st *tls_server_ctx(const char *cert_path, const char *key_path,
                                  struct err *e)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());

    if (!ctx || tls_harden_server(ctx) < 0) {
        SSL_CTX_free(ctx);
        err_set(e, ERR_SYSTEM, "TLS server context");
        return NULL;
    }
    if (tls_load(ctx, cert_path, key_path, e) < 0) {
        SSL_CTX_free(ctx);
        return NULL;
    }
    return ctx;
}

int tls_server_setup(struct ssl_ctx_st *ctx, const char *cert_path,
                     const char *key_path, struct err *e)
{
    /* read and matched apart, so that a bad pair never reaches ctx */
    SSL_CTX *fresh = tls_server_ctx(cert_path, key_path, e);
    STACK_OF(X509) *chain = NULL;
    int r = -1;

    if (!fresh)
        return -1;
    SSL_CTX_get0_chain_certs(fresh, &chain);
    if (tls_harden_server(ctx) == 0 &&
        SSL_CTX_use_cert_and_key(ctx, SSL_CTX_get0_certificate(fresh),
                                 SSL_CTX_get0_privatekey(fresh), chain, 1) == 1)
        r = 0;
    else
        tls_err(e, "TLS certificate could not be put to use");
    SSL_CTX_free(fresh);
    return r;
}

/* --- client --- */

struct ssl_ctx_st *tls_client_ctx(const char *ca_path, struct err *e)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    int ok;

    if (!ctx || !SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION) ||
        !SSL_CTX_set_cipher_list(ctx, TLS_AEAD)) {
        SSL_CTX_free(ctx);
        err_set(e, ERR_SYSTEM, "TLS client context");
        return NULL;
    }
    ERR_clear_error();
    ok = ca_path ? SSL_CTX_load_verify_file(ctx, ca_path)
                 : SSL_CTX_set_default_verify_paths(ctx);
    if (!ok) {
        tls_err(e, ca_path ? ca_path : "system roots");
        err_wrap(e, "TLS roots");
        SSL_CTX_free(ctx);
        return NULL;
    }
    SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS |
                              SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
    return ctx;
}

void tls_ctx_free(struct ssl_ctx_st *ctx)
{
    SSL_CTX_free(ctx);
}

int tls_client_use_host(struct ssl_st *ssl, const char *host)
{
    X509_VERIFY_PARAM *param = SSL_get0_param(ssl);
    uint8_t ip[16];

    X509_VERIFY_PARAM_set_hostflags(param,
                                    X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    if (inet_pton(AF_INET, host, ip) == 1 || inet_pton(AF_INET6, host, ip) == 1)
        return X509_VERIFY_PARAM_set1_host(param, NULL, 0) == 1 &&
                       X509_VERIFY_PARAM_set1_ip_asc(param, host) == 1 &&
                       SSL_set_tlsext_host_name(ssl, NULL) == 1
                   ? 0
                   : -1;
    return X509_VERIFY_PARAM_set1_host(param, host, 0) == 1 &&
                   SSL_set_tlsext_host_name(ssl, host) == 1
               ? 0
               : -1;
}

const char *tls_client_refused(struct ssl_st *ssl)
{
    const long why = ssl ? SSL_get_verify_result(ssl) : X509_V_OK;

    return why == X509_V_OK ? NULL : X509_verify_cert_error_string(why);
}

struct tls_start {
    void (*fn)(void *arg, struct ssl_st *ssl);
    void *arg;
};

static pthread_once_t tls_once = PTHREAD_ONCE_INIT;
static int tls_start_index = -1; /* SSL_CTX: struct tls_start */

static void tls_start_release(void *parent, void *p, CRYPTO_EX_DATA *ad,
                              int index, long argl, void *argp)
{
    (void)parent, (void)ad, (void)index, (void)argl, (void)argp;
    free(p);
}

static void tls_indexes(void)
{
    tls_start_index =
        SSL_CTX_get_ex_new_index(0, NULL, NULL, NULL, tls_start_release);
    if (tls_start_index < 0)
        abort();
}

static void tls_info(const SSL *ssl, int where, int ret)
{
    const struct tls_start *s;

    (void)ret;
    if (!(where & SSL_CB_HANDSHAKE_START))
        return;
    s = SSL_CTX_get_ex_data(SSL_get_SSL_CTX(ssl), tls_start_index);
    if (s)
        s->fn(s->arg, (SSL *)(uintptr_t)ssl);
}

void tls_client_on_start(struct ssl_ctx_st *ctx,
                         void (*fn)(void *arg, struct ssl_st *ssl), void *arg)
{
    struct tls_start *s = mem_zero(1, sizeof(*s));

    *s = (struct tls_start){.fn = fn, .arg = arg};
    pthread_once(&tls_once, tls_indexes);
    if (!SSL_CTX_set_ex_data(ctx, tls_start_index, s))
        abort();
    SSL_CTX_set_info_callback(ctx, tls_info);
}
