/* How the program and the shim live and end: what is left behind, signals, an
 * agent that goes and comes back. */
#include "base/loop.h"
#include "base/mem.h"
#include "base/own.h"
#include "base/vocab.h"
#include "tests/lib/shimrig.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <stdarg.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

static bool is_gone(pid_t pid)
{
    int64_t until = loop_now_ms() + PATIENCE_MS;

    while (kill(pid, 0) == 0 && loop_now_ms() < until)
        usleep(1000);
    return kill(pid, 0) < 0 && errno == ESRCH;
}

/* A process by a mark in its command line; 0 when there is none. */
static pid_t find(const char *mark)
{
    own_mem char *cmd = mem_printf("pgrep -f '^%s$'", mark);
    FILE *f = popen(cmd, "r");
    int pid = 0;

    assert_non_null(f);
    if (fscanf(f, "%d", &pid) != 1)
        pid = 0;
    pclose(f);
    return pid;
}

/* --- its life --- */

static void a_background_child_does_not_hold_the_terminal(void **state)
{
    struct rig *r = rig_ready(state, true);
    own_mem char *out =
        rig_run_to_end(r,
                       "trap '' HUP; (setsid sleep 4241 &) ; sleep 4242 & "
                       "echo last line; exit 9",
                       9);

    assert_string_equal(out, "last line\r\n");
    assert_int_equal(find("sleep 4241"), 0);
    assert_int_equal(find("sleep 4242"), 0);
}

static void bare_it_ends_double_forked_children_too(void **state)
{
    struct rig *r = rig_ready(state, false);
    own_mem char *out = NULL;
    pid_t pid;

    rig_start(r, "(setsid sh -c 'trap \"\" HUP TERM; sleep 4243' &); echo up; "
                 "sleep 4244");
    out = rig_terminal(r, "up");
    while ((pid = find("sleep 4243")) == 0)
        usleep(1000);
    rig_say_byte(r, SHIM_LEAVE, 70);
    assert_int_equal(rig_end(r), 70);
    assert_true(is_gone(pid));
    assert_int_equal(find("sleep 4244"), 0);
}

static void output_stays_readable_after_the_shim_has_gone(void **state)
{
    struct rig *r = rig_ready(state, true);
    own_mem char *out = NULL;

    rig_start(r, "echo the very last words; exit 1");
    rig_expect_exit(r, SHIM_END_CODE, 1);
    kill(r->init, SIGKILL);
    assert_int_equal(rig_end(r), 128 + SIGKILL);
    out = rig_terminal(r, NULL);
    assert_string_equal(out, "the very last words\r\n");
}

static void orphans_are_reaped(void **state)
{
    struct rig *r = rig_ready(state, true);
    own_mem char *out = NULL;
    own_mem char *cmd = NULL;
    FILE *f;
    int zombies = -1;

    rig_start(r, "for i in 1 2 3 4 5; do (sh -c 'sleep 0.05' & ) ; done; "
                 "sleep 0.3; echo all gone; sleep 4245");
    out = rig_terminal(r, "all gone");
    cmd = mem_printf("ps -o stat= --ppid %d | grep -c Z", (int)r->init);
    f = popen(cmd, "r");
    assert_int_equal(fscanf(f, "%d", &zombies), 1);
    pclose(f);
    assert_int_equal(zombies, 0);
}

static void signals_reach_program_and_foreground(void **state)
{
    struct rig *r = rig_ready(state, true);
    own_mem char *out = NULL;

    /* an interactive shell gives its foreground job a group of its own */
    rig_start(r, "trap 'echo shell got it' USR1; set -m; "
                 "sh -c 'trap \"echo job got it; exit\" USR1; echo set; "
                 "while :; do sleep 0.01; done'; echo after; sleep 4246");
    free(rig_terminal(r, "set"));
    rig_say_byte(r, SHIM_SIGNAL, SIGUSR1);
    out = rig_terminal(r, "after");
    assert_non_null(strstr(out, "job got it"));
    assert_non_null(strstr(out, "shell got it"));
    rig_say_byte(r, SHIM_SIGNAL, SIGKILL);
    rig_expect_exit(r, SHIM_END_SIGNAL, SIGKILL);
}

static void sigterm_from_the_program_is_ignored(void **state)
{
    struct rig *r = rig_ready(state, true);
    own_mem char *out = rig_run_to_end(
        r, "kill -TERM 1; kill -KILL 1; kill -STOP 1; sleep 0.1; echo lives",
        0);

    assert_string_equal(out, "lives\r\n");
}

/* rt_sigqueueinfo(2) lets its caller say who sent the signal: nobody inside. */
static void sigterm_that_the_program_forges_is_ignored(void **state)
{
    struct rig *r = rig_ready(state, true);
    own_mem char *out = rig_run_to_end(
        r,
        "python3 -c 'import ctypes, struct\n"
        "for code in -1, -2, -60:\n"
        "    info = struct.pack(\"6i\", 15, 0, code, 0, 0, 0) + bytes(104)\n"
        "    print(ctypes.CDLL(None).syscall(129, 1, 15, info))'; "
        "sleep 0.2; echo lives",
        0);

    assert_string_equal(out, "0\r\n0\r\n0\r\nlives\r\n");
}

