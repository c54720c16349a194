/* Which addresses may be dialled, and who a client is behind proxies. */
#include "base/addr.h"

#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct sockaddr_storage ip(const char *text)
{
    struct sockaddr_storage out = {0};
    struct sockaddr_in *four = (void *)&out;
    struct sockaddr_in6 *six = (void *)&out;

    if (inet_pton(AF_INET, text, &four->sin_addr) == 1)
        four->sin_family = AF_INET;
    else if (inet_pton(AF_INET6, text, &six->sin6_addr) == 1)
        six->sin6_family = AF_INET6;
    else
        fail_msg("%s is no address", text);
    return out;
}

#define SA(ss) ((const struct sockaddr *)(const void *)&(ss))

static void what_iana_does_not_call_global_is_refused(void **arg)
{
    static const char *const refused[] = {
        "0.0.0.0",
        "0.255.255.255",
        "10.0.0.1",
        "10.255.255.255",
        "100.64.0.1",
        "100.127.255.255",
        "127.0.0.1",
        "127.255.255.255",
        "169.254.169.254",
        "172.16.0.1",
        "172.31.255.255",
        "192.0.0.1",
        "192.0.0.255",
        "192.0.2.1",
        "192.88.99.1",
        "192.168.0.1",
        "192.168.255.255",
        "198.18.0.1",
        "198.19.255.255",
        "198.51.100.1",
        "203.0.113.1",
        "224.0.0.1",
        "239.255.255.255",
        "240.0.0.1",
        "255.255.255.255",
        /* the same ones in IPv6's clothes */
        "::ffff:10.0.0.1",
        "::ffff:127.0.0.1",
        "::ffff:169.254.169.254",
        "::10.0.0.1",
        "::127.0.0.1",
        "::169.254.169.254",
        "::2",
        "64:ff9b::8.8.8.8",
        "64:ff9b::a9fe:a9fe",
        "64:ff9b:1::1",
        "2002:808:808::1",
        "2002:a9fe:a9fe::1",
        "2001::1",
        "2001:0:53aa:64c::",
        "::",
        "::1",
        "100::1",
        "fc00::1",
        "fd00:ec2::254",
        "fdff:ffff::1",
        "fe80::1",
        "febf::1",
        "fec0::1",
        "ff02::1",
        "2001:db8::1",
        "2001:10::1",
        "2001:20::1",
        "2001:1ff:ffff::1",
        "3ffe::1",
        "3fff::1",
        "3fff:fff::1",
        "2620:4f:8000::1",
        "5f00::1",
        "1fff::1",
        "4000::1",
        "8000::1",
        "::ffff:0:8.8.8.8",
    };
    struct addr_policy p = {0};

    (void)arg;
    for (size_t i = 0; i < sizeof(refused) / sizeof(*refused); i++) {
        struct sockaddr_storage ss = ip(refused[i]);
        struct err e = {0};

        if (addr_is_global(SA(ss)))
            fail_msg("%s was taken for global", refused[i]);
        assert_int_equal(addr_judge(&p, SA(ss), &e), -1);
        assert_int_equal(e.kind, ERR_DENIED);
        assert_non_null(strstr(e.text, "not public"));
    }
}

static void neighbours_of_refused_ranges_are_global(void **arg)
{
    static const char *const allowed[] = {
        "1.0.0.0",         "8.8.8.8",        "9.255.255.255",
        "11.0.0.0",        "100.63.255.255", "100.128.0.0",
        "126.255.255.255", "128.0.0.0",      "169.253.255.255",
        "169.255.0.0",     "172.15.255.255", "172.32.0.0",
        "191.255.255.255", "192.0.1.0",      "192.167.255.255",
        "192.169.0.0",     "198.17.255.255", "198.20.0.0",
        "223.255.255.255", "::ffff:8.8.8.8", "::8.8.8.8",
        "2000::1",         "2001:200::1",    "2001:4860:4860::8888",
        "2001:db7::1",     "2001:db9::1",    "2003::1",
        "2620:4f:8001::1", "2a00::1",        "3ffd::1",
    };
    struct addr_policy p = {0};

    (void)arg;
    for (size_t i = 0; i < sizeof(allowed) / sizeof(*allowed); i++) {
        struct sockaddr_storage ss = ip(allowed[i]);
        struct err e = {0};

        if (addr_judge(&p, SA(ss), &e) < 0)
            fail_msg("%s: %s", allowed[i], e.text);
        assert_int_equal(e.kind, ERR_NONE);
    }
}

