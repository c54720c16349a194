/*
 * An API that refuses, is away, or does what was asked and does not say so,
 * at each call that the launcher makes: one Job, one Secret, one end.
 */
#include "base/mem.h"
#include "base/own.h"
#include "tests/lib/kubebed.h"
#include "tests/lib/peer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define POD "pod-1"
#define FAT 25 /* more than a page */
#define ROOM "exceeded quota: q, requested: count/jobs.batch=1"
#define QUOTA "jobs.batch \"x\" is forbidden: " ROOM
#define SECRETLY "\"data\""

static struct kubebed bed;
static char sid[ID_SIZE], job[JOBSPEC_NAME_SIZE];

static int setup(void **arg)
{
    (void)arg;
    kubebed_start(&bed, 0);
    bed.inside->room_ms = 50;
    bed.inside->right_ms = 0;
    bed.inside->gone_ms = bed.inside->look_ms = 200;
    kubebed_sid('a', sid);
    jobspec_name(sid, job);
    return 0;
}

static int teardown(void **arg)
{
    (void)arg;
    kubebed_stop(&bed);
    return 0;
}

static void anew(void **arg)
{
    teardown(arg);
    setup(arg);
}

static void one_of_each(void)
{
    assert_int_equal(kubeworld_count(bed.world, "jobs", ""), 1);
    assert_int_equal(kubeworld_count(bed.world, "secrets", ""), 1);
}

static void comes_about(const char *path, enum kubeworld_fault what, int status,
                        const char *text, int times)
{
    kubebed_begin(&bed);
    kubeworld_fault(bed.world, "POST", path, what, status, text, times);
    kubebed_launch(&bed, sid);
    kubebed_hears(&bed, "a:launched");
    one_of_each();
    assert_int_equal(kubebed_said(&bed, "ended"), 0);
}

static void an_answer_that_is_lost_makes_no_second_one(void **arg)
{
    static const struct {
        const char *path;
        enum kubeworld_fault what;
    } faults[] = {
        {"/jobs", KUBEWORLD_LOSE},     {"/secrets", KUBEWORLD_LOSE},
        {"/jobs", KUBEWORLD_HANG_UP},  {"/secrets", KUBEWORLD_HANG_UP},
        {"/jobs", KUBEWORLD_NONSENSE}, {"/secrets", KUBEWORLD_NONSENSE}};

    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) {
        anew(arg);
        comes_about(faults[i].path, faults[i].what, 0, NULL, 1);
    }
}

static void what_time_mends_is_waited_for_and_told_once(void **arg)
{
    static const struct {
        int status;
        const char *text;
    } faults[] = {{403, QUOTA}, {409, "the object has been modified"}};
    static const char *const paths[] = {"/jobs", "/secrets"};

    for (size_t i = 0; i < 4; i++) {
        anew(arg);
        comes_about(paths[i % 2], KUBEWORLD_REFUSE, faults[i / 2].status,
                    faults[i / 2].text, 3);
        if (i % 2 || i / 2 == 0)
            assert_int_equal(kubebed_said(&bed, "scheduled/waiting"), 1);
    }
}

static void a_token_that_is_just_exchanged_ends_nothing(void **arg)
{
    (void)arg;
    comes_about("/jobs", KUBEWORLD_REFUSE, 401, "Unauthorized", 3);
}

static void an_api_that_is_busy_for_long_ends_nothing(void **arg)
{
    (void)arg;
    comes_about("/secrets", KUBEWORLD_REFUSE, 429, "slow down", KUBE_TRIES + 1);
}

static void an_api_that_comes_back_is_taken_up_again(void **arg)
{
    (void)arg;
    kubebed_begin(&bed);
    kubeworld_fault(bed.world, "POST", "", KUBEWORLD_HANG_UP, 0, NULL, -1);
    kubeworld_fault(bed.world, "GET", "", KUBEWORLD_REFUSE, 500, NULL, -1);
    kubebed_launch(&bed, sid);
    kubebed_hears(&bed, "scheduled/waiting");
    kubeworld_heal(bed.world);
    kubebed_hears(&bed, "a:launched");
    one_of_each();
    kubeworld_pod(bed.world, job, POD);
    kubeworld_pod_is(bed.world, POD, KW_RUNS);
    kubebed_hears(&bed, "running");
}

