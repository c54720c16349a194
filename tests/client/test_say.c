/* No string of a server reaches a terminal as anything but text. */
#include "client/say.h"

#include "base/own.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static const char *shown(const char *text)
{
    static char out[SAY_LINE_MAX];

    return say_text(text, out, sizeof(out));
}

static void text_passes_unchanged(void **arg)
{
    static const char text[] = "plain, \"quoted\" \\ gr\xc3\xbc\xc3\x9f, "
                               "\xe6\x97\xa5\xe6\x9c\xac \xf0\x9f\x90\x8b";

    (void)arg;
    assert_string_equal(shown(text), text);
    assert_string_equal(shown(""), "");
}

static void controls_are_shown_not_obeyed(void **arg)
{
    (void)arg;
    assert_string_equal(shown("a\x1b]52;c;eA==\x07z"),
                        "a\\x1b]52;c;eA==\\x07z");
    assert_string_equal(shown("1\r\n2\t3\b"), "1\\x0d\\x0a2\\x093\\x08");
    assert_string_equal(shown("\x7f"), "\\x7f");
}

static void c1_controls_are_escaped_raw_and_as_utf8(void **arg)
{
    (void)arg;
    assert_string_equal(shown("\x9b"
                              "31m"),
                        "\\x9b31m");
    assert_string_equal(shown("\xc2\x9b"
                              "31m"),
                        "\\x9b31m");
    assert_string_equal(shown("\xc2\xa0"), "\xc2\xa0"); /* no control */
}

static void bytes_that_are_no_utf8_are_escaped(void **arg)
{
    (void)arg;
    assert_string_equal(shown("\xff"), "\\xff");
    assert_string_equal(shown("\xc0\x9b"), "\\xc0\\x9b"); /* overlong */
    assert_string_equal(shown("\xed\xa0\x80"), "\\xed\\xa0\\x80"); /* half */
    assert_string_equal(shown("\xe6\x97"), "\\xe6\\x97");          /* cut */
    assert_string_equal(shown("\xf5\x80\x80\x80"), "\\xf5\\x80\\x80\\x80");
}

static void what_turns_text_round_is_escaped(void **arg)
{
    (void)arg;
    assert_string_equal(shown("a\xe2\x80\xae"
                              "b"),
                        "a\\u202eb");
    assert_string_equal(shown("\xe2\x81\xa6\xe2\x80\xa8\xef\xbb\xbf"),
                        "\\u2066\\u2028\\ufeff");
    assert_string_equal(shown("\xf3\xa0\x81\x81"), "\\ue0041"); /* tag */
}

static void long_text_is_cut_between_characters(void **arg)
{
    char out[6];

    (void)arg;
    assert_string_equal(say_text("abcdefgh", out, sizeof(out)), "abcde");
    /* an escape is never cut in its middle */
    assert_string_equal(say_text("abc\x1bz", out, sizeof(out)), "abc");
    assert_string_equal(say_text("abcd\xc3\xbc", out, sizeof(out)), "abcd");
}

static void json_lines_hold_no_controls(void **arg)
{
    own_json struct json *j = json_object();
    char *text = NULL;
    size_t len = 0;
    FILE *f = open_memstream(&text, &len);

    (void)arg;
    json_set_str(j, "a",
                 "x\x1b\x7f\xc2\x9b\xe2\x80\xae\xf3\xa0\x81\x81g\xc3"
                 "\xbc");
    say_json(f, j);
    fclose(f);
    assert_string_equal(text, "{\"a\":\"x\\u001b\\u007f\\u009b\\u202e"
                              "\\udb40\\udc41g\xc3\xbc\"}\n");
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_passes_unchanged),
        cmocka_unit_test(controls_are_shown_not_obeyed),
        cmocka_unit_test(c1_controls_are_escaped_raw_and_as_utf8),
        cmocka_unit_test(bytes_that_are_no_utf8_are_escaped),
        cmocka_unit_test(what_turns_text_round_is_escaped),
        cmocka_unit_test(long_text_is_cut_between_characters),
        cmocka_unit_test(json_lines_hold_no_controls),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
