#include "tests/lib/kubeworld_internal.h"

#include "base/mem.h"
#include "base/own.h"
#include "base/tls.h"
#include "base/ws.h"
#include "base/yaml.h"
#include "tests/lib/tree.h"

#include <assert.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SCALED_JOB "infra/keda/pool/scaledjob.yaml"

/* --- objects; under lock --- */

struct object *kubeworld_find(struct kubeworld *w, const char *kind,
                              const char *name)
{
    for (size_t i = 0; i < w->count; i++)
        if (strcmp(w->all[i].kind, kind) == 0 &&
            strcmp(w->all[i].name, name) == 0)
            return &w->all[i];
    return NULL;
}

struct json *kubeworld_meta(const struct json *j)
{
    return (struct json *)(uintptr_t)json_get(j, "metadata");
}

void kubeworld_tell(struct kubeworld *w, const char *type,
                    const struct object *o)
{
    char version[24];
    own_json struct json *ev = json_object();
    struct event *e;

    snprintf(version, sizeof version, "%zu", w->event_count + 1);
    json_drop(kubeworld_meta(o->j), "resourceVersion");
    json_set_str(kubeworld_meta(o->j), "resourceVersion", version);
    json_set_str(ev, "type", type);
    json_set(ev, "object", json_dup(o->j));
    w->events = mem_resize(w->events, w->event_count + 1, sizeof *w->events);
    e = &w->events[w->event_count++];
    *e =
        (struct event){w->is_hidden ? "nobody's" : o->kind, type, json_text(ev),
                       json_dup(json_get(kubeworld_meta(o->j), "labels"))};
}

struct object *kubeworld_add(struct kubeworld *w, const char *kind,
                             struct json *j)
{
    char uid[24];
    struct object *o;

    w->all = mem_resize(w->all, w->count + 1, sizeof *w->all);
    o = &w->all[w->count++];
    memset(o, 0, sizeof *o);
    o->kind = kind;
    o->j = j;
    snprintf(o->name, sizeof o->name, "%s",
             json_get_str(kubeworld_meta(j), "name"));
    snprintf(uid, sizeof uid, "uid-%d", ++w->uids);
    json_set_str(kubeworld_meta(j), "uid", uid);
    kubeworld_tell(w, "ADDED", o);
    return o;
}

void kubeworld_drop(struct kubeworld *w, struct object *o)
{
    kubeworld_tell(w, "DELETED", o);
    json_free(o->j);
    *o = w->all[--w->count];
}

/* --- what goes wrong --- */

void kubeworld_fault(struct kubeworld *w, const char *method, const char *path,
                     enum kubeworld_fault what, int status, const char *text,
                     int times)
{
    struct fault *f;

    pthread_mutex_lock(&w->lock);
    assert(w->fault_count < FAULTS_MAX);
    f = &w->faults[w->fault_count++];
    *f = (struct fault){
        .what = what, .status = status, .times = times, .text = text};
    snprintf(f->method, sizeof f->method, "%s", method);
    snprintf(f->path, sizeof f->path, "%s", path);
    pthread_mutex_unlock(&w->lock);
}

void kubeworld_heal(struct kubeworld *w)
{
    pthread_mutex_lock(&w->lock);
    w->fault_count = 0;
    pthread_mutex_unlock(&w->lock);
}

void kubeworld_cut(struct kubeworld *w, bool is_forgotten)
{
    pthread_mutex_lock(&w->lock);
    w->cuts++;
    if (is_forgotten) { /* something has happened since, to nobody */
        w->events =
            mem_resize(w->events, w->event_count + 1, sizeof *w->events);
        w->events[w->event_count++] = (struct event){.kind = "nobody's"};
        w->forgotten = w->event_count;
    }
    pthread_mutex_unlock(&w->lock);
}

void kubeworld_hide(struct kubeworld *w, bool is_hidden)
{
    pthread_mutex_lock(&w->lock);
    w->is_hidden = is_hidden;
    pthread_mutex_unlock(&w->lock);
}

/* --- what is seen --- */

