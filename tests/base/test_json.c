#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/json.h"
#include "base/json_scan.h"
#include "base/mem.h"
#include "base/own.h"

#include <string.h>
#include <time.h>

/* rule NULL: taken, and printed as want */
static const struct {
    const char *text, *want, *rule;
} texts[] = {
    {"{}", "{}", NULL},
    {" [ ] ", "[]", NULL},
    {"\t\r\n 1 \n", "1", NULL},
    {"{\"a\":[1,-0,2.5,1e3,true,false,null,\"x\"],\"b\":{\"\":0}}",
     "{\"a\":[1,0,2.5,1000,true,false,null,\"x\"],\"b\":{\"\":0}}", NULL},
    {"\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u0041\"", "\"\\\"\\\\/\\b\\f\\n\\r\\tA\"",
     NULL},
    {"\"\\u00e9\\ud83d\\ude00\"", "\"\xc3\xa9\xf0\x9f\x98\x80\"", NULL},
    {"\"\xc3\xa9\xe2\x82\xac\xf4\x8f\xbf\xbf\"",
     "\"\xc3\xa9\xe2\x82\xac\xf4\x8f\xbf\xbf\"", NULL},
    {"\"\x7f\"", "\"\\u007f\"", NULL},
    {"9007199254740991", "9007199254740991", NULL},
    {"-9007199254740991", "-9007199254740991", NULL},
    {"1234567890123456", "1234567890123456", NULL},
    {"0.1", "0.1", NULL},
    {"1e-7", "1e-07", NULL},
    {"1E+2", "100", NULL},
    {"{\"A\":1,\"a\":2}", "{\"A\":1,\"a\":2}", NULL},
    {"[{\"a\":1},{\"a\":2}]", "[{\"a\":1},{\"a\":2}]", NULL},
    {"", NULL, "byte 0: a value"},
    {" ", NULL, "byte 1: a value"},
    {"\xef\xbb\xbf{}", NULL, "byte 0: a value"},
    {"1 2", NULL, "byte 2: bytes behind"},
    {"{}x", NULL, "behind"},
    {"{}{}", NULL, "behind"},
    {"[1,]", NULL, "byte 3: a value"},
    {"[,1]", NULL, "a value"},
    {"[1 2]", NULL, "comma"},
    {"[1", NULL, "comma"},
    {"[", NULL, "a value"},
    {"]", NULL, "a value"},
    {"{\"a\":1,}", NULL, "a string"},
    {"{\"a\"}", NULL, "colon"},
    {"{\"a\":}", NULL, "a value"},
    {"{a:1}", NULL, "a string"},
    {"{1:1}", NULL, "a string"},
    {"{\"a\":1]", NULL, "comma"},
    {"{'a':1}", NULL, "a string"},
    {"'a'", NULL, "a value"},
    {"True", NULL, "a value"},
    {"tru", NULL, "a value"},
    {"nulll", NULL, "behind"},
    {"NaN", NULL, "a value"},
    {"Infinity", NULL, "a value"},
    {"-Infinity", NULL, "a digit"},
    {"// c\n1", NULL, "a value"},
    {"1/**/", NULL, "behind"},
    {"01", NULL, "behind"},
    {"-01", NULL, "behind"},
    {"+1", NULL, "a value"},
    {"-", NULL, "a digit"},
    {"1.", NULL, "a digit"},
    {".5", NULL, "a value"},
    {"1e", NULL, "a digit"},
    {"1e+-1", NULL, "a digit"},
    {"0x10", NULL, "behind"},
    {"1e999", NULL, "out of range"},
    {"-1e999", NULL, "out of range"},
    {"1111111111111111111111111111111111111111111111111111111111111111", NULL,
     "too many digits"},
    {"\"a", NULL, "without its end"},
    {"\"\\", NULL, "escape"},
    {"\"\\x41\"", NULL, "escape"},
    {"\"\\u12\"", NULL, "hex"},
    {"\"\\u12g4\"", NULL, "hex"},
    {"\"a\nb\"", NULL, "control"},
    {"\"a\tb\"", NULL, "control"},
    {"\"\\u0000\"", NULL, "u0000"},
    {"{\"a\\u0000b\":1}", NULL, "u0000"},
    {"\"\\ud800\"", NULL, "surrogate"},
    {"\"\\udc00\"", NULL, "surrogate"},
    {"\"\\ud800\\u0041\"", NULL, "surrogate"},
    {"\"\\ud800\\ud800\"", NULL, "surrogate"},
    {"\"\\ud800x\"", NULL, "surrogate"},
    {"\"\x80\"", NULL, "UTF-8"},
    {"\"\xc0\xaf\"", NULL, "UTF-8"},
    {"\"\xe0\x80\xaf\"", NULL, "UTF-8"},
    {"\"\xed\xa0\x80\"", NULL, "UTF-8"},
    {"\"\xf4\x90\x80\x80\"", NULL, "UTF-8"},
    {"\"\xf8\x88\x80\x80\x80\"", NULL, "UTF-8"},
    {"\"\xe2\x82\"", NULL, "UTF-8"},
    {"\"\xff\"", NULL, "UTF-8"},
    {"{\"a\":1,\"a\":2}", NULL, "duplicate name \"a\""},
    {"{\"a\":1,\"\\u0061\":2}", NULL, "duplicate name \"a\""},
    {"{\"\":1,\"\":2}", NULL, "duplicate"},
    {"[[{\"x\":{\"y\":0,\"z\":1,\"y\":2}}]]", NULL, "duplicate name \"y\""},
};

