/*
 * What a Job keeps of its session's row comes back as it was; what somebody
 * else wrote there, or moved there, does not.
 */
#include "controller/record.h"

#include "base/digest.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/own.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define HERE "podterm.example"

static struct keys keys, others;
static struct store_session row;

static int setup(void **arg)
{
    (void)arg;
    random_bytes(keys.session_secret, sizeof keys.session_secret);
    random_bytes(keys.seal, sizeof keys.seal);
    others = keys;
    others.session_secret[31] ^= 1;
    row = (struct store_session){
        .owner_iss = "https://issuer.example",
        .owner_sub = "alice \"the\" \u00e9",
        .state = STATE_RUNNING,
        .created_ms = 1764266000123,
        .bundle_url = "https://b.example/x.tar.gz",
        .viewers = {"bob", "eve"},
        .viewer_history = true,
        .lifetime_s = 3600,
        .egress = EGRESS_PROXY,
    };
    random_id(row.id);
    random_id(row.psk_id);
    memset(row.bundle_sha256, 'a', SHA256_HEX);
    return 0;
}

static int parse(const char *text, struct store_session *out, struct err *e)
{
    return record_parse(text, row.id, HERE, &keys, out, e);
}

static void expect_refused(const char *text, enum err_kind kind,
                           const char *why)
{
    static const struct store_session untouched = {.exit_code = 77};
    struct store_session out = untouched;
    struct err e = {0};

    assert_int_equal(parse(text, &out, &e), -1);
    if (!strstr(e.text, why))
        fail_msg("\"%s\", not \"%s\"", e.text, why);
    assert_int_equal(e.kind, kind);
    assert_memory_equal(&out, &untouched, sizeof out);
}

/* A body of somebody's with the MAC of these keys. */
static char *sign(const char *body, const struct keys *k)
{
    uint8_t key[32], mac[32];
    char hex[65];

    hkdf_sha256(k->session_secret, 32, RECORD_INFO, key, sizeof key);
    hmac_sha256(key, sizeof key, body, strlen(body), mac);
    hex_encode(mac, sizeof mac, hex);
    return mem_printf("%s,\"mac\":\"%s\"}", body, hex);
}

/* The body with a member set to a value in JSON, or dropped (NULL). */
static char *with(const char *name, const char *value)
{
    own_mem char *text = record_text(&row, HERE, &keys);
    struct err e = {0};
    own_json struct json *j = json_parse(text, strlen(text), &e);
    own_mem char *body = NULL;

    json_drop(j, "mac");
    if (value)
        json_set(j, name, json_parse(value, strlen(value), &e));
    else
        json_drop(j, name);
    body = json_text(j);
    body[strlen(body) - 1] = '\0';
    return sign(body, &keys);
}

static void a_row_comes_back_as_it_was_at_its_start(void **arg)
{
    own_mem char *text = record_text(&row, HERE, &keys);
    struct store_session out, want = row;
    uint8_t key[SESSION_KEY_BYTES], opened[SESSION_KEY_BYTES];
    struct err e = {0};

    (void)arg;
    assert_int_equal(parse(text, &out, &e), 0);
    keys_session(&keys, row.id, key);
    assert_int_equal(seal_open(keys.seal, row.id, out.psk_sealed,
                               sizeof out.psk_sealed, opened),
                     0);
    assert_memory_equal(opened, key, sizeof key);
    want.state = STATE_PENDING;
    memcpy(want.psk_sealed, out.psk_sealed, sizeof want.psk_sealed);
    store_stage_add(&want, "admitted", "done", "", want.created_ms);
    assert_memory_equal(&out, &want, sizeof out);
}

static void no_secret_is_in_it(void **arg)
{
    own_mem char *text = NULL;
    uint8_t key[SESSION_KEY_BYTES];
    char hex[65];

    (void)arg;
    memset(row.psk_sealed, 'S', sizeof row.psk_sealed);
    text = record_text(&row, HERE, &keys);
    keys_session(&keys, row.id, key);
    hex_encode(key, sizeof key, hex);
    assert_null(strstr(text, hex));
    assert_null(strstr(text, "SSSS"));
}

static void any_byte_changed_is_refused(void **arg)
{
    own_mem char *text = record_text(&row, HERE, &keys);
    size_t len = strlen(text);

    (void)arg;
    for (size_t i = 0; i < len; i++) {
        char was = text[i];
        struct err e = {0};
        struct store_session out;

        text[i] = (char)(was ^ 1);
        assert_int_equal(parse(text, &out, &e), -1);
        text[i] = '\0'; /* and any cut */
        assert_int_equal(parse(text, &out, &e), -1);
        text[i] = was;
    }
    expect_refused(NULL, ERR_DENIED, "is none");
    expect_refused("", ERR_DENIED, "is none");
}

static void who_has_not_our_keys_writes_no_record(void **arg)
{
    own_mem char *theirs = record_text(&row, HERE, &others);
    own_mem char *owner = NULL, *ours = record_text(&row, HERE, &keys);
    char *at;

    (void)arg;
    expect_refused(theirs, ERR_DENIED, "not written with our keys");
    at = strstr(ours, "alice");
    memcpy(at, "mallo", 5);
    expect_refused(ours, ERR_DENIED, "not written with our keys");
    owner = mem_printf("%.*s}", (int)(strstr(ours, ",\"mac\"") - ours), ours);
    expect_refused(owner, ERR_DENIED, "no MAC");
}

