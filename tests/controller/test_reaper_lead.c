/*
 * One of several controllers begins to lead, follows what the others write,
 * and ceases: at any moment, whatever is under way.
 */
#include "base/mem.h"
#include "base/own.h"
#include "base/store_internal.h"
#include "controller/record.h"
#include "tests/lib/livebed.h"
#include "tests/lib/peer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define TURNS 40

static struct livebed bed;
static struct store_session row;

static int setup(void **arg)
{
    struct err e = {0};

    (void)arg;
    livebed_start(&bed);
    bed.app.reaper = reaper_start(&bed.app, false, &e);
    assert_non_null(bed.app.reaper);
    return 0;
}

static int teardown(void **arg)
{
    (void)arg;
    livebed_stop(&bed);
    return 0;
}

static void lead(bool is_leader)
{
    reaper_lead(bed.app.reaper, is_leader);
}

static bool leads(void *arg)
{
    (void)arg;
    return reaper_leads(bed.app.reaper);
}

static void in_charge(void)
{
    lead(true);
    assert_true(run_until(bed.app.loop, leads, NULL, LIVEBED_SOON_MS));
}

static void said_once(const char *text)
{
    if (livebed_said(&bed, text) != 1)
        fail_msg("\"%s\" not once: %s", text, bed.said);
}

static void what_there_is_is_taken_up_before_it_begins(void **arg)
{
    (void)arg;
    livebed_row(&bed, 'a', &row);
    random_id(bed.listed);
    bed.listed[0] = 'u';
    run_for(bed.app.loop, 100);
    assert_string_equal(bed.said, ""); /* who does not lead does nothing */
    in_charge();
    assert_string_equal(bed.said, "discard:u take_up:a(,what) begin ");
}

static void what_others_write_is_started(void **arg)
{
    (void)arg;
    in_charge();
    livebed_row(&bed, 'b', &row);
    livebed_hears(&bed, "b");
    run_for(bed.app.loop, 100);
    said_once("start:b ");
    assert_int_equal(livebed_said(&bed, "take_up"), 0);
    /* as our own handler does, a moment later */
    live_start(bed.app.live, &row, livebed_what(&bed, &row));
    run_for(bed.app.loop, 50);
    said_once("start:b ");
}

static int claim(void *arg, struct store_session *r, struct err *e)
{
    (void)arg;
    (void)e;
    snprintf(r->launch_ref, sizeof r->launch_ref, "w-x");
    return 0;
}

static void what_another_has_claimed_is_looked_for(void **arg)
{
    struct store_session out;
    struct err e = {0};

    (void)arg;
    livebed_row(&bed, 'c', &row);
    assert_int_equal(
        store_update_if(bed.app.store, row.id, claim, NULL, &out, &e), 0);
    in_charge();
    said_once("take_up:c(w-x,what) ");
    lead(false);
    bed.said[0] = 0;
    in_charge();
    said_once("take_up:c(w-x,what) ");
}

static void lost(const char *installation)
{
    livebed_row(&bed, 'd', &row);
    memcpy(bed.listed, row.id, ID_SIZE);
    bed.record = record_text(&row, installation, &bed.app.keys);
    livebed_lose(&bed, row.id);
}

static void what_the_store_has_lost_is_restored(void **arg)
{
    struct store_session out;
    struct err e = {0};

    (void)arg;
    lost(bed.set.installation);
    in_charge();
    said_once("take_up:d(,"); /* and not discarded */
    assert_int_equal(livebed_said(&bed, "discard"), 0);
    assert_int_equal(store_get(bed.app.store, row.id, &out, &e), 0);
    assert_string_equal(out.owner_sub, row.owner_sub);
}

/* A store that was partly emptied, is full, a replica now, or just away. */
static int refusals;
static const struct store_ops *right;

static int restore_once_refused(struct store *st, struct store_session *r,
                                struct err *e)
{
    if (refusals++ == 0)
        return err_set(e, ERR_SYSTEM, "OOM command not allowed");
    return right->restore(st, r, e);
}

static void a_store_that_refuses_once_ends_nobody(void **arg)
{
    static struct store_ops refuses;

    (void)arg;
    lost(bed.set.installation);
    right = bed.app.store->ops;
    refuses = *right;
    refuses.restore = restore_once_refused;
    refusals = 0;
    bed.app.store->ops = &refuses;
    in_charge();
    bed.app.store->ops = right;
    assert_true(refusals > 1);
    assert_int_equal(livebed_said(&bed, "discard"), 0);
    said_once("take_up:d(,");
}

static int launch_get_once_refused(struct store *st, const char *id,
                                   struct buf *out, struct err *e)
{
    if (refusals++ == 0)
        return err_set(e, ERR_BUSY, "LOADING the dataset in memory");
    return right->launch_get(st, id, out, e);
}

