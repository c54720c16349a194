/*
 * kill -9 of a session's processes in its pod, on a cluster of the tests' own:
 * the program lives on, and its terminal comes back without a byte lost or
 * doubled either way; or all of it ends together.
 */
#include "base/loop.h"
#include "base/mem.h"
#include "base/own.h"
#include "controller/activate.h"
#include "controller/keys.h"
#include "controller/podview.h"
#include "tests/lib/clusterfiles.h"
#include "tests/lib/clusterrun.h"
#include "tests/lib/lines.h"
#include "tests/lib/skipped.h"

#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define SAID_MAX (1 << 20)
#define KILLS 10
#define BACK_MS 1000     /* what is promised of the agent's main process */
#define LOADED_MS 4000   /* and more for one of ten, on a loaded machine */
#define KUBELET_MS 40000 /* for a container to be started again */
#define WARM_MS 60000
#define ISSUER "podterm-controller"

static struct clusterbed *bed;
static struct stack_bundle counter;

/* Numbered lines, a hundred a second; at last all that was typed. */
static const char counter_text[] =
    "#include <poll.h>\n#include <stdio.h>\n#include <string.h>\n"
    "#include <termios.h>\n#include <unistd.h>\n"
    "static char got[65536];\n"
    "int main(void)\n{\n"
    "    struct pollfd p = {0, POLLIN, 0};\n    struct termios t;\n"
    "    size_t n = 0;\n"
    "    tcgetattr(0, &t);\n    t.c_lflag &= ~(tcflag_t)ECHO;\n"
    "    tcsetattr(0, TCSANOW, &t);\n"
    "    for (unsigned i = 1; !strstr(got, \"end,\"); i++) {\n"
    "        printf(\"%u\\n\", i);\n        fflush(stdout);\n"
    "        if (poll(&p, 1, 10) > 0) {\n"
    "            ssize_t r = read(0, got + n, sizeof got - 1 - n);\n"
    "            if (r <= 0)\n                return 1;\n"
    "            n += (size_t)r;\n            got[n - 1] = ',';\n        }\n"
    "    }\n"
    "    printf(\"got:%s\\n\", got);\n    return 7;\n}\n";

static int setup(void **arg)
{
    static const char *const more[] = {"--warm-target", "0", NULL};

    (void)arg;
    if (!getenv("PODTERM_CLUSTER"))
        return 0;
    bed = clusterbed_new(NULL, more);
    clusterfiles_compile(bed, "counter", counter_text, &counter);
    return 0;
}

static int teardown(void **arg)
{
    (void)arg;
    clusterbed_free(bed);
    return 0;
}

/* --- a session that is looked at --- */

struct watched {
    struct stack_session ss;
    struct stack_link link;
    struct lines lines;
    struct buf said;  /* what came after the lines */
    struct buf typed; /* all of it, so that what was not taken is sent again */
    int64_t killed_ms;
};

static void take(void *arg, const uint8_t *p, size_t len)
{
    struct watched *w = arg;
    const uint8_t *got = w->said.len ? p : memchr(p, 'g', len);
    size_t n = got ? (size_t)(got - p) : len;

    lines_take(&w->lines, p, n);
    assert_int_equal(buf_append(&w->said, p + n, len - n), 0);
}

static void send_typed(struct watched *w)
{
    const uint64_t from = w->link.input_acked;

    if (w->typed.len > from)
        stack_type(&w->link, from, w->typed.data + from, w->typed.len - from);
}

/* Again and again until it goes, as a client does. */
static void attach(struct watched *w, int ms)
{
    int64_t until = loop_now_ms() + ms;

    stack_cut(&w->link);
    for (;;) {
        int status = 0;
        own_mem char *token =
            stack_token(&bed->stack, "ann", w->ss.sid, "owner", &status);

        if (token && stack_attach(&bed->stack, &w->link, token,
                                  (int64_t)w->link.output, 0, 0))
            break;
        if (loop_now_ms() > until)
            fail_msg("%s cannot be attached (%d): %s %s", w->ss.sid, status,
                     w->link.error, w->link.said);
        poll(NULL, 0, 10);
    }
    send_typed(w);
}

