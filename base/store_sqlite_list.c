/* Pages of sessions, and which changed. */
#include "base/store_sqlite_internal.h"

#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int store_list_rows(struct store_sqlite *s, sqlite3_stmt *st, int limit,
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

int store_sqlite_list(struct store *base, const struct store_query *q,
                      struct store_session **out, struct err *e)
{
    static const char sql[] =
        "SELECT row FROM sessions WHERE (?1 IS NULL OR (iss=?1 AND sub=?2))"
        " AND (?3=0 OR state<>?4) AND (created<?5 OR (created=?5 AND id<?6))"
        " ORDER BY created DESC, id DESC LIMIT ?7";
    struct store_sqlite *s = store_sqlite_of(base);
    sqlite3_stmt *st = NULL;
    int n = -1;

    pthread_mutex_lock(&s->lock);
    if (sqlite3_prepare_v2(s->db, sql, -1, &st, NULL) != SQLITE_OK) {
        store_fail(s, e, "list");
    } else {
        if (q->owner_iss) {
            store_bind_str(st, 1, q->owner_iss);
            store_bind_str(st, 2, q->owner_sub);
        }
        sqlite3_bind_int(st, 3, q->only_live);
        sqlite3_bind_int(st, 4, STATE_ENDED);
        sqlite3_bind_int64(st, 5, q->created_ms);
        store_bind_str(st, 6, q->id);
        sqlite3_bind_int(st, 7, q->limit + 1);
        n = store_list_rows(s, st, q->limit, out, e);
    }
    sqlite3_finalize(st);
    pthread_mutex_unlock(&s->lock);
    return n;
}

int store_sqlite_changed_since(struct store *base, int64_t rev,
                               struct store_rev *out, int cap, struct err *e)
{
    struct store_sqlite *s = store_sqlite_of(base);
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
