#include "base/store_sqlite_internal.h"

#include "base/mem.h"
#include "base/ours.h"
#include "base/own.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*
 * One row is one struct store_session, kept as a blob beside the few columns
 * that are searched by. The blob's layout belongs to the schema version: a
 * change of the struct is a new version, and a store of another version is
 * refused, never guessed at.
 *
 * One connection a process, guarded by one mutex: the calls are tens of
 * microseconds, and SQLite would serialize writers anyhow. Other processes
 * share the file through WAL.
 */
#define STORE_SCHEMA 1
#define STORE_BUSY_MS 5000
#define STORE_RETRY_MS 10
#define STORE_EMPTY_MS 50     /* for readers of the log to get out of the way */
#define STORE_PRUNE_EVERY 512 /* spends between two prunings of old ids */

static const char schema[] =
    "CREATE TABLE sessions(id TEXT PRIMARY KEY, iss TEXT NOT NULL,"
    " sub TEXT NOT NULL, state INTEGER NOT NULL, created INTEGER NOT NULL,"
    " ended INTEGER NOT NULL, rev INTEGER NOT NULL, row BLOB NOT NULL)"
    " WITHOUT ROWID;"
    "CREATE INDEX sessions_owner ON sessions(iss, sub, created DESC);"
    "CREATE INDEX sessions_rev ON sessions(rev);"
    "CREATE INDEX sessions_created ON sessions(created DESC);"
    "CREATE TABLE spent(jti TEXT PRIMARY KEY, until INTEGER NOT NULL)"
    " WITHOUT ROWID;"
    "CREATE INDEX spent_until ON spent(until);"
    "CREATE TABLE keys(iss TEXT, sub TEXT, key TEXT, hash BLOB NOT NULL,"
    " sid TEXT NOT NULL, until INTEGER NOT NULL, PRIMARY KEY(iss, sub, key))"
    " WITHOUT ROWID;"
    "CREATE TABLE meta(name TEXT PRIMARY KEY, value INTEGER NOT NULL)"
    " WITHOUT ROWID;"
    "INSERT INTO meta VALUES('rev', 0), ('row_bytes', %zu);"
    "PRAGMA user_version = %d;";

int store_fail(struct store *s, struct err *e, const char *what)
{
    int code = sqlite3_errcode(s->db) & 0xff;
    bool is_broken = code == SQLITE_NOTADB || code == SQLITE_CORRUPT;

    err_set(e, ERR_SYSTEM, "store: %s: %s%s", what, sqlite3_errmsg(s->db),
            is_broken ? " (it is damaged: move it away, and an empty one is "
                        "made)"
                      : "");
    if (e)
        e->is_full = code == SQLITE_FULL;
    return -1;
}

static int store_exec(struct store *s, const char *sql, struct err *e)
{
    if (sqlite3_exec(s->db, sql, NULL, NULL, NULL) != SQLITE_OK)
        return store_fail(s, e, "set up");
    return 0;
}

/* The single number a query gives. */
static int store_number(struct store *s, const char *sql, int64_t *out,
                        struct err *e)
{
    sqlite3_stmt *st = NULL;
    int r = -1;

    if (sqlite3_prepare_v2(s->db, sql, -1, &st, NULL) == SQLITE_OK &&
        sqlite3_step(st) == SQLITE_ROW) {
        *out = sqlite3_column_int64(st, 0);
        r = 0;
    } else {
        store_fail(s, e, "read");
    }
    sqlite3_finalize(st);
    return r;
}

static int store_schema(struct store *s, struct err *e)
{
    char sql[sizeof(schema) + 64];
    int64_t version, bytes, tables;

    /* two processes may start at once: the schema is made under the lock */
    if (store_exec(s, "BEGIN IMMEDIATE", e) < 0)
        return -1;
    if (store_number(s, "PRAGMA user_version", &version, e) < 0 ||
        store_number(s, "SELECT count(*) FROM sqlite_master", &tables, e) < 0)
        goto fail;
    if (version == 0 && tables == 0) {
        snprintf(sql, sizeof(sql), schema, sizeof(struct store_session),
                 STORE_SCHEMA);
        if (store_exec(s, sql, e) < 0)
            goto fail;
        return store_exec(s, "COMMIT", e);
    }
    if (version != STORE_SCHEMA) {
        err_set(e, ERR_SYSTEM,
                "store: schema version %lld, this program knows %d; use "
                "another state directory or the program that made it",
                (long long)version, STORE_SCHEMA);
        goto fail;
    }
    if (store_number(s, "SELECT value FROM meta WHERE name='row_bytes'", &bytes,
                     e) < 0)
        goto fail;
    if (bytes != (int64_t)sizeof(struct store_session)) {
        err_set(e, ERR_SYSTEM,
                "store: rows of %lld bytes, this program writes %zu; use "
                "another state directory or the program that made it",
                (long long)bytes, sizeof(struct store_session));
        goto fail;
    }
    return store_exec(s, "COMMIT", e);
fail:
    sqlite3_exec(s->db, "ROLLBACK", NULL, NULL, NULL);
    return -1;
}

