/* What a program may ask of an API, and how it is told. */
#include "agent/broker_apis.h"
#include "agent/broker_budget.h"

#include "base/json.h"
#include "base/mem.h"
#include "base/own.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static struct http_text text(const char *s)
{
    return (struct http_text){s, strlen(s)};
}

static void same(struct http_text t, const char *want)
{
    if (t.len != strlen(want) || memcmp(t.at, want, t.len) != 0)
        fail_msg("\"%.*s\" is not \"%s\"", (int)t.len, t.at, want);
}

/* --- targets --- */

static void a_path_begins_with_its_api(void **arg)
{
    struct http_text path, query;
    enum broker_api api;

    (void)arg;
    assert_int_equal(broker_target(text("/anthropic/v1/messages?beta=true"),
                                   &api, &path, &query),
                     0);
    assert_int_equal(api, BROKER_ANTHROPIC);
    same(path, "/v1/messages");
    same(query, "?beta=true");
    assert_int_equal(
        broker_target(text("/openai/v1/models"), &api, &path, &query), 0);
    assert_int_equal(api, BROKER_OPENAI);
    same(path, "/v1/models");
    same(query, "");
}

static void there_is_one_spelling_of_a_path(void **arg)
{
    static const char *const bad[] = {
        "/",
        "",
        "anthropic/v1/messages",
        "/anthropic",
        "/anthropic/",
        "//anthropic/v1/messages",
        "/anthropic//v1/messages",
        "/anthropic/v1/messages/",
        "/anthropic/./v1/messages",
        "/anthropic/../anthropic/v1/messages",
        "/anthropic/v1/messages/..",
        "/anthropic/v1%2fmessages",
        "/anthropic/v1/mess%61ges",
        "/anthropic/v1/messages;a=b",
        "/anthropic/v1\\messages",
        "/anthropic/v1/messages@host",
        "/Anthropic/v1/messages",
        "/anthropicc/v1/messages",
        "/anthropi/v1/messages",
        "/other/v1/messages",
        "?/anthropic/v1/messages",
    };
    struct http_text path, query;
    enum broker_api api;

    (void)arg;
    for (size_t i = 0; i < COUNT(bad); i++)
        if (broker_target(text(bad[i]), &api, &path, &query) == 0)
            fail_msg("\"%s\" is taken", bad[i]);
}

static void a_path_and_a_query_have_their_limits(void **arg)
{
    char target[BROKER_PATH_MAX + BROKER_QUERY_MAX + 16];
    struct http_text path, query;
    enum broker_api api;
    int len = sprintf(target, "/openai/");

    (void)arg;
    memset(target + len, 'a', BROKER_PATH_MAX - (size_t)len);
    target[BROKER_PATH_MAX] = 0;
    assert_int_equal(broker_target(text(target), &api, &path, &query), 0);
    target[BROKER_PATH_MAX] = '?';
    memset(target + BROKER_PATH_MAX + 1, 'q', BROKER_QUERY_MAX);
    target[BROKER_PATH_MAX + BROKER_QUERY_MAX] = 0;
    assert_int_equal(broker_target(text(target), &api, &path, &query), 0);
    assert_int_equal(query.len, BROKER_QUERY_MAX);
    strcat(target, "q");
    assert_int_equal(broker_target(text(target), &api, &path, &query), -1);
    memset(target + len, 'a', BROKER_PATH_MAX + 1 - (size_t)len);
    target[BROKER_PATH_MAX + 1] = 0;
    assert_int_equal(broker_target(text(target), &api, &path, &query), -1);
}

