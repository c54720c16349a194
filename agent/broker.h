/*
 * The key broker: where a program asks an API for which it has no key. Takes
 * HTTP/1.1 of the paths in broker_apis' table, one request a connection, and
 * passes it on to the one server that its session's rules name, by verified
 * TLS and with the key; what comes back passes as it comes. The program's own
 * credentials are left out, and so is the key wherever the answer's headers
 * or body say it again: such an answer is cut. Each request ends with one
 * line in the log (event "broker").
 *
 * It runs in a process of its own, which has no session key, no token and no
 * terminal. One thread: the loop's.
 * Source: SECURITY rules 10 and 14.
 */
#ifndef PODTERM_AGENT_BROKER_H
#define PODTERM_AGENT_BROKER_H

#include "agent/broker_apis.h"
#include "base/addr.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/loop.h"
#include "base/url.h"

#include <stdbool.h>
#include <stdint.h>

#define BROKER_CONNS_MAX 64   /* at a time; one more is refused (429) */
#define BROKER_HEAD_MS 10000  /* from accept to a whole head */
#define BROKER_BODY_MS 300000 /* and from there to a whole body */
#define BROKER_BODY_MAX                                                        \
    (32 << 20)                  /* bytes of it: what the Messages API takes */
#define BROKER_IDLE_MS 900000   /* without a byte in either direction */
#define BROKER_TOTAL_MS 3600000 /* from accept to the end */
#define BROKER_LINGER_MS 5000   /* for the answer's end to be read */
#define BROKER_AHEAD_MAX 65536  /* bytes held for a side that is slow */

struct broker_upstream {
    char url[URL_MAX]; /* without a '/' at its end; "" = no such API here */
    bool is_here;      /* the URL names this machine: that may be dialled */
};

struct broker_rules {
    struct broker_upstream apis[BROKER_API_COUNT];
    struct addr_policy addrs;
    int64_t requests, bytes, per_minute;
    int64_t spent_requests, spent_bytes; /* before this process */
    /* 0 = the defaults above */
    int conns_max;
    int64_t head_ms, body_ms, body_max, idle_ms, total_ms;
    const char *ca_path; /* NULL = system roots */
};

struct broker_verbs {
    /* Something was refused: for the owner of the session. why: a sentence,
     * printable ASCII. */
    void (*refused)(void *arg, const char *why);
    /* That is what the session has spent now. */
    void (*spent)(void *arg, int64_t requests, int64_t bytes);
    /* The key of an API into out, whose limit is KEYFILE_LINE_MAX; asked for
     * each request. */
    int (*key)(void *arg, enum broker_api api, struct buf *out, struct err *e);
};

struct broker;

/* listen_fd: the caller's, non-blocking; rules and verbs are borrowed. NULL
 * with *e: libcurl is not there. */
struct broker *broker_new(struct loop *l, int listen_fd,
                          const struct broker_rules *rules,
                          const struct broker_verbs *verbs, void *arg,
                          struct err *e);
void broker_free(struct broker *b);       /* ends its connections; takes NULL */
int broker_count(const struct broker *b); /* of connections */

#endif
