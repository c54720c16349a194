/* The way out: what is typed goes on byte for byte, but for the way itself. */
#include "client/detach.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define KEY '~'

/* Typed in pieces of `step` bytes; what went on, and whether out was wanted. */
static bool typed(int key, const char *text, size_t step, char out[64])
{
    struct detach d;
    bool wants_out = false;
    size_t len = strlen(text), n = 0;

    detach_init(&d, key);
    for (size_t i = 0; i < len && !wants_out; i += step) {
        size_t part = len - i < step ? len - i : step;

        n += detach_take(&d, (const uint8_t *)text + i, part,
                         (uint8_t *)out + n, &wants_out);
    }
    out[n] = 0;
    return wants_out;
}

static void the_way_out_is_known_in_any_pieces(void **state)
{
    static const struct {
        const char *text, *out;
        bool is_out;
    } rows[] = {
        {"~.", "", true},
        {"~.more", "", true},
        {"ls\r~.", "ls\r", true},
        {"ls\n~.", "ls\n", true},
        {"\r\r~.", "\r\r", true},
        {"~x\r~.", "~x\r", true},
        {"a~.", "a~.", false},
        {" ~.", " ~.", false},
        {"~~.", "~~.", false},
        {"~\r~.", "~\r", true},
        {"~/x\r", "~/x\r", false},
        {"~ .", "~ .", false},
        {"\r~", "\r", false}, /* held: it may become one */
        {"\033[A~.", "\033[A~.", false},
        {"\x03~.", "\x03~.", false},
    };
    char out[64];

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
        for (size_t step = 1; step <= 3; step++) {
            bool is_out = typed(KEY, rows[i].text, step, out);

            if (is_out != rows[i].is_out || strcmp(out, rows[i].out) != 0)
                fail_msg("%zu in %zus: \"%s\" %d", i, step, out, is_out);
        }
}

/* A key is held, and the byte behind it may be all there is room for. */
static void one_byte_more_than_typed_at_most(void **state)
{
    struct detach d;
    bool wants_out;
    uint8_t out[2];

    (void)state;
    detach_init(&d, KEY);
    assert_int_equal(detach_take(&d, (const uint8_t *)"~", 1, out, &wants_out),
                     0);
    assert_true(d.is_held);
    assert_int_equal(detach_take(&d, (const uint8_t *)"b", 1, out, &wants_out),
                     2);
    assert_memory_equal(out, "~b", 2);
    assert_false(d.is_held);
}

static void another_key_or_none_leaves_this_one_alone(void **state)
{
    char out[64];

    (void)state;
    assert_false(typed(DETACH_NONE, "~.\r~.", 1, out));
    assert_string_equal(out, "~.\r~.");
    assert_true(typed(0x1d, "~.\r\x1d.", 2, out));
    assert_string_equal(out, "~.\r");
}

/* Whatever is typed: without the way out in it, it comes through as it is. */
static void nothing_typed_is_changed(void **state)
{
    static const char letters[] = "~.\ra";

    (void)state;
    for (int code = 0; code < 4 * 4 * 4 * 4 * 4; code++) {
        char text[6] = "", out[64], *at;
        bool is_out;

        for (int i = 0, rest = code; i < 5; i++, rest /= 4)
            text[i] = letters[rest % 4];
        is_out = typed(KEY, text, 2, out);
        at = strncmp(text, "~.", 2) == 0 ? text : strstr(text, "\r~.");
        if (at && strncmp(text, "~.", 2) != 0)
            at++;
        assert_int_equal(is_out, at != NULL);
        if (at)
            *at = 0;
        else if (strcmp(text + 3, "\r~") == 0 ||
                 (text[4] == '~' && text[3] == '\r'))
            text[4] = 0; /* held */
        assert_string_equal(out, text);
    }
}

static void keys_are_read_strictly(void **state)
{
    static const struct {
        const char *text;
        int key;
    } good[] = {{"~", '~'},   {"none", DETACH_NONE},
                {"^]", 0x1d}, {"^a", 1},
                {"^A", 1},    {"^", '^'},
                {"^@", 0},    {"^_", 0x1f},
                {"^[", 0x1b}};
    static const char *const bad[] = {"",     ".",   " ",       "~~", "^M",
                                      "^J",   "^C",  "^\\",     "\r", "\x03",
                                      "None", "^^^", "\xc3\xa9"};
    char name[16];
    struct err e = {0};
    int key;

    (void)state;
    for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++) {
        assert_int_equal(detach_key(good[i].text, &key, &e), 0);
        assert_int_equal(key, good[i].key);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        key = 7;
        if (detach_key(bad[i], &key, &e) == 0)
            fail_msg("\"%s\" is taken", bad[i]);
        assert_non_null(strstr(e.text, "--detach-key"));
        assert_int_equal(key, 7);
    }
    detach_name(0x1d, name);
    assert_string_equal(name, "Ctrl-]");
    detach_name('~', name);
    assert_string_equal(name, "~");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_way_out_is_known_in_any_pieces),
        cmocka_unit_test(one_byte_more_than_typed_at_most),
        cmocka_unit_test(another_key_or_none_leaves_this_one_alone),
        cmocka_unit_test(nothing_typed_is_changed),
        cmocka_unit_test(keys_are_read_strictly),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
