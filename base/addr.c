#include "base/addr.h"

#include "base/mem.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const uint8_t mapped_prefix[12] = {0, 0, 0, 0, 0,    0,
                                          0, 0, 0, 0, 0xff, 0xff};

/* Every address as 16 bytes; IPv4, mapped and compatible alike as mapped, so
 * that one address has one form. ::1 and :: stay IPv6. */
static void addr_bytes(const struct sockaddr *sa, uint8_t out[16])
{
    static const uint8_t zero[12];

    memset(out, 0, 16);
    if (sa->sa_family == AF_INET) {
        memcpy(out, mapped_prefix, 12);
        memcpy(out + 12,
               &((const struct sockaddr_in *)(const void *)sa)->sin_addr, 4);
    } else if (sa->sa_family == AF_INET6) {
        memcpy(out, &((const struct sockaddr_in6 *)(const void *)sa)->sin6_addr,
               16);
        if (memcmp(out, zero, 12) == 0 &&
            (out[12] || out[13] || out[14] || out[15] > 1))
            memcpy(out, mapped_prefix, 12);
    }
}

static bool addr_is_v4(const uint8_t a[16])
{
    return memcmp(a, mapped_prefix, 12) == 0;
}

static bool cidr_has(const uint8_t net[16], unsigned bits, const uint8_t a[16])
{
    unsigned whole = bits / 8, rest = bits % 8;

    if (memcmp(net, a, whole) != 0)
        return false;
    return rest == 0 || ((net[whole] ^ a[whole]) >> (8 - rest)) == 0;
}

/* --- judgement --- */

/* Not globally reachable, by IANA's special-purpose registries (2025), and
 * what is never unicast. IPv4 bits count from its own first bit. */
static const struct {
    uint8_t net[4];
    uint8_t bits;
} special4[] = {
    {{0, 0, 0, 0}, 8},       {{10, 0, 0, 0}, 8},     {{100, 64, 0, 0}, 10},
    {{127, 0, 0, 0}, 8},     {{169, 254, 0, 0}, 16}, {{172, 16, 0, 0}, 12},
    {{192, 0, 0, 0}, 24},    {{192, 0, 2, 0}, 24},   {{192, 31, 196, 0}, 24},
    {{192, 52, 193, 0}, 24}, {{192, 88, 99, 0}, 24}, {{192, 168, 0, 0}, 16},
    {{192, 175, 48, 0}, 24}, {{198, 18, 0, 0}, 15},  {{198, 51, 100, 0}, 24},
    {{203, 0, 113, 0}, 24},  {{224, 0, 0, 0}, 4},    {{240, 0, 0, 0}, 4},
};

/* Within 2000::/3; all outside it is refused as a whole. */
static const struct {
    uint8_t net[6];
    uint8_t bits;
} special6[] = {
    {{0x20, 0x01, 0x00, 0x00}, 23},             /* IETF assignments, Teredo */
    {{0x20, 0x01, 0x0d, 0xb8}, 32},             /* documentation */
    {{0x20, 0x02}, 16},                         /* 6to4 */
    {{0x26, 0x20, 0x00, 0x4f, 0x80, 0x00}, 48}, /* AS112 */
    {{0x3f, 0xff, 0x00}, 20},                   /* documentation */
    {{0x3f, 0xfe}, 16},                         /* returned 6bone */
};

bool addr_is_global(const struct sockaddr *sa)
{
    uint8_t a[16], net[16] = {0};

    if (sa->sa_family != AF_INET && sa->sa_family != AF_INET6)
        return false;
    addr_bytes(sa, a);
    if (addr_is_v4(a)) {
        for (size_t i = 0; i < sizeof(special4) / sizeof(special4[0]); i++) {
            memcpy(net, mapped_prefix, 12);
            memcpy(net + 12, special4[i].net, 4);
            if (cidr_has(net, 96u + special4[i].bits, a))
                return false;
        }
        return true;
    }
    if ((a[0] & 0xe0) != 0x20)
        return false;
    for (size_t i = 0; i < sizeof(special6) / sizeof(special6[0]); i++) {
        memset(net, 0, sizeof(net));
        memcpy(net, special6[i].net, sizeof(special6[i].net));
        if (cidr_has(net, special6[i].bits, a))
            return false;
    }
    return true;
}

bool addr_is_loopback(const struct sockaddr *sa)
{
    static const uint8_t one[16] = {[15] = 1};
    uint8_t a[16];

    if (sa->sa_family != AF_INET && sa->sa_family != AF_INET6)
        return false;
    addr_bytes(sa, a);
    return memcmp(a, one, 16) == 0 || (addr_is_v4(a) && a[12] == 127);
}

int addr_judge(const struct addr_policy *p, const struct sockaddr *sa,
               struct err *e)
{
    char ip[ADDR_TEXT_MAX];

