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
#define IPC_DIR "/run/podterm/ipc"
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

/* The shipped template with texts replaced: pairs, each text in all its places
 * ("all" before) or in the first; to be freed with json_free. */
static struct json *changed(const char *const (*changes)[2])
{
    char *text = tree_get(SHIPPED, &(size_t){0});
    struct err e = {0};
    struct json *job;

    for (; (*changes)[0]; changes++) {
        const char *what = (*changes)[0], *by = (*changes)[1];
        const bool is_all = strncmp(what, "all ", 4) == 0;
        size_t from = 0;
        char *found;

        what += is_all ? 4 : 0;
        if (!strstr(text, what))
            fail_msg("the template does not say: %s", what);
        while ((found = strstr(text + from, what))) {
            char *next = mem_printf("%.*s%s%s", (int)(found - text), text, by,
                                    found + strlen(what));

            from = (size_t)(found - text) + strlen(by);
            free(text);
            text = next;
            if (!is_all)
                break;
        }
    }
    job = yaml_parse(text, strlen(text), &e);
    if (!job)
        fail_msg("%s", e.text);
    free(text);
    return job;
}

static void refuses(const char *const (*changes)[2], const char *why)
{
    struct jobspec *spec;
    struct err e = {0};

    spec = jobspec_of(changed(changes), &e);
    if (spec || !strstr(e.text, why))
        fail_msg("%s -> %s: %s", (*changes)[0], (*changes)[1],
                 spec ? "taken" : e.text);
    assert_int_equal(e.kind, ERR_INPUT);
}

static void takes(const char *const (*changes)[2])
{
    struct err e = {0};
    struct jobspec *spec = jobspec_of(changed(changes), &e);

    if (!spec)
        fail_msg("%s -> %s: %s", (*changes)[0], (*changes)[1], e.text);
    jobspec_free(spec);
}

#define POD "spec.template.spec."
#define AGENT "initContainers[agent]."
#define RUNNER "containers[runner]."
#define TMP "        - {name: tmp, mountPath: /tmp}\n"
#define VOLUME(more) "      volumes:\n", "      volumes:\n" more
#define RUNNER_USER "          runAsUser: 10002\n          runAsGroup: 10002\n"

