#include "sample-cli/walk.h"

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
#include <unistd.h>
#include <cmocka.h>

// link: -Wl,--wrap=openat -Wl,--wrap=readdir
/* Root may read everything: what a user may not is played here. */
static const char *denied;
static int weak_opens; /* those that would follow a link */
int __real_openat(int dir_fd, const char *path, int flags, ...);
int __wrap_openat(int dir_fd, const char *path, int flags, ...);
int __wrap_openat(int dir_fd, const char *path, int flags, ...)
{
    if (strcmp(path, ".") != 0)
        weak_opens += !(flags & O_NOFOLLOW);
    if (denied && strcmp(path, denied) == 0) {
        errno = EACCES;
        return -1;
    }
    return __real_openat(dir_fd, path, flags, 0);
}

static int fail_after = -1; /* names, then EIO */
struct dirent *__real_readdir(void *d);
struct dirent *__wrap_readdir(void *d);
struct dirent *__wrap_readdir(void *d)
{
    if (fail_after == 0) {
        errno = EIO;
        return NULL;
    }
    fail_after -= fail_after > 0;
    return __real_readdir(d);
}

static char *dir;
static struct walk walk;
static struct findings found;
static int ticks, stop_at;

static bool tick(void *arg)
{
    (void)arg;
    return ++ticks != stop_at;
}

static int setup(void **state)
{
    (void)state;
    dir = scratch_new();
    denied = NULL;
    fail_after = -1;
    ticks = weak_opens = stop_at = 0;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    walk_fini(&walk);
    findings_fini(&found);
    scratch_remove(dir);
    return 0;
}

static void go(int depth, int64_t entries, const char *skip)
{
    const struct walk_conf conf = {.depth_max = depth,
                                   .entries_max = entries,
                                   .skip = skip,
                                   .goes_on = tick};
    struct err e = {0};

    if (walk_run(&walk, dir, &conf, &found, &e) < 0)
        fail_msg("%s", e.text);
}

static void names(const char *want)
{
    char text[4096] = "";
    size_t n = 0;

    for (size_t i = 0; i < walk.count; i++)
        n += (size_t)snprintf(text + n, sizeof(text) - n, "%s ",
                              walk.files[i].path);
    assert_string_equal(text, want);
}

static void files_come_in_the_order_of_their_names(void **state)
{
    (void)state;
    tree_put(dir, "b", "12");
    tree_put(dir, "a/z", "1");
    tree_put(dir, "a/b/c", "");
    tree_put(dir, "Z", "123");
    go(32, 100, "");
    names("Z a/b/c a/z b ");
    assert_int_equal(walk.dirs, 2);
    assert_int_equal(walk.bytes, 6);
    assert_int_equal(walk.entries, 6);
    assert_int_equal(ticks, 3);
    assert_int_equal(findings_total(&found), 0);
}

static void a_walk_that_is_told_to_stop_says_so(void **state)
{
    (void)state;
    tree_put(dir, "a/b/c", "");
    tree_put(dir, "z/y", "");
    stop_at = 2; /* a/b, then a */
    go(32, 100, "");
    names("a/b/c ");
    assert_true(walk.is_stopped);
}

static void links_and_other_things_are_counted_and_not_followed(void **state)
{
    own_mem char *up = mem_printf("%s/up", dir);
    own_mem char *file = mem_printf("%s/link", dir);
    own_mem char *fifo = mem_printf("%s/fifo", dir);

    (void)state;
    tree_put(dir, "a", "1");
    tree_put(dir, "d/a", "1");
    assert_int_equal(symlink("..", up), 0);
    assert_int_equal(symlink("a", file), 0);
    assert_int_equal(mkfifo(fifo, 0600), 0);
    go(32, 100, "");
    names("a d/a ");
    assert_int_equal(walk.links, 2);
    assert_int_equal(walk.others, 1);
    assert_int_equal(walk.dirs, 1);
    /* nor one that takes a directory's place between two calls */
    assert_int_equal(weak_opens, 0);
}

static void directories_are_passed_over_by_name(void **state)
{
    (void)state;
    tree_put(dir, ".git/HEAD", "1");
    tree_put(dir, "a/node_modules/x", "1");
    tree_put(dir, ".gitignore", "1");
    tree_put(dir, "hg", "a file of such a name stays");
    go(32, 100, ".git,hg,node_modules");
    names(".gitignore hg ");
    assert_int_equal(walk.skipped, 2);
    assert_int_equal(findings_total(&found), 0);
}

