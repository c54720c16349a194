#include "controller/jobjudge_internal.h"
#include "controller/podview.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define UNKNOWN "a session's pod is not known to be safe with it"

/* --- for all of it --- */

int jobjudge_refuse(const char *where, const char *member, const char *why,
                    struct err *e)
{
    return err_set(e, ERR_INPUT, "%s%s%s: %s", where,
                   *where && *member ? "." : "", member, why);
}

/* Members that are known, and what others would do. */
int jobjudge_only(const char *where, const struct json *object,
                  const char *const *known, struct err *e)
{
    static const char *const why[][2] = {
        {"hostNetwork", "the network would be the node's"},
        {"hostPID", "processes would be the node's"},
        {"hostIPC", "shared memory would be the node's"},
        {"shareProcessNamespace", "the program would see the agent's process"},
        {"ephemeralContainers", "somebody else is in the pod"},
        {"envFrom", "no Secret or ConfigMap may be in the environment"},
        {"secretKeyRef", "no Secret may be in the environment"},
        {"configMapKeyRef", "no ConfigMap may be in the environment"},
        {"lifecycle", "it would run beside the agent or the shim"},
        {"privileged", "it would be the node's root"},
        {"hostPort", "the port would be the node's"},
        {"hostIP", "the port would be the node's"},
        {"subPath", "one volume would be several"},
        {"subPathExpr", "one volume would be several"},
        {"add", "no capability may be added"},
        {"suspend", "it would never start"},
        {"hostPath", "the volume would be the node's"},
        {"projected", "a token or a Secret could be in it"},
    };

    if (object && !json_is_object(object))
        return jobjudge_refuse(where, "", "must be an object", e);
    for (size_t i = 0; i < json_count(object); i++) {
        const struct json *m = json_at(object, i);
        const char *name = json_name(m), *said = UNKNOWN;
        size_t k = 0;
        bool is;

        while (known[k] && strcmp(known[k], name) != 0)
            k++;
        if (known[k] || json_is_null(m) ||
            (json_get_bool(object, name, &is) == 0 && !is))
            continue;
        for (k = 0; k < sizeof why / sizeof *why; k++)
            if (strcmp(why[k][0], name) == 0)
                said = why[k][1];
        return jobjudge_refuse(where, name, said, e);
    }
    return 0;
}

const struct json *jobjudge_named(const struct json *list, const char *name)
{
    return json_find(list, "name", name);
}

static bool is_number(const struct json *in, const char *name, int64_t value)
{
    int64_t is;

    return json_get_int(in, name, &is) == 0 && is == value;
}

bool jobjudge_is(const struct json *in, const char *name, bool value)
{
    bool is;

    return json_get_bool(in, name, &is) == 0 && is == value;
}

int64_t jobjudge_number(const struct json *in, const char *name)
{
    int64_t n = -1;

    json_get_int(in, name, &n);
    return n;
}

/* A quantity above nothing: "640Mi", 1073741824. */
bool jobjudge_amount(const struct json *j)
{
    const char *text = json_str(j);
    int64_t n = 0;

    return text ? strtod(text, NULL) > 0 : json_int(j, &n) == 0 && n > 0;
}

/* --- who is who --- */

static int64_t id_of(const struct json *c, const char *name)
{
    return jobjudge_number(json_get(c, "securityContext"), name);
}

/* The shim, as the agent has put it there, and for that agent. */
static bool is_shim(const struct json *command, int64_t agent_uid)
{
    char uid[24];
    const char *const want[] = {JOBJUDGE_IPC "/shim", JOBJUDGE_IPC, uid};

    snprintf(uid, sizeof uid, "%lld", (long long)agent_uid);
    if (json_count(command) != 3)
        return false;
    for (size_t i = 0; i < 3; i++) {
        const char *is = json_str(json_at(command, i));

        if (!is || strcmp(is, want[i]) != 0)
            return false;
    }
    return true;
}

