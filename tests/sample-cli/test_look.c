#include "sample-cli/look.h"

#include "base/mem.h"
#include "base/own.h"
#include "tests/lib/programs.h"
#include "tests/lib/tree.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <cmocka.h>

// link: -Wl,--wrap=syscall
/* Root may read everything: what a user may not is played here. */
static const char *denied;
static int denied_from; /* opens of it that work before */
long __real_syscall(long number, long a, long b, long c, long d);
long __wrap_syscall(long number, long a, long b, long c, long d);
long __wrap_syscall(long number, long a, long b, long c, long d)
{
    if (number == SYS_openat2 && denied && strcmp((char *)b, denied) == 0 &&
        denied_from-- <= 0) {
        errno = EACCES;
        return -1;
    }
    return __real_syscall(number, a, b, c, d);
}

static char *dir;
static struct look look;
static struct tasks list;

static int64_t now(void)
{
    return 1;
}

static int setup(void **state)
{
    (void)state;
    dir = scratch_new();
    denied = NULL;
    denied_from = 0;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    look_fini(&look);
    scratch_remove(dir);
    return 0;
}

static struct look_conf conf(void)
{
    return (struct look_conf){.root = dir,
                              .skip = ".git",
                              .depth_max = 8,
                              .entries_max = 1000,
                              .file_bytes_max = 10000,
                              .large_bytes = 5000,
                              .line_max = 20,
                              .is_utf8 = true};
}

/* Returns how many stages failed. */
static int go(const struct look_conf *c)
{
    list = (struct tasks){.arg = &look, .now_ms = now, .stop_fd = -1};
    list.items = look_tasks(&list.count);
    look_init(&look, c);
    return tasks_run(&list);
}

/* A stage, or a part of one, by its title. */
static const struct task *find(const struct task *items, size_t count,
                               const char *title)
{
    const struct task *found = NULL;

    for (size_t i = 0; i < count && !found; i++)
        found = strcmp(items[i].title, title) == 0
                    ? &items[i]
                    : find(items[i].tasks, items[i].count, title);
    return found;
}

static void stage(const char *title, enum task_state want, const char *detail)
{
    const struct task *task = find(list.items, list.count, title);

    if (!task)
        fail_msg("there is no stage %s", title);
    assert_int_equal(task->state, want);
    assert_string_equal(task->detail, detail);
}

static void the_stages_find_what_is_there(void **state)
{
    const struct look_conf c = conf();
    char large[6000];

    (void)state;
    memset(large, '\n', sizeof(large));
    tree_put(dir, "a.c",
             "int a;\nint b; \n/* TO"
             "DO */\n");
    tree_put(dir, "copy/a.c",
             "int a;\nint b; \n/* TO"
             "DO */\n");
    tree_put(dir, "b.md", "a line of more than 20 characters\r\nx\nend");
    tree_put_bytes(dir, "c.bin", "\0\1", 2);
    tree_put_bytes(dir, "large", large, sizeof(large));
    assert_int_equal(go(&c), 0);
    stage("Walk the tree", TASK_DONE, "5 files in 2 directories, 6.0 KiB");
    stage("Read the files", TASK_DONE, "6,009 lines in 3 languages");
    stage("Large files", TASK_DONE, "1 found");
    stage("Binary files", TASK_DONE, "1 found");
    stage("Long lines", TASK_DONE, "none"); /* Markdown's may be long */
    stage("Trailing blanks", TASK_DONE, "2 found");
    stage("Marks of unfinished work", TASK_DONE, "2 found");
    stage("Ends of lines", TASK_DONE, "2 found");
    stage("Duplicate files", TASK_DONE, "1 found");
    assert_int_equal(findings_total(&look.findings), 9);
    assert_int_equal(look.langs[LANG_C].files, 2);
    assert_int_equal(look.langs[LANG_C].lines, 6);
    assert_int_equal(look.langs[LANG_MARKDOWN].lines, 3);
    assert_int_equal(look.langs[LANG_BINARY].files, 1);
    assert_int_equal(look.langs[LANG_BINARY].lines, 0);
    assert_int_equal(look.read, 5);
}

static void a_clean_file_gives_no_finding(void **state)
{
    const struct look_conf c = conf();

    (void)state;
    tree_put(dir, "a.c", "int a;\n");
    assert_int_equal(go(&c), 0);
    stage("Walk the tree", TASK_DONE, "1 file in 1 directory, 7 bytes");
    stage("Read the files", TASK_DONE, "1 line in 1 language");
    stage("Long lines", TASK_DONE, "none");
    assert_int_equal(findings_total(&look.findings), 0);
}