/* Who may annotate a pod fills it up: that hides nobody else's. */
static void fat_objects_of_others_hide_no_session(void **arg)
{
    static const int notes[] = {9900, 120000};

    for (size_t i = 0; i < 2; i++) {
        anew(arg);
        bed.set.is_keda = true; /* which has made them, and not too many */
        bed.set.warm_target = 2 * FAT;
        for (int k = 0; k < FAT; k++) {
            own_mem char *fat = mem_printf("fat-%d", k);

            kubeworld_foreign(bed.world, fat, fat);
            if (k == 0 || i == 0) {
                kubeworld_fatten(bed.world, "jobs", fat, notes[i]);
                kubeworld_fatten(bed.world, "pods", fat, notes[i]);
            }
        }
        kubebed_begin(&bed);
        kubebed_launch(&bed, sid);
        kubebed_hears(&bed, "a:launched");
        kubeworld_fatten(bed.world, "pods", "fat-0", 120000); /* an event */
        kubeworld_pod(bed.world, job, POD);
        kubeworld_pod_is(bed.world, POD, KW_RUNS);
        kubebed_hears(&bed, "running");
        kubebed_next(&bed, false);
        kubebed_begin(&bed);
    }
}

static void what_is_refused_for_good_is_told_at_once(void **arg)
{
    static const int statuses[] = {422, 403, 404, 400};
    static const char *const paths[] = {"/jobs", "/secrets"};

    for (int i = 0; i < 8; i++) {
        anew(arg);
        kubebed_begin(&bed);
        kubeworld_fault(bed.world, "POST", paths[i % 2], KUBEWORLD_REFUSE,
                        statuses[i / 2], "it is invalid", -1);
        kubebed_launch(&bed, sid);
        kubebed_hears(&bed, "a:ended=start_failed");
        kubebed_empty(&bed);
        assert_int_equal(kubebed_said(&bed, "ended"), 1);
        assert_int_equal(kubeworld_count(bed.world, "jobs", ""), 0);
    }
}

/* An API server that has just been started knows no Roles yet. */
static void a_right_that_comes_late_is_waited_for(void **arg)
{
    (void)arg;
    bed.inside->right_ms = 30000;
    kubebed_begin(&bed);
    kubeworld_fault(bed.world, "POST", "/jobs", KUBEWORLD_REFUSE, 403,
                    "jobs.batch is forbidden", 3);
    kubebed_launch(&bed, sid);
    kubebed_hears(&bed, "scheduled/waiting");
    kubebed_hears(&bed, "a:launched");
    one_of_each();
}

#define GIVEN_UP_MS 6000 /* a call that is tried KUBE_TRIES times */

static void an_end_asked_for_while_nobody_answers_leaves_nothing(void **arg)
{
    (void)arg;
    kubebed_begin(&bed);
    /* done, and never said so */
    kubeworld_fault(bed.world, "POST", "/jobs", KUBEWORLD_LOSE, 0, NULL, -1);
    kubeworld_fault(bed.world, "GET", "/jobs/", KUBEWORLD_HANG_UP, 0, NULL, -1);
    kubebed_launch(&bed, sid);
    kubebed_until(&bed, "jobs", "", 1);
    kubebed_end(&bed, sid);
    run_for(bed.loop, GIVEN_UP_MS);
    assert_int_equal(kubebed_said(&bed, "ended"), 0); /* it may be there */
    kubeworld_heal(bed.world);
    kubebed_hears(&bed, "a:ended=deleted");
    kubebed_empty(&bed);
    assert_int_equal(kubeworld_count(bed.world, "jobs", ""), 0);
    assert_int_equal(kubebed_said(&bed, "ended"), 1);
}

static void an_end_for_want_of_room_says_so(void **arg)
{
    (void)arg;
    bed.inside->room_ms = 50;
    kubebed_begin(&bed);
    kubeworld_fault(bed.world, "POST", "/jobs", KUBEWORLD_REFUSE, 403, QUOTA,
                    -1);
    kubebed_launch(&bed, sid);
    kubebed_hears(&bed, "scheduled/waiting");
    bed.launcher->end(bed.launcher, sid, REASON_START_FAILED, "Too late.");
    kubebed_hears(&bed, "a:ended=start_failed");
    assert_string_equal(bed.detail, "Too late. (NoJob: " ROOM ")");
}

