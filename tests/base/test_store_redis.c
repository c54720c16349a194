/* The store of a cluster where its Redis is away, slow, emptied or lying.
 * What both stores do alike: the other test_store*. */
#include "base/store.h"

#include "base/digest.h"
#include "base/loop.h"
#include "base/mem.h"
#include "base/own.h"
#include "tests/lib/programs.h"
#include "tests/lib/shelf.h"
#include "tests/lib/tree.h"

#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#define SHORT_MS 200
#define BACK_MS 20000

/* A store of its own that is quick to give up. */
static struct store *hasty(const char *where)
{
    struct err e = {0};
    struct store *s = store_open(
        &(struct store_conf){.where = where, .command_ms = SHORT_MS}, &e);

    if (!s)
        fail_msg("%s", e.text);
    return s;
}

static void comes_back(struct store *s)
{
    struct err e = {0};

    for (int waited_ms = 0; store_ping(s, &e) < 0; waited_ms += 10) {
        assert_true(waited_ms < BACK_MS);
        poll(NULL, 0, 10);
    }
}

static void fails_every_call(struct store *s, const char *id)
{
    struct store_session *row = mem_zero(1, sizeof(*row)), *rows = NULL;
    struct store_rev revs[4];
    char next[64];
    struct err e[12] = {0};
    struct buf out;
    int n = 0;

    buf_init(&out, STORE_LAUNCH_MAX);
    assert_int_equal(shelf_create(s, "ann", 9, "", 0, NOW_S, NULL, &e[n++]),
                     -1);
    assert_int_equal(store_get(s, id, row, &e[n++]), -1);
    assert_int_equal(store_update_if(s, id, shelf_counts, NULL, NULL, &e[n++]),
                     -1);
    assert_int_equal(
        store_list(s, NULL, NULL, false, "", 5, &rows, next, &e[n++]), -1);
    assert_int_equal(store_prune(s, 1, &e[n++]), -1);
    assert_int_equal(store_spend(s, "aaa", 100, 50, &e[n++]), -1);
    assert_int_equal(store_changed_since(s, 0, revs, 4, &e[n++]), -1);
    assert_int_equal(store_ping(s, &e[n++]), -1);
    assert_int_equal(store_launch_get(s, id, &out, &e[n++]), -1);
    assert_int_equal(store_launch_drop(s, id, &e[n++]), -1);
    random_id(row->id);
    assert_int_equal(store_restore(s, row, &e[n++]), -1);
    assert_int_equal(store_demand(s, 3, &e[n++]), -1);
    for (int i = 0; i < n; i++) { /* 503 and 4503: try again */
        assert_int_equal(e[i].kind, ERR_SYSTEM);
        assert_true(strncmp(e[i].text, "redis: ", 7) == 0);
    }
    buf_fini(&out);
    free(row);
}

/* --- away --- */

static void while_it_is_away_every_call_says_so_and_then_it_is_back(void **arg)
{
    char id[ID_SIZE];
    struct err e = {0};

    (void)arg;
    shelf_plain(shelf.s, "ann", id);
    redisd_kill(&shelf_redisd);
    fails_every_call(shelf.s, id);
    redisd_again(&shelf_redisd);
    comes_back(shelf.s);
    shelf_plain(shelf.s, "ann", id);
    assert_int_equal(store_spend(shelf.s, "aaa", 100, 50, &e), 0);
}

static void it_may_come_after_its_users(void **arg)
{
    struct store *early;

    (void)arg;
    redisd_kill(&shelf_redisd);
    early = shelf_open(shelf.path);
    fails_every_call(early, "abcdefghijklmnopqrstuvwxyz");
    redisd_again(&shelf_redisd);
    comes_back(early);
    shelf_plain(early, "ann", NULL);
    store_free(early);
}

static void emptied_in_mid_use_it_takes_its_rows_back(void **arg)
{
    struct store_session *row = mem_zero(1, sizeof(*row));
    char id[ID_SIZE];
    struct err e = {0};
    int64_t rev;

    (void)arg;
    shelf_plain(shelf.s, "ann", id);
    assert_int_equal(store_get(shelf.s, id, row, &e), 0);
    rev = row->rev;
    redisd_kill(&shelf_redisd);
    redisd_again(&shelf_redisd);
    /* the idle connection is seen to be closed: no call is lost */
    assert_int_equal(store_update_if(shelf.s, id, shelf_counts, NULL, NULL, &e),
                     -1);
    assert_int_equal(e.kind, ERR_ABSENT);
    assert_int_equal(store_restore(shelf.s, row, &e), 0);
    assert_true(row->rev > rev);
    assert_int_equal(store_update_if(shelf.s, id, shelf_counts, NULL, row, &e),
                     0);
    assert_int_equal(row->output_bytes, 1);
    free(row);
}

