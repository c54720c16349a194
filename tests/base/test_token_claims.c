#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/mem.h"
#include "base/own.h"
#include "base/token.h"
#include "tests/lib/forge.h"
#include "tests/lib/token_fixture.h"

#include <stdlib.h>
#include <string.h>

/* --- claims --- */

/* One member of a right session payload: its new JSON text, or NULL to leave
 * it out. */
static char *session_body_with(const char *name, const char *value)
{
    own_mem char *text = session_body();
    own_mem char *value_text = mem_printf("{\"v\":%s}", value ? value : "0");
    struct err e = {0};
    own_json struct json *body = json_parse(text, strlen(text), &e);
    own_json struct json *v = json_parse(value_text, strlen(value_text), &e);
    own_json struct json *out = json_object();

    assert_non_null(v);
    for (size_t i = 0; i < json_count(body); i++) {
        const struct json *m = json_at(body, i);

        if (strcmp(json_name(m), name) != 0)
            json_set(out, json_name(m), json_dup(m));
    }
    if (value)
        json_set(out, name, json_dup(json_get(v, "v")));
    return json_text(out);
}

static const struct {
    const char *name, *value, *rule; /* rule NULL: taken */
} claims[] = {
    {"iss", "\"" ISS "\"", NULL},
    {"iss", "\"https://evil.test\"", "iss is"},
    {"iss", "\"" ISS "/\"", "iss is"},
    {"iss", "[\"" ISS "\"]", "iss is"},
    {"iss", "{\"iss\":\"" ISS "\"}", "iss is"},
    {"iss", NULL, "iss is"},
    {"aud", "\"other\"", "aud is"},
    {"aud", "[\"" AUD "\"]", "aud is"},
    {"aud", "{\"" AUD "\":true}", "aud is"},
    {"aud", "null", "aud is"},
    {"aud", NULL, "aud is"},
    {"sub", "\"\"", "sub is"},
    {"sub", "7", "sub is"},
    {"sub", NULL, "sub is"},
    {"sid", "\"" JTI "\"", NULL},
    {"sid", "\"ABCDEFGHIJKLMNOPQRSTUVWXYZ\"", "sid is"},
    {"sid", "\"abc\"", "sid is"},
    {"sid", "\"" SID "a\"", "sid is"},
    {"sid", "\"abcdefghijklmnopqrstuvwxy1\"", "sid is"},
    {"sid", NULL, "sid is"},
    {"jti", "\"../abcdefghijklmnopqrstuvw\"", "jti is"},
    {"jti", NULL, "jti is"},
    {"bnd",
     "\"BA7816BF8F01CFEA414140DE5DAE2223B00361A396177A9CB410FF61F200"
     "15AD\"",
     "bnd is"},
    {"bnd", "\"ba78\"", "bnd is"},
    {"bnd", "\"" BND "00\"", "bnd is"},
    {"bnd", NULL, "bnd is"},
    {"role", "\"viewer\"", NULL},
    {"role", "\"control\"", NULL},
    {"role", "\"Owner\"", "role is"},
    {"role", "\"\"", "role is"},
    {"role", "[\"owner\"]", "role is"},
    {"role", NULL, "role is"},
    {"exp", "\"1800000060\"", "exp is"},
    {"exp", "1800000060.5", "exp is"},
    {"exp", "1e300", "exp is"},
    {"exp", "18e8", "contradict"},
    {"exp", "1800000120", NULL},
    {"exp", "1800000121", "lives longer"},
    {"exp", "9007199254740991", "lives longer"},
    {"exp", "-1", "contradict"},
    {"exp", "true", "exp is"},
    {"exp", NULL, "exp is"},
    {"iat", "1800000030", NULL},
    {"iat", "1800000031", "future"},
    {"iat", "1799999939", "lives longer"},
    {"iat", "-5", "contradict"},
    {"iat", "{}", "iat is"},
    {"iat", NULL, "iat is"},
    {"nbf", "1800000030", NULL},
    {"nbf", "1800000031", "not valid yet"},
    {"nbf", "1800000060", "contradict"},
    {"nbf", "\"x\"", "nbf is"},
    {"nbf", "null", "nbf is"},
    {"nbf", NULL, "nbf is"},
    {"admin", "true", "unknown claim"},
    {"Role", "\"owner\"", "unknown claim"},
    {"payload", "{\"role\":\"owner\"}", "unknown claim"},
    {"__proto__", "{}", "unknown claim"},
};

