/*
 * infra/k8s started for real: controllers, gateways and Redis in their pods,
 * as who and with what the manifests give them, reached by their Services.
 * In a cluster of the tests' own alone: it makes the namespaces of an
 * installation.
 */
// alone: it takes most of the node
#include "base/file.h"
#include "base/loop.h"
#include "base/mem.h"
#include "base/own.h"
#include "base/redis.h"
#include "tests/lib/clustertalk.h"
#include "tests/lib/manifests.h"
#include "tests/lib/ports.h"
#include "tests/lib/programs.h"
#include "tests/lib/rest.h"
#include "tests/lib/shippedbed.h"
#include "tests/lib/skipped.h"
#include "tests/lib/tree.h"

#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#define SAID_MAX (1 << 20)
#define PODS_MAX 8
/* counts, five times a second, until a line is typed */
#define COUNT                                                                  \
    "(i=0; while :; do i=$((i+1)); echo \"n$i.\"; sleep 0.2; done) &"          \
    " read x; kill $!; echo bye $x; exit 7"

static struct shippedbed *bed;
static struct clusterbed *around;

static int setup(void **arg)
{
    (void)arg;
    if (!getenv("PODTERM_CLUSTER"))
        return 0;
    bed = shippedbed_new();
    around = bed->around;
    return 0;
}

static int teardown(void **arg)
{
    (void)arg;
    shippedbed_free(bed);
    return 0;
}

static void need_own_cluster(void)
{
    if (!getenv("PODTERM_CLUSTER"))
        skipped("a cluster of the tests' own alone");
}

/* --- what runs --- */

static void is_filtered(pid_t pid)
{
    static const char *const lines[] = {"\nSeccomp:\t2\n", "\nNoNewPrivs:\t1\n",
                                        "\nCapEff:\t0000000000000000\n",
                                        "\nCapBnd:\t0000000000000000\n"};
    own_mem char *path = mem_printf("/proc/%d/status", (int)pid);
    struct err e = {0};
    struct buf status;

    assert_true(pid > 0);
    buf_init(&status, SAID_MAX);
    assert_int_equal(file_read(path, &status, &e), 0);
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++)
        if (!strstr(buf_cstr(&status), lines[i]))
            fail_msg("no %s in %s", lines[i], buf_cstr(&status));
    buf_fini(&status);
}

static void is_as_it_started(const char *pod, const char *program)
{
    char *words[2] = {0};

    assert_int_equal(
        shippedbed_names(
            words, 2,
            (const char *const[]){"get", "pod", pod, "-o",
                                  "jsonpath={.metadata.uid} "
                                  "{.status.containerStatuses[*].restartCount}",
                                  NULL}),
        2);
    assert_string_equal(words[1], "0");
    is_filtered(clusterbed_process_of(words[0], program, NULL));
    free(words[0]);
    free(words[1]);
}

static void as_many_run_as_the_manifests_say_and_none_was_restarted(void **arg)
{
    static const struct {
        const char *app, *program;
        int count;
    } apps[] = {
        {"podterm-controller", "podterm-controller", 2},
        {"podterm-gateway", "podterm-gateway", 2}, /* the autoscaler's least */
        {"podterm-redis", "redis-server", 1},
    };

    (void)arg;
    need_own_cluster();
    for (size_t i = 0; i < sizeof apps / sizeof *apps; i++) {
        char *pods[PODS_MAX];
        int n = shippedbed_pods(apps[i].app, pods, PODS_MAX);

        assert_int_equal(n, apps[i].count);
        while (n-- > 0) {
            is_as_it_started(pods[n], apps[i].program);
            free(pods[n]);
        }
    }
}

/* As its image has it; it may connect to the gateway of the settings. */
static void serves_the_page(int port)
{
    struct rest_answer a = rest_call(port, "GET", "/", NULL, NULL);
    own_mem char *gateway = mem_printf("connect-src 'self' ws://127.0.0.1:%d;",
                                       around->stack.attach_port);

    assert_int_equal(a.status, 200);
    assert_non_null(strstr(a.body, "<title>podterm</title>"));
    if (!strstr(rest_header(&a, "content-security-policy"), gateway))
        fail_msg("no %s in %s", gateway, a.head);
    rest_fini(&a);
}

