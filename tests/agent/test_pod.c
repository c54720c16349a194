/*
 * What an agent in a pod does: the shim is where the runner finds it before
 * anybody is told that the agent has started, the key comes from a file, and
 * a port opens when the program runs.
 */
#include "agent/pod.h"

#include "base/loop.h"
#include "base/mem.h"
#include "base/own.h"
#include "base/token_activate.h"
#include "tests/lib/agentbox.h"
#include "tests/lib/child.h"
#include "tests/lib/ports.h"
#include "tests/lib/programs.h"
#include "tests/lib/spec_fixture.h"
#include "tests/lib/stack.h"
#include "tests/lib/token_fixture.h"
#include "tests/lib/tree.h"

#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define SOON_MS 10000

static char *dir, *ipc, *given, *there;

static int setup(void **arg)
{
    (void)arg;
    dir = scratch_new();
    ipc = mem_printf("%s/ipc", dir);
    given = mem_printf("%s/given", dir);
    there = mem_printf("%s/ipc/" POD_SHIM, dir);
    assert_int_equal(mkdir(ipc, 0755), 0);
    return 0;
}

static int teardown(void **arg)
{
    (void)arg;
    free(ipc);
    free(given);
    free(there);
    scratch_remove(dir);
    return 0;
}

static void the_shim_is_copied_for_others_to_run(void **arg)
{
    own_mem char *program = mem_zero(100000, 1), *copy = NULL;
    struct err e = {0};
    struct stat st;
    size_t len;
    mode_t before = umask(077);

    (void)arg;
    memset(program, 'x', 99999);
    tree_put(dir, "given", program);
    for (int i = 0; i < 2; i++) { /* and once more, after a restart */
        if (pod_give_shim(given, ipc, &e) < 0)
            fail_msg("%s", e.text);
        free(copy);
        copy = tree_get(there, &len);
        assert_int_equal(len, 99999);
        assert_memory_equal(copy, program, len);
        assert_int_equal(stat(there, &st), 0);
        assert_int_equal(st.st_mode & 07777, 0755);
    }
    umask(before);
}

static void what_is_no_shim_is_refused_and_leaves_nothing(void **arg)
{
    struct err e = {0};

    (void)arg;
    assert_int_equal(pod_give_shim(given, ipc, &e), -1);
    assert_non_null(strstr(e.text, "--shim"));
    assert_int_equal(pod_give_shim(dir, ipc, &e), -1);
    assert_int_equal(e.kind, ERR_INPUT);
    tree_put(dir, "given", "");
    assert_int_equal(pod_give_shim(given, ipc, &e), -1);
    assert_int_equal(truncate(given, POD_SHIM_MAX + 1), 0);
    assert_int_equal(pod_give_shim(given, ipc, &e), -1);
    assert_int_equal(access(there, F_OK), -1);
    tree_put(dir, "given", "program");
    assert_int_equal(pod_give_shim(given, given, &e), -1);
    assert_non_null(strstr(e.text, "--ipc-dir"));
}

/* --- the pool key --- */

#define UID "3f1c6f0e-5a3b-4c8e-9a51-0d7b6a5e4c21"

/* The program itself, as an init container runs it. */
static void derive(const char *secret, const char *uid, int status)
{
    own_mem char *agent = program_path("podterm-agent");
    const char *argv[] = {agent,   "--derive-key", "--pool-secret-file",
                          secret,  "--pod-uid",    uid,
                          "--out", there,          NULL};
    struct child c = {.argv = argv};

    child_expect(&c, status);
    assert_string_equal(c.out, "");
    if (status == 0)
        assert_string_equal(c.err, "");
    child_fini(&c);
}

static void the_pods_own_key_is_left_and_not_told(void **arg)
{
    uint8_t secret[SEAL_KEY_BYTES], want[SESSION_KEY_BYTES];
    own_mem char *key = NULL;
    struct stat st;
    size_t len;

    (void)arg;
    random_bytes(secret, sizeof(secret));
    tree_put_bytes(dir, "given", secret, sizeof(secret));
    assert_int_equal(chmod(given, 0440), 0); /* as a Secret is mounted */
    activate_pool_key(secret, UID, want);
    for (int i = 0; i < 2; i++) { /* and once more, after a restart */
        free(key);
        derive(given, UID, 0);
        key = tree_get(there, &len);
        assert_int_equal(len, sizeof(want));
        assert_memory_equal(key, want, len);
        assert_int_equal(stat(there, &st), 0);
        assert_int_equal(st.st_mode & 07777, 0400);
    }
}

static void no_key_is_derived_of_what_is_none(void **arg)
{
    (void)arg;
    derive("/nowhere/at", UID, 1);
    tree_put(dir, "given", "short");
    derive(given, UID, 1);
    tree_put(dir, "given", "01234567890123456789012345678901");
    derive(given, "a/b", 1);
    assert_int_equal(access(there, F_OK), -1);
    derive(given, UID, 0);
}

/* --- the agent --- */

static void a_key_or_shim_that_is_not_there_is_told(void **arg)
{
    static const char *const flags[] = {"--key-file", "--shim"};
    own_mem char *agent = program_path("podterm-agent");

    (void)arg;
    for (size_t i = 0; i < 2; i++) {
        const char *argv[] = {agent, "--spec",    "/x",          "--state-file",
                              "/x",  "--ipc-dir", "/x",          "--bundle-dir",
                              "/x",  "--tmp-dir", "/x",          "--report",
                              there, flags[i],    "/nowhere/at", NULL};
        struct child c = {.argv = argv};

        child_expect(&c, 1);
        assert_non_null(strstr(c.err, flags[i]));
        assert_non_null(strstr(c.err, "/nowhere/at: No such file"));
        child_fini(&c);
    }
}

