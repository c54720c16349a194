/*
 * kill -9 of every process, alone and in a random walk: what ARCHITECTURE.md
 * promises happens within 5 s, and the store tells the truth afterwards.
 */
#include "base/loop.h"
#include "base/mem.h"
#include "base/own.h"
#include "tests/lib/lines.h"
#include "tests/lib/seed.h"
#include "tests/lib/stack.h"
#include "tests/lib/stackproc.h"

#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* ARCHITECTURE.md promises what a kill leads to within 5 s; as much more for
 * a machine that is loaded with tests: a controller makes an RSA key when it
 * starts, which may take one processor more than a second. */
#define PROMISE_MS 10000
#define DELETE_MS 15000 /* 5 s for the agent, then the hard way */
#define WALK_MS 22000
#define WALK_REST_MS 5000 /* what was killed last has its time */
#define WALK_SESSIONS 5
#define WALK_STEP_MS 300 /* at most between two kills */
#define BIRTHS 6         /* kills of the controller while it starts one */
#define DEATHS 2         /* and while it ends one */

static struct stack *stack;
static struct stack_bundle lines; /* counts for ever */
static int64_t killed_ms;         /* when kill_hard was called last */

/* Numbered lines, and two children that want to stay: one that left the
 * terminal's session, one that does not mind a hangup. */
static const char lines_script[] =
    "(setsid sleep 1000 &)\n"
    "sh -c 'trap \"\" HUP; sleep 1000' &\n" LINES_LOOP;

static int setup(void **arg)
{
    static const char *const more[] = {"--", "--quota=1000", NULL};

    (void)arg;
    stack = stack_new(more);
    stack_pack(stack, "lines", lines_script, &lines);
    return 0;
}

static int teardown(void **arg)
{
    (void)arg;
    stack_free(stack);
    return 0;
}

/* --- a session that is looked at --- */

struct watched {
    struct stack_session ss;
    struct stack_link l;
    struct lines lines; /* that came */
};

static void take(void *arg, const uint8_t *p, size_t len)
{
    struct watched *w = arg;

    lines_take(&w->lines, p, len);
}

static void no_attachment(struct watched *w, int status)
{
    own_json struct json *j = stack_get(stack, w->ss.who, w->ss.sid);
    own_mem char *text = json_text(j);

    fail_msg("no attachment within %d ms (token: %d, error: \"%s\", line %u): "
             "%s",
             PROMISE_MS, status, w->l.error, w->lines.last, text);
}

/* Attach, again and again until it goes. */
static void attach(struct watched *w)
{
    int64_t until = loop_now_ms() + PROMISE_MS;

    stack_cut(&w->l);
    for (;;) {
        own_mem char *token = NULL;
        int status = 0;

        stack_wait_api(stack, PROMISE_MS);
        token = stack_token(stack, w->ss.who, w->ss.sid, "owner", &status);
        if (token &&
            stack_attach(stack, &w->l, token, (int64_t)w->l.output, 0, 0))
            return;
        if (loop_now_ms() > until)
            no_attachment(w, status);
        poll(NULL, 0, 20);
    }
}

/* Until `more` further lines have come, attaching again where it is cut. */
static void follow(struct watched *w, unsigned more)
{
    unsigned until = w->lines.last + more;

    while (w->lines.last < until)
        if (!w->l.peer || !stack_pump(&w->l, take, w, true))
            attach(w);
}

static void begin(struct watched *w)
{
    *w = (struct watched){0};
    stack_create(stack, "ann", &lines, "", &w->ss);
    assert_true(stack_attach(stack, &w->l, w->ss.token, 0, 80, 24));
    follow(w, 3);
}

static void leave(struct watched *w)
{
    stack_cut(&w->l);
    stack_session_fini(&w->ss);
}

static pid_t part(const struct watched *w, enum stack_part which)
{
    pid_t pid = stackproc_find(stack, w->ss.sid, which);

    if (pid <= 0)
        fail_msg("session %s has no part %d", w->ss.sid, (int)which);
    return pid;
}

static pid_t service(const char *name)
{
    int64_t until = loop_now_ms() + PROMISE_MS;
    pid_t pid;

    while (stack_pids(stack, name, NULL, &pid, 1) != 1) {
        if (loop_now_ms() > until)
            fail_msg("no %s after %d ms", name, PROMISE_MS);
        poll(NULL, 0, 5);
    }
    return pid;
}

static void kill_hard(pid_t pid)
{
    assert_true(pid > 1);
    killed_ms = loop_now_ms();
    assert_int_equal(kill(pid, SIGKILL), 0);
}

/* It has gone on as if nothing had been: the same program, whose lines
 * follow each other, in time, and the record says running. */