/* The way in that overlays/local tells of. */
static void a_port_can_be_forwarded_to_the_controller(void **arg)
{
    const int port = port_free();
    own_mem char *kubectl =
        mem_printf("%s/bin/kubectl", getenv("PODTERM_CLUSTER"));
    own_mem char *ports = mem_printf("%d:8080", port);
    struct clusterbed_process p = {0};

    (void)arg;
    need_own_cluster();
    clusterbed_spawn(
        around, &p, "forward", kubectl,
        (char *const[]){"kubectl", "-n", SHIPPEDBED_NS, "port-forward",
                        "service/podterm-controller", ports, NULL});
    clusterbed_serves(port, "/livez", NULL, "the forwarded port");
    serves_the_page(port);
    clusterbed_stop(&p, SIGTERM);
    free(p.log);
}

/* --- sessions --- */

static void a_user_types_sees_the_echo_and_gets_the_exit_code(void **arg)
{
    struct stack_bundle b;
    struct seat s = {0};

    (void)arg;
    need_own_cluster();
    clusterbed_pack(around, "ask",
                    "printf 'name? '; read x; echo hello $x; exit 7", &b);
    shippedbed_run(bed, &s, "ann", &b);
    seat_expect(&s, "name?", CLUSTERBED_START_MS);
    seat_say(&s, "ann\r");
    seat_expect(&s, "hello ann", CLUSTERBED_START_MS);
    assert_int_equal(seat_wait(&s, CLUSTERBED_START_MS), 7);
    assert_true(seat_is_restored(&s));
    seat_free(&s);
}

/* Ten seconds of a terminal and a fetch below its own profile. */
static void an_agent_works_below_its_own_seccomp_profile(void **arg)
{
    own_json struct json *pod = NULL;
    const struct json *agent;
    struct stack_bundle b;
    struct clustertalk t;

    (void)arg;
    need_own_cluster();
    clusterbed_pack(around, "count", COUNT, &b);
    clustertalk_begin(&t, around, "ben", &b, "", "n50.");
    pod = clusterbed_pod(around, t.ss.sid);
    agent = json_at(json_get(json_get(pod, "spec"), "initContainers"), 0);
    assert_string_equal(
        json_get_str(
            json_get(json_get(agent, "securityContext"), "seccompProfile"),
            "localhostProfile"),
        "podterm/agent.json");
    is_filtered(
        clusterbed_process(around, t.ss.sid, "podterm-agent", "--main"));
    clustertalk_type(&t, "ben\n");
    clustertalk_expect(&t, NULL);
    assert_non_null(strstr(buf_cstr(&t.said), "bye ben"));
    assert_int_equal(t.link.exit_code, 7);
    clustertalk_fini(&t);
}

static void a_deleted_session_leaves_nothing(void **arg)
{
    struct stack_bundle b;
    struct clustertalk t;

    (void)arg;
    need_own_cluster();
    clusterbed_pack(around, "sleep", "echo up; sleep 600", &b);
    clustertalk_begin(&t, around, "cat", &b, "", "up");
    clustertalk_delete(&t);
    clusterbed_wait_nothing(around, t.ss.sid);
    clustertalk_fini(&t);
}

/* --- pods go --- */

/* Until another pod leads than this one. */
static void wait_led_by_another(const char *pod)
{
    int64_t until = loop_now_ms() + SHIPPEDBED_MOVE_MS;

    for (;;) {
        own_mem char *now = shippedbed_leader();

        if (now && *now && strcmp(now, pod) != 0)
            return;
        if (loop_now_ms() > until)
            fail_msg("nobody leads but %s", pod);
        poll(NULL, 0, 200);
    }
}

static void the_leading_pod_goes_and_sessions_go_on(void **arg)
{
    own_mem char *leader = NULL;
    struct stack_bundle b;
    struct seat before = {0}, after = {0};

    (void)arg;
    need_own_cluster();
    clusterbed_pack(around, "hold", COUNT, &b);
    shippedbed_run(bed, &before, "dan", &b);
    seat_expect(&before, "n1.", CLUSTERBED_START_MS);
    leader = shippedbed_leader();
    assert_non_null(leader);
    shippedbed_delete(leader);
    wait_led_by_another(leader);
    shippedbed_run(bed, &after, "eve", &b);
    seat_expect(&after, "n1.", CLUSTERBED_START_MS);
    seat_say(&after, "eve\r");
    seat_expect(&after, "bye eve", CLUSTERBED_START_MS);
    assert_int_equal(seat_wait(&after, CLUSTERBED_START_MS), 7);
    shippedbed_wait_gone(leader);
    seat_say(&before, "dan\r");
    seat_expect(&before, "bye dan", CLUSTERBED_START_MS);
    assert_int_equal(seat_wait(&before, CLUSTERBED_START_MS), 7);
    seat_free(&before);
    seat_free(&after);
    shippedbed_wait_ready();
}

