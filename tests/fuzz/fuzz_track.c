/*
 * The frame tracker: whole against bytewise, and an injector that puts a
 * ping wherever the tracker says it may; the mixed stream must still be
 * whole frames. First byte: direction; the rest: the stream.
 */
#include "gateway/track.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int follow(struct track *t, const uint8_t *bytes, size_t len,
                  size_t step)
{
    size_t cut;
    int code = 0;

    for (size_t at = 0; at < len && !code; at += step) {
        size_t n = len - at < step ? len - at : step;

        code = track_feed(t, bytes + at, n, &cut);
        if (!code && cut != TRACK_NO_CUT && (cut < 1 || cut > n))
            abort();
    }
    return code;
}

/* Every piece of step bytes, a ping put in at each cut. */
static void inject(const uint8_t *bytes, size_t len, bool is_up, size_t step)
{
    static const uint8_t mask[4] = {5, 6, 7, 8};
    uint8_t ping[WSFRAME_HEAD_MAX];
    size_t ping_len = wsframe_write(ping, WSFRAME_PING, 0, is_up ? mask : NULL);
    struct track from, to;
    size_t cut, ignored;

    track_init(&from, is_up);
    track_init(&to, is_up);
    for (size_t at = 0; at < len; at += step) {
        size_t n = len - at < step ? len - at : step;

        if (track_feed(&from, bytes + at, n, &cut))
            return;
        if (cut == TRACK_NO_CUT)
            cut = n;
        else if (track_feed(&to, bytes + at, cut, &ignored) ||
                 track_feed(&to, ping, ping_len, &ignored))
            abort();
        else if (track_feed(&to, bytes + at + cut, n - cut, &ignored))
            abort();
        else
            continue;
        if (track_feed(&to, bytes + at, n, &ignored))
            abort();
    }
    if (track_is_between(&from) != track_is_between(&to))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct track whole, bytewise;
    bool is_up;
    int code;

    if (size < 2 || size > 1 << 18)
        return 0;
    is_up = data[0] & 1;
    track_init(&whole, is_up);
    track_init(&bytewise, is_up);
    code = follow(&whole, data + 1, size - 1, size - 1);
    if (code != follow(&bytewise, data + 1, size - 1, 1))
        abort();
    if (!code &&
        (whole.left != bytewise.left || whole.head_len != bytewise.head_len ||
         whole.message != bytewise.message ||
         track_is_between(&whole) != track_is_between(&bytewise)))
        abort();
    inject(data + 1, size - 1, is_up, 1 + data[0] % 64);
    return 0;
}