/* Neither its state nor a key may lie where the runner looks. */
static int judge_args(const char *where, const struct json *args,
                      int64_t runner_uid, struct err *e)
{
    char uid[40];
    const char *const want[] = {"--ipc-dir=" JOBJUDGE_IPC,
                                "--bundle-dir=" JOBJUDGE_BUNDLE, uid,
                                "--report=" JOBJUDGE_REPORT};
    unsigned found = 0;

    snprintf(uid, sizeof uid, "--runner-uid=%lld", (long long)runner_uid);
    for (size_t i = 0; i < json_count(args); i++) {
        const char *is = json_str(json_at(args, i));
        size_t k = 0;

        while (k < 4 && is && strcmp(is, want[k]) != 0)
            k++;
        if (is && k < 4)
            found |= 1U << k;
        else if (!is || strstr(is, JOBJUDGE_IPC) ||
                 strstr(is, JOBJUDGE_BUNDLE) || strstr(is, ".."))
            return jobjudge_refuse(where, "args",
                                   "nothing else may be below " JOBJUDGE_IPC
                                   " or " JOBJUDGE_BUNDLE
                                   ", which the runner sees",
                                   e);
    }
    for (size_t k = 0; k < 4; k++)
        if (!(found & (1U << k)))
            return jobjudge_refuse(where, "args", want[k], e);
    return 0;
}

static int judge_roles(const struct jobjudge *g, struct err *e)
{
    char agent[JOBJUDGE_WHERE_SIZE], runner[JOBJUDGE_WHERE_SIZE];
    const int64_t agent_uid = id_of(g->agent, "runAsUser");
    const int64_t runner_uid = id_of(g->runner, "runAsUser");

    snprintf(agent, sizeof agent, "%s.initContainers[%s]", g->root,
             PODVIEW_AGENT);
    snprintf(runner, sizeof runner, "%s.containers[%s]", g->root,
             PODVIEW_RUNNER);
    if (!json_get_is(g->agent, "restartPolicy", "Always"))
        return jobjudge_refuse(agent, "restartPolicy", "must be Always", e);
    if (g->key && json_get(g->key, "restartPolicy"))
        return jobjudge_refuse(
            g->root, "initContainers[" JOBJUDGE_POOL_KEY "].restartPolicy",
            "must not be set: it would stay", e);
    if (agent_uid == runner_uid ||
        (g->key && id_of(g->key, "runAsUser") == runner_uid))
        return jobjudge_refuse(runner, "securityContext.runAsUser",
                               "must not be the agent's", e);
    if (id_of(g->agent, "runAsGroup") == id_of(g->runner, "runAsGroup"))
        return jobjudge_refuse(runner, "securityContext.runAsGroup",
                               "must not be the agent's", e);
    if (!is_shim(json_get(g->runner, "command"), agent_uid))
        return jobjudge_refuse(runner, "command",
                               "must be the shim: [" JOBJUDGE_IPC
                               "/shim, " JOBJUDGE_IPC
                               ", the agent's runAsUser]",
                               e);
    return judge_args(agent, json_get(g->agent, "args"), runner_uid, e);
}

/* --- the pod --- */

static int judge_pod_context(const struct jobjudge *g, struct err *e)
{
    const struct json *s = json_get(g->pod, "securityContext");
    char where[JOBJUDGE_WHERE_SIZE];

    snprintf(where, sizeof where, "%s.securityContext", g->root);
    if (JOBJUDGE_ONLY(where, s, e, "runAsNonRoot", "runAsUser", "runAsGroup",
                      "fsGroup", "fsGroupChangePolicy",
                      "supplementalGroupsPolicy", "seccompProfile",
                      "appArmorProfile") < 0)
        return -1;
    if (!jobjudge_is(s, "runAsNonRoot", true))
        return jobjudge_refuse(where, "runAsNonRoot", "must be true", e);
    if (json_get(s, "fsGroup") && jobjudge_number(s, "fsGroup") <= 0)
        return jobjudge_refuse(where, "fsGroup", "must not be root's", e);
    return jobjudge_profile(g->root, NULL, s, e);
}

