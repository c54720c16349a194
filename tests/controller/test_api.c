/*
 * The real controller with the real store: every route with every wrong
 * identity, ownership, idempotency, quota, tokens; and the OpenAPI file held
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
#include "tests/lib/api.h"
#include "tests/lib/fake_keeper.h"
#include "tests/lib/forge.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define SESSIONS "/api/sessions"
#define SESSION "/api/sessions/{id}"
#define TOKEN "/api/sessions/{id}/token"

static struct api api;
static char *alice, *bob, *eve; /* identities */

static int setup_all(void **state)
{
    static const char *const extra[] = {"--quota", "200", NULL};

    (void)state;
    seal_init();
    api_start(&api, extra);
    alice = api_identity(&api, "alice");
    bob = api_identity(&api, "bob");
    eve = api_identity(&api, "eve");
    return 0;
}

static int teardown_all(void **state)
{
    (void)state;
    free(alice);
    free(bob);
    free(eve);
    api_finish(&api);
    return 0;
}

static struct rest_answer post(const char *who, const char *more_headers,
                               const char *body)
{
    char *headers = mem_printf("%s%s", who, more_headers);
    struct rest_answer r =
        api_call(&api, "POST", SESSIONS, NULL, NULL, headers, body);

    free(headers);
    return r;
}

static struct json *json_of(struct rest_answer *r)
{
    struct err e = {0};
    struct json *j = json_parse(r->body, r->len, &e);

    assert_non_null(j);
    rest_fini(r);
    return j;
}

/* --- create and read --- */

static void create_answers_the_session_with_a_token(void **state)
{
    char *body = api_body("pending", ",\"viewers\":[\"bob\"]");
    struct rest_answer r = post(alice, "", body);
    struct json *j;

    (void)state;
    assert_int_equal(r.status, 201);
    assert_int_equal(strncmp(rest_header(&r, "location"), SESSIONS "/", 14), 0);
    assert_string_equal(rest_header(&r, "cache-control"), "no-store");
    assert_null(strstr(r.body, "hunter2"));
    assert_null(strstr(r.body, "?secret"));
    j = json_of(&r);
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
    jwks = json_of(&r);
    keys = token_keys_of(jwks, &e);
    assert_int_equal(token_keys_count(keys), 2);
    r = api_call(&api, "POST", TOKEN, sid, NULL, alice, NULL);
    assert_int_equal(r.status, 200);
    j = json_of(&r);
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
    j = json_of(&r);
    assert_int_equal(json_count(json_get(j, "sessions")), 2);
    assert_string_equal(json_get_str(json_at(json_get(j, "sessions"), 0), "id"),
                        sids[2]);
    query = mem_printf("?limit=2&cursor=%s", json_get_str(j, "next_cursor"));
    json_free(j);
    r = api_call(&api, "GET", SESSIONS, NULL, query, carol, NULL);
    j = json_of(&r);
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
        r = post(alice, "", bad[i].body);
        assert_int_equal(r.status, bad[i].status);
        assert_string_equal(rest_header(&r, "content-type"),
                            "application/problem+json");
        rest_fini(&r);
    }
    r = post(alice, "", image);
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
    j = json_of(&r);
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
    struct rest_answer r = post(alice, "Idempotency-Key: k1\r\n", body);
    struct json *first, *again;

    (void)state;
    assert_int_equal(r.status, 201);
    first = json_of(&r);
    r = post(alice, "Idempotency-Key: k1\r\n", body);
    assert_int_equal(r.status, 200);
    again = json_of(&r);
    assert_string_equal(json_get_str(first, "id"), json_get_str(again, "id"));
    assert_string_not_equal(json_get_str(first, "token"),
                            json_get_str(again, "token"));
    json_free(again);
    r = post(alice, "Idempotency-Key: k1\r\n", other);
    assert_int_equal(r.status, 422);
    rest_fini(&r);
    /* keyed by owner: another's is another */
    r = post(bob, "Idempotency-Key: k1\r\n", body);
    assert_int_equal(r.status, 201);
    again = json_of(&r);
    assert_string_not_equal(json_get_str(first, "id"),
                            json_get_str(again, "id"));
    json_free(again);
    json_free(first);
    r = post(alice, "Idempotency-Key: has space\r\n", body);
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

/* --- forms --- */

static void unknown_paths_and_methods_are_told_apart(void **state)
{
    struct rest_answer r;

    (void)state;
    r = rest_call(api.server.port, "GET", "/api", alice, NULL);
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

static void feed(const char *mode, void (*write)(FILE *to))
{
    FILE *to = popen(mode, "w");

    assert_non_null(to);
    write(to);
    if (pclose(to) != 0)
        fail_msg("controller/openapi.yaml does not hold: see above");
}

static void write_routes(FILE *to)
{
    static const char *const kinds[] = {"none", "identity", "dev", "machine"};

    for (size_t i = 0; i < route_count; i++)
        fprintf(to, "%s %s %s\n", routes[i].method, routes[i].path,
                kinds[routes[i].auth]);
}

static void write_seen(FILE *to)
{
    FILE *from = fopen(api.seen_path, "r");
    char *line = NULL;
    size_t size = 0;

    while (getline(&line, &size, from) > 0)
        fputs(line, to);
    free(line);
    fclose(from);
}

static void openapi_describes_every_route_and_no_other(void **state)
{
    (void)state;
    feed("python3 tests/controller/openapi.py controller/openapi.yaml routes",
         write_routes);
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
    assert_int_equal(api_status(&api, "DELETE", SESSION, sid, alice, NULL),
                     202);
    feed("python3 tests/controller/openapi.py controller/openapi.yaml "
         "answers",
         write_seen);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(create_answers_the_session_with_a_token),
        cmocka_unit_test(session_tokens_are_what_the_protocol_says),
        cmocka_unit_test(lists_are_ones_own_and_paged),
        cmocka_unit_test(bad_bodies_are_refused_with_a_reason),
        cmocka_unit_test(a_body_over_the_limit_is_413),
        cmocka_unit_test(every_route_refuses_every_wrong_identity),
        cmocka_unit_test(anothers_session_is_404_on_every_route),
        cmocka_unit_test(viewers_get_viewer_tokens_and_nothing_else),
        cmocka_unit_test(viewers_and_roles_are_checked),
        cmocka_unit_test(a_replay_is_the_same_session_with_a_fresh_token),
        cmocka_unit_test(quota_holds_in_a_race),
        cmocka_unit_test(unknown_paths_and_methods_are_told_apart),
        cmocka_unit_test(another_spelling_of_a_path_is_another_path),
        cmocka_unit_test(a_head_that_is_no_good_is_a_problem_document),
        cmocka_unit_test(health_is_open_and_tells_nothing_private),
        cmocka_unit_test(secrets_are_nowhere_on_disk_or_in_the_log),
        cmocka_unit_test(openapi_describes_every_route_and_no_other),
        cmocka_unit_test(openapi_describes_every_answer_given),
    };

    fake_keeper_maybe(argc, argv);
    return cmocka_run_group_tests(tests, setup_all, teardown_all);
}
