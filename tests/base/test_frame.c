#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/frame.h"

#include "base/mem.h"
#include "base/own.h"

#include <string.h>

struct row {
    const char *name;
    uint8_t type;
    bool is_up;
    size_t min, max;
    unsigned roles;
};
static const struct row rows[] = {
#define X(name, number, min, max, roles) {#name, number, true, min, max, roles},
    FRAME_UP(X)
#undef X
#define X(name, number, min, max) {#name, number, false, min, max, 0},
        FRAME_DOWN(X)
#undef X
};
#define ROWS (sizeof(rows) / sizeof(rows[0]))

/* A message of this type and body length that is right in all but length. */
static uint8_t *message(uint8_t type, size_t body_len)
{
    uint8_t *m = mem_zero(body_len + 1, 1);

    m[0] = type;
    if ((type == FRAME_RESIZE || type == FRAME_RESIZED) && body_len >= 4)
        m[2] = m[4] = 24;
    if (type == FRAME_SIGNAL && body_len >= 1)
        m[1] = FRAME_SIG_INT;
    return m;
}

static int parse_length(const struct row *r, size_t body_len, bool is_up)
{
    own_mem uint8_t *m = message(r->type, body_len);
    struct frame f;

    return frame_parse(m, body_len + 1, is_up, &f);
}

static void each_type_holds_to_its_lengths_and_direction(void **state)
{
    (void)state;
    for (const struct row *r = rows; r < rows + ROWS; r++) {
        assert_int_equal(parse_length(r, r->min, r->is_up), 0);
        assert_int_equal(parse_length(r, r->max, r->is_up), 0);
        assert_int_equal(parse_length(r, r->max + 1, r->is_up), -1);
        if (r->min > 0)
            assert_int_equal(parse_length(r, r->min - 1, r->is_up), -1);
        assert_int_equal(parse_length(r, r->min, !r->is_up), -1);
        assert_string_equal(frame_name(r->type), r->name);
    }
}

static void the_named_limits_are_those_of_the_table(void **state)
{
    size_t up = 0, down = 0;

    (void)state;
    for (const struct row *r = rows; r < rows + ROWS; r++) {
        if (r->is_up && r->max > up)
            up = r->max;
        if (!r->is_up && r->max > down)
            down = r->max;
        if (r->type == FRAME_HELLO)
            assert_int_equal(r->max + 1, FRAME_HELLO_MAX);
    }
    assert_int_equal(up + 1, FRAME_UP_MAX);
    assert_int_equal(down + 1, FRAME_DOWN_MAX);
}

static void unknown_types_and_nothing_are_refused(void **state)
{
    uint8_t m[16] = {0};
    struct frame f = {.type = 99};

    (void)state;
    for (unsigned type = 0; type < 256; type++) {
        bool known = false;

        for (const struct row *r = rows; r < rows + ROWS; r++)
            known = known || r->type == type;
        m[0] = (uint8_t)type;
        if (known)
            continue;
        assert_string_equal(frame_name(m[0]), "?");
        for (size_t len = 0; len <= sizeof(m); len++) {
            assert_int_equal(frame_parse(m, len, true, &f), -1);
            assert_int_equal(frame_parse(m, len, false, &f), -1);
        }
    }
    assert_int_equal(frame_parse(NULL, 0, true, &f), -1);
    assert_int_equal(f.type, 99);
}

static void fields_come_out_where_the_protocol_puts_them(void **state)
{
    static const uint8_t input[] = "\x02\0\0\0\0\0\0\x01\x02hi";
    static const uint8_t resize[] = {3, 0, 80, 3, 0xe8};
    static const uint8_t ping[] = {6, 255, 255, 255, 255, 255, 255, 255, 254};
    static const uint8_t hello[] = "\x01{}";
    struct frame f;

    (void)state;
    assert_int_equal(frame_parse(input, 11, true, &f), 0);
    assert_true(f.offset == 0x102 && f.body_len == 2);
    assert_ptr_equal(f.body, input + 9);
    assert_int_equal(frame_parse(resize, 5, true, &f), 0);
    assert_true(f.cols == 80 && f.rows == 1000 && f.body_len == 0);
    assert_int_equal(frame_parse(ping, 9, true, &f), 0);
    assert_true(f.offset == UINT64_MAX - 1);
    assert_int_equal(frame_parse(hello, 3, true, &f), 0);
    assert_true(f.body == hello + 1 && f.body_len == 2 && f.offset == 0);
}

