#include "sample-cli/rules.h"

#include <locale.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

/* Texts with a marker are written so that this file has none of its own. */
#define TO_DO                                                                  \
    "TO"                                                                       \
    "DO"
#define FIX_ME                                                                 \
    "FIX"                                                                      \
    "ME"

typedef void a_rule(const struct source *s, const struct rules_conf *conf,
                    struct findings *f);

static struct findings found;

static int fini(void **state)
{
    (void)state;
    findings_fini(&found);
    return 0;
}

static void apply(a_rule *rule, enum lang lang, const char *text)
{
    const struct rules_conf conf = {.line_max = 10, .is_utf8 = true};
    const struct source s = {.path = "f",
                             .bytes = (char *)(uintptr_t)text,
                             .len = strlen(text),
                             .lang = lang};

    findings_fini(&found);
    rule(&s, &conf, &found);
}

static void only(long line, const char *text)
{
    assert_int_equal(found.count, 1);
    assert_int_equal(found.items[0].line, line);
    assert_string_equal(found.items[0].text, text);
}

static void a_line_is_long_by_characters(void **state)
{
    (void)state;
    apply(rules_long_lines, LANG_C, "1234567890\n12345678901\n1\n");
    only(2, "the line has 11 characters, at most 10 are wanted");
    apply(rules_long_lines, LANG_C, "1234567890\r\n");
    assert_int_equal(found.count, 0);
    /* 10 characters in 20 bytes; bytes that are no UTF-8 count each */
    apply(rules_long_lines, LANG_C,
          "\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9"
          "\xc3\xa9\xc3\xa9\n\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff");
    only(2, "the line has 11 characters, at most 10 are wanted");
    apply(rules_long_lines, LANG_C, "");
    assert_int_equal(found.count, 0);
}

static void markdown_may_have_long_lines(void **state)
{
    (void)state;
    apply(rules_long_lines, LANG_MARKDOWN, "12345678901\n");
    assert_int_equal(found.count, 0);
}

static void blanks_at_an_end_of_line_are_found(void **state)
{
    (void)state;
    apply(rules_trailing, LANG_C, "a\nb \nc");
    only(2, "the line ends in 1 blank");
    apply(rules_trailing, LANG_C, "a \t \r\n");
    only(1, "the line ends in 3 blanks");
    apply(rules_trailing, LANG_C, "   ");
    only(1, "the line ends in 3 blanks");
}

static void two_spaces_break_a_line_in_markdown(void **state)
{
    (void)state;
    apply(rules_trailing, LANG_MARKDOWN, "text  \nmore\n");
    assert_int_equal(found.count, 0);
    apply(rules_trailing, LANG_MARKDOWN, "text \t\n");
    assert_int_equal(found.count, 1);
    apply(rules_trailing, LANG_MARKDOWN, "text   \n");
    assert_int_equal(found.count, 1);
    apply(rules_trailing, LANG_MARKDOWN, "  \n"); /* breaks nothing */
    assert_int_equal(found.count, 1);
    apply(rules_trailing, LANG_C, "text  \n");
    assert_int_equal(found.count, 1);
}

static void marks_are_words_of_their_own(void **state)
{
    (void)state;
    apply(rules_markers, LANG_C, "x\n/* " TO_DO ": mend it  \n");
    only(2, TO_DO " is left: mend it");
    apply(rules_markers, LANG_C, "# " FIX_ME);
    only(1, FIX_ME " is left");
    apply(rules_markers, LANG_C,
          "MY" TO_DO " " TO_DO "S _" TO_DO " " TO_DO "_ to"
          "do Fix"
          "me");
    assert_int_equal(found.count, 0);
    apply(rules_markers, LANG_C, "\xc3\x89" TO_DO); /* within a word */
    assert_int_equal(found.count, 0);
    apply(rules_markers, LANG_C, "(" TO_DO ")(" FIX_ME ")");
    only(1, TO_DO " is left: )(" FIX_ME ")"); /* one of a line */
}

static void what_a_mark_quotes_is_escaped_and_cut(void **state)
{
    char text[4096];

    (void)state;
    apply(rules_markers, LANG_C, TO_DO " \033]0;x\007");
    only(1, TO_DO " is left: \\x1b]0;x\\x07");
    memset(text, 'y', sizeof(text) - 1);
    text[sizeof(text) - 1] = 0;
    memcpy(text, TO_DO " ", 5);
    apply(rules_markers, LANG_C, text);
    assert_int_equal(found.count, 1);
    assert_true(strlen(found.items[0].text) < RULES_QUOTE_COLS + 30);
}

static void a_last_line_without_its_end_is_found(void **state)
{
    (void)state;
    apply(rules_line_ends, LANG_C, "a\nb");
    only(2, "the last line does not end in a newline");
    apply(rules_line_ends, LANG_C, "a\r\nb\r");
    only(2, "the last line does not end in a newline");
    apply(rules_line_ends, LANG_C, "");
    assert_int_equal(found.count, 0);
    apply(rules_line_ends, LANG_C, "\n");
    assert_int_equal(found.count, 0);
}

static void two_kinds_of_line_ends_are_found_at_the_rarer(void **state)
{
    (void)state;
    apply(rules_line_ends, LANG_C, "a\nb\nc\r\n");
    only(3, "1 line ends in CR LF, 2 in LF alone");
    apply(rules_line_ends, LANG_C, "a\r\nb\r\nc\nd\n\r\n");
    only(3, "3 lines end in CR LF, 2 in LF alone");
    apply(rules_line_ends, LANG_C, "a\r\nb\r\n");
    assert_int_equal(found.count, 0);
}

int main(void)
{
#define CASE(f) cmocka_unit_test_teardown(f, fini)
    const struct CMUnitTest tests[] = {
        CASE(a_line_is_long_by_characters),
        CASE(markdown_may_have_long_lines),
        CASE(blanks_at_an_end_of_line_are_found),
        CASE(two_spaces_break_a_line_in_markdown),
        CASE(marks_are_words_of_their_own),
        CASE(what_a_mark_quotes_is_escaped_and_cut),
        CASE(a_last_line_without_its_end_is_found),
        CASE(two_kinds_of_line_ends_are_found_at_the_rarer),
    };

    setlocale(LC_CTYPE, "C.UTF-8");
    return cmocka_run_group_tests(tests, NULL, NULL);
}
