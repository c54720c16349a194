// link: -ljwt
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

#include <jwt.h>
#include <stdlib.h>
#include <string.h>

/* --- what is taken --- */

static void a_session_token_comes_back_as_it_was_signed(void **state)
{
    own_mem char *token = NULL;
    struct session_claims c = {0};
    bool unknown = true;
    struct err e = {0};

    (void)state;
    token = session_token_sign(signer, &good, &e);
    assert_non_null(token);
    assert_int_equal(session_token_verify(keys, token, strlen(token), ISS, AUD,
                                          NOW, 0, &c, &unknown, &e),
                     0);
    assert_false(unknown);
    assert_string_equal(c.iss, good.iss);
    assert_string_equal(c.aud, good.aud);
    assert_string_equal(c.sub, good.sub);
    assert_string_equal(c.sid, good.sid);
    assert_string_equal(c.jti, good.jti);
    assert_string_equal(c.bnd, good.bnd);
    assert_int_equal(c.role, ROLE_OWNER);
    assert_true(c.iat == good.iat && c.nbf == good.nbf && c.exp == good.exp);
}

static void a_token_of_the_standby_key_is_taken(void **state)
{
    own_mem char *token = NULL;
    struct err e = {0};

    (void)state;
    token = session_token_sign(standby, &good, &e);
    assert_rule("standby", session_rule(token, strlen(token), NOW), NULL);
}

static void a_hand_made_session_token_is_taken(void **state)
{
    own_mem char *body = session_body();
    own_mem char *head = forge_head(signer, TOKEN_TYP_SESSION);
    own_mem char *token = forge_token(signer, head, body);

    (void)state;
    /* else every forgery below could be refused for a fault of ours */
    assert_rule("forged", session_rule(token, strlen(token), NOW), NULL);
}

static void identity_tokens_may_leave_typ_out(void **state)
{
    own_mem char *body = identity_body();
    own_mem char *bare = mem_printf("{\"alg\":\"RS256\",\"kid\":\"%s\"}",
                                    token_signer_kid(signer));
    own_mem char *head = forge_head(signer, "JWT");
    own_mem char *a = forge_token(signer, bare, body);
    own_mem char *b = forge_token(signer, head, body);

    (void)state;
    assert_rule("absent", identity_rule(a, &identity), NULL);
    assert_rule("JWT", identity_rule(b, &identity), NULL);
}

static void libjwt_reads_what_we_sign(void **state)
{
    own_mem char *pem = forge_public_pem(signer);
    own_json struct json *claims = json_object();
    own_mem char *token = NULL;
    struct err e = {0};
    jwt_t *jwt = NULL;

    (void)state;
    json_set_str(claims, "sub", "alice");
    token = token_sign(signer, TOKEN_TYP_IDENTITY, claims, &e);
    assert_non_null(token);
    assert_int_equal(
        jwt_decode(&jwt, token, (const uint8_t *)pem, (int)strlen(pem)), 0);
    assert_int_equal(jwt_get_alg(jwt), JWT_ALG_RS256);
    assert_string_equal(jwt_get_header(jwt, "kid"), token_signer_kid(signer));
    assert_string_equal(jwt_get_grant(jwt, "sub"), "alice");
    jwt_free(jwt);
}

/* --- hostile forms --- */

/* Header texts over a right session payload, each rightly signed by the key
 * its kid names; KID stands for the kid. */
