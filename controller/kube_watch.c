/*
 * A watch goes list -> watch from the list's version -> watch from the last
 * event's, until the server has forgotten that version or KUBE_RELIST_MS are
 * over: then list again. Versions are opaque.
 */
#include "controller/kube_internal.h"

#include "base/log.h"
#include "base/mem.h"
#include "base/own.h"

#include <stdlib.h>
#include <string.h>

#define AGAIN_MS 500 /* after a failure, or an end at once; doubles */
#define AGAIN_MAX_MS 15000
#define AT_ONCE_MS 1000 /* of a watch without an event */
#define STATUS_GONE 410

struct kube_watch {
    struct kube *kube;
    char *path;
    void (*event)(void *arg, enum kube_event what, const struct json *object);
    void *arg;
    pthread_t thread;
    atomic_bool is_stopped;
    char version[KUBE_VERSION_SIZE]; /* "" = list first */
    int64_t listed_ms;
    int64_t again_ms; /* to wait after the next failure */
    int64_t asked_ms; /* to wait at least: Retry-After */
};

struct stream { /* one watch request; the try is first: it is their arg */
    struct kube_try try;
    struct kube_watch *w;
    struct buf line;
    int status;
    bool has_expired, has_heard;
    bool is_left_out; /* the rest of a line that is too long */
};

static bool is_over(const struct kube_watch *w)
{
    return atomic_load(&w->is_stopped) || atomic_load(&w->kube->is_cancelled);
}

static bool stream_is_cancelled(void *arg)
{
    return is_over(((struct stream *)arg)->w);
}

/* --- list --- */

static bool on_listed(void *arg, const struct json *object)
{
    struct kube_watch *w = arg;

    if (!is_over(w))
        w->event(w->arg, KUBE_LISTED, object);
    return !is_over(w);
}

static int list_all(struct kube_watch *w, struct err *e)
{
    if (kube_list(w->kube, w->path, &w->is_stopped, on_listed, w, w->version,
                  e) < 0)
        return -1;
    if (!is_over(w))
        w->event(w->arg, KUBE_ALL_LISTED, NULL);
    w->listed_ms = loop_now_ms();
    return 0;
}

/* --- watch --- */

static int take_version(struct kube_watch *w, const struct json *object)
{
    const char *version =
        json_get_str(json_get(object, "metadata"), "resourceVersion");

    if (!kube_is_plain(version, KUBE_VERSION_SIZE))
        return -1;
    memcpy(w->version, version, strlen(version) + 1);
    return 0;
}

static int take_error(struct stream *s, const struct json *object,
                      struct err *e)
{
    const char *said = json_get_str(object, "message");
    int64_t code = 0;

    json_get_int(object, "code", &code);
    s->has_expired = code == STATUS_GONE;
    return err_set(e, ERR_SYSTEM, "watch: %lld: %.200s", (long long)code,
                   said ? said : "");
}

static int take_event(struct stream *s, const struct json *ev, struct err *e)
{
    static const struct {
        const char *type;
        enum kube_event what;
    } types[] = {{"ADDED", KUBE_CHANGED},
                 {"MODIFIED", KUBE_CHANGED},
                 {"DELETED", KUBE_GONE}};
    const char *type = json_get_str(ev, "type");
    const struct json *object = json_get(ev, "object");

    if (!type || !json_is_object(object))
        return err_set(e, ERR_SYSTEM, "watch: no event");
    if (strcmp(type, "ERROR") == 0)
        return take_error(s, object, e);
    if (take_version(s->w, object) < 0)
        return err_set(e, ERR_SYSTEM, "watch: an object without a version");
    s->has_heard = true;
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (strcmp(type, types[i].type) == 0)
            s->w->event(s->w->arg, types[i].what, object);
    return 0; /* others, BOOKMARK among them, only move the version */
}

/* Lest one fat object hide all others: it is in the next list, or as much left
 * out of that. */
static void leave_out(struct stream *s, const char *text, size_t len,
                      const char *why)
{
    char name[KUBE_NAME_SIZE];

    kube_name_in(text, len, name);
    log_warn("kube.left_out", "path", "s", s->w->path, "name", "s", name,
             "error", "s", why, NULL);
    s->has_heard = true;
}

static int take_line(struct stream *s, const char *text, size_t len,
                     struct err *e)
{
    own_json struct json *ev = NULL;

    if (len == 0 || is_over(s->w))
        return 0;
    ev = json_parse_upto(text, len, KUBE_VALUES_MAX, e);
    if (!ev && e->kind == ERR_TOO_LARGE) {
        leave_out(s, text, len, e->text);
        *e = (struct err){0};
        return 0;
    }
    if (!ev)
        return err_set(e, ERR_SYSTEM, "watch: no event");
    return take_event(s, ev, e);
}

static int on_head(void *arg, const struct http_answer *a, struct err *e)
{
    struct stream *s = arg;

    (void)e;
    s->status = a->status;
    s->w->asked_ms = kube_retry_after_ms(a->retry_after);
    return 0;
}

