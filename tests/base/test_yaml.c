/*
 * YAML as an operator writes it: what is taken means what it means to
 * kubectl; what is read differently by one version or another is refused,
 * with its line.
 */
#include "base/yaml.h"

#include "base/mem.h"
#include "base/own.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void takes(const char *yaml, const char *json)
{
    struct err e = {0};
    own_json struct json *j = yaml_parse(yaml, strlen(yaml), &e);
    own_mem char *text = NULL;

    if (!j)
        fail_msg("%s: %s", yaml, e.text);
    text = json_text(j);
    assert_string_equal(text, json);
}

static void refuses_bytes(const char *yaml, size_t len, const char *why)
{
    struct err e = {0};
    own_json struct json *j = yaml_parse(yaml, len, &e);

    if (j)
        fail_msg("taken: %s", yaml);
    assert_int_equal(e.kind, ERR_INPUT);
    if (!strstr(e.text, why))
        fail_msg("%s: not \"%s\" but \"%s\"", yaml, why, e.text);
}

static void refuses(const char *yaml, const char *why)
{
    refuses_bytes(yaml, strlen(yaml), why);
}

static void a_manifest_becomes_its_json(void **arg)
{
    (void)arg;
    takes("apiVersion: batch/v1\n"
          "kind: Job # a comment\n"
          "metadata:\n"
          "  labels: {app: x, \"quoted\": 'it''s'}\n"
          "spec:\n"
          "  items:\n"
          "  - name: one\n"
          "    ok: true\n"
          "  - two\n"
          "  text: |\n"
          "    line\n"
          "    line\n"
          "  folded: >-\n"
          "    a\n"
          "    b\n"
          "  nothing:\n",
          "{\"apiVersion\":\"batch/v1\",\"kind\":\"Job\","
          "\"metadata\":{\"labels\":{\"app\":\"x\",\"quoted\":\"it's\"}},"
          "\"spec\":{\"items\":[{\"name\":\"one\",\"ok\":true},\"two\"],"
          "\"text\":\"line\\nline\\n\",\"folded\":\"a b\",\"nothing\":null}}");
    takes("---\na: 1\n...\n", "{\"a\":1}");
}

static void plain_words_have_the_types_of_the_core_schema(void **arg)
{
    static const struct {
        const char *yaml, *json;
    } cases[] = {
        {"a: 1", "1"},
        {"a: -5", "-5"},
        {"a: +1", "1"},
        {"a: 0", "0"},
        {"a: 1.5", "1.5"},
        {"a: .5", "0.5"},
        {"a: 1e3", "1000"},
        {"a: true", "true"},
        {"a: False", "false"},
        {"a: ~", "null"},
        {"a: null", "null"},
        {"a:", "null"},
        {"a: word", "\"word\""},
        {"a: 10m", "\"10m\""},
        {"a: 4Gi", "\"4Gi\""},
        {"a: 1.2.3", "\"1.2.3\""},
        {"a: 10.244.0.0/16", "\"10.244.0.0/16\""},
        {"a: ::1", "\"::1\""},
        {"a: \"1\"", "\"1\""},
        {"a: '0440'", "\"0440\""},
        {"a: \"yes\"", "\"yes\""},
        {"a: 1b2c", "\"1b2c\""},
        {"a: 01:ab:02", "\"01:ab:02\""},
        {"a: 0xyz", "\"0xyz\""},
        {"a: e5", "\"e5\""},
        {"a: 4503599627370496", "4503599627370496"},
        {"a: -4503599627370496", "-4503599627370496"},
    };

    (void)arg;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        own_mem char *json = mem_printf("{\"a\":%s}", cases[i].json);

        takes(cases[i].yaml, json);
    }
}

/* As kubectl reads a mode. */
static void digits_behind_a_zero_are_octal(void **arg)
{
    (void)arg;
    takes("defaultMode: 0440", "{\"defaultMode\":288}");
    refuses("a: 09", "line 1: a number with a 0 in front");
}

