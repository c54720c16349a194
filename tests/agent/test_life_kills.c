/*
 * The processes of a session killed at every moment that matters: nothing is
 * lost, nothing is done twice, and what cannot go on says so.
 */
#include "agent/life.h"

#include "base/loop.h"
#include "base/mem.h"
#include "base/own.h"
#include "tests/lib/fileserver.h"
#include "tests/lib/onebox.h"

#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static struct fileserver *server;

static int teardown(void **state)
{
    fileserver_stop(server);
    server = NULL;
    return box_teardown(state);
}

/* box_again, whose output is that of NUMBERS. */
static struct agentlink *attach_again(uint64_t from)
{
    struct agentlink *l = box_again(from);

    l->take = numbers_take;
    return l;
}

static void a_stream_survives_kills_of_the_agent_byte_for_byte(void **state)
{
    struct agentlink *l;
    own_json struct json *report = NULL;

    (void)state;
    l = box_owner(NUMBERS(1048576), NULL); /* 8 MiB */
    l->take = numbers_take;
    for (uint64_t i = 1; i <= 6; i++) {
        uint64_t had;

        agentlink_to(l, i * 1200000, MS);
        assert_int_equal(kill(agentbox_main(box, 0), SIGKILL), 0);
        l->peer->may_die = true;
        agentlink_run(l, MS); /* what was on the wire */
        assert_true(l->is_over);
        had = l->output;
        agentlink_free(l);
        l = attach_again(had);
        assert_int_equal(l->output_from, had);
    }
    agentlink_until(l, FRAME_EXIT, 2 * MS);
    assert_int_equal(l->output_end, 8 << 20);
    assert_int_equal(l->exit_code, 3);
    report = agentbox_ends(box, "exited", LEAVES_MS);
    assert_int_equal(report_number(report, "output_bytes"), 8 << 20);
    assert_int_equal(report_number(report, "exit_code"), 3);
    assert_int_equal(agentbox_wait_shim(box, MS), 0);
    agentlink_free(l);
}

static void the_program_does_not_notice_a_kill(void **state)
{
    struct agentlink *l;
    uint64_t typed;

    (void)state;
    l = box_owner("stty -echo; echo \"pid $$.\"; "
                  "while read -r l; do echo \"$$ <$l>\"; done",
                  NULL);
    agentlink_expect(l, "pid ", MS);
    agentlink_says(l, "one\r");
    agentlink_expect(l, "<one>", MS);
    agentlink_run(l, 50);
    typed = l->typed;
    assert_int_equal(l->input_acked, typed);
    kill(agentbox_main(box, 0), SIGKILL);
    agentlink_free(l);
    l = attach_again(0);
    l->take = NULL;
    assert_int_equal(l->typed, typed);
    agentlink_says(l, "two\r");
    agentlink_expect(l, "<two>", MS);
    {
        char pid[32], want[64];

        assert_int_equal(sscanf(strstr(l->text, "pid "), "pid %20[0-9]", pid),
                         1);
        snprintf(want, sizeof(want), "%s <two>", pid);
        assert_non_null(strstr(l->text, want));
    }
    agentlink_free(l);
}

static void a_kill_begins_the_hold_anew(void **state)
{
    struct agentlink *l;
    uint64_t had;

    (void)state;
    l = box_owner(NUMBERS(9999999), "{\"ring_bytes\":131072,"
                                    "\"window_bytes\":65536,\"hold_s\":2}");
    l->take = numbers_take;
    agentlink_run(l, 2500); /* attached for longer than the hold */
    kill(agentbox_main(box, 0), SIGKILL);
    l->peer->may_die = true;
    agentlink_run(l, MS);
    had = l->output;
    agentlink_free(l);
    poll(NULL, 0, 1500);
    l = attach_again(had);
    assert_int_equal(l->output_from, had);
    agentlink_to(l, had + (1 << 20), MS);
    agentlink_free(l);
}

/* The ring is full and held, the rest lies in the terminal, the program has
 * ended: all of it must come, whoever is killed meanwhile. */
static void the_tail_behind_a_full_ring_survives_a_kill(void **state)
{
    struct agentlink *l;
    own_json struct json *report = NULL;

    (void)state;
    l = box_owner(NUMBERS(16884), "{\"ring_bytes\":131072,"
                                  "\"window_bytes\":65536}"); /* 135072 bytes */
    l->auto_ack = false;
    l->take = numbers_take;
    agentlink_to(l, 65536, MS);
    poll(NULL, 0, 300); /* the program has ended by now */
    kill(agentbox_main(box, 0), SIGKILL);
    agentlink_free(l);
    l = attach_again(0);
    assert_int_equal(l->output_from, 0);
    agentlink_until(l, FRAME_EXIT, MS);
    assert_int_equal(l->output_end, 16884 * 8);
    assert_int_equal(l->exit_code, 3);
    report = agentbox_ends(box, "exited", LEAVES_MS);
    agentlink_free(l);
}

