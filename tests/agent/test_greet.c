/* HELLO's judgement, as a stolen gateway or an old client would try it, and
 * the JSON an attachment is answered with. */
#include "agent/greet.h"

#include "base/mem.h"
#include "base/own.h"
#include "tests/lib/forge.h"
#include "tests/lib/programs.h"
#include "tests/lib/spec_fixture.h"
#include "tests/lib/token_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define OTHER_ID "zzzzzzzzzzzzzzzzzzzzzzzzzz"

struct bench {
    char *dir, *path;
    struct state state;
    struct agent_spec spec;
    struct greet greet;
    struct err e;
};

static int setup(void **arg)
{
    struct bench *b = mem_zero(1, sizeof(*b));
    own_json struct json *j = spec_fixture();

    b->dir = scratch_new();
    b->path = mem_printf("%s/agent.state", b->dir);
    assert_int_equal(spec_of(j, &b->spec, &b->e), 0);
    assert_int_equal(state_open(&b->state, b->path, STATE_RING_MIN, &b->e), 0);
    assert_int_equal(state_spec_set(&b->state, "{}", 2, "", 0, &b->e), 0);
    *arg = b;
    return 0;
}

static int teardown(void **arg)
{
    struct bench *b = *arg;

    state_close(&b->state);
    spec_fini(&b->spec);
    scratch_remove(b->dir);
    free(b->path);
    free(b);
    return 0;
}

/* --- saying HELLO --- */

static int hello_at(struct bench *b, const char *body, int64_t now_s)
{
    struct frame f = {.type = FRAME_HELLO,
                      .body = (const uint8_t *)body,
                      .body_len = strlen(body)};

    b->e = (struct err){0};
    memset(&b->greet, 0x5a, sizeof(b->greet));
    return greet_hello(&b->spec, &b->state, &f, now_s, &b->greet, &b->e);
}

/* With more members behind the token, or "". */
static int hello_with(struct bench *b, const char *token, const char *more,
                      int64_t now_s)
{
    own_mem char *body = mem_printf("{\"token\":\"%s\"%s}", token, more);

    return hello_at(b, body, now_s);
}

static char *sign_by(const struct token_signer *by,
                     const struct session_claims *c)
{
    struct err e = {0};
    char *token = session_token_sign(by, c, &e);

    if (!token)
        fail_msg("%s", e.text);
    return token;
}

/* A fresh token of these claims, each with a token id of its own. */
static char *sign(const struct session_claims *claims)
{
    static unsigned serial;
    struct session_claims c = *claims;
    unsigned n = ++serial;

    for (int i = 0; i < 6; i++, n >>= 4)
        c.jti[i] = (char)('a' + (n & 15));
    return sign_by(signer, &c);
}

static void refused(struct bench *b, const char *token, int64_t now_s,
                    enum err_kind kind, const char *why)
{
    struct greet before;

    memset(&before, 0x5a, sizeof(before));
    if (hello_with(b, token, "", now_s) == 0)
        fail_msg("taken, though %s", why);
    if (b->e.kind != kind || !strstr(b->e.text, why))
        fail_msg("expected %s \"%s\", got %s \"%s\"", err_word(kind), why,
                 err_word(b->e.kind), b->e.text);
    assert_memory_equal(&b->greet, &before, sizeof(before));
    assert_null(strstr(b->e.text, token));
}

static void claims_refused(struct bench *b, const struct session_claims *c,
                           enum err_kind kind, const char *why)
{
    own_mem char *token = sign(c);

    refused(b, token, NOW, kind, why);
}

static void taken(struct bench *b, const struct session_claims *c,
                  const char *more, int64_t now_s)
{
    own_mem char *token = sign(c);

    if (hello_with(b, token, more, now_s) < 0)
        fail_msg("%s", b->e.text);
}

/* --- who may --- */

static void an_owner_a_viewer_and_a_control_are_taken(void **arg)
{
    struct bench *b = *arg;
    struct session_claims c = good;

    taken(b, &c, ",\"cols\":91,\"rows\":33", NOW);
    assert_int_equal(b->greet.role, ROLE_OWNER);
    assert_int_equal(b->greet.cols, 91);
    assert_int_equal(b->greet.rows, 33);
    assert_int_equal(b->greet.output_from, 0);
    c.role = ROLE_CONTROL;
    taken(b, &c, "", NOW);
    assert_int_equal(b->greet.role, ROLE_CONTROL);
    assert_int_equal(b->greet.cols, 0);
    c.role = ROLE_VIEWER;
    snprintf(c.sub, sizeof(c.sub), SPEC_VIEWER);
    taken(b, &c, "", NOW);
    assert_int_equal(b->greet.role, ROLE_VIEWER);
}

