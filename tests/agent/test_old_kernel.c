/*
 * The agent's bundle path on a kernel without openat2, and on one without
 * Landlock either (gVisor): the tests of its parts, run again under filters
 * that answer ENOSYS. A filter does not come off: the order of tests counts.
 */
#include "tests/lib/child.h"
#include "tests/lib/nocall.h"
#include "tests/lib/programs.h"

#include "base/beneath.h"
#include "base/mem.h"
#include "base/own.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/syscall.h>

#include <cmocka.h>

/* filter: which of its tests, as CMOCKA_TEST_FILTER has it */
static void passes_some(const char *test, const char *filter)
{
    own_mem char *name = mem_printf("../tests/agent/%s", test);
    own_mem char *path = program_path(name);
    own_mem char *only = mem_printf("CMOCKA_TEST_FILTER=%s", filter);
    const char *const argv[] = {path, NULL}, *const env[] = {only, NULL};
    struct child c = {.argv = argv, .env = env};

    child_run(&c);
    if (c.code != 0 || strstr(c.err, "Running 0 test"))
        fail_msg("%s %s ended with %d:\n%s\n%s", test, filter, c.code, c.out,
                 c.err);
    child_fini(&c);
}

static void passes(const char *test)
{
    passes_some(test, "*");
}

/* All of it but what only counts many entries. */
static void unpacking_passes(void)
{
    static const char *const rows[] = {"a_plain*", "each_hostile*",
                                       "a_name*",  "the_deepest*",
                                       "noise*",   "every_f*"};

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        passes_some("test_unpack", rows[i]);
}

static int no_openat2(void **arg)
{
    (void)arg;
    nocall(SYS_openat2, ENOSYS);
    return beneath_is_native() ? -1 : 0;
}

static void archives_are_unpacked_and_refused_without_openat2(void **arg)
{
    (void)arg;
    unpacking_passes();
}

static void what_a_bundle_starts_is_found_without_openat2(void **arg)
{
    (void)arg;
    passes("test_manifest");
}

static void files_are_fetched_without_openat2(void **arg)
{
    (void)arg;
    passes("test_fetch");
}

static void bundles_are_made_ready_without_openat2(void **arg)
{
    (void)arg;
    passes("test_bundle");
}

/* openat, which the walk needs there, opens nothing more to an attacker. */
static void the_unpacker_is_locked_in_without_openat2(void **arg)
{
    (void)arg;
    passes("test_lockdown");
    passes("test_lockdown_limits");
}

/* What dials never asks for openat2, and goes on without Landlock too. */
static void the_proxy_goes_on_without_landlock(void **arg)
{
    (void)arg;
    passes("test_lockdown_network");
    passes("test_proxy");
}

static void nor_is_landlock_needed_to_unpack(void **arg)
{
    (void)arg;
    nocall(SYS_landlock_create_ruleset, ENOSYS);
    unpacking_passes();
    passes("test_bundle");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(archives_are_unpacked_and_refused_without_openat2),
        cmocka_unit_test(what_a_bundle_starts_is_found_without_openat2),
        cmocka_unit_test(files_are_fetched_without_openat2),
        cmocka_unit_test(bundles_are_made_ready_without_openat2),
        cmocka_unit_test(the_unpacker_is_locked_in_without_openat2),
        cmocka_unit_test(nor_is_landlock_needed_to_unpack),
        cmocka_unit_test(the_proxy_goes_on_without_landlock),
    };

    return cmocka_run_group_tests(tests, no_openat2, NULL);
}