static void sizes_and_signals_outside_their_bounds_are_refused(void **state)
{
    static const struct {
        uint16_t cols, rows;
        int want;
    } sizes[] = {{1, 1, 0},      {1000, 1000, 0}, {0, 24, -1},   {80, 0, -1},
                 {1001, 24, -1}, {80, 1001, -1},  {65535, 1, -1}};
    struct frame f;

    (void)state;
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        uint8_t m[5];

        assert_int_equal(
            frame_size(m, FRAME_RESIZE, sizes[i].cols, sizes[i].rows), 5);
        assert_int_equal(frame_parse(m, 5, true, &f), sizes[i].want);
    }
    for (unsigned s = 0; s < 256; s++) {
        uint8_t m[2] = {FRAME_SIGNAL, (uint8_t)s};

        assert_int_equal(frame_parse(m, 2, true, &f),
                         s >= 1 && s <= 5 ? 0 : -1);
    }
}

static void an_offset_ends_at_two_to_the_63(void **state)
{
    const uint64_t end = (uint64_t)1 << 63;
    static const struct {
        uint8_t type;
        bool is_up;
        size_t bytes;
    } types[] = {{FRAME_INPUT, true, 5},
                 {FRAME_OUTPUT, false, 5},
                 {FRAME_OUTPUT_ACK, true, 0},
                 {FRAME_INPUT_ACK, false, 0}};

    (void)state;
    for (size_t i = 0; i < 4; i++) {
        uint8_t m[14] = {0};
        size_t n = types[i].bytes;
        struct frame f;

        frame_head_offset(m, types[i].type, end - n);
        assert_int_equal(frame_parse(m, 9 + n, types[i].is_up, &f), 0);
        assert_true(f.offset == end - n);
        frame_head_offset(m, types[i].type, end - n + 1);
        assert_int_equal(frame_parse(m, 9 + n, types[i].is_up, &f), -1);
        frame_head_offset(m, types[i].type, UINT64_MAX);
        assert_int_equal(frame_parse(m, 9 + n, types[i].is_up, &f), -1);
    }
}

static void heads_are_read_back_as_written(void **state)
{
    uint8_t m[FRAME_HEAD_MAX + 1] = {0};
    struct frame f;

    (void)state;
    assert_int_equal(frame_head(m, FRAME_MOVE), 1);
    assert_int_equal(frame_parse(m, 1, false, &f), 0);
    assert_int_equal(f.type, FRAME_MOVE);
    assert_int_equal(frame_head_offset(m, FRAME_OUTPUT, 0x0102030405060708),
                     FRAME_HEAD_MAX);
    assert_int_equal(frame_parse(m, 10, false, &f), 0);
    assert_true(f.offset == 0x0102030405060708 && f.body_len == 1);
    assert_int_equal(frame_size(m, FRAME_RESIZED, 132, 43), 5);
    assert_int_equal(frame_parse(m, 5, false, &f), 0);
    assert_true(f.cols == 132 && f.rows == 43);
}

/* --- VIEWERS --- */

#define VERSION "\x08\0\0\0\0\0\0\x01\x02"

static int read_viewers(const char *bytes, size_t len, struct frame_viewers *v)
{
    struct frame f;

    assert_int_equal(frame_parse(bytes, len, true, &f), 0);
    return frame_viewers_read(&f, v);
}