static void another_session_or_bundle_is_refused(void **arg)
{
    struct session_claims c = good;

    snprintf(c.sid, sizeof(c.sid), OTHER_ID);
    claims_refused(*arg, &c, ERR_TOKEN, "another session");
    c = good;
    c.bnd[0] = 'c';
    claims_refused(*arg, &c, ERR_TOKEN, "another bundle");
}

static void another_user_is_refused_in_every_role(void **arg)
{
    static const char *const subs[] = {"mallory", "alic", "alice2", "Alice"};
    struct session_claims c = good;

    for (size_t i = 0; i < COUNT(subs); i++) {
        snprintf(c.sub, sizeof(c.sub), "%s", subs[i]);
        c.role = ROLE_OWNER;
        claims_refused(*arg, &c, ERR_DENIED, "not the owner");
        c.role = ROLE_CONTROL;
        claims_refused(*arg, &c, ERR_DENIED, "not the owner");
        c.role = ROLE_VIEWER;
        claims_refused(*arg, &c, ERR_DENIED, "no viewer");
    }
    /* a viewer does not grow into an owner, nor does an owner watch unasked */
    snprintf(c.sub, sizeof(c.sub), SPEC_VIEWER);
    c.role = ROLE_OWNER;
    claims_refused(*arg, &c, ERR_DENIED, "not the owner");
    snprintf(c.sub, sizeof(c.sub), "alice");
    c.role = ROLE_VIEWER;
    claims_refused(*arg, &c, ERR_DENIED, "no viewer");
}

/* --- when --- */

static void times_hold_within_the_skew_alone(void **arg)
{
    struct bench *b = *arg;
    struct session_claims c = good;

    taken(b, &c, "", good.exp + 29);
    {
        own_mem char *token = sign(&c);

        refused(b, token, good.exp + 30, ERR_TOKEN, "exp");
        refused(b, token, good.exp + 3600, ERR_TOKEN, "exp");
        refused(b, token, good.nbf - 31, ERR_TOKEN, "not valid yet");
    }
    taken(b, &c, "", good.nbf - 30);
    c.nbf = NOW + 31; /* alone in the future */
    claims_refused(b, &c, ERR_TOKEN, "not valid yet");
    c = good;
    c.iat = c.nbf = NOW + 31;
    c.exp = NOW + 91;
    claims_refused(b, &c, ERR_TOKEN, "");
    c = good;
    c.exp = NOW + 10 * 365 * 86400; /* no token lives that long */
    claims_refused(b, &c, ERR_TOKEN, "");
    b->spec.token_skew_s = 0;
    c = good;
    {
        own_mem char *token = sign(&c);

        refused(b, token, good.exp, ERR_TOKEN, "exp");
    }
    taken(b, &c, "", good.exp - 1);
}

static void a_token_is_taken_once(void **arg)
{
    struct bench *b = *arg;
    own_mem char *token = sign(&good);
    struct session_claims c = good;
    own_mem char *twin = NULL;

    assert_int_equal(hello_with(b, token, "", NOW), 0);
    refused(b, token, NOW, ERR_TOKEN, "used before");
    /* as long as its times would let it through */
    refused(b, token, good.exp + 29, ERR_TOKEN, "used before");
    refused(b, token, good.exp + 30, ERR_TOKEN, "exp");
    /* another token with the same id is no other use */
    assert_int_equal(hello_with(b, token, "", NOW), -1);
    c.role = ROLE_CONTROL;
    snprintf(c.jti, sizeof(c.jti), JTI);
    twin = sign_by(signer, &good);
    assert_int_equal(hello_with(b, twin, "", NOW), 0);
    free(twin);
    twin = sign_by(standby, &c);
    refused(b, twin, NOW, ERR_TOKEN, "used before");
}

static void a_token_is_taken_once_across_a_restart(void **arg)
{
    struct bench *b = *arg;
    own_mem char *token = sign(&good);

    assert_int_equal(hello_with(b, token, "", NOW), 0);
    state_close(&b->state); /* what a killed agent leaves is the file */
    assert_int_equal(state_open(&b->state, b->path, STATE_RING_MIN, &b->e), 0);
    assert_true(b->state.is_resumed);
    refused(b, token, NOW + 1, ERR_TOKEN, "used before");
    refused(b, token, good.exp + 29, ERR_TOKEN, "used before");
}

