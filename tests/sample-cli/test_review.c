/* The review, by the real program: with a stand-in for `claude` on PATH, and
 * with a server that speaks the Messages API's event stream. */
#include "base/json.h"
#include "base/mem.h"
#include "base/own.h"
#include "tests/lib/reviewbed.h"
#include "tests/lib/tree.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

static void without_any_way_the_stage_is_skipped(void **state)
{
    own_mem char *out = reviewbed_run(NULL, NULL, NULL);

    (void)state;
    reviewbed_has(out, "skip  Review by Claude: needs `claude` on PATH, or "
                       "ANTHROPIC_API_KEY\n");
    reviewbed_has(out, "2 findings in 2 files");
}

static void no_review_asks_nobody(void **state)
{
    own_mem char *out = reviewbed_run(GOOD, *state, "--no-review");

    assert_null(strstr(out, "Review"));
}

static void the_command_is_asked_and_its_secrets_kept_back(void **state)
{
    own_mem char *out = reviewbed_run(GOOD, NULL, NULL), *prompt = NULL;
    own_mem char *file = mem_printf("%s/bin/claude.prompt", reviewbed.dir);
    size_t len;

    (void)state;
    reviewbed_has(out, "ok    Review by Claude: by the claude command\n");
    reviewbed_has(out, "Review by the claude command\n\nFine\\x1b[2J.\nY\n");
    prompt = tree_get(file, &len);
    reviewbed_has(prompt, "--- a.c, from line 1 ---\nint a; \n");
    assert_null(strstr(prompt, "hunter2"));
    assert_null(strstr(prompt, ".env"));
    assert_null(strstr(prompt, reviewbed.dir));
}

/* Before the answer, so before it was sent. */
static void what_is_sent_and_kept_back_is_named_before(void **state)
{
    own_mem char *out = reviewbed_run(GOOD, NULL, NULL);
    const char *named = strstr(out, "ok    Review by Claude: Name the files in "
                                    "it: parts of a.c; kept back: .env\n");
    const char *asked = strstr(out, "Ask the claude command");

    (void)state;
    assert_non_null(named);
    assert_true(named < asked);
    reviewbed_has(out, ", with parts of\n  a.c\nKept back, as they may hold "
                       "secrets:\n  .env\n");
}

static void of_many_names_the_report_has_all(void **state)
{
    own_mem char *out = NULL;

    (void)state;
    for (int i = 0; i < 120; i++) {
        own_mem char *name =
            mem_printf("tree/some_directory/with\033[2J_%03d.pem", i);

        tree_put(reviewbed.dir, name, "x\n");
    }
    for (int i = 0; i < 15; i++) {
        own_mem char *name = mem_printf("tree/other/with\033[2J_%03d.c", i);

        tree_put(reviewbed.dir, name, "int x;\n");
    }
    out = reviewbed_run(GOOD, NULL, NULL);
    reviewbed_has(out, "with\\x1b[2J_004.c and 7 more; kept back: ");
    reviewbed_has(out, " and 119 more\n");
    reviewbed_has(out, "  other/with\\x1b[2J_011.c\nKept back");
    reviewbed_has(out, "  (21 more that are not listed)\n");
}

static void what_would_be_sent_is_shown_and_nobody_asked(void **state)
{
    own_mem char *out = reviewbed_run(GOOD, *state, "--review-show");
    own_mem char *file = mem_printf("%s/bin/claude.prompt", reviewbed.dir);

    reviewbed_has(out, "\n--- a.c, from line 1 ---\nint a; \n");
    reviewbed_has(out, "skip  Review by Claude: not asked: --review-show\n");
    assert_int_equal(access(file, F_OK), -1);
    assert_int_equal(reviewbed.answered, 0);
}

static void json_names_what_is_sent_and_kept_back(void **state)
{
    own_mem char *out = reviewbed_run(GOOD, NULL, "--json");
    struct err e = {0};
    own_json struct json *j = json_parse(out, strlen(out), &e);
    const struct json *sent = json_get(json_get(j, "review"), "sent");
    int64_t n = 0;

    (void)state;
    assert_int_equal(json_count(json_get(sent, "parts_of")), 1);
    assert_int_equal(json_count(json_get(sent, "kept_back")), 1);
    assert_int_equal(json_get_int(sent, "kept_back_total", &n), 0);
    assert_int_equal(n, 1);
    assert_null(json_get(sent, "text"));
    reviewbed_has(out, "[\"a.c\"]");
    reviewbed_has(out, "[\".env\"]");
}

