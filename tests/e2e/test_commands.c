/*
 * The commands around a session, as a user gives them: a bundle of this
 * machine, sharing, listing, and what a shell completes.
 */
#include "base/loop.h"
#include "base/mem.h"
#include "base/own.h"
#include "tests/lib/child.h"
#include "tests/lib/desk.h"
#include "tests/lib/stackproc.h"

#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define SOON_MS 15000

/* A line for bash, with $P, and the bundle $A beside the others. */
static struct child sh(const char *line)
{
    static const char *argv[4] = {"bash", "-c"};
    struct child c = {.argv = argv};

    argv[2] = line;
    child_run(&c);
    return c;
}

static void expect_sh(const char *line, int code, const char *out,
                      const char *err)
{
    struct child c = sh(line);

    if (c.code != code || !strstr(c.out, out) || !strstr(c.err, err))
        fail_msg("%s: %d, \"%s\", \"%s\"", line, c.code, c.out, c.err);
    child_fini(&c);
}

static void archive(void)
{
    own_mem char *path = mem_printf("%s/mine", desk.stack->dir);
    own_mem char *make = mem_printf(
        "mkdir -p %s/bin && printf '#!/bin/sh\\necho here: $1 $V; exit 6\\n' "
        ">%s/bin/p && chmod 755 %s/bin/p && tar -czf '%s/my own.tar.gz' -C %s "
        "bin && chmod 600 '%s/my own.tar.gz'",
        path, path, path, path, path, path);
    own_mem char *at = mem_printf("%s/my own.tar.gz", path);

    assert_int_equal(chmod(desk.stack->dir, 0711), 0);
    assert_int_equal(system(make), 0);
    setenv("A", at, 1);
    setenv("P", desk.podterm, 1);
}

/* --- a bundle of this machine --- */

/* It is readable by its owner alone, and lies where no server looks. */
static void an_archive_of_this_machine_runs(void **arg)
{
    (void)arg;
    archive();
    expect_sh("$P run \"$A\" </dev/null", 6, "here:", "");
    expect_sh("V=yours $P run \"$A\" --env V -- bin/p again </dev/null", 6,
              "here: again yours", "the program can read");
    expect_sh("$P run --bundle \"$A\" -- bin/p too </dev/null", 6, "here: too",
              "");
    expect_sh("$P run --sha256 $(sha256sum <\"$A\" | cut -c1-64) \"$A\" "
              "</dev/null",
              6, "here:", "");
    expect_sh("sid=$($P run --detach \"$A\" -- sleep 100) && $P end $sid", 0,
              " ended", "");
}

static void one_that_is_none_starts_nothing(void **arg)
{
    (void)arg;
    archive();
    expect_sh("$P run ./absent.tar.gz", 125, "", "there is no such file");
    expect_sh("env -u PODTERM_BUNDLE $P run /tmp", 125, "",
              "/tmp: a directory; a bundle is an archive of one: tar -czf");
    expect_sh("env -u PODTERM_BUNDLE $P run nosuch", 125, "",
              "\"nosuch\": no archive by its name (it ends in .tar.gz");
    expect_sh("$P run --env 'A B=hidden' \"$A\"", 125, "",
              "--env A B: want NAME or NAME=VALUE, and a name has letters");
    expect_sh("$P run --bundle /etc/hostname", 125, "", "not an archive");
    expect_sh("$P run --sha256 $(sha256sum </dev/null | cut -c1-64) \"$A\"",
              125, "", "has another: ");
    expect_sh("$P run \"$A\" sh", 125, "", "a command stands behind --");
    expect_sh("env -u A_VARIABLE $P run --env A_VARIABLE \"$A\"", 125, "",
              "--env A_VARIABLE: it is not set in your environment");
    expect_sh("$P run --server https://podterm.example \"$A\"", 125, "",
              "is another one. Put it where that server may fetch from");
    expect_sh("$P run --server https://podterm.example \"$A\" 2>&1 | grep -c "
              "$(sha256sum <\"$A\" | cut -c1-64)",
              0, "1\n", "");
    expect_sh("for c in attach end share; do $P $c aaaaaaaaaaaaaaaaaaaaaaaaaa; "
              "done 2>&1 | grep -c 'no such session of yours (podterm ls'",
              0, "3\n", "");
    expect_sh("$P ls", 0, "", "no sessions that go on");
}

