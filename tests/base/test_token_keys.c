#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/digest.h"
#include "base/mem.h"
#include "base/own.h"
#include "base/rsa.h"
#include "base/seal.h"
#include "base/token.h"
#include "tests/lib/forge.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static struct token_signer *signer, *second;
static char dir[64];
static char *modulus; /* of signer, base64url */

static int setup(void **state)
{
    own_json struct json *jwk = NULL;
    struct err e = {0};

    (void)state;
    seal_init();
    signer = token_signer_make(NULL, &e);
    second = token_signer_make(NULL, &e);
    if (!signer || !second)
        return -1;
    jwk = token_signer_jwk(signer);
    modulus = mem_str(json_get_str(jwk, "n"));
    strcpy(dir, "/tmp/podterm-keys.XXXXXX");
    return mkdtemp(dir) ? 0 : -1;
}

static int teardown(void **state)
{
    own_mem char *line = mem_printf("rm -rf %s", dir);

    (void)state;
    token_signer_free(signer);
    token_signer_free(second);
    free(modulus);
    return system(line);
}

/* Runs openssl in the directory; false when it failed. */
static bool openssl(const char *args)
{
    own_mem char *line = mem_printf("cd %s && umask 077 && { openssl %s; } "
                                    ">/dev/null 2>&1 </dev/null",
                                    dir, args);

    return system(line) == 0;
}

/* --- signers --- */

static void a_kept_key_comes_back_as_the_same(void **state)
{
    own_mem char *path = mem_printf("%s/kept.pem", dir);
    struct token_signer *made, *loaded;
    struct err e = {0};
    struct stat st;

    (void)state;
    made = token_signer_make(path, &e);
    assert_non_null(made);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    loaded = token_signer_load(path, &e);
    assert_non_null(loaded);
    assert_string_equal(token_signer_kid(made), token_signer_kid(loaded));
    token_signer_free(made);
    token_signer_free(loaded);
    assert_null(token_signer_make(path, &e));
    assert_int_equal(e.kind, ERR_CONFLICT);
}

static void a_missing_key_file_is_told_apart(void **state)
{
    own_mem char *path = mem_printf("%s/absent.pem", dir);
    struct err e = {0};

    (void)state;
    assert_null(token_signer_load(path, &e));
    assert_int_equal(e.kind, ERR_ABSENT);
}

static const struct {
    const char *name, *make, *rule; /* rule NULL: taken */
} pems[] = {
    {"2048", "genrsa -out k 2048", NULL},
    {"4096", "genrsa -out k 4096", NULL},
    {"traditional", "genrsa -traditional -out k 2048", NULL},
    {"short", "genrsa -out k 1024", "2048 to 4096"},
    {"one bit short", "genrsa -out k 2040", "2048 to 4096"},
    {"exponent 3", "genrsa -3 -out k 2048", "65537"},
    {"EC", "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out k",
     "another kind"},
    {"Ed25519", "genpkey -algorithm ED25519 -out k", "another kind"},
    {"PSS", "genpkey -algorithm RSA-PSS -pkeyopt rsa_keygen_bits:2048 -out k",
     "another kind"},
    {"public", "genrsa -out p 2048 && openssl rsa -in p -pubout -out k",
     "unencrypted"},
    {"encrypted",
     "genrsa -out p 2048 && openssl pkcs8 -topk8 -in p -passout pass:x -out k",
     "unencrypted"},
    {"DER", "genrsa -out p 2048 && openssl rsa -in p -outform DER -out k",
     "unencrypted"},
    {"open to the group", "genrsa -out k 2048 && chmod 640 k", "chmod 600"},
    {"empty", "version && : >k", "length"},
    {"huge", "rand -out k 20000", "at most"},
};

static void private_keys_are_judged_when_they_are_loaded(void **state)
{
    own_mem char *path = mem_printf("%s/k", dir);

    (void)state;
    for (size_t i = 0; i < sizeof(pems) / sizeof(pems[0]); i++) {
        struct token_signer *s;
        struct err e = {0};

        unlink(path);
        if (!openssl(pems[i].make))
            fail_msg("openssl could not make: %s", pems[i].name);
        s = token_signer_load(path, &e);
        if (pems[i].rule ? s != NULL : s == NULL)
            fail_msg("%s: %s", pems[i].name, s ? "taken" : e.text);
        if (!s && !strstr(e.text, pems[i].rule))
            fail_msg("%s: %s", pems[i].name, e.text);
        if (!s)
            assert_int_equal(e.kind, ERR_INPUT);
        token_signer_free(s);
    }
}

