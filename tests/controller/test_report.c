/* How an end is judged from what a session's processes left. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "controller/report.h"

#include "base/layer.h"

#include <stdio.h>
#include <string.h>

static struct err e;

static int parse(const char *text, struct launch_end *out)
{
    memset(&e, 0, sizeof e);
    return report_parse(text, strlen(text), out, &e);
}

static void whole_report_is_taken(void **state)
{
    struct launch_end end;

    (void)state;
    assert_int_equal(parse("{\"v\":1,\"reason\":\"exited\",\"exit_code\":3,"
                           "\"detail\":\"d\",\"started_ms\":10,"
                           "\"ended_ms\":20,\"output_bytes\":7,"
                           "\"input_bytes\":8,\"cage\":[\"calls\",\"files\"]}",
                           &end),
                     0);
    assert_int_equal(end.reason, REASON_EXITED);
    assert_true(end.has_exit);
    assert_int_equal(end.exit_code, 3);
    assert_int_equal(end.output_bytes, 7);
    assert_int_equal(end.input_bytes, 8);
    assert_int_equal(end.layers, LAYER_KNOWN | LAYER_CALLS | LAYER_FILES);
    assert_int_equal(end.started_ms, 10);
}

static void signal_gives_the_code_a_shell_would(void **state)
{
    struct launch_end end;

    (void)state;
    assert_int_equal(
        parse("{\"v\":1,\"reason\":\"signalled\",\"signal\":9}", &end), 0);
    assert_int_equal(end.exit_signal, 9);
    assert_int_equal(end.exit_code, 137);
    assert_true(end.has_exit);
}

static void report_that_is_not_whole_is_refused(void **state)
{
    static const char *const bad[] = {
        "{\"v\":1,\"reason\":\"exited\",\"cage\":[\"walls\"]}",
        "{\"v\":1,\"reason\":\"exited\",\"cage\":\"calls\"}",
        "",
        "{",
        "[]",
        "{\"v\":2,\"reason\":\"exited\"}",
        "{\"reason\":\"exited\"}",
        "{\"v\":1}",
        "{\"v\":1,\"reason\":\"\"}",
        "{\"v\":1,\"reason\":\"gone fishing\"}",
        "{\"v\":1,\"reason\":\"exited\",\"exit_code\":256}",
        "{\"v\":1,\"reason\":\"exited\",\"exit_code\":-1}",
        "{\"v\":1,\"reason\":\"exited\",\"exit_code\":\"0\"}",
        "{\"v\":1,\"reason\":\"exited\",\"signal\":65}",
        "{\"v\":1,\"reason\":\"exited\",\"detail\":5}",
        "{\"v\":1,\"reason\":\"exited\",\"output_bytes\":-1}",
        "{\"v\":1,\"reason\":\"exited\",\"owner\":\"x\"}",
        "{\"v\":1,\"reason\":\"exited\",\"reason\":\"deleted\"}",
    };
    struct launch_end end;

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(parse(bad[i], &end), -1);
        assert_int_equal(e.kind, ERR_INPUT);
    }
}

static void report_past_its_limit_is_refused(void **state)
{
    char text[REPORT_MAX + 64];
    struct launch_end end;
    int n = snprintf(text, sizeof text, "{\"v\":1,\"reason\":\"exited\"}");

    (void)state;
    memset(text + n, ' ', sizeof text - (size_t)n);
    memset(&e, 0, sizeof e);
    assert_int_equal(report_parse(text, REPORT_MAX, &end, &e), 0);
    assert_int_equal(report_parse(text, REPORT_MAX + 1, &end, &e), -1);
}

static void detail_is_cut_to_its_place(void **state)
{
    char text[REPORT_MAX];
    struct launch_end end;
    int n = snprintf(text, sizeof text,
                     "{\"v\":1,\"reason\":\"exited\",\"detail\":\"");

    (void)state;
    memset(text + n, 'a', 600);
    snprintf(text + n + 600, sizeof text - (size_t)n - 600, "\"}");
    assert_int_equal(parse(text, &end), 0);
    assert_int_equal(strlen(end.detail), sizeof end.detail - 1);
}

static void runner_exit_is_strict(void **state)
{
    static const char good[] = "{\"status\":\"exited\",\"value\":72}";
    static const char *const bad[] = {
        "{\"status\":\"exited\"}", "{\"status\":\"left\",\"value\":0}",
        "{\"status\":\"exited\",\"value\":256}", "1", ""};
    struct runner_exit r = {0};

    (void)state;
    memset(&e, 0, sizeof e);
    assert_int_equal(runner_parse(good, strlen(good), &r, &e), 0);
    assert_true(r.is_known);
    assert_false(r.is_signalled);
    assert_int_equal(r.value, 72);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(runner_parse(bad[i], strlen(bad[i]), &r, &e), -1);
}

struct judged {
    const char *report; /* NULL = none */
    struct runner_exit runner;
    enum end_reason wanted;
    enum end_reason reason; /* expected */
    int exit_code;          /* expected; -1 = none */
};