static void each_claim_is_judged(void **state)
{
    own_mem char *head = forge_head(signer, TOKEN_TYP_SESSION);

    (void)state;
    for (size_t i = 0; i < sizeof(claims) / sizeof(claims[0]); i++) {
        own_mem char *body = session_body_with(claims[i].name, claims[i].value);
        own_mem char *token = forge_token(signer, head, body);
        own_mem char *name =
            mem_printf("%s = %s", claims[i].name,
                       claims[i].value ? claims[i].value : "(absent)");

        assert_rule(name, session_rule(token, strlen(token), NOW),
                    claims[i].rule);
    }
}

static void the_longest_subject_fits_and_one_more_does_not(void **state)
{
    own_mem char *head = forge_head(signer, TOKEN_TYP_SESSION);
    own_mem char *sub = mem_zero(TOKEN_STR_MAX + 1, 1);
    struct session_claims c = good;
    struct err e = {0};

    (void)state;
    memset(sub, 's', TOKEN_STR_MAX - 1);
    for (int extra = 0; extra < 2; extra++) {
        own_mem char *value = mem_printf("\"%s%s\"", sub, extra ? "s" : "");
        own_mem char *body = session_body_with("sub", value);
        own_mem char *token = forge_token(signer, head, body);

        assert_rule("sub", session_rule(token, strlen(token), NOW),
                    extra ? "sub" : NULL);
    }
    c.sub[0] = 0;
    assert_null(session_token_sign(signer, &c, &e));
    assert_int_equal(e.kind, ERR_INPUT);
}

static void times_hold_to_the_second(void **state)
{
    static const struct {
        int64_t now, skew;
        bool taken;
    } cases[] = {
        {NOW, 0, true},
        {NOW - 1, 0, false},
        {NOW + 59, 0, true},
        {NOW + 60, 0, false},
        {NOW + 89, 30, true},
        {NOW + 90, 30, false},
        {NOW - 30, 30, true},
        {NOW - 31, 30, false},
        {NOW + 89, 86400, true},
        {NOW + 90, 86400, false},
        {NOW + 60, -9, false},
        {0, 30, false},
        {INT64_MAX - 99, 30, false},
    };
    own_mem char *token = NULL;
    struct err e = {0};

    (void)state;
    token = session_token_sign(signer, &good, &e);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct session_claims c;
        int r = session_token_verify(keys, token, strlen(token), ISS, AUD,
                                     cases[i].now, cases[i].skew, &c, NULL, &e);

        if ((r == 0) != cases[i].taken)
            fail_msg("now %lld skew %lld", (long long)cases[i].now,
                     (long long)cases[i].skew);
    }
}