static void a_full_ring_of_an_ended_program_costs_no_time(void **state)
{
    struct agentlink *l;
    long before;
    pid_t pid;

    (void)state;
    l = box_owner(NUMBERS(16884),
                  "{\"ring_bytes\":131072,\"window_bytes\":65536}");
    l->auto_ack = false;
    l->take = numbers_take;
    agentlink_to(l, 65536, MS);
    agentlink_says(l, "typed, and never read");
    poll(NULL, 0, 300);
    agentlink_says(l, "typed when it had ended");
    pid = agentbox_main(box, 0);
    before = agentbox_cpu_ms(pid);
    poll(NULL, 0, 1000);
    if (AGENTBOX_MEASURES)
        assert_in_range(agentbox_cpu_ms(pid) - before, 0, 150);
    agentlink_free(l);
}

static void a_main_process_that_does_not_stand_is_given_up(void **state)
{
    own_json struct json *report = NULL;
    pid_t pid = 0;

    (void)state;
    box = agentbox_new("sleep 100", NULL);
    for (int i = 0; i < 20; i++) {
        pid = agentbox_main(box, pid);
        kill(pid, SIGKILL);
    }
    report = agentbox_ends(box, "runner_lost", MS);
    assert_non_null(strstr(json_get_str(report, "detail"), "killed 20 times"));
}

static void a_shim_that_is_killed_ends_the_session(void **state)
{
    struct agentlink *l;
    own_json struct json *report = NULL;

    (void)state;
    l = box_owner("echo last words; exec sleep 100", NULL);
    agentlink_expect(l, "last words", MS);
    kill(box->shim, SIGKILL);
    agentlink_until(l, FRAME_EXIT, MS);
    assert_string_equal(l->reason, "runner_lost");
    assert_int_equal(l->exit_code, -1);
    report = agentbox_ends(box, "runner_lost", LEAVES_MS);
    assert_null(json_get(report, "exit_code"));
    assert_null(json_get(report, "signal"));
    agentlink_free(l);
}

static void an_end_is_kept_over_a_kill(void **state)
{
    struct agentlink *l;
    own_json struct json *report = NULL;

    (void)state;
    l = box_owner("trap '' HUP; echo ready; while :; do sleep 0.1; done",
                  "{\"linger_detached_s\":0}");
    agentlink_expect(l, "ready", MS);
    agentlink_end(l);
    agentlink_run(l, 200);
    kill(agentbox_main(box, 0), SIGKILL);
    agentlink_free(l);
    report = agentbox_ends(box, "deleted", 3 * MS);
}

static void a_kill_while_fetching_fetches_again(void **state)
{
    static const struct fileserver_reply script[] = {
        {.trick = FILESERVER_SILENT}, {0}};
    own_mem char *over = NULL;
    struct agentlink *l;

    (void)state;
    server = fileserver_start("no archive", 10, script, 2, NULL);
    over = mem_printf("{\"bundle\":{\"url\":\"http://127.0.0.1:%d/b\","
                      "\"sha256\":\"%064d\"}}",
                      fileserver_port(server), 0);
    box = agentbox_new("exit", over);
    memset(box->sha256, '0', 64);
    while (fileserver_requests(server) == 0)
        poll(NULL, 0, 5);
    kill(agentbox_main(box, 0), SIGKILL);
    l = attach_again(0);
    l->take = NULL;
    if (!l->exits)
        agentlink_until(l, FRAME_EXIT, MS);
    assert_string_equal(l->reason, "bundle_refused");
    assert_int_equal(fileserver_requests(server), 2);
    agentlink_free(l);
}

static void who_comes_late_still_sees_the_last_line_and_the_code(void **state)
{
    own_json struct json *report = NULL;
    struct agentlink *l, *v;

    (void)state;
    box = agentbox_new("echo the last line; exit 5",
                       "{\"linger_detached_s\":60}");
    assert_true(agentbox_status(box, "running", MS));
    while (!(report = agentbox_report(box)))
        poll(NULL, 0, 5);
    v = agentlink_new(box, ROLE_VIEWER, -1);
    agentlink_until(v, FRAME_EXIT, MS);
    assert_int_equal(v->exit_code, 5);
    assert_non_null(strstr(v->text, "the last line"));
    /* also when the agent was killed in between */
    kill(agentbox_main(box, 0), SIGKILL);
    l = attach_again(0);
    l->take = NULL;
    agentlink_expect(l, "the last line", MS);
    if (!l->exits)
        agentlink_until(l, FRAME_EXIT, MS);
    assert_int_equal(l->exit_code, 5);
    assert_string_equal(l->reason, "exited");
    agentbox_wait(box, LEAVES_MS);
    agentlink_free(v);
    agentlink_free(l);
}

#define T(name) cmocka_unit_test_teardown(name, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(a_stream_survives_kills_of_the_agent_byte_for_byte),
        T(the_program_does_not_notice_a_kill),
        T(a_kill_begins_the_hold_anew),
        T(the_tail_behind_a_full_ring_survives_a_kill),
        T(a_full_ring_of_an_ended_program_costs_no_time),
        T(a_main_process_that_does_not_stand_is_given_up),
        T(a_shim_that_is_killed_ends_the_session),
        T(an_end_is_kept_over_a_kill),
        T(a_kill_while_fetching_fetches_again),
        T(who_comes_late_still_sees_the_last_line_and_the_code),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
