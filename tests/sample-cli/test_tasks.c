#include "sample-cli/tasks.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

#define GRACE_MS 200

static int64_t now(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* What a view was shown: the events in their order, each once in a row. */
static char seen[256];
static atomic_int calls, together, most_together;
static struct tasks *running;

static void note(void *arg, const struct tasks *t, enum tasks_event event,
                 int64_t now_ms)
{
    static const char letters[] = "bste";
    size_t n = strlen(seen);

    assert_ptr_equal(arg, seen);
    assert_true(now_ms > 0 && t->count > 0);
    if (n + 1 < sizeof(seen) && (!n || seen[n - 1] != letters[event]))
        seen[n] = letters[event];
}

static int done(struct task *t, void *arg, struct err *e)
{
    (void)e;
    assert_ptr_equal(arg, &calls);
    calls++;
    assert_int_equal(t->state, TASK_RUNNING);
    task_tell(t, "half");
    task_tell(t, "%d found", 7);
    return TASK_OK;
}

static int nothing(struct task *t, void *arg, struct err *e)
{
    (void)t;
    (void)arg;
    (void)e;
    calls++;
    return TASK_SKIP;
}

static int fails(struct task *t, void *arg, struct err *e)
{
    (void)t;
    (void)arg;
    calls++;
    return err_set(e, ERR_INPUT, "no such thing");
}

/* Until two of them are there at the same time, or a second has passed. */
static int meets(struct task *t, void *arg, struct err *e)
{
    int n = ++together;

    (void)arg;
    (void)e;
    calls++;
    if (n > most_together)
        most_together = n;
    for (int i = 0; i < 1000 && most_together < 2; i++)
        task_sleep(t, 1);
    task_sleep(t, 20);
    together--;
    return TASK_OK;
}

static int tries(struct task *t, void *arg, struct err *e)
{
    (void)arg;
    (void)e;
    calls++;
    for (int i = 1; i < 3; i++) {
        assert_int_equal(t->tries, i);
        if (!task_retry(t, 10, "busy"))
            return TASK_STOP;
        assert_int_equal(t->state, TASK_RUNNING);
    }
    return TASK_OK;
}

/* Works until it is told to stop. */
static int waits(struct task *t, void *arg, struct err *e)
{
    (void)arg;
    (void)e;
    calls++;
    tasks_cancel(running);
    if (!task_sleep(t, 60000) && task_is_stopped(t))
        return TASK_STOP;
    return TASK_OK;
}

/* Its next try never comes. */
static int tries_in_vain(struct task *t, void *arg, struct err *e)
{
    (void)arg;
    (void)e;
    tasks_cancel(running);
    return task_retry(t, 60000, "busy") ? TASK_OK : TASK_STOP;
}

static int is_deaf(struct task *t, void *arg, struct err *e)
{
    static const struct timespec pause = {0, GRACE_MS * 4 * 1000000L};

    (void)arg;
    (void)e;
    tasks_cancel(running);
    nanosleep(&pause, NULL);
    task_tell(t, "too late");
    task_say(t, "too late", 8);
    calls++;
    return TASK_OK;
}

static int sums_up(struct task *t, void *arg, struct err *e)
{
    (void)arg;
    assert_int_equal(t->tasks[0].state, TASK_FAILED);
    task_tell(t, "all in all");
    return t->count == 1 ? err_set(e, ERR_PEER, "nothing") : TASK_SKIP;
}

static struct tasks list;

static int run(struct task *items, size_t count)
{
    list = (struct tasks){.items = items,
                          .count = count,
                          .arg = &calls,
                          .view = {note, seen},
                          .now_ms = now,
                          .grace_ms = GRACE_MS,
                          .stop_fd = -1};

    memset(seen, 0, sizeof(seen));
    calls = together = most_together = 0;
    running = &list;
    return tasks_run(&list);
}

static void tasks_run_in_order_between_begin_and_end(void **state)
{
    struct task items[] = {{.title = "one", .run = done},
                           {.title = "two", .run = nothing}};

    (void)state;
    assert_int_equal(run(items, 2), 0);
    assert_int_equal(calls, 2);
    assert_int_equal(seen[0], 'b');
    assert_int_equal(seen[strlen(seen) - 1], 'e');
    assert_int_equal(items[0].state, TASK_DONE);
    assert_int_equal(items[1].state, TASK_SKIPPED);
    assert_string_equal(items[0].detail, "7 found");
    assert_true(items[0].started_ms > 0);
    assert_true(items[0].ended_ms <= items[1].started_ms);
    assert_int_equal(items[0].tries, 1);
}

static void a_failure_is_told_and_the_rest_goes_on(void **state)
{
    struct task items[] = {{.title = "one", .run = fails},
                           {.title = "two", .run = done}};

    (void)state;
    assert_int_equal(run(items, 2), 1);
    assert_int_equal(calls, 2);
    assert_string_equal(items[0].detail, "no such thing");
    assert_int_equal(items[1].state, TASK_DONE);
}

static void after_a_needed_one_nothing_runs(void **state)
{
    struct task below[] = {{.title = "below", .run = done}};
    struct task items[] = {{.title = "one", .run = fails, .is_needed = true},
                           {.title = "two", .run = done},
                           {.title = "three", .tasks = below, .count = 1}};

    (void)state;
    assert_int_equal(run(items, 3), 1);
    assert_int_equal(calls, 1);
    assert_int_equal(items[1].state, TASK_SKIPPED);
    assert_int_equal(items[2].state, TASK_SKIPPED);
    assert_int_equal(below[0].state, TASK_SKIPPED);
    assert_int_equal(items[1].started_ms, 0);
}

static void a_group_ends_as_the_worst_of_its_tasks(void **state)
{
    struct task good[] = {{.title = "a", .run = done},
                          {.title = "b", .run = nothing}};
    struct task bad[] = {{.title = "a", .run = done},
                         {.title = "b", .run = fails}};
    struct task none[] = {{.title = "a", .run = nothing}};
    struct task items[] = {{.title = "good", .tasks = good, .count = 2},
                           {.title = "bad", .tasks = bad, .count = 2},
                           {.title = "none", .tasks = none, .count = 1}};

    (void)state;
    assert_int_equal(run(items, 3), 1); /* groups are not counted */
    assert_int_equal(items[0].state, TASK_DONE);
    assert_int_equal(items[1].state, TASK_FAILED);
    assert_int_equal(items[2].state, TASK_SKIPPED);
}

static void a_group_with_a_run_says_itself_how_it_ended(void **state)
{
    struct task a[] = {{.title = "a", .run = fails}};
    struct task b[] = {{.title = "a", .run = fails},
                       {.title = "b", .run = done}};
    struct task items[] = {
        {.title = "one", .tasks = a, .count = 1, .run = sums_up},
        {.title = "two", .tasks = b, .count = 2, .run = sums_up}};

    (void)state;
    /* the two tasks, and the first group */
    assert_int_equal(run(items, 2), 3);
    assert_int_equal(items[0].state, TASK_FAILED);
    assert_string_equal(items[0].detail, "nothing");
    assert_int_equal(items[1].state, TASK_SKIPPED);
    assert_string_equal(items[1].detail, "all in all");
}

static void a_group_whose_own_run_fails_is_counted(void **state)
{
    struct task fine[] = {{.title = "a", .run = done}};
    struct task inner[] = {
        {.title = "b", .tasks = fine, .count = 1, .run = fails}};
    struct task items[] = {{.title = "one", .tasks = inner, .count = 1},
                           {.title = "two", .run = done}};

    (void)state;
    /* once: the group around it did nothing itself */
    assert_int_equal(run(items, 2), 1);
    assert_int_equal(list.failed, 1);
    assert_int_equal(items[0].state, TASK_FAILED);
    assert_int_equal(inner[0].state, TASK_FAILED);
    assert_string_equal(inner[0].detail, "no such thing");
}

static void tasks_of_a_group_run_side_by_side_up_to_its_limit(void **state)
{
    struct task many[] = {{.title = "a", .run = meets},
                          {.title = "b", .run = meets},
                          {.title = "c", .run = meets},
                          {.title = "d", .run = meets}};
    struct task items[] = {
        {.title = "g", .tasks = many, .count = 4, .at_once = 2}};

    (void)state;
    assert_int_equal(run(items, 1), 0);
    assert_int_equal(calls, 4);
    assert_int_equal(most_together, 2);
    /* the view moved meanwhile */
    assert_non_null(strchr(seen, 't') ? seen : strchr(seen, 's'));
}

static void a_try_that_is_repeated_is_counted(void **state)
{
    struct task items[] = {{.title = "one", .run = tries}};

    (void)state;
    assert_int_equal(run(items, 1), 0);
    assert_int_equal(items[0].tries, 3);
    assert_int_equal(items[0].state, TASK_DONE);
    /* it ran, waited and ran again twice, and ended */
    assert_int_equal(items[0].change, 6);
    assert_true(task_ms(&items[0], 0) >= 20);
}

static void stopped_tasks_and_those_that_never_ran_are_told_apart(void **state)
{
    struct task below[] = {{.title = "below", .run = waits},
                           {.title = "beside", .run = done}};
    struct task items[] = {{.title = "one", .run = done},
                           {.title = "two", .tasks = below, .count = 2},
                           {.title = "three", .run = done}};

    (void)state;
    assert_int_equal(run(items, 3), 0);
    assert_int_equal(calls, 2);
    assert_int_equal(list.stopped, 3);
    assert_int_equal(items[0].state, TASK_DONE);
    assert_int_equal(items[1].state, TASK_STOPPED);
    assert_int_equal(below[0].state, TASK_STOPPED);
    assert_string_equal(below[0].detail, "");
    assert_int_equal(below[1].state, TASK_STOPPED);
    assert_string_equal(below[1].detail, "not started");
    assert_string_equal(items[2].detail, "not started");
    assert_false(list.is_abandoned);
}

static void one_that_waits_for_its_next_try_stops_at_once(void **state)
{
    struct task items[] = {{.title = "one", .run = tries_in_vain}};
    int64_t start = now();

    (void)state;
    assert_int_equal(run(items, 1), 0);
    assert_int_equal(items[0].state, TASK_STOPPED);
    assert_int_equal(items[0].tries, 1);
    assert_true(now() - start < 30000);
}

static void one_that_does_not_stop_is_given_up_and_not_heard_any_more(void **s)
{
    /* static: its thread is still there when we return */
    static struct task items[] = {{.title = "one", .run = is_deaf},
                                  {.title = "two", .run = done}};
    static struct tasks own;

    (void)s;
    own = (struct tasks){.items = items,
                         .count = 2,
                         .arg = &calls,
                         .now_ms = now,
                         .grace_ms = GRACE_MS,
                         .stop_fd = -1};
    running = &own;
    calls = 0;
    assert_int_equal(tasks_run(&own), 0);
    assert_true(own.is_abandoned);
    assert_int_equal(own.stopped, 2);
    assert_int_equal(items[0].state, TASK_STOPPED);
    assert_string_equal(items[0].detail, "did not stop, and was left");
    while (!calls)
        usleep(1000);
    usleep(50000);
    assert_string_equal(items[0].detail, "did not stop, and was left");
    assert_string_equal(items[0].tail, "");
    assert_int_equal(items[0].state, TASK_STOPPED);
    assert_string_equal(items[1].detail, "not started");
}

static bool take(void *arg)
{
    char c;

    assert_int_equal(read(*(int *)arg, &c, 1), 1);
    return c == 's';
}

static int asks_to_stop(struct task *t, void *arg, struct err *e)
{
    int fd = *(int *)arg;

    (void)e;
    assert_int_equal(write(fd, "x", 1), 1); /* something else */
    assert_true(task_sleep(t, 100));
    assert_int_equal(write(fd, "s", 1), 1);
    return task_sleep(t, 60000) ? TASK_OK : TASK_STOP;
}

static void the_stop_descriptor_is_judged_by_its_taker(void **state)
{
    struct task items[] = {{.title = "one", .run = asks_to_stop}};
    int fds[2];
    struct tasks t = {.items = items,
                      .count = 1,
                      .arg = &fds[1],
                      .now_ms = now,
                      .stop = take,
                      .stop_arg = &fds[0]};

    (void)state;
    assert_int_equal(pipe(fds), 0);
    t.stop_fd = fds[0];
    assert_int_equal(tasks_run(&t), 0);
    assert_int_equal(items[0].state, TASK_STOPPED);
    close(fds[0]);
    close(fds[1]);
}

static int says(struct task *t, void *arg, struct err *e)
{
    char much[3 * TASK_TAIL_MAX];

    (void)arg;
    task_tell(t, "%1000d", 7);
    assert_int_equal(strlen(t->detail), TASK_DETAIL_MAX - 1);
    task_say(t, "one\n", 4);
    task_say(t, "two", 3);
    assert_string_equal(t->tail, "one\ntwo");
    for (size_t i = 0; i + 1 < sizeof(much); i += 2)
        memcpy(much + i, "ä", 2);
    for (int i = 0; i < 3; i++) {
        task_say(t, "x", (size_t)i % 2); /* moves where the cut falls */
        task_say(t, much, sizeof(much) / 2);
        task_say(t, much, 700);
        /* full, and no character is cut at its front */
        assert_true(strlen(t->tail) >= TASK_TAIL_MAX - 3);
        assert_true(((unsigned char)t->tail[0] & 0xc0) != 0x80);
    }
    task_say(t, NULL, 0);
    assert_string_equal(t->tail, "");
    return e->kind ? TASK_FAIL : TASK_OK;
}

static void what_a_task_says_is_bounded_and_its_end_is_kept(void **state)
{
    struct task items[] = {{.title = "one", .run = says}};

    (void)state;
    assert_int_equal(run(items, 1), 0);
    assert_int_equal(items[0].state, TASK_DONE);
}

static int tells(struct task *t, void *arg, struct err *e)
{
    char much[TASK_DETAIL_MAX * 2 + 2] = "";

    (void)arg;
    for (size_t i = 0; i + 2 < sizeof(much); i += 2)
        memcpy(much + i, "ä", 2);
    task_tell(t, "%s", much);
    assert_int_equal(strlen(t->detail), TASK_DETAIL_MAX - 2);
    task_tell(t, "x%s", much);
    assert_int_equal(strlen(t->detail), TASK_DETAIL_MAX - 1);
    /* what was no whole character before is not ours to judge */
    task_tell(t, "\xc3");
    assert_string_equal(t->detail, "\xc3");
    return e->kind ? TASK_FAIL : TASK_OK;
}

static void what_a_task_tells_is_cut_between_characters(void **state)
{
    struct task items[] = {{.title = "one", .run = tells}};

    (void)state;
    assert_int_equal(run(items, 1), 0);
    assert_int_equal(items[0].state, TASK_DONE);
}

static void without_a_view_and_without_tasks_it_works(void **state)
{
    struct task items[] = {{.title = "one", .run = done}};
    struct tasks t = {.items = items,
                      .count = 1,
                      .now_ms = now,
                      .arg = &calls,
                      .stop_fd = -1};

    (void)state;
    assert_int_equal(tasks_run(&t), 0);
    assert_int_equal(items[0].state, TASK_DONE);
    t.count = 0;
    assert_int_equal(tasks_run(&t), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tasks_run_in_order_between_begin_and_end),
        cmocka_unit_test(a_failure_is_told_and_the_rest_goes_on),
        cmocka_unit_test(after_a_needed_one_nothing_runs),
        cmocka_unit_test(a_group_ends_as_the_worst_of_its_tasks),
        cmocka_unit_test(a_group_with_a_run_says_itself_how_it_ended),
        cmocka_unit_test(a_group_whose_own_run_fails_is_counted),
        cmocka_unit_test(tasks_of_a_group_run_side_by_side_up_to_its_limit),
        cmocka_unit_test(a_try_that_is_repeated_is_counted),
        cmocka_unit_test(stopped_tasks_and_those_that_never_ran_are_told_apart),
        cmocka_unit_test(one_that_waits_for_its_next_try_stops_at_once),
        cmocka_unit_test(
            one_that_does_not_stop_is_given_up_and_not_heard_any_more),
        cmocka_unit_test(the_stop_descriptor_is_judged_by_its_taker),
        cmocka_unit_test(what_a_task_says_is_bounded_and_its_end_is_kept),
        cmocka_unit_test(what_a_task_tells_is_cut_between_characters),
        cmocka_unit_test(without_a_view_and_without_tasks_it_works),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
