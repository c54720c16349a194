/*
 * The list of viewers changes while the session runs: the real agent, told by
 * control attachments as the controller makes them, and by who may not.
 */
#include "agent/attach.h"

#include "base/mem.h"
#include "base/own.h"
#include "tests/lib/onebox.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct agentlink *owner;

static int setup(void **state)
{
    (void)state;
    owner = box_owner(ECHO_LINES, NULL); /* it names vera and victor */
    agentlink_expect(owner, "ready", MS);
    return 0;
}

static int teardown(void **state)
{
    agentlink_free(owner);
    owner = NULL;
    return box_teardown(state);
}

/* --- telling --- */

static size_t message(uint8_t *out, uint64_t version, const char *const *who)
{
    struct frame_viewers v = {.version = version};

    for (; who[v.count]; v.count++)
        snprintf(v.subjects[v.count], FRAME_SUBJECT_SIZE, "%s", who[v.count]);
    return frame_viewers(out, &v);
}

/* Say it in this role and sub; the answer is this close. */
static void say_as(enum role role, const char *sub, const void *bytes,
                   size_t len, const char *word, int code)
{
    struct agentlink *l = agentlink_new_as(box, role, sub, -1);

    agentlink_raw(l, bytes, len);
    agentlink_refused(l, word, code);
    agentlink_free(l);
}

static void tell(uint64_t version, const char *const *who)
{
    uint8_t msg[FRAME_VIEWERS_BYTES_MAX];

    say_as(ROLE_CONTROL, NULL, msg, message(msg, version, who), NULL, 1000);
}

static void tell_in_vain(uint64_t version, const char *const *who)
{
    uint8_t msg[FRAME_VIEWERS_BYTES_MAX];

    say_as(ROLE_CONTROL, NULL, msg, message(msg, version, who), "bad_request",
           4400);
}

#define LIST(...) ((const char *const[]){__VA_ARGS__, NULL})
#define NOBODY ((const char *const[]){NULL})

/* --- and what follows --- */

static void is_out_with(const char *token)
{
    struct agentlink *l = agentlink_dial(box);

    agentlink_hello(l, token, -1, 0, 0);
    agentlink_refused(l, "denied", 4403);
    agentlink_free(l);
}

static void is_out(const char *sub)
{
    own_mem char *token = agentbox_token(box, ROLE_VIEWER, sub, NULL);

    is_out_with(token);
}

static void is_in(const char *sub)
{
    agentlink_free(agentlink_new_as(box, ROLE_VIEWER, sub, -1));
}

static void both_see(struct agentlink *viewer, const char *word)
{
    own_mem char *typed = mem_printf("%s\r", word);
    own_mem char *shown = mem_printf("<%s>", word);

    agentlink_says(owner, typed);
    agentlink_expect(owner, shown, MS);
    agentlink_expect(viewer, shown, MS);
}

static void who_was_added_is_let_in_and_who_was_removed_is_cut(void **state)
{
    own_mem char *unspent = NULL;
    struct agentlink *vera, *victor, *walt;

    (void)state;
    is_out("walt");
    vera = agentlink_new_as(box, ROLE_VIEWER, "vera", -1);
    victor = agentlink_new_as(box, ROLE_VIEWER, "victor", -1);
    unspent = agentbox_token(box, ROLE_VIEWER, "vera", NULL);
    both_see(vera, "one");
    tell(7, LIST("walt", "victor"));
    agentlink_refused(vera, "denied", 4403);
    is_out_with(unspent);
    is_out("vera");
    walt = agentlink_new_as(box, ROLE_VIEWER, "walt", -1);
    both_see(walt, "two");
    agentlink_expect(victor, "<two>", MS); /* on the connection it had */
    agentlink_free(vera);
    agentlink_free(victor);
    agentlink_free(walt);
}

/* Whoever is first on the list now is not taken for who was. */
static void seats_are_counted_by_name_over_a_change(void **state)
{
    struct agentlink *seats[ATTACH_VIEWER_SEATS], *more;
    own_mem char *token = NULL;

    (void)state;
    for (int i = 0; i < ATTACH_VIEWER_SEATS; i++)
        seats[i] = agentlink_new_as(box, ROLE_VIEWER, "victor", -1);
    tell(1, LIST("victor", "vera"));
    is_in("vera");
    more = agentlink_dial(box);
    token = agentbox_token(box, ROLE_VIEWER, "victor", NULL);
    agentlink_hello(more, token, -1, 0, 0);
    agentlink_refused(more, "busy", 4429);
    agentlink_free(more);
    tell(2, LIST("vera"));
    for (int i = 0; i < ATTACH_VIEWER_SEATS; i++) {
        agentlink_refused(seats[i], "denied", 4403);
        agentlink_free(seats[i]);
    }
}

