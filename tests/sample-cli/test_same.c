#include "sample-cli/same.h"

#include "base/digest.h"
#include "base/mem.h"
#include "base/own.h"
#include "tests/lib/programs.h"
#include "tests/lib/tree.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

#define MANY 20
#define BLOCK_BYTES 12

static char *dir;
static struct findings found;
static int ticks;
static int remove_at, change_at; /* tick at which that is done to "a" */
static bool went_on;
static int change_all_at; /* and to all */
static int stop_at;       /* tick that says no */

static void change_all(void);

static bool tick(void *arg)
{
    own_mem char *a = mem_printf("%s/a", dir);

    (void)arg;
    if (++ticks == remove_at)
        assert_int_equal(unlink(a), 0);
    if (ticks == change_at)
        tree_put(dir, "a", "54321");
    if (ticks == change_all_at)
        change_all();
    return ticks != stop_at;
}

static int setup(void **state)
{
    (void)state;
    dir = scratch_new();
    ticks = remove_at = change_at = change_all_at = stop_at = 0;
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
        .depth_max = 9, .entries_max = 9999, .skip = ""};
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
    assert_int_equal(ticks, 4 + 2); /* the longer one was not read */
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

/* --- hostile trees --- */

/* All become different ones after they were summed up. */
static void change_all(void)
{
    for (int i = 0; i < MANY; i++) {
        own_mem char *name = mem_printf("f%02d", i);
        own_mem char *text = mem_printf("%05d", i);

        tree_put(dir, name, text);
    }
}

static void many_of_one_sum(void)
{
    for (int i = 0; i < MANY; i++) {
        own_mem char *name = mem_printf("f%02d", i);

        tree_put(dir, name, "12345");
    }
    change_all_at = MANY + 1;
}

static void of_one_sum_not_each_is_compared_with_each(void **state)
{
    int compared = 0;

    (void)state;
    many_of_one_sum();
    for (int i = 1; i < MANY; i++)
        compared += i < SAME_FIRSTS_MAX ? i : SAME_FIRSTS_MAX;
    go(100, NULL);
    assert_int_equal(ticks, MANY + compared);
    assert_true(went_on);
    assert_int_equal(found.count, 0);
}

static void told_to_stop_it_compares_no_further(void **state)
{
    (void)state;
    many_of_one_sum();
    stop_at = MANY + 5;
    go(100, NULL);
    assert_int_equal(ticks, MANY + 5);
    assert_false(went_on);
}

/* Blocks of which either follows the one before without a change of FNV-1a,
 * a sum without a key: so many files of one sum as there are ways. */
static void nobody_can_make_files_of_one_sum(void **state)
{
    static const char *const blocks[][2] = {
        {"56fd720e40536a4fa8765934", "5322640836636d45d766c239"},
        {"5e985b1f0a882647058d71fc", "53b7391d1894254136ad06f1"},
        {"a21c502527a6021c1f9a3840", "a707421b1996090cfa9ad143"},
        {"b6c5461079722652465d02dd", "b94870124b1a2b6af55d3dd8"},
        {"2c0a6456176c36079d6d4a22", "2f0f522825603501be0d3321"},
        {"3fac406f51cfff07d6fb1b44", "c257726947cff81d49fb324b"},
        {"634471300666da8fb12b096a", "6edf83323496df759c2b0065"},
        {"8440260b455b7b4219ff6250", "8755780d5773763a36ff6b53"},
        {"ce54340c526d562b5fb78c92", "c941e20264b1553d3ca79595"},
        {"2ea97c6128812e41f2b100e2", "21ec166f3abd315ba1c10bef"},
        {"ef290e102308f916b97906f5", "ec6c340e510cf26adc791dc8"},
    };
    enum { BLOCKS = sizeof(blocks) / sizeof(*blocks) };
    clock_t start;

    (void)state;
    for (unsigned i = 0; i < 1U << BLOCKS; i++) {
        own_mem char *name = mem_printf("f%04u", i);
        uint8_t text[BLOCKS * BLOCK_BYTES];

        for (unsigned b = 0; b < BLOCKS; b++)
            assert_int_equal(hex_decode(blocks[b][i >> b & 1], 2 * BLOCK_BYTES,
                                        text + b * BLOCK_BYTES, BLOCK_BYTES),
                             0);
        tree_put_bytes(dir, name, text, sizeof(text));
    }
    start = clock();
    go(1000, NULL);
    assert_int_equal(found.count, 0);
    assert_int_equal(ticks, 1 << BLOCKS); /* none had to be compared */
    assert_true(clock() - start < 2 * CLOCKS_PER_SEC);
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
        CASE(of_one_sum_not_each_is_compared_with_each),
        CASE(told_to_stop_it_compares_no_further),
        CASE(nobody_can_make_files_of_one_sum),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
