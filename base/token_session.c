#include "base/token.h"

#include "base/digest.h"
#include "base/own.h"
#include "base/seal.h"

#include <string.h>

/* name in the payload, member of struct session_claims */
#define CLAIM_STRINGS(X) X(iss) X(aud) X(sub) X(sid) X(jti) X(bnd)
#define CLAIM_TIMES(X) X(iat) X(nbf) X(exp)

static bool claims_bundle_is_valid(const char *text)
{
    return strlen(text) == SHA256_HEX &&
           strspn(text, "0123456789abcdef") == SHA256_HEX;
}

/* Name of the first claim that is not of its form, or NULL. */
static const char *claims_wrong(const struct session_claims *c)
{
    if (!*c->iss)
        return "iss";
    if (!*c->aud)
        return "aud";
    if (!*c->sub)
        return "sub";
    if (!id_is_valid(c->sid))
        return "sid";
    if (!id_is_valid(c->jti))
        return "jti";
    if (!claims_bundle_is_valid(c->bnd))
        return "bnd";
    if (c->role >= ROLE_COUNT)
        return "role";
    return NULL;
}

char *session_token_sign(const struct token_signer *s,
                         const struct session_claims *c, struct err *e)
{
    own_json struct json *payload = json_object();
    const char *wrong = claims_wrong(c);

    if (wrong) {
        err_set(e, ERR_INPUT, "session token: %s is not of its form", wrong);
        return NULL;
    }
#define X(name) json_set_str(payload, #name, c->name);
    CLAIM_STRINGS(X)
#undef X
    json_set_str(payload, "role", role_name(c->role));
#define X(name) json_set_int(payload, #name, c->name);
    CLAIM_TIMES(X)
#undef X
    return token_sign(s, TOKEN_TYP_SESSION, payload, e);
}

static int claims_take_str(const struct json *payload, const char *name,
                           char *out, size_t cap, struct err *e)
{
    const char *text = json_get_str(payload, name);

    if (!text || strlen(text) >= cap)
        return err_set(e, ERR_TOKEN, "token: %s is missing or not of its form",
                       name);
    memcpy(out, text, strlen(text) + 1);
    return 0;
}

static int claims_take_int(const struct json *payload, const char *name,
                           int64_t *out, struct err *e)
{
    if (json_get_int(payload, name, out) < 0)
        return err_set(e, ERR_TOKEN,
                       "token: %s is missing or not a whole number", name);
    return 0;
}

static int claims_take(const struct json *payload, struct session_claims *c,
                       struct err *e)
{
    static const char *const names[] = {
#define X(name) #name,
        CLAIM_STRINGS(X) CLAIM_TIMES(X)
#undef X
            "role",
        NULL};
    struct err ignored; /* its text may quote the token */
    int role = role_of(json_get_str(payload, "role"));
    const char *wrong;

    if (json_only(payload, names, &ignored) < 0)
        return err_set(e, ERR_TOKEN, "token: it holds an unknown claim");
#define X(name)                                                                \
    if (claims_take_str(payload, #name, c->name, sizeof(c->name), e) < 0)      \
        return -1;
    CLAIM_STRINGS(X)
#undef X
#define X(name)                                                                \
    if (claims_take_int(payload, #name, &c->name, e) < 0)                      \
        return -1;
    CLAIM_TIMES(X)
#undef X
    c->role = role < 0 ? ROLE_COUNT : (enum role)role;
    wrong = claims_wrong(c);
    if (wrong)
        return err_set(e, ERR_TOKEN, "token: %s is not of its form", wrong);
    return 0;
}

int session_token_verify(const struct token_keys *keys, const char *token,
                         size_t len, const char *iss, const char *aud,
                         int64_t now_s, int64_t skew_s,
                         struct session_claims *out, bool *kid_unknown,
                         struct err *e)
{
    const struct token_expect want = {
        .typ = TOKEN_TYP_SESSION,
        .iss = iss,
        .aud = aud,
        .now_s = now_s,
        .skew_s = skew_s,
        .life_max_s = (int64_t)2 * TOKEN_LIFE_S,
    };
    own_json struct json *payload = NULL;
    struct session_claims c = {0};

    payload = token_verify(keys, token, len, &want, kid_unknown, e);
    if (!payload || claims_take(payload, &c, e) < 0)
        return -1;
    *out = c;
    return 0;
}