#define EXITED(n)                                                              \
    {                                                                          \
        true, false, n                                                         \
    }
#define SIGNALLED(n)                                                           \
    {                                                                          \
        true, true, n                                                          \
    }
#define UNKNOWN                                                                \
    {                                                                          \
        false, false, 0                                                        \
    }

static const struct judged cases[] = {
    /* the program's own end */
    {"exited", EXITED(0), REASON_NONE, REASON_EXITED, 3},
    {"exited", UNKNOWN, REASON_NONE, REASON_EXITED, 3},
    {"exited", EXITED(0), REASON_DELETED, REASON_EXITED, 3},
    {"deleted", EXITED(0), REASON_NONE, REASON_DELETED, 3},
    {"idle", EXITED(0), REASON_NONE, REASON_IDLE, 3},
    /* the platform's word comes first */
    {"exited", SIGNALLED(9), REASON_NONE, REASON_RUNNER_LOST, -1},
    {"exited", EXITED(1), REASON_NONE, REASON_RUNNER_LOST, -1},
    {"exited", EXITED(LEAVE_STOPPED), REASON_NONE, REASON_RUNNER_LOST, -1},
    {"exited", EXITED(LEAVE_NO_AGENT), REASON_NONE, REASON_RUNNER_LOST, -1},
    {"exited", EXITED(LEAVE_BUNDLE_REFUSED), REASON_NONE, REASON_BUNDLE_REFUSED,
     -1},
    {"bundle_refused", EXITED(LEAVE_BUNDLE_REFUSED), REASON_NONE,
     REASON_BUNDLE_REFUSED, 3},
    {"start_failed", EXITED(LEAVE_START_FAILED), REASON_NONE,
     REASON_START_FAILED, 3},
    {"bundle_refused", EXITED(LEAVE_STOPPED), REASON_NONE, REASON_RUNNER_LOST,
     -1},
    {"start_failed", SIGNALLED(9), REASON_NONE, REASON_RUNNER_LOST, -1},
    {"deleted", SIGNALLED(9), REASON_NONE, REASON_RUNNER_LOST, -1},
    /* no report */
    {NULL, EXITED(0), REASON_NONE, REASON_RUNNER_LOST, -1},
    {NULL, UNKNOWN, REASON_NONE, REASON_RUNNER_LOST, -1},
    {NULL, SIGNALLED(9), REASON_NONE, REASON_RUNNER_LOST, -1},
    /* what we did ourselves */
    {NULL, SIGNALLED(9), REASON_DELETED, REASON_DELETED, -1},
    {NULL, UNKNOWN, REASON_START_FAILED, REASON_START_FAILED, -1},
    {"exited", EXITED(LEAVE_STOPPED), REASON_DELETED, REASON_DELETED, -1},
    {"deleted", EXITED(LEAVE_STOPPED), REASON_DELETED, REASON_DELETED, 3},
    {NULL, EXITED(0), REASON_LIFETIME, REASON_LIFETIME, -1},
};