static int store_prepare(struct store *s, struct err *e)
{
    const struct {
        sqlite3_stmt **at;
        const char *sql;
    } rows[] = {
        {&s->begin, "BEGIN IMMEDIATE"},
        {&s->commit, "COMMIT"},
        {&s->rollback, "ROLLBACK"},
        {&s->get, "SELECT row FROM sessions WHERE id=?1"},
        {&s->put, "UPDATE sessions SET state=?2, ended=?3, rev=?4, row=?5"
                  " WHERE id=?1"},
        {&s->insert, "INSERT INTO sessions VALUES(?1,?2,?3,?4,?5,0,?6,?7)"},
        {&s->count, "SELECT count(*) FROM sessions WHERE iss=?1 AND sub=?2"
                    " AND state<>?3"},
        {&s->rev, "UPDATE meta SET value=value+1 WHERE name='rev'"
                  " RETURNING value"},
        {&s->key_get, "SELECT hash, sid FROM keys WHERE iss=?1 AND sub=?2"
                      " AND key=?3 AND until>?4"},
        {&s->key_put, "INSERT OR REPLACE INTO keys VALUES(?1,?2,?3,?4,?5,?6)"},
        {&s->key_prune, "DELETE FROM keys WHERE until<=?1"},
        {&s->spend, "INSERT INTO spent VALUES(?1,?2) ON CONFLICT(jti)"
                    " DO UPDATE SET until=excluded.until WHERE until<=?3"},
        {&s->spend_prune, "DELETE FROM spent WHERE until<=?1"},
        {&s->changed, "SELECT id, rev FROM sessions WHERE rev>?1 ORDER BY rev"
                      " LIMIT ?2"},
        {&s->prune, "DELETE FROM sessions WHERE state=?1 AND ended<?2"},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        if (sqlite3_prepare_v3(s->db, rows[i].sql, -1,
                               SQLITE_PREPARE_PERSISTENT, rows[i].at,
                               NULL) != SQLITE_OK)
            return store_fail(s, e, "prepare");
    return 0;
}

/* The file is made with 0600 before SQLite sees it; WAL and shm follow it,
 * and are believed as much as the file. One that is there is not opened here:
 * closing it would drop the locks of another connection of this process. */
static int store_file(const char *path, struct err *e)
{
    static const char *const ends[] = {"", "-wal", "-shm", "-journal"};
    own_fd int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

    if (fd < 0 &&
        (errno != EEXIST || faccessat(AT_FDCWD, path, R_OK | W_OK,
                                      AT_EACCESS | AT_SYMLINK_NOFOLLOW) < 0))
        return err_sys(e, "store: open %s", path);
    for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
        own_mem char *name = mem_printf("%s%s", path, ends[i]);

        if (ours_file(name, e) < 0)
            return err_wrap(e, "store");
    }
    return 0;
}

/* Two processes that make WAL of a new file at once do not wait for each
 * other by the busy time: one is told at once. */
static int store_wal(struct store *s, struct err *e)
{
    for (int waited_ms = 0;; waited_ms += STORE_RETRY_MS) {
        const int r =
            sqlite3_exec(s->db, "PRAGMA journal_mode=WAL", NULL, NULL, NULL);

        if (r == SQLITE_OK)
            return 0;
        if ((r & 0xff) != SQLITE_BUSY || waited_ms >= STORE_BUSY_MS)
            return store_fail(s, e, "set up");
        sqlite3_sleep(STORE_RETRY_MS);
    }
}

struct store *store_sqlite_open(const char *path, struct err *e)
{
    struct store *s;

