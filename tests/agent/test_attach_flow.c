/*
 * What flows through the podterm.v1 server: windows, rings, pastes, each with
 * the real agent and shim. The messages themselves: test_attach.c.
 */
#include "agent/attach.h"

#include "base/loop.h"
#include "base/mem.h"
#include "base/own.h"
#include "tests/lib/onebox.h"

#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* --- flow --- */

static void no_more_than_the_window_is_under_way(void **state)
{
    struct agentlink *l;

    (void)state;
    l = box_owner(NUMBERS(9999999), "{\"window_bytes\":65536}");
    l->take = numbers_take;
    l->auto_ack = false;
    assert_int_equal(l->window, 65536);
    agentlink_to(l, 65536, MS);
    agentlink_run(l, QUIET_MS);
    assert_int_equal(l->output, 65536);
    agentlink_ack(l, 1000);
    agentlink_to(l, 66536, MS);
    agentlink_run(l, QUIET_MS);
    assert_int_equal(l->output, 66536);
    /* an older acknowledgement takes nothing back */
    agentlink_ack(l, 0);
    agentlink_run(l, QUIET_MS);
    assert_int_equal(l->output, 66536);
    agentlink_free(l);
}

static void
an_owner_that_stops_stalls_the_program_and_loses_nothing(void **state)
{
    struct agentlink *l, *again;
    uint64_t seen;
    long kib;

    (void)state;
    l = box_owner(NUMBERS(9999999),
                  "{\"ring_bytes\":131072,\"window_bytes\":65536}");
    l->take = numbers_take;
    l->auto_ack = false;
    agentlink_to(l, 65536, MS);
    poll(NULL, 0, 300); /* it would have written megabytes */
    kib = agentbox_private_kib(agentbox_main(box, 0));
    assert_true(kib < 6000 || !AGENTBOX_MEASURES);
    /* the ring holds from the acknowledged byte on */
    again = agentlink_new(box, ROLE_OWNER, 0);
    assert_int_equal(again->output_from, 0);
    assert_int_equal(again->output_seen, 0);
    again->take = numbers_take;
    again->auto_ack = false;
    agentlink_to(again, 65536, MS);
    agentlink_ack(again, 65536);
    agentlink_to(again, 131072, MS);
    agentlink_ack(again, 131072);
    again->auto_ack = true;
    agentlink_to(again, 4 << 20, MS);
    agentlink_free(l);
    /* what was acknowledged once stays so, from wherever it is shown again */
    seen = again->output;
    for (int i = 0; i < 2; i++) {
        struct agentlink *late = agentlink_new(box, ROLE_OWNER, 0);

        assert_in_range(late->output_seen, 4 << 20, seen);
        assert_true(late->output_from <= late->output_seen);
        agentlink_free(late);
    }
    agentlink_free(again);
}

static void a_viewer_that_stops_never_stalls_the_owner(void **state)
{
    struct agentlink *l, *lazy, *deaf;

    (void)state;
    l = box_owner(NUMBERS(9999999),
                  "{\"ring_bytes\":131072,\"window_bytes\":65536}");
    l->take = numbers_take;
    lazy = agentlink_new(box, ROLE_VIEWER, 0); /* reads, acknowledges not */
    deaf = agentlink_new(box, ROLE_VIEWER, 0); /* does not even read */
    lazy->auto_ack = false;
    lazy->take = numbers_take;
    agentlink_to(l, 6 << 20, MS);
    agentlink_run(lazy, QUIET_MS);
    assert_in_range(lazy->output, 1, 131072);
    assert_int_equal(lazy->jumped, 0);
    /* it acknowledges again: on from what is kept, with a jump */
    agentlink_ack(lazy, lazy->output);
    lazy->auto_ack = true;
    while (lazy->jumped == 0) {
        agentlink_to(l, l->output + 65536, MS);
        agentlink_next(lazy, 50);
    }
    assert_true(lazy->jumped > 4 << 20);
    agentlink_free(deaf);
    agentlink_free(lazy);
    agentlink_free(l);
}

