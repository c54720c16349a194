#include "base/err.h"

#undef err_set
#undef err_sys
#undef err_wrap

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const struct {
    int http;
    int ws;
    const char *word;
} kinds[ERR_KIND_COUNT] = {[ERR_NONE] = {200, 1000, "ok"},
#define X(name, http, ws, word) [ERR_##name] = {http, ws, word},
                           ERR_KINDS(X)
#undef X
};

static int err_fill(struct err *e, enum err_kind kind, int saved,
                    const char *fmt, va_list ap)
{
    if (!e)
        return -1;
    e->kind = kind;
    e->is_full = saved == ENOSPC || saved == EDQUOT;
    vsnprintf(e->text, sizeof(e->text), fmt, ap);
    if (saved) {
        size_t len = strlen(e->text);
        char buf[96];

        snprintf(e->text + len, sizeof(e->text) - len, ": %s",
                 strerror_r(saved, buf, sizeof(buf)));
    }
    return -1;
}

int err_set(struct err *e, enum err_kind kind, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    err_fill(e, kind, 0, fmt, ap);
    va_end(ap);
    return -1;
}

int err_sys(struct err *e, const char *fmt, ...)
{
    int saved = errno;
    va_list ap;

    va_start(ap, fmt);
    err_fill(e, ERR_SYSTEM, saved ? saved : EIO, fmt, ap);
    va_end(ap);
    errno = saved;
    return -1;
}

int err_wrap(struct err *e, const char *fmt, ...)
{
    char inner[ERR_TEXT_MAX];
    va_list ap;
    size_t len;

    if (!e)
        return -1;
    memcpy(inner, e->text, sizeof(inner));
    va_start(ap, fmt);
    vsnprintf(e->text, sizeof(e->text), fmt, ap);
    va_end(ap);
    len = strlen(e->text);
    /* a cut tail is better than a lost head: the context names the place */
    snprintf(e->text + len, sizeof(e->text) - len, ": %.*s",
             (int)(sizeof(inner) - 1), inner);
    return -1;
}

int err_http_status(enum err_kind kind)
{
    return kind < ERR_KIND_COUNT ? kinds[kind].http : 500;
}

int err_ws_code(enum err_kind kind)
{
    return kind < ERR_KIND_COUNT ? kinds[kind].ws : 1011;
}

const char *err_word(enum err_kind kind)
{
    return kind < ERR_KIND_COUNT ? kinds[kind].word : "internal";
}