    if (store_file(path, e) < 0)
        return NULL;
    s = mem_zero(1, sizeof(*s));
    s->owes_empty_log = true; /* takes its first chunk */
    pthread_mutex_init(&s->lock, NULL);
    if (sqlite3_open_v2(path, &s->db,
                        SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX,
                        NULL) != SQLITE_OK) {
        store_fail(s, e, path);
        store_free(s);
        return NULL;
    }
    sqlite3_busy_timeout(s->db, STORE_BUSY_MS);
    sqlite3_extended_result_codes(s->db, 1);
    sqlite3_file_control(s->db, NULL, SQLITE_FCNTL_CHUNK_SIZE, &(int){1 << 18});
    /* Grown by chunks: room for the log's pages when the disk is full.
     * NORMAL under WAL: a power cut may lose the last commits, never the
     * file; sessions of this machine are gone with it anyhow. */
    if (store_wal(s, e) < 0 ||
        store_exec(s,
                   "PRAGMA synchronous=NORMAL; PRAGMA secure_delete=ON;"
                   "PRAGMA cache_size=-1024;",
                   e) < 0 ||
        store_schema(s, e) < 0 || store_prepare(s, e) < 0) {
        err_wrap(e, "%s", path);
        store_free(s);
        return NULL;
    }
    return s;
}