static void follow(struct watched *w, unsigned more)
{
    unsigned until = w->lines.last + more;

    while (w->lines.last < until)
        if (!w->link.peer || !stack_pump(&w->link, take, w, true))
            attach(w, KUBELET_MS);
}

static void begin(struct watched *w)
{
    *w = (struct watched){0};
    buf_init(&w->said, SAID_MAX);
    buf_init(&w->typed, SAID_MAX);
    stack_create(&bed->stack, "ann", &counter, "", &w->ss);
    clusterbed_attach(bed, &w->link, &w->ss, 0);
    follow(w, 3);
}

static void type(struct watched *w, const char *line)
{
    const size_t from = w->typed.len;

    assert_int_equal(buf_append(&w->typed, line, strlen(line)), 0);
    stack_type(&w->link, from, line, strlen(line));
}

/* And wait until it is the program's: what a write(2) had under way when the
 * agent was killed may come twice (agent/state.h). */
static void type_taken(struct watched *w, const char *line)
{
    type(w, line);
    while (w->link.input_acked < w->typed.len)
        assert_true(stack_pump(&w->link, take, w, true));
}

static void leave(struct watched *w)
{
    stack_cut(&w->link);
    stack_session_fini(&w->ss);
    buf_fini(&w->said);
    buf_fini(&w->typed);
}

/* It ends by itself, and had been given all that was typed, once. */
static void finish(struct watched *w, const char *got)
{
    own_json struct json *j = NULL;
    own_mem char *want = mem_printf("got:%send,\r\n", got);
    int64_t code = -1;

    type(w, "end\n");
    while (!w->link.is_ended)
        if (!stack_pump(&w->link, take, w, true))
            attach(w, KUBELET_MS);
    assert_string_equal(buf_cstr(&w->said), want);
    assert_string_equal(w->link.reason, "exited");
    stack_cut(&w->link);
    j = stack_wait(&bed->stack, "ann", w->ss.sid, "ended", 20000);
    assert_string_equal(json_get_str(j, "reason"), "exited");
    assert_int_equal(json_get_int(j, "exit_code", &code), 0);
    assert_int_equal(code, 7);
    leave(w);
}

/* --- its processes --- */

static pid_t process(const struct watched *w, const char *name,
                     const char *flag)
{
    pid_t pid = clusterbed_process(bed, w->ss.sid, name, flag);

    if (pid <= 1)
        fail_msg("no process %s %s of %s", name, flag ? flag : "", w->ss.sid);
    return pid;
}

static pid_t program_of(const struct watched *w)
{
    return process(w, "root/bin/prog", NULL);
}

static pid_t main_of(const struct watched *w)
{
    return process(w, "podterm-agent", "--main");
}

static pid_t parent_of(pid_t pid)
{
    own_mem char *path = mem_printf("/proc/%d/stat", (int)pid);
    FILE *f = fopen(path, "r");
    int parent = 0;

    assert_non_null(f);
    assert_int_equal(fscanf(f, "%*d (%*[^)]) %*c %d", &parent), 1);
    fclose(f);
    return parent;
}

static void kill_hard(struct watched *w, pid_t pid)
{
    w->killed_ms = loop_now_ms();
    assert_int_equal(kill(pid, SIGKILL), 0);
}

/* Until its terminal is there again; how long that took. */
static int64_t comes_back(struct watched *w)
{
    while (stack_pump(&w->link, take, w, true))
        ;
    attach(w, KUBELET_MS);
    follow(w, 1);
    return loop_now_ms() - w->killed_ms;
}

/* --- each --- */

static void main_killed(struct watched *w, struct buf *got)
{
    pid_t program = program_of(w);
    int late = 0;

    for (int i = 0; i < KILLS; i++) {
        own_mem char *taken = mem_printf("taken %d\n", i);
        own_mem char *lost = mem_printf("lost %d\n", i);
        pid_t before = main_of(w);
        int64_t ms;

        type_taken(w, taken);
        kill_hard(w, before);
        type(w, lost);
        buf_printf(got, "taken %d,lost %d,", i, i);
        ms = comes_back(w);
        print_message("back %lld ms after the kill\n", (long long)ms);
        late += ms > BACK_MS;
        assert_in_range(ms, 0, LOADED_MS);
        assert_int_equal(program_of(w), program);
        assert_int_not_equal(main_of(w), before);
        follow(w, 20);
    }
    assert_in_range(late, 0, 1);
}

