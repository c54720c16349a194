/* The program itself, over pipes and on a terminal. */
#include "base/json.h"
#include "base/mem.h"
#include "base/own.h"
#include "tests/lib/child.h"
#include "tests/lib/programs.h"
#include "tests/lib/term.h"
#include "tests/lib/tree.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static char *dir, *exe;

static int setup(void **state)
{
    (void)state;
    dir = scratch_new();
    exe = program_path("sample-cli");
    tree_put(dir, "a.c", "int a; \n");
    tree_put(dir, "b/c.h", "int b;\n");
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    free(exe);
    scratch_remove(dir);
    return 0;
}

static const char *const utf8_env[] = {"LC_ALL=C.UTF-8", "TERM=xterm",
                                       "NO_COLOR=", "PODTERM_NO_REVIEW=true",
                                       NULL};

/* sample-cli a b c */
static struct child args(const char *a, const char *b, const char *c,
                         const char *argv[5])
{
    argv[0] = exe;
    argv[1] = a;
    argv[2] = a ? b : NULL;
    argv[3] = b ? c : NULL;
    argv[4] = NULL;
    return (struct child){.argv = argv, .env = utf8_env};
}

static void says(int code, const char *a, const char *b, const char *c,
                 const char *out, const char *err)
{
    const char *argv[5];
    struct child child = args(a, b, c, argv);

    child_expect(&child, code);
    if (!strstr(child.out, out))
        fail_msg("standard output lacks \"%s\":\n%s", out, child.out);
    if (!*err)
        assert_string_equal(child.err, "");
    else if (!strstr(child.err, err))
        fail_msg("standard error lacks \"%s\":\n%s", err, child.err);
    child_fini(&child);
}

static void over_a_pipe_it_prints_plain_lines(void **state)
{
    const char *argv[5];
    struct child c = args(dir, NULL, NULL, argv);

    (void)state;
    child_expect(&c, 0);
    assert_non_null(strstr(c.out, "\nok    Walk the tree: 2 files in 2 "));
    assert_non_null(strstr(c.out, "\na.c:1: the line ends in 1 blank\n"));
    assert_non_null(strstr(c.out, "\n1 finding in 2 files\n"));
    for (const char *p = c.out; *p; p++)
        assert_true(*p == '\n' || *p >= 0x20);
    assert_string_equal(c.err, "");
    child_fini(&c);
}

static void findings_fail_only_a_strict_run(void **state)
{
    (void)state;
    says(1, "--strict", dir, NULL, "1 finding", "");
    says(0, "--strict", "--allowed-findings=1", dir, "1 finding", "");
    tree_put(dir, "a.c", "int a;\n");
    says(0, "--strict", dir, NULL, "nothing found", "");
}

static void a_tree_that_is_not_there_is_code_2(void **state)
{
    (void)state;
    says(2, "/nowhere/at/all", NULL, NULL, "FAIL  Walk the tree: /nowhere",
         "sample-cli: /nowhere/at/all: No such file");
    says(2, "--json", "/nowhere", NULL, "", "sample-cli: /nowhere: No such");
}

static void wrong_use_is_code_2(void **state)
{
    (void)state;
    says(2, "--whatever", NULL, NULL, "", "unknown option --whatever");
    says(2, "a", "b", NULL, "", "one directory at a time");
    says(2, dir, "--strict", NULL, "",
         "options come before the directory: \"--strict\"");
    says(2, NULL, NULL, NULL, "", "name a directory to look over");
    /* what came from outside is escaped on its way back */
    says(2, "a", "\033[2J", NULL, "", "\\x1b[2J");
}

static void help_and_version_are_told(void **state)
{
    (void)state;
    says(0, "--help", NULL, NULL, "--entries-max N", "");
    says(0, "--version", NULL, NULL, "sample-cli " PODTERM_VERSION "\n", "");
}

static void json_is_all_that_is_printed(void **state)
{
    const char *argv[5];
    struct child c = args("--json", "--strict", dir, argv);
    own_json struct json *j = NULL;
    struct err e = {0};

    (void)state;
    child_expect(&c, 1);
    assert_string_equal(c.err, "");
    j = json_parse(c.out, c.len, &e);
    if (!j)
        fail_msg("%s", e.text);
    assert_string_equal(json_get_str(j, "root"), dir);
    assert_string_equal(
        json_get_str(json_at(json_get(j, "findings"), 0), "path"), "a.c");
    child_fini(&c);
}

static void a_full_disk_is_no_clean_tree(void **state)
{
    const char *argv[] = {
        "sh", "-c", "exec \"$0\" $2 \"$1\" >/dev/full", exe, dir, "", NULL};
    struct child c = {.argv = argv};

    (void)state;
    child_expect(&c, 2);
    assert_non_null(strstr(c.err, "could not be written: No space left"));
    child_fini(&c);
    argv[5] = "--json";
    child_expect(&c, 2);
    assert_non_null(strstr(c.err, "could not be written: No space left"));
    child_fini(&c);
}

