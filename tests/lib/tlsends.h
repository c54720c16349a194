/*
 * Two TLS ends over a socket pair with nothing of ours between them and
 * OpenSSL: for guards that are tried one by one. One pair at a time; keys and
 * certificates are tlskit's.
 */
#ifndef PODTERM_TESTS_LIB_TLSENDS_H
#define PODTERM_TESTS_LIB_TLSENDS_H

#include "tests/lib/tlskit.h"

#include <openssl/ssl.h>
#include <stdint.h>

#define ENDS_TURNS 20 /* enough for any handshake */

struct ends {
    int fds[2]; /* the server's, the client's */
    SSL *server, *client;
    int server_ok, client_ok; /* handshake: 1 done, 0 under way, -1 failed */
    int alert;                /* what the client was told last, 0 = nothing */
};

extern struct ends ends;

/* Contexts as base/tls.h makes them, and one of a stranger's. */
SSL_CTX *ends_our_client(void);
SSL_CTX *ends_our_server(void);
SSL_CTX *ends_their_server(void);
/* It has a certificate (as well). */
void ends_certify(SSL_CTX *ctx);
/* A judge of certificates who takes any. */
int ends_anybody(X509_STORE_CTX *store, void *arg);

/* Sockets and an SSL at each end; the handshake is still to come. */
void ends_meet(SSL_CTX *server, SSL_CTX *client);
/* As much of one end's handshake as can be done now. */
void ends_turn(SSL *ssl, int *ok);
/* The whole of it. */
void ends_shake(void);
void ends_part(void);

#endif