static void revisions_grow_on_where_the_last_writes_were_lost(void **arg)
{
    struct store_session *row = mem_zero(1, sizeof(*row));
    char id[ID_SIZE];
    struct err e = {0};
    int64_t rev;

    (void)arg;
    shelf_plain(shelf.s, "ann", id);
    for (int i = 0; i < 3; i++)
        assert_int_equal(
            store_update_if(shelf.s, id, shelf_counts, NULL, row, &e), 0);
    rev = row->rev;
    redis_reply_free(
        redisd_ask(&shelf_redisd, "SET", "podterm:rev", "1000", NULL));
    assert_int_equal(store_update_if(shelf.s, id, shelf_counts, NULL, row, &e),
                     0);
    assert_true(row->rev > rev);
    /* and where another server's clock was ahead */
    redis_reply_free(redisd_ask(&shelf_redisd, "SET", "podterm:rev",
                                "8000000000000000", NULL));
    assert_int_equal(store_update_if(shelf.s, id, shelf_counts, NULL, row, &e),
                     0);
    assert_int_equal(row->rev, 8000000000000001);
    assert_int_equal(store_get(shelf.s, id, row, &e), 0);
    assert_int_equal(row->rev, 8000000000000001);
    free(row);
}

/* --- slow --- */

static void a_slow_one_hits_the_deadline(void **arg)
{
    struct store *s = hasty(shelf.path);
    char id[ID_SIZE];
    struct err e = {0};
    int64_t from_ms;

    (void)arg;
    shelf_plain(s, "ann", id);
    redis_reply_free(
        redisd_ask(&shelf_redisd, "CLIENT", "PAUSE", "600000", "WRITE", NULL));
    from_ms = loop_now_ms();
    assert_int_equal(store_spend(s, "aaa", 100, 50, &e), -1);
    assert_int_equal(e.kind, ERR_SYSTEM);
    assert_in_range(loop_now_ms() - from_ms, SHORT_MS - 20, 10000);
    redis_reply_free(redisd_ask(&shelf_redisd, "CLIENT", "UNPAUSE", NULL));
    comes_back(s);
    store_free(s);
}

/* The server hears both tries of it and answers none in time. */
static void a_session_whose_answer_was_lost_is_there_once(void **arg)
{
    struct store *s = hasty(shelf.path);
    struct err e = {0};

    (void)arg;
    assert_int_equal(store_ping(s, &e), 0);
    redisd_freeze(&shelf_redisd, true);
    assert_int_equal(shelf_create(s, "ann", 9, "k", 1, NOW_S, NULL, &e), -1);
    assert_int_equal(e.kind, ERR_SYSTEM);
    redisd_freeze(&shelf_redisd, false);
    comes_back(s);
    assert_in_range(shelf_count(shelf.s), 0, 1);
    assert_int_equal(
        redisd_number(&shelf_redisd, "ZCARD", "podterm:live", NULL),
        shelf_count(shelf.s));
    /* who asks again gets that one, or the first */
    e = (struct err){0};
    assert_in_range(shelf_create(s, "ann", 9, "k", 1, NOW_S, NULL, &e),
                    STORE_CREATED, STORE_REPLAYED);
    assert_int_equal(shelf_count(shelf.s), 1);
    store_free(s);
}

static void the_same_creation_twice_is_one(void **arg)
{
    struct store_session *row = shelf_row("ann");
    const uint8_t hash[32] = {0};
    struct err e = {0};
    int64_t rev;

    (void)arg;
    for (int i = 0; i < 2; i++) {
        assert_int_equal(store_create_checked(shelf.s, row, 1, "k", hash, NULL,
                                              0, NOW_S, &e),
                         STORE_CREATED);
        if (i == 1)
            assert_int_equal(row->rev, rev);
        rev = row->rev;
    }
    assert_int_equal(shelf_count(shelf.s), 1);
    free(row);
}

/* --- lying --- */

static void put_row(const char *id, const void *bytes, const char *rev)
{
    char *name = mem_printf("podterm:s:%s", id);

    redis_reply_free(redisd_ask(&shelf_redisd, "HSET", name, "row", bytes,
                                "rev", rev, NULL));
    free(name);
}

