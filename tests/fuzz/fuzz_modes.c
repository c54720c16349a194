/*
 * Whole, bytewise and in pieces, what a program's output has made of the
 * terminal is seen as the same; what is set anew fits its bound, leads to that
 * state again on a fresh terminal, and holds nothing but modes.
 */
#include "client/modes.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void same(const struct modes *a, const struct modes *b)
{
    if (a->changed != b->changed || a->is_keypad != b->is_keypad ||
        a->is_saved != b->is_saved || a->state != b->state ||
        modes_may_draw(a) != modes_may_draw(b))
        abort();
}

static void in_pieces(struct modes *m, const uint8_t *data, size_t size,
                      size_t step)
{
    modes_init(m);
    for (size_t i = 0; i < size; i += step)
        modes_see(m, data + i, size - i < step ? size - i : step);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct modes whole, pieces, anew;
    char out[MODES_ANEW_MAX];
    size_t len;

    modes_init(&whole);
    modes_see(&whole, data, size);
    for (size_t step = 1; step <= 7; step += 3) {
        in_pieces(&pieces, data, size, step);
        same(&whole, &pieces);
    }
    len = modes_anew(&whole, out);
    if (len >= sizeof(out))
        abort();
    for (size_t i = 0; i < len; i++)
        if (out[i] != '\033' && !strchr("[?0123456789hl=", out[i]))
            abort();
    modes_init(&anew);
    modes_see(&anew, (const uint8_t *)out, len);
    if (anew.changed != whole.changed || anew.is_keypad != whole.is_keypad)
        abort();
    return 0;
}
