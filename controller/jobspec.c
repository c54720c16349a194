#include "controller/jobspec.h"

#include "base/digest.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/yaml.h"
#include "controller/podview.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct jobspec {
    struct json *job; /* owned */
};

/* --- finding --- */

/* A member to be changed: trees are ours alone. */
static struct json *mine(const struct json *j)
{
    return (struct json *)(uintptr_t)j;
}

static const struct json *pod_of(const struct json *job)
{
    return json_get(json_get(json_get(job, "spec"), "template"), "spec");
}

static const struct json *named(const struct json *list, const char *name)
{
    return json_find(list, "name", name);
}

static bool is_number(const struct json *in, const char *name, int64_t value)
{
    int64_t is;

    return json_get_int(in, name, &is) == 0 && is == value;
}

static bool is_set(const struct json *in, const char *name, bool value)
{
    bool is;

    return json_get_bool(in, name, &is) == 0 && is == value;
}

/* --- what is refused --- */

static int want(bool holds, const char *what, struct err *e)
{
    return holds ? 0 : err_set(e, ERR_INPUT, "the Job's template: %s", what);
}

static int check_job(const struct json *job, struct err *e)
{
    const struct json *spec = json_get(job, "spec");

    if (want(json_get_is(job, "apiVersion", "batch/v1") &&
                 json_get_is(job, "kind", "Job"),
             "it must be a batch/v1 Job", e) < 0 ||
        want(is_number(spec, "backoffLimit", 0), "backoffLimit must be 0", e) <
            0 ||
        want(is_number(spec, "parallelism", 1) &&
                 is_number(spec, "completions", 1),
             "parallelism and completions must be 1", e) < 0)
        return -1;
    return want(json_get_is(pod_of(job), "restartPolicy", "Never"),
                "the pod's restartPolicy must be Never", e);
}

static int check_pod(const struct json *pod, struct err *e)
{
    static const char *const shared[] = {"hostNetwork", "hostPID", "hostIPC",
                                         "shareProcessNamespace", NULL};
    const struct json *volumes = json_get(pod, "volumes");

    for (const char *const *name = shared; *name; name++)
        if (json_get(pod, *name) && !is_set(pod, *name, false))
            return err_set(e, ERR_INPUT,
                           "the Job's template: %s must not be set", *name);
    for (size_t i = 0; i < json_count(volumes); i++)
        if (json_get(json_at(volumes, i), "hostPath"))
            return want(false, "a hostPath volume would be the node's", e);
    if (want(is_set(pod, "automountServiceAccountToken", false),
             "automountServiceAccountToken must be false", e) < 0)
        return -1;
    return want(is_set(json_get(pod, "securityContext"), "runAsNonRoot", true),
                "securityContext.runAsNonRoot must be true", e);
}

static int check_container(const struct json *c, struct err *e)
{
    const struct json *s = json_get(c, "securityContext");
    const struct json *drop = json_get(json_get(s, "capabilities"), "drop");

    if (want(is_set(s, "allowPrivilegeEscalation", false),
             "allowPrivilegeEscalation must be false in both containers",
             e) < 0 ||
        want(is_set(s, "readOnlyRootFilesystem", true),
             "readOnlyRootFilesystem must be true in both containers", e) < 0 ||
        want(!json_get(s, "privileged") || is_set(s, "privileged", false),
             "privileged must not be set", e) < 0)
        return -1;
    for (size_t i = 0; i < json_count(drop); i++) {
        const char *name = json_str(json_at(drop, i));

        if (name && strcmp(name, "ALL") == 0)
            return 0;
    }
    return want(false, "capabilities must drop ALL in both containers", e);
}

static int64_t user_of(const struct json *c)
{
    int64_t uid = -1;

    json_get_int(json_get(c, "securityContext"), "runAsUser", &uid);
    return uid;
}