static void the_kid_is_the_thumbprint_of_rfc_7638(void **state)
{
    own_mem char *text =
        mem_printf("{\"e\":\"AQAB\",\"kty\":\"RSA\",\"n\":\"%s\"}", modulus);
    uint8_t hash[SHA256_BYTES];
    char want[64];

    (void)state;
    sha256(text, strlen(text), hash);
    base64url_encode(hash, sizeof(hash), want);
    assert_string_equal(token_signer_kid(signer), want);
}

static void the_jwk_holds_the_public_half_alone(void **state)
{
    static const char *const names[] = {"kty", "n",   "e", "kid",
                                        "alg", "use", NULL};
    own_json struct json *jwk = token_signer_jwk(signer);
    struct err e = {0};

    (void)state;
    assert_int_equal(json_only(jwk, names, &e), 0);
    assert_int_equal(json_count(jwk), 6);
    assert_string_equal(json_get_str(jwk, "alg"), "RS256");
    assert_string_equal(json_get_str(jwk, "use"), "sig");
    assert_string_equal(json_get_str(jwk, "kid"), token_signer_kid(signer));
    token_signer_free(NULL);
}

/* --- key sets --- */

static void a_set_of_ours_is_read(void **state)
{
    own_mem char *text = forge_jwks(signer, second);
    struct err e = {0};
    struct token_keys *k = token_keys_parse(text, strlen(text), &e);

    (void)state;
    assert_non_null(k);
    assert_int_equal(token_keys_count(k), 2);
    assert_true(token_keys_has(k, token_signer_kid(signer)));
    assert_true(token_keys_has(k, token_signer_kid(second)));
    assert_false(token_keys_has(k, "other"));
    assert_false(token_keys_has(k, ""));
    token_keys_free(k);
    token_keys_free(NULL);
}

/* text with every N replaced by the modulus; the caller's */
static char *with_modulus(const char *text)
{
    struct buf b;

    buf_init(&b, 1 << 20);
    for (; *text; text++)
        if (*text == 'N')
            buf_append_str(&b, modulus);
        else
            buf_append_u8(&b, (uint8_t)*text);
    buf_append_u8(&b, 0);
    return (char *)b.data;
}

#define KEY(kid)                                                               \
    "{\"kty\":\"RSA\",\"n\":\"N\",\"e\":\"AQAB\",\"kid\":\"" kid "\"}"
#define SET(keys) "{\"keys\":[" keys "]}"

