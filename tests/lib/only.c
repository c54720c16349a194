/*
 * One test alone: CMOCKA_TEST_FILTER='name*' build/tests/base/test_buf. cmocka has
 * the filter, but reads no variable for it. Linked into every test binary.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

__attribute__((constructor)) static void only(void)
{
    const char *pattern = getenv("CMOCKA_TEST_FILTER");

    if (pattern)
        cmocka_set_test_filter(pattern);
}
