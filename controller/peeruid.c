#include "controller/peeruid.h"

#include "base/addr.h"

#include <arpa/inet.h>
#include <string.h>

#define TCP_ROW_ESTABLISHED 1

struct end { /* one end as ::ffff:a.b.c.d or IPv6, and its port */
    uint8_t ip[16];
    uint16_t port;
};

static void map_v4(const void *v4, uint8_t ip[16])
{
    memset(ip, 0, 10);
    ip[10] = ip[11] = 0xff;
    memcpy(ip + 12, v4, 4);
}

static struct end end_of(const struct sockaddr_storage *sa)
{
    struct end out = {0};

    if (sa->ss_family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)sa;

        map_v4(&in->sin_addr, out.ip);
        out.port = ntohs(in->sin_port);
    } else {
        const struct sockaddr_in6 *in = (const struct sockaddr_in6 *)sa;

        memcpy(out.ip, &in->sin6_addr, 16);
        out.port = ntohs(in->sin6_port);
    }
    return out;
}

/* "0100007F:1F90": 32-bit words in host order. */
static bool end_parse(const char *text, bool is_v6, struct end *out)
{
    uint32_t words[4] = {0};
    int count = is_v6 ? 4 : 1;
    unsigned port;

    for (int i = 0; i < count; i++)
        if (sscanf(text + i * 8, "%8x", &words[i]) != 1)
            return false;
    if (sscanf(text + count * 8, ":%4x", &port) != 1)
        return false;
    if (is_v6)
        memcpy(out->ip, words, 16);
    else
        map_v4(words, out->ip);
    out->port = (uint16_t)port;
    return true;
}

static bool same_end(const struct end *a, const struct end *b)
{
    return a->port == b->port && memcmp(a->ip, b->ip, 16) == 0;
}

int peer_uid_from(FILE *table, bool is_v6, const struct sockaddr_storage *peer,
                  const struct sockaddr_storage *local, uid_t *uid)
{
    struct end want_peer = end_of(peer), want_local = end_of(local);
    char line[512], near[40], far[40];
    unsigned state, owner;
    unsigned long inode;

    while (fgets(line, sizeof line, table)) {
        struct end a, b;

        if (sscanf(line, " %*d: %39s %39s %x %*s %*s %*s %u %*d %lu", near, far,
                   &state, &owner, &inode) != 5 ||
            !end_parse(near, is_v6, &a) || !end_parse(far, is_v6, &b))
            continue;
        /* the peer's own row: its local end is what we see as the peer */
        if (!same_end(&a, &want_peer) || !same_end(&b, &want_local))
            continue;
        if (state != TCP_ROW_ESTABLISHED || inode == 0)
            return -1;
        *uid = owner;
        return 0;
    }
    return -1;
}

int peer_uid(const struct sockaddr_storage *peer,
             const struct sockaddr_storage *local, uid_t *uid, struct err *e)
{
    static const char *const tables[] = {"/proc/net/tcp", "/proc/net/tcp6"};

    if (!addr_is_loopback((const struct sockaddr *)peer) ||
        !addr_is_loopback((const struct sockaddr *)local))
        return err_set(e, ERR_DENIED, "only for programs of this machine");
    for (int i = 0; i < 2; i++) {
        FILE *table = fopen(tables[i], "re");
        int got = -1;

        if (!table)
            continue;
        got = peer_uid_from(table, i == 1, peer, local, uid);
        fclose(table);
        if (got == 0)
            return 0;
    }
    return err_set(e, ERR_DENIED,
                   "the user behind this connection could not be told");
}
