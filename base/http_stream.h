/*
 * HTTP requests on the loop (doorway on libcurl): bodies pass both ways as
 * they come, held back when there is no room for them, and nothing is kept.
 * Held to what base/http_client.h is; connections are reused.
 * One thread: the loop's.
 */
#ifndef PODTERM_BASE_HTTP_STREAM_H
#define PODTERM_BASE_HTTP_STREAM_H

#include "base/err.h"
#include "base/http_head.h"
#include "base/loop.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#define HTTP_STREAM_HEAD_MAX 65536 /* bytes of an answer's head */
#define HTTP_STREAM_KEPT 16        /* idle connections */

struct http_pool; /* connections, and the requests on them */
struct http_stream;

/* No stream is resumed from within a verb; any may be stopped. */
struct http_stream_verbs {
    /* The answer's head is whole (never an informational one). fields: its
     * lines, for http_line_take, until this returns. */
    void (*head)(void *arg, int status, struct http_text fields);
    /* Bytes of its body, at most 16384. false: none was taken, they come
     * again after http_stream_resume. */
    bool (*data)(void *arg, const uint8_t *bytes, size_t len);
    /* Up to room bytes of the request's body; how many. 0 and not over: there
     * are none now, http_stream_more says when. */
    size_t (*body)(void *arg, uint8_t *to, size_t room, bool *is_over);
    /* The connection was dead: give the body again from its beginning, or
     * false. */
    bool (*again)(void *arg);
    /* The stream is over, and gone. e: NULL, or why it is not whole, as of
     * http_do. */
    void (*done)(void *arg, const struct err *e);
};

struct http_stream_conf {
    const char *method;
    const char *url;
    const char *const *headers; /* "name: value", NULL-terminated */
    bool has_body;
    int64_t length;      /* of that; -1 = unknown, it goes in chunks */
    const char *ca_path; /* NULL = system roots */
    bool allow_http;     /* else https only */
    int connect_ms;      /* 0 = 10000 */
    /* As http_request's. */
    int (*judge)(void *arg, const struct sockaddr *sa, struct err *e);
    void *judge_arg;
    const struct http_stream_verbs *verbs;
    void *arg;
};

/* NULL: libcurl is not there. */
struct http_pool *http_pool_new(struct loop *l);
void http_pool_free(struct http_pool *p); /* its streams stop; takes NULL */

/* conf's strings are copied, verbs borrowed. No verb is called from within. */
struct http_stream *http_stream_start(struct http_pool *p,
                                      const struct http_stream_conf *conf);
void http_stream_resume(struct http_stream *s);
void http_stream_more(struct http_stream *s);
/* No verb any more, done neither; its connection is closed. */
void http_stream_stop(struct http_stream *s);

#endif