static void goes_on(struct watched *w, pid_t program)
{
    own_json struct json *j = NULL;
    int64_t ms;

    follow(w, 20);
    stack_wait_api(stack, PROMISE_MS);
    ms = loop_now_ms() - killed_ms;
    print_message("goes on %lld ms after the kill\n", (long long)ms);
    assert_in_range(ms, 0, PROMISE_MS);
    j = stack_get(stack, w->ss.who, w->ss.sid);
    assert_string_equal(json_get_str(j, "state"), "running");
    assert_int_equal(part(w, PART_PROGRAM), program);
}

/* As a client would see it: EXIT, and then the agent closes. Attached anew,
 * for a link may be dead and not know it yet. */
static void delete_and_wait(struct watched *w)
{
    own_json struct json *j = NULL;

    attach(w);
    follow(w, 1);
    assert_in_range(stack_delete(stack, w->ss.who, w->ss.sid), 200, 202);
    while (stack_pump(&w->l, take, w, true))
        ;
    assert_true(w->l.is_ended);
    assert_string_equal(w->l.reason, "deleted");
    j = stack_wait(stack, w->ss.who, w->ss.sid, "ended", DELETE_MS);
    assert_string_equal(json_get_str(j, "reason"), "deleted");
    stackproc_wait_none(stack, w->ss.sid, 0);
    leave(w);
}

/* It has ended for this reason (NULL: any), and nothing of it is left. */
static void has_ended(struct watched *w, const char *reason, int ms)
{
    own_mem char *dir =
        mem_printf("%s/state/sessions/%s", stack->dir, w->ss.sid);
    own_json struct json *j =
        stack_wait(stack, w->ss.who, w->ss.sid, "ended", ms);

    if (reason)
        assert_string_equal(json_get_str(j, "reason"), reason);
    stackproc_wait_none(stack, w->ss.sid, 0);
    assert_int_equal(access(dir, F_OK), -1);
    leave(w);
}

/* --- each alone --- */

static void a_killed_controller_comes_back_and_takes_the_session_up(void **arg)
{
    struct watched w;
    pid_t program, controller;

    (void)arg;
    begin(&w);
    program = part(&w, PART_PROGRAM);
    controller = service("podterm-controller");
    kill_hard(controller);
    follow(&w, 50); /* the attachment never noticed */
    assert_string_equal(w.l.error, "");
    goes_on(&w, program);
    assert_int_not_equal(service("podterm-controller"), controller);
    delete_and_wait(&w);
}

static void a_killed_gateway_comes_back_and_clients_attach_again(void **arg)
{
    struct watched w;
    pid_t program, gateway;

    (void)arg;
    begin(&w);
    program = part(&w, PART_PROGRAM);
    gateway = service("podterm-gateway");
    kill_hard(gateway);
    goes_on(&w, program);
    assert_int_not_equal(service("podterm-gateway"), gateway);
    delete_and_wait(&w);
}

static void a_killed_agent_comes_back_and_the_session_goes_on(void **arg)
{
    struct watched w;
    pid_t program, main_pid;

    (void)arg;
    begin(&w);
    program = part(&w, PART_PROGRAM);
    main_pid = part(&w, PART_MAIN);
    kill_hard(main_pid);
    goes_on(&w, program);
    assert_int_not_equal(part(&w, PART_MAIN), main_pid);
    delete_and_wait(&w);
}

static void ends_when_killed(enum stack_part which, const char *reason)
{
    struct watched w;

    begin(&w);
    kill_hard(part(&w, which));
    has_ended(&w, reason, PROMISE_MS);
}

static void a_killed_shim_ends_the_session_and_all_its_processes(void **arg)
{
    (void)arg;
    ends_when_killed(PART_SHIM, "runner_lost");
}

static void
a_killed_bubblewrap_ends_the_session_and_all_its_processes(void **arg)
{
    struct watched w;

    (void)arg;
    begin(&w);
    if (!stackproc_find(stack, w.ss.sid, PART_BWRAP)) {
        delete_and_wait(&w);
        skip(); /* there is no cage here */
    }
    kill_hard(part(&w, PART_BWRAP));
    has_ended(&w, "runner_lost", PROMISE_MS);
}

static void
a_killed_supervisor_ends_the_session_and_all_its_processes(void **arg)
{
    (void)arg;
    ends_when_killed(PART_SUPERVISOR, "runner_lost");
}

static void a_killed_keeper_ends_the_session_and_all_its_processes(void **arg)
{
    (void)arg;
    ends_when_killed(PART_KEEPER, "runner_lost");
}

