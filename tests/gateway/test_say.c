/* Tests gateway/say.c: what clients are told is whole frames of strict JSON. */
#include "gateway/say.h"

#include "base/frame.h"
#include "base/json.h"
#include "gateway/wsframe.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Take one frame off the front; its payload. */
static const uint8_t *take(struct cursor *c, uint8_t opcode, size_t *len)
{
    const uint8_t *head = c->data + c->pos, *payload;
    struct wsframe f;

    assert_int_equal(wsframe_read(head, cursor_left(c), false, false, &f), 0);
    assert_int_equal(f.opcode, opcode);
    assert_int_equal(buf_take_bytes(c, f.head_len, &head), 0);
    assert_int_equal(buf_take_bytes(c, (size_t)f.len, &payload), 0);
    *len = (size_t)f.len;
    return payload;
}

static struct json *error_of(struct buf *out, int code)
{
    struct cursor c = cursor_of(out->data, out->len);
    struct frame f;
    struct json *j;
    struct err e = {0};
    const uint8_t *p;
    size_t len;

    p = take(&c, WSFRAME_BINARY, &len);
    assert_int_equal(frame_parse(p, len, false, &f), 0);
    assert_int_equal(f.type, FRAME_ERROR);
    j = json_parse(f.body, f.body_len, &e);
    assert_non_null(j);
    p = take(&c, WSFRAME_CLOSE, &len);
    assert_int_equal(len, 2);
    assert_int_equal(p[0] << 8 | p[1], code);
    assert_int_equal(cursor_left(&c), 0);
    return j;
}

static void every_word_has_its_close_code(void **state)
{
    static const struct {
        enum err_kind kind;
        const char *word;
        int code;
    } cases[] = {
        {ERR_INPUT, "bad_request", 4400},     {ERR_TOKEN, "token", 4401},
        {ERR_DENIED, "denied", 4403},         {ERR_ABSENT, "denied", 4403},
        {ERR_CONFLICT, "bad_request", 4400},  {ERR_REPLACED, "replaced", 4409},
        {ERR_ENDED, "session_ended", 4410},   {ERR_BUSY, "busy", 4429},
        {ERR_PEER, "agent_lost", 4502},       {ERR_SYSTEM, "unavailable", 4503},
        {ERR_TIMEOUT, "start_timeout", 4504},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct refusal r = {.kind = cases[i].kind, .message = "Why."};
        struct json *j;
        struct buf out;

        buf_init(&out, SAY_MAX);
        say_refusal(&out, &r);
        j = error_of(&out, cases[i].code);
        assert_string_equal(json_get_str(j, "code"), cases[i].word);
        assert_string_equal(json_get_str(j, "message"), "Why.");
        json_free(j);
        buf_fini(&out);
    }
}

static void an_end_is_told_with_all_that_is_known(void **state)
{
    struct refusal r = {.kind = ERR_ENDED,
                        .message = "It \"ended\"\n",
                        .detail = "No \"space\" left.",
                        .reason = REASON_EXITED,
                        .has_exit = true,
                        .exit_code = 7,
                        .output_end = 123456789012};
    struct buf out;
    struct json *j;
    int64_t n;

    (void)state;
    buf_init(&out, SAY_MAX);
    say_refusal(&out, &r);
    j = error_of(&out, 4410);
    assert_string_equal(json_get_str(j, "reason"), "exited");
    assert_string_equal(json_get_str(j, "message"), "It \"ended\"\n");
    assert_string_equal(json_get_str(j, "detail"), "No \"space\" left.");
    assert_int_equal(json_get_int(j, "exit_code", &n), 0);
    assert_int_equal(n, 7);
    assert_int_equal(json_get_int(j, "output_end", &n), 0);
    assert_int_equal(n, 123456789012);
    assert_null(json_get(j, "signal"));
    json_free(j);
    buf_clear(&out);
    r.exit_signal = 9;
    r.detail = "";
    say_refusal(&out, &r);
    j = error_of(&out, 4410);
    assert_null(json_get(j, "detail"));
    assert_null(json_get(j, "exit_code"));
    assert_int_equal(json_get_int(j, "signal", &n), 0);
    assert_int_equal(n, 9);
    json_free(j);
    buf_fini(&out);
}

static void broken_frames_get_a_bare_close(void **state)
{
    struct refusal r = {.close_code = 1003};
    struct cursor c;
    struct buf out;
    size_t len;

    (void)state;
    buf_init(&out, SAY_MAX);
    say_refusal(&out, &r);
    c = cursor_of(out.data, out.len);
    assert_memory_equal(take(&c, WSFRAME_CLOSE, &len), "\x03\xeb", 2);
    assert_int_equal(cursor_left(&c), 0);
    buf_fini(&out);
}

static void the_longest_texts_fit_or_are_left_out_whole(void **state)
{
    char stage[200], detail[1000], sentence[256];
    struct refusal r = {.kind = ERR_ENDED,
                        .message = "The session has ended.",
                        .detail = sentence,
                        .reason = REASON_OUT_OF_MEMORY,
                        .has_exit = true,
                        .exit_signal = 64,
                        .retry_after_ms = (INT64_C(1) << 53) - 1,
                        .output_end = (INT64_C(1) << 53) - 1};
    struct cursor c;
    struct buf out;
    size_t len;

    (void)state;
    memset(stage, 1, sizeof(stage)); /* escaped six times as long */
    memset(detail, 1, sizeof(detail));
    stage[23] = detail[159] = 0;
    buf_init(&out, SAY_MAX);
    say_stage(&out, stage, "running", 5, detail);
    c = cursor_of(out.data, out.len);
    take(&c, WSFRAME_BINARY, &len);
    assert_true(len > 900 && cursor_left(&c) == 0);
    buf_clear(&out);
    memset(sentence, 1, sizeof(sentence)); /* as long as a record's is */
    sentence[255] = 0;
    say_refusal(&out, &r);
    json_free(error_of(&out, 4410));
    buf_clear(&out);
    say_move(&out);
    assert_int_equal(out.len, 3);
    assert_int_equal(out.data[2], FRAME_MOVE);
    buf_fini(&out);
    buf_init(&out, 3);
    say_close(&out, 1012); /* no room: nothing, never half a frame */
    assert_int_equal(out.len, 0);
    buf_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_word_has_its_close_code),
        cmocka_unit_test(an_end_is_told_with_all_that_is_known),
        cmocka_unit_test(broken_frames_get_a_bare_close),
        cmocka_unit_test(the_longest_texts_fit_or_are_left_out_whole),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
