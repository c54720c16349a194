#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/digest.h"
#include "base/mem.h"
#include "base/own.h"

#include <stdlib.h>
#include <string.h>

static void assert_hex(const uint8_t *got, size_t len, const char *want)
{
    own_mem char *hex = mem_zero(2 * len + 1, 1);

    hex_encode(got, len, hex);
    assert_string_equal(hex, want);
}

static void sha256_gives_the_examples_of_fips_180(void **state)
{
    uint8_t out[SHA256_BYTES];

    (void)state;
    sha256("", 0, out);
    assert_hex(out, 32,
               "e3b0c44298fc1c149afbf4c8996fb924"
               "27ae41e4649b934ca495991b7852b855");
    sha256("abc", 3, out);
    assert_hex(out, 32,
               "ba7816bf8f01cfea414140de5dae2223"
               "b00361a396177a9cb410ff61f20015ad");
}

static void blake2b_gives_the_example_of_rfc_7693(void **state)
{
    struct digest *d = digest_new(DIGEST_BLAKE2B_512);
    uint8_t out[BLAKE2B_BYTES];

    (void)state;
    digest_add(d, "abc", 3);
    digest_end(d, out);
    digest_free(d);
    assert_hex(
        out, 64,
        "ba80a53f981c4d0d6a2797b69f12f6e94c212f14685ac4b74b12bb6fdbffa2d1"
        "7d87c5392aab792dc252d5de4533cc9518d38aa8dbf1925ab92386edd4009923");
}

static void pieces_hash_as_the_whole(void **state)
{
    struct digest *d = digest_new(DIGEST_SHA256);
    uint8_t whole[SHA256_BYTES], pieces[SHA256_BYTES];
    char text[1000];

    (void)state;
    memset(text, 'p', sizeof(text));
    sha256(text, sizeof(text), whole);
    for (size_t at = 0, n = 0; at < sizeof(text); at += n, n = n % 13 + 1) {
        n = n > sizeof(text) - at ? sizeof(text) - at : n;
        digest_add(d, text + at, n);
    }
    digest_add(d, NULL, 0);
    digest_end(d, pieces);
    digest_free(d);
    digest_free(NULL);
    assert_memory_equal(whole, pieces, sizeof(whole));
}

static void hkdf_gives_the_example_of_rfc_5869(void **state)
{
    uint8_t key[22], out[42];

    (void)state;
    memset(key, 0x0b, sizeof(key));
    hkdf_sha256(key, sizeof(key), "", out, sizeof(out)); /* A.3 */
    assert_hex(
        out, sizeof(out),
        "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d"
        "9d201395faa4b61a96c8");
}

static void hkdf_tells_infos_and_keys_apart(void **state)
{
    uint8_t a[32], b[32], c[32];
    uint8_t *longest = mem_zero(255, 32);

    (void)state;
    hkdf_sha256("key", 3, "one", a, sizeof(a));
    hkdf_sha256("key", 3, "two", b, sizeof(b));
    hkdf_sha256("kez", 3, "one", c, sizeof(c));
    assert_memory_not_equal(a, b, sizeof(a));
    assert_memory_not_equal(a, c, sizeof(a));
    hkdf_sha256("key", 3, "one", longest, 255 * 32);
    assert_memory_equal(a, longest, sizeof(a));
    free(longest);
}

