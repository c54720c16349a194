/*
 * A session's life as the controller sees it, with the fake keeper: start,
 * every way to end, kill -9 and restart, and nothing left behind.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/loop.h"
#include "base/mem.h"
#include "tests/lib/api.h"
#include "tests/lib/fake_keeper.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define SESSION "/api/sessions/{id}"

static struct api api;
static char *alice;
static char sid[27];

static void nap_ms(int ms)
{
    struct timespec t = {ms / 1000, (ms % 1000) * 1000000L};

    nanosleep(&t, NULL);
}

static void start(const char *const *extra)
{
    free(alice);
    alice = NULL;
    api_start(&api, extra);
    alice = api_identity(&api, "alice");
}

static int setup(void **state)
{
    (void)state;
    start(NULL);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    free(alice);
    alice = NULL;
    if (api.server.pid)
        api_finish(&api);
    return 0;
}

static void assert_end(const char *reason, int exit_code)
{
    struct json *j = api_wait(&api, alice, sid, "ended");
    int64_t code = -1;

    assert_string_equal(json_get_str(j, "reason"), reason);
    json_get_int(j, "exit_code", &code);
    assert_int_equal(code, exit_code);
    assert_non_null(json_get_str(j, "ended_at"));
    json_free(j);
}

static bool has_directory(void)
{
    char path[160];
    struct stat st;

    snprintf(path, sizeof path, "%s/sessions/%s", api.state, sid);
    return lstat(path, &st) == 0;
}

static void assert_nothing_left(void)
{
    assert_false(has_directory());
}

static int delete_it(void)
{
    return api_status(&api, "DELETE", SESSION, sid, alice, NULL);
}

static int64_t ms_since(int64_t begun)
{
    return loop_now_ms() - begun;
}

/* --- start --- */

static void a_session_runs_and_tells_its_stages(void **state)
{
    static const char *const want[] = {"admitted", "scheduled", "pulled"};
    int64_t begun = loop_now_ms();
    const struct json *stages;
    struct json *j;

    (void)state;
    api_create(&api, alice, "", sid);
    j = api_wait(&api, alice, sid, "running");
    assert_true(ms_since(begun) < 1000);
    stages = json_get(j, "stages");
    assert_int_equal(json_count(stages), 3);
    for (size_t i = 0; i < 3; i++)
        assert_string_equal(json_get_str(json_at(stages, i), "stage"), want[i]);
    assert_string_equal(json_get_str(j, "isolation"), "full");
    assert_non_null(json_get_str(j, "started_at"));
    json_free(j);
}

static void key_and_environment_are_not_in_the_keepers_argv(void **state)
{
    char path[64], text[8192];
    ssize_t n;
    int fd, pid;

    (void)state;
    api_create(&api, alice, "", sid);
    json_free(api_wait(&api, alice, sid, "running"));
    pid = api_keeper(&api, sid);
    snprintf(path, sizeof path, "/proc/%d/cmdline", pid);
    fd = open(path, O_RDONLY);
    n = read(fd, text, sizeof text);
    close(fd);
    assert_true(n > 0);
    assert_null(memmem(text, (size_t)n, "hunter2", 7));
    snprintf(path, sizeof path, "/proc/%d/environ", pid);
    fd = open(path, O_RDONLY);
    assert_int_equal(read(fd, text, sizeof text), 0);
    close(fd);
}

/* --- every end --- */

static void a_programs_own_end_is_recorded(void **state)
{
    (void)state;
    api_create(&api, alice, "exit", sid);
    assert_end("exited", 3);
    assert_nothing_left();
}

static void a_report_that_lies_is_not_believed(void **state)
{
    (void)state;
    api_create(&api, alice, "liar", sid);
    assert_end("runner_lost", -1);
    assert_nothing_left();
}

