/*
 * The client in a terminal as people have one (tmux, and a shell in it):
 * whichever way a session is left, the terminal has its settings and its modes
 * again; and what podterm says of a connection leaves the program's screen as
 * it is. (Whole programs: test_screens.c.)
 */
// alone: it measures how long nothing was answered
#include "base/loop.h"
#include "base/mem.h"
#include "base/own.h"
#include "tests/lib/child.h"
#include "tests/lib/desk.h"
#include "tests/lib/stackproc.h"
#include "tests/lib/tmux.h"
#include "tests/lib/tree.h"

#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define SOON_MS 20000
#define COLS 100
#define ROWS 30

/* What a program may do to a terminal, and no more of it afterwards. */
#define HOSTILE                                                                \
    "printf '\\033[?1049h\\033[?1000h\\033[?1006h\\033[?2004h\\033[?25l"       \
    "\\033[?1h\\033=\\033[4h\\033[3;9r\\033[?6h\\033]0;mine\\007\\033(0"       \
    "\\033[31m'; stty raw -echo; "
#define HERE "printf '\\033[?6l\\033(BHE''RE\\033[?6h\\033(0'; "
#define PLAIN "printf 'HE''RE'; "
/* Questions whose answers come when nobody waits for them. */
#define ASK "printf '\\033[5n\\033[c\\033[6n\\033[>c'; "

static struct tmux t;
static char *settings, *modes; /* before */

static int setup(void **arg)
{
    own_mem char *script = NULL;
    int fd;

    desk_setup(arg);
    unsetenv("TMUX");
    script = mem_printf("%s/p", desk.stack->dir);
    fd = open(script, O_WRONLY | O_CREAT | O_CLOEXEC, 0755);
    dprintf(fd, "#!/bin/sh\nexec %s \"$@\"\n", desk.podterm);
    close(fd);
    setenv("P", script, 1);
    return 0;
}

/* A line for the shell in the terminal. */
static void shell(const char *line)
{
    tmux_type(&t, line);
    tmux_key(&t, "Enter");
}

/* The terminal's settings as a program finds them that the shell starts, the
 * caller's. (The shell's own line editor has others.) */
static char *cooked(void)
{
    own_mem char *path = mem_printf("%s/stty", desk.stack->dir);
    own_mem char *line =
        mem_printf("stty -a >%s.part; mv %s.part %s", path, path, path);
    const int64_t until = loop_now_ms() + SOON_MS;
    char *out;
    size_t len;

    shell(line);
    while (access(path, R_OK) < 0) {
        assert_true(loop_now_ms() < until);
        poll(NULL, 0, 20);
    }
    out = tree_get(path, &len);
    unlink(path);
    return out;
}

static int terminal(void **arg)
{
    (void)arg;
    tmux_start(&t, COLS, ROWS);
    settings = cooked();
    modes = tmux_modes(&t);
    return 0;
}

static int no_terminal(void **arg)
{
    (void)arg;
    tmux_stop(&t);
    free(settings);
    free(modes);
    return 0;
}

/* podterm run with that program, until it says that it is there. */
static void run(const char *script)
{
    own_mem char *path = mem_printf("%s/script", desk.stack->dir);
    FILE *f = fopen(path, "w");

    fprintf(f, "%s", script);
    fclose(f);
    setenv("SCRIPT", path, 1);
    {
        own_mem char *line =
            mem_printf("$P run -- sh -c \"$(cat %s)\"; echo \"left $?\"", path);

        shell(line);
    }
    tmux_expect(&t, "HERE", SOON_MS);
}

/* The only session that goes on, the caller's. */
static char *session(void)
{
    const char *argv[] = {desk.podterm, "ls", NULL};
    struct child c = {.argv = argv};
    char *sid;

    child_expect(&c, 0);
    sid = mem_strn(c.out, strcspn(c.out, "\t"));
    child_fini(&c);
    return sid;
}

static void end(void)
{
    own_mem char *sid = session();
    const char *argv[] = {desk.podterm, "end", sid, NULL};
    struct child c = {.argv = argv};

    child_expect(&c, 0);
    child_fini(&c);
}

/* The client's process: the one of that name in this terminal. */
static pid_t client(void)
{
    const char *argv[] = {"pgrep",   "-x", "-t", strchr(t.tty + 1, '/') + 1,
                          "podterm", NULL};
    struct child c = {.argv = argv};
    pid_t pid;

    child_expect(&c, 0);
    pid = atoi(c.out);
    child_fini(&c);
    assert_true(pid > 1);
    return pid;
}

