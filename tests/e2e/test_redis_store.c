/*
 * podterm with a real Redis for its store: a session from POST to its exit
 * code; what callers hear while Redis is away; and that all comes back by
 * itself.
 */
#include "base/frame.h"
#include "base/mem.h"
#include "base/own.h"
#include "tests/lib/redisd.h"
#include "tests/lib/stack.h"

#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define ENDED_MS 20000
#define BACK_MS 20000

static struct redisd redisd;
static struct stack *stack;
static struct stack_bundle asks, stays;

static int setup(void **arg)
{
    static const char *more[] = {NULL, "--", "--linger-detached-s=1", NULL};
    static char flag[80];

    (void)arg;
    redisd_start(&redisd, NULL, NULL);
    snprintf(flag, sizeof(flag), "--store=%s/3", redisd.url);
    more[0] = flag;
    stack = stack_new(more);
    stack_pack(stack, "asks", "read -r x; echo \"got $x\"; exit 7", &asks);
    stack_pack(stack, "stays", "sleep 1000", &stays);
    return 0;
}

static int teardown(void **arg)
{
    (void)arg;
    stack_free(stack);
    redisd_stop(&redisd);
    return 0;
}

struct seen {
    char text[4096];
    size_t len;
};

static void take(void *arg, const uint8_t *p, size_t len)
{
    struct seen *s = arg;

    if (len > sizeof(s->text) - 1 - s->len)
        len = sizeof(s->text) - 1 - s->len;
    memcpy(s->text + s->len, p, len);
    s->len += len;
}

static void a_session_goes_from_post_to_its_exit_code(void **arg)
{
    struct stack_session ss;
    struct stack_link l = {0};
    struct seen seen = {0};

    (void)arg;
    stack_create(stack, "ann", &asks, "", &ss);
    assert_true(stack_attach(stack, &l, ss.token, 0, 80, 24));
    json_free(stack_wait(stack, "ann", ss.sid, "running", ENDED_MS));
    stack_type(&l, 0, "hello\n", 6);
    while (stack_pump(&l, take, &seen, true))
        continue;
    assert_true(l.is_ended);
    assert_int_equal(l.exit_code, 7);
    assert_non_null(strstr(seen.text, "got hello"));
    stack_cut(&l);
    {
        own_json struct json *j =
            stack_wait(stack, "ann", ss.sid, "ended", ENDED_MS);
        int64_t code = -1;

        assert_string_equal(json_get_str(j, "reason"), "exited");
        assert_int_equal(json_get_int(j, "exit_code", &code), 0);
        assert_int_equal(code, 7);
    }
    stack_session_fini(&ss);
    /* it is there that the session is, in the database that was named */
    redis_reply_free(redisd_ask(&redisd, "SWAPDB", "0", "3", NULL));
    assert_int_equal(redisd_number(&redisd, "ZCARD", "podterm:ended", NULL), 1);
    redis_reply_free(redisd_ask(&redisd, "SWAPDB", "0", "3", NULL));
}

static void a_token_is_spent_once(void **arg)
{
    struct stack_session ss;
    struct stack_link first = {0}, second = {0};

    (void)arg;
    stack_create(stack, "ann", &stays, "", &ss);
    assert_true(stack_attach(stack, &first, ss.token, 0, 80, 24));
    assert_false(stack_attach(stack, &second, ss.token, 0, 80, 24));
    assert_string_equal(second.error, "token");
    stack_cut(&first);
    assert_int_equal(stack_delete(stack, "ann", ss.sid), 202);
    json_free(stack_wait(stack, "ann", ss.sid, "ended", ENDED_MS));
    stack_session_fini(&ss);
}

/* POST /api/sessions: the answer. */
static struct rest_answer post(void)
{
    own_mem char *who = stack_identity(stack, "ann");

    return rest_hear(stack_ask(stack, who, &stays, ""));
}

static void readiness_warns_of_a_redis_that_may_drop_sessions(void **arg)
{
    static const char *const policies[] = {"allkeys-lru", "noeviction"};

    (void)arg;
    for (int i = 0; i < 2; i++) {
        struct rest_answer a;

        redis_reply_free(redisd_ask(&redisd, "CONFIG", "SET",
                                    "maxmemory-policy", policies[i], NULL));
        a = rest_call(stack->port, "GET", "/readyz", NULL, NULL);
        assert_int_equal(a.status, 200);
        assert_int_equal(strstr(a.body, "warning: ") != NULL, i == 0);
        rest_fini(&a);
    }
}

static void while_redis_is_away_callers_are_told_to_try_again(void **arg)
{
    struct stack_session ss;
    struct stack_link l = {0};
    struct rest_answer a;
    int waited_ms = 0;

    (void)arg;
    stack_create(stack, "bob", &stays, "", &ss);
    json_free(stack_wait(stack, "bob", ss.sid, "running", ENDED_MS));
    redisd_kill(&redisd);

    a = post();
    assert_int_equal(a.status, 503);
    assert_true(atoi(rest_header(&a, "retry-after")) > 0);
    assert_null(strstr(a.body, "edis")); /* our own affair */
    rest_fini(&a);
    a = rest_call(stack->port, "GET", "/readyz", NULL, NULL);
    assert_int_equal(a.status, 503);
    rest_fini(&a);
    assert_false(stack_attach(stack, &l, ss.token, 0, 80, 24));
    assert_string_equal(l.error, "unavailable");

    redisd_again(&redisd);
    for (int status = 0; status != 201; waited_ms += 50) {
        a = post();
        status = a.status;
        if (status != 201)
            assert_int_equal(status, 503);
        rest_fini(&a);
        assert_true(waited_ms < BACK_MS);
        poll(NULL, 0, 50);
    }
    stack_session_fini(&ss);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_session_goes_from_post_to_its_exit_code),
        cmocka_unit_test(a_token_is_spent_once),
        cmocka_unit_test(readiness_warns_of_a_redis_that_may_drop_sessions),
        cmocka_unit_test(while_redis_is_away_callers_are_told_to_try_again),
    };

    return cmocka_run_group_tests_name("e2e/redis_store", tests, setup,
                                       teardown);
}
