/* What agent/proxy.c (connections) and agent/proxy_way.c (from a request to an
 * open way) share. For these two alone. */
#ifndef PODTERM_AGENT_PROXY_INTERNAL_H
#define PODTERM_AGENT_PROXY_INTERNAL_H

#include "agent/hello.h"
#include "agent/proxy.h"
#include "agent/proxy_dial.h"
#include "agent/proxy_flow.h"
#include "agent/proxy_request.h"

struct proxy {
    struct loop *loop;
    const struct proxy_rules *rules;
    const struct proxy_verbs *verbs;
    void *arg;
    struct proxy_dial_conf dial;
    int listen_fd, conns_max;
    int64_t head_ms, greeting_ms, idle_ms, bytes_max;
    struct loop_fd *listening;
    struct loop_timer *tick;
    struct proxy_conn *conns;
    int count;
    int64_t bytes; /* of all connections that are over */
};

enum proxy_phase {
    PROXY_HEAD,     /* its request is read */
    PROXY_DIALLING, /* its server is dialled */
    PROXY_GREETING, /* it was answered 200: its TLS greeting is read */
    PROXY_WATCHED,  /* open; a second greeting may come */
    PROXY_BODY,     /* open; the body of a plain request passes */
    PROXY_OPEN,     /* open; bytes pass unseen */
    PROXY_REFUSED,  /* told; until that is read */
};

struct proxy_conn {
    struct proxy *p;
    struct proxy_conn *next;
    enum proxy_phase phase;
    int64_t began_ms, due_ms, moved_ms;
    int client, server; /* -1 = none yet */
    struct loop_fd *client_watch, *server_watch;
    struct proxy_dial *dialling;
    struct buf in; /* from the client, not judged yet */
    size_t seen;   /* of in, by http_head_end */
    struct proxy_request request;
    char host[URL_HOST_MAX + 1]; /* "" = nothing was asked for yet */
    uint16_t port;
    char addr[ADDR_TEXT_MAX]; /* what was dialled; "" = nothing */
    struct hello hello;
    struct proxy_body body;
    struct proxy_flow up, down;
    const char *verdict; /* of the log's line */
    char why[ERR_TEXT_MAX];
};

/* Close it, say how it went, and free it. */
void proxy_conn_end(struct proxy_conn *c);
/* What to wait for, by its phase. */
void proxy_conn_watch(struct proxy_conn *c);
/* Its server is connected. */
void proxy_conn_adopt(struct proxy_conn *c, int fd);

/* --- proxy_way.c --- */

/* Bytes of the client have come into `in` (or its end, at PROXY_HEAD). */
void proxy_way_go(struct proxy_conn *c);
/* Tell it why not, with that status, and the log and the owner. */
void proxy_way_refuse(struct proxy_conn *c, int status, const char *why);

#endif