/* Sessions told in pages of this many. */
static int paged(int limit)
{
    char cursor[64] = "", next[64];
    struct err e = {0};
    int total = 0;

    do {
        struct store_session *rows = NULL;

        total += store_list(shelf.s, NULL, NULL, false, cursor, limit, &rows,
                            next, &e);
        free(rows);
        snprintf(cursor, sizeof(cursor), "%s", next);
    } while (cursor[0]);
    return total;
}

static void copy_row(const char *from, const char *to)
{
    redis_reply_free(redisd_ask(
        &shelf_redisd, "EVAL",
        "local s = redis.call('HGET', 'podterm:s:' .. ARGV[1], 'row')\n"
        "redis.call('HSET', 'podterm:s:' .. ARGV[2], 'row', s)",
        "0", from, to, NULL));
}

static void what_is_no_row_is_refused_and_hides_no_other(void **arg)
{
    struct store_session *row = mem_zero(1, sizeof(*row));
    char ids[30][ID_SIZE];
    struct err e = {0};

    (void)arg;
    for (int i = 0; i < 30; i++)
        shelf_plain(shelf.s, "ann", ids[i]);
    for (int i = 0; i < 10; i++)
        put_row(ids[i], "\1\2nonsense", "7");
    assert_int_equal(store_get(shelf.s, ids[0], row, &e), -1);
    assert_int_equal(e.kind, ERR_SYSTEM);
    assert_int_equal(
        store_update_if(shelf.s, ids[0], shelf_counts, NULL, NULL, &e), -1);
    for (int limit = 1; limit < 30; limit++)
        assert_int_equal(paged(limit), 20);
    put_row(ids[10], "", "7");
    put_row(ids[11], "", "-7");
    for (int i = 10; i < 12; i++) {
        e = (struct err){0};
        assert_int_equal(store_get(shelf.s, ids[i], row, &e), -1);
        assert_int_equal(e.kind, ERR_SYSTEM);
    }
    /* another session's row in this one's place */
    copy_row(ids[12], ids[13]);
    e = (struct err){0};
    assert_int_equal(store_get(shelf.s, ids[13], row, &e), -1);
    assert_non_null(strstr(e.text, "in another one's place"));
    assert_int_equal(store_get(shelf.s, ids[12], row, &e), 0);
    free(row);
}

static void keys_of_another_kind_are_told(void **arg)
{
    struct store_rev revs[4];
    char id[ID_SIZE], *name;
    struct store_session *row = mem_zero(1, sizeof(*row));
    struct err e = {0};

    (void)arg;
    shelf_plain(shelf.s, "ann", id);
    name = mem_printf("podterm:s:%s", id);
    redis_reply_free(redisd_ask(&shelf_redisd, "SET", name, "x", NULL));
    assert_int_equal(store_get(shelf.s, id, row, &e), -1);
    assert_int_equal(e.kind, ERR_SYSTEM);
    assert_non_null(strstr(e.text, "WRONGTYPE"));
    redis_reply_free(redisd_ask(&shelf_redisd, "ZADD", "podterm:revs",
                                "9000000000000000", "../../etc", NULL));
    e = (struct err){0};
    assert_int_equal(store_changed_since(shelf.s, 0, revs, 4, &e), -1);
    assert_int_equal(e.kind, ERR_SYSTEM);
    free(name);
    free(row);
}

static void a_key_and_a_launch_blob_leave_with_the_end(void **arg)
{
    struct store_session *row = shelf_row("ann");
    const uint8_t hash[32] = {0};
    char *name = mem_printf("podterm:s:%s", row->id);
    struct redis_reply *r;
    struct err e = {0};

    (void)arg;
    memset(row->psk_sealed, 0x5a, sizeof(row->psk_sealed));
    assert_int_equal(
        store_create_checked(shelf.s, row, 1, "", hash, "blob", 4, NOW_S, &e),
        STORE_CREATED);
    r = redisd_ask(&shelf_redisd, "HGET", name, "row", NULL);
    assert_non_null(memmem(r->text, r->len, "ZZZZZZZZ", 8));
    redis_reply_free(r);
    shelf_end(shelf.s, row->id, 5);
    r = redisd_ask(&shelf_redisd, "HGET", name, "row", NULL);
    assert_null(memmem(r->text, r->len, "ZZZZZZZZ", 8));
    redis_reply_free(r);
    r = redisd_ask(&shelf_redisd, "KEYS", "podterm:l:*", NULL);
    assert_int_equal(r->count, 0);
    redis_reply_free(r);
    free(name);
    free(row);
}

