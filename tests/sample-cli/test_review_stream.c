/* The Messages API as it is when it is not well: whatever comes, or does not,
 * the review ends in time and says in a sentence what was wrong. */
#include "base/mem.h"
#include "base/own.h"
#include "sample-cli/api.h"
#include "sample-cli/reply.h"
#include "sample-cli/sse.h"
#include "tests/lib/certs.h"
#include "tests/lib/fileserver.h"
#include "tests/lib/reviewbed.h"
#include "tests/lib/tree.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define SLACK_MS 15000 /* a machine that is busy has its time */
#define FAILED "FAIL  Review by Claude: Ask the Messages API: "
#define NOBODY "FAIL  Review by Claude: nobody has answered"

/* An answer of so many repeats, the caller's. */
static char *many(const char *head, const char *piece, size_t count,
                  const char *tail)
{
    size_t h = strlen(head), p = strlen(piece), t = strlen(tail);
    char *out = mem_zero(h + p * count + t + 1, 1), *at = out + h;

    memcpy(out, head, h);
    for (size_t i = 0; i < count; i++, at += p)
        memcpy(at, piece, p);
    memcpy(at, tail, t);
    return out;
}

/* The first connection gets it; the review fails so, within timeout_s. */
static void fails(struct answer answer, int timeout_s, const char *why)
{
    own_mem char *option = mem_printf("--review-timeout=%d", timeout_s);
    own_mem char *want = mem_printf(FAILED "%s", why);
    own_mem char *out = NULL;

    reviewbed.answered = 0;
    reviewbed.answers[0] = answer;
    out = reviewbed_run(NULL, reviewbed.url, option);
    reviewbed_has(out, want);
    reviewbed_has(out, NOBODY);
    reviewbed_has(out, "2 findings in 2 files"); /* the look stands */
    assert_int_equal(reviewbed.answered, 1);
    assert_true(reviewbed.took_ms < timeout_s * 1000 + SLACK_MS);
}

/* --- time --- */

static void silence_ends(void **state)
{
    (void)state;
    fails((struct answer){.hangs = true}, 1, "no whole answer within 1 s");
    fails((struct answer){.bytes = STREAM, .hangs = true}, 1,
          "no whole answer within 1 s");
    fails((struct answer){.bytes = STREAM START TEXT("Half"), .hangs = true}, 1,
          "no whole answer within 1 s");
}

static void slow_bytes_end(void **state)
{
    (void)state;
    fails((struct answer){.bytes = WHOLE, .piece = 1, .piece_ms = 1000}, 3,
          "no whole answer within 3 s");
}

static void pings_alone_end(void **state)
{
    (void)state;
    fails((struct answer){.bytes = STREAM START,
                          .again = "event: ping\ndata: {\"type\":\"ping\"}\n\n",
                          .piece = 64,
                          .piece_ms = 50},
          2, "no whole answer within 2 s");
}

/* --- bytes: each limit by its name --- */

static void an_endless_answer_ends_at_its_limit(void **state)
{
    own_mem char *why =
        mem_printf("an answer of more than %zu bytes", REPLY_MAX);

    (void)state;
    fails((struct answer){.bytes = STREAM START, .again = TEXT("and so on ")},
          60, why);
}

static void an_endless_line_ends_at_its_limit(void **state)
{
    own_mem char *why =
        mem_printf("a line of more than %zu bytes", SSE_LINE_MAX);
    own_mem char *piece = many("", "x", 65536, "");

    (void)state;
    fails((struct answer){.bytes = STREAM "data: ", .again = piece}, 60, why);
}

static void an_endless_event_ends_at_its_limit(void **state)
{
    own_mem char *why =
        mem_printf("an event of more than %zu bytes", SSE_DATA_MAX);
    own_mem char *piece = many("data: ", "x", 65536, "\n");

    (void)state;
    fails((struct answer){.bytes = STREAM, .again = piece}, 60, why);
}

static void an_endless_stream_of_nothing_ends_at_its_limit(void **state)
{
    own_mem char *why =
        mem_printf("answer of more than %zu bytes", API_BYTES_MAX);
    own_mem char *piece = many(": ", "x", 65536, "\n");

    (void)state;
    fails((struct answer){.bytes = STREAM, .again = piece}, 60, why);
}

/* --- what breaks off, or is none --- */