static void one_finding(const char *path, const char *text)
{
    assert_int_equal(found.count, 1);
    assert_int_equal(found.items[0].rule, RULE_NOT_LOOKED_AT);
    assert_string_equal(found.items[0].path, path);
    if (!strstr(found.items[0].text, text))
        fail_msg("\"%s\" does not say \"%s\"", found.items[0].text, text);
}

static void what_lies_too_deep_is_told(void **state)
{
    (void)state;
    tree_put(dir, "1/2/3/deep", "1");
    tree_put(dir, "1/2/here", "1");
    go(2, 100, "");
    names("1/2/here ");
    one_finding("1/2/3", "deeper than 2");
}

static void depth_zero_is_the_root_alone(void **state)
{
    (void)state;
    tree_put(dir, "1/x", "1");
    tree_put(dir, "y", "1");
    go(0, 100, "");
    names("y ");
    one_finding("1", "deeper than 0");
}

static void the_limit_of_entries_is_told_once(void **state)
{
    char name[32];

    (void)state;
    for (int i = 0; i < 20; i++) {
        snprintf(name, sizeof(name), "d%02d/f", i);
        tree_put(dir, name, "1");
    }
    go(32, 10, "");
    assert_int_equal(walk.entries, 10);
    assert_true(walk.count <= 10);
    assert_true(walk.is_cut);
    one_finding("", "the limit of entries");
}

static void exactly_so_many_entries_are_no_cut(void **state)
{
    (void)state;
    tree_put(dir, "a/b", "1");
    tree_put(dir, "c", "1");
    go(32, 3, "");
    names("a/b c ");
    assert_false(walk.is_cut);
    assert_int_equal(found.count, 0);
}

/* Directories of 200 characters, one in another, until the path is over its
 * limit: made by name from within, since no call takes such a path. */
static void a_path_that_is_too_long_is_told(void **state)
{
    char name[201];
    own_fd int fd = open(dir, O_RDONLY | O_DIRECTORY);

    (void)state;
    memset(name, 'n', 200);
    name[200] = 0;
    for (int i = 0; i < 22; i++) {
        int next;

        assert_int_equal(mkdirat(fd, name, 0755), 0);
        next = openat(fd, name, O_RDONLY | O_DIRECTORY);
        close(fd);
        fd = next;
    }
    go(100, 100, "");
    assert_int_equal(walk.dirs, 20);
    assert_int_equal(found.count, 1);
    assert_non_null(strstr(found.items[0].text, "longer than 4095"));
}

static void a_directory_that_may_not_be_read_is_told(void **state)
{
    (void)state;
    tree_put(dir, "secret/x", "1");
    tree_put(dir, "y", "1");
    denied = "secret";
    go(32, 100, "");
    names("y ");
    one_finding("secret", "Permission denied");
}

static void a_directory_that_breaks_off_is_told(void **state)
{
    (void)state;
    tree_put(dir, "y", "1");
    fail_after = 0;
    go(32, 100, "");
    names("");
    one_finding("", "to its end: Input/output error");
}

static void a_root_that_is_none_is_an_error(void **state)
{
    own_mem char *absent = mem_printf("%s/absent", dir);
    own_mem char *file = mem_printf("%s/file", dir);
    const struct walk_conf conf = {
        .depth_max = 1, .entries_max = 1, .skip = ""};
    struct err e = {0};

    (void)state;
    tree_put(dir, "file", "1");
    assert_int_equal(walk_run(&walk, absent, &conf, &found, &e), -1);
    assert_int_equal(e.kind, ERR_INPUT);
    assert_non_null(strstr(e.text, "No such file"));
    assert_int_equal(walk_run(&walk, file, &conf, &found, &e), -1);
    assert_int_equal(e.kind, ERR_INPUT);
    denied = ".";
    assert_int_equal(walk_run(&walk, dir, &conf, &found, &e), -1);
    assert_int_equal(e.kind, ERR_SYSTEM);
    assert_int_equal(walk.root_fd, -1);
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(files_come_in_the_order_of_their_names),
        CASE(a_walk_that_is_told_to_stop_says_so),
        CASE(links_and_other_things_are_counted_and_not_followed),
        CASE(directories_are_passed_over_by_name),
        CASE(what_lies_too_deep_is_told),
        CASE(depth_zero_is_the_root_alone),
        CASE(the_limit_of_entries_is_told_once),
        CASE(exactly_so_many_entries_are_no_cut),
        CASE(a_path_that_is_too_long_is_told),
        CASE(a_directory_that_may_not_be_read_is_told),
        CASE(a_directory_that_breaks_off_is_told),
        CASE(a_root_that_is_none_is_an_error),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
