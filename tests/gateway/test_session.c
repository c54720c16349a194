/* Tests gateway/session.c: every pair of the table. */
#include "gateway/session.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* The pairs with a meaning; every other pair must end in DEAD, DROP (while
 * alive), or change nothing (CLOSING, DEAD). */
static const struct {
    enum session_phase phase;
    enum session_event event;
    enum session_phase next;
    enum session_action action;
} known[] = {
#define K(p, e, n, a)                                                          \
    {SESSION_##p, SESSION_ON_##e, SESSION_##n, SESSION_DO_##a},
    /* clang-format off */
    K(HEAD, UPGRADED, HELLO, GREET)
    K(HEAD, REFUSED, CLOSING, REFUSE)
    K(HELLO, GREETED, CHECKING, CHECK)
    K(HELLO, REFUSED, CLOSING, REFUSE)
    K(HELLO, DEADLINE, CLOSING, REFUSE)
    K(CHECKING, PENDING, WAITING, WAIT)
    K(CHECKING, ADDRESS, DIALING, DIAL)
    K(CHECKING, ENDED, CLOSING, REFUSE)
    K(CHECKING, REFUSED, CLOSING, REFUSE)
    K(CHECKING, DEADLINE, CLOSING, REFUSE)
    K(WAITING, ADDRESS, DIALING, DIAL)
    K(WAITING, ENDED, CLOSING, REFUSE)
    K(WAITING, REFUSED, CLOSING, REFUSE)
    K(WAITING, DEADLINE, CLOSING, REFUSE)
    K(DIALING, AGENT_UP, OPEN, RELAY)
    K(DIALING, AGENT_GONE, ENDING, ASK_END)
    K(DIALING, DEADLINE, ENDING, ASK_END)
    K(DIALING, REFUSED, CLOSING, REFUSE)
    K(OPEN, AGENT_GONE, ENDING, ASK_END)
    K(OPEN, REFUSED, CLOSING, REFUSE)
    K(ENDING, ENDED, CLOSING, REFUSE)
    K(ENDING, REFUSED, CLOSING, REFUSE)
    K(ENDING, DEADLINE, CLOSING, REFUSE)
    /* clang-format on */
};

static void expect(enum session_phase p, enum session_event e,
                   enum session_phase *next, enum session_action *action)
{
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        if (known[i].phase == p && known[i].event == e) {
            *next = known[i].next;
            *action = known[i].action;
            return;
        }
    }
    *next = SESSION_DEAD;
    *action = SESSION_DO_DROP;
    if (p == SESSION_DEAD)
        *action = SESSION_DO_NOTHING;
    if (p == SESSION_CLOSING && e != SESSION_ON_CLIENT_GONE &&
        e != SESSION_ON_DEADLINE) {
        *next = SESSION_CLOSING;
        *action = SESSION_DO_NOTHING;
    }
}

static void every_pair_is_as_written_down(void **state)
{
    (void)state;
    for (int p = 0; p < SESSION_PHASE_COUNT; p++) {
        for (int e = 0; e < SESSION_EVENT_COUNT; e++) {
            enum session_phase phase = (enum session_phase)p, next;
            enum session_action got, action;

            expect(phase, (enum session_event)e, &next, &action);
            got = session_step(&phase, (enum session_event)e);
            if (phase != next || got != action)
                fail_msg("%s, event %d: %s, action %d",
                         session_phase_name((enum session_phase)p), e,
                         session_phase_name(phase), got);
        }
    }
}

static void a_client_that_leaves_ends_every_phase(void **state)
{
    (void)state;
    for (int p = 0; p < SESSION_PHASE_COUNT; p++) {
        enum session_phase phase = (enum session_phase)p;

        session_step(&phase, SESSION_ON_CLIENT_GONE);
        assert_int_equal(phase, SESSION_DEAD);
    }
}

static void dead_is_final_and_dropped_once(void **state)
{
    enum session_phase phase = SESSION_OPEN;

    (void)state;
    assert_int_equal(session_step(&phase, SESSION_ON_CLIENT_GONE),
                     SESSION_DO_DROP);
    for (int e = 0; e < SESSION_EVENT_COUNT; e++) {
        assert_int_equal(session_step(&phase, (enum session_event)e),
                         SESSION_DO_NOTHING);
        assert_int_equal(phase, SESSION_DEAD);
    }
}

static void nothing_is_dialled_before_the_token_is_spent(void **state)
{
    /* only CHECKING and WAITING lead to a dial, and only GREETED to CHECKING */
    (void)state;
    for (int p = 0; p < SESSION_PHASE_COUNT; p++) {
        for (int e = 0; e < SESSION_EVENT_COUNT; e++) {
            enum session_phase phase = (enum session_phase)p;
            enum session_action a = session_step(&phase, (enum session_event)e);

            if (a == SESSION_DO_DIAL)
                assert_true(p == SESSION_CHECKING || p == SESSION_WAITING);
            if (a == SESSION_DO_CHECK)
                assert_true(p == SESSION_HELLO && e == SESSION_ON_GREETED);
        }
    }
}

static void phases_have_names(void **state)
{
    (void)state;
    assert_string_equal(session_phase_name(SESSION_HEAD), "HEAD");
    assert_string_equal(session_phase_name(SESSION_DEAD), "DEAD");
    assert_string_equal(session_phase_name(SESSION_PHASE_COUNT), "?");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_pair_is_as_written_down),
        cmocka_unit_test(a_client_that_leaves_ends_every_phase),
        cmocka_unit_test(dead_is_final_and_dropped_once),
        cmocka_unit_test(nothing_is_dialled_before_the_token_is_spent),
        cmocka_unit_test(phases_have_names),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
