/*
 * Warm runners: kept at their number, given out once each, and what becomes
 * of a session whose runner does not take it. Agents are played by the test:
 * what an activation is answered with is written down.
 */
// link: -Wl,--wrap=activate_send
#include "base/mem.h"
#include "base/own.h"
#include "controller/activate.h"
#include "tests/lib/kubebed.h"
#include "tests/lib/peer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define TARGET 3

static struct kubebed bed;
static char sid[ID_SIZE], own[JOBSPEC_NAME_SIZE];

/* --- agents --- */

#define ANSWERS_MAX 8
static enum err_kind answers[ANSWERS_MAX]; /* the last again and again */
static atomic_int answer_count, told;
static atomic_bool is_session_door; /* it opens to the session's key */
static atomic_bool is_slow;

int __wrap_activate_send(const struct activate *what, struct err *e);
int __wrap_activate_send(const struct activate *what, struct err *e)
{
    int i = atomic_fetch_add(&told, 1), count = atomic_load(&answer_count);
    enum err_kind kind = count ? answers[i < count ? i : count - 1] : ERR_NONE;

    while (atomic_load(&is_slow))
        usleep(1000);
    if (what->is_ours)
        *what->is_ours = atomic_load(&is_session_door);
    return kind == ERR_NONE ? 0 : err_set(e, kind, "as told");
}

static void agents_say(enum err_kind first, enum err_kind then)
{
    answers[0] = first;
    answers[1] = then;
    atomic_store(&answer_count, 2);
}

static int setup(void **arg)
{
    (void)arg;
    kubebed_start(&bed, TARGET);
    kubebed_sid('a', sid);
    jobspec_name(sid, own);
    atomic_store(&told, 0);
    atomic_store(&answer_count, 0);
    atomic_store(&is_session_door, false);
    atomic_store(&is_slow, false);
    return 0;
}

static int teardown(void **arg)
{
    (void)arg;
    atomic_store(&is_slow, false);
    kubebed_stop(&bed);
    return 0;
}

/* Each warm Job that has no pod yet gets one, that listens. */
static void pods(void)
{
    for (int i = 0;; i++) {
        own_mem char *job = kubeworld_name(bed.world, "jobs", "w-", i);
        own_mem char *pod = job ? mem_printf("p%s", job + 1) : NULL;

        if (!job)
            return;
        if (kubeworld_count(bed.world, "pods", pod))
            continue;
        kubeworld_pod(bed.world, job, pod);
        kubeworld_pod_is(bed.world, pod, KW_LISTENS);
    }
}

/* The pool is at its number, and sees all of it ready. */
static void filled(void)
{
    kubebed_until(&bed, "jobs", "w-", TARGET);
    pods();
    kubebed_warm(&bed, TARGET);
}

static bool was_told(void *arg)
{
    (void)arg;
    return atomic_load(&told) > 0;
}

static void until_told(void)
{
    assert_true(run_until(bed.loop, was_told, NULL, KUBEBED_SOON_MS));
}

static bool is_marked(void *arg)
{
    own_mem char *pod = mem_printf("p%s", bed.ref + 1);
    own_mem char *text = kubeworld_text(bed.world, "pods", pod);

    (void)arg;
    return text && strstr(text, sid) != NULL;
}

static void until_marked(void)
{
    assert_true(run_until(bed.loop, is_marked, NULL, KUBEBED_SOON_MS));
}

static void begun(void)
{
    kubebed_begin(&bed);
    filled();
}

/* A session that no warm one can take. */
static void start_other(const char *id)
{
    struct launch *what = kubebed_what(&bed, id);

    free(what->image);
    what->image = mem_str("example/other:1");
    bed.launcher->start(bed.launcher, what);
}

static void a_session_takes_a_warm_one_and_another_takes_its_place(void **arg)
{
    own_mem char *pod = NULL, *text = NULL;

    (void)arg;
    begun();
    kubebed_launch(&bed, sid);
    kubebed_hears(&bed, "a:listening=127.0.0.1:7440");
    assert_non_null(strstr(bed.said, "a:claimed=w- a:launched"));
    assert_int_equal(atomic_load(&told), 1);
    kubebed_until(&bed, "jobs", "w-", TARGET + 1);
    assert_int_equal(kubeworld_count(bed.world, "jobs", "s-"), 0);
    /* whose it is stands on the pod */
    until_marked();
    pod = mem_printf("p%s", bed.ref + 1);
    text = kubeworld_text(bed.world, "pods", pod);
    assert_non_null(strstr(text, sid));
    assert_non_null(strstr(text, "podterm.dev/record"));
}

