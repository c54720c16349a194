#include "base/store_sqlite_internal.h"

#include "base/mem.h"
#include "base/ours.h"
#include "base/own.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

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
#define STORE_SCHEMA 2
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
    "INSERT INTO meta VALUES('rev', %lld), ('row_bytes', %zu);"
    "PRAGMA user_version = 1;";

/* From version 1 to 2; a new store goes through it too. */
static const char schema_2[] =
    "CREATE TABLE launches(id TEXT PRIMARY KEY, blob BLOB NOT NULL)"
    " WITHOUT ROWID;"
    "PRAGMA user_version = 2;";

int store_fail(struct store_sqlite *s, struct err *e, const char *what)
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

static int store_exec(struct store_sqlite *s, const char *sql, struct err *e)
{
    if (sqlite3_exec(s->db, sql, NULL, NULL, NULL) != SQLITE_OK)
        return store_fail(s, e, "set up");
    return 0;
}

int store_number(struct store_sqlite *s, const char *sql, int64_t *out,
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

/* Where revisions begin: see store.h. */
static long long store_first_rev(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return (long long)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static int store_schema_make(struct store_sqlite *s, struct err *e)
{
    char sql[sizeof(schema) + 64];

    snprintf(sql, sizeof(sql), schema, store_first_rev(),
             sizeof(struct store_session));
    return store_exec(s, sql, e);
}

/* Under the lock: the layout this program knows, or -1. */
static int store_schema_bring(struct store_sqlite *s, struct err *e)
{
    int64_t version, bytes, tables;

    if (store_number(s, "PRAGMA user_version", &version, e) < 0 ||
        store_number(s, "SELECT count(*) FROM sqlite_master", &tables, e) < 0)
        return -1;
    if (version == 0 && tables == 0) {
        if (store_schema_make(s, e) < 0)
            return -1;
        version = 1;
    }
    if (version != 1 && version != STORE_SCHEMA)
        return err_set(e, ERR_SYSTEM,
                       "store: schema version %lld, this program knows %d; use "
                       "another state directory or the program that made it",
                       (long long)version, STORE_SCHEMA);
    if (store_number(s, "SELECT value FROM meta WHERE name='row_bytes'", &bytes,
                     e) < 0)
        return -1;
    if (bytes != (int64_t)sizeof(struct store_session))
        return err_set(e, ERR_SYSTEM,
                       "store: rows of %lld bytes, this program writes %zu; "
                       "use another state directory or the program that made "
                       "it",
                       (long long)bytes, sizeof(struct store_session));
    return version == 1 ? store_exec(s, schema_2, e) : 0;
}

static int store_schema(struct store_sqlite *s, struct err *e)
{
    /* two processes may start at once: the schema is made under the lock */
    if (store_exec(s, "BEGIN IMMEDIATE", e) < 0)
        return -1;
    if (store_schema_bring(s, e) == 0)
        return store_exec(s, "COMMIT", e);
    sqlite3_exec(s->db, "ROLLBACK", NULL, NULL, NULL);
    return -1;
}

static int store_prepare(struct store_sqlite *s, struct err *e)
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
        {&s->insert, "INSERT INTO sessions VALUES(?1,?2,?3,?4,?5,?8,?6,?7)"},
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
        {&s->launch_get, "SELECT blob FROM launches WHERE id=?1"},
        {&s->launch_put, "INSERT OR REPLACE INTO launches VALUES(?1,?2)"},
        {&s->launch_drop, "DELETE FROM launches WHERE id=?1"},
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
static int store_wal(struct store_sqlite *s, struct err *e)
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

static void store_close(struct store *base)
{
    struct store_sqlite *s = store_sqlite_of(base);
    sqlite3_stmt *st;

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

int store_run(struct store_sqlite *s, sqlite3_stmt *st, struct err *e)
{
    int r = sqlite3_step(st);

    sqlite3_reset(st);
    if (r != SQLITE_DONE && r != SQLITE_ROW)
        return store_fail(s, e, "write");
    return 0;
}

int store_begin(struct store_sqlite *s, struct err *e)
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
void store_empty_log(struct store_sqlite *s)
{
    if (!s->owes_empty_log)
        return;
    sqlite3_busy_timeout(s->db, STORE_EMPTY_MS);
    if (sqlite3_wal_checkpoint_v2(s->db, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL,
                                  NULL) == SQLITE_OK)
        s->owes_empty_log = false;
    sqlite3_busy_timeout(s->db, STORE_BUSY_MS);
}

int store_end(struct store_sqlite *s, int r, struct err *e)
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

/* --- spent ids, health --- */

static int store_sqlite_spend(struct store *base, const char *jti,
                              int64_t expires_s, int64_t now_s, struct err *e)
{
    struct store_sqlite *s = store_sqlite_of(base);
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

static int store_sqlite_give_out(struct store *s, const char *id,
                                 int64_t expires_s, int64_t now_s,
                                 struct err *e)
{
    char jti[ID_SIZE + 2];

    snprintf(jti, sizeof(jti), "g:%s", id); /* no token's */
    return store_sqlite_spend(s, jti, expires_s, now_s, e);
}

static int store_sqlite_ping(struct store *base, struct err *e)
{
    struct store_sqlite *s = store_sqlite_of(base);
    int64_t rev;
    int r;

    pthread_mutex_lock(&s->lock);
    r = store_number(s, "SELECT value FROM meta WHERE name='rev'", &rev, e);
    store_empty_log(s);
    pthread_mutex_unlock(&s->lock);
    return r;
}

static const struct store_ops store_sqlite_ops = {
    .close = store_close,
    .create = store_sqlite_create,
    .restore = store_sqlite_restore,
    .launch_get = store_sqlite_launch_get,
    .launch_drop = store_sqlite_launch_drop,
    .get = store_sqlite_get,
    .update = store_sqlite_update,
    .list = store_sqlite_list,
    .prune = store_sqlite_prune,
    .give_out = store_sqlite_give_out,
    .spend = store_sqlite_spend,
    .changed_since = store_sqlite_changed_since,
    .ping = store_sqlite_ping,
};

/* --- opening --- */

struct store *store_sqlite_open(const char *path, struct err *e)
{
    struct store_sqlite *s;

    if (store_file(path, e) < 0)
        return NULL;
    s = mem_zero(1, sizeof(*s));
    s->base.ops = &store_sqlite_ops;
    s->owes_empty_log = true; /* takes its first chunk */
    pthread_mutex_init(&s->lock, NULL);
    if (sqlite3_open_v2(path, &s->db,
                        SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX,
                        NULL) != SQLITE_OK) {
        store_fail(s, e, path);
        store_close(&s->base);
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
        store_close(&s->base);
        return NULL;
    }
    return &s->base;
}