static void an_agent_that_babbles_does_not_fill_the_log(void **state)
{
    static char log[262144];
    size_t used = 0;
    int lines = 0;
    int64_t quiet_at;

    (void)state;
    api_create(&api, alice, "babbler", sid);
    quiet_at = loop_now_ms() + 1500;
    while (loop_now_ms() < quiet_at) {
        size_t got = rest_log(&api.server, log + used, sizeof log - used);

        used += got;
        if (got)
            quiet_at = loop_now_ms() + 1500;
        nap_ms(5);
    }
    for (char *p = log; (p = strstr(p, "\"ev\":\"agent.status\"")); p++) {
        char *end = strchr(p, '\n'), *named = strstr(p, sid);

        assert_true(end && named && named < end);
        lines++;
    }
    assert_in_range(lines, 1, 30); /* of 300 */
}

static void a_killed_keeper_is_runner_lost(void **state)
{
    (void)state;
    api_create(&api, alice, "die", sid);
    assert_end("runner_lost", -1);
    assert_nothing_left();
}

static void delete_asks_the_agent_first(void **state)
{
    int64_t begun;
    struct json *j;
    int64_t bytes = 0;

    (void)state;
    api_create(&api, alice, "", sid);
    json_free(api_wait(&api, alice, sid, "running"));
    begun = loop_now_ms();
    assert_int_equal(delete_it(), 202);
    assert_end("deleted", -1);
    assert_true(ms_since(begun) < 3000);
    j = api_get(&api, alice, sid);
    json_get_int(j, "output_bytes", &bytes);
    assert_int_equal(bytes, 5); /* the agent's own report */
    json_free(j);
    assert_int_equal(delete_it(), 200);
    assert_nothing_left();
}

static void delete_does_not_wait_for_a_deaf_agent_for_ever(void **state)
{
    int64_t begun;

    (void)state;
    api_create(&api, alice, "deaf", sid);
    json_free(api_wait(&api, alice, sid, "running"));
    begun = loop_now_ms();
    assert_int_equal(delete_it(), 202);
    assert_int_equal(delete_it(), 202); /* again is fine */
    assert_end("deleted", -1);
    assert_in_range(ms_since(begun), 4500, 7500);
    assert_nothing_left();
}

static void delete_of_a_pending_session_is_at_once(void **state)
{
    int64_t begun = loop_now_ms();

    (void)state;
    api_create(&api, alice, "pending", sid);
    assert_int_equal(delete_it(), 202);
    assert_end("deleted", -1);
    assert_true(ms_since(begun) < 3000);
    assert_nothing_left();
}

static void a_keeper_that_ignores_sigterm_is_killed(void **state)
{
    (void)state;
    api_create(&api, alice, "stubborn", sid);
    while (api_keeper(&api, sid) < 0)
        nap_ms(10);
    nap_ms(100); /* SIGTERM is ignored by now */
    assert_int_equal(delete_it(), 202);
    assert_end("deleted", -1);
    assert_nothing_left();
}

static void a_start_that_takes_too_long_is_start_failed(void **state)
{
    static const char *const extra[] = {"--start-timeout-s", "1", NULL};

    (void)state;
    rest_stop(&api.server, SIGTERM);
    start(extra);
    api_create(&api, alice, "pending", sid);
    assert_end("start_failed", -1);
    assert_nothing_left();
}

/* --- the controller goes and comes --- */

static void sessions_survive_kill_9_and_are_taken_up(void **state)
{
    struct json *j;
    int pid;

    (void)state;
    api_create(&api, alice, "", sid);
    json_free(api_wait(&api, alice, sid, "running"));
    pid = api_keeper(&api, sid);
    rest_stop(&api.server, SIGKILL);
    assert_true(api_is_alive(pid));
    start(NULL);
    j = api_get(&api, alice, sid);
    assert_string_equal(json_get_str(j, "state"), "running");
    json_free(j);
    assert_int_equal(api_keeper(&api, sid), pid);
    assert_int_equal(delete_it(), 202);
    assert_end("deleted", -1);
    assert_nothing_left();
}

