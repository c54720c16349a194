/* The session spec: taken whole, or refused with the member's name. */
#include "agent/spec.h"

#include "base/mem.h"
#include "base/own.h"
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

/* The public key minisign itself is signed with. */
#define PUBKEY "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3"

/* What is said of the fixture with one member bent; "" when it is taken. */
static const char *said(const char *path, const char *text)
{
    struct json *j = spec_bend(spec_fixture(), path, text);
    static struct err e;
    struct agent_spec s;

    e = (struct err){0};
    if (spec_of(j, &s, &e) == 0) {
        spec_fini(&s);
        assert_int_equal(e.kind, ERR_NONE);
    } else {
        assert_int_equal(e.kind, ERR_INPUT);
    }
    json_free(j);
    return e.text;
}

#define RULES(domains, allow)                                                  \
    "{\"domains\":\"" domains                                                  \
    "\",\"allow_http\":false,\"allow_cidrs\":\"" allow                         \
    "\",\"deny_cidrs\":\"\"}"
#define BROKER(name)                                                           \
    "{\"apis\":[{\"name\":\"" name "\"}],\"requests\":1,\"bytes\":1,"          \
    "\"per_minute\":1,\"allow_cidrs\":\"\",\"deny_cidrs\":\"\"}"
#define BROKERED(egress, broker)                                               \
    "{\"v\":2,\"shared\":false,\"egress\":\"" egress "\",\"broker\":" broker "}"
#define PROXIED(rules)                                                         \
    "{\"v\":2,\"shared\":false,\"egress\":\"proxy\",\"rules\":" rules "}"

static void refused(const char *path, const char *text, const char *names)
{
    const char *got = said(path, text);

    if (!strstr(got, names))
        fail_msg("%s = %s: \"%s\" does not name %s", path,
                 text ? text : "absent", got, names);
}

static void taken(const char *path, const char *text)
{
    const char *got = said(path, text);

    if (got[0])
        fail_msg("%s = %s: %s", path, text ? text : "absent", got);
}

/* --- what is taken --- */

static void a_whole_spec_is_taken_as_it_stands(void **arg)
{
    own_json struct json *j = spec_fixture();
    struct agent_spec s;
    struct err e = {0};

    (void)arg;
    assert_int_equal(spec_of(j, &s, &e), 0);
    assert_string_equal(s.sid, SID);
    assert_string_equal(s.psk_id, "zyxwvutsrqponmlkjihgfedcba");
    assert_string_equal(s.owner_iss, "https://id.test");
    assert_string_equal(s.owner_sub, "alice");
    assert_int_equal(s.viewers.count, 1);
    assert_string_equal(s.viewers.subjects[0], SPEC_VIEWER);
    assert_true(s.viewer_history);
    assert_string_equal(s.bundle_sha256, BND);
    assert_null(s.bundle_signature);
    assert_null(s.command);
    assert_string_equal(s.env[0], "API_KEY=" SPEC_SECRET);
    assert_null(s.env[1]);
    assert_int_equal(s.cols, 80);
    assert_int_equal(s.rows, 24);
    assert_int_equal(s.lifetime_s, 14400);
    assert_int_equal(s.attach_max_s, 3600);
    assert_int_equal(s.ring_bytes, 1 << 20);
    assert_int_equal(s.input_window_bytes, 65536);
    assert_string_equal(s.token_aud, AUD);
    assert_true(token_keys_has(s.token_keys, token_signer_kid(standby)));
    assert_int_equal(s.fetch.max_redirects, 5);
    assert_null(s.fetch.url.file_root);
    assert_int_equal(s.unpack.max_name, 255);
    assert_string_equal(s.isolation, "full");
    assert_string_equal(s.egress, "none");
    assert_int_equal(s.limits.nofile, 256);
    spec_fini(&s);
}

static void the_text_is_read_as_the_tree_is(void **arg)
{
    own_json struct json *j = spec_fixture();
    own_mem char *text = json_text(j);
    struct agent_spec s;
    struct err e = {0};

    (void)arg;
    assert_int_equal(spec_parse(text, strlen(text), &s, &e), 0);
    spec_fini(&s);
    text[strlen(text) - 1] = ' '; /* cut short */
    assert_int_equal(spec_parse(text, strlen(text), &s, &e), -1);
    assert_int_equal(e.kind, ERR_INPUT);
}

