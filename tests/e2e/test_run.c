/*
 * `make run` (tools/run) as a person meets it: with and without a terminal,
 * cut short, and with a program that fails. Afterwards nothing runs and
 * nothing lies about. Run from the project's root.
 */
#include "base/mem.h"
#include "base/own.h"
#include "tests/lib/child.h"
#include "tests/lib/programs.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

static char *dir; /* TMPDIR and DIST of the runs */

static int setup_all(void **state)
{
    own_mem char *exe = program_path("podterm");
    own_mem char *dist = NULL;

    (void)state;
    exe[strlen(exe) - strlen("/bin/podterm")] = 0;
    setenv("BUILD", exe, 1);
    dir = scratch_new();
    dist = mem_printf("%s/dist", dir);
    setenv("DIST", dist, 1);
    setenv("TMPDIR", dir, 1);
    setenv("TERM", "xterm", 1);
    return 0;
}

static int teardown_all(void **state)
{
    (void)state;
    unsetenv("TMPDIR");
    scratch_remove(dir);
    return 0;
}

/* Shell: a run in the background, $p, that has said what is looked for. */
#define RUN_UNTIL(said)                                                        \
    "mkdir -p \"$TMPDIR/dist\"\n"                                              \
    "tools/run run sh -c 'echo begun; sleep 60' >\"$TMPDIR/dist/said\" "       \
    "2>&1 & p=$!\n"                                                            \
    "for i in {1..500}; do grep -q " said                                      \
    " \"$TMPDIR/dist/said\" && break; sleep 0.05; done\n"

/* No process whose command line or environment names the scratch directory,
 * but those of this test itself; nothing in it but dist/. */
static void nothing_is_left(void)
{
    const char *argv[] = {
        "bash",
        "-c",
        "ls -A \"$1\"; for p in /proc/[0-9]*; do tr '\\0' ' ' "
        "<$p/cmdline 2>/dev/null | grep -F \"$1\" | grep -v '^bash -c ls'; "
        "done; true",
        "sh",
        dir,
        NULL};
    struct child c = {.argv = argv};

    child_expect(&c, 0);
    assert_string_equal(c.out, "dist\n");
    child_fini(&c);
}

static void without_a_terminal_it_streams_plain_lines(void **state)
{
    const char *argv[] = {"tools/run", NULL};
    struct child c = {.argv = argv};

    (void)state;
    child_expect(&c, 0);
    assert_non_null(strstr(c.out, "ok    Walk the tree: "));
    assert_non_null(strstr(c.out, "/run/podterm/bundle/root/share/source"));
    assert_null(strchr(c.out, '\033'));
    assert_non_null(strstr(c.err, "the program ended with exit code 0"));
    child_fini(&c);
    nothing_is_left();
}

static void on_a_terminal_the_stages_are_live(void **state)
{
    const char *argv[] = {"tools/run", NULL};
    struct child c = {.argv = argv, .cols = 90, .rows = 30};

    (void)state;
    child_expect(&c, 0);
    assert_non_null(strstr(c.out, "✔"));
    assert_non_null(strstr(c.out, "the program ended with exit code 0"));
    child_fini(&c);
    nothing_is_left();
}

static void it_ends_with_the_programs_exit_code(void **state)
{
    const char *argv[] = {"tools/run", "run", "sh", "-c", "exit 42", NULL};
    struct child c = {.argv = argv};

    (void)state;
    child_expect(&c, 42);
    child_fini(&c);
    nothing_is_left();
}

/* Send it the signal once it says `text`, or its program does. */
static void cut(const char *text, const char *signal, int code)
{
    const char *argv[] = {"bash",
                          "-c",
                          ": >\"$TMPDIR/dist/said\"\n" RUN_UNTIL(
                              "\"$1\"") "kill -$2 $p; wait $p; r=$?; cat "
                                        "\"$TMPDIR/dist/said\"; exit $r",
                          "sh",
                          text,
                          signal,
                          NULL};
    struct child c = {.argv = argv};

    child_expect(&c, code);
    assert_non_null(strstr(c.out, text));
    child_fini(&c);
    nothing_is_left();
}

static void cut_short_it_takes_everything_with_it(void **state)
{
    (void)state;
    cut("starting:", "TERM", 143);
    cut("opening a session", "TERM", 143);
    cut("begun", "TERM", 143);
    cut("begun", "HUP", 129);
}

static void cut_short_it_does_not_say_that_the_session_goes_on(void **state)
{
    const char *argv[] = {
        "bash", "-c",
        RUN_UNTIL("begun") "kill $p; wait $p; cat \"$TMPDIR/dist/said\"", NULL};
    struct child c = {.argv = argv};

    (void)state;
    child_expect(&c, 0);
    assert_non_null(strstr(c.out, "begun"));
    assert_non_null(strstr(c.out, "everything that was started is ended"));
    assert_null(strstr(c.out, "goes on"));
    child_fini(&c);
    nothing_is_left();
}

