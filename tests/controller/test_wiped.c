/* The values of a session's environment are secrets: once it has started,
 * the controller's memory holds none of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/loop.h"
#include "base/mem.h"
#include "base/own.h"
#include "tests/lib/api.h"
#include "tests/lib/fake_keeper.h"
#include "tests/lib/inmemory.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct api api;

static int setup(void **state)
{
    (void)state;
    api_start(&api, NULL);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    api_finish(&api);
    return 0;
}

/* many: further variables before it, so that every buffer grows on its way. */
static void create_with(const char *secret, int many, int status)
{
    own_mem char *env = mem_str("");
    own_mem char *more = NULL, *body = NULL, *id = api_identity(&api, "ann");
    own_mem char *head = mem_printf("%sContent-Type: application/json\r\n", id);
    struct rest_answer a;

    for (int i = 0; i < many; i++) {
        char *longer = mem_printf("%s\"V%d\":\"%0200d\",", env, i, i);

        free(env);
        env = longer;
    }
    more = mem_printf(",\"env\":{\"FAKE\":\"run\",%s\"SECRET\":\"%s\"}%s", env,
                      secret, status == 201 ? "" : ",\"nonsense\":1");
    body = mem_printf("{\"bundle\":{\"url\":\"https://b.example/x\","
                      "\"sha256\":\"" API_SHA "\"},\"cols\":80,\"rows\":24%s}",
                      more);
    a = api_call(&api, "POST", "/api/sessions", NULL, NULL, id, body);
    if (a.status != status)
        fail_msg("%d %s", a.status, a.body);
    if (status == 201) {
        struct err e = {0};
        struct json *j = json_parse(a.body, a.len, &e);

        json_free(api_wait(&api, id, json_get_str(j, "id"), "running"));
        json_free(j);
    }
    rest_fini(&a);
}

/* Its connection may still be on its way out. */
static void assert_forgotten(const char *secret)
{
    int64_t until = loop_now_ms() + 5000;
    int n;

    while ((n = inmemory_count(api.server.pid, secret, strlen(secret))) > 0 &&
           loop_now_ms() < until)
        poll(NULL, 0, 10);
    if (n)
        fail_msg("%s stands %d times in the controller's memory", secret, n);
}

/* A sanitizer maps terabytes, and keeps what was freed. */
static void no_sanitizer(void)
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    skip();
#endif
}

static void a_started_sessions_environment_is_forgotten(void **state)
{
    (void)state;
    no_sanitizer();
    if (geteuid() != 0)
        skip(); /* nobody else may look into it */
    /* what is not secret can be seen there: so the looking works */
    assert_true(
        inmemory_count(api.server.pid, "b.example", strlen("b.example")) > 0);
    create_with("hunter2-a-short-environment", 0, 201);
    assert_forgotten("hunter2-a-short-environment");
    create_with("hunter2-a-long-environment", 100, 201);
    assert_forgotten("hunter2-a-long-environment");
}

static void a_refused_requests_environment_is_forgotten(void **state)
{
    (void)state;
    no_sanitizer();
    if (geteuid() != 0)
        skip();
    create_with("hunter2-of-a-refused-one", 100, 400);
    assert_forgotten("hunter2-of-a-refused-one");
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            a_started_sessions_environment_is_forgotten, setup, teardown),
        cmocka_unit_test_setup_teardown(
            a_refused_requests_environment_is_forgotten, setup, teardown),
    };

    fake_keeper_maybe(argc, argv);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