static pid_t gateway(void)
{
    pid_t pid;
    const int64_t until = loop_now_ms() + SOON_MS;

    while (stack_pids(desk.stack, "podterm-gateway", NULL, &pid, 1) != 1) {
        assert_true(loop_now_ms() < until);
        poll(NULL, 0, 10);
    }
    return pid;
}

/* The shell is back, with its terminal as it was; nothing of a late answer
 * stands on its command line. */
static void expect_left(int status)
{
    own_mem char *word = mem_printf("left %d", status);
    own_mem char *now = NULL, *now_modes = NULL;

    tmux_expect(&t, word, SOON_MS);
    shell("echo ag''ain");
    tmux_expect(&t, "seat> echo ag''ain", SOON_MS);
    tmux_expect(&t, "\nagain", SOON_MS);
    now = cooked();
    now_modes = tmux_modes(&t);
    assert_string_equal(now, settings);
    assert_string_equal(now_modes, modes);
}

/* --- every way out --- */

static void the_program_ends(void **arg)
{
    (void)arg;
    run(HOSTILE HERE "head -c 1 >/dev/null; " ASK "exit 7");
    tmux_type(&t, "x");
    expect_left(7);
}

static void the_user_detaches(void **arg)
{
    (void)arg;
    run(HOSTILE HERE "sleep 1000");
    tmux_key(&t, "Enter");
    tmux_type(&t, "~.");
    expect_left(0);
    end();
}

static void the_user_ends_it(void **arg)
{
    (void)arg;
    run(HOSTILE HERE "sleep 1000");
    tmux_key(&t, "Enter");
    tmux_type(&t, "~x");
    tmux_type(&t, "y");
    expect_left(125);
}

static void it_is_ended_from_elsewhere(void **arg)
{
    (void)arg;
    run(HOSTILE HERE "sleep 1000");
    end();
    tmux_expect(&t, "the session was ended by its owner", SOON_MS);
    expect_left(125);
}

static void it_is_refused(void **arg)
{
    (void)arg;
    shell("$P run --sha256 $(echo | sha256sum | cut -c1-64); echo \"left $?\"");
    tmux_expect(&t, "the bundle was refused", SOON_MS);
    expect_left(125);
    shell("clear; $P attach aaaaaaaaaaaaaaaaaaaaaaaaaa; echo \"left $?\"");
    tmux_expect(&t, "podterm: ", SOON_MS);
    expect_left(125);
}

static void the_gateway_is_killed_and_comes_back(void **arg)
{
    (void)arg;
    run(HOSTILE HERE "head -c 1 >/dev/null; exit 7");
    kill(gateway(), SIGKILL);
    tmux_type(&t, "x");
    expect_left(7);
}

static void a_signal_ends_the_client(void **arg)
{
    static const int signums[] = {SIGTERM, SIGHUP, SIGINT, SIGQUIT, SIGSEGV};

    (void)arg;
    for (size_t i = 0; i < sizeof(signums) / sizeof(*signums); i++) {
        run(HOSTILE HERE "while :; do " ASK "sleep 0.02; done");
        kill(client(), signums[i]);
        expect_left(128 + signums[i]);
        end();
        shell("clear");
        tmux_expect_no(&t, "left", SOON_MS);
    }
}

static void ctrl_c_at_the_start_ends_it(void **arg)
{
    pid_t pid = gateway();

    (void)arg;
    kill(pid, SIGSTOP);
    shell("$P run; echo \"left $?\"");
    tmux_expect(&t, "podterm: session ", SOON_MS);
    tmux_key(&t, "C-c");
    kill(pid, SIGCONT);
    tmux_expect(&t, "the session was ended", SOON_MS);
    expect_left(130);
}