static const struct {
    const char *name, *head, *rule;
} heads[] = {
    {"alg none",
     "{\"alg\":\"none\",\"typ\":\"" TOKEN_TYP_SESSION "\",\"kid\":\"KID\"}",
     "alg"},
    {"alg case",
     "{\"alg\":\"rs256\",\"typ\":\"" TOKEN_TYP_SESSION "\",\"kid\":\"KID\"}",
     "alg"},
    {"alg RS512",
     "{\"alg\":\"RS512\",\"typ\":\"" TOKEN_TYP_SESSION "\",\"kid\":\"KID\"}",
     "alg"},
    {"alg HS256",
     "{\"alg\":\"HS256\",\"typ\":\"" TOKEN_TYP_SESSION "\",\"kid\":\"KID\"}",
     "alg"},
    {"alg with space",
     "{\"alg\":\"RS256 \",\"typ\":\"" TOKEN_TYP_SESSION "\",\"kid\":\"KID\"}",
     "alg"},
    {"alg a number",
     "{\"alg\":256,\"typ\":\"" TOKEN_TYP_SESSION "\",\"kid\":\"KID\"}", "alg"},
    {"alg a list",
     "{\"alg\":[\"RS256\"],\"typ\":\"" TOKEN_TYP_SESSION "\",\"kid\":\"KID\"}",
     "alg"},
    {"alg absent", "{\"typ\":\"" TOKEN_TYP_SESSION "\",\"kid\":\"KID\"}",
     "alg"},
    {"alg of another case",
     "{\"Alg\":\"RS256\",\"typ\":\"" TOKEN_TYP_SESSION "\",\"kid\":\"KID\"}",
     "header may hold"},
    {"alg twice",
     "{\"alg\":\"RS256\",\"alg\":\"none\",\"typ\":\"" TOKEN_TYP_SESSION
     "\",\"kid\":\"KID\"}",
     "strict"},
    {"alg twice, once escaped",
     "{\"alg\":\"none\",\"\\u0061lg\":\"RS256\",\"typ\":\"" TOKEN_TYP_SESSION
     "\",\"kid\":\"KID\"}",
     "strict"},
    {"kid twice",
     "{\"alg\":\"RS256\",\"kid\":\"x\",\"typ\":\"" TOKEN_TYP_SESSION
     "\",\"kid\":\"KID\"}",
     "strict"},
    {"crit",
     "{\"alg\":\"RS256\",\"crit\":[\"b64\"],\"b64\":false,\"typ\":"
     "\"" TOKEN_TYP_SESSION "\",\"kid\":\"KID\"}",
     "header may hold"},
    {"jwk",
     "{\"alg\":\"RS256\",\"jwk\":{},\"typ\":\"" TOKEN_TYP_SESSION
     "\",\"kid\":\"KID\"}",
     "header may hold"},
    {"jku",
     "{\"alg\":\"RS256\",\"jku\":\"https://"
     "evil.test\",\"typ\":\"" TOKEN_TYP_SESSION "\",\"kid\":\"KID\"}",
     "header may hold"},
    {"x5t",
     "{\"alg\":\"RS256\",\"x5t\":\"a\",\"typ\":\"" TOKEN_TYP_SESSION
     "\",\"kid\":\"KID\"}",
     "header may hold"},
    {"cty",
     "{\"alg\":\"RS256\",\"cty\":\"JWT\",\"typ\":\"" TOKEN_TYP_SESSION
     "\",\"kid\":\"KID\"}",
     "header may hold"},
    {"zip",
     "{\"alg\":\"RS256\",\"zip\":\"DEF\",\"typ\":\"" TOKEN_TYP_SESSION
     "\",\"kid\":\"KID\"}",
     "header may hold"},
    {"typ JWT", "{\"alg\":\"RS256\",\"typ\":\"JWT\",\"kid\":\"KID\"}", "typ"},
    {"typ absent", "{\"alg\":\"RS256\",\"kid\":\"KID\"}", "typ"},
    {"typ null", "{\"alg\":\"RS256\",\"typ\":null,\"kid\":\"KID\"}", "typ"},
    {"typ empty", "{\"alg\":\"RS256\",\"typ\":\"\",\"kid\":\"KID\"}", "typ"},
    {"typ of another case",
     "{\"alg\":\"RS256\",\"typ\":\"podterm-Session+jwt\",\"kid\":\"KID\"}",
     "typ"},
    {"typ activate",
     "{\"alg\":\"RS256\",\"typ\":\"" TOKEN_TYP_ACTIVATE "\",\"kid\":\"KID\"}",
     "typ"},
    {"typ longer",
     "{\"alg\":\"RS256\",\"typ\":\"" TOKEN_TYP_SESSION "x\",\"kid\":\"KID\"}",
     "typ"},
    {"typ with NUL",
     "{\"alg\":\"RS256\",\"typ\":\"" TOKEN_TYP_SESSION
     "\\u0000\",\"kid\":\"KID\"}",
     "strict"},
    {"kid absent", "{\"alg\":\"RS256\",\"typ\":\"" TOKEN_TYP_SESSION "\"}",
     "kid"},
    {"kid empty",
     "{\"alg\":\"RS256\",\"typ\":\"" TOKEN_TYP_SESSION "\",\"kid\":\"\"}",
     "kid"},
    {"kid a number",
     "{\"alg\":\"RS256\",\"typ\":\"" TOKEN_TYP_SESSION "\",\"kid\":0}", "kid"},
    {"kid a path",
     "{\"alg\":\"RS256\",\"typ\":\"" TOKEN_TYP_SESSION
     "\",\"kid\":\"../../dev/null\"}",
     "no key of the set"},
    {"a list",
     "[{\"alg\":\"RS256\",\"typ\":\"" TOKEN_TYP_SESSION "\",\"kid\":\"KID\"}]",
     "strict"},
    {"junk behind",
     "{\"alg\":\"RS256\",\"typ\":\"" TOKEN_TYP_SESSION "\",\"kid\":\"KID\"}{}",
     "strict"},
    {"byte order mark",
     "\xef\xbb\xbf{\"alg\":\"RS256\",\"typ\":\"" TOKEN_TYP_SESSION
     "\",\"kid\":\"KID\"}",
     "strict"},
    {"not JSON", "alg=RS256", "strict"},
};

