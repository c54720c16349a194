#include "tests/lib/shelf.h"

#include "base/mem.h"
#include "tests/lib/programs.h"

#include <pthread.h>
#include <setjmp.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

struct shelf shelf;
struct redisd shelf_redisd;

struct store *shelf_open(const char *path)
{
    struct err e = {0};
    struct store *s = store_open(&(struct store_conf){.where = path}, &e);

    if (!s)
        fail_msg("%s", e.text);
    return s;
}

int shelf_redis_start(void **arg)
{
    (void)arg;
    redisd_start(&shelf_redisd, NULL, NULL);
    return 0;
}

int shelf_redis_stop(void **arg)
{
    (void)arg;
    redisd_stop(&shelf_redisd);
    return 0;
}

int shelf_setup_redis(void **arg)
{
    (void)arg;
    redis_reply_free(redisd_ask(&shelf_redisd, "FLUSHALL", NULL));
    shelf.dir = scratch_new();
    shelf.path = mem_str(shelf_redisd.url);
    shelf.s = shelf_open(shelf.path);
    shelf.is_redis = true;
    return 0;
}

int shelf_setup(void **arg)
{
    (void)arg;
    shelf.dir = scratch_new();
    shelf.path = mem_printf("%s/podterm.db", shelf.dir);
    shelf.s = shelf_open(shelf.path);
    return 0;
}

int shelf_teardown(void **arg)
{
    (void)arg;
    store_free(shelf.s);
    free(shelf.path);
    scratch_remove(shelf.dir);
    shelf = (struct shelf){0};
    return 0;
}

struct store_session *shelf_row(const char *sub)
{
    struct store_session *row = mem_zero(1, sizeof(*row));

    random_id(row->id);
    random_id(row->psk_id);
    snprintf(row->owner_iss, sizeof(row->owner_iss), OWNER);
    snprintf(row->owner_sub, sizeof(row->owner_sub), "%s", sub);
    row->state = STATE_PENDING;
    row->created_ms = NOW_S * 1000;
    return row;
}

int shelf_create(struct store *s, const char *sub, int quota, const char *key,
                 uint8_t body, int64_t now_s, char id[ID_SIZE], struct err *e)
{
    struct store_session *row = shelf_row(sub);
    uint8_t hash[32];
    int r;

    memset(hash, body, sizeof(hash));
    r = store_create_checked(s, row, quota, key, hash, NULL, 0, now_s, e);
    if (id)
        snprintf(id, ID_SIZE, "%s", row->id);
    free(row);
    return r;
}

void shelf_plain(struct store *s, const char *sub, char id[ID_SIZE])
{
    struct err e = {0};

    if (shelf_create(s, sub, 1000, "", 0, NOW_S, id, &e) != STORE_CREATED)
        fail_msg("%s", e.text);
}

static int end_now(void *arg, struct store_session *row, struct err *e)
{
    (void)e;
    row->state = STATE_ENDED;
    row->reason = REASON_EXITED;
    row->ended_ms = arg ? *(int64_t *)arg : 5000;
    return 0;
}

void shelf_end(struct store *s, const char *id, int64_t when_ms)
{
    struct err e = {0};

    if (store_update_if(s, id, end_now, &when_ms, NULL, &e) < 0)
        fail_msg("%s", e.text);
}

int shelf_counts(void *arg, struct store_session *row, struct err *e)
{
    (void)arg;
    (void)e;
    row->output_bytes++;
    return 0;
}

int shelf_count(struct store *s)
{
    char cursor[64] = "", next[64];
    int total = 0;

    do {
        struct store_session *rows = NULL;
        struct err e = {0};
        const int n =
            store_list(s, NULL, NULL, false, cursor, 100, &rows, next, &e);

        if (n < 0)
            fail_msg("%s", e.text);
        free(rows);
        total += n;
        snprintf(cursor, sizeof(cursor), "%s", next);
    } while (cursor[0]);
    return total;
}

int64_t shelf_ask(const char *path, const char *sql, char *text, size_t size)
{
    sqlite3_stmt *st = NULL;
    sqlite3 *db = NULL;
    int64_t out = -1;

    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    sqlite3_busy_timeout(db, 5000);
    assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &st, NULL), SQLITE_OK);
    if (sqlite3_step(st) == SQLITE_ROW) {
        out = sqlite3_column_int64(st, 0);
        if (text)
            snprintf(text, size, "%s",
                     (const char *)sqlite3_column_text(st, 0));
    }
    sqlite3_finalize(st);
    sqlite3_close(db);
    return out;
}

void in_processes(int n, int (*fn)(void *arg), void *arg)
{
    pid_t pids[16];

    assert_true(n <= 16);
    for (int i = 0; i < n; i++) {
        pids[i] = fork();
        assert_true(pids[i] >= 0);
        if (pids[i] == 0)
            _exit(fn(arg));
    }
    for (int i = 0; i < n; i++) {
        int status = -1;

        assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), 0);
    }
}

void in_threads(void *(*fn)(void *arg), void *arg)
{
    pthread_t t[4];

    for (int i = 0; i < 4; i++)
        if (pthread_create(&t[i], NULL, fn, arg))
            abort();
    for (int i = 0; i < 4; i++)
        pthread_join(t[i], NULL);
}

atomic_int *shared_ints(size_t count)
{
    void *p = mmap(NULL, count * sizeof(atomic_int), PROT_READ | PROT_WRITE,
                   MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    assert_true(p != MAP_FAILED);
    return p;
}
