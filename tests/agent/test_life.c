/*
 * A session from its spec to its report: every end there is, with the real
 * agent, shim and programs. Kills: test_life_kills.c.
 */
#include "agent/life.h"

#include "base/loop.h"
#include "base/mem.h"
#include "base/own.h"
#include "base/proc.h"
#include "runner-image/shim.h"
#include "tests/lib/fileserver.h"
#include "tests/lib/onebox.h"
#include "tests/lib/programs.h"

#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define STATE_FILE_MAX (4 << 20)

static struct fileserver *server;

static int teardown(void **state)
{
    fileserver_stop(server);
    server = NULL;
    return box_teardown(state);
}

/* --- stopping --- */

static void a_shim_told_to_stop_says_so(void **state)
{
    struct agentlink *l;
    own_json struct json *report = NULL;
    int status;

    (void)state;
    l = box_owner("echo ready; exec sleep 100", NULL);
    agentlink_expect(l, "ready", MS);
    kill(box->shim, SIGTERM);
    agentlink_until(l, FRAME_EXIT, MS);
    assert_string_equal(l->reason, "runner_lost");
    assert_non_null(strstr(l->detail, "platform"));
    status = agentbox_wait_shim(box, 1500);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), LEAVE_STOPPED);
    report = box_ends(l, "runner_lost");
    agentlink_free(l);
}

static void a_stopped_agent_tells_everybody_and_goes(void **state)
{
    struct agentlink *l, *v;
    own_json struct json *report = NULL;
    int64_t start;
    int status;

    (void)state;
    l = box_owner("echo ready; exec sleep 100", NULL);
    agentlink_expect(l, "ready", MS);
    v = agentlink_new(box, ROLE_VIEWER, -1);
    start = loop_now_ms();
    kill(box->agent, SIGTERM);
    agentlink_until(l, FRAME_EXIT, MS);
    agentlink_until(v, FRAME_EXIT, MS);
    assert_string_equal(l->reason, "runner_lost");
    agentlink_refused(l, NULL, 1000);
    agentlink_refused(v, NULL, 1000);
    report = box_ends(l, "runner_lost");
    assert_true(loop_now_ms() - start < 1500);
    status = agentbox_wait_shim(box, MS);
    assert_int_equal(WEXITSTATUS(status), LEAVE_STOPPED);
    agentlink_free(l);
    agentlink_free(v);
}

static void a_stopped_agent_waits_for_no_reader(void **state)
{
    struct agentlink *l;
    own_json struct json *report = NULL;
    int64_t start;

    (void)state;
    l = box_owner(NUMBERS(9999999), NULL);
    l->auto_ack = false;
    l->take = numbers_take;
    agentlink_to(l, 65536, MS);
    start = loop_now_ms();
    kill(box->agent, SIGTERM);
    report = box_ends(l, "runner_lost");
    assert_true(loop_now_ms() - start < 2500);
    agentlink_free(l);
}

/* --- END --- */

static void an_end_hangs_up_first(void **state)
{
    struct agentlink *l;
    own_json struct json *report = NULL;

    (void)state;
    l = box_owner("trap 'echo bye; exit 9' HUP; echo ready; "
                  "while :; do sleep 0.02; done",
                  NULL);
    agentlink_expect(l, "ready", MS);
    agentlink_end(l);
    agentlink_expect(l, "bye", 1500);
    agentlink_until(l, FRAME_EXIT, MS);
    assert_string_equal(l->reason, "deleted");
    assert_int_equal(l->exit_code, 9);
    report = box_ends(l, "deleted");
    assert_int_equal(report_number(report, "exit_code"), 9);
    assert_int_equal(agentbox_wait_shim(box, MS), 0);
    agentlink_free(l);
}

