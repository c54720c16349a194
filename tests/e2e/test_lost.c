/*
 * A session that ends without a word: the agent cannot say why, so the client
 * asks the record, and its user is not held up by that.
 */
#include "base/loop.h"
#include "tests/lib/desk.h"
#include "tests/lib/stackproc.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define SOON_MS 15000  /* generous: machines are busy */
#define BEFORE_MS 4000 /* the client gives up by itself later than that */

static void kill_shim(void)
{
    const pid_t shim = stackproc_find(desk.stack, desk_session(), PART_SHIM);

    assert_true(shim > 0);
    kill(shim, SIGKILL);
}

static void a_lost_session_is_told_as_its_record_does(void **arg)
{
    (void)arg;
    desk_run(NULL, "echo go; sleep 100");
    seat_expect(&desk.seat, "go\r\n", SOON_MS);
    kill_shim();
    desk_expect_end(125, SOON_MS);
    seat_expect(&desk.seat, "the session was lost", 0);
}

/* The terminal is its user's while the record is asked. */
static void ctrl_c_ends_the_asking_for_a_lost_sessions_end(void **arg)
{
    const int64_t until = loop_now_ms() + SOON_MS;
    pid_t controller;

    (void)arg;
    desk_run(NULL, "echo go; sleep 100");
    seat_expect(&desk.seat, "go\r\n", SOON_MS);
    assert_int_equal(
        stack_pids(desk.stack, "podterm-controller", NULL, &controller, 1), 1);
    kill(controller, SIGSTOP);
    kill_shim();
    while (!seat_is_restored(&desk.seat) && loop_now_ms() < until)
        seat_pass(&desk.seat, 20);
    seat_say(&desk.seat, "\003");
    desk_expect_end(125, BEFORE_MS);
    kill(controller, SIGCONT);
    seat_expect(&desk.seat, "the session was lost", 0);
}

#define T(f) cmocka_unit_test_teardown(f, desk_leave)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(a_lost_session_is_told_as_its_record_does),
        T(ctrl_c_ends_the_asking_for_a_lost_sessions_end),
    };

    return cmocka_run_group_tests(tests, desk_setup, desk_teardown);
}
