#include "client/target.h"

#include "base/addr.h"
#include "client/server.h"

#include <netdb.h>
#include <stdio.h>
#include <string.h>

int target_parse(const char *attach_url, struct target *out, struct err *e)
{
    char text[URL_MAX];
    struct url u;
    bool is_tls = strncmp(attach_url, "wss://", 6) == 0;
    const char *colon = strstr(attach_url, "://");

    if (!is_tls && strncmp(attach_url, "ws://", 5) != 0)
        return err_set(e, ERR_INPUT,
                       "the server's attach_url is no ws or wss address");
    if (strlen(colon) >= sizeof(text) - 8)
        return err_set(e, ERR_INPUT, "the server's attach_url is too long");
    snprintf(text, sizeof(text), "%s%s", is_tls ? "https" : "http", colon);
    if (url_parse(text, &u, e) < 0)
        return err_wrap(e, "the server's attach_url");
    if (u.has_query)
        return err_set(e, ERR_INPUT, "the server's attach_url has a query");
    if (!is_tls && !server_is_loopback(u.host))
        return err_set(e, ERR_DENIED,
                       "the server's attach_url is not encrypted (ws://%s): "
                       "refused",
                       u.host);
    memset(out, 0, sizeof(*out));
    out->is_tls = is_tls;
    out->port = u.port;
    snprintf(out->name, sizeof(out->name), "%s", u.host);
    snprintf(out->path, sizeof(out->path), "%s", u.path[0] ? u.path : "/");
    snprintf(out->host, sizeof(out->host), strchr(u.host, ':') ? "[%s]" : "%s",
             u.host);
    if (u.port != (is_tls ? 443 : 80)) {
        size_t len = strlen(out->host);

        snprintf(out->host + len, sizeof(out->host) - len, ":%u", u.port);
    }
    return 0;
}

int target_resolve(struct target *t, struct err *e)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM,
                                   .ai_flags = AI_ADDRCONFIG};
    struct addrinfo *list = NULL;
    char port[8];
    int failed;

    snprintf(port, sizeof(port), "%u", t->port);
    failed = getaddrinfo(t->name, port, &hints, &list);
    if (failed) { /* with loopback alone AI_ADDRCONFIG knows no addresses */
        const struct addrinfo any = {.ai_socktype = SOCK_STREAM};

        failed = getaddrinfo(t->name, port, &any, &list);
    }
    if (failed)
        return err_set(e, ERR_PEER, "%s: %s", t->name, gai_strerror(failed));
    t->addr_count = 0;
    for (struct addrinfo *a = list; a && t->addr_count < TARGET_ADDRS_MAX;
         a = a->ai_next) {
        if (a->ai_family != AF_INET && a->ai_family != AF_INET6)
            continue;
        if (!t->is_tls && !addr_is_loopback(a->ai_addr))
            continue;
        memcpy(&t->addrs[t->addr_count++], a->ai_addr, a->ai_addrlen);
    }
    freeaddrinfo(list);
    if (t->addr_count == 0)
        return err_set(e, ERR_PEER, "%s has no address to dial", t->name);
    return 0;
}
