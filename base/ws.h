/*
 * HTTP server, WebSocket server and WebSocket client on one loop (doorway on
 * libwebsockets + libuv; every guard of docs/libraries.md is in here).
 *
 * A service sees four verbs of a WebSocket (opened, message, drained,
 * closed) and one of HTTP (request), never a library's callback. All run on
 * the loop's thread. A `struct ws_conn` is born before `opened` and dead
 * after `closed`; a `struct ws_request` lives until ws_respond.
 */
#ifndef PODTERM_BASE_WS_H
#define PODTERM_BASE_WS_H

#include "base/err.h"
#include "base/loop.h"
#include "base/tls.h"

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#define WS_PRE 32         /* bytes of head-room before a payload for ws_write */
#define WS_HEAD_MAX 16384 /* bytes of request line and headers */
#define WS_QUEUE_MAX (256 * 1024) /* bytes queued by ws_send per connection */

struct cidr_list;
struct ws_context; /* one per process */
struct ws_server;
struct ws_conn;
struct ws_request;

struct ws_verbs {
    /* A WebSocket is established. Returns the connection's user pointer, or
     * NULL to refuse it (closed is then not called). */
    void *(*opened)(void *server_arg, struct ws_conn *c);
    /* One whole message, at most message_max bytes. Text messages arrive with
     * is_text. The bytes are valid during the call. */
    void (*message)(void *user, const uint8_t *bytes, size_t len, bool is_text);
    /* The connection can take a message and ws_want_write was called. At most
     * one ws_write per call; call ws_want_write again if there is more. */
    void (*drained)(void *user);
    /* Gone; c is invalid after this call. code: RFC 6455 status received, or
     * the one ws_close was given, or 1006. reason: for a failed dial, what
     * failed; else "". */
    void (*closed)(void *user, int code, const char *reason);
};

/* --- contexts --- */

/* fd_max: descriptors this process may hold. */
struct ws_context *ws_context_new(struct loop *l, int fd_max, struct err *e);
/* Tells every open connection `closed`, then drops it. After loop_run has
 * returned: it turns the loop itself until the sockets are closed, so other
 * watchers of the loop may be called meanwhile. */
void ws_context_free(struct ws_context *x);

/* --- servers --- */

struct ws_server_conf {
    int listen_fd; /* listening TCP socket, taken over */
    /* TLS: none; or PSK (psk_find set); or certificate (cert_path set). */
    tls_psk_find psk_find;
    void *psk_arg;
    const char *cert_path, *key_path;
    const char *ws_path;     /* exact path for upgrades, NULL = no WebSocket */
    const char *subprotocol; /* the one demanded */
    const struct ws_verbs *verbs;
    /* A whole request has arrived. The handler answers now or later with
     * ws_respond, exactly once. NULL = every request is 404. */
    void (*request)(void *arg, struct ws_request *r);
    /* The head of a request with a body is there. false: the answer does not
     * depend on the body, so `request` is called at once, without it. NULL =
     * every body is read. */
    bool (*wants_body)(void *arg, const struct ws_request *r);
    void *arg;
    size_t body_max;        /* bytes of a request body; more is 413 */
    size_t message_max;     /* bytes of a WebSocket message; more is 1009 */
    size_t rx_buffer_bytes; /* 0 = 4096 */
    int conns_max;          /* connections at once; 0 = 1024. One more takes
                               the place of the oldest that has not sent a
                               whole request, or is closed at accept */
    /* The same for the connections of one address (IPv6: /64); 0 = no such
     * limit. Those of a trusted proxy are counted by client when the head is
     * there; one too many is then 429. */
    int conns_per_address_max;
    const struct cidr_list *trusted_proxies; /* borrowed; NULL = none */
    int proxy_hops;                          /* see addr_client */
    int head_deadline_ms; /* accept to whole request, its body included (a
                               WebSocket: to the upgrade); 0 = 10000 */
    int ping_ms;          /* ping a silent WebSocket; 0 = 25000 */
    int dead_ms;          /* silent that long after a ping: closed; 0 =
                               60000. A connection that ws_pause holds does
                               not count as silent */
};

struct ws_server *ws_server_new(struct ws_context *x,
                                const struct ws_server_conf *conf,
                                struct err *e);
/* Stop accepting; connections go on. */
void ws_server_stop_accepting(struct ws_server *s);
/* The listener goes; each connection is told `closed` (1001) within this
 * call and dropped; requests not yet answered are gone. */
void ws_server_free(struct ws_server *s);
/* Load certificate and key afresh; on failure the old ones stay. */
int ws_server_reload(struct ws_server *s, struct err *e);
int ws_server_conns(const struct ws_server *s);
/* Number of the port listened on. */
int ws_server_port(const struct ws_server *s);

/* --- HTTP requests; strings are valid until ws_respond. Every answer closes
 * its connection. --- */

const char *ws_request_method(const struct ws_request *r); /* "GET" */
const char *ws_request_path(const struct ws_request *r);   /* decoded, no
                                                              query */
