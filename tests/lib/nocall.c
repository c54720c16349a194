#include "tests/lib/nocall.h"

#include <seccomp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

void nocall(int call, int error)
{
    scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ALLOW);

    assert_non_null(ctx);
    assert_int_equal(
        seccomp_rule_add(ctx, SCMP_ACT_ERRNO((uint32_t)error), call, 0), 0);
    assert_int_equal(seccomp_load(ctx), 0);
    seccomp_release(ctx);
}
