/*
 * The HTTP/1.1 that the gateway understands: one GET request head, and the
 * 101 answer of an agent. Pure functions over the caller's bytes; nothing is
 * allocated. This faces the internet before any token was seen, so it takes
 * one spelling of everything: CRLF line ends, no folding, no body, no header
 * of ours twice, nothing behind the head.
 * Source: RFC 9112 sections 2-3 and 5, RFC 6455 sections 4.1-4.2.
 */
#ifndef PODTERM_GATEWAY_UPGRADE_H
#define PODTERM_GATEWAY_UPGRADE_H

#include "base/http_head.h"

#include <stdbool.h>
#include <stddef.h>

#define UPGRADE_HEAD_MAX 8192 /* bytes of request line and headers */
#define UPGRADE_KEY_LEN 24    /* Sec-WebSocket-Key */
#define UPGRADE_ACCEPT_LEN 28 /* Sec-WebSocket-Accept */
#define UPGRADE_PATH "/v1/attach"

struct upgrade {
    struct http_text path; /* without the query */
    struct http_text host; /* always there */
    struct http_text origin;
    struct http_text forwarded; /* X-Forwarded-For */
    struct http_text key;
    bool has_query;
    bool is_websocket;    /* a valid WebSocket upgrade, version 13 */
    bool has_subprotocol; /* podterm.v1 is among the names offered */
};

/*
 * Take a request head apart. len is what http_head_end gave.
 *
 * returns  0, or the HTTP status of the refusal: 400, 405 (not GET),
 *          426 (another WebSocket version), 505 (not HTTP/1.1)
 */
int upgrade_parse(const char *head, size_t len, struct upgrade *out);

/*
 * Judge the agent's answer. NULL when it is a 101 with this accept value and
 * our subprotocol; else a constant sentence. *status: the answer's status
 * code, 0 when there is none.
 */
const char *upgrade_answer(const char *head, size_t len,
                           const char accept[UPGRADE_ACCEPT_LEN], int *status);

/* Sec-WebSocket-Accept of a key, terminated. */
void upgrade_accept(const char key[UPGRADE_KEY_LEN],
                    char out[UPGRADE_ACCEPT_LEN + 1]);

#define UPGRADE_TEXT_MAX 320 /* bytes of what the two below write */
/* The 101 answer to a client; returns its bytes. */
size_t upgrade_write_101(const char key[UPGRADE_KEY_LEN],
                         char out[UPGRADE_TEXT_MAX]);
/* The request to an agent; returns its bytes. */
size_t upgrade_write_request(const char key[UPGRADE_KEY_LEN],
                             char out[UPGRADE_TEXT_MAX]);

#endif
