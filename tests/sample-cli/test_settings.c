#include "sample-cli/settings.h"

#include "base/own.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

static struct settings set;
static struct err error;

static int load(const char *a, const char *b, const char *c)
{
    const char *argv[] = {"sample-cli", a, b, c, NULL};
    int argc = 1;

    while (argv[argc])
        argc++;
    settings_fini(&set);
    error = (struct err){0};
    return settings_load(&set, argc, (char **)(uintptr_t)argv, &error);
}

static void each_limit_has_a_default(void **state)
{
    (void)state;
    assert_int_equal(load("DIR", NULL, NULL), 0);
    assert_string_equal(set.look.root, "DIR");
    assert_int_equal(set.look.depth_max, 32);
    assert_int_equal(set.look.entries_max, 20000);
    assert_int_equal(set.look.file_bytes_max, 4 << 20);
    assert_int_equal(set.look.large_bytes, 1 << 20);
    assert_int_equal(set.look.line_max, 100);
    assert_string_equal(set.look.skip, ".git,.hg,.svn,node_modules");
    assert_int_equal(set.allowed, 0);
    assert_false(set.as_json || set.is_plain || set.is_strict);
}

static void options_come_before_the_directory(void **state)
{
    (void)state;
    assert_int_equal(load("--strict", "--line-max=7", "x"), 0);
    assert_true(set.is_strict);
    assert_int_equal(set.look.line_max, 7);
    assert_int_equal(load("--json", "--", "--odd"), 0);
    assert_string_equal(set.look.root, "--odd");
}

static void wrong_use_is_refused(void **state)
{
    (void)state;
    assert_int_equal(load("--what", NULL, NULL), -1);
    assert_int_equal(error.kind, ERR_INPUT);
    assert_int_equal(load("a", "b", NULL), -1);
    assert_string_equal(error.text, "one directory at a time: \"b\"");
    assert_int_equal(load("--depth-max", "201", "x"), -1);
    assert_int_equal(load("--review-ca=/nowhere/ca.pem", "x", NULL), -1);
    assert_int_equal(error.kind, ERR_INPUT);
    assert_string_equal(error.text, "--review-ca /nowhere/ca.pem: No such "
                                    "file or directory");
    assert_int_equal(load("--review-ca=/dev/null", "x", NULL), 0);
    assert_int_equal(load("--line-max=0", "x", NULL), -1);
    assert_int_equal(load("--entries-max=many", "x", NULL), -1);
}

/* This test does not lie in a bundle. */
static void without_sources_a_directory_must_be_named(void **state)
{
    (void)state;
    assert_int_equal(load(NULL, NULL, NULL), -1);
    assert_int_equal(error.kind, ERR_INPUT);
    assert_non_null(strstr(error.text, "name a directory"));
    assert_null(set.own_root);
}

static void sources_lie_beside_the_programs_directory(void **state)
{
    own_mem char *a = settings_source_of("/x/bin/sample-cli");
    own_mem char *b = settings_source_of("/bin/sample-cli");

    (void)state;
    assert_string_equal(a, "/x/share/source");
    assert_string_equal(b, "/share/source");
    assert_null(settings_source_of("/x/sbin/sample-cli"));
    assert_null(settings_source_of("/sample-cli"));
    assert_null(settings_source_of("sample-cli"));
    assert_null(settings_source_of("/x/bin/deeper/sample-cli"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_limit_has_a_default),
        cmocka_unit_test(options_come_before_the_directory),
        cmocka_unit_test(wrong_use_is_refused),
        cmocka_unit_test(without_sources_a_directory_must_be_named),
        cmocka_unit_test(sources_lie_beside_the_programs_directory),
    };
    int r = cmocka_run_group_tests(tests, NULL, NULL);

    settings_fini(&set);
    return r;
}
