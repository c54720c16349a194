/* The store of one machine: sessions made, changed, listed; ids spent. */
#include "base/store.h"

#include "base/mem.h"
#include "tests/lib/shelf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* --- creating --- */

static void a_key_gives_the_same_session_again(void **arg)
{
    char first[ID_SIZE], again[ID_SIZE];
    struct err e = {0};

    (void)arg;
    assert_int_equal(shelf_create(shelf.s, "ann", 2, "k", 1, NOW_S, first, &e),
                     STORE_CREATED);
    assert_int_equal(
        shelf_create(shelf.s, "ann", 2, "k", 1, NOW_S + 5, again, &e),
        STORE_REPLAYED);
    assert_string_equal(again, first);
    assert_int_equal(shelf_create(shelf.s, "ann", 2, "k", 2, NOW_S, NULL, &e),
                     -1);
    assert_int_equal(e.kind, ERR_CONFLICT);
    /* another owner's key is another */
    e = (struct err){0};
    assert_int_equal(shelf_create(shelf.s, "bob", 2, "k", 2, NOW_S, again, &e),
                     STORE_CREATED);
    assert_string_not_equal(again, first);
    /* no key: never a replay */
    assert_int_equal(shelf_create(shelf.s, "ann", 2, "", 1, NOW_S, NULL, &e),
                     STORE_CREATED);
    /* a replay needs no room in the quota */
    assert_int_equal(shelf_create(shelf.s, "ann", 2, "k2", 1, NOW_S, NULL, &e),
                     -1);
    assert_int_equal(e.kind, ERR_BUSY);
    e = (struct err){0};
    assert_int_equal(shelf_create(shelf.s, "ann", 2, "k", 1, NOW_S, again, &e),
                     STORE_REPLAYED);
    assert_int_equal(e.kind, ERR_NONE);
    /* what was refused left no key */
    assert_int_equal(shelf_create(shelf.s, "ann", 3, "k2", 9, NOW_S, NULL, &e),
                     STORE_CREATED);
}

static void a_key_is_forgotten_after_its_time_or_with_its_session(void **arg)
{
    char first[ID_SIZE], again[ID_SIZE];
    struct err e = {0};
    const int64_t last = NOW_S + STORE_IDEMPOTENCY_S - 1;

    (void)arg;
    assert_int_equal(shelf_create(shelf.s, "ann", 9, "k", 1, NOW_S, first, &e),
                     STORE_CREATED);
    assert_int_equal(shelf_create(shelf.s, "ann", 9, "k", 1, last, again, &e),
                     STORE_REPLAYED);
    assert_int_equal(
        shelf_create(shelf.s, "ann", 9, "k", 2, last + 1, again, &e),
        STORE_CREATED);
    assert_string_not_equal(again, first);
    shelf_end(shelf.s, again, 1);
    assert_int_equal(store_prune(shelf.s, 2, &e), 1);
    assert_int_equal(
        shelf_create(shelf.s, "ann", 9, "k", 2, last + 2, first, &e),
        STORE_CREATED);
    assert_string_not_equal(again, first);
    assert_int_equal(e.kind, ERR_NONE);
}

static void an_ended_session_makes_room(void **arg)
{
    char id[ID_SIZE];
    struct err e = {0};

    (void)arg;
    assert_int_equal(shelf_create(shelf.s, "ann", 1, "", 0, NOW_S, id, &e),
                     STORE_CREATED);
    assert_int_equal(shelf_create(shelf.s, "ann", 1, "", 0, NOW_S, NULL, &e),
                     -1);
    assert_int_equal(shelf_create(shelf.s, "bob", 1, "", 0, NOW_S, NULL, &e),
                     STORE_CREATED);
    shelf_end(shelf.s, id, 5000);
    assert_int_equal(shelf_create(shelf.s, "ann", 1, "", 0, NOW_S, NULL, &e),
                     STORE_CREATED);
    assert_int_equal(shelf_create(shelf.s, "ann", 0, "", 0, NOW_S, NULL, &e),
                     -1);
}

/* --- changing --- */