static void calls_that_hang_hold_up_no_waking(void **arg)
{
    (void)arg;
    begun();
    kubeworld_fault(bed.world, "POST", "/jobs", KUBEWORLD_HOLD, 0, NULL, -1);
    for (int i = 0; i < LAUNCHER_KUBE_THREADS; i++) {
        char other[ID_SIZE];

        kubebed_sid((char)('b' + i), other);
        start_other(other);
    }
    kubebed_launch(&bed, sid);
    kubebed_hears(&bed, "a:launched");
    assert_int_equal(atomic_load(&told), 1);
    kubeworld_heal(bed.world);
}

static void the_record_knows_it_before_the_agent_does(void **arg)
{
    (void)arg;
    begun();
    bed.keeps_no_claims = true;
    kubebed_launch(&bed, sid);
    kubebed_hears(&bed, "a:claimed=w-");
    run_for(bed.loop, 200);
    assert_int_equal(atomic_load(&told), 0);
    bed.launcher->claim_kept(bed.launcher, sid);
    kubebed_hears(&bed, "a:launched");
    assert_int_equal(atomic_load(&told), 1);
}

static void one_that_does_not_take_it_is_removed_and_the_next_asked(void **arg)
{
    static const enum err_kind kinds[] = {ERR_CONFLICT, ERR_DENIED, ERR_PEER,
                                          ERR_TIMEOUT};

    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        own_mem char *first = NULL;

        teardown(arg);
        setup(arg);
        begun();
        agents_say(kinds[i], ERR_NONE);
        bed.keeps_no_claims = true;
        kubebed_launch(&bed, sid);
        first = mem_str(bed.ref);
        bed.keeps_no_claims = false;
        bed.launcher->claim_kept(bed.launcher, sid);
        kubebed_hears(&bed, "a:launched");
        /* before another runs it */
        assert_int_equal(kubeworld_count(bed.world, "jobs", first), 0);
        assert_string_not_equal(first, bed.ref);
        assert_int_equal(kubebed_said(&bed, "claimed=w-"), 2);
        assert_int_equal(kubeworld_count(bed.world, "jobs", "s-"), 0);
    }
}

static void where_none_takes_it_a_job_of_its_own_does(void **arg)
{
    (void)arg;
    begun();
    agents_say(ERR_PEER, ERR_PEER);
    kubebed_launch(&bed, sid);
    kubebed_hears(&bed, "a:launched");
    /* the record names the Job that runs it, before there is one */
    assert_int_equal(kubebed_said(&bed, "claimed=w-"), 3);
    assert_string_equal(bed.ref, own);
    assert_int_equal(kubeworld_count(bed.world, "jobs", "s-"), 1);
    assert_int_equal(atomic_load(&told), 3);
}

static void a_spec_too_large_for_one_wastes_no_others(void **arg)
{
    (void)arg;
    begun();
    agents_say(ERR_TOO_LARGE, ERR_NONE);
    kubebed_launch(&bed, sid);
    kubebed_hears(&bed, "a:launched");
    assert_string_equal(bed.ref, own);
    assert_int_equal(atomic_load(&told), 1);
}

/* Who led before may have chosen a warm one, and not have said so yet. */
static void
the_record_knows_also_of_a_job_of_its_own_before_there_is_one(void **arg)
{
    for (int i = 0; i < 2; i++) { /* a new session; one that is taken up */
        teardown(arg);
        setup(arg);
        bed.set.warm_target = 0;
        bed.keeps_no_claims = true;
        if (i == 0)
            kubebed_begin(&bed);
        if (i == 0)
            kubebed_launch(&bed, sid);
        else
            bed.launcher->take_up(bed.launcher, sid, "", bed.trusted,
                                  kubebed_what(&bed, sid));
        run_for(bed.loop, 200);
        assert_string_equal(bed.ref, own);
        assert_int_equal(kubeworld_count(bed.world, "jobs", ""), 0);
        bed.launcher->claim_kept(bed.launcher, sid);
        kubebed_until(&bed, "jobs", own, 1);
    }
}

static void another_image_has_a_job_of_its_own(void **arg)
{
    (void)arg;
    begun();
    start_other(sid);
    kubebed_hears(&bed, "a:launched");
    assert_int_equal(kubebed_said(&bed, "claimed=w-"), 0);
    assert_int_equal(kubeworld_count(bed.world, "jobs", "s-"), 1);
}

/* --- no room --- */

#define NAMED "\"name\":\"" /* in the body of what is made */
#define QUOTA "jobs.batch is forbidden: exceeded quota: q"

static void no_room(void)
{
    kubeworld_fault(bed.world, "POST", "/jobs", KUBEWORLD_REFUSE, 403, QUOTA,
                    -1);
}

