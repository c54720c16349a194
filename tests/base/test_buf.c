#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/buf.h"

#include <string.h>

static void a_buffer_grows_to_its_maximum_and_not_past_it(void **state)
{
    struct buf b;

    (void)state;
    buf_init(&b, 1000);
    for (int i = 0; i < 1000; i++)
        assert_int_equal(buf_append_u8(&b, (uint8_t)i), 0);
    assert_int_equal(buf_append_u8(&b, 0), -1);
    assert_int_equal(b.len, 1000);
    assert_int_equal(b.data[999], 999 & 255);
    buf_fini(&b);
}

static void a_failed_append_changes_nothing(void **state)
{
    struct buf b;

    (void)state;
    buf_init(&b, 10);
    assert_int_equal(buf_append_str(&b, "12345678"), 0);
    assert_int_equal(buf_append(&b, "abc", 3), -1);
    assert_int_equal(buf_append_u32(&b, 1), -1);
    assert_int_equal(buf_append_u64(&b, 1), -1);
    assert_int_equal(buf_printf(&b, "%d", 123), -1);
    assert_null(buf_reserve(&b, 3));
    assert_null(buf_reserve(&b, SIZE_MAX));
    assert_int_equal(buf_append(&b, "x", SIZE_MAX), -1);
    assert_string_equal(buf_cstr(&b), "12345678");
    assert_int_equal(buf_append_u16(&b, 0x4142), 0);
    assert_string_equal(buf_cstr(&b), "12345678AB");
    buf_fini(&b);
}

static void a_buffer_of_nothing_takes_nothing(void **state)
{
    struct buf b;

    (void)state;
    buf_init(&b, 0);
    assert_int_equal(buf_append(&b, "", 0), 0);
    assert_int_equal(buf_append_u8(&b, 1), -1);
    assert_string_equal(buf_cstr(&b), "");
    buf_fini(&b);
    buf_fini(&b);
    buf_fini(NULL);
    buf_fini_secret(&b);
}

static void integers_are_big_endian_both_ways(void **state)
{
    static const uint8_t want[] = {1,    2,    3,    4, 5, 6,  7, 0xff,
                                   0xfe, 0xfd, 0xfc, 8, 9, 10, 11};
    struct cursor c;
    struct buf b;
    uint64_t u64;
    uint32_t u32;
    uint16_t u16;
    uint8_t u8;

    (void)state;
    buf_init(&b, 64);
    buf_append_u8(&b, 1);
    buf_append_u16(&b, 0x0203);
    buf_append_u32(&b, 0x04050607);
    buf_append_u64(&b, 0xfffefdfc08090a0b);
    assert_int_equal(b.len, sizeof(want));
    assert_memory_equal(b.data, want, sizeof(want));
    c = cursor_of(b.data, b.len);
    assert_int_equal(buf_take_u8(&c, &u8), 0);
    assert_int_equal(buf_take_u16(&c, &u16), 0);
    assert_int_equal(buf_take_u32(&c, &u32), 0);
    assert_int_equal(buf_take_u64(&c, &u64), 0);
    assert_int_equal(u8, 1);
    assert_int_equal(u16, 0x0203);
    assert_int_equal(u32, 0x04050607);
    assert_true(u64 == 0xfffefdfc08090a0b);
    assert_int_equal(cursor_left(&c), 0);
    buf_fini(&b);
}

static void a_take_of_too_much_leaves_cursor_and_output(void **state)
{
    struct cursor c = cursor_of("abc", 3);
    const uint8_t *p = NULL;
    uint64_t u64 = 7;
    uint32_t u32 = 7;
    uint16_t u16 = 7;
    uint8_t u8 = 7;
    char copy[4] = "---";

    (void)state;
    assert_int_equal(buf_take_u64(&c, &u64), -1);
    assert_int_equal(buf_take_u32(&c, &u32), -1);
    assert_int_equal(buf_take_bytes(&c, 4, &p), -1);
    assert_int_equal(buf_take_bytes(&c, SIZE_MAX, &p), -1);
    assert_int_equal(buf_take_copy(&c, copy, 4), -1);
    assert_true(u64 == 7 && u32 == 7 && !p && c.pos == 0);
    assert_string_equal(copy, "---");
    assert_int_equal(buf_take_copy(&c, copy, 3), 0);
    assert_string_equal(copy, "abc");
    assert_int_equal(buf_take_u8(&c, &u8), -1);
    assert_int_equal(buf_take_u16(&c, &u16), -1);
    assert_int_equal(buf_take_bytes(&c, 0, &p), 0);
    assert_true(u8 == 7 && u16 == 7);
}

static void dropping_takes_from_the_front(void **state)
{
    struct buf b;

    (void)state;
    buf_init(&b, 100);
    buf_append_str(&b, "abcdef");
    buf_drop(&b, 2);
    assert_string_equal(buf_cstr(&b), "cdef");
    buf_drop(&b, 0);
    assert_string_equal(buf_cstr(&b), "cdef");
    buf_drop(&b, 99);
    assert_int_equal(b.len, 0);
    buf_append_str(&b, "x");
    buf_clear(&b);
    assert_string_equal(buf_cstr(&b), "");
    buf_fini(&b);
}

static void reserved_room_counts_when_it_is_committed(void **state)
{
    struct buf b;
    uint8_t *room;

    (void)state;
    buf_init(&b, 5000);
    room = buf_reserve(&b, 5000);
    assert_non_null(room);
    assert_int_equal(b.len, 0);
    memset(room, 'x', 5000);
    buf_commit(&b, 5000);
    assert_int_equal(strlen(buf_cstr(&b)), 5000);
    buf_fini(&b);
}

static void printing_fits_to_the_last_byte(void **state)
{
    struct buf b;

    (void)state;
    buf_init(&b, 6);
    assert_int_equal(buf_printf(&b, "%s", "abc"), 0);
    assert_int_equal(buf_printf(&b, "%d", 123), 0);
    assert_string_equal(buf_cstr(&b), "abc123");
    assert_int_equal(buf_printf(&b, "%s", ""), 0);
    buf_fini(&b);
}

static void a_fini_leaves_a_buffer_that_may_be_used_again(void **state)
{
    struct buf b;

    (void)state;
    buf_init(&b, 8);
    buf_append_str(&b, "secret");
    buf_fini_secret(&b);
    assert_null(b.data);
    assert_int_equal(buf_append_str(&b, "12345678"), 0);
    assert_int_equal(buf_append_u8(&b, 0), -1);
    buf_fini(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_buffer_grows_to_its_maximum_and_not_past_it),
        cmocka_unit_test(a_failed_append_changes_nothing),
        cmocka_unit_test(a_buffer_of_nothing_takes_nothing),
        cmocka_unit_test(integers_are_big_endian_both_ways),
        cmocka_unit_test(a_take_of_too_much_leaves_cursor_and_output),
        cmocka_unit_test(dropping_takes_from_the_front),
        cmocka_unit_test(reserved_room_counts_when_it_is_committed),
        cmocka_unit_test(printing_fits_to_the_last_byte),
        cmocka_unit_test(a_fini_leaves_a_buffer_that_may_be_used_again),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