static void other_families_are_never_global(void **arg)
{
    struct sockaddr_storage ss = {.ss_family = AF_UNIX};
    struct addr_policy p = {.allow_loopback = true};
    struct err e = {0};

    (void)arg;
    assert_false(addr_is_global(SA(ss)));
    assert_false(addr_is_loopback(SA(ss)));
    assert_int_equal(addr_judge(&p, SA(ss), &e), -1);
}

static int judge(const struct addr_policy *p, const char *text)
{
    struct sockaddr_storage ss = ip(text);
    struct err e = {0};

    return addr_judge(p, SA(ss), &e);
}

static void a_policy_denies_first_and_allows_by_name(void **arg)
{
    struct addr_policy p = {0};
    struct err e = {0};

    (void)arg;
    assert_int_equal(cidr_list_parse("34.118.224.0/20, 168.63.129.16,"
                                     "2a00:1::/32, 127.0.0.9",
                                     &p.deny, &e),
                     0);
    assert_int_equal(cidr_list_parse("10.1.0.0/16,fd00::/8", &p.allow, &e), 0);
    p.allow_loopback = true;
    assert_int_equal(judge(&p, "34.118.225.1"), -1);
    assert_int_equal(judge(&p, "::ffff:34.118.225.1"), -1);
    assert_int_equal(judge(&p, "::34.118.225.1"), -1);
    assert_int_equal(judge(&p, "34.118.240.1"), 0);
    assert_int_equal(judge(&p, "168.63.129.16"), -1);
    assert_int_equal(judge(&p, "168.63.129.17"), 0);
    assert_int_equal(judge(&p, "2a00:1::5"), -1);
    assert_int_equal(judge(&p, "2a00:2::5"), 0);
    assert_int_equal(judge(&p, "10.1.2.3"), 0);
    assert_int_equal(judge(&p, "::ffff:10.1.2.3"), 0);
    assert_int_equal(judge(&p, "10.2.2.3"), -1);
    assert_int_equal(judge(&p, "fd12::1"), 0);
    assert_int_equal(judge(&p, "127.0.0.1"), 0);
    assert_int_equal(judge(&p, "::ffff:127.0.0.1"), 0);
    assert_int_equal(judge(&p, "::1"), 0);
    assert_int_equal(judge(&p, "127.0.0.9"), -1); /* deny wins */
    p.allow_loopback = false;
    assert_int_equal(judge(&p, "127.0.0.1"), -1);
    assert_int_equal(judge(&p, "::1"), -1);
    cidr_list_fini(&p.deny);
    cidr_list_fini(&p.allow);
}

static void only_clean_ranges_are_parsed(void **arg)
{
    static const char *const bad[] = {
        "10.0.0.1/8",
        "10.0.0.0/33",
        "10.0.0.0/-1",
        "10.0.0.0/",
        "10.0.0/8",
        "10.0.0.0/8x",
        "10.0.0.0/ 8",
        "10.0.0.0/99999999999999999999",
        "fc00::/129",
        "fc00::1/7",
        "::g",
        "010.0.0.0/8",
        "10.0.0.0/8 9",
        "localhost",
        "/8",
        "10.0.0.0//8",
        "1111:2222:3333:4444:5555:6666:7777:8888:9999:aaaa:bbbb:cccc:dddd:eeee",
    };
    struct cidr_list l = {0};
    struct err e = {0};

    (void)arg;
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        char text[128];

        snprintf(text, sizeof(text), "1.2.3.4,%s", bad[i]);
        e = (struct err){0};
        if (cidr_list_parse(text, &l, &e) == 0)
            fail_msg("%s was taken", bad[i]);
        assert_int_equal(e.kind, ERR_INPUT);
        assert_null(l.items); /* left alone */
    }
    assert_int_equal(cidr_list_parse(" , ,, 10.0.0.0/8 ,", &l, &e), 0);
    assert_int_equal(l.count, 1);
    cidr_list_fini(&l);
    assert_int_equal(cidr_list_parse("", &l, &e), 0);
    assert_int_equal(l.count, 0);
    cidr_list_fini(&l);
    cidr_list_fini(&l);
    assert_int_equal(cidr_list_parse("0.0.0.0/0", &l, &e), 0);
    struct sockaddr_storage four = ip("9.9.9.9"), six = ip("2a00::1");
    assert_true(cidr_list_has(&l, SA(four)));
    assert_false(cidr_list_has(&l, SA(six)));
    cidr_list_fini(&l);
}

