/*
 * Leaving a terminal whose program goes on, with the real `podterm` on a PTY:
 * the user is told how, gets out and back, and what was typed is there.
 */
#include "base/mem.h"
#include "base/own.h"
#include "tests/lib/programs.h"
#include "tests/lib/seat.h"
#include "tests/lib/stack.h"

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
#define RAW "stty raw -echo; printf here;"

static struct stack *stack;
static struct stack_bundle bundle;
static char *podterm;
static struct seat seat;

static int setup(void **arg)
{
    own_mem char *server = NULL;

    (void)arg;
    stack = stack_new(NULL);
    stack_pack(stack, "prog", "exit 9", &bundle);
    podterm = program_path("podterm");
    server = mem_printf("http://127.0.0.1:%d", stack->port);
    setenv("PODTERM_SERVER", server, 1);
    setenv("PODTERM_BUNDLE", bundle.url, 1);
    setenv("PODTERM_SHA256", bundle.sha256, 1);
    setenv("PODTERM_AS", "tester", 1);
    setenv("TERM", "xterm-256color", 1);
    return 0;
}

static int teardown(void **arg)
{
    (void)arg;
    free(podterm);
    stack_free(stack);
    return 0;
}

static int leave(void **arg)
{
    (void)arg;
    if (seat.out)
        seat_free(&seat);
    return 0;
}

/* flag: one of podterm run's, with its value behind =, or NULL */
static void run(const char *flag, const char *script)
{
    const char *argv[8] = {podterm, "run"};
    int n = 2;

    if (flag)
        argv[n++] = flag;
    argv[n++] = "--";
    argv[n++] = "sh";
    argv[n++] = "-c";
    argv[n++] = script;
    seat_start(&seat, argv, NULL, 100, 30, -1);
}

static void attach(const char *sid)
{
    const char *argv[] = {podterm, "attach", sid, NULL};

    seat_start(&seat, argv, NULL, 100, 30, -1);
}

static void session(char sid[ID_SIZE])
{
    const char *at = strstr(seat.out, "podterm: session ");

    assert_non_null(at);
    snprintf(sid, ID_SIZE, "%.26s", at + 17);
}

static void expect_end(int status)
{
    int got = seat_wait(&seat, SOON_MS);

    if (got != status)
        print_error("%s\n", seat.out);
    assert_int_equal(got, status);
    assert_true(seat_is_restored(&seat));
}

static void out_and_back_again(void **arg)
{
    own_mem char *back = NULL;
    char sid[ID_SIZE];

    (void)arg;
    run(NULL, RAW HEX(3) "printf next;" HEX(2) "exit 4");
    seat_expect(&seat, "Enter, then ~ and a dot detaches", SOON_MS);
    seat_expect(&seat, "here", SOON_MS);
    session(sid);
    seat_say(&seat, "ab\r~.");
    back = mem_printf("detached; the session goes on. Attach again with: "
                      "podterm attach %s",
                      sid);
    seat_expect(&seat, back, SOON_MS);
    expect_end(0);
    json_free(stack_wait(stack, "tester", sid, "running", SOON_MS));
    seat_free(&seat);

    attach(sid); /* what was typed just before arrived, and no more */
    seat_expect(&seat, "61 62 0d", SOON_MS);
    seat_expect(&seat, "next", SOON_MS);
    seat_say(&seat, "xy");
    seat_expect(&seat, "78 79", SOON_MS);
    expect_end(4);
}

static void what_is_no_way_out_reaches_the_program(void **arg)
{
    (void)arg;
    run(NULL, RAW HEX(2) HEX(4) HEX(3) "exit 4");
    seat_expect(&seat, "here", SOON_MS);
    seat_say(&seat, "~");
    seat_say(&seat, "/");
    seat_expect(&seat, "7e 2f", SOON_MS);
    seat_say(&seat, "\r~~.");
    seat_expect(&seat, "0d 7e 7e 2e", SOON_MS);
    seat_say(&seat, "a~.");
    seat_expect(&seat, "61 7e 2e", SOON_MS);
    expect_end(4);
}

/* Held back while the connection is gone, and there afterwards. */
static void a_held_key_outlives_its_connection(void **arg)
{
    pid_t gateway;

    (void)arg;
    run(NULL, RAW HEX(3) "exit 4");
    seat_expect(&seat, "here", SOON_MS);
    seat_say(&seat, "\r~");
    seat_pass(&seat, 50);
    assert_int_equal(stack_pids(stack, "podterm-gateway", NULL, &gateway, 1),
                     1);
    kill(gateway, SIGKILL);
    seat_pass(&seat, 50);
    seat_say(&seat, "x");
    seat_expect(&seat, "0d 7e 78", SOON_MS);
    expect_end(4);
}

static void without_a_connection_one_gets_out_too(void **arg)
{
    char sid[ID_SIZE];
    pid_t gateway;

    (void)arg;
    run(NULL, RAW "sleep 1000");
    seat_expect(&seat, "here", SOON_MS);
    session(sid);
    assert_int_equal(stack_pids(stack, "podterm-gateway", NULL, &gateway, 1),
                     1);
    kill(gateway, SIGSTOP);
    seat_say(&seat, "abc\r~.");
    seat_expect(&seat, "4 typed bytes have not arrived", SOON_MS);
    expect_end(0);
    kill(gateway, SIGCONT);
    assert_int_equal(stack_delete(stack, "tester", sid), 202);
}

static void the_key_can_be_another_or_none(void **arg)
{
    char sid[ID_SIZE];

    (void)arg;
    run("--detach-key=none", RAW HEX(3) "exit 4");
    seat_expect(&seat, "here", SOON_MS);
    assert_false(seat_has(&seat, "detaches"));
    seat_say(&seat, "\r~.");
    seat_expect(&seat, "0d 7e 2e", SOON_MS);
    expect_end(4);
    seat_free(&seat);

    run("--detach-key=^]", RAW HEX(3) "sleep 1000");
    seat_expect(&seat, "Enter, then Ctrl-] and a dot detaches", SOON_MS);
    seat_expect(&seat, "here", SOON_MS);
    session(sid);
    seat_say(&seat, "\r~.");
    seat_expect(&seat, "0d 7e 2e", SOON_MS);
    seat_say(&seat, "\r\x1d.");
    expect_end(0);
    assert_int_equal(stack_delete(stack, "tester", sid), 202);
}

int main(void)
{
#define T(name) cmocka_unit_test_teardown(name, leave)
    const struct CMUnitTest tests[] = {
        T(out_and_back_again),
        T(what_is_no_way_out_reaches_the_program),
        T(a_held_key_outlives_its_connection),
        T(without_a_connection_one_gets_out_too),
        T(the_key_can_be_another_or_none),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