static void where_there_is_no_room_a_warm_one_that_is_ready_is_taken(void **arg)
{
    (void)arg;
    kubebed_begin(&bed);
    bed.inside->room_ms = 50;
    kubebed_until(&bed, "jobs", "w-", TARGET); /* none is ready */
    no_room();
    kubebed_launch(&bed, sid);
    kubebed_hears(&bed, "a:claimed=s-");
    kubebed_hears(&bed, "a:scheduled/waiting");
    run_for(bed.loop, 200);
    assert_int_equal(kubebed_said(&bed, "claimed"), 1);
    pods();
    kubebed_hears(&bed, "a:claimed=w- a:launched");
    kubebed_hears(&bed, "a:listening");
    assert_int_equal(atomic_load(&told), 1);
    assert_int_equal(kubeworld_count(bed.world, "jobs", "s-"), 0);
}

/* From a try whose answer was lost; whether a watch tells of it or not. */
static void where_its_own_job_fills_the_quota_it_is_made_whole(void **arg)
{
    for (int i = 0; i < 2; i++) {
        teardown(arg);
        setup(arg);
        kubebed_begin(&bed);
        bed.inside->room_ms = 50;
        kubebed_until(&bed, "jobs", "w-", TARGET);
        no_room();
        kubeworld_fault(bed.world, "POST", "/jobs", KUBEWORLD_LOSE, 0, NULL, 1);
        kubeworld_hide(bed.world, i == 1);
        kubebed_launch(&bed, sid);
        kubebed_until(&bed, "jobs", own, 1);
        kubeworld_hide(bed.world, false);
        pods();
        kubebed_hears(&bed, "a:launched");
        assert_string_equal(bed.ref, own);
        assert_int_equal(kubeworld_count(bed.world, "secrets", own), 1);
        assert_int_equal(atomic_load(&told), 0);
    }
}

static void what_became_of_a_job_before_does_not_end_the_warm_one(void **arg)
{
    (void)arg;
    kubebed_begin(&bed);
    bed.inside->room_ms = 50;
    bed.inside->gone_ms = bed.inside->look_ms = 300;
    kubebed_until(&bed, "jobs", "w-", TARGET);
    kubebed_watched(&bed);
    no_room();
    kubeworld_fault(bed.world, "GET", "/jobs/s-", KUBEWORLD_REFUSE, 500, "no",
                    -1);
    kubeworld_fault(bed.world, "POST", "/jobs", KUBEWORLD_LOSE, 0, NULL, 1);
    kubebed_launch(&bed, sid);
    kubebed_until(&bed, "jobs", own, 1);
    run_for(bed.loop, 200); /* it is seen, and then it is gone */
    kubeworld_gone(bed.world, "jobs", own);
    run_for(bed.loop, 200);
    kubeworld_heal(bed.world);
    no_room();
    pods();
    kubebed_hears(&bed, "a:claimed=w- a:launched");
    run_for(bed.loop, 1500);
    assert_int_equal(kubebed_said(&bed, "ended"), 0);
    assert_int_equal(kubeworld_count(bed.world, "jobs", bed.ref), 1);
}

/* Its own Job is deleted by somebody while its Secret cannot be made. */
static void what_became_of_a_job_before_does_not_end_the_next(void **arg)
{
    (void)arg;
    kubebed_begin(&bed);
    bed.inside->room_ms = 50;
    bed.inside->gone_ms = bed.inside->look_ms = 300;
    kubebed_watched(&bed);
    kubeworld_fault(bed.world, "POST", "/secrets", KUBEWORLD_REFUSE, 403, QUOTA,
                    -1);
    start_other(sid);
    kubebed_until(&bed, "jobs", own, 1);
    run_for(bed.loop, 200);
    kubeworld_fault(bed.world, "POST", "/jobs", KUBEWORLD_HOLD, 0, NULL, -1);
    kubeworld_job_is(bed.world, own, KW_JOB_FAILED);
    run_for(bed.loop, 100);
    kubeworld_gone(bed.world, "jobs", own);
    run_for(bed.loop, 300); /* it is seen to be gone */
    kubeworld_heal(bed.world);
    kubebed_hears(&bed, "a:launched");
    run_for(bed.loop, 1500);
    assert_int_equal(kubebed_said(&bed, "ended"), 0);
    assert_int_equal(kubeworld_count(bed.world, "jobs", own), 1);
    kubeworld_gone(bed.world, "jobs", own); /* nobody said that it failed */
    kubebed_hears(&bed, "a:ended=runner_lost");
}

/* One that the pool had half made: nobody but it needs no room. */
static void a_warm_one_without_its_secret_is_made_whole(void **arg)
{
    (void)arg;
    bed.set.warm_target = 1;
    kubeworld_fault(bed.world, "POST", "/secrets", KUBEWORLD_REFUSE, 403, QUOTA,
                    -1);
    kubebed_begin(&bed);
    bed.inside->room_ms = 50;
    kubebed_until(&bed, "jobs", "w-", 1);
    no_room();
    kubebed_launch(&bed, sid);
    kubebed_hears(&bed, "a:scheduled/waiting");
    kubeworld_heal(bed.world);
    no_room();
    kubebed_until(&bed, "secrets", "w-", 1);
    pods();
    kubebed_hears(&bed, "a:claimed=w- a:launched");
}