/* Once the program runs the server has it: nothing listens any more. */
static void nothing_is_lent_any_more_once_it_runs(void **arg)
{
    (void)arg;
    archive();
    expect_sh("$P run \"$A\" -- sleep 1000 </dev/null >/dev/null 2>&1 & until "
              "url=$($P ls --json | jq -r "
              "'select(.state == \"running\").bundle.url') && [ \"$url\" ]; do "
              "sleep 0.1; done; for i in $(seq 50); do curl -sS -o /dev/null "
              "\"$url\" 2>/dev/null; c=$?; [ $c = 7 ] && break; sleep 0.1; "
              "done; $P end $($P ls | cut -f1); wait; echo \" $c\"",
              0, " 7\n", "");
}

/* It would stand in every list of processes for as long as the session. */
static void what_the_program_is_given_is_in_no_list_of_processes(void **arg)
{
    (void)arg;
    archive();
    expect_sh("$P run --env V=not\"for\"all --env=E=not\"for\"all \"$A\" -- sh "
              "-c 'echo $V$E; sleep 1000' </dev/null >\"$A.out\" 2>&1 & p=$!; "
              "until grep -q not\"for\"allnot\"for\"all \"$A.out\"; do sleep "
              "0.1; done; tr '\\0' ' ' </proc/$p/cmdline; $P end $($P ls | "
              "cut -f1) >/dev/null; wait",
              0, "run --env V=********* --env=E=********* ", "");
}

/* Also when the server does not answer any more: the second signal is final. */
static void a_detached_start_can_be_stopped(void **arg)
{
    pid_t controller;
    char pid[16];

    (void)arg;
    archive();
    assert_int_equal(
        stack_pids(desk.stack, "podterm-controller", NULL, &controller, 1), 1);
    snprintf(pid, sizeof(pid), "%d", (int)controller);
    setenv("C", pid, 1);
    setenv("HELD", /* one whose archive, in no cache, nobody sends */
           "for i in $(seq 20); do (cd \"${A%/*}\" && date +%N >new && tar "
           "-czf \"$A\" bin new); $P run --detach \"$A\" -- sleep 1000 "
           ">\"$A.out\" 2>&1 & p=$!; until k=$(pgrep -P $p); do kill -0 $p "
           "2>/dev/null || break; done; kill -STOP $k; sleep 1; kill -0 $p && "
           "break; $P end $(cat \"$A.out\"); done >/dev/null 2>&1; ",
           1);
    expect_sh("eval \"$HELD\"; kill -TERM $p; wait $p; echo \" $?\"; cat "
              "\"$A.out\"",
              0, " 143\npodterm: the session was ended\n", "");
    expect_sh("eval \"$HELD\"; kill -STOP $C; sleep 0.5; kill -TERM $p; sleep "
              "2; kill -TERM $p; sleep 0.5; kill -0 $p 2>/dev/null; gone=$?; "
              "kill -CONT $C; wait $p; echo \" $? $gone\"; $P end $($P ls | "
              "cut -f1) >/dev/null 2>&1; true",
              0, " 143 1\n", "");
}

static void a_hangup_that_is_ignored_stays_so(void **arg)
{
    (void)arg;
    archive();
    expect_sh("trap '' HUP; $P run \"$A\" -- sh -c 'echo go; sleep 1; exit 5' "
              "</dev/null >\"$A.out\" 2>&1 & p=$!; until grep -q ^go "
              "\"$A.out\"; do sleep 0.1; done; kill -HUP $p; wait $p; echo \" "
              "$?\"",
              0, " 5\n", "");
}

/* The path in the address is worth nothing afterwards, and no other file. */
static void nothing_is_lent_any_more_once_it_ended(void **arg)
{
    (void)arg;
    archive();
    expect_sh("$P run \"$A\" </dev/null >/dev/null 2>&1; "
              "url=$($P ls --all --json | head -1 | jq -r .bundle.url); "
              "curl -sS -o /dev/null \"$url\" 2>&1; echo \" $?\"",
              0, " 7\n", "");
}

/* --- sharing --- */

