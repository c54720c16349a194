/*
 * A ClientHello in pieces, in other records, and what comes behind it: the
 * verdict hangs on the message alone, a prefix of it is never judged better,
 * and a name that is given is one.
 */
#include "agent/hello.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_name(const char *name)
{
    size_t len = strlen(name);

    if (len < 1 || len > HELLO_NAME_MAX || name[0] == '.' ||
        name[len - 1] == '.' ||
        strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-_.") != len)
        abort();
}

/* The same message in records of `step` bytes. */
static void check_cut(const uint8_t *data, const struct hello *h, size_t step)
{
    static uint8_t flat[HELLO_WIRE_MAX], wire[6 * HELLO_WIRE_MAX];
    struct hello again = {0};
    size_t flat_len = 0, len = 0;

    for (size_t at = 0; at < h->used;) {
        size_t body = (size_t)data[at + 3] << 8 | data[at + 4];

        memcpy(flat + flat_len, data + at + 5, body);
        flat_len += body;
        at += 5 + body;
    }
    for (size_t at = 0; at < flat_len; at += step) {
        size_t n = flat_len - at < step ? flat_len - at : step;

        wire[len++] = 22;
        wire[len++] = 3;
        wire[len++] = 3;
        wire[len++] = (uint8_t)(n >> 8);
        wire[len++] = (uint8_t)n;
        memcpy(wire + len, flat + at, n);
        len += n;
    }
    if (len > HELLO_WIRE_MAX) {
        if (hello_read(wire, HELLO_WIRE_MAX, &again) == HELLO_MORE)
            abort();
    } else if (hello_read(wire, len, &again) != HELLO_WHOLE ||
               again.used != len || strcmp(again.name, h->name) != 0) {
        abort();
    }
}

static void check_next(const uint8_t *data, size_t size, bool early)
{
    struct hello first = {.name = "api.example.com", .has_early_data = early};
    size_t used = 0;
    enum hello_verdict v = hello_next(data, size, &first, &used);

    if ((v == HELLO_PASSES || v == HELLO_WHOLE) && (used < 5 || used > size))
        abort();
    if (v == HELLO_MORE && size >= HELLO_WIRE_MAX)
        abort();
    if (!early && size && data[0] == 23 && v != HELLO_OVER)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *exact = malloc(size ? size : 1); /* its exact bound */
    struct hello h = {0}, part = {0};
    enum hello_verdict v;

    memcpy(exact, data, size);
    v = hello_read(exact, size, &h);
    if (v == HELLO_MORE && size >= HELLO_WIRE_MAX)
        abort();
    if (v == HELLO_WHOLE) {
        if (h.used > size)
            abort();
        check_name(h.name);
        for (size_t n = 0; n < h.used; n += 1 + h.used / 64)
            if (hello_read(exact, n, &part) != HELLO_MORE)
                abort();
        check_cut(exact, &h, 1);
        check_cut(exact, &h, 100);
    }
    check_next(exact, size, false);
    check_next(exact, size, true);
    free(exact);
    return 0;
}
