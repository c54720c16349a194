/*
 * What stands on pods may have been written by others: by whoever may patch
 * pods, or by another installation in the same namespace. None of it makes us
 * end, remove or believe what is not ours.
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

#define JOB_NAME "batch.kubernetes.io/job-name"
#define TICKS_MS 2500 /* a turn of the pool's */
#define EVIL "evil-pod"

static struct kubebed bed;
static char sid[ID_SIZE], other[ID_SIZE], job[JOBSPEC_NAME_SIZE];

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
    kubebed_start(&bed, 0);
    kubebed_sid('a', sid);
    kubebed_sid('z', other);
    jobspec_name(sid, job);
    return 0;
}

static int teardown(void **arg)
{
    (void)arg;
    kubebed_stop(&bed);
    return 0;
}

static void running(void)
{
    kubebed_begin(&bed);
    kubebed_launch(&bed, sid);
    kubebed_hears(&bed, "a:launched");
    kubeworld_pod(bed.world, job, "pod-a");
    kubeworld_pod_is(bed.world, "pod-a", KW_RUNS);
    kubebed_hears(&bed, "a:running");
}

/* The next leader, over a store that knows session sid alone. */
static int taken_up(void)
{
    own_mem char(*sids)[ID_SIZE] = NULL;
    struct err e = {0};
    int n, others = 0;

    kubebed_next(&bed, false);
    n = bed.launcher->list(bed.launcher, &sids, &e);
    assert_true(n >= 0);
    for (int i = 0; i < n; i++) {
        if (strcmp(sids[i], sid) == 0) {
            bed.launcher->take_up(bed.launcher, sid, "", bed.trusted, NULL);
        } else {
            bed.launcher->discard(bed.launcher, sids[i]);
            others++;
        }
    }
    bed.launcher->begin(bed.launcher, bed.trusted);
    kubebed_watched(&bed);
    return others;
}

/* A pod of the pool says that it is of a session nobody knows. */
static void forged(const char *its_job)
{
    kubeworld_foreign(bed.world, "w-evil", EVIL);
    kubeworld_label(bed.world, EVIL, PODVIEW_LABEL, other);
    kubeworld_label(bed.world, EVIL, JOB_NAME, its_job);
}

static void a_label_takes_no_job_from_its_session(void **arg)
{
    (void)arg;
    running();
    forged(job);
    bed.said[0] = 0;
    assert_int_equal(taken_up(), 0);
    kubebed_hears(&bed, "a:running");
    run_for(bed.loop, TICKS_MS);
    assert_int_equal(kubeworld_count(bed.world, "jobs", job), 1);
    assert_int_equal(kubebed_said(&bed, "ended"), 0);
}

/* Also when it carries another session's record, which is rightly ours. */
static void a_record_takes_no_job_from_its_session(void **arg)
{
    own_mem char *record = kubebed_record(&bed, other, bed.set.installation);
    struct err e = {0};

    (void)arg;
    running();
    forged(job);
    assert_int_equal(kube_job_claim(&bed.inside->place, EVIL, other, record,
                                    bed.trusted, &e),
                     0);
    kubeworld_own(bed.world, EVIL, job, true); /* it may say that too */
    bed.said[0] = 0;
    taken_up();
    kubebed_hears(&bed, "a:running");
    run_for(bed.loop, TICKS_MS);
    assert_int_equal(kubeworld_count(bed.world, "jobs", job), 1);
    assert_int_equal(kubebed_said(&bed, "ended"), 0);
}

/* Whoever made it what it is: no session is in it. */
static void
what_carries_no_record_of_ours_is_removed_and_given_to_nobody(void **arg)
{
    (void)arg;
    bed.set.warm_target = 1;
    kubebed_begin(&bed);
    kubebed_until(&bed, "secrets", "w-", 1);
    {
        own_mem char *warm = kubeworld_name(bed.world, "jobs", "w-", 0);

        kubeworld_pod(bed.world, warm, EVIL);
        kubeworld_pod_is(bed.world, EVIL, KW_LISTENS);
        kubebed_warm(&bed, 1);
        kubeworld_label(bed.world, EVIL, PODVIEW_LABEL, other);
        assert_int_equal(taken_up(), 0);
        kubebed_until(&bed, "jobs", warm, 0);
    }
}

static void another_pod_with_the_jobs_name_tells_nothing(void **arg)
{
    (void)arg;
    kubebed_begin(&bed);
    kubeworld_fault(bed.world, "POST", "/jobs", KUBEWORLD_LOSE, 0, NULL, 1);
    kubebed_launch(&bed, sid);
    kubebed_until(&bed, "jobs", job, 1);
    /* before its own is there, and before we know which Job it is */
    kubeworld_foreign(bed.world, "w-evil", EVIL);
    kubeworld_label(bed.world, EVIL, JOB_NAME, job);
    kubeworld_own(bed.world, EVIL, job, false);
    kubeworld_pod_is(bed.world, EVIL, KW_RUNS);
    kubebed_hears(&bed, "a:launched");
    kubeworld_pod_is(bed.world, EVIL, KW_OVER);
    run_for(bed.loop, 500);
    assert_int_equal(kubebed_said(&bed, "listening"), 0);
    assert_int_equal(kubebed_said(&bed, "ended"), 0);
    kubeworld_pod(bed.world, job, "pod-a");
    kubeworld_pod_is(bed.world, "pod-a", KW_RUNS);
    kubebed_hears(&bed, "a:running");
}