/* The shell in between has its own terminal; the program's comes back. */
static void it_is_suspended_and_comes_back(void **arg)
{
    own_mem char *between = NULL, *between_modes = NULL;
    own_mem char *raw = NULL;

    (void)arg;
    run("trap 'printf \"\\033[H\\033[2JHERE drawn\"' WINCH; " HOSTILE HERE
        "until case $x in *typed) ;; *) false ;; esac; do read -r x; done; "
        "exit 8");
    raw = tmux_settings(&t);
    assert_non_null(strstr(raw, "-isig"));
    tmux_key(&t, "Enter");
    tmux_type(&t, "~");
    tmux_key(&t, "C-z");
    tmux_expect(&t, "suspended; the program goes on", SOON_MS);
    tmux_expect(&t, "Stopped", SOON_MS);
    shell("echo $((40+2))");
    tmux_expect(&t, "\n42", SOON_MS);
    between = cooked();
    between_modes = tmux_modes(&t);
    assert_string_equal(between, settings);
    assert_string_equal(between_modes, modes);
    shell("bg");
    tmux_expect(&t, "&\nseat>", SOON_MS);
    for (int i = 0; i < 150; i++) { /* long enough for a loss to be told */
        pid_t pid;

        if (stack_pids(desk.stack, "podterm-gateway", NULL, &pid, 1) == 1)
            kill(pid, SIGKILL);
        poll(NULL, 0, 20);
    }
    shell("echo $((40+3))");
    tmux_expect(&t, "\n43", SOON_MS);
    {
        own_mem char *quiet = tmux_modes(&t), *screen = tmux_screen(&t);

        assert_string_equal(quiet, modes);
        assert_null(strstr(screen, "connection"));
    }
    shell("fg; echo \"left $?\"");
    tmux_expect(&t, "HERE drawn", SOON_MS);
    {
        own_mem char *now = tmux_settings(&t);

        assert_string_equal(now, raw);
    }
    tmux_expect_value(&t,
                      "#{alternate_on}#{mouse_any_flag}#{cursor_flag}"
                      "#{keypad_cursor_flag}#{keypad_flag}",
                      "11011", SOON_MS);
    tmux_type(&t, "typed\n");
    expect_left(8);
}

static void another_attachment_takes_over(void **arg)
{
    own_mem char *sid = NULL;
    const char *argv[] = {desk.podterm, "attach", "--quiet", NULL, NULL};
    struct seat second;

    (void)arg;
    run(HOSTILE HERE "head -c 1 >/dev/null; exit 7");
    argv[3] = sid = session();
    seat_start(&second, argv, NULL, COLS, ROWS, -1);
    tmux_expect(&t, "attached elsewhere", SOON_MS);
    expect_left(125);
    seat_say(&second, "x");
    assert_int_equal(seat_wait(&second, SOON_MS), 7);
    seat_free(&second);
}

/* Nobody is left who could; README says what to do then. */
static void
a_client_that_is_killed_leaves_it_as_the_program_had_it_until_reset(void **arg)
{
    own_mem char *now = NULL;

    (void)arg;
    run(HOSTILE HERE "sleep 1000");
    kill(client(), SIGKILL);
    poll(NULL, 0, 500); /* (bash itself sets its terminal right) */
    now = tmux_modes(&t);
    assert_string_not_equal(now, modes);
    shell("reset");
    tmux_expect_value(&t, "#{mouse_any_flag}#{keypad_cursor_flag}", "00",
                      SOON_MS);
    end();
}

/* --- what podterm says of the connection --- */

/* Keep the gateway away until the client says that it is. */
static void hold_down(bool in_title)
{
    const int64_t until = loop_now_ms() + SOON_MS;

    for (;;) {
        own_mem char *now =
            in_title ? tmux_value(&t, "#{pane_title}") : tmux_screen(&t);
        pid_t pid;

        if (strstr(now, "connection lost"))
            return;
        if (loop_now_ms() > until)
            fail_msg("no loss is told: %s", now);
        if (stack_pids(desk.stack, "podterm-gateway", NULL, &pid, 1) == 1)
            kill(pid, SIGKILL);
        poll(NULL, 0, 20);
    }
}

static void expect_screen(const char *before)
{
    own_mem char *now = tmux_screen(&t);

    assert_string_equal(now, before);
}

/* A program on the ordinary screen: not a cell changes, nor does the cursor,
 * while a loss is told and afterwards. */