int kubeworld_count(struct kubeworld *w, const char *kind, const char *name)
{
    int n = 0;

    pthread_mutex_lock(&w->lock);
    for (size_t i = 0; i < w->count; i++)
        n += strcmp(w->all[i].kind, kind) == 0 &&
             strncmp(w->all[i].name, name, strlen(name)) == 0;
    pthread_mutex_unlock(&w->lock);
    return n;
}

char *kubeworld_name(struct kubeworld *w, const char *kind, const char *name,
                     int n)
{
    char *found = NULL;

    pthread_mutex_lock(&w->lock);
    for (size_t i = 0; i < w->count && !found; i++)
        if (strcmp(w->all[i].kind, kind) == 0 &&
            strncmp(w->all[i].name, name, strlen(name)) == 0 && n-- == 0)
            found = mem_str(w->all[i].name);
    pthread_mutex_unlock(&w->lock);
    return found;
}

char *kubeworld_text(struct kubeworld *w, const char *kind, const char *name)
{
    struct object *o;
    char *text;

    pthread_mutex_lock(&w->lock);
    o = kubeworld_find(w, kind, name);
    text = o ? json_text(o->j) : NULL;
    pthread_mutex_unlock(&w->lock);
    return text;
}

int kubeworld_asked(struct kubeworld *w, const char *method, const char *path,
                    const char *body)
{
    int n = 0;

    pthread_mutex_lock(&w->lock);
    for (size_t i = 0; i < w->asked_count; i++) {
        const char *line = w->asked[i], *rest = strchr(line, '\n');
        const char *at = strstr(line, path);

        n += strncmp(line, method, strlen(method)) == 0 && at && at <= rest &&
             strstr(rest, body);
    }
    pthread_mutex_unlock(&w->lock);
    return n;
}

int kubeworld_watches(struct kubeworld *w)
{
    int n;

    pthread_mutex_lock(&w->lock);
    n = w->watches;
    pthread_mutex_unlock(&w->lock);
    return n;
}

/* --- what happens --- */

static void own_by(struct json *meta, const struct json *job)
{
    struct json *owner = json_set(
        json_set(meta, "ownerReferences", json_array()), NULL, json_object());

    json_set_str(owner, "apiVersion", "batch/v1");
    json_set_str(owner, "kind", "Job");
    json_set_str(owner, "name", json_get_str(kubeworld_meta(job), "name"));
    json_set_str(owner, "uid", json_get_str(kubeworld_meta(job), "uid"));
    json_set_bool(owner, "controller", true);
}

/* A Job's pod carries its template's notes and spec, and the Job's labels. */
static void make_pod(struct kubeworld *w, const struct json *job,
                     const char *pod)
{
    const struct json *spec = json_get(json_get(job, "spec"), "template");
    struct json *j = json_object();
    struct json *meta = json_set(j, "metadata", json_object());
    const struct json *from = json_get(kubeworld_meta(spec), "labels");
    struct json *labels =
        json_set(meta, "labels", from ? json_dup(from) : json_object());

    from = json_get(kubeworld_meta(spec), "annotations");
    if (from)
        json_set(meta, "annotations", json_dup(from));
    if (json_get(spec, "spec"))
        json_set(j, "spec", json_dup(json_get(spec, "spec")));
    json_set_str(meta, "name", pod);
    json_set_str(labels, "batch.kubernetes.io/job-name",
                 json_get_str(kubeworld_meta(job), "name"));
    json_set_str(labels, "batch.kubernetes.io/controller-uid",
                 json_get_str(kubeworld_meta(job), "uid"));
    own_by(meta, job);
    kubeworld_add(w, "pods", j);
}

void kubeworld_pod(struct kubeworld *w, const char *job, const char *pod)
{
    struct object *o;

    pthread_mutex_lock(&w->lock);
    o = kubeworld_find(w, "jobs", job);
    assert(o);
    make_pod(w, o->j, pod);
    pthread_mutex_unlock(&w->lock);
}

/* Each time it is there; text is taken. */
static char *replaced(char *text, const char *what, const char *by)
{
    size_t from = 0;
    char *at;

    while ((at = strstr(text + from, what))) {
        char *next = mem_printf("%.*s%s%s", (int)(at - text), text, by,
                                at + strlen(what));

        from = (size_t)(at - text) + strlen(by);
        free(text);
        text = next;
    }
    return text;
}

