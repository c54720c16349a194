/* The judgement of an activation, attack by attack, and what is kept of it. */
#include "agent/activation.h"

#include "agent/specfile.h"
#include "base/mem.h"
#include "base/own.h"
#include "tests/lib/forge.h"
#include "tests/lib/programs.h"
#include "tests/lib/spec_fixture.h"
#include "tests/lib/token_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define POD "3f1c6f0e-5a3b-4c8e-9a51-0d7b6a5e4c21"
#define POOL_ID "poolpoolpoolpoolpoolpoolpo"

static const uint8_t pool_key[SESSION_KEY_BYTES] = {1};
static const uint8_t session_key[SESSION_KEY_BYTES] = {2};
static struct warm_spec warm;

static struct json *warm_fixture(void)
{
    own_json struct json *spec = spec_fixture();
    own_mem char *token = json_text(json_get(spec, "token"));
    own_mem char *text = mem_printf(
        "{\"v\":1,\"warm\":{\"pool\":\"p-1\",\"psk_id\":\"" POOL_ID "\","
        "\"max_age_s\":3600},\"token\":%s}",
        token);
    struct err e = {0};

    return json_parse(text, strlen(text), &e);
}

static int setup(void **state)
{
    own_json struct json *root = NULL;
    struct err e = {0};

    if (token_setup(state) < 0)
        return -1;
    root = warm_fixture();
    return warm_spec_of(root, &warm, &e);
}

static int teardown(void **state)
{
    warm_spec_fini(&warm);
    return token_teardown(state);
}

/* Right claims, with the spec spec. */
static struct activate_claims claims(struct json *spec)
{
    struct activate_claims c = {.iss = ISS,
                                .aud = POD,
                                .sid = SID,
                                .jti = JTI,
                                .spec = spec,
                                .iat = NOW,
                                .nbf = NOW,
                                .exp = NOW + TOKEN_LIFE_S};

    memcpy(c.key, session_key, sizeof(c.key));
    return c;
}

static char *sign(struct activate_claims *c, const struct token_signer *by)
{
    struct err e = {0};
    char *token = activate_token_sign(by, c, &e);

    if (!token)
        fail_msg("%s", e.text);
    activate_claims_fini(c);
    return token;
}

/* The payload of a right activation, for bending as text. */
static char *payload(void)
{
    own_json struct json *spec = spec_fixture();
    own_mem char *text = json_text(spec);
    char key[64];

    base64url_encode(session_key, sizeof(session_key), key);
    return mem_printf("{\"iss\":\"" ISS "\",\"aud\":\"" POD "\",\"sid\":\"" SID
                      "\",\"jti\":\"" JTI "\",\"key\":\"%s\",\"spec\":%s,"
                      "\"iat\":%d,\"nbf\":%d,\"exp\":%d}",
                      key, text, NOW, NOW, NOW + TOKEN_LIFE_S);
}

/* want: ERR_NONE = it is taken. */
static void judged(const char *token, int64_t now, enum err_kind want,
                   const char *why)
{
    struct activation a;
    struct err e = {0};
    int r = activation_read(&warm, pool_key, POD, token, strlen(token), now, &a,
                            &e);

    if (r == 0)
        activation_fini(&a);
    if ((r == 0) != (want == ERR_NONE) || e.kind != want ||
        (why && !strstr(e.text, why)))
        fail_msg("wanted %s \"%s\", got %s \"%s\"", err_word(want),
                 why ? why : "", err_word(e.kind), e.text);
}

static void a_right_one_is_taken(void **state)
{
    struct activate_claims c = claims(spec_fixture());
    own_mem char *token = sign(&c, signer);
    own_mem char *body = payload();
    own_mem char *head = forge_head(signer, TOKEN_TYP_ACTIVATE);
    own_mem char *same = forge_token(signer, head, body);
    struct activation a;
    struct err e = {0};

    (void)state;
    judged(same, NOW, ERR_NONE, NULL);
    assert_int_equal(activation_read(&warm, pool_key, POD, token, strlen(token),
                                     NOW, &a, &e),
                     0);
    assert_string_equal(a.spec.sid, SID);
    assert_string_equal(a.claims.jti, JTI);
    assert_memory_equal(a.claims.key, session_key, 32);
    assert_true(activation_is(a.digest, token, strlen(token)));
    assert_false(activation_is(a.digest, token, strlen(token) - 1));
    activation_fini(&a);
}

