/* What a killed controller goes on with: launch blobs, rows put back,
 * revisions that grow over a lost store. */
#include "base/store.h"

#include "base/loop.h"
#include "base/mem.h"
#include "tests/lib/shelf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static uint8_t blob[STORE_LAUNCH_MAX + 1];

static int make(const char *key, size_t len, char id[ID_SIZE], struct err *e)
{
    struct store_session *row = shelf_row("ann");
    const uint8_t hash[32] = {0};
    const int r =
        store_create_checked(shelf.s, row, 3, key, hash, blob, len, NOW_S, e);

    snprintf(id, ID_SIZE, "%s", row->id);
    free(row);
    return r;
}

/* Its length, all bytes right; -1: there is none. */
static int launch_len(const char *id)
{
    struct err e = {0};
    struct buf out;
    int n = -1;

    buf_init(&out, STORE_LAUNCH_MAX);
    if (store_launch_get(shelf.s, id, &out, &e) == 0) {
        assert_memory_equal(out.data, blob, out.len);
        n = (int)out.len;
    } else {
        assert_int_equal(e.kind, ERR_ABSENT);
        assert_int_equal(out.len, 0);
    }
    buf_fini(&out);
    return n;
}

static void a_launch_blob_comes_and_goes_with_its_session(void **arg)
{
    char id[ID_SIZE], other[ID_SIZE];
    struct err e = {0};

    (void)arg;
    random_bytes(blob, sizeof(blob));
    assert_int_equal(make("", STORE_LAUNCH_MAX, id, &e), STORE_CREATED);
    assert_int_equal(make("", 1, other, &e), STORE_CREATED);
    assert_int_equal(launch_len(id), STORE_LAUNCH_MAX);
    assert_int_equal(launch_len(other), 1);
    assert_int_equal(store_update_if(shelf.s, id, shelf_counts, NULL, NULL, &e),
                     0);
    assert_int_equal(launch_len(id), STORE_LAUNCH_MAX);
    shelf_end(shelf.s, id, 5000);
    assert_int_equal(launch_len(id), -1);
    assert_int_equal(launch_len(other), 1);
    assert_int_equal(store_launch_drop(shelf.s, other, &e), 0);
    assert_int_equal(launch_len(other), -1);
    assert_int_equal(store_launch_drop(shelf.s, other, &e), 0);
    assert_int_equal(store_launch_drop(shelf.s, "no id", &e), 0);
    assert_int_equal(launch_len("no id"), -1);
    /* the session itself is as it was */
    assert_int_equal(
        store_update_if(shelf.s, other, shelf_counts, NULL, NULL, &e), 0);
    assert_int_equal(e.kind, ERR_NONE);
}

static void what_was_not_made_left_no_launch_blob(void **arg)
{
    char id[ID_SIZE], again[ID_SIZE];
    struct err e = {0};

    (void)arg;
    assert_int_equal(make("", STORE_LAUNCH_MAX + 1, id, &e), -1);
    assert_int_equal(e.kind, ERR_TOO_LARGE);
    assert_int_equal(launch_len(id), -1);
    assert_int_equal(shelf_count(shelf.s), 0);
    assert_int_equal(make("k", 0, id, &e), STORE_CREATED);
    assert_int_equal(launch_len(id), -1);
    assert_int_equal(make("k", 10, again, &e), STORE_REPLAYED);
    assert_string_equal(again, id);
    assert_int_equal(launch_len(id), -1);
    for (int i = 0; i < 2; i++)
        assert_int_equal(make("", 10, id, &e), STORE_CREATED);
    assert_int_equal(make("", 10, id, &e), -1); /* the quota */
    assert_int_equal(launch_len(id), -1);
}

/* --- rows put back --- */

static void empty_the_store(void)
{
    struct err e = {0};

    if (shelf.is_redis) {
        redis_reply_free(redisd_ask(&shelf_redisd, "FLUSHALL", NULL));
        return;
    }
    store_free(shelf.s);
    assert_int_equal(unlink(shelf.path), 0);
    shelf.s = shelf_open(shelf.path);
    assert_int_equal(store_ping(shelf.s, &e), 0);
}

