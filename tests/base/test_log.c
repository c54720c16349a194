/* Logging: one JSON object a line, whatever is put into it. */
#include "base/json.h"
#include "base/log.h"

#include <limits.h>
#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#define WRITERS 4
#define LINES_EACH 200

static int out_fd; /* read end of what the log writes */
static int in_fd;
static char line[16384];

static int catch (void **state)
{
    int ends[2];

    (void)state;
    assert_return_code(pipe(ends), 0);
    out_fd = ends[0];
    in_fd = ends[1];
    log_fd(in_fd);
    assert_int_equal(log_init("test", "debug"), 0);
    log_session("");
    return 0;
}

static int uncatch(void **state)
{
    (void)state;
    log_fd(2);
    close(out_fd);
    close(in_fd);
    return 0;
}

/* What was written last, parsed; the test fails when it is not one line of
 * one object. */
static struct json *take(void)
{
    struct err e = {0};
    ssize_t n = read(out_fd, line, sizeof(line) - 1);
    struct json *j;

    assert_true(n > 0);
    line[n] = 0;
    assert_int_equal(line[n - 1], '\n');
    assert_ptr_equal(strchr(line, '\n'), line + n - 1);
    j = json_parse(line, (size_t)n - 1, &e);
    assert_string_equal(e.text, "");
    assert_true(json_is_object(j));
    return j;
}

static void a_line_has_time_level_part_event_and_its_fields(void **state)
{
    own_json struct json *j = NULL;
    int64_t n;
    bool b;

    (void)state;
    log_warn("session.open", "role", "s", "owner", "bytes", "i",
             (int64_t)1 << 52, "is_new", "b", 1, "share", "f", 0.25, "who", "s",
             NULL, NULL);
    j = take();
    assert_int_equal(strlen(json_get_str(j, "t")), 24);
    assert_int_equal(json_get_str(j, "t")[23], 'Z');
    assert_string_equal(json_get_str(j, "lvl"), "warn");
    assert_string_equal(json_get_str(j, "part"), "test");
    assert_string_equal(json_get_str(j, "ev"), "session.open");
    assert_string_equal(json_get_str(j, "role"), "owner");
    assert_int_equal(json_get_int(j, "bytes", &n), 0);
    assert_int_equal(n, (int64_t)1 << 52);
    assert_int_equal(json_get_bool(j, "is_new", &b), 0);
    assert_true(b);
    assert_true(json_is_number(json_get(j, "share")));
    assert_true(json_is_null(json_get(j, "who")));
    assert_null(json_get(j, "sid"));
}

static void the_session_stands_in_every_line_once_it_is_known(void **state)
{
    own_json struct json *j = NULL;

    (void)state;
    log_session("abcdefghijklmnopqrstuvwxyz");
    log_info("x", NULL);
    j = take();
    assert_string_equal(json_get_str(j, "sid"), "abcdefghijklmnopqrstuvwxyz");
}

static void hostile_text_cannot_make_a_second_line_or_a_field(void **state)
{
    static const char evil[] = "a\"}\n{\"ev\":\"forged\"\r\x1b[2J\x80\xff\x9b";
    own_json struct json *j = NULL;

    (void)state;
    log_info("peer.said", "text", "s", evil, NULL);
    j = take();
    assert_string_equal(json_get_str(j, "ev"), "peer.said");
    assert_null(strchr(line, '\x1b'));
    assert_null(strchr(line, '\x9b'));
    assert_null(strchr(line, '\r'));
    assert_memory_equal(json_get_str(j, "text"), "a\"}\n{\"ev\":", 10);
}

static void lines_below_the_level_are_not_written(void **state)
{
    own_json struct json *j = NULL;

    (void)state;
    assert_int_equal(log_init("test", "warn"), 0);
    log_debug("no", NULL);
    log_info("no", NULL);
    log_error("yes", NULL);
    j = take();
    assert_string_equal(json_get_str(j, "ev"), "yes");
}

static void an_unknown_level_is_refused_and_changes_nothing(void **state)
{
    own_json struct json *j = NULL;

    (void)state;
    assert_int_equal(log_init("other", "loud"), -1);
    assert_int_equal(log_init("other", ""), -1);
    assert_int_equal(log_init("other", "INFO"), -1);
    log_debug("x", NULL);
    j = take();
    assert_string_equal(json_get_str(j, "part"), "test");
}

static void a_long_string_is_cut_between_characters(void **state)
{
    char text[LOG_STR_MAX * 2];
    own_json struct json *j = NULL;

    (void)state;
    text[0] = 'x';
    for (size_t i = 1; i + 3 < sizeof(text); i += 3)
        memcpy(text + i, "\xe2\x82\xac", 4); /* the euro sign */
    log_info("x", "text", "s", text, NULL);
    j = take();
    assert_in_range(strlen(json_get_str(j, "text")), LOG_STR_MAX - 3,
                    LOG_STR_MAX);
    assert_memory_equal(json_get_str(j, "text"), text,
                        strlen(json_get_str(j, "text")));
}