static void texts_are_taken_or_refused_by_the_grammar(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct err e = {0};
        own_json struct json *j =
            json_parse(texts[i].text, strlen(texts[i].text), &e);
        own_mem char *out = j ? json_text(j) : NULL;

        if (texts[i].rule ? j != NULL : j == NULL)
            fail_msg("%s: %s", texts[i].text, j ? "taken" : e.text);
        if (j)
            assert_string_equal(out, texts[i].want);
        if (!j && !strstr(e.text, texts[i].rule))
            fail_msg("%s: %s", texts[i].text, e.text);
        if (!j)
            assert_int_equal(e.kind, ERR_INPUT);
    }
}

static void bytes_are_counted_not_terminated(void **state)
{
    struct err e = {0};
    own_json struct json *j = json_parse("12345", 3, &e);
    int64_t v = 0;

    (void)state;
    assert_int_equal(json_int(j, &v), 0);
    assert_int_equal(v, 123);
    assert_null(json_parse("1\0", 2, &e));
    assert_null(json_parse("\"a\0b\"", 5, &e));
    assert_null(json_parse(NULL, 0, &e));
}

static char *nested(size_t depth)
{
    char *text = mem_zero(2 * depth + 2, 1);

    memset(text, '[', depth);
    memset(text + depth, ']', depth);
    return text;
}

static void nesting_ends_at_its_limit(void **state)
{
    own_mem char *fits = nested(JSON_DEPTH_MAX);
    own_mem char *deep = nested(JSON_DEPTH_MAX + 1);
    own_mem char *abyss = nested(1000000);
    own_json struct json *j = NULL;
    struct err e = {0};

    (void)state;
    j = json_parse(fits, strlen(fits), &e);
    assert_non_null(j);
    assert_null(json_parse(deep, strlen(deep), &e));
    assert_non_null(strstr(e.text, "too deep"));
    assert_null(json_parse(abyss, strlen(abyss), &e));
}

/* [0,0,…] of count zeros */
static char *zeros(size_t count)
{
    char *text = mem_zero(2 * count + 2, 1);

    for (size_t i = 0; i < count; i++)
        memcpy(text + 2 * i, ",0", 2);
    text[0] = '[';
    text[2 * count] = ']';
    return text;
}

static void values_are_counted_to_their_limit(void **state)
{
    own_mem char *fits = zeros(JSON_NODES_MAX - 1);
    struct err why = {0};
    own_mem char *more = zeros(JSON_NODES_MAX);
    own_json struct json *j = NULL;
    struct err e = {0};

    (void)state;
    j = json_parse(fits, strlen(fits), &e);
    assert_int_equal(json_count(j), JSON_NODES_MAX - 1);
    assert_null(json_parse(more, strlen(more), &e));
    assert_non_null(strstr(e.text, "too many values"));
    assert_int_equal(e.kind, ERR_INPUT);
    assert_null(json_parse_upto("[0,0]", 5, 2, &why));
    assert_int_equal(why.kind, ERR_TOO_LARGE);
    json_free(j);
    j = json_parse_upto(more, strlen(more), JSON_NODES_MAX + 1, &e);
    assert_int_equal(json_count(j), JSON_NODES_MAX);
}

static void many_names_are_judged_in_no_time(void **state)
{
    own_json struct json *j = NULL;
    struct err e = {0};
    clock_t from;
    struct buf b;

    (void)state;
    buf_init(&b, 1 << 20);
    for (int i = 0; i < JSON_NODES_MAX - 1; i++)
        buf_printf(&b, "%c\"commonprefix%d\":0", i ? ',' : '{', i);
    buf_append_u8(&b, '}');
    from = clock();
    j = json_parse(b.data, b.len, &e);
    assert_non_null(j);
    /* pairwise this takes seconds; generous for sanitizers */
    assert_true((double)(clock() - from) / CLOCKS_PER_SEC < 1.0);
    buf_fini(&b);
}