static int late_end(void *arg, struct store_session *row, struct err *e)
{
    (void)arg;
    (void)e;
    row->state = STATE_RUNNING;
    row->reason = REASON_RUNNER_LOST;
    row->exit_code = 99;
    row->has_exit = true;
    row->exit_signal = 9;
    row->started_ms = row->ended_ms = row->output_bytes = row->input_bytes = 77;
    strcpy(row->detail, "late");
    strcpy(row->agent_addr, "127.0.0.1:9");
    memset(row->psk_sealed, 0x5a, sizeof(row->psk_sealed));
    return 0;
}

static int first_end(void *arg, struct store_session *row, struct err *e)
{
    (void)arg;
    (void)e;
    row->state = STATE_ENDED;
    row->reason = REASON_EXITED;
    row->has_exit = true;
    row->exit_code = 3;
    row->started_ms = 1;
    row->ended_ms = 2;
    row->output_bytes = 4;
    row->input_bytes = 5;
    strcpy(row->detail, "first");
    return 0;
}

static void the_first_written_end_stands(void **arg)
{
    static const uint8_t zero[SEALED_KEY_BYTES];
    struct store_session *row = mem_zero(1, sizeof(*row));
    char id[ID_SIZE];
    struct err e = {0};

    (void)arg;
    shelf_plain(shelf.s, "ann", id);
    assert_int_equal(store_update_if(shelf.s, id, first_end, NULL, NULL, &e),
                     0);
    assert_int_equal(store_update_if(shelf.s, id, late_end, NULL, row, &e), 0);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(row->state, STATE_ENDED);
        assert_int_equal(row->reason, REASON_EXITED);
        assert_int_equal(row->exit_code, 3);
        assert_true(row->has_exit);
        assert_int_equal(row->exit_signal, 0);
        assert_int_equal(row->started_ms, 1);
        assert_int_equal(row->ended_ms, 2);
        assert_int_equal(row->output_bytes, 4);
        assert_int_equal(row->input_bytes, 5);
        assert_string_equal(row->detail, "first");
        assert_string_equal(row->agent_addr, "127.0.0.1:9");
        assert_memory_equal(row->psk_sealed, zero, sizeof(zero));
        assert_int_equal(store_get(shelf.s, id, row, &e), 0);
    }
    free(row);
}

static int refuses(void *arg, struct store_session *row, struct err *e)
{
    (void)arg;
    row->state = STATE_RUNNING;
    return err_set(e, ERR_DENIED, "not this one");
}

static int renames(void *arg, struct store_session *row, struct err *e)
{
    (void)arg;
    (void)e;
    random_id(row->id);
    strcpy(row->agent_uid, "uid");
    return 0;
}

static void a_refused_change_changes_nothing(void **arg)
{
    struct store_session *row = mem_zero(1, sizeof(*row));
    char id[ID_SIZE];
    struct err e = {0};
    int64_t rev;

    (void)arg;
    shelf_plain(shelf.s, "ann", id);
    assert_int_equal(store_get(shelf.s, id, row, &e), 0);
    rev = row->rev;
    assert_int_equal(store_update_if(shelf.s, id, refuses, NULL, NULL, &e), -1);
    assert_int_equal(e.kind, ERR_DENIED);
    assert_int_equal(store_get(shelf.s, id, row, &e), 0);
    assert_int_equal(row->state, STATE_PENDING);
    assert_int_equal(row->rev, rev);
    /* an id is for good */
    assert_int_equal(store_update_if(shelf.s, id, renames, NULL, row, &e), 0);
    assert_string_equal(row->id, id);
    assert_string_equal(row->agent_uid, "uid");
    assert_true(row->rev > rev);
    e = (struct err){0};
    assert_int_equal(store_get(shelf.s, "abcdefghijklmnopqrstuvwxyz", row, &e),
                     -1);
    assert_int_equal(e.kind, ERR_ABSENT);
    assert_int_equal(
        store_update_if(shelf.s, "x' OR '1'='1", renames, NULL, NULL, &e), -1);
    assert_int_equal(e.kind, ERR_ABSENT);
    free(row);
}

/* --- lists --- */

