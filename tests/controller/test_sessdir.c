/* Session directories: made for the right uids, read without following
 * links, removed whatever a program left in them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "controller/sessdir.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char top[64], sessions[96], dir[160];
static struct sessdir_owner owner;
static struct err e;

static int setup(void **state)
{
    (void)state;
    snprintf(top, sizeof top, "/tmp/podterm-sessdir.XXXXXX");
    assert_non_null(mkdtemp(top));
    snprintf(sessions, sizeof sessions, "%s/sessions", top);
    snprintf(dir, sizeof dir, "%s/aaaaaaaaaaaaaaaaaaaaaaaaaa", sessions);
    owner = (struct sessdir_owner){geteuid() == 0, 210000, 210001};
    memset(&e, 0, sizeof e);
    return sessdir_setup(top, owner.is_root, &e);
}

static int teardown(void **state)
{
    char line[128];

    (void)state;
    snprintf(line, sizeof line, "rm -rf %s", top);
    return system(line);
}

static void path_of(const char *name, char out[256])
{
    snprintf(out, 256, "%s/%s", dir, name);
}

static void make(void)
{
    assert_int_equal(sessdir_make(dir, &owner, "{}", "kid\n", &e), 0);
}

static void assert_mode(const char *name, mode_t mode, uid_t uid, gid_t gid)
{
    char path[256];
    struct stat st;

    path_of(name, path);
    assert_int_equal(lstat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, mode);
    if (owner.is_root) {
        assert_int_equal(st.st_uid, uid);
        assert_int_equal(st.st_gid, gid);
    }
}

static void directories_are_for_whom_they_should(void **state)
{
    (void)state;
    make();
    assert_mode(".", owner.is_root ? 0710 : 0700, 0, 210001);
    assert_mode("agent", 0700, 210000, 210001);
    assert_mode("ipc", 0755, 210000, 210001);
    assert_mode("bundle", 0755, 210000, 210001);
    assert_mode("agent/spec.json", 0600, 210000, 210001);
    assert_mode("agent/end.json", 0600, 210000, 210001);
    if (!owner.is_root)
        return;
    assert_int_equal(sessdir_owner_of(dir).runner, 210001);
    assert_int_equal(sessdir_owner_of(dir).agent, 210000);
    assert_int_equal(sessdir_owner_of("/no/where").agent, 0);
}

static void making_twice_fails_and_leaves_the_first(void **state)
{
    (void)state;
    make();
    assert_int_equal(sessdir_make(dir, &owner, "{}", "", &e), -1);
    assert_mode("agent/spec.json", 0600, 210000, 210001);
}

static void reading_takes_regular_files_within_the_limit_alone(void **state)
{
    char path[256];
    struct buf out;

    (void)state;
    make();
    buf_init(&out, 8);
    assert_int_equal(sessdir_read(dir, "trust", &out, &e), 0);
    assert_string_equal(buf_cstr(&out), "kid\n");
    assert_int_equal(sessdir_read(dir, "agent/none", &out, &e), -1);
    assert_int_equal(e.kind, ERR_ABSENT);
    path_of("agent/link", path);
    assert_int_equal(symlink("/etc/hostname", path), 0);
    assert_int_equal(sessdir_read(dir, "agent/link", &out, &e), -1);
    assert_int_equal(e.kind, ERR_INPUT);
    path_of("agent/fifo", path);
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(sessdir_read(dir, "agent/fifo", &out, &e), -1);
    assert_int_equal(e.kind, ERR_INPUT);
    path_of("agent/long", path);
    int fd = open(path, O_CREAT | O_WRONLY, 0600);
    assert_int_equal(write(fd, "123456789", 9), 9);
    close(fd);
    assert_int_equal(sessdir_read(dir, "agent/long", &out, &e), -1);
    assert_int_equal(e.kind, ERR_INPUT);
    buf_fini(&out);
}

static void removal_leaves_nothing_and_follows_no_link(void **state)
{
    char path[256], outside[128];
    struct stat st;

    (void)state;
    make();
    snprintf(outside, sizeof outside, "%s/outside", top);
    assert_int_equal(mkdir(outside, 0700), 0);
    path_of("bundle/away", path);
    assert_int_equal(symlink(outside, path), 0);
    path_of("bundle/deep", path);
    for (int i = 0; i < 20; i++) {
        assert_int_equal(mkdir(path, 0700), 0);
        strcat(path, "/d");
    }
    path_of("bundle/closed", path);
    assert_int_equal(mkdir(path, 0700), 0);
    strcat(path, "/file");
    assert_int_equal(close(open(path, O_CREAT | O_WRONLY, 0400)), 0);
    path_of("bundle/closed", path);
    assert_int_equal(chmod(path, 0), 0);
    assert_int_equal(sessdir_remove(dir, NULL, &e), 0);
    assert_int_equal(lstat(dir, &st), -1);
    assert_int_equal(lstat(outside, &st), 0);
    assert_int_equal(rmdir(outside), 0);
    assert_int_equal(rmdir(sessions), 0); /* nothing half removed either */
}

