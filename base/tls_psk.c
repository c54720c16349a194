/*
 * TLS 1.3 with an external key. Both ends speak one suite, so one hash; there
 * are no tickets and no session cache (a ticket would be a second key). An
 * unknown identity is answered with a decoy key, so that it fails exactly as
 * a wrong key does.
 */
#include "base/tls.h"

#include "base/mem.h"

#include <assert.h>
#include <openssl/crypto.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define PSK_BYTES 32
#define PSK_SUITE "TLS_AES_256_GCM_SHA384"
/* ours on both ends; the default list of OpenSSL 3.5 costs 2.5 KB and twice
 * the CPU */
#define PSK_GROUP "X25519"

static_assert(sizeof(void *) == sizeof(uint64_t), "a tag rides in a pointer");

/* on the server's SSL_CTX */
struct psk_server {
    tls_psk_find find;
    void *arg;
    uint8_t decoy[PSK_BYTES];
};

/* on the client's SSL */
struct psk_client {
    uint8_t key[PSK_BYTES];
    size_t id_len;
    char id[]; /* handed to OpenSSL, which reads it during the handshake */
};

static pthread_once_t psk_once = PTHREAD_ONCE_INIT;
static int psk_server_index = -1; /* SSL_CTX: struct psk_server */
static int psk_client_index = -1; /* SSL: struct psk_client */
static int psk_known_index = -1;  /* SSL_SESSION: non-NULL, find knew it */
static int psk_tag_index = -1;    /* SSL_SESSION: the tag */

static void psk_server_release(void *parent, void *p, CRYPTO_EX_DATA *ad,
                               int index, long argl, void *argp)
{
    (void)parent, (void)ad, (void)index, (void)argl, (void)argp;
    if (!p)
        return;
    OPENSSL_cleanse(p, sizeof(struct psk_server));
    free(p);
}

static void psk_client_release(void *parent, void *p, CRYPTO_EX_DATA *ad,
                               int index, long argl, void *argp)
{
    (void)parent, (void)ad, (void)index, (void)argl, (void)argp;
    if (!p)
        return;
    OPENSSL_cleanse(p, sizeof(struct psk_client));
    free(p);
}

static void psk_indexes(void)
{
    psk_server_index =
        SSL_CTX_get_ex_new_index(0, NULL, NULL, NULL, psk_server_release);
    psk_client_index =
        SSL_get_ex_new_index(0, NULL, NULL, NULL, psk_client_release);
    psk_known_index = SSL_SESSION_get_ex_new_index(0, NULL, NULL, NULL, NULL);
    psk_tag_index = SSL_SESSION_get_ex_new_index(0, NULL, NULL, NULL, NULL);
    if (psk_server_index < 0 || psk_client_index < 0 || psk_known_index < 0 ||
        psk_tag_index < 0)
        abort();
}

/* A session for one handshake: OpenSSL asks twice after a HelloRetryRequest,
 * and a session kept for later would age out after some minutes. */
static SSL_SESSION *psk_session(SSL *ssl, const uint8_t key[PSK_BYTES])
{
    static const uint8_t suite[] = {0x13, 0x02}; /* PSK_SUITE */
    const SSL_CIPHER *cipher = SSL_CIPHER_find(ssl, suite);
    SSL_SESSION *s = SSL_SESSION_new();

    if (s && cipher && SSL_SESSION_set1_master_key(s, key, PSK_BYTES) &&
        SSL_SESSION_set_cipher(s, cipher) &&
        SSL_SESSION_set_protocol_version(s, TLS1_3_VERSION))
        return s;
    SSL_SESSION_free(s);
    return NULL;
}

static int psk_common(SSL_CTX *ctx)
{
    pthread_once(&psk_once, psk_indexes);
    SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    if (SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION) &&
        SSL_CTX_set_max_proto_version(ctx, TLS1_3_VERSION) &&
        SSL_CTX_set_ciphersuites(ctx, PSK_SUITE) &&
        SSL_CTX_set1_groups_list(ctx, PSK_GROUP))
        return 0;
    return -1;
}

/* --- server --- */

