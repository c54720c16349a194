/* What a Job says of its session; what is none, or a stranger's, is refused. */
#include "controller/jobview.h"

#include "base/mem.h"
#include "base/own.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define SID "abcdefghijklmnopqrstuvwxyz"
#define OURS "\"podterm.dev/session\":\"" SID "\""
#define JOB(labels, more, status)                                              \
    "{\"metadata\":{\"name\":\"s-x\",\"uid\":\"u1\",\"labels\":{" labels       \
    "}" more "},\"status\":{\"conditions\":[" status "]}}"
#define COND(type, value, reason)                                              \
    "{\"type\":\"" type "\",\"status\":\"" value "\",\"reason\":\"" reason     \
    "\",\"message\":\"why\"}"
#define LONG8(x) x x x x x x x x

static struct json *held;
static struct jobview v;

static int teardown(void **arg)
{
    (void)arg;
    json_free(held);
    held = NULL;
    return 0;
}

static int view(const char *text)
{
    struct err e = {0};

    json_free(held);
    held = json_parse(text, strlen(text), &e);
    if (!held)
        fail_msg("%s", e.text);
    return jobview_of(held, &v, &e);
}

static void a_sessions_job_says_whose_it_is(void **arg)
{
    (void)arg;
    assert_int_equal(
        view(JOB(OURS,
                 ",\"annotations\":{\"podterm.dev/record\":\"r\","
                 "\"podterm.dev/trust\":\"t\"},\"deletionTimestamp\":\"x\"",
                 "")),
        0);
    assert_string_equal(v.sid, SID);
    assert_string_equal(v.name, "s-x");
    assert_string_equal(v.uid, "u1");
    assert_string_equal(v.record, "r");
    assert_string_equal(v.trust, "t");
    assert_string_equal(v.pool, "");
    assert_true(v.is_leaving);
    assert_false(v.is_finished);
}

static void a_warm_one_is_a_pools_and_nobodys(void **arg)
{
    (void)arg;
    assert_int_equal(view(JOB("\"podterm.dev/pool\":\"p\"", "", "")), 0);
    assert_string_equal(v.sid, "");
    assert_string_equal(v.pool, "p");
    assert_null(v.record);
    assert_null(v.trust);
}

static void its_conditions_are_read(void **arg)
{
    static const struct {
        const char *text;
        bool is_ending, is_finished, is_failed, is_late;
        const char *message;
    } cases[] = {
        {JOB(OURS, "", ""), false, false, false, false, ""},
        {JOB(OURS, "", COND("SuccessCriteriaMet", "True", "")), true, false,
         false, false, ""},
        {JOB(OURS, "", COND("Complete", "True", "")), true, true, false, false,
         ""},
        {JOB(OURS, "", COND("Complete", "False", "")), false, false, false,
         false, ""},
        {JOB(OURS, "", COND("Failed", "True", "BackoffLimitExceeded")), true,
         true, true, false, "why"},
        {JOB(OURS, "", COND("Failed", "True", "DeadlineExceeded")), true, true,
         true, true, "why"},
        /* its pods are being ended: it is not over yet */
        {JOB(OURS, "", COND("FailureTarget", "True", "DeadlineExceeded")), true,
         false, false, true, "why"},
        {JOB(OURS, "", COND("Suspended", "True", "DeadlineExceeded")), false,
         false, false, false, ""},
    };

    (void)arg;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(view(cases[i].text), 0);
        assert_int_equal(v.is_ending, cases[i].is_ending);
        assert_int_equal(v.is_finished, cases[i].is_finished);
        assert_int_equal(v.is_failed, cases[i].is_failed);
        assert_int_equal(v.is_late, cases[i].is_late);
        assert_string_equal(v.message, cases[i].message);
    }
}

static void what_is_none_is_refused_and_changes_nothing(void **arg)
{
    static const char *const bad[] = {
        "{}",
        "{\"metadata\":7}",
        JOB("", "", ""),                                 /* somebody's */
        JOB("\"podterm.dev/session\":\"../x\"", "", ""), /* no id */
        JOB("\"podterm.dev/session\":\"../x\",\"podterm.dev/pool\":\"p\"", "",
            ""),
        "{\"metadata\":{\"name\":\"s-x\",\"labels\":{" OURS "}}}",
        "{\"metadata\":{\"uid\":\"u\",\"labels\":{" OURS "}}}",
        "{\"metadata\":{\"name\":\"\",\"uid\":\"u\",\"labels\":{" OURS "}}}",
        "{\"metadata\":{\"name\":\"n\",\"uid\":\"" LONG8(
            "12345678") "\",\"labels\":{" OURS "}}}",
        "{\"metadata\":{\"name\":\"" LONG8(
            "12345678") "\",\"uid\":\"u\",\"labels\":{" OURS "}}}",
    };

    (void)arg;
    memset(&v, 0x55, sizeof v);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(view(bad[i]), -1);
        assert_int_equal(v.name[0], 0x55);
    }
}

static void what_it_says_is_cut_where_it_must_be(void **arg)
{
    own_mem char *text = mem_printf(
        "{\"metadata\":{\"name\":\"n\",\"uid\":\"u\",\"labels\":{" OURS
        "}},\"status\":{\"conditions\":[{\"type\":\"Failed\",\"status\":"
        "\"True\",\"message\":\"%0*d\"}]}}",
        5000, 1);

    (void)arg;
    assert_int_equal(view(text), 0);
    assert_int_equal(strlen(v.message), sizeof v.message - 1);
}

#define T(t) cmocka_unit_test_teardown(t, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(a_sessions_job_says_whose_it_is),
        T(a_warm_one_is_a_pools_and_nobodys),
        T(its_conditions_are_read),
        T(what_is_none_is_refused_and_changes_nothing),
        T(what_it_says_is_cut_where_it_must_be),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
