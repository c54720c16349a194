/*
 * infra/k8s against a real API server: both overlays pass strict validation,
 * `local` is applied, rights are as shipped and no more, a session's Job is
 * admitted and what breaks the restricted standard is not. In a cluster of the
 * tests' own alone: it makes the namespaces of an installation.
 */
#include "base/json.h"
#include "base/mem.h"
#include "base/own.h"
#include "base/yaml.h"
#include "controller/jobspec.h"
#include "tests/lib/manifests.h"
#include "tests/lib/programs.h"
#include "tests/lib/skipped.h"
#include "tests/lib/tree.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define CONTROLLER "--as=system:serviceaccount:podterm:podterm-controller"
#define GATEWAY "--as=system:serviceaccount:podterm:podterm-gateway"
#define SESSION "--as=system:serviceaccount:podterm-sessions:podterm-session"
#define SID "abcdefghijklmnopqrstuvwxyz"
#define APPLY "apply", "--server-side", "--force-conflicts", "--validate=strict"

static char *dir;
static int lock_fd;

/* kubectl fails on a kind that has no condition yet. */
static void wait_for_kinds(void)
{
    bool are_there = false;

    for (int i = 0; i < 100 && !are_there; i++) {
        struct child c = {0};

        manifests_kubectl(
            &c, (const char *const[]){"wait", "--for=condition=Established",
                                      "crd", "--all", "--timeout=30s", NULL});
        are_there = c.code == 0;
        child_fini(&c);
    }
    assert_true(are_there);
}

static int setup(void **arg)
{
    const char *cluster = getenv("PODTERM_CLUSTER");
    own_mem char *crds = mem_printf("%s/crds", cluster ? cluster : "");

    (void)arg;
    dir = scratch_new();
    if (!cluster)
        return 0;
    lock_fd = manifests_lock();
    free(MANIFESTS_ASK(APPLY, "-f", crds));
    wait_for_kinds();
    free(MANIFESTS_ASK(APPLY, "-k", "infra/k8s/overlays/local"));
    return 0;
}

static int teardown(void **arg)
{
    (void)arg;
    if (getenv("PODTERM_CLUSTER")) {
        free(MANIFESTS_ASK("delete", "namespace", "podterm", "podterm-sessions",
                           "--timeout=60s"));
        close(lock_fd);
    }
    scratch_remove(dir);
    return 0;
}

static void need_own_cluster(void)
{
    if (!getenv("PODTERM_CLUSTER"))
        skipped("a cluster of the tests' own alone");
}

/* --- validation --- */

static void both_overlays_pass_strict_validation(void **arg)
{
    (void)arg;
    need_own_cluster();
    free(MANIFESTS_ASK(APPLY, "--dry-run=server", "-k",
                       "infra/k8s/overlays/local"));
    free(MANIFESTS_ASK(APPLY, "--dry-run=server", "-k",
                       "infra/k8s/overlays/gke"));
}

/* What is refused, in a copy of the overlay with one text replaced. */
static void a_field_that_does_not_exist_is_refused(void **arg)
{
    static const struct {
        const char *what, *by;
    } cases[] = {
        {"timeoutSec: 86400", "timeoutSecs: 86400"},
        {"requestPath: /readyz", "path: /readyz"},
        {"cooldownPeriod: 600", "coolDownPeriod: 600"},
        {"terminationGracePeriodSeconds: 60", "gracePeriodSeconds: 60"},
        {"backendRefs:", "backends:"},
    };

    (void)arg;
    need_own_cluster();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        own_mem char *text = manifests_render("gke"), *changed = NULL;
        own_mem char *path = mem_printf("%s/changed.yaml", dir);
        char *found = strstr(text, cases[i].what);
        struct child c = {0};

        assert_non_null(found);
        changed = mem_printf("%.*s%s%s", (int)(found - text), text, cases[i].by,
                             found + strlen(cases[i].what));
        tree_put(dir, "changed.yaml", changed);
        manifests_kubectl(&c, (const char *const[]){APPLY, "--dry-run=server",
                                                    "-f", path, NULL});
        if (c.code == 0 || !(strstr(c.err, "unknown field") ||
                             strstr(c.err, "field not declared in schema")))
            fail_msg("%s: %s%s", cases[i].by, c.out, c.err);
        child_fini(&c);
    }
}

/* --- rights --- */

struct right {
    const char *verb, *resource, *ns; /* resource may be TYPE/NAME */
};

