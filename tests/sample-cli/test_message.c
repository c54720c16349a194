#include "sample-cli/message.h"

#include "base/buf.h"
#include "base/mem.h"
#include "base/own.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define COUNT(a) (sizeof(a) / sizeof(*(a)))

static struct buf said;
static int says; /* what the callback returns */

static int take(void *arg, const char *text, size_t len, struct err *e)
{
    (void)arg;
    assert_true(len > 0);
    assert_int_equal(strlen(text), len);
    assert_int_equal(buf_append(&said, text, len), 0);
    return says ? err_set(e, ERR_TOO_LARGE, "enough") : 0;
}

static struct message m;
static struct err e;

static int setup(void **state)
{
    (void)state;
    buf_init(&said, 1 << 20);
    says = 0;
    m = (struct message){.text = take};
    e = (struct err){0};
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    buf_fini(&said);
    return 0;
}

static int event(const char *json)
{
    return message_parse(&m, json, strlen(json), &e);
}

#define DELTA(text)                                                            \
    "{\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":"       \
    "\"text_delta\",\"text\":\"" text "\"}}"

static void events_become_text_and_an_end(void **state)
{
    (void)state;
    assert_int_equal(event("{\"type\":\"message_start\",\"message\":{\"model\":"
                           "\"m-1\",\"content\":[]}}"),
                     0);
    assert_string_equal(m.model, "m-1");
    assert_int_equal(event("{\"type\":\"content_block_start\",\"index\":0}"),
                     0);
    assert_false(m.has_text);
    assert_int_equal(event(DELTA("One, ")), 0);
    assert_int_equal(event(DELTA("tw\\u00f6.")), 0);
    assert_true(m.has_text);
    assert_false(m.is_over);
    assert_int_equal(event("{\"type\":\"message_delta\",\"delta\":{"
                           "\"stop_reason\":\"end_turn\"},\"usage\":{}}"),
                     0);
    assert_null(message_note(&m));
    assert_int_equal(event("{\"type\":\"message_stop\"}"), 0);
    assert_true(m.is_over);
    assert_string_equal(buf_cstr(&said), "One, twö.");
}

static void what_is_not_for_the_reader_is_passed_over(void **state)
{
    static const char *const events[] = {
        "{}",
        "[]",
        "null",
        "7",
        "\"text\"",
        "{\"type\":null}",
        "{\"type\":7}",
        "{\"type\":\"\"}",
        "{\"type\":\"ping\"}",
        "{\"type\":\"of_next_year\",\"delta\":{\"text\":\"x\"}}",
        "{\"type\":\"content_block_delta\"}",
        "{\"type\":\"content_block_delta\",\"delta\":null}",
        "{\"type\":\"content_block_delta\",\"delta\":[]}",
        "{\"type\":\"content_block_delta\",\"delta\":{\"text\":\"x\"}}",
        "{\"type\":\"content_block_delta\",\"delta\":{\"type\":\"text_delta\"}"
        "}",
        "{\"type\":\"content_block_delta\",\"delta\":{\"type\":\"text_delta\","
        "\"text\":[\"x\"]}}",
        "{\"type\":\"content_block_delta\",\"delta\":{\"type\":"
        "\"thinking_delta\",\"thinking\":\"x\",\"text\":\"x\"}}",
        "{\"type\":\"content_block_delta\",\"delta\":{\"type\":"
        "\"input_json_delta\",\"partial_json\":\"x\"}}",
        "{\"type\":\"message_start\"}",
        "{\"type\":\"message_start\",\"message\":{\"model\":7}}",
        "{\"type\":\"message_delta\",\"delta\":{\"stop_reason\":null}}",
        "{\"type\":\"message_delta\",\"delta\":{\"stop_reason\":{}}}",
        DELTA(""),
    };

    (void)state;
    for (size_t i = 0; i < COUNT(events); i++)
        if (event(events[i]) != 0)
            fail_msg("%s: %s", events[i], e.text);
    assert_int_equal(said.len, 0);
    assert_false(m.has_text || m.is_over);
    assert_string_equal(m.stop_reason, "");
    assert_string_equal(m.model, "");
    assert_int_equal(message_event(&m, NULL, &e), 0); /* no event at all */
}

static void what_is_no_json_is_refused(void **state)
{
    static const char *const events[] = {
        "",
        " ",
        "{",
        "}",
        "{\"type\":",
        "nonsense",
        "{\"type\":\"ping\"} x",
        "{\"type\":\"a\",\"type\":\"b\"}",
        DELTA("\\u0000"),
        DELTA("\\ud800"),
        DELTA("\xff"),
        DELTA("\xc3"),
        DELTA("\x01"),
    };
    own_mem char *deep = mem_zero(200001, 1);

    (void)state;
    for (size_t i = 0; i < COUNT(events); i++) {
        e = (struct err){0};
        if (event(events[i]) != -1)
            fail_msg("%s is taken", events[i]);
        assert_int_equal(e.kind, ERR_PEER);
        assert_non_null(strstr(e.text, "an event that cannot be read: "));
    }
    memset(deep, '[', 200000);
    assert_int_equal(event(deep), -1);
    assert_int_equal(message_parse(&m, "{}\0{}", 5, &e), -1);
    assert_int_equal(said.len, 0);
    assert_false(m.has_text);
}

