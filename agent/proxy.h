/*
 * The egress proxy: a program's only way to the network. Takes CONNECT
 * host:443 and, where that is allowed, plain requests; the name must be one
 * of the session's domains, its address one that may be dialled, and the TLS
 * greeting must name the same server. Each connection ends with one line in
 * the log (event "egress"). Nothing is decrypted.
 *
 * It runs in a process of its own, which has no key, no token and no
 * terminal. One thread: the loop's (look-ups in worker threads).
 * Source: SECURITY rules 10 and 14.
 */
#ifndef PODTERM_AGENT_PROXY_H
#define PODTERM_AGENT_PROXY_H

#include "base/addr.h"
#include "base/loop.h"
#include "base/url.h"
#include "base/worker.h"

#include <stdbool.h>
#include <stdint.h>

#define PROXY_CONNS_MAX 256         /* at a time; one more is refused (503) */
#define PROXY_HEAD_MS 10000         /* from accept to a whole request */
#define PROXY_GREETING_MS 10000     /* from 200 to a whole TLS greeting */
#define PROXY_IDLE_MS 900000        /* without a byte in either direction */
#define PROXY_LINGER_MS 1000        /* for a refusal to be read */
#define PROXY_BYTES_MAX (1LL << 36) /* both ways, of a session */
#define PROXY_HTTP_PORT 80          /* of a plain request's domain */
#define PROXY_TLS_PORT 443          /* of any other's */

struct proxy_rules {
    struct domain_list domains; /* without a port: 443, and 80 where plain
                                   requests are allowed */
    bool allow_http;
    struct addr_policy addrs;
    /* 0 = the defaults above */
    int conns_max;
    int64_t head_ms, greeting_ms, idle_ms, dial_ms, bytes_max;
};

struct proxy_verbs {
    /* Something was refused: for the owner of the session. why: a sentence
     * that names it, printable ASCII. At most one in a while each. */
    void (*refused)(void *arg, const char *host, uint16_t port,
                    const char *why);
};

struct proxy;

/* listen_fd: the caller's, non-blocking; rules and verbs are borrowed. */
struct proxy *proxy_new(struct loop *l, struct worker *w, int listen_fd,
                        const struct proxy_rules *rules,
                        const struct proxy_verbs *verbs, void *arg);
void proxy_free(struct proxy *p);       /* ends its connections; takes NULL */
int proxy_count(const struct proxy *p); /* of connections */

#endif
