/*
 * What the files of the SQLite store share; nobody else includes it.
 */
#ifndef PODTERM_BASE_STORE_SQLITE_INTERNAL_H
#define PODTERM_BASE_STORE_SQLITE_INTERNAL_H

#include "base/store.h"

#include <pthread.h>
#include <sqlite3.h>
#include <stdbool.h>

struct store {
    sqlite3 *db;
    pthread_mutex_t lock;
    int spends;
    bool owes_empty_log; /* keys of ended sessions are in it */
    /* prepared once, used under the lock */
    sqlite3_stmt *begin, *commit, *rollback;
    sqlite3_stmt *get, *put, *insert, *count, *rev;
    sqlite3_stmt *key_get, *key_put, *key_prune;
    sqlite3_stmt *spend, *spend_prune, *changed, *prune;
};

/* Fill *e with what SQLite says; always -1. Under the lock. */
int store_fail(struct store *s, struct err *e, const char *what);
/* Bind text, which must live until the statement is reset. */
void store_bind_str(sqlite3_stmt *st, int at, const char *text);

#endif
