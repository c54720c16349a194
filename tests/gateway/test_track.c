/* Tests gateway/track.c and gateway/wsframe.c: where frames begin and end. */
#include "gateway/track.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct stream {
    uint8_t bytes[400000];
    size_t len;
};

static void put(struct stream *s, uint8_t first, size_t len, bool masked)
{
    static const uint8_t mask[4] = {1, 2, 3, 4};

    s->len += wsframe_write(s->bytes + s->len, first & 0x0f, len,
                            masked ? mask : NULL);
    memset(s->bytes + s->len, 'x', len);
    s->len += len;
}

/* A frame whose first byte is exactly first (fragments, RSV bits). */
static void put_raw(struct stream *s, uint8_t first, size_t len, bool masked)
{
    size_t at = s->len;

    put(s, first, len, masked);
    s->bytes[at] = first;
}

/* Feed in steps; the code, and the sum of places between messages seen. */
static int feed(const struct stream *s, bool is_up, size_t step,
                struct track *t)
{
    size_t cut;
    int code = 0;

    track_init(t, is_up);
    for (size_t at = 0; at < s->len && !code; at += step) {
        size_t n = s->len - at < step ? s->len - at : step;

        code = track_feed(t, s->bytes + at, n, &cut);
        if (!code && cut != TRACK_NO_CUT)
            assert_true(cut >= 1 && cut <= n);
    }
    return code;
}

static int judge(const struct stream *s, bool is_up)
{
    struct track whole, bytewise;
    int code = feed(s, is_up, s->len, &whole);

    assert_int_equal(feed(s, is_up, 1, &bytewise), code);
    if (!code) {
        assert_int_equal(whole.left, bytewise.left);
        assert_int_equal(whole.head_len, bytewise.head_len);
        assert_int_equal(track_is_between(&whole), track_is_between(&bytewise));
    }
    return code;
}

static void heads_are_read_as_they_are_written(void **state)
{
    static const size_t lens[] = {0, 1, 125, 126, 65535, 65536, 1u << 20};
    static const uint8_t mask[4] = {9, 8, 7, 6};
    uint8_t head[WSFRAME_HEAD_MAX];
    struct wsframe f;

    (void)state;
    for (size_t i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
        size_t n = wsframe_write(head, WSFRAME_BINARY, lens[i], mask);

        for (size_t k = 0; k < n; k++)
            assert_int_equal(wsframe_read(head, k, true, false, &f),
                             WSFRAME_MORE);
        assert_int_equal(wsframe_read(head, n, true, false, &f), 0);
        assert_int_equal(f.len, lens[i]);
        assert_int_equal(f.head_len, n);
        assert_memory_equal(f.mask, mask, 4);
        assert_true(f.is_final && f.opcode == WSFRAME_BINARY);
        /* the other direction must not be masked */
        assert_int_equal(wsframe_read(head, n, false, false, &f),
                         WSFRAME_BROKEN);
    }
}

static void masking_twice_is_nothing(void **state)
{
    static const uint8_t mask[4] = {0x11, 0x22, 0x33, 0x44};
    uint8_t text[7] = "podterm";

    (void)state;
    wsframe_mask(text, 7, mask);
    assert_int_equal(text[4], 0x65 ^ 0x11);
    wsframe_mask(text, 7, mask);
    assert_memory_equal(text, "podterm", 7);
}

static void lengths_are_minimal(void **state)
{
    static const uint8_t bad[][10] = {
        {0x82, 126, 0, 125},
        {0x82, 127, 0, 0, 0, 0, 0, 0, 0xff, 0xff},
        {0x82, 127, 0x80, 0, 0, 0, 0, 1, 0, 0},
        {0x89, 126, 0, 126}, /* a control frame is short */
        {0x88, 1, 0, 0},     /* half a close code */
    };
    struct wsframe f;

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_int_equal(wsframe_read(bad[i], 10, false, false, &f),
                         WSFRAME_BROKEN);
}

static void good_streams_pass_in_any_pieces(void **state)
{
    static struct stream s;
    struct track t;

    (void)state;
    s.len = 0;
    put(&s, 0x82, 10, true);
    put(&s, 0x89, 0, true);
    put(&s, 0x82, 300, true);
    put_raw(&s, 0x02, 5, true); /* begins a fragmented message */
    put(&s, 0x8a, 125, true);   /* a pong between the fragments */
    put_raw(&s, 0x00, 0, true);
    put_raw(&s, 0x80, 70, true); /* its end */
    put(&s, 0x82, FRAME_UP_MAX, true);
    put(&s, 0x88, 2, true);
    assert_int_equal(judge(&s, true), 0);
    for (size_t step = 1; step < 40; step++) {
        assert_int_equal(feed(&s, true, step, &t), 0);
        assert_true(t.is_closed);
        assert_false(track_is_between(&t));
    }
}

