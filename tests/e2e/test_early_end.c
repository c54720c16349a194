/*
 * An end that comes before the program: why it came is recorded, also where
 * the cage has not even come up by then. Such a cage is one whose shim never
 * says anything.
 */
#include "base/frame.h"
#include "base/mem.h"
#include "base/own.h"
#include "tests/lib/programs.h"
#include "tests/lib/stack.h"
#include "tests/lib/tree.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#define ENDED_MS 20000

static char *dir, *shim_flag;
static struct stack *stack;
static struct stack_bundle bundle;

static int setup(void **arg)
{
    static const char *more[] = {"--", "--linger-detached-s=1", NULL, NULL};
    own_mem char *shim = NULL;

    (void)arg;
    dir = scratch_new();
    tree_put(dir, "shim", "#!/bin/sh\nexec sleep 1000\n");
    shim = mem_printf("%s/shim", dir);
    assert_int_equal(chmod(shim, 0755), 0);
    more[2] = shim_flag = mem_printf("--shim=%s", shim);
    stack = stack_new(more);
    stack_pack(stack, "stays", "sleep 1000", &bundle);
    return 0;
}

static int teardown(void **arg)
{
    (void)arg;
    stack_free(stack);
    scratch_remove(dir);
    free(shim_flag);
    return 0;
}

static void ends_as(struct stack_session *ss, const char *reason,
                    const char *detail)
{
    own_json struct json *j =
        stack_wait(stack, ss->who, ss->sid, "ended", ENDED_MS);

    assert_string_equal(json_get_str(j, "reason"), reason);
    if (detail)
        assert_non_null(strstr(json_get_str(j, "detail"), detail));
    stack_session_fini(ss);
}

static void a_refused_bundle_is_told_though_no_runner_came(void **arg)
{
    struct stack_bundle other = bundle;
    struct stack_session ss;

    (void)arg;
    memset(other.sha256, '0', 64);
    stack_create(stack, "ann", &other, "", &ss);
    ends_as(&ss, "bundle_refused", "SHA-256");
}

static void an_owners_end_is_told_though_no_runner_came(void **arg)
{
    struct stack_session ss;
    struct stack_link l = {0};
    uint8_t end[FRAME_HEAD_MAX];

    (void)arg;
    stack_create(stack, "ann", &bundle, "", &ss);
    assert_true(stack_attach(stack, &l, ss.token, 0, 80, 24));
    wspeer_send(l.peer, 2, end, frame_head(end, FRAME_END));
    while (stack_pump(&l, NULL, NULL, true))
        ;
    assert_string_equal(l.reason, "deleted");
    stack_cut(&l);
    ends_as(&ss, "deleted", NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_refused_bundle_is_told_though_no_runner_came),
        cmocka_unit_test(an_owners_end_is_told_though_no_runner_came),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