static void integers_are_whole_and_within_their_bounds(void **state)
{
    static const struct {
        const char *text;
        bool is_int;
        int64_t want;
    } rows[] = {
        {"0", true, 0},
        {"-1", true, -1},
        {"1e3", true, 1000},
        {"1.0", true, 1},
        {"9007199254740991", true, 9007199254740991},
        {"-9007199254740991", true, -9007199254740991},
        {"9007199254740992", false, 0},
        {"-9007199254740992", false, 0},
        {"1e300", false, 0},
        {"0.5", false, 0},
        {"1e-9", false, 0},
        {"\"1\"", false, 0},
        {"true", false, 0},
        {"null", false, 0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct err e = {0};
        own_json struct json *j =
            json_parse(rows[i].text, strlen(rows[i].text), &e);
        int64_t v = 77;

        assert_int_equal(json_int(j, &v), rows[i].is_int ? 0 : -1);
        assert_true(v == (rows[i].is_int ? rows[i].want : 77));
    }
}

static void what_is_built_reads_back(void **state)
{
    own_json struct json *j = json_object();
    own_mem char *text = NULL;
    struct json *list;

    (void)state;
    json_set_str(j, "s", "a\"b");
    json_set_strn(j, "n", "abcdef", 3);
    json_set_int(j, "i", 9007199254740991);
    json_set_int(j, "big", 9000000000000000);
    json_set_num(j, "d", 0.30000000000000004);
    json_set_bool(j, "t", true);
    json_set_bool(j, "f", false);
    json_set_null(j, "z");
    list = json_set(j, "l", json_array());
    json_set_int(list, NULL, 1);
    json_set(list, NULL, json_object());
    text = json_text(j);
    assert_string_equal(
        text, "{\"s\":\"a\\\"b\",\"n\":\"abc\",\"i\":9007199254740991,"
              "\"big\":9000000000000000,\"d\":0.30000000000000004,"
              "\"t\":true,\"f\":false,\"z\":null,\"l\":[1,{}]}");
}

static void setting_a_name_again_replaces_it(void **state)
{
    own_json struct json *j = json_object();
    own_mem char *text = NULL;

    (void)state;
    json_set_int(j, "a", 1);
    json_set_int(j, "A", 2);
    json_set_str(j, "a", "new");
    text = json_text(j);
    assert_string_equal(text, "{\"A\":2,\"a\":\"new\"}");
}

static void a_dropped_member_is_gone_and_no_other(void **state)
{
    own_json struct json *j = json_object();
    own_mem char *text = NULL;

    (void)state;
    json_set_int(j, "a", 1);
    json_set_int(j, "A", 2);
    json_drop(j, "a");
    json_drop(j, "a");
    text = json_text(j);
    assert_string_equal(text, "{\"A\":2}");
}

static void a_duplicate_stands_alone(void **state)
{
    static const char text[] = "{\"in\":{\"a\":[1]}}";
    struct err e = {0};
    struct json *j = json_parse(text, strlen(text), &e);
    own_json struct json *copy = json_dup(json_get(j, "in"));
    own_mem char *out = NULL;

    (void)state;
    json_free(j);
    json_free(NULL);
    assert_null(json_name(copy));
    out = json_text(copy);
    assert_string_equal(out, "{\"a\":[1]}");
}

static void reading_takes_null_and_other_types(void **state)
{
    own_json struct json *list = json_array();
    int64_t i = 7;
    bool b = true;

    (void)state;
    json_set_int(list, NULL, 5);
    assert_null(json_get(NULL, "a"));
    assert_null(json_get(list, "a"));
    assert_null(json_str(list));
    assert_null(json_get_str(NULL, "a"));
    assert_int_equal(json_get_int(NULL, "a", &i), -1);
    assert_int_equal(json_get_bool(NULL, "a", &b), -1);
    assert_int_equal(json_int(NULL, &i), -1);
    assert_int_equal(json_count(NULL), 0);
    assert_int_equal(json_count(json_at(list, 0)), 0);
    assert_null(json_at(NULL, 0));
    assert_null(json_at(list, 1));
    assert_null(json_name(NULL));
    assert_null(json_name(json_at(list, 0)));
    assert_false(json_is_object(NULL) || json_is_array(NULL) ||
                 json_is_string(NULL) || json_is_number(NULL) ||
                 json_is_bool(NULL) || json_is_null(NULL));
    assert_true(i == 7 && b);
}

static void members_are_found_by_exact_name(void **state)
{
    static const char text[] = "{\"Name\":\"A\",\"on\":true,\"no\":false,"
                               "\"n\":3,\"z\":null}";
    struct err e = {0};
    own_json struct json *j = json_parse(text, strlen(text), &e);
    int64_t n = 0;
    bool on = false, no = true;

    (void)state;
    assert_null(json_get_str(j, "name"));
    assert_string_equal(json_get_str(j, "Name"), "A");
    assert_int_equal(json_get_bool(j, "on", &on), 0);
    assert_int_equal(json_get_bool(j, "no", &no), 0);
    assert_true(on && !no);
    assert_int_equal(json_get_int(j, "n", &n), 0);
    assert_int_equal(n, 3);
    assert_null(json_get_str(j, "n"));
    assert_int_equal(json_get_bool(j, "n", &on), -1);
    assert_true(json_is_null(json_get(j, "z")));
    assert_int_equal(json_count(j), 5);
    assert_string_equal(json_name(json_at(j, 4)), "z");
}

static void an_unknown_member_is_named(void **state)
{
    static const char *const names[] = {"a", "b", NULL};
    static const char text[] = "{\"b\":1,\"A\\n\":2}";
    struct err e = {0};
    own_json struct json *j = json_parse(text, strlen(text), &e);
    own_json struct json *fine = json_object();

    (void)state;
    assert_int_equal(json_only(j, names, &e), -1);
    assert_int_equal(e.kind, ERR_INPUT);
    assert_string_equal(e.text, "JSON: unknown member \"A\\n\"");
    json_set_int(fine, "a", 1);
    assert_int_equal(json_only(fine, names, &e), 0);
    assert_int_equal(json_only(NULL, names, &e), -1);
    assert_int_equal(json_only(json_get(fine, "a"), names, &e), -1);
}

static void any_bytes_quote_to_a_string_that_parses(void **state)
{
    struct err e = {0};
    uint8_t all[256];
    struct buf b;

    (void)state;
    for (int i = 0; i < 256; i++)
        all[i] = (uint8_t)i;
    buf_init(&b, 4096);
    assert_int_equal(json_quote(&b, (const char *)all, sizeof(all)), 0);
    for (size_t i = 0; i < b.len; i++)
        assert_true(b.data[i] >= 0x20 && b.data[i] < 0x7f);
    json_free(json_parse(b.data, b.len, &e));
    assert_int_equal(e.kind, ERR_NONE);
    buf_clear(&b);
    json_quote(&b, "\x1b[31m\xc2\x9b\xc3\xa9\x7f\xff", 11);
    assert_string_equal(buf_cstr(&b),
                        "\"\\u001b[31m\\u009b\xc3\xa9\\u007f\\ufffd\"");
    buf_fini(&b);
}

static void a_quote_that_does_not_fit_leaves_the_buffer(void **state)
{
    struct buf b;

    (void)state;
    for (size_t max = 1; max < 13; max++) {
        buf_init(&b, max);
        buf_append_u8(&b, 'x');
        assert_int_equal(json_quote(&b, "ab\ncd\x01", 6), -1);
        assert_string_equal(buf_cstr(&b), "x");
        buf_fini(&b);
    }
    buf_init(&b, 15);
    buf_append_u8(&b, 'x');
    assert_int_equal(json_quote(&b, "ab\ncd\x01", 6), 0);
    buf_fini(&b);
}

static void an_object_is_found_by_a_member(void **state)
{
    static const char text[] = "[1,{\"n\":7},{\"m\":\"b\"},{\"n\":\"b\","
                               "\"x\":1},{\"n\":\"b\",\"x\":2}]";
    struct err e = {0};
    own_json struct json *list = json_parse(text, strlen(text), &e);
    int64_t x;

    (void)state;
    assert_non_null(list);
    assert_int_equal(json_get_int(json_find(list, "n", "b"), "x", &x), 0);
    assert_int_equal(x, 1); /* the first of them */
    assert_null(json_find(list, "n", "c"));
    assert_null(json_find(NULL, "n", "b"));
    assert_true(json_get_is(json_at(list, 2), "m", "b"));
    assert_false(json_get_is(json_at(list, 1), "n", "7"));
    assert_false(json_get_is(NULL, "n", "b"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_object_is_found_by_a_member),
        cmocka_unit_test(texts_are_taken_or_refused_by_the_grammar),
        cmocka_unit_test(bytes_are_counted_not_terminated),
        cmocka_unit_test(nesting_ends_at_its_limit),
        cmocka_unit_test(values_are_counted_to_their_limit),
        cmocka_unit_test(many_names_are_judged_in_no_time),
        cmocka_unit_test(integers_are_whole_and_within_their_bounds),
        cmocka_unit_test(what_is_built_reads_back),
        cmocka_unit_test(setting_a_name_again_replaces_it),
        cmocka_unit_test(a_dropped_member_is_gone_and_no_other),
        cmocka_unit_test(a_duplicate_stands_alone),
        cmocka_unit_test(reading_takes_null_and_other_types),
        cmocka_unit_test(members_are_found_by_exact_name),
        cmocka_unit_test(an_unknown_member_is_named),
        cmocka_unit_test(any_bytes_quote_to_a_string_that_parses),
        cmocka_unit_test(a_quote_that_does_not_fit_leaves_the_buffer),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
