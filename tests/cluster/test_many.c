/*
 * Fifty sessions asked for at once on a cluster of one node: each ends with
 * its own exit code, and nothing of any is left.
 */
// alone: its fifty sessions take all of the node
#include "base/loop.h"
#include "base/mem.h"
#include "base/own.h"
#include "tests/lib/clusterbed.h"
#include "tests/lib/clusterfiles.h"
#include "tests/lib/clusterrun.h"

#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define MANY 50
#define ALL_MS 300000

static struct clusterbed *bed;
static char *template;

/* So small that the scheduler lets all run at once, and soon removed. */
static int setup(void **arg)
{
    static const char *const changes[][2] = {
        {"memory: 64Mi", "memory: 8Mi"},
        {"memory: 256Mi", "memory: 8Mi"},
        {"ttlSecondsAfterFinished: 120", "ttlSecondsAfterFinished: 10"},
        {NULL, NULL}};
    static const char *more[] = {"--job-template", NULL, NULL};

    (void)arg;
    bed = clusterbed_new(NULL, NULL);
    template = clusterfiles_template(bed, "many", changes);
    more[1] = template;
    bed->more = more;
    clusterbed_kill(bed, 0, SIGTERM);
    clusterbed_start(bed, 0);
    return 0;
}

static int teardown(void **arg)
{
    (void)arg;
    clusterbed_free(bed);
    free(template);
    return 0;
}

static void fifty_sessions_at_once(void **arg)
{
    struct stack_session all[MANY];
    struct stack_bundle bundles[MANY];
    int fds[MANY];
    own_mem char *identity = NULL;
    int64_t until;

    (void)arg;
    for (int i = 0; i < MANY; i++) {
        own_mem char *name = mem_printf("exit-%d", i);
        own_mem char *script = mem_printf("echo %d; exit %d", i, i);

        clusterbed_pack(bed, name, script, &bundles[i]);
    }
    identity = stack_identity(&bed->stack, "ann");
    for (int i = 0; i < MANY; i++)
        fds[i] = stack_ask(&bed->stack, identity, &bundles[i], "");
    for (int i = 0; i < MANY; i++)
        stack_created("ann", fds[i], &all[i]);
    until = loop_now_ms() + ALL_MS;
    for (int i = 0; i < MANY; i++) {
        int left_ms = (int)(until - loop_now_ms());
        own_json struct json *j = stack_wait(
            &bed->stack, "ann", all[i].sid, "ended", left_ms > 0 ? left_ms : 0);
        int64_t code = -1;

        assert_string_equal(json_get_str(j, "reason"), "exited");
        assert_int_equal(json_get_int(j, "exit_code", &code), 0);
        assert_int_equal(code, i);
        stack_session_fini(&all[i]);
    }
    clusterbed_wait_nothing(bed, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fifty_sessions_at_once),
    };

    return CLUSTERRUN(tests, setup, teardown);
}