static void a_killed_program_is_told_as_signalled(void **arg)
{
    struct watched w;
    own_json struct json *j = NULL;
    int64_t v;

    (void)arg;
    begin(&w);
    kill_hard(part(&w, PART_PROGRAM));
    while (!w.l.is_ended && stack_pump(&w.l, take, &w, true))
        ;
    assert_true(w.l.is_ended);
    assert_string_equal(w.l.reason, "signalled");
    while (stack_pump(&w.l, take, &w, true))
        ;
    j = stack_wait(stack, "ann", w.ss.sid, "ended", PROMISE_MS);
    assert_int_equal(json_get_int(j, "signal", &v), 0);
    assert_int_equal(v, SIGKILL);
    has_ended(&w, "signalled", PROMISE_MS);
}

static void
everything_goes_with_a_killed_dev_and_the_next_one_ends_the_records(void **arg)
{
    struct watched w[3];
    struct stack_session waiting;
    struct stack_bundle slow;

    (void)arg;
    for (int i = 0; i < 3; i++)
        begin(&w[i]);
    stack_pack(stack, "slow", "sleep 1000", &slow);
    stack_create(stack, "bob", &slow, "", &waiting);
    stack_kill(stack);
    stackproc_wait_none(stack, NULL, PROMISE_MS);
    stack_start(stack);
    for (int i = 0; i < 3; i++)
        has_ended(&w[i], "runner_lost", PROMISE_MS);
    json_free(stack_wait(stack, "bob", waiting.sid, "ended", PROMISE_MS));
    stack_session_fini(&waiting);
}

/* --- in the middle of a start and of an end --- */

static void a_controller_killed_while_a_session_starts_loses_none(void **arg)
{
    (void)arg;
    for (int i = 0; i < BIRTHS; i++) {
        struct watched w = {0};
        own_json struct json *j = NULL;
        int64_t until;

        stack_create(stack, "ann", &lines, "", &w.ss);
        poll(NULL, 0, i * i * 2); /* 0 to 50 ms: a start takes that */
        kill_hard(service("podterm-controller"));
        stack_wait_api(stack, PROMISE_MS);
        until = loop_now_ms() + PROMISE_MS;
        for (;;) { /* it runs, or was ended with a reason */
            const char *state;

            json_free(j);
            j = stack_get(stack, "ann", w.ss.sid);
            state = json_get_str(j, "state");
            if (strcmp(state, "running") == 0 || strcmp(state, "ended") == 0)
                break;
            if (loop_now_ms() > until)
                fail_msg("still %s", state);
            poll(NULL, 0, 10);
        }
        if (strcmp(json_get_str(j, "state"), "running") == 0) {
            follow(&w, 3);
            delete_and_wait(&w);
        } else {
            assert_string_equal(json_get_str(j, "reason"), "runner_lost");
            has_ended(&w, "runner_lost", PROMISE_MS);
        }
    }
}

static void a_controller_killed_while_a_session_is_deleted_ends_it(void **arg)
{
    (void)arg;
    for (int i = 0; i < DEATHS; i++) {
        struct watched w;

        begin(&w);
        stack_cut(&w.l);
        assert_in_range(stack_delete(stack, "ann", w.ss.sid), 200, 202);
        poll(NULL, 0, i * 4);
        kill_hard(service("podterm-controller"));
        stack_wait_api(stack, PROMISE_MS);
        has_ended(&w, "deleted", DELETE_MS);
    }
}

/* --- the walk --- */

static void store_is_whole(void)
{
    own_mem char *path = mem_printf("%s/state/podterm.db", stack->dir);
    sqlite3 *db;
    sqlite3_stmt *st;

    assert_int_equal(sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE, NULL),
                     SQLITE_OK);
    sqlite3_busy_timeout(db, 5000);
    assert_int_equal(
        sqlite3_prepare_v2(db, "PRAGMA integrity_check", -1, &st, NULL),
        SQLITE_OK);
    assert_int_equal(sqlite3_step(st), SQLITE_ROW);
    assert_string_equal((const char *)sqlite3_column_text(st, 0), "ok");
    sqlite3_finalize(st);
    sqlite3_close(db);
}

static const enum stack_part victims[] = {
    PART_KEEPER, PART_SUPERVISOR, PART_MAIN,    PART_MAIN,
    PART_BWRAP,  PART_SHIM,       PART_PROGRAM,
};

/* One kill of something that may be in any state. */
static void walk_kill(struct watched *w, unsigned dice)
{
    enum stack_part which = victims[dice % 7];
    pid_t pid = stackproc_find(stack, w->ss.sid, which);

    if (pid > 1)
        kill(pid, SIGKILL);
}

/* Ended with one reason, or running with a living keeper: nothing between. */
static bool is_settled(const struct watched *w)
{
    own_json struct json *j = stack_get(stack, w->ss.who, w->ss.sid);
    const char *state = json_get_str(j, "state");

    if (strcmp(state, "ended") == 0)
        return json_get_str(j, "reason") != NULL &&
               stackproc_find(stack, w->ss.sid, PART_KEEPER) == 0;
    return strcmp(state, "running") == 0 &&
           stackproc_find(stack, w->ss.sid, PART_KEEPER) != 0;
}