static void an_agent_killed_ten_times_gives_the_terminal_back(void **arg)
{
    struct watched w;
    struct buf got;

    (void)arg;
    if (!bed)
        skipped("its processes are of other machines");
    buf_init(&got, SAID_MAX);
    begin(&w);
    main_killed(&w, &got);
    finish(&w, buf_cstr(&got));
    buf_fini(&got);
}

static void container_killed(struct watched *w)
{
    pid_t program = program_of(w), supervisor = parent_of(main_of(w));
    int64_t ms;

    kill_hard(w, supervisor);
    ms = comes_back(w);
    print_message("back %lld ms after its container was killed\n",
                  (long long)ms);
    assert_int_equal(program_of(w), program);
    assert_int_not_equal(parent_of(main_of(w)), supervisor);
}

static void an_agents_container_killed_gives_the_terminal_back(void **arg)
{
    own_json struct json *j = NULL;
    struct watched w;

    (void)arg;
    if (!bed)
        skipped("its processes are of other machines");
    begin(&w);
    type_taken(&w, "before\n");
    container_killed(&w);
    follow(&w, 50);
    j = stack_get(&bed->stack, "ann", w.ss.sid);
    assert_string_equal(json_get_str(j, "state"), "running");
    finish(&w, "before,");
}

static void a_killed_shim_ends_the_session_and_all_its_processes(void **arg)
{
    own_json struct json *j = NULL;
    struct watched w;
    pid_t program;

    (void)arg;
    if (!bed)
        skipped("its processes are of other machines");
    begin(&w);
    program = program_of(&w);
    kill_hard(&w, process(&w, "/run/podterm/ipc/shim", NULL));
    while (!w.link.is_ended)
        if (!stack_pump(&w.link, take, &w, true))
            fail_msg("no EXIT: %s", w.link.error);
    assert_string_equal(w.link.reason, "runner_lost");
    print_message("told after %lld ms\n",
                  (long long)(loop_now_ms() - w.killed_ms));
    stack_cut(&w.link);
    j = stack_wait(&bed->stack, "ann", w.ss.sid, "ended", 20000);
    assert_string_equal(json_get_str(j, "reason"), "runner_lost");
    assert_int_equal(kill(program, 0), -1);
    assert_int_equal(clusterbed_process(bed, w.ss.sid, "", NULL), 0);
    clusterbed_wait_none(bed, "secrets", w.ss.sid);
    leave(&w);
}

static void shell(const char *text)
{
    own_mem char *cmd = mem_printf("d=%s; %s", getenv("PODTERM_CLUSTER"), text);

    if (system(cmd) != 0)
        fail_msg("%s", cmd);
}

static void sessions_go_on_over_a_restart_of_the_kubelet(void **arg)
{
    struct watched w, next;
    pid_t program, main_pid;

    (void)arg;
    if (!bed)
        skipped("its processes are of other machines");
    begin(&w);
    program = program_of(&w);
    main_pid = main_of(&w);
    type(&w, "one\n");
    shell("kill -9 $(cat $d/pid/kubelet)");
    follow(&w, 100);
    shell("tests/cluster/cluster kubelet $d");
    begin(&next); /* it is there again: a pod of its own runs */
    finish(&next, "");
    type(&w, "two\n");
    follow(&w, 50);
    assert_string_equal(w.link.error, "");
    assert_int_equal(program_of(&w), program);
    assert_int_equal(main_of(&w), main_pid);
    finish(&w, "one,two,");
}

/* --- in a warm pod --- */

static void wait_warm(void)
{
    int64_t until = loop_now_ms() + WARM_MS;

    while (clusterbed_warm(bed, true) < 1) {
        if (loop_now_ms() > until)
            fail_msg("no warm pod is ready");
        poll(NULL, 0, 200);
    }
}