static void after_the_hold_the_ring_runs_on(void **state)
{
    struct agentlink *l;
    uint64_t had;

    (void)state;
    l = box_owner(NUMBERS(9999999),
                  "{\"ring_bytes\":131072,\"window_bytes\":65536,"
                  "\"hold_s\":1}");
    l->take = numbers_take;
    agentlink_to(l, 1 << 20, MS);
    had = l->output;
    agentlink_free(l);
    /* within the hold nothing is lost */
    poll(NULL, 0, 300);
    l = agentlink_new(box, ROLE_OWNER, (int64_t)had);
    l->take = numbers_take;
    assert_int_equal(l->output_from, had);
    agentlink_to(l, had + 500000, MS);
    had = l->output;
    agentlink_free(l);
    /* after it the program has gone on, and READY says from where */
    poll(NULL, 0, 2600);
    l = agentlink_new(box, ROLE_OWNER, (int64_t)had);
    l->take = numbers_take;
    assert_true(l->output_from > had + 131072);
    agentlink_to(l, l->output_from + 500000, MS);
    agentlink_free(l);
}

/* --- input --- */

static void input_is_applied_exactly_once(void **state)
{
    struct agentlink *l;

    (void)state;
    l = box_owner(ECHO_LINES, NULL);
    agentlink_expect(l, "ready", MS);
    agentlink_type_at(l, 0, "abc", 3);
    agentlink_type_at(l, 0, "abc", 3);   /* wholly doubled */
    agentlink_type_at(l, 1, "bcd\r", 4); /* partly */
    agentlink_expect(l, "<abcd>", MS);
    agentlink_run(l, QUIET_MS);
    assert_int_equal(l->input_acked, 5);
    agentlink_type_at(l, 6, "x", 1); /* a gap */
    agentlink_refused(l, "bad_request", 4400);
    agentlink_free(l);
    l = agentlink_new(box, ROLE_OWNER, 0);
    assert_int_equal(l->typed, 5);
    agentlink_type_at(l, 0, "abcd\re\r", 7);
    agentlink_expect(l, "<e>", MS);
    assert_null(strstr(strstr(l->text, "<abcd>") + 1, "<abcd>"));
    agentlink_free(l);
}

static void typed_before_the_program_runs_it_gets(void **state)
{
    struct agentlink *l;

    (void)state;
    box = agentbox_new_alone("read -r a; echo \"<$a>\"; read -r b", NULL);
    l = agentlink_new(box, ROLE_OWNER, -1);
    agentlink_says(l, "early\r");
    agentlink_run(l, QUIET_MS);
    assert_int_equal(l->input_acked, 0);
    agentbox_start_shim(box);
    agentlink_expect(l, "<early>", MS);
    agentlink_run(l, QUIET_MS);
    assert_int_equal(l->input_acked, 6);
    agentlink_free(l);
}

/* A program that never reads. Raw: nothing is taken as a line. */
#define NEVER_READS                                                            \
    "stty raw -echo isig; trap 'echo got int; exit 7' INT; echo ready; "       \
    "while :; do sleep 0.05; done"

static size_t paste(struct agentlink *l, size_t want)
{
    uint8_t *chunk = mem_zero(16384, 1);
    int64_t until = loop_now_ms() + 1500;
    size_t sent = 0;

    memset(chunk, 'p', 16384);
    while (sent < want && loop_now_ms() < until) {
        size_t room = l->input_window - (size_t)(l->typed - l->input_acked);

        if (room > want - sent)
            room = want - sent;
        if (room > 16384)
            room = 16384;
        if (room == 0) {
            agentlink_next(l, 50);
            continue;
        }
        agentlink_type(l, chunk, room);
        sent += room;
    }
    free(chunk);
    return sent;
}

