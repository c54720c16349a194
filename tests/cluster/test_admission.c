/*
 * What infra/k8s lets the controller's account do beyond its Role: the Jobs,
 * Secrets and marks it makes are admitted, and what a thief of it would make
 * is not. In a cluster of the tests' own alone: it makes the namespaces of an
 * installation.
 */
#include "base/json.h"
#include "base/mem.h"
#include "base/own.h"
#include "controller/jobspec.h"
#include "tests/lib/manifests.h"
#include "tests/lib/programs.h"
#include "tests/lib/skipped.h"
#include "tests/lib/tree.h"

#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define CONTROLLER "--as=system:serviceaccount:podterm:podterm-controller"
#define NS "podterm-sessions"
#define SID "abcdefghijklmnopqrstuvwxyz"
#define APPLY "apply", "--server-side", "--force-conflicts", "--validate=strict"
#define SECRETS "/api/v1/namespaces/" NS "/secrets/"
#define SOON_MS 30000

static char *dir;
static int lock_fd;

/* --- what is made --- */

static char *job_text(bool is_warm)
{
    const struct jobspec_values values = {
        .sid = SID,
        .is_warm = is_warm,
        .agent_image = "localhost/podterm-agent:none",
        .runner_image = "localhost/podterm-runner:none",
        .record = "{}",
        .trust = "k1\nk2",
        .deadline_s = 600,
    };
    struct err e = {0};
    struct jobspec *spec = jobspec_load("infra/k8s/session-job.yaml", &e);
    own_json struct json *job = NULL;

    if (!spec)
        fail_msg("%s", e.text);
    job = jobspec_job(spec, &values);
    jobspec_free(spec);
    return json_text(job);
}

static char *secret_text(bool is_warm, const char *uid)
{
    const struct launch what = {.sid = SID, .spec = "{}"};
    own_json struct json *secret =
        is_warm ? jobspec_warm_secret(&what, uid) : jobspec_secret(&what, uid);

    return json_text(secret);
}

/* text with one part of it replaced, which must be there. */
static char *replaced(const char *text, const char *what, const char *by)
{
    const char *found = strstr(text, what);

    if (!found)
        fail_msg("no %s in %s", what, text);
    return mem_printf("%.*s%s%s", (int)(found - text), text, by,
                      found + strlen(what));
}

/* As who: CONTROLLER, or NULL = who may do all. dry: nothing stays. */
static void make(struct child *c, const char *who, bool is_dry,
                 const char *text)
{
    own_mem char *path = mem_printf("%s/object.json", dir);

    tree_put(dir, "object.json", text);
    manifests_kubectl(
        c, (const char *const[]){
               "create", "-n", NS, "--validate=strict", "-f", path,
               is_dry ? "--dry-run=server" : "--dry-run=none", who, NULL});
}

static void is_made(const char *who, bool is_dry, const char *text)
{
    struct child c = {0};

    make(&c, who, is_dry, text);
    if (c.code != 0)
        fail_msg("%s: %s", c.err, text);
    child_fini(&c);
}

static bool was_refused(const struct child *c)
{
    return c->code != 0 && strstr(c->err, "ValidatingAdmissionPolicy") != NULL;
}

/* The controller may not make it; whoever may make all, may. */
static void is_refused(const char *text)
{
    struct child c = {0};

    is_made(NULL, true, text);
    make(&c, CONTROLLER, true, text);
    if (!was_refused(&c))
        fail_msg("%s%s: %s", c.out, c.err, text);
    child_fini(&c);
}

/* --- before and after --- */

static void need_own_cluster(void)
{
    if (!getenv("PODTERM_CLUSTER"))
        skipped("a cluster of the tests' own alone");
}

