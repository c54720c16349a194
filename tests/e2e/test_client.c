/*
 * The client as its user meets it: the real `podterm` on a PTY, against a
 * whole stack.
 */
#include "base/loop.h"
#include "base/mem.h"
#include "base/own.h"
#include "tests/lib/desk.h"
#include "tests/lib/fileserver.h"
#include "tests/lib/programs.h"

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

#define SOON_MS 15000 /* generous: machines are busy */

static void expect_state(const char *state)
{
    json_free(stack_wait(desk.stack, "tester", desk_session(), state, SOON_MS));
}

/* DELETE was asked; ending takes its time. */
static void expect_ending(void)
{
    own_json struct json *j = stack_get(desk.stack, "tester", desk_session());
    bool ending = false;

    json_get_bool(j, "ending", &ending);
    assert_true(ending || !strcmp(json_get_str(j, "state"), "ended"));
}

static pid_t gateway(void)
{
    pid_t pid;

    return stack_pids(desk.stack, "podterm-gateway", NULL, &pid, 1) == 1 ? pid
                                                                         : -1;
}

/* --- a session as it should be --- */

static void a_program_has_the_terminal_and_its_code_is_ours(void **arg)
{
    (void)arg;
    desk_run(NULL, "echo hello; stty size; exit 7");
    seat_expect(&desk.seat, "admitted", SOON_MS);
    seat_expect(&desk.seat, "fetch", SOON_MS);
    seat_expect(&desk.seat, "started", SOON_MS);
    seat_expect(&desk.seat, "hello\r\n30 100\r\n", SOON_MS);
    desk_expect_end(7, SOON_MS);
}

static void the_bundles_own_program_runs_without_a_command(void **arg)
{
    const char *argv[] = {desk.podterm, "run", NULL};

    (void)arg;
    seat_start(&desk.seat, argv, NULL, 80, 24, -1);
    desk_expect_end(9, SOON_MS);
}

static void a_signal_is_told_and_is_the_status(void **arg)
{
    (void)arg;
    desk_run(NULL, "kill -9 $$");
    desk_expect_end(137, SOON_MS);
    assert_non_null(strstr(desk.seat.out, "ended by signal 9"));
}

static void keys_go_to_the_program_as_they_are(void **arg)
{
    (void)arg;
    desk_run(NULL, "trap 'echo got-int' INT; echo go; "
                   "while :; do read -r line && echo \"<$line>\"; done");
    seat_expect(&desk.seat, "go\r\n", SOON_MS);
    assert_false(seat_is_restored(&desk.seat)); /* raw now */
    seat_say(&desk.seat, "one\r");
    seat_expect(&desk.seat, "<one>", SOON_MS);
    seat_say(&desk.seat, "\003");
    seat_expect(&desk.seat, "got-int", SOON_MS);
    seat_say(&desk.seat, "two\r");
    seat_expect(&desk.seat, "<two>", SOON_MS);
    seat_say(&desk.seat, "\034"); /* quit */
    desk_expect_end(131, SOON_MS);
}

static void a_resize_reaches_the_program(void **arg)
{
    (void)arg;
    desk_run(NULL, "trap 'stty size' WINCH; echo go; "
                   "while :; do sleep 0.05; done");
    seat_expect(&desk.seat, "go\r\n", SOON_MS);
    seat_resize(&desk.seat, 123, 45);
    seat_expect(&desk.seat, "45 123\r\n", SOON_MS);
    seat_say(&desk.seat, "\003");
    desk_expect_end(130, SOON_MS);
}

