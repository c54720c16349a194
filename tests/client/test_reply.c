/* What a server tells in JSON, and what a user makes of it. */
#include "client/reply.h"

#include "client/command.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void ready_needs_its_offsets_and_windows(void **arg)
{
    static const char *const bad[] = {
        "{}",
        "[]",
        "x",
        "",
        "{\"output_from\":0,\"input_received\":0,\"window\":1}",
        "{\"output_from\":-1,\"input_received\":0,\"window\":1,"
        "\"input_window\":1}",
        "{\"output_from\":0,\"input_received\":0.5,\"window\":1,"
        "\"input_window\":1}",
        "{\"output_from\":0,\"input_received\":0,\"window\":0,"
        "\"input_window\":1}",
        "{\"output_from\":0,\"input_received\":0,\"window\":1,"
        "\"input_window\":99999999}",
    };
    static const char good[] =
        "{\"sid\":\"x\",\"output_from\":5,\"input_received\":6,\"window\":7,"
        "\"input_window\":8,\"isolation\":\"full\",\"later\":[1]}";
    struct reply_ready r;
    struct err e = {0};

    (void)arg;
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
        assert_int_equal(reply_ready(bad[i], strlen(bad[i]), &r, &e), -1);
    assert_int_equal(reply_ready(good, strlen(good), &r, &e), 0);
    assert_int_equal(r.output_from, 5);
    assert_int_equal(r.input_received, 6);
    assert_int_equal(r.window, 7);
    assert_int_equal(r.input_window, 8);
    assert_true(r.is_isolated);
}

static void stages_are_taken_as_far_as_they_make_sense(void **arg)
{
    static const char text[] =
        "{\"stage\":\"fetch\",\"state\":\"running\",\"ms\":-4,\"done\":3,"
        "\"total\":0,\"detail\":7}";
    struct reply_stage st;
    struct err e = {0};

    (void)arg;
    assert_int_equal(reply_stage(text, strlen(text), &st, &e), 0);
    assert_string_equal(st.stage, "fetch");
    assert_int_equal(st.ms, 0);
    assert_int_equal(st.done, 3);
    assert_int_equal(st.total, -1);
    assert_string_equal(st.detail, "");
}

static void errors_are_known_by_their_word(void **arg)
{
    static const char text[] =
        "{\"code\":\"busy\",\"message\":\"later\",\"retry_after_ms\":1500}";
    static const char ended[] =
        "{\"code\":\"session_ended\",\"message\":\"m\",\"reason\":\"exited\","
        "\"exit_code\":9,\"output_end\":77,\"detail\":\"why\"}";
    static const char odd[] = "{\"code\":\"new_word\"}";
    struct reply_error error;
    struct err e = {0};

    (void)arg;
    assert_int_equal(reply_error(text, strlen(text), &error, &e), 0);
    assert_int_equal(error.kind, ERR_BUSY);
    assert_int_equal(error.retry_after_ms, 1500);
    assert_string_equal(error.message, "later");
    assert_int_equal(reply_error(ended, strlen(ended), &error, &e), 0);
    assert_int_equal(error.kind, ERR_ENDED);
    assert_int_equal(error.end.code, 9);
    assert_int_equal(error.end.output_end, 77);
    assert_string_equal(error.end.detail, "why");
    assert_int_equal(reply_status(&error.end), 9);
    assert_int_equal(reply_error(odd, strlen(odd), &error, &e), 0);
    assert_int_equal(error.kind, ERR_NONE);
}

static struct reply_end end_of(const char *text)
{
    struct reply_end end;
    struct err e = {0};

    assert_int_equal(reply_exit(text, strlen(text), &end, &e), 0);
    return end;
}

static void the_status_is_the_programs_own(void **arg)
{
    static const struct {
        const char *text;
        int status;
    } table[] = {
        {"{\"reason\":\"exited\",\"code\":0}", 0},
        {"{\"reason\":\"exited\",\"code\":125}", 125},
        {"{\"reason\":\"exited\",\"code\":256}", EXIT_PODTERM},
        {"{\"reason\":\"exited\"}", EXIT_PODTERM},
        {"{\"reason\":\"signalled\",\"signal\":9}", 137},
        {"{\"reason\":\"signalled\",\"code\":143}", 143},
        {"{\"reason\":\"signalled\",\"signal\":0}", EXIT_PODTERM},
        {"{\"reason\":\"idle\",\"signal\":1}", EXIT_PODTERM},
        {"{\"reason\":\"lifetime\",\"code\":0}", EXIT_PODTERM},
        {"{\"reason\":\"deleted\"}", EXIT_PODTERM},
        {"{\"reason\":\"bundle_refused\"}", EXIT_PODTERM},
        {"{\"reason\":\"something\",\"code\":0}", EXIT_PODTERM},
        {"{}", EXIT_PODTERM},
    };

    (void)arg;
    for (size_t i = 0; i < sizeof(table) / sizeof(*table); i++) {
        struct reply_end end = end_of(table[i].text);

        assert_int_equal(reply_status(&end), table[i].status);
    }
}

static void every_end_but_an_exit_is_told_in_a_sentence(void **arg)
{
    struct reply_end end = end_of("{\"reason\":\"exited\",\"code\":1}");
    char text[600];

    (void)arg;
    reply_sentence(&end, text, sizeof(text));
    assert_string_equal(text, "");
    end = end_of("{\"reason\":\"signalled\",\"signal\":9}");
    reply_sentence(&end, text, sizeof(text));
    assert_string_equal(text, "the program was ended by signal 9 (Killed)");
    end = end_of("{\"reason\":\"bundle_refused\",\"detail\":\"no\"}");
    reply_sentence(&end, text, sizeof(text));
    assert_string_equal(
        text, "the bundle was refused: no (its program was not started)");
    end = end_of("{\"reason\":\"bundle_refused\",\"detail\":\"It was not.\"}");
    reply_sentence(&end, text, sizeof(text));
    assert_string_equal(text, "the bundle was refused: It was not (its program "
                              "was not started)");
    for (int r = REASON_SIGNALLED + 1; r < REASON_COUNT; r++) {
        end = (struct reply_end){.reason = r, .code = -1};
        reply_sentence(&end, text, sizeof(text));
        assert_true(strlen(text) > 10);
        assert_null(strstr(text, "no reason was told"));
    }
    end = end_of("{\"reason\":\"new\"}");
    reply_sentence(&end, text, sizeof(text));
    assert_string_equal(text, "the session has ended (new)");
}

static void a_record_tells_its_end_once_it_has_one(void **arg)
{
    static const char live[] = "{\"state\":\"running\",\"exit_code\":3}";
    static const char ended[] =
        "{\"state\":\"ended\",\"reason\":\"exited\",\"exit_code\":3,"
        "\"output_bytes\":12}";
    struct err e = {0};
    own_json struct json *a = json_parse(live, strlen(live), &e);
    own_json struct json *b = json_parse(ended, strlen(ended), &e);
    struct reply_end end;

    (void)arg;
    assert_false(reply_record(NULL, &end));
    assert_false(reply_record(a, &end));
    assert_true(reply_record(b, &end));
    assert_int_equal(reply_status(&end), 3);
    assert_int_equal(end.output_end, 12);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ready_needs_its_offsets_and_windows),
        cmocka_unit_test(stages_are_taken_as_far_as_they_make_sense),
        cmocka_unit_test(errors_are_known_by_their_word),
        cmocka_unit_test(the_status_is_the_programs_own),
        cmocka_unit_test(every_end_but_an_exit_is_told_in_a_sentence),
        cmocka_unit_test(a_record_tells_its_end_once_it_has_one),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
