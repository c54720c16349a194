#include "tests/lib/kubeworld_internal.h"

#include "base/mem.h"
#include "base/own.h"
#include "base/tls.h"
#include "base/ws.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define REQUEST_MAX (512 * 1024)
#define LOOK_MS 5 /* between looks of who waits */

struct conn {
    struct kubeworld *w;
    int fd;
    struct tls *tls;
    bool is_broken;
    char method[8], *path;
    const char *body;
    size_t body_len;
};

/* --- bytes --- */

static bool again(struct conn *c, ssize_t r)
{
    struct pollfd p = {.fd = c->fd,
                       .events = r == TLS_WANT_READ ? POLLIN : POLLOUT};

    if (r != TLS_WANT_READ && r != TLS_WANT_WRITE)
        return false;
    while (!atomic_load(&c->w->is_over))
        if (poll(&p, 1, 50) > 0)
            return true;
    return false;
}

static void put(struct conn *c, const void *bytes, size_t len)
{
    const uint8_t *at = bytes;

    while (len > 0 && !c->is_broken) {
        ssize_t n = tls_write(c->tls, at, len);

        if (n > 0) {
            at += n;
            len -= (size_t)n;
        } else if (!again(c, n)) {
            c->is_broken = true;
        }
    }
}

static void answer(struct conn *c, int status, const char *text)
{
    own_mem char *all =
        mem_printf("HTTP/1.1 %d As Told\r\nconnection: close\r\n"
                   "content-length: %zu\r\n\r\n%s",
                   status, strlen(text), text);

    put(c, all, strlen(all));
}

static void refuse(struct conn *c, int status, const char *sentence)
{
    own_json struct json *j = json_object();
    own_mem char *text = NULL;

    json_set_str(j, "kind", "Status");
    json_set_int(j, "code", status);
    json_set_str(j, "message", sentence);
    text = json_text(j);
    answer(c, status, text);
}

/* The whole request; false: it broke off. */
static bool take(struct conn *c, char *in)
{
    size_t len = 0;
    const char *end, *length;

    for (;;) {
        ssize_t n = tls_read(c->tls, in + len, REQUEST_MAX - 1 - len);

        if (n <= 0 && !again(c, n))
            return false;
        if (n <= 0)
            continue;
        len += (size_t)n;
        in[len] = 0;
        end = strstr(in, "\r\n\r\n");
        if (!end)
            continue;
        length = strcasestr(in, "\r\ncontent-length:");
        c->body = end + 4;
        c->body_len =
            length && length < end ? strtoul(length + 17, NULL, 10) : 0;
        if (strlen(c->body) >= c->body_len)
            break;
    }
    c->path = mem_zero(strlen(in) + 1, 1);
    return sscanf(in, "%7s %s", c->method, c->path) == 2;
}

/* --- selectors --- */

static bool fits(const struct json *labels, const char *path)
{
    const char *at = strstr(path, "labelSelector=");
    char list[256], *save = NULL;

    if (!at)
        return true;
    snprintf(list, sizeof list, "%.*s", (int)strcspn(at + 14, "&"), at + 14);
    for (char *s = strtok_r(list, ",", &save); s;
         s = strtok_r(NULL, ",", &save)) {
        char *value = strchr(s, '=');

        if (value)
            *value++ = 0;
        if (value ? !json_get_is(labels, s, value) : !json_get(labels, s))
            return false;
    }
    return true;
}

/* --- verbs --- */

static size_t number_in(const char *path, const char *name, size_t otherwise)
{
    const char *at = strstr(path, name);

    return at ? strtoul(at + strlen(name), NULL, 10) : otherwise;
}

static void list(struct conn *c, const char *kind)
{
    struct kubeworld *w = c->w;
    own_json struct json *j = json_object();
    struct json *meta = json_set(j, "metadata", json_object());
    struct json *items = json_set(j, "items", json_array());
    const size_t from = number_in(c->path, "continue=", 0);
    const size_t limit = number_in(c->path, "limit=", SIZE_MAX);
    own_mem char *text = NULL;
    char version[24], next[24] = "";
    size_t n = 0;

    pthread_mutex_lock(&w->lock);
    for (size_t i = from; i < w->count && !next[0]; i++) {
        if (strcmp(w->all[i].kind, kind) != 0 ||
            !fits(json_get(kubeworld_meta(w->all[i].j), "labels"), c->path))
            continue;
        if (n++ == limit)
            snprintf(next, sizeof next, "%zu", i);
        else
            json_set(items, NULL, json_dup(w->all[i].j));
    }
    snprintf(version, sizeof version, "%zu", w->event_count);
    pthread_mutex_unlock(&w->lock);
    if (next[0])
        json_set_str(meta, "continue", next);
    json_set_str(meta, "resourceVersion", version);
    text = json_text(j);
    answer(c, 200, text);
}

static void put_event(struct conn *c, const char *text)
{
    own_mem char *chunk = mem_printf("%zx\r\n%s\n\r\n", strlen(text) + 1, text);

    put(c, chunk, strlen(chunk));
}