static void a_command_that_fails_says_why(void **state)
{
    static const struct {
        const char *claude, *says;
    } bad[] = {
        {NOT_SIGNED_IN, "FAIL  Review by Claude: Ask the claude command: Not "
                        "logged in\n"},
        {SH "echo \"error: unknown option '\033[2J'\" >&2; exit 1",
         "command: error: unknown option '\\x1b[2J'\n"},
        {SH "exit 7", "command: it ended with exit code 7\n"},
        {SH "kill -9 $$", "command: it was killed by signal 9\n"},
        {SH "echo garbage; echo '{'", "command: it ended without a result\n"},
        {SH "tr '\\0' x </dev/zero", "command: a line of more than 1048576 "},
        {SH "yes", "command: more than 16777216 bytes"},
        {SH "sleep 100 & sleep 100", "command: no answer within 1 s"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        /* (a machine that is busy has its time) */
        const bool is_slow = strstr(bad[i].says, "within 1 s") != NULL;
        own_mem char *out = reviewbed_run(bad[i].claude, NULL,
                                          is_slow ? "--review-timeout=1"
                                                  : "--review-timeout=60");

        reviewbed_has(out, bad[i].says);
        reviewbed_has(out, i == 0 ? "skip  Review by Claude: no answer: sign in"
                                  : "skip  Review by Claude: no answer: the "
                                    "claude command has failed, and ");
    }
}

static void then_the_api_is_asked(void **state)
{
    own_mem char *out = NULL;

    reviewbed.answers[0] =
        (struct answer){.bytes = WHOLE, .piece = 1}; /* each byte alone */
    out = reviewbed_run(NOT_SIGNED_IN, *state, NULL);
    reviewbed_has(out, "FAIL  Review by Claude: Ask the claude command");
    reviewbed_has(out, "ok    Review by Claude: by the Messages API\n");
    reviewbed_has(out, "\n\nWell done ä\\x1b[m.\n");
    reviewbed_has(reviewbed.request, "POST /v1/messages HTTP/1.1\r\n");
    reviewbed_has(reviewbed.request, "\r\nx-api-key: " REVIEWBED_KEY "\r\n");
    reviewbed_has(reviewbed.request, "\r\nanthropic-version: 2023-06-01\r\n");
    reviewbed_has(reviewbed.request, "\"stream\":true");
    assert_null(strstr(reviewbed.request, "hunter2"));
}

static void what_passes_is_tried_again(void **state)
{
    own_mem char *out = NULL;

    reviewbed.answers[0].bytes =
        REFUSAL("429 Too Many Requests", "rate_limit_error");
    reviewbed.answers[1].bytes = REFUSAL("529 Overloaded", "overloaded_error");
    reviewbed.answers[2].bytes = STREAM START
        "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":"
        "\"overloaded_error\",\"message\":\"x\"}}\n\n";
    reviewbed.answers[3].bytes = WHOLE;
    out = reviewbed_run(NULL, *state, NULL);
    reviewbed_has(out, "ok    Review by Claude: by the Messages API");
    reviewbed_has(out, "(try 4");
    assert_int_equal(reviewbed.answered, 4);
}

static void what_does_not_pass_is_told_once_and_never_the_key(void **state)
{
    own_mem char *out = NULL;

    reviewbed.answers[0].bytes =
        REFUSAL("401 Unauthorized", "authentication_error");
    out = reviewbed_run(NULL, *state, NULL);
    reviewbed_has(
        out, "Messages API: the key is refused (401): authentication_error: "
             "no: ***");
    reviewbed_has(out, "FAIL  Review by Claude: nobody has answered");
    assert_int_equal(reviewbed.answered, 1);
}

static void after_some_tries_it_gives_up(void **state)
{
    own_mem char *out = NULL;

    for (int i = 0; i < 5; i++)
        reviewbed.answers[i].bytes =
            REFUSAL("500 Internal Server Error", "api_error");
    out = reviewbed_run(NULL, *state, NULL);
    reviewbed_has(out, "Messages API: the service has failed, try again "
                       "later (500): api_error");
    assert_int_equal(reviewbed.answered, 4);
}

static void a_stream_that_breaks_off_is_told_with_what_came(void **state)
{
    own_mem char *out = NULL;

    reviewbed.answers[0].bytes = STREAM START TEXT("Half of");
    out = reviewbed_run(NULL, *state, NULL);
    reviewbed_has(out, "Messages API: the stream broke off");
    reviewbed_has(out, "\n\nHalf of\n(it broke off here)\n");
    assert_int_equal(reviewbed.answered, 1);
}

static void an_answer_that_was_cut_says_so(void **state)
{
    own_mem char *out = NULL;

    reviewbed.answers[0].bytes = STREAM START TEXT("Much") STOP("max_tokens");
    out = reviewbed_run(NULL, *state, NULL);
    reviewbed_has(out, "\n\nMuch\n(cut: it reached the limit of tokens)\n");
}

static void a_key_goes_over_http_to_this_machine_alone(void **state)
{
    own_mem char *out =
        reviewbed_run(NULL, "ANTHROPIC_BASE_URL=http://example.com", NULL);

    (void)state;
    reviewbed_has(
        out, "ANTHROPIC_BASE_URL: http is for this machine alone, example.com "
             "must be https");
}

/* The member of the review in what --json has printed, the caller's. */
static char *in_json(const char *out, const char *name)
{
    struct err e = {0};
    own_json struct json *j = json_parse(out, strlen(out), &e);
    const char *text;

    if (!j)
        fail_msg("%s:\n%s", e.text, out);
    text = json_get_str(json_get(j, "review"), name);
    return mem_str(text ? text : "(none)");
}

static void json_has_the_review(void **state)
{
    own_mem char *out = reviewbed_run(GOOD, NULL, "--json"), *text = NULL;
    own_mem char *by = in_json(out, "by");

    (void)state;
    text = in_json(out, "text");
    assert_string_equal(by, "claude-command");
    assert_string_equal(text, "Fine\033[2J.\nY");
}

static void json_names_the_api_and_its_model(void **state)
{
    own_mem char *out = NULL, *by = NULL, *model = NULL;

    reviewbed.answers[0].bytes = WHOLE;
    out = reviewbed_run(NULL, *state, "--json");
    by = in_json(out, "by");
    model = in_json(out, "model");
    assert_string_equal(by, "messages-api");
    assert_string_equal(model, "claude-sonnet-5");
}

static void json_says_why_each_way_has_failed(void **state)
{
    own_mem char *out = NULL;
    struct err e = {0};
    own_json struct json *j = NULL;
    const struct json *tried, *api;
    int64_t tries = 0;

    for (int i = 0; i < 4; i++)
        reviewbed.answers[i].bytes = REFUSAL("529 Overloaded", "x_error");
    out = reviewbed_run(SH "exit 7", *state, "--json");
    j = json_parse(out, strlen(out), &e);
    tried = json_get(json_get(j, "review"), "tried");
    assert_int_equal(json_count(tried), 2);
    assert_true(json_get_is(json_at(tried, 0), "by", "claude-command"));
    assert_true(json_get_is(json_at(tried, 0), "state", "failed"));
    assert_true(
        json_get_is(json_at(tried, 0), "detail", "it ended with exit code 7"));
    api = json_at(tried, 1);
    assert_true(json_get_is(api, "by", "messages-api"));
    assert_non_null(strstr(json_get_str(api, "detail"), "overloaded, try again "
                                                        "later (529)"));
    assert_int_equal(json_get_int(api, "tries", &tries), 0);
    assert_int_equal(tries, 4);
}

/* Text came: it is no answer, but nobody is missing. */
static void a_command_that_broke_off_is_a_failure(void **state)
{
    static const char broke[] =
        SH "echo '{\"type\":\"stream_event\",\"event\":{\"type\":"
           "\"content_block_delta\",\"delta\":{\"type\":\"text_delta\","
           "\"text\":\"Half\"}}}'; exit 1";
    own_mem char *out = reviewbed_run(broke, NULL, NULL);

    (void)state;
    reviewbed_has(out, "FAIL  Review by Claude: the answer broke off\n");
    reviewbed_has(out, "\n\nHalf\n(it broke off here)\n");
}

static void json_says_that_there_was_nobody_to_ask(void **state)
{
    own_mem char *out = reviewbed_run(NULL, NULL, "--json");
    own_mem char *how = in_json(out, "state"), *why = in_json(out, "detail");

    (void)state;
    assert_string_equal(how, "skipped");
    reviewbed_has(why, "needs `claude` on PATH");
}

int main(void)
{
#define CASE(f)                                                                \
    cmocka_unit_test_setup_teardown(f, reviewbed_setup, reviewbed_teardown)
    const struct CMUnitTest tests[] = {
        CASE(without_any_way_the_stage_is_skipped),
        CASE(no_review_asks_nobody),
        CASE(the_command_is_asked_and_its_secrets_kept_back),
        CASE(what_is_sent_and_kept_back_is_named_before),
        CASE(of_many_names_the_report_has_all),
        CASE(what_would_be_sent_is_shown_and_nobody_asked),
        CASE(json_names_what_is_sent_and_kept_back),
        CASE(a_command_that_fails_says_why),
        CASE(then_the_api_is_asked),
        CASE(what_passes_is_tried_again),
        CASE(what_does_not_pass_is_told_once_and_never_the_key),
        CASE(after_some_tries_it_gives_up),
        CASE(a_stream_that_breaks_off_is_told_with_what_came),
        CASE(an_answer_that_was_cut_says_so),
        CASE(a_key_goes_over_http_to_this_machine_alone),
        CASE(json_has_the_review),
        CASE(json_names_the_api_and_its_model),
        CASE(json_says_why_each_way_has_failed),
        CASE(a_command_that_broke_off_is_a_failure),
        CASE(json_says_that_there_was_nobody_to_ask),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