static void a_paste_nobody_reads_costs_its_window_and_no_more(void **state)
{
    struct agentlink *l;
    own_json struct json *report = NULL;
    size_t sent;
    long kib;

    (void)state;
    l = box_owner(NEVER_READS, NULL);
    agentlink_expect(l, "ready", MS);
    sent = paste(l, 1 << 20);
    assert_in_range(sent, 65536, 65536 + 200000);
    kib = agentbox_private_kib(agentbox_main(box, 0));
    assert_true(kib < 6000 || !AGENTBOX_MEASURES);
    /* the socket is read still: PING, Ctrl-C and END come through */
    agentlink_ping(l, 77);
    agentlink_until(l, FRAME_PONG, MS);
    assert_int_equal(l->pong, 77);
    for (uint64_t v = 78; v < 90; v++) /* of a burst the last is answered */
        agentlink_ping(l, v);
    while (l->pong != 89)
        agentlink_until(l, FRAME_PONG, MS);
    agentlink_signal(l, FRAME_SIG_INT);
    agentlink_expect(l, "got int", MS);
    agentlink_until(l, FRAME_EXIT, MS);
    assert_int_equal(l->exit_code, 7);
    report = agentbox_ends(box, "exited", MS);
    agentlink_free(l);
}

static void ctrl_c_behind_a_paste_is_heard(void **state)
{
    struct agentlink *l;

    (void)state;
    l = box_owner(NEVER_READS, NULL);
    agentlink_expect(l, "ready", MS);
    /* all but a byte of the window */
    while (paste(l, 1 << 20) == 1 << 20)
        ;
    agentlink_free(l);
    l = agentlink_new(box, ROLE_OWNER, -1);
    paste(l, 60000);
    agentlink_says(l, "\x03");
    agentlink_expect(l, "got int", MS);
    agentlink_free(l);
}

static void more_than_the_input_window_is_refused(void **state)
{
    struct agentlink *l;
    uint8_t *chunk = mem_zero(32768, 1);

    (void)state;
    l = box_owner(NEVER_READS, NULL);
    agentlink_expect(l, "ready", MS);
    l->peer->may_die = true;
    for (int i = 0; i < 20; i++)
        agentlink_type(l, chunk, 32768);
    agentlink_refused(l, "bad_request", 4400);
    agentlink_free(l);
    free(chunk);
    /* the session goes on */
    l = agentlink_new(box, ROLE_OWNER, 0);
    agentlink_signal(l, FRAME_SIG_INT);
    agentlink_expect(l, "got int", MS);
    agentlink_free(l);
}

/* --- moving --- */

static void after_its_time_an_attachment_moves_and_data_flows_on(void **state)
{
    struct agentlink *l, *fresh;

    (void)state;
    l = box_owner(NUMBERS(9999999), "{\"attach_max_s\":1}");
    l->take = numbers_take;
    agentlink_until(l, FRAME_MOVE, MS);
    /* the old leg carries data until the new one is READY */
    agentlink_to(l, l->output + (1 << 20), MS);
    fresh = agentlink_new(box, ROLE_OWNER, (int64_t)l->output);
    fresh->take = numbers_take;
    agentlink_to(fresh, l->output + (1 << 20), MS);
    agentlink_refused(l, "replaced", 4409);
    agentlink_free(l);
    agentlink_free(fresh);
}

#define T(name) cmocka_unit_test_teardown(name, box_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(no_more_than_the_window_is_under_way),
        T(an_owner_that_stops_stalls_the_program_and_loses_nothing),
        T(a_viewer_that_stops_never_stalls_the_owner),
        T(after_the_hold_the_ring_runs_on),
        T(input_is_applied_exactly_once),
        T(typed_before_the_program_runs_it_gets),
        T(a_paste_nobody_reads_costs_its_window_and_no_more),
        T(ctrl_c_behind_a_paste_is_heard),
        T(more_than_the_input_window_is_refused),
        T(after_its_time_an_attachment_moves_and_data_flows_on),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