void kubeworld_altered(struct kubeworld *w, const char *job, const char *pod,
                       const char *what, const char *by)
{
    static const char labels[] =
        "{\"app.kubernetes.io/managed-by\":\"podterm\","
        "\"podterm.dev/installation\":\"" KUBEWORLD_INSTALLATION "\","
        "\"podterm.dev/pool\":\"default\"}";
    own_mem char *text = tree_get(SCALED_JOB, &(size_t){0});
    own_json struct json *scaled = NULL;
    struct json *j = json_object(), *meta, *template;
    struct err e = {0};

    text = replaced(text, "image: podterm-agent", "image: " KUBEWORLD_AGENT);
    text = replaced(text, "image: podterm-runner", "image: " KUBEWORLD_RUNNER);
    if (what) {
        assert(strstr(text, what));
        text = replaced(text, what, by);
    }
    scaled = yaml_parse(text, strlen(text), &e);
    if (!scaled) {
        fprintf(stderr, "%s\n", e.text);
        abort();
    }
    json_set(j, "spec",
             json_dup(json_get(json_get(scaled, "spec"), "jobTargetRef")));
    meta = json_set(j, "metadata", json_object());
    json_set_str(meta, "name", job);
    json_set(meta, "labels", json_parse(labels, strlen(labels), &e));
    template =
        (struct json *)(uintptr_t)json_get(json_get(j, "spec"), "template");
    json_set(kubeworld_meta(template), "labels",
             json_parse(labels, strlen(labels), &e));
    pthread_mutex_lock(&w->lock);
    kubeworld_add(w, "jobs", j);
    make_pod(w, kubeworld_find(w, "jobs", job)->j, pod);
    pthread_mutex_unlock(&w->lock);
}

void kubeworld_foreign(struct kubeworld *w, const char *job, const char *pod)
{
    kubeworld_altered(w, job, pod, NULL, NULL);
}

static void status_is(struct kubeworld *w, const char *kind, const char *name,
                      const char *status)
{
    struct err e = {0};
    struct json *j = json_parse(status, strlen(status), &e);
    struct object *o;

    if (!j) {
        fprintf(stderr, "%s\n", e.text);
        abort();
    }
    pthread_mutex_lock(&w->lock);
    o = kubeworld_find(w, kind, name);
    if (o) {
        json_drop(o->j, "status");
        json_set(o->j, "status", j);
        kubeworld_tell(w, "MODIFIED", o);
    } else {
        json_free(j);
    }
    pthread_mutex_unlock(&w->lock);
}

void kubeworld_pod_is(struct kubeworld *w, const char *pod, const char *status)
{
    status_is(w, "pods", pod, status);
}

void kubeworld_job_is(struct kubeworld *w, const char *job, const char *status)
{
    status_is(w, "jobs", job, status);
}

void kubeworld_label(struct kubeworld *w, const char *pod, const char *name,
                     const char *value)
{
    struct object *o;
    struct json *labels;

    pthread_mutex_lock(&w->lock);
    o = kubeworld_find(w, "pods", pod);
    if (o) {
        labels =
            (struct json *)(uintptr_t)json_get(kubeworld_meta(o->j), "labels");
        json_set_str(labels, name, value);
        kubeworld_tell(w, "MODIFIED", o);
    }
    pthread_mutex_unlock(&w->lock);
}

void kubeworld_own(struct kubeworld *w, const char *pod, const char *job,
                   bool with_uid)
{
    struct object *o, *of;
    struct json *owner;

    pthread_mutex_lock(&w->lock);
    o = kubeworld_find(w, "pods", pod);
    of = kubeworld_find(w, "jobs", job);
    assert(o && of);
    owner = (struct json *)(uintptr_t)json_at(
        json_get(kubeworld_meta(o->j), "ownerReferences"), 0);
    json_set_str(owner, "name", job);
    if (with_uid)
        json_set_str(owner, "uid", json_get_str(kubeworld_meta(of->j), "uid"));
    kubeworld_tell(w, "MODIFIED", o);
    pthread_mutex_unlock(&w->lock);
}

