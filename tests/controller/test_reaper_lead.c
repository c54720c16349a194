/*
 * One of several controllers begins to lead, follows what the others write,
 * and ceases: at any moment, whatever is under way.
 */
#include "base/mem.h"
#include "base/own.h"
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

static void what_the_store_has_lost_is_restored(void **arg)
{
    struct store_session out;
    struct err e = {0};

    (void)arg;
    livebed_row(&bed, 'd', &row);
    memcpy(bed.listed, row.id, ID_SIZE);
    bed.record = record_text(&row, bed.set.installation, &bed.app.keys);
    livebed_lose(&bed, row.id);
    in_charge();
    said_once("take_up:d(,"); /* and not discarded */
    assert_int_equal(livebed_said(&bed, "discard"), 0);
    assert_int_equal(store_get(bed.app.store, row.id, &out, &e), 0);
    assert_string_equal(out.owner_sub, row.owner_sub);
}

static void a_record_of_somebody_elses_restores_nothing(void **arg)
{
    struct store_session out;
    struct err e = {0};

    (void)arg;
    livebed_row(&bed, 'd', &row);
    memcpy(bed.listed, row.id, ID_SIZE);
    bed.record = record_text(&row, "elsewhere", &bed.app.keys);
    livebed_lose(&bed, row.id);
    in_charge();
    said_once("discard:d ");
    assert_int_equal(store_get(bed.app.store, row.id, &out, &e), -1);
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

#define T(t) cmocka_unit_test_setup_teardown(t, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(what_there_is_is_taken_up_before_it_begins),
        T(what_others_write_is_started),
        T(what_another_has_claimed_is_looked_for),
        T(what_the_store_has_lost_is_restored),
        T(a_record_of_somebody_elses_restores_nothing),
        T(a_cluster_that_is_away_is_asked_again),
        T(who_ceases_while_he_looks_takes_nothing_up),
        T(who_ceases_rests_at_once),
        T(what_comes_while_nobody_leads_is_not_lost),
    };

    seal_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
