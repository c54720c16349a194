/*
 * The warm pool as KEDA keeps it: the real operator on what infra/keda holds,
 * a real Redis with the users of infra/k8s/redis over TLS, and runners of real
 * pods. tests/keda/run starts cluster and operator.
 */
#include "base/loop.h"
#include "base/mem.h"
#include "base/own.h"
#include "base/store.h"
#include "controller/podview.h"
#include "tests/lib/certs.h"
#include "tests/lib/clusterpool.h"
#include "tests/lib/clusterrun.h"
#include "tests/lib/clustertalk.h"
#include "tests/lib/manifests.h"
#include "tests/lib/ports.h"
#include "tests/lib/programs.h"
#include "tests/lib/redisd.h"
#include "tests/lib/rest.h"
#include "tests/lib/tree.h"

#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#define TARGET 2
#define POLL_MS 2000  /* KEDA's, here */
#define FILL_MS 60000 /* some polls, on a machine with other work */
#define SETTLED_MS (4 * POLL_MS)

static struct clusterbed *bed;
static struct stack_bundle ask;
static struct redisd redisd;
static struct redis *admin, *keda;
static char *dir, *keys; /* ours, and what make-keys made */
static char target[8] = "2";
static char pool_file[256], metrics[32];
static int metrics_port;
static const char *const by_keda[] = {"--warm-by",
                                      "keda",
                                      "--warm-target",
                                      target,
                                      "--pool-secret-file",
                                      pool_file,
                                      "--metrics-listen",
                                      metrics,
                                      NULL};

/* --- Redis --- */

static struct redis *redis_as(const char *user, const char *password_file)
{
    static char files[2][256], ca[256];
    static int n;
    struct redis_conf conf = {.user = user, .ca = ca};
    struct err e = {0};
    struct redis *r;

    snprintf(files[n], sizeof files[n], "%s", password_file);
    snprintf(ca, sizeof ca, "%s/redis-ca.pem", dir);
    conf.password_file = files[n++];
    assert_int_equal(redis_url_parse(redisd.url, &conf, &e), 0);
    r = redis_new(&conf, &e);
    assert_non_null(r);
    return r;
}

/* Words; what came, or NULL. */
static struct redis_reply *redis_say(struct redis *r, const char *const *words,
                                     struct err *e)
{
    struct redis_cmd c = {0};

    for (; *words; words++)
        redis_arg(&c, *words);
    return redis_call(r, &c, NULL, e);
}
#define SAY(r, e, ...) redis_say(r, (const char *const[]){__VA_ARGS__, NULL}, e)

static void say(const char *const *words)
{
    struct err e = {0};
    struct redis_reply *r = redis_say(admin, words, &e);

    if (!r)
        fail_msg("%s: %s", words[0], e.text);
    redis_reply_free(r);
}

/* As infra/k8s has it, and one more user: the test's own. */
static void start_redis(void)
{
    static const char *const more[] = {"--tls-port",
                                       "--tls-cert-file",
                                       "DIR/redis.pem",
                                       "--tls-key-file",
                                       "DIR/redis.key",
                                       "--tls-auth-clients",
                                       "no",
                                       "--aclfile",
                                       "DIR/users.acl",
                                       NULL};
    own_mem char *acl = NULL, *path = NULL, *all = NULL, *file = NULL;
    size_t len;
    struct child c = {.argv = (const char *const[]){"infra/k8s/make-keys",
                                                    "--dir", keys, NULL}};

    child_expect(&c, 0);
    child_fini(&c);
    certs_make(dir, "redis", "IP:127.0.0.1");
    path = mem_printf("%s/podterm-redis-acl/users.acl", keys);
    acl = tree_get(path, &len);
    all = mem_printf("%suser admin reset on >admin ~* &* +@all\n", acl);
    tree_put(dir, "users.acl", all);
    tree_put(dir, "admin", "admin");
    file = mem_printf("%s/admin", dir);
    assert_int_equal(chmod(file, 0600), 0);
    redisd_start(&redisd, mem_str(dir), more);
    admin = redis_as("admin", file);
    free(path);
    path = mem_printf("%s/podterm-redis-keda/password", keys);
    keda = redis_as("keda", path);
}

