/*
 * What the launcher tells is written, and a record that the store has lost is
 * written anew: soon, with what was known of it, and never without its end.
 */
#include "base/mem.h"
#include "base/own.h"
#include "controller/live_internal.h"
#include "tests/lib/livebed.h"
#include "tests/lib/peer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define ADDR "10.0.0.7:7440"
#define CROWD 24

static struct livebed bed;
static struct store_session row, out;
static struct launch_sink *sink;

static int setup(void **arg)
{
    (void)arg;
    livebed_start(&bed);
    sink = &bed.launcher.sink;
    live_watch_records(bed.app.live);
    livebed_row(&bed, 'a', &row);
    return 0;
}

static int teardown(void **arg)
{
    (void)arg;
    livebed_stop(&bed);
    return 0;
}

static bool is_running(const struct store_session *r)
{
    return r->state == STATE_RUNNING;
}

static bool is_ended(const struct store_session *r)
{
    return r->state == STATE_ENDED;
}

static bool is_claimed(const struct store_session *r)
{
    return r->launch_ref[0] != '\0';
}

static void runs(void)
{
    live_start(bed.app.live, &row, livebed_what(&bed, &row));
    sink->claimed(sink->arg, row.id, "w-1");
    sink->launched(sink->arg, row.id);
    sink->listening(sink->arg, row.id, ADDR, "pod-uid", "full");
    sink->running(sink->arg, row.id, 1234, 0);
    livebed_until(&bed, row.id, is_running, &out);
}

static struct launch_end end_of(enum end_reason reason)
{
    return (struct launch_end){.reason = reason,
                               .has_exit = true,
                               .exit_code = 7,
                               .started_ms = row.created_ms + 1,
                               .ended_ms = row.created_ms + 2,
                               .output_bytes = 5};
}

static void what_is_told_is_written(void **arg)
{
    struct buf none;
    struct err e = {0};

    (void)arg;
    buf_init(&none, STORE_LAUNCH_MAX);
    runs();
    assert_string_equal(out.launch_ref, "w-1");
    assert_string_equal(out.agent_addr, ADDR);
    assert_string_equal(out.agent_uid, "pod-uid");
    livebed_hears(&bed, "kept:a");
    run_for(bed.app.loop, 500); /* a second write */
    assert_int_equal(store_launch_get(bed.app.store, row.id, &none, &e), -1);
    assert_int_equal(e.kind, ERR_ABSENT); /* nothing starts it twice */
    buf_fini(&none);
}

static bool has_addr(const struct store_session *r)
{
    return r->agent_addr[0] != '\0';
}

static void what_is_told_at_once_is_one_write(void **arg)
{
    struct session *s;

    (void)arg;
    live_start(bed.app.live, &row, livebed_what(&bed, &row));
    s = session_find(bed.app.live, row.id);
    sink->launched(sink->arg, row.id);
    sink->stage(sink->arg, row.id, "scheduled", "done", "");
    sink->stage(sink->arg, row.id, "pulled", "done", "");
    assert_false(s->is_writing);
    sink->listening(sink->arg, row.id, ADDR, "pod-uid", "full");
    assert_false(s->is_writing);
    assert_true(s->facts.is_launched && s->facts.is_listening);
    assert_int_equal(s->facts.stage_count, 2);
    livebed_until(&bed, row.id, has_addr, &out);
    assert_int_equal(out.stage_count, 2);
}

static void a_claim_is_kept_once_it_is_written(void **arg)
{
    (void)arg;
    live_start(bed.app.live, &row, livebed_what(&bed, &row));
    sink->claimed(sink->arg, row.id, "w-1");
    livebed_hears(&bed, "kept:a");
    assert_int_equal(store_get(bed.app.store, row.id, &out, &(struct err){0}),
                     0);
    assert_true(is_claimed(&out));
}

static void a_record_that_is_lost_is_written_anew_with_all_of_it(void **arg)
{
    int64_t begun;

    (void)arg;
    runs();
    begun = loop_now_ms();
    livebed_lose(&bed, row.id);
    livebed_until(&bed, row.id, is_running, &out);
    assert_true(loop_now_ms() - begun < REVIVE_MS + 3000);
    assert_string_equal(out.launch_ref, "w-1");
    assert_string_equal(out.agent_addr, ADDR);
    assert_string_equal(out.owner_sub, "ann");
    assert_string_equal(out.viewers[1], "eve");
    assert_int_equal(out.started_ms, 1234);
    assert_int_equal(livebed_said(&bed, "end:"), 0);
}

static void one_that_was_taken_up_is_known_as_well(void **arg)
{
    (void)arg;
    runs();
    live_rest(bed.app.live);
    assert_int_equal(live_count(bed.app.live), 0);
    live_take_up(bed.app.live, &out, "", NULL);
    livebed_lose(&bed, row.id);
    memset(&out, 0, sizeof out);
    livebed_until(&bed, row.id, is_running, &out);
    assert_string_equal(out.launch_ref, "w-1");
    assert_string_equal(out.agent_addr, ADDR);
    assert_string_equal(out.agent_uid, "pod-uid");
    assert_string_equal(out.isolation, "full");
    assert_int_equal(out.started_ms, 1234);
}