/* The Job is made, its Secret has no room: a try is waited for. */
static void an_end_between_two_tries_is_the_last_of_it(void **arg)
{
    (void)arg;
    bed.inside->room_ms = 300;
    kubebed_begin(&bed);
    kubeworld_fault(bed.world, "POST", "/secrets", KUBEWORLD_REFUSE, 403, QUOTA,
                    -1);
    kubeworld_fault(bed.world, "DELETE", "/jobs/", KUBEWORLD_HOLD, 0, NULL, -1);
    kubebed_launch(&bed, sid);
    kubebed_hears(&bed, "scheduled/waiting");
    kubebed_end(&bed, sid);
    run_for(bed.loop, 600); /* the next try would be due */
    kubeworld_heal(bed.world);
    kubebed_hears(&bed, "a:ended=deleted");
    kubebed_empty(&bed);
    run_for(bed.loop, 600);
    assert_int_equal(kubeworld_count(bed.world, "jobs", ""), 0);
    assert_int_equal(kubeworld_asked(bed.world, "POST", "/jobs", ""), 1);
    assert_int_equal(kubebed_said(&bed, "ended"), 1);
    assert_int_equal(kubebed_said(&bed, "launched"), 0);
}

static void a_removal_is_tried_until_it_is_heard(void **arg)
{
    static const struct {
        enum kubeworld_fault what;
        int status;
    } faults[] = {{KUBEWORLD_LOSE, 0},
                  {KUBEWORLD_REFUSE, 403},
                  {KUBEWORLD_REFUSE, 401},
                  {KUBEWORLD_NONSENSE, 0}};

    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) {
        anew(arg);
        kubebed_begin(&bed);
        kubebed_launch(&bed, sid);
        kubebed_hears(&bed, "launched");
        kubeworld_fault(bed.world, "DELETE", "/jobs/", faults[i].what,
                        faults[i].status, "no", 1);
        kubebed_end(&bed, sid);
        kubebed_hears(&bed, "a:ended=deleted");
        kubebed_empty(&bed);
        assert_int_equal(kubeworld_count(bed.world, "jobs", ""), 0);
    }
}

static void another_job_of_that_name_is_not_removed(void **arg)
{
    own_mem char *text = NULL;

    (void)arg;
    kubebed_begin(&bed);
    kubebed_launch(&bed, sid);
    kubebed_hears(&bed, "launched");
    kubeworld_hide(bed.world, true);
    kubeworld_gone(bed.world, "jobs", job);
    kubeworld_foreign(bed.world, job, "other"); /* with another uid */
    kubeworld_hide(bed.world, false);
    kubebed_end(&bed, sid);
    kubebed_hears(&bed, "a:ended=deleted");
    kubebed_empty(&bed);
    assert_int_equal(kubeworld_count(bed.world, "jobs", ""), 1);
}

static void a_job_that_is_being_removed_is_no_start(void **arg)
{
    (void)arg;
    kubebed_begin(&bed);
    kubeworld_foreign(bed.world, job, "other");
    kubeworld_leaves(bed.world, "jobs", job);
    kubebed_launch(&bed, sid);
    kubebed_hears(&bed, "scheduled/waiting");
    kubeworld_gone(bed.world, "jobs", job);
    kubebed_hears(&bed, "launched");
}

static void secrets_go_out_once_and_are_in_no_address(void **arg)
{
    (void)arg;
    kubebed_begin(&bed);
    kubebed_launch(&bed, sid);
    kubebed_hears(&bed, "launched");
    assert_int_equal(kubeworld_asked(bed.world, "POST", "/secrets", SECRETLY),
                     1);
    assert_int_equal(kubeworld_asked(bed.world, "POST", "/jobs", SECRETLY), 0);
}

#define CROWD 40 /* more than the burst of calls, and than there are threads */

static void a_crowd_comes_and_goes(void **arg)
{
    static char sids[CROWD][ID_SIZE];

    (void)arg;
    kubebed_begin(&bed);
    for (int i = 0; i < CROWD; i++) {
        kubebed_sid('b', sids[i]);
        kubebed_launch(&bed, sids[i]);
    }
    run_for(bed.loop, 500);
    for (int i = 0; i < CROWD; i++) /* made, being made, not yet begun */
        kubebed_end(&bed, sids[i]);
    kubebed_empty(&bed);
    assert_int_equal(kubebed_said(&bed, "ended=deleted"), CROWD);
    assert_int_equal(kubeworld_count(bed.world, "jobs", ""), 0);
    assert_int_equal(kubeworld_count(bed.world, "secrets", ""), 0);
}

static void a_process_that_ends_leaves_calls_and_news_alone(void **arg)
{
    for (int i = 0; i < 6; i++) {
        anew(arg);
        kubebed_begin(&bed);
        if (i % 2)
            kubeworld_fault(bed.world, "POST", i == 1 ? "/jobs" : "/secrets",
                            KUBEWORLD_HOLD, 0, NULL, -1);
        kubebed_launch(&bed, sid);
        run_for(bed.loop, 60);
        if (kubeworld_count(bed.world, "jobs", job))
            kubeworld_pod(bed.world, job, POD);
        kubeworld_pod_is(bed.world, POD, KW_RUNS);
        kubeworld_pod_is(bed.world, POD, KW_OVER);
        run_for(bed.loop, i);
        /* news are on their way, and who is told is gone: as in main.c */
        bed.launcher->sink.arg = NULL;
        bed.launcher->free(bed.launcher);
        bed.launcher = NULL;
    }
}

