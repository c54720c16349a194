/* Which lines of a long list a frame has. */
#include "sample-cli/screen_lines.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

#define MANY 400

static struct task many[MANY];
static struct task group = {
    .title = "all", .tasks = many, .count = MANY, .state = TASK_RUNNING};
static struct lines lines;

/* The group in at most that many lines. */
static void fit(size_t most)
{
    lines_init(&lines, 80);
    lines_add(&lines, &group, 0);
    lines_fit(&lines, most);
}

static int setup(void **state)
{
    (void)state;
    for (size_t i = 0; i < MANY; i++)
        many[i] = (struct task){.title = "x", .state = TASK_DONE};
    return 0;
}

static void what_runs_is_shown_wherever_it_stands(void **state)
{
    (void)state;
    many[MANY - 1].state = TASK_RUNNING;
    strcpy(many[MANY - 1].tail, "at work");
    fit(6);
    assert_int_equal(lines.count, 6);
    assert_ptr_equal(lines.items[0].task, &group);
    assert_ptr_equal(lines.items[1].task, &many[MANY - 3]);
    assert_ptr_equal(lines.items[3].task, &many[MANY - 1]);
    assert_int_equal(lines.items[4].kind, LINE_TAIL);
    assert_int_equal(lines.items[5].kind, LINE_MORE);
    /* tasks, and no rows of output */
    assert_int_equal(lines.items[5].more, MANY + 1 - 4);
}

static void of_what_waits_the_first_is_shown(void **state)
{
    (void)state;
    for (size_t i = 1; i < MANY; i++)
        many[i].state = TASK_PENDING;
    fit(4);
    assert_int_equal(lines.count, 4);
    assert_ptr_equal(lines.items[0].task, &group);
    assert_ptr_equal(lines.items[1].task, &many[0]);
    assert_ptr_equal(lines.items[2].task, &many[1]);
    assert_int_equal(lines.items[3].more, MANY + 1 - 3);
}

static void as_many_as_there_is_room_for_are_shown(void **state)
{
    (void)state;
    many[0].state = TASK_RUNNING;
    fit(LINES_MAX);
    assert_int_equal(lines.count, LINES_MAX);
    assert_int_equal(lines.items[LINES_MAX - 1].kind, LINE_MORE);
    assert_int_equal(lines.items[LINES_MAX - 1].more,
                     MANY + 1 - (LINES_MAX - 1));
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup(f, setup)
    const struct CMUnitTest tests[] = {
        CASE(what_runs_is_shown_wherever_it_stands),
        CASE(of_what_waits_the_first_is_shown),
        CASE(as_many_as_there_is_room_for_are_shown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