/* A shell has the terminal while the client is stopped. */
static void after_a_stop_the_terminal_is_raw_and_drawn_anew(void **arg)
{
    int64_t until = loop_now_ms() + SOON_MS;
    int status;

    (void)arg;
    desk_run(NULL, "trap 'stty size' WINCH; echo go; "
                   "while :; do sleep 0.01; done");
    seat_expect(&desk.seat, "go\r\n", SOON_MS);
    kill(desk.seat.pid, SIGSTOP);
    assert_int_equal(waitpid(desk.seat.pid, &status, WUNTRACED), desk.seat.pid);
    assert_true(WIFSTOPPED(status));
    tcsetattr(desk.seat.slave_fd, TCSANOW, &desk.seat.before);
    assert_true(seat_is_restored(&desk.seat));
    kill(desk.seat.pid, SIGCONT);
    while (seat_is_restored(&desk.seat) && loop_now_ms() < until)
        seat_pass(&desk.seat, 20);
    assert_false(seat_is_restored(&desk.seat));
    seat_expect(&desk.seat, "30 99\r\n", SOON_MS);
    seat_expect(&desk.seat, "30 100\r\n", SOON_MS);
    seat_say(&desk.seat, "\003");
    desk_expect_end(130, SOON_MS);
}

static void a_client_begun_in_the_background_goes_on_in_front(void **arg)
{
    own_mem char *line =
        mem_printf("%s run -- sh -c 'stty -echo; echo g\"\"o; read -r x; "
                   "echo \"<$x>\"; exit 3' &\r",
                   desk.podterm);

    (void)arg;
    desk_shell(line);
    seat_expect(&desk.seat, "started", SOON_MS);
    seat_pass(&desk.seat, 300); /* it wants the terminal, and is stopped */
    seat_say(&desk.seat, "fg\r");
    seat_expect(&desk.seat, "go\r\n", SOON_MS);
    seat_say(&desk.seat, "typed\r");
    seat_expect(&desk.seat, "<typed>\r\n", SOON_MS);
    seat_expect(&desk.seat, "seat> ", SOON_MS);
    seat_say(&desk.seat, "exit $?\r");
    assert_int_equal(seat_wait(&desk.seat, SOON_MS), 3);
}

static void output_is_filtered_unless_raw_is_asked_for(void **arg)
{
    static const char script[] = "printf 'a\\033]52;c;eHh4\\007b\\033[31mc'";

    (void)arg;
    desk_run(NULL, script);
    seat_expect(&desk.seat, "ab\033[31mc", SOON_MS);
    desk_expect_end(0, SOON_MS);
    assert_null(strstr(desk.seat.out, "\033]52"));
    seat_free(&desk.seat);
    desk_run("--raw", script);
    seat_expect(&desk.seat, "a\033]52;c;eHh4\007b", SOON_MS);
    desk_expect_end(0, SOON_MS);
}

/* --- leaving --- */

static void a_hangup_or_term_leaves_the_session_running(void **arg)
{
    static const int signums[] = {SIGTERM, SIGHUP};

    (void)arg;
    for (size_t i = 0; i < 2; i++) {
        desk_run(NULL, "printf '\\033[?1049h'; echo go; sleep 100");
        seat_expect(&desk.seat, "go\r\n", SOON_MS);
        kill(desk.seat.pid, signums[i]);
        desk_expect_end(128 + signums[i], SOON_MS);
        seat_expect(&desk.seat, "\033[?1049l", 0);
        seat_expect(&desk.seat, "podterm attach ", 0);
        expect_state("running");
        stack_delete(desk.stack, "tester", desk_session());
        seat_free(&desk.seat);
    }
}

static void a_crash_of_the_client_restores_the_terminal(void **arg)
{
    (void)arg;
    desk_run(NULL, "echo go; sleep 100");
    seat_expect(&desk.seat, "go\r\n", SOON_MS);
    kill(desk.seat.pid, SIGSEGV);
    desk_expect_end(128 + SIGSEGV, SOON_MS);
    stack_delete(desk.stack, "tester", desk_session());
}

static void run_without_input(const char *script)
{
    own_mem char *line =
        mem_printf("%s run -- sh -c '%s' </dev/null", desk.podterm, script);
    const char *argv[] = {"sh", "-c", line, NULL};

    seat_start(&desk.seat, argv, NULL, 100, 30, -1);
}

