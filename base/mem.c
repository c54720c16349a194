#include "base/mem.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *mem_check(void *p)
{
    if (!p)
        abort();
    return p;
}

void *mem_zero(size_t count, size_t size)
{
    return mem_check(calloc(count ? count : 1, size ? size : 1));
}

void *mem_resize(void *old, size_t count, size_t size)
{
    size_t bytes;

    if (__builtin_mul_overflow(count, size, &bytes))
        abort();
    return mem_check(realloc(old, bytes ? bytes : 1));
}

char *mem_str(const char *text)
{
    return mem_check(strdup(text));
}

char *mem_strn(const char *text, size_t len)
{
    char *out = mem_zero(len + 1, 1);

    memcpy(out, text, len);
    return out;
}

void *mem_copy(const void *bytes, size_t len)
{
    void *out = mem_zero(len, 1);

    if (len)
        memcpy(out, bytes, len);
    return out;
}

char *mem_printf(const char *fmt, ...)
{
    char *out = NULL;
    va_list ap;
    int len;

    va_start(ap, fmt);
    len = vasprintf(&out, fmt, ap);
    va_end(ap);
    if (len < 0)
        abort();
    return out;
}
