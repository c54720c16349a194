#include "controller/peeruid.h"

#include "base/addr.h"

#include <arpa/inet.h>
#include <stdlib.h>
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

/* Exactly `digits` hexadecimal digits from *at, which moves behind them. */
static bool take_hex(const char **at, int digits, uint32_t *out)
{
    uint32_t value = 0;

    for (int i = 0; i < digits; i++, (*at)++) {
        char c = (*at)[0];

        if (c >= '0' && c <= '9')
            value = value << 4 | (uint32_t)(c - '0');
        else if (c >= 'A' && c <= 'F')
            value = value << 4 | (uint32_t)(c - 'A' + 10);
        else
            return false;
    }
    *out = value;
    return true;
}

/* "0100007F:1F90": 32-bit words in host order. */
static bool end_parse(const char *text, bool is_v6, struct end *out)
{
    uint32_t words[4] = {0}, port;

    for (int i = 0; i < (is_v6 ? 4 : 1); i++)
        if (!take_hex(&text, 8, &words[i]))
            return false;
    if (*text++ != ':' || !take_hex(&text, 4, &port) || *text)
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

/* The columns of a row that matter here (proc(5)). */
enum { COL_LOCAL = 1, COL_REMOTE, COL_STATE, COL_UID = 7, COL_INODE = 9 };

/* Split into columns in place; how many there are. */
static int split(char *line, char *cols[], int max)
{
    char *save = NULL;
    int n = 0;

    for (char *at = strtok_r(line, " \n", &save); at && n < max;
         at = strtok_r(NULL, " \n", &save))
        cols[n++] = at;
    return n;
}

int peer_uid_from(FILE *table, bool is_v6, const struct sockaddr_storage *peer,
                  const struct sockaddr_storage *local, uid_t *uid)
{
    struct end want_peer = end_of(peer), want_local = end_of(local);
    char line[512], *cols[COL_INODE + 1];

    while (fgets(line, sizeof line, table)) {
        struct end a, b;

        if (split(line, cols, COL_INODE + 1) != COL_INODE + 1 ||
            !end_parse(cols[COL_LOCAL], is_v6, &a) ||
            !end_parse(cols[COL_REMOTE], is_v6, &b))
            continue;
        /* the peer's own row: its local end is what we see as the peer */
        if (!same_end(&a, &want_peer) || !same_end(&b, &want_local))
            continue;
        if (strtoul(cols[COL_STATE], NULL, 16) != TCP_ROW_ESTABLISHED ||
            strtoul(cols[COL_INODE], NULL, 10) == 0)
            return -1;
        *uid = (uid_t)strtoul(cols[COL_UID], NULL, 10);
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
