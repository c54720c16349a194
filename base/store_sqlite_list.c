/* Pages of sessions, and which changed. */
#include "base/store_sqlite_internal.h"

#include "base/mem.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The cursor is "created_ms id" of the last row given. */
static int store_cursor(const char *cursor, int64_t *created, char id[ID_SIZE],
                        struct err *e)
{
    char *end;

    *created = INT64_MAX;
    id[0] = 0;
    if (!cursor[0])
        return 0;
    *created = strtoll(cursor, &end, 10);
    if (*end != '.' || !id_is_valid(end + 1))
        return err_set(e, ERR_INPUT, "this page's cursor is not one of ours");
    snprintf(id, ID_SIZE, "%s", end + 1);
    return 0;
}

static int store_list_rows(struct store *s, sqlite3_stmt *st, int limit,
                           struct store_session **out, struct err *e)
{
    struct store_session *rows = NULL;
    int n = 0, r;

    while ((r = sqlite3_step(st)) == SQLITE_ROW && n < limit + 1) {
        if (sqlite3_column_bytes(st, 0) != sizeof(*rows))
            continue;
        rows = mem_resize(rows, (size_t)n + 1, sizeof(*rows));
        memcpy(&rows[n++], sqlite3_column_blob(st, 0), sizeof(*rows));
    }
    if (r != SQLITE_ROW && r != SQLITE_DONE) {
        free(rows);
        return store_fail(s, e, "list");
    }
    *out = rows;
    return n;
}

int store_list(struct store *s, const char *owner_iss, const char *owner_sub,
               bool only_live, const char *cursor, int limit,
               struct store_session **out, char next_cursor[64], struct err *e)
{
    static const char sql[] =
        "SELECT row FROM sessions WHERE (?1 IS NULL OR (iss=?1 AND sub=?2))"
        " AND (?3=0 OR state<>?4) AND (created<?5 OR (created=?5 AND id<?6))"
        " ORDER BY created DESC, id DESC LIMIT ?7";
    sqlite3_stmt *st = NULL;
    char id[ID_SIZE];
    int64_t created;
    int n = -1;

    assert(limit >= 1 && limit <= 100);
    if (store_cursor(cursor, &created, id, e) < 0)
        return -1;
    pthread_mutex_lock(&s->lock);
    if (sqlite3_prepare_v2(s->db, sql, -1, &st, NULL) != SQLITE_OK) {
        store_fail(s, e, "list");
    } else {
        if (owner_iss) {
            store_bind_str(st, 1, owner_iss);
            store_bind_str(st, 2, owner_sub);
        }
        sqlite3_bind_int(st, 3, only_live);
        sqlite3_bind_int(st, 4, STATE_ENDED);
        sqlite3_bind_int64(st, 5, created);
        store_bind_str(st, 6, id);
        sqlite3_bind_int(st, 7, limit + 1);
        n = store_list_rows(s, st, limit, out, e);
    }
    sqlite3_finalize(st);
    pthread_mutex_unlock(&s->lock);
    next_cursor[0] = 0;
    if (n > limit) {
        n = limit;
        snprintf(next_cursor, 64, "%lld.%s",
                 (long long)(*out)[n - 1].created_ms, (*out)[n - 1].id);
    }
    return n;
}

int store_changed_since(struct store *s, int64_t rev, struct store_rev *out,
                        int cap, struct err *e)
{
    int n = 0, r;

    pthread_mutex_lock(&s->lock);
    sqlite3_bind_int64(s->changed, 1, rev);
    sqlite3_bind_int(s->changed, 2, cap);
    while ((r = sqlite3_step(s->changed)) == SQLITE_ROW && n < cap) {
        snprintf(out[n].id, ID_SIZE, "%s",
                 (const char *)sqlite3_column_text(s->changed, 0));
        out[n++].rev = sqlite3_column_int64(s->changed, 1);
    }
    if (r != SQLITE_ROW && r != SQLITE_DONE)
        n = store_fail(s, e, "changes");
    sqlite3_reset(s->changed);
    pthread_mutex_unlock(&s->lock);
    return n;
}