static int check_runner(const struct json *agent, const struct json *runner,
                        struct err *e)
{
    const struct json *mounts = json_get(runner, "volumeMounts");
    const char *ours[] = {JOBSPEC_VOLUME, JOBSPEC_STATE};

    for (size_t i = 0; i < sizeof ours / sizeof *ours; i++)
        if (named(mounts, ours[i]))
            return err_set(e, ERR_INPUT,
                           "the Job's template: the runner must not mount %s",
                           ours[i]);
    for (size_t i = 0; i < json_count(mounts); i++) {
        const struct json *m = json_at(mounts, i);

        if ((json_get_is(m, "name", "ipc") ||
             json_get_is(m, "name", "bundle")) &&
            !is_set(m, "readOnly", true))
            return want(false, "the runner must mount ipc and bundle readOnly",
                        e);
    }
    return want(user_of(agent) > 0 && user_of(runner) > 0 &&
                    user_of(agent) != user_of(runner),
                "agent and runner must have a runAsUser each, and not the same",
                e);
}

static int64_t port_of(const struct json *agent)
{
    int64_t port = 0;

    json_get_int(named(json_get(agent, "ports"), "agent"), "containerPort",
                 &port);
    return port;
}

/* Only the two: nobody else is to be in a session's pod. */
static int check_containers(const struct json *pod, struct err *e)
{
    const struct json *init = json_get(pod, "initContainers");
    const struct json *all = json_get(pod, "containers");
    const struct json *agent = named(init, PODVIEW_AGENT);
    const struct json *runner = named(all, PODVIEW_RUNNER);
    const struct json *volume = named(json_get(pod, "volumes"), JOBSPEC_VOLUME);

    if (want(json_count(init) == 1 && agent, "initContainers must be agent",
             e) < 0 ||
        want(json_count(all) == 1 && runner, "containers must be runner", e) <
            0 ||
        want(json_get_is(agent, "restartPolicy", "Always"),
             "the agent's restartPolicy must be Always", e) < 0 ||
        want(json_is_object(json_get(volume, "secret")),
             "there must be a volume session with a secret", e) < 0 ||
        check_container(agent, e) < 0 || check_container(runner, e) < 0)
        return -1;
    if (want(port_of(agent) > 0 && port_of(agent) < 65536,
             "the agent must have a port named agent", e) < 0)
        return -1;
    return check_runner(agent, runner, e);
}

struct jobspec *jobspec_of(struct json *job, struct err *e)
{
    struct jobspec *j;

    if (check_job(job, e) < 0 || check_pod(pod_of(job), e) < 0 ||
        check_containers(pod_of(job), e) < 0) {
        json_free(job);
        return NULL;
    }
    j = mem_zero(1, sizeof *j);
    j->job = job;
    return j;
}

static struct json *read_template(const char *path, struct err *e)
{
    struct json *job = NULL;
    struct buf b;

    buf_init(&b, YAML_BYTES_MAX);
    if (file_read(path, &b, e) == 0) {
        job = yaml_parse(b.data, b.len, e);
        if (!job)
            err_wrap(e, "%s", path);
    }
    buf_fini(&b);
    return job;
}

struct jobspec *jobspec_load(const char *path, struct err *e)
{
    struct json *job = read_template(path, e);

    return job ? jobspec_of(job, e) : NULL;
}

void jobspec_free(struct jobspec *j)
{
    if (!j)
        return;
    json_free(j->job);
    free(j);
}

/* --- filling --- */

int jobspec_port(const struct jobspec *j)
{
    return (int)port_of(
        named(json_get(pod_of(j->job), "initContainers"), PODVIEW_AGENT));
}

static void name_of(const char *id, bool is_warm, char out[JOBSPEC_NAME_SIZE])
{
    snprintf(out, JOBSPEC_NAME_SIZE, "%c-%s", is_warm ? 'w' : 's', id);
}

void jobspec_name(const char *sid, char out[JOBSPEC_NAME_SIZE])
{
    name_of(sid, false, out);
}

