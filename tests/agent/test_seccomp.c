/*
 * infra/k8s/seccomp/agent.json holds for a whole session: agent, supervisor,
 * unpacker, and what dials for the program, run under it, here as a filter of this test and all it starts
 * (the shim and its program too), in a pod as the container's profile.
 */
#include "agent/lockdown.h"
#include "base/json.h"
#include "base/own.h"
#include "tests/lib/agentbox.h"
#include "tests/lib/tree.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <pthread.h>
#include <sched.h>
#include <seccomp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define PROFILE "infra/k8s/seccomp/agent.json"

static int action_of(const struct json *rule, uint32_t *out)
{
    int64_t code = EPERM;

    if (json_get_is(rule, "action", "SCMP_ACT_ALLOW"))
        *out = SCMP_ACT_ALLOW;
    else if (json_get_is(rule, "action", "SCMP_ACT_ERRNO"))
        *out = SCMP_ACT_ERRNO(json_get_int(rule, "errnoRet", &code) == 0
                                  ? (uint32_t)code
                                  : EPERM);
    else
        return -1;
    return 0;
}

/* The one argument a rule may look at. */
static struct scmp_arg_cmp argument_of(const struct json *rule)
{
    const struct json *arg = json_at(json_get(rule, "args"), 0);
    int64_t index = 0, value = 0, two = 0;

    json_get_int(arg, "index", &index);
    json_get_int(arg, "value", &value);
    json_get_int(arg, "valueTwo", &two);
    if (json_get_is(arg, "op", "SCMP_CMP_MASKED_EQ"))
        return SCMP_CMP((unsigned)index, SCMP_CMP_MASKED_EQ, (uint64_t)value,
                        (uint64_t)two);
    assert_true(json_get_is(arg, "op", "SCMP_CMP_EQ"));
    return SCMP_CMP((unsigned)index, SCMP_CMP_EQ, (uint64_t)value);
}

static void add_rule(scmp_filter_ctx ctx, const struct json *rule)
{
    const struct json *names = json_get(rule, "names");
    const bool has_arg = json_count(json_get(rule, "args")) == 1;
    uint32_t action = 0;

    assert_int_equal(action_of(rule, &action), 0);
    for (size_t i = 0; i < json_count(names); i++) {
        const char *name = json_str(json_at(names, i));
        const int call = seccomp_syscall_resolve_name(name);

        if (call == __NR_SCMP_ERROR) /* not yet known to this libseccomp */
            continue;
        if (has_arg)
            assert_int_equal(
                seccomp_rule_add(ctx, action, call, 1, argument_of(rule)), 0);
        else
            assert_int_equal(seccomp_rule_add(ctx, action, call, 0), 0);
    }
}

static const int shim_calls[] = {SCMP_SYS(signalfd4), SCMP_SYS(fork)};

static int setup(void **state)
{
    own_mem char *text = tree_get(PROFILE, &(size_t){0});
    own_json struct json *profile = json_parse(text, strlen(text), NULL);
    const struct json *rules = json_get(profile, "syscalls");
    scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ERRNO(EPERM));

    (void)state;
    assert_true(json_get_is(profile, "defaultAction", "SCMP_ACT_ERRNO"));
    assert_true(json_count(rules) > 5);
    for (size_t i = 0; i < json_count(rules); i++)
        add_rule(ctx, json_at(rules, i));
    /* the shim's, which in a pod is not under this profile */
    for (size_t i = 0; i < sizeof shim_calls / sizeof *shim_calls; i++)
        assert_int_equal(
            seccomp_rule_add(ctx, SCMP_ACT_ALLOW, shim_calls[i], 0), 0);
    assert_int_equal(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
    assert_int_equal(seccomp_load(ctx), 0);
    seccomp_release(ctx);
    return 0;
}

/* What a sanitizer does at the end of a process no agent may. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#else
#define SANITIZED 0
#endif

static int setup_shipped(void **state)
{
    return SANITIZED ? 0 : setup(state);
}

static void skip_sanitized(void)
{
    if (SANITIZED)
        skip();
}

static void runs_to_its_end(void)
{
    struct agentbox *b =
        agentbox_new("exit 7", "{\"linger_detached_s\":0,\"linger_s\":0}");
    own_json struct json *report = agentbox_ends(b, "exited", AGENTBOX_MS);
    int64_t code = -1;

    assert_int_equal(json_get_int(report, "exit_code", &code), 0);
    assert_int_equal(code, 7);
    agentbox_free(b);
}

static void a_session_runs_to_its_end(void **state)
{
    (void)state;
    skip_sanitized();
    runs_to_its_end();
}

static void *look_up(void *arg)
{
    struct addrinfo *all = NULL;

    *(bool *)arg = getaddrinfo("localhost", "443", NULL, &all) == 0;
    return NULL;
}

/* What the proxy does, in short: 0. */
static int lock_and_look_up(void)
{
    static const struct lockdown_network how = {.event = "test.lockdown",
                                                .memory_bytes = 128 << 20,
                                                .descriptors = 256};
    bool is_found = false;
    pthread_t thread;
    struct err e = {0};

    if (lockdown_network(&how, &e) < 0)
        return 10;
    if (pthread_create(&thread, NULL, look_up, &is_found) != 0)
        return 11;
    pthread_join(thread, NULL);
    return !is_found ? 12 : open("/etc/passwd", O_WRONLY) >= 0 ? 13 : 0;
}

static void what_dials_for_a_program_locks_itself_in(void **state)
{
    int status;
    pid_t pid;

    (void)state;
    skip_sanitized();
    pid = fork();
    if (pid == 0)
        _exit(lock_and_look_up());
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

/* Tried by the very process the filter was given to. */
static void what_an_agent_never_does_is_refused(void **state)
{
    static const struct {
        long call, a, b, c;
    } cases[] = {
        {SYS_unshare, CLONE_NEWUSER, 0, 0},
        {SYS_setns, 0, 0, 0},
        {SYS_clone, CLONE_NEWNET | 17, 0, 0},
        {SYS_mount, 0, 0, 0},
        {SYS_umount2, 0, 0, 0},
        {SYS_pivot_root, 0, 0, 0},
        {SYS_chroot, 0, 0, 0},
        {SYS_ptrace, PTRACE_TRACEME, 0, 0},
        {SYS_process_vm_readv, 0, 0, 0},
        {SYS_pidfd_getfd, 0, 0, 0},
        {SYS_bpf, 0, 0, 0},
        {SYS_perf_event_open, 0, 0, 0},
        {SYS_io_uring_setup, 1, 0, 0},
        {SYS_userfaultfd, 0, 0, 0},
        {SYS_keyctl, 0, 0, 0},
        {SYS_init_module, 0, 0, 0},
        {SYS_setuid, 0, 0, 0},
        {SYS_mknodat, 0, 0, 0},
        {SYS_socket, AF_VSOCK, SOCK_STREAM, 0},
        {SYS_socket, AF_PACKET, SOCK_RAW, 0},
        {SYS_socket, AF_ALG, SOCK_SEQPACKET, 0},
    };

    (void)state;
    skip_sanitized();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        errno = 0;
        if (syscall(cases[i].call, cases[i].a, cases[i].b, cases[i].c, 0, 0) !=
                -1 ||
            errno != EPERM)
            fail_msg("call %ld (case %zu): errno %d", cases[i].call, i, errno);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_session_runs_to_its_end),
        cmocka_unit_test(what_dials_for_a_program_locks_itself_in),
        cmocka_unit_test(what_an_agent_never_does_is_refused),
    };

    return cmocka_run_group_tests(tests, setup_shipped, NULL);
}
