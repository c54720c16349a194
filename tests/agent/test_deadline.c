/* When a session ends by itself. */
#include "agent/deadline.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define START INT64_C(1000000)

static struct agent_spec spec;
static struct state_head head;
static struct deadline d;

static int setup(void **arg)
{
    (void)arg;
    spec = (struct agent_spec){.lifetime_s = 14400, .idle_s = 1800};
    head =
        (struct state_head){.started_mono_ms = START, .active_mono_ms = START};
    d = (struct deadline){0};
    return 0;
}

static enum deadline_verdict at(int64_t ms)
{
    return deadline_judge(&d, &spec, &head, START + ms);
}

static void an_idle_session_is_warned_once_and_ended(void **arg)
{
    (void)arg;
    assert_int_equal(at(0), DEADLINE_NONE);
    assert_int_equal(at(1739999), DEADLINE_NONE);
    assert_int_equal(at(1740000), DEADLINE_WARN_IDLE);
    assert_int_equal(at(1740001), DEADLINE_NONE);
    assert_int_equal(at(1799999), DEADLINE_NONE);
    assert_int_equal(at(1800000), DEADLINE_END_IDLE);
}

static void activity_begins_a_new_stretch(void **arg)
{
    (void)arg;
    assert_int_equal(at(1750000), DEADLINE_WARN_IDLE);
    head.active_mono_ms = START + 1750000;
    assert_int_equal(at(1750000), DEADLINE_NONE);
    assert_int_equal(at(1800000), DEADLINE_NONE);
    assert_int_equal(at(1750000 + 1740000), DEADLINE_WARN_IDLE);
    assert_int_equal(at(1750000 + 1800000), DEADLINE_END_IDLE);
}

static void a_short_idle_time_is_warned_of_at_its_half(void **arg)
{
    (void)arg;
    spec.idle_s = 10;
    assert_int_equal(at(0), DEADLINE_NONE);
    assert_int_equal(at(5000), DEADLINE_WARN_IDLE);
    head.active_mono_ms = START + 6000;
    assert_int_equal(at(6000), DEADLINE_NONE);
    assert_int_equal(at(11000), DEADLINE_WARN_IDLE);
    assert_int_equal(at(16000), DEADLINE_END_IDLE);
}

static void idle_zero_is_off(void **arg)
{
    (void)arg;
    spec.idle_s = 0;
    for (int64_t ms = 0; ms < 14340000; ms += 60000)
        assert_int_equal(at(ms), DEADLINE_NONE);
}

static void lifetime_is_warned_of_once_and_never_extended(void **arg)
{
    (void)arg;
    spec.idle_s = 0;
    head.active_mono_ms = START + 14390000;
    assert_int_equal(at(14339999), DEADLINE_NONE);
    assert_int_equal(at(14340000), DEADLINE_WARN_LIFETIME);
    assert_int_equal(at(14340001), DEADLINE_NONE);
    assert_int_equal(at(14399999), DEADLINE_NONE);
    assert_int_equal(at(14400000), DEADLINE_END_LIFETIME);
}

static void an_end_wins_over_a_warning(void **arg)
{
    (void)arg;
    spec.lifetime_s = 1830;
    /* both ends are near: each is told once, on its own turn */
    assert_int_equal(at(1770000), DEADLINE_WARN_LIFETIME);
    assert_int_equal(at(1770001), DEADLINE_WARN_IDLE);
    assert_int_equal(at(1770002), DEADLINE_NONE);
    assert_int_equal(at(1800000), DEADLINE_END_IDLE);
    assert_int_equal(at(1830000), DEADLINE_END_LIFETIME);
    d = (struct deadline){0};
    assert_int_equal(at(1830000), DEADLINE_END_LIFETIME);
}

static void the_longest_times_do_not_overflow(void **arg)
{
    (void)arg;
    spec.lifetime_s = spec.idle_s = 86400;
    head.started_mono_ms = head.active_mono_ms = INT64_C(1) << 52;
    assert_int_equal(deadline_judge(&d, &spec, &head, INT64_C(1) << 52),
                     DEADLINE_NONE);
}

static void says(enum deadline_verdict v, const char *want)
{
    char text[DEADLINE_TEXT_MAX];

    deadline_say(&d, v, text);
    assert_string_equal(text, want);
}

static void the_rest_that_is_told_is_the_real_one(void **arg)
{
    (void)arg;
    assert_int_equal(at(14340000), DEADLINE_END_IDLE);
    spec.idle_s = 0;
    assert_int_equal(at(14340010), DEADLINE_WARN_LIFETIME);
    says(DEADLINE_WARN_LIFETIME, "The session's lifetime is over in a minute.");
    setup(NULL);
    spec.lifetime_s = 1;
    assert_int_equal(at(0), DEADLINE_WARN_LIFETIME);
    says(DEADLINE_WARN_LIFETIME, "The session's lifetime is over in 1 second.");
    setup(NULL);
    spec.idle_s = 10;
    assert_int_equal(at(5000), DEADLINE_WARN_IDLE);
    says(DEADLINE_WARN_IDLE, "The session is idle and ends in 5 seconds. Press "
                             "a key to keep it.");
}

#define T(name) cmocka_unit_test_setup(name, setup)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(an_idle_session_is_warned_once_and_ended),
        T(activity_begins_a_new_stretch),
        T(a_short_idle_time_is_warned_of_at_its_half),
        T(idle_zero_is_off),
        T(lifetime_is_warned_of_once_and_never_extended),
        T(an_end_wins_over_a_warning),
        T(the_longest_times_do_not_overflow),
        T(the_rest_that_is_told_is_the_real_one),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
