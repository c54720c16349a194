#include "controller/kube_job.h"

#include "base/digest.h"
#include "base/mem.h"
#include "base/own.h"
#include "controller/jobview.h"
#include "controller/podview.h"

#include <stdio.h>
#include <string.h>

#define CONFLICT 409
#define ABSENT 404
#define FORBIDDEN 403
#define STRANGER 401
#define TOO_MANY 429
#define STRICT "?fieldValidation=Strict&fieldManager=podterm-controller"

static char *jobs_path(const struct kube_place *p, const char *rest)
{
    return mem_printf("/apis/batch/v1/namespaces/%s/jobs%s", p->ns, rest);
}

static char *job_path(const struct kube_place *p, const char *name)
{
    return mem_printf("/apis/batch/v1/namespaces/%s/jobs/%s", p->ns, name);
}

/* --- whose --- */

/* Kubernetes' rule for a value, lower case alone: a digest begins with x-. */
static bool is_label(const char *name)
{
    static const char ends[] = "abcdefghijklmnopqrstuvwxyz0123456789";
    const size_t len = strlen(name);

    return len > 0 && len < KUBE_LABEL_SIZE && strchr(ends, name[0]) &&
           strchr(ends, name[len - 1]) && strncmp(name, "x-", 2) != 0 &&
           strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-._") == len;
}

void kube_job_label(const char *name, char out[KUBE_LABEL_SIZE])
{
    uint8_t digest[SHA256_BYTES];
    char hex[SHA256_HEX + 1];

    if (is_label(name)) {
        snprintf(out, KUBE_LABEL_SIZE, "%s", name);
        return;
    }
    sha256(name, strlen(name), digest);
    hex_encode(digest, sizeof digest, hex);
    snprintf(out, KUBE_LABEL_SIZE, "x-%.40s", hex);
}

char *kube_job_selector(const struct kube_place *p)
{
    return mem_printf("?labelSelector=" JOBSPEC_SELECTOR "," KUBE_INSTALLATION
                      "=%s",
                      p->installation);
}

/* Right before each call: the one before may have taken its time. */
static int may_act(const struct kube_place *p, struct err *e)
{
    return p->sink ? launch_check_leads(p->sink, e) : 0;
}

/* --- make --- */

static bool is_of_quota(const char *text)
{
    return strstr(text, KUBE_JOB_QUOTA) ||
           strstr(text, "status unknown for quota");
}

/*
 * A refusal that time may mend: the namespace's quota is used up (403 with
 * that word, or 409 while two count at once), our token is being exchanged,
 * the API is busy, answers what is no answer, or nobody does.
 */
static int refused(int status, struct err *e)
{
    if (e->kind == ERR_TIMEOUT)
        return -1;
    if (status >= 0 && status < 400)
        return err_set(e, ERR_BUSY, "the Kubernetes API answers %d", status);
    if (status < 0 || status == CONFLICT || status == STRANGER ||
        status == TOO_MANY || (status == FORBIDDEN && is_of_quota(e->text)))
        e->kind = ERR_BUSY;
    else if (status != FORBIDDEN)
        e->kind = ERR_INPUT;
    return -1;
}

/* In a pod's template too: its pods are looked for by it. */
static void label(const struct kube_place *p, const struct json *of)
{
    const struct json *labels = json_get(json_get(of, "metadata"), "labels");

    json_set_str((struct json *)(uintptr_t)labels, KUBE_INSTALLATION,
                 p->installation);
}

static int take_uid(const struct json *job, char uid[KUBE_UID_SIZE],
                    struct err *e)
{
    struct jobview v;
    struct err why = {0};

    if (jobview_of(job, &v, &why) < 0)
        return err_set(e, ERR_BUSY, "the API answers with %s", why.text);
    if (v.is_leaving)
        return err_set(e, ERR_BUSY, "a Job of that name is being removed");
    memcpy(uid, v.uid, sizeof v.uid);
    return 0;
}

/* Is it there? Then it is ours, from a try whose answer was lost, unless it
 * goes. Else refusal is what there is to say. */
