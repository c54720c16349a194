/*
 * From a name to a connection: both families looked up, each address judged
 * just before it is dialled, the next one tried beside it when the first is
 * slow to answer (RFC 8305). What was judged is what is dialled; a name is
 * looked up once for each connection.
 * One thread: the loop's. Source: SECURITY rule 10.
 */
#ifndef PODTERM_AGENT_PROXY_DIAL_H
#define PODTERM_AGENT_PROXY_DIAL_H

#include "base/addr.h"
#include "base/err.h"
#include "base/loop.h"
#include "base/worker.h"

#include <stdint.h>

#define PROXY_DIAL_MS 10000    /* from the name to a connection */
#define PROXY_DIAL_NEXT_MS 250 /* until the next address is tried, too */
#define PROXY_DIAL_ADDRS 16    /* of a name that are tried */

struct proxy_dial;

struct proxy_dial_conf {
    struct loop *loop;
    struct worker *worker; /* for look-ups, which block */
    const struct addr_policy *rules;
    int64_t dial_ms, next_ms; /* the above, or a test's */
};

/* fd: connected, non-blocking, the callee's, and where it leads. Or -1 and e:
 * ERR_DENIED (none of its addresses may be dialled: what the first one was),
 * ERR_ABSENT (no such name), ERR_PEER (nobody answers), ERR_TIMEOUT, ERR_BUSY
 * (too many look-ups). Called once, never from within proxy_dial_start. */
typedef void proxy_dialled(void *arg, int fd, const struct sockaddr *to,
                           const struct err *e);

/* conf is borrowed until it is done. host: a name, or an address. */
struct proxy_dial *proxy_dial_start(const struct proxy_dial_conf *conf,
                                    const char *host, uint16_t port,
                                    proxy_dialled *done, void *arg);
void proxy_dial_stop(struct proxy_dial *d); /* done is not called any more */

#endif