static void members_that_may_be_absent_are(void **arg)
{
    (void)arg;
    taken("viewers", NULL);
    taken("command", NULL);
    taken("env", NULL); /* wiped from the state once the program runs */
    taken("bundle.size", "1048576");
    taken("bundle.signature", "\"\"");
    taken("command", "[\"bin/x\",\"\",\"a b\"]");
    taken("fetch.signing_keys", "[\"" PUBKEY "\"]");
    taken("fetch.deny_cidrs", "\"10.0.0.0/8,fc00::/7\"");
    taken("fetch.public_cache_hosts", "\"*.example.com\"");
}

/* --- what is refused --- */

static void every_other_member_must_be_there(void **arg)
{
    static const struct {
        const char *path, *names;
    } rows[] = {
        {"v", "v"},
        {"sid", "sid"},
        {"created_ms", "created_ms"},
        {"psk_id", "psk_id"},
        {"owner", "owner"},
        {"owner.iss", "iss"},
        {"owner.sub", "sub"},
        {"viewer_history", "viewer_history"},
        {"bundle", "bundle"},
        {"bundle.url", "url"},
        {"bundle.sha256", "sha256"},
        {"cols", "cols"},
        {"rows", "rows"},
        {"lifetime_s", "lifetime_s"},
        {"idle_s", "idle_s"},
        {"linger_s", "linger_s"},
        {"linger_detached_s", "linger_detached_s"},
        {"hold_s", "hold_s"},
        {"attach_max_s", "attach_max_s"},
        {"ring_bytes", "ring_bytes"},
        {"window_bytes", "window_bytes"},
        {"input_window_bytes", "input_window_bytes"},
        {"token", "token"},
        {"token.iss", "iss"},
        {"token.aud", "aud"},
        {"token.skew_s", "skew_s"},
        {"token.jwks", "jwks"},
        {"fetch", "fetch"},
        {"fetch.domains", "domains"},
        {"fetch.allow_http", "allow_http"},
        {"fetch.allow_loopback", "allow_loopback"},
        {"fetch.file_root", "file_root"},
        {"fetch.deny_cidrs", "deny_cidrs"},
        {"fetch.max_bytes", "max_bytes"},
        {"fetch.max_s", "max_s"},
        {"fetch.min_bytes_s", "min_bytes_s"},
        {"fetch.max_redirects", "max_redirects"},
        {"fetch.public_cache_hosts", "public_cache_hosts"},
        {"fetch.signing_keys", "signing_keys"},
        {"unpack", "unpack"},
        {"unpack.max_entries", "max_entries"},
        {"unpack.max_bytes", "max_bytes"},
        {"unpack.max_ratio", "max_ratio"},
        {"unpack.max_depth", "max_depth"},
        {"unpack.max_name", "max_name"},
        {"sandbox", "sandbox"},
        {"sandbox.v", "sandbox.v"},
        {"sandbox.isolation", "isolation"},
        {"sandbox.cage", "cage"},
        {"sandbox.limits", "limits"},
        {"sandbox.limits.nproc", "nproc"},
        {"sandbox.limits.nofile", "nofile"},
        {"sandbox.limits.data_bytes", "data_bytes"},
        {"sandbox.limits.fsize_bytes", "fsize_bytes"},
        {"sandbox.limits.cpu_s", "cpu_s"},
        {"network", "network"},
        {"network.v", "network.v"},
        {"network.shared", "shared"},
        {"network.egress", "egress"},
    };

    (void)arg;
    for (size_t i = 0; i < COUNT(rows); i++) {
        refused(rows[i].path, NULL, rows[i].names);
        refused(rows[i].path, "null", rows[i].names);
        refused(rows[i].path, "[[]]", rows[i].names);
    }
}

static void a_member_nobody_knows_is_named(void **arg)
{
    static const char *const places[] = {
        "newer",         "owner.newer",   "bundle.newer",
        "token.newer",   "fetch.newer",   "unpack.newer",
        "sandbox.newer", "network.newer", "sandbox.limits.newer"};

    (void)arg;
    for (size_t i = 0; i < COUNT(places); i++)
        refused(places[i], "1", "newer");
}

