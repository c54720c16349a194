/* Settings: where a value comes from, which are refused and how it is told. */
#include "base/conf.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

static struct {
    int64_t idle_ms;
    bool is_strict;
    const char *domains, *secret, *listen;
} set;

static const struct conf_row rows[] = {
    {"idle-ms", CONF_INT, &set.idle_ms, -5, 1000, "30", "ms", "How long."},
    {"strict", CONF_BOOL, &set.is_strict, 0, 0, NULL, "", "Be strict."},
    {"bundle-domains", CONF_STR, &set.domains, 1, 20, NULL, "", "Hosts."},
    {"listen", CONF_STR, &set.listen, 0, 0, "127.0.0.1:0", "host:port",
     "Where."},
    {"pass", CONF_SECRET, &set.secret, 0, 0, NULL, "", "A secret."},
};
#define ROWS (sizeof(rows) / sizeof(rows[0]))

static struct err e;
static int rest;

/* conf_load with the arguments after the program's name. */
#define LOAD(...) load((char *[]){"prog", __VA_ARGS__, NULL}, &rest)
#define LOAD_NONE() load((char *[]){"prog", NULL}, &rest)

static int load(char **argv, int *operands)
{
    int argc = 0;

    while (argv[argc])
        argc++;
    e = (struct err){0};
    return conf_load(rows, ROWS, "prog", "A test.", argc, argv, operands, &e);
}

static int fresh(void **state)
{
    (void)state;
    memset(&set, 0, sizeof(set));
    rest = -1;
    unsetenv("PODTERM_IDLE_MS");
    unsetenv("PODTERM_STRICT");
    unsetenv("PODTERM_BUNDLE_DOMAINS");
    unsetenv("PODTERM_PASS");
    return 0;
}

static void without_anything_the_defaults_hold(void **state)
{
    (void)state;
    assert_int_equal(LOAD_NONE(), 0);
    assert_int_equal(set.idle_ms, 30);
    assert_false(set.is_strict);
    assert_null(set.domains);
    assert_null(set.secret);
    assert_string_equal(set.listen, "127.0.0.1:0");
    assert_int_equal(rest, 1);
}

static void the_environment_beats_the_default_and_a_flag_beats_it(void **state)
{
    (void)state;
    setenv("PODTERM_IDLE_MS", "40", 1);
    setenv("PODTERM_BUNDLE_DOMAINS", "a.org", 1);
    setenv("PODTERM_STRICT", "true", 1);
    assert_int_equal(LOAD("--idle-ms", "50"), 0);
    assert_int_equal(set.idle_ms, 50);
    assert_string_equal(set.domains, "a.org");
    assert_true(set.is_strict);
    assert_int_equal(LOAD("--strict=false"), 0);
    assert_false(set.is_strict);
}

static void a_flag_takes_its_value_behind_a_blank_or_an_equals(void **state)
{
    (void)state;
    assert_int_equal(LOAD("--idle-ms=7", "--bundle-domains", "x=y", "--strict",
                          "--listen=--odd"),
                     0);
    assert_int_equal(set.idle_ms, 7);
    assert_string_equal(set.domains, "x=y");
    assert_true(set.is_strict);
    assert_string_equal(set.listen, "--odd");
    assert_int_equal(LOAD("--idle-ms", "-5"), 0);
    assert_int_equal(set.idle_ms, -5);
}

static void operands_begin_at_the_first_word_or_after_two_dashes(void **state)
{
    (void)state;
    assert_int_equal(LOAD("--strict", "cmd", "--idle-ms=9"), 0);
    assert_int_equal(rest, 2);
    assert_int_equal(set.idle_ms, 30);
    assert_int_equal(LOAD("--strict", "--", "--help"), 0);
    assert_int_equal(rest, 3);
    assert_int_equal(LOAD("-", "x"), 0);
    assert_int_equal(rest, 1);
}

static void operands_are_refused_where_none_are_taken(void **state)
{
    (void)state;
    assert_int_equal(load((char *[]){"prog", "cmd", NULL}, NULL), -1);
    assert_non_null(strstr(e.text, "cmd"));
    assert_int_equal(load((char *[]){"prog", "--", NULL}, NULL), 0);
}