/* Its input is no terminal, but what it draws on is one. */
static void a_terminal_that_is_only_written_to_is_reset_too(void **arg)
{
    static const char *const modes[] = {"\\033[?1049h", "\\302\\233?25l",
                                        "\\016", "\\233?25l"};

    (void)arg;
    for (size_t i = 0; i < sizeof(modes) / sizeof(*modes); i++) {
        own_mem char *script =
            mem_printf("printf \"%s\"; echo go; sleep 100", modes[i]);

        run_without_input(script);
        seat_expect(&desk.seat, "\033[22;0t", SOON_MS);
        seat_expect(&desk.seat, "go\r", SOON_MS);
        /* one that is still pending makes one of two: told, then again */
        seat_say(&desk.seat, "\003");
        seat_expect(&desk.seat, "passed on to the program", SOON_MS);
        seat_say(&desk.seat, "\003");
        seat_expect(&desk.seat, "\033[?1049l", SOON_MS);
        seat_wait(&desk.seat, SOON_MS);
        assert_true(seat_is_restored(&desk.seat));
        stack_delete(desk.stack, "tester", desk_session());
        seat_free(&desk.seat);
    }
    run_without_input("echo 20 \302\260C; echo plain");
    seat_expect(&desk.seat, "plain\r", SOON_MS);
    assert_int_equal(seat_wait(&desk.seat, SOON_MS), 0);
    assert_null(strstr(desk.seat.out, "\033[22;0t"));
    assert_null(strstr(desk.seat.out, "\033[?1049l"));
}

static void another_attachment_takes_over_for_good(void **arg)
{
    struct seat second;
    const char *argv[] = {desk.podterm, "attach", NULL, NULL};
    char sid[ID_SIZE];

    (void)arg;
    desk_run(NULL, "echo go; read -r x; exit 5");
    seat_expect(&desk.seat, "go\r\n", SOON_MS);
    snprintf(sid, sizeof(sid), "%s", desk_session());
    argv[2] = sid;
    sid[8] = 0; /* the first characters suffice */
    seat_start(&second, argv, NULL, 80, 24, -1);
    seat_expect(&second, "go\r\n", SOON_MS);
    desk_expect_end(125, SOON_MS);
    seat_expect(&desk.seat, "attached elsewhere", 0);
    seat_say(&second, "x\r");
    assert_int_equal(seat_wait(&second, SOON_MS), 5);
    assert_true(seat_is_restored(&second));
    seat_free(&second);
}

static void a_viewer_watches_and_leaves_with_ctrl_c(void **arg)
{
    struct seat viewer;
    const char *run_argv[] = {desk.podterm, "run", "--viewer", "guest", "--",
                              "sh",         "-c",  NULL,       NULL};
    const char *view_argv[] = {desk.podterm, "attach", NULL, "--view",
                               "--as",       "guest",  NULL};

    (void)arg;
    run_argv[7] = "echo go; read -r x; echo \"<$x>\"; read -r y";
    seat_start(&desk.seat, run_argv, NULL, 80, 24, -1);
    seat_expect(&desk.seat, "go\r\n", SOON_MS);
    view_argv[2] = desk_session();
    seat_start(&viewer, view_argv, NULL, 80, 24, -1);
    seat_expect(&viewer, "go\r\n", SOON_MS);
    seat_say(&viewer, "typed by the viewer\r");
    seat_say(&desk.seat, "owner\r");
    seat_expect(&viewer, "<owner>", SOON_MS);
    assert_false(seat_has(&viewer, "typed by the viewer"));
    seat_say(&viewer, "\003");
    assert_int_equal(seat_wait(&viewer, SOON_MS), 130);
    seat_expect(&viewer, "podterm: you left; the session goes on", 0);
    seat_expect(&viewer, " --view", 0);
    assert_true(seat_is_restored(&viewer));
    seat_free(&viewer);
    seat_say(&desk.seat, "\r");
    desk_expect_end(0, SOON_MS);
}

/* More than is kept, and all of it acknowledged. */
#define PLENTY "stty -echo; echo go; read -r x; seq 1 400000; read -r x"

