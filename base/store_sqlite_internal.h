/*
 * What the files of the SQLite store share; nobody else includes it.
 */
#ifndef PODTERM_BASE_STORE_SQLITE_INTERNAL_H
#define PODTERM_BASE_STORE_SQLITE_INTERNAL_H

#include "base/store_internal.h"

#include <pthread.h>
#include <sqlite3.h>
#include <stdbool.h>

struct store_sqlite {
    struct store base; /* first: one pointer is both */
    sqlite3 *db;
    pthread_mutex_t lock;
    int spends;
    bool owes_empty_log; /* keys of ended sessions are in it */
    /* prepared once, used under the lock */
    sqlite3_stmt *begin, *commit, *rollback;
    sqlite3_stmt *get, *put, *insert, *count, *rev;
    sqlite3_stmt *key_get, *key_put, *key_prune;
    sqlite3_stmt *launch_get, *launch_put, *launch_drop;
    sqlite3_stmt *spend, *spend_prune, *changed, *prune;
};

static inline struct store_sqlite *store_sqlite_of(struct store *s)
{
    return (struct store_sqlite *)s;
}

/* --- under the lock --- */

/* Fill *e with what SQLite says; always -1. */
int store_fail(struct store_sqlite *s, struct err *e, const char *what);
/* Bind text, which must live until the statement is reset. */
void store_bind_str(sqlite3_stmt *st, int at, const char *text);
/* Step a statement that gives no row; it is reset for its next use. */
int store_run(struct store_sqlite *s, sqlite3_stmt *st, struct err *e);
/* The single number a query gives. */
int store_number(struct store_sqlite *s, const char *sql, int64_t *out,
                 struct err *e);
/* What was wiped goes from the log beside the file too, when it is owed. */
void store_empty_log(struct store_sqlite *s);

/* --- a transaction --- */

/* Takes the lock; -1: not taken. */
int store_begin(struct store_sqlite *s, struct err *e);
/* Commit when r is not negative, else roll back; gives the lock back.
 * Returns r, or -1. */
int store_end(struct store_sqlite *s, int r, struct err *e);

/* --- operations (store_internal.h) in the other files --- */

int store_sqlite_create(struct store *s, struct store_session *row,
                        const struct store_wish *w, struct err *e);
int store_sqlite_restore(struct store *s, struct store_session *row,
                         struct err *e);
int store_sqlite_launch_get(struct store *s, const char *id, struct buf *out,
                            struct err *e);
int store_sqlite_launch_drop(struct store *s, const char *id, struct err *e);
int store_sqlite_get(struct store *s, const char *id, struct store_session *out,
                     struct err *e);
int store_sqlite_update(struct store *s, const char *id, store_change_fn change,
                        void *arg, struct store_session *out, struct err *e);
int store_sqlite_prune(struct store *s, int64_t before_ms, struct err *e);
int store_sqlite_list(struct store *s, const struct store_query *q,
                      struct store_session **out, struct err *e);
int store_sqlite_changed_since(struct store *s, int64_t rev,
                               struct store_rev *out, int cap, struct err *e);

#endif