static void every_number_has_its_limits(void **arg)
{
    static const struct {
        const char *path;
        int64_t min, max;
    } rows[] = {
        {"created_ms", 0, INT64_C(1) << 52},
        {"lifetime_s", 1, 86400},
        {"idle_s", 0, 86400},
        {"linger_s", 0, 3600},
        {"linger_detached_s", 0, 3600},
        {"hold_s", 0, 86400},
        {"attach_max_s", 1, 86400},
        {"window_bytes", 4096, 524288}, /* half of the fixture's ring */
        {"input_window_bytes", 4096, 1 << 20},
        {"cols", 1, 1000},
        {"rows", 1, 1000},
        {"token.skew_s", 0, 30},
        {"fetch.max_bytes", 1, INT64_C(64) << 30},
        {"fetch.max_s", 1, 86400},
        {"fetch.min_bytes_s", 0, INT64_C(1) << 30},
        {"fetch.max_redirects", 0, 20},
        {"unpack.max_entries", 1, 10000000},
        {"unpack.max_bytes", 1, INT64_C(256) << 30},
        {"unpack.max_ratio", 1, 1000000},
        {"unpack.max_depth", 1, 256},
        {"unpack.max_name", 1, 4096},
        {"sandbox.limits.nproc", 0, 1 << 20},
        {"sandbox.limits.nofile", 0, 1 << 20},
        {"sandbox.limits.data_bytes", 0, INT64_C(1) << 46},
        {"sandbox.limits.fsize_bytes", 0, INT64_C(1) << 46},
        {"sandbox.limits.cpu_s", 0, INT64_C(365) * 86400},
    };

    (void)arg;
    for (size_t i = 0; i < COUNT(rows); i++) {
        const char *dot = strrchr(rows[i].path, '.');
        const char *name = dot ? dot + 1 : rows[i].path;
        char text[64];

        for (int past = 0; past < 2; past++) {
            snprintf(text, sizeof(text), "%lld",
                     (long long)(rows[i].min - past));
            past ? refused(rows[i].path, text, name)
                 : taken(rows[i].path, text);
            snprintf(text, sizeof(text), "%lld",
                     (long long)(rows[i].max + past));
            past ? refused(rows[i].path, text, name)
                 : taken(rows[i].path, text);
        }
        refused(rows[i].path, "7.5", name);
        refused(rows[i].path, "\"7\"", name);
        refused(rows[i].path, "1e300", name);
    }
}

static void the_ring_is_a_power_of_two_and_holds_two_windows(void **arg)
{
    (void)arg;
    taken("ring_bytes", "67108864");
    taken("ring_bytes", "524288");
    refused("ring_bytes", "134217728", "ring_bytes");
    refused("ring_bytes", "32768", "ring_bytes");
    refused("ring_bytes", "1048577", "ring_bytes");
    refused("ring_bytes", "262144", "window_bytes");
}