/* Every time: no program was started, which could be lost. */
static void an_agent_started_again_without_a_program_could_not_start(void **arg)
{
    own_mem char *agent = program_path("podterm-agent");
    own_mem char *state = mem_printf("%s/state", dir);
    own_mem char *report = mem_printf("%s/report", dir), *text = NULL;
    own_json struct json *j = NULL;
    size_t len;

    (void)arg;
    assert_int_equal(token_setup(arg), 0);
    j = spec_fixture();
    text = json_text(j);
    tree_put(dir, "given", text);
    token_teardown(arg);
    for (int i = 0; i < 3; i++) {
        const char *argv[] = {
            agent,         "--spec",       given,  "--key-file",
            "/dev/null",   "--state-file", state,  "--ipc-dir",
            ipc,           "--bundle-dir", dir,    "--tmp-dir",
            dir,           "--report",     report, "--listen",
            "127.0.0.1:0", "--runner-uid", "1",    NULL};
        struct child c = {.argv = argv};

        child_expect(&c, 1);
        child_fini(&c);
        free(text);
        text = tree_get(report, &len);
        assert_non_null(strstr(text, "\"start_failed\""));
        assert_non_null(strstr(text, "32 bytes of session key"));
        assert_int_equal(unlink(report), 0);
    }
}

static bool is_open(const char *addr)
{
    struct wspeer *p = wspeer_try_dial(addr);

    wspeer_free(p);
    return p != NULL;
}

static void opens(const char *addr)
{
    int64_t until = loop_now_ms() + SOON_MS;

    while (!is_open(addr) && loop_now_ms() < until)
        poll(NULL, 0, 10);
    assert_true(is_open(addr));
}

static void the_ready_port_is_open_while_the_program_runs(void **arg)
{
    own_mem char *addr = mem_printf("127.0.0.1:%d", port_free());
    struct agentbox *b;
    pid_t main;

    (void)arg;
    setenv("PODTERM_READY_LISTEN", addr, 1);
    b = agentbox_new_alone("exec sleep 100", NULL);
    unsetenv("PODTERM_READY_LISTEN");
    assert_true(agentbox_status(b, "listening", SOON_MS));
    assert_false(is_open(addr));
    agentbox_start_shim(b);
    assert_true(agentbox_status(b, "running", SOON_MS));
    opens(addr);
    main = agentbox_main(b, 0);
    kill(main, SIGKILL); /* who comes back says so again */
    agentbox_main(b, main);
    opens(addr);
    agentbox_free(b);
}

/* As in a pod: at the address of either family. */
static void ipv4_and_ipv6_come_to_all_of_an_agents_ports(void **arg)
{
    static const char *const ips[] = {"127.0.0.1", "[::1]"};
    const int health = port_free(), ready = port_free();
    own_mem char *health_at = mem_printf("[::]:%d", health);
    own_mem char *ready_at = mem_printf("[::]:%d", ready);
    struct agentbox *b;
    int port;

    (void)arg;
    ports_need_ipv6();
    setenv("PODTERM_HEALTH_LISTEN", health_at, 1);
    setenv("PODTERM_READY_LISTEN", ready_at, 1);
    agentbox_listen = "[::]:0";
    b = agentbox_new("exec sleep 100", NULL);
    agentbox_listen = "127.0.0.1:0";
    unsetenv("PODTERM_HEALTH_LISTEN");
    unsetenv("PODTERM_READY_LISTEN");
    assert_true(agentbox_status(b, "running", SOON_MS));
    assert_int_equal(strncmp(b->addr, "[::]:", 5), 0);
    port = atoi(b->addr + 5);
    for (size_t i = 0; i < sizeof(ips) / sizeof(*ips); i++) {
        own_mem char *health_of = mem_printf("%s:%d", ips[i], health);
        own_mem char *ready_of = mem_printf("%s:%d", ips[i], ready);

        snprintf(b->addr, sizeof(b->addr), "%s:%d", ips[i], port);
        agentlink_free(agentlink_new(b, ROLE_OWNER, 0));
        opens(health_of);
        opens(ready_of);
    }
    agentbox_free(b);
}

static void the_shim_is_there_when_the_agent_listens(void **arg)
{
    own_mem char *shim = program_path("podterm-shim"), *copy = NULL;
    struct agentbox *b;

    (void)arg;
    setenv("PODTERM_SHIM", shim, 1);
    b = agentbox_new_alone("exit 0", NULL);
    unsetenv("PODTERM_SHIM");
    copy = mem_printf("%s/ipc/" POD_SHIM, b->dir);
    assert_int_equal(access(copy, X_OK), 0);
    agentbox_free(b);
}

#define T(t) cmocka_unit_test_setup_teardown(t, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(the_shim_is_copied_for_others_to_run),
        T(what_is_no_shim_is_refused_and_leaves_nothing),
        T(the_pods_own_key_is_left_and_not_told),
        T(no_key_is_derived_of_what_is_none),
        T(a_key_or_shim_that_is_not_there_is_told),
        T(an_agent_started_again_without_a_program_could_not_start),
        T(the_ready_port_is_open_while_the_program_runs),
        T(ipv4_and_ipv6_come_to_all_of_an_agents_ports),
        T(the_shim_is_there_when_the_agent_listens),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