/* A list of a namespace that is not there is empty, and no error; whether it
 * is there may not be ours to know. */
static void a_start_in_no_namespace_says_so(void **arg)
{
    static const struct {
        const char *path;
        int status;
        const char *text; /* NULL = it starts */
    } starts[] = {
        {"/none", 200, NULL},
        {"/api/v1/namespaces/" KUBEWORLD_NS, 403, NULL},
        {"/api/v1/namespaces/" KUBEWORLD_NS, 404,
         "the cluster has no namespace " KUBEWORLD_NS},
        {"/jobs", 403, "namespace " KUBEWORLD_NS " (--namespace)"},
        {"/jobs", 401, "the Kubernetes API answers 401"},
    };

    (void)arg;
    for (size_t i = 0; i < sizeof starts / sizeof *starts; i++) {
        struct err e = {0};
        int r;

        kubeworld_heal(bed.world);
        kubeworld_fault(bed.world, "GET", starts[i].path, KUBEWORLD_REFUSE,
                        starts[i].status, "so it is", -1);
        r = bed.launcher->probe(bed.launcher, &e);
        assert_int_equal(r, starts[i].text ? -1 : 0);
        if (starts[i].text)
            assert_ptr_equal(strstr(e.text, starts[i].text), e.text);
    }
}

static void runs(const char *status)
{
    kubebed_begin(&bed);
    kubebed_launch(&bed, sid);
    kubebed_hears(&bed, "a:launched");
    kubeworld_pod(bed.world, job, POD);
    kubeworld_pod_is(bed.world, POD, status);
    kubebed_hears(&bed, "running");
}

/* Its node is gone: nobody ends the pod, and nobody says how it ended. */
static void a_pod_whose_node_is_lost_ends_its_session(void **arg)
{
    static const struct {
        const char *status, *heard;
    } pods[] = {{KW_RUNS, "a:ended=runner_lost"},
                {KW_RUNS_DISRUPTED, "a:ended=evicted"}};

    for (size_t i = 0; i < 2; i++) {
        int64_t begun;

        anew(arg);
        bed.inside->lost_ms = 300;
        runs(pods[i].status);
        begun = loop_now_ms();
        kubeworld_leaves(bed.world, "pods", POD);
        kubebed_hears(&bed, pods[i].heard);
        assert_in_range(loop_now_ms() - begun, 1300, 5000);
        kubebed_empty(&bed);
    }
}

/* What leaves in its time is told with its own end. */
static void a_pod_that_leaves_in_time_ends_as_it_says(void **arg)
{
    (void)arg;
    bed.inside->lost_ms = 2000;
    runs(KW_RUNS);
    kubeworld_leaves(bed.world, "pods", POD);
    run_for(bed.loop, 300);
    assert_int_equal(kubebed_said(&bed, "ended"), 0);
    kubeworld_pod_is(bed.world, POD, KW_OVER);
    kubebed_hears(&bed, "a:ended=exited");
}

#define T(t) cmocka_unit_test_setup_teardown(t, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(an_answer_that_is_lost_makes_no_second_one),
        T(what_time_mends_is_waited_for_and_told_once),
        T(a_token_that_is_just_exchanged_ends_nothing),
        T(an_api_that_is_busy_for_long_ends_nothing),
        T(an_api_that_comes_back_is_taken_up_again),
        T(a_right_that_comes_late_is_waited_for),
        T(fat_objects_of_others_hide_no_session),
        T(what_is_refused_for_good_is_told_at_once),
        T(an_end_asked_for_while_nobody_answers_leaves_nothing),
        T(an_end_for_want_of_room_says_so),
        T(an_end_between_two_tries_is_the_last_of_it),
        T(a_removal_is_tried_until_it_is_heard),
        T(another_job_of_that_name_is_not_removed),
        T(a_job_that_is_being_removed_is_no_start),
        T(secrets_go_out_once_and_are_in_no_address),
        T(a_crowd_comes_and_goes),
        T(a_process_that_ends_leaves_calls_and_news_alone),
        T(a_start_in_no_namespace_says_so),
        T(a_pod_whose_node_is_lost_ends_its_session),
        T(a_pod_that_leaves_in_time_ends_as_it_says),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
