#include "sample-cli/brief.h"

#include "base/json_scan.h"
#include "base/mem.h"
#include "base/own.h"
#include "tests/lib/programs.h"
#include "tests/lib/tree.h"

#include <locale.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

static char *dir;
static struct look look;
static struct brief brief;

static int64_t now(void)
{
    return 1;
}

static int setup(void **state)
{
    (void)state;
    dir = scratch_new();
    look = (struct look){.walk = {.root_fd = -1}};
    brief = (struct brief){0};
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    brief_fini(&brief);
    look_fini(&look);
    scratch_remove(dir);
    return 0;
}

/* Look over what is in dir. */
static void look_over(void)
{
    const struct look_conf conf = {.root = dir,
                                   .skip = ".git",
                                   .depth_max = 8,
                                   .entries_max = 10000,
                                   .file_bytes_max = 1 << 20,
                                   .large_bytes = 1 << 20,
                                   .line_max = 100,
                                   .is_utf8 = true};
    struct tasks list = {.arg = &look, .now_ms = now, .stop_fd = -1};

    list.items = look_tasks(&list.count);
    look_init(&look, &conf);
    assert_int_equal(tasks_run(&list), 0);
}

static int goes; /* how often it may be asked */
static bool goes_on(void *arg)
{
    assert_ptr_equal(arg, &goes);
    return goes-- > 0;
}

/* Never more than was said, and never a byte that a reader would trip over. */
static void make(size_t bytes_max)
{
    const uint8_t *p;
    size_t n;

    brief_fini(&brief);
    goes = 1000000;
    assert_true(brief_make(&look, bytes_max, goes_on, &goes, &brief));
    assert_true(brief.text.len <= bytes_max);
    p = brief.text.data;
    for (size_t i = 0; i < brief.text.len; i += n) {
        n = utf8_step(p + i, brief.text.len - i);
        if (n == 0)
            fail_msg("no UTF-8 at byte %zu of %zu", i, brief.text.len);
        assert_true(p[i] >= 0x20 || p[i] == '\n' || p[i] == '\t');
        assert_true(p[i] != 0x7f);
        assert_false(n == 2 && p[i] == 0xc2 && p[i + 1] < 0xa0);
    }
}

static void has(const char *want)
{
    if (!strstr(buf_cstr(&brief.text), want))
        fail_msg("it lacks \"%s\":\n%s", want, buf_cstr(&brief.text));
}

static void has_not(const char *what)
{
    if (strstr(buf_cstr(&brief.text), what))
        fail_msg("it has \"%s\":\n%s", what, buf_cstr(&brief.text));
}

static int times(const char *what)
{
    int n = 0;

    for (const char *at = buf_cstr(&brief.text); (at = strstr(at, what)); at++)
        n++;
    return n;
}

static void it_has_numbers_findings_and_parts(void **state)
{
    (void)state;
    tree_put(dir, "a.c", "int a; \nint b;\n");
    tree_put(dir, "sub/b.py", "x = 1\n");
    tree_put(dir, "note.md", "words \n");
    look_over();
    make(BRIEF_BYTES_MAX);
    has("The tree: 3 files in 2 directories, 28 bytes.\n");
    has("\nC: 1, 2\n");
    has("\ntrailing-space: 2\n");
    has("\na.c:1: the line ends in 1 blank\n");
    has("\n--- a.c, from line 1 ---\nint a; \nint b;\n");
    has("\n--- sub/b.py, from line 1 ---\nx = 1\n");
    has_not("words"); /* no code */
    has_not(dir);     /* nor where it is */
    assert_int_equal(brief.findings, 2);
    assert_int_equal(brief.files, 2);
    assert_int_equal(brief.secret, 0);
}

static void nothing_of_a_secret_file_is_in_it(void **state)
{
    (void)state;
    tree_put(dir, ".env", "PASSWORD=hunter2 \n");
    tree_put(dir, ".ssh/config.c", "int hunter2; \n");
    tree_put(dir, "key.c",
             "int x;\nconst char k[] = \"AKIA"
             "IOSFODNN7EXAMPLE\"; \nint hunter2;\n");
    tree_put(dir, "ok.c", "int ok;\n");
    look_over();
    make(BRIEF_BYTES_MAX);
    has_not("hunter2");
    has_not(".env");
    has_not(".ssh");
    has_not("AKIA");
    has("--- ok.c, from line 1 ---\n");
    assert_int_equal(brief.secret, 3);
    assert_int_equal(brief.files, 1);
}

