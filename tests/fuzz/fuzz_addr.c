/*
 * Addresses that are read print to what reads the same; a range holds its
 * own first address; mapped and plain IPv4 are judged alike, and to take the
 * one for the other changes no judgement; a client is its peer or one entry of
 * the header, and never another's word when the peer is not trusted.
 */
#include "base/addr.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define SA(ss) ((const struct sockaddr *)(const void *)&(ss))

static void check_parse(const char *text)
{
    struct sockaddr_storage a = {0}, b = {0};
    uint8_t key_a[16], key_b[16];
    char out[ADDR_TEXT_MAX];
    struct err e = {0};

    if (addr_parse(text, &a, &e) < 0)
        return;
    addr_text(SA(a), out);
    if (addr_parse(out, &b, &e) < 0 || memcmp(&a, &b, sizeof(a)) != 0)
        abort();
    addr_unmap(&b);
    addr_count_key(SA(a), key_a);
    addr_count_key(SA(b), key_b);
    if (addr_is_global(SA(a)) != addr_is_global(SA(b)) ||
        addr_is_loopback(SA(a)) != addr_is_loopback(SA(b)) ||
        memcmp(key_a, key_b, 16) != 0)
        abort();
}

static void check_list(const char *text)
{
    struct cidr_list l = {0};
    struct err e = {0};

    if (cidr_list_parse(text, &l, &e) < 0) {
        if (l.items || e.kind != ERR_INPUT)
            abort();
        return;
    }
    for (size_t i = 0; i < l.count; i++) {
        struct sockaddr_in6 six = {.sin6_family = AF_INET6};
        static const uint8_t zero[12];

        memcpy(&six.sin6_addr, l.items[i].bytes, 16);
        if (l.items[i].bits > 128)
            abort();
        /* (::a.b.c.d is judged as a.b.c.d) */
        if (memcmp(l.items[i].bytes, zero, 12) != 0 &&
            !cidr_list_has(&l, SA(six)))
            abort();
    }
    cidr_list_fini(&l);
}

static void check_judge(const uint8_t *data, size_t size)
{
    struct sockaddr_in four = {.sin_family = AF_INET};
    struct sockaddr_in6 six = {.sin6_family = AF_INET6};
    uint8_t key_four[16], key_six[16];

    if (size < 16)
        return;
    memcpy(&four.sin_addr, data, 4);
    six.sin6_addr.s6_addr[10] = six.sin6_addr.s6_addr[11] = 0xff;
    memcpy(six.sin6_addr.s6_addr + 12, data, 4);
    addr_count_key(SA(four), key_four);
    addr_count_key(SA(six), key_six);
    if (addr_is_global(SA(four)) != addr_is_global(SA(six)) ||
        addr_is_loopback(SA(four)) != addr_is_loopback(SA(six)) ||
        memcmp(key_four, key_six, 16) != 0)
        abort();
    if (addr_is_global(SA(four)) &&
        (data[0] == 0 || data[0] == 10 || data[0] == 127 || data[0] >= 224 ||
         (data[0] == 169 && data[1] == 254)))
        abort();
    memcpy(&six.sin6_addr, data, 16);
    if (addr_is_global(SA(six)) && (data[0] & 0xe0) != 0x20 &&
        !IN6_IS_ADDR_V4MAPPED(&six.sin6_addr) &&
        !IN6_IS_ADDR_V4COMPAT(&six.sin6_addr))
        abort();
}

static void check_client(const char *xff, int hops)
{
    struct sockaddr_storage proxy = {0}, stranger = {0}, out = {0};
    struct cidr_list trusted = {0};
    char ip[ADDR_TEXT_MAX];
    struct err e = {0};

    if (cidr_list_parse("10.0.0.0/8", &trusted, &e) < 0 ||
        addr_parse("10.0.0.1:7", &proxy, &e) < 0 ||
        addr_parse("8.8.8.8:7", &stranger, &e) < 0)
        abort();
    addr_client(&stranger, xff, &trusted, hops, &out);
    if (memcmp(&out, &stranger, sizeof(out)) != 0)
        abort();
    addr_client(&proxy, xff, &trusted, hops, &out);
    if (memcmp(&out, &proxy, sizeof(out)) != 0) {
        int commas = 0;

        for (const char *p = xff; *p; p++)
            commas += *p == ',';
        addr_text_ip(SA(out), ip);
        if (hops < 1 || commas < hops - 1 || ip[0] == '?')
            abort();
    }
    cidr_list_fini(&trusted);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text;

    if (size < 1 || size > 4096)
        return 0;
    text = malloc(size);
    if (!text)
        abort();
    memcpy(text, data + 1, size - 1);
    text[size - 1] = 0;
    check_parse(text);
    check_list(text);
    check_judge(data, size);
    check_client(text, data[0] % 5);
    free(text);
    return 0;
}
