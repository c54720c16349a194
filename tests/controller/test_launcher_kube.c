/*
 * A session's way through a cluster that does what it should, in any order:
 * made, followed, told, ended and removed, by one controller or by several
 * after each other.
 */
#include "base/mem.h"
#include "base/own.h"
#include "base/seal.h"
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
#define SCENES 24 /* of random events */
#define STEPS 14

static struct kubebed bed;
static char sid[ID_SIZE], job[JOBSPEC_NAME_SIZE];

static int setup(void **arg)
{
    (void)arg;
    kubebed_start(&bed, 0);
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

static void launch(void)
{
    kubebed_begin(&bed);
    kubebed_launch(&bed, sid);
    kubebed_hears(&bed, "a:launched");
}

static void heard_once(const char *text)
{
    if (kubebed_said(&bed, text) != 1)
        fail_msg("\"%s\" not once: %s", text, bed.said);
}

static void heard_never(const char *text)
{
    if (kubebed_said(&bed, text))
        fail_msg("\"%s\": %s", text, bed.said);
}

/* What is told by now is told: a call that takes its time has gone through
 * worker, API and loop. */
static void settle(void)
{
    run_for(bed.loop, 150);
}

static void a_job_comes_first_and_its_secret_belongs_to_it(void **arg)
{
    own_json struct json *made = NULL, *secret = NULL;
    own_mem char *text = NULL, *more = NULL;
    struct err e = {0};

    (void)arg;
    launch();
    text = kubeworld_text(bed.world, "jobs", job);
    more = kubeworld_text(bed.world, "secrets", job);
    made = json_parse(text, strlen(text), &e);
    secret = json_parse(more, strlen(more), &e);
    assert_string_equal(
        json_get_str(
            json_at(json_get(json_get(secret, "metadata"), "ownerReferences"),
                    0),
            "uid"),
        json_get_str(json_get(made, "metadata"), "uid"));
    assert_int_equal(kubeworld_asked(bed.world, "POST", KUBEWORLD_STRICT, ""),
                     2);
    assert_int_equal(kubeworld_asked(bed.world, "POST", "", ""), 2);
}

static void stages_are_told_once_each_and_the_end_is_the_reports(void **arg)
{
    (void)arg;
    launch();
    kubeworld_pod(bed.world, job, POD);
    kubeworld_pod_is(bed.world, POD, KW_SCHEDULED);
    kubeworld_repeat(bed.world, "pods", POD);
    kubeworld_pod_is(bed.world, POD, KW_AGENT_UP);
    kubebed_hears(&bed, "a:scheduled/done");
    settle();
    heard_never("listening"); /* the runner's image is not there yet */
    kubeworld_pod_is(bed.world, POD, KW_LISTENS);
    kubeworld_repeat(bed.world, "pods", POD);
    kubeworld_pod_is(bed.world, POD, KW_RUNS);
    kubeworld_repeat(bed.world, "pods", POD);
    kubebed_hears(&bed, "a:running");
    kubeworld_pod_is(bed.world, POD, KW_OVER);
    kubeworld_job_is(bed.world, job, KW_JOB_DONE);
    kubebed_hears(&bed, "a:ended=exited");
    kubebed_empty(&bed);
    assert_string_equal(bed.said,
                        "a:claimed=s- a:launched a:scheduled/done "
                        "a:pulled/done a:listening=127.0.0.1:7440 a:running "
                        "a:ended=exited ");
    /* it stays to be looked at; its key does not */
    assert_int_equal(kubeworld_count(bed.world, "jobs", ""), 1);
    assert_int_equal(kubeworld_count(bed.world, "secrets", ""), 0);
}

static void what_waits_is_told_once_however_often_it_is_said(void **arg)
{
    (void)arg;
    launch();
    kubeworld_pod(bed.world, job, POD);
    for (int i = 0; i < 4; i++) { /* as a kubelet does */
        kubeworld_pod_is(bed.world, POD, KW_WAITS("ErrImagePull"));
        kubeworld_pod_is(bed.world, POD, KW_WAITS("ImagePullBackOff"));
    }
    kubeworld_pod_is(bed.world, POD, KW_LISTENS);
    kubebed_hears(&bed, "listening");
    heard_once("pulled/waiting");
    /* an agent that starts anew under a program is no hopeless start */
    kubeworld_pod_is(bed.world, POD, KW_RUNS);
    kubeworld_pod_is(
        bed.world, POD,
        "{\"phase\":\"Running\"," KW_HEAD
        ",\"initContainerStatuses\":[{\"name\":\"agent\",\"restartCount\":5,"
        "\"state\":{\"waiting\":{\"reason\":\"RunContainerError\"}}}],"
        "" KW_RUNNER("\"running\":{}") "}");
    settle();
    heard_never("ended");
    heard_once("waiting");
}

/* A runtime was too slow, and a kubelet tries again. */
static void a_container_that_is_not_made_at_once_is_waited_for(void **arg)
{
    static const char *const words[] = {KW_WAITS("CreateContainerError"),
                                        KW_WAITS("RunContainerError")};

    (void)arg;
    launch();
    kubeworld_pod(bed.world, job, POD);
    for (size_t i = 0; i < 2; i++) {
        kubeworld_pod_is(bed.world, POD, words[i]);
        kubebed_hears(&bed, "pulled/waiting");
        settle();
    }
    heard_never("ended");
    kubeworld_pod_is(bed.world, POD, KW_LISTENS);
    kubebed_hears(&bed, "listening");
}

static void what_never_starts_is_ended_with_its_reason(void **arg)
{
    (void)arg;
    launch();
    kubeworld_pod(bed.world, job, POD);
    kubeworld_pod_is(bed.world, POD, KW_WAITS("InvalidImageName"));
    kubebed_until(&bed, "jobs", "", 0);
    kubeworld_gone(bed.world, "pods", POD);
    kubebed_hears(&bed, "a:ended=start_failed");
    kubebed_empty(&bed);
}

/* --- the end, whenever it is asked for --- */

static void removal_says_whom_it_means(void)
{
    own_mem char *uid = mem_printf("\"uid\":\"uid-1\"");

    assert_int_equal(kubeworld_asked(bed.world, "DELETE", "/jobs/", uid), 1);
    assert_int_equal(kubeworld_asked(bed.world, "DELETE", "/jobs/",
                                     "\"propagationPolicy\":\"Background\""),
                     1);
}

static void an_end_while_it_is_made_removes_what_was_made(void **arg)
{
    (void)arg;
    kubebed_begin(&bed);
    kubeworld_fault(bed.world, "POST", "/jobs", KUBEWORLD_HOLD, 0, NULL, -1);
    kubebed_launch(&bed, sid);
    settle();
    kubebed_end(&bed, sid);
    kubeworld_heal(bed.world);
    kubebed_hears(&bed, "a:ended=deleted");
    kubebed_empty(&bed);
    heard_once("ended");
    assert_int_equal(kubeworld_count(bed.world, "jobs", ""), 0);
    removal_says_whom_it_means();
}

static void an_end_while_it_runs_waits_for_the_pod(void **arg)
{
    (void)arg;
    launch();
    kubeworld_pod(bed.world, job, POD);
    kubeworld_pod_is(bed.world, POD, KW_RUNS);
    kubebed_hears(&bed, "running");
    kubebed_end(&bed, sid);
    kubebed_end(&bed, sid);
    kubebed_until(&bed, "jobs", "", 0);
    kubeworld_leaves(bed.world, "pods", POD);
    settle();
    heard_never("ended");
    kubeworld_pod_is(bed.world, POD, KW_OVER); /* it ended by itself first */
    kubebed_hears(&bed, "a:ended=exited");
    kubeworld_gone(bed.world, "pods", POD);
    kubebed_end(&bed, sid);
    kubebed_empty(&bed);
    settle();
    heard_once("ended");
    removal_says_whom_it_means();
}

static void a_pod_that_never_goes_is_told_all_the_same(void **arg)
{
    int64_t begun;

    (void)arg;
    bed.inside->gone_ms = 400;
    launch();
    kubeworld_pod(bed.world, job, POD);
    kubeworld_pod_is(bed.world, POD, KW_RUNS);
    kubebed_hears(&bed, "running");
    begun = loop_now_ms();
    kubebed_end(&bed, sid);
    kubebed_hears(&bed, "a:ended=deleted");
    assert_true(loop_now_ms() - begun >= 400);
    kubebed_empty(&bed);
}

static void a_job_that_is_over_without_a_pod_is_told(void **arg)
{
    (void)arg;
    bed.inside->look_ms = 200;
    launch();
    kubeworld_job_is(bed.world, job, KW_JOB_FAILED);
    kubebed_hears(&bed, "a:ended=start_failed");
    kubebed_empty(&bed);
}

#define NO_POD "a:scheduled/waiting=NoPod"

static void a_job_without_a_pod_is_told_once_and_goes_on_with_it(void **arg)
{
    (void)arg;
    bed.inside->pod_ms = 100;
    launch();
    kubebed_hears(&bed, NO_POD);
    kubeworld_repeat(bed.world, "jobs", job);
    settle();
    heard_once(NO_POD);
    kubeworld_pod(bed.world, job, POD);
    kubeworld_pod_is(bed.world, POD, KW_RUNS);
    kubebed_hears(&bed, "running");
    heard_once("waiting");
}

static void a_pod_in_time_is_not_missed(void **arg)
{
    (void)arg;
    bed.inside->pod_ms = 100;
    kubebed_begin(&bed);
    kubebed_launch(&bed, sid);
    kubebed_until(&bed, "jobs", "", 1);
    kubeworld_pod(bed.world, job, POD);
    kubeworld_pod_is(bed.world, POD, KW_WAITS("ErrImagePull"));
    kubebed_hears(&bed, "ErrImagePull");
    settle();
    heard_never("NoPod");
}

static void (*say_end)(void *arg, const char *of, const struct launch_end *end);
static char end_detail[256];

static void keep_end(void *arg, const char *of, const struct launch_end *end)
{
    snprintf(end_detail, sizeof end_detail, "%s", end->detail);
    say_end(arg, of, end);
}

static void a_job_that_is_late_without_a_pod_says_so(void **arg)
{
    (void)arg;
    bed.inside->look_ms = bed.inside->pod_ms = 100;
    say_end = bed.launcher->sink.ended;
    bed.launcher->sink.ended = keep_end;
    launch();
    kubebed_hears(&bed, NO_POD);
    kubeworld_job_is(bed.world, job, KW_JOB_LATE);
    kubebed_hears(&bed, "a:ended=start_failed");
    assert_non_null(strstr(end_detail, "not start in time. (NoPod: its Job"));
    kubebed_empty(&bed);
}

static void a_jobs_failure_does_not_hide_what_its_pod_says(void **arg)
{
    (void)arg;
    launch();
    kubeworld_job_is(bed.world, job, KW_JOB_FAILED); /* comes first */
    settle();
    kubeworld_pod(bed.world, job, POD);
    kubeworld_pod_is(bed.world, POD, KW_KILLED);
    kubebed_hears(&bed, "a:ended=");
    heard_once("a:ended=out_of_memory");
    kubebed_empty(&bed);
}

static void a_job_that_goes_while_its_secret_is_made_is_told(void **arg)
{
    (void)arg;
    bed.inside->look_ms = 200;
    kubebed_begin(&bed);
    kubeworld_fault(bed.world, "POST", "/secrets", KUBEWORLD_HOLD, 0, NULL, -1);
    kubebed_launch(&bed, sid);
    kubebed_until(&bed, "jobs", "", 1);
    kubeworld_gone(bed.world, "jobs", job);
    settle(); /* the watch has told it */
    kubeworld_heal(bed.world);
    kubebed_hears(&bed, "a:ended=runner_lost");
    kubebed_empty(&bed);
}

static void what_a_watch_missed_the_next_list_shows(void **arg)
{
    (void)arg;
    launch();
    kubeworld_pod(bed.world, job, POD);
    kubeworld_pod_is(bed.world, POD, KW_RUNS);
    kubebed_hears(&bed, "running");
    kubeworld_hide(bed.world, true);
    kubeworld_gone(bed.world, "pods", POD);
    kubeworld_gone(bed.world, "jobs", job);
    kubeworld_hide(bed.world, false);
    kubeworld_cut(bed.world, true);
    kubebed_hears(&bed, "a:ended=runner_lost");
    kubebed_empty(&bed);
    heard_once("ended");
}

#define LISTS                                                                  \
    "jobs?labelSelector=" JOBSPEC_SELECTOR "," KUBE_INSTALLATION               \
    "=" KUBEWORLD_INSTALLATION "&limit"

static bool is_listed(void *arg)
{
    return kubeworld_asked(bed.world, "GET", LISTS, "") > *(int *)arg;
}

/* Watches are cut, and Jobs listed once more. */
static void listed_again(void)
{
    int before = kubeworld_asked(bed.world, "GET", LISTS, "");

    kubeworld_cut(bed.world, true);
    assert_true(run_until(bed.loop, is_listed, &before, KUBEBED_SOON_MS));
    kubebed_watched(&bed);
}

static void a_job_that_was_never_seen_is_missed(void **arg)
{
    (void)arg;
    bed.inside->look_ms = 200;
    kubebed_begin(&bed);
    kubeworld_hide(bed.world, true);
    kubebed_launch(&bed, sid);
    kubebed_hears(&bed, "launched");
    kubeworld_gone(bed.world, "jobs", job);
    kubeworld_hide(bed.world, false);
    listed_again(); /* this may have been under way */
    listed_again();
    kubebed_hears(&bed, "a:ended=runner_lost");
    kubebed_empty(&bed);
}

/* --- another leads --- */

static void take_up(const char *ref, struct launch *what)
{
    own_mem char(*sids)[ID_SIZE] = NULL;
    struct err e = {0};

    if (bed.launcher->list(bed.launcher, &sids, &e) < 0)
        fail_msg("%s", e.text);
    bed.launcher->take_up(bed.launcher, sid, ref, bed.trusted, what);
    bed.launcher->begin(bed.launcher, bed.trusted);
}

static void the_next_leader_misses_a_pod_too(void **arg)
{
    (void)arg;
    launch();
    kubebed_next(&bed, false);
    bed.inside->pod_ms = 100;
    take_up("", NULL);
    kubebed_hears(&bed, NO_POD);
}

static void a_session_goes_on_under_the_next_leader(void **arg)
{
    (void)arg;
    for (int i = 0; i < 2; i++) { /* of another process, of the same */
        kubebed_stop(&bed);
        setup(arg);
        launch();
        kubeworld_pod(bed.world, job, POD);
        kubeworld_pod_is(bed.world, POD, KW_RUNS);
        kubebed_hears(&bed, "running");
        kubebed_next(&bed, i);
        bed.said[0] = 0;
        take_up("", NULL);
        kubebed_hears(&bed, "running"); /* told again: the record may lack it */
        kubeworld_pod_is(bed.world, POD, KW_OVER);
        kubebed_hears(&bed, "a:ended=exited");
        kubebed_empty(&bed);
        heard_once("ended");
    }
}

static void a_start_goes_on_wherever_it_was(void **arg)
{
    static const char *const held[] = {"/jobs", "/secrets"};

    (void)arg;
    for (int i = 0; i < 4; i++) {
        kubebed_stop(&bed);
        setup(arg);
        kubebed_begin(&bed);
        kubeworld_fault(bed.world, "POST", held[i % 2],
                        i < 2 ? KUBEWORLD_HOLD : KUBEWORLD_REFUSE, 503, NULL,
                        -1);
        kubebed_launch(&bed, sid);
        settle();
        kubebed_next(&bed, true); /* its call goes on meanwhile */
        kubeworld_heal(bed.world);
        take_up("", kubebed_what(&bed, sid));
        kubebed_hears(&bed, "a:launched");
        settle();
        assert_int_equal(kubeworld_count(bed.world, "jobs", ""), 1);
        assert_int_equal(kubeworld_count(bed.world, "secrets", ""), 1);
        heard_never("ended");
    }
}

static void what_is_gone_is_ended_and_what_nobody_knows_removed(void **arg)
{
    char other[ID_SIZE], name[JOBSPEC_NAME_SIZE];

    (void)arg;
    launch();
    kubeworld_pod(bed.world, job, POD);
    kubebed_next(&bed, false);
    kubebed_sid('b', other);
    jobspec_name(other, name);
    {
        own_mem char(*sids)[ID_SIZE] = NULL;
        own_mem char *record = NULL;
        struct err e = {0};

        assert_int_equal(bed.launcher->list(bed.launcher, &sids, &e), 1);
        assert_string_equal(sids[0], sid);
        record = bed.launcher->record(bed.launcher, sid);
        assert_non_null(strstr(record, sid));
        bed.launcher->discard(bed.launcher, sid);
        bed.launcher->take_up(bed.launcher, other, "", bed.trusted, NULL);
        bed.launcher->begin(bed.launcher, bed.trusted);
    }
    kubebed_hears(&bed, "b:ended=runner_lost");
    kubebed_until(&bed, "jobs", "", 0);
    kubebed_empty(&bed);
    heard_never("a:ended");
}

static void a_session_whose_key_was_withdrawn_is_ended(void **arg)
{
    own_mem char(*sids)[ID_SIZE] = NULL;
    own_mem char *longer = NULL;
    struct err e = {0};

    (void)arg;
    launch();
    kubebed_next(&bed, false);
    assert_int_equal(bed.launcher->list(bed.launcher, &sids, &e), 1);
    /* a key whose name has the other's in it is another */
    longer = mem_printf("x%s", bed.trusted);
    bed.launcher->take_up(bed.launcher, sid, "", longer, NULL);
    bed.launcher->begin(bed.launcher, longer);
    kubebed_hears(&bed, "a:ended=runner_lost");
    kubebed_until(&bed, "jobs", "", 0);
    kubebed_empty(&bed);
}

/* --- any order --- */

static unsigned seed;

static int roll(int sides)
{
    seed = seed * 1103515245 + 12345;
    return (int)(seed >> 16) % sides;
}

static void some_event(void)
{
    static const char *const statuses[] = {KW_SCHEDULED,
                                           KW_AGENT_UP,
                                           KW_LISTENS,
                                           KW_RUNS,
                                           KW_OVER,
                                           KW_KILLED,
                                           KW_WAITS("ImagePullBackOff")};

    switch (roll(10)) {
    case 0:
        kubeworld_gone(bed.world, "pods", POD);
        break;
    case 1:
        kubeworld_gone(bed.world, "jobs", job);
        break;
    case 2:
        kubeworld_job_is(bed.world, job, roll(2) ? KW_JOB_DONE : KW_JOB_FAILED);
        break;
    case 3:
        kubeworld_leaves(bed.world, "pods", POD);
        break;
    case 4:
        kubeworld_cut(bed.world, roll(2));
        break;
    case 5:
        kubeworld_hide(bed.world, roll(2));
        break;
    case 6:
        kubeworld_repeat(bed.world, roll(2) ? "pods" : "jobs",
                         roll(2) ? POD : job);
        break;
    default:
        kubeworld_pod_is(bed.world, POD, statuses[roll(7)]);
    }
    if (roll(3) == 0)
        run_for(bed.loop, roll(20));
    if (roll(12) == 0)
        kubebed_end(&bed, sid);
}

static void whatever_happens_the_end_is_told_once(void **arg)
{
    const char *given = getenv("PODTERM_SEED");

    (void)arg;
    for (unsigned i = 0; i < SCENES; i++) {
        unsigned begun = given ? (unsigned)atoi(given) : i * 7919 + 1;

        seed = begun;
        kubebed_stop(&bed);
        setup(arg);
        bed.inside->gone_ms = bed.inside->look_ms = 200;
        launch();
        kubeworld_pod(bed.world, job, POD);
        for (int step = 0; step < STEPS; step++)
            some_event();
        kubeworld_hide(bed.world, false);
        kubebed_end(&bed, sid);
        kubebed_empty(&bed);
        settle();
        if (kubebed_said(&bed, "a:ended") != 1 ||
            kubebed_said(&bed, "listening") > 1 ||
            kubebed_said(&bed, "running") > 1 ||
            kubebed_said(&bed, "scheduled/done") > 1)
            fail_msg("PODTERM_SEED=%u: %s", begun, bed.said);
    }
}

#define T(t) cmocka_unit_test_setup_teardown(t, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(a_job_comes_first_and_its_secret_belongs_to_it),
        T(stages_are_told_once_each_and_the_end_is_the_reports),
        T(what_waits_is_told_once_however_often_it_is_said),
        T(a_container_that_is_not_made_at_once_is_waited_for),
        T(what_never_starts_is_ended_with_its_reason),
        T(an_end_while_it_is_made_removes_what_was_made),
        T(an_end_while_it_runs_waits_for_the_pod),
        T(a_pod_that_never_goes_is_told_all_the_same),
        T(a_job_that_is_over_without_a_pod_is_told),
        T(a_job_without_a_pod_is_told_once_and_goes_on_with_it),
        T(a_pod_in_time_is_not_missed),
        T(a_job_that_is_late_without_a_pod_says_so),
        T(a_jobs_failure_does_not_hide_what_its_pod_says),
        T(a_job_that_goes_while_its_secret_is_made_is_told),
        T(what_a_watch_missed_the_next_list_shows),
        T(a_job_that_was_never_seen_is_missed),
        T(the_next_leader_misses_a_pod_too),
        T(a_session_goes_on_under_the_next_leader),
        T(a_start_goes_on_wherever_it_was),
        T(what_is_gone_is_ended_and_what_nobody_knows_removed),
        T(a_session_whose_key_was_withdrawn_is_ended),
        T(whatever_happens_the_end_is_told_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
