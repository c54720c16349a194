#include "controller/jobspec.h"

#include "base/digest.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/own.h"
#include "base/yaml.h"
#include "controller/jobjudge.h"
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

/* --- reading it --- */

static int64_t port_of(const struct json *agent)
{
    int64_t port = 0;

    json_get_int(named(json_get(agent, "ports"), "agent"), "containerPort",
                 &port);
    return port;
}

static int judge(const struct json *job, struct err *e)
{
    const struct json *agent =
        named(json_get(pod_of(job), "initContainers"), PODVIEW_AGENT);
    const int64_t port = port_of(agent);

    if (jobjudge_template(job, JOBSPEC_VOLUME, e) < 0)
        return err_wrap(e, "the Job's template");
    return port > 0 && port < 65536
               ? 0
               : err_set(e, ERR_INPUT,
                         "the Job's template: the agent must have a port "
                         "named agent");
}

struct jobspec *jobspec_of(struct json *job, struct err *e)
{
    struct jobspec *j;

    if (judge(job, e) < 0) {
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

static const char *id_behind(const char *head, const char *name)
{
    return strncmp(name, head, 2) == 0 && id_is_valid(name + 2) ? name + 2
                                                                : NULL;
}

const char *jobspec_id(const char *name)
{
    return id_behind("s-", name);
}

const char *jobspec_warm_id(const char *name)
{
    return id_behind("w-", name);
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

/* Of all that decides what a warm pod is; in hex. */
static void made_of(const struct jobspec *j, const char *agent_image,
                    const char *runner_image, char out[2 * SHA256_BYTES + 1])
{
    own_mem char *text = json_text(j->job);
    own_mem char *all =
        mem_printf("%s\n%s\n%s", agent_image, runner_image, text);
    uint8_t hash[SHA256_BYTES];

    sha256(all, strlen(all), hash);
    hex_encode(hash, sizeof hash, out);
}

int jobspec_is_now(const struct jobspec *j, const struct json *pod,
                   const char *job_name, const char *agent_image,
                   const char *runner_image, struct err *e)
{
    const struct jobjudge_like like = {pod_of(j->job), agent_image,
                                       runner_image};
    char now[2 * SHA256_BYTES + 1];

    if (!jobspec_warm_id(job_name))
        return jobjudge_pooled(json_get(pod, "spec"), &like, e);
    made_of(j, agent_image, runner_image, now);
    if (json_get_is(json_get(json_get(pod, "metadata"), "annotations"),
                    JOBSPEC_MADE_OF, now))
        return 0;
    return err_set(e, ERR_INPUT,
                   "it was made of another template or other images");
}

static void note(struct json *meta, const char *name, const char *value)
{
    json_set_str(below(meta, "annotations"), name, value);
}

struct json *jobspec_job(const struct jobspec *j,
                         const struct jobspec_values *v)
{
    struct json *job = json_dup(j->job);
    struct json *meta = below(job, "metadata");
    struct json *spec = mine(json_get(job, "spec"));
    const struct json *pod = pod_of(job);
    char name[JOBSPEC_NAME_SIZE], hash[2 * SHA256_BYTES + 1];

    name_of(v->sid, v->is_warm, name);
    json_set_str(meta, "name", name);
    label(meta, v->sid, v->is_warm);
    if (!v->is_warm)
        note(meta, JOBSPEC_ANNOTATION, v->record);
    note(meta, JOBSPEC_TRUST, v->trust);
    meta = below(below(spec, "template"), "metadata");
    label(meta, v->sid, v->is_warm);
    if (v->is_warm) {
        made_of(j, v->agent_image, v->runner_image, hash);
        note(meta, JOBSPEC_MADE_OF, hash);
    }
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