/* It is not known to be started because the store does not say. */
static void a_start_that_the_store_does_not_give_is_asked_for_again(void **arg)
{
    static struct store_ops refuses;

    (void)arg;
    right = bed.app.store->ops;
    refuses = *right;
    refuses.launch_get = launch_get_once_refused;
    livebed_row(&bed, 'a', &row);
    for (int i = 0; i < 2; i++) { /* found there; written by another */
        refusals = 0;
        bed.app.store->ops = &refuses;
        if (i == 0)
            in_charge();
        else
            livebed_row(&bed, 'b', &row);
        livebed_hears(&bed, i == 0 ? "take_up:a(,what)" : "start:b");
        bed.app.store->ops = right;
        assert_true(refusals > 1);
    }
    assert_int_equal(livebed_said(&bed, "take_up"), 1);
}

static bool leads_not(void *arg)
{
    (void)arg;
    return false;
}

static void who_does_not_lead_by_the_clock_discards_nothing(void **arg)
{
    (void)arg;
    lost(bed.set.installation);
    bed.launcher.sink.leads = leads_not;
    lead(true);
    run_for(bed.app.loop, 300);
    assert_string_equal(bed.said, "");
    bed.launcher.sink.leads = NULL; /* it was only late */
    in_charge();
    assert_int_equal(livebed_said(&bed, "discard"), 0);
    said_once("take_up:d(,");
}

static void a_record_of_somebody_elses_restores_nothing(void **arg)
{
    struct store_session out;
    struct err e = {0};

    (void)arg;
    lost("elsewhere");
    in_charge();
    assert_int_equal(livebed_said(&bed, "discard"), 0); /* it may live there */
    assert_int_equal(livebed_said(&bed, "take_up"), 0);
    assert_int_equal(store_get(bed.app.store, row.id, &out, &e), -1);
}

/* Of our own installation by its label, and of nobody by its record. */
static void what_no_record_of_ours_speaks_of_is_discarded(void **arg)
{
    char *mac;

    (void)arg;
    lost(bed.set.installation);
    mac = strstr(bed.record, "\"mac\":\"") + 7;
    *mac = *mac == '0' ? '1' : '0';
    in_charge();
    said_once("discard:d ");
    assert_int_equal(livebed_said(&bed, "take_up"), 0);
}

static void a_cluster_that_is_away_is_asked_again(void **arg)
{
    (void)arg;
    livebed_row(&bed, 'a', &row);
    atomic_store(&bed.is_list_away, true);
    lead(true);
    run_for(bed.app.loop, 200);
    assert_false(reaper_leads(bed.app.reaper));
    assert_string_equal(bed.said, ""); /* half a look ends nobody */
    atomic_store(&bed.is_list_away, false);
    in_charge();
    said_once("take_up:a");
    said_once("begin");
}

static void who_ceases_while_he_looks_takes_nothing_up(void **arg)
{
    (void)arg;
    livebed_row(&bed, 'a', &row);
    atomic_store(&bed.is_list_slow, true);
    lead(true);
    run_for(bed.app.loop, 50);
    lead(false);
    run_for(bed.app.loop, 50);
    assert_int_equal(livebed_said(&bed, "rest"), 0); /* the look uses it */
    lead(true);
    lead(false);
    atomic_store(&bed.is_list_slow, false);
    livebed_hears(&bed, "rest");
    run_for(bed.app.loop, 100);
    assert_string_equal(bed.said, "rest ");
    in_charge();
    said_once("take_up:a(,what) ");
}

/* Whatever turn is under way: from then on another acts. */
static void who_ceases_rests_at_once(void **arg)
{
    (void)arg;
    livebed_row(&bed, 'a', &row);
    for (int i = 0; i < TURNS; i++) {
        int before;

        in_charge();
        run_for(bed.app.loop, i % 25);
        before = bed.rests;
        lead(false);
        assert_int_equal(bed.rests, before + 1);
        assert_int_equal(live_count(bed.app.live), 0);
        if (i % 3)
            run_for(bed.app.loop, i % 7);
    }
    assert_int_equal(bed.begins, TURNS);
}

static void what_comes_while_nobody_leads_is_not_lost(void **arg)
{
    (void)arg;
    in_charge();
    lead(false);
    livebed_row(&bed, 'e', &row);
    run_for(bed.app.loop, 100);
    assert_int_equal(livebed_said(&bed, ":e"), 0);
    in_charge();
    said_once("take_up:e(,what) ");
}

/* --- one that stood still while another led --- */

static int claim_other(void *arg, struct store_session *r, struct err *e)
{
    (void)e;
    snprintf(r->launch_ref, sizeof r->launch_ref, "%s", (const char *)arg);
    return 0;
}

/* What the leader that is no more writes as it wakes. */
static void by_another(const char *ref)
{
    struct store_session out;
    struct err e = {0};

    assert_int_equal(store_update_if(bed.app.store, row.id, claim_other,
                                     (void *)(uintptr_t)ref, &out, &e),
                     0);
}

