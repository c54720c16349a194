/* The README's program with the task list: built as it says, and run. */
#include "base/mem.h"
#include "base/own.h"
#include "tests/lib/child.h"
#include "tests/lib/programs.h"
#include "tests/lib/tree.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#define FETCHED "ok    Fetch: 3 files from here\n"
#define SUMS "ok    Check: Sums\n"
#define NAMES "ok    Check: Names\n"
#define NOWHERE                                                                \
    "FAIL  Fetch: there is nowhere to fetch from\n"                            \
    "skip  Check: Sums\nskip  Check: Names\n"

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

/* The first block of that kind, the caller's. */
static char *block(const char *text, const char *fence)
{
    const char *at = strstr(text, fence), *end;

    assert_non_null(at);
    at += strlen(fence);
    end = strstr(at, "\n```");
    assert_non_null(end);
    return mem_printf("%.*s\n", (int)(end - at), at);
}

/* What it prints is one of these. */
static void runs(const char *const argv[], int code, const char *out,
                 const char * or)
{
    own_mem char *here = getcwd(NULL, 0);
    own_mem char *root = mem_printf("PODTERM=%s", here);
    const char *const env[] = {root, "LC_ALL=C.UTF-8", NULL};
    struct child c = {.argv = argv, .env = env, .cwd = dir};

    child_expect(&c, code);
    if (strcmp(c.out, or) != 0)
        assert_string_equal(c.out, out);
    assert_string_equal(c.err, "");
    child_fini(&c);
}

static void the_readmes_program_runs_as_it_stands(void **state)
{
    size_t len;
    own_mem char *readme = tree_get("sample-cli/README.md", &len);
    own_mem char *code = block(readme, "\n```c\n");
    own_mem char *make = block(readme, "\n```sh\n");
    const char *const build[] = {"sh", "-ec", make, NULL};
    const char *const good[] = {"./fetch", "here", NULL};
    const char *const bad[] = {"./fetch", NULL};

    (void)state;
    tree_put(dir, "fetch.c", code);
    runs(build, 0, "", "");
    /* two at once end in either order */
    runs(good, 0, FETCHED SUMS NAMES, FETCHED NAMES SUMS);
    runs(bad, 1, NOWHERE, NOWHERE);
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(the_readmes_program_runs_as_it_stands),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
