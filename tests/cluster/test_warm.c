/*
 * The warm pool on a real cluster: kept at its target, given out once, and a
 * session in a warm pod is a session like any other.
 */
#include "base/loop.h"
#include "base/mem.h"
#include "base/own.h"
#include "tests/lib/clusterbed.h"

#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define SAID_MAX (1 << 20)
#define TARGET 2
#define READY_MS 60000
#define POLL_MS 250
#define SETTLED_POLLS 20 /* looked at while it must not move */

static struct clusterbed *bed;
static struct stack_bundle ask;

static int setup(void **arg)
{
    static const char *const more[] = {"--warm-target", "2", NULL};

    (void)arg;
    bed = clusterbed_new(NULL, more);
    clusterbed_pack(bed, "ask",
                    "printf 'name? '; read x; echo hello $x; exit 7", &ask);
    return 0;
}

static int teardown(void **arg)
{
    (void)arg;
    clusterbed_free(bed);
    return 0;
}

static void wait_ready(int want)
{
    int64_t until = loop_now_ms() + READY_MS;

    while (clusterbed_warm(bed, true) != want) {
        if (loop_now_ms() > until)
            fail_msg("%d warm pods are ready, not %d",
                     clusterbed_warm(bed, true), want);
        poll(NULL, 0, POLL_MS);
    }
}

static void the_pool_is_kept_at_its_target(void **arg)
{
    int above = 0;

    (void)arg;
    wait_ready(TARGET);
    for (int i = 0; i < SETTLED_POLLS; i++) {
        int n = clusterbed_warm(bed, false);

        above = n > TARGET ? above + 1 : 0;
        assert_true(above < 2); /* not for two polls running */
        assert_true(n >= TARGET);
        poll(NULL, 0, POLL_MS);
    }
}

static void a_session_takes_a_warm_pod_and_another_takes_its_place(void **arg)
{
    int64_t begun_ms;
    struct stack_link l = {0};
    struct stack_session ss;
    own_json struct json *j = NULL;
    struct buf said;

    (void)arg;
    buf_init(&said, SAID_MAX);
    wait_ready(TARGET);
    begun_ms = loop_now_ms();
    stack_create(&bed->stack, "ann", &ask, "", &ss);
    clusterbed_attach(bed, &l, &ss, 0);
    clusterbed_expect(bed, &l, &said, "name?");
    print_message("POST to first byte: %lld ms\n",
                  (long long)(loop_now_ms() - begun_ms));
    assert_int_equal(clusterbed_count(bed, "jobs", ss.sid), 0);
    stack_type(&l, l.input_acked, "ann\n", 4);
    clusterbed_expect(bed, &l, &said, NULL);
    assert_non_null(strstr(buf_cstr(&said), "hello ann"));
    assert_int_equal(l.exit_code, 7);
    stack_cut(&l);
    j = stack_wait(&bed->stack, "ann", ss.sid, "ended", 20000);
    assert_string_equal(json_get_str(j, "reason"), "exited");
    wait_ready(TARGET);
    stack_session_fini(&ss);
    buf_fini(&said);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_pool_is_kept_at_its_target),
        cmocka_unit_test(
            a_session_takes_a_warm_pod_and_another_takes_its_place),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
