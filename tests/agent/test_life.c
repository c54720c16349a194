/*
 * A session from its spec to its report: every end there is, with the real
 * agent, shim and programs. Kills: test_life_kills.c.
 */
#include "agent/life.h"

#include "base/loop.h"
#include "base/mem.h"
#include "base/own.h"
#include "tests/lib/agentbox.h"
#include "tests/lib/fileserver.h"

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

#define MS 5000
#define LEAVES_MS 4000 /* from the end to the agent's leaving */
/* `lines` numbered lines of 8 bytes, then code 3. */
#define NUMBERS(lines)                                                         \
    "stty raw -echo; seq -f %07.0f 1 " #lines " | cat; exit 3"

static struct agentbox *box;
static struct fileserver *server;

static int teardown(void **state)
{
    (void)state;
    agentbox_free(box);
    fileserver_stop(server);
    box = NULL;
    server = NULL;
    return 0;
}

static struct agentlink *owner(const char *script, const char *over)
{
    box = agentbox_new(script, over);
    return agentlink_new(box, ROLE_OWNER, -1);
}

/* The owner's connection ends, then the agent; its report. */
static struct json *ends(struct agentlink *l, const char *reason)
{
    agentlink_run(l, 2 * MS);
    return agentbox_ends(box, reason, LEAVES_MS);
}

static int64_t member(const struct json *j, const char *name)
{
    int64_t v = -1;

    if (json_get_int(j, name, &v) < 0)
        fail_msg("the report has no number %s", name);
    return v;
}

static void take_numbers(void *arg, uint64_t offset, const uint8_t *p,
                         size_t len)
{
    (void)arg;
    for (size_t i = 0; i < len;) {
        uint64_t at = offset + i;
        size_t skip = at % 8, part = 8 - skip < len - i ? 8 - skip : len - i;
        char text[24];

        snprintf(text, sizeof(text), "%07llu\n",
                 (unsigned long long)(at / 8 + 1));
        if (memcmp(p + i, text + skip, part) != 0)
            fail_msg("at %llu: %.8s", (unsigned long long)at, p + i);
        i += part;
    }
}

static void run_to(struct agentlink *l, uint64_t offset, int ms)
{
    int64_t until = loop_now_ms() + ms, left;

    while (l->output < offset && !l->is_over &&
           (left = until - loop_now_ms()) > 0)
        agentlink_next(l, (int)left);
    if (l->output < offset)
        fail_msg("at %llu, want %llu (%s)", (unsigned long long)l->output,
                 (unsigned long long)offset, l->is_over ? "over" : "slow");
}

/* --- stopping --- */

static void a_shim_told_to_stop_says_so(void **state)
{
    struct agentlink *l;
    own_json struct json *report = NULL;
    int status;

    (void)state;
    l = owner("echo ready; exec sleep 100", NULL);
    agentlink_expect(l, "ready", MS);
    kill(box->shim, SIGTERM);
    agentlink_until(l, FRAME_EXIT, MS);
    assert_string_equal(l->reason, "runner_lost");
    assert_non_null(strstr(l->detail, "platform"));
    status = agentbox_wait_shim(box, 1500);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), LEAVE_STOPPED);
    report = ends(l, "runner_lost");
    agentlink_free(l);
}

static void a_stopped_agent_tells_everybody_and_goes(void **state)
{
    struct agentlink *l, *v;
    own_json struct json *report = NULL;
    int64_t start;
    int status;

    (void)state;
    l = owner("echo ready; exec sleep 100", NULL);
    agentlink_expect(l, "ready", MS);
    v = agentlink_new(box, ROLE_VIEWER, -1);
    start = loop_now_ms();
    kill(box->agent, SIGTERM);
    agentlink_until(l, FRAME_EXIT, MS);
    agentlink_until(v, FRAME_EXIT, MS);
    assert_string_equal(l->reason, "runner_lost");
    agentlink_refused(l, NULL, 1000);
    agentlink_refused(v, NULL, 1000);
    report = ends(l, "runner_lost");
    assert_true(loop_now_ms() - start < 1500);
    status = agentbox_wait_shim(box, MS);
    assert_int_equal(WEXITSTATUS(status), LEAVE_STOPPED);
    agentlink_free(l);
    agentlink_free(v);
}

static void a_stopped_agent_waits_for_no_reader(void **state)
{
    struct agentlink *l;
    own_json struct json *report = NULL;
    int64_t start;

    (void)state;
    l = owner(NUMBERS(9999999), NULL);
    l->auto_ack = false;
    l->take = take_numbers;
    run_to(l, 65536, MS);
    start = loop_now_ms();
    kill(box->agent, SIGTERM);
    report = ends(l, "runner_lost");
    assert_true(loop_now_ms() - start < 2500);
    agentlink_free(l);
}

/* --- END --- */