/* A policy takes a moment until it is in force. */
static void wait_for_policies(void)
{
    static const char *const kinds[] = {
        "{\"apiVersion\":\"batch/v1\",\"kind\":\"Job\",\"metadata\":{\"name\":"
        "\"none\"},\"spec\":{\"template\":{\"spec\":{\"restartPolicy\":"
        "\"Never\",\"containers\":[{\"name\":\"a\",\"image\":\"a\"}]}}}}",
        "{\"apiVersion\":\"v1\",\"kind\":\"Secret\",\"metadata\":{\"name\":"
        "\"none\"}}",
    };

    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        bool is_in_force = false;

        for (int ms = 0; !is_in_force && ms < SOON_MS; ms += 100) {
            struct child c = {0};

            make(&c, CONTROLLER, true, kinds[i]);
            is_in_force = was_refused(&c);
            child_fini(&c);
            poll(NULL, 0, 100);
        }
        assert_true(is_in_force);
    }
}

static int setup(void **arg)
{
    (void)arg;
    dir = scratch_new();
    if (!getenv("PODTERM_CLUSTER"))
        return 0;
    lock_fd = manifests_lock();
    free(MANIFESTS_ASK(APPLY, "-f", "infra/k8s/base/namespaces.yaml"));
    free(MANIFESTS_ASK(APPLY, "-f", "infra/k8s/base/rbac.yaml", "-f",
                       "infra/k8s/base/admission.yaml", "-f",
                       "infra/k8s/base/limits.yaml"));
    wait_for_policies();
    return 0;
}

static int teardown(void **arg)
{
    (void)arg;
    if (getenv("PODTERM_CLUSTER")) {
        free(MANIFESTS_ASK("delete", "namespace", "podterm", NS,
                           "--timeout=60s"));
        close(lock_fd);
    }
    scratch_remove(dir);
    return 0;
}

/* --- Jobs and their Secrets --- */

static void what_the_controller_makes_is_admitted(void **arg)
{
    static const char *const names[] = {"s-" SID, "w-" SID};

    (void)arg;
    need_own_cluster();
    for (int is_warm = 0; is_warm < 2; is_warm++) {
        own_mem char *job = job_text(is_warm), *uid = NULL, *secret = NULL;
        own_mem char *path = mem_printf(SECRETS "%s", names[is_warm]);

        is_made(CONTROLLER, false, job);
        uid = MANIFESTS_ASK("get", CONTROLLER, "-n", NS, "job", names[is_warm],
                            "-o", "jsonpath={.metadata.uid}");
        secret = secret_text(is_warm, uid);
        is_made(CONTROLLER, false, secret);
        free(MANIFESTS_ASK("delete", CONTROLLER, "--raw", path));
        free(MANIFESTS_ASK("delete", CONTROLLER, "-n", NS, "job",
                           names[is_warm], "--wait=false"));
    }
}

#define POOL "\"name\":\"podterm-pool\""

static void a_job_that_would_read_what_is_not_its_own_is_refused(void **arg)
{
    static const char state[] =
        "\"emptyDir\":{\"medium\":\"Memory\",\"sizeLimit\":\"4Mi\"}";
    static const struct {
        const char *what, *by;
    } cases[] = {
        {"\"secretName\":\"s-" SID "\"", "\"secretName\":\"podterm-pool\""},
        {"\"secretName\":\"s-" SID "\"", "\"secretName\":\"w-" SID "\""},
        {state, "\"projected\":{\"sources\":[{\"secret\":{" POOL "}}]}"},
        {state, "\"projected\":{\"sources\":[{\"serviceAccountToken\":"
                "{\"path\":\"token\"}}]}"},
        {state,
         "\"csi\":{\"driver\":\"d\",\"nodePublishSecretRef\":{" POOL "}}"},
        {state, "\"persistentVolumeClaim\":{\"claimName\":\"data\"}"},
        {state, "\"configMap\":{\"name\":\"podterm-warm\"}"},
        {"\"fieldRef\":{\"fieldPath\":\"metadata.uid\"}",
         "\"secretKeyRef\":{\"key\":\"secret\"," POOL "}"},
        {"\"command\":[",
         "\"envFrom\":[{\"secretRef\":{" POOL "}}],\"command\":["},
        {"\"serviceAccountName\":\"podterm-session\"",
         "\"serviceAccountName\":\"default\""},
        {"\"automountServiceAccountToken\":false",
         "\"automountServiceAccountToken\":true"},
        {"\"name\":\"s-" SID "\"", "\"name\":\"podterm-pool\""},
        {"\"name\":\"s-" SID "\"", "\"generateName\":\"s-\""},
    };
    own_mem char *job = job_text(false);

    (void)arg;
    need_own_cluster();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        own_mem char *text = replaced(job, cases[i].what, cases[i].by);

        is_refused(text);
    }
}