static int find_job(const struct kube_place *p, const char *name,
                    const struct err *refusal, char uid[KUBE_UID_SIZE],
                    struct err *e)
{
    own_mem char *path = job_path(p, name);
    own_json struct json *job = NULL;
    struct kube_call get = {.path = path};
    struct err why = {0};
    int status = kube_do(p->kube, &get, &job, &why);

    if (status == ABSENT) {
        uid[0] = '\0'; /* not any more */
        return err_set(e, ERR_BUSY, "%s", refusal->text);
    }
    if (status == 200)
        return take_uid(job, uid, e);
    *e = why;
    return refused(status, e);
}

static int make_job(const struct kube_place *p, const struct launch *what,
                    bool is_warm, char uid[KUBE_UID_SIZE], struct err *e)
{
    const struct jobspec_values values = {
        .sid = what->sid,
        .is_warm = is_warm,
        .agent_image = p->agent_image,
        .runner_image = what->image,
        .record = what->record,
        .trust = what->trust,
        .deadline_s = what->deadline_s,
    };
    own_json struct json *body = jobspec_job(p->spec, &values);
    own_json struct json *made = NULL;
    own_mem char *path = jobs_path(p, STRICT);
    struct kube_call post = {.method = "POST", .path = path, .body = body};
    const char *name = json_get_str(json_get(body, "metadata"), "name");
    struct err why = {0};
    int status;

    label(p, body);
    label(p, json_get(json_get(body, "spec"), "template"));
    status = kube_do(p->kube, &post, &made, &why);
    if (status == 201)
        return take_uid(made, uid, e);
    /* (the quota is looked at before the name: what fills it may be this very
     * Job) */
    if (status == CONFLICT || (status == FORBIDDEN && is_of_quota(why.text)))
        return find_job(p, name, &why, uid, e);
    *e = why;
    return refused(status, e);
}

static int make_secret(const struct kube_place *p, const struct launch *what,
                       bool is_warm, const char *uid, struct err *e)
{
    own_json struct json *body =
        is_warm ? jobspec_warm_secret(what, uid) : jobspec_secret(what, uid);
    own_mem char *path =
        mem_printf("/api/v1/namespaces/%s/secrets" STRICT, p->ns);
    struct kube_call post = {
        .method = "POST", .path = path, .body = body, .is_secret = true};
    struct err why = {0};
    int status;

    label(p, body);
    status = kube_do(p->kube, &post, NULL, &why);
    if (status == 201 ||
        (status == CONFLICT && strstr(why.text, "already exists")))
        return 0;
    *e = why;
    return refused(status, e);
}

static int make_both(const struct kube_place *p, const struct launch *what,
                     bool is_warm, char uid[KUBE_UID_SIZE], struct err *e)
{
    if (may_act(p, e) < 0 || make_job(p, what, is_warm, uid, e) < 0)
        return err_wrap(e, "making the session's Job");
    if (may_act(p, e) < 0 || make_secret(p, what, is_warm, uid, e) < 0)
        return err_wrap(e, "making the session's Secret");
    return 0;
}

int kube_job_make(const struct kube_place *p, const struct launch *what,
                  char uid[KUBE_UID_SIZE], struct err *e)
{
    return make_both(p, what, false, uid, e);
}

int kube_job_make_warm(const struct kube_place *p, const struct launch *what,
                       char uid[KUBE_UID_SIZE], struct err *e)
{
    return make_both(p, what, true, uid, e);
}

int kube_job_claim(const struct kube_place *p, const char *pod, const char *sid,
                   const char *record, const char *trust, struct err *e)
{
    own_json struct json *body = json_object();
    own_mem char *path =
        mem_printf("/api/v1/namespaces/%s/pods/%s?fieldManager="
                   "podterm-controller",
                   p->ns, pod);
    struct json *meta = json_set(body, "metadata", json_object());
    struct json *notes = json_set(meta, "annotations", json_object());
    struct kube_call call = {.method = "PATCH",
                             .path = path,
                             .body = body,
                             .content_type = "application/merge-patch+json"};
    struct err why = {0};
    int status;

    json_set_str(json_set(meta, "labels", json_object()), PODVIEW_LABEL, sid);
    json_set_str(notes, JOBSPEC_ANNOTATION, record ? record : "");
    json_set_str(notes, JOBSPEC_TRUST, trust ? trust : "");
    if (may_act(p, e) < 0)
        return -1;
    status = kube_do(p->kube, &call, NULL, &why);
    if (status == 200 || status == ABSENT)
        return 0;
    *e = why;
    return -1;
}