/* A session that none of them can take. */
static void the_pool_makes_room_for_one_that_can_take_none(void **arg)
{
    (void)arg;
    begun();
    bed.inside->room_ms = 50;
    no_room();
    start_other(sid);
    kubebed_until(&bed, "jobs", "w-", TARGET - 1);
    run_for(bed.loop, 2500); /* longer than a turn of the pool's */
    assert_int_equal(kubeworld_count(bed.world, "jobs", "w-"), TARGET - 1);
    kubeworld_heal(bed.world);
    kubebed_hears(&bed, "a:launched");
    kubebed_until(&bed, "jobs", "w-", TARGET);
}

static void what_room_there_will_be_is_a_sessions_not_the_pools(void **arg)
{
    int asked;

    (void)arg;
    begun();
    bed.inside->room_ms = 50;
    no_room();
    start_other(sid);
    kubebed_hears(&bed, "a:scheduled/waiting");
    for (int i = 0; i < 2; i++) {
        own_mem char *job = kubeworld_name(bed.world, "jobs", "w-", 0);
        own_mem char *pod = job ? mem_printf("p%s", job + 1) : NULL;

        kubeworld_gone(bed.world, "pods", pod);
        kubeworld_gone(bed.world, "jobs", job);
    }
    kubebed_warm(&bed, TARGET - 2);
    asked = kubeworld_asked(bed.world, "POST", "/jobs", NAMED "w-");
    assert_true(asked >= TARGET);
    run_for(bed.loop, 2500); /* longer than a turn of the pool's */
    assert_int_equal(kubeworld_asked(bed.world, "POST", "/jobs", NAMED "w-"),
                     asked);
    kubeworld_heal(bed.world);
    kubebed_hears(&bed, "a:launched");
    kubebed_until(&bed, "jobs", "w-", TARGET);
}

/* --- the end --- */

static void an_end_before_the_agent_was_told_tells_it_nothing(void **arg)
{
    (void)arg;
    begun();
    bed.keeps_no_claims = true;
    kubebed_launch(&bed, sid);
    kubebed_end(&bed, sid);
    run_for(bed.loop, 200); /* is it ours? */
    assert_int_equal(kubeworld_count(bed.world, "jobs", bed.ref), 1);
    bed.launcher->claim_kept(bed.launcher, sid);
    kubebed_until(&bed, "jobs", bed.ref, 0);
    {
        own_mem char *pod = mem_printf("p%s", bed.ref + 1);

        kubeworld_gone(bed.world, "pods", pod);
    }
    kubebed_hears(&bed, "a:ended=deleted");
    kubebed_empty(&bed);
    assert_int_equal(atomic_load(&told), 0);
}

/* What it had claimed, another session was given in that very moment. */
static void an_end_before_a_claim_is_refused_removes_nothing(void **arg)
{
    (void)arg;
    begun();
    bed.keeps_no_claims = true;
    kubebed_launch(&bed, sid);
    kubebed_end(&bed, sid);
    run_for(bed.loop, 200);
    bed.launcher->claim_refused(bed.launcher, sid);
    kubebed_hears(&bed, "a:ended=deleted");
    kubebed_empty(&bed);
    run_for(bed.loop, 200);
    assert_int_equal(kubeworld_asked(bed.world, "DELETE", "/jobs", ""), 0);
    assert_int_equal(kubeworld_count(bed.world, "jobs", bed.ref), 1);
    assert_int_equal(atomic_load(&told), 0);
}

static void an_end_while_it_is_told_removes_it(void **arg)
{
    (void)arg;
    begun();
    bed.inside->gone_ms = 100;
    atomic_store(&is_slow, true);
    kubebed_launch(&bed, sid);
    until_told();
    kubebed_end(&bed, sid);
    atomic_store(&is_slow, false);
    kubebed_hears(&bed, "a:ended=deleted");
    kubebed_until(&bed, "jobs", bed.ref, 0);
    kubebed_empty(&bed);
    assert_int_equal(kubebed_said(&bed, "ended"), 1);
}

static void a_pod_that_ends_while_it_is_told_is_an_end(void **arg)
{
    own_mem char *pod = NULL;

    (void)arg;
    begun();
    atomic_store(&is_slow, true);
    kubebed_launch(&bed, sid);
    until_told();
    pod = mem_printf("p%s", bed.ref + 1);
    kubeworld_pod_is(bed.world, pod, KW_OVER);
    kubeworld_gone(bed.world, "jobs", bed.ref);
    run_for(bed.loop, 100);
    atomic_store(&is_slow, false);
    kubebed_hears(&bed, "a:ended=exited");
    kubebed_empty(&bed);
}