/* What the services are told of it (base/conf.h). */
static void name_redis(void)
{
    own_mem char *ca = mem_printf("%s/redis-ca.pem", dir);
    own_mem char *password =
        mem_printf("%s/podterm-redis-controller/password", keys);

    setenv("PODTERM_REDIS_USER", "controller", 1);
    setenv("PODTERM_REDIS_PASSWORD_FILE", password, 1);
    setenv("PODTERM_REDIS_CA", ca, 1);
}

/* --- what an operator does --- */

static void kubectl(const char *const *words)
{
    free(manifests_ask(words));
}
#define KUBECTL(...) kubectl((const char *const[]){__VA_ARGS__, NULL})

/* Namespaces and what make-keys gives the cluster, then make-pool. */
static void make_pool(void)
{
    own_mem char *jwks =
        mem_printf("--from-file=%s/state/jwks.json", bed->stack.dir);
    own_mem char *password =
        mem_printf("--from-file=%s/podterm-redis-keda/password", keys);
    own_mem char *path =
        mem_printf("PATH=%s/bin:%s", getenv("PODTERM_CLUSTER"), getenv("PATH"));
    own_mem char *ns = mem_printf("PODTERM_NAMESPACE=%s", bed->ns);
    own_mem char *ca = mem_printf("REDIS_CA=%s/redis-ca.pem", dir);
    struct child c = {.argv =
                          (const char *const[]){"infra/keda/make-pool", NULL},
                      .env = (const char *const[]){path, ns, ca, NULL}};

    KUBECTL("create", "namespace", "podterm");
    KUBECTL("create", "namespace", "keda");
    KUBECTL("create", "configmap", "podterm-jwks", "-n", "podterm", jwks);
    KUBECTL("create", "secret", "generic", "podterm-redis-keda", "-n",
            "podterm", password);
    child_expect(&c, 0);
    child_fini(&c);
}

static void take_pool_secret(void)
{
    own_mem char *secret =
        MANIFESTS_ASK("get", "secret", "podterm-pool", "-n", "podterm", "-o",
                      "go-template={{.data.secret|base64decode}}");

    tree_put(dir, "pool", secret);
    snprintf(pool_file, sizeof pool_file, "%s/pool", dir);
    assert_int_equal(chmod(pool_file, 0600), 0);
}

/* What is shipped, here. */
static void apply_pool(void)
{
    own_mem char *up = mem_printf("%s/up", dir);
    own_mem char *shipped = MANIFESTS_ASK("kustomize", "infra/keda/pool");
    own_mem char *text = mem_printf(
        "resources: [shipped.yaml]\n"
        "images:\n"
        "- {name: podterm-agent, newName: \"%s\"}\n"
        "- {name: podterm-runner, newName: \"%s\"}\n"
        "patches:\n"
        "- target: {kind: ScaledJob}\n"
        "  patch: |\n"
        "    - {op: replace, path: /metadata/namespace, value: %s}\n"
        "    - {op: replace, path: /spec/pollingInterval, value: %d}\n"
        "    - {op: replace, path: /spec/triggers/0/metadata/address, value: "
        "\"127.0.0.1:%d\"}\n",
        getenv("PODTERM_AGENT_IMAGE"), getenv("PODTERM_RUNNER_IMAGE"), bed->ns,
        POLL_MS / 1000, redisd.port);

    tree_put(dir, "up/shipped.yaml", shipped);
    tree_put(dir, "up/kustomization.yaml", text);
    KUBECTL("apply", "--server-side", "-k", up);
}

static bool leads(void)
{
    struct rest_answer a =
        rest_call(metrics_port, "GET", "/metrics", NULL, NULL);
    bool is = a.status == 200 && strstr(a.body, "\npodterm_leader 1\n");

    rest_fini(&a);
    return is;
}

/* Until it leads, after one that was killed, nobody keeps the pool: what is
 * seen of that is as the last one left it. */
