/*
 * Who may speak to this server through a browser: the Host and Origin
 * judgement that stops DNS rebinding and foreign pages, and the CORS list.
 * Pure functions. Source: SECURITY rules 1 and 12.
 */
#ifndef PODTERM_CONTROLLER_GUARD_H
#define PODTERM_CONTROLLER_GUARD_H

#include <stdbool.h>

struct guard {
    bool is_dev; /* only loopback names and the listener's own */
    bool is_tls;
    int port;            /* of the listener */
    const char *listen;  /* "127.0.0.1:8080", as set */
    const char *hosts;   /* "a.example,b.example:8443"; "" = any */
    const char *origins; /* CORS list: "https://a.example,..." */
};

enum guard_origin {
    ORIGIN_NONE,    /* no Origin: not a page's request */
    ORIGIN_OWN,     /* this server's own pages */
    ORIGIN_LISTED,  /* on the CORS list */
    ORIGIN_FOREIGN, /* refused in dev, without CORS headers elsewhere */
};

/* host: value of the Host header or NULL. false = answer 421. */
bool guard_host_ok(const struct guard *g, const char *host);
enum guard_origin guard_origin(const struct guard *g, const char *origin,
                               const char *host);

#endif