static void a_list_of_viewers_is_read_back_as_written(void **state)
{
    struct frame_viewers v = {.version = UINT64_MAX}, got;
    uint8_t m[FRAME_VIEWERS_BYTES_MAX];
    size_t len;

    (void)state;
    for (int n = 0; n <= FRAME_VIEWERS_MAX; n++) {
        v.count = (uint32_t)n;
        len = frame_viewers(m, &v);
        assert_int_equal(read_viewers((char *)m, len, &got), 0);
        assert_memory_equal(&got, &v, sizeof(v));
        if (n < FRAME_VIEWERS_MAX)
            memset(v.subjects[n], 'a' + n, FRAME_SUBJECT_SIZE - 1);
    }
    assert_int_equal(len, sizeof(m));
    assert_int_equal(read_viewers(VERSION "\3vic\4vera", 18, &got), 0);
    assert_true(got.version == 0x102 && got.count == 2);
    assert_string_equal(got.subjects[1], "vera");
    assert_int_equal(frame_viewers_find(&got, "vic"), 0);
    assert_int_equal(frame_viewers_find(&got, "vera"), 1);
    assert_int_equal(frame_viewers_find(&got, "ver"), -1);
    assert_int_equal(frame_viewers_find(&got, ""), -1);
}

static void a_list_of_viewers_that_is_none_is_refused(void **state)
{
    static const struct {
        const char *bytes;
        size_t len;
    } lists[] = {
        {VERSION "\0", 10},      {VERSION "\3vi", 12},
        {VERSION "\3vic\0", 14}, {VERSION "\3vic\4ver", 17},
        {VERSION "\3v\0c", 13},  {VERSION "\1a\1b\1c\1d\1e\1f\1g\1h\1i", 27},
        {VERSION "\xffvic", 13},
    };
    struct frame_viewers v, before;

    (void)state;
    memset(&v, 0x5a, sizeof(v));
    before = v;
    for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
        assert_int_equal(read_viewers(lists[i].bytes, lists[i].len, &v), -1);
        assert_memory_equal(&v, &before, sizeof(v));
    }
}

/* Written out once more, so that a slip in the table shows. */
static void roles_may_send_what_the_protocol_gives_them(void **state)
{
    static const struct {
        uint8_t type;
        bool owner, viewer, control;
    } want[] = {
        {FRAME_HELLO, false, false, false},
        {FRAME_INPUT, true, false, false},
        {FRAME_RESIZE, true, false, false},
        {FRAME_OUTPUT_ACK, true, true, false},
        {FRAME_SIGNAL, true, false, false},
        {FRAME_PING, true, true, false},
        {FRAME_END, true, false, true},
        {FRAME_VIEWERS, false, false, true},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(want) / sizeof(want[0]); i++) {
        assert_true(frame_is_allowed(ROLE_OWNER, want[i].type) ==
                    want[i].owner);
        assert_true(frame_is_allowed(ROLE_VIEWER, want[i].type) ==
                    want[i].viewer);
        assert_true(frame_is_allowed(ROLE_CONTROL, want[i].type) ==
                    want[i].control);
    }
    for (unsigned type = 0; type < 256; type++) {
        assert_false(frame_is_allowed(ROLE_COUNT, (uint8_t)type));
        assert_false(frame_is_allowed((enum role) - 1, (uint8_t)type));
        if (type == 0 || type > FRAME_END)
            assert_false(frame_is_allowed(ROLE_OWNER, (uint8_t)type));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_type_holds_to_its_lengths_and_direction),
        cmocka_unit_test(the_named_limits_are_those_of_the_table),
        cmocka_unit_test(unknown_types_and_nothing_are_refused),
        cmocka_unit_test(fields_come_out_where_the_protocol_puts_them),
        cmocka_unit_test(sizes_and_signals_outside_their_bounds_are_refused),
        cmocka_unit_test(an_offset_ends_at_two_to_the_63),
        cmocka_unit_test(heads_are_read_back_as_written),
        cmocka_unit_test(a_list_of_viewers_is_read_back_as_written),
        cmocka_unit_test(a_list_of_viewers_that_is_none_is_refused),
        cmocka_unit_test(roles_may_send_what_the_protocol_gives_them),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
