/*
 * HTTP client (doorway on libcurl): blocking, for worker threads and plain
 * commands. Verified TLS, no proxy variables, no netrc, no cookies, no
 * compression, redirects never followed by the library.
 */
#ifndef PODTERM_BASE_HTTP_CLIENT_H
#define PODTERM_BASE_HTTP_CLIENT_H

#include "base/buf.h"
#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

struct http_answer;

/* A connection kept between calls to one server as one and the same: of one
 * call at a time. {0} is one; http_keep_fini. */
struct http_keep {
    void *handle; /* private */
};

struct http_request {
    const char *method; /* NULL = GET */
    const char *url;
    const char *const *headers; /* "name: value", NULL-terminated, or NULL */
    const void *body;
    size_t body_len;
    const char *ca_path;              /* NULL = system roots */
    const char *ca_pem;               /* instead; NULL = none */
    const char *cert_pem, *key_pem;   /* who we are, to TLS; NULL = nobody */
    bool allow_http;                  /* else https only */
    int connect_ms;                   /* 0 = 10000 */
    int total_ms;                     /* 0 = 30000 */
    int low_speed_bytes, low_speed_s; /* slower is given up; 0 = off */
    struct http_keep *keep; /* NULL = a connection for this call alone */
    size_t body_max;        /* bytes of an answer; more is ERR_TOO_LARGE */
    /* Judge each resolved address before it is dialled; 0 = go on, -1 =
     * refuse with *e. NULL = any. Called again at connect. */
    int (*judge)(void *arg, const struct sockaddr *sa, struct err *e);
    /* Headers are complete: the answer's status is known. -1 stops. */
    int (*head)(void *arg, const struct http_answer *a, struct err *e);
    /* Body bytes as they come, instead of collecting them; -1 stops. */
    int (*data)(void *arg, const uint8_t *bytes, size_t len, struct err *e);
    /* Asked at least once a second: true = stop now (ERR_TIMEOUT). */
    bool (*is_cancelled)(void *arg);
    void *arg;
};

struct http_answer {
    int status;
    int64_t length;      /* Content-Length or -1 */
    char location[2048]; /* Location, "" if none */
    char etag[256];
    char last_modified[64];
    char content_range[96];
    char retry_after[32];
    char cache_control[256];
    char content_type[128];
    struct buf body; /* when data is NULL; http_answer_fini */
    /* of a call that failed: so will the next one, before a certificate or
     * the roots it is held against are changed */
    bool is_untrusted;
};

/* 0 with *a filled whatever the status is, or -1: ERR_PEER (connection, TLS,
 * time), ERR_DENIED (judge), ERR_TOO_LARGE, ERR_INPUT (URL). The text never
 * contains the URL's query. */
int http_do(const struct http_request *r, struct http_answer *a, struct err *e);
void http_answer_fini(struct http_answer *a);
void http_keep_fini(struct http_keep *k);
/* Load the library now: http_do else does it at its first call. */
void http_client_init(void);

#endif