static void a_template_that_opens_the_pod_is_refused(void **arg)
{
    static const struct {
        const char *const change[4][2];
        const char *why;
    } cases[] = {
        {{{"batch/v1", "batch/v2"}}, "batch/v1 Job"},
        {{{"kind: Job", "kind: CronJob"}}, "batch/v1 Job"},
        {{{"backoffLimit: 0", "backoffLimit: 1"}}, "spec.backoffLimit"},
        {{{"backoffLimit: 0", "x: 0"}}, "spec.x"},
        {{{"  backoffLimit: 0", "  #"}}, "spec.backoffLimit"},
        {{{"completions: 1", "completions: 2"}}, "completions"},
        {{{"  parallelism: 1", "  suspend: true\n  parallelism: 1"}},
         "spec.suspend"},
        {{{"  ttlSecondsAfterFinished: 120\n", ""}},
         "spec.ttlSecondsAfterFinished"},
        {{{"action: FailJob", "action: Ignore"}}, "podFailurePolicy"},
        {{{"metadata: {}", "metadata: {labels: {podterm.dev/session: x}}"}},
         "metadata.labels.podterm.dev/session"},
        {{{"metadata: {}", "metadata: {annotations: {podterm.dev/trust: x}}"}},
         "metadata.annotations.podterm.dev/trust"},
        {{{"restartPolicy: Never", "restartPolicy: OnFailure"}},
         POD "restartPolicy"},
        {{{"restartPolicy: Always", "livenessProbe: {}"}},
         POD AGENT "restartPolicy"},
        {{{"automountServiceAccountToken: false",
           "automountServiceAccountToken: true"}},
         POD "automountServiceAccountToken"},
        {{{"automountServiceAccountToken: false", "hostUsers: false"}},
         POD "automountServiceAccountToken"},
        {{{"enableServiceLinks: false", "hostNetwork: true"}},
         POD "hostNetwork"},
        {{{"enableServiceLinks: false", "hostPID: true"}}, POD "hostPID"},
        {{{"enableServiceLinks: false", "hostIPC: \"no\""}}, POD "hostIPC"},
        {{{"enableServiceLinks: false", "shareProcessNamespace: true"}},
         POD "shareProcessNamespace"},
        {{{"enableServiceLinks: false", "somethingNew: true"}},
         POD "somethingNew"},
        {{{"runAsNonRoot: true", "runAsNonRoot: false"}},
         POD "securityContext.runAsNonRoot"},
        {{{"fsGroup: 10000", "fsGroup: 0"}}, "securityContext.fsGroup"},
        {{{"fsGroup: 10000", "supplementalGroups: [10001]"}},
         "securityContext.supplementalGroups"},
        {{{"fsGroup: 10000", "sysctls: [{name: a, value: b}]"}},
         "securityContext.sysctls"},
        /* users, rights */
        {{{"allowPrivilegeEscalation: false",
           "allowPrivilegeEscalation: true"}},
         POD AGENT "securityContext.allowPrivilegeEscalation"},
        {{{"allowPrivilegeEscalation: false",
           "allowPrivilegeEscalation: false\n          privileged: true"}},
         POD AGENT "securityContext.privileged"},
        {{{"readOnlyRootFilesystem: true", "readOnlyRootFilesystem: false"}},
         "readOnlyRootFilesystem"},
        {{{"drop: [ALL]", "drop: [NET_RAW]"}}, "capabilities.drop"},
        {{{"all drop: [ALL]", "drop: [ALL], add: [SYS_ADMIN, NET_ADMIN]"}},
         "securityContext.capabilities.add"},
        {{{"runAsUser: 10002", "runAsUser: 10001"}},
         POD RUNNER "securityContext.runAsUser"},
        {{{"runAsUser: 10002", "runAsUser: 0"}},
         POD RUNNER "securityContext.runAsUser"},
        {{{"          runAsUser: 10001\n", ""}},
         POD AGENT "securityContext.runAsUser"},
        {{{"          runAsGroup: 10002\n", ""}},
         POD RUNNER "securityContext.runAsGroup"},
        {{{"          runAsGroup: 10001\n", ""}},
         POD AGENT "securityContext.runAsGroup"},
        {{{"runAsGroup: 10002", "runAsGroup: 10001"}},
         POD RUNNER "securityContext.runAsGroup"},
        {{{RUNNER_USER, RUNNER_USER "          procMount: Unmasked\n"}},
         POD RUNNER "securityContext.procMount"},
        {{{"seccompProfile: {type: RuntimeDefault}",
           "seccompProfile: {type: Unconfined}"}},
         POD "securityContext.seccompProfile"},
        {{{"        seccompProfile: {type: RuntimeDefault}\n", ""}},
         POD "securityContext.seccompProfile"},
        {{{RUNNER_USER,
           RUNNER_USER "          seccompProfile: {type: Unconfined}\n"}},
         POD RUNNER "securityContext.seccompProfile"},
        {{{RUNNER_USER,
           RUNNER_USER "          appArmorProfile: {type: Unconfined}\n"}},
         POD RUNNER "securityContext.appArmorProfile"},
        {{{"containerPort: 7440}", "containerPort: 7440, hostPort: 7440}"}},
         POD AGENT "ports[0].hostPort"},
        /* who runs */
        {{{"- name: runner", "- name: other"}}, POD "containers"},
        {{{"      containers:\n",
           "      containers:\n      - name: more\n        image: x\n"}},
         POD "containers"},
        {{{"- name: agent\n", "- name: other\n"}}, POD "initContainers"},
        {{{"        command: [/run/podterm/ipc/shim, /run/podterm/ipc, "
           "\"10001\"]\n",
           ""}},
         POD RUNNER "command"},
        {{{"/run/podterm/ipc, \"10001\"]", "/run/podterm/ipc, \"10002\"]"}},
         POD RUNNER "command"},
        {{{"ipc/shim, /run/podterm/ipc", "ipc/shim, /tmp"}},
         POD RUNNER "command"},
        {{{"        image: podterm-runner",
           "        lifecycle: {postStart: {exec: {command: [x]}}}\n"
           "        image: podterm-runner"}},
         POD RUNNER "lifecycle"},
        {{{"        image: podterm-runner",
           "        livenessProbe: {exec: {command: [x]}}\n"
           "        image: podterm-runner"}},
         POD RUNNER "livenessProbe"},
        {{{"- --runner-uid=10002", "- --runner-uid=10003"}}, POD AGENT "args"},
        {{{"--state-file=/run/podterm/state", "--state-file=" IPC_DIR}},
         POD AGENT "args"},
        /* secrets in the environment */
        {{{"        image: podterm-runner",
           "        envFrom: [{secretRef: {name: podterm-pool}}]\n"
           "        image: podterm-runner"}},
         POD RUNNER "envFrom"},
        {{{"        image: podterm-runner",
           "        envFrom: [{configMapRef: {name: podterm-warm}}]\n"
           "        image: podterm-runner"}},
         POD RUNNER "envFrom"},
        {{{"        image: podterm-runner",
           "        env: [{name: A, valueFrom: {secretKeyRef: {name: p, key: "
           "k}}}]\n"
           "        image: podterm-runner"}},
         POD RUNNER "env[0].valueFrom.secretKeyRef"},
        {{{"fieldRef: {fieldPath: metadata.uid}",
           "secretKeyRef: {name: p, key: k}"}},
         POD AGENT "env[0].valueFrom.secretKeyRef"},
        /* what is mounted, whatever it is called */
        {{{"- {name: home, mountPath: /home/user}",
           "- {name: session, mountPath: /x}"}},
         POD "volumes[session].secret"},
        {{{"- {name: home, mountPath: /home/user}",
           "- {name: agent-state, mountPath: /x}"}},
         POD RUNNER "volumeMounts[2].name"},
        {{{"all agent-state", "state"},
          {TMP, TMP "        - {name: state, mountPath: /peek}\n"}},
         POD RUNNER "volumeMounts[4].name"},
        {{{"all agent-tmp", "temp"},
          {TMP, TMP "        - {name: temp, mountPath: /peek, readOnly: "
                    "true}\n"}},
         POD RUNNER "volumeMounts[4].name"},
        {{{"all name: ipc", "name: shimdir"},
          {"- {name: shimdir, mountPath: /run/podterm/ipc, readOnly: true}",
           "- {name: shimdir, mountPath: /run/podterm/ipc}"}},
         POD RUNNER "volumeMounts[0].readOnly"},
        {{{"- {name: ipc, mountPath: /run/podterm/ipc, readOnly: true}",
           "- {name: ipc, mountPath: /run/podterm/ipc}"}},
         POD RUNNER "volumeMounts[0].readOnly"},
        {{{"- {name: ipc, mountPath: /run/podterm/ipc, readOnly: true}",
           "- {name: home, mountPath: /run/podterm/ipc}"}},
         POD RUNNER "volumeMounts[0].mountPath"},
        {{{"- {name: bundle, mountPath: /run/podterm/bundle, readOnly: true}",
           "- {name: bundle, mountPath: /x, readOnly: true}"}},
         POD RUNNER "volumeMounts[1].mountPath"},
        {{{"- {name: bundle, mountPath: /run/podterm/bundle, readOnly: true}",
           "- {name: bundle, mountPath: /run/podterm/bundle, readOnly: "
           "false}"}},
         POD RUNNER "volumeMounts[1].readOnly"},
        {{{"        - {name: bundle, mountPath: /run/podterm/bundle, readOnly: "
           "true}\n",
           ""}},
         POD RUNNER "volumeMounts"},
        /* (the agent's state would be in the volume that the runner sees) */
        {{{"- {name: agent-state, mountPath", "- {name: ipc, mountPath"}},
         POD RUNNER "volumeMounts[0].name"},
        {{{"mountPath: /run/podterm/state}",
           "mountPath: /run/podterm/state, subPath: a}"}},
         POD AGENT "volumeMounts[1].subPath"},
        {{{"mountPath: /home/user", "mountPath: /run"}},
         POD RUNNER "volumeMounts[2].mountPath"},
        {{{"mountPath: /home/user", "mountPath: /x/../run"}},
         POD RUNNER "volumeMounts[2].mountPath"},
        {{{"mountPath: /home/user}",
           "mountPath: /home/user, mountPropagation: Bidirectional}"}},
         POD RUNNER "volumeMounts[2].mountPropagation"},
        /* volumes */
        {{{VOLUME("      - {name: sa, projected: {sources: [{"
                  "serviceAccountToken: {path: token, audience: x}}]}}\n")},
          {TMP, TMP "        - {name: sa, mountPath: /var/run/x}\n"}},
         POD "volumes[sa].projected"},
        {{{VOLUME("      - {name: more, secret: {secretName: podterm-pool}}"
                  "\n")}},
         POD "volumes[more].secret"},
        {{{VOLUME("      - {name: more, configMap: {name: podterm-warm}}\n")}},
         POD "volumes[more].configMap"},
        {{{VOLUME("      - {name: more, csi: {driver: x}}\n")}},
         POD "volumes[more].csi"},
        {{{"emptyDir: {sizeLimit: 512Mi}", "hostPath: {path: /}"}},
         POD "volumes[home].hostPath"},
        {{{"emptyDir: {sizeLimit: 512Mi}", "emptyDir: {}"}},
         POD "volumes[home].emptyDir.sizeLimit"},
        {{{"emptyDir: {sizeLimit: 512Mi}", "emptyDir: {sizeLimit: \"0\"}"}},
         POD "volumes[home].emptyDir.sizeLimit"},
        {{{"secret: {secretName: session, defaultMode: 0440}",
           "emptyDir: {sizeLimit: 1Mi}"}},
         POD "volumes"},
        {{{"          limits: {memory: 640Mi, ephemeral-storage: 2Gi}", ""}},
         POD AGENT "resources.limits.memory"},
        {{{"limits: {cpu: \"2\", memory: 1Gi, ephemeral-storage: 1Gi}",
           "limits: {cpu: \"2\", memory: 1Gi}"}},
         POD RUNNER "resources.limits.ephemeral-storage"},
    };

    (void)arg;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        refuses(cases[i].change, cases[i].why);
}

