/*
 * Calls to the Kubernetes API: who we say we are, what is made of refusals,
 * what is tried again and for how long, and how fast we may ask.
 */
#include "base/loop.h"
#include "base/mem.h"
#include "base/own.h"
#include "tests/lib/kubed.h"
#include "tests/lib/tree.h"

#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define ABSENT                                                                 \
    "{\"kind\":\"Status\",\"code\":404,\"message\":\"jobs \\\"x\\\" not "      \
    "found\"}"
#define BUSY "{\"kind\":\"Status\",\"code\":429,\"message\":\"slow down\"}"

static struct kubed kubed;

static void start(const struct fileserver_reply *script, size_t count)
{
    kubed_start(&kubed, script, count);
}

static int teardown(void **arg)
{
    (void)arg;
    if (kubed.dir)
        kubed_stop(&kubed);
    return 0;
}

static int ask(struct json **out, struct err *e)
{
    return kube_do(kubed.kube, &(struct kube_call){.path = "/api/v1/x"}, out,
                   e);
}

static void a_call_says_who_we_are_and_is_answered_with_json(void **arg)
{
    const struct fileserver_reply script[] = {kubed_says("{\"a\":1}")};
    struct err e = {0};
    own_json struct json *out = NULL, *body = json_object();
    const struct kube_call call = {
        .method = "POST", .path = "/apis/y?z=1", .body = body};

    (void)arg;
    start(script, 1);
    json_set_str(body, "kind", "Job");
    assert_int_equal(kube_do(kubed.kube, &call, &out, &e), 200);
    assert_true(json_is_object(out));
    assert_string_equal(kubed_asked(&kubed, 0), "POST /apis/y?z=1 HTTP/1.1");
    assert_non_null(strstr(fileserver_head(kubed.server, 0),
                           "\r\nAuthorization: Bearer first\r\n"));
    assert_non_null(strstr(fileserver_head(kubed.server, 0),
                           "\r\nContent-Type: application/json\r\n"));
    assert_non_null(
        strstr(fileserver_head(kubed.server, 0), "\r\nContent-Length: 14\r\n"));
}

static void an_exchanged_token_is_taken_up_also_when_it_is_found_out(void **arg)
{
    const struct fileserver_reply script[] = {
        kubed_says("{}"), kubed_refuses(401, NULL), kubed_says("{}"),
        kubed_refuses(401, NULL)};
    struct err e = {0};

    (void)arg;
    start(script, 4);
    assert_int_equal(ask(NULL, &e), 200);
    tree_put(kubed.dir, "token", "second");
    assert_int_equal(ask(NULL, &e), 200);
    assert_int_equal(fileserver_requests(kubed.server), 3);
    assert_non_null(strstr(fileserver_head(kubed.server, 2), "Bearer second"));
    assert_int_equal(ask(NULL, &e), 401); /* and not for ever */
    assert_int_equal(fileserver_requests(kubed.server), 5);
}

static void a_refusal_is_told_with_its_sentence(void **arg)
{
    const struct fileserver_reply script[] = {kubed_refuses(404, ABSENT),
                                              kubed_refuses(422, "no json")};
    own_json struct json *out = NULL;
    struct err e = {0};

    (void)arg;
    start(script, 2);
    assert_int_equal(ask(&out, &e), 404);
    assert_null(out);
    assert_non_null(strstr(e.text, "404: jobs \"x\" not found"));
    assert_int_equal(ask(&out, &e), 422);
    assert_int_equal(fileserver_requests(kubed.server), 2); /* each once */
}

static void a_busy_server_is_asked_again_when_it_says(void **arg)
{
    struct fileserver_reply script[] = {kubed_refuses(429, BUSY),
                                        kubed_refuses(503, NULL),
                                        kubed_says("{\"a\":1}")};
    own_json struct json *out = NULL;
    int64_t begun = loop_now_ms();
    struct err e = {0};

    (void)arg;
    script[0].head = "Retry-After: 1\r\n";
    start(script, 3);
    assert_int_equal(ask(&out, &e), 200);
    assert_true(loop_now_ms() - begun >= 1000 + 400);
    assert_non_null(out);
}

static void nobody_or_nonsense_is_given_up(void **arg)
{
    const struct fileserver_reply script[] = {
        {.trick = FILESERVER_HANG_UP}, kubed_refuses(500, NULL),
        kubed_refuses(500, NULL),      kubed_says("{\"a\":"),
        kubed_refuses(500, BUSY),
    };
    own_json struct json *out = NULL;
    struct err e = {0};

    (void)arg;
    start(script, 5);
    assert_int_equal(ask(&out, &e), -1);
    assert_int_equal(e.kind, ERR_SYSTEM);
    assert_non_null(strstr(e.text, "500: slow down"));
    assert_null(out);
    assert_int_equal(fileserver_requests(kubed.server), KUBE_TRIES);
}

static void *cancel_soon(void *arg)
{
    (void)arg;
    poll(NULL, 0, 200);
    kube_cancel(kubed.kube);
    return NULL;
}