static bool is_empty(void *arg)
{
    (void)arg;
    return live_count(bed.app.live) == 0;
}

static void nobody_is_left(void)
{
    assert_true(run_until(bed.app.loop, is_empty, NULL, LIVEBED_SOON_MS));
}

static void no_end_is_lost_with_its_record(void **arg)
{
    static const uint8_t none[SEALED_KEY_BYTES];
    struct launch_end end;

    (void)arg;
    runs();
    end = end_of(REASON_EXITED);
    livebed_lose(&bed, row.id);
    sink->ended(sink->arg, row.id, &end);
    livebed_until(&bed, row.id, is_ended, &out);
    assert_int_equal(out.reason, REASON_EXITED);
    assert_int_equal(out.exit_code, 7);
    assert_string_equal(out.owner_sub, "ann");
    assert_memory_equal(out.psk_sealed, none, sizeof none);
    nobody_is_left();
}

static void the_end_comes_through_whenever_the_record_goes(void **arg)
{
    (void)arg;
    for (int i = 0; i < 20; i++) {
        struct launch_end end;

        live_start(bed.app.live, &row, livebed_what(&bed, &row));
        sink->launched(sink->arg, row.id);
        sink->listening(sink->arg, row.id, ADDR, "pod-uid", "full");
        run_for(bed.app.loop, i % 4);
        end = end_of(REASON_EXITED);
        if (i % 2) {
            livebed_lose(&bed, row.id);
            sink->ended(sink->arg, row.id, &end);
        } else {
            sink->ended(sink->arg, row.id, &end);
            livebed_lose(&bed, row.id); /* a write is under way */
        }
        nobody_is_left();
        livebed_row(&bed, 'a', &row);
    }
}

/* --- viewers --- */

static int dismiss(void *arg, struct store_session *r, struct err *e)
{
    (void)arg;
    (void)e;
    memset(r->viewers[1], 0, sizeof r->viewers[1]);
    r->viewers_untold = 1;
    return 0;
}

/* The agent has heard: as control.c tells it. */
static void agent_has_heard(void)
{
    struct session *s = session_find(bed.app.live, row.id);

    s->facts.told = 1;
    s->facts.has_any = true;
    session_write(s);
    run_for(bed.app.loop, 100);
}

static void a_viewer_who_was_dismissed_does_not_come_back(void **arg)
{
    struct err e = {0};

    (void)arg;
    runs();
    run_for(bed.app.loop, 50);
    assert_int_equal(
        store_update_if(bed.app.store, row.id, dismiss, NULL, &out, &e), 0);
    agent_has_heard();
    livebed_lose(&bed, row.id);
    memset(&out, 0, sizeof out);
    livebed_until(&bed, row.id, is_running, &out);
    assert_string_equal(out.viewers[0], "bob");
    assert_string_equal(out.viewers[1], "");
}

/* --- others --- */

static int end_it(void *arg, struct store_session *r, struct err *e)
{
    (void)arg;
    (void)e;
    r->state = STATE_ENDED;
    r->reason = REASON_DELETED;
    return 0;
}

static void a_record_that_another_has_ended_ends_the_session(void **arg)
{
    struct err e = {0};

    (void)arg;
    live_start(bed.app.live, &row, livebed_what(&bed, &row));
    assert_int_equal(
        store_update_if(bed.app.store, row.id, end_it, NULL, &out, &e), 0);
    sink->claimed(sink->arg, row.id, "w-1");
    /* the runner that was given out to it is to be removed, too */
    livebed_hears(&bed, "end:a=deleted kept:a");
}

static void resting_leaves_every_write_alone(void **arg)
{
    static struct store_session rows[CROWD];

    (void)arg;
    for (int i = 0; i < CROWD; i++) {
        livebed_row(&bed, 'b', &rows[i]);
        live_start(bed.app.live, &rows[i], livebed_what(&bed, &rows[i]));
        sink->listening(sink->arg, rows[i].id, ADDR, "u", "full");
        sink->running(sink->arg, rows[i].id, 1, 0);
    }
    run_for(bed.app.loop, 1);
    live_rest(bed.app.live);
    run_for(bed.app.loop, 200);
    assert_int_equal(live_count(bed.app.live), 0);
    sink->running(sink->arg, rows[0].id, 1, 0); /* it is nobody's now */
}

#define T(t) cmocka_unit_test_setup_teardown(t, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(what_is_told_is_written),
        T(what_is_told_at_once_is_one_write),
        T(a_claim_is_kept_once_it_is_written),
        T(a_record_that_is_lost_is_written_anew_with_all_of_it),
        T(one_that_was_taken_up_is_known_as_well),
        T(no_end_is_lost_with_its_record),
        T(the_end_comes_through_whenever_the_record_goes),
        T(a_viewer_who_was_dismissed_does_not_come_back),
        T(a_record_that_another_has_ended_ends_the_session),
        T(resting_leaves_every_write_alone),
    };

    seal_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
