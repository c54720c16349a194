#include "base/token_activate.h"

#include "base/digest.h"
#include "base/mem.h"
#include "base/own.h"

#include <stdio.h>
#include <string.h>

#define POOL_KEY_INFO "podterm pool key 1 " /* and the UID */

static const char *const claim_names[] = {"iss",  "aud", "sid", "jti", "key",
                                          "spec", "iat", "nbf", "exp", NULL};

void activate_claims_fini(struct activate_claims *c)
{
    json_free(c->spec);
    wipe(c, sizeof(*c));
}

/* Name of the first claim that is not of its form, or NULL. */
static const char *claims_wrong(const struct activate_claims *c)
{
    if (!*c->iss)
        return "iss";
    if (!activate_uid_is_valid(c->aud))
        return "aud";
    if (!id_is_valid(c->sid))
        return "sid";
    if (!id_is_valid(c->jti))
        return "jti";
    if (!json_is_object(c->spec))
        return "spec";
    return NULL;
}

char *activate_token_sign(const struct token_signer *s,
                          const struct activate_claims *c, struct err *e)
{
    own_json struct json *payload = json_object();
    const char *wrong = claims_wrong(c);
    char key[2 * SESSION_KEY_BYTES];

    if (wrong) {
        err_set(e, ERR_INPUT, "activation: %s is not of its form", wrong);
        return NULL;
    }
    base64url_encode(c->key, sizeof(c->key), key);
    json_set_str(payload, "iss", c->iss);
    json_set_str(payload, "aud", c->aud);
    json_set_str(payload, "sid", c->sid);
    json_set_str(payload, "jti", c->jti);
    json_set_str(payload, "key", key);
    json_set(payload, "spec", json_dup(c->spec));
    json_set_int(payload, "iat", c->iat);
    json_set_int(payload, "nbf", c->nbf);
    json_set_int(payload, "exp", c->exp);
    wipe(key, sizeof(key));
    return token_sign(s, TOKEN_TYP_ACTIVATE, payload, e);
}

static int claims_take_id(const struct json *payload, const char *name,
                          char out[ID_SIZE], struct err *e)
{
    const char *text = json_get_str(payload, name);

    if (!text || !id_is_valid(text))
        return err_set(e, ERR_INPUT,
                       "activation: %s is missing or not of its form", name);
    memcpy(out, text, ID_SIZE);
    return 0;
}

static int claims_take(const struct json *payload, struct activate_claims *c,
                       struct err *e)
{
    const char *key = json_get_str(payload, "key");
    struct err ignored; /* its text may quote the token */

    if (json_only(payload, claim_names, &ignored) < 0)
        return err_set(e, ERR_INPUT, "activation: it holds an unknown claim");
    if (claims_take_id(payload, "sid", c->sid, e) < 0 ||
        claims_take_id(payload, "jti", c->jti, e) < 0)
        return -1;
    if (!key || base64url_decode(key, strlen(key), c->key, sizeof(c->key)) !=
                    sizeof(c->key))
        return err_set(e, ERR_INPUT, "activation: key is no key");
    if (!json_is_object(json_get(payload, "spec")))
        return err_set(e, ERR_INPUT, "activation: spec is no object");
    if (json_get_int(payload, "iat", &c->iat) < 0 ||
        json_get_int(payload, "nbf", &c->nbf) < 0 ||
        json_get_int(payload, "exp", &c->exp) < 0)
        return err_set(e, ERR_INPUT, "activation: a time is missing");
    c->spec = json_dup(json_get(payload, "spec"));
    return 0;
}

int activate_token_verify(const struct token_keys *keys, const char *token,
                          size_t len, const char *iss, const char *aud,
                          int64_t now_s, int64_t skew_s,
                          struct activate_claims *out, struct err *e)
{
    const struct token_expect want = {
        .typ = TOKEN_TYP_ACTIVATE,
        .iss = iss,
        .aud = aud,
        .now_s = now_s,
        .skew_s = skew_s,
        .life_max_s = TOKEN_LIFE_S,
    };
    own_json struct json *payload =
        token_verify(keys, token, len, &want, NULL, e);
    struct activate_claims c = {0};

    if (!payload)
        return -1;
    if (claims_take(payload, &c, e) < 0) {
        activate_claims_fini(&c);
        return -1;
    }
    snprintf(c.iss, sizeof(c.iss), "%s", iss); /* token_verify's word */
    snprintf(c.aud, sizeof(c.aud), "%s", aud);
    *out = c;
    wipe(c.key, sizeof(c.key));
    return 0;
}

bool activate_uid_is_valid(const char *uid)
{
    size_t len = strspn(uid, "0123456789abcdefghijklmnopqrstuvwxyz"
                             "ABCDEFGHIJKLMNOPQRSTUVWXYZ-");

    return len > 0 && len <= ACTIVATE_UID_MAX && !uid[len];
}

void activate_pool_key(const uint8_t secret[SEAL_KEY_BYTES], const char *uid,
                       uint8_t out[SESSION_KEY_BYTES])
{
    own_mem char *info = mem_printf(POOL_KEY_INFO "%s", uid);

    hkdf_sha256(secret, SEAL_KEY_BYTES, info, out, SESSION_KEY_BYTES);
}
