/* Rows as bytes: what is written is read again; what is none is refused. */
#include "base/store_row.h"

#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void fill(char *to, size_t size, char with)
{
    memset(to, with, size - 1);
    to[size - 1] = '\0';
}

/* Everything as long and as large as it can be. */
static struct store_session *full_row(void)
{
    struct store_session *r = mem_zero(1, sizeof(*r));

    random_id(r->id);
    random_id(r->psk_id);
    fill(r->owner_iss, sizeof(r->owner_iss), 'i');
    fill(r->owner_sub, sizeof(r->owner_sub), 's');
    r->state = STATE_COUNT - 1;
    r->reason = REASON_COUNT - 1;
    r->has_exit = r->viewer_history = r->end_wanted = true;
    r->egress = EGRESS_PROXY;
    r->exit_code = 255;
    r->exit_signal = 64;
    fill(r->detail, sizeof(r->detail), '\xc3'); /* not even UTF-8 */
    r->created_ms = r->started_ms = r->ended_ms = INT64_MAX;
    r->output_bytes = r->input_bytes = r->lifetime_s = r->idle_s = INT64_MAX;
    fill(r->bundle_url, sizeof(r->bundle_url), 'u');
    fill(r->bundle_sha256, sizeof(r->bundle_sha256), '0');
    for (int i = 0; i < STORE_VIEWERS_MAX; i++)
        fill(r->viewers[i], sizeof(r->viewers[i]), (char)('a' + i));
    fill(r->isolation, sizeof(r->isolation), 'f');
    fill(r->agent_addr, sizeof(r->agent_addr), '1');
    fill(r->agent_uid, sizeof(r->agent_uid), '2');
    fill(r->launch_ref, sizeof(r->launch_ref), '3');
    random_bytes(r->psk_sealed, sizeof(r->psk_sealed));
    for (int i = 0; i < STORE_STAGES_MAX; i++) {
        fill(r->stages[i].stage, sizeof(r->stages[i].stage), 'x');
        fill(r->stages[i].state, sizeof(r->stages[i].state), 'y');
        fill(r->stages[i].detail, sizeof(r->stages[i].detail), 'z');
        r->stages[i].ms = i % 2 ? INT64_MIN : INT64_MAX;
    }
    r->stage_count = STORE_STAGES_MAX;
    r->viewers_untold = UINT32_MAX;
    return r;
}

static struct store_session *small_row(void)
{
    struct store_session *r = mem_zero(1, sizeof(*r));

    random_id(r->id);
    strcpy(r->owner_iss, "iss");
    strcpy(r->owner_sub, "sub");
    return r;
}

static void bytes_of(struct buf *out, const struct store_session *row)
{
    buf_init(out, STORE_ROW_BYTES_MAX);
    store_row_put(out, row);
}

static void comes_back(struct store_session *row)
{
    struct store_session *got = mem_zero(1, sizeof(*got));
    struct err e = {0};
    struct buf b;

    bytes_of(&b, row);
    assert_int_equal(store_row_take(b.data, b.len, got, &e), 0);
    assert_memory_equal(got, row, sizeof(*row));
    buf_fini(&b);
    free(got);
    free(row);
}

static void what_is_written_is_read_again(void **arg)
{
    (void)arg;
    comes_back(full_row());
    comes_back(small_row());
}

static void refused(const struct buf *b, const char *what)
{
    struct store_session *got = mem_zero(1, sizeof(*got));
    struct err e = {0};

    got->exit_code = 77;
    if (store_row_take(b->data, b->len, got, &e) != -1)
        fail_msg("%s was taken", what);
    assert_int_equal(e.kind, ERR_SYSTEM);
    assert_int_equal(got->exit_code, 77); /* left alone */
    free(got);
}

static void any_cut_is_refused(void **arg)
{
    struct store_session *row = full_row();
    struct buf b;

    (void)arg;
    bytes_of(&b, row);
    /* a cut between two fields is one too, unless only what need not be
     * there is missing: so up to the last that must (created_ms) */
    for (size_t n = b.len; b.len > 0 && n-- > 0;) {
        struct store_session *got = mem_zero(1, sizeof(*got));
        struct err e = {0};

        if (store_row_take(b.data, n, got, &e) == 0)
            assert_string_equal(got->id, row->id);
        free(got);
    }
    b.len = 400;
    refused(&b, "a row cut in its owner");
    b.len = 0;
    refused(&b, "nothing");
    buf_fini(&b);
    free(row);
}

static void add(struct buf *b, uint8_t tag, const void *bytes, size_t len)
{
    buf_append_u8(b, tag);
    buf_append_u16(b, (uint16_t)len);
    buf_append(b, bytes, len);
}