static int judge_members(const struct jobjudge *g, struct err *e)
{
    if (JOBJUDGE_ONLY(
            g->root, g->pod, e, "restartPolicy", "serviceAccountName",
            "serviceAccount", "automountServiceAccountToken",
            "enableServiceLinks", "terminationGracePeriodSeconds",
            "runtimeClassName", "overhead", "securityContext", "initContainers",
            "containers", "volumes", "nodeSelector", "nodeName", "tolerations",
            "affinity", "topologySpreadConstraints", "priorityClassName",
            "priority", "preemptionPolicy", "schedulerName", "schedulingGates",
            "hostUsers", "imagePullSecrets", "resources", "os", "dnsPolicy",
            "dnsConfig", "hostAliases") < 0)
        return -1;
    if (!json_get_is(g->pod, "restartPolicy", "Never"))
        return jobjudge_refuse(g->root, "restartPolicy", "must be Never", e);
    if (!jobjudge_is(g->pod, "automountServiceAccountToken", false))
        return jobjudge_refuse(g->root, "automountServiceAccountToken",
                               "must be false", e);
    return judge_pod_context(g, e);
}

/* Only these: nobody else is to be in a session's pod. */
static int judge_list(const struct jobjudge *g, struct err *e)
{
    const struct json *init = json_get(g->pod, "initContainers");
    const struct json *all = json_get(g->pod, "containers");

    if (!g->agent || json_count(init) != (g->key ? 2U : 1U))
        return jobjudge_refuse(g->root, "initContainers",
                               g->secret ? "must be agent"
                                         : "must be " JOBJUDGE_POOL_KEY
                                           " and agent",
                               e);
    if (json_count(all) != 1 || !g->runner)
        return jobjudge_refuse(g->root, "containers", "must be runner", e);
    if (!g->secret && !g->key)
        return jobjudge_refuse(g->root, "initContainers",
                               "must be " JOBJUDGE_POOL_KEY " and agent", e);
    for (size_t i = 0; i < json_count(init); i++)
        if (jobjudge_container(g, "initContainers", json_at(init, i), e) < 0)
            return -1;
    return jobjudge_container(g, "containers", g->runner, e);
}

static int judge_pod(struct jobjudge *g, struct err *e)
{
    const struct json *init = json_get(g->pod, "initContainers");

    g->agent = jobjudge_named(init, PODVIEW_AGENT);
    g->runner = jobjudge_named(json_get(g->pod, "containers"), PODVIEW_RUNNER);
    g->key = g->secret ? NULL : jobjudge_named(init, JOBJUDGE_POOL_KEY);
    if (judge_members(g, e) < 0 || judge_list(g, e) < 0 ||
        judge_roles(g, e) < 0)
        return -1;
    return jobjudge_volumes(g, e);
}

/* --- the template --- */

static int judge_notes(const char *where, const struct json *notes,
                       struct err *e)
{
    for (size_t i = 0; i < json_count(notes); i++) {
        const char *name = json_name(json_at(notes, i));

        if (strncmp(name, "podterm.dev/", 12) == 0 ||
            strcmp(name, "app.kubernetes.io/managed-by") == 0)
            return jobjudge_refuse(where, name, "the controller alone sets it",
                                   e);
        if (strncmp(name, "container.apparmor.", 19) == 0)
            return jobjudge_refuse(where, name, "use appArmorProfile", e);
    }
    return 0;
}

static int judge_meta(const char *where, const struct json *meta, struct err *e)
{
    char at[JOBJUDGE_WHERE_SIZE];

    if (JOBJUDGE_ONLY(where, meta, e, "labels", "annotations") < 0)
        return -1;
    snprintf(at, sizeof at, "%s.labels", where);
    if (judge_notes(at, json_get(meta, "labels"), e) < 0)
        return -1;
    snprintf(at, sizeof at, "%s.annotations", where);
    return judge_notes(at, json_get(meta, "annotations"), e);
}

/* (Ignore: another pod in the place of one that failed) */
static int judge_failures(const struct json *policy, struct err *e)
{
    const struct json *rules = json_get(policy, "rules");

    for (size_t i = 0; i < json_count(rules); i++)
        if (!json_get_is(json_at(rules, i), "action", "FailJob"))
            return jobjudge_refuse("spec", "podFailurePolicy.rules",
                                   "each action must be FailJob: no second pod",
                                   e);
    return 0;
}