/* text with the first KID replaced; the caller's */
static char *with_kid(const char *text, const char *kid)
{
    const char *at = strstr(text, "KID");

    if (!at)
        return mem_str(text);
    return mem_printf("%.*s%s%s", (int)(at - text), text, kid, at + 3);
}

static void hostile_headers_are_refused(void **state)
{
    own_mem char *body = session_body();

    (void)state;
    for (size_t i = 0; i < sizeof(heads) / sizeof(heads[0]); i++) {
        own_mem char *head = with_kid(heads[i].head, token_signer_kid(signer));
        own_mem char *token = forge_token(signer, head, body);

        assert_rule(heads[i].name, session_rule(token, strlen(token), NOW),
                    heads[i].rule);
    }
}

static void hs256_under_the_public_key_is_refused(void **state)
{
    own_mem char *head =
        mem_printf("{\"alg\":\"HS256\",\"typ\":\"JWT\",\"kid\":\"%s\"}",
                   token_signer_kid(signer));
    own_mem char *body = identity_body();
    own_mem char *token = forge_hs256(signer, head, body);
    own_mem char *pem = forge_public_pem(signer);
    jwt_t *jwt = NULL;

    (void)state;
    assert_rule("HS256", identity_rule(token, &identity), "alg");
    /* the forgery is a good one: libjwt takes it */
    assert_int_equal(
        jwt_decode(&jwt, token, (const uint8_t *)pem, (int)strlen(pem)), 0);
    jwt_free(jwt);
}

static void an_hmac_under_an_rs256_header_is_refused(void **state)
{
    own_mem char *head = forge_head(signer, TOKEN_TYP_SESSION);
    own_mem char *body = session_body();
    own_mem char *token = forge_hs256(signer, head, body);

    (void)state;
    assert_rule("HMAC", session_rule(token, strlen(token), NOW),
                "signature is wrong");
}