static void controller_begins(void)
{
    const int64_t until_ms = loop_now_ms() + FILL_MS;

    clusterbed_start(bed, 0);
    while (!leads()) {
        if (loop_now_ms() > until_ms)
            fail_msg("the controller does not come to lead");
        poll(NULL, 0, CLUSTERPOOL_LOOK_MS);
    }
}

static int setup(void **arg)
{
    (void)arg;
    dir = scratch_new();
    keys = mem_printf("%s/keys", dir);
    start_redis();
    name_redis();
    bed = clusterbed_new(redisd.url, NULL);
    make_pool();
    take_pool_secret();
    metrics_port = port_free();
    snprintf(metrics, sizeof metrics, "127.0.0.1:%d", metrics_port);
    bed->more = by_keda;
    clusterbed_kill(bed, 0, SIGTERM);
    controller_begins();
    apply_pool();
    clusterbed_pack(bed, "ask",
                    "printf 'name? '; read x; echo hello $x; exit 7", &ask);
    return 0;
}

static int teardown(void **arg)
{
    (void)arg;
    if (bed)
        KUBECTL("delete", "scaledjob", "podterm-warm", "-n", bed->ns,
                "--wait=false");
    clusterbed_free(bed);
    redis_free(admin);
    redis_free(keda);
    redisd_stop(&redisd);
    free(keys);
    scratch_remove(dir);
    return 0;
}

/* --- what is seen of the pool --- */

static void watch_until(int want, int settled_ms)
{
    clusterpool_until(bed, POLL_MS, want, settled_ms);
}

/* Until the surplus is gone. */
static void wait_at_most(int want)
{
    const int64_t until_ms = loop_now_ms() + FILL_MS;
    struct clusterpool p;

    for (;;) {
        clusterpool_look(bed, &p);
        if (p.here <= want)
            return;
        if (loop_now_ms() > until_ms)
            fail_msg("%d warm pods, not %d at most", p.here, want);
        poll(NULL, 0, CLUSTERPOOL_LOOK_MS);
    }
}

/* --- sessions --- */

struct talk {
    struct clustertalk is;
    char uid[64]; /* of its pod */
};

/* A session that has asked its question, in a warm pod. */
static void talk_begin(struct talk *t)
{
    struct clusterpool before;
    own_json struct json *pod = NULL;
    int64_t until_ms;

    clusterpool_look(bed, &before);
    clustertalk_begin(&t->is, bed, "ann", &ask, "", "name?");
    /* its name is written on the pod soon after */
    until_ms = loop_now_ms() + 5000;
    while (!(pod = clusterbed_pod(bed, t->is.ss.sid))) {
        if (loop_now_ms() > until_ms)
            fail_msg("%s is on no pod", t->is.ss.sid);
        poll(NULL, 0, CLUSTERPOOL_LOOK_MS);
    }
    snprintf(t->uid, sizeof t->uid, "%s",
             json_get_str(json_get(pod, "metadata"), "uid"));
    if (!clusterpool_holds(&before, t->uid))
        fail_msg("%s took no warm pod", t->is.ss.sid);
}

static void talk_end(struct talk *t)
{
    own_json struct json *j = NULL;

    clustertalk_type(&t->is, "ann\n");
    clustertalk_expect(&t->is, NULL);
    assert_non_null(strstr(buf_cstr(&t->is.said), "hello ann"));
    assert_int_equal(t->is.link.exit_code, 7);
    stack_cut(&t->is.link);
    j = stack_wait(&bed->stack, "ann", t->is.ss.sid, "ended", 20000);
    assert_string_equal(json_get_str(j, "reason"), "exited");
    clustertalk_fini(&t->is);
}

/* --- the tests --- */

static void the_pool_is_filled_from_nothing_and_stays(void **arg)
{
    (void)arg;
    watch_until(TARGET, SETTLED_MS);
}

