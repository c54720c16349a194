/*
 * TLS set-up and streams (doorway on OpenSSL). Three uses:
 *  - PSK: gateway/controller to agent, TLS 1.3, one suite, no certificate
 *    (pitfalls: docs/libraries.md);
 *  - server certificate, reloadable;
 *  - client with certificate check.
 * A context is refcounted and may be shared by threads; a stream belongs to
 * one thread and never blocks. The process ignores SIGPIPE.
 */
#ifndef PODTERM_BASE_TLS_H
#define PODTERM_BASE_TLS_H

#include "base/err.h"
#include "base/vocab.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct ssl_ctx_st; /* SSL_CTX, for base/ws.c to hand to libwebsockets */
struct ssl_st;     /* SSL */

/* --- PSK, server side (the agent) --- */

/*
 * Key for a PSK identity. id: the peer's bytes, any length, hostile.
 * Returns 0 and fills key, or -1 for unknown: the handshake then runs
 * against a decoy and fails exactly as a wrong key does.
 * *tag: a number that tls_psk_peer gives back for this connection.
 */
typedef int (*tls_psk_find)(void *arg, const uint8_t *id, size_t id_len,
                            uint8_t key[32], uint64_t *tag);

/* Turn ctx into a PSK-only TLS 1.3 server. 0, or -1. Called from
 * libwebsockets' hook. find and arg must outlive ctx. */
int tls_psk_server_setup(struct ssl_ctx_st *ctx, tls_psk_find find, void *arg);

/* Was this connection made with a key that find knew? Then 0 and its tag;
 * else -1: refuse before any byte is answered. */
int tls_psk_peer(struct ssl_st *ssl, uint64_t *tag);

/* --- PSK, client side (gateway, controller) --- */

/* A client context that refuses every certificate. */
struct ssl_ctx_st *tls_psk_client_ctx(struct err *e);
/* Give a connection its key and identity before its handshake; both are
 * copied, and wiped with the SSL object. */
int tls_psk_client_use(struct ssl_st *ssl, const char *id,
                       const uint8_t key[32]);
/* The last gate before the request and its token leave: TLS 1.3, resumed by
 * the PSK, no certificate. */
bool tls_psk_client_gate(struct ssl_st *ssl);

/* --- certificates --- */

/* Server context: TLS 1.2+, AEAD suites, http/1.1 ALPN, RELEASE_BUFFERS.
 * The key file must not be readable by others. */
struct ssl_ctx_st *tls_server_ctx(const char *cert_path, const char *key_path,
                                  struct err *e);
/* The same for a context that exists (libwebsockets makes its own), and
 * again to renew it: connections made before keep theirs, and on failure the
 * old certificate stays. */
int tls_server_setup(struct ssl_ctx_st *ctx, const char *cert_path,
                     const char *key_path, struct err *e);
/* Client context: system roots, or ca_path alone when given. */
struct ssl_ctx_st *tls_client_ctx(const char *ca_path, struct err *e);
void tls_ctx_free(struct ssl_ctx_st *ctx);
/* Check the server's certificate against host (a name or an IP literal) and
 * ask for it by SNI if it is a name. Before the handshake; -1 on failure. */
int tls_client_use_host(struct ssl_st *ssl, const char *host);
/* Why the server's certificate was refused; NULL = it was not. */
const char *tls_client_refused(struct ssl_st *ssl);
/* Call fn when a client connection of ctx is about to start its handshake:
 * the place for tls_psk_client_use and tls_client_use_host where somebody
 * else (libwebsockets) makes the connection. arg must outlive ctx. */
void tls_client_on_start(struct ssl_ctx_st *ctx,
                         void (*fn)(void *arg, struct ssl_st *ssl), void *arg);

/* --- streams --- */

struct tls; /* one TLS connection on a non-blocking socket it does not own */

enum tls_io { /* negative results of tls_* calls */
              TLS_WANT_READ = -1,
              TLS_WANT_WRITE = -2,
              TLS_CLOSED = -3, /* close_notify or EOF */
              TLS_FAILED = -4,
};

struct tls *tls_accept(struct ssl_ctx_st *ctx, int fd);
/* PSK client stream; see tls_psk_client_use. */
struct tls *tls_dial_psk(struct ssl_ctx_st *ctx, int fd, const char *id,
                         const uint8_t key[32]);
/* Client stream that checks the certificate against host. */
struct tls *tls_dial(struct ssl_ctx_st *ctx, int fd, const char *host);
void tls_free(struct tls *t);
/* 0 when done, else an enum tls_io. For a PSK client success includes
 * tls_psk_client_gate. */
int tls_handshake(struct tls *t);
/* Bytes moved (> 0) or an enum tls_io. tls_write writes at most one record
 * (16 KiB): loop. The error queue is cleared before each call. */
ssize_t tls_read(struct tls *t, void *out, size_t cap);
ssize_t tls_write(struct tls *t, const void *bytes, size_t len);
/* Send close_notify once, if it goes without blocking. */
void tls_bye(struct tls *t);
/* Decrypted bytes waiting inside, that no epoll will tell of. */
size_t tls_pending(const struct tls *t);

#endif