static void said_never(const char *text)
{
    if (livebed_said(&bed, text) != 0)
        fail_msg("\"%s\": %s", text, bed.said);
}

static void begun(void)
{
    in_charge();
    livebed_row(&bed, 'a', &row);
    livebed_hears(&bed, "start:a ");
}

static const struct launch_sink *sink(void)
{
    return &bed.launcher.sink;
}

static void assert_runs_in(const char *ref)
{
    struct store_session out;
    struct err e = {0};

    assert_int_equal(store_get(bed.app.store, row.id, &out, &e), 0);
    assert_string_equal(out.launch_ref, ref);
}

static void a_claim_after_anothers_is_not_kept(void **arg)
{
    (void)arg;
    begun();
    by_another("w-2");
    sink()->claimed(sink()->arg, row.id, "w-1");
    livebed_hears(&bed, "rest take_up:a(w-2,what) begin ");
    said_never("kept:a");
    said_never("end:a");
    assert_runs_in("w-2");
}

/* Nor what was seen of the runner it does not run in. */
static void no_word_on_anothers_runner_is_written(void **arg)
{
    static const struct launch_end lost = {.reason = REASON_RUNNER_LOST};
    struct store_session out;
    struct err e = {0};

    (void)arg;
    begun();
    sink()->claimed(sink()->arg, row.id, "w-1");
    livebed_hears(&bed, "kept:a ");
    by_another("w-2");
    sink()->ended(sink()->arg, row.id, &lost);
    livebed_hears(&bed, "take_up:a(w-2,");
    assert_int_equal(store_get(bed.app.store, row.id, &out, &e), 0);
    assert_int_equal(out.state, STATE_PENDING);
    assert_runs_in("w-2");
}

static void what_the_store_forgot_is_no_word_of_anothers(void **arg)
{
    (void)arg;
    begun();
    sink()->claimed(sink()->arg, row.id, "w-1");
    livebed_hears(&bed, "kept:a ");
    by_another("");
    sink()->listening(sink()->arg, row.id, "10.0.0.1:1", "u", "full");
    run_for(bed.app.loop, 200);
    assert_runs_in("w-1");
    said_never("rest");
}

static void a_runner_is_given_to_one_session(void **arg)
{
    struct store_session first;

    (void)arg;
    begun();
    sink()->claimed(sink()->arg, row.id, "w-1");
    livebed_hears(&bed, "kept:a ");
    first = row;
    livebed_row(&bed, 'b', &row);
    livebed_hears(&bed, "start:b ");
    sink()->stage(sink()->arg, row.id, "scheduled", "done", "");
    sink()->claimed(sink()->arg, row.id, "w-1");
    livebed_hears(&bed, "refused:b ");
    said_never("kept:b");
    assert_runs_in("");
    sink()->claimed(sink()->arg, row.id, "w-3");
    livebed_hears(&bed, "kept:b ");
    assert_runs_in("w-3");
    row = first;
    assert_runs_in("w-1");
}

static void who_does_not_lead_by_the_clock_writes_nothing(void **arg)
{
    struct store_session before, out;
    struct err e = {0};

    (void)arg;
    begun();
    assert_int_equal(store_get(bed.app.store, row.id, &before, &e), 0);
    bed.launcher.sink.leads = leads_not;
    sink()->claimed(sink()->arg, row.id, "w-1");
    sink()->listening(sink()->arg, row.id, "10.0.0.1:1", "u", "full");
    run_for(bed.app.loop, 400);
    said_never("kept:a");
    assert_int_equal(store_get(bed.app.store, row.id, &out, &e), 0);
    assert_int_equal(out.rev, before.rev);
    bed.launcher.sink.leads = NULL; /* it was only late */
    livebed_hears(&bed, "kept:a ");
    assert_runs_in("w-1");
}

#define T(t) cmocka_unit_test_setup_teardown(t, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(what_there_is_is_taken_up_before_it_begins),
        T(what_others_write_is_started),
        T(what_another_has_claimed_is_looked_for),
        T(what_the_store_has_lost_is_restored),
        T(a_store_that_refuses_once_ends_nobody),
        T(a_start_that_the_store_does_not_give_is_asked_for_again),
        T(who_does_not_lead_by_the_clock_discards_nothing),
        T(a_record_of_somebody_elses_restores_nothing),
        T(what_no_record_of_ours_speaks_of_is_discarded),
        T(a_cluster_that_is_away_is_asked_again),
        T(who_ceases_while_he_looks_takes_nothing_up),
        T(who_ceases_rests_at_once),
        T(what_comes_while_nobody_leads_is_not_lost),
        T(a_claim_after_anothers_is_not_kept),
        T(no_word_on_anothers_runner_is_written),
        T(what_the_store_forgot_is_no_word_of_anothers),
        T(a_runner_is_given_to_one_session),
        T(who_does_not_lead_by_the_clock_writes_nothing),
    };

    seal_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