static void broken_streams_have_their_code(void **state)
{
    static const struct {
        uint8_t first[3];
        int count;
        int code;
    } cases[] = {
        {{0x81}, 1, WSFRAME_NO_TEXT},
        {{0x01}, 1, WSFRAME_NO_TEXT},
        {{0xc2}, 1, WSFRAME_BROKEN},       /* RSV1 */
        {{0x83}, 1, WSFRAME_BROKEN},       /* reserved opcode */
        {{0x8b}, 1, WSFRAME_BROKEN},       /* reserved control opcode */
        {{0x80}, 1, WSFRAME_BROKEN},       /* continues nothing */
        {{0x02, 0x82}, 2, WSFRAME_BROKEN}, /* begins inside a message */
        {{0x02, 0x81}, 2, WSFRAME_BROKEN},
        {{0x09}, 1, WSFRAME_BROKEN},       /* a fragmented ping */
        {{0x88, 0x82}, 2, WSFRAME_BROKEN}, /* speaks after its close */
        {{0x02, 0x80, 0x80}, 3, WSFRAME_BROKEN},
    };
    static struct stream s;

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        s.len = 0;
        for (int k = 0; k < cases[i].count; k++)
            put_raw(&s, cases[i].first[k], 4, false);
        assert_int_equal(judge(&s, false), cases[i].code);
    }
    s.len = 0;
    put(&s, 0x82, 4, false);
    assert_int_equal(judge(&s, true), WSFRAME_BROKEN);
    s.len = 0;
    put(&s, 0x82, 4, true);
    assert_int_equal(judge(&s, false), WSFRAME_BROKEN);
}

static void a_message_has_a_largest_size(void **state)
{
    static const uint8_t huge[10] = {0x82, 127,  0x3f, 0xff, 0xff,
                                     0xff, 0xff, 0xff, 0xff, 0xff};
    static struct stream s;
    struct track t;
    size_t cut;

    (void)state;
    s.len = 0;
    put(&s, 0x82, FRAME_DOWN_MAX, false);
    assert_int_equal(judge(&s, false), 0);
    s.len = 0;
    put(&s, 0x82, TRACK_DOWN_MAX, false);
    assert_int_equal(judge(&s, false), WSFRAME_TOO_LARGE);
    s.len = 0;
    put(&s, 0x82, TRACK_UP_MAX, true);
    assert_int_equal(judge(&s, true), WSFRAME_TOO_LARGE);
    track_init(&t, false);
    assert_int_equal(track_feed(&t, huge, 10, &cut), WSFRAME_TOO_LARGE);
}

static void empty_fragments_do_not_go_on_for_ever(void **state)
{
    static const uint8_t first[2] = {0x02, 0}, more[2] = {0x00, 0};
    struct track t;
    size_t cut;
    int code, count = 0;

    (void)state;
    track_init(&t, false);
    code = track_feed(&t, first, 2, &cut);
    while (code == 0 && count++ < 1000000)
        code = track_feed(&t, more, 2, &cut);
    assert_int_equal(code, WSFRAME_TOO_LARGE);
    assert_true(count < TRACK_DOWN_MAX);
}

static void a_cut_never_falls_into_a_message(void **state)
{
    static struct stream s;
    struct track t;
    size_t cut;

    (void)state;
    s.len = 0;
    put_raw(&s, 0x02, 6, false); /* 8 bytes, goes on */
    put(&s, 0x89, 2, false);     /* a ping inside: no place for ours */
    put_raw(&s, 0x80, 3, false); /* ends at 17 */
    put(&s, 0x82, 9, false);
    track_init(&t, false);
    assert_true(track_is_between(&t));
    assert_int_equal(track_feed(&t, s.bytes, 12, &cut), 0);
    assert_true(cut == TRACK_NO_CUT && !track_is_between(&t));
    assert_true(track_is_between_frames(&t));
    assert_int_equal(track_feed(&t, s.bytes + 12, s.len - 12, &cut), 0);
    assert_int_equal(cut, 5);
    assert_true(track_is_between(&t));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(heads_are_read_as_they_are_written),
        cmocka_unit_test(masking_twice_is_nothing),
        cmocka_unit_test(lengths_are_minimal),
        cmocka_unit_test(good_streams_pass_in_any_pieces),
        cmocka_unit_test(broken_streams_have_their_code),
        cmocka_unit_test(a_message_has_a_largest_size),
        cmocka_unit_test(empty_fragments_do_not_go_on_for_ever),
        cmocka_unit_test(a_cut_never_falls_into_a_message),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