static void only_a_jobs_secrets_are_made_and_removed(void **arg)
{
    static const char pool[] = "{\"apiVersion\":\"v1\",\"kind\":\"Secret\","
                               "\"metadata\":{" POOL "}}";
    static const char token[] =
        "{\"apiVersion\":\"v1\",\"kind\":\"Secret\",\"type\":"
        "\"kubernetes.io/service-account-token\",\"metadata\":{\"name\":"
        "\"s-" SID "\",\"annotations\":{\"kubernetes.io/"
        "service-account.name\":\"podterm-session\"}}}";
    struct child c = {0};

    (void)arg;
    need_own_cluster();
    is_refused(pool);
    is_refused(token);
    is_made(NULL, false, pool);
    manifests_kubectl(&c, (const char *const[]){"delete", CONTROLLER, "--raw",
                                                SECRETS "podterm-pool", NULL});
    assert_true(was_refused(&c));
    child_fini(&c);
    free(MANIFESTS_ASK("delete", "-n", NS, "secret", "podterm-pool"));
}

/* --- pods --- */

/* A change of it as the controller, which may not get one by its name. */
#define CHANGE(c, ...)                                                         \
    manifests_kubectl(c, (const char *const[]){__VA_ARGS__, CONTROLLER, "-n",  \
                                               NS, "-l", "is=it", NULL})

static void a_pod_is_marked_and_not_changed(void **arg)
{
    own_mem char *job = job_text(false);
    own_json struct json *tree = json_parse(job, strlen(job), NULL);
    own_json struct json *pod = json_object();
    const struct json *spec =
        json_get(json_get(json_get(tree, "spec"), "template"), "spec");
    own_mem char *plain = NULL, *text = NULL, *image = NULL;
    struct child c = {0};

    (void)arg;
    need_own_cluster();
    json_set_str(pod, "apiVersion", "v1");
    json_set_str(pod, "kind", "Pod");
    json_set(pod, "metadata", json_object());
    json_set(pod, "spec", json_dup(spec));
    plain = json_text(pod);
    text =
        replaced(plain, "\"metadata\":{}",
                 "\"metadata\":{\"name\":\"it\",\"labels\":{\"is\":\"it\"}}");
    is_made(NULL, false, text);
    CHANGE(&c, "label", "pods", "podterm.dev/session=" SID);
    if (c.code != 0)
        fail_msg("%s", c.err);
    child_fini(&c);
    CHANGE(&c, "annotate", "pods", "podterm.dev/record={}");
    assert_int_equal(c.code, 0);
    child_fini(&c);
    CHANGE(&c, "set", "image", "pods", "runner=localhost/another:none");
    if (!was_refused(&c))
        fail_msg("%s%s", c.out, c.err);
    child_fini(&c);
    image = MANIFESTS_ASK("get", "-n", NS, "pod", "it", "-o",
                          "jsonpath={.spec.containers[0].image}");
    assert_string_equal(image, "localhost/podterm-runner:none");
    free(MANIFESTS_ASK("delete", "-n", NS, "pod", "it", "--force",
                       "--grace-period=0"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_the_controller_makes_is_admitted),
        cmocka_unit_test(a_job_that_would_read_what_is_not_its_own_is_refused),
        cmocka_unit_test(only_a_jobs_secrets_are_made_and_removed),
        cmocka_unit_test(a_pod_is_marked_and_not_changed),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