static void output_that_is_no_longer_kept_is_told(void **arg)
{
    const char *argv[] = {desk.podterm, "attach", NULL, NULL};
    struct seat second;

    (void)arg;
    desk_run(NULL, PLENTY);
    seat_expect(&desk.seat, "go\r\n", SOON_MS);
    seat_say(&desk.seat, "\r");
    seat_expect(&desk.seat, "\n400000\r\n", SOON_MS);
    seat_pass(&desk.seat, 300); /* the last acknowledgement */
    kill(desk.seat.pid, SIGTERM);
    desk_expect_end(143, SOON_MS);
    argv[2] = desk_session();
    seat_start(&second, argv, NULL, 80, 24, -1);
    seat_expect(&second, "podterm: output before byte ", SOON_MS);
    seat_expect(&second, " is no longer kept\r\n", SOON_MS);
    seat_expect(&second, "\n400000\r\n", SOON_MS);
    seat_say(&second, "\r");
    assert_int_equal(seat_wait(&second, SOON_MS), 0);
    assert_false(seat_has(&second, "no longer kept")); /* once */
    seat_free(&second);
}

static void what_a_viewer_missed_is_told_at_the_end(void **arg)
{
    struct seat viewer;
    const char *run_argv[] = {desk.podterm, "run", "--viewer", "guest", "--",
                              "sh",         "-c",  PLENTY,     NULL};
    const char *view_argv[] = {desk.podterm, "attach", NULL, "--view",
                               "--as",       "guest",  NULL};

    (void)arg;
    seat_start(&desk.seat, run_argv, NULL, 80, 24, -1);
    seat_expect(&desk.seat, "go\r\n", SOON_MS);
    view_argv[2] = desk_session();
    seat_start(&viewer, view_argv, NULL, 80, 24, -1);
    seat_expect(&viewer, "go\r\n", SOON_MS);
    kill(viewer.pid, SIGSTOP);
    seat_say(&desk.seat, "\r");
    seat_expect(&desk.seat, "\n400000\r\n", SOON_MS);
    kill(viewer.pid, SIGCONT);
    seat_expect(&viewer, "\n400000\r\n", SOON_MS);
    seat_say(&desk.seat, "\r");
    desk_expect_end(0, SOON_MS);
    assert_int_equal(seat_wait(&viewer, SOON_MS), 0);
    seat_expect(&viewer, " bytes of output were skipped\r\n", 0);
    seat_free(&viewer);
}

/* --- before the program runs --- */

static void ctrl_c_while_it_is_fetched_ends_the_session(void **arg)
{
    static const struct fileserver_reply silent = {.trick = FILESERVER_SILENT};
    struct fileserver *server = fileserver_start("x", 1, &silent, 1, NULL);
    own_mem char *url =
        mem_printf("http://127.0.0.1:%d/x.tar.gz", fileserver_port(server));
    /* another digest: no cache has it */
    const char *argv[] = {desk.podterm,
                          "run",
                          "--bundle",
                          url,
                          "--sha256",
                          "00000000000000000000000000000000"
                          "00000000000000000000000000000000",
                          NULL};

    (void)arg;
    seat_start(&desk.seat, argv, NULL, 80, 24, -1);
    seat_expect(&desk.seat, "fetch", SOON_MS);
    seat_say(&desk.seat, "\003");
    desk_expect_end(130, SOON_MS);
    seat_expect(&desk.seat, "\npodterm: the session was ended", 0);
    expect_ending();
    fileserver_stop(server);
}

static void ctrl_c_before_the_gateway_answers_ends_the_session(void **arg)
{
    pid_t pid = gateway();

    (void)arg;
    assert_true(pid > 0);
    kill(pid, SIGSTOP);
    desk_run(NULL, "sleep 100");
    seat_expect(&desk.seat, "podterm: session ", SOON_MS);
    seat_pass(&desk.seat, 200);
    seat_say(&desk.seat, "\003");
    desk_expect_end(130, SOON_MS);
    kill(pid, SIGCONT);
    seat_expect(&desk.seat, "the session was ended", 0);
    expect_ending();
}