/* Its Job says so in two steps, the first of them while nobody follows it any
 * more: it is no runner that came to the pool. */
static void a_session_that_ends_costs_the_pool_no_runner(void **arg)
{
    (void)arg;
    begun();
    kubebed_launch(&bed, sid);
    kubebed_hears(&bed, "a:listening");
    until_marked();
    kubebed_until(&bed, "jobs", "w-", TARGET + 1); /* not ready yet */
    {
        own_mem char *pod = mem_printf("p%s", bed.ref + 1);

        kubeworld_pod_is(bed.world, pod, KW_OVER);
    }
    kubebed_hears(&bed, "a:ended=exited");
    kubebed_empty(&bed);
    kubeworld_job_is(bed.world, bed.ref, KW_JOB_ENDS);
    run_for(bed.loop, 500);
    kubeworld_job_is(bed.world, bed.ref, KW_JOB_DONE);
    run_for(bed.loop, 500);
    assert_int_equal(kubeworld_asked(bed.world, "DELETE", "/jobs", ""), 0);
    assert_int_equal(kubeworld_count(bed.world, "jobs", "w-"), TARGET + 1);
}

/* --- another leads --- */

static void list(void)
{
    own_mem char(*sids)[ID_SIZE] = NULL;
    struct err e = {0};

    if (bed.launcher->list(bed.launcher, &sids, &e) < 0)
        fail_msg("%s", e.text);
}

static void take_up(const char *id, const char *ref, struct launch *what)
{
    list();
    bed.launcher->take_up(bed.launcher, id, ref, bed.trusted, what);
    bed.launcher->begin(bed.launcher, bed.trusted);
}

static void lead_and_launch(void)
{
    list();
    bed.launcher->begin(bed.launcher, bed.trusted);
    kubebed_launch(&bed, sid);
}

static void a_claim_in_the_record_is_kept_by_the_next(void **arg)
{
    for (int i = 0; i < 3; i++) {
        own_mem char *ref = NULL;

        teardown(arg);
        setup(arg);
        begun();
        bed.keeps_no_claims = true;
        kubebed_launch(&bed, sid);
        ref = mem_str(bed.ref);
        kubebed_next(&bed, i == 1);
        bed.keeps_no_claims = false;
        bed.said[0] = 0;
        if (i == 2) { /* it had been told, and nobody knew */
            agents_say(ERR_CONFLICT, ERR_CONFLICT);
            atomic_store(&is_session_door, true);
        }
        take_up(sid, ref, kubebed_what(&bed, sid));
        kubebed_hears(&bed, "a:listening");
        assert_int_equal(kubebed_said(&bed, "claimed"), 0);
        assert_int_equal(kubeworld_count(bed.world, "jobs", "s-"), 0);
        assert_int_equal(kubeworld_count(bed.world, "jobs", ref), 1);
        run_for(bed.loop, 200);
        assert_int_equal(kubebed_said(&bed, "a:launched"), 1);
    }
}

/* Asked for while nobody led, or before who leads has seen what there is. */
static void one_that_waits_for_a_leader_takes_a_warm_one(void **arg)
{
    for (int i = 0; i < 2; i++) {
        teardown(arg);
        setup(arg);
        begun();
        kubebed_next(&bed, false);
        if (i == 0)
            take_up(sid, "", kubebed_what(&bed, sid));
        else
            lead_and_launch();
        assert_string_equal(bed.said, "");
        kubebed_hears(&bed, "a:listening");
        assert_non_null(strstr(bed.said, "a:claimed=w- a:launched"));
        assert_int_equal(kubebed_said(&bed, "claimed"), 1);
        assert_int_equal(kubeworld_count(bed.world, "jobs", "s-"), 0);
    }
}

static void one_that_waits_and_finds_none_has_a_job_of_its_own(void **arg)
{
    (void)arg;
    kubeworld_fault(bed.world, "POST", "/jobs", KUBEWORLD_HOLD, 0, NULL, -1);
    lead_and_launch();
    kubebed_hears(&bed, "a:claimed=s-");
    kubeworld_heal(bed.world);
    kubebed_hears(&bed, "a:launched");
    assert_int_equal(kubeworld_count(bed.world, "jobs", "s-"), 1);
}

static void one_that_waits_ends_at_once(void **arg)
{
    (void)arg;
    begun();
    kubebed_next(&bed, false);
    take_up(sid, "", kubebed_what(&bed, sid));
    kubebed_end(&bed, sid);
    kubebed_empty(&bed);
    assert_string_equal(bed.said, "a:ended=deleted ");
    kubebed_watched(&bed);
    kubebed_warm(&bed, TARGET);
    assert_string_equal(bed.said, "a:ended=deleted ");
}

