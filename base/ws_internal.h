/*
 * Between the files of base/ws.c's doorway; nobody else includes this.
 *
 * One `struct ws_conn` stands for one libwebsockets connection (wsi) from
 * accept or dial to LWS_CALLBACK_WSI_DESTROY, which alone frees it. It is
 * the wsi's opaque user data; the wsi's vhost is never asked who it is, as
 * libwebsockets may rebind it by Host.
 */
#ifndef PODTERM_BASE_WS_INTERNAL_H
#define PODTERM_BASE_WS_INTERNAL_H

#include "base/buf.h"
#include "base/ws.h"

#include <libwebsockets.h>

#define WS_DEFAULT(value, fallback) ((value) > 0 ? (value) : (fallback))

#define WS_CONNS_MAX 1024
#define WS_HEAD_DEADLINE_MS 10000   /* accept to whole request */
#define WS_ANSWER_DEADLINE_MS 30000 /* of an answer without any progress */
#define WS_DIAL_DEADLINE_MS 10000
#define WS_PING_MS 25000
#define WS_DEAD_MS 60000
#define WS_CLOSE_DEADLINE_MS 3000
#define WS_RX_BUFFER 4096
#define WS_CLIENT_RX_BUFFER 65536 /* a process dials few */
#define WS_SERV_BUFFER 16384      /* one per context: what is read at once */
#define WS_WRITE_MAX 65545        /* bytes of one ws_write */
#define WS_SUBPROTOCOLS_MAX 126   /* bytes libwebsockets can read of them */

enum ws_phase {
    WS_DIALING,   /* client, until established */
    WS_HEAD,      /* server: TLS and request head */
    WS_BODY,      /* a request's body is coming */
    WS_ASKED,     /* the handler has the request */
    WS_ANSWERING, /* the answer is on its way out */
    WS_OPEN,      /* an established WebSocket */
    WS_CLOSING,   /* close frame wanted or sent */
    WS_DEAD,      /* to be dropped; nobody hears of it any more */
};

/* a message of ws_send; LWS_PRE bytes of head-room lie before the payload */
struct ws_out {
    struct ws_out *next;
    size_t len;
    uint8_t bytes[];
};

struct ws_conn {
    struct ws_conn *next, **back; /* the context's list */
    struct ws_context *x;
    struct ws_server *server; /* NULL: we dialled */
    struct lws *wsi;          /* NULL before birth and after death */
    const struct ws_verbs *verbs;
    void *user;
    enum ws_phase phase;
    bool is_told; /* closed has been called, or never will be */
    bool is_paused;
    bool wants_write; /* drained is owed */
    bool is_draining; /* drained is on the stack */
    bool wants_ping;
    bool is_text;
    bool in_message;
    bool was_open;
    bool was_told_headers; /* opened is over */
    bool is_starting;      /* inside ws_dial */
    bool is_destroyed;     /* its wsi died there */
    int64_t born_ms;
    int64_t due_ms;    /* the phase ends then; 0 = never */
    int64_t heard_ms;  /* newest sign of life */
    int64_t pinged_ms; /* a ping is unanswered since; 0 = none */
    int ping_ms, dead_ms;
    size_t message_max;
    struct buf message; /* parts of a message until it is whole */
    struct ws_out *first, **last;
    size_t queued;
    bool is_close_sent;
    int close_code;
    char close_reason[124];
    uint64_t tag;
    struct sockaddr_storage peer;
    struct sockaddr_storage client; /* behind trusted proxies, else peer */
    uint8_t key[16];                /* of the client, for counting */
    bool is_counted;                /* among its client's connections */
    int fd, look_fd;                /* numbers only */
    struct ws_request *request;
    struct ws_dialled *dialled;
    struct ws_out *headers; /* what ws_conn_header gave */
    struct loop_fd *look;   /* at the request line to come (ws_target.c) */
};

/* what a client needs until it is established */
struct ws_dialled {
    char *host;      /* Host header */
    char *cert_host; /* name in the certificate, NULL = PSK or plain */
    char *psk_id;
    uint8_t psk_key[32];
    char *subprotocol;
    bool is_tls;
};

struct ws_vhost; /* ws_client.c: one kind of client */

struct ws_context {
    struct loop *loop;
    int fd_max;
    struct loop_timer *timer;
    int64_t armed_ms; /* when the timer fires; 0 = not armed */
    struct ws_conn *conns;
    struct ws_server *servers;
    struct lws_context *client;
    struct ssl_ctx_st *bare; /* for vhosts that dial nobody by TLS */
    struct ws_vhost *client_vhosts;
    struct ws_linger *lingers;
    int linger_count;
    bool is_freed;
    int depth; /* callbacks of libwebsockets on the stack */
};

