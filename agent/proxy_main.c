#include "agent/proxy_main.h"

#include "agent/egress_child.h"
#include "agent/lockdown.h"
#include "base/mem.h"
#include "base/own.h"
#include "base/worker.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define THREADS 4 /* look-ups at a time */
#define LOOK_UPS_MAX 64
#define MEMORY_BYTES (128ul << 20)
#define DESCRIPTORS 4096 /* a connection has two sockets and two pipes */

int proxy_rules_of(const struct json *j, struct proxy_rules *out, struct err *e)
{
    static const char *const names[] = {"domains", "allow_http", "allow_cidrs",
                                        "deny_cidrs", NULL};
    const char *domains = json_get_str(j, "domains");
    const char *allow = json_get_str(j, "allow_cidrs");
    const char *deny = json_get_str(j, "deny_cidrs");

    memset(out, 0, sizeof(*out));
    if (json_only(j, names, e) < 0)
        return -1;
    if (!domains || !allow || !deny ||
        json_get_bool(j, "allow_http", &out->allow_http) < 0)
        return err_set(e, ERR_INPUT,
                       "domains, allow_http, allow_cidrs and deny_cidrs are "
                       "all to be there");
    if (domain_list_parse(domains, &out->domains, e) < 0)
        return err_wrap(e, "domains");
    if (cidr_list_parse(allow, &out->addrs.allow, e) < 0)
        return err_wrap(e, "allow_cidrs");
    if (cidr_list_parse(deny, &out->addrs.deny, e) < 0)
        return err_wrap(e, "deny_cidrs");
    return 0;
}

void proxy_rules_fini(struct proxy_rules *r)
{
    domain_list_fini(&r->domains);
    cidr_list_fini(&r->addrs.allow);
    cidr_list_fini(&r->addrs.deny);
}

/* --- its process --- */

static void refused(void *arg, const char *host, uint16_t port, const char *why)
{
    char what[URL_HOST_MAX + 8];

    snprintf(what, sizeof(what), "%s:%u", host, port);
    egress_child_refused(arg, what, why);
}

/* Once it has its rules, and before anybody is heard. */
static int lock(const struct proxy_rules *r, struct err *e)
{
    own_mem uint16_t *ports = mem_zero(r->domains.count + 2, sizeof(*ports));
    struct lockdown_network n = {.event = "proxy.lockdown",
                                 .ports = ports,
                                 .memory_bytes = MEMORY_BYTES,
                                 .descriptors = DESCRIPTORS};

    ports[n.port_count++] = PROXY_TLS_PORT;
    if (r->allow_http)
        ports[n.port_count++] = PROXY_HTTP_PORT;
    for (size_t i = 0; i < r->domains.count; i++) {
        const char *colon = strchr(r->domains.items[i], ':');

        if (colon)
            ports[n.port_count++] = (uint16_t)strtol(colon + 1, NULL, 10);
    }
    return lockdown_network(&n, e);
}

static bool is_busy(void *proxy)
{
    return proxy_count(proxy) > 0;
}

int proxy_child_main(int argc, char **argv)
{
    static const struct proxy_verbs verbs = {.refused = refused};
    own_json struct json *j = NULL;
    struct proxy_rules rules = {0};
    struct egress_child c;
    struct worker *worker;
    struct proxy *proxy;
    struct err e = {0};

    j = egress_child_begin(&c, argc > 2 ? argv[2] : "", &e);
    if (!j || proxy_rules_of(j, &rules, &e) < 0 || lock(&rules, &e) < 0) {
        log_err(&e, "proxy.failed");
        proxy_rules_fini(&rules);
        return EXIT_FAILURE;
    }
    egress_child_locked(&c);
    worker = worker_new(c.loop, THREADS, LOOK_UPS_MAX);
    proxy = proxy_new(c.loop, worker, EGRESS_LISTEN_FD, &rules, &verbs, &c);
    egress_child_run(&c, is_busy, proxy);
    proxy_free(proxy);
    _exit(EXIT_SUCCESS); /* look-ups under way are not waited for */
}