static void one_that_is_anothers_by_now_is_not_the_sessions(void **arg)
{
    own_mem char *ref = NULL;

    (void)arg;
    begun();
    bed.keeps_no_claims = true;
    kubebed_launch(&bed, sid);
    ref = mem_str(bed.ref);
    kubebed_next(&bed, false);
    bed.keeps_no_claims = false;
    bed.said[0] = 0;
    answers[0] = answers[1] = ERR_CONFLICT; /* under the pool's key */
    answers[2] = ERR_NONE;
    atomic_store(&answer_count, 3);
    take_up(sid, ref, kubebed_what(&bed, sid));
    kubebed_until(&bed, "jobs", ref, 0);
    kubebed_hears(&bed, "a:launched");
    assert_string_not_equal(ref, bed.ref);
}

static void one_that_is_gone_is_done_without(void **arg)
{
    own_mem char *ref = NULL, *pod = NULL;

    (void)arg;
    begun();
    bed.keeps_no_claims = true;
    kubebed_launch(&bed, sid);
    ref = mem_str(bed.ref);
    pod = mem_printf("p%s", ref + 1);
    kubebed_next(&bed, false);
    bed.keeps_no_claims = false;
    bed.said[0] = 0;
    kubeworld_gone(bed.world, "jobs", ref);
    kubeworld_gone(bed.world, "pods", pod);
    take_up(sid, ref, kubebed_what(&bed, sid));
    kubebed_hears(&bed, "a:launched");
    assert_int_equal(kubebed_said(&bed, "claimed"), 1);
    assert_string_not_equal(ref, bed.ref);
}

static void a_job_of_its_own_is_found_whatever_was_claimed_before(void **arg)
{
    own_mem char *other = NULL;

    (void)arg;
    begun();
    agents_say(ERR_PEER, ERR_PEER);
    kubebed_launch(&bed, sid);
    kubebed_hears(&bed, "a:launched");
    kubeworld_pod(bed.world, own, "own-pod");
    kubeworld_pod_is(bed.world, "own-pod", KW_RUNS);
    other = kubeworld_name(bed.world, "jobs", "w-", 0);
    for (int i = 0; i < 3; i++) { /* as recorded; as an older one; gone */
        const char *ref = i == 0 ? own : i == 1 && other ? other : "w-gone";

        kubebed_next(&bed, false);
        bed.said[0] = 0;
        take_up(sid, ref, i == 1 ? kubebed_what(&bed, sid) : NULL);
        kubebed_hears(&bed, "a:running");
        assert_int_equal(kubebed_said(&bed, "ended"), 0);
        assert_int_equal(kubeworld_count(bed.world, "jobs", "s-"), 1);
    }
}

/* Also where a Job of its own is there, that nobody made whole. */
static void one_that_was_launched_is_where_the_record_says(void **arg)
{
    own_mem char *warm = NULL;

    (void)arg;
    begun();
    start_other(sid);
    kubebed_hears(&bed, "a:launched");
    warm = kubeworld_name(bed.world, "jobs", "w-", 0);
    kubebed_next(&bed, false);
    take_up(sid, warm, NULL);
    assert_string_equal(bed.inside->runs->job, warm);
}

static void whose_it_is_is_written_until_it_is_and_read_by_the_next(void **arg)
{
    own_mem char(*sids)[ID_SIZE] = NULL;
    own_mem char *record = NULL;
    struct err e = {0};

    (void)arg;
    begun();
    kubeworld_fault(bed.world, "PATCH", "/pods/", KUBEWORLD_REFUSE, 403, "no",
                    2);
    kubebed_launch(&bed, sid);
    kubebed_hears(&bed, "a:listening");
    until_marked();
    kubebed_next(&bed, false); /* whose store may be empty by now */
    assert_int_equal(bed.launcher->list(bed.launcher, &sids, &e), 1);
    assert_string_equal(sids[0], sid);
    record = bed.launcher->record(bed.launcher, sid);
    assert_non_null(strstr(record, sid));
    bed.said[0] = 0;
    bed.launcher->take_up(bed.launcher, sid, "", bed.trusted, NULL);
    bed.launcher->begin(bed.launcher, bed.trusted);
    kubebed_hears(&bed, "a:listening");
}