/* --- remove --- */

static int removed(int status, struct err *why, struct err *e)
{
    if (status == 200 || status == 202 || status == ABSENT ||
        status == CONFLICT) /* another of that name is not ours to remove */
        return 0;
    *e = *why;
    return -1;
}

static int remove_that(const struct kube_place *p, const char *name,
                       const char *uid, struct err *e)
{
    own_json struct json *body = json_object();
    own_mem char *path = job_path(p, name);
    struct kube_call call = {.method = "DELETE", .path = path, .body = body};
    struct err why = {0};

    json_set_str(body, "kind", "DeleteOptions");
    json_set_str(body, "apiVersion", "v1");
    json_set_str(body, "propagationPolicy", "Background");
    json_set_str(json_set(body, "preconditions", json_object()), "uid", uid);
    if (may_act(p, e) < 0)
        return -1;
    return removed(kube_do(p->kube, &call, NULL, &why), &why, e);
}

/* By its name alone nothing is ours but what has a whole one of our own. */
static bool is_own(const char *name)
{
    return jobspec_id(name) || jobspec_warm_id(name);
}

/* Which Job has that name: 0 with its uid, "" = none. */
static int uid_of(const struct kube_place *p, const char *name,
                  char uid[KUBE_UID_SIZE], struct err *e)
{
    own_mem char *path = job_path(p, name);
    own_json struct json *job = NULL;
    struct err why = {0};
    struct jobview v = {0};
    int status =
        kube_do(p->kube, &(struct kube_call){.path = path}, &job, &why);

    if (status == 200 && jobview_of(job, &v, &why) < 0)
        status = -1;
    if (status != 200 && status != ABSENT) {
        *e = why;
        return -1;
    }
    memcpy(uid, v.uid, sizeof v.uid);
    return 0;
}

int kube_job_remove(const struct kube_place *p, const char *name,
                    const char *uid, struct err *e)
{
    char found[KUBE_UID_SIZE];

    if (*uid)
        return remove_that(p, name, uid, e);
    if (!is_own(name))
        return 0;
    if (uid_of(p, name, found, e) < 0)
        return -1;
    return *found ? remove_that(p, name, found, e) : 0;
}

int kube_job_forget(const struct kube_place *p, const char *name, struct err *e)
{
    own_mem char *path =
        mem_printf("/api/v1/namespaces/%s/secrets/%s", p->ns, name);
    struct err why = {0};

    if (!is_own(name))
        return 0; /* one of KEDA's has none */
    if (may_act(p, e) < 0)
        return -1;
    return removed(
        kube_do(p->kube, &(struct kube_call){.method = "DELETE", .path = path},
                NULL, &why),
        &why, e);
}

/* --- list --- */

int kube_job_list(const struct kube_place *p,
                  bool (*take)(void *arg, const struct json *job), void *arg,
                  struct err *e)
{
    own_mem char *which = kube_job_selector(p);
    own_mem char *path = jobs_path(p, which);
    char version[KUBE_VERSION_SIZE];

    return kube_list(p->kube, path, NULL, take, arg, version, e);
}

int kube_job_list_claimed(const struct kube_place *p,
                          bool (*take)(void *arg, const struct json *pod),
                          void *arg, struct err *e)
{
    own_mem char *which = kube_job_selector(p);
    own_mem char *path = mem_printf("/api/v1/namespaces/%s/pods%s," PODVIEW_POOL
                                    "," PODVIEW_LABEL,
                                    p->ns, which);
    char version[KUBE_VERSION_SIZE];

    return kube_list(p->kube, path, NULL, take, arg, version, e);
}