static void changes_come_in_their_order(void **arg)
{
    struct store_rev revs[8];
    char ids[4][ID_SIZE];
    struct err e = {0};
    int64_t from;

    (void)arg;
    for (int i = 0; i < 4; i++)
        shelf_plain(shelf.s, "ann", ids[i]);
    assert_int_equal(store_changed_since(shelf.s, 0, revs, 8, &e), 4);
    for (int i = 0; i < 4; i++) {
        assert_string_equal(revs[i].id, ids[i]);
        assert_true(i == 0 || revs[i].rev > revs[i - 1].rev);
    }
    from = revs[3].rev;
    assert_int_equal(store_changed_since(shelf.s, from, revs, 8, &e), 0);
    shelf_end(shelf.s, ids[2], 1);
    assert_int_equal(
        store_update_if(shelf.s, ids[0], shelf_counts, NULL, NULL, &e), 0);
    assert_int_equal(store_changed_since(shelf.s, from, revs, 8, &e), 2);
    assert_string_equal(revs[0].id, ids[2]);
    assert_string_equal(revs[1].id, ids[0]);
    assert_int_equal(store_changed_since(shelf.s, 0, revs, 3, &e), 3);
}

static void list_some(int i, char id[ID_SIZE])
{
    struct store_session *row = shelf_row(i % 3 ? "ann" : "bob");
    const uint8_t hash[32] = {0};
    struct err e = {0};

    row->created_ms = 1000 + i / 2; /* two of each time */
    assert_int_equal(
        store_create_checked(shelf.s, row, 100, "", hash, NULL, 0, 1, &e),
        STORE_CREATED);
    snprintf(id, ID_SIZE, "%s", row->id);
    free(row);
}

/* All pages of one list; how many rows, which must be in order. */
static int pages(const char *sub, bool only_live, int limit)
{
    char cursor[64] = "", next[64], seen[32][ID_SIZE];
    struct err e = {0};
    int64_t last = INT64_MAX;
    int total = 0;

    do {
        struct store_session *rows = NULL;
        int n = store_list(shelf.s, sub ? OWNER : NULL, sub, only_live, cursor,
                           limit, &rows, next, &e);

        assert_in_range(n, 0, limit);
        for (int i = 0; i < n; i++, total++) {
            assert_true(total < 32 && rows[i].created_ms <= last);
            last = rows[i].created_ms;
            assert_true(!sub || !strcmp(rows[i].owner_sub, sub));
            assert_true(!only_live || rows[i].state != STATE_ENDED);
            for (int k = 0; k < total; k++)
                assert_string_not_equal(seen[k], rows[i].id);
            snprintf(seen[total], ID_SIZE, "%s", rows[i].id);
        }
        free(rows);
        snprintf(cursor, sizeof(cursor), "%s", next);
    } while (cursor[0]);
    return total;
}

static void lists_are_paged_newest_first(void **arg)
{
    static const char *const bad[] = {"x",
                                      "1",
                                      "1.",
                                      "1.x",
                                      ".",
                                      "-",
                                      "1 abcdefghijklmnopqrstuvwxyz",
                                      "1.abcdefghijklmnopqrstuvwxyz0",
                                      "1.abcdefghijklmnopqrstuvwxy'"};
    struct store_session *rows = NULL;
    char ids[20][ID_SIZE], next[64];
    struct err e = {0};

    (void)arg;
    assert_int_equal(pages(NULL, false, 3), 0);
    for (int i = 0; i < 20; i++)
        list_some(i, ids[i]);
    shelf_end(shelf.s, ids[1], 1);
    shelf_end(shelf.s, ids[3], 1);
    for (int limit = 1; limit <= 20; limit += 3) {
        assert_int_equal(pages(NULL, false, limit), 20);
        assert_int_equal(pages("ann", false, limit), 13);
        assert_int_equal(pages("bob", false, limit), 7);
        assert_int_equal(pages("ann", true, limit), 12);
        assert_int_equal(pages("eve", false, limit), 0);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        assert_int_equal(
            store_list(shelf.s, NULL, NULL, false, bad[i], 5, &rows, next, &e),
            -1);
        assert_int_equal(e.kind, ERR_INPUT);
    }
}

static void only_old_ended_rows_are_pruned(void **arg)
{
    struct store_session *row = mem_zero(1, sizeof(*row));
    char live[ID_SIZE], old[ID_SIZE], young[ID_SIZE];
    struct err e = {0};

    (void)arg;
    shelf_plain(shelf.s, "ann", live);
    shelf_plain(shelf.s, "ann", old);
    shelf_plain(shelf.s, "ann", young);
    shelf_end(shelf.s, old, 999);
    shelf_end(shelf.s, young, 1000);
    assert_int_equal(store_prune(shelf.s, 1000, &e), 1);
    assert_int_equal(store_prune(shelf.s, 1000, &e), 0);
    assert_int_equal(store_get(shelf.s, old, row, &e), -1);
    assert_int_equal(e.kind, ERR_ABSENT);
    assert_int_equal(store_get(shelf.s, live, row, &e), 0);
    assert_int_equal(store_get(shelf.s, young, row, &e), 0);
    free(row);
}

