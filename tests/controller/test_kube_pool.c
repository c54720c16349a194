/*
 * The pool's number: kept, never above, through an API that fails, Jobs that
 * go, leaders that change; and what may not be given out is not.
 */
// link: -Wl,--wrap=activate_send
#include "base/mem.h"
#include "base/own.h"
#include "controller/activate.h"
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
#define LOOKS 40
#define LOOK_MS 20
#define QUOTA "pods is forbidden: exceeded quota: q"

static struct kubebed bed;
static char sid[ID_SIZE];

int __wrap_activate_send(const struct activate *what, struct err *e);
int __wrap_activate_send(const struct activate *what, struct err *e)
{
    (void)what;
    (void)e;
    return 0;
}

static int setup(void **arg)
{
    (void)arg;
    kubebed_start(&bed, TARGET);
    kubebed_sid('a', sid);
    return 0;
}

static int teardown(void **arg)
{
    (void)arg;
    kubebed_stop(&bed);
    return 0;
}

static void is_steady(void)
{
    for (int i = 0; i < LOOKS; i++) {
        run_for(bed.loop, LOOK_MS);
        assert_int_equal(kubeworld_count(bed.world, "jobs", "w-"), TARGET);
    }
}

static char *pod_of(int n, bool is_made, const char *status)
{
    own_mem char *job = kubeworld_name(bed.world, "jobs", "w-", n);
    char *pod;

    assert_non_null(job);
    pod = mem_printf("p%s", job + 1);
    if (!is_made)
        kubeworld_pod(bed.world, job, pod);
    kubeworld_pod_is(bed.world, pod, status);
    return pod;
}

static void filled(void)
{
    kubebed_until(&bed, "jobs", "w-", TARGET);
    kubebed_until(&bed, "secrets", "w-", TARGET);
    for (int i = 0; i < TARGET; i++)
        free(pod_of(i, false, KW_LISTENS));
    kubebed_warm(&bed, TARGET);
}

static void it_is_kept_at_its_number_and_never_above(void **arg)
{
    (void)arg;
    kubebed_begin(&bed);
    filled();
    is_steady();
    assert_int_equal(kubeworld_asked(bed.world, "POST", "/jobs", ""), TARGET);
    assert_int_equal(kubeworld_asked(bed.world, "POST", KUBEWORLD_STRICT, ""),
                     2 * TARGET);
}

/* The session that begins has the machine for itself. */
static void replaced_no_sooner_than(int ms)
{
    int64_t from;

    kubebed_begin(&bed);
    filled();
    from = loop_now_ms();
    kubebed_launch(&bed, sid);
    kubebed_until(&bed, "jobs", "w-", TARGET + 1);
    assert_true(loop_now_ms() - from >= ms);
}

static void what_is_given_out_is_replaced_a_moment_later(void **arg)
{
    (void)arg;
    replaced_no_sooner_than(KUBE_POOL_REFILL_MS);
}

static int given_out(char letter)
{
    char id[ID_SIZE];

    kubebed_sid(letter, id);
    kubebed_launch(&bed, id);
    run_for(bed.loop, KUBE_POOL_REFILL_MS / 2);
    return kubeworld_count(bed.world, "jobs", "w-");
}

/* Claims one after the other: no refill starts between them, nor before the
 * last of their sessions runs. */
static void a_burst_of_claims_is_over_before_any_is_replaced(void **arg)
{
    own_mem char *first = NULL, *second = NULL;
    int64_t from;

    (void)arg;
    kubebed_begin(&bed);
    filled();
    from = loop_now_ms();
    assert_int_equal(given_out('a'), TARGET);
    first = mem_printf("p%s", bed.ref + 1);
    assert_int_equal(given_out('b'), TARGET);
    second = mem_printf("p%s", bed.ref + 1);
    kubeworld_pod_is(bed.world, first, KW_RUNS);
    kubebed_hears(&bed, "a:running");
    run_for(bed.loop, KUBE_POOL_REFILL_MS);
    if (loop_now_ms() - from < KUBE_POOL_BURST_MAX_MS - 500)
        assert_int_equal(kubeworld_count(bed.world, "jobs", "w-"), TARGET);
    kubeworld_pod_is(bed.world, second, KW_RUNS);
    kubebed_until(&bed, "jobs", "w-", 2 * TARGET);
}