static void strings_are_bounded_and_of_their_form(void **arg)
{
    own_mem char *long_sub = mem_zero(300, 1);
    own_mem char *long_url = mem_zero(URL_MAX + 10, 1);
    own_mem char *long_arg = mem_zero(SPEC_ARG_BYTES_MAX + 10, 1);

    (void)arg;
    memset(long_sub, 'a', 258);
    long_sub[0] = long_sub[257] = '"';
    refused("owner.sub", long_sub, "owner.sub");
    refused("owner.iss", long_sub, "owner.iss");
    refused("token.iss", long_sub, "token.iss");
    refused("token.aud", long_sub, "token.aud");
    long_sub[256] = '"';
    long_sub[257] = 0;
    taken("owner.sub", long_sub);
    refused("owner.sub", "\"\"", "owner.sub");

    memset(long_url, 'a', URL_MAX + 2);
    long_url[0] = long_url[URL_MAX + 1] = '"';
    refused("bundle.url", long_url, "bundle.url");
    refused("bundle.url", "\"https://e.com/\\u0001\"", "bundle.url");
    refused("bundle.url", "\"https://e.com/\xc3\xbc\"", "bundle.url");
    refused("bundle.url", "\"https://e.com/a b\"", "bundle.url");

    memset(long_arg, 'a', SPEC_ARG_BYTES_MAX + 5);
    memcpy(long_arg, "[\"", 2);
    memcpy(long_arg + SPEC_ARG_BYTES_MAX + 3, "\"]", 2);
    refused("command", long_arg, "command");

    refused("sid", "\"ABCDEFGHIJKLMNOPQRSTUVWXYZ\"", "sid");
    refused("sid", "\"abcdefghijklmnopqrstuvwxy\"", "sid");
    refused("psk_id", "\"abcdefghijklmnopqrstuvwxy1\"", "psk_id");
    refused("bundle.sha256", "\"abc\"", "sha256");
    refused("bundle.sha256",
            "\"BA7816bf8f01cfea414140de5dae2223"
            "b00361a396177a9cb410ff61f20015ad\"",
            "sha256");
    refused("bundle.size", "-1", "size");
    refused("bundle.signature", "7", "signature");
    refused("sandbox.isolation", "\"half\"", "isolation");
    refused("network.egress", "\"\"", "egress");
    refused("v", "2", "v");
    refused("sandbox.v", "1", "sandbox.v");
    refused("sandbox.cage", "\"loose\"", "cage");
    refused("network.shared", "1", "shared");
    refused("network.v", "0", "network.v");
    refused("network.rules", RULES("a.example", ""), "rules");
    refused("network", "{\"v\":2,\"shared\":false,\"egress\":\"proxy\"}",
            "rules");
    refused("network", PROXIED(RULES("a..example", "")), "domains");
    refused("network", PROXIED(RULES("a.example", "10.0.0.0/99")),
            "allow_cidrs");
    refused("network", PROXIED("{\"domains\":\"a\"}"), "allow_http");
    refused("network", PROXIED("{\"domain\":\"a\"}"), "domain");
    taken("network", PROXIED(RULES("a.example,*.b.example:8443", "")));
    refused("network", BROKERED("none", "{}"), "network.broker: apis");
    refused("network", BROKERED("none", BROKER("other")), "\"other\"");
    refused("network", BROKERED("open", BROKER("openai")), "network.broker");
    taken("network", BROKERED("none", BROKER("openai")));
}

static void a_command_is_a_list_of_words(void **arg)
{
    (void)arg;
    refused("command", "[]", "command");
    refused("command", "\"bin/x\"", "command");
    refused("command", "[\"\"]", "command");
    refused("command", "[\"x\",1]", "command");
    refused("command", "{\"a\":\"b\"}", "command");
}

/* n items between brackets, the caller's. */
static char *items(const char *open, const char *item, int n, const char *close)
{
    struct buf b;
    char *out;

    buf_init(&b, 1 << 20);
    buf_append_str(&b, open);
    for (int i = 0; i < n; i++) {
        if (i)
            buf_append_str(&b, ",");
        for (const char *p = item; *p; p++)
            *p == '#' ? buf_printf(&b, "%d", i) : buf_append(&b, p, 1);
    }
    buf_append_str(&b, close);
    out = mem_str(buf_cstr(&b));
    buf_fini(&b);
    return out;
}

static void lists_have_their_limits(void **arg)
{
    static const struct {
        const char *path, *open, *item, *close;
        int max;
    } rows[] = {
        {"viewers", "[", "\"v#\"", "]", FRAME_VIEWERS_MAX},
        {"command", "[", "\"w#\"", "]", SPEC_ARGS_MAX},
        {"env", "{", "\"N#\":\"\"", "}", SPEC_ENV_COUNT_MAX},
        {"fetch.signing_keys", "[", "\"" PUBKEY "\"", "]", SPEC_KEYS_MAX},
    };

    (void)arg;
    for (size_t i = 0; i < COUNT(rows); i++) {
        const char *dot = strrchr(rows[i].path, '.');
        own_mem char *most =
            items(rows[i].open, rows[i].item, rows[i].max, rows[i].close);
        own_mem char *more =
            items(rows[i].open, rows[i].item, rows[i].max + 1, rows[i].close);

        taken(rows[i].path, most);
        refused(rows[i].path, more, dot ? dot + 1 : rows[i].path);
    }
    refused("viewers", "[\"\"]", "viewers");
    refused("viewers", "[7]", "viewers");
    refused("fetch.signing_keys", "[\"no key\"]", "signing_keys");
    refused("fetch.signing_keys", "\"" PUBKEY "\"", "signing_keys");
    refused("fetch.domains", "\"*\"", "domains");
    refused("fetch.deny_cidrs", "\"10.0.0.1/8\"", "deny_cidrs");
    refused("fetch.public_cache_hosts", "7", "public_cache_hosts");
    refused("token.jwks", "{\"keys\":[]}", "jwks");
}

