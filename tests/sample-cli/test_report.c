#include "sample-cli/report.h"

#include "base/json.h"
#include "base/own.h"

#include <locale.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static struct look look;

static int setup(void **state)
{
    static const struct look_conf conf = {.root = "/a tree"};

    (void)state;
    look_init(&look, &conf);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    look_fini(&look);
    return 0;
}

/* What is told, the caller's. style NULL: as JSON. */
static char *told(const struct report_style *style)
{
    char *text = NULL;
    size_t len;
    FILE *f = open_memstream(&text, &len);

    if (style)
        report_text(f, &look, style);
    else
        report_json(f, &look, NULL, NULL);
    fclose(f);
    return text;
}

static void fill(void)
{
    look.walk.count = 1234;
    look.read = 1234;
    look.langs[LANG_C] = (struct look_lang){1, 1, 1};
    look.langs[LANG_SHELL] = (struct look_lang){2000, 1234567, 5 << 20};
    findings_add(&look.findings, RULE_MARKER, "b/x", 3, "sentence one");
    findings_add(&look.findings, RULE_LARGE, "a\033[2Jb", 0, "sentence two");
    findings_add(&look.findings, RULE_NOT_LOOKED_AT, "", 0, "sentence three");
}

static void findings_stand_by_path_with_their_sentence(void **state)
{
    const struct report_style style = {.is_utf8 = true};
    own_mem char *text = NULL;

    (void)state;
    fill();
    text = told(&style);
    assert_string_equal(
        text, "\n"
              "C                   1 file           1 line        1 byte\n"
              "Shell           2,000 files  1,234,567 lines      5.0 MiB\n"
              "\n"
              ".: sentence three\n"
              "a\\x1b[2Jb: sentence two\n"
              "b/x:3: sentence one\n"
              "\n"
              "3 findings in 1,234 files\n");
    look.walk.count = 0; /* none of it is real */
}

static void nothing_found_is_said(void **state)
{
    const struct report_style plain = {0}, color = {.has_color = true};
    own_mem char *text = NULL, *bright = NULL;

    (void)state;
    text = told(&plain);
    assert_string_equal(text, "\nnothing found in 0 files\n");
    bright = told(&color);
    assert_string_equal(bright, "\n\033[32mnothing found\033[0m in 0 files\n");
}

static void what_is_counted_and_not_kept_is_said(void **state)
{
    const struct report_style style = {0};
    own_mem char *text = NULL;

    (void)state;
    for (int i = 0; i < FINDINGS_KEPT_MAX + 1500; i++)
        findings_add(&look.findings, RULE_MARKER, "f", i + 1, "x");
    text = told(&style);
    assert_non_null(strstr(text, "f:200: x\n(1,500 more that are counted and "
                                 "not listed)\n\n1,700 findings"));
}

/* Two names that JSON cannot tell apart are told apart beside it. */
static void a_name_that_is_no_utf8_is_given_escaped_too(void **state)
{
    own_json struct json *j = NULL;
    own_mem char *text = NULL;
    const struct json *list;
    struct err e = {0};

    (void)state;
    look.conf.root = "/a\xff";
    findings_add(&look.findings, RULE_MARKER, "b\xfe\\", 1, "one");
    findings_add(&look.findings, RULE_MARKER, "c\\", 1, "two");
    text = told(NULL);
    j = json_parse(text, strlen(text) - 1, &e);
    assert_non_null(j);
    assert_string_equal(json_get_str(j, "root"), "/a\xef\xbf\xbd");
    assert_string_equal(json_get_str(j, "root_escaped"), "/a\\xff");
    list = json_get(j, "findings");
    assert_string_equal(json_get_str(json_at(list, 0), "path"),
                        "b\xef\xbf\xbd\\");
    assert_string_equal(json_get_str(json_at(list, 0), "path_escaped"),
                        "b\\xfe\\\\");
    assert_string_equal(json_get_str(json_at(list, 1), "path"), "c\\");
    assert_null(json_get(json_at(list, 1), "path_escaped"));
}

static void json_says_the_same(void **state)
{
    own_json struct json *j = NULL;
    own_mem char *text = NULL;
    const struct json *list;
    struct err e = {0};
    int64_t n = 0;
    bool b = true;

    (void)state;
    fill();
    look.walk.dirs = 6;
    look.walk.links = 2;
    look.walk.others = 5;
    look.walk.bytes = 1LL << 40;
    text = told(NULL);
    assert_int_equal(text[strlen(text) - 1], '\n');
    j = json_parse(text, strlen(text) - 1, &e);
    assert_non_null(j);
    assert_string_equal(json_get_str(j, "root"), "/a tree");
    assert_int_equal(json_get_int(j, "files", &n), 0);
    assert_int_equal(n, 1234);
    assert_int_equal(json_get_int(j, "directories", &n), 0);
    assert_int_equal(n, 7);
    assert_int_equal(json_get_int(j, "symlinks", &n), 0);
    assert_int_equal(n, 2);
    assert_int_equal(json_get_int(j, "special_files", &n), 0);
    assert_int_equal(n, 5);
    assert_int_equal(json_get_int(j, "bytes", &n), 0);
    assert_true(n == 1LL << 40);
    assert_int_equal(json_get_bool(j, "is_complete", &b), 0);
    assert_false(b);
    list = json_get(j, "languages");
    assert_int_equal(json_count(list), 2);
    assert_string_equal(json_get_str(json_at(list, 1), "name"), "Shell");
    assert_int_equal(json_get_int(json_at(list, 1), "lines", &n), 0);
    assert_int_equal(n, 1234567);
    list = json_get(j, "findings");
    assert_int_equal(json_count(list), 3);
    assert_string_equal(json_get_str(json_at(list, 0), "path"), ".");
    assert_null(json_get(json_at(list, 0), "line"));
    assert_string_equal(json_get_str(json_at(list, 1), "path"), "a\033[2Jb");
    assert_string_equal(json_get_str(json_at(list, 1), "rule"), "large-file");
    assert_int_equal(json_get_int(json_at(list, 2), "line", &n), 0);
    assert_int_equal(n, 3);
    assert_int_equal(json_count(json_get(j, "counts")), RULE_COUNT);
    assert_int_equal(json_get_int(json_get(j, "counts"), "marker", &n), 0);
    assert_int_equal(n, 1);
    assert_int_equal(json_get_int(j, "total", &n), 0);
    assert_int_equal(n, 3);
    assert_null(json_get(j, "review")); /* nobody was to be asked */
    look.walk.count = 0;
}