void store_free(struct store *s)
{
    sqlite3_stmt *st;

    if (!s)
        return;
    while (s->db && (st = sqlite3_next_stmt(s->db, NULL)))
        sqlite3_finalize(st);
    sqlite3_close(s->db);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

/* --- pieces, all under the lock --- */

void store_bind_str(sqlite3_stmt *st, int at, const char *text)
{
    sqlite3_bind_text(st, at, text, -1, SQLITE_STATIC);
}

/* Step a statement that gives no row; it is reset for its next use. */
static int store_run(struct store *s, sqlite3_stmt *st, struct err *e)
{
    int r = sqlite3_step(st);

    sqlite3_reset(st);
    if (r != SQLITE_DONE && r != SQLITE_ROW)
        return store_fail(s, e, "write");
    return 0;
}

static int store_begin(struct store *s, struct err *e)
{
    pthread_mutex_lock(&s->lock);
    if (store_run(s, s->begin, e) == 0)
        return 0;
    pthread_mutex_unlock(&s->lock);
    return -1;
}

/* secure_delete wipes what is dropped from the file, but the log beside it
 * still holds the pages of before: it is emptied into the file. A reader in
 * another process may be in the way; then the next call tries again. */
static void store_empty_log(struct store *s)
{
    if (!s->owes_empty_log)
        return;
    sqlite3_busy_timeout(s->db, STORE_EMPTY_MS);
    if (sqlite3_wal_checkpoint_v2(s->db, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL,
                                  NULL) == SQLITE_OK)
        s->owes_empty_log = false;
    sqlite3_busy_timeout(s->db, STORE_BUSY_MS);
}

/* Commit when r is not negative, else roll back. Returns r, or -1. */
static int store_end(struct store *s, int r, struct err *e)
{
    struct err ignored;

    if (r >= 0 && store_run(s, s->commit, e) < 0)
        r = -1;
    if (r < 0 && !sqlite3_get_autocommit(s->db))
        store_run(s, s->rollback, &ignored);
    if (r < 0 && e->is_full) /* room for the next try */
        s->owes_empty_log = true;
    store_empty_log(s);
    pthread_mutex_unlock(&s->lock);
    return r;
}

static int store_read(struct store *s, const char *id,
                      struct store_session *out, struct err *e)
{
    int r = -1;

    store_bind_str(s->get, 1, id);
    switch (sqlite3_step(s->get)) {
    case SQLITE_ROW:
        if (sqlite3_column_bytes(s->get, 0) == sizeof(*out)) {
            memcpy(out, sqlite3_column_blob(s->get, 0), sizeof(*out));
            r = 0;
        } else {
            err_set(e, ERR_SYSTEM, "store: row of session has a wrong size");
        }
        break;
    case SQLITE_DONE:
        err_set(e, ERR_ABSENT, "no such session");
        break;
    default:
        store_fail(s, e, "read");
        break;
    }
    sqlite3_reset(s->get);
    return r;
}

static int store_next_rev(struct store *s, int64_t *out, struct err *e)
{
    int r = 0;

    if (sqlite3_step(s->rev) == SQLITE_ROW)
        *out = sqlite3_column_int64(s->rev, 0);
    else
        r = store_fail(s, e, "number a change");
    sqlite3_reset(s->rev);
    return r;
}

static int store_write(struct store *s, struct store_session *row,
                       struct err *e)
{
    if (store_next_rev(s, &row->rev, e) < 0)
        return -1;
    store_bind_str(s->put, 1, row->id);
    sqlite3_bind_int(s->put, 2, (int)row->state);
    sqlite3_bind_int64(s->put, 3, row->ended_ms);
    sqlite3_bind_int64(s->put, 4, row->rev);
    sqlite3_bind_blob(s->put, 5, row, sizeof(*row), SQLITE_STATIC);
    return store_run(s, s->put, e);
}

/* --- create --- */

/* 1: replayed, *row filled; 0: the key is new; -1 */
static int store_key_look(struct store *s, struct store_session *row,
                          const char *key, const uint8_t hash[32],
                          int64_t now_s, struct err *e)
{
    char sid[ID_SIZE] = "";
    struct err absent = {0};
    int r = 0;

    store_bind_str(s->key_get, 1, row->owner_iss);
    store_bind_str(s->key_get, 2, row->owner_sub);
    store_bind_str(s->key_get, 3, key);
    sqlite3_bind_int64(s->key_get, 4, now_s);
    if (sqlite3_step(s->key_get) == SQLITE_ROW) {
        r = 1;
        if (sqlite3_column_bytes(s->key_get, 0) != 32 ||
            memcmp(sqlite3_column_blob(s->key_get, 0), hash, 32) != 0)
            r = err_set(e, ERR_CONFLICT,
                        "this idempotency key was used with another body");
        snprintf(sid, sizeof(sid), "%s",
                 (const char *)sqlite3_column_text(s->key_get, 1));
    }
    sqlite3_reset(s->key_get);
    if (r != 1)
        return r;
    /* its session may have been pruned: then the key says nothing any more */
    if (store_read(s, sid, row, &absent) == 0)
        return 1;
    if (absent.kind == ERR_ABSENT)
        return 0;
    *e = absent;
    return -1;
}

static int store_key_keep(struct store *s, const struct store_session *row,
                          const char *key, const uint8_t hash[32],
                          int64_t now_s, struct err *e)
{
    sqlite3_bind_int64(s->key_prune, 1, now_s);
    if (store_run(s, s->key_prune, e) < 0)
        return -1;
    store_bind_str(s->key_put, 1, row->owner_iss);
    store_bind_str(s->key_put, 2, row->owner_sub);
    store_bind_str(s->key_put, 3, key);
    sqlite3_bind_blob(s->key_put, 4, hash, 32, SQLITE_STATIC);
    store_bind_str(s->key_put, 5, row->id);
    sqlite3_bind_int64(s->key_put, 6, now_s + STORE_IDEMPOTENCY_S);
    return store_run(s, s->key_put, e);
}

static int store_quota(struct store *s, const struct store_session *row,
                       int quota, struct err *e)
{
    int live = -1;

    store_bind_str(s->count, 1, row->owner_iss);
    store_bind_str(s->count, 2, row->owner_sub);
    sqlite3_bind_int(s->count, 3, STATE_ENDED);
    if (sqlite3_step(s->count) == SQLITE_ROW)
        live = sqlite3_column_int(s->count, 0);
    else
        store_fail(s, e, "count");
    sqlite3_reset(s->count);
    if (live < 0)
        return -1;
    if (live >= quota)
        return err_set(e, ERR_BUSY,
                       "%d sessions are running, as many as one user may "
                       "have; end one first",
                       live);
    return 0;
}

static int store_insert(struct store *s, struct store_session *row,
                        struct err *e)
{
    if (store_next_rev(s, &row->rev, e) < 0)
        return -1;
    store_bind_str(s->insert, 1, row->id);
    store_bind_str(s->insert, 2, row->owner_iss);
    store_bind_str(s->insert, 3, row->owner_sub);
    sqlite3_bind_int(s->insert, 4, (int)row->state);
    sqlite3_bind_int64(s->insert, 5, row->created_ms);
    sqlite3_bind_int64(s->insert, 6, row->rev);
    sqlite3_bind_blob(s->insert, 7, row, sizeof(*row), SQLITE_STATIC);
    return store_run(s, s->insert, e);
}

static int store_create(struct store *s, struct store_session *row, int quota,
                        const char *key, const uint8_t hash[32], int64_t now_s,
                        struct err *e)
{
    struct store_session *found = NULL;
    int r = 0;

    if (key[0]) {
        found = mem_copy(row, sizeof(*row));
        r = store_key_look(s, found, key, hash, now_s, e);
        if (r == 1)
            *row = *found;
        free(found);
        if (r != 0)
            return r < 0 ? -1 : STORE_REPLAYED;
    }
    if (store_quota(s, row, quota, e) < 0 || store_insert(s, row, e) < 0)
        return -1;
    if (key[0] && store_key_keep(s, row, key, hash, now_s, e) < 0)
        return -1;
    return STORE_CREATED;
}

int store_create_checked(struct store *s, struct store_session *row, int quota,
                         const char *key, const uint8_t body_hash[32],
                         int64_t now_s, struct err *e)
{
    if (store_begin(s, e) < 0)
        return -1;
    return store_end(s, store_create(s, row, quota, key, body_hash, now_s, e),
                     e);
}

/* --- read and change --- */

int store_get(struct store *s, const char *id, struct store_session *out,
              struct err *e)
{
    int r;

    pthread_mutex_lock(&s->lock);
    r = store_read(s, id, out, e);
    pthread_mutex_unlock(&s->lock);
    return r;
}

/* The first end written stands. */
static void store_keep_end(const struct store_session *old,
                           struct store_session *row)
{
    if (old->state == STATE_ENDED) {
        row->state = old->state;
        row->reason = old->reason;
        row->has_exit = old->has_exit;
        row->exit_code = old->exit_code;
        row->exit_signal = old->exit_signal;
        memcpy(row->detail, old->detail, sizeof(row->detail));
        row->started_ms = old->started_ms;
        row->ended_ms = old->ended_ms;
        row->output_bytes = old->output_bytes;
        row->input_bytes = old->input_bytes;
    }
    if (row->state == STATE_ENDED)
        wipe(row->psk_sealed, sizeof(row->psk_sealed));
}

static int store_change(struct store *s, const char *id,
                        int (*change)(void *arg, struct store_session *row,
                                      struct err *e),
                        void *arg, struct store_session *out, struct err *e)
{
    struct store_session *old = mem_zero(2, sizeof(*old)), *row = old + 1;
    int r = store_read(s, id, old, e);

    if (r == 0) {
        *row = *old;
        r = change(arg, row, e);
    }
    if (r == 0) {
        memcpy(row->id, old->id, sizeof(row->id));
        store_keep_end(old, row);
        r = store_write(s, row, e);
        if (memcmp(old->psk_sealed, row->psk_sealed, SEALED_KEY_BYTES) != 0)
            s->owes_empty_log = true;
    }
    if (r == 0 && out)
        *out = *row;
    wipe(old, 2 * sizeof(*old));
    free(old);
    return r;
}

int store_update_if(struct store *s, const char *id,
                    int (*change)(void *arg, struct store_session *row,
                                  struct err *e),
                    void *arg, struct store_session *out, struct err *e)
{
    if (store_begin(s, e) < 0)
        return -1;
    return store_end(s, store_change(s, id, change, arg, out, e), e);
}

/* --- pruning --- */

int store_prune(struct store *s, int64_t before_ms, struct err *e)
{
    int r;

    pthread_mutex_lock(&s->lock);
    sqlite3_bind_int(s->prune, 1, STATE_ENDED);
    sqlite3_bind_int64(s->prune, 2, before_ms);
    r = store_run(s, s->prune, e);
    if (r == 0)
        r = sqlite3_changes(s->db);
    store_empty_log(s);
    pthread_mutex_unlock(&s->lock);
    return r;
}

/* --- spent ids, revisions --- */

int store_spend(struct store *s, const char *jti, int64_t expires_s,
                int64_t now_s, struct err *e)
{
    struct err ignored;
    int r;

    pthread_mutex_lock(&s->lock);
    if (++s->spends % STORE_PRUNE_EVERY == 0) {
        sqlite3_bind_int64(s->spend_prune, 1, now_s);
        store_run(s, s->spend_prune, &ignored);
    }
    store_bind_str(s->spend, 1, jti);
    sqlite3_bind_int64(s->spend, 2, expires_s);
    sqlite3_bind_int64(s->spend, 3, now_s);
    r = store_run(s, s->spend, e);
    if (r == 0 && sqlite3_changes(s->db) == 0)
        r = err_set(e, ERR_TOKEN, "token id was spent before");
    pthread_mutex_unlock(&s->lock);
    return r;
}

int store_ping(struct store *s, struct err *e)
{
    int64_t rev;
    int r;

    pthread_mutex_lock(&s->lock);
    r = store_number(s, "SELECT value FROM meta WHERE name='rev'", &rev, e);
    store_empty_log(s);
    pthread_mutex_unlock(&s->lock);
    return r;
}