/* What is done to the text of a right token. */
static char *mangle(const char *token, const char *how)
{
    size_t len = strlen(token);
    char *out = mem_printf("%s____", token);
    char *dot1 = strchr(out, '.'), *dot2 = strchr(dot1 + 1, '.');

    out[len] = 0;
    if (strcmp(how, "no signature") == 0) {
        dot2[1] = 0;
    } else if (strcmp(how, "two parts") == 0) {
        dot2[0] = 0;
    } else if (strcmp(how, "four parts") == 0) {
        strcpy(out + len, ".AA");
    } else if (strcmp(how, "empty head") == 0) {
        memmove(out, dot1, strlen(dot1) + 1);
    } else if (strcmp(how, "empty body") == 0) {
        memmove(dot1 + 1, dot2, strlen(dot2) + 1);
    } else if (strcmp(how, "padding") == 0) {
        strcpy(out + len, "==");
    } else if (strcmp(how, "newline behind") == 0) {
        strcpy(out + len, "\n");
    } else if (strcmp(how, "junk behind") == 0) {
        strcpy(out + len, "!*");
    } else if (strcmp(how, "letters behind") == 0) {
        strcpy(out + len, "AAAA");
    } else if (strcmp(how, "standard alphabet") == 0) {
        for (char *c = dot2; *c; c++)
            *c = *c == '-' ? '+' : *c == '_' ? '/' : *c;
        /* whichever letters it had, now one is surely wrong */
        dot2[1] = '+';
    } else if (strcmp(how, "flipped signature") == 0) {
        dot2[7] = dot2[7] == 'A' ? 'B' : 'A';
    } else if (strcmp(how, "flipped body") == 0) {
        dot1[7] = dot1[7] == 'A' ? 'B' : 'A';
    } else if (strcmp(how, "pad bits") == 0) {
        /* 256 bytes leave four bits over: the last letter has two spellings
         * and more, all of the same bytes */
        out[len - 1] = (char)(out[len - 1] + 1);
    } else if (strcmp(how, "space before") == 0) {
        memmove(out + 1, out, len + 1);
        out[0] = ' ';
    }
    return out;
}

static void a_mangled_token_is_refused(void **state)
{
    static const char *const cases[][2] = {
        {"no signature", "three parts"},
        {"two parts", "three parts"},
        {"four parts", "canonical"},
        {"empty head", "three parts"},
        {"empty body", "three parts"},
        {"padding", "canonical"},
        {"newline behind", "canonical"},
        {"junk behind", "canonical"},
        {"letters behind", "signature is wrong"},
        {"standard alphabet", "canonical"},
        {"flipped signature", "signature is wrong"},
        {"flipped body", "signature is wrong"},
        {"pad bits", "canonical"},
        {"space before", "strict"},
    };
    own_mem char *token = NULL;
    struct err e = {0};

    (void)state;
    token = session_token_sign(signer, &good, &e);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        own_mem char *bad = mangle(token, cases[i][0]);

        assert_rule(cases[i][0], session_rule(bad, strlen(bad), NOW),
                    cases[i][1]);
    }
}

static void every_single_changed_byte_is_noticed(void **state)
{
    own_mem char *token = NULL;
    struct err e = {0};

    (void)state;
    token = session_token_sign(signer, &good, &e);
    for (size_t i = 0; token[i]; i++) {
        char was = token[i];

        token[i] = was == 'A' ? 'B' : 'A';
        if (!*session_rule(token, strlen(token), NOW))
            fail_msg("byte %zu of the token is not covered", i);
        token[i] = was;
    }
    assert_rule("restored", session_rule(token, strlen(token), NOW), NULL);
}

static void bytes_behind_a_nul_are_not_ignored(void **state)
{
    own_mem char *token = NULL, *longer = NULL;
    struct err e = {0};
    size_t len;

    (void)state;
    token = session_token_sign(signer, &good, &e);
    len = strlen(token);
    longer = mem_zero(len + 8, 1);
    memcpy(longer, token, len);
    assert_rule("NUL", session_rule(longer, len + 1, NOW), "canonical");
    assert_rule("empty", session_rule("", 0, NOW), "three parts");
    assert_rule("dots", session_rule("..", 2, NOW), "three parts");
}

