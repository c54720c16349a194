/*
 * Tokens. The first byte says what the rest is: r = a whole token, under a
 * key set whose private half is gone; h = a header, b = a session's payload,
 * i = an identity's payload, each rightly signed here, since no fuzzer gets
 * past a signature.
 */
#include "base/digest.h"
#include "base/mem.h"
#include "base/own.h"
#include "base/seal.h"
#include "base/token_keys.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define NOW 1800000000
#define ISS "https://podterm.test"
#define AUD "podterm-test"

/* of the corpus' whole tokens */
static const char fixed_set[] =
    "{\"keys\":[{\"kty\":\"RSA\",\"n\":\"v8WTQu2aFcbLG1t3sTcf9PL0rYC9H0W-NtfQp"
    "wJPbjpBAZ1liVsSlVzLouM3poodj9EgGpeVENgaRd39NBabyliEPI2jeVVorno1T"
    "PmasIbCRNgBN6go7gbqstzTfr3a5ffupzw1ItkkPjbP1j0LQB-4GSGT9eTV0UaS1"
    "eCB_oJWU-4MwH5hgs4au47XsziWkyNNEMYZ-1pJOcNJxTWmc3RZGUIC-6MnIzv8I"
    "XvhJsxFNfxmAV3HMdTT4ClrznxinDHRylBJBmBg9BBiAsbNDSPww6SgRNtakqpAY"
    "wbdstmSt8fdQPgzCsqvnMUx1Mqbhgd01wmFU6tVTmSmt7Qifw\",\"e\":\"AQAB\",\"k"
    "id\":\"ITQT7e124PuB36TtaPTgsVzhCdGKl7ecSjrih7smSKI\",\"alg\":\"RS256\","
    "\"use\":\"sig\"}]}";

static struct token_keys *fixed, *fresh;
static struct token_signer *signer;

static void prepare(void)
{
    own_json struct json *set = json_object();
    struct err e = {0};

    seal_init();
    signer = token_signer_make(NULL, &e);
    if (!signer)
        abort();
    json_set(json_set(set, "keys", json_array()), NULL,
             token_signer_jwk(signer));
    fresh = token_keys_of(set, &e);
    fixed = token_keys_parse(fixed_set, strlen(fixed_set), &e);
    if (!fresh || !fixed)
        abort();
}

/* A claim that came through is of its form. */
static void check_claims(const struct session_claims *c)
{
    if (strcmp(c->iss, ISS) != 0 || strcmp(c->aud, AUD) != 0 ||
        !id_is_valid(c->sid) || !id_is_valid(c->jti) || !*c->sub ||
        strlen(c->bnd) != SHA256_HEX || c->role >= ROLE_COUNT ||
        c->exp - c->iat > 2 * TOKEN_LIFE_S || c->exp <= NOW - TOKEN_SKEW_S ||
        c->nbf > NOW + TOKEN_SKEW_S)
        abort();
}

static void verify(const struct token_keys *keys, const char *token, size_t len)
{
    const struct token_expect want = {.iss = ISS,
                                      .aud = AUD,
                                      .aud_may_be_list = true,
                                      .now_s = NOW,
                                      .skew_s = TOKEN_SKEW_S};
    own_json struct json *identity = NULL;
    struct session_claims c;
    struct err e = {0};
    int r = session_token_verify(keys, token, len, ISS, AUD, NOW, TOKEN_SKEW_S,
                                 &c, NULL, &e);

    if (r == 0)
        check_claims(&c);
    else if (e.kind != ERR_TOKEN)
        abort();
    identity = token_verify(keys, token, len, &want, NULL, &e);
    if (identity && r == 0)
        abort(); /* one text, two kinds */
    if (!identity && e.kind != ERR_TOKEN)
        abort();
}

static void append_part(struct buf *b, const void *bytes, size_t len)
{
    own_mem char *text = mem_zero(base64_size(len), 1);

    base64url_encode(bytes, len, text);
    buf_printf(b, "%s%s", b->len ? "." : "", text);
}

static void verify_signed(const void *head, size_t head_len, const void *body,
                          size_t body_len)
{
    uint8_t sig[RSA_BYTES_MAX];
    struct err e = {0};
    struct buf b;
    long len;

    buf_init(&b, 4 * (head_len + body_len) + 1024);
    append_part(&b, head, head_len);
    append_part(&b, body, body_len);
    len = rsa_sign(token_signer_key(signer), b.data, b.len, sig, &e);
    if (len < 0)
        abort();
    append_part(&b, sig, (size_t)len);
    verify(fresh, (const char *)b.data, b.len);
    buf_fini(&b);
}

static void verify_body(const char *typ, const void *body, size_t len)
{
    own_mem char *head =
        mem_printf("{\"alg\":\"RS256\",\"typ\":\"%s\",\"kid\":\"%s\"}", typ,
                   token_signer_kid(signer));

    verify_signed(head, strlen(head), body, len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char body[] = "{\"iss\":\"" ISS "\",\"aud\":\"" AUD
                               "\",\"iat\":1800000000,\"exp\":1800000060}";

    if (!signer)
        prepare();
    if (size == 0 || size > TOKEN_MAX + 64)
        return 0;
    if (data[0] == 'r')
        verify(fixed, (const char *)data + 1, size - 1);
    else if (data[0] == 'h')
        verify_signed(data + 1, size - 1, body, strlen(body));
    else if (data[0] == 'b')
        verify_body(TOKEN_TYP_SESSION, data + 1, size - 1);
    else if (data[0] == 'i')
        verify_body(TOKEN_TYP_IDENTITY, data + 1, size - 1);
    return 0;
}
