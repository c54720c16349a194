/*
 * kill -9 of what does not stay for a session's life: the client and the
 * unpacker. What ARCHITECTURE.md promises happens within 5 s; test_kills has
 * the others.
 */
#include "base/loop.h"
#include "base/mem.h"
#include "base/own.h"
#include "tests/lib/desk.h"
#include "tests/lib/stackproc.h"

#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define PROMISE_MS 5000 /* ARCHITECTURE.md: what a kill leads to */
#define MARGIN_MS 5000  /* more, for a machine that is loaded with tests */
#define WITHIN_MS (PROMISE_MS + MARGIN_MS)
#define SOON_MS 15000 /* generous: machines are busy */
#define BIG_MIB "48"  /* takes long enough to unpack to be caught at it */

/* --- the client --- */

/* It counts: one that was started anew would begin at 1. */
static const char asks[] =
    "echo asks\n"
    "while read -r x; do n=$((n + 1)); echo \"$n: <$x>\"; done\n";

static void a_killed_client_leaves_the_session_which_attach_takes_up(void **arg)
{
    const char *run[] = {desk.podterm, "run", NULL};
    const char *attach[] = {desk.podterm, "attach", NULL, NULL};
    struct stack_bundle b;
    const char *sid;
    own_json struct json *j = NULL;
    int64_t killed_ms;

    (void)arg;
    stack_pack(desk.stack, "asks", asks, &b);
    desk_bundle(&b);
    seat_start(&desk.seat, run, NULL, 80, 24, -1);
    seat_expect(&desk.seat, "asks", SOON_MS);
    seat_say(&desk.seat, "one\r");
    seat_expect(&desk.seat, "1: <one>", SOON_MS);
    sid = desk_session();

    killed_ms = loop_now_ms();
    assert_int_equal(kill(desk.seat.pid, SIGKILL), 0);
    assert_int_equal(seat_wait(&desk.seat, SOON_MS), 128 + SIGKILL);
    assert_false(seat_is_restored(&desk.seat)); /* nobody was left to do it */
    seat_free(&desk.seat);
    j = stack_get(desk.stack, "tester", sid);
    assert_string_equal(json_get_str(j, "state"), "running");

    attach[2] = sid;
    seat_start(&desk.seat, attach, NULL, 80, 24, -1);
    seat_expect(&desk.seat, "1: <one>", SOON_MS); /* what was shown before */
    seat_say(&desk.seat, "two\r");
    seat_expect(&desk.seat, "2: <two>", SOON_MS);
    assert_in_range(loop_now_ms() - killed_ms, 0, WITHIN_MS);
    seat_say(&desk.seat, "\004");
    assert_int_equal(seat_wait(&desk.seat, SOON_MS), 0);
    assert_true(seat_is_restored(&desk.seat));
    json_free(stack_wait(desk.stack, "tester", sid, "ended", SOON_MS));
}

/* --- the unpacker --- */

/* A bundle whose archive does not compress. */
static void pack_big(struct stack_bundle *b)
{
    own_mem char *cmd =
        mem_printf("mkdir -p %s/src-big && head -c " BIG_MIB
                   "M /dev/urandom >%s/src-big/filler && "
                   "chmod 644 %s/src-big/filler",
                   desk.stack->dir, desk.stack->dir, desk.stack->dir);

    assert_int_equal(system(cmd), 0);
    stack_pack(desk.stack, "big", "echo must not run; sleep 1000", b);
}

static pid_t unpacker(const char *sid)
{
    int64_t until = loop_now_ms() + SOON_MS;
    pid_t agent = 0, pid = 0;

    while (!pid) {
        if (loop_now_ms() > until)
            fail_msg("no unpacker was seen (agent %d)", (int)agent);
        if (!agent)
            agent = stackproc_find(desk.stack, sid, PART_MAIN);
        if (agent)
            pid = stackproc_child(agent, "--unpack");
    }
    return pid;
}

static void nothing(void *arg, const uint8_t *p, size_t len)
{
    (void)arg;
    fail_msg("the program ran: %.*s", (int)len, (const char *)p);
}

static void
a_killed_unpacker_ends_the_session_before_its_program_starts(void **arg)
{
    struct stack_bundle b;
    struct stack_session ss;
    struct stack_link l = {0};
    own_json struct json *j = NULL;
    const char *detail;
    int64_t killed_ms;
    pid_t victim;

    (void)arg;
    pack_big(&b);
    stack_create(desk.stack, "ann", &b, "", &ss);
    victim = unpacker(ss.sid);
    killed_ms = loop_now_ms();
    assert_int_equal(kill(victim, SIGKILL), 0);
    assert_true(stack_attach(desk.stack, &l, ss.token, 0, 80, 24));
    while (stack_pump(&l, nothing, NULL, true))
        ;
    assert_true(l.is_ended);
    assert_string_equal(l.reason, "bundle_refused");
    assert_int_equal(l.exit_code, -1);
    stack_cut(&l);
    j = stack_wait(desk.stack, "ann", ss.sid, "ended", PROMISE_MS);
    assert_in_range(loop_now_ms() - killed_ms, 0, WITHIN_MS);
    assert_string_equal(json_get_str(j, "reason"), "bundle_refused");
    detail = json_get_str(j, "detail");
    assert_non_null(detail);
    assert_non_null(strstr(detail, "the unpacker died on it"));
    stackproc_wait_none(desk.stack, ss.sid, 0);
    stack_session_fini(&ss);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(
            a_killed_client_leaves_the_session_which_attach_takes_up,
            desk_leave),
        cmocka_unit_test(
            a_killed_unpacker_ends_the_session_before_its_program_starts),
    };

    return cmocka_run_group_tests(tests, desk_setup, desk_teardown);
}
