/*
 * The real controller with the real store: sessions created and read, tokens,
 * the forms of requests; and the OpenAPI file held against all that was said.
 * test_api_access.c: who may do what, and how often.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/mem.h"
#include "base/token.h"
#include "controller/routes.h"
#include "tests/lib/apicast.h"
#include "tests/lib/fake_keeper.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* --- create and read --- */

static void create_answers_the_session_with_a_token(void **state)
{
    char *body = api_body("pending", ",\"viewers\":[\"bob\"]");
    struct rest_answer r = cast_post(alice, "", body);
    struct json *j;

    (void)state;
    assert_int_equal(r.status, 201);
    assert_int_equal(strncmp(rest_header(&r, "location"), SESSIONS "/", 14), 0);
    assert_string_equal(rest_header(&r, "cache-control"), "no-store");
    assert_null(strstr(r.body, "hunter2"));
    assert_null(strstr(r.body, "?secret"));
    j = cast_json(&r);
    assert_string_equal(json_get_str(j, "state"), "pending");
    assert_string_equal(json_get_str(j, "attach_url"),
                        "ws://127.0.0.1:1/v1/attach");
    assert_string_equal(json_str(json_at(json_get(j, "viewers"), 0)), "bob");
    assert_non_null(json_get_str(j, "token"));
    assert_non_null(json_get_str(j, "token_expires_at"));
    json_free(j);
    free(body);
}

static void session_tokens_are_what_the_protocol_says(void **state)
{
    struct rest_answer r;
    struct json *jwks, *j;
    struct token_keys *keys;
    struct session_claims c;
    struct err e = {0};
    char sid[27];
    const char *token;

    (void)state;
    api_create(&api, alice, "pending", sid);
    r = api_call(&api, "GET", "/.well-known/jwks.json", NULL, NULL, NULL, NULL);
    jwks = cast_json(&r);
    keys = token_keys_of(jwks, &e);
    assert_int_equal(token_keys_count(keys), 2);
    r = api_call(&api, "POST", TOKEN, sid, NULL, alice, NULL);
    assert_int_equal(r.status, 200);
    j = cast_json(&r);
    token = json_get_str(j, "token");
    assert_int_equal(session_token_verify(keys, token, strlen(token),
                                          "podterm-controller", "podterm",
                                          time(NULL), 0, &c, NULL, &e),
                     0);
    assert_string_equal(c.sid, sid);
    assert_string_equal(c.sub, "alice");
    assert_string_equal(c.bnd, API_SHA);
    assert_int_equal(c.role, ROLE_OWNER);
    assert_int_equal(c.exp - c.iat, TOKEN_LIFE_S);
    json_free(j);
    json_free(jwks);
    token_keys_free(keys);
}

static void lists_are_ones_own_and_paged(void **state)
{
    char *carol = api_identity(&api, "carol");
    char sids[3][27];
    struct rest_answer r;
    struct json *j;
    char *query;

    (void)state;
    for (int i = 0; i < 3; i++)
        api_create(&api, carol, "pending", sids[i]);
    r = api_call(&api, "GET", SESSIONS, NULL, "?limit=2", carol, NULL);
    j = cast_json(&r);
    assert_int_equal(json_count(json_get(j, "sessions")), 2);
    assert_string_equal(json_get_str(json_at(json_get(j, "sessions"), 0), "id"),
                        sids[2]);
    query = mem_printf("?limit=2&cursor=%s", json_get_str(j, "next_cursor"));
    json_free(j);
    r = api_call(&api, "GET", SESSIONS, NULL, query, carol, NULL);
    j = cast_json(&r);
    assert_int_equal(json_count(json_get(j, "sessions")), 1);
    assert_string_equal(json_get_str(json_at(json_get(j, "sessions"), 0), "id"),
                        sids[0]);
    assert_null(json_get(j, "next_cursor"));
    json_free(j);
    free(query);
    for (const char *const *bad =
             (const char *const[]){"?limit=0", "?limit=101", "?limit=x",
                                   "?limit=1x", "?live=yes",
                                   "?cursor=%27%20or%201", NULL};
         *bad; bad++) {
        r = api_call(&api, "GET", SESSIONS, NULL, *bad, carol, NULL);
        assert_int_equal(r.status, 400);
        rest_fini(&r);
    }
    free(carol);
}

