/*
 * Who gets a place among a server's connections: so many an address, so many
 * in all, and those without a whole request make room, the oldest first.
 */
#include "base/addr.h"
#include "base/ws_internal.h"

#include <string.h>

static bool ws_has_key(const struct ws_conn *c, const uint8_t *key)
{
    return !key || (c->is_counted && memcmp(c->key, key, 16) == 0);
}

/* Connections of the address: there are few enough to look at each. */
static int ws_held_by(const struct ws_server *s, const uint8_t *key)
{
    int held = 0;

    for (const struct ws_conn *c = s->x->conns; c; c = c->next)
        held += c->server == s && c->phase != WS_DEAD && ws_has_key(c, key);
    return held;
}

bool ws_limits_make_room(struct ws_server *s, const uint8_t *key)
{
    struct ws_conn *oldest = NULL;

    for (struct ws_conn *c = s->x->conns; c; c = c->next)
        if (c->server == s && (c->phase == WS_HEAD || c->phase == WS_BODY) &&
            ws_has_key(c, key))
            oldest = c; /* the list has the newest first */
    if (oldest)
        ws_drop(oldest);
    return oldest != NULL;
}

/* Is it counted by the socket's peer? A trusted proxy is many clients. */
static bool ws_is_counted(const struct ws_server *s,
                          const struct sockaddr_storage *peer)
{
    const struct cidr_list *proxies = s->conf.trusted_proxies;

    return s->conf.conns_per_address_max > 0 &&
           !(proxies && cidr_list_has(proxies, (const struct sockaddr *)peer));
}

bool ws_limits_let_in(struct ws_server *s, const struct sockaddr_storage *peer)
{
    uint8_t key[16];

    if (ws_is_counted(s, peer)) {
        addr_count_key((const struct sockaddr *)peer, key);
        if (ws_held_by(s, key) >= s->conf.conns_per_address_max)
            return ws_limits_make_room(s, key);
    }
    return s->conns < WS_DEFAULT(s->conf.conns_max, WS_CONNS_MAX) ||
           ws_limits_make_room(s, NULL);
}

void ws_limits_born(struct ws_conn *c)
{
    c->client = c->peer;
    c->is_counted = ws_is_counted(c->server, &c->peer);
    addr_count_key((const struct sockaddr *)&c->peer, c->key);
}

int ws_limits_head(struct ws_conn *c, const char *forwarded)
{
    const struct ws_server_conf *f = &c->server->conf;

    if (!f->trusted_proxies)
        return 0;
    addr_client(&c->peer, forwarded, f->trusted_proxies, f->proxy_hops,
                &c->client);
    if (f->conns_per_address_max <= 0 || c->is_counted)
        return 0;
    addr_count_key((const struct sockaddr *)&c->client, c->key);
    if (ws_held_by(c->server, c->key) >= f->conns_per_address_max)
        return 429;
    c->is_counted = true;
    return 0;
}