static void an_end_while_the_controller_was_away_is_recorded(void **state)
{
    int pid;

    (void)state;
    api_create(&api, alice, "", sid);
    json_free(api_wait(&api, alice, sid, "running"));
    pid = api_keeper(&api, sid);
    rest_stop(&api.server, SIGKILL);
    kill(pid, SIGKILL);
    start(NULL);
    assert_end("runner_lost", -1);
    assert_nothing_left();
}

static void a_session_that_starts_meanwhile_is_running_after(void **state)
{
    int pid;

    (void)state;
    api_create(&api, alice, "", sid);
    rest_stop(&api.server, SIGKILL); /* perhaps before the keeper is there */
    nap_ms(300);
    pid = api_keeper(&api, sid);
    start(NULL);
    if (pid > 0) {
        json_free(api_wait(&api, alice, sid, "running"));
        return;
    }
    assert_end("runner_lost", -1);
    assert_nothing_left();
}

static void a_wanted_end_is_gone_on_with(void **state)
{
    (void)state;
    api_create(&api, alice, "deaf", sid);
    json_free(api_wait(&api, alice, sid, "running"));
    assert_int_equal(delete_it(), 202);
    rest_stop(&api.server, SIGKILL);
    start(NULL);
    assert_end("deleted", -1);
    assert_nothing_left();
}

static void unknown_directories_are_removed_with_their_keeper(void **state)
{
    char line[256];
    int pid;

    (void)state;
    api_create(&api, alice, "", sid);
    json_free(api_wait(&api, alice, sid, "running"));
    pid = api_keeper(&api, sid);
    rest_stop(&api.server, SIGKILL);
    snprintf(line, sizeof line,
             "rm %s/podterm.db*; "
             "mkdir -p %s/sessions/.gone-aaaaaaaaaaaaaaaaaaaaaaaaaa/d",
             api.state, api.state);
    assert_int_equal(system(line), 0);
    start(NULL);
    /* its name is gone at once, its content by a thread of its own */
    snprintf(line, sizeof line, "[ -z \"$(ls -A %s/sessions)\" ]", api.state);
    for (int i = 0; i < 500 && system(line); i++)
        nap_ms(10);
    assert_int_equal(system(line), 0);
    assert_nothing_left();
    assert_false(api_is_alive(pid));
}

static void names_no_launcher_makes_are_left_alone_and_told_once(void **state)
{
    static const char strange[] = "sessions.strange";
    char line[512], log[16384] = "", *first;

    (void)state;
    rest_stop(&api.server, SIGTERM);
    snprintf(line, sizeof line,
             "cd %s/sessions && mkdir -p .gone-x/d nonsense/d .gone- && "
             "touch nonsense/precious",
             api.state);
    assert_int_equal(system(line), 0);
    start(NULL);
    api_create(&api, alice, "exit", sid); /* it has long looked by then */
    assert_end("exited", 3);
    rest_log(&api.server, log, sizeof log);
    /* the start's lines are in api.log, later ones here */
    first = strstr(api.log, strange);
    if (!first)
        first = strstr(log, strange);
    assert_non_null(first);
    assert_null(strstr(first + 1, strange));
    snprintf(line, sizeof line,
             "cd %s/sessions && [ -d .gone-x/d -a -f nonsense/precious -a "
             "-d .gone- ] && rm -r .gone-x nonsense .gone-",
             api.state);
    assert_int_equal(system(line), 0);
}

static void a_reused_pid_is_never_taken_for_the_keeper(void **state)
{
    char path[160], text[256];
    pid_t other = fork();
    int fd;

    (void)state;
    if (other == 0) {
        for (;;)
            pause();
    }
    api_create(&api, alice, "", sid);
    json_free(api_wait(&api, alice, sid, "running"));
    rest_stop(&api.server, SIGKILL);
    kill(api_keeper(&api, sid), SIGKILL);
    /* the pid is there again, as another process */
    snprintf(path, sizeof path, "%s/sessions/%s/keeper.json", api.state, sid);
    snprintf(text, sizeof text,
             "{\"pid\":%d,\"start\":1,\"boot_id\":"
             "\"00000000-0000-0000-0000-000000000000\"}",
             (int)other);
    fd = open(path, O_WRONLY | O_TRUNC);
    assert_true(write(fd, text, strlen(text)) > 0);
    close(fd);
    start(NULL);
    assert_end("runner_lost", -1);
    assert_true(api_is_alive(other));
    kill(other, SIGKILL);
}

