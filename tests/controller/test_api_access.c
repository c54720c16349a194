/*
 * The real controller with the real store: every route with every wrong
 * identity, ownership, viewers, idempotency, quota; and the OpenAPI file held
 * against all that was said.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/mem.h"
#include "base/seal.h"
#include "base/token.h"
#include "controller/routes.h"
#include "tests/lib/apicast.h"
#include "tests/lib/fake_keeper.h"
#include "tests/lib/forge.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* --- identity and ownership --- */

static void every_route_refuses_every_wrong_identity(void **state)
{
    struct token_signer *other = token_signer_make(NULL, &(struct err){0});
    long long now = time(NULL);
    char *head = forge_head(other, "JWT");
    char *claims = mem_printf(
        "{\"iss\":\"urn:podterm:dev\",\"aud\":\"podterm\",\"sub\":\"alice\","
        "\"iat\":%lld,\"exp\":%lld}",
        now, now + 60);
    char *forged = forge_token(other, head, claims);
    char sid[27], *wrong[8] = {0};
    struct rest_answer r;
    struct json *j;

    (void)state;
    api_create(&api, alice, "pending", sid);
    r = api_call(&api, "POST", TOKEN, sid, NULL, alice, NULL);
    j = cast_json(&r);
    wrong[0] = mem_str("");
    wrong[1] = mem_str("Authorization: Basic YTpi\r\n");
    wrong[2] = mem_str("Authorization: Bearer x\r\n");
    wrong[3] = mem_printf("Authorization: Bearer %s\r\n", forged);
    /* a session token is no identity, even a valid one */
    wrong[4] =
        mem_printf("Authorization: Bearer %s\r\n", json_get_str(j, "token"));
    /* nor does an identity count anywhere but in the header */
    wrong[5] = mem_printf("Cookie: token=%s\r\n", alice + 22);
    wrong[5][strlen(wrong[5]) - 2] = '\0';
    for (size_t i = 0; i < route_count; i++)
        for (int k = 0; wrong[k]; k++)
            if (routes[i].auth == AUTH_IDENTITY) {
                int status = api_status(&api, routes[i].method, routes[i].path,
                                        sid, wrong[k], NULL);
                if (status != 401)
                    fail_msg("%s %s with %d: %d", routes[i].method,
                             routes[i].path, k, status);
            }
    for (int k = 0; wrong[k]; k++)
        free(wrong[k]);
    json_free(j);
    free(head);
    free(claims);
    free(forged);
    token_signer_free(other);
}

static void anothers_session_is_404_on_every_route(void **state)
{
    static const char *const viewers = "{\"viewers\":[]}";
    char sid[27], unknown[27];

    (void)state;
    api_create(&api, alice, "pending", sid);
    random_id(unknown);
    for (size_t i = 0; i < route_count; i++) {
        const struct route *r = &routes[i];
        const char *body = strcmp(r->method, "PATCH") == 0 ? viewers : NULL;

        if (!strstr(r->path, "{id}"))
            continue;
        assert_int_equal(api_status(&api, r->method, r->path, sid, bob, body),
                         404);
        assert_int_equal(
            api_status(&api, r->method, r->path, unknown, alice, body), 404);
        assert_int_equal(
            api_status(&api, r->method, r->path, "not-an-id", alice, body),
            404);
    }
    json_free(api_get(&api, alice, sid)); /* untouched */
}

static void viewers_get_viewer_tokens_and_nothing_else(void **state)
{
    static const char viewer[] = "{\"role\":\"viewer\"}";
    char sid[27];
    struct rest_answer r;

    (void)state;
    api_create(&api, alice, "pending", sid);
    assert_int_equal(api_status(&api, "POST", TOKEN, sid, bob, viewer), 404);
    assert_int_equal(api_status(&api, "PATCH", SESSION, sid, alice,
                                "{\"viewers\":[\"bob\"]}"),
                     200);
    r = api_call(&api, "POST", TOKEN, sid, NULL, bob, viewer);
    assert_int_equal(r.status, 200);
    assert_null(strstr(r.body, "viewers")); /* the owner's business */
    rest_fini(&r);
    assert_int_equal(api_status(&api, "POST", TOKEN, sid, bob, NULL), 403);
    assert_int_equal(api_status(&api, "POST", TOKEN, sid, eve, viewer), 404);
    assert_int_equal(api_status(&api, "GET", SESSION, sid, bob, NULL), 404);
    assert_int_equal(api_status(&api, "DELETE", SESSION, sid, bob, NULL), 404);
    assert_int_equal(api_status(&api, "PATCH", SESSION, sid, bob,
                                "{\"viewers\":[\"bob\",\"eve\"]}"),
                     404);
    /* the owner is no viewer unless listed */
    assert_int_equal(api_status(&api, "POST", TOKEN, sid, alice, viewer), 403);
    assert_int_equal(
        api_status(&api, "PATCH", SESSION, sid, alice, "{\"viewers\":[]}"),
        200);
    assert_int_equal(api_status(&api, "POST", TOKEN, sid, bob, viewer), 404);
}