static void what_is_cut_is_no_answer(void **state)
{
    static const struct {
        const char *bytes, *why;
    } cut[] = {
        {STREAM, "the stream broke off: its end is missing"},
        {STREAM START TEXT("Half") "event: content_block_de",
         "the stream broke off: its end is missing"},
        /* in the middle of an event, and of a character */
        {STREAM START "data: {\"type\":\"content_block_delta\",\"delta\":{"
                      "\"type\":\"text_delta\",\"text\":\"\xc3",
         "the stream broke off: its end is missing"},
        {"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
         "Transfer-Encoding: chunked\r\n\r\n40\r\ndata: {",
         "the stream broke off: "},
        {"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
         "Content-Length: 4000\r\n\r\n" START,
         "the stream broke off: "},
        {STREAM START "data: {\"type\":\"content_block_delta\",\"delta\":{"
                      "\"type\":\"text_delta\",\"text\":\"\xc3(\"}}\n\n",
         "an event that cannot be read: "},
        {STREAM START "data: {\"type\":\n\n", "an event that cannot be read: "},
        {STREAM START STOP("end_turn"), "the answer is empty: end_turn"},
        {STREAM START STOP("refusal"), "the answer is empty: refusal"},
        {"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<p>Sign in</p>",
         "the answer is no event stream"},
        {"HTTP/1.1 204 No Content\r\n\r\n",
         "an answer that is not expected (204)"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cut) / sizeof(*cut); i++)
        fails((struct answer){.bytes = cut[i].bytes}, 60, cut[i].why);
}

static void what_came_before_is_shown_as_a_part(void **state)
{
    own_mem char *out = NULL;

    (void)state;
    reviewbed.answers[0].bytes =
        STREAM START TEXT("Half of") "event: error\ndata: "
                                     "{\"type\":\"error\",\"error\":{\"type\":"
                                     "\"overloaded_error\",\"message\":"
                                     "\"Overloaded\"},\"request_id\":"
                                     "\"req_1\"}\n\n";
    out = reviewbed_run(NULL, reviewbed.url, NULL);
    reviewbed_has(out, FAILED "overloaded_error: Overloaded");
    reviewbed_has(out, "\n\nHalf of\n(it broke off here)\n");
    assert_int_equal(reviewbed.answered, 1); /* what was read stands */
}

