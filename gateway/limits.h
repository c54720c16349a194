/*
 * Who may have how many connections. Unproven ones (accepted, HELLO not yet
 * verified) are capped in total and per address, the oldest dropped first;
 * attachments are capped per address and per user. One thread, no I/O.
 * Source: SECURITY rule 15.
 */
#ifndef PODTERM_GATEWAY_LIMITS_H
#define PODTERM_GATEWAY_LIMITS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LIMITS_KEY_BYTES 16
#define LIMITS_BUCKETS 4096

struct limits_entry; /* one address or user that has something */

struct limits_node { /* embedded in a connection; zeroed = not listed */
    struct limits_node *next, *prev;           /* all, oldest first */
    struct limits_node *addr_next, *addr_prev; /* of this address */
    struct limits_entry *addr;                 /* NULL: a trusted proxy's */
    bool is_listed;
};

struct limits {
    int unproven_max, unproven_addr_max; /* at once */
    int attached_addr_max, attached_user_max;
    int unproven; /* now */
    uint64_t seed[2];
    struct limits_node *oldest, *newest;
    struct limits_entry *buckets[LIMITS_BUCKETS];
};

/* Set the four caps first. seed: 16 random bytes. */
void limits_init(struct limits *l, const uint8_t seed[16]);
void limits_fini(struct limits *l);

/*
 * List an unproven connection.
 *
 * key      its address (addr_count_key); NULL = a trusted proxy's, whose
 *          client is not known yet: counted in total alone
 * returns  a node to be dropped now, or NULL. The new node never is the one
 */
struct limits_node *limits_arrive(struct limits *l, struct limits_node *n,
                                  const uint8_t key[LIMITS_KEY_BYTES]);
/* Its client's address has become known: like arriving anew. */
struct limits_node *limits_rename(struct limits *l, struct limits_node *n,
                                  const uint8_t key[LIMITS_KEY_BYTES]);
/* No longer unproven, or gone. A node not listed is left alone. */
void limits_leave(struct limits *l, struct limits_node *n);

/* One attachment more of this address or user: what to give back, or NULL =
 * the cap is reached and nothing was counted. */
struct limits_entry *limits_attach_addr(struct limits *l,
                                        const uint8_t key[LIMITS_KEY_BYTES]);
struct limits_entry *limits_attach_user(struct limits *l,
                                        const uint8_t key[LIMITS_KEY_BYTES]);
void limits_detach(struct limits *l, struct limits_entry *e); /* takes NULL */

#endif
