/*
 * Judgement of network addresses: which may be dialled on a stranger's word,
 * and who a client is behind trusted proxies. Pure functions.
 * Source: IANA special-purpose registries; SECURITY rule 10 and 15.
 */
#ifndef PODTERM_BASE_ADDR_H
#define PODTERM_BASE_ADDR_H

#include "base/err.h"

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

struct cidr {
    uint8_t bytes[16]; /* IPv4 as ::ffff:a.b.c.d */
    uint8_t bits;      /* 0..128 on that form */
};

struct cidr_list {
    struct cidr *items; /* owned */
    size_t count;
};

/* "10.0.0.0/8,fc00::/7" (or one address); host bits must be zero. */
int cidr_list_parse(const char *text, struct cidr_list *out, struct err *e);
void cidr_list_fini(struct cidr_list *l);
bool cidr_list_has(const struct cidr_list *l, const struct sockaddr *sa);

/* Globally reachable unicast by IANA's registries? Mapped and compatible
 * IPv4 is unwrapped; NAT64, 6to4 and Teredo are not. */
bool addr_is_global(const struct sockaddr *sa);
bool addr_is_loopback(const struct sockaddr *sa); /* 127/8, ::1, mapped */

struct addr_policy {
    struct cidr_list deny;  /* refused even if global */
    struct cidr_list allow; /* let through even if not global (a test's or an
                               operator's own range); deny wins */
    bool allow_loopback;    /* the local default */
};
/* 0, or -1 ERR_DENIED: "address 10.0.0.1 is not public". The one function
 * of agent and controller. */
int addr_judge(const struct addr_policy *p, const struct sockaddr *sa,
               struct err *e);

/* Parse "1.2.3.4:80", "[::1]:80" (literal addresses only). */
int addr_parse(const char *text, struct sockaddr_storage *out, struct err *e);
#define ADDR_TEXT_MAX 64
/* "1.2.3.4:80" / "[::1]:80"; addr_text_ip without the port and brackets. */
void addr_text(const struct sockaddr *sa, char out[ADDR_TEXT_MAX]);
void addr_text_ip(const struct sockaddr *sa, char out[ADDR_TEXT_MAX]);
socklen_t addr_len(const struct sockaddr_storage *sa);

/* IPv4 that an IPv6 socket shows as ::ffff:a.b.c.d, as IPv4 with its port; all
 * else is left alone. */
void addr_unmap(struct sockaddr_storage *sa);

/*
 * The client's address: the peer's, unless the peer is in trusted; then the
 * hops-th entry of X-Forwarded-For from the right (hops >= 1). A header that
 * is absent, too short or malformed gives the peer's.
 */
void addr_client(const struct sockaddr_storage *peer, const char *xff,
                 const struct cidr_list *trusted, int hops,
                 struct sockaddr_storage *out);
/* Key for counting per client: IPv4 whole, IPv6 its /64. 16 bytes. */
void addr_count_key(const struct sockaddr *sa, uint8_t out[16]);

#endif