static void what_ignores_the_hang_up_is_killed(void **state)
{
    struct agentlink *l;
    own_json struct json *report = NULL;
    int64_t start;

    (void)state;
    l = box_owner(
        "trap '' HUP TERM INT; echo ready; while :; do sleep 0.1; done", NULL);
    agentlink_expect(l, "ready", MS);
    start = loop_now_ms();
    agentlink_end(l);
    agentlink_until(l, FRAME_EXIT, MS);
    assert_in_range(loop_now_ms() - start, LIFE_KILL_MS - 100,
                    LIFE_KILL_MS + 2000);
    assert_string_equal(l->reason, "deleted");
    assert_int_equal(l->exit_signal, SIGKILL);
    report = box_ends(l, "deleted");
    agentlink_free(l);
}

/* Nobody reads, the ring is full, the program is stuck in a write. */
static void an_end_waits_for_no_reader(void **state)
{
    struct agentlink *l;
    own_json struct json *report = NULL;
    int64_t start;

    (void)state;
    l = box_owner(NUMBERS(9999999), "{\"ring_bytes\":131072,\"linger_s\":1,"
                                    "\"window_bytes\":65536}");
    l->auto_ack = false;
    l->take = numbers_take;
    agentlink_to(l, 65536, MS);
    poll(NULL, 0, 200);
    start = loop_now_ms();
    agentlink_end(l);
    report = box_ends(l, "deleted");
    /* at most: SIGKILL, the drain's limit, linger, leaving */
    assert_true(loop_now_ms() - start < 2 * LIFE_KILL_MS + 3000);
    agentlink_free(l);
}

static void a_deleted_session_nobody_looks_at_does_not_linger(void **state)
{
    struct agentlink *l, *control;
    own_json struct json *report = NULL;
    int64_t start;

    (void)state;
    l = box_owner("echo ready; exec sleep 100", NULL);
    l->auto_ack = false; /* what it saw stays unacknowledged */
    agentlink_expect(l, "ready", MS);
    agentlink_free(l);
    control = agentlink_new(box, ROLE_CONTROL, -1);
    start = loop_now_ms();
    agentlink_end(control);
    report = box_ends(control, "deleted");
    assert_true(loop_now_ms() - start < 2000); /* linger_detached_s is 120 */
    agentlink_free(control);
}

static void an_end_while_fetching_ends_at_once(void **state)
{
    static const struct fileserver_reply drip[] = {
        {.trick = FILESERVER_DRIP, .drip_bytes = 1000}};
    static uint8_t bytes[1 << 20];
    own_mem char *over = NULL;
    own_json struct json *report = NULL;
    struct agentlink *l;

    (void)state;
    server = fileserver_start(bytes, sizeof(bytes), drip, 1, NULL);
    over = mem_printf("{\"bundle\":{\"url\":\"http://127.0.0.1:%d/b?k=hunter2"
                      "\"}}",
                      fileserver_port(server));
    l = box_owner("exit", over);
    agentlink_until(l, FRAME_STAGE, MS);
    assert_string_equal(l->stage, "fetch");
    agentlink_run(l, 500);
    assert_true(l->stages >= 3);
    agentlink_end(l);
    agentlink_until(l, FRAME_EXIT, MS);
    assert_string_equal(l->reason, "deleted");
    report = box_ends(l, "deleted");
    assert_int_equal(report_number(report, "started_ms"), 0);
    assert_int_equal(agentbox_wait_shim(box, MS), 0);
    agentlink_free(l);
}

/* --- refusals --- */

static void a_refused_bundle_is_told_and_leaves_with_70(void **state)
{
    own_json struct json *report = NULL;
    own_mem char *over = mem_printf("{\"bundle\":{\"sha256\":\"%064d\"}}", 0);
    struct agentlink *l;
    int status;

    (void)state;
    box = agentbox_new_alone("exit", over);
    memset(box->sha256, '0', 64);
    l = agentlink_new(box, ROLE_OWNER, -1);
    agentbox_start_shim(box);
    if (!l->exits)
        agentlink_until(l, FRAME_EXIT, MS);
    assert_string_equal(l->reason, "bundle_refused");
    assert_non_null(strstr(l->detail, "SHA-256"));
    assert_non_null(strstr(l->detail, box->sha256));
    report = box_ends(l, "bundle_refused");
    assert_string_equal(json_get_str(report, "detail"), l->detail);
    status = agentbox_wait_shim(box, MS);
    assert_int_equal(WEXITSTATUS(status), LEAVE_BUNDLE_REFUSED);
    agentlink_free(l);
}

