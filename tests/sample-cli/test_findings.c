#include "sample-cli/findings.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

static void of_each_rule_so_many_are_kept_and_all_are_counted(void **state)
{
    struct findings f = {0};

    (void)state;
    for (int i = 0; i < FINDINGS_KEPT_MAX + 50; i++)
        findings_add(&f, RULE_LONG_LINE, "a", i + 1, "line %d", i + 1);
    findings_add(&f, RULE_LARGE, "b", 0, "large");
    assert_int_equal(f.count, FINDINGS_KEPT_MAX + 1);
    assert_int_equal(f.found[RULE_LONG_LINE], FINDINGS_KEPT_MAX + 50);
    assert_int_equal(findings_total(&f), FINDINGS_KEPT_MAX + 51);
    assert_string_equal(f.items[FINDINGS_KEPT_MAX - 1].text, "line 200");
    findings_fini(&f);
    assert_int_equal(findings_total(&f), 0);
}

static void sorting_goes_by_path_line_rule_and_text(void **state)
{
    static const char *const want[] = {"1", "2", "3", "4", "5", "6"};
    struct findings f = {0};

    (void)state;
    findings_sort(&f); /* an empty list */
    findings_add(&f, RULE_LARGE, "b", 0, "6");
    findings_add(&f, RULE_MARKER, "a", 7, "5");
    findings_add(&f, RULE_MARKER, "a", 2, "4");
    findings_add(&f, RULE_LONG_LINE, "a", 2, "2");
    findings_add(&f, RULE_MARKER, "a", 2, "3");
    findings_add(&f, RULE_BINARY, "a", 0, "1");
    findings_sort(&f);
    for (size_t i = 0; i < f.count; i++)
        assert_string_equal(f.items[i].text, want[i]);
    findings_fini(&f);
}

static void a_long_sentence_is_cut(void **state)
{
    struct findings f = {0};
    char text[2 * FINDING_TEXT_MAX];

    (void)state;
    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = 0;
    findings_add(&f, RULE_LARGE, "a", 0, "%s", text);
    assert_int_equal(strlen(f.items[0].text), FINDING_TEXT_MAX - 1);
    findings_fini(&f);
}

static void moved_findings_are_counted_and_bounded_like_added_ones(void **state)
{
    struct findings to = {0}, from = {0};

    (void)state;
    findings_add(&to, RULE_LONG_LINE, "a", 1, "%s", "100%d");
    for (int i = 0; i < FINDINGS_KEPT_MAX + 50; i++)
        findings_add(&from, RULE_LONG_LINE, "b", i + 1, "line %d", i + 1);
    findings_add(&from, RULE_LARGE, "c", 0, "large");
    findings_move(&to, &from);
    assert_int_equal(from.count + (size_t)findings_total(&from), 0);
    assert_int_equal(to.found[RULE_LONG_LINE], FINDINGS_KEPT_MAX + 51);
    assert_int_equal(to.count, FINDINGS_KEPT_MAX + 1);
    assert_string_equal(to.items[0].text, "100%d");
    assert_string_equal(to.items[1].path, "b");
    assert_string_equal(to.items[FINDINGS_KEPT_MAX].text, "large");
    findings_fini(&to);
}

static void every_rule_has_a_word_of_its_own(void **state)
{
    (void)state;
    for (int i = 0; i < RULE_COUNT; i++)
        for (int j = 0; j < i; j++)
            assert_string_not_equal(rule_word(i), rule_word(j));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(of_each_rule_so_many_are_kept_and_all_are_counted),
        cmocka_unit_test(sorting_goes_by_path_line_rule_and_text),
        cmocka_unit_test(a_long_sentence_is_cut),
        cmocka_unit_test(
            moved_findings_are_counted_and_bounded_like_added_ones),
        cmocka_unit_test(every_rule_has_a_word_of_its_own),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