static void who_may_watch_is_told_changed_and_taken_back(void **arg)
{
    const char *view_argv[] = {desk.podterm, "attach", NULL, "--view",
                               "--as",       "guest",  NULL};
    struct seat viewer;

    (void)arg;
    desk_run(NULL, "echo go; read -r x");
    seat_expect(&desk.seat, "go\r\n", SOON_MS);
    setenv("S", desk_session(), 1);
    expect_sh("$P share $S", 0, "", "nobody but you may watch it");
    expect_sh("$P share $S guest other guest", 0, "guest\nother\n",
              "they watch with: podterm attach --view --server http://127");
    expect_sh("$P share $S", 0, "guest\nother\n", "/#/watch/");
    expect_sh("$P share ${S:0:6} third", 0, "guest\nother\nthird\n", "");
    expect_sh("$P share --remove $S other third", 0, "guest\n", "");
    expect_sh("$P share --json $S | jq -c .viewers", 0, "[\"guest\"]", "");
    expect_sh("$P share --remove $S nobody", 125, "",
              "\"nobody\" may not watch it anyway; nothing was changed");
    expect_sh("$P share --remove $S", 125, "", "--remove whom?");
    expect_sh("$P share", 125, "", "which session?");
    expect_sh("$P share --as guest $S me", 125, "", "podterm: ");
    expect_sh("$P share $S a b c d e f g h i", 125, "", "viewers");

    view_argv[2] = desk_session();
    seat_start(&viewer, view_argv, NULL, 80, 24, -1);
    seat_expect(&viewer, "you watch only: nothing you type reaches", SOON_MS);
    seat_expect(&viewer, "go\r\n", SOON_MS);
    expect_sh("$P share --remove $S guest", 0, "", "nobody but you");
    assert_int_equal(seat_wait(&viewer, SOON_MS), 125);
    assert_true(seat_is_restored(&viewer));
    seat_free(&viewer);
    seat_say(&desk.seat, "\r");
    desk_expect_end(0, SOON_MS);
}

/* --- listing --- */

/* What a terminal of that width shows of `podterm ls --all`. */
static char *listed(int cols, const char *env)
{
    const char *argv[] = {desk.podterm, "ls", "--all", NULL};
    const char *envs[] = {env, NULL};
    struct seat s;
    char *out;

    seat_start(&s, argv, env ? envs : NULL, cols, 24, -1);
    assert_int_equal(seat_wait(&s, SOON_MS), 0);
    out = mem_str(s.out);
    seat_free(&s);
    return out;
}

/* Cells of the longest line, colours left out. */
static size_t widest(const char *text)
{
    size_t most = 0, n = 0;

    for (const char *c = text; *c; c++) {
        if (*c == '\033') {
            while (*c && *c != 'm')
                c++;
        } else if (*c == '\n') {
            most = n > most ? n : most;
            n = 0;
        } else if (*c != '\r' && (*c & 0xc0) != 0x80) {
            n++;
        }
    }
    return most;
}

static void a_list_fits_its_terminal_whatever_the_names_are(void **arg)
{
    (void)arg;
    archive();
    expect_sh("cp \"$A\" $'$W\\e]0;x\\a\\u202eev\\til.tar.gz' && $P run "
              "$'$W\\e]0;x\\a\\u202eev\\til.tar.gz' </dev/null >/dev/null "
              "2>&1; c=$?; rm $'$W\\e]0;x\\a\\u202eev\\til.tar.gz'; exit $c",
              6, "", "");
    for (int cols = 4; cols <= 140; cols += cols < 90 ? 1 : 10) {
        own_mem char *out = listed(cols, NULL);

        if (widest(out) > (size_t)cols)
            fail_msg("%d columns: %s", cols, out);
        assert_null(strstr(out, "\033]"));
        assert_null(strchr(out, '\007'));
    }
    {
        own_mem char *wide = listed(120, NULL);
        own_mem char *plain = listed(120, "NO_COLOR=1");
        own_mem char *dumb = listed(120, "TERM=dumb");

        assert_non_null(strstr(wide, "ID "));
        assert_non_null(strstr(wide, "exited 6"));
        assert_non_null(strstr(wide, "\033[2mended"));
        assert_null(strchr(plain, '\033'));
        assert_null(strchr(dumb, '\033'));
    }
}

static void in_a_pipe_a_session_is_a_line_of_five_fields(void **arg)
{
    (void)arg;
    archive();
    expect_sh("$P run \"$A\" </dev/null >/dev/null 2>&1; until [ -z \"$($P ls "
              "2>/dev/null)\" ]; do sleep 0.1; done; $P ls --all | awk -F "
              "'\t' 'NF != 5 || length($1) != 26 || $3 !~ /^20.*Z$/ {print "
              "\"bad\", $0; exit 1}; {n++} END {exit !n}'",
              0, "", "");
    expect_sh("$P ls --all | grep -q $'^[a-z2-7]*\tended\t.*Z\tmy own.tar.gz"
              "\texited 6$'",
              0, "", "");
    expect_sh("$P ls --all --json | jq -es 'length > 0 and all(.[]; .id and "
              ".bundle.sha256 and (has(\"token\") | not))'",
              0, "true", "");
    expect_sh("$P ls --all >/dev/full", 125, "", "not all was told");
}

/* --- completion --- */