static int judge_job(const struct json *job, struct err *e)
{
    const struct json *spec = json_get(job, "spec");

    if (!json_get_is(job, "apiVersion", "batch/v1") ||
        !json_get_is(job, "kind", "Job"))
        return err_set(e, ERR_INPUT, "it must be a batch/v1 Job");
    if (JOBJUDGE_ONLY("", job, e, "apiVersion", "kind", "metadata", "spec") <
            0 ||
        judge_meta("metadata", json_get(job, "metadata"), e) < 0 ||
        judge_meta("spec.template.metadata",
                   json_get(json_get(spec, "template"), "metadata"), e) < 0 ||
        JOBJUDGE_ONLY("spec", spec, e, "parallelism", "completions",
                      "backoffLimit", "ttlSecondsAfterFinished",
                      "activeDeadlineSeconds", "podReplacementPolicy",
                      "podFailurePolicy", "template") < 0)
        return -1;
    if (!is_number(spec, "backoffLimit", 0))
        return jobjudge_refuse("spec", "backoffLimit",
                               "must be 0: no second pod", e);
    if (!is_number(spec, "parallelism", 1) ||
        !is_number(spec, "completions", 1))
        return jobjudge_refuse("spec", "parallelism",
                               "and completions must be 1", e);
    if (jobjudge_number(spec, "ttlSecondsAfterFinished") <= 0)
        return jobjudge_refuse("spec", "ttlSecondsAfterFinished",
                               "must be set: what nobody removes must go", e);
    return judge_failures(json_get(spec, "podFailurePolicy"), e);
}

int jobjudge_template(const struct json *job, const char *secret, struct err *e)
{
    struct jobjudge g = {
        .root = "spec.template.spec",
        .secret = secret,
        .pod = json_get(json_get(json_get(job, "spec"), "template"), "spec"),
    };

    return judge_job(job, e) < 0 ? -1 : judge_pod(&g, e);
}

/* --- a pod of KEDA's --- */

static const struct json *profile_of(const struct json *pod,
                                     const struct json *c)
{
    const struct json *own =
        json_get(json_get(c, "securityContext"), "seccompProfile");

    return own ? own
               : json_get(json_get(pod, "securityContext"), "seccompProfile");
}

static bool is_same(const struct json *a, const struct json *b,
                    const char *name)
{
    const char *one = json_get_str(a, name), *two = json_get_str(b, name);

    return one && two ? strcmp(one, two) == 0 : !one && !two;
}

static int judge_likeness(const struct jobjudge *g, const char *list,
                          const char *name, const struct jobjudge_like *like,
                          struct err *e)
{
    const struct json *c = jobjudge_named(json_get(g->pod, list), name);
    const struct json *is = profile_of(g->pod, c);
    const struct json *want =
        profile_of(like->pod, jobjudge_named(json_get(like->pod, list), name));
    const char *image = c == g->runner ? like->runner_image : like->agent_image;
    const char *is_image = json_get_str(c, "image");
    char where[JOBJUDGE_WHERE_SIZE];

    snprintf(where, sizeof where, "%s.%s[%s]", g->root, list, name);
    if (!is_image || strcmp(is_image, image) != 0)
        return err_set(e, ERR_INPUT,
                       "%s.image: is %.80s, and the setting says %.80s", where,
                       is_image ? is_image : "none", image);
    if (c != g->key &&
        (!is_same(is, want, "type") || !is_same(is, want, "localhostProfile")))
        return jobjudge_refuse(where, "securityContext.seccompProfile",
                               "is not the session template's", e);
    return 0;
}

int jobjudge_pooled(const struct json *spec, const struct jobjudge_like *like,
                    struct err *e)
{
    struct jobjudge g = {.root = "spec", .pod = spec};

    if (judge_pod(&g, e) < 0)
        return -1;
    if (!is_same(spec, like->pod, "runtimeClassName"))
        return jobjudge_refuse("spec", "runtimeClassName",
                               "is not the session template's", e);
    if (judge_likeness(&g, "initContainers", JOBJUDGE_POOL_KEY, like, e) < 0 ||
        judge_likeness(&g, "initContainers", PODVIEW_AGENT, like, e) < 0)
        return -1;
    return judge_likeness(&g, "containers", PODVIEW_RUNNER, like, e);
}