/* N stands for a right modulus; count 0: refused, and why */
static const struct {
    const char *text;
    size_t count;
    const char *rule;
} sets[] = {
    {SET(KEY("a")), 1, NULL},
    {SET(KEY("a") "," KEY("b")), 2, NULL},
    {"{\"more\":1,\"keys\":[" KEY("a") "]}", 1, NULL},
    {SET("{\"kty\":\"EC\",\"kid\":\"e\"}," KEY("a")), 1, NULL},
    {SET("{\"kty\":\"oct\",\"k\":\"AAAA\",\"kid\":\"a\"}," KEY("a")), 1, NULL},
    {SET("{\"kty\":\"RSA\",\"use\":\"enc\",\"n\":\"N\",\"e\":\"AQAB\","
         "\"kid\":\"x\"}," KEY("a")),
     1, NULL},
    {SET("{\"kty\":\"RSA\",\"alg\":\"RS512\",\"n\":\"N\",\"e\":\"AQAB\","
         "\"kid\":\"a\"}," KEY("a")),
     1, NULL},
    {SET("{\"kty\":\"RSA\",\"alg\":\"RS256\",\"use\":\"sig\",\"n\":\"N\","
         "\"e\":\"AQAB\",\"kid\":\"a\",\"x5t\":\"y\"}"),
     1, NULL},
    {"", 0, "key set: JSON"},
    {"[]", 0, "no \"keys\""},
    {"{}", 0, "no \"keys\""},
    {"{\"keys\":{}}", 0, "no \"keys\""},
    {"{\"keys\":[],\"keys\":[" KEY("a") "]}", 0, "duplicate"},
    {SET(""), 0, "no RS256 key"},
    {SET("{\"kty\":\"EC\",\"kid\":\"e\"}"), 0, "no RS256 key"},
    {SET("{\"kty\":\"RSA\",\"use\":7,\"n\":\"N\",\"e\":\"AQAB\","
         "\"kid\":\"x\"}"),
     0, "its use is not"},
    {SET("1"), 0, "key 0"},
    {SET("{\"kid\":\"a\"}"), 0, "kty"},
    {SET("{\"kty\":[\"RSA\"],\"kid\":\"a\"}"), 0, "kty"},
    {SET(KEY("a") "," KEY("a")), 0, "key 1: its kid is there twice"},
    {SET(KEY("")), 0, "kid"},
    {SET("{\"kty\":\"RSA\",\"n\":\"N\",\"e\":\"AQAB\"}"), 0, "kid"},
    {SET("{\"kty\":\"RSA\",\"n\":\"N\",\"e\":\"AQAB\",\"kid\":1}"), 0, "kid"},
    {SET("{\"kty\":\"RSA\",\"e\":\"AQAB\",\"kid\":\"a\"}"), 0, "n or e"},
    {SET("{\"kty\":\"RSA\",\"n\":\"N\",\"kid\":\"a\"}"), 0, "n or e"},
    {SET("{\"kty\":\"RSA\",\"n\":\"N=\",\"e\":\"AQAB\",\"kid\":\"a\"}"), 0,
     "n or e"},
    {SET("{\"kty\":\"RSA\",\"n\":\"+++/\",\"e\":\"AQAB\",\"kid\":\"a\"}"), 0,
     "n or e"},
    {SET("{\"kty\":\"RSA\",\"n\":\"NNNNN\",\"e\":\"AQAB\",\"kid\":\"a\"}"), 0,
     "n or e"},
    {SET("{\"kty\":\"RSA\",\"n\":\"AQAB\",\"e\":\"AQAB\",\"kid\":\"a\"}"), 0,
     "2048 to 4096"},
    {SET("{\"kty\":\"RSA\",\"n\":\"N\",\"e\":\"Aw\",\"kid\":\"a\"}"), 0,
     "65537"},
    {SET("{\"kty\":\"RSA\",\"n\":\"N\",\"e\":\"AAEAAQ\",\"kid\":\"a\"}"), 0,
     "65537"},
    {SET("{\"kty\":\"RSA\",\"n\":\"N\",\"e\":\"\",\"kid\":\"a\"}"), 0, "65537"},
    {SET("{\"kty\":\"RSA\",\"n\":\"N\",\"e\":\"AQAB\",\"kid\":\"a\","
         "\"d\":\"AA\"}"),
     0, "private"},
};

static void key_sets_are_judged_key_by_key(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(sets) / sizeof(sets[0]); i++) {
        own_mem char *text = with_modulus(sets[i].text);
        struct err e = {0};
        struct token_keys *k = token_keys_parse(text, strlen(text), &e);

        if (sets[i].rule ? k != NULL : k == NULL)
            fail_msg("%s: %s", sets[i].text, k ? "taken" : e.text);
        if (k)
            assert_int_equal(token_keys_count(k), sets[i].count);
        else if (!strstr(e.text, sets[i].rule) || e.kind != ERR_INPUT)
            fail_msg("%s: %s", sets[i].text, e.text);
        token_keys_free(k);
    }
}

/* A set of one key whose modulus is these bytes. */
static const char *modulus_rule(const uint8_t *n, size_t len)
{
    own_mem char *n_text = mem_zero(base64_size(len), 1);
    own_mem char *text = NULL;
    static struct err e;
    struct token_keys *k;

    base64url_encode(n, len, n_text);
    text = mem_printf("{\"keys\":[{\"kty\":\"RSA\",\"n\":\"%s\","
                      "\"e\":\"AQAB\",\"kid\":\"a\"}]}",
                      n_text);
    e = (struct err){0};
    k = token_keys_parse(text, strlen(text), &e);
    token_keys_free(k);
    return k ? "" : e.text;
}

