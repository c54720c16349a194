#include "gateway/limits.h"

#include "base/mem.h"

#include <string.h>
#include <stdlib.h>

struct limits_entry {
    struct limits_entry *next; /* of the bucket */
    uint8_t key[LIMITS_KEY_BYTES];
    bool is_user;
    int unproven;
    int attached;
    struct limits_node *oldest, *newest; /* unproven ones */
};

void limits_init(struct limits *l, const uint8_t seed[16])
{
    memcpy(l->seed, seed, 16);
    l->unproven = 0;
    l->oldest = l->newest = NULL;
    memset(l->buckets, 0, sizeof(l->buckets));
}

void limits_fini(struct limits *l)
{
    for (size_t i = 0; i < LIMITS_BUCKETS; i++) {
        while (l->buckets[i]) {
            struct limits_entry *e = l->buckets[i];

            l->buckets[i] = e->next;
            free(e);
        }
    }
}

/* Keyed, so that nobody picks addresses that share a bucket. */
static size_t bucket_of(const struct limits *l, const uint8_t *key,
                        bool is_user)
{
    uint64_t a, b, h;

    memcpy(&a, key, 8);
    memcpy(&b, key + 8, 8);
    h = (a ^ l->seed[0]) * 0x9e3779b97f4a7c15u;
    h = (h ^ h >> 29 ^ b ^ l->seed[1]) * 0xbf58476d1ce4e5b9u;
    h = (h ^ h >> 31 ^ (is_user ? l->seed[0] : 0)) * 0x94d049bb133111ebu;
    return (size_t)((h ^ h >> 30) % LIMITS_BUCKETS);
}

static struct limits_entry *entry_get(struct limits *l, const uint8_t *key,
                                      bool is_user)
{
    size_t at = bucket_of(l, key, is_user);
    struct limits_entry *e = l->buckets[at];

    while (e && (e->is_user != is_user ||
                 memcmp(e->key, key, LIMITS_KEY_BYTES) != 0))
        e = e->next;
    if (e)
        return e;
    e = mem_zero(1, sizeof(*e));
    memcpy(e->key, key, LIMITS_KEY_BYTES);
    e->is_user = is_user;
    e->next = l->buckets[at];
    l->buckets[at] = e;
    return e;
}

static void entry_tidy(struct limits *l, struct limits_entry *e)
{
    struct limits_entry **at;

    if (e->unproven || e->attached)
        return;
    at = &l->buckets[bucket_of(l, e->key, e->is_user)];
    while (*at != e)
        at = &(*at)->next;
    *at = e->next;
    free(e);
}

static void addr_link(struct limits_entry *e, struct limits_node *n)
{
    n->addr = e;
    n->addr_prev = e->newest;
    n->addr_next = NULL;
    if (e->newest)
        e->newest->addr_next = n;
    else
        e->oldest = n;
    e->newest = n;
    e->unproven++;
}

static void addr_unlink(struct limits *l, struct limits_node *n)
{
    struct limits_entry *e = n->addr;

    if (!e)
        return;
    if (n->addr_prev)
        n->addr_prev->addr_next = n->addr_next;
    else
        e->oldest = n->addr_next;
    if (n->addr_next)
        n->addr_next->addr_prev = n->addr_prev;
    else
        e->newest = n->addr_prev;
    n->addr = NULL;
    n->addr_next = n->addr_prev = NULL;
    e->unproven--;
    entry_tidy(l, e);
}

struct limits_node *limits_rename(struct limits *l, struct limits_node *n,
                                  const uint8_t key[LIMITS_KEY_BYTES])
{
    struct limits_entry *e;

    addr_unlink(l, n);
    e = entry_get(l, key, false);
    addr_link(e, n);
    return e->unproven > l->unproven_addr_max && e->oldest != n ? e->oldest
                                                                : NULL;
}

struct limits_node *limits_arrive(struct limits *l, struct limits_node *n,
                                  const uint8_t key[LIMITS_KEY_BYTES])
{
    struct limits_node *victim = NULL;

    *n = (struct limits_node){.is_listed = true, .prev = l->newest};
    if (l->newest)
        l->newest->next = n;
    else
        l->oldest = n;
    l->newest = n;
    l->unproven++;
    if (key)
        victim = limits_rename(l, n, key);
    if (!victim && l->unproven > l->unproven_max && l->oldest != n)
        victim = l->oldest;
    return victim;
}

void limits_leave(struct limits *l, struct limits_node *n)
{
    if (!n->is_listed)
        return;
    addr_unlink(l, n);
    if (n->prev)
        n->prev->next = n->next;
    else
        l->oldest = n->next;
    if (n->next)
        n->next->prev = n->prev;
    else
        l->newest = n->prev;
    l->unproven--;
    *n = (struct limits_node){0};
}

static struct limits_entry *attach(struct limits *l, const uint8_t *key,
                                   bool is_user, int max)
{
    struct limits_entry *e = entry_get(l, key, is_user);

    if (e->attached < max) {
        e->attached++;
        return e;
    }
    entry_tidy(l, e);
    return NULL;
}

struct limits_entry *limits_attach_addr(struct limits *l,
                                        const uint8_t key[LIMITS_KEY_BYTES])
{
    return attach(l, key, false, l->attached_addr_max);
}

struct limits_entry *limits_attach_user(struct limits *l,
                                        const uint8_t key[LIMITS_KEY_BYTES])
{
    return attach(l, key, true, l->attached_user_max);
}

void limits_detach(struct limits *l, struct limits_entry *e)
{
    if (!e)
        return;
    e->attached--;
    entry_tidy(l, e);
}