static void what_versions_read_differently_is_refused(void **arg)
{
    static const char *const words[] = {"yes", "No",   "on",    "OFF", "y",
                                        "N",   ".inf", "-.inf", ".NaN"};
    static const char *const numbers[] = {"0x10", "0o7", "0b1", "12:30",
                                          "1_000"};
    static const char *const broken[] = {"2024-01-01", "5e", "3+4", "1e400"};

    (void)arg;
    for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++) {
        own_mem char *yaml = mem_printf("a: 1\nb: %s", words[i]);

        refuses(yaml, "line 2: a word that YAML's versions read differently");
    }
    for (size_t i = 0; i < sizeof(numbers) / sizeof(*numbers); i++) {
        own_mem char *yaml = mem_printf("a: %s", numbers[i]);

        refuses(yaml, "line 1: a number that YAML's versions read");
    }
    for (size_t i = 0; i < sizeof(broken) / sizeof(*broken); i++) {
        own_mem char *yaml = mem_printf("a: %s", broken[i]);

        refuses(yaml, "line 1: a number that cannot be read: quote it");
    }
    refuses("a: 4503599627370497", "out of range");
    refuses("a: 99999999999999999999999", "out of range");
}

static void what_hides_what_is_meant_is_refused(void **arg)
{
    (void)arg;
    refuses("a: &x 1\nb: *x", "line 1: anchors and aliases");
    refuses("b: *x", "anchors and aliases");
    refuses("&x a: 1", "anchors and aliases");
    refuses("a: &m {b: 1}", "anchors and aliases");
    refuses("a: !!str 1", "line 1: tags are not taken");
    refuses("a: !x {b: 1}", "tags are not taken");
    refuses("<<: {a: 1}", "merge keys");
    refuses("a: 1\na: 2", "line 2: a name that is twice");
    refuses("? [x]\n: y", "a name that is no string");
    refuses("a: 1\n---\nb: 2", "a second document");
}

static void what_is_no_document_is_refused(void **arg)
{
    (void)arg;
    refuses("", "nothing is there");
    refuses_bytes(NULL, 0, "nothing is there"); /* an empty file's buffer */
    refuses("# a comment\n", "nothing is there");
    refuses("- a", "not a mapping");
    refuses("a", "not a mapping");
    refuses("a: {", "line ");
    refuses("a: b: c", "line 1: ");
    refuses("a:\n\t- b", "line 2: ");
    refuses_bytes("a: \"x\\0y\"", 9, "a zero byte");
    refuses_bytes("\"a\\0b\": 1", 9, "a zero byte");
    refuses_bytes("a: \xff\xfe", 5, "line ");
    refuses_bytes("a: b\0c", 6, "line ");
}

static void every_limit_is_kept(void **arg)
{
    const size_t len = YAML_BYTES_MAX + 1;
    own_mem char *text = mem_zero(len + 1, 1);
    struct buf b;

    (void)arg;
    memset(text, '#', len);
    refuses_bytes(text, len, "more than 1048576 bytes");
    for (int depth = JSON_DEPTH_MAX; depth <= JSON_DEPTH_MAX + 1; depth++) {
        buf_init(&b, 4096);
        buf_append_str(&b, "a: ");
        for (int i = 1; i < depth; i++)
            buf_append_str(&b, "[");
        for (int i = 1; i < depth; i++)
            buf_append_str(&b, "]");
        if (depth == JSON_DEPTH_MAX) {
            struct err e = {0};
            own_json struct json *j = yaml_parse(b.data, b.len, &e);

            assert_non_null(j);
        } else {
            refuses_bytes((char *)b.data, b.len, "nested too deeply");
        }
        buf_fini(&b);
    }
    buf_init(&b, 4 * JSON_NODES_MAX);
    buf_append_str(&b, "a: [");
    for (int i = 0; i < JSON_NODES_MAX; i++)
        buf_append_str(&b, "1,");
    buf_append_str(&b, "]");
    refuses_bytes((char *)b.data, b.len, "too many values");
    buf_fini(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_manifest_becomes_its_json),
        cmocka_unit_test(plain_words_have_the_types_of_the_core_schema),
        cmocka_unit_test(digits_behind_a_zero_are_octal),
        cmocka_unit_test(what_versions_read_differently_is_refused),
        cmocka_unit_test(what_hides_what_is_meant_is_refused),
        cmocka_unit_test(what_is_no_document_is_refused),
        cmocka_unit_test(every_limit_is_kept),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