static void refused(struct activate_claims *c, const char *why)
{
    own_mem char *token = sign(c, signer);

    judged(token, NOW, ERR_TOKEN, why);
}

static void who_signs_and_when_is_judged(void **state)
{
    struct activate_claims c = claims(spec_fixture());
    own_mem char *good_one = sign(&c, signer), *by_stranger = NULL;

    (void)state;
    c = claims(spec_fixture());
    by_stranger = sign(&c, stranger);
    judged(by_stranger, NOW, ERR_TOKEN, "kid names no key");
    judged(good_one, NOW + TOKEN_LIFE_S + TOKEN_SKEW_S, ERR_TOKEN, "expired");
    judged(good_one, NOW - TOKEN_SKEW_S - 1, ERR_TOKEN, "not valid yet");
    c = claims(spec_fixture());
    c.exp++;
    refused(&c, "longer than");
    c = claims(spec_fixture());
    c.aud[0] = '4';
    refused(&c, "another audience");
    c = claims(spec_fixture());
    snprintf(c.iss, sizeof(c.iss), "https://else.test");
    refused(&c, "another issuer");
}

static void other_kinds_of_tokens_are_refused(void **state)
{
    static const char *const typs[] = {TOKEN_TYP_SESSION, TOKEN_TYP_IDENTITY,
                                       "podterm-activate"};
    own_mem char *body = payload();
    own_mem char *none = mem_printf(
        "{\"alg\":\"none\",\"typ\":\"" TOKEN_TYP_ACTIVATE "\",\"kid\":\"%s\"}",
        token_signer_kid(signer));
    own_mem char *hs = mem_printf(
        "{\"alg\":\"HS256\",\"typ\":\"" TOKEN_TYP_ACTIVATE "\",\"kid\":\"%s\"}",
        token_signer_kid(signer));
    own_mem char *as_none = forge_token(signer, none, body);
    own_mem char *as_hs = forge_hs256(signer, hs, body);
    struct err e = {0};
    own_mem char *session = session_token_sign(signer, &good, &e);

    (void)state;
    for (size_t i = 0; i < sizeof(typs) / sizeof(typs[0]); i++) {
        own_mem char *head = forge_head(signer, typs[i]);
        own_mem char *token = forge_token(signer, head, body);

        judged(token, NOW, ERR_TOKEN, "another kind");
    }
    judged(session, NOW, ERR_TOKEN, "another kind");
    judged(as_none, NOW, ERR_TOKEN, "alg is not RS256");
    judged(as_hs, NOW, ERR_TOKEN, "alg is not RS256");
    judged("", NOW, ERR_TOKEN, "three parts");
}

/* A session token's judge takes none of these, and has its own limit. */
static void an_activation_is_no_session_token(void **state)
{
    struct activate_claims c = claims(spec_fixture());
    own_mem char *token = sign(&c, signer), *padded = NULL, *big = NULL;
    struct err e = {0};

    (void)state;
    if (strlen(token) <= TOKEN_MAX)
        assert_rule("kind", session_rule(token, strlen(token), NOW),
                    "another kind");
    c = claims(spec_fixture());
    padded = mem_zero(TOKEN_MAX + 1, 1);
    memset(padded, 'x', TOKEN_MAX);
    json_set_str(json_set(c.spec, "env", json_object()), "A", padded);
    big = sign(&c, signer);
    assert_true(strlen(big) > TOKEN_MAX);
    judged(big, NOW, ERR_NONE, NULL);
    assert_rule("length", session_rule(big, strlen(big), NOW), "too long");
    c = claims(spec_fixture());
    for (int i = 0; i < 32; i++) {
        own_mem char *name = mem_printf("A%d", i);

        json_set_str(c.spec, name, padded);
    }
    assert_null(activate_token_sign(signer, &c, &e));
    assert_int_equal(e.kind, ERR_INPUT);
    activate_claims_fini(&c);
}

