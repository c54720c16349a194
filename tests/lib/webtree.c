#include "tests/lib/webtree.h"

#include "base/mem.h"
#include "base/own.h"
#include "tests/lib/tree.h"

#include <stdio.h>
#include <string.h>

#define STORED_MAX 65535 /* bytes of a block; RFC 1951 3.2.4 */

static uint32_t crc_of(const uint8_t *bytes, size_t len)
{
    uint32_t crc = 0xffffffff;

    for (size_t i = 0; i < len; i++) {
        crc ^= bytes[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (0xedb88320 & -(crc & 1));
    }
    return ~crc;
}

static uint8_t *put(uint8_t *at, uint32_t value, int bytes)
{
    for (int i = 0; i < bytes; i++)
        *at++ = (uint8_t)(value >> 8 * i);
    return at;
}

uint8_t *webtree_gzip(const void *bytes, size_t len, size_t *out_len)
{
    static const uint8_t head[10] = {0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3};
    uint8_t *out = mem_zero(1, len + 5 * (len / STORED_MAX + 1) + 18);
    uint8_t *at = memcpy(out, head, sizeof head);
    const uint8_t *from = bytes;
    size_t left = len;

    at += sizeof head;
    do {
        size_t n = left > STORED_MAX ? STORED_MAX : left;

        *at++ = n == left; /* the last block */
        at = put(at, (uint32_t)n, 2);
        at = put(at, (uint32_t)~n & 0xffff, 2);
        memcpy(at, from, n);
        at += n;
        from += n;
        left -= n;
    } while (left);
    at = put(at, crc_of(bytes, len), 4);
    at = put(at, (uint32_t)len, 4);
    *out_len = (size_t)(at - out);
    return out;
}

void webtree_put(const char *dir, const char *path, const void *bytes,
                 size_t len)
{
    size_t gz_len;
    own_mem uint8_t *gz = webtree_gzip(bytes, len, &gz_len);
    own_mem char *name = mem_printf("%s.gz", path);

    tree_put_bytes(dir, path, bytes, len);
    tree_put_bytes(dir, name, gz, gz_len);
}

void webtree_make(const char *dir, size_t len)
{
    own_mem char *script = mem_zero(1, len + 32);

    webtree_put(dir, "index.html", WEBTREE_INDEX, strlen(WEBTREE_INDEX));
    tree_put(dir, "index.html.br", WEBTREE_BR);
    for (size_t at = 0; at < len; at += 16)
        snprintf(script + at, 32, "// %12zu\n", at);
    webtree_put(dir, WEBTREE_SCRIPT + 1, script, len);
}