static int add(struct stream *s, const uint8_t *bytes, size_t len,
               struct err *e)
{
    if (s->is_left_out || buf_append(&s->line, bytes, len) == 0)
        return 0;
    if (s->status != 200)
        return err_set(e, ERR_SYSTEM, "watch: an answer of too many bytes");
    leave_out(s, (const char *)s->line.data, s->line.len, "too many bytes");
    s->is_left_out = true;
    return 0;
}

/* Lines come in pieces of any size. */
static int on_data(void *arg, const uint8_t *bytes, size_t len, struct err *e)
{
    struct stream *s = arg;
    const uint8_t *end;

    while (s->status == 200 && (end = memchr(bytes, '\n', len))) {
        size_t n = (size_t)(end - bytes);

        if (add(s, bytes, n, e) < 0)
            return -1;
        if (!s->is_left_out &&
            take_line(s, (const char *)s->line.data, s->line.len, e) < 0)
            return -1;
        buf_clear(&s->line);
        s->is_left_out = false;
        bytes = end + 1;
        len -= n + 1;
    }
    return add(s, bytes, len, e);
}

static void wait_again(struct kube_watch *w, const struct err *e)
{
    if (is_over(w))
        return;
    log_warn("kube.watch", "path", "s", w->path, "error", "s",
             e->text[0] ? e->text : "it ended at once", NULL);
    kube_sleep(w->kube, w->asked_ms > w->again_ms ? w->asked_ms : w->again_ms,
               &w->is_stopped);
    w->asked_ms = 0;
    w->again_ms =
        w->again_ms * 2 < AGAIN_MAX_MS ? w->again_ms * 2 : AGAIN_MAX_MS;
}

/* 0: it ended as it should; 1: the version is forgotten; -1. */
static int watch_once(struct kube_watch *w, struct err *e)
{
    const int64_t begun_ms = loop_now_ms();
    own_mem char *path = mem_printf(
        "%s%cwatch=1&allowWatchBookmarks=true&timeoutSeconds=%d"
        "&resourceVersion=%s",
        w->path, strchr(w->path, '?') ? '&' : '?', KUBE_WATCH_S, w->version);
    struct stream s = {.w = w};
    struct http_answer a;
    int r;

    if (kube_try_init(&s.try, w->kube, path, e) < 0)
        return -1;
    buf_init(&s.line, KUBE_LINE_MAX);
    s.try.request.arg = &s;
    s.try.request.is_cancelled = stream_is_cancelled;
    s.try.request.head = on_head;
    s.try.request.data = on_data;
    s.try.request.body_max = SIZE_MAX;
    s.try.request.total_ms = (KUBE_WATCH_S + KUBE_SILENCE_S) * 1000;
    s.try.request.low_speed_bytes = 1;
    s.try.request.low_speed_s = KUBE_SILENCE_S;
    r = http_do(&s.try.request, &a, e);
    if (r == 0)
        http_answer_fini(&a);
    if (r == 0 && s.status != 200)
        r = kube_said(s.status, &s.line, e);
    if (s.has_expired || s.status == STATUS_GONE)
        r = 1;
    if (s.has_heard || loop_now_ms() - begun_ms > AT_ONCE_MS)
        w->again_ms = AGAIN_MS;
    else if (r >= 0)
        wait_again(w, e); /* a server that does that may do it for long */
    buf_fini(&s.line);
    kube_try_fini(&s.try);
    return r;
}

static void *watch_run(void *arg)
{
    struct kube_watch *w = arg;

    while (!is_over(w)) {
        struct err e = {0};
        int r = 0;

        if (!w->version[0] || loop_now_ms() - w->listed_ms > KUBE_RELIST_MS)
            r = list_all(w, &e);
        if (r == 0 && !is_over(w))
            r = watch_once(w, &e);
        if (r == 1)
            w->version[0] = '\0';
        if (r < 0) {
            if (e.kind == ERR_SYSTEM)
                w->version[0] = '\0'; /* what was missed is unknown */
            wait_again(w, &e);
        }
    }
    return NULL;
}

struct kube_watch *kube_watch_start(struct kube *k, const char *path,
                                    void (*event)(void *arg,
                                                  enum kube_event what,
                                                  const struct json *object),
                                    void *arg)
{
    struct kube_watch *w = mem_zero(1, sizeof *w);

    w->kube = k;
    w->path = mem_str(path);
    w->event = event;
    w->arg = arg;
    w->again_ms = AGAIN_MS;
    atomic_init(&w->is_stopped, false);
    if (pthread_create(&w->thread, NULL, watch_run, w) != 0)
        abort();
    return w;
}

void kube_watch_stop(struct kube_watch *w)
{
    if (!w)
        return;
    kube_wake(w->kube, &w->is_stopped);
    pthread_join(w->thread, NULL);
    free(w->path);
    free(w);
}
