#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/err.h"

#include <errno.h>
#include <string.h>

static void filling_an_error_returns_minus_one(void **state)
{
    struct err e = {0};

    (void)state;
    assert_int_equal(err_set(&e, ERR_DENIED, "no %s", "way"), -1);
    assert_int_equal(e.kind, ERR_DENIED);
    assert_string_equal(e.text, "no way");
    assert_int_equal(err_set(NULL, ERR_DENIED, "nobody asks"), -1);
    assert_int_equal(err_sys(NULL, "nobody asks"), -1);
    assert_int_equal(err_wrap(NULL, "nobody asks"), -1);
}

static void a_system_error_tells_errno_and_keeps_it(void **state)
{
    struct err e = {0};

    (void)state;
    errno = ENOENT;
    assert_int_equal(err_sys(&e, "open %s", "x"), -1);
    assert_int_equal(errno, ENOENT);
    assert_int_equal(e.kind, ERR_SYSTEM);
    assert_string_equal(e.text, "open x: No such file or directory");
    errno = 0;
    err_sys(&e, "nothing set");
    assert_string_equal(e.text, "nothing set: Input/output error");
}

static void context_goes_before_the_text_and_the_kind_stays(void **state)
{
    struct err e = {0};

    (void)state;
    err_set(&e, ERR_BUSY, "inner");
    assert_int_equal(err_wrap(&e, "outer %d", 1), -1);
    assert_int_equal(e.kind, ERR_BUSY);
    assert_string_equal(e.text, "outer 1: inner");
}

static void a_long_text_is_cut_and_terminated(void **state)
{
    char text[2 * ERR_TEXT_MAX];
    struct err e = {0};

    (void)state;
    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = 0;
    err_set(&e, ERR_INPUT, "%s", text);
    assert_int_equal(strlen(e.text), ERR_TEXT_MAX - 1);
    err_wrap(&e, "head");
    assert_int_equal(strlen(e.text), ERR_TEXT_MAX - 1);
    assert_memory_equal(e.text, "head: xxx", 9);
    errno = ENOENT;
    err_sys(&e, "%s", text);
    assert_int_equal(strlen(e.text), ERR_TEXT_MAX - 1);
    err_wrap(&e, "%s", text);
    assert_int_equal(strlen(e.text), ERR_TEXT_MAX - 1);
}

static void kinds_have_the_codes_of_the_protocol(void **state)
{
    static const struct {
        enum err_kind kind;
        int http, ws;
        const char *word;
    } rows[] = {
        {ERR_NONE, 200, 1000, "ok"},
        {ERR_INPUT, 400, 4400, "bad_request"},
        {ERR_TOKEN, 401, 4401, "token"},
        {ERR_DENIED, 403, 4403, "denied"},
        {ERR_ABSENT, 404, 4403, "not_found"},
        {ERR_CONFLICT, 422, 4400, "conflict"},
        {ERR_REPLACED, 409, 4409, "replaced"},
        {ERR_ENDED, 409, 4410, "session_ended"},
        {ERR_TOO_LARGE, 413, 1009, "too_large"},
        {ERR_BUSY, 429, 4429, "busy"},
        {ERR_PEER, 502, 4502, "agent_lost"},
        {ERR_SYSTEM, 503, 4503, "unavailable"},
        {ERR_TIMEOUT, 504, 4504, "start_timeout"},
        {ERR_KIND_COUNT, 500, 1011, "internal"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        assert_int_equal(err_http_status(rows[i].kind), rows[i].http);
        assert_int_equal(err_ws_code(rows[i].kind), rows[i].ws);
        assert_string_equal(err_word(rows[i].kind), rows[i].word);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(filling_an_error_returns_minus_one),
        cmocka_unit_test(a_system_error_tells_errno_and_keeps_it),
        cmocka_unit_test(context_goes_before_the_text_and_the_kind_stays),
        cmocka_unit_test(a_long_text_is_cut_and_terminated),
        cmocka_unit_test(kinds_have_the_codes_of_the_protocol),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