/* n1. n2. … one behind the other, and no other behind the last. */
static void is_without_loss(const char *said, int least)
{
    const char *at = said;
    int n = 0;

    for (;;) {
        own_mem char *text = mem_printf("n%d.\r\n", n + 1);
        const char *found = strstr(at, text);

        if (!found)
            break;
        at = found + strlen(text);
        n++;
    }
    if (n < least || strstr(at, "\nn"))
        fail_msg("no n%d. where it should be: %s", n + 1, said);
}

/* Every pod that could hold the connection, at once. */
static void the_gateways_go_and_the_client_resumes(void **arg)
{
    char *pods[PODS_MAX];
    struct stack_bundle b;
    struct seat s = {0};
    int n;

    (void)arg;
    need_own_cluster();
    clusterbed_pack(around, "flow", COUNT, &b);
    shippedbed_run(bed, &s, "fay", &b);
    seat_expect(&s, "n5.", CLUSTERBED_START_MS);
    n = shippedbed_pods("podterm-gateway", pods, PODS_MAX);
    assert_true(n > 0);
    for (int i = 0; i < n; i++)
        shippedbed_delete(pods[i]);
    for (int i = 0; i < n; i++) {
        shippedbed_wait_gone(pods[i]);
        free(pods[i]);
    }
    shippedbed_wait_ready();
    seat_say(&s, "fay\r");
    seat_expect(&s, "bye fay", CLUSTERBED_START_MS);
    assert_int_equal(seat_wait(&s, CLUSTERBED_START_MS), 7);
    /* (a pod goes 15 s later at the earliest) */
    is_without_loss(s.out, 50);
    assert_true(seat_is_restored(&s));
    seat_free(&s);
}

/* --- Redis stands still --- */

/* A value that kubectl finds by this path, the caller's. */
static char *value_of(const char *kind, const char *name, const char *path)
{
    return MANIFESTS_ASK("-n", SHIPPEDBED_NS, "get", kind, name, "-o", path);
}

/* As whoever has KEDA's password. */
static void run_without_end(const char *host)
{
    char *dir = scratch_new();
    own_mem char *password =
        value_of("secret", "podterm-redis-keda",
                 "go-template={{.data.password|base64decode}}");
    own_mem char *file = mem_printf("%s/password", dir);
    struct redis_conf conf = {
        .port = 6379, .user = "keda", .password_file = file};
    struct redis_cmd c = {0};
    struct redis *redis;
    struct err e = {0};

    snprintf(conf.host, sizeof conf.host, "%s", host);
    tree_put(dir, "password", password);
    assert_int_equal(chmod(file, 0600), 0);
    redis = redis_new(&conf, &e);
    assert_non_null(redis);
    redis_arg(&c, "EVAL");
    redis_arg(&c, "while true do end");
    redis_arg(&c, "0");
    assert_null(redis_call(redis, &c, NULL, &e));
    if (!strstr(e.text, "no answer"))
        fail_msg("%s", e.text);
    redis_free(redis);
    scratch_remove(dir);
}

static void wait_restarted(const char *pod)
{
    int64_t until = loop_now_ms() + SHIPPEDBED_MOVE_MS;

    for (;;) {
        own_mem char *times = value_of(
            "pod", pod, "jsonpath={.status.containerStatuses[0].restartCount}");

        if (strcmp(times, "0") != 0)
            return;
        if (loop_now_ms() > until)
            fail_msg("%s is not started again", pod);
        poll(NULL, 0, 500);
    }
}

static void a_script_without_end_has_redis_started_again(void **arg)
{
    own_mem char *host = NULL;
    struct stack_bundle b;
    struct seat before = {0}, after = {0};

    (void)arg;
    need_own_cluster();
    clusterbed_pack(around, "still", COUNT, &b);
    shippedbed_run(bed, &before, "gus", &b);
    seat_expect(&before, "n1.", CLUSTERBED_START_MS);
    host = value_of("pod", "podterm-redis-0", "jsonpath={.status.podIP}");
    run_without_end(host);
    wait_restarted("podterm-redis-0");
    shippedbed_wait_ready();
    seat_say(&before, "gus\r");
    seat_expect(&before, "bye gus", CLUSTERBED_START_MS);
    assert_int_equal(seat_wait(&before, CLUSTERBED_START_MS), 7);
    shippedbed_run(bed, &after, "hal", &b);
    seat_expect(&after, "n1.", CLUSTERBED_START_MS);
    seat_say(&after, "hal\r");
    assert_int_equal(seat_wait(&after, CLUSTERBED_START_MS), 7);
    seat_free(&before);
    seat_free(&after);
}

/* --- what the documents tell to do --- */

/* The first block of commands behind that text, line by line, as who stands
 * in infra/k8s. */