static void addresses_with_ports_read_and_print(void **arg)
{
    static const char *const good[] = {"127.0.0.1:80", "[::1]:65535",
                                       "0.0.0.0:0", "[2a00::1]:443"};
    static const char *const bad[] = {
        "",
        ":",
        "127.0.0.1",
        "127.0.0.1:",
        "127.0.0.1:-1",
        "127.0.0.1:65536",
        "127.0.0.1:8a",
        "127.0.0.1: 80",
        "::1:80",
        "[::1]",
        "[::1]80",
        "[127.0.0.1]:80",
        "localhost:80",
        "127.1:80",
        "0x7f.0.0.1:80",
        "[]:80",
        "[::1%lo]:80",
        "127.0.0.1:000080",
        "127.0.0.1:99999999999999999999",
        "[1111:2222:3333:4444:5555:6666:7777:8888:9999:aaaa:bbbb:cccc:dddd]:1",
    };
    struct sockaddr_storage ss, before;
    char text[ADDR_TEXT_MAX];
    struct err e = {0};

    (void)arg;
    for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++) {
        assert_int_equal(addr_parse(good[i], &ss, &e), 0);
        addr_text(SA(ss), text);
        assert_string_equal(text, good[i]);
        assert_int_equal(addr_len(&ss), good[i][0] == '['
                                            ? sizeof(struct sockaddr_in6)
                                            : sizeof(struct sockaddr_in));
    }
    addr_text_ip(SA(ss), text);
    assert_string_equal(text, "2a00::1");
    memset(&ss, 0x5a, sizeof(ss));
    before = ss;
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        e = (struct err){0};
        if (addr_parse(bad[i], &ss, &e) == 0)
            fail_msg("\"%s\" was taken", bad[i]);
        assert_int_equal(e.kind, ERR_INPUT);
        assert_memory_equal(&ss, &before, sizeof(ss));
    }
    ss = (struct sockaddr_storage){.ss_family = AF_UNIX};
    addr_text(SA(ss), text);
    assert_string_equal(text, "?:0");
}

static void client_is(const char *peer, const char *xff, int hops,
                      const char *want)
{
    struct sockaddr_storage from = ip(peer), out = {0};
    struct cidr_list trusted = {0};
    char text[ADDR_TEXT_MAX];
    struct err e = {0};

    assert_int_equal(
        cidr_list_parse("10.0.0.0/8,35.191.0.0/16,fd00::/8", &trusted, &e), 0);
    addr_client(&from, xff, &trusted, hops, &out);
    addr_text_ip(SA(out), text);
    assert_string_equal(text, want);
    cidr_list_fini(&trusted);
}