static void an_end_hangs_up_first(void **state)
{
    struct agentlink *l;
    own_json struct json *report = NULL;

    (void)state;
    l = owner("trap 'echo bye; exit 9' HUP; echo ready; "
              "while :; do sleep 0.02; done",
              NULL);
    agentlink_expect(l, "ready", MS);
    agentlink_end(l);
    agentlink_expect(l, "bye", 1500);
    agentlink_until(l, FRAME_EXIT, MS);
    assert_string_equal(l->reason, "deleted");
    assert_int_equal(l->exit_code, 9);
    report = ends(l, "deleted");
    assert_int_equal(member(report, "exit_code"), 9);
    assert_int_equal(agentbox_wait_shim(box, MS), 0);
    agentlink_free(l);
}

static void what_ignores_the_hang_up_is_killed(void **state)
{
    struct agentlink *l;
    own_json struct json *report = NULL;
    int64_t start;

    (void)state;
    l = owner("trap '' HUP TERM INT; echo ready; while :; do sleep 0.1; done",
              NULL);
    agentlink_expect(l, "ready", MS);
    start = loop_now_ms();
    agentlink_end(l);
    agentlink_until(l, FRAME_EXIT, MS);
    assert_in_range(loop_now_ms() - start, LIFE_KILL_MS - 100,
                    LIFE_KILL_MS + 2000);
    assert_string_equal(l->reason, "deleted");
    assert_int_equal(l->exit_signal, SIGKILL);
    report = ends(l, "deleted");
    agentlink_free(l);
}

/* Nobody reads, the ring is full, the program is stuck in a write. */
static void an_end_waits_for_no_reader(void **state)
{
    struct agentlink *l;
    own_json struct json *report = NULL;
    int64_t start;

    (void)state;
    l = owner(NUMBERS(9999999), "{\"ring_bytes\":131072,\"linger_s\":1,"
                                "\"window_bytes\":65536}");
    l->auto_ack = false;
    l->take = take_numbers;
    run_to(l, 65536, MS);
    poll(NULL, 0, 200);
    start = loop_now_ms();
    agentlink_end(l);
    report = ends(l, "deleted");
    /* at most: SIGKILL, the drain's limit, linger, leaving */
    assert_true(loop_now_ms() - start < 2 * LIFE_KILL_MS + 3000);
    agentlink_free(l);
}

static void a_deleted_session_nobody_looks_at_does_not_linger(void **state)
{
    struct agentlink *l, *control;
    own_json struct json *report = NULL;
    int64_t start;

    (void)state;
    l = owner("echo ready; exec sleep 100", NULL);
    l->auto_ack = false; /* what it saw stays unacknowledged */
    agentlink_expect(l, "ready", MS);
    agentlink_free(l);
    control = agentlink_new(box, ROLE_CONTROL, -1);
    start = loop_now_ms();
    agentlink_end(control);
    report = ends(control, "deleted");
    assert_true(loop_now_ms() - start < 2000); /* linger_detached_s is 120 */
    agentlink_free(control);
}

static void an_end_while_fetching_ends_at_once(void **state)
{
    static const struct fileserver_reply drip[] = {
        {.trick = FILESERVER_DRIP, .drip_bytes = 1000}};
    static uint8_t bytes[1 << 20];
    own_mem char *over = NULL;
    own_json struct json *report = NULL;
    struct agentlink *l;

    (void)state;
    server = fileserver_start(bytes, sizeof(bytes), drip, 1, NULL);
    over = mem_printf("{\"bundle\":{\"url\":\"http://127.0.0.1:%d/b?k=hunter2"
                      "\"}}",
                      fileserver_port(server));
    l = owner("exit", over);
    agentlink_until(l, FRAME_STAGE, MS);
    assert_string_equal(l->stage, "fetch");
    agentlink_run(l, 500);
    assert_true(l->stages >= 3);
    agentlink_end(l);
    agentlink_until(l, FRAME_EXIT, MS);
    assert_string_equal(l->reason, "deleted");
    report = ends(l, "deleted");
    assert_int_equal(member(report, "started_ms"), 0);
    assert_int_equal(agentbox_wait_shim(box, MS), 0);
    agentlink_free(l);
}

/* --- refusals --- */

static void a_refused_bundle_is_told_and_leaves_with_70(void **state)
{
    own_json struct json *report = NULL;
    own_mem char *over = mem_printf("{\"bundle\":{\"sha256\":\"%064d\"}}", 0);
    struct agentlink *l;
    int status;

    (void)state;
    box = agentbox_new_alone("exit", over);
    memset(box->sha256, '0', 64);
    l = agentlink_new(box, ROLE_OWNER, -1);
    agentbox_start_shim(box);
    if (!l->exits)
        agentlink_until(l, FRAME_EXIT, MS);
    assert_string_equal(l->reason, "bundle_refused");
    assert_non_null(strstr(l->detail, "SHA-256"));
    assert_non_null(strstr(l->detail, box->sha256));
    report = ends(l, "bundle_refused");
    assert_string_equal(json_get_str(report, "detail"), l->detail);
    status = agentbox_wait_shim(box, MS);
    assert_int_equal(WEXITSTATUS(status), LEAVE_BUNDLE_REFUSED);
    agentlink_free(l);
}