static void a_bad_number_is_refused_with_its_name_rule_and_unit(void **state)
{
    static const char *const bad[] = {
        "",    "x",    "1x", " 1",   "+1",  "1 ",
        "1.0", "0x10", "-6", "1001", "1e2", "99999999999999999999"};

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        char flag[64];

        snprintf(flag, sizeof(flag), "--idle-ms=%s", bad[i]);
        assert_int_equal(LOAD(flag), -1);
        assert_int_equal(e.kind, ERR_INPUT);
        assert_non_null(strstr(e.text, "--idle-ms"));
        assert_non_null(strstr(e.text, "ms from -5 to 1000"));
    }
    setenv("PODTERM_IDLE_MS", "x", 1);
    assert_int_equal(LOAD_NONE(), -1);
    assert_non_null(strstr(e.text, "PODTERM_IDLE_MS"));
}

static void a_boolean_is_true_or_false_and_nothing_else(void **state)
{
    (void)state;
    assert_int_equal(LOAD("--strict=yes"), -1);
    assert_int_equal(LOAD("--strict="), -1);
    assert_int_equal(LOAD("--strict=TRUE"), -1);
    setenv("PODTERM_STRICT", "1", 1);
    assert_int_equal(LOAD_NONE(), -1);
    assert_non_null(strstr(e.text, "PODTERM_STRICT"));
}

static void a_string_keeps_its_length(void **state)
{
    (void)state;
    assert_int_equal(LOAD("--bundle-domains="), -1);
    assert_int_equal(LOAD("--bundle-domains=123456789012345678901"), -1);
    assert_non_null(strstr(e.text, "1 to 20"));
    assert_int_equal(LOAD("--bundle-domains=12345678901234567890"), 0);
}

static void a_secret_comes_by_environment_alone(void **state)
{
    (void)state;
    assert_int_equal(LOAD("--pass=hunter2"), -1);
    assert_null(strstr(e.text, "hunter2"));
    assert_int_equal(LOAD("--pass", "hunter2"), -1);
    assert_null(strstr(e.text, "hunter2"));
    setenv("PODTERM_PASS", "hunter2", 1);
    assert_int_equal(LOAD_NONE(), 0);
    assert_string_equal(set.secret, "hunter2");
}

static void an_unknown_flag_is_refused_by_its_name_alone(void **state)
{
    (void)state;
    assert_int_equal(LOAD("--idle=1"), -1);
    assert_string_equal(e.text, "unknown option --idle (see --help)");
    assert_int_equal(LOAD("--idle-msx", "1"), -1);
    assert_int_equal(LOAD("-x"), -1);
}

static void a_forgotten_value_is_not_taken_from_the_next_flag(void **state)
{
    (void)state;
    assert_int_equal(LOAD("--listen", "--strict"), -1);
    assert_non_null(strstr(e.text, "--listen"));
    assert_int_equal(LOAD("--idle-ms"), -1);
    assert_non_null(strstr(e.text, "missing"));
}

static void help_has_a_line_for_every_row_with_unit_range_default(void **state)
{
    char text[4096];
    int ends[2], kept = dup(1);
    ssize_t n;

    (void)state;
    assert_return_code(pipe(ends), 0);
    fflush(stdout);
    dup2(ends[1], 1);
    assert_int_equal(LOAD("--help"), 1);
    fflush(stdout);
    dup2(kept, 1);
    close(kept);
    close(ends[1]);
    n = read(ends[0], text, sizeof(text) - 1);
    close(ends[0]);
    assert_true(n > 0);
    text[n] = 0;
    assert_non_null(strstr(text, "prog: A test."));
    assert_non_null(strstr(text, "--idle-ms N"));
    assert_non_null(strstr(text, "(ms, -5 to 1000) [30]"));
    assert_non_null(strstr(text, "PODTERM_BUNDLE_DOMAINS"));
    assert_non_null(strstr(text, "--listen host:port"));
    assert_non_null(strstr(text, "PODTERM_PASS"));
    assert_null(strstr(text, "--pass"));
}

#define TEST(f) cmocka_unit_test_setup(f, fresh)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(without_anything_the_defaults_hold),
        TEST(the_environment_beats_the_default_and_a_flag_beats_it),
        TEST(a_flag_takes_its_value_behind_a_blank_or_an_equals),
        TEST(operands_begin_at_the_first_word_or_after_two_dashes),
        TEST(operands_are_refused_where_none_are_taken),
        TEST(a_bad_number_is_refused_with_its_name_rule_and_unit),
        TEST(a_boolean_is_true_or_false_and_nothing_else),
        TEST(a_string_keeps_its_length),
        TEST(a_secret_comes_by_environment_alone),
        TEST(an_unknown_flag_is_refused_by_its_name_alone),
        TEST(a_forgotten_value_is_not_taken_from_the_next_flag),
        TEST(help_has_a_line_for_every_row_with_unit_range_default),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