static void a_session_that_never_runs_holds_up_the_pool_for_a_while(void **arg)
{
    (void)arg;
    replaced_no_sooner_than(KUBE_POOL_BURST_MAX_MS);
}

static void what_goes_is_made_anew(void **arg)
{
    own_mem char *job = NULL, *pod = NULL;

    (void)arg;
    kubebed_begin(&bed);
    filled();
    job = kubeworld_name(bed.world, "jobs", "w-", 0);
    pod = mem_printf("p%s", job + 1);
    kubeworld_gone(bed.world, "jobs", job);
    kubeworld_gone(bed.world, "pods", pod);
    kubebed_until(&bed, "jobs", "w-", TARGET);
    is_steady();
}

static void what_a_watch_missed_is_made_anew(void **arg)
{
    own_mem char *job = NULL, *pod = NULL;

    (void)arg;
    kubebed_begin(&bed);
    filled();
    job = kubeworld_name(bed.world, "jobs", "w-", 0);
    pod = mem_printf("p%s", job + 1);
    kubeworld_hide(bed.world, true);
    kubeworld_gone(bed.world, "jobs", job);
    kubeworld_gone(bed.world, "pods", pod);
    kubeworld_hide(bed.world, false);
    kubeworld_cut(bed.world, true);
    kubebed_until(&bed, "jobs", "w-", TARGET);
    is_steady();
}

/* Each half of making one refused or unheard: the same one is tried again. */
static void faults_make_no_more_of_them(void **arg)
{
    static const struct {
        const char *path;
        enum kubeworld_fault what;
        int status;
        const char *text;
    } faults[] = {{"/secrets", KUBEWORLD_REFUSE, 403, QUOTA},
                  {"/secrets", KUBEWORLD_REFUSE, 422, "invalid"},
                  {"/jobs", KUBEWORLD_LOSE, 0, NULL},
                  {"/jobs", KUBEWORLD_NONSENSE, 0, NULL}};

    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) {
        teardown(arg);
        setup(arg);
        kubebed_begin(&bed);
        kubeworld_fault(bed.world, "POST", faults[i].path, faults[i].what,
                        faults[i].status, faults[i].text, 2 * TARGET);
        kubebed_until(&bed, "secrets", "w-", TARGET);
        is_steady();
    }
}

static void a_refused_pool_is_not_asked_for_at_once_again(void **arg)
{
    (void)arg;
    kubebed_begin(&bed);
    kubeworld_fault(bed.world, "POST", "/jobs", KUBEWORLD_REFUSE, 403, QUOTA,
                    -1);
    run_for(bed.loop, 1500); /* of the 3 s that are waited */
    assert_true(kubeworld_asked(bed.world, "POST", "/jobs", "") <= TARGET);
}

static void more_than_its_number_are_removed(void **arg)
{
    (void)arg;
    kubebed_begin(&bed);
    filled();
    bed.set.warm_target = 1;
    kubebed_next(&bed, false);
    kubebed_begin(&bed);
    kubebed_until(&bed, "jobs", "w-", 1);
    run_for(bed.loop, 500);
    assert_int_equal(kubeworld_count(bed.world, "jobs", "w-"), 1);
}

static void the_next_leader_keeps_those_there_are(void **arg)
{
    (void)arg;
    kubebed_begin(&bed);
    filled();
    for (int i = 0; i < 2; i++) {
        kubebed_next(&bed, i);
        kubebed_begin(&bed);
        is_steady();
    }
    assert_int_equal(kubeworld_asked(bed.world, "POST", "/jobs", ""), TARGET);
    kubebed_warm(&bed, TARGET);
    kubebed_launch(&bed, sid); /* and can open their doors */
    kubebed_hears(&bed, "a:launched");
    assert_int_equal(kubebed_said(&bed, "claimed=w-"), 1);
}