void jobspec_warm_name(const char *id, char out[JOBSPEC_NAME_SIZE])
{
    name_of(id, true, out);
}

const char *jobspec_warm_id(const char *name)
{
    return strncmp(name, "w-", 2) == 0 && id_is_valid(name + 2) ? name + 2
                                                                : NULL;
}

/* The object below name, made where there is none. */
static struct json *below(struct json *in, const char *name)
{
    const struct json *at = json_get(in, name);

    return json_is_object(at) ? mine(at) : json_set(in, name, json_object());
}

static void label(struct json *meta, const char *sid, bool is_warm)
{
    struct json *labels = below(meta, "labels");

    json_set_str(labels, JOBSPEC_MANAGER, "podterm");
    if (is_warm)
        json_set_str(labels, PODVIEW_POOL, JOBSPEC_POOL);
    else
        json_set_str(labels, PODVIEW_LABEL, sid);
}

struct json *jobspec_job(const struct jobspec *j,
                         const struct jobspec_values *v)
{
    struct json *job = json_dup(j->job);
    struct json *meta = below(job, "metadata");
    struct json *spec = mine(json_get(job, "spec"));
    const struct json *pod = pod_of(job);
    char name[JOBSPEC_NAME_SIZE];

    name_of(v->sid, v->is_warm, name);
    json_set_str(meta, "name", name);
    label(meta, v->sid, v->is_warm);
    if (!v->is_warm)
        json_set_str(below(meta, "annotations"), JOBSPEC_ANNOTATION, v->record);
    json_set_str(below(meta, "annotations"), JOBSPEC_TRUST, v->trust);
    label(below(below(spec, "template"), "metadata"), v->sid, v->is_warm);
    json_set_int(spec, "activeDeadlineSeconds", v->deadline_s);
    json_set_str(mine(named(json_get(pod, "initContainers"), PODVIEW_AGENT)),
                 "image", v->agent_image);
    json_set_str(mine(named(json_get(pod, "containers"), PODVIEW_RUNNER)),
                 "image", v->runner_image);
    json_set_str(mine(json_get(named(json_get(pod, "volumes"), JOBSPEC_VOLUME),
                               "secret")),
                 "secretName", name);
    return job;
}

static void set_data(struct json *data, const char *name, const void *bytes,
                     size_t len)
{
    char *text = mem_zero(base64_size(len), 1);
    size_t n = base64_encode(bytes, len, text);

    json_set_str(data, name, text);
    explicit_bzero(text, n);
    free(text);
}

static struct json *secret_of(const struct launch *what, bool is_warm,
                              const char *job_uid)
{
    struct json *s = json_object();
    struct json *meta = json_set(s, "metadata", json_object());
    struct json *owner, *data = json_set(s, "data", json_object());
    char name[JOBSPEC_NAME_SIZE];

    name_of(what->sid, is_warm, name);
    json_set_str(s, "apiVersion", "v1");
    json_set_str(s, "kind", "Secret");
    json_set_bool(s, "immutable", true);
    json_set_str(meta, "name", name);
    label(meta, what->sid, is_warm);
    owner = json_set(json_set(meta, "ownerReferences", json_array()), NULL,
                     json_object());
    json_set_str(owner, "apiVersion", "batch/v1");
    json_set_str(owner, "kind", "Job");
    json_set_str(owner, "name", name);
    json_set_str(owner, "uid", job_uid);
    json_set_bool(owner, "controller", true);
    json_set_bool(owner, "blockOwnerDeletion", false);
    set_data(data, "spec.json", what->spec, strlen(what->spec));
    set_data(data, "key", what->key, sizeof what->key);
    return s;
}

struct json *jobspec_secret(const struct launch *what, const char *job_uid)
{
    return secret_of(what, false, job_uid);
}

struct json *jobspec_warm_secret(const struct launch *what, const char *job_uid)
{
    return secret_of(what, true, job_uid);
}