/* Run it on a terminal, and what that then shows. */
static char *on_terminal(const char *const *env, struct term *t)
{
    const char *argv[5];
    struct child c = args(dir, NULL, NULL, argv);

    c.env = env;
    c.cols = 100;
    c.rows = 40;
    child_expect(&c, 0);
    term_init(t, 100, 40);
    term_feed(t, c.out);
    child_fini(&c);
    return term_text(t);
}

#define SHOWN(mark)                                                            \
    mark " Walk the tree               2 files in 2 directories, 15 "          \
         "bytes\n" mark                                                        \
         " Read the files              2 lines in 2 languages\n" mark          \
         " Rules\n"                                                            \
         "  " mark " Large files               none\n"                         \
         "  " mark " Binary files              none\n"                         \
         "  " mark " Long lines                none\n"                         \
         "  " mark " Trailing blanks           1 found\n"                      \
         "  " mark " Marks of unfinished work  none\n"                         \
         "  " mark " Ends of lines             none\n"                         \
         "  " mark " Duplicate files           none\n"                         \
         "C                   1 file           1 line       8 bytes\n"         \
         "C header            1 file           1 line       7 bytes\n"         \
         "a.c:1: the line ends in 1 blank\n"                                   \
         "1 finding in 2 files\n"

/* What is opened later must not become an end, and be written into. */
static void a_closed_output_is_told_as_that(void **state)
{
    static const char closed[] =
        "sample-cli: standard output is closed: give it a file, a pipe or a "
        "terminal, or /dev/null\n";
    static const char *const ways[] = {"", "--json", "--help"};
    const char *argv[] = {"sh", "-c", "exec \"$0\" $1 \"$2\" >&-", exe, NULL,
                          dir,  NULL};

    (void)state;
    for (size_t i = 0; i < sizeof(ways) / sizeof(*ways); i++) {
        struct child c = {.argv = argv, .env = utf8_env};

        argv[4] = ways[i];
        child_expect(&c, 2);
        assert_string_equal(c.out, "");
        assert_string_equal(c.err, closed);
        child_fini(&c);
    }
}

static void without_input_and_errors_it_reports_all_the_same(void **state)
{
    const char *const argv[] = {"sh", "-c", "exec \"$0\" \"$1\" <&- 2>&-",
                                exe,  dir,  NULL};
    struct child c = {.argv = argv, .env = utf8_env};

    (void)state;
    child_expect(&c, 0);
    assert_non_null(strstr(c.out, "\n1 finding in 2 files\n"));
    child_fini(&c);
}

static void on_a_terminal_each_stage_stands_once_in_its_place(void **state)
{
    struct term t;
    own_mem char *text = on_terminal(utf8_env, &t);

    (void)state;
    assert_string_equal(strchr(text, '\n') + 1, SHOWN("✔"));
    assert_true(t.colors > 0);
    assert_int_equal(t.wraps, 0);
    assert_false(t.is_cursor_hidden);
}

static void no_color_takes_the_colours_alone(void **state)
{
    static const char *const env[] = {"LC_ALL=C.UTF-8", "TERM=xterm",
                                      "NO_COLOR=1", "PODTERM_NO_REVIEW=true",
                                      NULL};
    struct term t;
    own_mem char *text = on_terminal(env, &t);

    (void)state;
    assert_string_equal(strchr(text, '\n') + 1, SHOWN("✔"));
    assert_int_equal(t.colors, 0);
}

static void without_utf8_it_is_ascii(void **state)
{
    static const char *const env[] = {"LC_ALL=C", "TERM=xterm",
                                      "PODTERM_NO_REVIEW=true", NULL};
    struct term t;
    own_mem char *text = on_terminal(env, &t);

    (void)state;
    assert_string_equal(strchr(text, '\n') + 1, SHOWN("+"));
}

static void a_dumb_terminal_gets_plain_lines(void **state)
{
    static const char *const env[] = {"LC_ALL=C.UTF-8", "TERM=dumb",
                                      "PODTERM_NO_REVIEW=true", NULL};
    const char *argv[5];
    struct child c = args(dir, NULL, NULL, argv);

    (void)state;
    c.env = env;
    c.cols = 100;
    c.rows = 40;
    child_expect(&c, 0);
    assert_null(strchr(c.out, '\033'));
    assert_non_null(strstr(c.out, "ok    Walk the tree: 2 files"));
    child_fini(&c);
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(over_a_pipe_it_prints_plain_lines),
        CASE(findings_fail_only_a_strict_run),
        CASE(a_tree_that_is_not_there_is_code_2),
        CASE(wrong_use_is_code_2),
        CASE(help_and_version_are_told),
        CASE(json_is_all_that_is_printed),
        CASE(a_full_disk_is_no_clean_tree),
        CASE(a_closed_output_is_told_as_that),
        CASE(without_input_and_errors_it_reports_all_the_same),
        CASE(on_a_terminal_each_stage_stands_once_in_its_place),
        CASE(no_color_takes_the_colours_alone),
        CASE(without_utf8_it_is_ascii),
        CASE(a_dumb_terminal_gets_plain_lines),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