static void an_environment_is_bounded_and_its_values_never_told(void **arg)
{
    own_mem char *value = mem_zero(SPEC_ENV_BYTES_MAX + 1, 1);
    own_mem char *fits = NULL, *large = NULL;

    (void)arg;
    /* "A" and a "=" and a terminator are counted too */
    memset(value, 'x', SPEC_ENV_BYTES_MAX - 3);
    fits = mem_printf("{\"A\":\"%s\"}", value);
    taken("env", fits);
    large = mem_printf("{\"A\":\"%sy\"}", value);
    refused("env", large, "env");
    refused("env", "[]", "env");
    refused("env", "{\"A\":7}", "\"A\"");
    refused("env", "{\"\":\"x\"}", "env");
    refused("env", "{\"1A\":\"x\"}", "1A");
    refused("env", "{\"A=B\":\"x\"}", "A=B");
    refused("env", "{\"A B\":\"x\"}", "A B");
    refused("env", "{\"\xc3\x84\":\"x\"}", "env");
    assert_null(strstr(said("env", "{\"OK\":\"hunter2\",\"A-\":\"hunter2\"}"),
                       "hunter2"));
}

static void what_is_no_object_is_no_spec(void **arg)
{
    static const char *const texts[] = {"",
                                        "null",
                                        "[]",
                                        "7",
                                        "{}",
                                        "{\"v\":1}",
                                        "{\"v\":1,\"v\":1}",
                                        "{\"v\":1}x",
                                        "\xef\xbb\xbf{}",
                                        "{\"sid\":\"\\u0000\"}"};

    (void)arg;
    for (size_t i = 0; i < COUNT(texts); i++) {
        struct agent_spec s;
        struct err e = {0};

        assert_int_equal(spec_parse(texts[i], strlen(texts[i]), &s, &e), -1);
        assert_int_equal(e.kind, ERR_INPUT);
        assert_non_null(strstr(e.text, "spec"));
    }
}

/* --- the end of it --- */

static void a_refusal_leaves_the_output_alone(void **arg)
{
    own_json struct json *j = spec_bend(spec_fixture(), "network.v", "1");
    struct agent_spec s, before;
    struct err e = {0};

    (void)arg;
    memset(&s, 0x5a, sizeof(s));
    before = s;
    assert_int_equal(spec_of(j, &s, &e), -1);
    assert_memory_equal(&s, &before, sizeof(s));
}

static void an_environment_is_forgotten_alone(void **arg)
{
    own_json struct json *j = spec_fixture();
    struct agent_spec s;
    struct err e = {0};

    (void)arg;
    assert_int_equal(spec_of(j, &s, &e), 0);
    spec_env_forget(&s);
    assert_non_null(s.env);
    assert_null(s.env[0]);
    spec_env_forget(&s); /* twice is nothing */
    assert_string_equal(s.sid, SID);
    spec_fini(&s);
    spec_fini(&s);
    spec_fini(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_whole_spec_is_taken_as_it_stands),
        cmocka_unit_test(the_text_is_read_as_the_tree_is),
        cmocka_unit_test(members_that_may_be_absent_are),
        cmocka_unit_test(every_other_member_must_be_there),
        cmocka_unit_test(a_member_nobody_knows_is_named),
        cmocka_unit_test(every_number_has_its_limits),
        cmocka_unit_test(the_ring_is_a_power_of_two_and_holds_two_windows),
        cmocka_unit_test(strings_are_bounded_and_of_their_form),
        cmocka_unit_test(a_command_is_a_list_of_words),
        cmocka_unit_test(lists_have_their_limits),
        cmocka_unit_test(an_environment_is_bounded_and_its_values_never_told),
        cmocka_unit_test(what_is_no_object_is_no_spec),
        cmocka_unit_test(a_refusal_leaves_the_output_alone),
        cmocka_unit_test(an_environment_is_forgotten_alone),
    };

    return cmocka_run_group_tests(tests, token_setup, token_teardown);
}