static void a_program_that_is_not_there_is_start_failed(void **state)
{
    own_json struct json *report = NULL;
    struct agentlink *l;
    int status;

    (void)state;
    l = owner("exit", "{\"command\":[\"no-such-program\"]}");
    if (!l->exits)
        agentlink_until(l, FRAME_EXIT, MS);
    assert_string_equal(l->reason, "start_failed");
    report = ends(l, "start_failed");
    assert_non_null(strstr(json_get_str(report, "detail"), "No such file"));
    status = agentbox_wait_shim(box, MS);
    assert_int_equal(WEXITSTATUS(status), LEAVE_START_FAILED);
    agentlink_free(l);
}

/* --- the program's own end --- */

static void a_report_says_how_it_was(void **state)
{
    own_json struct json *report = NULL;
    struct agentlink *l;
    int64_t before = loop_wall_ms(), started, ended;

    (void)state;
    l = owner("stty raw -echo; printf 12345; read -r x; exit 42", NULL);
    agentlink_expect(l, "12345", MS);
    agentlink_says(l, "abc\n");
    agentlink_until(l, FRAME_EXIT, MS);
    report = ends(l, "exited");
    assert_int_equal(member(report, "exit_code"), 42);
    assert_int_equal(member(report, "output_bytes"), 5);
    assert_int_equal(member(report, "input_bytes"), 4);
    started = member(report, "started_ms");
    ended = member(report, "ended_ms");
    assert_true(before <= started && started <= ended &&
                ended <= loop_wall_ms());
    assert_null(json_get(report, "signal"));
    agentlink_free(l);
}

static void a_program_killed_by_a_signal_is_signalled(void **state)
{
    own_json struct json *report = NULL;

    (void)state;
    box = agentbox_new("kill -SEGV $$", "{\"linger_detached_s\":0}");
    report = agentbox_ends(box, "signalled", MS);
    assert_int_equal(member(report, "signal"), SIGSEGV);
}

static void an_owner_that_has_it_all_lets_the_agent_go(void **state)
{
    own_json struct json *report = NULL;
    struct agentlink *l;
    int64_t start;

    (void)state;
    l = owner("read -r x; echo done", "{\"linger_s\":60}");
    agentlink_says(l, "\r");
    agentlink_until(l, FRAME_EXIT, MS);
    start = loop_now_ms();
    agentlink_refused(l, NULL, 1000);
    report = ends(l, "exited");
    assert_true(loop_now_ms() - start < 1500);
    agentlink_free(l);
}

static void an_owner_that_does_not_acknowledge_is_lingered_for(void **state)
{
    own_json struct json *report = NULL;
    struct agentlink *l;
    int64_t start;

    (void)state;
    l = owner("read -r x; echo done", "{\"linger_s\":1}");
    l->auto_ack = false;
    agentlink_says(l, "\r");
    agentlink_until(l, FRAME_EXIT, MS);
    start = loop_now_ms();
    report = ends(l, "exited");
    assert_in_range(loop_now_ms() - start, 700, 3500);
    agentlink_free(l);
}

static void nobody_coming_is_lingered_for_once(void **state)
{
    own_json struct json *report = NULL;
    int64_t start = loop_now_ms();

    (void)state;
    box = agentbox_new("exit 0", "{\"linger_detached_s\":1}");
    report = agentbox_ends(box, "exited", MS);
    assert_in_range(loop_now_ms() - start, 1000, 4500);
}

#define T(name) cmocka_unit_test_teardown(name, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(a_shim_told_to_stop_says_so),
        T(a_stopped_agent_tells_everybody_and_goes),
        T(a_stopped_agent_waits_for_no_reader),
        T(an_end_hangs_up_first),
        T(what_ignores_the_hang_up_is_killed),
        T(an_end_waits_for_no_reader),
        T(a_deleted_session_nobody_looks_at_does_not_linger),
        T(an_end_while_fetching_ends_at_once),
        T(a_refused_bundle_is_told_and_leaves_with_70),
        T(a_program_that_is_not_there_is_start_failed),
        T(a_report_says_how_it_was),
        T(a_program_killed_by_a_signal_is_signalled),
        T(an_owner_that_has_it_all_lets_the_agent_go),
        T(an_owner_that_does_not_acknowledge_is_lingered_for),
        T(nobody_coming_is_lingered_for_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