static void a_secret_that_is_not_a_sessions_stays(void **arg)
{
    own_json struct json *body = json_object();
    struct json *meta = json_set(body, "metadata", json_object());
    struct kube_call post = {.method = "POST",
                             .path =
                                 "/api/v1/namespaces/" KUBEWORLD_NS "/secrets",
                             .body = body};
    static const char *const names[] = {"podterm-pool", "s-", "w-short",
                                        "s-../podterm-pool"};
    struct err e = {0};

    (void)arg;
    json_set_str(meta, "name", "podterm-pool");
    json_set(meta, "labels", json_object());
    assert_int_equal(kube_do(bed.inside->place.kube, &post, NULL, &e), 201);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        assert_int_equal(kube_job_forget(&bed.inside->place, names[i], &e), 0);
    assert_int_equal(kubeworld_asked(bed.world, "DELETE", "/secrets", ""), 0);
    assert_int_equal(kube_job_remove(&bed.inside->place, "podterm", "", &e), 0);
    assert_int_equal(kubeworld_asked(bed.world, "GET", "/jobs/podterm", ""), 0);
    assert_int_equal(kubeworld_count(bed.world, "secrets", "podterm-pool"), 1);
}

/* The same through a session: it has ended in a Job of that name. */
static void a_pod_of_the_pools_ends_without_its_secret(void **arg)
{
    own_mem char *record = kubebed_record(&bed, sid, bed.set.installation);
    struct err e = {0};

    (void)arg;
    kubeworld_foreign(bed.world, "podterm-pool", EVIL);
    assert_int_equal(
        kube_job_claim(&bed.inside->place, EVIL, sid, record, bed.trusted, &e),
        0);
    kubeworld_pod_is(bed.world, EVIL, KW_OVER);
    kubeworld_job_is(bed.world, "podterm-pool", KW_JOB_ENDS);
    assert_int_equal(taken_up(), 0);
    kubebed_hears(&bed, "a:ended=exited");
    kubebed_empty(&bed);
    assert_int_equal(kubeworld_asked(bed.world, "DELETE", "", ""), 0);
}

/* --- two installations in one namespace --- */

static void two_installations_leave_each_other_alone(void **arg)
{
    own_mem char(*sids)[ID_SIZE] = NULL;
    own_mem char *warm = NULL;
    struct err e = {0};

    (void)arg;
    bed.set.warm_target = 1;
    running();
    kubebed_until(&bed, "secrets", "w-", 1);
    warm = kubeworld_name(bed.world, "jobs", "w-", 0);
    kubeworld_pod(bed.world, warm, "pod-w");
    kubeworld_pod_is(bed.world, "pod-w", KW_LISTENS);
    bed.set.installation = "there";
    kubebed_next(&bed, false);
    assert_int_equal(bed.launcher->list(bed.launcher, &sids, &e), 0);
    bed.launcher->begin(bed.launcher, bed.trusted);
    kubebed_until(&bed, "jobs", "w-", 2); /* a pool of its own */
    run_for(bed.loop, TICKS_MS);
    assert_int_equal(kubeworld_count(bed.world, "jobs", job), 1);
    assert_int_equal(kubeworld_count(bed.world, "jobs", warm), 1);
    assert_int_equal(kubeworld_asked(bed.world, "DELETE", "", ""), 0);
}

/* Whatever it says owns it: that Job is not in our lists. */
static void a_pod_speaks_for_no_job_of_anothers(void **arg)
{
    own_mem char *warm = NULL;

    (void)arg;
    bed.set.installation = "there";
    bed.set.warm_target = 1;
    kubebed_next(&bed, false);
    kubebed_begin(&bed);
    kubebed_until(&bed, "secrets", "w-", 1);
    warm = kubeworld_name(bed.world, "jobs", "w-", 0);
    bed.set.installation = KUBEWORLD_INSTALLATION;
    bed.set.warm_target = 0;
    kubebed_next(&bed, false);
    kubeworld_foreign(bed.world, "podterm-warm-x", EVIL);
    kubeworld_own(bed.world, EVIL, warm, true);
    kubeworld_pod_is(bed.world, EVIL, KW_LISTENS);
    kubebed_begin(&bed);
    kubebed_until(&bed, "jobs", "podterm-warm-x", 0); /* ours, and too many */
    run_for(bed.loop, TICKS_MS);
    assert_int_equal(kubeworld_count(bed.world, "jobs", warm), 1);
}

static void any_name_of_an_installation_makes_a_label(void **arg)
{
    static const char *const names[] = {
        "podterm",
        "a.b_c-9",
        "",
        "-a",
        "a.",
        "https://x.example/y",
        "\xc3\xa4",
        "0123456789012345678901234567890123456789012345678901234567890123"};
    char out[KUBE_LABEL_SIZE], seen[KUBE_LABEL_SIZE] = "";

    (void)arg;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        kube_job_label(names[i], out);
        assert_true(strlen(out) > 0 && strlen(out) < 64);
        assert_int_equal(strspn(out, "abcdefghijklmnopqrstuvwxyz"
                                     "0123456789._-"),
                         strlen(out));
        assert_null(strchr("-._", out[0]));
        assert_null(strchr("-._", out[strlen(out) - 1]));
        if (i < 2)
            assert_string_equal(out, names[i]);
        assert_string_not_equal(out, seen);
        memcpy(seen, out, sizeof seen);
    }
}

#define T(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(a_label_takes_no_job_from_its_session),
        T(a_record_takes_no_job_from_its_session),
        T(what_carries_no_record_of_ours_is_removed_and_given_to_nobody),
        T(another_pod_with_the_jobs_name_tells_nothing),
        T(a_secret_that_is_not_a_sessions_stays),
        T(a_pod_of_the_pools_ends_without_its_secret),
        T(two_installations_leave_each_other_alone),
        T(a_pod_speaks_for_no_job_of_anothers),
        cmocka_unit_test(any_name_of_an_installation_makes_a_label),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
