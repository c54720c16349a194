/*
 * The pool that KEDA keeps, from the controller's side: what is missing is told
 * of what it sees, and of nothing it has not seen yet; what is there is not
 * taken away, unless it is too much. The real operator: tests/keda.
 */
// link: -Wl,--wrap=activate_send
#include "base/mem.h"
#include "base/own.h"
#include "base/token_activate.h"
#include "controller/activate.h"
#include "controller/counts.h"
#include "tests/lib/kubebed.h"
#include "tests/lib/peer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define TARGET 2
#define STEADY_MS 800

static struct kubebed bed;

/* Whom the last was told, and with what. */
static char told_uid[64], told_id[ID_SIZE];
static uint8_t told_key[SESSION_KEY_BYTES];

int __wrap_activate_send(const struct activate *what, struct err *e);
int __wrap_activate_send(const struct activate *what, struct err *e)
{
    (void)e;
    snprintf(told_uid, sizeof told_uid, "%s", what->pod_uid);
    snprintf(told_id, sizeof told_id, "%s", what->pool_psk_id);
    memcpy(told_key, what->pool_key, sizeof told_key);
    return 0;
}

static int setup(void **arg)
{
    (void)arg;
    kubebed_start(&bed, TARGET);
    bed.set.is_keda = true;
    memset(bed.set.pool_secret, 7, sizeof bed.set.pool_secret);
    return 0;
}

static int teardown(void **arg)
{
    (void)arg;
    kubebed_stop(&bed);
    return 0;
}

static void is_missing(int64_t want)
{
    int64_t until = loop_now_ms() + KUBEBED_SOON_MS;

    while (bed.demand != want) {
        if (loop_now_ms() > until)
            fail_msg("%lld are missing, not %lld", (long long)bed.demand,
                     (long long)want);
        run_for(bed.loop, 20);
    }
}

static void are_there(const char *status)
{
    kubeworld_foreign(bed.world, "podterm-warm-a", "pa");
    kubeworld_foreign(bed.world, "podterm-warm-b", "pb");
    kubeworld_pod_is(bed.world, "pa", status);
    kubeworld_pod_is(bed.world, "pb", status);
}

/* Before its phase is Running, from when KEDA does not count it. */
static void a_runner_is_there_once_its_agent_listens(void **arg)
{
    (void)arg;
    kubebed_begin(&bed);
    is_missing(TARGET);
    are_there(KW_SCHEDULED);
    run_for(bed.loop, STEADY_MS);
    assert_int_equal(bed.demand, TARGET);
    kubeworld_pod_is(bed.world, "pa", KW_AGENT_UP);
    is_missing(TARGET - 1);
    kubeworld_pod_is(bed.world, "pa", KW_WAITS("ErrImagePull"));
    is_missing(TARGET);
    kubeworld_pod_is(bed.world, "pa", KW_LISTENS);
    is_missing(TARGET - 1);
    kubeworld_pod_is(bed.world, "pb", KW_LISTENS);
    is_missing(0);
    kubeworld_leaves(bed.world, "pods", "pb");
    is_missing(1);
    assert_int_equal(kubeworld_asked(bed.world, "POST", "", ""), 0);
}

static void nothing_is_missing_that_was_not_looked_for(void **arg)
{
    own_mem char(*sids)[ID_SIZE] = NULL;
    struct err e = {0};

    (void)arg;
    are_there(KW_LISTENS);
    assert_true(bed.launcher->list(bed.launcher, &sids, &e) >= 0);
    kubeworld_fault(bed.world, "GET", "/pods", KUBEWORLD_HOLD, 0, NULL, -1);
    bed.launcher->begin(bed.launcher, bed.trusted);
    run_for(bed.loop, 3000); /* past a tick */
    assert_int_equal(bed.demand, -1);
    kubeworld_heal(bed.world);
    is_missing(0);
}

static void the_next_leader_keeps_those_there_are(void **arg)
{
    (void)arg;
    are_there(KW_LISTENS);
    for (int i = 0; i < 2; i++) {
        bed.demand = -1;
        kubebed_begin(&bed);
        is_missing(0);
        run_for(bed.loop, STEADY_MS);
        assert_int_equal(kubeworld_count(bed.world, "jobs", "podterm-"), 2);
        kubebed_next(&bed, i);
    }
    assert_int_equal(kubeworld_asked(bed.world, "DELETE", "", ""), 0);
}

