/* The body of a create request: what is taken, and each refusal. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/mem.h"
#include "controller/create.h"

#include <stdlib.h>
#include <string.h>

#define SHA "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
#define BUNDLE                                                                 \
    "\"bundle\":{\"url\":\"https://b.example/x.tgz\",\"sha256\":\"" SHA "\"}"
#define SIZE "\"cols\":80,\"rows\":24"

static struct settings set;
static struct create got;
static struct err e;

static int setup(void **state)
{
    (void)state;
    memset(&set, 0, sizeof set);
    memset(&e, 0, sizeof e);
    set.lifetime_s = 100;
    set.lifetime_max_s = 1000;
    set.idle_s = 50;
    set.bundle_max_bytes = 1000;
    return domain_list_parse("b.example", &set.bundles.domains, &e);
}

static int teardown(void **state)
{
    (void)state;
    domain_list_fini(&set.bundles.domains);
    return 0;
}

static int parse(const char *text)
{
    memset(&e, 0, sizeof e);
    return create_parse(text, strlen(text), &set, &got, &e);
}

static void least_request_gets_the_defaults(void **state)
{
    (void)state;
    assert_int_equal(parse("{" BUNDLE "," SIZE "}"), 0);
    assert_string_equal(got.url, "https://b.example/x.tgz");
    assert_string_equal(got.sha256, SHA);
    assert_int_equal(got.lifetime_s, 100);
    assert_int_equal(got.idle_s, 50);
    assert_true(got.viewer_history);
    assert_null(got.command);
    assert_null(got.env);
    create_fini(&got);
}

static void whole_request_is_taken(void **state)
{
    (void)state;
    assert_int_equal(
        parse("{\"bundle\":{\"url\":\"https://b.example/x.tgz\",\"sha256\":"
              "\"" SHA "\",\"size\":10,\"signature\":\"s\"}," SIZE
              ",\"command\":[\"a\",\"\"],\"env\":{\"A_1\":\"v\"},"
              "\"lifetime_s\":1000,\"idle_s\":0,\"viewers\":[\"v\",\"w\"],"
              "\"viewer_history\":false}"),
        0);
    assert_int_equal(got.size, 10);
    assert_int_equal(got.idle_s, 0);
    assert_string_equal(got.viewers[1], "w");
    assert_false(got.viewer_history);
    create_fini(&got);
}

static void every_wrong_request_is_told_what_is_wrong(void **state)
{
    static const struct {
        const char *body;
        const char *word; /* part of the message */
        enum err_kind kind;
    } bad[] = {
        {"", "body", ERR_INPUT},
        {"{", "body", ERR_INPUT},
        {"[]", "object", ERR_INPUT},
        {"{" SIZE "}", "bundle", ERR_INPUT},
        {"{" BUNDLE ",\"rows\":1}", "cols", ERR_INPUT},
        {"{" BUNDLE ",\"cols\":1}", "rows", ERR_INPUT},
        {"{" BUNDLE ",\"cols\":0,\"rows\":1}", "cols", ERR_INPUT},
        {"{" BUNDLE ",\"cols\":1001,\"rows\":1}", "cols", ERR_INPUT},
        {"{" BUNDLE ",\"cols\":1.5,\"rows\":1}", "cols", ERR_INPUT},
        {"{" BUNDLE "," SIZE ",\"comand\":[]}", "comand", ERR_INPUT},
        {"{" BUNDLE "," SIZE ",\"command\":[]}", "command", ERR_INPUT},
        {"{" BUNDLE "," SIZE ",\"command\":[\"\"]}", "command", ERR_INPUT},
        {"{" BUNDLE "," SIZE ",\"command\":\"x\"}", "command", ERR_INPUT},
        {"{" BUNDLE "," SIZE ",\"env\":[]}", "env", ERR_INPUT},
        {"{" BUNDLE "," SIZE ",\"env\":{\"1A\":\"\"}}", "env", ERR_INPUT},
        {"{" BUNDLE "," SIZE ",\"env\":{\"A=B\":\"\"}}", "env", ERR_INPUT},
        {"{" BUNDLE "," SIZE ",\"env\":{\"\":\"\"}}", "env", ERR_INPUT},
        {"{" BUNDLE "," SIZE ",\"env\":{\"A\":1}}", "env", ERR_INPUT},
        {"{" BUNDLE "," SIZE ",\"lifetime_s\":0}", "lifetime_s", ERR_INPUT},
        {"{" BUNDLE "," SIZE ",\"lifetime_s\":1001}", "lifetime_s", ERR_INPUT},
        {"{" BUNDLE "," SIZE ",\"idle_s\":-1}", "idle_s", ERR_INPUT},
        {"{" BUNDLE "," SIZE ",\"viewers\":\"v\"}", "viewers", ERR_INPUT},
        {"{" BUNDLE "," SIZE ",\"viewers\":[\"\"]}", "viewers", ERR_INPUT},
        {"{" BUNDLE "," SIZE ",\"viewers\":[\"v\",\"v\"]}", "twice", ERR_INPUT},
        {"{" BUNDLE "," SIZE ",\"viewers\":[\"1\",\"2\",\"3\",\"4\",\"5\","
         "\"6\",\"7\",\"8\",\"9\"]}",
         "viewers", ERR_INPUT},
        {"{" BUNDLE "," SIZE ",\"viewer_history\":1}", "viewer_history",
         ERR_INPUT},
        {"{" BUNDLE "," SIZE ",\"image\":\"debian\"}", "image", ERR_DENIED},
        {"{\"bundle\":{\"url\":\"https://b.example/\",\"sha256\":\"00\"}," SIZE
         "}",
         "sha256", ERR_INPUT},
        {"{\"bundle\":{\"url\":\"https://b.example/\",\"sha256\":"
         "\"BA7816BF8F01CFEA414140DE5DAE2223B00361A396177A9CB410FF61F20015AD"
         "\"}," SIZE "}",
         "sha256", ERR_INPUT},
        {"{\"bundle\":{\"url\":\"https://b.example/\",\"sha256\":\"" SHA
         "\",\"size\":1001}," SIZE "}",
         "size", ERR_INPUT},
        {"{\"bundle\":{\"url\":\"https://b.example/\",\"sha256\":\"" SHA
         "\",\"digest\":1}," SIZE "}",
         "digest", ERR_INPUT},
        {"{\"bundle\":{\"url\":\"https://evil.example/\",\"sha256\":\"" SHA
         "\"}," SIZE "}",
         "evil.example", ERR_DENIED},
        {"{\"bundle\":{\"url\":\"http://b.example/\",\"sha256\":\"" SHA
         "\"}," SIZE "}",
         "http", ERR_DENIED},
        {"{\"bundle\":{\"url\":\"https://u:p@b.example/\",\"sha256\":\"" SHA
         "\"}," SIZE "}",
         "URL", ERR_INPUT},
    };

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        if (parse(bad[i].body) == 0)
            fail_msg("taken: %s", bad[i].body);
        if (!strstr(e.text, bad[i].word))
            fail_msg("%s: \"%s\" lacks %s", bad[i].body, e.text, bad[i].word);
        if (e.kind != bad[i].kind)
            fail_msg("%s: kind %d", bad[i].body, (int)e.kind);
    }
}