static void an_empty_tree_has_nothing_to_read(void **state)
{
    const struct look_conf c = conf();

    (void)state;
    assert_int_equal(go(&c), 0);
    stage("Walk the tree", TASK_DONE, "0 files in 1 directory, 0 bytes");
    stage("Read the files", TASK_SKIPPED, "");
    stage("Duplicate files", TASK_DONE, "none");
}

static void without_a_tree_every_stage_is_skipped(void **state)
{
    own_mem char *absent = mem_printf("%s/ab\033sent", dir);
    struct look_conf c = conf();

    (void)state;
    c.root = absent;
    assert_int_equal(go(&c), 1);
    assert_int_equal(list.items[0].state, TASK_FAILED);
    /* the name is a stranger's: the detail is shown */
    assert_non_null(strstr(list.items[0].detail, "/ab\\x1bsent: No such"));
    for (size_t i = 1; i < list.count; i++)
        assert_int_equal(list.items[i].state, TASK_SKIPPED);
}

static void what_is_not_read_is_a_finding(void **state)
{
    struct look_conf c = conf();

    (void)state;
    c.file_bytes_max = 10;
    tree_put(dir, "large", "12345678901");
    tree_put(dir, "secret", "x\n");
    tree_put(dir, "y", "x\n");
    denied = "secret";
    assert_int_equal(go(&c), 0);
    stage("Read the files", TASK_DONE, "1 line; 2 files not read");
    assert_int_equal(look.unread, 2);
    assert_int_equal(look.findings.count, 2);
    assert_string_equal(look.findings.items[0].text,
                        "it is larger than 10 bytes and was not read");
    assert_string_equal(look.findings.items[1].text,
                        "it cannot be read: open: Permission denied");
}

static void a_file_that_goes_while_we_look_is_told(void **state)
{
    const struct look_conf c = conf();

    (void)state;
    tree_put(dir, "a.c", "int a;\n");
    denied = "a.c";
    denied_from = 1;
    assert_int_equal(go(&c), 0);
    assert_true(look.findings.count > 0);
    assert_non_null(strstr(look.findings.items[0].text,
                           "it changed while it was looked at"));
}

static void a_limit_that_was_reached_is_told_in_the_stage(void **state)
{
    struct look_conf c = conf();

    (void)state;
    c.entries_max = 1;
    tree_put(dir, "a", "");
    tree_put(dir, "b", "");
    assert_int_equal(go(&c), 0);
    stage("Walk the tree", TASK_DONE,
          "1 file in 1 directory, 0 bytes; a limit was reached");
    assert_int_equal(look.findings.found[RULE_NOT_LOOKED_AT], 1);
}

static void what_is_no_file_is_passed_over_and_told(void **state)
{
    const struct look_conf c = conf();
    own_mem char *link = mem_printf("%s/link", dir);
    own_mem char *again = mem_printf("%s/again", dir);
    own_mem char *fifo = mem_printf("%s/fifo", dir);

    (void)state;
    tree_put(dir, "a", "");
    assert_int_equal(symlink("a", link), 0);
    assert_int_equal(go(&c), 0);
    stage("Walk the tree", TASK_DONE,
          "1 file in 1 directory, 0 bytes; passed over: 1 link");
    look_fini(&look);
    assert_int_equal(symlink("a", again), 0);
    assert_int_equal(mkfifo(fifo, 0600), 0);
    assert_int_equal(go(&c), 0);
    stage("Walk the tree", TASK_DONE,
          "1 file in 1 directory, 0 bytes; passed over: 2 links, 1 FIFO, "
          "device or socket");
    look_fini(&look);
    assert_int_equal(unlink(link) | unlink(again), 0);
    assert_int_equal(go(&c), 0);
    stage("Walk the tree", TASK_DONE,
          "1 file in 1 directory, 0 bytes; passed over: 1 FIFO, device or "
          "socket");
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(the_stages_find_what_is_there),
        CASE(a_clean_file_gives_no_finding),
        CASE(an_empty_tree_has_nothing_to_read),
        CASE(without_a_tree_every_stage_is_skipped),
        CASE(what_is_not_read_is_a_finding),
        CASE(a_file_that_goes_while_we_look_is_told),
        CASE(a_limit_that_was_reached_is_told_in_the_stage),
        CASE(what_is_no_file_is_passed_over_and_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
