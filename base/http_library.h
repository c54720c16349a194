/*
 * What the two doorways on libcurl share (http_client, which blocks, and
 * http_stream, on the loop): the library itself, what every request is held
 * to, which addresses may be dialled, and what a failure means. For these two
 * alone.
 */
#ifndef PODTERM_BASE_HTTP_LIBRARY_H
#define PODTERM_BASE_HTTP_LIBRARY_H

#include "base/err.h"

#include <curl/curl.h>
#include <stdbool.h>
#include <sys/socket.h>

#define HTTP_LIBRARY "libcurl.so.4"
#define HTTP_CONNECT_MS 10000
#define HTTP_KEEP_S 15 /* idle for longer, a kept connection may be dead */

/* Load it, the first time. false: it is not there. */
bool http_library_load(void);

/* Who is dialled in one request. */
struct http_gate {
    /* http_request's */
    int (*judge)(void *arg, const struct sockaddr *sa, struct err *e);
    void *arg;
    struct err *e;
    bool is_failed;    /* *e is filled: by a callback of ours */
    bool is_connected; /* what is wrong from here on is the peer's */
};

/* The protocols, verified TLS of 1.2 or later, HTTP/1.1; no proxy, netrc,
 * signal, redirect. connect_ms: 0 = HTTP_CONNECT_MS. */
void http_set_basics(CURL *curl, bool allow_http, int connect_ms);
/* The roots in this file alone. */
void http_set_ca(CURL *curl, const char *path);
/* g is borrowed until the request is over. */
void http_set_gate(CURL *curl, struct http_gate *g);

/* The error of a request that failed. said: the library's own words. -1. */
int http_failure(const struct http_gate *g, CURLcode code, const char *said,
                 struct err *e);

#endif