static void the_list_outlives_a_killed_agent(void **state)
{
    own_mem char *unspent = agentbox_token(box, ROLE_VIEWER, "vera", NULL);
    pid_t pid = agentbox_main(box, 0);

    (void)state;
    tell(3, LIST("walt"));
    assert_int_equal(kill(pid, SIGKILL), 0);
    agentbox_main(box, pid);
    is_out_with(unspent);
    is_out("victor");
    is_in("walt");
    tell_in_vain(2, LIST("vera"));
    tell(4, NOBODY);
    is_out("walt");
}

static void a_list_older_than_the_one_in_force_is_refused(void **state)
{
    (void)state;
    tell_in_vain(0, NOBODY);
    is_in("vera");
    tell(5, LIST("walt"));
    tell(5, LIST("walt")); /* heard, but not told so */
    tell_in_vain(5, LIST("walt", "vera"));
    tell_in_vain(5, NOBODY);
    tell_in_vain(4, LIST("vera"));
    tell_in_vain(0, LIST("vera"));
    is_out("vera");
    is_in("walt");
}

static void a_list_that_is_none_changes_nothing(void **state)
{
    static const struct {
        const char *bytes;
        size_t len;
    } rows[] = {
        {"\x08", 1},
        {"\x08\0\0\0\0\0\0\0", 8},
        {"\x08\0\0\0\0\0\0\0\1\0", 10},
        {"\x08\0\0\0\0\0\0\0\1\4wal", 13},
        {"\x08\0\0\0\0\0\0\0\1\4w\0lt", 14},
        {"\x08\0\0\0\0\0\0\0\1\1a\1b\1c\1d\1e\1f\1g\1h\1i", 27},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        say_as(ROLE_CONTROL, NULL, rows[i].bytes, rows[i].len, "bad_request",
               4400);
    is_in("vera");
    is_in("victor");
}

/* The controller's record would not know of it. */
static void nobody_but_a_control_may_change_it(void **state)
{
    uint8_t msg[FRAME_VIEWERS_BYTES_MAX];
    size_t len = message(msg, 9, LIST("vera", "walt"));

    (void)state;
    say_as(ROLE_VIEWER, "vera", msg, len, "denied", 4403);
    say_as(ROLE_OWNER, NULL, msg, len, "denied", 4403);
    is_out("walt");
    is_in("victor");
    tell(1, LIST("walt"));
}

static void a_viewer_that_was_told_to_move_is_cut_too(void **state)
{
    struct agentlink *vera;

    (void)state;
    teardown(NULL);
    box = agentbox_new(ECHO_LINES, "{\"attach_max_s\":1}");
    vera = agentlink_new_as(box, ROLE_VIEWER, "vera", -1);
    agentlink_until(vera, FRAME_MOVE, MS);
    tell(1, NOBODY);
    agentlink_refused(vera, "denied", 4403);
    agentlink_free(vera);
}

static void it_is_taken_before_the_program_runs(void **state)
{
    struct agentlink *vera;

    (void)state;
    teardown(NULL);
    box = agentbox_new_alone(ECHO_LINES, NULL);
    vera = agentlink_new_as(box, ROLE_VIEWER, "vera", -1);
    tell(1, LIST("walt"));
    agentlink_refused(vera, "denied", 4403);
    agentlink_free(vera);
    agentbox_start_shim(box);
    vera = agentlink_new_as(box, ROLE_VIEWER, "walt", -1);
    agentlink_expect(vera, "ready", MS);
    agentlink_free(vera);
    is_out("vera");
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(who_was_added_is_let_in_and_who_was_removed_is_cut),
        T(seats_are_counted_by_name_over_a_change),
        T(the_list_outlives_a_killed_agent),
        T(a_list_older_than_the_one_in_force_is_refused),
        T(a_list_that_is_none_changes_nothing),
        T(nobody_but_a_control_may_change_it),
        T(a_viewer_that_was_told_to_move_is_cut_too),
        T(it_is_taken_before_the_program_runs),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
