/*
 * The escape key, with the real `podterm` on a PTY: the user is told of it,
 * gets out and back, and what was typed is there; ends the session; gives the
 * terminal to the shell for a while.
 */
#include "base/mem.h"
#include "base/own.h"
#include "tests/lib/desk.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define SOON_MS 15000
/* Says the bytes it is typed, in hex, a line for `n` of them. */
#define HEX(n) "head -c " #n " | od -An -tx1;"
#define RAW "stty raw -echo; printf HERE;"

static void attach(const char *sid)
{
    const char *argv[] = {desk.podterm, "attach", sid, NULL};

    seat_start(&desk.seat, argv, NULL, 100, 30, -1);
}

/* The gateway, which answers nobody until it is let go on. */
static pid_t stopped_gateway(void)
{
    pid_t gateway = 0;

    assert_int_equal(
        stack_pids(desk.stack, "podterm-gateway", NULL, &gateway, 1), 1);
    kill(gateway, SIGSTOP);
    return gateway;
}

static void out_and_back_again(void **arg)
{
    own_mem char *back = NULL;
    const char *sid;

    (void)arg;
    desk_run(NULL, RAW HEX(3) "printf next;" HEX(2) "exit 4");
    seat_expect(&desk.seat, "Enter, then ~ and a dot detaches", SOON_MS);
    seat_expect(&desk.seat, "HERE", SOON_MS);
    sid = desk_session();
    seat_say(&desk.seat, "ab\r~.");
    back = mem_printf("detached; the session goes on. Attach again with: "
                      "podterm attach %s",
                      sid);
    seat_expect(&desk.seat, back, SOON_MS);
    desk_expect_end(0, SOON_MS);
    json_free(stack_wait(desk.stack, "tester", sid, "running", SOON_MS));
    seat_free(&desk.seat);

    attach(sid); /* what was typed just before arrived, and no more */
    seat_expect(&desk.seat, "61 62 0d", SOON_MS);
    seat_expect(&desk.seat, "next", SOON_MS);
    seat_say(&desk.seat, "xy");
    seat_expect(&desk.seat, "78 79", SOON_MS);
    desk_expect_end(4, SOON_MS);
}

/* A terminal that answered again would type into the program. */
static void a_question_is_shown_once_and_what_follows_it_again(void **arg)
{
    const char *sid;

    (void)arg;
    desk_run(NULL, RAW "printf '\\033[31mred\\033[6nasked';" HEX(
                       7) "printf 'then\\033]11;?\\033\\\\'; read -r x");
    seat_expect(&desk.seat, "red\033[6nasked", SOON_MS);
    sid = desk_session();
    seat_say(&desk.seat, "\r~.");
    desk_expect_end(0, SOON_MS);
    seat_free(&desk.seat);

    attach(sid);
    seat_expect(&desk.seat, "\033[31mredasked", SOON_MS);
    seat_say(&desk.seat, "\033[1;1R");
    seat_expect(&desk.seat, "then\033]11;?\033\\", SOON_MS);
    seat_say(&desk.seat, "\n");
    desk_expect_end(0, SOON_MS);
}

static void what_is_no_way_out_reaches_the_program(void **arg)
{
    (void)arg;
    desk_run(NULL, RAW HEX(2) HEX(3) HEX(3) "exit 4");
    seat_expect(&desk.seat, "HERE", SOON_MS);
    seat_say(&desk.seat, "~");
    seat_say(&desk.seat, "/");
    seat_expect(&desk.seat, "7e 2f", SOON_MS);
    seat_say(&desk.seat, "\r~~.");
    seat_expect(&desk.seat, "0d 7e 2e", SOON_MS);
    seat_say(&desk.seat, "a~.");
    seat_expect(&desk.seat, "61 7e 2e", SOON_MS);
    desk_expect_end(4, SOON_MS);
}