static void pruned_sessions_leave_nothing(void **arg)
{
    char id[ID_SIZE];
    struct redis_reply *r;
    struct err e = {0};

    (void)arg;
    for (int i = 0; i < 1200; i++) { /* more than one step's */
        shelf_plain(shelf.s, i % 2 ? "ann" : "bob", id);
        shelf_end(shelf.s, id, 5);
    }
    assert_int_equal(store_prune(shelf.s, 6, &e), 1200);
    r = redisd_ask(&shelf_redisd, "KEYS", "*", NULL);
    assert_int_equal(r->count, 1); /* the last revision */
    assert_string_equal(r->items[0]->text, "podterm:rev");
    redis_reply_free(r);
}

/* --- for the platform --- */

static void the_demand_is_exactly_the_deficit(void **arg)
{
    static const struct {
        int64_t asked, there;
    } rows[] = {{5, 5}, {2, 2}, {2, 2}, {0, 0}, {7, 7}, {99999, 1000}, {-3, 0}};
    struct err e = {0};

    (void)arg;
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        assert_int_equal(store_demand(shelf.s, rows[i].asked, &e), 0);
        assert_int_equal(
            redisd_number(&shelf_redisd, "LLEN", "podterm:demand", NULL),
            rows[i].there);
    }
}

/* Else KEDA would go on making what nobody counts. */
static void the_demand_of_who_says_no_more_is_gone(void **arg)
{
    struct err e = {0};
    int64_t left_ms;

    (void)arg;
    for (int64_t asked = 5; asked > 0; asked -= 3) { /* longer, then shorter */
        assert_int_equal(store_demand(shelf.s, asked, &e), 0);
        left_ms = redisd_number(&shelf_redisd, "PTTL", "podterm:demand", NULL);
        assert_in_range(left_ms, 1, STORE_DEMAND_S * 1000);
        assert_int_equal(
            redisd_number(&shelf_redisd, "PERSIST", "podterm:demand", NULL), 1);
    }
}

static void a_policy_that_drops_sessions_is_told(void **arg)
{
    char out[160];

    (void)arg;
    assert_false(store_warning(shelf.s, out));
    assert_string_equal(out, "");
    redis_reply_free(redisd_ask(&shelf_redisd, "CONFIG", "SET",
                                "maxmemory-policy", "volatile-lru", NULL));
    assert_true(store_warning(shelf.s, out));
    assert_non_null(strstr(out, "noeviction"));
    assert_non_null(strstr(out, "volatile-lru"));
    redis_reply_free(redisd_ask(&shelf_redisd, "CONFIG", "SET",
                                "maxmemory-policy", "noeviction", NULL));
    assert_false(store_warning(shelf.s, out));
}

static void a_wrong_address_or_half_a_login_is_refused(void **arg)
{
    static const struct store_conf rows[] = {
        {.where = "redis://h"},
        {.where = "redis://h:1", .user = "u"},
        {.where = "redis://h:1", .ca = "/tmp/ca"},
        {.where = "/tmp/x.db", .user = "u", .password_file = "/tmp/p"},
    };

    (void)arg;
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        struct err e = {0};

        assert_null(store_open(&rows[i], &e));
        assert_int_equal(e.kind, ERR_INPUT);
    }
}

#define TEST(t)                                                                \
    cmocka_unit_test_setup_teardown(t, shelf_setup_redis, shelf_teardown)

static int start(void **arg)
{
    signal(SIGPIPE, SIG_IGN); /* as the services do */
    return shelf_redis_start(arg);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(while_it_is_away_every_call_says_so_and_then_it_is_back),
        TEST(it_may_come_after_its_users),
        TEST(emptied_in_mid_use_it_takes_its_rows_back),
        TEST(revisions_grow_on_where_the_last_writes_were_lost),
        TEST(a_slow_one_hits_the_deadline),
        TEST(a_session_whose_answer_was_lost_is_there_once),
        TEST(the_same_creation_twice_is_one),
        TEST(what_is_no_row_is_refused_and_hides_no_other),
        TEST(keys_of_another_kind_are_told),
        TEST(a_key_and_a_launch_blob_leave_with_the_end),
        TEST(pruned_sessions_leave_nothing),
        TEST(the_demand_is_exactly_the_deficit),
        TEST(the_demand_of_who_says_no_more_is_gone),
        TEST(a_policy_that_drops_sessions_is_told),
        TEST(a_wrong_address_or_half_a_login_is_refused),
    };

    return cmocka_run_group_tests_name("base/store: a Redis", tests, start,
                                       shelf_redis_stop);
}