static void do_as_told(const char *document, const char *behind)
{
    own_mem char *text = tree_get(document, &(size_t){0});
    own_mem char *path =
        mem_printf("PATH=%s/bin:%s", getenv("PODTERM_CLUSTER"), getenv("PATH"));
    char *at = strstr(text, behind), *save = NULL, *end;
    int done = 0;

    at = at ? strstr(at, "\n```\n") : NULL;
    end = at ? strstr(at + 5, "\n```\n") : NULL;
    if (!end)
        fail_msg("no commands behind %s in %s", behind, document);
    *end = '\0';
    for (char *line = strtok_r(at + 5, "\n", &save); line;
         line = strtok_r(NULL, "\n", &save)) {
        struct child c = {
            .argv = (const char *const[]){"sh", "-c", line, NULL},
            .env = (const char *const[]){path, NULL},
            .cwd = "infra/k8s",
        };

        assert_int_equal(strncmp(line, "kubectl ", 8), 0);
        child_expect(&c, 0);
        child_fini(&c);
        done++;
    }
    assert_true(done > 2);
}

static void
a_leaked_seal_is_changed_and_no_session_of_before_goes_on(void **arg)
{
    struct stack_bundle b;
    struct stack_session ss;
    struct seat after = {0};

    (void)arg;
    need_own_cluster();
    clusterbed_pack(around, "leak", COUNT, &b);
    stack_create(&around->stack, "ida", &b, "", &ss);
    do_as_told("docs/kubernetes.md", "**`seal` leaked.**");
    clusterbed_wait_nothing(around, ss.sid);
    shippedbed_wait_ready();
    shippedbed_run(bed, &after, "ida", &b);
    seat_expect(&after, "n1.", CLUSTERBED_START_MS);
    seat_say(&after, "ida\r");
    assert_int_equal(seat_wait(&after, CLUSTERBED_START_MS), 7);
    seat_free(&after);
    stack_session_fini(&ss);
}

/* (gke's kinds and KEDA's, so that each line can be carried out) */
static void put_kinds(void)
{
    own_mem char *crds = mem_printf("%s/crds", getenv("PODTERM_CLUSTER"));

    free(MANIFESTS_ASK("apply", "--server-side", "--force-conflicts", "-f",
                       crds));
    free(MANIFESTS_ASK("wait", "--for=condition=Established", "crd", "--all",
                       "--timeout=50s"));
}

/* (it takes the installation away: the last) */
static void uninstalled_nothing_is_left_but_keys_and_volume(void **arg)
{
    static const char kinds[] =
        "pods,deployments,statefulsets,services,hpa,pdb,networkpolicies,roles,"
        "rolebindings";
    own_mem char *left = NULL, *kept = NULL;
    struct stack_bundle b;
    struct stack_session ss;

    (void)arg;
    need_own_cluster();
    put_kinds();
    clusterbed_pack(around, "last", COUNT, &b);
    stack_create(&around->stack, "jon", &b, "", &ss);
    do_as_told("infra/k8s/README.md", "## Uninstall");
    clusterbed_wait_none(around, "jobs", NULL);
    free(MANIFESTS_ASK("-n", SHIPPEDBED_NS, "wait", "--for=delete", "pods",
                       "--all", "--timeout=55s"));
    left = MANIFESTS_ASK("-n", SHIPPEDBED_NS, "get", kinds, "-o", "name");
    assert_string_equal(left, "");
    assert_int_equal(clusterbed_count(around, "jobs", NULL), 0);
    kept =
        MANIFESTS_ASK("-n", SHIPPEDBED_NS, "get", "secret,pvc", "-o", "name");
    assert_non_null(strstr(kept, "secret/podterm-keys\n"));
    assert_non_null(strstr(kept, "persistentvolumeclaim/"));
    stack_session_fini(&ss);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(
            as_many_run_as_the_manifests_say_and_none_was_restarted),
        cmocka_unit_test(a_port_can_be_forwarded_to_the_controller),
        cmocka_unit_test(a_user_types_sees_the_echo_and_gets_the_exit_code),
        cmocka_unit_test(an_agent_works_below_its_own_seccomp_profile),
        cmocka_unit_test(a_deleted_session_leaves_nothing),
        cmocka_unit_test(the_leading_pod_goes_and_sessions_go_on),
        cmocka_unit_test(the_gateways_go_and_the_client_resumes),
        cmocka_unit_test(a_script_without_end_has_redis_started_again),
        cmocka_unit_test(
            a_leaked_seal_is_changed_and_no_session_of_before_goes_on),
        cmocka_unit_test(uninstalled_nothing_is_left_but_keys_and_volume),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