static void a_program_that_is_not_there_is_start_failed(void **state)
{
    own_json struct json *report = NULL;
    struct agentlink *l;
    int status;

    (void)state;
    l = box_owner("exit", "{\"command\":[\"no-such-program\"]}");
    if (!l->exits)
        agentlink_until(l, FRAME_EXIT, MS);
    assert_string_equal(l->reason, "start_failed");
    report = box_ends(l, "start_failed");
    assert_non_null(strstr(json_get_str(report, "detail"), "No such file"));
    status = agentbox_wait_shim(box, MS);
    assert_int_equal(WEXITSTATUS(status), LEAVE_START_FAILED);
    agentlink_free(l);
}

static void what_a_shim_leaves_with_outlives_the_agent(void **state)
{
    own_json struct json *report = NULL;
    struct agentlink *l;
    int status;

    (void)state;
    l = box_owner("exit", "{\"command\":[\"no-such-program\"],\"linger_s\":2,"
                          "\"linger_detached_s\":2}");
    l->auto_ack = false;
    if (!l->exits)
        agentlink_until(l, FRAME_EXIT, MS);
    l->peer->may_die = true;
    assert_int_equal(kill(agentbox_main(box, 0), SIGKILL), 0);
    report = box_ends(l, "start_failed");
    status = agentbox_wait_shim(box, MS);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), LEAVE_START_FAILED);
    agentlink_free(l);
}

/* --- a runner that was taken over --- */

/* The shim's cookie, while nobody has said it yet. */
static void read_cookie(uint8_t cookie[SHIM_COOKIE_BYTES])
{
    own_mem char *path = mem_printf("%s/ipc/%s", box->dir, SHIM_COOKIE);
    FILE *f = fopen(path, "r");

    assert_non_null(f);
    assert_int_equal(fread(cookie, 1, SHIM_COOKIE_BYTES, f), SHIM_COOKIE_BYTES);
    fclose(f);
}

