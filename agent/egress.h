/*
 * The main process' side of a program's ways out, the egress proxy and the key
 * broker: starts the process on the socket that the program connects to, tells
 * it the session's rules, starts it again when it dies, and passes on what it
 * refused. A broker that is started again goes on with what was spent.
 * One thread: the loop's.
 */
#ifndef PODTERM_AGENT_EGRESS_H
#define PODTERM_AGENT_EGRESS_H

#include "base/loop.h"

#include <stdint.h>

#define EGRESS_AGAIN_MS 100  /* after it died */
#define EGRESS_DEATHS_MAX 10 /* within EGRESS_WINDOW_MS: then never again */
#define EGRESS_WINDOW_MS 60000
#define EGRESS_LINE_MAX 1024 /* bytes that it may say at once */

struct egress;

struct egress_verbs {
    /* For the session's owner: a sentence, printable. */
    void (*notice)(void *arg, const char *text);
    /* The broker's: what the session has spent. NULL = nobody keeps it. */
    void (*spent)(void *arg, int64_t requests, int64_t bytes);
};

enum egress_kind { EGRESS_KIND_PROXY, EGRESS_KIND_BROKER };

struct egress_conf {
    enum egress_kind kind;
    const char *sid;   /* for its log */
    const char *rules; /* JSON of proxy_rules_of, or broker_rules_of */
    /* The broker's: where its keys are, a descriptor (borrowed), or a
     * directory; and what was spent before. */
    int keys_fd;
    const char *keys_dir;
    int64_t spent_requests, spent_bytes;
    const struct egress_verbs *verbs;
    void *arg;
};

/* Strings are copied. */
struct egress *egress_new(struct loop *l, const struct egress_conf *conf);
/* (Re)start the process on this listening socket, which is taken. */
void egress_listen(struct egress *g, int listen_fd);
void egress_free(struct egress *g); /* ends it; takes NULL */

#endif