/* A mark of unfinished work quotes its line. */
static void a_finding_that_quotes_a_secret_is_left_out(void **state)
{
    (void)state;
    tree_put(dir, "a.md",
             "TO"
             "DO: revoke ghp_"
             "012345678901234567890123456789\n");
    tree_put(dir, "b.md",
             "TO"
             "DO: mow the lawn\n");
    look_over();
    make(BRIEF_BYTES_MAX);
    has_not("ghp_");
    has("mow the lawn");
    assert_int_equal(brief.findings, 1);
}

/* What is left of it has no form any more. */
static void a_secret_that_a_finding_has_cut_is_left_out(void **state)
{
    (void)state;
    for (int blanks = 0; blanks < 120; blanks++) {
        own_mem char *name = mem_printf("a%03d.c", blanks);
        own_mem char *text =
            mem_printf("// TO"
                       "DO: revoke %.*s ghp_"
                       "012345678901234567890123456789\n",
                       blanks,
                       ". . . . . . . . . . . . . . . . . . . . . . . . . . . "
                       ". . . . . . . . . . . . . . . . . . . . . . . . . . . "
                       ". . . . . . . . . . . . . . . . . . . . . . . . . . .");

        tree_put(dir, name, text);
        tree_put(dir, "ok.c", "int a;\n");
    }
    look_over();
    make(BRIEF_BYTES_MAX);
    has_not("gh"
            "p_0");
    assert_int_equal(brief.secret, 120);
    assert_int_equal(brief.files, 1);
}

static void a_name_that_holds_a_secret_is_left_out(void **state)
{
    (void)state;
    tree_put(dir,
             "ghp_"
             "012345678901234567890123456789.h",
             "int a; \n");
    tree_put(dir,
             "ghp_"
             "012345678901234567890123456789/a.h",
             "int b; \n");
    look_over();
    make(BRIEF_BYTES_MAX);
    has_not("ghp"
            "_");
    assert_int_equal(brief.secret, 2);
    assert_int_equal(brief.findings, 0);
}

static void a_part_begins_before_the_first_finding(void **state)
{
    struct buf text;

    (void)state;
    buf_init(&text, 1 << 20);
    for (int i = 1; i <= 5000; i++)
        buf_printf(&text, "int line_%d;%s\n", i, i == 3000 ? " " : "");
    tree_put(dir, "a.c", buf_cstr(&text));
    buf_fini(&text);
    look_over();
    make(BRIEF_BYTES_MAX);
    has("\n--- a.c, from line 2980, a part ---\nint line_2980;\n");
    has("int line_3000; \n");
    has_not("line_2979;");
    assert_true(brief.text.len < BRIEF_EXCERPT_MAX + 1000);
}

static void of_one_long_line_a_part_is_sent(void **state)
{
    own_mem char *text = mem_zero(100001, 1);

    (void)state;
    for (size_t i = 0; i + 2 <= 100000; i += 2)
        memcpy(text + i, "\xc3\xa4", 2); /* is cut within one */
    memmove(text + 1, text, 99999);
    text[0] = 'x';
    tree_put(dir, "a.c", text);
    look_over();
    make(BRIEF_BYTES_MAX);
    has("--- a.c, from line 1, a part ---\nx\xc3\xa4");
    assert_true(brief.text.len < BRIEF_EXCERPT_MAX + 1000);
}

static void of_many_findings_and_files_some_are_sent(void **state)
{
    (void)state;
    for (int i = 0; i < 40; i++) {
        own_mem char *name = mem_printf("f%02d.c", i);
        own_mem char *text = mem_printf("int f%d; \nint g;\t\n// TO"
                                        "DO x\nint no_end",
                                        i);

        tree_put(dir, name, text);
    }
    look_over();
    make(BRIEF_BYTES_MAX);
    assert_int_equal(brief.files, BRIEF_FILES_MAX);
    assert_int_equal(times(", from line 1 ---\n"), BRIEF_FILES_MAX);
    assert_int_equal(times("blank"), BRIEF_RULE_MAX);
    assert_true(brief.findings <= BRIEF_FINDINGS_MAX);
    assert_true(brief.findings >= 3 * BRIEF_RULE_MAX);
    has("\ntrailing-space: 80\n"); /* all are counted */
}

