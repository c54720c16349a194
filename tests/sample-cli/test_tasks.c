#include "sample-cli/tasks.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

/* A view that writes down what it is shown. */
static char seen[4096];

static void note(void *arg, const struct tasks *t, enum tasks_event event,
                 int64_t now_ms)
{
    static const char *const events[] = {"begin", "state", "tick", "end"};
    static const char states[] = "pRDFS";
    size_t n = strlen(seen);

    assert_ptr_equal(arg, seen);
    assert_int_equal(now_ms, 42);
    n += (size_t)snprintf(seen + n, sizeof(seen) - n, "%s ", events[event]);
    for (size_t i = 0; i < t->count; i++)
        seen[n++] = states[t->items[i].state];
    snprintf(seen + n, sizeof(seen) - n, "\n");
}

static int64_t now(void)
{
    return 42;
}

static int done(struct tasks *t, void *arg, struct err *e)
{
    (void)e;
    ++*(int *)arg;
    task_tell(t, "half");
    tasks_tick(t);
    assert_string_equal(t->items[t->at].detail, "half");
    task_tell(t, "%d found", 7);
    return 0;
}

static int nothing(struct tasks *t, void *arg, struct err *e)
{
    (void)t;
    (void)e;
    ++*(int *)arg;
    return 1;
}

static int fails(struct tasks *t, void *arg, struct err *e)
{
    (void)t;
    ++*(int *)arg;
    return err_set(e, ERR_INPUT, "no such thing");
}

static int run(struct task *items, size_t count, bool is_shown, int *calls)
{
    struct tasks t = {.items = items,
                      .count = count,
                      .arg = calls,
                      .view = {is_shown ? note : NULL, seen},
                      .now_ms = now};

    seen[0] = 0;
    *calls = 0;
    return tasks_run(&t);
}

static void tasks_run_in_order_and_each_step_is_shown(void **state)
{
    struct task items[] = {{.title = "one", .run = done},
                           {.title = "two", .run = nothing}};
    int calls;

    (void)state;
    assert_int_equal(run(items, 2, true, &calls), 0);
    assert_int_equal(calls, 2);
    assert_string_equal(seen, "begin pp\nstate Rp\ntick Rp\nstate Dp\n"
                              "state DR\nstate DS\nend DS\n");
    assert_string_equal(items[0].detail, "7 found");
}

static void a_failure_is_told_and_the_rest_goes_on(void **state)
{
    struct task items[] = {{.title = "one", .run = fails},
                           {.title = "two", .run = done}};
    int calls;

    (void)state;
    assert_int_equal(run(items, 2, true, &calls), 1);
    assert_int_equal(calls, 2);
    assert_string_equal(items[0].detail, "no such thing");
    assert_int_equal(items[1].state, TASK_DONE);
}

static void after_a_needed_one_nothing_runs(void **state)
{
    struct task items[] = {{.title = "one", .run = fails, .is_needed = true},
                           {.title = "two", .run = done},
                           {.title = "three", .run = done}};
    int calls;

    (void)state;
    assert_int_equal(run(items, 3, true, &calls), 1);
    assert_int_equal(calls, 1);
    assert_string_equal(seen, "begin ppp\nstate Rpp\nstate Fpp\nstate FSp\n"
                              "state FSS\nend FSS\n");
}

static void a_long_detail_is_cut(void **state)
{
    struct task items[] = {{.title = "one"}};
    struct tasks t = {.items = items, .count = 1};

    (void)state;
    task_tell(&t, "%1000d", 7);
    assert_int_equal(strlen(items[0].detail), TASK_DETAIL_MAX - 1);
}

static void without_a_view_and_without_tasks_it_works(void **state)
{
    struct task items[] = {{.title = "one", .run = done}};
    int calls;

    (void)state;
    assert_int_equal(run(items, 1, false, &calls), 0);
    assert_int_equal(calls, 1);
    assert_int_equal(run(items, 0, true, &calls), 0);
    assert_string_equal(seen, "begin \nend \n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tasks_run_in_order_and_each_step_is_shown),
        cmocka_unit_test(a_failure_is_told_and_the_rest_goes_on),
        cmocka_unit_test(after_a_needed_one_nothing_runs),
        cmocka_unit_test(a_long_detail_is_cut),
        cmocka_unit_test(without_a_view_and_without_tasks_it_works),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