/* env of one variable whose name and value take bytes in all */
static char *env_of(size_t bytes)
{
    size_t len = bytes - 3;
    char *value = mem_zero(1, len + 1), *out;

    memset(value, 'v', len);
    out = mem_printf("{" BUNDLE "," SIZE ",\"env\":{\"A\":\"%s\"}}", value);
    free(value);
    return out;
}

static void environment_has_its_limit(void **state)
{
    char *fits = env_of(CREATE_ENV_BYTES), *more = env_of(CREATE_ENV_BYTES + 1);

    (void)state;
    assert_int_equal(parse(fits), 0);
    create_fini(&got);
    assert_int_equal(parse(more), -1);
    assert_null(strstr(e.text, "vvv")); /* a value is never shown */
    free(fits);
    free(more);
}

static void a_word_of_the_command_has_its_limit(void **state)
{
    char *word = mem_zero(1, CREATE_WORD_MAX + 2), *body;

    (void)state;
    memset(word, 'w', CREATE_WORD_MAX);
    body = mem_printf("{" BUNDLE "," SIZE ",\"command\":[\"%s\"]}", word);
    assert_int_equal(parse(body), 0);
    create_fini(&got);
    free(body);
    word[CREATE_WORD_MAX] = 'w';
    body = mem_printf("{" BUNDLE "," SIZE ",\"command\":[\"%s\"]}", word);
    assert_int_equal(parse(body), -1);
    free(body);
    free(word);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(least_request_gets_the_defaults),
        T(whole_request_is_taken),
        T(every_wrong_request_is_told_what_is_wrong),
        T(environment_has_its_limit),
        T(a_word_of_the_command_has_its_limit),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
