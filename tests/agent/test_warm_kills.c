/*
 * A warm agent is killed -9 while an activation comes, at moments spread over
 * all of it. Whatever was reached: there is no session yet and the agent is
 * warm, or there is that session whole, and a retry finds out which. Never
 * two, never a part of one.
 */
#include "agent/state.h"
#include "base/loop.h"
#include "base/mem.h"
#include "base/own.h"
#include "tests/lib/warmpost.h"

#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define KILLS 20
#define STEP_US 1000
#define SOON_MS 10000

static struct agentbox *box;

static int setup(void **arg)
{
    (void)arg;
    box = agentbox_new_warm("echo one; cat", NULL, 3600);
    agentbox_start_shim(box);
    return 0;
}

static int teardown(void **arg)
{
    (void)arg;
    agentbox_free(box);
    return 0;
}

static bool is_state_there(void)
{
    own_mem char *path = mem_printf("%s/agent/agent.state", box->dir);

    return state_is_there(path);
}

/* Every second time so much later, else once the session is kept: its answer
 * is not out then. */
static void wait_for_moment(int turn)
{
    const struct timespec t = {.tv_nsec = turn * STEP_US * 1000L};
    int64_t until = loop_now_ms() + SOON_MS;

    if (turn % 2 == 0)
        nanosleep(&t, NULL);
    else
        while (!is_state_there() && loop_now_ms() < until)
            ;
}

/* Say it until it is answered; under which key it was. */
static int say_again(const char *token, bool *is_session)
{
    int64_t until = loop_now_ms() + SOON_MS;
    int status = 0;

    while (loop_now_ms() < until) {
        *is_session = false;
        status = warm_post(box, token);
        if (status <= 0) {
            *is_session = true;
            status = warm_post_session(box, token);
        }
        if (status > 0 && status != 503)
            return status;
        poll(NULL, 0, 5);
    }
    return status;
}

/* There is one session, the token's, and it works. */
static void holds(void)
{
    struct agentlink *l = agentlink_new(box, ROLE_OWNER, 0);

    agentlink_expect(l, "one", SOON_MS);
    agentlink_says(l, "typed\n");
    agentlink_expect(l, "typed", SOON_MS);
    agentlink_free(l);
}

static void a_kill_at_any_moment_leaves_one_session_or_none(void **arg)
{
    int taken = 0, kept_before_answer = 0;

    (void)arg;
    for (int i = 0; i < KILLS; i++) {
        own_mem char *token = NULL, *other = NULL;
        struct wspeer *p;
        bool was_there, by_session;
        pid_t main;

        if (i)
            setup(NULL);
        main = agentbox_main(box, 0);
        setpriority(PRIO_PROCESS, (id_t)main, 19); /* we are faster then */
        token = warm_token(box, NULL);
        other = warm_token(box, NULL);
        p = warm_dial_pool(box);
        warm_head(p, strlen(token));
        wspeer_puts(p, token);
        wait_for_moment(i);
        kill(main, SIGKILL);
        agentbox_main(box, main); /* it is dead */
        was_there = is_state_there();
        if (warm_status(p) == 200)
            taken++;
        else if (was_there)
            kept_before_answer++;
        wspeer_free(p);
        assert_int_equal(say_again(token, &by_session), 200);
        /* what was kept before the kill is what the retry finds */
        assert_int_equal(by_session, was_there);
        assert_int_equal(say_again(other, &by_session), 409);
        holds();
        if (i < KILLS - 1)
            teardown(NULL);
    }
    print_message("%d of %d were answered, %d kept and not answered\n", taken,
                  KILLS, kept_before_answer);
}

/* From the request's last byte to the program's start. */
static void how_fast(void **arg)
{
    own_mem char *token = warm_token(box, NULL);
    int64_t from = loop_now_us(), answered;

    (void)arg;
    assert_int_equal(warm_post(box, token), 200);
    answered = loop_now_us();
    assert_true(agentbox_status(box, "running", SOON_MS));
    print_message("answered after %.1f ms, the program runs after %.1f ms\n",
                  (double)(answered - from) / 1000,
                  (double)(loop_now_us() - from) / 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            a_kill_at_any_moment_leaves_one_session_or_none, setup, teardown),
        cmocka_unit_test_setup_teardown(how_fast, setup, teardown),
        cmocka_unit_test_setup_teardown(how_fast, setup, teardown),
        cmocka_unit_test_setup_teardown(how_fast, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
