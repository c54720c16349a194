/* What may be dialled: the controller's word, wss, ws on loopback alone. */
#include "client/target.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void an_attach_url_is_taken_apart(void **arg)
{
    static const struct {
        const char *url, *name, *host, *path;
        int port;
        bool is_tls;
    } table[] = {
        {"wss://example.com/v1/attach", "example.com", "example.com",
         "/v1/attach", 443, true},
        {"wss://example.com:8443/x", "example.com", "example.com:8443", "/x",
         8443, true},
        {"ws://127.0.0.1:8081/v1/attach", "127.0.0.1", "127.0.0.1:8081",
         "/v1/attach", 8081, false},
        {"ws://localhost/v1/attach", "localhost", "localhost", "/v1/attach", 80,
         false},
        {"ws://[::1]:9/v1/attach", "::1", "[::1]:9", "/v1/attach", 9, false},
    };

    (void)arg;
    for (size_t i = 0; i < sizeof(table) / sizeof(*table); i++) {
        struct target t;
        struct err e = {0};

        assert_int_equal(target_parse(table[i].url, &t, &e), 0);
        assert_string_equal(t.name, table[i].name);
        assert_string_equal(t.host, table[i].host);
        assert_string_equal(t.path, table[i].path);
        assert_int_equal(t.port, table[i].port);
        assert_int_equal(t.is_tls, table[i].is_tls);
    }
}

static void nothing_unencrypted_leaves_this_machine(void **arg)
{
    static const char *const bad[] = {
        "ws://example.com/v1/attach",
        "ws://10.0.0.1/v1/attach",
        "ws://127.0.0.1.example.com/v1/attach",
        "ws://localhost.example.com/v1/attach",
        "ws://[::ffff:8.8.8.8]/v1/attach",
        "ws://0.0.0.0/v1/attach",
    };
    struct target t;

    (void)arg;
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        struct err e = {0};

        assert_int_equal(target_parse(bad[i], &t, &e), -1);
        assert_true(e.kind == ERR_DENIED || e.kind == ERR_INPUT);
    }
}

static void what_is_no_ws_address_is_refused(void **arg)
{
    static const char *const bad[] = {
        "",
        "wss",
        "wss:/x",
        "http://127.0.0.1/",
        "file:///etc/passwd",
        "wss://user@example.com/",
        "wss://example.com/v1/attach?to=elsewhere",
        "wss://example.com/#x",
        "wss:///v1/attach",
        "wss://exa mple.com/",
        "WSS://example.com/",
    };
    struct target t;

    (void)arg;
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        struct err e = {0};

        assert_int_equal(target_parse(bad[i], &t, &e), -1);
    }
}

static void a_name_on_loopback_gives_loopback_addresses(void **arg)
{
    struct target t;
    struct err e = {0};

    (void)arg;
    assert_int_equal(target_parse("ws://localhost:8081/", &t, &e), 0);
    assert_int_equal(target_resolve(&t, &e), 0);
    assert_true(t.addr_count >= 1);
    assert_int_equal(target_parse("ws://[::1]:8081/", &t, &e), 0);
    assert_int_equal(target_resolve(&t, &e), 0);
    assert_int_equal(t.addr_count, 1);
    assert_int_equal(t.addrs[0].ss_family, AF_INET6);
}

static void a_name_nobody_knows_is_worth_another_try(void **arg)
{
    struct target t;
    struct err e = {0};

    (void)arg;
    assert_int_equal(target_parse("wss://nowhere.invalid/", &t, &e), 0);
    assert_int_equal(target_resolve(&t, &e), -1);
    assert_int_equal(e.kind, ERR_PEER);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_attach_url_is_taken_apart),
        cmocka_unit_test(nothing_unencrypted_leaves_this_machine),
        cmocka_unit_test(what_is_no_ws_address_is_refused),
        cmocka_unit_test(a_name_on_loopback_gives_loopback_addresses),
        cmocka_unit_test(a_name_nobody_knows_is_worth_another_try),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
