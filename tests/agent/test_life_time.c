/* A session that ends by the clock, and what one costs meanwhile. */
#include "agent/life.h"

#include "base/loop.h"
#include "base/mem.h"
#include "base/own.h"
#include "tests/lib/onebox.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static void an_idle_session_is_warned_and_ended(void **state)
{
    own_json struct json *report = NULL;
    struct agentlink *l, *v;
    int64_t until = loop_now_ms() + 2 * MS;

    (void)state;
    l = box_owner("echo ready; exec sleep 100", "{\"idle_s\":2}");
    agentlink_expect(l, "ready", MS);
    v = agentlink_new(box, ROLE_VIEWER, -1);
    /* neither pings nor viewers keep it */
    l->peer->may_die = v->peer->may_die = true;
    while (!l->exits && loop_now_ms() < until) {
        agentlink_ping(l, 1);
        agentlink_ping(v, 1);
        agentlink_run(l, 200);
        agentlink_run(v, 5);
    }
    assert_int_equal(l->exits, 1);
    assert_string_equal(l->reason, "idle");
    assert_non_null(strstr(l->notice, "idle and ends in 1 second."));
    assert_string_equal(v->notice, "");
    report = box_ends(l, "idle");
    agentlink_free(l);
    agentlink_free(v);
}

static void typing_and_output_keep_a_session(void **state)
{
    struct agentlink *l;

    (void)state;
    l = box_owner(
        "stty -echo; echo ready; while read -r l; do [ \"$l\" ] && break;"
        " done; while :; do echo tick; sleep 0.3; done",
        "{\"idle_s\":1}");
    agentlink_expect(l, "ready", MS);
    for (int i = 0; i < 4; i++) { /* typing that shows nothing */
        agentlink_says(l, "\r");
        agentlink_run(l, 400);
        assert_int_equal(l->exits, 0);
    }
    agentlink_says(l, "x\r");
    agentlink_run(l, 1600); /* output that is acknowledged */
    assert_int_equal(l->exits, 0);
    assert_non_null(strstr(l->text, "tick"));
    /* not any more: the output goes on, but nobody is there for it */
    l->auto_ack = false;
    agentlink_until(l, FRAME_EXIT, MS);
    assert_string_equal(l->reason, "idle");
    agentlink_free(l);
}

static void a_lifetime_is_not_extended(void **state)
{
    own_json struct json *report = NULL;
    struct agentlink *l;
    int64_t until = loop_now_ms() + 2 * MS;

    (void)state;
    l = box_owner(ECHO_LINES, "{\"lifetime_s\":2}");
    l->peer->may_die = true;
    while (!l->exits && loop_now_ms() < until) {
        agentlink_says(l, "busy\r");
        agentlink_run(l, 200);
    }
    assert_string_equal(l->reason, "lifetime");
    assert_non_null(strstr(l->notice, "lifetime"));
    report = box_ends(l, "lifetime");
    agentlink_free(l);
}

/* --- memory --- */

static void an_idle_agent_keeps_below_four_mib(void **state)
{
    struct agentlink *l;
    long main_kib, supervisor_kib;

    (void)state;
    if (!AGENTBOX_MEASURES)
        skip();
    l = box_owner(ECHO_LINES, NULL);
    agentlink_expect(l, "ready", MS);
    agentlink_run(l, 300);
    main_kib = agentbox_private_kib(agentbox_main(box, 0));
    supervisor_kib = agentbox_private_kib(box->agent);
    print_message("private: main %ld KiB, supervisor %ld KiB\n", main_kib,
                  supervisor_kib);
    assert_in_range(main_kib + supervisor_kib, 1, 4096);
    agentlink_free(l);
}

#define T(name) cmocka_unit_test_teardown(name, box_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(an_idle_session_is_warned_and_ended),
        T(typing_and_output_keep_a_session),
        T(a_lifetime_is_not_extended),
        T(an_idle_agent_keeps_below_four_mib),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