static void a_session_takes_a_warm_pod_and_the_pool_is_filled_again(void **arg)
{
    struct talk t;

    (void)arg;
    watch_until(TARGET, 0);
    talk_begin(&t);
    assert_int_equal(clusterbed_count(bed, "secrets", t.is.ss.sid), 0);
    watch_until(TARGET, SETTLED_MS); /* beside the one that is taken */
    talk_end(&t);
    watch_until(TARGET, SETTLED_MS);
}

static void a_used_runner_is_never_used_again(void **arg)
{
    struct talk first, second, third;
    struct clusterpool p;

    (void)arg;
    watch_until(TARGET, 0);
    talk_begin(&first);
    talk_begin(&second);
    assert_string_not_equal(first.uid, second.uid);
    talk_end(&first);
    clusterpool_look(bed, &p); /* over or not: it is not to be had */
    assert_false(clusterpool_holds(&p, first.uid));
    watch_until(TARGET, 0);
    talk_begin(&third);
    assert_string_not_equal(third.uid, first.uid);
    assert_string_not_equal(third.uid, second.uid);
    talk_end(&second);
    talk_end(&third);
    watch_until(TARGET, 0);
}

static void a_redis_that_was_emptied_is_told_again(void **arg)
{
    struct talk t;

    (void)arg;
    watch_until(TARGET, 0);
    talk_begin(&t);
    say((const char *const[]){"FLUSHALL", NULL});
    watch_until(TARGET, SETTLED_MS);
    clustertalk_again(&t.is);
    talk_end(&t);
    watch_until(TARGET, 0);
}

static void a_controller_that_comes_anew_keeps_the_same_pool(void **arg)
{
    struct talk t;
    struct clusterpool before, after;

    (void)arg;
    watch_until(TARGET, 0);
    talk_begin(&t);
    watch_until(TARGET, 0);
    clusterpool_look(bed, &before);
    clusterbed_kill(bed, 0, SIGKILL);
    controller_begins();
    watch_until(TARGET, SETTLED_MS);
    clusterpool_look(bed, &after);
    for (int i = 0; i < before.here; i++)
        assert_true(clusterpool_holds(&after, before.uids[i]));
    clustertalk_again(&t.is);
    talk_end(&t);
    watch_until(TARGET, 0);
}

static int64_t demand(void)
{
    struct err e = {0};
    own_redis_reply struct redis_reply *r =
        SAY(admin, &e, "LLEN", "podterm:demand");

    if (!r)
        fail_msg("%s", e.text);
    return r->integer;
}

static void wait_demand(int64_t want, int ms)
{
    const int64_t until_ms = loop_now_ms() + ms;

    while (demand() != want) {
        if (loop_now_ms() > until_ms)
            fail_msg("%lld are asked for", (long long)demand());
        poll(NULL, 0, 20);
    }
}

/* It is killed while all are missing: what makes those must not make them
 * again at every poll. */
static void without_a_controller_no_more_are_made(void **arg)
{
    int64_t until_ms;
    struct clusterpool p;

    (void)arg;
    watch_until(TARGET, 0);
    assert_int_equal(clusterbed_call(bed, "DELETE", NULL, NULL,
                                     "/api/v1/namespaces/%s/pods"
                                     "?labelSelector=%s%%3Dkeda,!%s",
                                     bed->ns, PODVIEW_POOL, PODVIEW_LABEL),
                     200);
    wait_demand(TARGET, FILL_MS);
    clusterbed_kill(bed, 0, SIGKILL);
    wait_demand(0, STORE_DEMAND_S * 1000 + 1000);
    until_ms = loop_now_ms() + 3 * POLL_MS;
    while (loop_now_ms() < until_ms) {
        clusterpool_look(
            bed, &p); /* perhaps once more, while it was still asked for */
        assert_in_range(p.here, 0, 2 * TARGET);
        poll(NULL, 0, CLUSTERPOOL_LOOK_MS);
    }
    controller_begins();
    wait_at_most(TARGET);
    watch_until(TARGET, SETTLED_MS);
}