static void a_refused_token_uses_no_place_up(void **arg)
{
    struct bench *b = *arg;
    struct session_claims c = good;

    snprintf(c.sub, sizeof(c.sub), "mallory");
    for (int i = 0; i < STATE_JTIS + 10; i++)
        claims_refused(b, &c, ERR_DENIED, "not the owner");
    taken(b, &good, "", NOW);
}

static void too_many_tokens_at_once_are_told_to_wait(void **arg)
{
    struct bench *b = *arg;
    struct session_claims later = good;

    for (int i = 0; i < STATE_JTIS; i++)
        taken(b, &good, "", NOW);
    claims_refused(b, &good, ERR_BUSY, "256");
    /* none is forgotten before the last second it could be used in */
    later.iat = later.nbf = good.exp + TOKEN_SKEW_S;
    later.exp = later.iat + TOKEN_LIFE_S;
    {
        own_mem char *token = sign(&later);

        refused(b, token, later.iat, ERR_BUSY, "256");
    }
    taken(b, &later, "", later.iat + 1);
}

/* --- what kind --- */

static void what_is_signed_otherwise_is_refused(void **arg)
{
    struct bench *b = *arg;
    own_mem char *head = forge_head(signer, TOKEN_TYP_SESSION);
    own_mem char *strangers = forge_head(stranger, TOKEN_TYP_SESSION);
    own_mem char *activate = forge_head(signer, TOKEN_TYP_ACTIVATE);
    own_mem char *jwt = forge_head(signer, TOKEN_TYP_IDENTITY);
    own_mem char *hs = mem_printf("{\"alg\":\"HS256\",\"typ\":\"%s\","
                                  "\"kid\":\"%s\"}",
                                  TOKEN_TYP_SESSION, token_signer_kid(signer));
    own_mem char *body = session_body(), *id_body = identity_body();
    char *tokens[] = {
        forge_token(stranger, strangers, body), /* a key nobody listed */
        forge_token(stranger, head, body),      /* under a listed one's name */
        forge_token(signer, activate, body),
        forge_token(signer, jwt, body),
        forge_token(signer, jwt, id_body), /* an identity token, valid */
        forge_token(signer, head, id_body),
        forge_token(signer, hs, body),
        forge_hs256(signer, hs, body),
        forge_token(signer,
                    "{\"alg\":\"none\",\"typ\":\"" TOKEN_TYP_SESSION "\"}",
                    body),
        forge_token(signer, head, body),
    };
    char *last = tokens[COUNT(tokens) - 1];

    for (size_t i = 0; i + 1 < COUNT(tokens); i++)
        refused(b, tokens[i], NOW, ERR_TOKEN, "");
    last[strlen(last) - 10] ^= 1; /* a bit of its signature */
    refused(b, last, NOW, ERR_TOKEN, "");
    last[strlen(last) - 10] ^= 1;
    assert_int_equal(hello_with(b, last, "", NOW), 0);
    for (size_t i = 0; i < COUNT(tokens); i++)
        free(tokens[i]);
}

static void another_issuer_or_audience_is_refused(void **arg)
{
    struct session_claims c = good;

    snprintf(c.iss, sizeof(c.iss), "https://elsewhere.test");
    claims_refused(*arg, &c, ERR_TOKEN, "iss");
    c = good;
    snprintf(c.aud, sizeof(c.aud), "podterm-prod");
    claims_refused(*arg, &c, ERR_TOKEN, "aud");
}

/* --- HELLO itself --- */

static void a_malformed_hello_is_refused_and_spends_nothing(void **arg)
{
    static const char *const more[] = {
        ",\"cols\":80",
        ",\"rows\":24",
        ",\"cols\":0,\"rows\":24",
        ",\"cols\":80,\"rows\":1001",
        ",\"cols\":80.5,\"rows\":24",
        ",\"cols\":\"80\",\"rows\":24",
        ",\"cols\":null,\"rows\":null",
        ",\"output_from\":-1",
        ",\"output_from\":1",
        ",\"output_from\":\"0\"",
        ",\"output_from\":9007199254740993",
        ",\"output_from\":1e300",
        ",\"newer\":1",
        ",\"token\":\"x\"",
        ",\"\\u0000\":1",
        "}x",
    };
    static const char *const bodies[] = {"",
                                         "{}",
                                         "null",
                                         "[]",
                                         "\"token\"",
                                         "{\"token\":7}",
                                         "{\"token\":null}",
                                         "{\"token\":\"\"}",
                                         "{\"token\":\"a.b.c\"}"};
    struct bench *b = *arg;
    own_mem char *token = sign(&good);

    for (size_t i = 0; i < COUNT(more); i++) {
        if (hello_with(b, token, more[i], NOW) == 0)
            fail_msg("taken: %s", more[i]);
        assert_int_equal(b->e.kind, ERR_INPUT);
    }
    for (size_t i = 0; i < COUNT(bodies); i++) {
        assert_int_equal(hello_at(b, bodies[i], NOW), -1);
        assert_true(b->e.kind == ERR_INPUT || b->e.kind == ERR_TOKEN);
    }
    assert_int_equal(hello_with(b, token, "", NOW), 0);
}

