/*
 * The main process' side of the egress proxy: starts it on the socket that
 * the program connects to, tells it the session's rules, starts it again
 * when it dies, and passes on what it refused.
 * One thread: the loop's.
 */
#ifndef PODTERM_AGENT_EGRESS_H
#define PODTERM_AGENT_EGRESS_H

#include "base/loop.h"

#define EGRESS_AGAIN_MS 100  /* after it died */
#define EGRESS_DEATHS_MAX 10 /* within EGRESS_WINDOW_MS: then never again */
#define EGRESS_WINDOW_MS 60000
#define EGRESS_LINE_MAX 1024 /* bytes that it may say at once */

struct egress;

struct egress_verbs {
    /* For the session's owner: a sentence, printable. */
    void (*notice)(void *arg, const char *text);
};

/* sid: for its log. rules: JSON of proxy_rules_of. Both are copied. */
struct egress *egress_new(struct loop *l, const char *sid, const char *rules,
                          const struct egress_verbs *verbs, void *arg);
/* (Re)start the proxy on this listening socket, which is taken. */
void egress_listen(struct egress *g, int listen_fd);
void egress_free(struct egress *g); /* ends the proxy; takes NULL */

#endif
