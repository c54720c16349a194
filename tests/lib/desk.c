#include "tests/lib/desk.h"

#include "base/mem.h"
#include "base/own.h"
#include "tests/lib/programs.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct desk desk;

void desk_bundle(const struct stack_bundle *b)
{
    own_mem char *server = mem_printf("http://127.0.0.1:%d", desk.stack->port);

    setenv("PODTERM_SERVER", server, 1);
    setenv("PODTERM_BUNDLE", b->url, 1);
    setenv("PODTERM_SHA256", b->sha256, 1);
    setenv("PODTERM_AS", "tester", 1);
    setenv("TERM", "xterm-256color", 1);
}

int desk_setup(void **arg)
{
    (void)arg;
    return desk_setup_with(NULL);
}

int desk_setup_with(const char *const *more)
{
    desk.stack = stack_new(more);
    stack_pack(desk.stack, "prog", "exit 9", &desk.bundle);
    desk.podterm = program_path("podterm");
    desk_bundle(&desk.bundle);
    return 0;
}

int desk_teardown(void **arg)
{
    (void)arg;
    free(desk.podterm);
    stack_free(desk.stack);
    return 0;
}

int desk_leave(void **arg)
{
    (void)arg;
    if (desk.seat.out)
        seat_free(&desk.seat);
    return 0;
}

void desk_run(const char *flag, const char *script)
{
    const char *argv[8] = {desk.podterm, "run"};
    int n = 2;

    if (flag)
        argv[n++] = flag;
    argv[n++] = "--";
    argv[n++] = "sh";
    argv[n++] = "-c";
    argv[n++] = script;
    seat_start(&desk.seat, argv, NULL, 100, 30, -1);
}

void desk_shell(const char *line)
{
    const char *argv[] = {"bash", "--norc", "--noprofile", "-i", NULL};
    const char *env[] = {"PS1=seat> ", NULL};

    seat_start(&desk.seat, argv, env, 100, 30, -1);
    seat_say(&desk.seat, line);
}

const char *desk_session(void)
{
    static char sid[ID_SIZE];
    const char *at = strstr(desk.seat.out, "podterm: session ");

    assert_non_null(at);
    snprintf(sid, sizeof(sid), "%.26s", at + 17);
    assert_int_equal(strlen(sid), ID_LEN);
    return sid;
}

void desk_expect_end(int status, int ms)
{
    int got = seat_wait(&desk.seat, ms);

    if (got != status)
        print_error("%s\n", desk.seat.out);
    assert_int_equal(got, status);
    assert_true(seat_is_restored(&desk.seat));
}
