#include "base/buf.h"

#include "base/mem.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BUF_FIRST_BYTES 256

/* A broken buffer means memory was overwritten: better dead than obeyed. */
static void buf_check(const struct buf *b)
{
    if (b->len > b->cap || b->cap > b->max + 1 || (b->cap && !b->data))
        abort();
}

void buf_init(struct buf *b, size_t max)
{
    *b = (struct buf){.max = max};
}

void buf_init_secret(struct buf *b, size_t max)
{
    *b = (struct buf){.max = max, .is_secret = true};
}

void buf_fini(struct buf *b)
{
    if (!b)
        return;
    if (b->is_secret && b->data)
        explicit_bzero(b->data, b->cap);
    free(b->data);
    b->data = NULL;
    b->len = b->cap = 0;
}

void buf_fini_secret(struct buf *b)
{
    if (b && b->data)
        explicit_bzero(b->data, b->cap);
    buf_fini(b);
}

void buf_clear(struct buf *b)
{
    b->len = 0;
}

/* realloc(3) leaves what it moved behind. */
static uint8_t *buf_move_secret(const struct buf *b, size_t cap)
{
    uint8_t *data = mem_zero(cap, 1);

    if (!b->data)
        return data;
    memcpy(data, b->data, b->len);
    explicit_bzero(b->data, b->cap);
    free(b->data);
    return data;
}

/* One byte past max is allowed in cap: the terminator of buf_cstr. */
static int buf_grow(struct buf *b, size_t more)
{
    size_t want, cap;

    buf_check(b);
    if (more > b->max || b->len > b->max - more)
        return -1;
    want = b->len + more + 1;
    if (want <= b->cap)
        return 0;
    cap = b->cap ? b->cap : BUF_FIRST_BYTES;
    while (cap < want)
        cap *= 2;
    if (cap > b->max + 1)
        cap = b->max + 1;
    b->data =
        b->is_secret ? buf_move_secret(b, cap) : mem_resize(b->data, cap, 1);
    b->cap = cap;
    return 0;
}

uint8_t *buf_reserve(struct buf *b, size_t len)
{
    if (buf_grow(b, len) < 0)
        return NULL;
    return b->data + b->len;
}

void buf_commit(struct buf *b, size_t len)
{
    assert(len <= b->cap - b->len && b->len + len <= b->max);
    b->len += len;
}

int buf_append(struct buf *b, const void *bytes, size_t len)
{
    if (buf_grow(b, len) < 0)
        return -1;
    if (len)
        memcpy(b->data + b->len, bytes, len);
    b->len += len;
    return 0;
}

int buf_append_str(struct buf *b, const char *text)
{
    return buf_append(b, text, strlen(text));
}

static int buf_append_be(struct buf *b, uint64_t v, size_t width)
{
    uint8_t raw[8];

    for (size_t i = 0; i < width; i++)
        raw[i] = (uint8_t)(v >> (8 * (width - 1 - i)));
    return buf_append(b, raw, width);
}

int buf_append_u8(struct buf *b, uint8_t v)
{
    return buf_append(b, &v, 1);
}

int buf_append_u16(struct buf *b, uint16_t v)
{
    return buf_append_be(b, v, 2);
}

int buf_append_u32(struct buf *b, uint32_t v)
{
    return buf_append_be(b, v, 4);
}

int buf_append_u64(struct buf *b, uint64_t v)
{
    return buf_append_be(b, v, 8);
}

int buf_vprintf(struct buf *b, const char *fmt, va_list ap)
{
    va_list again;
    int len;

    va_copy(again, ap);
    len = vsnprintf(NULL, 0, fmt, again);
    va_end(again);
    if (len < 0 || buf_grow(b, (size_t)len) < 0)
        return -1;
    vsnprintf((char *)b->data + b->len, (size_t)len + 1, fmt, ap);
    b->len += (size_t)len;
    return 0;
}

int buf_printf(struct buf *b, const char *fmt, ...)
{
    va_list ap;
    int r;

    va_start(ap, fmt);
    r = buf_vprintf(b, fmt, ap);
    va_end(ap);
    return r;
}

void buf_drop(struct buf *b, size_t len)
{
    buf_check(b);
    if (len >= b->len) {
        b->len = 0;
        return;
    }
    memmove(b->data, b->data + len, b->len - len);
    b->len -= len;
}

const char *buf_cstr(struct buf *b)
{
    if (!b->data)
        return "";
    buf_grow(b, 0);
    b->data[b->len] = 0;
    return (const char *)b->data;
}

struct cursor cursor_of(const void *bytes, size_t len)
{
    return (struct cursor){.data = bytes, .len = len};
}

size_t cursor_left(const struct cursor *c)
{
    if (c->pos > c->len)
        abort();
    return c->len - c->pos;
}

int buf_take_bytes(struct cursor *c, size_t len, const uint8_t **out)
{
    if (cursor_left(c) < len)
        return -1;
    *out = c->data + c->pos;
    c->pos += len;
    return 0;
}

int buf_take_copy(struct cursor *c, void *out, size_t len)
{
    const uint8_t *p;

    if (buf_take_bytes(c, len, &p) < 0)
        return -1;
    if (len)
        memcpy(out, p, len);
    return 0;
}

static int buf_take_be(struct cursor *c, size_t width, uint64_t *out)
{
    const uint8_t *p;
    uint64_t v = 0;

    if (buf_take_bytes(c, width, &p) < 0)
        return -1;
    for (size_t i = 0; i < width; i++)
        v = v << 8 | p[i];
    *out = v;
    return 0;
}

int buf_take_u8(struct cursor *c, uint8_t *out)
{
    return buf_take_copy(c, out, 1);
}

int buf_take_u16(struct cursor *c, uint16_t *out)
{
    uint64_t v;

    if (buf_take_be(c, 2, &v) < 0)
        return -1;
    *out = (uint16_t)v;
    return 0;
}

int buf_take_u32(struct cursor *c, uint32_t *out)
{
    uint64_t v;

    if (buf_take_be(c, 4, &v) < 0)
        return -1;
    *out = (uint32_t)v;
    return 0;
}

int buf_take_u64(struct cursor *c, uint64_t *out)
{
    return buf_take_be(c, 8, out);
}
