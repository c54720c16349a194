/*
 * A server of base/ws.h on a loop, one at a time, that counts what reaches
 * its verbs; and raw peers that come to it.
 */
#ifndef PODTERM_TESTS_LIB_WSBED_H
#define PODTERM_TESTS_LIB_WSBED_H

#include "base/ws.h"
#include "tests/lib/peer.h"

#define SUB "podterm.v1"
#define BED_MESSAGE_MAX 1000
#define BED_BODY_MAX 1000

/* An upgrade request in its parts, and with more header lines. */
#define UP_KEY "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
#define UP_OF(method, target, more, version, sub)                              \
    method " " target " HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\n"         \
           "Connection: Upgrade\r\n" UP_KEY more version sub "\r\n"
#define UP_VERSION "Sec-WebSocket-Version: 13\r\n"
#define UP_SUB "Sec-WebSocket-Protocol: " SUB "\r\n"
#define UP(more) UP_OF("GET", "/v1/attach", more, UP_VERSION, UP_SUB)

struct wsbed {
    struct loop *loop;
    struct ws_context *ws;
    struct ws_server *server;
    /* by bed_conf's handlers */
    struct ws_conn *conn; /* the newest */
    int requests, opened, closed, messages;
    int code; /* of the last one closed */
    uint64_t tag;
    size_t last_len; /* of the last message */
    bool is_text;
};

extern struct wsbed bed; /* the running test's */

extern const struct ws_verbs bed_verbs; /* they count */

/* Loop and context; then all that is there goes, in the right order. */
void bed_start(void);
void bed_stop(void);
/* A listener on loopback, /v1/attach, the limits above, and handlers that
 * count; requests are answered with 200 and "asked". */
struct ws_server_conf bed_conf(void);
/* bed.server, or the test fails. */
void bed_serve(const struct ws_server_conf *conf);

/* Connect; the same and upgrade, with nothing kept of the answer. */
struct peer *bed_dial(void);
struct peer *bed_attach(void);
/* A frame of len bytes 'x', at most 4 * BED_MESSAGE_MAX. first: FIN, opcode. */
void bed_frame(struct peer *p, int first, size_t len);

#endif