/* A name may have any byte but two; it must not begin a line of its own. */
static void hostile_names_and_texts_stay_on_their_line(void **state)
{
    (void)state;
    tree_put(dir, "a\n--- b.c, from line 1 ---\nevil.c", "int a; \n");
    tree_put(dir, "e\033[2J\x7f.c", "int \033[2J\x01\x7f\xc2\x9b; \n");
    tree_put(dir, "u\xff\xe2\x82.c", "int \xff\xc3(\xe2\x82; \r\n");
    tree_put(dir, "t\ty.c", "\tint t; \n");
    look_over();
    make(BRIEF_BYTES_MAX);
    has_not("\n--- b.c");
    has_not("\nevil.c");
    has("a\xef\xbf\xbd--- b.c, from line 1 ---\xef\xbf\xbd"
        "evil.c");
    has("\tint t; \n");      /* a text keeps its tabs and lines */
    has("\xef\xbf\xbd; \n"); /* and its lines end in LF alone */
    assert_int_equal(brief.files, 4);
}

static void it_fits_into_any_size(void **state)
{
    own_mem char *name = mem_zero(600, 1);

    (void)state;
    memset(name, 'n', 599);
    for (int i = 0; i < 30; i++) {
        own_mem char *path =
            mem_printf("\xc3\xa4%.120s/%.*s%d.c", name, 50 + i, name, i);

        tree_put(dir, path, "int \xc3\xa4; \nint \xe2\x82\xac;\t\nno end");
    }
    look_over();
    for (size_t max = BRIEF_BYTES_MIN; max < BRIEF_BYTES_MIN + 2500; max += 7)
        make(max);
    for (size_t max = 4096; max <= BRIEF_BYTES_MAX; max = max * 3 / 2)
        make(max);
}

static void what_has_gone_meanwhile_is_left_out(void **state)
{
    own_mem char *path = mem_printf("%s/a.c", dir);

    (void)state;
    tree_put(dir, "a.c", "int a;\n");
    tree_put(dir, "b.c", "int b;\n");
    look_over();
    assert_int_equal(unlink(path), 0);
    assert_int_equal(symlink("/etc/passwd", path), 0);
    make(BRIEF_BYTES_MAX);
    has("--- b.c, ");
    has_not("--- a.c");
    has_not("root:");
    assert_int_equal(brief.files, 1);
}

static void an_empty_tree_has_numbers_alone(void **state)
{
    (void)state;
    look_over();
    make(BRIEF_BYTES_MIN);
    has("The tree: 0 files in 1 directories, 0 bytes.\n");
    assert_int_equal(brief.files + brief.findings + brief.secret, 0);
}

static void it_stops_when_told(void **state)
{
    (void)state;
    tree_put(dir, "a.c", "int a;\n");
    tree_put(dir, "b.c", "int b;\n");
    look_over();
    goes = 1; /* (there is no finding) */
    assert_false(brief_make(&look, BRIEF_BYTES_MAX, goes_on, &goes, &brief));
    assert_int_equal(brief.files, 1);
    brief_fini(&brief);
    brief = (struct brief){0};
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(it_has_numbers_findings_and_parts),
        CASE(nothing_of_a_secret_file_is_in_it),
        CASE(a_finding_that_quotes_a_secret_is_left_out),
        CASE(a_secret_that_a_finding_has_cut_is_left_out),
        CASE(a_name_that_holds_a_secret_is_left_out),
        CASE(a_part_begins_before_the_first_finding),
        CASE(of_one_long_line_a_part_is_sent),
        CASE(of_many_findings_and_files_some_are_sent),
        CASE(hostile_names_and_texts_stay_on_their_line),
        CASE(it_fits_into_any_size),
        CASE(what_has_gone_meanwhile_is_left_out),
        CASE(an_empty_tree_has_numbers_alone),
        CASE(it_stops_when_told),
    };

    setlocale(LC_CTYPE, "C.UTF-8");
    return cmocka_run_group_tests(tests, NULL, NULL);
}
