/*
 * What a Redis may say: a reply is bounded in values and depth, whatever
 * pieces it comes in, and a row that is taken reads the same when it is
 * written again.
 */
#include "base/mem.h"
#include "base/redis_internal.h"
#include "base/store_row.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t check_reply(const struct redis_reply *r, int depth)
{
    size_t n = 1;

    if (depth > REDIS_DEPTH_MAX + 1 || r->count > REDIS_ITEMS_MAX)
        abort();
    if ((r->kind == REDIS_TEXT || r->kind == REDIS_ERROR) &&
        (!r->text || r->text[r->len] != '\0'))
        abort();
    for (size_t i = 0; i < r->count; i++)
        n += check_reply(r->items[i], depth + 1);
    return n;
}

static void replies(const uint8_t *data, size_t size, size_t step)
{
    struct redis_wire *w = redis_wire_new();
    struct err e = {0};

    for (size_t at = 0; at < size; at += step) {
        const size_t n = size - at < step ? size - at : step;
        struct redis_reply *r = NULL;
        int got;

        if (redis_wire_feed(w, data + at, n, &e) < 0)
            break;
        while ((got = redis_wire_take(w, &r, &e)) == 1) {
            if (check_reply(r, 1) > REDIS_VALUES_MAX)
                abort();
            redis_reply_free(r);
        }
        if (got < 0)
            break;
    }
    redis_wire_free(w);
}

static void row(const uint8_t *data, size_t size)
{
    struct store_session *one = mem_zero(2, sizeof(*one)), *two = one + 1;
    struct err e = {0};
    struct buf b;

    if (store_row_take(data, size, one, &e) == 0) {
        if (!id_is_valid(one->id) || one->state >= STATE_COUNT ||
            one->reason >= REASON_COUNT || one->stage_count < 0 ||
            one->stage_count > STORE_STAGES_MAX || one->created_ms < 0)
            abort();
        buf_init(&b, STORE_ROW_BYTES_MAX);
        store_row_put(&b, one);
        if (store_row_take(b.data, b.len, two, &e) < 0 ||
            memcmp(one, two, sizeof(*one)) != 0)
            abort();
        buf_fini(&b);
    }
    free(one);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    row(data, size);
    replies(data, size, size);
    replies(data, size, 1 + data[0] % 7);
    return 0;
}