static void with(uint8_t tag, const void *bytes, size_t len, const char *what)
{
    struct store_session *row = small_row();
    struct buf b;

    bytes_of(&b, row);
    add(&b, tag, bytes, len);
    refused(&b, what);
    buf_fini(&b);
    free(row);
}

static void values_a_row_cannot_have_are_refused(void **arg)
{
    static const uint8_t big[8] = {0x80}, two[8] = {[7] = 2};
    static const uint8_t reason[8] = {[7] = REASON_COUNT};
    static const uint8_t code[8] = {[6] = 1};
    uint8_t long_text[300];

    (void)arg;
    memset(long_text, 'a', sizeof(long_text));
    with(1, "abcdefghijklmnopqrstuvwxyz", 26, "a second id");
    with(5, reason, 8, "an unknown reason");
    with(6, two, 8, "a flag of 2");
    with(7, code, 8, "an exit code of 256");
    with(9, long_text, 256, "a detail without room for its end");
    with(9, "a\0b", 3, "a zero byte in a text");
    with(11, big, 8, "a negative time");
    with(11, two, 7, "a number of 7 bytes");
    with(17, "", 0, "an empty viewer");
    with(28, long_text, 71, "a key of 71 bytes");
    with(29, "\1x\1y", 4, "half a stage");
    with(29, "\1x\1y\1z\0\0\0\0\0\0\0\0\0", 15, "more than a stage");
    with(30, (const uint8_t[8]){[3] = 1}, 8, "a counter past 32 bits");
}

static void lists_have_an_end(void **arg)
{
    struct store_session *row = full_row();
    struct buf b;

    (void)arg;
    bytes_of(&b, row);
    add(&b, 17, "one more", 8);
    refused(&b, "a ninth viewer");
    buf_fini(&b);
    bytes_of(&b, row);
    add(&b, 29, "\1x\1y\1z\0\0\0\0\0\0\0\0", 14);
    refused(&b, "a 33rd stage");
    buf_fini(&b);
    free(row);
}

static void another_version_is_refused_and_a_newer_field_skipped(void **arg)
{
    struct store_session *row = small_row(), *got;
    struct err e = {0};
    struct buf b;

    (void)arg;
    got = mem_zero(1, sizeof(*got));
    bytes_of(&b, row);
    add(&b, 200, "of tomorrow", 11);
    assert_int_equal(store_row_take(b.data, b.len, got, &e), 0);
    assert_memory_equal(got, row, sizeof(*row));
    b.data[0] = 2;
    refused(&b, "version 2");
    buf_fini(&b);
    free(row);
    free(got);
}

static void a_row_without_id_or_owner_or_state_is_none(void **arg)
{
    static const uint8_t number[8];
    static const uint8_t must[] = {1, 2, 3, 4, 10};

    (void)arg;
    for (size_t gone = 0; gone <= sizeof(must); gone++) {
        struct store_session *got = mem_zero(1, sizeof(*got));
        struct err e = {0};
        struct buf b;

        buf_init(&b, 1000);
        buf_append_u8(&b, 1);
        for (size_t i = 0; i < sizeof(must); i++)
            if (i != gone)
                add(&b, must[i],
                    i == 0  ? "abcdefghijklmnopqrstuvwxyz"
                    : i < 3 ? "who"
                            : (const void *)number,
                    i == 0  ? 26
                    : i < 3 ? 3
                            : 8);
        if (gone < sizeof(must))
            refused(&b, "a row without a part");
        else
            assert_int_equal(store_row_take(b.data, b.len, got, &e), 0);
        buf_fini(&b);
        free(got);
    }
}

static void what_cannot_be_read_again_is_not_written(void **arg)
{
    struct store_session *row = small_row(), *got;
    struct err e = {0};
    struct buf b;

    (void)arg;
    got = mem_zero(1, sizeof(*got));
    row->started_ms = -5;
    row->exit_code = -1;
    row->exit_signal = 4711;
    bytes_of(&b, row);
    assert_int_equal(store_row_take(b.data, b.len, got, &e), 0);
    assert_int_equal(got->started_ms, 0);
    assert_int_equal(got->exit_code, 0);
    assert_int_equal(got->exit_signal, 255);
    buf_fini(&b);
    free(row);
    free(got);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_is_read_again),
        cmocka_unit_test(any_cut_is_refused),
        cmocka_unit_test(values_a_row_cannot_have_are_refused),
        cmocka_unit_test(lists_have_an_end),
        cmocka_unit_test(another_version_is_refused_and_a_newer_field_skipped),
        cmocka_unit_test(a_row_without_id_or_owner_or_state_is_none),
        cmocka_unit_test(what_cannot_be_read_again_is_not_written),
    };

    return cmocka_run_group_tests_name("base/store_row", tests, NULL, NULL);
}
