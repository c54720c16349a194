/*
 * Directories of ended sessions, on a disk that is hardly moving: small ones
 * do not wait for large ones, each counts for its owner until it is gone, and
 * stopping waits for none.
 */
// link: -Wl,--wrap=unlinkat
#include "controller/removals.h"

#include "base/mem.h"
#include "base/own.h"
#include "tests/lib/peer.h"
#include "tests/lib/programs.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define ENTRY_MS 5 /* an entry's removal takes so long */
#define LARGE 400  /* entries: 2 s */
#define SOON_MS 20000

static atomic_bool is_slow;

int __real_unlinkat(int fd, const char *name, int flags);
int __wrap_unlinkat(int fd, const char *name, int flags);

int __wrap_unlinkat(int fd, const char *name, int flags)
{
    if (atomic_load(&is_slow))
        usleep(ENTRY_MS * 1000);
    return __real_unlinkat(fd, name, flags);
}

static struct loop *loop;
static struct removals *removals;
static char *dir;

static int setup(void **arg)
{
    (void)arg;
    atomic_store(&is_slow, true);
    dir = scratch_new();
    loop = loop_new();
    removals = removals_new(loop);
    return 0;
}

static int teardown(void **arg)
{
    (void)arg;
    atomic_store(&is_slow, false);
    removals_free(removals);
    loop_free(loop);
    scratch_remove(dir);
    return 0;
}

static void leave(const char *name, int entries, uint64_t owner)
{
    char *path = mem_printf("%s/%s", dir, name);
    own_fd int fd = -1;
    char entry[16];

    assert_int_equal(mkdir(path, 0700), 0);
    fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    for (int i = 0; i < entries; i++) {
        snprintf(entry, sizeof entry, "%d", i);
        assert_int_equal(mkdirat(fd, entry, 0700), 0);
    }
    removals_add(removals, path, owner);
}

static bool is_none_left(void *owner)
{
    return removals_count(removals, *(uint64_t *)owner) == 0;
}

static void a_small_one_does_not_wait_for_large_ones(void **arg)
{
    uint64_t hog = 7, other = 8;

    (void)arg;
    for (int i = 0; i < 3 * REMOVALS_THREADS; i++) {
        char name[24];

        snprintf(name, sizeof name, "large%d", i);
        leave(name, LARGE, hog);
    }
    leave("small", 3, other);
    assert_int_equal(removals_count(removals, other), 1);
    assert_true(run_until(loop, is_none_left, &other, SOON_MS));
    assert_int_equal(removals_count(removals, hog), 3 * REMOVALS_THREADS);
}

static void one_counts_for_its_owner_until_it_is_gone(void **arg)
{
    uint64_t owner = 7;
    own_mem char *gone = mem_printf("%s/.gone-large", dir);

    (void)arg;
    leave("large", LARGE, owner); /* some slices */
    assert_int_equal(removals_count(removals, owner), 1);
    assert_int_equal(removals_count(removals, owner + 1), 0);
    assert_true(run_until(loop, is_none_left, &owner, SOON_MS));
    assert_int_not_equal(access(gone, F_OK), 0);
}

static void stopping_waits_for_none(void **arg)
{
    int64_t begun;

    (void)arg;
    for (int i = 0; i < 3 * REMOVALS_THREADS; i++) {
        char name[24];

        snprintf(name, sizeof name, "large%d", i);
        leave(name, LARGE, 7);
    }
    run_for(loop, 20);
    begun = loop_now_ms();
    removals_free(removals);
    assert_in_range(loop_now_ms() - begun, 0, REMOVALS_SLICE_MS + 1000);
    removals = removals_new(loop);
}

#define T(t) cmocka_unit_test_setup_teardown(t, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(a_small_one_does_not_wait_for_large_ones),
        T(one_counts_for_its_owner_until_it_is_gone),
        T(stopping_waits_for_none),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
