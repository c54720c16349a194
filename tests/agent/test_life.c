/*
 * A session from its spec to its report: every end there is, and kills of
 * every process on the way, with the real agent, shim and programs.
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
#define ECHO_LINES                                                             \
    "stty -echo; echo ready; while read -r l; do echo \"<$l>\"; done"
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

/* --- kills --- */

/* Dial until somebody answers: the agent may be on its way back. */
static struct agentlink *attach_again(uint64_t from)
{
    int64_t until = loop_now_ms() + MS;

    while (loop_now_ms() < until) {
        struct agentlink *l = agentlink_try(box, box->key, box->psk_id);

        if (l) {
            own_mem char *token = agentbox_token(box, ROLE_OWNER, NULL, NULL);

            agentlink_hello(l, token, (int64_t)from, 0, 0);
            l->take = take_numbers;
            agentlink_until(l, FRAME_READY, MS);
            return l;
        }
        poll(NULL, 0, 10);
    }
    fail_msg("the agent did not come back");
    return NULL;
}

static void a_stream_survives_kills_of_the_agent_byte_for_byte(void **state)
{
    struct agentlink *l;
    own_json struct json *report = NULL;

    (void)state;
    l = owner(NUMBERS(1048576), NULL); /* 8 MiB */
    l->take = take_numbers;
    for (uint64_t i = 1; i <= 6; i++) {
        uint64_t had;

        run_to(l, i * 1200000, MS);
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
    assert_int_equal(member(report, "output_bytes"), 8 << 20);
    assert_int_equal(member(report, "exit_code"), 3);
    assert_int_equal(agentbox_wait_shim(box, MS), 0);
    agentlink_free(l);
}

static void the_program_does_not_notice_a_kill(void **state)
{
    struct agentlink *l;
    uint64_t typed;

    (void)state;
    l = owner("stty -echo; echo \"pid $$.\"; "
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
    l = owner(NUMBERS(9999999), "{\"ring_bytes\":131072,"
                                "\"window_bytes\":65536,\"hold_s\":2}");
    l->take = take_numbers;
    agentlink_run(l, 2500); /* attached for longer than the hold */
    kill(agentbox_main(box, 0), SIGKILL);
    l->peer->may_die = true;
    agentlink_run(l, MS);
    had = l->output;
    agentlink_free(l);
    poll(NULL, 0, 1500);
    l = attach_again(had);
    assert_int_equal(l->output_from, had);
    run_to(l, had + (1 << 20), MS);
    agentlink_free(l);
}

/* The ring is full and held, the rest lies in the terminal, the program has
 * ended: all of it must come, whoever is killed meanwhile. */
static void the_tail_behind_a_full_ring_survives_a_kill(void **state)
{
    struct agentlink *l;
    own_json struct json *report = NULL;

    (void)state;
    l = owner(NUMBERS(16884), "{\"ring_bytes\":131072,"
                              "\"window_bytes\":65536}"); /* 135072 bytes */
    l->auto_ack = false;
    l->take = take_numbers;
    run_to(l, 65536, MS);
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
    l = owner(NUMBERS(16884),
              "{\"ring_bytes\":131072,\"window_bytes\":65536}");
    l->auto_ack = false;
    l->take = take_numbers;
    run_to(l, 65536, MS);
    agentlink_says(l, "typed, and never read");
    poll(NULL, 0, 300);
    agentlink_says(l, "typed when it had ended");
    pid = agentbox_main(box, 0);
    before = agentbox_cpu_ms(pid);
    poll(NULL, 0, 1000);
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
    l = owner("echo last words; exec sleep 100", NULL);
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
    report = agentbox_ends(box, "runner_lost", LEAVES_MS);
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
    report = agentbox_ends(box, "runner_lost", MS);
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
    report = agentbox_ends(box, "runner_lost", MS);
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
    report = agentbox_ends(box, "deleted", LEAVES_MS);
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
    report = agentbox_ends(box, "deleted", LEAVES_MS);
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
    report = agentbox_ends(box, "deleted", 2 * MS);
    /* at most: SIGKILL, the drain's limit, linger, leaving */
    assert_true(loop_now_ms() - start < 2 * LIFE_KILL_MS + 3000);
    agentlink_free(l);
}

static void an_end_is_kept_over_a_kill(void **state)
{
    struct agentlink *l;
    own_json struct json *report = NULL;

    (void)state;
    l = owner("trap '' HUP; echo ready; while :; do sleep 0.1; done",
              "{\"linger_detached_s\":0}");
    agentlink_expect(l, "ready", MS);
    agentlink_end(l);
    agentlink_run(l, 200);
    kill(agentbox_main(box, 0), SIGKILL);
    agentlink_free(l);
    report = agentbox_ends(box, "deleted", 3 * MS);
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
    report = agentbox_ends(box, "deleted", LEAVES_MS);
    assert_int_equal(member(report, "started_ms"), 0);
    assert_int_equal(agentbox_wait_shim(box, MS), 0);
    agentlink_free(l);
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
    report = agentbox_ends(box, "bundle_refused", LEAVES_MS);
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
    report = agentbox_ends(box, "start_failed", LEAVES_MS);
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
    report = agentbox_ends(box, "exited", LEAVES_MS);
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
    report = agentbox_ends(box, "exited", LEAVES_MS);
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
    report = agentbox_ends(box, "exited", LEAVES_MS);
    assert_in_range(loop_now_ms() - start, 700, 3500);
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

static void nobody_coming_is_lingered_for_once(void **state)
{
    own_json struct json *report = NULL;
    int64_t start = loop_now_ms();

    (void)state;
    box = agentbox_new("exit 0", "{\"linger_detached_s\":1}");
    report = agentbox_ends(box, "exited", MS);
    assert_in_range(loop_now_ms() - start, 1000, 4500);
}

/* --- time --- */

static void an_idle_session_is_warned_and_ended(void **state)
{
    own_json struct json *report = NULL;
    struct agentlink *l, *v;
    int64_t until = loop_now_ms() + 2 * MS;

    (void)state;
    l = owner("echo ready; exec sleep 100", "{\"idle_s\":2}");
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
    assert_non_null(strstr(l->notice, "idle"));
    assert_string_equal(v->notice, "");
    report = agentbox_ends(box, "idle", LEAVES_MS);
    agentlink_free(l);
    agentlink_free(v);
}

static void typing_and_output_keep_a_session(void **state)
{
    struct agentlink *l;

    (void)state;
    l = owner("stty -echo; echo ready; while read -r l; do [ \"$l\" ] && break;"
              " done; while :; do echo tick; sleep 0.3; done",
              "{\"idle_s\":1}");
    agentlink_expect(l, "ready", MS);
    for (int i = 0; i < 6; i++) { /* typing that shows nothing */
        agentlink_says(l, "\r");
        agentlink_run(l, 400);
        assert_int_equal(l->exits, 0);
    }
    agentlink_says(l, "x\r");
    agentlink_run(l, 2400); /* output that is acknowledged */
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
    l = owner(ECHO_LINES, "{\"lifetime_s\":2}");
    l->peer->may_die = true;
    while (!l->exits && loop_now_ms() < until) {
        agentlink_says(l, "busy\r");
        agentlink_run(l, 200);
    }
    assert_string_equal(l->reason, "lifetime");
    assert_non_null(strstr(l->notice, "lifetime"));
    report = agentbox_ends(box, "lifetime", LEAVES_MS);
    agentlink_free(l);
}

/* --- memory --- */

static void an_idle_agent_keeps_below_four_mib(void **state)
{
    struct agentlink *l;
    long main_kib, supervisor_kib;

    (void)state;
    l = owner(ECHO_LINES, NULL);
    agentlink_expect(l, "ready", MS);
    agentlink_run(l, 300);
    main_kib = agentbox_private_kib(agentbox_main(box, 0));
    supervisor_kib = agentbox_private_kib(box->agent);
    print_message("private: main %ld KiB, supervisor %ld KiB\n", main_kib,
                  supervisor_kib);
    assert_in_range(main_kib + supervisor_kib, 1, 4096);
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
        T(a_shim_told_to_stop_says_so),
        T(a_stopped_agent_tells_everybody_and_goes),
        T(a_stopped_agent_waits_for_no_reader),
        T(an_end_hangs_up_first),
        T(what_ignores_the_hang_up_is_killed),
        T(an_end_waits_for_no_reader),
        T(an_end_is_kept_over_a_kill),
        T(an_end_while_fetching_ends_at_once),
        T(a_kill_while_fetching_fetches_again),
        T(a_refused_bundle_is_told_and_leaves_with_70),
        T(a_program_that_is_not_there_is_start_failed),
        T(a_report_says_how_it_was),
        T(a_program_killed_by_a_signal_is_signalled),
        T(an_owner_that_has_it_all_lets_the_agent_go),
        T(an_owner_that_does_not_acknowledge_is_lingered_for),
        T(who_comes_late_still_sees_the_last_line_and_the_code),
        T(nobody_coming_is_lingered_for_once),
        T(an_idle_session_is_warned_and_ended),
        T(typing_and_output_keep_a_session),
        T(a_lifetime_is_not_extended),
        T(an_idle_agent_keeps_below_four_mib),
    };

    cmocka_set_test_filter(getenv("CMOCKA_TEST_FILTER"));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
