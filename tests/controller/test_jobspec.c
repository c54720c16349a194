/*
 * A session's Job: the template that we ship is taken and filled, and one
 * that would break the session's isolation is refused with the member's name.
 */
#include "controller/jobspec.h"

#include "base/mem.h"
#include "base/own.h"
#include "base/yaml.h"
#include "controller/podview.h"
#include "tests/lib/programs.h"
#include "tests/lib/tree.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define SHIPPED "infra/k8s/session-job.yaml"
#define SID "abcdefghijklmnopqrstuvwxyz"

static const struct jobspec_values values = {
    .sid = SID,
    .agent_image = "example/agent@sha256:1",
    .runner_image = "example/runner@sha256:2",
    .record = "{\"v\":1}",
    .trust = "kid1\nkid2\n",
    .deadline_s = 15000,
};

static const struct json *at(const struct json *j, const char *path)
{
    char name[64];

    while (j && *path) {
        size_t len = strcspn(path, "/");

        snprintf(name, sizeof name, "%.*s", (int)len, path);
        j = json_is_array(j) ? json_at(j, (size_t)atoi(name))
                             : json_get(j, name);
        path += len + (path[len] == '/');
    }
    return j;
}

static void assert_text(const struct json *j, const char *path,
                        const char *value)
{
    const char *is = json_str(at(j, path));

    if (!is || strcmp(is, value) != 0)
        fail_msg("%s is %s, not %s", path, is ? is : "no text", value);
}

static void the_shipped_template_is_filled(void **arg)
{
    struct err e = {0};
    struct jobspec *spec = jobspec_load(SHIPPED, &e);
    own_json struct json *job = NULL, *again = NULL;
    own_mem char *one = NULL, *two = NULL;
    const struct json *meta;
    int64_t n;

    (void)arg;
    if (!spec)
        fail_msg("%s", e.text);
    job = jobspec_job(spec, &values);
    assert_text(job, "metadata/name", "s-" SID);
    meta = at(job, "metadata");
    assert_string_equal(json_get_str(at(meta, "labels"), PODVIEW_LABEL), SID);
    assert_string_equal(json_get_str(at(meta, "labels"), JOBSPEC_MANAGER),
                        "podterm");
    assert_string_equal(
        json_get_str(at(meta, "annotations"), JOBSPEC_ANNOTATION), "{\"v\":1}");
    assert_string_equal(json_get_str(at(meta, "annotations"), JOBSPEC_TRUST),
                        "kid1\nkid2\n");
    assert_string_equal(
        json_get_str(at(job, "spec/template/metadata/labels"), PODVIEW_LABEL),
        SID);
    assert_int_equal(json_get_int(at(job, "spec"), "activeDeadlineSeconds", &n),
                     0);
    assert_int_equal(n, 15000);
    assert_text(job, "spec/template/spec/initContainers/0/image",
                "example/agent@sha256:1");
    assert_text(job, "spec/template/spec/containers/0/image",
                "example/runner@sha256:2");
    assert_text(job, "spec/template/spec/volumes/0/secret/secretName",
                "s-" SID);
    /* what the operator wrote is kept */
    assert_text(job, "spec/template/spec/volumes/1/emptyDir/medium", "Memory");
    again = jobspec_job(spec, &values);
    one = json_text(job);
    two = json_text(again);
    assert_string_equal(one, two);
    jobspec_free(spec);
}

/* The Secret is its Job's, and cannot be changed. */
static void the_secret_goes_with_its_job(void **arg)
{
    struct launch what = {.sid = SID, .spec = (char *)"{\"v\":1}"};
    own_json struct json *secret = NULL;

    (void)arg;
    memset(what.key, 'k', sizeof what.key);
    secret = jobspec_secret(&what, "uid-1");
    assert_text(secret, "kind", "Secret");
    assert_text(secret, "metadata/name", "s-" SID);
    assert_text(secret, "metadata/ownerReferences/0/kind", "Job");
    assert_text(secret, "metadata/ownerReferences/0/name", "s-" SID);
    assert_text(secret, "metadata/ownerReferences/0/uid", "uid-1");
    assert_true(json_is_bool(at(secret, "immutable")));
    assert_string_equal(json_get_str(at(secret, "data"), "spec.json"),
                        "eyJ2IjoxfQ==");
    assert_string_equal(json_get_str(at(secret, "data"), "key"),
                        "a2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2s=");
}

/* --- what is refused --- */