/* Nobody is left to remove the directory: the test does. */
static void killed_it_takes_its_processes_with_it(void **state)
{
    const char *argv[] = {
        "bash", "-c",
        RUN_UNTIL(
            "begun") "kill -9 $p; wait $p; r=$?\n"
                     "for i in {1..200}; do\n"
                     "  cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' ' ' |"
                     " grep -qF \"$TMPDIR/podterm-run\" || break; sleep 0.1\n"
                     "done; rm -rf \"$TMPDIR\"/podterm-run.*; exit $r",
        NULL};
    struct child c = {.argv = argv};

    (void)state;
    child_expect(&c, 137);
    child_fini(&c);
    nothing_is_left();
}

static void a_killed_client_is_not_told_as_the_programs_exit(void **state)
{
    const char *argv[] = {
        "bash", "-c",
        RUN_UNTIL(
            "begun") "for c in $(cat /proc/$p/task/$p/children); do\n"
                     "  tr '\\0' ' ' </proc/$c/cmdline | grep -q 'podterm run "
                     "' &&"
                     " kill -9 $c\n"
                     "done; wait $p; r=$?; cat \"$TMPDIR/dist/said\"; exit $r",
        NULL};
    struct child c = {.argv = argv};

    (void)state;
    child_expect(&c, 137);
    assert_non_null(strstr(c.out, "or podterm run itself"));
    assert_null(strstr(c.out, "the program ended with"));
    child_fini(&c);
    nothing_is_left();
}

static void a_mode_that_is_none_is_refused(void **state)
{
    const char *argv[] = {"tools/run", "what", NULL};
    struct child c = {.argv = argv};

    (void)state;
    child_expect(&c, 125);
    assert_non_null(strstr(c.err, "usage: tools/run"));
    child_fini(&c);
}

/* The port is another's: said, not waited for. */
static void a_port_in_use_is_told_by_serve(void **state)
{
    const char *argv[] = {
        "python3", "-c",
        "import os, socket, subprocess, sys\n"
        "s = socket.socket()\n"
        "s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)\n"
        "try:\n"
        "    s.bind(('127.0.0.1', 8080)); s.listen()\n"
        "except OSError:\n"
        "    pass\n"
        "sys.exit(subprocess.run(['tools/run', 'serve']).returncode)\n",
        NULL};
    struct child c = {.argv = argv};

    (void)state;
    child_expect(&c, 125);
    assert_non_null(strstr(c.err, "127.0.0.1:8080"));
    assert_non_null(strstr(c.err, "address in use"));
    assert_non_null(strstr(c.err, "make serve LISTEN="));
    assert_null(strstr(c.err, "In another terminal"));
    child_fini(&c);
}

/* What serve prints can be typed. */
static void serve_takes_another_address_and_says_it(void **state)
{
    const char *argv[] = {
        "bash", "-c",
        "mkdir -p \"$TMPDIR/dist\"; s=$TMPDIR/dist/said; : >\"$s\"\n"
        "export DIST=$BUILD/dist\n" /* below the bundles' root */
        "port=$(python3 -c 'import socket; s = socket.socket(); "
        "s.bind((\"127.0.0.1\", 0)); print(s.getsockname()[1])')\n"
        "mkdir -p \"$TMPDIR/dist/web\"; export WEB_DIR=$TMPDIR/dist/web\n"
        "echo '<title>our page</title>' >\"$WEB_DIR/index.html\"\n"
        "LISTEN=127.0.0.1:$port tools/run serve >\"$s\" 2>&1 & p=$!\n"
        "for i in {1..600}; do grep -q 'Ctrl-C' \"$s\" && break; sleep 0.05;"
        " done\n"
        "sed -n '/podterm run/,/--sha256/p' \"$s\" >\"$s.sh\"\n"
        "grep -q \"server http://127.0.0.1:$port\" \"$s.sh\" && "
        "bash \"$s.sh\" </dev/null; r=$?\n"
        "url=$(sed -n 's/^In a browser: //p' \"$s\")\n"
        "curl -s --max-time 10 \"$url\" | grep -q 'our page' || r=98\n"
        "sha=$(sed -n 's/.*--sha256 //p' \"$s\")\n" /* what it offers */
        "curl -s --max-time 10 \"${url}web/config.json\" | grep -q "
        "\"\\\"sha256\\\":\\\"$sha\" || r=99\n"
        "kill $p; wait $p; cat \"$s\"; exit $r",
        NULL};
    struct child c = {.argv = argv};

    (void)state;
    child_expect(&c, 0);
    assert_non_null(strstr(c.out, "Walk the tree"));
    child_fini(&c);
    nothing_is_left();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_a_terminal_it_streams_plain_lines),
        cmocka_unit_test(on_a_terminal_the_stages_are_live),
        cmocka_unit_test(it_ends_with_the_programs_exit_code),
        cmocka_unit_test(cut_short_it_takes_everything_with_it),
        cmocka_unit_test(cut_short_it_does_not_say_that_the_session_goes_on),
        cmocka_unit_test(killed_it_takes_its_processes_with_it),
        cmocka_unit_test(a_killed_client_is_not_told_as_the_programs_exit),
        cmocka_unit_test(a_mode_that_is_none_is_refused),
        cmocka_unit_test(a_port_in_use_is_told_by_serve),
        cmocka_unit_test(serve_takes_another_address_and_says_it),
    };

    return cmocka_run_group_tests(tests, setup_all, teardown_all);
}
