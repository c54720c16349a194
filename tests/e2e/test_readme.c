/*
 * README's recipes as they stand there: packed by its commands, run by its
 * commands in the whole of podterm. Run from the project's root.
 */
#include "base/mem.h"
#include "base/own.h"
#include "tests/lib/child.h"
#include "tests/lib/programs.h"
#include "tests/lib/stack.h"
#include "tests/lib/tree.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

static struct stack *stack;
static char *readme, *where; /* bundles/ of the stack */

static int setup_all(void **state)
{
    own_mem char *exe = program_path("podterm");
    own_mem char *dir = realpath(exe, NULL);
    own_mem char *path = NULL, *server = NULL;
    size_t len;

    (void)state;
    readme = tree_get("README.md", &len);
    stack = stack_new(NULL);
    where = mem_printf("%s/bundles", stack->dir);
    *strrchr(dir, '/') = 0;
    path = mem_printf("%s:%s", dir, getenv("PATH"));
    server = mem_printf("http://127.0.0.1:%d", stack->port);
    setenv("PATH", path, 1);
    setenv("PODTERM_SERVER", server, 1);
    setenv("PODTERM_QUIET", "true", 1);
    return 0;
}

static int teardown_all(void **state)
{
    (void)state;
    stack_free(stack);
    free(readme);
    free(where);
    return 0;
}

/* The next shell block from *at on, the caller's. */
static char *block(const char **at)
{
    const char *from = strstr(*at, "\n```sh\n"), *to;

    assert_non_null(from);
    from += strlen("\n```sh\n");
    to = strstr(from, "```\n");
    assert_non_null(to);
    *at = to + strlen("```\n");
    return mem_strn(from, (size_t)(to - from));
}

/* Pack by the recipe of that name; *at is left behind it. */
static void pack(const char *name, const char **at)
{
    own_mem char *mark = mem_printf("<!-- recipe: %s -->", name);
    own_mem char *script = NULL;
    const char *argv[] = {"bash", "-euo", "pipefail", "-c", NULL, NULL};
    struct child c = {.argv = argv, .cwd = where};

    *at = strstr(readme, mark);
    assert_non_null(*at);
    argv[4] = script = block(at);
    child_expect(&c, 0);
    child_fini(&c);
}

/* Run this script, typing what is given; its output must have the text. */
static void runs(const char *script, const char *typed, int code,
                 const char *want)
{
    own_mem char *whole = mem_printf("%s | { %s\n}", typed, script);
    const char *argv[] = {"bash", "-c", whole, NULL};
    struct child c = {.argv = argv, .cwd = where};

    child_expect(&c, code);
    if (!strstr(c.out, want))
        fail_msg("the output lacks \"%s\":\n%s%s", want, c.out, c.err);
    child_fini(&c);
}

/* The recipes that README shows no run for are run like the others. */
static void runs_bundle(const char *name, const char *more, int code,
                        const char *want)
{
    own_mem char *script =
        mem_printf("podterm run --bundle \"file://$PWD/%s.tar.gz\" --sha256 "
                   "\"$(sha256sum %s.tar.gz | cut -d' ' -f1)\" %s",
                   name, name, more);

    runs(script, "true", code, want);
}

static void a_c_program_brings_its_libraries(void **state)
{
    own_mem char *script = NULL, *line = NULL;
    const char *at;

    (void)state;
    pack("c", &at);
    script = block(&at);
    runs(script, "true", 7, "hello from cJSON ");
    runs(script, "true", 7, ", again");
    line = mem_strn(script, strcspn(script, "\n"));
    runs(line, "true", 7, ", you");
}

/* The program must not find the host's library by chance. */
static void its_library_is_the_bundles(void **state)
{
    const char *at;

    (void)state;
    pack("c", &at);
    runs_bundle("hello",
                "-- sh -c 'LD_TRACE_LOADED_OBJECTS=1 "
                "/run/podterm/bundle/root/bin/hello'",
                0, "libcjson.so.1 => /run/podterm/bundle/root/bin/../lib/");
}

static void a_python_program_is_one_file(void **state)
{
    own_mem char *script = NULL;
    const char *at;

    (void)state;
    if (access("/usr/bin/python3", X_OK) < 0)
        skip();
    pack("python", &at);
    script = block(&at);
    runs(script, "echo Ada", 0, "good day, Ada");
}

static void python_packages_lie_beside_the_program(void **state)
{
    const char *at;

    (void)state;
    if (access("/usr/bin/python3", X_OK) < 0)
        skip();
    pack("python-vendored", &at);
    runs_bundle("vendored", "", 0, "42");
}

static void a_node_program_brings_its_modules(void **state)
{
    const char *at;

    (void)state;
    if (access("/usr/bin/node", X_OK) < 0)
        skip();
    pack("node", &at);
    runs_bundle("njs", "-- njs Ada", 0, "hello, Ada, from Node v");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_c_program_brings_its_libraries),
        cmocka_unit_test(its_library_is_the_bundles),
        cmocka_unit_test(a_python_program_is_one_file),
        cmocka_unit_test(python_packages_lie_beside_the_program),
        cmocka_unit_test(a_node_program_brings_its_modules),
    };

    return cmocka_run_group_tests(tests, setup_all, teardown_all);
}