/* Value of a query parameter, decoded, exact name; NULL when absent. */
const char *ws_request_query(const struct ws_request *r, const char *name);
/* A header by lower-case name; NULL when absent. Kept: authorization,
 * content-type, origin, host, idempotency-key, x-forwarded-for,
 * if-none-match, accept, accept-encoding, traceparent, x-request-id,
 * access-control-request-method, -headers. Sent twice = the request is
 * refused with 400; of idempotency-key, traceparent, x-request-id and
 * access-control-request-method, which libwebsockets cannot count, the first
 * is taken. */
const char *ws_request_header(const struct ws_request *r, const char *name);
const uint8_t *ws_request_body(const struct ws_request *r, size_t *len);
/* The peer of the socket (not of X-Forwarded-For). */
const struct sockaddr_storage *ws_request_peer(const struct ws_request *r);
/* The client: the peer, or whom trusted proxies name. Port 0 when named. */
const struct sockaddr_storage *ws_request_client(const struct ws_request *r);
/* The socket's fd number, for look-ups only. */
int ws_request_fd(const struct ws_request *r);
bool ws_request_is_gone(const struct ws_request *r);

struct ws_header {
    const char *name;  /* lower case */
    const char *value; /* no CR or LF: such a header is dropped */
};

/* Answer and free r. headers/count may be NULL/0; content-length is added.
 * A request whose connection is gone is only freed. */
void ws_respond(struct ws_request *r, int status, const struct ws_header *h,
                size_t count, const void *body, size_t len);
/* The same, and the body is sent from where it is, a piece at a time: it must
 * stay until ws_context_free. */
void ws_respond_lasting(struct ws_request *r, int status,
                        const struct ws_header *h, size_t count,
                        const void *body, size_t len);

/* --- connections --- */

struct ws_dial_conf {
    const struct sockaddr *addr; /* resolved: no name look-up here */
    socklen_t addr_len;
    const char *host; /* Host header, and name checked in certificate */
    const char *path; /* "/v1/attach" */
    const char *subprotocol;
    const char *origin; /* or NULL */
    /* TLS: none; PSK (psk_id set); certificate (ca_check). */
    const char *psk_id;
    const uint8_t *psk_key;
    bool ca_check;
    const char *ca_path;          /* NULL = system roots */
    const struct ws_verbs *verbs; /* opened gets `arg`, returns user */
    void *arg;
    size_t message_max;
    int timeout_ms;       /* to established; 0 = 10000 */
    int ping_ms, dead_ms; /* as in ws_server_conf */
};

/* Start dialling. closed (with user = arg) comes if it fails before opened.
 * NULL with *e when it cannot even start. */
struct ws_conn *ws_dial(struct ws_context *x, const struct ws_dial_conf *conf,
                        struct err *e);

/* Queue a copy of a binary message: for small control messages. -1 when
 * WS_QUEUE_MAX would be passed (nothing queued; close the connection). Queued
 * messages go before the next `drained`. */
int ws_send(struct ws_conn *c, const void *bytes, size_t len);
/* Ask for `drained`. */
void ws_want_write(struct ws_conn *c);
/* The same, and if the socket can take a message at this moment `drained` is
 * called within this call: the way without a turn of the loop, for news that
 * come from elsewhere. Called inside a verb it is ws_want_write. */
void ws_want_write_now(struct ws_conn *c);
/* Inside `drained` only, once: write a binary message. payload has WS_PRE
 * writable bytes before it (overwritten), len <= 65545. A client masks the
 * payload in place. */
int ws_write(struct ws_conn *c, uint8_t *payload, size_t len);
/* Stop and start reading from the socket. */
void ws_pause(struct ws_conn *c);
void ws_resume(struct ws_conn *c);
/* Close after what is queued has gone, at most 3 s later. closed follows;
 * neither message nor drained come any more. reason at most 120 bytes,
 * UTF-8. */
void ws_close(struct ws_conn *c, int code, const char *reason);
/* Drop now without a close frame. closed follows from the loop. */
void ws_abort(struct ws_conn *c);
const struct sockaddr_storage *ws_conn_peer(const struct ws_conn *c);
/* PSK tag of a server connection (tls_psk_find); 0 otherwise. */
uint64_t ws_conn_tag(const struct ws_conn *c);
/* A header of the upgrade request: origin, host, authorization; valid inside
 * `opened` only. NULL when absent. */
const char *ws_conn_header(const struct ws_conn *c, const char *name);
size_t ws_conn_queued(const struct ws_conn *c); /* bytes by ws_send */
/* Milliseconds since it was accepted or dialled: TLS and head are in it. */
int64_t ws_conn_age_ms(const struct ws_conn *c);

/* Bind and listen (SOCK_CLOEXEC, SO_REUSEADDR, non-blocking) on "host:port"
 * with a literal address; port 0 = any. reuse_port for several processes.
 * "[::]" is every address of the machine, IPv4's too: a peer of those looks
 * like ::ffff:a.b.c.d until addr_unmap. Any other IPv6 address is IPv6 alone.
 * Returns the fd or -1: ERR_INPUT bad text, ERR_SYSTEM "address in use ...
 * choose another address or port". */
int listen_tcp(const char *host_port, bool reuse_port, struct err *e);
/* "127.0.0.1:8080" or "[::1]:80" of a socket's own address. */
int listen_name(int fd, char *out, size_t size);

#endif