static void withdrawing_a_signing_key_ends_who_trusts_it(void **state)
{
    char line[160];

    (void)state;
    api_create(&api, alice, "", sid);
    json_free(api_wait(&api, alice, sid, "running"));
    rest_stop(&api.server, SIGTERM);
    snprintf(line, sizeof line, "rm %s/keys/signer.pem", api.state);
    assert_int_equal(system(line), 0);
    start(NULL);
    assert_end("runner_lost", -1);
    assert_nothing_left();
}

static void with_a_life_pipe_nothing_outlives_it(void **state)
{
    char number[16];
    const char *const extra[] = {"--life-fd", number, NULL};
    int ends[2], pid;

    (void)state;
    rest_stop(&api.server, SIGTERM);
    assert_int_equal(pipe(ends), 0);
    fcntl(ends[1], F_SETFD, FD_CLOEXEC);
    snprintf(number, sizeof number, "%d", ends[0]);
    start(extra);
    close(ends[0]);
    api_create(&api, alice, "", sid);
    json_free(api_wait(&api, alice, sid, "running"));
    pid = api_keeper(&api, sid);
    close(ends[1]);
    for (int i = 0; i < 500 && has_directory(); i++)
        nap_ms(10);
    assert_nothing_left();
    assert_false(api_is_alive(pid));
    rest_stop(&api.server, 0); /* it leaves by itself */
    start(NULL);
    assert_end("runner_lost", -1);
}

static void many_at_once_leave_nothing(void **state)
{
    static const char *const extra[] = {"--quota", "100", NULL};
    enum { COUNT = 60 };
    char sids[COUNT][27];

    (void)state;
    rest_stop(&api.server, SIGTERM);
    start(extra);
    for (int i = 0; i < COUNT; i++)
        api_create(&api, alice, i % 3 ? "exit" : "pending", sids[i]);
    for (int i = 0; i < COUNT; i++) {
        memcpy(sid, sids[i], 27);
        if (i % 3 == 0)
            assert_int_equal(delete_it(), 202);
    }
    for (int i = 0; i < COUNT; i++) {
        memcpy(sid, sids[i], 27);
        json_free(api_wait(&api, alice, sid, "ended"));
        assert_nothing_left();
    }
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        T(a_session_runs_and_tells_its_stages),
        T(key_and_environment_are_not_in_the_keepers_argv),
        T(a_programs_own_end_is_recorded),
        T(a_report_that_lies_is_not_believed),
        T(an_agent_that_babbles_does_not_fill_the_log),
        T(a_killed_keeper_is_runner_lost),
        T(delete_asks_the_agent_first),
        T(delete_does_not_wait_for_a_deaf_agent_for_ever),
        T(delete_of_a_pending_session_is_at_once),
        T(a_keeper_that_ignores_sigterm_is_killed),
        T(a_start_that_takes_too_long_is_start_failed),
        T(sessions_survive_kill_9_and_are_taken_up),
        T(an_end_while_the_controller_was_away_is_recorded),
        T(a_session_that_starts_meanwhile_is_running_after),
        T(a_wanted_end_is_gone_on_with),
        T(unknown_directories_are_removed_with_their_keeper),
        T(names_no_launcher_makes_are_left_alone_and_told_once),
        T(a_reused_pid_is_never_taken_for_the_keeper),
        T(withdrawing_a_signing_key_ends_who_trusts_it),
        T(with_a_life_pipe_nothing_outlives_it),
        T(many_at_once_leave_nothing),
    };

    fake_keeper_maybe(argc, argv);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
