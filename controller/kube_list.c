/* A whole collection, page after page. */
#include "controller/kube_internal.h"

#include "base/mem.h"
#include "base/own.h"

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

static int get_page(struct kube *k, const char *path, const char *more,
                    struct json **out, struct err *e)
{
    own_mem char *full =
        mem_printf("%s%climit=%d%s%s", path, strchr(path, '?') ? '&' : '?',
                   KUBE_PAGE, *more ? "&continue=" : "", more);
    const struct kube_call call = {.path = full};
    int status = kube_do(k, &call, out, e);

    if (status == STATUS_GONE)
        return err_set(e, ERR_SYSTEM, "the list changed too soon");
    return status == 200 ? 0 : -1;
}

int kube_list(struct kube *k, const char *path,
              bool (*take)(void *arg, const struct json *object), void *arg,
              char version[KUBE_VERSION_SIZE], struct err *e)
{
    char more[CONTINUE_SIZE] = "";

    do {
        own_json struct json *page = NULL;
        const struct json *items, *meta;
        const char *now, *next;

        if (get_page(k, path, more, &page, e) < 0)
            return -1;
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
    } while (*more);
    return 0;
}