/* from -> to in the payload's text. */
static void bent(const char *from, const char *to, const char *why)
{
    own_mem char *body = payload(), *token = NULL, *other = NULL;
    own_mem char *head = forge_head(signer, TOKEN_TYP_ACTIVATE);
    char *at = strstr(body, from);

    if (!at)
        fail_msg("the payload has no %s", from);
    *at = 0;
    other = mem_printf("%s%s%s", body, to, at + strlen(from));
    token = forge_token(signer, head, other);
    judged(token, NOW, ERR_INPUT, why);
}

static void what_it_says_must_be_of_its_form(void **state)
{
    (void)state;
    bent("\"sid\":\"" SID "\",\"jti\"", "\"jti\"", "sid is missing");
    bent("\"sid\":\"" SID "\",\"jti\"",
         "\"sid\":\"zzzzzzzzzzzzzzzzzzzzzzzzzz\",\"jti\"", "another session");
    bent("\"jti\":\"" JTI "\",", "\"jti\":\"2\",", "jti");
    bent("\"jti\":\"" JTI "\",", "", "jti");
    bent("\"jti\":\"" JTI "\",", "\"jti\":\"" JTI "\",\"sub\":\"x\",",
         "unknown claim");
    bent("\"key\":\"", "\"key\":\"A", "no key");
}

