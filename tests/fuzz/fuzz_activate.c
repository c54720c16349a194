/*
 * Activations and warm specs. The first byte says what the rest is: w = a
 * warm spec; b = an activation's payload, s = a session's spec inside one that
 * is right, both rightly signed here; r = a whole token.
 */
#include "agent/activation.h"
#include "base/digest.h"
#include "base/mem.h"
#include "base/own.h"
#include "base/token_keys.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define NOW 1800000000
#define ISS "https://podterm.test"
#define POD "3f1c6f0e-5a3b-4c8e-9a51-0d7b6a5e4c21"
#define SID "abcdefghijklmnopqrstuvwxyz"
#define KEY "AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA"

static struct token_signer *signer;
static struct warm_spec warm;
static const uint8_t pool_key[SESSION_KEY_BYTES] = {1};

static void prepare(void)
{
    own_json struct json *root = json_object();
    struct json *w = json_set(root, "warm", json_object());
    struct json *t = json_set(root, "token", json_object());
    struct json *set = json_set(t, "jwks", json_object());
    struct err e = {0};

    seal_init();
    signer = token_signer_make(NULL, &e);
    if (!signer)
        abort();
    json_set_int(root, "v", 1);
    json_set_str(w, "pool", "p");
    json_set_str(w, "psk_id", "poolpoolpoolpoolpoolpoolpo");
    json_set_int(w, "max_age_s", 3600);
    json_set_str(t, "iss", ISS);
    json_set_str(t, "aud", "podterm-test");
    json_set_int(t, "skew_s", 30);
    json_set(json_set(set, "keys", json_array()), NULL,
             token_signer_jwk(signer));
    if (warm_spec_of(root, &warm, &e) < 0)
        abort();
}

/* What came through fits together. */
static void check(const struct activation *a)
{
    if (!id_is_valid(a->claims.jti) ||
        strcmp(a->claims.sid, a->spec.sid) != 0 ||
        strcmp(a->spec.token_iss, ISS) != 0 ||
        strcmp(a->spec.psk_id, warm.psk_id) == 0 ||
        a->claims.exp - a->claims.iat > TOKEN_LIFE_S || !a->spec.env)
        abort();
}

static void judge(const char *token, size_t len)
{
    struct activation a;
    struct err e = {0};

    if (activation_read(&warm, pool_key, POD, token, len, NOW, &a, &e) == 0) {
        check(&a);
        activation_fini(&a);
    } else if (e.kind != ERR_TOKEN && e.kind != ERR_INPUT) {
        abort();
    }
}

static void append_part(struct buf *b, const void *bytes, size_t len)
{
    own_mem char *text = mem_zero(base64_size(len), 1);

    base64url_encode(bytes, len, text);
    buf_printf(b, "%s%s", b->len ? "." : "", text);
}

static void judge_body(const void *body, size_t len)
{
    own_mem char *head = mem_printf(
        "{\"alg\":\"RS256\",\"typ\":\"" TOKEN_TYP_ACTIVATE "\",\"kid\":\"%s\"}",
        token_signer_kid(signer));
    uint8_t sig[RSA_BYTES_MAX];
    struct err e = {0};
    struct buf b;
    long sig_len;

    buf_init(&b, 2 * len + 4096);
    append_part(&b, head, strlen(head));
    append_part(&b, body, len);
    sig_len = rsa_sign(token_signer_key(signer), b.data, b.len, sig, &e);
    if (sig_len < 0)
        abort();
    append_part(&b, sig, (size_t)sig_len);
    judge((const char *)b.data, b.len);
    buf_fini(&b);
}

static void judge_spec(const uint8_t *spec, size_t len)
{
    struct buf b;

    buf_init(&b, len + 1024);
    buf_printf(&b,
               "{\"iss\":\"" ISS "\",\"aud\":\"" POD "\",\"sid\":\"" SID
               "\",\"jti\":\"" SID "\",\"key\":\"" KEY "\",\"iat\":%d,"
               "\"nbf\":%d,\"exp\":%d,\"spec\":",
               NOW, NOW, NOW + TOKEN_LIFE_S);
    buf_append(&b, spec, len);
    buf_append_str(&b, "}");
    judge_body(b.data, b.len);
    buf_fini(&b);
}

static void read_warm(const uint8_t *text, size_t len)
{
    struct err e = {0};
    own_json struct json *root = json_parse(text, len, &e);
    struct warm_spec w;

    if (!root || !warm_spec_is(root))
        return;
    if (warm_spec_of(root, &w, &e) == 0) {
        if (!w.pool[0] || !id_is_valid(w.psk_id) || w.max_age_s < 1 ||
            token_keys_count(w.trust.token_keys) == 0)
            abort();
        warm_spec_fini(&w);
    } else if (e.kind != ERR_INPUT) {
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!signer)
        prepare();
    if (size == 0 || size > TOKEN_ACTIVATE_MAX + 64)
        return 0;
    if (data[0] == 'w')
        read_warm(data + 1, size - 1);
    else if (data[0] == 'b')
        judge_body(data + 1, size - 1);
    else if (data[0] == 's')
        judge_spec(data + 1, size - 1);
    else if (data[0] == 'r')
        judge((const char *)data + 1, size - 1);
    return 0;
}
