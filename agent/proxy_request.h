/*
 * What a program asks the egress proxy for: CONNECT host:port, or one plain
 * request "GET http://host/…"; and the key broker, which is a server: "GET
 * /path". Pure functions over the caller's bytes, which are hostile: one
 * spelling of everything, and whatever two servers could read in two ways
 * (lengths, encodings, folded or bare lines) is refused, so that what is let
 * through is the one request that was judged.
 * Source: RFC 9110 sections 7.6 and 9.3.6, RFC 9112 sections 3, 6 and 7.
 */
#ifndef PODTERM_AGENT_PROXY_REQUEST_H
#define PODTERM_AGENT_PROXY_REQUEST_H

#include "base/buf.h"
#include "base/err.h"
#include "base/http_head.h"
#include "base/url.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PROXY_HEAD_MAX 16384 /* bytes of request line and headers */
#define PROXY_FIELDS_MAX 100
#define PROXY_METHOD_MAX 32

struct proxy_request {
    bool is_connect;
    bool is_chunked;             /* its body */
    char host[URL_HOST_MAX + 1]; /* as url_parse gives it */
    bool host_is_literal;
    uint16_t port;
    int64_t length; /* bytes of its body; 0 = none */
    struct http_text method;
    struct http_text target;    /* plain: from '/' or '?' on; "" = the root */
    struct http_text fields;    /* plain: every line behind the first */
    struct http_text nominated; /* plain: what Connection names, or none */
};

/* len is what http_head_end gave. 0, or -1: ERR_INPUT, a sentence for the
 * program. */
int proxy_request_parse(const char *head, size_t len, struct proxy_request *out,
                        struct err *e);

/* The same of a request to a server: its target is a path, host is "" and
 * port 0. No CONNECT, and no older HTTP than 1.1. */
int proxy_request_parse_origin(const char *head, size_t len,
                               struct proxy_request *out, struct err *e);

/* Is a header of that name for whom the request is passed on to? Not what is
 * of this hop alone, or named by Connection. */
bool proxy_request_passes(const struct proxy_request *r, struct http_text name);

/* A plain request as its server is to have it: in origin form, Host ours, what
 * was for the proxy left out, and the connection's last. -1 ERR_TOO_LARGE. */
int proxy_request_write(const struct proxy_request *r, struct buf *out,
                        struct err *e);

/* --- the body of one request, as it passes --- */

struct proxy_body {
    int64_t left; /* bytes of it, or of the chunk */
    int state;    /* all private from here */
    int digits;
};

void proxy_body_init(struct proxy_body *b, const struct proxy_request *r);
/* How many of these bytes are its own, and may pass. -1: its chunks are
 * malformed. */
long proxy_body_take(struct proxy_body *b, const char *bytes, size_t len);
/* The same, and no further than where its content begins or ends: how many
 * of these bytes are content. The others are a chunk's frame. */
long proxy_body_piece(struct proxy_body *b, const char *bytes, size_t len,
                      size_t *content);
bool proxy_body_is_over(const struct proxy_body *b);

#endif
