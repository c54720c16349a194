/*
 * A whole collection, page after page. A page that is too large is asked for
 * anew with half the objects, down to one; that one is left out, lest one fat
 * object hide all others. Its page says first how to go on.
 */
#include "controller/kube_internal.h"

#include "base/log.h"
#include "base/mem.h"
#include "base/own.h"

#include <stdio.h>
#include <string.h>

#define CONTINUE_SIZE 4096
#define STATUS_GONE 410

bool kube_is_plain(const char *text, size_t size)
{
    size_t len = text ? strlen(text) : 0;

    return len > 0 && len < size &&
           strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                        "0123456789-._~=:") == len;
}

void kube_name_in(const char *text, size_t len, char out[KUBE_NAME_SIZE])
{
    static const char before[] = "\"metadata\":{\"name\":\"";
    const char *at = memmem(text, len, before, sizeof before - 1);
    const char *end;

    out[0] = '\0';
    if (!at)
        return;
    at += sizeof before - 1;
    end = memchr(at, '"', len - (size_t)(at - text));
    if (end && (size_t)(end - at) < KUBE_NAME_SIZE)
        snprintf(out, KUBE_NAME_SIZE, "%.*s", (int)(end - at), at);
}

/* A page of one object, without it. */
static struct json *without_it(const char *path, const struct buf *head,
                               struct err *e)
{
    static const char before[] = "\"items\":[";
    const char *text = (const char *)head->data;
    const char *items =
        head->len ? memmem(text, head->len, before, sizeof before - 1) : NULL;
    const size_t len = items ? (size_t)(items - text) : 0;
    own_mem char *page =
        mem_printf("%.*s%s]}", (int)len, len ? text : "", before);
    char name[KUBE_NAME_SIZE];
    struct err why = {0};
    struct json *j = len ? json_parse(page, strlen(page), &why) : NULL;

    if (!j)
        return NULL; /* *e says that it was too large */
    kube_name_in(items, head->len - len, name);
    log_warn("kube.left_out", "path", "s", path, "name", "s", name, "error",
             "s", e->text, NULL);
    *e = (struct err){0};
    return j;
}

static int get_page(struct kube *k, const char *path, const char *more,
                    int limit, const atomic_bool *stop, struct json **out,
                    struct err *e)
{
    own_mem char *full =
        mem_printf("%s%climit=%d%s%s", path, strchr(path, '?') ? '&' : '?',
                   limit, *more ? "&continue=" : "", more);
    struct buf head;
    const struct kube_call call = {.path = full, .stop = stop, .head = &head};
    int status;

    buf_init(&head, KUBE_ANSWER_MAX);
    status = kube_do(k, &call, out, e);
    if (status < 0 && e->kind == ERR_TOO_LARGE && limit == 1) {
        *out = without_it(path, &head, e);
        status = *out ? 200 : -1;
    }
    buf_fini(&head);

    if (status == STATUS_GONE)
        return err_set(e, ERR_SYSTEM, "the list changed too soon");
    return status == 200 ? 0 : -1;
}

int kube_list(struct kube *k, const char *path, const atomic_bool *stop,
              bool (*take)(void *arg, const struct json *object), void *arg,
              char version[KUBE_VERSION_SIZE], struct err *e)
{
    char more[CONTINUE_SIZE] = "";
    int limit = KUBE_PAGE;
    bool is_last = false;

    do {
        own_json struct json *page = NULL;
        const struct json *items, *meta;
        const char *now, *next;

        if (get_page(k, path, more, limit, stop, &page, e) < 0) {
            if (e->kind != ERR_TOO_LARGE || limit == 1)
                return -1;
            *e = (struct err){0};
            limit /= 2;
            is_last = false;
            continue;
        }
        limit = limit * 2 < KUBE_PAGE ? limit * 2 : KUBE_PAGE;
        items = json_get(page, "items");
        meta = json_get(page, "metadata");
        now = json_get_str(meta, "resourceVersion");
        next = json_get_str(meta, "continue");
        if (!json_is_array(items) || !kube_is_plain(now, KUBE_VERSION_SIZE) ||
            (next && *next && !kube_is_plain(next, CONTINUE_SIZE)))
            return err_set(e, ERR_SYSTEM, "%s: no list", path);
        for (size_t i = 0; i < json_count(items); i++)
            if (!take(arg, json_at(items, i)))
                return 0;
        memcpy(version, now, strlen(now) + 1);
        memcpy(more, next ? next : "", next ? strlen(next) + 1 : 1);
        is_last = !*more;
    } while (!is_last);
    return 0;
}