static bool has_left(struct conn *c)
{
    struct pollfd p = {.fd = c->fd, .events = POLLIN};

    return poll(&p, 1, LOOK_MS) > 0;
}

static void watch(struct conn *c, const char *kind)
{
    static const char head[] = "HTTP/1.1 200 As Told\r\nconnection: close\r\n"
                               "transfer-encoding: chunked\r\n\r\n";
    struct kubeworld *w = c->w;
    size_t at = strtoul(strstr(c->path, "resourceVersion=") + 16, NULL, 10);
    int cuts;

    pthread_mutex_lock(&w->lock);
    cuts = w->cuts;
    if (at < w->forgotten) {
        pthread_mutex_unlock(&w->lock);
        refuse(c, 410, "too old resource version");
        return;
    }
    w->watches++;
    pthread_mutex_unlock(&w->lock);
    put(c, head, sizeof head - 1);
    while (!atomic_load(&w->is_over) && !c->is_broken && !has_left(c)) {
        pthread_mutex_lock(&w->lock);
        if (w->cuts != cuts) {
            pthread_mutex_unlock(&w->lock);
            break;
        }
        for (; at < w->event_count; at++) {
            const struct event *e = &w->events[at];

            if (strcmp(e->kind, kind) == 0 && fits(e->labels, c->path))
                put_event(c, e->text);
        }
        pthread_mutex_unlock(&w->lock);
    }
    pthread_mutex_lock(&w->lock);
    w->watches--;
    pthread_mutex_unlock(&w->lock);
}

/* Answer with the object and, unless the answer is lost, say so. */
static void answer_object(struct conn *c, int status, const struct json *j,
                          const struct fault *f)
{
    own_mem char *text = json_text(j);

    if (f && f->what == KUBEWORLD_LOSE)
        return;
    answer(c, status, f && f->what == KUBEWORLD_NONSENSE ? "<html>" : text);
}

static void post(struct conn *c, const char *kind, const struct fault *f)
{
    struct kubeworld *w = c->w;
    struct err e = {0};
    struct json *body = json_parse(c->body, c->body_len, &e);
    const char *name = json_get_str(kubeworld_meta(body), "name");
    own_json struct json *made = NULL;

    if (!name) {
        json_free(body);
        refuse(c, 422, "no name");
        return;
    }
    pthread_mutex_lock(&w->lock);
    if (!kubeworld_find(w, kind, name))
        made = json_dup(kubeworld_add(w, kind, body)->j);
    pthread_mutex_unlock(&w->lock);
    if (made)
        answer_object(c, 201, made, f);
    else if (!f || f->what != KUBEWORLD_LOSE)
        refuse(c, 409, "jobs \"x\" already exists");
    if (!made)
        json_free(body);
}

static void get(struct conn *c, const char *kind, const char *name)
{
    own_json struct json *j = NULL;

    pthread_mutex_lock(&c->w->lock);
    if (kubeworld_find(c->w, kind, name))
        j = json_dup(kubeworld_find(c->w, kind, name)->j);
    pthread_mutex_unlock(&c->w->lock);
    if (j)
        answer_object(c, 200, j, NULL);
    else
        refuse(c, 404, "not found");
}

/* What it owned, but for pods: their end takes its time. */
static void drop_owned(struct kubeworld *w, const char *uid)
{
    for (size_t i = 0; i < w->count; i++) {
        const struct json *owner = json_at(
            json_get(kubeworld_meta(w->all[i].j), "ownerReferences"), 0);

        if (json_get_is(owner, "uid", uid) && strcmp(w->all[i].kind, "pods"))
            kubeworld_drop(w, &w->all[i--]);
    }
}

static void delete (struct conn *c, const char *kind, const char *name,
                    const struct fault *f)
{
    struct kubeworld *w = c->w;
    struct err e = {0};
    own_json struct json *body = json_parse(c->body, c->body_len, &e);
    const char *want = json_get_str(json_get(body, "preconditions"), "uid");
    struct object *o;
    int status = 200;

    pthread_mutex_lock(&w->lock);
    o = kubeworld_find(w, kind, name);
    if (!o) {
        status = 404;
    } else if (want && !json_get_is(kubeworld_meta(o->j), "uid", want)) {
        status = 409;
    } else {
        own_mem char *uid = mem_str(json_get_str(kubeworld_meta(o->j), "uid"));

        kubeworld_drop(w, o);
        drop_owned(w, uid);
    }
    pthread_mutex_unlock(&w->lock);
    if (f && f->what == KUBEWORLD_LOSE)
        return;
    if (status == 200)
        answer(c, 200, "{\"kind\":\"Status\"}");
    else
        refuse(c, status, "as told");
}

static void merge(struct json *to, const struct json *from)
{
    for (size_t i = 0; i < json_count(from); i++) {
        const struct json *m = json_at(from, i);

        if (!json_get(to, json_name(m)))
            json_set(to, json_name(m), json_object());
        if (json_is_object(m)) {
            merge((struct json *)(uintptr_t)json_get(to, json_name(m)), m);
        } else {
            json_drop(to, json_name(m));
            json_set(to, json_name(m), json_dup(m));
        }
    }
}