static void sessions_are_completed(void **arg)
{
    (void)arg;
    expect_sh("$P run --detach -- sleep 100 >$W/sid", 0, "", "");
    expect_sh("s=$(cat $W/sid); test \"$($P __complete attach '' | cut "
              "-f1)\" = $s && test \"$($P __complete share ${s:0:2} | cut "
              "-f1)\" = $s && test -z \"$($P __complete end $s '')\" && test "
              "-z \"$($P __complete attach --as somebody '')\" && test "
              "\"$(env -u PODTERM_SERVER $P __complete attach --server "
              "$PODTERM_SERVER '' | cut -f1)\" = $s",
              0, "", "");
}

/* Each shell, as it is typed at: its script, a word begun, and Tab. */
static void bash_completes(void **arg)
{
    (void)arg;
    expect_sh("set -u; source <($P completion bash); try() { "
              "COMP_WORDS=(\"$@\"); COMP_CWORD=$(($# - 1)); _podterm \"$P\"; "
              "echo \"${COMPREPLY[@]-}\"; }; cd $W && touch a.tar.gz; try "
              "podterm at; try podterm run --env = HOM; try podterm run --env "
              "HOM; try podterm run ./a; try podterm run --server http : "
              "//127.0.0.1:1 --rete; try podterm attach --server http : "
              "//h : 1 --vi; test \"$(try podterm attach '')\" = \"$(cat "
              "sid)\" && echo same",
              0, "attach\nHOME\nHOME\n./a.tar.gz\n\n--view\nsame\n", "");
}

static void fish_completes(void **arg)
{
    (void)arg;
    expect_sh("ln -sf $P $W/podterm; cd $W; export HOME=$W "
              "PATH=$W:$PATH; fish -c 'podterm completion fish | source; "
              "complete -C \"podterm at\"; complete -C \"podterm run --env "
              "HOM\"; complete -C \"podterm run --env=HOM\"; complete -C "
              "\"podterm run ./a.t\"; complete -C \"podterm end \"' | cut -f1 "
              "| sed \"s/$(cat sid)/sid/\"",
              0, "attach\nHOME\n--env=HOME\n./a.tar.gz\nsid\n", "");
}

/* zsh completes at its own line editor alone. */
static void zsh_completes(void **arg)
{
    const char *argv[] = {"zsh", "-f", NULL};
    own_mem char *path = mem_printf("PATH=%s:%s", getenv("W"), getenv("PATH"));
    const char *env[] = {path, "PS1=seat> ", NULL};

    (void)arg;
    seat_start(&desk.seat, argv, env, 100, 30, -1);
    seat_expect(&desk.seat, "seat> ", SOON_MS);
    seat_say(&desk.seat, "autoload -Uz compinit; compinit -D -u; source "
                         "<(podterm completion zsh) && echo re\"\"ady\r");
    seat_expect(&desk.seat, "ready\r\n", SOON_MS);
    seat_say(&desk.seat, "podterm comp\t zs\t\r");
    seat_expect(&desk.seat, "#compdef podterm", SOON_MS);
    seat_say(&desk.seat, "cat ${:-$W/sid}; podterm end \t\r");
    seat_expect(&desk.seat, " ended\r\n", SOON_MS);
    seat_say(&desk.seat, "exit 0\r");
    assert_int_equal(seat_wait(&desk.seat, SOON_MS), 0);
}

static int setup(void **arg)
{
    own_mem char *words = NULL;

    desk_setup(arg);
    words = mem_printf("%s/words", desk.stack->dir);
    assert_int_equal(mkdir(words, 0755), 0);
    setenv("W", words, 1);
    setenv("P", desk.podterm, 1);
    return 0;
}

int main(void)
{
#define T(name) cmocka_unit_test_teardown(name, desk_leave)
    const struct CMUnitTest tests[] = {
        T(one_that_is_none_starts_nothing),
        T(an_archive_of_this_machine_runs),
        T(nothing_is_lent_any_more_once_it_runs),
        T(what_the_program_is_given_is_in_no_list_of_processes),
        T(a_detached_start_can_be_stopped),
        T(a_hangup_that_is_ignored_stays_so),
        T(nothing_is_lent_any_more_once_it_ended),
        T(who_may_watch_is_told_changed_and_taken_back),
        T(a_list_fits_its_terminal_whatever_the_names_are),
        T(in_a_pipe_a_session_is_a_line_of_five_fields),
        T(sessions_are_completed),
        T(bash_completes),
        T(fish_completes),
        T(zsh_completes),
    };

    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, setup, desk_teardown);
}