static void sigterm_from_outside_leaves_with_72_in_a_second(void **state)
{
    struct rig *r = rig_ready(state, true);
    int64_t from;

    rig_start(r, "trap '' TERM HUP; sleep 4247");
    from = loop_now_ms();
    kill(r->init, SIGTERM);
    rig_expect(r, SHIM_STOPPING);
    assert_int_equal(rig_end(r), LEAVE_STOPPED);
    assert_true(loop_now_ms() - from < 1000);
    assert_int_equal(find("sleep 4247"), 0);
}

static void bare_sigterm_leaves_with_72_and_nothing_left(void **state)
{
    struct rig *r = rig_ready(state, false);

    rig_start(r, "trap '' TERM HUP; sleep 4248");
    kill(r->pid, SIGTERM);
    rig_expect(r, SHIM_STOPPING);
    assert_int_equal(rig_end(r), LEAVE_STOPPED);
    assert_int_equal(find("sleep 4248"), 0);
}

static void stop_and_wait(pid_t pid)
{
    own_mem char *path = mem_printf("/proc/%d/stat", (int)pid);
    int64_t until = loop_now_ms() + PATIENCE_MS;
    char is = '?';

    assert_return_code(kill(pid, SIGSTOP), errno);
    while (is != 'T' && loop_now_ms() < until) {
        FILE *f = fopen(path, "re");

        assert_non_null(f);
        assert_int_equal(fscanf(f, "%*d (%*[^)]) %c", &is), 1);
        fclose(f);
    }
    assert_int_equal(is, 'T');
}

/* On a machine with much to do both wait for the shim: the agent has said
 * LEAVE and gone, and its keeper stops what is still there. */
static void a_leave_sent_before_sigterm_has_the_last_word(void **state)
{
    struct rig *r = rig_ready(state, true);

    rig_start(r, "sleep 4250"); /* after STARTED it looks at both anew */
    stop_and_wait(r->init);
    rig_say_byte(r, SHIM_LEAVE, 0);
    close(r->sock_fd);
    r->sock_fd = -1;
    kill(r->init, SIGTERM);
    kill(r->init, SIGCONT);
    assert_int_equal(rig_end(r), 0);
}

static void without_an_agent_it_leaves_with_71(void **state)
{
    struct rig *r = *state;
    int64_t from = loop_now_ms();

    rig_run(r, true, "300");
    assert_int_equal(rig_end(r), LEAVE_NO_AGENT);
    assert_true(loop_now_ms() - from >= 300);
    assert_true(loop_now_ms() - from < 3000);
}

static void an_agent_lost_for_too_long_ends_the_program(void **state)
{
    struct rig *r = *state;

    rig_listen(r);
    rig_run(r, true, "400");
    rig_accept(r);
    rig_start(r, "sleep 4249");
    close(r->listen_fd);
    close(r->sock_fd);
    r->listen_fd = r->sock_fd = -1;
    assert_int_equal(rig_end(r), LEAVE_NO_AGENT);
    assert_int_equal(find("sleep 4249"), 0);
}

static void a_lost_agent_gets_the_terminal_again(void **state)
{
    struct rig *r = rig_ready(state, true);
    own_mem char *out = NULL;

    rig_start(r, "echo one; read x; echo two; exit 4");
    free(rig_terminal(r, "one"));
    close(r->master_fd);
    r->master_fd = -1;
    for (int i = 0; i < 5; i++) {
        close(r->sock_fd);
        r->sock_fd = -1;
        rig_accept(r);
        assert_int_equal(r->state, SHIM_RUNNING);
        rig_expect(r, SHIM_STARTED);
    }
    assert_int_equal(write(r->master_fd, "\n", 1), 1);
    rig_expect_exit(r, SHIM_END_CODE, 4);
    close(r->sock_fd);
    r->sock_fd = -1;
    rig_accept(r);
    assert_int_equal(r->state, SHIM_ENDED);
    assert_int_equal(r->body[1], SHIM_ENDED);
    rig_expect(r, SHIM_STARTED);
    rig_expect_exit(r, SHIM_END_CODE, 4);
    out = rig_terminal(r, NULL);
    assert_non_null(strstr(out, "two"));
}

#define T(name) cmocka_unit_test_setup_teardown(name, rig_setup, rig_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(a_background_child_does_not_hold_the_terminal),
        T(bare_it_ends_double_forked_children_too),
        T(output_stays_readable_after_the_shim_has_gone),
        T(orphans_are_reaped),
        T(signals_reach_program_and_foreground),
        T(sigterm_from_the_program_is_ignored),
        T(sigterm_that_the_program_forges_is_ignored),
        T(sigterm_from_outside_leaves_with_72_in_a_second),
        T(bare_sigterm_leaves_with_72_and_nothing_left),
        T(a_leave_sent_before_sigterm_has_the_last_word),
        T(without_an_agent_it_leaves_with_71),
        T(an_agent_lost_for_too_long_ends_the_program),
        T(a_lost_agent_gets_the_terminal_again),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