struct ws_server {
    struct ws_server *next;
    struct ws_context *x;
    struct lws_context *lws;
    struct lws_vhost *vhost;
    struct ws_server_conf conf; /* strings owned */
    struct lws_protocols protocols[3];
    struct loop_fd *listener;
    struct loop_timer *breather; /* accepting is suspended until it fires */
    struct ssl_ctx_st *ctx;      /* the vhost's, borrowed */
    struct err tls_error;
    int conns;
    int port;
    bool is_stopped;
    bool is_born; /* libwebsockets took what is being adopted */
};

/* --- ws_context.c --- */

struct lws_context *ws_lws_new(struct ws_context *x, void *user, int fds);
/* The settings of every vhost; options are added to the context's. */
void ws_vhost_info(const struct ws_context *x,
                   struct lws_context_creation_info *info, const char *name,
                   const struct lws_protocols *protocols, uint64_t options);
/* Set the phase and its deadline, ms from now (0 = none). */
void ws_phase(struct ws_conn *c, enum ws_phase phase, int ms);
/* Look at the connection's times again. */
void ws_timer(struct ws_conn *c, int64_t at_ms);

/* --- ws.c --- */

int ws_callback(struct lws *wsi, enum lws_callback_reasons why, void *user,
                void *in, size_t len);
struct ws_conn *ws_conn_new(struct ws_context *x, enum ws_phase phase);
void ws_conn_free(struct ws_conn *c);
/* Drop the connection from the loop; `closed` follows if it is owed. */
void ws_kill(struct ws_conn *c);
void ws_drop(struct ws_conn *c); /* one that has been told */
/* A dial that failed at once: `closed` and the end come from the loop. */
void ws_stillborn(struct ws_conn *c);
void ws_tell_closed(struct ws_conn *c, int code, const char *reason);

/* --- ws_server.c --- */

int ws_server_tls(struct ws_server *s, struct ssl_ctx_st *ctx);
int ws_server_upgrade(struct ws_conn *c);
/* 0 when the peer may speak (PSK: it has a key), fills the tag. */
int ws_server_admit(struct ws_conn *c);
void ws_server_gone(struct ws_conn *c);
/* Everything of a server but what libwebsockets still looks at. */
void ws_server_close(struct ws_server *s);
void ws_server_release(struct ws_server *s);

/* --- ws_limits.c --- */

/* The oldest without a whole request is dropped: peers who cannot even speak
 * keep nobody out. key: among one address's; NULL = among all. */
bool ws_limits_make_room(struct ws_server *s, const uint8_t *key);
/* May this peer have a connection? Another may be dropped for it. */
bool ws_limits_let_in(struct ws_server *s, const struct sockaddr_storage *peer);
/* The connection has its server and peer: who is it counted for? */
void ws_limits_born(struct ws_conn *c);
/* The head is whole: learn the client, and count it where the peer was not.
 * 0, or 429. forwarded: X-Forwarded-For or NULL. */
int ws_limits_head(struct ws_conn *c, const char *forwarded);

/* --- ws_http.c --- */

/* Did the request line end where it ends? (see the .c file) */
bool ws_http_has_version(struct lws *wsi);
int ws_http_head(struct ws_conn *c);
int ws_http_body(struct ws_conn *c, const uint8_t *bytes, size_t len);
int ws_http_body_end(struct ws_conn *c);
int ws_http_write(struct ws_conn *c);
/* Answer an upgrade at once with a status; what the callback returns. */
int ws_http_refuse_upgrade(struct ws_conn *c, int status);
/* The connection goes; its request, if any, learns of it. */
void ws_http_gone(struct ws_conn *c);
/* Is the peer sending what we shall never read, while our answer is stuck? */
bool ws_http_is_stuck(const struct ws_conn *c);
/* Value of a header as a fresh string, NULL when absent; -1 in *count when
 * it came twice. */
char *ws_header_copy(struct lws *wsi, const char *name, int *count);

/* --- ws_linger.c --- */

/* Keep a duplicate of the socket and read it to its end: closing with input
 * unread would reset the connection and lose the answer. */
void ws_linger(struct ws_conn *c);
void ws_linger_free(struct ws_context *x);

/* --- ws_client.c --- */

int ws_client_gate(struct ws_conn *c);
int ws_client_check(struct ws_conn *c);
void ws_client_gone(const struct ws_conn *c);
void ws_dialled_free(struct ws_dialled *d);
void ws_client_free(struct ws_context *x);

#endif