static void words_are_cut_to_their_size(void **state)
{
    own_mem char *word = mem_zero(5001, 1), *start = NULL, *delta = NULL;

    (void)state;
    memset(word, 'w', 5000);
    start = mem_printf("{\"type\":\"message_start\",\"message\":{\"model\":"
                       "\"%s\"}}",
                       word);
    delta = mem_printf("{\"type\":\"message_delta\",\"delta\":{"
                       "\"stop_reason\":\"%s\"}}",
                       word);
    assert_int_equal(event(start), 0);
    assert_int_equal(event(delta), 0);
    assert_int_equal(strlen(m.model), MESSAGE_WORD_MAX - 1);
    assert_int_equal(strlen(m.stop_reason), MESSAGE_WORD_MAX - 1);
    assert_null(message_note(&m));
}

static void an_error_event_says_whether_another_try_helps(void **state)
{
    static const struct {
        const char *json;
        enum err_kind kind;
        const char *text;
    } errors[] = {
        {"{\"type\":\"overloaded_error\",\"message\":\"Overloaded\"}", ERR_BUSY,
         "overloaded_error: Overloaded"},
        {"{\"type\":\"api_error\",\"message\":\"x\"}", ERR_BUSY,
         "api_error: x"},
        {"{\"type\":\"rate_limit_error\"}", ERR_BUSY, "rate_limit_error"},
        {"{\"type\":\"timeout_error\",\"message\":7}", ERR_BUSY,
         "timeout_error"},
        {"{\"type\":\"invalid_request_error\",\"message\":\"\"}", ERR_PEER,
         "invalid_request_error: "},
        {"{\"type\":\"of_next_year\",\"message\":\"x\"}", ERR_PEER,
         "of_next_year: x"},
        {"{\"message\":\"x\"}", ERR_PEER, "an error event without a type"},
        {"{\"type\":null}", ERR_PEER, "an error event without a type"},
        {"\"overloaded_error\"", ERR_PEER, "an error event without a type"},
        {"[]", ERR_PEER, "an error event without a type"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(errors); i++) {
        own_mem char *json =
            mem_printf("{\"type\":\"error\",\"error\":%s}", errors[i].json);

        e = (struct err){0};
        assert_int_equal(event(json), -1);
        assert_int_equal(e.kind, errors[i].kind);
        assert_string_equal(e.text, errors[i].text);
    }
    assert_int_equal(event("{\"type\":\"error\"}"), -1);
}

static void a_long_error_is_cut(void **state)
{
    own_mem char *word = mem_zero(5001, 1), *json = NULL;
    own_json struct json *j = NULL;
    char out[16] = "untouched";

    (void)state;
    memset(word, 'w', 5000);
    json = mem_printf("{\"type\":\"error\",\"error\":{\"type\":\"%s\","
                      "\"message\":\"%s\"}}",
                      word, word);
    assert_int_equal(event(json), -1);
    assert_int_equal(strlen(e.text), ERR_TEXT_MAX - 1);
    j = json_parse(json, strlen(json), &e);
    assert_true(message_error(j, out, sizeof(out)));
    assert_int_equal(strlen(out), sizeof(out) - 1);
    strcpy(out, "untouched");
    assert_false(message_error(NULL, out, sizeof(out)));
    assert_string_equal(out, "untouched");
}

static void what_the_taker_says_stops_it(void **state)
{
    (void)state;
    says = -1;
    assert_int_equal(event(DELTA("x")), -1);
    assert_int_equal(e.kind, ERR_TOO_LARGE);
    assert_string_equal(e.text, "enough");
}

static void each_reason_that_is_no_whole_answer_has_a_note(void **state)
{
    static const char *const cut[] = {"max_tokens", "refusal", "tool_use",
                                      "pause_turn",
                                      "model_context_window_exceeded"};
    static const char *const whole[] = {"end_turn", "stop_sequence", "",
                                        "of_next_year"};

    (void)state;
    for (size_t i = 0; i < COUNT(cut); i++) {
        strcpy(m.stop_reason, cut[i]);
        assert_non_null(message_note(&m));
    }
    for (size_t i = 0; i < COUNT(whole); i++) {
        strcpy(m.stop_reason, whole[i]);
        assert_null(message_note(&m));
    }
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(events_become_text_and_an_end),
        CASE(what_is_not_for_the_reader_is_passed_over),
        CASE(what_is_no_json_is_refused),
        CASE(words_are_cut_to_their_size),
        CASE(an_error_event_says_whether_another_try_helps),
        CASE(a_long_error_is_cut),
        CASE(what_the_taker_says_stops_it),
        CASE(each_reason_that_is_no_whole_answer_has_a_note),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
