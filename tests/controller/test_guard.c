/* Host and Origin judgement: DNS rebinding and foreign pages. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "controller/guard.h"

static const struct guard dev = {.is_dev = true,
                                 .port = 8080,
                                 .listen = "127.0.0.1:8080",
                                 .hosts = "",
                                 .origins = ""};

static void dev_answers_to_loopback_names_with_its_port(void **state)
{
    static const char *const good[] = {"127.0.0.1:8080", "localhost:8080",
                                       "LOCALHOST:8080", "[::1]:8080",
                                       "127.8.9.10:8080"};

    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        assert_true(guard_host_ok(&dev, good[i]));
}

static void dev_refuses_every_other_name(void **state)
{
    static const char *const bad[] = {
        NULL,
        "",
        "evil.example:8080",
        "127.0.0.1",
        "127.0.0.1:8081",
        "127.0.0.1:",
        "127.0.0.1:8080x",
        "127.0.0.1:08080000000000000000",
        "127.0.0.1.evil.example:8080",
        "localhost.evil.example:8080",
        "localhost",
        "10.0.0.1:8080",
        "[::1",
        "[fe80::1]:8080",
        "0x7f.1:8080",
        "2130706433:8080",
        "localhost:8080:8080",
        "user@localhost:8080",
    };

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (guard_host_ok(&dev, bad[i]))
            fail_msg("%s", bad[i]);
}

static void dev_takes_its_own_origin_alone(void **state)
{
    struct guard g = dev;

    (void)state;
    assert_int_equal(guard_origin(&g, NULL, NULL), ORIGIN_NONE);
    assert_int_equal(guard_origin(&g, "http://localhost:8080", NULL),
                     ORIGIN_OWN);
    assert_int_equal(guard_origin(&g, "https://localhost:8080", NULL),
                     ORIGIN_FOREIGN);
    assert_int_equal(guard_origin(&g, "http://localhost:9999", NULL),
                     ORIGIN_FOREIGN);
    assert_int_equal(guard_origin(&g, "http://evil.example:8080", NULL),
                     ORIGIN_FOREIGN);
    assert_int_equal(guard_origin(&g, "null", NULL), ORIGIN_FOREIGN);
    assert_int_equal(guard_origin(&g, "", NULL), ORIGIN_FOREIGN);
    g.origins = "https://app.example";
    assert_int_equal(guard_origin(&g, "https://app.example", NULL),
                     ORIGIN_LISTED);
}

static void a_server_answers_to_its_listed_names(void **state)
{
    struct guard g = {.port = 443,
                      .is_tls = true,
                      .listen = "0.0.0.0:443",
                      .hosts = "api.example,b.example:8443",
                      .origins = "https://app.example"};

    (void)state;
    assert_true(guard_host_ok(&g, "api.example"));
    assert_true(guard_host_ok(&g, "API.example:443"));
    assert_true(guard_host_ok(&g, "b.example:8443"));
    assert_false(guard_host_ok(&g, "b.example"));
    assert_false(guard_host_ok(&g, "evil.example"));
    assert_int_equal(guard_origin(&g, "https://api.example", "api.example"),
                     ORIGIN_OWN);
    assert_int_equal(guard_origin(&g, "https://app.example", "api.example"),
                     ORIGIN_LISTED);
    assert_int_equal(
        guard_origin(&g, "https://app.example.evil", "api.example"),
        ORIGIN_FOREIGN);
    g.hosts = "";
    assert_true(guard_host_ok(&g, "whatever.example"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dev_answers_to_loopback_names_with_its_port),
        cmocka_unit_test(dev_refuses_every_other_name),
        cmocka_unit_test(dev_takes_its_own_origin_alone),
        cmocka_unit_test(a_server_answers_to_its_listed_names),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