/* At any moment of the way another leads, and finds what was told. */
static void however_often_leaders_change_it_runs_once(void **arg)
{
    for (int i = 0; i < 10; i++) {
        char ref[64];

        teardown(arg);
        setup(arg);
        begun();
        kubebed_launch(&bed, sid);
        for (int turn = 0; turn < 2; turn++) {
            bool is_done;

            run_for(bed.loop, i * 3);
            if (atomic_load(&told)) { /* its next token is another */
                agents_say(ERR_CONFLICT, ERR_CONFLICT);
                atomic_store(&is_session_door, true);
            }
            is_done = kubebed_said(&bed, "a:launched") > 0;
            snprintf(ref, sizeof ref, "%s", bed.ref);
            kubebed_next(&bed, i % 2);
            take_up(sid, ref, is_done ? NULL : kubebed_what(&bed, sid));
        }
        kubebed_hears(&bed, "a:launched");
        kubebed_hears(&bed, "a:listening");
        assert_int_equal(kubebed_said(&bed, "a:ended"), 0);
        assert_int_equal(kubebed_said(&bed, "a:claimed"), 1);
        assert_int_equal(bed.launcher->count(bed.launcher), 1);
        assert_int_equal(kubeworld_count(bed.world, "jobs", "s-"), 0);
        assert_int_equal(kubeworld_count(bed.world, "jobs", ref), 1);
    }
}

/* --- a leader that stood still --- */

static int changes(void)
{
    return kubeworld_asked(bed.world, "POST", "", "") +
           kubeworld_asked(bed.world, "DELETE", "", "") +
           kubeworld_asked(bed.world, "PATCH", "", "");
}

static void depose(bool is)
{
    atomic_store(&bed.is_deposed, is);
}

/* Before it is told that it leads no more, at any point of the way. */
static void who_leads_no_more_changes_nothing(void **arg)
{
    own_mem char *first = NULL;
    char other[ID_SIZE];
    int before;

    (void)arg;
    begun();
    kubebed_launch(&bed, sid);
    kubebed_hears(&bed, "a:listening");
    until_marked();
    kubebed_until(&bed, "jobs", "w-", TARGET + 1);
    pods();
    kubebed_warm(&bed, TARGET);
    kubebed_until(&bed, "secrets", "w-", TARGET + 1);
    first = mem_str(bed.ref);
    before = changes();
    atomic_store(&told, 0);

    depose(true);
    kubebed_sid('b', other);
    kubebed_launch(&bed, other); /* one it would wake */
    kubebed_sid('c', other);
    start_other(other);     /* one it would make */
    kubebed_end(&bed, sid); /* one it would remove */
    bed.set.warm_target = 0;
    run_for(bed.loop, 3000);
    assert_int_equal(changes(), before);
    assert_int_equal(atomic_load(&told), 0);
    assert_int_equal(kubebed_said(&bed, "ended"), 0);
    assert_int_equal(kubebed_said(&bed, "launched"), 1);

    bed.inside->gone_ms = 100;
    depose(false); /* it was only late: nothing is left undone */
    kubebed_hears(&bed, "b:launched");
    kubebed_hears(&bed, "c:launched");
    kubebed_hears(&bed, "a:ended=deleted");
    kubebed_until(&bed, "jobs", first, 0);
}

static void a_job_made_for_who_led_before_is_removed(void **arg)
{
    own_mem char *late = NULL;

    (void)arg;
    begun();
    late = mem_printf("s-%s", sid);
    kubeworld_fault(bed.world, "POST", "/jobs", KUBEWORLD_HOLD, 0, NULL, 1);
    start_other(sid);
    run_for(bed.loop, 100);
    kubebed_next(&bed, true); /* the next has no such session any more */
    kubebed_begin(&bed);
    depose(true); /* as who asked for it is */
    kubeworld_heal(bed.world);
    kubebed_until(&bed, "jobs", late, 1);
    depose(false);
    kubebed_until(&bed, "jobs", late, 0);
    assert_int_equal(kubeworld_count(bed.world, "secrets", late), 0);
    assert_int_equal(kubeworld_count(bed.world, "jobs", "w-"), TARGET);
}

static void a_claim_refused_takes_the_next(void **arg)
{
    own_mem char *first = NULL;

    (void)arg;
    begun();
    bed.inside->vain_ms = 4000;
    bed.keeps_no_claims = true;
    kubebed_launch(&bed, sid);
    first = mem_str(bed.ref);
    bed.keeps_no_claims = false;
    bed.launcher->claim_refused(bed.launcher, sid);
    kubebed_hears(&bed, "a:listening");
    assert_string_not_equal(first, bed.ref);
    assert_int_equal(atomic_load(&told), 1);
    /* it may be another's: who was not told so looks at it for a while */
    assert_int_equal(kubeworld_count(bed.world, "jobs", first), 1);
    kubebed_until(&bed, "jobs", first, 0);
    assert_int_equal(kubeworld_count(bed.world, "jobs", bed.ref), 1);
}