static void output_starts_within_what_is_kept(void **arg)
{
    struct bench *b = *arg;
    struct session_claims viewer = good;

    b->state.head->output_oldest = 1000;
    b->state.head->output_end = 5000;
    taken(b, &good, "", NOW);
    assert_int_equal(b->greet.output_from, 1000);
    taken(b, &good, ",\"output_from\":0", NOW);
    assert_int_equal(b->greet.output_from, 1000);
    taken(b, &good, ",\"output_from\":4999", NOW);
    assert_int_equal(b->greet.output_from, 4999);
    taken(b, &good, ",\"output_from\":5000", NOW);
    assert_int_equal(b->greet.output_from, 5000);
    viewer.role = ROLE_VIEWER;
    snprintf(viewer.sub, sizeof(viewer.sub), SPEC_VIEWER);
    taken(b, &viewer, ",\"output_from\":2000", NOW);
    assert_int_equal(b->greet.output_from, 2000);
    b->spec.viewer_history = false;
    taken(b, &viewer, ",\"output_from\":2000", NOW);
    assert_int_equal(b->greet.output_from, 5000);
    taken(b, &good, ",\"output_from\":2000", NOW);
    assert_int_equal(b->greet.output_from, 2000);
}

/* --- what is answered --- */

static void refusals_are_told_in_fixed_sentences(void **arg)
{
    (void)arg;
    for (int k = ERR_NONE; k < ERR_KIND_COUNT + 1; k++) {
        const char *text = greet_sentence((enum err_kind)k);

        assert_non_null(text);
        assert_int_equal(text[strlen(text) - 1], '.');
    }
    assert_string_not_equal(greet_sentence(ERR_TOKEN),
                            greet_sentence(ERR_DENIED));
}

static void ready_shows_the_session_and_no_query(void **arg)
{
    struct bench *b = *arg;
    own_json struct json *j = NULL;
    own_mem char *text = NULL;
    int64_t n;

    b->state.head->input_received = 77;
    b->state.head->cols = 91;
    b->state.head->rows = 33;
    j = greet_ready(&b->spec, b->state.head, ROLE_VIEWER, 1234);
    assert_string_equal(json_get_str(j, "sid"), SID);
    assert_string_equal(json_get_str(j, "role"), "viewer");
    assert_int_equal(json_get_int(j, "output_from", &n), 0);
    assert_int_equal(n, 1234);
    assert_int_equal(json_get_int(j, "input_received", &n), 0);
    assert_int_equal(n, 77);
    assert_int_equal(json_get_int(j, "window", &n), 0);
    assert_int_equal(n, 262144);
    assert_int_equal(json_get_int(j, "input_window", &n), 0);
    assert_int_equal(n, 65536);
    assert_int_equal(json_get_int(json_get(j, "size"), "rows", &n), 0);
    assert_int_equal(n, 33);
    assert_string_equal(json_get_str(json_get(j, "bundle"), "url"),
                        "https://example.com/b.tar.gz");
    assert_string_equal(json_get_str(json_get(j, "bundle"), "sha256"), BND);
    assert_string_equal(json_get_str(j, "isolation"), "full");
    assert_string_equal(json_get_str(j, "egress"), "none");
    text = json_text(j);
    assert_null(strstr(text, "s3cret"));
    assert_null(strstr(text, SPEC_SECRET));
}