static void what_is_the_operators_is_taken(void **arg)
{
    static const char *const cases[][2][2] = {
        {{"limits: {cpu: \"2\", memory: 1Gi",
          "limits: {nvidia.com/gpu: 1, memory: 8Gi"}},
        {{"enableServiceLinks: false", "runtimeClassName: gvisor"}},
        {{"enableServiceLinks: false", "nodeSelector: {a: b}"}},
        {{"enableServiceLinks: false",
          "tolerations: [{key: a, operator: Exists}]"}},
        {{"enableServiceLinks: false", "affinity: {nodeAffinity: {}}"}},
        {{"enableServiceLinks: false",
          "topologySpreadConstraints: [{maxSkew: 1}]"}},
        {{"enableServiceLinks: false", "priorityClassName: high"}},
        {{"enableServiceLinks: false", "hostUsers: false"}},
        {{"enableServiceLinks: false", "imagePullSecrets: [{name: a}]"}},
        {{"image: podterm-runner", "image: example/else"}},
        {{"        image: podterm-runner",
          "        imagePullPolicy: Never\n        image: podterm-runner"}},
        {{"metadata: {}", "metadata: {labels: {team: a}}"}},
        {{"        cluster-autoscaler.kubernetes.io/safe-to-evict",
          "        example.com/a: b\n        x"}},
        {{"# <agent-seccomp>",
          "seccompProfile: {type: Localhost, localhostProfile: p}\n#"}},
        {{"- --spec=", "- --log-level=debug\n        - --spec="}},
        {{"name: home, mountPath: /home/user",
          "name: home, mountPath: /runway"}},
    };

    (void)arg;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        takes(cases[i]);
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
        cmocka_unit_test(what_is_the_operators_is_taken),
        cmocka_unit_test(what_is_no_template_is_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