static void a_claim_refused_that_is_anothers_stays(void **arg)
{
    own_mem char *first = NULL, *pod = NULL;

    (void)arg;
    begun();
    bed.inside->vain_ms = 500;
    bed.keeps_no_claims = true;
    kubebed_launch(&bed, sid);
    first = mem_str(bed.ref);
    pod = mem_printf("p%s", first + 1);
    bed.keeps_no_claims = false;
    kubeworld_label(bed.world, pod, PODVIEW_LABEL,
                    "anothersanothersanothersaa");
    bed.launcher->claim_refused(bed.launcher, sid);
    kubebed_hears(&bed, "a:listening");
    run_for(bed.loop, 5000); /* two turns of the pool */
    assert_int_equal(kubeworld_count(bed.world, "jobs", first), 1);
}

/* A session that is new to us, and whose runner another has chosen. */
static void a_claim_is_found_also_when_all_has_been_listed(void **arg)
{
    own_mem char *ref = NULL;

    (void)arg;
    begun();
    ref = kubeworld_name(bed.world, "jobs", "w-", 0);
    bed.launcher->take_up(bed.launcher, sid, ref, bed.trusted,
                          kubebed_what(&bed, sid));
    kubebed_hears(&bed, "a:listening");
    assert_int_equal(kubebed_said(&bed, "claimed"), 0);
    bed.said[0] = 0;
    kubebed_sid('b', sid);
    bed.launcher->take_up(bed.launcher, sid, "w-gone", bed.trusted,
                          kubebed_what(&bed, sid));
    kubebed_hears(&bed, "b:listening");
    assert_int_equal(kubebed_said(&bed, "b:claimed=w-"), 1);
    assert_string_not_equal(ref, bed.ref);
}

static void one_that_was_given_out_is_not_given_out_again(void **arg)
{
    own_mem char *ref = NULL, *pod = NULL;
    char other[ID_SIZE];

    (void)arg;
    begun();
    bed.inside->gone_ms = 100;
    kubebed_launch(&bed, sid);
    kubebed_hears(&bed, "a:listening");
    ref = mem_str(bed.ref);
    pod = mem_printf("p%s", ref + 1);
    kubebed_end(&bed, sid);
    kubebed_empty(&bed); /* its pod stays, and nobody follows it any more */
    for (int i = 0; i < TARGET; i++) {
        kubeworld_repeat(bed.world, "pods", pod);
        run_for(bed.loop, 50);
        kubebed_sid('b', other);
        kubebed_launch(&bed, other);
        assert_string_not_equal(bed.ref, ref);
    }
}

#define T(t) cmocka_unit_test_setup_teardown(t, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(a_session_takes_a_warm_one_and_another_takes_its_place),
        T(calls_that_hang_hold_up_no_waking),
        T(the_record_knows_it_before_the_agent_does),
        T(one_that_does_not_take_it_is_removed_and_the_next_asked),
        T(where_none_takes_it_a_job_of_its_own_does),
        T(a_spec_too_large_for_one_wastes_no_others),
        T(the_record_knows_also_of_a_job_of_its_own_before_there_is_one),
        T(another_image_has_a_job_of_its_own),
        T(where_there_is_no_room_a_warm_one_that_is_ready_is_taken),
        T(where_its_own_job_fills_the_quota_it_is_made_whole),
        T(what_became_of_a_job_before_does_not_end_the_warm_one),
        T(what_became_of_a_job_before_does_not_end_the_next),
        T(a_warm_one_without_its_secret_is_made_whole),
        T(the_pool_makes_room_for_one_that_can_take_none),
        T(what_room_there_will_be_is_a_sessions_not_the_pools),
        T(an_end_before_the_agent_was_told_tells_it_nothing),
        T(an_end_before_a_claim_is_refused_removes_nothing),
        T(an_end_while_it_is_told_removes_it),
        T(a_pod_that_ends_while_it_is_told_is_an_end),
        T(a_session_that_ends_costs_the_pool_no_runner),
        T(a_claim_in_the_record_is_kept_by_the_next),
        T(one_that_waits_for_a_leader_takes_a_warm_one),
        T(one_that_waits_and_finds_none_has_a_job_of_its_own),
        T(one_that_waits_ends_at_once),
        T(one_that_is_anothers_by_now_is_not_the_sessions),
        T(one_that_is_gone_is_done_without),
        T(a_job_of_its_own_is_found_whatever_was_claimed_before),
        T(one_that_was_launched_is_where_the_record_says),
        T(whose_it_is_is_written_until_it_is_and_read_by_the_next),
        T(however_often_leaders_change_it_runs_once),
        T(who_leads_no_more_changes_nothing),
        T(a_job_made_for_who_led_before_is_removed),
        T(a_claim_refused_takes_the_next),
        T(a_claim_refused_that_is_anothers_stays),
        T(a_claim_is_found_also_when_all_has_been_listed),
        T(one_that_was_given_out_is_not_given_out_again),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