    addr_text_ip(sa, ip);
    if (cidr_list_has(&p->deny, sa))
        return err_set(e, ERR_DENIED, "address %s is in a denied range", ip);
    if (addr_is_global(sa) || cidr_list_has(&p->allow, sa) ||
        (p->allow_loopback && addr_is_loopback(sa)))
        return 0;
    return err_set(e, ERR_DENIED, "address %s is not public", ip);
}

/* --- lists --- */

/* "a.b.c.d" or "::1" into the one form. */
static int addr_parse_ip(const char *text, uint8_t out[16], bool *is_v4)
{
    struct sockaddr_in6 six = {.sin6_family = AF_INET6};
    struct sockaddr_in four = {.sin_family = AF_INET};

    if (inet_pton(AF_INET, text, &four.sin_addr) == 1) {
        *is_v4 = true;
        addr_bytes((const struct sockaddr *)(const void *)&four, out);
        return 0;
    }
    if (inet_pton(AF_INET6, text, &six.sin6_addr) != 1)
        return -1;
    *is_v4 = false;
    memcpy(out, &six.sin6_addr, 16);
    return 0;
}

static int cidr_parse(const char *text, size_t len, struct cidr *out,
                      struct err *e)
{
    char copy[ADDR_TEXT_MAX], *slash, *end;
    long bits, most;
    bool is_v4;

    if (len >= sizeof(copy))
        return err_set(e, ERR_INPUT,
                       "\"%.*s\" is no network (want one like 10.0.0.0/8 or "
                       "2001:db8::/32)",
                       60, text);
    memcpy(copy, text, len);
    copy[len] = 0;
    slash = strchr(copy, '/');
    if (slash)
        *slash = 0;
    if (addr_parse_ip(copy, out->bytes, &is_v4) < 0)
        return err_set(e, ERR_INPUT,
                       "\"%.*s\" is no network (want one like 10.0.0.0/8 or "
                       "2001:db8::/32)",
                       (int)len, text);
    bits = most = is_v4 ? 32 : 128;
    if (slash) {
        bits = strtol(slash + 1, &end, 10);
        if (end == slash + 1 || *end || slash[1] < '0' || slash[1] > '9' ||
            bits > most)
            return err_set(e, ERR_INPUT, "%s/%s: the length must be 0 to %ld",
                           copy, slash + 1, most);
    }
    out->bits = (uint8_t)(is_v4 ? bits + 96 : bits);
    for (unsigned i = out->bits; i < 128; i++)
        if (out->bytes[i / 8] >> (7 - i % 8) & 1)
            return err_set(e, ERR_INPUT, "%s/%ld has bits behind its length",
                           copy, bits);
    return 0;
}

int cidr_list_parse(const char *text, struct cidr_list *out, struct err *e)
{
    struct cidr_list list = {0};

    while (*text) {
        size_t len = strcspn(text, ",");
        size_t lead = strspn(text, " ");

        if (lead > len)
            lead = len;
        if (len > lead) {
            size_t tail = len;

            while (tail > lead && text[tail - 1] == ' ')
                tail--;
            list.items =
                mem_resize(list.items, list.count + 1, sizeof(*list.items));
            if (cidr_parse(text + lead, tail - lead, &list.items[list.count],
                           e) < 0) {
                cidr_list_fini(&list);
                return -1;
            }
            list.count++;
        }
        text += len + (text[len] == ',');
    }
    *out = list;
    return 0;
}

void cidr_list_fini(struct cidr_list *l)
{
    if (!l)
        return;
    free(l->items);
    *l = (struct cidr_list){0};
}

bool cidr_list_has(const struct cidr_list *l, const struct sockaddr *sa)
{
    uint8_t a[16];

    if (sa->sa_family != AF_INET && sa->sa_family != AF_INET6)
        return false;
    addr_bytes(sa, a);
    for (size_t i = 0; i < l->count; i++)
        if (cidr_has(l->items[i].bytes, l->items[i].bits, a))
            return true;
    return false;
}

/* --- text --- */

socklen_t addr_len(const struct sockaddr_storage *sa)
{
    return sa->ss_family == AF_INET6 ? sizeof(struct sockaddr_in6)
                                     : sizeof(struct sockaddr_in);
}

static int addr_parse_port(const char *text, uint16_t *out)
{
    char *end;
    long v = strtol(text, &end, 10);

    if (text[0] < '0' || text[0] > '9' || *end || end - text > 5 || v > 65535)
        return -1;
    *out = (uint16_t)v;
    return 0;
}