static void one_too_many_is_removed(void **arg)
{
    (void)arg;
    are_there(KW_LISTENS);
    kubeworld_foreign(bed.world, "podterm-warm-c", "pc");
    kubebed_begin(&bed);
    kubebed_until(&bed, "jobs", "podterm-warm-c", 0); /* it is not ready */
    run_for(bed.loop, STEADY_MS);
    assert_int_equal(kubeworld_count(bed.world, "jobs", "podterm-"), 2);
    assert_int_equal(bed.demand, 0);
}

/* By the key that its init container has left; and then it is missing. */
static void a_session_opens_the_door_of_one(void **arg)
{
    uint8_t key[SESSION_KEY_BYTES];
    char sid[ID_SIZE];

    (void)arg;
    are_there(KW_LISTENS);
    kubebed_begin(&bed);
    is_missing(0);
    kubebed_sid('a', sid);
    kubebed_launch(&bed, sid);
    kubebed_hears(&bed, "a:launched");
    is_missing(1);
    assert_int_equal(kubebed_said(&bed, "claimed=po"), 1);
    assert_string_equal(told_id, KUBE_POOL_PSK_ID);
    activate_pool_key(bed.set.pool_secret, told_uid, key);
    assert_memory_equal(told_key, key, sizeof key);
    kubeworld_repeat(bed.world, "pods", "pa"); /* whatever comes of it */
    kubeworld_repeat(bed.world, "pods", "pb");
    run_for(bed.loop, STEADY_MS);
    assert_int_equal(bed.demand, 1);
}

static void without_the_pools_secret_they_are_no_runners(void **arg)
{
    (void)arg;
    are_there(KW_LISTENS);
    bed.set.is_keda = false;
    kubebed_begin(&bed);
    kubebed_until(&bed, "jobs", "podterm-", 0);
    kubebed_until(&bed, "jobs", "w-", TARGET);
    assert_int_equal(bed.demand, -1);
}

/* Its Job tells of itself once its pod is there: as its number of them grows. */
static void is_removed(const char *job)
{
    int64_t until = loop_now_ms() + KUBEBED_SOON_MS;

    while (kubeworld_count(bed.world, "jobs", job)) {
        assert_true(loop_now_ms() < until);
        kubeworld_repeat(bed.world, "jobs", job);
        run_for(bed.loop, 50);
    }
}

/* What the ScaledJob has that our own template has not, or may not have. */
static void one_that_is_not_like_a_sessions_pod_is_not_used(void **arg)
{
    static const char *const cases[][2] = {
        {"- {name: tmp, mountPath: /tmp}",
         "- {name: tmp, mountPath: /tmp}\n"
         "          - {name: pool-secret, mountPath: /peek, readOnly: true}"},
        {"enableServiceLinks: false", "runtimeClassName: other"},
        {"image: " KUBEWORLD_RUNNER, "image: example/runner:0"},
        {"image: " KUBEWORLD_AGENT, "image: example/agent:0"},
        {"          - --spec=/run/podterm/warm/warm.json\n",
         "          - --spec=/run/podterm/warm/warm.json\n"
         "          - --state-file=/run/podterm/ipc/agent.state\n"},
        {"            runAsUser: 10001\n",
         "            runAsUser: 10001\n"
         "            seccompProfile: {type: Localhost, localhostProfile: x}"
         "\n"},
    };
    char sid[ID_SIZE];

    (void)arg;
    kubebed_begin(&bed);
    is_missing(TARGET);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        own_mem char *pod = mem_printf("p%zu", i);
        own_mem char *job = mem_printf("podterm-warm-%zu", i);

        kubeworld_altered(bed.world, job, pod, cases[i][0], cases[i][1]);
        kubeworld_pod_is(bed.world, pod, KW_LISTENS);
        is_removed(job);
        is_missing(0); /* KEDA would make one after the other */
        assert_int_equal(count_get(COUNT_WARM), 0);
    }
    kubebed_sid('a', sid);
    kubebed_launch(&bed, sid);
    kubebed_hears(&bed, "a:launched");
    assert_int_equal(kubebed_said(&bed, "claimed=po"), 0);
}

#define T(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(a_runner_is_there_once_its_agent_listens),
        T(nothing_is_missing_that_was_not_looked_for),
        T(the_next_leader_keeps_those_there_are),
        T(one_too_many_is_removed),
        T(a_session_opens_the_door_of_one),
        T(one_that_is_not_like_a_sessions_pod_is_not_used),
        T(without_the_pools_secret_they_are_no_runners),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