static void the_spec_is_judged_as_a_files(void **state)
{
    static const struct {
        const char *path, *text, *why;
    } cases[] = {
        {"bundle", NULL, "bundle"},
        {"ring_bytes", "70000", "ring_bytes"},
        {"surplus", "1", "surplus"},
        {"sid", "\"zzzzzzzzzzzzzzzzzzzzzzzzzz\"", "another session"},
        {"token.iss", "\"https://else.test\"", "another installation"},
        {"token.aud", "\"else\"", "another installation"},
        {"psk_id", "\"" POOL_ID "\"", "the pool's"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct json *spec = spec_fixture();
        struct activate_claims c;
        own_mem char *token = NULL;

        if (strcmp(cases[i].path, "surplus") == 0)
            json_set_int(spec, "surplus", 1);
        else
            spec = spec_bend(spec, cases[i].path, cases[i].text);
        c = claims(spec);
        token = sign(&c, signer);
        judged(token, NOW, ERR_INPUT, cases[i].why);
    }
}

static void the_pools_key_is_no_sessions(void **state)
{
    struct activate_claims c = claims(spec_fixture());
    own_mem char *token = NULL;

    (void)state;
    memcpy(c.key, pool_key, sizeof(c.key));
    token = sign(&c, signer);
    judged(token, NOW, ERR_INPUT, "the pool's");
}

/* --- the warm spec --- */

static void a_warm_spec_is_strict(void **state)
{
    static const struct {
        const char *path, *text, *why;
    } cases[] = {
        {"v", "2", "v must be 1"},
        {"warm", "1", "warm must be"},
        {"warm.pool", "\"\"", "pool"},
        {"warm.pool", "\"a b\"", "pool"},
        {"warm.psk_id", "\"x\"", "psk_id"},
        {"warm.max_age_s", "0", "max_age_s"},
        {"warm.max_age_s", "86401", "max_age_s"},
        {"token", NULL, "token"},
        {"token.skew_s", "31", "skew_s"},
        {"token.jwks", "{\"keys\":[]}", "jwks"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        own_json struct json *root =
            spec_bend(warm_fixture(), cases[i].path, cases[i].text);
        struct warm_spec w;
        struct err e = {0};

        assert_int_equal(warm_spec_of(root, &w, &e), -1);
        assert_int_equal(e.kind, ERR_INPUT);
        if (!strstr(e.text, cases[i].why))
            fail_msg("%s: \"%s\"", cases[i].path, e.text);
    }
}

static void a_warm_spec_has_nothing_more(void **state)
{
    static const char *const at[] = {"", "warm"};

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        own_json struct json *root = warm_fixture();
        struct json *in =
            at[i][0] ? (struct json *)(uintptr_t)json_get(root, at[i]) : root;
        struct warm_spec w;
        struct err e = {0};

        json_set_int(in, "more", 1);
        assert_int_equal(warm_spec_of(root, &w, &e), -1);
        assert_non_null(strstr(e.text, "more"));
    }
}

/* --- keeping --- */

static void what_is_kept_is_resumed_as_a_session(void **state)
{
    char *dir = scratch_new();
    own_mem char *path = mem_printf("%s/agent.state", dir);
    struct activate_claims c = claims(spec_fixture());
    own_mem char *token = sign(&c, signer);
    struct warmfile *f;
    struct state s = {0};
    struct agent_spec spec = {0};
    struct activation a;
    struct err e = {0};
    bool is_fresh;

    (void)state;
    f = warmfile_open(path, &is_fresh, &e);
    assert_true(f && is_fresh);
    f->cookie_used = 1;
    assert_false(state_is_there(path));
    assert_int_equal(activation_read(&warm, pool_key, POD, token, strlen(token),
                                     NOW, &a, &e),
                     0);
    assert_int_equal(activation_keep(&a, f, path, &e), 0);
    assert_true(state_is_there(path));
    assert_int_equal(specfile_load("/nowhere", path, &s, &spec, &e), 0);
    assert_true(s.is_resumed);
    assert_int_equal(s.head->is_activated, 1);
    assert_int_equal(s.head->phase, PHASE_NEW);
    assert_int_equal(s.head->cookie_used, 1);
    assert_memory_equal(s.head->cookie, f->cookie, sizeof(f->cookie));
    assert_memory_equal(s.head->key, session_key, 32);
    assert_memory_equal(s.head->activation, a.digest, 32);
    assert_int_equal(s.head->cols, 80);
    assert_string_equal(spec.sid, SID);
    assert_string_equal(spec.env[0], "API_KEY=" SPEC_SECRET);
    spec_fini(&spec);
    state_close(&s);
    activation_fini(&a);
    warmfile_close(f);
    f = warmfile_open(path, &is_fresh, &e);
    assert_true(f && !is_fresh && f->cookie_used);
    warmfile_close(f);
    scratch_remove(dir);
}

static void what_cannot_be_kept_leaves_nothing(void **state)
{
    char *dir = scratch_new();
    own_mem char *path = mem_printf("%s/agent.state", dir);
    own_mem char *beside = mem_printf("%s/agent.state.new/x", dir);
    own_mem char *mkdir = mem_printf("mkdir -p %s", beside);
    struct activate_claims c = claims(spec_fixture());
    own_mem char *token = sign(&c, signer);
    struct warmfile f = {0};
    struct activation a;
    struct err e = {0};

    (void)state;
    assert_int_equal(system(mkdir), 0);
    assert_int_equal(activation_read(&warm, pool_key, POD, token, strlen(token),
                                     NOW, &a, &e),
                     0);
    assert_int_equal(activation_keep(&a, &f, path, &e), -1);
    assert_int_equal(e.kind, ERR_SYSTEM);
    assert_false(state_is_there(path));
    activation_fini(&a);
    scratch_remove(dir);
}

static void a_warm_agents_file_that_is_not_ours_is_refused(void **state)
{
    char *dir = scratch_new();
    own_mem char *path = mem_printf("%s/agent.state", dir);
    own_mem char *file = mem_printf("%s" WARMFILE_SUFFIX, path);
    struct err e = {0};
    bool is_fresh;
    FILE *f = fopen(file, "w");

    (void)state;
    fputs("garbage that is no such file", f);
    fclose(f);
    chmod(file, 0644);
    assert_null(warmfile_open(path, &is_fresh, &e));
    chmod(file, 0600);
    assert_null(warmfile_open(path, &is_fresh, &e));
    assert_int_equal(e.kind, ERR_SYSTEM);
    scratch_remove(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_right_one_is_taken),
        cmocka_unit_test(who_signs_and_when_is_judged),
        cmocka_unit_test(other_kinds_of_tokens_are_refused),
        cmocka_unit_test(an_activation_is_no_session_token),
        cmocka_unit_test(what_it_says_must_be_of_its_form),
        cmocka_unit_test(the_spec_is_judged_as_a_files),
        cmocka_unit_test(the_pools_key_is_no_sessions),
        cmocka_unit_test(a_warm_spec_is_strict),
        cmocka_unit_test(a_warm_spec_has_nothing_more),
        cmocka_unit_test(what_is_kept_is_resumed_as_a_session),
        cmocka_unit_test(what_cannot_be_kept_leaves_nothing),
        cmocka_unit_test(a_warm_agents_file_that_is_not_ours_is_refused),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
