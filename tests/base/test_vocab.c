#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/vocab.h"

#include <string.h>

static void every_value_comes_back_from_its_name(void **state)
{
    (void)state;
    for (int i = 0; i < STATE_COUNT; i++)
        assert_int_equal(
            session_state_of(session_state_name((enum session_state)i)), i);
    for (int i = 0; i < REASON_COUNT; i++)
        assert_int_equal(end_reason_of(end_reason_name((enum end_reason)i)), i);
    for (int i = 0; i < ROLE_COUNT; i++)
        assert_int_equal(role_of(role_name((enum role)i)), i);
    for (int i = 0; i < EGRESS_COUNT; i++)
        assert_int_equal(egress_mode_of(egress_mode_name((enum egress_mode)i)),
                         i);
    for (int i = 0; i < BROKER_API_COUNT; i++)
        assert_int_equal(broker_api_of(broker_api_name((enum broker_api)i)), i);
}

static void the_words_are_those_of_the_protocol(void **state)
{
    (void)state;
    assert_string_equal(session_state_name(STATE_PENDING), "pending");
    assert_string_equal(session_state_name(STATE_ENDED), "ended");
    assert_string_equal(end_reason_name(REASON_NONE), "");
    assert_string_equal(end_reason_name(REASON_BUNDLE_REFUSED),
                        "bundle_refused");
    assert_string_equal(end_reason_name(REASON_RUNNER_LOST), "runner_lost");
    assert_string_equal(role_name(ROLE_CONTROL), "control");
    assert_int_equal(cage_mode_of("strict"), CAGE_STRICT);
    assert_int_equal(cage_mode_of("best"), CAGE_BEST);
    assert_int_equal(cage_mode_of("open"), CAGE_OPEN);
}

static void words_outside_the_tables_are_refused(void **state)
{
    static const char *const words[] = {"x",         "Owner", "owner ",
                                        "running\n", "end",   "exitedx"};

    (void)state;
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        assert_int_equal(session_state_of(words[i]), -1);
        assert_int_equal(end_reason_of(words[i]), -1);
        assert_int_equal(role_of(words[i]), -1);
        assert_int_equal(broker_api_of(words[i]), -1);
        assert_int_equal(cage_mode_of(words[i]), -1);
    }
    assert_int_equal(broker_api_of(NULL), -1);
    assert_int_equal(role_of(NULL), -1);
    assert_int_equal(role_of(""), -1);
    assert_int_equal(session_state_of(""), -1);
    assert_int_equal(end_reason_of(""), REASON_NONE);
}

static void values_outside_the_tables_have_a_name_all_the_same(void **state)
{
    (void)state;
    assert_string_equal(session_state_name(STATE_COUNT), "?");
    assert_string_equal(end_reason_name(REASON_COUNT), "?");
    assert_string_equal(role_name(ROLE_COUNT), "?");
    assert_string_equal(role_name((enum role) - 1), "?");
    assert_string_equal(broker_api_name(BROKER_API_COUNT), "?");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_value_comes_back_from_its_name),
        cmocka_unit_test(the_words_are_those_of_the_protocol),
        cmocka_unit_test(words_outside_the_tables_are_refused),
        cmocka_unit_test(values_outside_the_tables_have_a_name_all_the_same),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