static void a_record_is_of_one_session_in_one_installation(void **arg)
{
    own_mem char *elsewhere = record_text(&row, "other.example", &keys);
    own_mem char *moved = NULL;
    char id[ID_SIZE];

    (void)arg;
    expect_refused(elsewhere, ERR_DENIED, "another installation's");
    moved = record_text(&row, HERE, &keys);
    memcpy(id, row.id, sizeof id);
    random_id(row.id); /* asked for another session */
    expect_refused(moved, ERR_DENIED, "another session's");
}

static void what_is_ours_but_not_of_this_form_is_refused(void **arg)
{
    static const struct {
        const char *name, *value, *why;
    } bad[] = {
        {"v", "2", "version is 2, and 1"},
        {"v", "\"1\"", "version is 0"},
        {"v", NULL, "version is 0"},
        {"new", "1", "new"},
        {"sub", "\"\"", "sub must"},
        {"iss", "7", "iss must"},
        {"created_ms", "0", "created_ms must"},
        {"created_ms", "1.5", "created_ms must"},
        {"url", NULL, "url must"},
        {"sha256", "\"AB\"", "sha256 is none"},
        {"viewers", "[\"a\",\"a\"]", "twice"},
        {"viewers", "[1]", "viewers"},
        {"viewers", "{}", "viewers"},
        {"viewers", "[\"1\",\"2\",\"3\",\"4\",\"5\",\"6\",\"7\",\"8\",\"9\"]",
         "viewers"},
        {"viewer_history", "1", "viewer_history must"},
        {"lifetime_s", "0", "lifetime_s must"},
        {"idle_s", "-1", "idle_s must"},
        {"egress", "\"no\"", "egress must"},
        {"psk_id", "\"../../etc\"", "psk_id"},
    };

    (void)arg;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        own_mem char *text = with(bad[i].name, bad[i].value);

        expect_refused(text, ERR_INPUT, bad[i].why);
    }
}

static void the_longest_fits_into_an_annotation(void **arg)
{
    own_mem char *text = NULL, *odd = NULL;
    struct store_session out;
    struct err e = {0};

    (void)arg;
    memset(row.owner_iss, '\x01', TOKEN_STR_MAX - 1); /* six bytes each */
    memset(row.owner_sub, '\x01', TOKEN_STR_MAX - 1);
    memset(row.bundle_url, 'u', STORE_URL_MAX - 1);
    for (int i = 0; i < STORE_VIEWERS_MAX; i++) {
        memset(row.viewers[i], 'v', TOKEN_STR_MAX - 1);
        row.viewers[i][0] = (char)('a' + i);
    }
    text = record_text(&row, HERE, &keys);
    assert_true(strlen(text) <= RECORD_MAX);
    assert_int_equal(parse(text, &out, &e), 0);
    assert_memory_equal(out.viewers, row.viewers, sizeof out.viewers);
    for (int i = 0; i < STORE_VIEWERS_MAX; i++)
        memset(row.viewers[i] + 1, '\x01', TOKEN_STR_MAX - 2);
    odd = record_text(&row, HERE, &keys);
    assert_true(strlen(odd) <= RECORD_MAX);
    assert_int_equal(parse(odd, &out, &e), 0);
    assert_string_equal(out.owner_sub, row.owner_sub);
    assert_string_equal(out.viewers[0], "");
}

static void more_than_an_annotation_is_not_read(void **arg)
{
    own_mem char *spaces = mem_zero(RECORD_MAX + 1, 1);
    own_mem char *text = NULL, *body = NULL;

    (void)arg;
    memset(spaces, ' ', RECORD_MAX);
    body = mem_printf("{\"v\":1%s", spaces);
    text = sign(body, &keys);
    expect_refused(text, ERR_DENIED, "is none");
}

#define T(t) cmocka_unit_test_setup(t, setup)

static void whose_it_says_it_is_is_read_without_a_mac(void **arg)
{
    (void)arg;
    assert_true(record_is_anothers("{\"installation\":\"there\"}", "here"));
    assert_false(record_is_anothers("{\"installation\":\"here\"}", "here"));
    assert_false(record_is_anothers("{\"installation\":7}", "here"));
    assert_false(record_is_anothers("{\"installation\":\"there\"", "here"));
    assert_false(record_is_anothers("", "here"));
    assert_false(record_is_anothers(NULL, "here"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(a_row_comes_back_as_it_was_at_its_start),
        T(no_secret_is_in_it),
        T(any_byte_changed_is_refused),
        T(who_has_not_our_keys_writes_no_record),
        T(a_record_is_of_one_session_in_one_installation),
        T(what_is_ours_but_not_of_this_form_is_refused),
        T(the_longest_fits_into_an_annotation),
        T(more_than_an_annotation_is_not_read),
        cmocka_unit_test(whose_it_says_it_is_is_read_without_a_mac),
    };

    seal_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