static void a_token_above_the_limit_is_refused(void **state)
{
    own_mem char *text = mem_zero(TOKEN_MAX + 2, 1);
    own_json struct json *payload = json_object();
    struct err e = {0};

    (void)state;
    memset(text, 'A', TOKEN_MAX + 1);
    assert_rule("long", session_rule(text, TOKEN_MAX + 1, NOW), "too long");
    assert_rule("at limit", session_rule(text, TOKEN_MAX, NOW), "three parts");
    json_set_strn(payload, "a", text, TOKEN_MAX);
    assert_null(token_sign(signer, "JWT", payload, &e));
    assert_int_equal(e.kind, ERR_INPUT);
}

static void an_unknown_kid_is_told_apart(void **state)
{
    own_mem char *token = NULL;
    struct session_claims c = {.sub = "kept"};
    bool unknown = false;
    struct err e = {0};

    (void)state;
    token = session_token_sign(stranger, &good, &e);
    assert_int_equal(session_token_verify(keys, token, strlen(token), ISS, AUD,
                                          NOW, 0, &c, &unknown, &e),
                     -1);
    assert_true(unknown);
    assert_non_null(strstr(e.text, "kid"));
    assert_null(strstr(e.text, token_signer_kid(stranger)));
    assert_string_equal(c.sub, "kept");
}

static void a_strangers_signature_under_our_kid_is_refused(void **state)
{
    own_mem char *head = forge_head(signer, TOKEN_TYP_SESSION);
    own_mem char *body = session_body();
    own_mem char *token = forge_token(stranger, head, body);

    (void)state;
    assert_rule("stranger", session_rule(token, strlen(token), NOW),
                "signature is wrong");
}

static void kinds_of_tokens_are_not_taken_for_each_other(void **state)
{
    own_mem char *session = NULL, *activate = NULL;
    own_mem char *body = session_body();
    own_mem char *jwt = forge_head(signer, "JWT");
    own_mem char *act = forge_head(signer, TOKEN_TYP_ACTIVATE);
    own_mem char *as_identity = forge_token(signer, jwt, body);
    struct err e = {0};

    (void)state;
    session = session_token_sign(signer, &good, &e);
    activate = forge_token(signer, act, body);
    assert_rule("session as identity", identity_rule(session, &identity),
                "typ");
    assert_rule("activation as identity", identity_rule(activate, &identity),
                "typ");
    assert_rule("identity as session",
                session_rule(as_identity, strlen(as_identity), NOW), "typ");
    assert_rule("activation as session",
                session_rule(activate, strlen(activate), NOW), "typ");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_session_token_comes_back_as_it_was_signed),
        cmocka_unit_test(a_token_of_the_standby_key_is_taken),
        cmocka_unit_test(a_hand_made_session_token_is_taken),
        cmocka_unit_test(identity_tokens_may_leave_typ_out),
        cmocka_unit_test(libjwt_reads_what_we_sign),
        cmocka_unit_test(hostile_headers_are_refused),
        cmocka_unit_test(hs256_under_the_public_key_is_refused),
        cmocka_unit_test(an_hmac_under_an_rs256_header_is_refused),
        cmocka_unit_test(a_mangled_token_is_refused),
        cmocka_unit_test(every_single_changed_byte_is_noticed),
        cmocka_unit_test(bytes_behind_a_nul_are_not_ignored),
        cmocka_unit_test(a_token_above_the_limit_is_refused),
        cmocka_unit_test(an_unknown_kid_is_told_apart),
        cmocka_unit_test(a_strangers_signature_under_our_kid_is_refused),
        cmocka_unit_test(kinds_of_tokens_are_not_taken_for_each_other),
    };

    return cmocka_run_group_tests(tests, token_setup, token_teardown);
}