/* As a shim that waits: HELLO, its answer, gone again. */
static void come_and_go(const uint8_t cookie[SHIM_COOKIE_BYTES])
{
    uint8_t msg[SHIM_LENGTH_BYTES + 1 + SHIM_HELLO_BYTES] = {
        0, 0, 0, 1 + SHIM_HELLO_BYTES, SHIM_HELLO, SHIM_VERSION, SHIM_WAITING};
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    own_fd int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    snprintf(to.sun_path, sizeof(to.sun_path), "%.80s/ipc/%s", box->dir,
             SHIM_SOCKET);
    assert_return_code(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
    memcpy(msg + sizeof(msg) - SHIM_COOKIE_BYTES, cookie, SHIM_COOKIE_BYTES);
    assert_int_equal(send(fd, msg, sizeof(msg), MSG_NOSIGNAL), sizeof(msg));
    assert_true(read(fd, msg, SHIM_LENGTH_BYTES + 1) > 0);
}

static int count_in_log(const char *text)
{
    own_mem char *path = mem_printf("%s/podterm-agent.log", box->dir);
    own_mem char *log = mem_zero(STATE_FILE_MAX, 1);
    FILE *f = fopen(path, "r");
    int n = 0;

    assert_non_null(f);
    assert_true(fread(log, 1, STATE_FILE_MAX - 1, f) > 0);
    fclose(f);
    for (const char *p = log; (p = strstr(p, text)); p++)
        n++;
    return n;
}

static void a_shim_that_comes_and_goes_does_not_fill_the_log(void **state)
{
    uint8_t cookie[SHIM_COOKIE_BYTES];
    int64_t start = loop_now_ms();
    int allowed;

    (void)state;
    box = agentbox_new_alone("exec sleep 100", NULL);
    read_cookie(cookie);
    for (int i = 0; i < 100; i++)
        come_and_go(cookie);
    allowed = 20 + (int)((loop_now_ms() - start) / 1000) + 1;
    assert_in_range(count_in_log("\"ev\":\"shim."), 1, allowed);
}

/* --- secrets --- */

static bool file_has(const char *path, const char *text)
{
    own_mem char *bytes = mem_zero(STATE_FILE_MAX, 1);
    FILE *f = fopen(path, "r");
    size_t len;

    if (!f)
        fail_msg("%s: not there", path);
    len = fread(bytes, 1, STATE_FILE_MAX, f);
    assert_in_range(len, 1, STATE_FILE_MAX - 1);
    fclose(f);
    return memmem(bytes, len, text, strlen(text)) != NULL;
}

static void the_environment_is_wiped_once_the_program_has_it(void **state)
{
    static const char secret[] = "hunter2-in-the-environment";
    own_mem char *path = NULL;
    struct agentlink *l;

    (void)state;
    box = agentbox_new_alone("echo ${#SECRET} ready; exec sleep 100",
                             "{\"env\":{\"SECRET\":"
                             "\"hunter2-in-the-environment\"}}");
    path = mem_printf("%s/agent/agent.state", box->dir);
    assert_true(file_has(path, secret)); /* a restart needs it until then */
    agentbox_start_shim(box);
    l = agentlink_new(box, ROLE_OWNER, -1);
    agentlink_expect(l, "26 ready", MS);
    assert_true(agentbox_status(box, "running", MS));
    assert_false(file_has(path, secret));
    agentlink_free(l);
}

/* Where the kernel shows it: no core, and root owns what /proc has of it. */
static void nobody_of_the_agents_user_looks_into_it(void **state)
{
    own_mem char *limits = NULL, *environ_of = NULL;
    struct rlimit core;
    struct stat st;
    pid_t pid;

    (void)state;
    getrlimit(RLIMIT_CORE, &core);
    box = agentbox_new("exec sleep 100", NULL);
    pid = agentbox_main(box, 0);
    limits = mem_printf("/proc/%d/limits", pid);
    environ_of = mem_printf("/proc/%d/environ", pid);
    if (core.rlim_max > 0)
        assert_true(file_has(limits, "Max core file size        0"
                                     "                    0 "));
    assert_int_equal(stat(environ_of, &st), 0);
    assert_int_equal(st.st_uid, 0);
    if (geteuid() != 0)
        assert_int_equal(access(environ_of, R_OK), -1);
}

static void is_called(pid_t pid, const char *name)
{
    own_mem char *path = mem_printf("/proc/%d/comm", pid);
    own_mem char *line = mem_printf("%s\n", name);

    if (!file_has(path, line))
        fail_msg("%s is not \"%s\"", path, name);
}

/* They are started by way of /proc/self/exe, which would be their name. */
static void ps_shows_who_is_who(void **state)
{
    own_mem char *exe = program_path("podterm-agent");
    char *argv[] = {"x", "--unpack", "1", "1", "1", "1", "1", NULL};
    struct proc_spawn how = {.path = exe,
                             .argv = argv,
                             .fds = (int[]){-1, -1, 2, -1, -1, -1},
                             .fd_count = 6};
    struct err e = {0};
    own_fd int fd = -1;
    pid_t pid;

    (void)state;
    box = agentbox_new("exec sleep 100", NULL);
    is_called(box->agent, "podterm-agent");
    is_called(agentbox_main(box, 0), "podterm-main");
    fd = proc_spawn(&how, &pid, &e);
    assert_true(fd >= 0);
    /* it has nothing to unpack and is gone, but not yet waited for */
    assert_int_equal(poll(&(struct pollfd){fd, POLLIN, 0}, 1, MS), 1);
    is_called(pid, "podterm-unpack");
    assert_int_equal(waitpid(pid, NULL, 0), pid);
}

/* --- the program's own end --- */

static void a_report_says_how_it_was(void **state)
{
    own_json struct json *report = NULL;
    struct agentlink *l;
    int64_t before = loop_wall_ms(), started, ended;

    (void)state;
    l = box_owner("stty raw -echo; printf 12345; read -r x; exit 42", NULL);
    agentlink_expect(l, "12345", MS);
    agentlink_says(l, "abc\n");
    agentlink_until(l, FRAME_EXIT, MS);
    report = box_ends(l, "exited");
    assert_int_equal(report_number(report, "exit_code"), 42);
    assert_int_equal(report_number(report, "output_bytes"), 5);
    assert_int_equal(report_number(report, "input_bytes"), 4);
    started = report_number(report, "started_ms");
    ended = report_number(report, "ended_ms");
    assert_true(before <= started && started <= ended &&
                ended <= loop_wall_ms());
    assert_null(json_get(report, "signal"));
    agentlink_free(l);
}

static void a_program_killed_by_a_signal_is_signalled(void **state)
{
    own_json struct json *report = NULL;

    (void)state;
    box = agentbox_new("kill -SEGV $$", "{\"linger_detached_s\":0}");
    report = agentbox_ends(box, "signalled", MS);
    assert_int_equal(report_number(report, "signal"), SIGSEGV);
}

static void an_owner_that_has_it_all_lets_the_agent_go(void **state)
{
    own_json struct json *report = NULL;
    struct agentlink *l;
    int64_t start;

    (void)state;
    l = box_owner("read -r x; echo done", "{\"linger_s\":60}");
    agentlink_says(l, "\r");
    agentlink_until(l, FRAME_EXIT, MS);
    start = loop_now_ms();
    agentlink_refused(l, NULL, 1000);
    report = box_ends(l, "exited");
    assert_true(loop_now_ms() - start < 1500);
    agentlink_free(l);
}

static void an_owner_that_does_not_acknowledge_is_lingered_for(void **state)
{
    own_json struct json *report = NULL;
    struct agentlink *l;
    int64_t start;

    (void)state;
    l = box_owner("read -r x; echo done", "{\"linger_s\":1}");
    l->auto_ack = false;
    agentlink_says(l, "\r");
    agentlink_until(l, FRAME_EXIT, MS);
    start = loop_now_ms();
    report = box_ends(l, "exited");
    assert_in_range(loop_now_ms() - start, 700, 3500);
    agentlink_free(l);
}

static void nobody_coming_is_lingered_for_once(void **state)
{
    own_json struct json *report = NULL;
    int64_t start = loop_now_ms();

    (void)state;
    box = agentbox_new("exit 0", "{\"linger_detached_s\":1}");
    report = agentbox_ends(box, "exited", MS);
    assert_in_range(loop_now_ms() - start, 1000, 4500);
}

#define T(name) cmocka_unit_test_teardown(name, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(a_shim_told_to_stop_says_so),
        T(a_stopped_agent_tells_everybody_and_goes),
        T(a_stopped_agent_waits_for_no_reader),
        T(an_end_hangs_up_first),
        T(what_ignores_the_hang_up_is_killed),
        T(an_end_waits_for_no_reader),
        T(a_deleted_session_nobody_looks_at_does_not_linger),
        T(an_end_while_fetching_ends_at_once),
        T(a_refused_bundle_is_told_and_leaves_with_70),
        T(a_program_that_is_not_there_is_start_failed),
        T(what_a_shim_leaves_with_outlives_the_agent),
        T(a_shim_that_comes_and_goes_does_not_fill_the_log),
        T(the_environment_is_wiped_once_the_program_has_it),
        T(nobody_of_the_agents_user_looks_into_it),
        T(ps_shows_who_is_who),
        T(a_report_says_how_it_was),
        T(a_program_killed_by_a_signal_is_signalled),
        T(an_owner_that_has_it_all_lets_the_agent_go),
        T(an_owner_that_does_not_acknowledge_is_lingered_for),
        T(nobody_coming_is_lingered_for_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
