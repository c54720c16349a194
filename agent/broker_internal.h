/* What agent/broker.c (connections) and agent/broker_way.c (a request, and its
 * answer) share. For these two alone. */
#ifndef PODTERM_AGENT_BROKER_INTERNAL_H
#define PODTERM_AGENT_BROKER_INTERNAL_H

#include "agent/broker.h"
#include "agent/broker_budget.h"
#include "agent/proxy_request.h"
#include "base/http_stream.h"

struct broker {
    struct loop *loop;
    const struct broker_rules *rules;
    const struct broker_verbs *verbs;
    void *arg;
    int listen_fd, conns_max;
    int64_t head_ms, body_ms, body_max, idle_ms, total_ms;
    struct broker_budget budget;
    struct http_pool *pool;
    struct loop_fd *listening;
    struct loop_timer *tick;
    struct broker_conn *conns;
    int count;
};

enum broker_phase {
    BROKER_HEAD, /* its request is read */
    BROKER_CALL, /* the API was asked: bodies pass */
    BROKER_LAST, /* all is said: until that is read */
};

struct broker_conn {
    struct broker *b;
    struct broker_conn *next;
    enum broker_phase phase;
    int64_t began_ms, due_ms, moved_ms; /* due_ms: 0 = none */
    int fd;
    struct loop_fd *watch;
    struct buf in; /* from the program, not judged yet */
    size_t seen;   /* of in, by http_head_end */
    enum broker_api api;
    struct proxy_body body;
    struct buf up; /* content of it, from up_at on not given away yet */
    size_t up_at;
    bool is_up_whole; /* what lies before up_at is all there was */
    struct http_stream *stream;
    struct buf out; /* to the program, from out_at on not sent yet */
    size_t out_at;
    struct buf key;   /* wiped at the end */
    struct buf held;  /* of the answer: may be the key's beginning */
    bool is_answered; /* its head is in out */
    bool is_shut;
    /* for the log */
    char method[PROXY_METHOD_MAX + 1];
    char path[BROKER_PATH_MAX + 1];
    int status; /* what the program was told; 0 = nothing */
    int64_t up_bytes, down_bytes;
    const char *verdict;
    char why[ERR_TEXT_MAX];
};

/* Close it, say how it went, and free it. */
void broker_conn_end(struct broker_conn *c);
/* The same, what was said so far being no whole answer. */
void broker_conn_cut(struct broker_conn *c, const char *verdict,
                     const char *why);
/* What to wait for, by its phase. */
void broker_conn_watch(struct broker_conn *c);
/* Send what is in out. -1: the program is gone. */
int broker_conn_flush(struct broker_conn *c);

/* --- broker_way.c --- */

/* Bytes of the program have come into `in`. The connection may be gone. */
void broker_way_go(struct broker_conn *c);
/* Room for content of its body? */
size_t broker_way_room(const struct broker_conn *c);
/* Tell it why not, with that status, and the log and the owner. after_ms: may
 * it come again, and when; 0 = it is not told. */
void broker_way_refuse(struct broker_conn *c, int status, int64_t after_ms,
                       const char *why);

#endif
