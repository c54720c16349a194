#include "sample-cli/same.h"

#include "base/mem.h"
#include "base/own.h"
#include "tests/lib/programs.h"
#include "tests/lib/tree.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

static char *dir;
static struct findings found;
static int ticks;
static int remove_at, change_at; /* tick at which that is done to "a" */
static bool went_on;
static int stop_at; /* tick that says no */

static bool tick(void *arg)
{
    own_mem char *a = mem_printf("%s/a", dir);

    (void)arg;
    if (++ticks == remove_at)
        assert_int_equal(unlink(a), 0);
    if (ticks == change_at)
        tree_put(dir, "a", "54321");
    return ticks != stop_at;
}

static int setup(void **state)
{
    (void)state;
    dir = scratch_new();
    ticks = remove_at = change_at = stop_at = 0;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    findings_fini(&found);
    scratch_remove(dir);
    return 0;
}

/* Walk, remove what `gone` names (or not), then compare. */
static void go(int64_t bytes_max, const char *gone)
{
    const struct walk_conf walk_conf = {
        .depth_max = 9, .entries_max = 99, .skip = ""};
    const struct same_conf conf = {
        .bytes_max = bytes_max, .is_utf8 = true, .goes_on = tick};
    struct walk walk;
    struct err e = {0};

    assert_int_equal(walk_run(&walk, dir, &walk_conf, &found, &e), 0);
    if (gone) {
        own_mem char *path = mem_printf("%s/%s", dir, gone);

        assert_int_equal(unlink(path), 0);
    }
    went_on = same_find(&walk, &conf, &found);
    findings_sort(&found);
    walk_fini(&walk);
}

static void the_same_content_is_told_of_all_but_the_first(void **state)
{
    (void)state;
    tree_put(dir, "c", "same");
    tree_put(dir, "a", "same");
    tree_put(dir, "b/x", "same");
    tree_put(dir, "d", "else"); /* as long */
    tree_put(dir, "e", "longer");
    go(100, NULL);
    assert_int_equal(found.count, 2);
    assert_string_equal(found.items[0].path, "b/x");
    assert_string_equal(found.items[0].text, "it has the same content as a");
    assert_string_equal(found.items[1].path, "c");
    assert_int_equal(ticks, 4); /* the longer one was not read */
    assert_true(went_on);
}

static void told_to_stop_it_reads_no_further_file(void **state)
{
    (void)state;
    tree_put(dir, "a", "same");
    tree_put(dir, "b", "same");
    tree_put(dir, "c", "same");
    stop_at = 2;
    go(100, NULL);
    assert_int_equal(ticks, 2);
    assert_false(went_on);
    assert_int_equal(found.count, 0);
}

static void two_groups_of_one_size_are_kept_apart(void **state)
{
    (void)state;
    tree_put(dir, "1", "aa");
    tree_put(dir, "2", "bb");
    tree_put(dir, "3", "aa");
    tree_put(dir, "4", "bb");
    go(100, NULL);
    assert_int_equal(found.count, 2);
    assert_string_equal(found.items[0].text, "it has the same content as 1");
    assert_string_equal(found.items[1].text, "it has the same content as 2");
}

static void empty_and_large_files_are_left_out(void **state)
{
    (void)state;
    tree_put(dir, "a", "");
    tree_put(dir, "b", "");
    tree_put(dir, "c", "12345");
    tree_put(dir, "d", "12345");
    go(4, NULL);
    assert_int_equal(found.count, 0);
    go(5, NULL);
    assert_int_equal(found.count, 1);
}

static void two_names_of_one_file_are_no_duplicate(void **state)
{
    own_mem char *a = mem_printf("%s/a", dir);
    own_mem char *b = mem_printf("%s/b", dir);

    (void)state;
    tree_put(dir, "a", "12345");
    assert_int_equal(link(a, b), 0);
    go(100, NULL);
    assert_int_equal(found.count, 0);
}

static void a_file_that_is_gone_is_left_out(void **state)
{
    (void)state;
    tree_put(dir, "a", "12345");
    tree_put(dir, "b", "12345");
    tree_put(dir, "c", "12345");
    go(100, "a");
    assert_int_equal(found.count, 1);
    assert_string_equal(found.items[0].text, "it has the same content as b");
}

static void one_that_goes_before_it_is_compared_is_left_out(void **state)
{
    (void)state;
    tree_put(dir, "a", "12345");
    tree_put(dir, "b", "12345");
    tree_put(dir, "c", "12345");
    remove_at = 3; /* it has been summed up by then */
    go(100, NULL);
    assert_int_equal(found.count, 1);
    assert_string_equal(found.items[0].path, "c");
    assert_string_equal(found.items[0].text, "it has the same content as b");
}

/* An equal sum is no proof: the bytes are compared. */
static void
one_that_changes_after_it_was_summed_up_is_no_duplicate(void **state)
{
    (void)state;
    tree_put(dir, "a", "12345");
    tree_put(dir, "b", "12345");
    tree_put(dir, "c", "12345");
    change_at = 3;
    go(100, NULL);
    assert_int_equal(found.count, 1);
    assert_string_equal(found.items[0].path, "c");
    assert_string_equal(found.items[0].text, "it has the same content as b");
}

static void the_other_name_is_escaped(void **state)
{
    (void)state;
    tree_put(dir, "a\033[2J", "12345");
    tree_put(dir, "b", "12345");
    go(100, NULL);
    assert_string_equal(found.items[0].text,
                        "it has the same content as a\\x1b[2J");
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(the_same_content_is_told_of_all_but_the_first),
        CASE(told_to_stop_it_reads_no_further_file),
        CASE(two_groups_of_one_size_are_kept_apart),
        CASE(empty_and_large_files_are_left_out),
        CASE(two_names_of_one_file_are_no_duplicate),
        CASE(a_file_that_is_gone_is_left_out),
        CASE(one_that_goes_before_it_is_compared_is_left_out),
        CASE(one_that_changes_after_it_was_summed_up_is_no_duplicate),
        CASE(the_other_name_is_escaped),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