static void what_is_not_in_the_table_is_not_allowed(void **arg)
{
    static const struct {
        enum broker_api api;
        const char *method, *path;
        bool is_allowed;
    } rows[] = {
        {BROKER_ANTHROPIC, "POST", "/v1/messages", true},
        {BROKER_ANTHROPIC, "POST", "/v1/messages/count_tokens", true},
        {BROKER_ANTHROPIC, "GET", "/v1/models", true},
        {BROKER_ANTHROPIC, "GET", "/v1/models/claude-x-1.5:a", true},
        {BROKER_ANTHROPIC, "GET", "/v1/models/a/b", false},
        {BROKER_ANTHROPIC, "GET", "/v1/messages", false},
        {BROKER_ANTHROPIC, "post", "/v1/messages", false},
        {BROKER_ANTHROPIC, "DELETE", "/v1/models/a", false},
        {BROKER_ANTHROPIC, "POST", "/v1/messages/batches", false},
        {BROKER_ANTHROPIC, "POST", "/v1/complete", false},
        {BROKER_ANTHROPIC, "GET", "/v1/organizations/api_keys", false},
        {BROKER_ANTHROPIC, "GET", "/v1/models/*", false}, /* '*' is no name */
        {BROKER_ANTHROPIC, "POST", "/v1/chat/completions", false},
        {BROKER_OPENAI, "POST", "/v1/chat/completions", true},
        {BROKER_OPENAI, "POST", "/v1/responses", true},
        {BROKER_OPENAI, "POST", "/v1/embeddings", true},
        {BROKER_OPENAI, "GET", "/v1/models/gpt-1", true},
        {BROKER_OPENAI, "POST", "/v1/files", false},
        {BROKER_OPENAI, "DELETE", "/v1/models/ft:a", false},
        {BROKER_OPENAI, "POST", "/v1/messages", false},
    };
    char target[128];

    (void)arg;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct http_text path, query;
        enum broker_api api;
        bool is_allowed;

        snprintf(target, sizeof(target), "/%s%s", broker_api_name(rows[i].api),
                 rows[i].path);
        is_allowed = broker_target(text(target), &api, &path, &query) == 0 &&
                     broker_is_allowed(api, text(rows[i].method), path);
        if (is_allowed != rows[i].is_allowed)
            fail_msg("%s %s: %d", rows[i].method, target, is_allowed);
    }
}

/* --- headers --- */

static void no_credential_goes_and_none_comes(void **arg)
{
    static const char *const never[] = {"authorization",
                                        "x-api-key",
                                        "proxy-authorization",
                                        "cookie",
                                        "set-cookie",
                                        "www-authenticate",
                                        "host",
                                        "connection",
                                        "content-length",
                                        "transfer-encoding",
                                        "content-encoding",
                                        "accept-encoding",
                                        "location",
                                        "forwarded",
                                        "x-forwarded-for",
                                        "anthropic-organization-id",
                                        "openai-organization",
                                        "openai-project",
                                        "api-key",
                                        "x-goog-api-key",
                                        "expect",
                                        "upgrade",
                                        "te",
                                        "trailer",
                                        "",
                                        "x-",
                                        "x-stainles",
                                        "x-http-method-override"};
    static const char *const goes[] = {
        "Content-Type", "anthropic-version", "Anthropic-Beta", "accept",
        "user-agent",   "x-stainless-arch",  "X-Stainless-OS"};
    static const char *const comes[] = {
        "content-type", "Retry-After", "request-id",
        "anthropic-ratelimit-requests-limit", "x-ratelimit-limit-requests"};

    (void)arg;
    for (size_t i = 0; i < COUNT(never); i++)
        if (broker_field_goes(text(never[i])) ||
            broker_field_comes(text(never[i])))
            fail_msg("\"%s\" passes", never[i]);
    for (size_t i = 0; i < COUNT(goes); i++)
        if (!broker_field_goes(text(goes[i])))
            fail_msg("\"%s\" does not go", goes[i]);
    for (size_t i = 0; i < COUNT(comes); i++)
        if (!broker_field_comes(text(comes[i])))
            fail_msg("\"%s\" does not come", comes[i]);
}

/* --- the environment --- */

static void a_program_is_told_where_it_is_and_no_key(void **arg)
{
    char *none[] = {NULL}, *own_url[] = {"ANTHROPIC_BASE_URL=http://x", NULL};
    char *own_key[] = {"A=b", "ANTHROPIC_API_KEY=mine", NULL};
    char *other[] = {"ANTHROPIC_BASE_URLS=x", "ANTHROPIC_API_KEYS=x", NULL};
    char out[BROKER_ENV_MAX][BROKER_ENV_LINE];

    (void)arg;
    assert_int_equal(broker_env(BROKER_ANTHROPIC, none, out), 2);
    assert_string_equal(out[0],
                        "ANTHROPIC_BASE_URL=http://127.0.0.1:3129/anthropic");
    assert_string_equal(out[1],
                        "ANTHROPIC_AUTH_TOKEN=the-key-is-with-the-broker");
    assert_int_equal(broker_env(BROKER_ANTHROPIC, own_url, out), 0);
    assert_int_equal(broker_env(BROKER_ANTHROPIC, own_key, out), 1);
    assert_int_equal(broker_env(BROKER_ANTHROPIC, other, out), 2);
    assert_int_equal(broker_env(BROKER_OPENAI, own_key, out), 2);
    assert_string_equal(out[0],
                        "OPENAI_BASE_URL=http://127.0.0.1:3129/openai/v1");
    assert_string_equal(out[1], "OPENAI_API_KEY=the-key-is-with-the-broker");
}