static const struct {
    const char *name, *body, *rule;
} bodies[] = {
    {"duplicate claim",
     "{\"iss\":\"" ISS "\",\"aud\":\"" AUD
     "\",\"sub\":\"alice\",\"sub\":\"root\",\"iat\":1800000000,"
     "\"exp\":1800000060}",
     "strict"},
    {"duplicate, escaped",
     "{\"iss\":\"" ISS "\",\"aud\":\"" AUD
     "\",\"s\\u0075b\":\"alice\",\"sub\":\"root\",\"iat\":1800000000,"
     "\"exp\":1800000060}",
     "strict"},
    {"duplicate inside",
     "{\"iss\":\"" ISS "\",\"aud\":\"" AUD
     "\",\"x\":{\"a\":1,\"a\":2},\"iat\":1800000000,"
     "\"exp\":1800000060}",
     "strict"},
    {"claims nested",
     "{\"claims\":{\"iss\":\"" ISS "\",\"aud\":\"" AUD
     "\"},\"iat\":1800000000,\"exp\":1800000060}",
     "iss"},
    {"claims in a string", "\"{\\\"iss\\\":\\\"" ISS "\\\"}\"", "strict"},
    {"claims in a list", "[{\"iss\":\"" ISS "\"}]", "strict"},
    {"NUL in a string",
     "{\"iss\":\"" ISS "\\u0000\",\"aud\":\"" AUD
     "\",\"iat\":1800000000,\"exp\":1800000060}",
     "strict"},
    {"invalid UTF-8",
     "{\"iss\":\"" ISS "\",\"aud\":\"" AUD
     "\",\"sub\":\"\xff\",\"iat\":1800000000,\"exp\":1800000060}",
     "strict"},
    {"two values", "{\"iss\":\"" ISS "\"}{}", "strict"},
    {"null", "null", "strict"},
    {"too deep",
     "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]]]]]]"
     "]]]]]]]]",
     "strict"},
    {"aud list",
     "{\"iss\":\"" ISS "\",\"aud\":[\"x\",\"" AUD
     "\"],\"iat\":1800000000,\"exp\":1800000060}",
     "aud"},
};

static void hostile_payloads_are_refused(void **state)
{
    own_mem char *head = forge_head(signer, "JWT");

    (void)state;
    for (size_t i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++) {
        own_mem char *token = forge_token(signer, head, bodies[i].body);

        assert_rule(bodies[i].name, identity_rule(token, &identity),
                    bodies[i].rule);
    }
}

static void an_audience_list_counts_only_where_it_is_allowed(void **state)
{
    static const struct {
        const char *aud, *rule;
    } cases[] = {
        {"\"" AUD "\"", NULL},
        {"[\"" AUD "\"]", NULL},
        {"[\"x\",\"" AUD "\"]", NULL},
        {"[]", "aud"},
        {"[\"x\"]", "aud"},
        {"[\"" AUD "\",1]", "aud"},
        {"[[\"" AUD "\"]]", "aud"},
        {"{\"a\":\"" AUD "\"}", "aud"},
    };
    own_mem char *head = forge_head(signer, "JWT");
    struct token_expect want = identity;

    (void)state;
    want.aud_may_be_list = true;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        own_mem char *body = session_body_with("aud", cases[i].aud);
        own_mem char *token = forge_token(signer, head, body);

        assert_rule(cases[i].aud, identity_rule(token, &want), cases[i].rule);
    }
}

static void a_refusal_never_quotes_the_token(void **state)
{
    own_mem char *head =
        mem_printf("{\"alg\":\"SECRET\",\"SECRET\":1,\"kid\":\"%s\"}",
                   token_signer_kid(signer));
    own_mem char *body = mem_str("{\"SECRET\":1,\"SECRET\":2}");
    own_mem char *jwt = forge_head(signer, "JWT");
    own_mem char *a = forge_token(signer, head, body);
    own_mem char *b = forge_token(signer, jwt, body);

    (void)state;
    assert_null(strstr(identity_rule(a, &identity), "SECRET"));
    assert_null(strstr(identity_rule(b, &identity), "SECRET"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_claim_is_judged),
        cmocka_unit_test(the_longest_subject_fits_and_one_more_does_not),
        cmocka_unit_test(times_hold_to_the_second),
        cmocka_unit_test(hostile_payloads_are_refused),
        cmocka_unit_test(an_audience_list_counts_only_where_it_is_allowed),
        cmocka_unit_test(a_refusal_never_quotes_the_token),
    };

    return cmocka_run_group_tests(tests, token_setup, token_teardown);
}