/* There was nothing that a runner's exit could tell of. */
static const struct judged before_a_program[] = {
    {"bundle_refused", EXITED(LEAVE_BUNDLE_REFUSED), REASON_NONE,
     REASON_BUNDLE_REFUSED, 3},
    {"start_failed", EXITED(LEAVE_STOPPED), REASON_NONE, REASON_START_FAILED,
     3},
    {"start_failed", EXITED(LEAVE_NO_AGENT), REASON_NONE, REASON_START_FAILED,
     3},
    {"start_failed", SIGNALLED(9), REASON_NONE, REASON_START_FAILED, 3},
    {"bundle_refused", EXITED(LEAVE_STOPPED), REASON_NONE,
     REASON_BUNDLE_REFUSED, 3},
    {"bundle_refused", EXITED(LEAVE_NO_AGENT), REASON_NONE,
     REASON_BUNDLE_REFUSED, 3},
    {"bundle_refused", EXITED(1), REASON_NONE, REASON_BUNDLE_REFUSED, 3},
    {"bundle_refused", SIGNALLED(15), REASON_NONE, REASON_BUNDLE_REFUSED, 3},
    {"bundle_refused", SIGNALLED(9), REASON_DELETED, REASON_BUNDLE_REFUSED, 3},
    {"deleted", SIGNALLED(15), REASON_NONE, REASON_DELETED, 3},
    {"idle", SIGNALLED(15), REASON_NONE, REASON_RUNNER_LOST, -1},
    {"runner_lost", SIGNALLED(15), REASON_NONE, REASON_RUNNER_LOST, 3},
    {"runner_lost", SIGNALLED(15), REASON_DELETED, REASON_DELETED, -1},
    {"exited", SIGNALLED(15), REASON_NONE, REASON_RUNNER_LOST, -1},
};

static void judge(const struct judged *c, size_t i, int64_t started_ms)
{
    struct launch_end report = {
        .has_exit = true, .exit_code = 3, .started_ms = started_ms};
    struct launch_end end;

    report.reason = c->report ? (enum end_reason)end_reason_of(c->report) : 0;
    report_judge(c->report ? &report : NULL, &c->runner, c->wanted, "w", 1000,
                 &end);
    if (end.reason != c->reason)
        fail_msg("case %zu: %s", i, end_reason_name(end.reason));
    assert_int_equal(end.has_exit ? end.exit_code : -1, c->exit_code);
    assert_int_equal(end.ended_ms, 1000);
}

static void every_end_is_judged_by_the_table(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        judge(&cases[i], i, 500);
}

static void an_end_before_a_program_stands_however_the_runner_went(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof before_a_program / sizeof *before_a_program;
         i++)
        judge(&before_a_program[i], i, 0);
}

static void strangers_clock_is_not_believed(void **state)
{
    struct launch_end report = {
        .reason = REASON_EXITED, .started_ms = 5000, .ended_ms = 9000};
    struct runner_exit clean = EXITED(0);
    struct launch_end end;

    (void)state;
    report_judge(&report, &clean, REASON_NONE, "", 1000, &end);
    assert_int_equal(end.ended_ms, 1000);
    assert_int_equal(end.started_ms, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_report_is_taken),
        cmocka_unit_test(signal_gives_the_code_a_shell_would),
        cmocka_unit_test(report_that_is_not_whole_is_refused),
        cmocka_unit_test(report_past_its_limit_is_refused),
        cmocka_unit_test(detail_is_cut_to_its_place),
        cmocka_unit_test(runner_exit_is_strict),
        cmocka_unit_test(every_end_is_judged_by_the_table),
        cmocka_unit_test(
            an_end_before_a_program_stands_however_the_runner_went),
        cmocka_unit_test(strangers_clock_is_not_believed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