static void an_error_event_is_told(void **state)
{
    static const struct {
        const char *bytes, *why;
    } told[] = {
        {STREAM START "event: error\ndata: {\"type\":\"error\",\"error\":{"
                      "\"type\":\"invalid_request_error\",\"message\":"
                      "\"bad \\u001b[2J" REVIEWBED_KEY "\"}}\n\n",
         "invalid_request_error: bad \\x1b[2J******"},
        {STREAM START "event: error\ndata: {\"type\":\"error\"}\n\n",
         "an error event without a type"},
        {STREAM START "event: error\ndata: {\"type\":\"error\",\"error\":7}"
                      "\n\n",
         "an error event without a type"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(told) / sizeof(*told); i++)
        fails((struct answer){.bytes = told[i].bytes}, 60, told[i].why);
}

/* --- what is no failure --- */

/* The message's end is its end, whatever becomes of the line. */
static void what_has_its_end_is_whole(void **state)
{
    static const struct answer whole[] = {
        {.bytes = WHOLE, .hangs = true},
        {.bytes = WHOLE, .again = "event: ping\ndata: {\"type\":\"ping\"}\n\n"},
        {.bytes = WHOLE "data: {\"type\":\n\n"},
        {.bytes = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
                  "Content-Length: 4000\r\n\r\n" START TEXT(
                      "Well done ä\\u001b[m.") STOP("end_turn")},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(whole) / sizeof(*whole); i++) {
        own_mem char *out = NULL;

        reviewbed.answered = 0;
        reviewbed.answers[0] = whole[i];
        out = reviewbed_run(NULL, reviewbed.url, "--review-timeout=20");
        reviewbed_has(out, "ok    Review by Claude: by the Messages API\n");
        reviewbed_has(out, "\n\nWell done ä\\x1b[m.\n");
        assert_null(strstr(out, "broke off"));
        assert_true(reviewbed.took_ms < SLACK_MS);
    }
}

static void what_is_not_known_is_passed_over(void **state)
{
    own_mem char *out = NULL;

    (void)state;
    reviewbed.answers[0].bytes = STREAM START
        ": a comment\n\nid: 7\nretry: 10\n\n"
        "event: content_block_start\ndata: {\"type\":\"content_block_start\","
        "\"index\":0,\"content_block\":{\"type\":\"thinking\"}}\n\n"
        "data: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{"
        "\"type\":\"thinking_delta\",\"thinking\":\"secretly\"}}\n\n"
        "event: ping\ndata: {\"type\":\"ping\"}\n\n"
        "event: of_next_year\ndata: {\"type\":\"of_next_year\",\"text\":\"x\"}"
        "\n\ndata: {\"no type\":1}\n\ndata: [1,2]\n\ndata: null\n\n" TEXT(
            "Yes.") STOP("end_turn");
    out = reviewbed_run(NULL, reviewbed.url, NULL);
    reviewbed_has(out, "ok    Review by Claude: by the Messages API");
    reviewbed_has(out, "\n\nYes.\n");
    assert_null(strstr(out, "secretly"));
}

static void an_answer_that_is_none_of_the_whole_says_why(void **state)
{
    static const struct {
        const char *bytes, *why;
    } ends[] = {
        {STREAM START TEXT("Some") STOP("refusal"), "it declined to go on"},
        {STREAM START TEXT("Some") STOP("max_tokens"),
         "cut: it reached the limit of tokens"},
        {STREAM START TEXT("Some") STOP("pause_turn"), "cut: it paused"},
        {STREAM START TEXT("Some") STOP("model_context_window_exceeded"),
         "cut: the model's window is full"},
        {STREAM START TEXT("Some") STOP("tool_use"),
         "cut: it asked for a tool"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(ends) / sizeof(*ends); i++) {
        own_mem char *out = NULL;

        reviewbed.answered = 0;
        reviewbed.answers[0] = (struct answer){.bytes = ends[i].bytes};
        out = reviewbed_run(NULL, reviewbed.url, NULL);
        reviewbed_has(out, "ok    Review by Claude: by the Messages API");
        reviewbed_has(out, "\n\nSome\n(");
        reviewbed_has(out, ends[i].why);
    }
}

/* --- statuses --- */

#define ERROR_BODY(type, text)                                                 \
    "Content-Type: application/json\r\nrequest-id: req_011\r\n"                \
    "Connection: close\r\n\r\n{\"type\":\"error\",\"error\":{\"type\":\"" type \
    "\",\"message\":\"" text "\"},\"request_id\":\"req_011\"}"

static void a_refusal_is_told_in_words_and_not_repeated(void **state)
{
    static const struct {
        const char *bytes, *why;
    } refused[] = {
        {"HTTP/1.1 400 Bad Request\r\n" ERROR_BODY("invalid_request_error",
                                                   "max_tokens: too large"),
         "the request is refused (400): invalid_request_error: max_tokens: "
         "too large"},
        {"HTTP/1.1 401 Unauthorized\r\n" ERROR_BODY("authentication_error",
                                                    "invalid x-api-key"),
         "the key is refused (401): authentication_error: invalid x-api-key"},
        {"HTTP/1.1 403 Forbidden\r\n" ERROR_BODY("permission_error",
                                                 "not yours"),
         "the key is refused (403): permission_error: not yours"},
        {"HTTP/1.1 404 Not Found\r\n" ERROR_BODY("not_found_error", "model: x"),
         "there is no such model or address (404): not_found_error: model: x"},
        {"HTTP/1.1 413 Payload Too Large\r\n" ERROR_BODY("request_too_large",
                                                         "too large"),
         "more was sent than it takes, --review-bytes sends less (413): "
         "request_too_large: too large"},
        {"HTTP/1.1 404 Not Found\r\n\r\n<html>nginx</html>",
         "there is no such model or address (404)\n"},
        {"HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\n\r\n"
         "{\"type\":\"error\",\"error\":{\"type\":7}}",
         "the request is refused (400)\n"},
        {"HTTP/1.1 418 I'm a teapot\r\n\r\n",
         "an answer that is not expected (418)\n"},
        {"HTTP/1.1 302 Found\r\nLocation: /v1/elsewhere\r\n\r\n",
         "a redirect (302) is not followed"},
        {"HTTP/1.1 307 Temporary Redirect\r\n"
         "Location: http://example.com/v1/messages\r\n\r\n",
         "a redirect (307) is not followed"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(refused) / sizeof(*refused); i++)
        fails((struct answer){.bytes = refused[i].bytes}, 60, refused[i].why);
}

/* All beginnings of the key from HUSH_MIN bytes on. */
static void no_key_is_in(const char *out)
{
    assert_null(strstr(out, "sk-test-"));
}

/* Wherever the text is cut, no part of the key that tells anything is left. */
static void a_key_that_is_cut_is_not_told(void **state)
{
    (void)state;
    for (size_t i = 60; i < 256; i += 3) {
        own_mem char *body = many("HTTP/1.1 401 Unauthorized\r\n\r\n{\"type\":"
                                  "\"error\",\"error\":{\"type\":\"t\","
                                  "\"message\":\"",
                                  "A", i, REVIEWBED_KEY "\"}}");
        own_mem char *event = many(STREAM "data: {\"type\":\"error\",\"error\":"
                                          "{\"type\":\"t\",\"message\":\"",
                                   "A", i, REVIEWBED_KEY "\"}}\n\n");
        own_mem char *out = NULL, *more = NULL;

        reviewbed.answered = 0;
        reviewbed.answers[0].bytes = body;
        reviewbed.answers[1].bytes = event;
        out = reviewbed_run(NULL, reviewbed.url, NULL);
        no_key_is_in(out);
        more = reviewbed_run(NULL, reviewbed.url, NULL);
        no_key_is_in(more);
        assert_int_equal(reviewbed.answered, 2);
    }
}

static void an_answer_that_has_the_key_is_told_without(void **state)
{
    static const char *const answers[] = {
        STREAM START TEXT("your key is " REVIEWBED_KEY ".") STOP("end_turn"),
        STREAM START TEXT("your key is sk-test-not") TEXT("-a-real-key.")
            STOP("end_turn"),
        STREAM START TEXT("your key is s") TEXT("k") TEXT("-test-n")
            TEXT("ot-a-real-ke") TEXT("y.") STOP("end_turn"),
    };

    (void)state;
    for (size_t i = 0; i < sizeof(answers) / sizeof(*answers); i++) {
        own_mem char *out = NULL, *json = NULL;

        reviewbed.answered = 0;
        reviewbed.answers[0].bytes = answers[i];
        reviewbed.answers[1].bytes = answers[i];
        out = reviewbed_run(NULL, reviewbed.url, NULL);
        reviewbed_has(out, "your key is **********************.\n");
        json = reviewbed_run(NULL, reviewbed.url, "--json");
        reviewbed_has(json, "your key is **********************.");
    }
}

/* What only begins like it is text, and the stream's end ends it. */
static void what_is_not_the_key_is_not_held_back(void **state)
{
    own_mem char *out = NULL, *cut = NULL;

    (void)state;
    reviewbed.answers[0].bytes =
        STREAM START TEXT("sk-te") TEXT("xt, sk") STOP("end_turn");
    reviewbed.answers[1].bytes = STREAM START TEXT("it is sk-test-not-a-real-");
    out = reviewbed_run(NULL, reviewbed.url, NULL);
    reviewbed_has(out, "\n\nsk-text, sk\n");
    cut = reviewbed_run(NULL, reviewbed.url, NULL);
    reviewbed_has(cut, "\n\nit is *******************\n(it broke off");
}

/* It is in the command's environment, too. */
static void a_command_that_tells_the_key_is_hushed(void **state)
{
    own_mem char *out = NULL, *more = NULL;

    (void)state;
    reviewbed.answers[0].bytes = reviewbed.answers[1].bytes = WHOLE;
    out = reviewbed_run(SH "echo \"bad key $ANTHROPIC_API_KEY\" >&2; exit 1",
                        reviewbed.url, NULL);
    reviewbed_has(out, "command: bad key **********************\n");
    more =
        reviewbed_run(SH "printf '{\"type\":\"result\",\"subtype\":\"success\","
                         "\"is_error\":false,\"result\":\"it is %s\"}\\n' "
                         "\"$ANTHROPIC_API_KEY\"",
                      reviewbed.url, NULL);
    reviewbed_has(more, "\n\nit is **********************\n");
}

/* Another try would meet the same. */
static void a_certificate_that_is_not_trusted_is_told_at_once(void **state)
{
    const struct fileserver_reply plain = {0};
    own_mem char *url = NULL, *name = NULL, *ca = NULL, *none = NULL;
    struct fileserver *s;
    const struct {
        const char **url, **ca;
        const char *why;
    } bad[] = {
        {(const char **)&url, NULL,
         "it is not trusted (--review-ca names other roots): "},
        {(const char **)&name, (const char **)&ca, "--review-ca /"},
        {(const char **)&url, (const char **)&none, "--review-ca /"},
    };

    (void)state;
    certs_make(reviewbed.dir, "srv", "IP:127.0.0.1");
    s = fileserver_start("x", 1, &plain, 1, reviewbed.dir);
    url = mem_printf("ANTHROPIC_BASE_URL=https://127.0.0.1:%d",
                     fileserver_port(s));
    name = mem_printf("ANTHROPIC_BASE_URL=https://localhost:%d",
                      fileserver_port(s));
    ca = mem_printf("--review-ca=%s/srv-ca.pem", reviewbed.dir);
    none = mem_printf("--review-ca=%s/tree/a.c", reviewbed.dir);
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        own_mem char *out =
            reviewbed_run(NULL, *bad[i].url, bad[i].ca ? *bad[i].ca : NULL);
        own_mem char *want = mem_printf(FAILED "%s", bad[i].why);

        reviewbed_has(out, want);
        assert_null(strstr(out, "(try "));
    }
    assert_int_equal(fileserver_requests(s), 0);
    fileserver_stop(s);
}

/* A refusal's body without an end is not read to it. */
static void an_endless_refusal_ends(void **state)
{
    own_mem char *piece = many("", "x", 65536, "");
    own_mem char *why =
        mem_printf("answer of more than %zu bytes", API_BYTES_MAX);

    (void)state;
    fails((struct answer){.bytes = "HTTP/1.1 400 Bad Request\r\n\r\n",
                          .again = piece},
          60, why);
}

static void what_may_pass_is_tried_so_often_and_told(void **state)
{
    static const struct {
        const char *bytes, *why;
    } passing[] = {
        {"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 0\r\n" ERROR_BODY(
             "rate_limit_error", "slower"),
         "too many requests, try again later (429): rate_limit_error: slower "
         "(try 4"},
        {"HTTP/1.1 500 Internal Server Error\r\nRetry-After: 0\r\n" ERROR_BODY(
             "api_error", "Internal server error"),
         "the service has failed, try again later (500): api_error: Internal "
         "server error (try 4"},
        {"HTTP/1.1 529 \r\nRetry-After: 0.1\r\n" ERROR_BODY("overloaded_error",
                                                            "Overloaded"),
         "the service is overloaded, try again later (529): overloaded_error: "
         "Overloaded (try 4"},
        {"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 0\r\n\r\nupstream",
         "the service has failed, try again later (503) (try 4"},
        /* nothing but an end */
        {"", "(try 4"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(passing) / sizeof(*passing); i++) {
        own_mem char *out = NULL;

        reviewbed.answered = 0;
        for (int k = 0; k < API_TRIES_MAX; k++)
            reviewbed.answers[k] = (struct answer){.bytes = passing[i].bytes};
        out = reviewbed_run(NULL, reviewbed.url, "--review-timeout=60");
        reviewbed_has(out, FAILED);
        reviewbed_has(out, passing[i].why);
        reviewbed_has(out, NOBODY);
        /* and when it happens, where that is no mere moment */
        if (strstr(passing[i].bytes, "Retry-After: 0.1"))
            reviewbed_has(out,
                          "retry Review by Claude: Ask the Messages API: ");
        assert_int_equal(reviewbed.answered, API_TRIES_MAX);
    }
}

/* It says to come back after the time is over: that is not waited for. */
static void a_retry_that_would_be_too_late_is_not_waited_for(void **state)
{
    (void)state;
    fails((struct answer){.bytes = "HTTP/1.1 429 Too Many Requests\r\n"
                                   "Retry-After: 86400\r\n" ERROR_BODY(
                                       "rate_limit_error", "tomorrow")},
          60,
          "too many requests, try again later (429): rate_limit_error: "
          "tomorrow\n");
    assert_true(reviewbed.took_ms < SLACK_MS);
}

int main(void)
{
#define CASE(f)                                                                \
    cmocka_unit_test_setup_teardown(f, reviewbed_setup, reviewbed_teardown)
    const struct CMUnitTest tests[] = {
        CASE(silence_ends),
        CASE(slow_bytes_end),
        CASE(pings_alone_end),
        CASE(an_endless_answer_ends_at_its_limit),
        CASE(an_endless_line_ends_at_its_limit),
        CASE(an_endless_event_ends_at_its_limit),
        CASE(an_endless_stream_of_nothing_ends_at_its_limit),
        CASE(what_is_cut_is_no_answer),
        CASE(what_came_before_is_shown_as_a_part),
        CASE(an_error_event_is_told),
        CASE(what_has_its_end_is_whole),
        CASE(what_is_not_known_is_passed_over),
        CASE(an_answer_that_is_none_of_the_whole_says_why),
        CASE(a_refusal_is_told_in_words_and_not_repeated),
        CASE(a_key_that_is_cut_is_not_told),
        CASE(an_answer_that_has_the_key_is_told_without),
        CASE(what_is_not_the_key_is_not_held_back),
        CASE(a_command_that_tells_the_key_is_hushed),
        CASE(a_certificate_that_is_not_trusted_is_told_at_once),
        CASE(an_endless_refusal_ends),
        CASE(what_may_pass_is_tried_so_often_and_told),
        CASE(a_retry_that_would_be_too_late_is_not_waited_for),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