static void patch(struct conn *c, const char *kind, const char *name,
                  const struct fault *f)
{
    struct kubeworld *w = c->w;
    struct err e = {0};
    own_json struct json *body = json_parse(c->body, c->body_len, &e);
    own_json struct json *now = NULL;
    struct object *o;

    pthread_mutex_lock(&w->lock);
    o = kubeworld_find(w, kind, name);
    if (o) {
        merge(o->j, body);
        kubeworld_tell(w, "MODIFIED", o);
        now = json_dup(o->j);
    }
    pthread_mutex_unlock(&w->lock);
    if (now)
        answer_object(c, 200, now, f);
    else
        refuse(c, 404, "not found");
}

/* --- a request --- */

static void log_request(struct conn *c)
{
    struct kubeworld *w = c->w;

    pthread_mutex_lock(&w->lock);
    w->asked = mem_resize(w->asked, w->asked_count + 1, sizeof *w->asked);
    w->asked[w->asked_count++] =
        mem_printf("%s %s\n%s", c->method, c->path, c->body);
    pthread_mutex_unlock(&w->lock);
}

static bool fault_for(struct conn *c, struct fault *out)
{
    struct kubeworld *w = c->w;
    bool is_found = false;

    pthread_mutex_lock(&w->lock);
    for (size_t i = w->fault_count; i-- > 0 && !is_found;) {
        struct fault *f = &w->faults[i];

        if (f->times == 0 || strcmp(f->method, c->method) != 0 ||
            !strstr(c->path, f->path))
            continue;
        *out = *f;
        f->times -= f->times > 0;
        is_found = true;
    }
    pthread_mutex_unlock(&w->lock);
    return is_found;
}

static bool is_healed(struct kubeworld *w)
{
    bool is;

    pthread_mutex_lock(&w->lock);
    is = w->fault_count == 0;
    pthread_mutex_unlock(&w->lock);
    return is;
}

static void serve_right(struct conn *c, const struct fault *f)
{
    static const char *const kinds[] = {"jobs", "pods", "secrets"};
    const char *kind = NULL, *at = strstr(c->path, "/" KUBEWORLD_NS "/");
    char name[128] = "";

    if (strcmp(c->path, "/api/v1/namespaces/" KUBEWORLD_NS) == 0) {
        answer(c, 200, "{\"kind\":\"Namespace\"}");
        return;
    }
    at = at ? at + sizeof "/" KUBEWORLD_NS : c->path;
    for (size_t i = 0; i < 3; i++)
        if (strncmp(at, kinds[i], strlen(kinds[i])) == 0)
            kind = kinds[i];
    if (!kind) {
        refuse(c, 404, "no such thing");
        return;
    }
    at += strlen(kind);
    if (*at == '/')
        snprintf(name, sizeof name, "%.*s", (int)strcspn(at + 1, "?"), at + 1);
    if (strcmp(c->method, "POST") == 0)
        post(c, kind, f);
    else if (strcmp(c->method, "DELETE") == 0)
        delete (c, kind, name, f);
    else if (strcmp(c->method, "PATCH") == 0)
        patch(c, kind, name, f);
    else if (name[0])
        get(c, kind, name);
    else if (strstr(c->path, "watch=1"))
        watch(c, kind);
    else
        list(c, kind);
}

static void serve(struct conn *c)
{
    struct fault f;
    bool has = fault_for(c, &f);

    log_request(c);
    if (has && f.what == KUBEWORLD_HANG_UP)
        return;
    if (has && f.what == KUBEWORLD_REFUSE) {
        refuse(c, f.status, f.text ? f.text : "no");
        return;
    }
    while (has && f.what == KUBEWORLD_HOLD && !atomic_load(&c->w->is_over) &&
           !is_healed(c->w))
        poll(NULL, 0, LOOK_MS);
    serve_right(c, has && f.what != KUBEWORLD_HOLD ? &f : NULL);
}

static void *conn_run(void *arg)
{
    struct conn *c = arg;
    char *in = mem_zero(REQUEST_MAX, 1);
    int r;

    c->tls = tls_accept(c->w->ctx, c->fd);
    while ((r = tls_handshake(c->tls)) != 0 && again(c, r))
        ;
    if (r == 0 && take(c, in))
        serve(c);
    tls_bye(c->tls);
    tls_free(c->tls);
    close(c->fd);
    free(c->path);
    free(in);
    atomic_fetch_sub(&c->w->conns, 1);
    free(c);
    return NULL;
}

void *kubeworld_serve(void *arg)
{
    struct kubeworld *w = arg;

    while (!atomic_load(&w->is_over)) {
        struct pollfd p = {.fd = w->listen_fd, .events = POLLIN};
        struct conn *c;
        pthread_t t;
        int fd;

        if (poll(&p, 1, 20) <= 0)
            continue;
        fd = accept4(w->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd < 0)
            continue;
        c = mem_zero(1, sizeof *c);
        c->w = w;
        c->fd = fd;
        atomic_fetch_add(&w->conns, 1);
        if (pthread_create(&t, NULL, conn_run, c) != 0)
            abort();
        pthread_detach(t);
    }
    return NULL;
}
