#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "tests/lib/token_fixture.h"

#include "base/mem.h"
#include "base/own.h"
#include "base/seal.h"
#include "tests/lib/forge.h"

#include <string.h>

struct token_signer *signer, *standby, *stranger;
struct token_keys *keys;

const struct session_claims good = {
    .iss = ISS,
    .aud = AUD,
    .sub = "alice",
    .sid = SID,
    .jti = JTI,
    .bnd = BND,
    .role = ROLE_OWNER,
    .iat = NOW,
    .nbf = NOW,
    .exp = NOW + TOKEN_LIFE_S,
};

const struct token_expect identity = {
    .typ = NULL, .iss = ISS, .aud = AUD, .now_s = NOW, .skew_s = 30};

int token_setup(void **state)
{
    own_mem char *jwks = NULL;
    struct err e = {0};

    (void)state;
    seal_init();
    signer = token_signer_make(NULL, &e);
    standby = token_signer_make(NULL, &e);
    stranger = token_signer_make(NULL, &e);
    jwks = forge_jwks(signer, standby);
    keys = token_keys_parse(jwks, strlen(jwks), &e);
    return signer && standby && stranger && keys ? 0 : -1;
}

int token_teardown(void **state)
{
    (void)state;
    token_signer_free(signer);
    token_signer_free(standby);
    token_signer_free(stranger);
    token_keys_free(keys);
    return 0;
}

/* The text of the rule a session token broke; "" when it was taken. */
const char *session_rule(const char *token, size_t len, int64_t now)
{
    static struct err e;
    struct session_claims c;

    e = (struct err){0};
    if (session_token_verify(keys, token, len, ISS, AUD, now, TOKEN_SKEW_S, &c,
                             NULL, &e) == 0)
        return "";
    assert_int_equal(e.kind, ERR_TOKEN);
    return e.text;
}

const char *identity_rule(const char *token, const struct token_expect *want)
{
    own_json struct json *claims = NULL;
    static struct err e;

    e = (struct err){0};
    claims = token_verify(keys, token, strlen(token), want, NULL, &e);
    if (claims)
        return "";
    assert_int_equal(e.kind, ERR_TOKEN);
    return e.text;
}

void assert_rule(const char *name, const char *got, const char *want)
{
    if (want ? !strstr(got, want) : *got != 0)
        fail_msg("%s: expected \"%s\", got \"%s\"", name,
                 want ? want : "accepted", got);
}

char *session_body(void)
{
    return mem_printf("{\"iss\":\"%s\",\"aud\":\"%s\",\"sub\":\"alice\","
                      "\"sid\":\"%s\",\"jti\":\"%s\",\"bnd\":\"%s\","
                      "\"role\":\"owner\",\"iat\":%d,\"nbf\":%d,\"exp\":%d}",
                      ISS, AUD, SID, JTI, BND, NOW, NOW, NOW + 60);
}

char *identity_body(void)
{
    return mem_printf("{\"iss\":\"%s\",\"aud\":\"%s\",\"sub\":\"alice\","
                      "\"iat\":%d,\"exp\":%d}",
                      ISS, AUD, NOW, NOW + 3600);
}