static void those_that_trust_a_key_that_is_withdrawn_are_replaced(void **arg)
{
    own_mem char(*sids)[ID_SIZE] = NULL;
    own_mem char *others = NULL, *first = NULL;
    struct err e = {0};

    (void)arg;
    kubebed_begin(&bed);
    filled();
    first = kubeworld_name(bed.world, "jobs", "w-", 0);
    kubebed_next(&bed, false);
    kubeworld_fault(bed.world, "DELETE", "/jobs/", KUBEWORLD_REFUSE, 403, "no",
                    TARGET);
    others = mem_printf("x%s", bed.trusted);
    assert_true(bed.launcher->list(bed.launcher, &sids, &e) >= 0);
    bed.launcher->begin(bed.launcher, others);
    run_for(bed.loop, 300);
    kubebed_launch(&bed, sid); /* while they cannot even be removed */
    kubebed_hears(&bed, "a:launched");
    assert_int_equal(kubebed_said(&bed, "claimed=w-"), 0);
    kubebed_until(&bed, "jobs", first, 0);
}

static void one_in_which_a_program_ran_is_given_to_nobody(void **arg)
{
    (void)arg;
    kubebed_begin(&bed);
    filled();
    for (int i = 0; i < TARGET; i++)
        free(pod_of(i, true, KW_RUNS));
    kubebed_warm(&bed, 0);
    kubebed_launch(&bed, sid);
    kubebed_hears(&bed, "a:launched");
    assert_int_equal(kubebed_said(&bed, "claimed=w-"), 0);
}

static void a_session_in_a_crowd_takes_one_or_makes_its_own(void **arg)
{
    (void)arg;
    kubebed_begin(&bed);
    filled();
    for (int i = 0; i < TARGET + 2; i++) {
        char id[ID_SIZE];

        kubebed_sid((char)('a' + i), id);
        kubebed_launch(&bed, id);
    }
    kubebed_hears(&bed, "a:launched");
    kubebed_hears(&bed, "b:launched");
    kubebed_hears(&bed, "c:launched");
    kubebed_hears(&bed, "d:launched");
    assert_int_equal(kubebed_said(&bed, "claimed=w-"), TARGET);
    assert_int_equal(kubeworld_count(bed.world, "jobs", "s-"), 2);
    kubebed_until(&bed, "jobs", "w-", 2 * TARGET);
}

/* After an upgrade: a session is not to run in what was mended. */
static void those_made_of_other_images_are_replaced(void **arg)
{
    char *old[TARGET];

    (void)arg;
    kubebed_begin(&bed);
    filled();
    for (int i = 0; i < TARGET; i++)
        old[i] = kubeworld_name(bed.world, "jobs", "w-", i);
    kubebed_next(&bed, true);
    bed.set.runner_image = "example/runner:2-fixed";
    kubebed_next(&bed, false);
    kubebed_begin(&bed);
    for (int i = 0; i < TARGET; i++)
        kubebed_until(&bed, "jobs", old[i], 0);
    kubebed_until(&bed, "jobs", "w-", TARGET);
    kubebed_launch(&bed, sid);
    kubebed_hears(&bed, "a:launched");
    assert_int_equal(kubebed_said(&bed, "claimed=w-"), 0);
    for (int i = 0; i < TARGET; i++)
        free(old[i]);
}

#define T(t) cmocka_unit_test_setup_teardown(t, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(it_is_kept_at_its_number_and_never_above),
        T(what_is_given_out_is_replaced_a_moment_later),
        T(a_burst_of_claims_is_over_before_any_is_replaced),
        T(a_session_that_never_runs_holds_up_the_pool_for_a_while),
        T(what_goes_is_made_anew),
        T(what_a_watch_missed_is_made_anew),
        T(faults_make_no_more_of_them),
        T(a_refused_pool_is_not_asked_for_at_once_again),
        T(more_than_its_number_are_removed),
        T(the_next_leader_keeps_those_there_are),
        T(those_that_trust_a_key_that_is_withdrawn_are_replaced),
        T(those_made_of_other_images_are_replaced),
        T(one_in_which_a_program_ran_is_given_to_nobody),
        T(a_session_in_a_crowd_takes_one_or_makes_its_own),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
