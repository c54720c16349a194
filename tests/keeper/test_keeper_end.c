/* However a session ends, by itself or by a kill of any of its parts, nothing
 * of it is left; in the cage and without one. */
#include "base/mem.h"
#include "base/own.h"
#include "base/loop.h"
#include "tests/lib/keeperrig.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

/* A living process whose command line is exactly that (words joined by
 * blanks); 0 when there is none. */
static pid_t find(const char *line)
{
    DIR *d = opendir("/proc");
    struct dirent *de;
    pid_t found = 0;

    while (!found && (de = readdir(d))) {
        char path[300], text[512] = "";
        own_fd int fd = -1;
        ssize_t n;

        snprintf(path, sizeof(path), "/proc/%s/cmdline", de->d_name);
        fd = atoi(de->d_name) > 1 ? open(path, O_RDONLY | O_CLOEXEC) : -1;
        n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
        for (ssize_t i = 0; i + 1 < n; i++)
            if (!text[i])
                text[i] = ' ';
        if (n > 0 && strcmp(text, line) == 0)
            found = atoi(de->d_name);
    }
    closedir(d);
    return found;
}

static void gone(const char *line)
{
    int64_t until = loop_now_us() + PATIENCE_MS * 1000;

    while (find(line) && loop_now_us() < until)
        usleep(1000);
    if (find(line))
        fail_msg("still there: %s", line);
}

/* A child that left its session and ignores what can be ignored; the script
 * goes on when it is there. */
#define STRAYS(n)                                                              \
    "(setsid sh -c 'trap \"\" HUP TERM INT; : >/tmp/up; "                      \
    "while :; do sleep " n "; done' </dev/null >/dev/null 2>&1 &); "           \
    "until [ -e /tmp/up ]; do sleep 0.01; done; "

static void double_forked_children_die_with_the_session(void **state)
{
    struct keeper_rig *r = *state;

    keeper_run(r, STRAYS("4301") "echo last", NULL);
    assert_int_equal(keeper_end(r), 0);
    gone("sleep 4301");
    keeper_shows(r, "last");
}

static void sigterm_ends_all_in_time(void **state)
{
    struct keeper_rig *r = *state;
    int64_t from;

    keeper_run(r,
               "#stay\n" STRAYS("4302") "trap '' TERM HUP; echo up; sleep 4303",
               NULL);
    keeper_shows(r, "up");
    from = loop_now_us();
    kill(r->pid, SIGTERM);
    assert_int_equal(keeper_end(r), 0);
    assert_true(loop_now_us() - from < 2500000);
    gone("sleep 4302");
    gone("sleep 4303");
    keeper_expect_runner(r, "{\"status\":\"exited\",\"value\":72}\n");
}

static void the_end_of_the_life_pipe_ends_all(void **state)
{
    static const char *const more[] = {"--life", NULL};
    struct keeper_rig *r = *state;

    keeper_run(r, "#stay\n" STRAYS("4304") "echo up; sleep 4305", more);
    keeper_shows(r, "up");
    close(r->life_fd);
    r->life_fd = -1;
    assert_int_equal(keeper_end(r), 0);
    gone("sleep 4304");
    gone("sleep 4305");
}

static void without_life_the_pipe_means_nothing(void **state)
{
    struct keeper_rig *r = *state;

    keeper_run(r, "echo up; sleep 0.3; echo done", NULL);
    keeper_shows(r, "up");
    close(r->life_fd);
    r->life_fd = -1;
    assert_int_equal(keeper_end(r), 0);
    keeper_shows(r, "done");
}

/* Gone, or a zombie that its new parent has not collected yet. */
static bool is_empty(const char *path)
{
    own_fd int fd = open(path, O_RDONLY | O_CLOEXEC);
    char c;

    return fd < 0 || read(fd, &c, 1) <= 0;
}

static void killing_the_keeper_leaves_nothing(void **state)
{
    struct keeper_rig *r = *state;
    own_mem char *cmdline = NULL;
    pid_t pid;

    keeper_run(r, "#stay\n" STRAYS("4306") "echo up; sleep 4307", NULL);
    keeper_shows(r, "up");
    pid = keeper_child_of(r->pid, "podterm-agent");
    assert_true(pid > 0);
    kill(r->pid, SIGKILL);
    assert_int_equal(keeper_end(r), 128 + SIGKILL);
    gone("sleep 4306");
    gone("sleep 4307");
    cmdline = mem_printf("/proc/%d/cmdline", (int)pid);
    for (int i = 0; i < PATIENCE_MS && !is_empty(cmdline); i++)
        usleep(1000);
    assert_true(is_empty(cmdline));
}

static void killing_bubblewrap_ends_all(void **state)
{
    struct keeper_rig *r = *state;

    keeper_run(r, "#stay\n" STRAYS("4308") "echo up; sleep 4309", NULL);
    keeper_shows(r, "up");
    kill(keeper_child_of(r->pid, "^bwrap"), SIGKILL);
    assert_int_equal(keeper_end(r), 0);
    gone("sleep 4308");
    gone("sleep 4309");
    keeper_expect_runner(r, "{\"status\":\"signalled\",\"value\":9}\n");
}

static void killing_the_shim_ends_all(void **state)
{
    struct keeper_rig *r = *state;
    pid_t bwrap;

    keeper_run(r, "#stay\n" STRAYS("4310") "echo up; sleep 4311", NULL);
    keeper_shows(r, "up");
    bwrap = keeper_child_of(r->pid, "^bwrap");
    kill(keeper_child_of(bwrap, "podterm/shim"), SIGKILL);
    assert_int_equal(keeper_end(r), 0);
    gone("sleep 4310");
    gone("sleep 4311");
    keeper_expect_runner(r, "{\"status\":\"signalled\",\"value\":9}\n");
}