void kubeworld_fatten(struct kubeworld *w, const char *kind, const char *name,
                      int notes)
{
    struct err e = {0};
    struct object *o;
    struct buf b;

    buf_init(&b, SIZE_MAX / 2);
    for (int i = 0; i < notes; i++)
        buf_printf(&b, "%c\"a%d\":\"\"", i ? ',' : '{', i);
    buf_append_u8(&b, '}');
    pthread_mutex_lock(&w->lock);
    o = kubeworld_find(w, kind, name);
    assert(o);
    json_set(kubeworld_meta(o->j), "annotations",
             json_parse_upto(b.data, b.len, SIZE_MAX, &e));
    buf_fini(&b);
    kubeworld_tell(w, "MODIFIED", o);
    pthread_mutex_unlock(&w->lock);
}

void kubeworld_repeat(struct kubeworld *w, const char *kind, const char *name)
{
    struct object *o;

    pthread_mutex_lock(&w->lock);
    o = kubeworld_find(w, kind, name);
    if (o)
        kubeworld_tell(w, "MODIFIED", o);
    pthread_mutex_unlock(&w->lock);
}

void kubeworld_leaves(struct kubeworld *w, const char *kind, const char *name)
{
    struct object *o;

    pthread_mutex_lock(&w->lock);
    o = kubeworld_find(w, kind, name);
    if (o) {
        json_drop(kubeworld_meta(o->j), "deletionTimestamp");
        json_set_str(kubeworld_meta(o->j), "deletionTimestamp",
                     "2026-01-01T00:00:00Z");
        json_drop(kubeworld_meta(o->j), "deletionGracePeriodSeconds");
        json_set_int(kubeworld_meta(o->j), "deletionGracePeriodSeconds", 1);
        kubeworld_tell(w, "MODIFIED", o);
    }
    pthread_mutex_unlock(&w->lock);
}

void kubeworld_gone(struct kubeworld *w, const char *kind, const char *name)
{
    struct object *o;

    pthread_mutex_lock(&w->lock);
    o = kubeworld_find(w, kind, name);
    if (o)
        kubeworld_drop(w, o);
    pthread_mutex_unlock(&w->lock);
}

/* --- birth and death --- */

struct kubeworld *kubeworld_new(const char *dir)
{
    struct kubeworld *w = mem_zero(1, sizeof *w);
    own_mem char *cert = mem_printf("%s/srv.pem", dir);
    own_mem char *key = mem_printf("%s/srv.key", dir);
    struct err e = {0};
    char name[64];

    signal(SIGPIPE, SIG_IGN);
    pthread_mutex_init(&w->lock, NULL);
    w->ctx = tls_server_ctx(cert, key, &e);
    w->listen_fd = listen_tcp("127.0.0.1:0", false, &e);
    if (!w->ctx || w->listen_fd < 0 ||
        listen_name(w->listen_fd, name, sizeof name) < 0)
        abort();
    w->port = atoi(strrchr(name, ':') + 1);
    if (pthread_create(&w->thread, NULL, kubeworld_serve, w) != 0)
        abort();
    return w;
}

int kubeworld_port(const struct kubeworld *w)
{
    return w->port;
}

void kubeworld_free(struct kubeworld *w)
{
    if (!w)
        return;
    atomic_store(&w->is_over, true);
    pthread_join(w->thread, NULL);
    while (atomic_load(&w->conns) > 0)
        poll(NULL, 0, 1);
    close(w->listen_fd);
    tls_ctx_free(w->ctx);
    for (size_t i = 0; i < w->count; i++)
        json_free(w->all[i].j);
    for (size_t i = 0; i < w->event_count; i++) {
        free(w->events[i].text);
        json_free(w->events[i].labels);
    }
    for (size_t i = 0; i < w->asked_count; i++)
        free(w->asked[i]);
    free(w->all);
    free(w->events);
    free(w->asked);
    pthread_mutex_destroy(&w->lock);
    free(w);
}
