#include "base/hush.h"

#include <string.h>

static size_t hush_len(const char *key)
{
    size_t len = key ? strlen(key) : 0;

    return len >= HUSH_MIN ? len : 0;
}

void hush_bytes(char *text, size_t len, const char *key)
{
    const size_t n = hush_len(key);
    char *end = text + len;

    while (n && (size_t)(end - text) >= n &&
           (text = memmem(text, (size_t)(end - text), key, n))) {
        memset(text, '*', n);
        text += n;
    }
}

size_t hush_tail(const char *text, size_t len, const char *key)
{
    size_t n = hush_len(key);

    if (!n)
        return 0;
    for (n = n - 1 < len ? n - 1 : len; n; n--)
        if (memcmp(text + len - n, key, n) == 0)
            break;
    return n;
}

void hush_cut(char *text, size_t len, const char *key)
{
    size_t tail;

    hush_bytes(text, len, key);
    tail = hush_tail(text, len, key);
    if (tail >= HUSH_MIN)
        memset(text + len - tail, '*', tail);
}

void hush_err(struct err *e, const char *key)
{
    hush_cut(e->text, strlen(e->text), key);
}