static void a_client_is_who_the_trusted_proxies_say(void **arg)
{
    (void)arg;
    /* nobody trusted: the header is air */
    client_is("8.8.8.8", "1.1.1.1", 1, "8.8.8.8");
    client_is("8.8.8.8", "10.0.0.1", 1, "8.8.8.8");
    /* one proxy: the right-most; what is left of it the client wrote */
    client_is("10.0.0.1", "1.1.1.1", 1, "1.1.1.1");
    client_is("10.0.0.1", "6.6.6.6, 7.7.7.7,1.1.1.1", 1, "1.1.1.1");
    client_is("::ffff:10.0.0.1", "1.1.1.1", 1, "1.1.1.1");
    client_is("fd00::5", "2a00::7", 1, "2a00::7");
    /* two, as on GKE: client, load balancer */
    client_is("35.191.1.1", "1.1.1.1, 34.0.0.1", 2, "1.1.1.1");
    client_is("35.191.1.1", "6.6.6.6, 1.1.1.1, 34.0.0.1", 2, "1.1.1.1");
    client_is("35.191.1.1", "\t 1.1.1.1 \t, 34.0.0.1", 2, "1.1.1.1");
    /* absent, too short, malformed: the peer */
    client_is("10.0.0.1", NULL, 1, "10.0.0.1");
    client_is("10.0.0.1", "", 1, "10.0.0.1");
    client_is("10.0.0.1", "1.1.1.1", 2, "10.0.0.1");
    client_is("10.0.0.1", "1.1.1.1", 0, "10.0.0.1");
    client_is("10.0.0.1", "1.1.1.1", -1, "10.0.0.1");
    client_is("10.0.0.1", "1.1.1.1,", 1, "10.0.0.1");
    client_is("10.0.0.1", ",1.1.1.1", 2, "10.0.0.1");
    client_is("10.0.0.1", "unknown", 1, "10.0.0.1");
    client_is("10.0.0.1", "1.1.1.1:80", 1, "10.0.0.1");
    client_is("10.0.0.1", "[2a00::7]", 1, "10.0.0.1");
    client_is("10.0.0.1", "1.1.1.1 2.2.2.2", 1, "10.0.0.1");
    client_is("10.0.0.1", "01.1.1.1", 1, "10.0.0.1");
    client_is("10.0.0.1",
              "1111111111111111111111111111111111111111111111111111111111111"
              "11111111111",
              1, "10.0.0.1");
}

static bool count_alike(const char *a, const char *b)
{
    struct sockaddr_storage x = ip(a), y = ip(b);
    uint8_t kx[16], ky[16];

    addr_count_key(SA(x), kx);
    addr_count_key(SA(y), ky);
    return memcmp(kx, ky, 16) == 0;
}

static void clients_are_counted_by_address_or_by_64(void **arg)
{
    (void)arg;
    assert_true(count_alike("1.2.3.4", "1.2.3.4"));
    assert_true(count_alike("1.2.3.4", "::ffff:1.2.3.4"));
    assert_false(count_alike("1.2.3.4", "1.2.3.5"));
    assert_true(count_alike("2a00:1:2:3::1", "2a00:1:2:3:ffff::9"));
    assert_false(count_alike("2a00:1:2:3::1", "2a00:1:2:4::1"));
    assert_false(count_alike("::1", "1.2.3.4"));
}

static void mapped_ipv4_becomes_ipv4_and_nothing_else_does(void **arg)
{
    static const char *const cases[][2] = {
        {"[::ffff:192.0.2.1]:443", "192.0.2.1:443"},
        {"[::ffff:0.0.0.0]:1", "0.0.0.0:1"},
        {"192.0.2.1:443", "192.0.2.1:443"},
        {"[::1]:443", "[::1]:443"},
        {"[::]:0", "[::]:0"},
        {"[::192.0.2.1]:7", "[::192.0.2.1]:7"},
        {"[64:ff9b::c000:201]:7", "[64:ff9b::c000:201]:7"},
        {"[2001:db8::ffff:1]:7", "[2001:db8::ffff:1]:7"},
    };

    (void)arg;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct sockaddr_storage sa;
        char text[ADDR_TEXT_MAX];
        struct err e = {0};

        assert_int_equal(addr_parse(cases[i][0], &sa, &e), 0);
        addr_unmap(&sa);
        addr_text(SA(sa), text);
        assert_string_equal(text, cases[i][1]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_iana_does_not_call_global_is_refused),
        cmocka_unit_test(neighbours_of_refused_ranges_are_global),
        cmocka_unit_test(other_families_are_never_global),
        cmocka_unit_test(a_policy_denies_first_and_allows_by_name),
        cmocka_unit_test(only_clean_ranges_are_parsed),
        cmocka_unit_test(addresses_with_ports_read_and_print),
        cmocka_unit_test(mapped_ipv4_becomes_ipv4_and_nothing_else_does),
        cmocka_unit_test(a_client_is_who_the_trusted_proxies_say),
        cmocka_unit_test(clients_are_counted_by_address_or_by_64),
    };

    return cmocka_run_group_tests_name("base/addr", tests, NULL, NULL);
}
