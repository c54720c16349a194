/*
 * What the operator sets. One row a setting (base/conf.h); lists are parsed
 * here, so that a bad one stops the start.
 */
#ifndef PODTERM_GATEWAY_SETTINGS_H
#define PODTERM_GATEWAY_SETTINGS_H

#include "base/addr.h"
#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SETTINGS_LIST_MAX 64 /* origins, hosts */

struct text_list {
    char *items[SETTINGS_LIST_MAX]; /* lower case, owned */
    size_t count;
};

struct settings {
    const char *listen, *metrics_listen;
    const char *store, *seal_key_file;
    const char *redis_user, *redis_password_file, *redis_ca;
    const char *jwks_file, *jwks_url, *jwks_ca;
    const char *issuer, *audience;
    const char *agent_cidrs_text, *trusted_text;
    const char *origins_text, *hosts_text;
    const char *tls_cert, *tls_key;
    const char *log_level;
    int64_t proxy_hops;

    int64_t hello_ms;      /* accept to a verified HELLO */
    int64_t dial_ms;       /* address known to the agent's 101 */
    int64_t lost_ms;       /* agent's leg lost: wait for the row's end */
    int64_t start_ms;      /* a session may be pending */
    int64_t half_close_ms; /* one side done: the other gets that long */
    int64_t linger_ms;     /* our last words may take that long */
    int64_t drain_ms;      /* SIGTERM to 1012 for who is left */
    int64_t ping_ms, agent_ping_ms, dead_ms;
    int64_t poll_ms; /* the store, while somebody waits */
    int64_t jwks_refresh_ms;
    int64_t token_margin_s; /* a token is never held past exp minus this */
    int64_t skew_s;

    int64_t unproven_max, unproven_addr_max;
    int64_t attached_max, attached_addr_max, attached_user_max;
    int64_t threads;

    struct cidr_list agent_cidrs, trusted;
    struct text_list origins, hosts;
};

/* As conf_load: 0, 1 (help was printed), or -1 with *e. */
int settings_load(struct settings *s, int argc, char **argv, struct err *e);
void settings_fini(struct settings *s);

/* Is len bytes of text, case aside, in the list? An item "*" takes all. */
bool text_list_has(const struct text_list *l, const char *text, size_t len);

#endif