static int psk_find_cb(SSL *ssl, const unsigned char *id, size_t id_len,
                       SSL_SESSION **out)
{
    const struct psk_server *p =
        SSL_CTX_get_ex_data(SSL_get_SSL_CTX(ssl), psk_server_index);
    uint8_t key[PSK_BYTES];
    uint64_t tag = 0;
    bool is_known;

    *out = NULL;
    if (!p)
        return 0;
    is_known = p->find(p->arg, id, id_len, key, &tag) == 0;
    *out = psk_session(ssl, is_known ? key : p->decoy);
    OPENSSL_cleanse(key, sizeof(key));
    if (!*out)
        return 0;
    if (is_known && (!SSL_SESSION_set_ex_data(*out, psk_known_index, *out) ||
                     !SSL_SESSION_set_ex_data(*out, psk_tag_index,
                                              (void *)(uintptr_t)tag))) {
        SSL_SESSION_free(*out);
        *out = NULL;
    }
    return *out != NULL;
}

int tls_psk_server_setup(struct ssl_ctx_st *ctx, tls_psk_find find, void *arg)
{
    struct psk_server *p;

    if (psk_common(ctx) < 0 || !SSL_CTX_set_num_tickets(ctx, 0))
        return -1;
    p = mem_zero(1, sizeof(*p));
    p->find = find;
    p->arg = arg;
    if (RAND_bytes(p->decoy, sizeof(p->decoy)) != 1 ||
        !SSL_CTX_set_ex_data(ctx, psk_server_index, p)) {
        free(p);
        return -1;
    }
    /* one context, one set of keys: no other context by the name asked for */
    SSL_CTX_set_tlsext_servername_callback(ctx, NULL);
    SSL_CTX_set_psk_find_session_callback(ctx, psk_find_cb);
    return 0;
}

int tls_psk_peer(struct ssl_st *ssl, uint64_t *tag)
{
    SSL_SESSION *s;

    if (!ssl || !SSL_is_init_finished(ssl) || !SSL_session_reused(ssl) ||
        SSL_version(ssl) != TLS1_3_VERSION)
        return -1;
    pthread_once(&psk_once, psk_indexes);
    s = SSL_get0_session(ssl);
    if (!s || !SSL_SESSION_get_ex_data(s, psk_known_index))
        return -1;
    *tag = (uint64_t)(uintptr_t)SSL_SESSION_get_ex_data(s, psk_tag_index);
    return 0;
}

/* --- client --- */

static int psk_no_certificate(X509_STORE_CTX *x, void *arg)
{
    (void)arg;
    X509_STORE_CTX_set_error(x, X509_V_ERR_APPLICATION_VERIFICATION);
    return 0;
}

static int psk_use_cb(SSL *ssl, const EVP_MD *md, const unsigned char **id,
                      size_t *id_len, SSL_SESSION **out)
{
    const struct psk_client *p = SSL_get_ex_data(ssl, psk_client_index);

    (void)md; /* one suite, so one hash */
    *out = p ? psk_session(ssl, p->key) : NULL;
    if (!*out)
        return 0; /* aborts; 1 and NULL would go on without a key */
    *id = (const unsigned char *)p->id;
    *id_len = p->id_len;
    return 1;
}

struct ssl_ctx_st *tls_psk_client_ctx(struct err *e)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());

    if (!ctx || psk_common(ctx) < 0) {
        SSL_CTX_free(ctx);
        err_set(e, ERR_SYSTEM, "TLS context for a session key");
        return NULL;
    }
    SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS |
                              SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_cert_verify_callback(ctx, psk_no_certificate, NULL);
    SSL_CTX_set_psk_use_session_callback(ctx, psk_use_cb);
    return ctx;
}

int tls_psk_client_use(struct ssl_st *ssl, const char *id,
                       const uint8_t key[PSK_BYTES])
{
    const size_t id_len = strlen(id);
    struct psk_client *p, *old;

    pthread_once(&psk_once, psk_indexes);
    p = mem_zero(1, sizeof(*p) + id_len + 1);
    memcpy(p->key, key, sizeof(p->key));
    memcpy(p->id, id, id_len);
    p->id_len = id_len;
    old = SSL_get_ex_data(ssl, psk_client_index);
    if (!SSL_set_ex_data(ssl, psk_client_index, p)) {
        psk_client_release(NULL, p, NULL, 0, 0, NULL);
        return -1;
    }
    psk_client_release(NULL, old, NULL, 0, 0, NULL);
    return 0;
}

bool tls_psk_client_gate(struct ssl_st *ssl)
{
    return ssl && SSL_is_init_finished(ssl) &&
           SSL_version(ssl) == TLS1_3_VERSION && SSL_session_reused(ssl) &&
           !SSL_get0_peer_certificate(ssl);
}