static void a_refused_bundle_is_told_in_a_sentence(void **arg)
{
    char wrong[65];
    const char *argv[] = {desk.podterm, "run", "--sha256", wrong, NULL};

    (void)arg;
    snprintf(wrong, sizeof(wrong), "%s", desk.bundle.sha256);
    wrong[0] = wrong[0] == '0' ? '1' : '0';
    seat_start(&desk.seat, argv, NULL, 80, 24, -1);
    desk_expect_end(125, SOON_MS);
    seat_expect(&desk.seat, "podterm: the bundle was refused: ", 0);
    seat_expect(&desk.seat, desk.bundle.sha256, 0);
}

static void names_in_a_hostile_bundle_do_not_reach_the_terminal(void **arg)
{
    own_mem char *dir = mem_printf("%s/evil", desk.stack->dir);
    own_mem char *make =
        mem_printf("mkdir -p %s && cd %s && touch 'x' && tar --transform "
                   "\"s,x,../$(printf 'e\\033]52;c;eA==\\007v'),\" -P -czf "
                   "%s/bundles/evil.tar.gz x && sha256sum "
                   "%s/bundles/evil.tar.gz | cut -c1-64 >%s/sum",
                   dir, dir, desk.stack->dir, desk.stack->dir, dir);
    own_mem char *sum = mem_printf("%s/sum", dir);
    own_mem char *url =
        mem_printf("file://%s/bundles/evil.tar.gz", desk.stack->dir);
    char sha[65] = "";
    const char *argv[] = {desk.podterm, "run", "--bundle", url,
                          "--sha256",   sha,   NULL};
    FILE *f;

    (void)arg;
    assert_int_equal(system(make), 0);
    f = fopen(sum, "r");
    assert_int_equal(fscanf(f, "%64s", sha), 1);
    fclose(f);
    seat_start(&desk.seat, argv, NULL, 80, 24, -1);
    desk_expect_end(125, SOON_MS);
    seat_expect(&desk.seat, "podterm: the bundle was refused", 0);
    assert_null(strstr(desk.seat.out, "\033]52"));
    assert_null(strchr(desk.seat.out, '\007'));
}

/* --- connections --- */

static void a_gateway_that_is_killed_costs_nothing(void **arg)
{
    (void)arg;
    desk_run(NULL, "echo go; i=0; while [ $i -lt 40 ]; do i=$((i+1)); "
                   "echo line-$i; sleep 0.05; done; read -r x; echo \"<$x>\"");
    seat_expect(&desk.seat, "line-3\r\n", SOON_MS);
    kill(gateway(), SIGKILL);
    seat_say(&desk.seat, "typed meanwhile\r");
    for (int i = 4; i <= 40; i++) {
        own_mem char *line = mem_printf("line-%d\r\n", i);

        seat_expect(&desk.seat, line, SOON_MS);
    }
    seat_expect(&desk.seat, "<typed meanwhile>", SOON_MS);
    desk_expect_end(0, SOON_MS);
}

/* Keep the gateway down until the client says that it has noticed. */
static void hold_down(void)
{
    const int64_t until = loop_now_ms() + SOON_MS;

    while (!seat_has(&desk.seat, "connection lost; the program goes on")) {
        pid_t pid = gateway();

        if (pid > 0)
            kill(pid, SIGKILL);
        assert_true(loop_now_ms() < until);
        seat_pass(&desk.seat, 20);
    }
}

static void a_long_loss_is_told_and_so_is_that_nothing_was_lost(void **arg)
{
    (void)arg;
    desk_run(NULL, "echo go; read -r x; echo \"<$x>\"");
    seat_expect(&desk.seat, "go\r\n", SOON_MS);
    hold_down();
    seat_expect(&desk.seat, "attached again: nothing was lost", SOON_MS);
    seat_say(&desk.seat, "x\r");
    seat_expect(&desk.seat, "<x>", SOON_MS);
    desk_expect_end(0, SOON_MS);
}