static void bad_bodies_are_refused_with_a_reason(void **state)
{
    static const struct {
        const char *body;
        int status;
    } bad[] = {{"{", 400},
               {"{}", 400},
               {"{\"bundle\":{\"url\":\"https://evil.example/\",\"sha256\":"
                "\"" API_SHA "\"},\"cols\":1,\"rows\":1}",
                403},
               {"{\"a\":1,\"a\":1}", 400}};
    struct rest_answer r;
    char *image = api_body("", ",\"image\":\"debian\"");

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        r = cast_post(alice, "", bad[i].body);
        assert_int_equal(r.status, bad[i].status);
        assert_string_equal(rest_header(&r, "content-type"),
                            "application/problem+json");
        rest_fini(&r);
    }
    r = cast_post(alice, "", image);
    assert_int_equal(r.status, 403);
    assert_non_null(strstr(r.body, "image"));
    rest_fini(&r);
    free(image);
    r = rest_call(api.server.port, "POST", SESSIONS, alice, "a=b");
    assert_int_equal(r.status, 415); /* a page's form */
    rest_fini(&r);
}

static void a_body_over_the_limit_is_413(void **state)
{
    char *body = mem_zero(1, 131072 + 2);
    struct rest_answer r;

    (void)state;
    memset(body, ' ', 131072 + 1);
    r = rest_call(api.server.port, "POST", SESSIONS, alice, body);
    assert_int_equal(r.status, 413);
    rest_fini(&r);
    free(body);
}

/* --- forms --- */

static void unknown_paths_and_methods_are_told_apart(void **state)
{
    struct rest_answer r;

    (void)state;
    r = rest_call(api.server.port, "GET", "/api", alice, NULL);
    assert_int_equal(r.status, 404);
    rest_fini(&r);
    /* without --web-dir there is no page */
    r = rest_call(api.server.port, "GET", "/", NULL, NULL);
    assert_int_equal(r.status, 404);
    rest_fini(&r);
    r = api_call(&api, "PUT", SESSIONS, NULL, NULL, alice, "{}");
    assert_int_equal(r.status, 405);
    assert_string_equal(rest_header(&r, "allow"), "POST, GET");
    rest_fini(&r);
}

static void another_spelling_of_a_path_is_another_path(void **state)
{
    static const char *const paths[] = {"//livez",        "/./livez",
                                        "/api/../livez",  "/%6civez",
                                        "/api//sessions", "/api/%73essions"};

    (void)state;
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        struct rest_answer r =
            rest_call(api.server.port, "GET", paths[i], alice, NULL);

        if (r.status != 404 || !strstr(r.body, "\"code\":\"not_found\""))
            fail_msg("%s: %d %s", paths[i], r.status, r.body);
        rest_fini(&r);
    }
}

/* What the HTTP doorway refuses by itself is of the described form, too. */
static void a_head_that_is_no_good_is_a_problem_document(void **state)
{
    static const struct {
        const char *method, *pattern, *headers;
        int status;
    } rows[] = {
        {"POST", SESSIONS, "Transfer-Encoding: chunked\r\n", 411},
        {"POST", SESSIONS, "Content-Length: 0\r\nContent-Length: 0\r\n", 400},
        {"GET", SESSIONS, "Content-Length: x\r\n", 400},
        {"GET", "/livez", "Authorization: a\r\nAuthorization: b\r\n", 400},
        {"GET", SESSIONS, "Content-Length: 99999999\r\n", 413},
        {"DELETE", SESSION, "Transfer-Encoding: chunked\r\n", 411},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        int status =
            api_status(&api, rows[i].method, rows[i].pattern,
                       "aaaaaaaaaaaaaaaaaaaaaaaaaa", rows[i].headers, NULL);

        if (status != rows[i].status)
            fail_msg("%s %s %s: %d", rows[i].method, rows[i].pattern,
                     rows[i].headers, status);
    }
}

