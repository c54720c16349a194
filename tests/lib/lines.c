#include "tests/lib/lines.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

void lines_take(struct lines *l, const uint8_t *bytes, size_t len)
{
    char want[16];

    for (size_t i = 0; i < len; i++) {
        if (l->len >= sizeof(l->part) - 1)
            fail_msg("after line %u comes \"%s\"", l->last, l->part);
        l->part[l->len++] = (char)bytes[i];
        l->part[l->len] = 0;
        if (bytes[i] != '\n')
            continue;
        snprintf(want, sizeof(want), "%u\r\n", ++l->last);
        assert_string_equal(l->part, want);
        l->len = 0;
    }
}
