/* Two installations never have a uid in common. */
#include "base/own.h"
#include "base/uidrange.h"
#include "tests/lib/programs.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static char *dir;

static int setup(void **state)
{
    (void)state;
    dir = scratch_new();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    scratch_remove(dir);
    return 0;
}

static void ranges_that_overlap_exclude_each_other(void **state)
{
    struct err e = {0};
    own_fd int a = uidrange_take(dir, "uids.lock", 1000, 100, &e);
    own_fd int beside = uidrange_take(dir, "uids.lock", 1100, 10, &e);
    own_fd int other = uidrange_take(dir, "dev.lock", 1000, 100, &e);

    (void)state;
    assert_true(a >= 0);
    assert_true(beside >= 0);
    assert_true(other >= 0);
    assert_int_equal(uidrange_take(dir, "uids.lock", 1099, 1, &e), -1);
    assert_int_equal(e.kind, ERR_BUSY);
    assert_int_equal(uidrange_take(dir, "uids.lock", 900, 5000, &e), -1);
}

static void a_killed_holder_holds_nothing(void **state)
{
    struct err e = {0};
    int pair[2], status;
    char byte;
    pid_t pid;

    (void)state;
    assert_int_equal(pipe(pair), 0);
    pid = fork();
    if (pid == 0) {
        byte = uidrange_take(dir, "uids.lock", 1, 9, &e) >= 0;
        if (write(pair[1], &byte, 1) == 1)
            pause();
        _exit(1);
    }
    assert_int_equal(read(pair[0], &byte, 1), 1);
    assert_int_equal(byte, 1);
    assert_int_equal(uidrange_take(dir, "uids.lock", 5, 1, &e), -1);
    kill(pid, SIGKILL);
    waitpid(pid, &status, 0);
    close(pair[0]);
    close(pair[1]);
    status = uidrange_take(dir, "uids.lock", 5, 1, &e);
    assert_true(status >= 0);
    close(status);
}

static void a_directory_that_cannot_be_is_told(void **state)
{
    struct err e = {0};

    (void)state;
    assert_int_equal(uidrange_take("/proc/none", "uids.lock", 1, 1, &e), -1);
    assert_int_equal(e.kind, ERR_SYSTEM);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ranges_that_overlap_exclude_each_other),
        cmocka_unit_test(a_killed_holder_holds_nothing),
        cmocka_unit_test(a_directory_that_cannot_be_is_told),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