static void hmac_gives_the_examples_of_rfc_4231(void **state)
{
    uint8_t out[32], longer[131];

    (void)state;
    hmac_sha256("Jefe", 4, "what do ya want for nothing?", 28, out); /* 4.3 */
    assert_hex(
        out, sizeof(out),
        "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    memset(longer, 0xaa, sizeof(longer)); /* 4.7 */
    hmac_sha256(longer, sizeof(longer),
                "Test Using Larger Than Block-Size Key - Hash Key First", 54,
                out);
    assert_hex(
        out, sizeof(out),
        "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
}

static void hex_goes_both_ways(void **state)
{
    uint8_t out[4] = {0};

    (void)state;
    assert_int_equal(hex_decode("00fFAb10", 8, out, 4), 0);
    assert_hex(out, 4, "00ffab10");
    assert_int_equal(hex_decode("", 0, out, 0), 0);
}

static void bad_hex_is_refused_and_leaves_the_output(void **state)
{
    static const char *const bad[] = {"00ffab1",    "00ffab1g", "00ffab101",
                                      "00ffab1010", " 0ffab10", "0x00ffab",
                                      "00ffab1\n",  "",         "00ffab:0"};
    uint8_t out[4] = {1, 2, 3, 4};

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        if (hex_decode(bad[i], strlen(bad[i]), out, 4) != -1)
            fail_msg("taken: %s", bad[i]);
    assert_hex(out, 4, "01020304");
}

static void base64_gives_the_examples_of_rfc_4648(void **state)
{
    static const char *const rows[][3] = {
        {"", "", ""},
        {"f", "Zg==", "Zg"},
        {"fo", "Zm8=", "Zm8"},
        {"foo", "Zm9v", "Zm9v"},
        {"foob", "Zm9vYg==", "Zm9vYg"},
        {"fooba", "Zm9vYmE=", "Zm9vYmE"},
        {"foobar", "Zm9vYmFy", "Zm9vYmFy"},
        {"\xfb\xff\xbf", "+/+/", "-_-_"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        size_t len = strlen(rows[i][0]);
        char text[16];
        uint8_t back[16];

        assert_int_equal(base64_encode(rows[i][0], len, text),
                         strlen(rows[i][1]));
        assert_string_equal(text, rows[i][1]);
        assert_true(base64_size(len) == strlen(text) + 1);
        assert_int_equal(base64_decode(text, strlen(text), back, 16), len);
        assert_memory_equal(back, rows[i][0], len);
        assert_int_equal(base64url_encode(rows[i][0], len, text),
                         strlen(rows[i][2]));
        assert_string_equal(text, rows[i][2]);
        assert_int_equal(base64url_decode(text, strlen(text), back, 16), len);
        assert_memory_equal(back, rows[i][0], len);
    }
}

static void a_second_spelling_of_base64_is_refused(void **state)
{
    static const char *const standard[] = {
        "Zg",    "Zg=",      "Zh==",     "Zm9=", "Zg==\n",   " Zg==",
        "Zg ==", "====",     "=",        "Z===", "Zg==Zg==", "Zm9v=",
        "-_-_",  "Zm9v====", "Zm8=Zm8=", "Z",    "Zg=A",
    };
    static const char *const url[] = {
        "Zg==",  "Zh",    "Zm9",  "Z",     "Zg\n",  "+/+/",
        "Zm9vY", "Zm 9v", "Zm8=", "Zm9v.", "Zm9v!",
    };
    uint8_t out[16];

    (void)state;
    for (size_t i = 0; i < sizeof(standard) / sizeof(standard[0]); i++)
        if (base64_decode(standard[i], strlen(standard[i]), out, 16) != -1)
            fail_msg("base64 taken: %s", standard[i]);
    for (size_t i = 0; i < sizeof(url) / sizeof(url[0]); i++)
        if (base64url_decode(url[i], strlen(url[i]), out, 16) != -1)
            fail_msg("base64url taken: %s", url[i]);
    assert_int_equal(base64url_decode("Zg\0\0", 4, out, 16), -1);
}

static void base64_stops_at_the_outputs_size(void **state)
{
    uint8_t out[4] = {0, 0, 0, 9};

    (void)state;
    assert_int_equal(base64_decode("Zm9v", 4, out, 3), 3);
    assert_int_equal(base64_decode("Zm9v", 4, out, 2), -1);
    assert_int_equal(base64_decode("Zm9vYg==", 8, out, 3), -1);
    assert_int_equal(base64url_decode("Zm9vYg", 6, out, 3), -1);
    assert_int_equal(out[3], 9);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sha256_gives_the_examples_of_fips_180),
        cmocka_unit_test(blake2b_gives_the_example_of_rfc_7693),
        cmocka_unit_test(pieces_hash_as_the_whole),
        cmocka_unit_test(hkdf_gives_the_example_of_rfc_5869),
        cmocka_unit_test(hkdf_tells_infos_and_keys_apart),
        cmocka_unit_test(hmac_gives_the_examples_of_rfc_4231),
        cmocka_unit_test(hex_goes_both_ways),
        cmocka_unit_test(bad_hex_is_refused_and_leaves_the_output),
        cmocka_unit_test(base64_gives_the_examples_of_rfc_4648),
        cmocka_unit_test(a_second_spelling_of_base64_is_refused),
        cmocka_unit_test(base64_stops_at_the_outputs_size),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
