/* The agent's reader of what a shim says. */
#include "agent/shimlink.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const struct shimlink_message *m, const uint8_t *data,
                  size_t size)
{
    if (m->type < SHIM_HELLO || m->type > SHIM_LISTENER)
        abort();
    if (m->type == SHIM_HELLO &&
        (m->cookie < data || m->cookie + SHIM_COOKIE_BYTES > data + size))
        abort();
    for (size_t i = 0; m->text[i]; i++)
        if (i >= SHIM_TEXT_MAX || m->text[i] < 0x20 || m->text[i] > 0x7e)
            abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t used;

    for (;;) {
        struct shimlink_message m = {0};
        struct err e = {0};
        int got = shimlink_parse(data, size, &m, &used, &e);

        if (got < 0 && e.kind != ERR_PEER)
            abort();
        if (got <= 0)
            return 0;
        if (used <= SHIM_LENGTH_BYTES || used > size)
            abort();
        check(&m, data, size);
        data += used;
        size -= used;
    }
}
