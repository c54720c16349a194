#include "base/token.h"

#include "base/digest.h"
#include "base/mem.h"
#include "base/own.h"
#include "base/seal.h"
#include "base/token_keys.h"

#include <stdlib.h>
#include <string.h>

/* A compact JWT taken apart; points into the token. */
struct token_parts {
    const char *head, *body, *sig;
    size_t head_len, body_len, sig_len;
    size_t signed_len; /* head, dot and body */
};

/* Every refusal: the rule, and nothing of the token. */
static int token_refuse(struct err *e, const char *rule)
{
    return err_set(e, ERR_TOKEN, "token: %s", rule);
}

/* Bytes of a whole token: an activation carries a session's spec. */
static size_t token_max(const char *typ)
{
    return typ && strcmp(typ, TOKEN_TYP_ACTIVATE) == 0 ? TOKEN_ACTIVATE_MAX
                                                       : TOKEN_MAX;
}

/* --- making --- */

/* What an activation says is secret: no copy of it stays behind. */
static void token_append_part(struct buf *b, const void *bytes, size_t len)
{
    own_mem char *text = mem_zero(base64_size(len), 1);
    size_t text_len = base64url_encode(bytes, len, text);

    if (b->len)
        buf_append_u8(b, '.');
    buf_append(b, text, text_len);
    wipe(text, text_len);
}

static void token_append_json(struct buf *b, const struct json *j)
{
    own_mem char *text = json_text(j);
    size_t len = strlen(text);

    token_append_part(b, text, len);
    wipe(text, len);
}

char *token_sign(const struct token_signer *s, const char *typ,
                 const struct json *payload, struct err *e)
{
    own_json struct json *head = json_object();
    uint8_t sig[RSA_BYTES_MAX];
    struct buf b;
    long sig_len;

    json_set_str(head, "alg", "RS256");
    json_set_str(head, "typ", typ);
    json_set_str(head, "kid", token_signer_kid(s));
    buf_init_secret(&b, SIZE_MAX / 4);
    token_append_json(&b, head);
    token_append_json(&b, payload);
    sig_len = rsa_sign(token_signer_key(s), b.data, b.len, sig, e);
    if (sig_len < 0) {
        buf_fini(&b);
        return NULL;
    }
    token_append_part(&b, sig, (size_t)sig_len);
    if (b.len > token_max(typ)) {
        err_set(e, ERR_INPUT, "token: %zu bytes, at most %zu", b.len,
                token_max(typ));
        buf_fini(&b);
        return NULL;
    }
    buf_cstr(&b);
    return (char *)b.data; /* the buffer's bytes are now the caller's */
}

/* --- verifying: form --- */

static int token_split(const char *token, size_t len, struct token_parts *out)
{
    const char *end = token + len, *dot1, *dot2;

    dot1 = memchr(token, '.', len);
    if (!dot1)
        return -1;
    dot2 = memchr(dot1 + 1, '.', (size_t)(end - dot1 - 1));
    /* a third dot is no base64url and falls there */
    if (!dot2 || dot1 == token || dot2 == dot1 + 1 || dot2 + 1 == end)
        return -1;
    *out = (struct token_parts){
        .head = token,
        .head_len = (size_t)(dot1 - token),
        .body = dot1 + 1,
        .body_len = (size_t)(dot2 - dot1 - 1),
        .sig = dot2 + 1,
        .sig_len = (size_t)(end - dot2 - 1),
        .signed_len = (size_t)(dot2 - token),
    };
    return 0;
}

/* The object a part holds, or NULL. */
static struct json *token_part_json(const char *text, size_t len)
{
    own_mem uint8_t *raw = mem_zero(len, 1);
    long got = base64url_decode(text, len, raw, len);
    struct json *j;
    struct err ignored; /* its text may quote the token */

    if (got < 0)
        return NULL;
    j = json_parse(raw, (size_t)got, &ignored);
    wipe(raw, (size_t)got);
    if (j && !json_is_object(j)) {
        json_free(j);
        return NULL;
    }
    return j;
}

/* --- verifying: header and signature --- */

static bool token_typ_is(const struct json *head, const char *want)
{
    const struct json *typ = json_get(head, "typ");

    if (!typ)
        return want == NULL;
    return json_is_string(typ) &&
           strcmp(json_str(typ), want ? want : TOKEN_TYP_IDENTITY) == 0;
}

static int token_check_head(const struct json *head, const char *typ,
                            struct err *e)
{
    static const char *const names[] = {"alg", "typ", "kid", NULL};
    const char *alg = json_get_str(head, "alg");
    const char *kid = json_get_str(head, "kid");
    struct err ignored; /* its text may quote the token */

