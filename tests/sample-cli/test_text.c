#include "sample-cli/text.h"

#include <locale.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

static void escaped(const char *in, size_t len, bool is_utf8, const char *want)
{
    struct buf b;

    buf_init(&b, 1000);
    assert_int_equal(text_escape(&b, in, len, is_utf8), 0);
    assert_string_equal(buf_cstr(&b), want);
    buf_fini(&b);
}

static void what_could_move_a_terminal_is_escaped(void **state)
{
    (void)state;
    escaped("plain", 5, true, "plain");
    escaped("a\033[2Jb\r\n\t\x7f", 10, true, "a\\x1b[2Jb\\x0d\\x0a\\x09\\x7f");
    escaped("\0x", 2, true, "\\x00x");
    escaped("\xc2\x9b"
            "2J",
            4, true, "\\x9b2J"); /* CSI in 8 bits */
    escaped("back\\slash", 10, true, "back\\\\slash");
}

/* Escaped or not before: what is safe stays as it is. */
static void what_is_shown_is_escaped_once(void **state)
{
    static const char wild[] = "a\033[2J\n\\x1b \xc3\xa9\xff";
    static const char tame[] = "a\\x1b[2J\\x0a\\x1b \xc3\xa9\\xff";
    struct buf b;

    (void)state;
    buf_init(&b, 1000);
    assert_int_equal(text_tame(&b, wild, strlen(wild), true), 0);
    assert_string_equal(buf_cstr(&b), tame);
    buf_clear(&b);
    assert_int_equal(text_tame(&b, tame, strlen(tame), true), 0);
    assert_string_equal(buf_cstr(&b), tame);
    buf_clear(&b);
    assert_int_equal(text_tame(&b, "\xc3\xa9\\", 3, false), 0);
    assert_string_equal(buf_cstr(&b), "\\u{e9}\\");
    buf_fini(&b);
}

static void bytes_that_are_no_utf8_are_escaped(void **state)
{
    (void)state;
    escaped("\xff\xc3", 2, true, "\\xff\\xc3");
    escaped("\xed\xa0\x80", 3, true, "\\xed\\xa0\\x80"); /* a surrogate */
    escaped("\xc3\xa9\xf0\x9f\x98\x80", 6, true, "\xc3\xa9\xf0\x9f\x98\x80");
}

static void characters_that_turn_the_text_round_are_escaped(void **state)
{
    (void)state;
    escaped("a\xe2\x80\xae"
            "b",
            5, true, "a\\u{202e}b");
    escaped("\xe2\x81\xa6\xe2\x80\x8f\xd8\x9c", 8, true,
            "\\u{2066}\\u{200f}\\u{61c}");
}

static void without_utf8_everything_beyond_ascii_is_escaped(void **state)
{
    (void)state;
    escaped("\xc3\xa9\xff", 3, false, "\\u{e9}\\xff");
}

static void escaping_into_a_full_buffer_fails(void **state)
{
    struct buf b;

    (void)state;
    buf_init(&b, 5);
    assert_int_equal(text_escape(&b, "abc\n", 4, true), -1);
    assert_string_equal(buf_cstr(&b), "abc");
    buf_fini(&b);
}

static void width_counts_columns(void **state)
{
    (void)state;
    assert_int_equal(text_width(""), 0);
    assert_int_equal(text_width("abc"), 3);
    assert_int_equal(text_width("\xc3\xa9"), 1);
    assert_int_equal(text_width("\xe6\xbc\xa2\xe5\xad\x97"), 4); /* wide */
    assert_int_equal(text_width("e\xcc\x81"), 1);                /* accent */
    assert_int_equal(text_width("\xff"), 1);
}

static void clipped(const char *in, size_t cols, bool is_utf8, const char *want)
{
    struct buf b;

    buf_init(&b, 1000);
    assert_int_equal(text_clip(&b, in, cols, is_utf8), 0);
    assert_string_equal(buf_cstr(&b), want);
    assert_true(text_width(buf_cstr(&b)) <= cols);
    buf_fini(&b);
}

static void clipping_never_passes_the_columns(void **state)
{
    (void)state;
    clipped("abcdef", 6, true, "abcdef");
    clipped("abcdef", 5, true, "abcd\xe2\x80\xa6");
    clipped("abcdef", 1, true, "\xe2\x80\xa6");
    clipped("abcdef", 0, true, "");
    clipped("abcdef", 5, false, "ab...");
    clipped("abcdef", 2, false, "..");
    clipped("abcdef", 0, false, "");
    /* half of a wide character is none */
    clipped("\xe6\xbc\xa2\xe5\xad\x97\xe6\xbc\xa2", 4, true,
            "\xe6\xbc\xa2\xe2\x80\xa6");
}

