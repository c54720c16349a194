/* The program's ways out: who listens, and who answers. */
#include "agent/life_internal.h"

#include "agent/attach.h"
#include "agent/egress.h"
#include "agent/sandbox.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/own.h"
#include "base/ws.h"

#include <unistd.h>

static void life_refused(void *arg, const char *text)
{
    struct life *l = arg;

    attach_notice(l->attachments, text);
}

/* Kept, so that no kill gives a session its budget anew. */
static void life_spent(void *arg, int64_t requests, int64_t bytes)
{
    struct life *l = arg;

    l->head->broker_requests = requests;
    l->head->broker_bytes = bytes;
}

static const struct egress_verbs verbs = {.notice = life_refused,
                                          .spent = life_spent};

static struct egress *life_proxy(struct life *l)
{
    const struct egress_conf conf = {.kind = EGRESS_KIND_PROXY,
                                     .sid = l->spec->sid,
                                     .rules = l->spec->proxy_rules,
                                     .verbs = &verbs,
                                     .arg = l};

    return egress_new(l->loop, &conf);
}

static struct egress *life_broker(struct life *l)
{
    const struct egress_conf conf = {.kind = EGRESS_KIND_BROKER,
                                     .sid = l->spec->sid,
                                     .rules = l->spec->broker_rules,
                                     .keys_fd = l->conf.broker_fd,
                                     .keys_dir = l->conf.broker_keys,
                                     .spent_requests = l->head->broker_requests,
                                     .spent_bytes = l->head->broker_bytes,
                                     .verbs = &verbs,
                                     .arg = l};

    return egress_new(l->loop, &conf);
}

void life_listener(void *arg, uint16_t port, int listen_fd)
{
    struct life *l = arg;

    if (port == SHIM_PROXY_PORT && l->spec->proxy_rules) {
        if (!l->egress)
            l->egress = life_proxy(l);
        egress_listen(l->egress, listen_fd);
    } else if (port == SHIM_BROKER_PORT && l->spec->broker_rules) {
        if (!l->broker)
            l->broker = life_broker(l);
        egress_listen(l->broker, listen_fd);
    } else {
        close(listen_fd); /* nobody asked for it */
    }
}

/* In a network that is ours, too, we listen, before there is a program that
 * could: what an earlier process of ours left may hold the port a moment. */
void life_listen(void *arg)
{
    struct life *l = arg;
    uint16_t ports[SHIM_PORTS_MAX];
    int count = l->spec->is_network_shared ? sandbox_ports(l->spec, ports) : 0;

    while (l->listening < count) {
        const uint16_t port = ports[l->listening];
        own_mem char *at = mem_printf("127.0.0.1:%u", (unsigned)port);
        struct err e = {0};
        int fd = listen_tcp(at, false, &e);

        if (fd < 0 && l->listen_tries++ < LIFE_LISTEN_TRIES) {
            life_timer(l, &l->listen, LIFE_LISTEN_MS, life_listen);
            return;
        }
        if (fd < 0) {
            log_err(&e, "egress.not_listening");
            life_refuse(l, REASON_START_FAILED, LEAVE_START_FAILED, e.text);
            return;
        }
        life_listener(l, port, fd);
        l->listening++;
    }
    l->has_listened = true;
    life_try_start(l);
}