static void walk_settle(struct watched *all, size_t n)
{
    int64_t until = loop_now_ms() + PROMISE_MS;

    stack_wait_api(stack, PROMISE_MS);
    for (size_t i = 0; i < n;) {
        own_json struct json *j = NULL;
        own_mem char *text = NULL;

        if (is_settled(&all[i])) {
            i++;
            continue;
        }
        if (loop_now_ms() > until) {
            j = stack_get(stack, all[i].ss.who, all[i].ss.sid);
            text = json_text(j);
            fail_msg("keeper %d, record %s",
                     (int)stackproc_find(stack, all[i].ss.sid, PART_KEEPER),
                     text);
        }
        poll(NULL, 0, 50);
    }
}

/* What runs is whole: its lines go on, or it tells its end (an agent keeps
 * that for its owner after the program was killed); what has ended left
 * nothing. */
static void walk_check(struct watched *w)
{
    own_json struct json *j = stack_get(stack, w->ss.who, w->ss.sid);

    if (strcmp(json_get_str(j, "state"), "running") == 0) {
        unsigned until = w->lines.last + 5;

        while (w->lines.last < until && !w->l.is_ended)
            if (!w->l.peer || !stack_pump(&w->l, take, w, true))
                attach(w);
        return;
    }
    stackproc_wait_none(stack, w->ss.sid, 0);
}

static bool has_room(const struct watched *all, size_t n, size_t most)
{
    size_t live = 0;

    for (size_t i = 0; i < n; i++)
        live += stackproc_find(stack, all[i].ss.sid, PART_KEEPER) != 0;
    return live < most;
}

static void
a_random_walk_of_kills_leaves_a_store_that_tells_the_truth(void **arg)
{
    static struct watched all[400];
    size_t n = 0;
    int kills = 0;
    int64_t until = loop_now_ms() + WALK_MS;

    (void)arg;
    seed_random();
    while (loop_now_ms() < until && n < 400) {
        unsigned dice = (unsigned)rand() % 16;

        if (has_room(all, n, WALK_SESSIONS)) {
            stack_wait_api(stack, PROMISE_MS);
            all[n] = (struct watched){0};
            stack_create(stack, n % 2 ? "ann" : "bob", &lines, "", &all[n].ss);
            n++;
        }
        poll(NULL, 0, rand() % WALK_STEP_MS);
        kills++;
        if (dice == 0) {
            stack_kill(stack);
            stackproc_wait_none(stack, NULL, PROMISE_MS);
            stack_start(stack);
        } else if (dice < 3) {
            kill_hard(service("podterm-controller"));
        } else if (dice < 5) {
            kill_hard(service("podterm-gateway"));
        } else if (dice == 5) {
            stack_wait_api(stack, PROMISE_MS);
            stack_delete(stack, all[n - 1].ss.who, all[n - 1].ss.sid);
        } else {
            size_t back = (size_t)rand() % (n < 8 ? n : 8);

            walk_kill(&all[n - 1 - back], dice);
        }
    }
    print_message("%d kills, %zu sessions\n", kills, n);
    poll(NULL, 0, WALK_REST_MS);
    walk_settle(all, n);
    store_is_whole();
    for (size_t i = 0; i < n; i++)
        walk_check(&all[i]);
    stack_kill(stack); /* and what ran is found by the next one */
    stackproc_wait_none(stack, NULL, PROMISE_MS);
    stack_start(stack);
    walk_settle(all, n);
    for (size_t i = 0; i < n; i++)
        has_ended(&all[i], NULL, PROMISE_MS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(
            a_killed_controller_comes_back_and_takes_the_session_up),
        cmocka_unit_test(a_killed_gateway_comes_back_and_clients_attach_again),
        cmocka_unit_test(a_killed_agent_comes_back_and_the_session_goes_on),
        cmocka_unit_test(a_killed_shim_ends_the_session_and_all_its_processes),
        cmocka_unit_test(
            a_killed_bubblewrap_ends_the_session_and_all_its_processes),
        cmocka_unit_test(
            a_killed_supervisor_ends_the_session_and_all_its_processes),
        cmocka_unit_test(
            a_killed_keeper_ends_the_session_and_all_its_processes),
        cmocka_unit_test(a_killed_program_is_told_as_signalled),
        cmocka_unit_test(
            everything_goes_with_a_killed_dev_and_the_next_one_ends_the_records),
        cmocka_unit_test(a_controller_killed_while_a_session_starts_loses_none),
        cmocka_unit_test(
            a_controller_killed_while_a_session_is_deleted_ends_it),
        cmocka_unit_test(
            a_random_walk_of_kills_leaves_a_store_that_tells_the_truth),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
