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

void life_listener(void *arg, uint16_t port, int listen_fd)
{
    static const struct egress_verbs verbs = {.notice = life_refused};
    struct life *l = arg;

    if (!l->spec->proxy_rules || port != SHIM_PROXY_PORT) {
        close(listen_fd); /* nobody asked for it */
        return;
    }
    if (!l->egress)
        l->egress =
            egress_new(l->loop, l->spec->sid, l->spec->proxy_rules, &verbs, l);
    egress_listen(l->egress, listen_fd);
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