static void exit_has_a_code_or_a_signal_or_neither(void **arg)
{
    struct bench *b = *arg;
    struct state_head *h = b->state.head;
    struct json *j;
    int64_t n;

    h->reason = REASON_EXITED;
    h->exit_kind = 0;
    h->exit_value = 7;
    h->output_end = 4096;
    j = greet_exit(h);
    assert_string_equal(json_get_str(j, "reason"), "exited");
    assert_int_equal(json_get_int(j, "code", &n), 0);
    assert_int_equal(n, 7);
    assert_int_equal(json_get_int(j, "output_end", &n), 0);
    assert_int_equal(n, 4096);
    assert_null(json_get(j, "signal"));
    assert_null(json_get(j, "detail"));
    json_free(j);
    h->exit_kind = 1;
    j = greet_exit(h);
    assert_null(json_get(j, "code"));
    assert_int_equal(json_get_int(j, "signal", &n), 0);
    json_free(j);
    h->exit_kind = -1;
    j = greet_exit(h);
    assert_null(json_get(j, "code"));
    assert_null(json_get(j, "signal"));
    json_free(j);
}

static void a_stage_and_a_notice_have_their_times(void **arg)
{
    struct bench *b = *arg;
    struct state_stage st = {.stage = "fetch", .state = "running", .ms = 12};
    struct json *j = greet_stage(&st);
    int64_t n;

    assert_string_equal(json_get_str(j, "stage"), "fetch");
    assert_null(json_get(j, "done"));
    assert_null(json_get(j, "total"));
    assert_null(json_get(j, "detail"));
    json_free(j);
    st.total = 100;
    snprintf(st.detail, sizeof(st.detail), "from the cache");
    j = greet_stage(&st);
    assert_int_equal(json_get_int(j, "done", &n), 0);
    assert_int_equal(n, 0);
    assert_int_equal(json_get_int(j, "total", &n), 0);
    assert_int_equal(n, 100);
    assert_string_equal(json_get_str(j, "detail"), "from the cache");
    json_free(j);
    b->state.head->created_ms = 5000;
    j = greet_notice(b->state.head, "soon", 5250);
    assert_int_equal(json_get_int(j, "ms", &n), 0);
    assert_int_equal(n, 250);
    assert_string_equal(json_get_str(j, "detail"), "soon");
    json_free(j);
}

/* Each message with the longest strings there can be, all to be escaped. */
static void the_largest_bodies_fit_their_messages(void **arg)
{
    struct bench *b = *arg;
    struct state_head *h = b->state.head;
    struct state_stage st = {.ms = INT64_C(1) << 52,
                             .done = INT64_C(1) << 52,
                             .total = INT64_C(1) << 52};
    static uint8_t out[FRAME_DOWN_MAX];
    struct frame f;
    struct json *j;
    size_t len;

    memset(b->spec.bundle_url, '"', URL_MAX - 1);
    h->output_end = h->input_received = INT64_C(1) << 52;
    j = greet_ready(&b->spec, h, ROLE_CONTROL, h->output_end);
    len = greet_json(out, FRAME_HELLO_MAX, FRAME_READY, j);
    assert_int_equal(frame_parse(out, len, false, &f), 0);
    json_free(j);

    memset(h->detail, 1, sizeof(h->detail) - 1);
    h->reason = REASON_BUNDLE_REFUSED;
    h->exit_kind = 1;
    h->exit_value = INT32_MIN;
    j = greet_exit(h);
    len = greet_json(out, sizeof(out), FRAME_EXIT, j);
    assert_int_equal(frame_parse(out, len, false, &f), 0);
    json_free(j);

    memset(st.stage, 1, sizeof(st.stage) - 1);
    memset(st.state, 1, sizeof(st.state) - 1);
    memset(st.detail, 1, sizeof(st.detail) - 1);
    j = greet_stage(&st);
    len = greet_json(out, sizeof(out), FRAME_STAGE, j);
    assert_int_equal(frame_parse(out, len, false, &f), 0);
    json_free(j);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(an_owner_a_viewer_and_a_control_are_taken),
        T(another_session_or_bundle_is_refused),
        T(another_user_is_refused_in_every_role),
        T(times_hold_within_the_skew_alone),
        T(a_token_is_taken_once),
        T(a_token_is_taken_once_across_a_restart),
        T(a_refused_token_uses_no_place_up),
        T(too_many_tokens_at_once_are_told_to_wait),
        T(what_is_signed_otherwise_is_refused),
        T(another_issuer_or_audience_is_refused),
        T(a_malformed_hello_is_refused_and_spends_nothing),
        T(output_starts_within_what_is_kept),
        T(refusals_are_told_in_fixed_sentences),
        T(ready_shows_the_session_and_no_query),
        T(exit_has_a_code_or_a_signal_or_neither),
        T(a_stage_and_a_notice_have_their_times),
        T(the_largest_bodies_fit_their_messages),
    };

    return cmocka_run_group_tests(tests, token_setup, token_teardown);
}