static void viewers_and_roles_are_checked(void **state)
{
    static const char nine[] = "{\"viewers\":[\"1\",\"2\",\"3\",\"4\",\"5\","
                               "\"6\",\"7\",\"8\",\"9\"]}";
    char sid[27];

    (void)state;
    api_create(&api, alice, "pending", sid);
    assert_int_equal(api_status(&api, "PATCH", SESSION, sid, alice, nine), 400);
    assert_int_equal(api_status(&api, "PATCH", SESSION, sid, alice, "{}"), 400);
    assert_int_equal(api_status(&api, "PATCH", SESSION, sid, alice,
                                "{\"viewers\":[],\"state\":\"ended\"}"),
                     400);
    assert_int_equal(
        api_status(&api, "POST", TOKEN, sid, alice, "{\"role\":\"control\"}"),
        400);
    assert_int_equal(api_status(&api, "POST", TOKEN, sid, alice, "{\"rle\":1}"),
                     400);
    assert_int_equal(api_status(&api, "POST", TOKEN, sid, alice, "[]"), 400);
}

/* --- idempotency and quota --- */

static void a_replay_is_the_same_session_with_a_fresh_token(void **state)
{
    char *body = api_body("pending", ""), *other = api_body("pending", " ");
    struct rest_answer r = cast_post(alice, "Idempotency-Key: k1\r\n", body);
    struct json *first, *again;

    (void)state;
    assert_int_equal(r.status, 201);
    first = cast_json(&r);
    r = cast_post(alice, "Idempotency-Key: k1\r\n", body);
    assert_int_equal(r.status, 200);
    again = cast_json(&r);
    assert_string_equal(json_get_str(first, "id"), json_get_str(again, "id"));
    assert_string_not_equal(json_get_str(first, "token"),
                            json_get_str(again, "token"));
    json_free(again);
    r = cast_post(alice, "Idempotency-Key: k1\r\n", other);
    assert_int_equal(r.status, 422);
    rest_fini(&r);
    /* keyed by owner: another's is another */
    r = cast_post(bob, "Idempotency-Key: k1\r\n", body);
    assert_int_equal(r.status, 201);
    again = cast_json(&r);
    assert_string_not_equal(json_get_str(first, "id"),
                            json_get_str(again, "id"));
    json_free(again);
    json_free(first);
    r = cast_post(alice, "Idempotency-Key: has space\r\n", body);
    assert_int_equal(r.status, 400);
    rest_fini(&r);
    free(body);
    free(other);
}

static void *racer(void *arg)
{
    char *body = api_body("pending", "");
    char *headers =
        mem_printf("%sContent-Type: application/json\r\n", (char *)arg);
    struct rest_answer r =
        rest_call(api.server.port, "POST", SESSIONS, headers, body);
    long status = r.status;

    rest_fini(&r);
    free(headers);
    free(body);
    return (void *)status;
}

static void quota_holds_in_a_race(void **state)
{
    static const char *const few[] = {"--quota", "5", NULL};
    struct api own = api, small = {0};
    pthread_t threads[16];
    int made = 0, refused = 0;
    char *who;

    (void)state;
    api_start(&small, few);
    who = api_identity(&small, "dave");
    api = small;
    for (int i = 0; i < 16; i++)
        pthread_create(&threads[i], NULL, racer, who);
    for (int i = 0; i < 16; i++) {
        void *status;

        pthread_join(threads[i], &status);
        made += (long)status == 201;
        refused += (long)status == 429;
    }
    small = api;
    api = own;
    free(who);
    api_finish(&small);
    assert_int_equal(made, 5);
    assert_int_equal(refused, 11);
}

/* Runs last: of all that was answered above. */
static void openapi_describes_every_answer_given(void **state)
{
    (void)state;
    cast_check_answers("answers");
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_route_refuses_every_wrong_identity),
        cmocka_unit_test(anothers_session_is_404_on_every_route),
        cmocka_unit_test(viewers_get_viewer_tokens_and_nothing_else),
        cmocka_unit_test(viewers_and_roles_are_checked),
        cmocka_unit_test(a_replay_is_the_same_session_with_a_fresh_token),
        cmocka_unit_test(quota_holds_in_a_race),
        cmocka_unit_test(openapi_describes_every_answer_given),
    };

    fake_keeper_maybe(argc, argv);
    return cmocka_run_group_tests(tests, cast_setup, cast_teardown);
}