/* --- refusals --- */

static struct json *refusal(enum broker_api api, int status)
{
    struct err e = {0};
    struct json *j;
    struct buf b;

    buf_init(&b, 1024);
    assert_int_equal(broker_refusal(api, status, "no \"x\\y\"", &b), 0);
    j = json_parse(b.data, b.len, &e);
    if (!j)
        fail_msg("%s: %s", e.text, buf_cstr(&b));
    buf_fini(&b);
    return j;
}

static void each_api_is_refused_in_its_own_form(void **arg)
{
    static const struct {
        int status;
        const char *type;
    } rows[] = {{400, "invalid_request_error"},
                {403, "permission_error"},
                {404, "not_found_error"},
                {413, "request_too_large"},
                {429, "rate_limit_error"},
                {431, "invalid_request_error"},
                {502, "api_error"},
                {503, "overloaded_error"},
                {504, "timeout_error"}};

    (void)arg;
    for (size_t i = 0; i < COUNT(rows); i++) {
        own_json struct json *a = refusal(BROKER_ANTHROPIC, rows[i].status);
        own_json struct json *o = refusal(BROKER_OPENAI, rows[i].status);

        assert_true(json_get_is(a, "type", "error"));
        assert_true(json_get_is(json_get(a, "error"), "type", rows[i].type));
        assert_true(json_get_is(json_get(a, "error"), "message",
                                "podterm: no \"x\\y\""));
        assert_null(json_get(o, "type"));
        assert_true(json_get_is(json_get(o, "error"), "type", rows[i].type));
        assert_true(json_is_null(json_get(json_get(o, "error"), "code")));
    }
}

/* --- the budget --- */

static void requests_and_bytes_are_counted(void **arg)
{
    struct broker_budget b;
    int64_t after = 0;

    (void)arg;
    broker_budget_init(&b, 3, 100, 10);
    assert_int_equal(broker_budget_take(&b, 1, &after), BROKER_SPENT);
    assert_true(broker_budget_bytes(&b, 99));
    assert_int_equal(broker_budget_take(&b, 2, &after), BROKER_SPENT);
    assert_true(broker_budget_bytes(&b, 1));
    assert_int_equal(broker_budget_take(&b, 3, &after), BROKER_NO_BYTES);
    assert_false(broker_budget_bytes(&b, 1));
    b.bytes = 0;
    assert_int_equal(broker_budget_take(&b, 4, &after), BROKER_SPENT);
    assert_int_equal(broker_budget_take(&b, 5, &after), BROKER_NO_REQUESTS);
    assert_int_equal(b.requests, 3);
    broker_budget_fini(&b);
}

static void no_minute_has_more_than_its_requests(void **arg)
{
    struct broker_budget b;
    int64_t after = 0, taken[300], n = 0;

    (void)arg;
    broker_budget_init(&b, 1000, 100, 5);
    for (int64_t now = 1000; now < 250000; now += 977)
        if (broker_budget_take(&b, now, &after) == BROKER_SPENT) {
            taken[n++] = now;
            if (n > 5)
                assert_true(now - taken[n - 6] >= BROKER_MINUTE_MS);
        } else {
            assert_int_equal(after, taken[n - 5] + BROKER_MINUTE_MS - now);
        }
    assert_in_range(n, 20, 25);
    broker_budget_fini(&b);
}

int main(void)
{
#define T(name) cmocka_unit_test(name)
    const struct CMUnitTest tests[] = {
        T(a_path_begins_with_its_api),
        T(there_is_one_spelling_of_a_path),
        T(a_path_and_a_query_have_their_limits),
        T(what_is_not_in_the_table_is_not_allowed),
        T(no_credential_goes_and_none_comes),
        T(a_program_is_told_where_it_is_and_no_key),
        T(each_api_is_refused_in_its_own_form),
        T(requests_and_bytes_are_counted),
        T(no_minute_has_more_than_its_requests),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
