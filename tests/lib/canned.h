/*
 * A server that takes a head and answers with bytes as given, and requests of
 * base/http_client.h to it.
 */
#ifndef PODTERM_TESTS_LIB_CANNED_H
#define PODTERM_TESTS_LIB_CANNED_H

#include "base/http_client.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#define SECRET "sig=SECRET" /* the query of every canned_url */

struct canned {
    pthread_t thread;
    int listen_fd, port;
    const char *bytes;
    size_t len;
    bool hangs; /* the connection stays when all is said */
    atomic_bool is_over;
    atomic_int conns;
    char head[8192];
};

/* A cmocka group's setup: the client is ready, SIGPIPE kills nobody. */
int canned_group_setup(void **state);

/* It listens on loopback, in a thread of its own. bytes are the caller's. */
struct canned *canned_start(const char *bytes, size_t len, bool hangs);
#define CANNED(text) canned_start(text, sizeof(text) - 1, false)
/* How many connections it took. */
int canned_stop(struct canned *s);

/* SCHEME://HOST:PORT/f?SECRET, until the next call. */
const char *canned_url(const char *scheme, const char *host, int port);
/* A plain GET of it: 5 s, at most 1000 bytes, http allowed. */
struct http_request canned_request(const char *url);
/* Fails with kind and these words; the query is never told. */
void canned_fails(const struct http_request *r, enum err_kind kind,
                  const char *says);

#endif