static void health_is_open_and_tells_nothing_private(void **state)
{
    struct rest_answer r;

    (void)state;
    assert_int_equal(api_status(&api, "GET", "/livez", NULL, NULL, NULL), 200);
    assert_int_equal(api_status(&api, "GET", "/readyz", NULL, NULL, NULL), 200);
    r = api_call(&api, "GET", "/web/config.json", NULL, NULL, NULL, NULL);
    assert_int_equal(r.status, 200);
    assert_null(strstr(r.body, "\"bundle\":")); /* none is offered */
    rest_fini(&r);
    r = api_call(&api, "GET", "/metrics", NULL, NULL, NULL, NULL);
    assert_int_equal(r.status, 200);
    assert_non_null(
        strstr(r.body, "podterm_controller_sessions_created_total"));
    assert_null(strstr(r.body, "alice"));
    rest_fini(&r);
}

static void secrets_are_nowhere_on_disk_or_in_the_log(void **state)
{
    char line[256], *log = mem_zero(1, 1 << 20);
    char sid[27];

    (void)state;
    api_create(&api, alice, "", sid);
    json_free(api_wait(&api, alice, sid, "running"));
    /* the agent has taken its spec; nothing else may hold the value */
    snprintf(line, sizeof line,
             "grep -rlE 'hunter2|[?]secret' %s --include=podterm.db* "
             "--include=*.json; true",
             api.state);
    FILE *found = popen(line, "r");
    while (fgets(line, sizeof line, found))
        if (strstr(line, "podterm.db") || strstr(line, sid))
            fail_msg("a secret is in %s", line);
    pclose(found);
    rest_log(&api.server, log, 1 << 20);
    assert_null(strstr(log, "hunter2"));
    assert_null(strstr(log, "?secret"));
    assert_null(strstr(log, "eyJ")); /* no token either */
    free(log);
}

/* --- the contract --- */

static void write_routes(FILE *to)
{
    static const char *const kinds[] = {"none", "identity", "dev", "machine"};

    for (size_t i = 0; i < route_count; i++)
        fprintf(to, "%s %s %s\n", routes[i].method, routes[i].path,
                kinds[routes[i].auth]);
}

static void openapi_describes_every_route_and_no_other(void **state)
{
    (void)state;
    cast_feed("routes", write_routes);
}

/* Runs last: all that was answered above, and an ended session's answers. */
static void openapi_describes_every_answer_given(void **state)
{
    char sid[27];

    (void)state;
    api_create(&api, alice, "exit", sid);
    json_free(api_wait(&api, alice, sid, "ended"));
    assert_int_equal(api_status(&api, "POST", TOKEN, sid, alice, NULL), 409);
    assert_int_equal(
        api_status(&api, "PATCH", SESSION, sid, alice, "{\"viewers\":[]}"),
        409);
    assert_int_equal(api_status(&api, "DELETE", SESSION, sid, alice, NULL),
                     200);
    api_create(&api, alice, "pending", sid);
    assert_int_equal(
        api_status(&api, "PATCH", SESSION, sid, alice, "{\"viewers\":[]}"),
        200);
    assert_int_equal(api_status(&api, "DELETE", SESSION, sid, alice, NULL),
                     202);
    cast_check_answers("all-answers");
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(create_answers_the_session_with_a_token),
        cmocka_unit_test(session_tokens_are_what_the_protocol_says),
        cmocka_unit_test(lists_are_ones_own_and_paged),
        cmocka_unit_test(bad_bodies_are_refused_with_a_reason),
        cmocka_unit_test(a_body_over_the_limit_is_413),
        cmocka_unit_test(unknown_paths_and_methods_are_told_apart),
        cmocka_unit_test(another_spelling_of_a_path_is_another_path),
        cmocka_unit_test(a_head_that_is_no_good_is_a_problem_document),
        cmocka_unit_test(health_is_open_and_tells_nothing_private),
        cmocka_unit_test(secrets_are_nowhere_on_disk_or_in_the_log),
        cmocka_unit_test(openapi_describes_every_route_and_no_other),
        cmocka_unit_test(openapi_describes_every_answer_given),
    };

    fake_keeper_maybe(argc, argv);
    return cmocka_run_group_tests(tests, cast_setup, cast_teardown);
}