/* The note stood where the program had drawn. */
static void the_program_draws_anew_behind_a_note(void **arg)
{
    (void)arg;
    desk_run(NULL, "printf '\\033[?1049h'; trap 'stty size' WINCH; echo go; "
                   "while :; do sleep 0.01; done");
    seat_expect(&desk.seat, "go\r\n", SOON_MS);
    hold_down();
    seat_expect(&desk.seat, "attached again: nothing was lost", SOON_MS);
    seat_expect(&desk.seat, "30 99\r\n", SOON_MS);
    seat_expect(&desk.seat, "30 100\r\n", SOON_MS);
    seat_say(&desk.seat, "\003");
    desk_expect_end(130, SOON_MS);
    assert_null(strstr(desk.seat.out, "were skipped"));
}

static void ctrl_c_leaves_once_the_loss_was_told(void **arg)
{
    pid_t pid;

    (void)arg;
    desk_run(NULL, "echo go; sleep 100");
    seat_expect(&desk.seat, "go\r\n", SOON_MS);
    hold_down();
    seat_say(&desk.seat, "\003");
    desk_expect_end(130, SOON_MS);
    seat_expect(&desk.seat, "the session goes on", 0);
    expect_state("running");
    stack_delete(desk.stack, "tester", desk_session());
    for (int i = 0; (pid = gateway()) < 0 && i < 500; i++)
        poll(NULL, 0, 20);
    assert_true(pid > 0);
}

static void interrupts_are_heard_behind_a_paste_nobody_reads(void **arg)
{
    const size_t len = 300000;
    char *paste = mem_zero(len, 1);

    (void)arg;
    memset(paste, 'x', len);
    desk_run(NULL, "stty -icanon -echo; trap 'echo got-int' INT; echo go; "
                   "while :; do sleep 0.1; done");
    seat_expect(&desk.seat, "go\r\n", SOON_MS);
    seat_type(&desk.seat, paste, len);
    seat_say(&desk.seat, "\003");
    seat_expect(&desk.seat, "got-int", SOON_MS);
    seat_pass(&desk.seat, 300);
    assert_false(seat_has(&desk.seat, "got-int")); /* once */
    kill(desk.seat.pid, SIGTERM);
    desk_expect_end(143, SOON_MS);
    stack_delete(desk.stack, "tester", desk_session());
    free(paste);
}

#define T(f) cmocka_unit_test_teardown(f, desk_leave)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(a_program_has_the_terminal_and_its_code_is_ours),
        T(the_bundles_own_program_runs_without_a_command),
        T(a_signal_is_told_and_is_the_status),
        T(keys_go_to_the_program_as_they_are),
        T(a_resize_reaches_the_program),
        T(after_a_stop_the_terminal_is_raw_and_drawn_anew),
        T(a_client_begun_in_the_background_goes_on_in_front),
        T(output_is_filtered_unless_raw_is_asked_for),
        T(a_hangup_or_term_leaves_the_session_running),
        T(a_crash_of_the_client_restores_the_terminal),
        T(a_terminal_that_is_only_written_to_is_reset_too),
        T(another_attachment_takes_over_for_good),
        T(a_viewer_watches_and_leaves_with_ctrl_c),
        T(output_that_is_no_longer_kept_is_told),
        T(what_a_viewer_missed_is_told_at_the_end),
        T(ctrl_c_while_it_is_fetched_ends_the_session),
        T(ctrl_c_before_the_gateway_answers_ends_the_session),
        T(a_refused_bundle_is_told_in_a_sentence),
        T(names_in_a_hostile_bundle_do_not_reach_the_terminal),
        T(a_gateway_that_is_killed_costs_nothing),
        T(a_long_loss_is_told_and_so_is_that_nothing_was_lost),
        T(the_program_draws_anew_behind_a_note),
        T(ctrl_c_leaves_once_the_loss_was_told),
        T(interrupts_are_heard_behind_a_paste_nobody_reads),
    };

    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, desk_setup, desk_teardown);
}