static const struct right may[] = {
    {"create", "jobs.batch", "podterm-sessions"},
    {"get", "jobs.batch", "podterm-sessions"},
    {"list", "jobs.batch", "podterm-sessions"},
    {"watch", "jobs.batch", "podterm-sessions"},
    {"delete", "jobs.batch", "podterm-sessions"},
    {"list", "pods", "podterm-sessions"},
    {"watch", "pods", "podterm-sessions"},
    {"patch", "pods", "podterm-sessions"},
    {"create", "secrets", "podterm-sessions"},
    {"delete", "secrets", "podterm-sessions"},
    {"create", "leases.coordination.k8s.io", "podterm"},
    {"get", "leases.coordination.k8s.io/podterm-controller", "podterm"},
    {"update", "leases.coordination.k8s.io/podterm-controller", "podterm"},
};

static const struct right may_not[] = {
    {"create", "pods", "podterm-sessions"},
    {"get", "pods", "podterm-sessions"},
    {"delete", "pods", "podterm-sessions"},
    {"update", "pods", "podterm-sessions"},
    {"deletecollection", "pods", "podterm-sessions"},
    {"get", "pods/log", "podterm-sessions"},
    {"create", "pods/exec", "podterm-sessions"},
    {"get", "pods/exec", "podterm-sessions"},
    {"create", "pods/attach", "podterm-sessions"},
    {"get", "pods/attach", "podterm-sessions"},
    {"create", "pods/portforward", "podterm-sessions"},
    {"get", "pods/portforward", "podterm-sessions"},
    {"create", "pods/eviction", "podterm-sessions"},
    {"update", "pods/ephemeralcontainers", "podterm-sessions"},
    {"patch", "pods/status", "podterm-sessions"},
    {"get", "secrets", "podterm-sessions"},
    {"list", "secrets", "podterm-sessions"},
    {"watch", "secrets", "podterm-sessions"},
    {"update", "secrets", "podterm-sessions"},
    {"patch", "secrets", "podterm-sessions"},
    {"update", "jobs.batch", "podterm-sessions"},
    {"patch", "jobs.batch", "podterm-sessions"},
    {"deletecollection", "jobs.batch", "podterm-sessions"},
    {"create", "serviceaccounts/token", "podterm-sessions"},
    {"get", "secrets", "podterm"},
    {"list", "secrets", "podterm"},
    {"create", "secrets", "podterm"},
    {"create", "jobs.batch", "podterm"},
    {"get", "pods", "podterm"},
    {"get", "leases.coordination.k8s.io/another", "podterm"},
    {"update", "leases.coordination.k8s.io/another", "podterm"},
    {"delete", "leases.coordination.k8s.io/podterm-controller", "podterm"},
    {"list", "leases.coordination.k8s.io", "podterm"},
    {"get", "configmaps", "podterm"},
    {"create", "rolebindings.rbac.authorization.k8s.io", "podterm-sessions"},
    {"get", "pods", "kube-system"},
    {"get", "nodes", "default"},
    {"list", "namespaces", "default"},
    {"impersonate", "users", "default"},
};

/* "TYPE/SUB" is a subresource for pods and service accounts, else a name. */
static bool can(const char *who, const struct right *r)
{
    own_mem char *type = mem_str(r->resource), *sub = NULL;
    const char *slash = strchr(r->resource, '/');
    const bool is_sub =
        slash && (strncmp(r->resource, "pods/", 5) == 0 ||
                  strncmp(r->resource, "serviceaccounts/", 16) == 0);
    struct child c = {0};
    bool yes;

    if (is_sub) {
        type[slash - r->resource] = '\0';
        sub = mem_printf("--subresource=%s", slash + 1);
    }
    manifests_kubectl(&c, (const char *const[]){"auth", "can-i", "-n", r->ns,
                                                who, r->verb, type, sub, NULL});
    yes = strncmp(c.out, "yes\n", 4) == 0;
    if (!yes && strncmp(c.out, "no", 2) != 0)
        fail_msg("%s %s: %s%s", r->verb, r->resource, c.out, c.err);
    child_fini(&c);
    return yes;
}

static void the_controller_may_do_what_it_must_and_no_more(void **arg)
{
    (void)arg;
    need_own_cluster();
    for (size_t i = 0; i < sizeof may / sizeof *may; i++)
        if (!can(CONTROLLER, &may[i]))
            fail_msg("the controller may not %s %s in %s", may[i].verb,
                     may[i].resource, may[i].ns);
    for (size_t i = 0; i < sizeof may_not / sizeof *may_not; i++)
        if (can(CONTROLLER, &may_not[i]))
            fail_msg("the controller may %s %s in %s", may_not[i].verb,
                     may_not[i].resource, may_not[i].ns);
}

static void may_none(const struct right *rights, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (can(GATEWAY, &rights[i]) || can(SESSION, &rights[i]))
            fail_msg("gateway or session may %s %s", rights[i].verb,
                     rights[i].resource);
}

