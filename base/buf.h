/*
 * Bounded byte buffers: the one way outside bytes are written and read.
 *
 * A `struct buf` grows up to a maximum fixed at its start and never past it;
 * appending beyond it fails and changes nothing. A `struct cursor` reads
 * bytes that somebody else owns; a take that finds too little fails, leaves
 * the position where it was, and leaves its output alone.
 */
#ifndef PODTERM_BASE_BUF_H
#define PODTERM_BASE_BUF_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf {
    uint8_t *data;  /* owned; NULL while empty */
    size_t len;     /* bytes in use, <= cap */
    size_t cap;     /* bytes allocated, <= max */
    size_t max;     /* bytes, the named limit of the caller */
    bool is_secret; /* bytes given back are wiped: when it moves, and at last */
};

/* An empty buffer that may hold max bytes. Allocates nothing. */
void buf_init(struct buf *b, size_t max);
/* The same for secrets. */
void buf_init_secret(struct buf *b, size_t max);
/* Releases the bytes; the buffer is empty and may be used again. */
void buf_fini(struct buf *b);
/* Like buf_fini, wiping the bytes first: for secrets. */
void buf_fini_secret(struct buf *b);
void buf_clear(struct buf *b);

/* Each returns 0, or -1 when max would be passed (buffer unchanged). */
int buf_append(struct buf *b, const void *bytes, size_t len);
int buf_append_str(struct buf *b, const char *text);
int buf_append_u8(struct buf *b, uint8_t v);
int buf_append_u16(struct buf *b, uint16_t v); /* big-endian */
int buf_append_u32(struct buf *b, uint32_t v);
int buf_append_u64(struct buf *b, uint64_t v);
int buf_printf(struct buf *b, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
int buf_vprintf(struct buf *b, const char *fmt, va_list ap)
    __attribute__((format(printf, 2, 0)));

/* Make room for len more bytes and give the place; *b.len is unchanged until
 * buf_commit. NULL when max would be passed. */
uint8_t *buf_reserve(struct buf *b, size_t len);
void buf_commit(struct buf *b, size_t len);

/* Drop len bytes from the front (all, if len is larger). */
void buf_drop(struct buf *b, size_t len);

/* The bytes as a C string: a terminator is kept behind them. Never NULL;
 * valid until the next change. Returns "" for an empty buffer. */
const char *buf_cstr(struct buf *b);

struct cursor {
    const uint8_t *data; /* borrowed */
    size_t len;          /* bytes in all */
    size_t pos;          /* next to be taken, <= len */
};

struct cursor cursor_of(const void *bytes, size_t len);
size_t cursor_left(const struct cursor *c);

/* Each returns 0, or -1 when fewer bytes are left (nothing changed). */
int buf_take_u8(struct cursor *c, uint8_t *out);
int buf_take_u16(struct cursor *c, uint16_t *out);
int buf_take_u32(struct cursor *c, uint32_t *out);
int buf_take_u64(struct cursor *c, uint64_t *out);
/* *out points into the cursor's bytes. */
int buf_take_bytes(struct cursor *c, size_t len, const uint8_t **out);
int buf_take_copy(struct cursor *c, void *out, size_t len);

#endif