static void too_many_fields_leave_some_out_and_the_line_whole(void **state)
{
    char wide[LOG_STR_MAX + 1];
    own_json struct json *j = NULL;

    (void)state;
    memset(wide, 1, LOG_STR_MAX); /* six bytes each in the line */
    wide[LOG_STR_MAX] = 0;
    log_info("x", "a", "s", wide, "b", "s", wide, "c", "i", (int64_t)7, NULL);
    j = take();
    assert_true(strlen(line) <= PIPE_BUF);
    assert_int_equal(strlen(json_get_str(j, "a")), LOG_STR_MAX);
    assert_null(json_get(j, "b"));
    assert_non_null(json_get(j, "c"));
}

static void a_number_that_json_lacks_is_null(void **state)
{
    own_json struct json *j = NULL;

    (void)state;
    log_info("x", "a", "f", (double)NAN, "b", "f", -(double)INFINITY, NULL);
    j = take();
    assert_true(json_is_null(json_get(j, "a")));
    assert_true(json_is_null(json_get(j, "b")));
}

static void an_error_is_told_with_its_kind(void **state)
{
    own_json struct json *j = NULL;
    struct err e;

    (void)state;
    err_set(&e, ERR_BUSY, "three are enough");
    log_err(&e, "create.refused");
    j = take();
    assert_string_equal(json_get_str(j, "lvl"), "warn");
    assert_string_equal(json_get_str(j, "kind"), "busy");
    assert_string_equal(json_get_str(j, "error"), "three are enough");
    json_free(j);
    err_set(&e, ERR_SYSTEM, "disk full");
    log_err(&e, "store.failed");
    j = take();
    assert_string_equal(json_get_str(j, "lvl"), "error");
}

static void *write_lines(void *arg)
{
    for (int i = 0; i < LINES_EACH; i++)
        log_info("thread", "who", "i", (int64_t)(intptr_t)arg, "text", "s",
                 "a line of some length, so that a torn one would be seen",
                 NULL);
    return NULL;
}

static void threads_do_not_tear_each_others_lines(void **state)
{
    pthread_t threads[WRITERS];
    FILE *f = tmpfile();
    int lines = 0;

    (void)state;
    assert_non_null(f);
    log_fd(fileno(f));
    for (intptr_t i = 0; i < WRITERS; i++)
        pthread_create(&threads[i], NULL, write_lines, (void *)i);
    for (int i = 0; i < WRITERS; i++)
        pthread_join(threads[i], NULL);
    rewind(f);
    while (fgets(line, sizeof(line), f)) {
        struct err e = {0};
        own_json struct json *j = json_parse(line, strlen(line) - 1, &e);

        assert_non_null(j);
        lines++;
    }
    fclose(f);
    assert_int_equal(lines, WRITERS * LINES_EACH);
}

static void a_rate_lets_a_burst_and_then_one_an_interval_through(void **state)
{
    struct log_rate r = {.burst = 3, .interval_ms = 1000};
    int passed = 0;

    (void)state;
    for (int64_t now = 5000; now < 15000; now += 10)
        passed += log_rate_ok(&r, now);
    assert_int_equal(passed, 3 + 9);
}

static void the_next_line_let_through_tells_how_many_were_not(void **state)
{
    struct log_rate r = {.burst = 1, .interval_ms = 1000};

    (void)state;
    assert_true(log_rate_ok(&r, 0));
    assert_int_equal(r.suppressed, 0);
    for (int i = 1; i <= 5; i++)
        assert_false(log_rate_ok(&r, i));
    assert_true(log_rate_ok(&r, 1000));
    assert_int_equal(r.suppressed, 5);
    assert_false(log_rate_ok(&r, 1001));
    assert_false(log_rate_ok(&r, 1002));
    assert_true(log_rate_ok(&r, 2000));
    assert_int_equal(r.suppressed, 2);
}

static void after_a_long_quiet_a_burst_is_allowed_again(void **state)
{
    struct log_rate r = {.burst = 2, .interval_ms = 100};

    (void)state;
    assert_true(log_rate_ok(&r, 0));
    assert_true(log_rate_ok(&r, 1));
    assert_false(log_rate_ok(&r, 2));
    assert_true(log_rate_ok(&r, 10000));
    assert_true(log_rate_ok(&r, 10001));
    assert_false(log_rate_ok(&r, 10002));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, catch, uncatch)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_line_has_time_level_part_event_and_its_fields),
        TEST(the_session_stands_in_every_line_once_it_is_known),
        TEST(hostile_text_cannot_make_a_second_line_or_a_field),
        TEST(lines_below_the_level_are_not_written),
        TEST(an_unknown_level_is_refused_and_changes_nothing),
        TEST(a_long_string_is_cut_between_characters),
        TEST(too_many_fields_leave_some_out_and_the_line_whole),
        TEST(a_number_that_json_lacks_is_null),
        TEST(an_error_is_told_with_its_kind),
        TEST(threads_do_not_tear_each_others_lines),
        cmocka_unit_test(a_rate_lets_a_burst_and_then_one_an_interval_through),
        cmocka_unit_test(the_next_line_let_through_tells_how_many_were_not),
        cmocka_unit_test(after_a_long_quiet_a_burst_is_allowed_again),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