/* Held back while the connection is gone, and there afterwards. */
static void a_held_key_outlives_its_connection(void **arg)
{
    pid_t gateway;

    (void)arg;
    desk_run(NULL, RAW HEX(3) "exit 4");
    seat_expect(&desk.seat, "HERE", SOON_MS);
    seat_say(&desk.seat, "\r~");
    seat_pass(&desk.seat, 50);
    assert_int_equal(
        stack_pids(desk.stack, "podterm-gateway", NULL, &gateway, 1), 1);
    kill(gateway, SIGKILL);
    seat_pass(&desk.seat, 50);
    seat_say(&desk.seat, "y");
    seat_expect(&desk.seat, "0d 7e 79", SOON_MS);
    desk_expect_end(4, SOON_MS);
}

static void without_a_connection_one_gets_out_too(void **arg)
{
    const char *sid;
    pid_t gateway;

    (void)arg;
    desk_run(NULL, RAW "sleep 1000");
    seat_expect(&desk.seat, "HERE", SOON_MS);
    sid = desk_session();
    gateway = stopped_gateway();
    seat_say(&desk.seat, "abc\r~.");
    seat_expect(&desk.seat, "4 typed bytes have not arrived", SOON_MS);
    desk_expect_end(0, SOON_MS);
    kill(gateway, SIGCONT);
    assert_int_equal(stack_delete(desk.stack, "tester", sid), 202);
}

static void the_key_can_be_another_or_none(void **arg)
{
    const char *sid;

    (void)arg;
    desk_run("--escape=none", RAW HEX(3) "exit 4");
    seat_expect(&desk.seat, "HERE", SOON_MS);
    assert_false(seat_has(&desk.seat, "detaches"));
    seat_say(&desk.seat, "\r~.");
    seat_expect(&desk.seat, "0d 7e 2e", SOON_MS);
    desk_expect_end(4, SOON_MS);
    seat_free(&desk.seat);

    desk_run("--escape=^]", RAW HEX(3) "sleep 1000");
    seat_expect(&desk.seat, "Enter, then Ctrl-] and a dot detaches", SOON_MS);
    seat_expect(&desk.seat, "HERE", SOON_MS);
    sid = desk_session();
    seat_say(&desk.seat, "\r~.");
    seat_expect(&desk.seat, "0d 7e 2e", SOON_MS);
    seat_say(&desk.seat, "\r\x1d.");
    desk_expect_end(0, SOON_MS);
    assert_int_equal(stack_delete(desk.stack, "tester", sid), 202);
}

static void the_session_ends_once_that_is_confirmed(void **arg)
{
    (void)arg;
    desk_run(NULL, RAW HEX(2) "sleep 1000");
    seat_expect(&desk.seat, "HERE", SOON_MS);
    seat_say(&desk.seat, "~x");
    seat_expect(&desk.seat, "end the session and its program?", SOON_MS);
    seat_say(&desk.seat, "nab"); /* the answer is nobody's; the rest is typed */
    seat_expect(&desk.seat, "the session goes on", SOON_MS);
    seat_expect(&desk.seat, "61 62", SOON_MS);
    seat_say(&desk.seat, "\r~xy");
    seat_expect(&desk.seat, "ending the session", SOON_MS);
    seat_expect(&desk.seat, "the session was ended by its owner", SOON_MS);
    desk_expect_end(125, SOON_MS);
    json_free(
        stack_wait(desk.stack, "tester", desk_session(), "ended", SOON_MS));
}

/* The connection that it was told over is lost with it. */
static void that_it_ends_outlives_its_connection(void **arg)
{
    pid_t gateway;

    (void)arg;
    desk_run(NULL, RAW "sleep 1000");
    seat_expect(&desk.seat, "HERE", SOON_MS);
    gateway = stopped_gateway();
    seat_say(&desk.seat, "\r~xy");
    seat_expect(&desk.seat, "ending the session", SOON_MS);
    kill(gateway, SIGKILL);
    seat_expect(&desk.seat, "the session was ended by its owner", SOON_MS);
    desk_expect_end(125, SOON_MS);
}

/* Nor does podterm say that it goes on, of which nobody knows. */
static void leaving_before_that_is_confirmed_is_told(void **arg)
{
    own_mem char *end = NULL;
    pid_t gateway;

    (void)arg;
    desk_run(NULL, RAW "sleep 1000");
    seat_expect(&desk.seat, "HERE", SOON_MS);
    gateway = stopped_gateway();
    seat_say(&desk.seat, "\r~xy");
    seat_expect(&desk.seat, "ending the session", SOON_MS);
    seat_say(&desk.seat, "~.");
    end = mem_printf("that the session ends was not confirmed. To be sure: "
                     "podterm end %s",
                     desk_session());
    seat_expect(&desk.seat, end, SOON_MS);
    desk_expect_end(0, SOON_MS);
    kill(gateway, SIGKILL);
    stack_delete(desk.stack, "tester", desk_session());
}