/* The review of a report in JSON, the caller's with all of *j. */
static const struct json *review_in(struct review *r, struct task stage,
                                    struct json **j)
{
    own_mem char *text = NULL;
    struct err e = {0};
    size_t len;
    FILE *f = open_memstream(&text, &len);

    report_json(f, &look, r, &stage);
    fclose(f);
    *j = json_parse(text, len, &e);
    assert_non_null(*j);
    assert_non_null(json_get(*j, "review"));
    return json_get(*j, "review");
}

static void json_has_the_review_as_it_was_sent(void **state)
{
    static const char sent[] = "a\033[2J\xff\n\"b\"";
    struct review r = {.way = REVIEW_BY_API, .note = "cut"};
    own_json struct json *j = NULL;
    const struct json *got;
    bool is_whole = false;

    (void)state;
    buf_init(&r.reply.text, REPLY_MAX);
    buf_append_str(&r.reply.text, sent);
    got = review_in(
        &r, (struct task){.state = TASK_DONE, .detail = "by somebody"}, &j);
    assert_string_equal(json_get_str(got, "state"), "done");
    assert_string_equal(json_get_str(got, "detail"), "by somebody");
    assert_string_equal(json_get_str(got, "by"), "messages-api");
    assert_string_equal(json_get_str(got, "model"), REVIEW_MODEL);
    assert_string_equal(json_get_str(got, "text"),
                        "a\033[2J\xef\xbf\xbd\n\"b\"");
    assert_string_equal(json_get_str(got, "note"), "cut");
    assert_int_equal(json_get_bool(got, "is_whole", &is_whole), 0);
    assert_true(is_whole);
    buf_fini(&r.reply.text);
}

static void json_has_a_part_of_a_review_as_a_part(void **state)
{
    struct review r = {.way = REVIEW_BY_COMMAND, .is_broken = true};
    own_json struct json *j = NULL;
    const struct json *got;
    bool is_whole = true;

    (void)state;
    buf_init(&r.reply.text, REPLY_MAX);
    buf_append_str(&r.reply.text, "half");
    got = review_in(&r, (struct task){.state = TASK_FAILED}, &j);
    assert_string_equal(json_get_str(got, "state"), "failed");
    assert_string_equal(json_get_str(got, "by"), "claude-command");
    assert_null(json_get(got, "model")); /* the command's own: not known */
    assert_null(json_get(got, "note"));
    assert_string_equal(json_get_str(got, "text"), "half");
    assert_int_equal(json_get_bool(got, "is_whole", &is_whole), 0);
    assert_false(is_whole);
    buf_fini(&r.reply.text);
}

static void json_says_why_there_is_no_review(void **state)
{
    struct review r = {0};
    own_json struct json *j = NULL;
    const struct json *got;

    (void)state;
    buf_init(&r.reply.text, REPLY_MAX);
    got = review_in(&r, (struct task){.state = TASK_SKIPPED, .detail = "why"},
                    &j);
    assert_string_equal(json_get_str(got, "state"), "skipped");
    assert_string_equal(json_get_str(got, "detail"), "why");
    assert_null(json_get(got, "by"));
    assert_null(json_get(got, "text"));
}

static void json_of_nothing_is_whole_and_names_are_made_utf8(void **state)
{
    own_json struct json *j = NULL;
    own_mem char *text = NULL;
    struct err e = {0};
    bool b = false;

    (void)state;
    findings_add(&look.findings, RULE_LARGE, "\xff", 0, "x");
    text = told(NULL);
    j = json_parse(text, strlen(text) - 1, &e);
    assert_non_null(j);
    assert_int_equal(json_get_bool(j, "is_complete", &b), 0);
    assert_true(b);
    assert_int_equal(json_count(json_get(j, "languages")), 0);
    assert_string_equal(
        json_get_str(json_at(json_get(j, "findings"), 0), "path"),
        "\xef\xbf\xbd");
}

static void the_head_names_the_tree_escaped(void **state)
{
    const struct report_style style = {0};
    own_mem char *text = NULL;
    size_t len;
    FILE *f = open_memstream(&text, &len);

    (void)state;
    report_head(f, "/x\n\xc3\xa9", &style);
    fclose(f);
    assert_string_equal(text, "sample-cli " PODTERM_VERSION
                              " looks over /x\\x0a\\u{e9}\n\n");
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(findings_stand_by_path_with_their_sentence),
        CASE(nothing_found_is_said),
        CASE(what_is_counted_and_not_kept_is_said),
        CASE(json_says_the_same),
        CASE(a_name_that_is_no_utf8_is_given_escaped_too),
        CASE(json_has_the_review_as_it_was_sent),
        CASE(json_has_a_part_of_a_review_as_a_part),
        CASE(json_says_why_there_is_no_review),
        CASE(json_of_nothing_is_whole_and_names_are_made_utf8),
        CASE(the_head_names_the_tree_escaped),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