static void removing_what_is_gone_is_fine(void **state)
{
    (void)state;
    assert_int_equal(sessdir_remove(dir, NULL, &e), 0);
}

static void removal_that_was_cut_short_is_finished(void **state)
{
    char gone[200];

    (void)state;
    make();
    snprintf(gone, sizeof gone, "%s/.gone-x", sessions);
    assert_int_equal(rename(dir, gone), 0);
    assert_int_equal(sessdir_remove(gone, NULL, &e), 0);
    assert_int_equal(rmdir(sessions), 0);
}

/* So many directories inside each other below dir/bundle, each with a file,
 * a link out and closed to all but root; `outside` is what the links name. */
static void make_nested(int count, const char *outside)
{
    char path[256];
    int at;

    path_of("bundle", path);
    at = open(path, O_RDONLY | O_DIRECTORY);
    for (int i = 0; i < count; i++) {
        int next;

        assert_int_equal(mkdirat(at, "d", 0700), 0);
        next = openat(at, "d", O_RDONLY | O_DIRECTORY);
        assert_true(next >= 0);
        assert_int_equal(symlinkat(outside, next, "away"), 0);
        assert_int_equal(
            close(openat(next, "file", O_CREAT | O_WRONLY | O_CLOEXEC, 0400)),
            0);
        assert_int_equal(fchmod(at, 0), 0);
        close(at);
        at = next;
    }
    close(at);
}

static void removal_goes_as_deep_as_the_tree(void **state)
{
    char outside[128], file[160];
    struct stat st;

    (void)state;
    make();
    snprintf(outside, sizeof outside, "%s/outside", top);
    snprintf(file, sizeof file, "%s/kept", outside);
    assert_int_equal(mkdir(outside, 0700), 0);
    assert_int_equal(close(open(file, O_CREAT | O_WRONLY, 0600)), 0);
    make_nested(3000, outside);
    if (sessdir_remove(dir, NULL, &e) != 0)
        fail_msg("%s", e.text);
    assert_int_equal(lstat(file, &st), 0);
    assert_int_equal(rmdir(sessions), 0);
}

/* Directories that are not empty side by side where they are moved up. */
static void removal_goes_as_wide_as_the_tree(void **state)
{
    char path[256], name[32];
    int at;

    (void)state;
    make();
    path_of("bundle", path);
    at = open(path, O_RDONLY | O_DIRECTORY);
    for (int i = 0; i < 40; i++) {
        int next;

        for (int k = 0; k < 100; k++) {
            snprintf(name, sizeof name, "w%d", k);
            assert_int_equal(mkdirat(at, name, 0700), 0);
            snprintf(name, sizeof name, "w%d/in", k);
            assert_int_equal(mkdirat(at, name, 0700), 0);
        }
        next = openat(at, "w50", O_RDONLY | O_DIRECTORY);
        close(at);
        at = next;
    }
    close(at);
    assert_int_equal(sessdir_remove(dir, NULL, &e), 0);
    assert_int_equal(rmdir(sessions), 0);
}

static void removal_stops_when_it_must_and_is_taken_up(void **state)
{
    const _Atomic int64_t now = 0;
    char gone[200];
    struct stat st;

    (void)state;
    make();
    assert_int_equal(sessdir_remove(dir, &now, &e), 1);
    assert_int_equal(lstat(dir, &st), -1);
    snprintf(gone, sizeof gone, "%s/.gone-%s", sessions, strrchr(dir, '/') + 1);
    assert_int_equal(lstat(gone, &st), 0);
    /* the next that gets its uids has no way in */
    assert_int_equal(st.st_mode & 07777, 0700);
    assert_int_equal(sessdir_remove(gone, NULL, &e), 0);
    assert_int_equal(rmdir(sessions), 0);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(directories_are_for_whom_they_should),
        T(making_twice_fails_and_leaves_the_first),
        T(reading_takes_regular_files_within_the_limit_alone),
        T(removal_leaves_nothing_and_follows_no_link),
        T(removing_what_is_gone_is_fine),
        T(removal_that_was_cut_short_is_finished),
        T(removal_goes_as_deep_as_the_tree),
        T(removal_goes_as_wide_as_the_tree),
        T(removal_stops_when_it_must_and_is_taken_up),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
