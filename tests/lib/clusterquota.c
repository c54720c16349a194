#include "tests/lib/clusterquota.h"

#include "base/loop.h"
#include "base/mem.h"
#include "base/own.h"

#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define QUOTAS "/api/v1/namespaces/%s/resourcequotas"

/* It holds from when it is counted. */
static void wait_counted(struct clusterbed *b)
{
    int64_t until = loop_now_ms() + CLUSTERBED_START_MS;
    bool is_counted = false;

    while (!is_counted) {
        own_json struct json *quota = NULL;

        assert_int_equal(
            clusterbed_call(b, "GET", NULL, &quota, QUOTAS "/full", b->ns),
            200);
        is_counted = json_get(json_get(quota, "status"), "used") != NULL;
        assert_true(loop_now_ms() < until);
        poll(NULL, 0, 50);
    }
}

void clusterquota_none_of(struct clusterbed *b, const char *what)
{
    own_mem char *quota =
        mem_printf("{metadata: {name: full}, spec: {hard: {%s: 0}}}", what);

    assert_int_equal(clusterbed_call(b, "POST", quota, NULL, QUOTAS, b->ns),
                     201);
    wait_counted(b);
}

void clusterquota_lift(struct clusterbed *b)
{
    assert_int_equal(
        clusterbed_call(b, "DELETE", NULL, NULL, QUOTAS "/full", b->ns), 200);
}