static void a_modulus_has_its_bits_and_no_leading_zero(void **state)
{
    uint8_t n[RSA_BYTES_MAX + 1];

    (void)state;
    memset(n, 0xff, sizeof(n));
    assert_string_equal(modulus_rule(n, 256), "");
    assert_string_equal(modulus_rule(n, 512), "");
    assert_non_null(strstr(modulus_rule(n, 255), "2048"));
    assert_non_null(strstr(modulus_rule(n, 513), "n or e"));
    n[0] = 0x7f; /* 2047 bits in 256 bytes */
    assert_non_null(strstr(modulus_rule(n, 256), "2048"));
    n[0] = 0;
    assert_non_null(strstr(modulus_rule(n, 257), "modulus"));
    n[0] = 0xff;
    n[255] = 0xfe; /* even: no product of two primes */
    assert_non_null(strstr(modulus_rule(n, 256), "modulus"));
}

/* A set of count keys of the given kty, k0, k1, … */
static char *many(size_t count, const char *kty)
{
    struct buf b;

    buf_init(&b, 1 << 20);
    buf_append_str(&b, "{\"keys\":[");
    for (size_t i = 0; i < count; i++)
        buf_printf(&b,
                   "%s{\"kty\":\"%s\",\"n\":\"%s\",\"e\":\"AQAB\","
                   "\"kid\":\"k%zu\"}",
                   i ? "," : "", kty, modulus, i);
    buf_append_str(&b, "]}");
    buf_cstr(&b);
    return (char *)b.data;
}

static void a_set_has_its_limits(void **state)
{
    static const struct {
        size_t count;
        const char *kty, *rule;
    } rows[] = {
        {TOKEN_KEYS_MAX, "RSA", NULL},
        {TOKEN_KEYS_MAX + 1, "RSA", "more than 16 keys"},
        {TOKEN_JWKS_ENTRIES_MAX, "EC", "no RS256 key"},
        {TOKEN_JWKS_ENTRIES_MAX + 1, "EC", "more than 64 entries"},
        {TOKEN_JWKS_MAX / 300, "EC", "at most 65536"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        own_mem char *text = many(rows[i].count, rows[i].kty);
        struct err e = {0};
        struct token_keys *k = token_keys_parse(text, strlen(text), &e);

        if (rows[i].rule ? !strstr(e.text, rows[i].rule) : !k)
            fail_msg("row %zu: %s", i, k ? "taken" : e.text);
        token_keys_free(k);
    }
}

static void a_kid_has_its_limit(void **state)
{
    char kid[TOKEN_KID_MAX + 2] = {0};

    (void)state;
    for (size_t len = TOKEN_KID_MAX; len <= TOKEN_KID_MAX + 1; len++) {
        own_mem char *text = NULL;
        struct token_keys *k;
        struct err e = {0};

        memset(kid, 'k', len);
        text = mem_printf("{\"keys\":[{\"kty\":\"RSA\",\"n\":\"%s\","
                          "\"e\":\"AQAB\",\"kid\":\"%s\"}]}",
                          modulus, kid);
        k = token_keys_parse(text, strlen(text), &e);
        assert_true((k != NULL) == (len == TOKEN_KID_MAX));
        token_keys_free(k);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_kept_key_comes_back_as_the_same),
        cmocka_unit_test(a_missing_key_file_is_told_apart),
        cmocka_unit_test(private_keys_are_judged_when_they_are_loaded),
        cmocka_unit_test(the_kid_is_the_thumbprint_of_rfc_7638),
        cmocka_unit_test(the_jwk_holds_the_public_half_alone),
        cmocka_unit_test(a_set_of_ours_is_read),
        cmocka_unit_test(key_sets_are_judged_key_by_key),
        cmocka_unit_test(a_modulus_has_its_bits_and_no_leading_zero),
        cmocka_unit_test(a_set_has_its_limits),
        cmocka_unit_test(a_kid_has_its_limit),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