static void numbers_and_sizes_read_well(void **state)
{
    char b[TEXT_NUMBER_MAX];

    (void)state;
    assert_string_equal(text_number(0, b), "0");
    assert_string_equal(text_number(999, b), "999");
    assert_string_equal(text_number(1000, b), "1,000");
    assert_string_equal(text_number(1234567, b), "1,234,567");
    assert_string_equal(text_number(INT64_MAX, b), "9,223,372,036,854,775,807");
    assert_string_equal(text_size(0, b), "0 bytes");
    assert_string_equal(text_size(1, b), "1 byte");
    assert_string_equal(text_size(1023, b), "1023 bytes");
    assert_string_equal(text_size(1024, b), "1.0 KiB");
    assert_string_equal(text_size(1536, b), "1.5 KiB");
    assert_string_equal(text_size((1 << 20) - 1, b), "1.0 MiB");
    assert_string_equal(text_size(3 << 20, b), "3.0 MiB");
    assert_true(strlen(text_size(INT64_MAX, b)) < TEXT_NUMBER_MAX);
}

static void rows(const char *text, size_t cols, const char *want)
{
    char got[256] = "";
    size_t skip;

    for (size_t n; *text; text += skip) {
        n = text_row(text, cols, &skip);
        strncat(got, text, n);
        strcat(got, "|");
        assert_true(skip > 0);
    }
    assert_string_equal(got, want);
}

static void rows_break_at_blanks_and_newlines(void **state)
{
    (void)state;
    rows("", 5, "");
    rows("one two three", 8, "one two|three|");
    rows("one two three", 7, "one two|three|");
    rows("one two three", 6, "one|two|three|");
    rows("longer than", 4, "long|er|than|");
    rows("a\n\nb\n", 4, "a||b|");
    rows("ää öö üü", 5, "ää öö|üü|");
    rows("\xe4\xb8\xad\xe6\x96\x87", 3, "\xe4\xb8\xad|\xe6\x96\x87|");
    rows("\xe4\xb8\xad", 1, "|"); /* two columns fit nowhere */
}

static void lines(const char *in, bool is_utf8, const char *want)
{
    struct buf b;

    buf_init(&b, 256);
    assert_int_equal(text_escape_lines(&b, in, strlen(in), is_utf8), 0);
    assert_string_equal(buf_cstr(&b), want);
    buf_fini(&b);
}

static void of_several_lines_only_the_newlines_stay(void **state)
{
    struct buf b;

    (void)state;
    lines("a\r\n\tb\rc\n", true, "a\n    b\\x0dc\n");
    lines("\033]52;c;eA==\a\n\xc2\x9b", true, "\\x1b]52;c;eA==\\x07\n\\x9b");
    lines("ä\r", false, "\\u{e4}\\x0d");
    buf_init(&b, 3);
    assert_int_equal(text_escape_lines(&b, "ab\n\n", 4, true), -1);
    buf_fini(&b);
}

static void durations_are_short(void **state)
{
    char out[TEXT_NUMBER_MAX];

    (void)state;
    assert_string_equal(text_duration(0, out), "0.0s");
    assert_string_equal(text_duration(1249, out), "1.2s");
    assert_string_equal(text_duration(9999, out), "9.9s");
    assert_string_equal(text_duration(10000, out), "10s");
    assert_string_equal(text_duration(59999, out), "59s");
    assert_string_equal(text_duration(65000, out), "1m 05s");
    assert_string_equal(text_duration(INT64_C(3600000) * 30, out), "1800m 00s");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_could_move_a_terminal_is_escaped),
        cmocka_unit_test(bytes_that_are_no_utf8_are_escaped),
        cmocka_unit_test(what_is_shown_is_escaped_once),
        cmocka_unit_test(characters_that_turn_the_text_round_are_escaped),
        cmocka_unit_test(without_utf8_everything_beyond_ascii_is_escaped),
        cmocka_unit_test(escaping_into_a_full_buffer_fails),
        cmocka_unit_test(width_counts_columns),
        cmocka_unit_test(clipping_never_passes_the_columns),
        cmocka_unit_test(numbers_and_sizes_read_well),
        cmocka_unit_test(rows_break_at_blanks_and_newlines),
        cmocka_unit_test(of_several_lines_only_the_newlines_stay),
        cmocka_unit_test(durations_are_short),
    };

    setlocale(LC_CTYPE, "C.UTF-8");
    return cmocka_run_group_tests(tests, NULL, NULL);
}