static void gateway_and_sessions_may_do_nothing(void **arg)
{
    (void)arg;
    need_own_cluster();
    may_none(may, sizeof may / sizeof *may);
    may_none(may_not, sizeof may_not / sizeof *may_not);
}

/* --- admission --- */

static char *job_file(const char *template)
{
    const struct jobspec_values values = {
        .sid = SID,
        .agent_image = "localhost/podterm-agent:none",
        .runner_image = "localhost/podterm-runner:none",
        .record = "{}",
        .trust = "k1\nk2",
        .deadline_s = 600,
    };
    struct err e = {0};
    struct jobspec *spec = jobspec_load(template, &e);
    own_json struct json *job = NULL;
    own_mem char *text = NULL;

    if (!spec)
        fail_msg("%s", e.text);
    job = jobspec_job(spec, &values);
    text = json_text(job);
    jobspec_free(spec);
    tree_put(dir, "job.json", text);
    return mem_printf("%s/job.json", dir);
}

/* The controller makes it as itself; its pod comes past Pod Security, quota
 * and limits. */
static void a_session_is_admitted(void **arg)
{
    own_mem char *path = job_file("infra/k8s/session-job.yaml"), *pods = NULL;
    own_mem char *used = NULL;

    (void)arg;
    need_own_cluster();
    free(MANIFESTS_ASK("create", CONTROLLER, "-n", "podterm-sessions",
                       "--validate=strict", "-f", path));
    pods = MANIFESTS_ASK("wait", "-n", "podterm-sessions", "--timeout=30s",
                         "--for=jsonpath={.status.active}=1", "job/s-" SID);
    used = MANIFESTS_ASK("get", "resourcequota", "-n", "podterm-sessions",
                         "podterm-sessions", "-o", "jsonpath={.status.used}");
    assert_non_null(strstr(used, "\"count/jobs.batch\":\"1\""));
    free(MANIFESTS_ASK("delete", CONTROLLER, "-n", "podterm-sessions", "job",
                       "s-" SID, "--wait=false"));
}

static void what_breaks_the_restricted_standard_is_refused(void **arg)
{
    static const struct {
        const char *what, *by;
    } cases[] = {
        {"\"runAsNonRoot\":true", "\"runAsNonRoot\":false"},
        {"\"allowPrivilegeEscalation\":false",
         "\"allowPrivilegeEscalation\":true"},
        {"\"drop\":[\"ALL\"]", "\"drop\":[]"},
        {"\"RuntimeDefault\"", "\"Unconfined\""},
        {"\"restartPolicy\":\"Never\"",
         "\"hostNetwork\":true,\"restartPolicy\":\"Never\""},
    };
    own_mem char *path = job_file("infra/k8s/session-job.yaml");
    own_mem char *text = tree_get(path, &(size_t){0});
    own_json struct json *job = json_parse(text, strlen(text), NULL);
    const struct json *template = json_get(json_get(job, "spec"), "template");

    (void)arg;
    need_own_cluster();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        own_json struct json *pod = json_object();
        own_mem char *whole = NULL, *changed = NULL;
        own_mem char *at = mem_printf("%s/pod.json", dir);
        struct child c = {0};
        char *found;

        json_set_str(pod, "apiVersion", "v1");
        json_set_str(pod, "kind", "Pod");
        json_set_str(json_set(pod, "metadata", json_object()), "name", "open");
        json_set(pod, "spec", json_dup(json_get(template, "spec")));
        whole = json_text(pod);
        found = strstr(whole, cases[i].what);
        assert_non_null(found);
        changed = mem_printf("%.*s%s%s", (int)(found - whole), whole,
                             cases[i].by, found + strlen(cases[i].what));
        tree_put(dir, "pod.json", changed);
        manifests_kubectl(
            &c, (const char *const[]){"create", "--dry-run=server", "-n",
                                      "podterm-sessions", "-f", at, NULL});
        if (c.code == 0 || !strstr(c.err, "violates PodSecurity"))
            fail_msg("%s: %s%s", cases[i].by, c.out, c.err);
        child_fini(&c);
    }
}

/* --- the template's components --- */

static const char *const mounts[] = {
    "dev.gvisor.spec.mount.ipc.type: tmpfs\n",
    "dev.gvisor.spec.mount.ipc.share: pod\n",
    "dev.gvisor.spec.mount.ipc.options: rw\n",
};