/* The shipped template with one text replaced by another. */
static void refuses(const char *what, const char *by, const char *why)
{
    own_mem char *text = tree_get(SHIPPED, &(size_t){0}), *changed = NULL;
    char *found = strstr(text, what);
    struct jobspec *spec;
    struct json *job;
    struct err e = {0};

    if (!found)
        fail_msg("the template does not say: %s", what);
    changed = mem_printf("%.*s%s%s", (int)(found - text), text, by,
                         found + strlen(what));
    job = yaml_parse(changed, strlen(changed), &e);
    if (!job)
        fail_msg("%s: %s", by, e.text);
    spec = jobspec_of(job, &e);
    if (spec || !strstr(e.text, why))
        fail_msg("%s -> %s: %s", what, by, spec ? "taken" : e.text);
    assert_int_equal(e.kind, ERR_INPUT);
}

static void a_template_that_opens_the_pod_is_refused(void **arg)
{
    static const struct {
        const char *what, *by, *why;
    } cases[] = {
        {"batch/v1", "batch/v2", "batch/v1 Job"},
        {"kind: Job", "kind: CronJob", "batch/v1 Job"},
        {"backoffLimit: 0", "backoffLimit: 1", "backoffLimit"},
        {"backoffLimit: 0", "x: 0", "backoffLimit"},
        {"completions: 1", "completions: 2", "completions"},
        {"restartPolicy: Never", "restartPolicy: OnFailure", "restartPolicy"},
        {"restartPolicy: Always", "x: Always", "agent's restartPolicy"},
        {"automountServiceAccountToken: false",
         "automountServiceAccountToken: true", "automountServiceAccountToken"},
        {"automountServiceAccountToken: false", "x: 1",
         "automountServiceAccountToken"},
        {"enableServiceLinks: false", "hostNetwork: true", "hostNetwork"},
        {"enableServiceLinks: false", "hostPID: true", "hostPID"},
        {"enableServiceLinks: false", "hostIPC: \"no\"", "hostIPC"},
        {"enableServiceLinks: false", "shareProcessNamespace: true",
         "shareProcessNamespace"},
        {"runAsNonRoot: true", "runAsNonRoot: false", "runAsNonRoot"},
        {"allowPrivilegeEscalation: false", "allowPrivilegeEscalation: true",
         "allowPrivilegeEscalation"},
        {"allowPrivilegeEscalation: false",
         "allowPrivilegeEscalation: false\n          privileged: true",
         "privileged"},
        {"readOnlyRootFilesystem: true", "readOnlyRootFilesystem: false",
         "readOnlyRootFilesystem"},
        {"drop: [ALL]", "drop: [NET_RAW]", "drop ALL"},
        {"runAsUser: 10002", "runAsUser: 10001", "runAsUser"},
        {"runAsUser: 10002", "runAsUser: 0", "runAsUser"},
        {"runAsUser: 10001", "x: 10001", "runAsUser"},
        {"- {name: home, mountPath: /home/user}",
         "- {name: session, mountPath: /x}", "must not mount session"},
        {"- {name: home, mountPath: /home/user}",
         "- {name: agent-state, mountPath: /x}", "must not mount agent-state"},
        {"- {name: ipc, mountPath: /run/podterm/ipc, readOnly: true}",
         "- {name: ipc, mountPath: /run/podterm/ipc}", "readOnly"},
        {"- {name: bundle, mountPath: /run/podterm/bundle, readOnly: true}",
         "- {name: bundle, mountPath: /x, readOnly: false}", "readOnly"},
        {"emptyDir: {sizeLimit: 512Mi}", "hostPath: {path: /}", "hostPath"},
        {"secret: {secretName", "configMap: {name", "volume session"},
        {"- name: runner", "- name: other", "containers must be runner"},
        {"      containers:\n",
         "      containers:\n      - name: more\n        image: x\n",
         "containers must be runner"},
        {"- name: agent\n", "- name: other\n", "initContainers must be agent"},
    };

    (void)arg;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        refuses(cases[i].what, cases[i].by, cases[i].why);
}

static void what_is_no_template_is_told(void **arg)
{
    char *dir = scratch_new();
    own_mem char *path = mem_printf("%s/job.yaml", dir);
    struct err e = {0};

    (void)arg;
    assert_null(jobspec_load(path, &e));
    assert_int_equal(e.kind, ERR_ABSENT);
    tree_put(dir, "job.yaml", "a: [");
    assert_null(jobspec_load(path, &e));
    assert_non_null(strstr(e.text, path));
    assert_non_null(strstr(e.text, "line "));
    tree_put(dir, "job.yaml", "a: b");
    assert_null(jobspec_load(path, &e));
    assert_int_equal(e.kind, ERR_INPUT);
    scratch_remove(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_shipped_template_is_filled),
        cmocka_unit_test(the_secret_goes_with_its_job),
        cmocka_unit_test(a_template_that_opens_the_pod_is_refused),
        cmocka_unit_test(what_is_no_template_is_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