static void a_lost_row_is_put_back_as_it_was(void **arg)
{
    struct store_session *row = shelf_row("ann"), *got;
    const uint8_t hash[32] = {0};
    struct err e = {0};
    int64_t rev;

    (void)arg;
    got = mem_zero(1, sizeof(*got));
    memset(row->psk_sealed, 0x5a, sizeof(row->psk_sealed));
    row->state = STATE_RUNNING;
    strcpy(row->agent_addr, "127.0.0.1:9");
    strcpy(row->viewers[0], "vic");
    store_stage_add(row, "scheduled", "done", "node", NOW_S * 1000 + 5);
    assert_int_equal(
        store_create_checked(shelf.s, row, 1, "", hash, NULL, 0, NOW_S, &e),
        STORE_CREATED);
    rev = row->rev;
    /* while it is there nothing changes */
    strcpy(row->agent_addr, "127.0.0.1:10");
    assert_int_equal(store_restore(shelf.s, row, &e), -1);
    assert_int_equal(e.kind, ERR_CONFLICT);
    assert_int_equal(store_get(shelf.s, row->id, got, &e), 0);
    assert_string_equal(got->agent_addr, "127.0.0.1:9");
    assert_int_equal(got->rev, rev);

    empty_the_store();
    e = (struct err){0};
    assert_int_equal(store_get(shelf.s, row->id, got, &e), -1);
    assert_int_equal(e.kind, ERR_ABSENT);
    assert_int_equal(store_restore(shelf.s, row, &e), 0);
    assert_true(row->rev > rev); /* agents remember the highest */
    assert_int_equal(store_get(shelf.s, row->id, got, &e), 0);
    assert_memory_equal(got, row, sizeof(*row));
    /* it counts, is listed, and ends as any other */
    e = (struct err){0};
    assert_int_equal(shelf_create(shelf.s, "ann", 1, "", 0, NOW_S, NULL, &e),
                     -1);
    assert_int_equal(e.kind, ERR_BUSY);
    assert_int_equal(shelf_count(shelf.s), 1);
    shelf_end(shelf.s, row->id, 5);
    assert_int_equal(store_prune(shelf.s, 6, &e), 1);
    assert_int_equal(shelf_count(shelf.s), 0);
    free(row);
    free(got);
}

static void an_ended_row_is_put_back_without_its_key(void **arg)
{
    static const uint8_t zero[SEALED_KEY_BYTES];
    struct store_session *row = shelf_row("ann");
    struct err e = {0};

    (void)arg;
    memset(row->psk_sealed, 0x5a, sizeof(row->psk_sealed));
    row->state = STATE_ENDED;
    row->reason = REASON_EVICTED;
    row->ended_ms = 1000;
    assert_int_equal(store_restore(shelf.s, row, &e), 0);
    assert_int_equal(store_get(shelf.s, row->id, row, &e), 0);
    assert_memory_equal(row->psk_sealed, zero, sizeof(zero));
    assert_int_equal(row->reason, REASON_EVICTED);
    assert_int_equal(shelf_create(shelf.s, "ann", 1, "", 0, NOW_S, NULL, &e),
                     STORE_CREATED);
    assert_int_equal(store_prune(shelf.s, 1000, &e), 0);
    assert_int_equal(store_prune(shelf.s, 1001, &e), 1);
    free(row);
}

static void revisions_begin_at_the_clock_and_grow_on(void **arg)
{
    const int64_t before = loop_wall_ms() * 1000;
    struct store_session *row = mem_zero(1, sizeof(*row));
    char id[ID_SIZE];
    struct err e = {0};
    int64_t last;

    (void)arg;
    empty_the_store();
    shelf_plain(shelf.s, "ann", id);
    assert_int_equal(store_get(shelf.s, id, row, &e), 0);
    last = row->rev;
    assert_in_range(last, before, loop_wall_ms() * 1000 + 1000);
    for (int i = 0; i < 50; i++) {
        assert_int_equal(
            store_update_if(shelf.s, id, shelf_counts, NULL, row, &e), 0);
        assert_true(row->rev > last);
        last = row->rev;
    }
    empty_the_store();
    shelf_plain(shelf.s, "ann", id);
    assert_int_equal(store_get(shelf.s, id, row, &e), 0);
    assert_true(row->rev > last);
    free(row);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SHELF_BOTH(a_launch_blob_comes_and_goes_with_its_session),
        SHELF_BOTH(what_was_not_made_left_no_launch_blob),
        SHELF_BOTH(a_lost_row_is_put_back_as_it_was),
        SHELF_BOTH(an_ended_row_is_put_back_without_its_key),
        SHELF_BOTH(revisions_begin_at_the_clock_and_grow_on),
    };

    return cmocka_run_group_tests_name("base/store: to go on with", tests,
                                       shelf_redis_start, shelf_redis_stop);
}