static void a_loss_is_told_in_the_title(void **arg)
{
    static const char where[] = "#{cursor_x},#{cursor_y}";
    own_mem char *before = NULL, *at = NULL;

    (void)arg;
    shell("clear; seq 1 40");
    tmux_expect(&t, "40", SOON_MS);
    run("printf '\\033]2;of the "
        "program\\007\\033[5;60Hmarked\\0337\\033[20;3H'; " PLAIN
        "head -c 2 >/dev/null; printf '\\0338+'; head -c 1 >/dev/null");
    before = tmux_screen(&t);
    at = tmux_value(&t, where);
    tmux_expect_value(&t, "#{pane_title}", "of the program", SOON_MS);
    hold_down(true);
    expect_screen(before);
    tmux_expect_value(&t, where, at, 0);
    tmux_expect_value(&t, "#{pane_title}", "attached again: nothing was lost",
                      SOON_MS);
    expect_screen(before);
    tmux_expect_value(&t, "#{pane_title}", "of the program", SOON_MS);
    expect_screen(before);
    tmux_expect_value(&t, where, at, 0);
    tmux_type(&t, "xy\n"); /* the cursor that the program kept is there */
    tmux_expect(&t, "marked+", SOON_MS);
    tmux_type(&t, "\n");
    tmux_expect(&t, "left 0", SOON_MS);
}

/* One on the alternate screen, that draws when its size changes. */
static void
on_the_alternate_screen_the_corner_tells_it_and_is_drawn_over(void **arg)
{
    own_mem char *before = NULL;

    (void)arg;
    run("draw() { printf '\\033[H\\033[2J'; i=0; while [ $i -lt 28 ]; do "
        "i=$((i+1)); printf '%090d\\r\\n' $i; done; printf 'HE''RE'; }; "
        "trap draw WINCH; stty raw -echo; printf '\\033[?1049h'; draw; "
        "x=; until [ \"$x\" ]; do read -r x; done");
    poll(NULL, 0, 300);
    before = tmux_screen(&t);
    hold_down(false);
    {
        own_mem char *during = tmux_screen(&t);

        /* the first row's end, and nothing else */
        assert_string_equal(strchr(during, '\n'), strchr(before, '\n'));
        assert_memory_equal(during, before, 20);
    }
    tmux_expect(&t, "attached again", SOON_MS);
    tmux_expect_no(&t, "attached again", SOON_MS);
    tmux_expect(&t, "HERE", SOON_MS);
    poll(NULL, 0, 500);
    expect_screen(before);
    tmux_type(&t, "x\n");
    tmux_expect(&t, "left 0", SOON_MS);
}

/* Nothing comes though something was typed; and a program that does not read
 * is no slow connection. */
static void no_answer_is_told_and_taken_back(void **arg)
{
    own_mem char *before = NULL;
    pid_t pid = gateway();

    (void)arg;
    run("stty raw -echo; printf '\\033]2;of the program\\007'; " PLAIN
        "head -c 1 >/dev/null; printf got; sleep 8; printf 'do''ne'; head -c "
        "1 >/dev/null");
    before = tmux_screen(&t);
    kill(pid, SIGSTOP);
    tmux_type(&t, "x");
    tmux_expect_value(&t, "#{pane_title}", "no answer for 4 s", 8000);
    expect_screen(before);
    kill(pid, SIGCONT);
    tmux_expect(&t, "HEREgot", SOON_MS);
    tmux_expect_value(&t, "#{pane_title}", "of the program", SOON_MS);
    for (int i = 0; i < 20; i++) { /* more than a terminal's queue takes */
        char more[501];

        memset(more, 'y', sizeof(more) - 1);
        more[sizeof(more) - 1] = 0;
        tmux_type(&t, more);
    }
    for (int i = 0; i < 60; i++) {
        own_mem char *title = tmux_value(&t, "#{pane_title}");

        assert_string_equal(title, "of the program");
        poll(NULL, 0, 100);
    }
    tmux_expect(&t, "done", SOON_MS);
    tmux_expect(&t, "left 0", SOON_MS);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, terminal, no_terminal)
    const struct CMUnitTest tests[] = {
        T(the_program_ends),
        T(the_user_detaches),
        T(the_user_ends_it),
        T(it_is_ended_from_elsewhere),
        T(it_is_refused),
        T(the_gateway_is_killed_and_comes_back),
        T(a_signal_ends_the_client),
        T(ctrl_c_at_the_start_ends_it),
        T(it_is_suspended_and_comes_back),
        T(another_attachment_takes_over),
        T(a_client_that_is_killed_leaves_it_as_the_program_had_it_until_reset),
        T(a_loss_is_told_in_the_title),
        T(on_the_alternate_screen_the_corner_tells_it_and_is_drawn_over),
        T(no_answer_is_told_and_taken_back),
    };

    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, setup, desk_teardown);
}
