/* Rows of the SQLite store: made, read, changed, pruned. */
#include "base/store_sqlite_internal.h"

#include "base/mem.h"
#include "base/own.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int store_read(struct store_sqlite *s, const char *id,
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

static int store_next_rev(struct store_sqlite *s, int64_t *out, struct err *e)
{
    int r = 0;

    if (sqlite3_step(s->rev) == SQLITE_ROW)
        *out = sqlite3_column_int64(s->rev, 0);
    else
        r = store_fail(s, e, "number a change");
    sqlite3_reset(s->rev);
    return r;
}

static int store_write(struct store_sqlite *s, struct store_session *row,
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
static int store_key_look(struct store_sqlite *s, struct store_session *row,
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

static int store_key_keep(struct store_sqlite *s,
                          const struct store_session *row, const char *key,
                          const uint8_t hash[32], int64_t now_s, struct err *e)
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

static int store_quota(struct store_sqlite *s, const struct store_session *row,
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
    return live < 0 ? -1 : store_quota_judge(live, quota, e);
}

static int store_insert(struct store_sqlite *s, struct store_session *row,
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
    sqlite3_bind_int64(s->insert, 8, row->ended_ms);
    return store_run(s, s->insert, e);
}

static int store_launch_put(struct store_sqlite *s, const char *id,
                            const struct store_wish *w, struct err *e)
{
    store_bind_str(s->launch_put, 1, id);
    sqlite3_bind_blob(s->launch_put, 2, w->launch, (int)w->launch_len,
                      SQLITE_STATIC);
    return store_run(s, s->launch_put, e);
}

static int store_create(struct store_sqlite *s, struct store_session *row,
                        const struct store_wish *w, struct err *e)
{
    struct store_session *found = NULL;
    int r = 0;

    if (w->key[0]) {
        found = mem_copy(row, sizeof(*row));
        r = store_key_look(s, found, w->key, w->body_hash, w->now_s, e);
        if (r == 1)
            *row = *found;
        free(found);
        if (r != 0)
            return r < 0 ? -1 : STORE_REPLAYED;
    }
    if (store_quota(s, row, w->quota, e) < 0 || store_insert(s, row, e) < 0)
        return -1;
    if (w->key[0] &&
        store_key_keep(s, row, w->key, w->body_hash, w->now_s, e) < 0)
        return -1;
    if (w->launch_len > 0 && store_launch_put(s, row->id, w, e) < 0)
        return -1;
    return STORE_CREATED;
}

int store_sqlite_create(struct store *base, struct store_session *row,
                        const struct store_wish *w, struct err *e)
{
    struct store_sqlite *s = store_sqlite_of(base);

    if (store_begin(s, e) < 0)
        return -1;
    return store_end(s, store_create(s, row, w, e), e);
}

static int store_put_back(struct store_sqlite *s, struct store_session *row,
                          struct err *e)
{
    own_mem struct store_session *there = mem_zero(1, sizeof(*there));
    struct err absent = {0};

    if (store_read(s, row->id, there, &absent) == 0)
        return err_set(e, ERR_CONFLICT, "there is a session of this id");
    if (absent.kind != ERR_ABSENT) {
        *e = absent;
        return -1;
    }
    return store_insert(s, row, e);
}

int store_sqlite_restore(struct store *base, struct store_session *row,
                         struct err *e)
{
    struct store_sqlite *s = store_sqlite_of(base);

    if (store_begin(s, e) < 0)
        return -1;
    return store_end(s, store_put_back(s, row, e), e);
}

/* --- what starts a session --- */

int store_sqlite_launch_get(struct store *base, const char *id, struct buf *out,
                            struct err *e)
{
    struct store_sqlite *s = store_sqlite_of(base);
    int r = 0;

    pthread_mutex_lock(&s->lock);
    store_bind_str(s->launch_get, 1, id);
    switch (sqlite3_step(s->launch_get)) {
    case SQLITE_ROW:
        if (buf_append(out, sqlite3_column_blob(s->launch_get, 0),
                       (size_t)sqlite3_column_bytes(s->launch_get, 0)) < 0)
            r = err_set(e, ERR_SYSTEM, "store: launch blob is too large");
        break;
    case SQLITE_DONE:
        r = err_set(e, ERR_ABSENT, "nothing to start this session from");
        break;
    default:
        r = store_fail(s, e, "read");
        break;
    }
    sqlite3_reset(s->launch_get);
    pthread_mutex_unlock(&s->lock);
    return r;
}

/* In a transaction; the log is emptied as it ends. */
static int store_launch_forget(struct store_sqlite *s, const char *id,
                               struct err *e)
{
    store_bind_str(s->launch_drop, 1, id);
    if (store_run(s, s->launch_drop, e) < 0)
        return -1;
    if (sqlite3_changes(s->db) > 0)
        s->owes_empty_log = true;
    return 0;
}

int store_sqlite_launch_drop(struct store *base, const char *id, struct err *e)
{
    struct store_sqlite *s = store_sqlite_of(base);

    if (store_begin(s, e) < 0)
        return -1;
    return store_end(s, store_launch_forget(s, id, e), e);
}

/* --- read and change --- */

int store_sqlite_get(struct store *base, const char *id,
                     struct store_session *out, struct err *e)
{
    struct store_sqlite *s = store_sqlite_of(base);
    int r;

    pthread_mutex_lock(&s->lock);
    r = store_read(s, id, out, e);
    pthread_mutex_unlock(&s->lock);
    return r;
}

static int store_rewrite(struct store_sqlite *s, const char *id,
                         store_change_fn change, void *arg,
                         struct store_session *out, struct err *e)
{
    struct store_session *old = mem_zero(2, sizeof(*old)), *row = old + 1;
    int r = store_read(s, id, old, e);

    if (r == 0)
        r = store_change(old, row, change, arg, e);
    if (r == 0)
        r = store_write(s, row, e);
    if (r == 0 && row->state == STATE_ENDED)
        r = store_launch_forget(s, id, e);
    if (r == 0 &&
        memcmp(old->psk_sealed, row->psk_sealed, SEALED_KEY_BYTES) != 0)
        s->owes_empty_log = true;
    if (r == 0 && out)
        *out = *row;
    wipe(old, 2 * sizeof(*old));
    free(old);
    return r;
}

int store_sqlite_update(struct store *base, const char *id,
                        store_change_fn change, void *arg,
                        struct store_session *out, struct err *e)
{
    struct store_sqlite *s = store_sqlite_of(base);

    if (store_begin(s, e) < 0)
        return -1;
    return store_end(s, store_rewrite(s, id, change, arg, out, e), e);
}

/* --- pruning --- */

/* Only ended rows go, and those have no launch blob any more. */
int store_sqlite_prune(struct store *base, int64_t before_ms, struct err *e)
{
    struct store_sqlite *s = store_sqlite_of(base);
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