static void killing_the_agent_ends_all(void **state)
{
    struct keeper_rig *r = *state;

    keeper_run(r, "#stay\n" STRAYS("4312") "echo up; sleep 4313", NULL);
    keeper_shows(r, "up");
    kill(keeper_child_of(r->pid, "podterm-agent"), SIGKILL);
    assert_int_equal(keeper_end(r), 0);
    gone("sleep 4312");
    gone("sleep 4313");
    keeper_expect_runner(r, "{\"status\":\"exited\",\"value\":72}\n");
}

static void an_agent_that_leaves_takes_the_runner_along(void **state)
{
    struct keeper_rig *r = *state;

    keeper_run(r, "#go\nsleep 4314", NULL);
    assert_int_equal(keeper_end(r), 0);
    gone("sleep 4314");
}

/* --- isolation none: what has no cage is still ended as one --- */

static const char *const bare[] = {"--isolation", "none", NULL};

#define BARE_STRAYS(n)                                                         \
    "(setsid sh -c 'trap \"\" HUP TERM INT; while :; do sleep " n "; done' "   \
    "</dev/null >/dev/null 2>&1 &); until pgrep -fx 'sleep " n                 \
    "' >/dev/null; "                                                           \
    "do sleep 0.01; done; "

static struct keeper_rig *bare_rig(void **state, const char *script)
{
    struct keeper_rig *r = *state;

    if (r->is_root) /* refused: see bad_settings_are_told */
        skip();
    keeper_run(r, script, bare);
    return r;
}

static void bare_a_session_runs_to_its_end(void **state)
{
    struct keeper_rig *r = bare_rig(state, BARE_STRAYS("4321") "echo last");

    assert_int_equal(keeper_end(r), 0);
    keeper_shows(r, "last\r\n");
    gone("sleep 4321");
    keeper_expect_runner(r, "{\"status\":\"exited\",\"value\":0}\n");
}

static void bare_sigterm_ends_all(void **state)
{
    struct keeper_rig *r =
        bare_rig(state, "#stay\n" BARE_STRAYS("4322") "echo up; "
                                                      "sleep 4323");

    keeper_shows(r, "up");
    kill(r->pid, SIGTERM);
    assert_int_equal(keeper_end(r), 0);
    gone("sleep 4322");
    gone("sleep 4323");
    keeper_expect_runner(r, "{\"status\":\"exited\",\"value\":72}\n");
}

static void bare_killing_the_keeper_leaves_nothing(void **state)
{
    struct keeper_rig *r =
        bare_rig(state, "#stay\n" BARE_STRAYS("4324") "echo up; "
                                                      "sleep 4325");

    keeper_shows(r, "up");
    kill(r->pid, SIGKILL);
    assert_int_equal(keeper_end(r), 128 + SIGKILL);
    gone("sleep 4324");
    gone("sleep 4325");
}

static void bare_killing_the_shim_leaves_nothing(void **state)
{
    struct keeper_rig *r =
        bare_rig(state, "#stay\n" BARE_STRAYS("4326") "echo up; "
                                                      "sleep 4327");

    keeper_shows(r, "up");
    kill(keeper_child_of(r->pid, "^podterm-shim"), SIGKILL);
    assert_int_equal(keeper_end(r), 0);
    gone("sleep 4326");
    gone("sleep 4327");
    keeper_expect_runner(r, "{\"status\":\"signalled\",\"value\":9}\n");
}

static void a_directory_that_is_gone_ends_it_at_once(void **state)
{
    struct keeper_rig *r = *state;
    own_mem char *spec = mem_printf("%s/agent/spec.json", r->dir);
    own_mem char *away = mem_printf("%s/away", r->state);

    keeper_put_file(spec, "true", AGENT_UID);
    unlink(spec);
    assert_return_code(rename(r->dir, away), errno);
    r->pid = fork();
    if (r->pid == 0) {
        execl(keeper_path, keeper_path, "--dir", r->dir, "--agent",
              keeper_self_path, "--shim", keeper_shim_path,
              r->is_root ? "--agent-uid" : NULL, "71001", "--runner-uid",
              "71002", NULL);
        _exit(99);
    }
    assert_int_equal(keeper_end(r), 1);
}

/* All of this once more as an ordinary user. */
static void all_of_it_holds_for_an_ordinary_user_too(void **state)
{
    (void)state;
    keeper_as_ordinary_user();
}

#define T(name)                                                                \
    cmocka_unit_test_setup_teardown(name, keeper_setup, keeper_teardown)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        T(double_forked_children_die_with_the_session),
        T(sigterm_ends_all_in_time),
        T(the_end_of_the_life_pipe_ends_all),
        T(without_life_the_pipe_means_nothing),
        T(killing_the_keeper_leaves_nothing),
        T(killing_bubblewrap_ends_all),
        T(killing_the_shim_ends_all),
        T(killing_the_agent_ends_all),
        T(an_agent_that_leaves_takes_the_runner_along),
        T(bare_a_session_runs_to_its_end),
        T(bare_sigterm_ends_all),
        T(bare_killing_the_keeper_leaves_nothing),
        T(bare_killing_the_shim_leaves_nothing),
        T(a_directory_that_is_gone_ends_it_at_once),
        T(all_of_it_holds_for_an_ordinary_user_too),
    };
    int status;

    if (keeper_role(argc, argv, &status))
        return status;
    return cmocka_run_group_tests(tests, keeper_group_setup,
                                  keeper_group_teardown);
}