static void it_tells_what_there_is(void **arg)
{
    (void)arg;
    desk_run(NULL, RAW HEX(1) "exit 4");
    seat_expect(&desk.seat, "HERE", SOON_MS);
    seat_say(&desk.seat, "~?");
    seat_expect(&desk.seat,
                "~. detach  ~x end the session  ~^Z suspend  ~~ type ~",
                SOON_MS);
    seat_say(&desk.seat, "q");
    seat_expect(&desk.seat, "71", SOON_MS);
    desk_expect_end(4, SOON_MS);
}

/* What is pasted says nothing to podterm, where the terminal brackets it. */
static void a_paste_is_typed_whatever_it_says(void **arg)
{
    (void)arg;
    desk_run(NULL, "printf '\\033[?2004h';" RAW HEX(16) "exit 4");
    seat_expect(&desk.seat, "HERE", SOON_MS);
    seat_say(&desk.seat, "\r\033[200~\r~.\033[201~");
    seat_expect(&desk.seat, "0d 1b 5b 32 30 30 7e 0d 7e 2e 1b 5b 32 30 31 7e",
                SOON_MS);
    desk_expect_end(4, SOON_MS);
}

static void suspended_and_back_the_screen_is_the_programs_again(void **arg)
{
    own_mem char *line =
        mem_printf("%s run -- sh -c 'printf \"\\033[?1049h\\033[?2004h\"; "
                   "stty raw -echo; printf HE\"\"RE; "
                   "trap \"stty size\" WINCH; x=; until [ \"$x\" ]; do read -r "
                   "x; done; echo \"<$x>\"; "
                   "exit 3'\r",
                   desk.podterm);

    (void)arg;
    desk_shell(line);
    seat_expect(&desk.seat, "HERE", SOON_MS);
    seat_say(&desk.seat, "~\x1a");
    seat_expect(&desk.seat, "\033[?1049l", SOON_MS);
    seat_expect(&desk.seat, "podterm: suspended; the program goes on", SOON_MS);
    seat_expect(&desk.seat, "Stopped", SOON_MS);
    seat_expect(&desk.seat, "seat> ", SOON_MS);
    seat_say(&desk.seat, "echo $((40+2))\r");
    seat_expect(&desk.seat, "42\r\n", SOON_MS);
    seat_say(&desk.seat, "fg\r");
    seat_expect(&desk.seat, "\033[?1049h\033[?2004h", SOON_MS);
    seat_expect(&desk.seat, "30 99", SOON_MS); /* drawn anew */
    seat_expect(&desk.seat, "30 100", SOON_MS);
    seat_say(&desk.seat, "typed\n");
    seat_expect(&desk.seat, "<typed>", SOON_MS);
    seat_expect(&desk.seat, "seat> ", SOON_MS);
    seat_say(&desk.seat, "exit $?\r");
    assert_int_equal(seat_wait(&desk.seat, SOON_MS), 3);
}

int main(void)
{
#define T(name) cmocka_unit_test_teardown(name, desk_leave)
    const struct CMUnitTest tests[] = {
        T(out_and_back_again),
        T(a_question_is_shown_once_and_what_follows_it_again),
        T(what_is_no_way_out_reaches_the_program),
        T(a_held_key_outlives_its_connection),
        T(without_a_connection_one_gets_out_too),
        T(the_key_can_be_another_or_none),
        T(the_session_ends_once_that_is_confirmed),
        T(that_it_ends_outlives_its_connection),
        T(leaving_before_that_is_confirmed_is_told),
        T(it_tells_what_there_is),
        T(a_paste_is_typed_whatever_it_says),
        T(suspended_and_back_the_screen_is_the_programs_again),
    };

    return cmocka_run_group_tests(tests, desk_setup, desk_teardown);
}
