#include "tests/lib/clusterrun.h"

#include "base/mem.h"
#include "base/own.h"
#include "tests/lib/skipped.h"

#include <stdio.h>
#include <stdlib.h>

static char to_set[256]; /* "" = nothing is missing */

static void look_what_is_missing(void)
{
    static const char *const needed[] = {"KUBECONFIG", "PODTERM_AGENT_IMAGE",
                                         "PODTERM_RUNNER_IMAGE",
                                         "PODTERM_PUBLIC"};
    size_t len = 0;

    for (size_t i = 0; i < sizeof needed / sizeof *needed; i++) {
        const char *value = getenv(needed[i]);

        if (!value || !*value)
            len += (size_t)snprintf(to_set + len, sizeof to_set - len, "%s%s",
                                    len ? ", " : "to be set: ", needed[i]);
    }
}

static void not_here(void **arg)
{
    (void)arg;
    skipped(to_set);
}

int clusterrun(const struct CMUnitTest *tests, size_t count,
               CMFixtureFunction setup, CMFixtureFunction teardown)
{
    own_mem struct CMUnitTest *none = NULL;

    look_what_is_missing();
    if (!to_set[0])
        return _cmocka_run_group_tests("tests", tests, count, setup, teardown);
    none = mem_zero(count, sizeof *none);
    for (size_t i = 0; i < count; i++)
        none[i] =
            (struct CMUnitTest){.name = tests[i].name, .test_func = not_here};
    return _cmocka_run_group_tests("tests", none, count, NULL, NULL);
}