static void all_calls_end_when_we_stop(void **arg)
{
    const struct fileserver_reply silent[] = {{.trick = FILESERVER_SILENT}};
    const struct fileserver_reply busy[] = {
        {.status = 503, .head = "Retry-After: 1000\r\n", .body = "", .len = 0}};
    struct err e = {0};

    (void)arg;
    for (int i = 0; i < 2; i++) { /* in a call, and between two */
        pthread_t t;
        int64_t begun = loop_now_ms();

        start(i ? busy : silent, 1);
        assert_int_equal(pthread_create(&t, NULL, cancel_soon, NULL), 0);
        assert_int_equal(ask(NULL, &e), -1);
        assert_int_equal(e.kind, ERR_TIMEOUT);
        assert_true(loop_now_ms() - begun < 4000);
        pthread_join(t, NULL);
        kubed_stop(&kubed);
    }
}

static void we_ask_no_faster_than_we_may(void **arg)
{
    const struct fileserver_reply script[] = {kubed_says("{}")};
    int64_t begun;
    struct err e = {0};

    (void)arg;
    start(script, 1);
    begun = loop_now_ms();
    for (int i = 0; i < KUBE_CALLS_BURST + 10; i++)
        assert_int_equal(ask(NULL, &e), 200);
    assert_true(loop_now_ms() - begun >= 900); /* ten at ten a second */
}

static void a_call_is_over_by_its_time(void **arg)
{
    const struct fileserver_reply silent[] = {{.trick = FILESERVER_SILENT}};
    const struct fileserver_reply busy[] = {kubed_refuses(503, NULL)};
    struct err e = {0};

    (void)arg;
    for (int i = 0; i < 2; i++) { /* in a try, and instead of another */
        int64_t begun = loop_now_ms();

        start(i ? busy : silent, 1);
        assert_int_equal(
            kube_do(kubed.kube,
                    &(struct kube_call){.path = "/x", .until_ms = begun + 900},
                    NULL, &e),
            -1);
        assert_true(loop_now_ms() - begun < 2900);
        assert_true(fileserver_requests(kubed.server) < KUBE_TRIES);
        kubed_stop(&kubed);
    }
}

static void a_call_with_no_time_waits_for_no_turn(void **arg)
{
    const struct fileserver_reply script[] = {kubed_says("{}")};
    const int count = KUBE_CALLS_BURST + 60;
    int64_t begun = loop_now_ms();
    struct err e = {0};

    (void)arg;
    start(script, 1);
    for (int i = 0; i < count; i++)
        assert_int_equal(
            kube_do(kubed.kube,
                    &(struct kube_call){.path = "/x",
                                        .until_ms = loop_now_ms() + 10000},
                    NULL, &e),
            200);
    assert_true(loop_now_ms() - begun < 60 * 1000 / KUBE_CALLS_S);
    begun = loop_now_ms(); /* their turns are paid by others */
    assert_int_equal(ask(NULL, &e), 200);
    assert_true(loop_now_ms() - begun >= 100);
}

static atomic_bool is_stopped;

static void *stop_soon(void *arg)
{
    (void)arg;
    poll(NULL, 0, 200);
    kube_wake(kubed.kube, &is_stopped);
    return NULL;
}

static void a_call_can_be_stopped_alone(void **arg)
{
    const struct fileserver_reply script[] = {
        {.trick = FILESERVER_SILENT},
        {.status = 503, .head = "Retry-After: 1000\r\n", .body = "", .len = 0},
        kubed_says("{}")};
    const struct kube_call call = {.path = "/x", .stop = &is_stopped};
    struct err e = {0};

    (void)arg;
    start(script, 3);
    for (int i = 0; i < 2; i++) { /* in a try, and between two */
        pthread_t t;
        int64_t begun = loop_now_ms();

        atomic_store(&is_stopped, false);
        assert_int_equal(pthread_create(&t, NULL, stop_soon, NULL), 0);
        assert_int_equal(kube_do(kubed.kube, &call, NULL, &e), -1);
        assert_int_equal(e.kind, ERR_TIMEOUT);
        assert_true(loop_now_ms() - begun < 4000);
        pthread_join(t, NULL);
    }
    assert_int_equal(ask(NULL, &e), 200);
}

static void another_authority_is_not_spoken_to(void **arg)
{
    const struct fileserver_reply script[] = {kubed_says("{}")};
    struct kube_conf conf = {0};
    struct kube *k;
    struct err e = {0};

    (void)arg;
    start(script, 1);
    conf.server =
        mem_printf("https://127.0.0.1:%d", fileserver_port(kubed.server));
    conf.token = mem_str("secret");
    k = kube_new(&conf); /* with the system's roots */
    assert_int_equal(kube_do(k, &(struct kube_call){.path = "/x"}, NULL, &e),
                     -1);
    assert_int_equal(e.kind, ERR_PEER);
    assert_int_equal(fileserver_requests(kubed.server), 0);
    kube_free(k);
}

#define T(t) cmocka_unit_test_teardown(t, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(a_call_says_who_we_are_and_is_answered_with_json),
        T(an_exchanged_token_is_taken_up_also_when_it_is_found_out),
        T(a_refusal_is_told_with_its_sentence),
        T(a_busy_server_is_asked_again_when_it_says),
        T(nobody_or_nonsense_is_given_up),
        T(all_calls_end_when_we_stop),
        T(we_ask_no_faster_than_we_may),
        T(a_call_is_over_by_its_time),
        T(a_call_with_no_time_waits_for_no_turn),
        T(a_call_can_be_stopped_alone),
        T(another_authority_is_not_spoken_to),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