static void kedas_user_reads_the_demand_and_nothing_else(void **arg)
{
    static const char *const denied[][4] = {
        {"LRANGE", "podterm:demand", "0", "-1"},
        {"RPUSH", "podterm:demand", "1", NULL},
        {"DEL", "podterm:demand", NULL, NULL},
        {"EVAL", "return redis.call('DEL','podterm:demand')", "0", NULL},
        {"EVAL", "return redis.call('LLEN','podterm:live')", "0", NULL},
        {"LLEN", "podterm:live", NULL, NULL},
        {"GET", "podterm:rev", NULL, NULL},
        {"KEYS", "*", NULL, NULL},
        {"SCAN", "0", NULL, NULL},
        {"CONFIG", "GET", "*", NULL},
        {"FLUSHALL", NULL, NULL, NULL},
    };
    own_redis_reply struct redis_reply *length = NULL;
    struct err e = {0};

    (void)arg;
    length = SAY(keda, &e, "LLEN", "podterm:demand");
    assert_non_null(length);
    assert_int_equal(length->kind, REDIS_INTEGER);
    for (size_t i = 0; i < sizeof denied / sizeof *denied; i++) {
        const char *words[5] = {denied[i][0], denied[i][1], denied[i][2],
                                denied[i][3]};

        if (redis_say(keda, words, &e))
            fail_msg("%s %s is allowed", words[0], words[1] ? words[1] : "");
        memset(&e, 0, sizeof e);
    }
}

/* How many warm pods were made of the ScaledJob as it is since. */
static size_t made_since(const char *mark)
{
    own_json struct json *pods = NULL;

    assert_int_equal(clusterbed_call(bed, "GET", NULL, &pods,
                                     "/api/v1/namespaces/%s/pods"
                                     "?labelSelector=tests%%3D%s",
                                     bed->ns, mark),
                     200);
    return json_count(json_get(pods, "items"));
}

/* A pod with the mark tells that the operator has seen the change: by then it
 * would have ended what was made before it. */
static void a_change_of_the_scaledjob_leaves_sessions_alone(void **arg)
{
    struct talk first, second;
    int64_t until_ms;

    (void)arg;
    watch_until(TARGET, 0);
    talk_begin(&first);
    watch_until(TARGET, 0);
    KUBECTL("patch", "scaledjob", "podterm-warm", "-n", bed->ns, "--type=merge",
            "-p",
            "{\"spec\":{\"jobTargetRef\":{\"template\":{\"metadata\":"
            "{\"labels\":{\"tests\":\"changed\"}}}}}}");
    until_ms = loop_now_ms() + 2 * FILL_MS;
    talk_begin(&second); /* one that is ready; another takes its place */
    while (made_since("changed") == 0) {
        if (loop_now_ms() > until_ms)
            fail_msg("no pod is made of the changed ScaledJob");
        poll(NULL, 0, CLUSTERPOOL_LOOK_MS);
    }
    clustertalk_again(&first.is);
    talk_end(&first);
    talk_end(&second);
    watch_until(TARGET, 0);
}

/* The last: what it leaves is no pool. */
static void a_lower_target_lets_the_surplus_go(void **arg)
{
    (void)arg;
    watch_until(TARGET, 0);
    for (int want = TARGET - 1; want >= 0; want--) {
        snprintf(target, sizeof target, "%d", want);
        clusterbed_kill(bed, 0, SIGTERM);
        controller_begins();
        wait_at_most(want);
        watch_until(want, SETTLED_MS);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_pool_is_filled_from_nothing_and_stays),
        cmocka_unit_test(
            a_session_takes_a_warm_pod_and_the_pool_is_filled_again),
        cmocka_unit_test(a_used_runner_is_never_used_again),
        cmocka_unit_test(a_redis_that_was_emptied_is_told_again),
        cmocka_unit_test(a_controller_that_comes_anew_keeps_the_same_pool),
        cmocka_unit_test(without_a_controller_no_more_are_made),
        cmocka_unit_test(a_change_of_the_scaledjob_leaves_sessions_alone),
        cmocka_unit_test(kedas_user_reads_the_demand_and_nothing_else),
        cmocka_unit_test(a_lower_target_lets_the_surplus_go),
    };

    return CLUSTERRUN(tests, setup, teardown);
}