static void one_setting_turns_gvisor_and_the_agents_profile_on(void **arg)
{
    own_mem char *local = manifests_render("local"),
                 *gke = manifests_render("gke");
    own_mem char *plain = manifests_template(local),
                 *gvisor = manifests_template(gke);
    own_mem char *shipped =
        tree_get("infra/k8s/session-job.yaml", &(size_t){0});
    own_mem char *here = mem_printf("%s/both", dir), *both = NULL, *cut = NULL;
    own_mem char *cp =
        mem_printf("cp -r infra/k8s %s && sed -i 's/^# components/components/' "
                   "%s/overlays/local/kustomization.yaml",
                   here, here);
    own_mem char *overlay = mem_printf("%s/overlays/local", here);
    own_mem char *path = mem_printf("%s/template.yaml", dir);
    struct jobspec *spec;
    struct err e = {0};

    (void)arg;
    assert_string_equal(plain, shipped);
    assert_non_null(strstr(gvisor, "\n      runtimeClassName: gvisor\n"));
    for (size_t i = 0; i < sizeof mounts / sizeof *mounts; i++)
        assert_non_null(strstr(gvisor, mounts[i]));
    assert_int_equal(system(cp), 0);
    both = MANIFESTS_ASK("kustomize", overlay);
    cut = manifests_template(both);
    assert_non_null(strstr(cut, "\n          seccompProfile: {type: Localhost, "
                                "localhostProfile: podterm/agent.json}\n"));
    tree_put(dir, "template.yaml", cut);
    spec = jobspec_load(path, &e);
    if (!spec)
        fail_msg("%s", e.text);
    jobspec_free(spec);
}

/* The pod that KEDA makes, out of what an overlay renders. */
static struct json *keda_pod_of(const char *rendered)
{
    own_mem char *copy = mem_str(rendered);
    char *at = copy, *doc;
    struct err e = {0};

    while ((doc = manifests_next(&at))) {
        own_json struct json *j = yaml_parse(doc, strlen(doc), &e);

        if (json_get_is(j, "kind", "ScaledJob"))
            return json_dup(json_get(
                json_get(json_get(j, "spec"), "jobTargetRef"), "template"));
    }
    fail_msg("no ScaledJob in what was rendered");
    return NULL;
}

/* What a component adds to a session's pod it adds to KEDA's runners. */
static void kedas_pods_are_like_a_sessions(void **arg)
{
    static const char *const components[] = {
        "../../../keda", "../../../keda, ../../components/gvisor",
        "../../../keda, ../../components/agent-seccomp",
        "../../../keda, ../../components/gvisor, "
        "../../components/agent-seccomp"};

    (void)arg;
    for (size_t i = 0; i < sizeof components / sizeof *components; i++) {
        own_mem char *here = mem_printf("%s/keda-%zu", dir, i);
        own_mem char *overlay = mem_printf("%s/k8s/overlays/gke", here);
        own_mem char *cp = mem_printf(
            "cp -r infra %s && sed -i 's|^components:.*|components: [%s]|' "
            "%s/kustomization.yaml",
            here, components[i], overlay);
        own_mem char *path = mem_printf("%s/template.yaml", dir);
        own_mem char *all = NULL, *text = NULL;
        own_json struct json *pod = NULL;
        const struct json *spec, *init;
        struct jobspec *template;
        struct err e = {0};

        assert_int_equal(system(cp), 0);
        all = MANIFESTS_ASK("kustomize", overlay);
        text = manifests_template(all);
        tree_put(dir, "template.yaml", text);
        template = jobspec_load(path, &e);
        if (!template)
            fail_msg("%s: %s", components[i], e.text);
        pod = keda_pod_of(all);
        spec = json_get(pod, "spec");
        init = json_get(spec, "initContainers");
        assert_int_equal(
            json_get_is(json_get(json_get(pod, "metadata"), "annotations"),
                        "dev.gvisor.spec.mount.ipc.share", "pod"),
            strstr(components[i], "gvisor") != NULL);
        if (jobspec_is_now(
                template, pod, "podterm-warm-x",
                json_get_str(json_find(init, "name", "agent"), "image"),
                json_get_str(json_at(json_get(spec, "containers"), 0), "image"),
                &e) < 0)
            fail_msg("%s: %s", components[i], e.text);
        jobspec_free(template);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_overlays_pass_strict_validation),
        cmocka_unit_test(a_field_that_does_not_exist_is_refused),
        cmocka_unit_test(the_controller_may_do_what_it_must_and_no_more),
        cmocka_unit_test(gateway_and_sessions_may_do_nothing),
        cmocka_unit_test(a_session_is_admitted),
        cmocka_unit_test(what_breaks_the_restricted_standard_is_refused),
        cmocka_unit_test(one_setting_turns_gvisor_and_the_agents_profile_on),
        cmocka_unit_test(kedas_pods_are_like_a_sessions),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