int addr_parse(const char *text, struct sockaddr_storage *out, struct err *e)
{
    struct sockaddr_storage ss = {0};
    struct sockaddr_in6 *six = (void *)&ss;
    struct sockaddr_in *four = (void *)&ss;
    const char *colon = strrchr(text, ':');
    char host[ADDR_TEXT_MAX];
    uint16_t port;
    size_t len;

    if (!colon || (size_t)(colon - text) >= sizeof(host) ||
        addr_parse_port(colon + 1, &port) < 0)
        goto bad;
    len = (size_t)(colon - text);
    memcpy(host, text, len);
    host[len] = 0;
    if (host[0] == '[' && len > 2 && host[len - 1] == ']') {
        host[len - 1] = 0;
        six->sin6_family = AF_INET6;
        six->sin6_port = htons(port);
        if (inet_pton(AF_INET6, host + 1, &six->sin6_addr) != 1)
            goto bad;
    } else {
        four->sin_family = AF_INET;
        four->sin_port = htons(port);
        if (inet_pton(AF_INET, host, &four->sin_addr) != 1)
            goto bad;
    }
    *out = ss;
    return 0;
bad:
    return err_set(e, ERR_INPUT,
                   "\"%.60s\" is not ADDRESS:PORT (as 127.0.0.1:8080 or "
                   "[::1]:8080)",
                   text);
}

void addr_text_ip(const struct sockaddr *sa, char out[ADDR_TEXT_MAX])
{
    const void *at = NULL;

    if (sa->sa_family == AF_INET)
        at = &((const struct sockaddr_in *)(const void *)sa)->sin_addr;
    else if (sa->sa_family == AF_INET6)
        at = &((const struct sockaddr_in6 *)(const void *)sa)->sin6_addr;
    if (!at || !inet_ntop(sa->sa_family, at, out, ADDR_TEXT_MAX))
        snprintf(out, ADDR_TEXT_MAX, "?");
}

void addr_text(const struct sockaddr *sa, char out[ADDR_TEXT_MAX])
{
    char ip[ADDR_TEXT_MAX];
    bool is_six = sa->sa_family == AF_INET6;
    unsigned port = 0;

    addr_text_ip(sa, ip);
    if (is_six)
        port =
            ntohs(((const struct sockaddr_in6 *)(const void *)sa)->sin6_port);
    else if (sa->sa_family == AF_INET)
        port = ntohs(((const struct sockaddr_in *)(const void *)sa)->sin_port);
    snprintf(out, ADDR_TEXT_MAX, is_six ? "[%.46s]:%u" : "%.46s:%u", ip, port);
}

/* --- clients --- */

void addr_unmap(struct sockaddr_storage *sa)
{
    const struct sockaddr_in6 *six = (const void *)sa;
    struct sockaddr_in four = {.sin_family = AF_INET};

    if (sa->ss_family != AF_INET6 || !IN6_IS_ADDR_V4MAPPED(&six->sin6_addr))
        return;
    four.sin_port = six->sin6_port;
    memcpy(&four.sin_addr, six->sin6_addr.s6_addr + 12, 4);
    *sa = (struct sockaddr_storage){0};
    memcpy(sa, &four, sizeof(four));
}

/* One X-Forwarded-For entry, spaces around it allowed; port 0. */
static int addr_xff_entry(const char *at, size_t len,
                          struct sockaddr_storage *out)
{
    struct sockaddr_storage ss = {0};
    struct sockaddr_in6 *six = (void *)&ss;
    struct sockaddr_in *four = (void *)&ss;
    char text[ADDR_TEXT_MAX];

    while (len > 0 && (*at == ' ' || *at == '\t')) {
        at++;
        len--;
    }
    while (len > 0 && (at[len - 1] == ' ' || at[len - 1] == '\t'))
        len--;
    if (len == 0 || len >= sizeof(text))
        return -1;
    memcpy(text, at, len);
    text[len] = 0;
    if (strlen(text) != len)
        return -1;
    if (inet_pton(AF_INET, text, &four->sin_addr) == 1)
        four->sin_family = AF_INET;
    else if (inet_pton(AF_INET6, text, &six->sin6_addr) == 1)
        six->sin6_family = AF_INET6;
    else
        return -1;
    *out = ss;
    return 0;
}

void addr_client(const struct sockaddr_storage *peer, const char *xff,
                 const struct cidr_list *trusted, int hops,
                 struct sockaddr_storage *out)
{
    const char *end, *at;

    *out = *peer;
    if (!xff || hops < 1 ||
        !cidr_list_has(trusted, (const struct sockaddr *)(const void *)peer))
        return;
    end = xff + strlen(xff);
    for (;;) {
        at = end;
        while (at > xff && at[-1] != ',')
            at--;
        if (--hops == 0)
            break;
        if (at == xff)
            return; /* too short: somebody left a proxy out */
        end = at - 1;
    }
    addr_xff_entry(at, (size_t)(end - at), out);
}

void addr_count_key(const struct sockaddr *sa, uint8_t out[16])
{
    addr_bytes(sa, out);
    if (!addr_is_v4(out))
        memset(out + 8, 0, 8);
}
