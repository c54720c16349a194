/*
 * A state directory somebody else prepared: the controller does not start on
 * it, says what is wrong, and leaves what the links led to as it was.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/mem.h"
#include "base/own.h"
#include "tests/lib/api.h"
#include "tests/lib/fake_keeper.h"
#include "tests/lib/programs.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define OTHER 12345

static char *dir, *state_dir, *victim;
static char text[65536];

static int setup(void **state)
{
    own_mem char *precious = NULL;

    (void)state;
    dir = scratch_new();
    state_dir = mem_printf("%s/state", dir);
    victim = mem_printf("%s/victim", dir);
    precious = mem_printf("%s/precious", victim);
    assert_int_equal(mkdir(victim, 0750), 0);
    assert_int_equal(mkdir(precious, 0750), 0);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    free(state_dir);
    free(victim);
    scratch_remove(dir);
    return 0;
}

static bool starts(struct rest_server *s)
{
    char uids[24];
    const char *const extra[] = {"--uid-first", uids, NULL};

    snprintf(uids, sizeof uids, "%ld", rest_uids());
    return api_try_start(s, state_dir, extra, text, sizeof text);
}

static void assert_victim_untouched(void)
{
    own_mem char *precious = mem_printf("%s/precious", victim);
    struct stat st;

    assert_int_equal(lstat(victim, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0750);
    assert_int_equal(st.st_nlink, 3); /* precious, and nothing new */
    assert_int_equal(st.st_uid, geteuid());
    assert_int_equal(lstat(precious, &st), 0);
}

static void refused(const char *what, const char *why)
{
    struct rest_server s;

    if (starts(&s)) {
        rest_stop(&s, SIGTERM);
        fail_msg("it started with %s (%s)", what, why);
    }
    if (!strstr(text, what) || !strstr(text, why))
        fail_msg("it says nothing of %s or %s: %s", what, why, text);
    assert_victim_untouched();
}

static char *below(const char *name)
{
    return mem_printf("%s%s%s", state_dir, *name ? "/" : "", name);
}

/* All that a controller makes. */
static void run_once(void)
{
    struct rest_server s;

    if (!starts(&s))
        fail_msg("%s", text);
    assert_int_equal(rest_stop(&s, SIGTERM), 0);
}

/* "" is the state directory itself. */
static const char *const places[] = {"",      "keys",       "sessions",
                                     "cache", "podterm.db", "podterm.db-wal"};
#define PLACES (sizeof places / sizeof *places)

static void a_planted_link_is_not_followed(void **state)
{
    (void)state;
    for (size_t i = 0; i < PLACES; i++) {
        own_mem char *path = below(places[i]);

        if (*places[i])
            assert_int_equal(mkdir(state_dir, 0711), 0);
        assert_int_equal(symlink(victim, path), 0);
        refused(path, "link");
        assert_int_equal(unlink(path), 0);
        if (*places[i]) {
            own_mem char *line = mem_printf("rm -r %s", state_dir);

            assert_int_equal(system(line), 0);
        }
    }
}

static void a_link_with_a_slash_behind_it_is_not_followed_either(void **state)
{
    own_mem char *link = state_dir;

    (void)state;
    state_dir = mem_printf("%s//", link);
    assert_int_equal(symlink(victim, link), 0);
    refused(link, "link");
}

static void what_is_another_users_is_refused(void **state)
{
    struct stat before, after;

    (void)state;
    if (geteuid() != 0)
        skip();
    run_once();
    for (size_t i = 0; i < PLACES; i++) {
        own_mem char *path = below(places[i]);
        own_fd int fd = -1;

        if (strstr(places[i], "-wal"))
            fd = open(path, O_CREAT | O_RDWR, 0600);
        assert_int_equal(lchown(path, OTHER, OTHER), 0);
        assert_int_equal(lstat(path, &before), 0);
        refused(path, "12345");
        assert_int_equal(lstat(path, &after), 0);
        assert_int_equal(after.st_uid, OTHER); /* not taken over */
        assert_int_equal(before.st_mode, after.st_mode);
        assert_int_equal(lchown(path, 0, 0), 0);
    }
    run_once();
}

static void what_others_may_write_is_refused(void **state)
{
    (void)state;
    run_once();
    for (size_t i = 0; i < PLACES; i++) {
        own_mem char *path = below(places[i]);
        own_fd int fd = -1;
        struct stat st;

        if (strstr(places[i], "-wal"))
            fd = open(path, O_CREAT | O_RDWR, 0600);
        assert_int_equal(lstat(path, &st), 0);
        assert_int_equal(chmod(path, 0720), 0);
        refused(path, "0720");
        assert_int_equal(chmod(path, 0702), 0);
        refused(path, "0702");
        assert_int_equal(chmod(path, st.st_mode & 07777), 0);
    }
    run_once();
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        T(a_planted_link_is_not_followed),
        T(a_link_with_a_slash_behind_it_is_not_followed_either),
        T(what_is_another_users_is_refused),
        T(what_others_may_write_is_refused),
    };

    fake_keeper_maybe(argc, argv);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
