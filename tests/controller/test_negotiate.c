/* What a browser says of the copies it takes, and of the one it has. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "controller/negotiate.h"

#include <stdio.h>
#include <string.h>

enum { I = CODING_IDENTITY, G = CODING_GZIP, B = CODING_BR, NONE = -1 };

static const int64_t all[CODING_COUNT] = {[I] = 1000, [G] = 400, [B] = 300};
static const int64_t plain[CODING_COUNT] = {[I] = 1000, [G] = -1, [B] = -1};
static const int64_t zipped[CODING_COUNT] = {[I] = 1000, [G] = 400, [B] = -1};
static const int64_t grown[CODING_COUNT] = {[I] = 10, [G] = 30, [B] = 14};

static void the_best_liked_and_of_equals_the_smallest_is_sent(void **state)
{
    static const struct {
        const char *accept;
        const int64_t *sizes;
        int want;
    } cases[] = {
        /* what browsers and curl say */
        {"gzip, deflate, br, zstd", all, B},
        {"gzip, deflate, br", zipped, G},
        {"gzip, deflate, br", plain, I},
        {"gzip, deflate", all, G},
        {"identity", all, I},
        {"deflate", all, I},
        {NULL, all, I},
        {"", all, I},
        {" ", all, I},
        /* weights */
        {"br;q=0.5, gzip;q=0.8", all, G},
        {"br;q=0.5,gzip;q=0.50", all, B},
        {"br;q=0.001", all, B},
        {"gzip;q=1.000, br;q=0.999", all, G},
        {"gzip;q=1., br;q=0.999", all, G},
        {"gzip;q=0.2, identity;q=0.5", all, I},
        {"gzip;q=0.2", all, G},
        {"GZIP;Q=0.5", all, G},
        {"x-gzip", all, G},
        {"gzip \t; \tq=0.5\t, br;q=0.4", all, G},
        {"gzip, br", grown, B},
        {"gzip, br, identity", grown, I},
        /* refused */
        {"br;q=0", all, I},
        {"br;q=0.000, gzip", all, G},
        {"gzip, gzip;q=0", all, I},
        {"gzip;q=0, gzip", all, I},
        {"identity;q=0", all, NONE},
        {"identity;q=0, br", all, B},
        {"identity;q=0, br", plain, NONE},
        {"*;q=0", all, NONE},
        {"*;q=0, identity;q=0.1", all, I},
        {"*;q=0, gzip", all, G},
        {"*;q=0, gzip", plain, NONE},
        {"gzip;q=0, *", all, B},
        {"*", all, B},
        {"*;q=0.5, br;q=0.1", all, G},
        {"identity;q=0, *;q=0.5", plain, NONE},
        /* what is not understood says nothing */
        {"br;q=2", all, I},
        {"br;q=1.001", all, I},
        {"br;q=0.1234", all, I},
        {"br;q=-1", all, I},
        {"br;q=", all, I},
        {"br;q", all, I},
        {"br;", all, I},
        {"br;level=5", all, I},
        {"br;q=0.5;x=1", all, I},
        {"br q=0.5", all, I},
        {"br;q=.5", all, I},
        {"br;q=0.5x, gzip;q=0.1", all, G},
        {"br gzip", all, I},
        {"b r", all, I},
        {"brr, gzi, gzipp", all, I},
        {",,, ,gzip,,", all, G},
        {";q=1, gzip", all, G},
        {"**", all, I},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int got = negotiate_coding(cases[i].accept, cases[i].sizes);

        if (got != cases[i].want)
            fail_msg("\"%s\": %d, not %d", cases[i].accept, got, cases[i].want);
    }
}

static void a_long_list_is_read_to_its_end(void **state)
{
    char text[16001];
    size_t len = 0;

    (void)state;
    while (len < 15000)
        len +=
            (size_t)snprintf(text + len, sizeof text - len, "c%zu;q=0.1,", len);
    snprintf(text + len, sizeof text - len, "br");
    assert_int_equal(negotiate_coding(text, all), B);
}

static void codings_have_their_names(void **state)
{
    (void)state;
    assert_null(negotiate_name(CODING_IDENTITY));
    assert_string_equal(negotiate_name(CODING_GZIP), "gzip");
    assert_string_equal(negotiate_name(CODING_BR), "br");
}

static void a_tag_is_found_among_others(void **state)
{
    static const char *const with[] = {
        "\"abc\"",
        " \"abc\" ",
        "W/\"abc\"",
        "\"x\", \"abc\"",
        "\"x\",\"abc\",",
        ", ,\"abc\"",
        "\"\", \"abc\"",
        "*",
        " * ",
        "W/\"x\",W/\"abc\"",
        "\"a,b\", \"abc\"",
        "\"abc\", rubbish",
    };
    static const char *const without[] = {
        "",
        " ",
        "\"abd\"",
        "\"abcd\"",
        "\"ab\"",
        "abc",
        "\"abc",
        "abc\"",
        "'abc'",
        "w/\"abc\"",
        "W/ \"abc\"",
        "W/W/\"abc\"",
        "\"x\" \"abc\"",
        "rubbish, \"abc\"",
        "\"x y\", \"abc\"",
        "**",
        "*, \"abc\"",
        "\"x\", *",
        "\"*\"",
        "\"",
        ",",
    };

    (void)state;
    for (size_t i = 0; i < sizeof with / sizeof *with; i++)
        if (!negotiate_has(with[i], "\"abc\""))
            fail_msg("%s", with[i]);
    for (size_t i = 0; i < sizeof without / sizeof *without; i++)
        if (negotiate_has(without[i], "\"abc\""))
            fail_msg("%s", without[i]);
    assert_false(negotiate_has(NULL, "\"abc\""));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_best_liked_and_of_equals_the_smallest_is_sent),
        cmocka_unit_test(a_long_list_is_read_to_its_end),
        cmocka_unit_test(codings_have_their_names),
        cmocka_unit_test(a_tag_is_found_among_others),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