static char *pod_name(const char *sid)
{
    own_json struct json *pod = clusterbed_pod(bed, sid);
    const char *name = json_get_str(json_get(pod, "metadata"), "name");

    assert_non_null(name);
    return mem_str(name);
}

/* What this pod's agent says to an activation for a session of nobody's, by
 * the controller's own keys. */
static enum err_kind woken(const struct json *pod)
{
    own_mem char *state = mem_printf("%s/state", bed->stack.dir);
    own_mem char *addr = NULL, *spec = NULL;
    char sid[ID_SIZE], psk_id[ID_SIZE];
    uint8_t pool_key[SESSION_KEY_BYTES], key[SESSION_KEY_BYTES];
    struct keys keys = {0};
    struct podview v;
    struct err e = {0};

    assert_int_equal(podview_of(pod, &v, &e), 0);
    assert_int_equal(keys_load(&keys, state, &e), 0);
    keys_pool(&keys, v.job + 2, pool_key);
    random_bytes(key, sizeof key);
    random_id(sid);
    random_id(psk_id);
    addr = mem_printf("%s:7440", v.ip);
    spec =
        mem_printf("{\"v\":1,\"sid\":\"%s\",\"psk_id\":\"%s\"}", sid, psk_id);
    assert_int_equal(activate_send(&(struct activate){.addr = addr,
                                                      .pod_uid = v.uid,
                                                      .pool_psk_id = v.job + 2,
                                                      .pool_key = pool_key,
                                                      .signer = keys.signer,
                                                      .iss = ISSUER,
                                                      .spec = spec,
                                                      .key = key,
                                                      .deadline_ms = 5000},
                                   &e),
                     -1);
    print_message("an activation: %s\n", e.text);
    keys_fini(&keys);
    return e.kind;
}

static void takes_no_second(const struct watched *w)
{
    own_json struct json *pod = clusterbed_pod(bed, w->ss.sid), *idle = NULL;

    assert_int_equal(woken(pod), ERR_CONFLICT);
    /* one that is warm hears us, and finds the spec wanting */
    assert_int_equal(clusterbed_call(bed, "GET", NULL, &idle,
                                     "/api/v1/namespaces/%s/pods"
                                     "?labelSelector=%s,!%s",
                                     bed->ns, PODVIEW_POOL, PODVIEW_LABEL),
                     200);
    assert_int_equal(woken(json_at(json_get(idle, "items"), 0)), ERR_DENIED);
}

static void
in_a_warm_pod_the_agent_resumes_and_takes_no_second_session(void **arg)
{
    static const char *const more[] = {"--warm-target", "1", NULL};
    own_mem char *mine = NULL, *after = NULL, *others = NULL;
    struct watched w, other;
    struct buf got;

    (void)arg;
    if (!bed)
        skipped("its processes are of other machines");
    bed->more = more;
    clusterbed_kill(bed, 0, SIGTERM);
    clusterbed_start(bed, 0);
    wait_warm();
    begin(&w);
    mine = pod_name(w.ss.sid);
    assert_int_equal(clusterbed_count(bed, "jobs", w.ss.sid), 0);
    buf_init(&got, SAID_MAX);
    main_killed(&w, &got);
    container_killed(&w);
    wait_warm();
    takes_no_second(&w);
    begin(&other); /* in another pod, wherever that is from */
    others = pod_name(other.ss.sid);
    after = pod_name(w.ss.sid);
    assert_string_equal(after, mine);
    assert_string_not_equal(others, mine);
    finish(&other, "");
    finish(&w, buf_cstr(&got));
    buf_fini(&got);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_agent_killed_ten_times_gives_the_terminal_back),
        cmocka_unit_test(an_agents_container_killed_gives_the_terminal_back),
        cmocka_unit_test(a_killed_shim_ends_the_session_and_all_its_processes),
        cmocka_unit_test(sessions_go_on_over_a_restart_of_the_kubelet),
        cmocka_unit_test(
            in_a_warm_pod_the_agent_resumes_and_takes_no_second_session),
    };

    return CLUSTERRUN(tests, setup, teardown);
}