    if (json_only(head, names, &ignored) < 0)
        return token_refuse(e, "the header may hold alg, typ and kid alone");
    if (!alg || strcmp(alg, "RS256") != 0)
        return token_refuse(e, "alg is not RS256");
    if (!token_typ_is(head, typ))
        return token_refuse(e, "typ is of another kind of token");
    if (!kid || !*kid || strlen(kid) > TOKEN_KID_MAX)
        return token_refuse(e, "kid is missing or of a wrong length");
    return 0;
}

static int token_check_signature(const struct token_parts *t,
                                 const struct rsa_key *key, struct err *e)
{
    uint8_t sig[RSA_BYTES_MAX];
    long len = base64url_decode(t->sig, t->sig_len, sig, sizeof(sig));

    if (len < 0)
        return token_refuse(e, "the signature is not canonical base64url");
    if (!rsa_verify(key, t->head, t->signed_len, sig, (size_t)len))
        return token_refuse(e, "the signature is wrong");
    return 0;
}

/* Header, key and signature; the payload is not looked at before. */
static int token_authenticate(const struct token_keys *keys,
                              const struct token_parts *t, const char *typ,
                              bool *kid_unknown, struct err *e)
{
    own_json struct json *head =
        t->head_len <= TOKEN_MAX ? token_part_json(t->head, t->head_len) : NULL;
    const struct rsa_key *key;

    if (!head)
        return token_refuse(e, "the header is not strict base64url JSON");
    if (token_check_head(head, typ, e) < 0)
        return -1;
    key = token_keys_find(keys, json_get_str(head, "kid"));
    if (!key) {
        *kid_unknown = true;
        return token_refuse(e, "kid names no key of the set");
    }
    return token_check_signature(t, key, e);
}

/* --- verifying: claims --- */

static bool token_aud_is(const struct json *aud, const char *want)
{
    return json_is_string(aud) && strcmp(json_str(aud), want) == 0;
}

static bool token_aud_holds(const struct json *aud, const char *want)
{
    bool found = false;

    for (size_t i = 0; i < json_count(aud); i++) {
        if (!json_is_string(json_at(aud, i)))
            return false;
        found = found || token_aud_is(json_at(aud, i), want);
    }
    return found;
}

static int token_check_parties(const struct json *claims,
                               const struct token_expect *want, struct err *e)
{
    const struct json *aud = json_get(claims, "aud");
    const char *iss = json_get_str(claims, "iss");

    if (!iss || strcmp(iss, want->iss) != 0)
        return token_refuse(e, "iss is another issuer");
    if (token_aud_is(aud, want->aud))
        return 0;
    if (want->aud_may_be_list && json_is_array(aud) &&
        token_aud_holds(aud, want->aud))
        return 0;
    return token_refuse(e, "aud is another audience");
}

static int token_check_times(const struct json *claims,
                             const struct token_expect *want, struct err *e)
{
    int64_t skew_s = want->skew_s, iat, exp, nbf = 0;

    if (skew_s < 0)
        skew_s = 0;
    if (skew_s > TOKEN_SKEW_S)
        skew_s = TOKEN_SKEW_S;
    if (json_get_int(claims, "exp", &exp) < 0)
        return token_refuse(e, "exp is missing or not a whole number");
    if (json_get_int(claims, "iat", &iat) < 0)
        return token_refuse(e, "iat is missing or not a whole number");
    if (json_get(claims, "nbf") && json_get_int(claims, "nbf", &nbf) < 0)
        return token_refuse(e, "nbf is not a whole number");
    if (iat < 0 || nbf < 0 || exp <= iat || exp <= nbf)
        return token_refuse(e, "its times contradict each other");
    if (want->life_max_s > 0 && exp - iat > want->life_max_s)
        return token_refuse(e, "it lives longer than is allowed");
    if (want->now_s - skew_s >= exp)
        return token_refuse(e, "it has expired");
    if (nbf > want->now_s + skew_s)
        return token_refuse(e, "it is not valid yet");
    if (iat > want->now_s + skew_s)
        return token_refuse(e, "it was made in the future");
    return 0;
}

struct json *token_verify(const struct token_keys *keys, const char *token,
                          size_t len, const struct token_expect *want,
                          bool *kid_unknown, struct err *e)
{
    struct token_parts t;
    struct json *claims;
    bool unknown = false;
    int r;

    if (!kid_unknown)
        kid_unknown = &unknown;
    *kid_unknown = false;
    if (len > token_max(want->typ)) {
        token_refuse(e, "it is too long");
        return NULL;
    }
    if (token_split(token, len, &t) < 0) {
        token_refuse(e, "it has not three parts");
        return NULL;
    }
    if (token_authenticate(keys, &t, want->typ, kid_unknown, e) < 0)
        return NULL;
    claims = token_part_json(t.body, t.body_len);
    if (!claims) {
        token_refuse(e, "the payload is not strict base64url JSON");
        return NULL;
    }
    r = token_check_parties(claims, want, e);
    if (r == 0)
        r = token_check_times(claims, want, e);
    if (r == 0)
        return claims;
    json_free(claims);
    return NULL;
}
