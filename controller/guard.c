#include "controller/guard.h"

#include "base/addr.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define GUARD_HOST_MAX 300 /* bytes of host:port */

/* Is item one of the comma-separated entries, letter case aside? */
static bool list_has(const char *list, const char *item, size_t len)
{
    for (const char *at = list; at && *at;) {
        size_t n = strcspn(at, ",");

        if (n == len && strncasecmp(at, item, len) == 0)
            return true;
        at += n + (at[n] == ',');
    }
    return false;
}

/* Length of the name in "name", "name:1", "[::1]:1"; *port is -1 when there
 * is none. 0 = malformed. */
static size_t split(const char *host, int *port)
{
    const char *end = host[0] == '[' ? strchr(host, ']') : NULL;
    size_t len = end ? (size_t)(end - host) + 1 : strcspn(host, ":");
    char *tail;
    long n;

    *port = -1;
    if (host[len] == '\0')
        return len;
    if (host[len] != ':' || host[len + 1] < '0' || host[len + 1] > '9')
        return 0;
    n = strtol(host + len + 1, &tail, 10);
    if (*tail || n < 1 || n > 65535)
        return 0;
    *port = (int)n;
    return len;
}

static bool is_loopback_literal(const char *host, size_t len)
{
    char text[GUARD_HOST_MAX];
    struct sockaddr_storage sa;
    struct err ignored = {0};

    snprintf(text, sizeof text, "%.*s:1", (int)len, host);
    return addr_parse(text, &sa, &ignored) == 0 &&
           addr_is_loopback((struct sockaddr *)&sa);
}

bool guard_host_ok(const struct guard *g, const char *host)
{
    int port, own_port;
    size_t len, own_len;

    if (!host || !*host || strlen(host) >= GUARD_HOST_MAX - 8)
        return false;
    len = split(host, &port);
    if (len == 0)
        return false;
    if (!g->is_dev)
        return !*g->hosts || list_has(g->hosts, host, strlen(host)) ||
               list_has(g->hosts, host, len);
    if ((port < 0 ? (g->is_tls ? 443 : 80) : port) != g->port)
        return false;
    own_len = split(g->listen, &own_port);
    return is_loopback_literal(host, len) ||
           (len == 9 && strncasecmp(host, "localhost", 9) == 0) ||
           (len == own_len && strncasecmp(host, g->listen, len) == 0);
}

enum guard_origin guard_origin(const struct guard *g, const char *origin,
                               const char *host)
{
    const char *scheme = g->is_tls ? "https://" : "http://";
    size_t len = strlen(scheme);

    if (!origin)
        return ORIGIN_NONE;
    if (list_has(g->origins, origin, strlen(origin)))
        return ORIGIN_LISTED;
    if (strncmp(origin, scheme, len) != 0)
        return ORIGIN_FOREIGN;
    /* in dev any of our names is our page; elsewhere the one it came by */
    if (g->is_dev ? guard_host_ok(g, origin + len)
                  : host && strcasecmp(origin + len, host) == 0)
        return ORIGIN_OWN;
    return ORIGIN_FOREIGN;
}