/* --- spending --- */

static void an_id_is_spent_once_until_it_expires(void **arg)
{
    struct err e = {0};

    (void)arg;
    assert_int_equal(store_spend(shelf.s, "a", 100, 50, &e), 0);
    assert_int_equal(store_spend(shelf.s, "b", 100, 50, &e), 0);
    assert_int_equal(store_spend(shelf.s, "a", 100, 50, &e), -1);
    assert_int_equal(e.kind, ERR_TOKEN);
    assert_int_equal(store_spend(shelf.s, "a", 200, 99, &e), -1);
    store_free(shelf.s);
    shelf.s = shelf_open(shelf.path); /* not forgotten */
    assert_int_equal(store_spend(shelf.s, "a", 200, 99, &e), -1);
    if (shelf.is_redis) { /* it has a clock of its own */
        assert_in_range(
            redisd_number(&shelf_redisd, "TTL", "podterm:t:a", NULL), 1, 50);
        assert_int_equal(
            redisd_number(&shelf_redisd, "DEL", "podterm:t:a", NULL), 1);
    }
    assert_int_equal(store_spend(shelf.s, "a", 200, 100, &e), 0);
    assert_int_equal(store_spend(shelf.s, "a", 200, 150, &e), -1);
}

static void spent_ids_do_not_pile_up(void **arg)
{
    char id[16];
    struct err e = {0};

    (void)arg;
    for (int i = 0; i < 1100; i++) {
        snprintf(id, sizeof(id), "t%d", i);
        assert_int_equal(store_spend(shelf.s, id, i + 10, i, &e), 0);
    }
    assert_in_range(
        shelf_ask(shelf.path, "SELECT count(*) FROM spent", NULL, 0), 10, 600);
    assert_int_equal(e.kind, ERR_NONE);
}

static void stages_are_replaced_while_they_run(void **arg)
{
    struct store_session *row = shelf_row("ann");

    (void)arg;
    store_stage_add(row, "scheduled", "running", NULL, NOW_S * 1000 + 5);
    store_stage_add(row, "pulled", "waiting", "image", NOW_S * 1000 + 6);
    store_stage_add(row, "scheduled", "done", "node", NOW_S * 1000 + 7);
    assert_int_equal(row->stage_count, 2);
    assert_string_equal(row->stages[0].state, "done");
    assert_string_equal(row->stages[0].detail, "node");
    assert_int_equal(row->stages[0].ms, 7);
    store_stage_add(row, "scheduled", "done", "again", NOW_S * 1000 + 8);
    assert_int_equal(row->stage_count, 3);
    for (int i = 0; i < 2 * STORE_STAGES_MAX; i++)
        store_stage_add(row, "pulled", "done", "x", NOW_S * 1000 + i);
    assert_int_equal(row->stage_count, STORE_STAGES_MAX);
    assert_int_equal(row->stages[STORE_STAGES_MAX - 1].ms,
                     2 * STORE_STAGES_MAX - 1);
    free(row);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SHELF_BOTH(a_key_gives_the_same_session_again),
        SHELF_BOTH(a_key_is_forgotten_after_its_time_or_with_its_session),
        SHELF_BOTH(an_ended_session_makes_room),
        SHELF_BOTH(the_first_written_end_stands),
        SHELF_BOTH(a_refused_change_changes_nothing),
        SHELF_BOTH(changes_come_in_their_order),
        SHELF_BOTH(lists_are_paged_newest_first),
        SHELF_BOTH(only_old_ended_rows_are_pruned),
        SHELF_BOTH(an_id_is_spent_once_until_it_expires),
        cmocka_unit_test_setup_teardown(spent_ids_do_not_pile_up, shelf_setup,
                                        shelf_teardown),
        cmocka_unit_test(stages_are_replaced_while_they_run),
    };

    return cmocka_run_group_tests_name("base/store", tests, shelf_redis_start,
                                       shelf_redis_stop);
}
