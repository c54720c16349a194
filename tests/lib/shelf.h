/*
 * A store of the test's own in a fresh directory, sessions put into it, and
 * many who use it at once.
 */
#ifndef PODTERM_TESTS_LIB_SHELF_H
#define PODTERM_TESTS_LIB_SHELF_H

#include "base/store.h"
#include "tests/lib/redisd.h"

#include <stdatomic.h>

#define NOW_S 1000000
#define OWNER "https://issuer.example"

struct shelf {
    char *dir, *path; /* of the store: path is below dir, or a Redis's URL */
    struct store *s;
    bool is_redis;
};

extern struct shelf shelf;         /* the running test's */
extern struct redisd shelf_redisd; /* of a binary whose tests use Redis */

/* A cmocka setup and teardown; the test may free shelf.s and set it NULL. */
int shelf_setup(void **state);
int shelf_setup_redis(void **state); /* an empty one */
int shelf_teardown(void **state);
/* A binary's own, where tests use Redis: the server they share. */
int shelf_redis_start(void **state);
int shelf_redis_stop(void **state);
/* One test twice: on SQLite and on Redis. */
#define SHELF_BOTH(t)                                                          \
    {#t, t, shelf_setup, shelf_teardown, NULL},                                \
    {                                                                          \
#t "_on_redis", t, shelf_setup_redis, shelf_teardown, NULL             \
    }
/* One more connection to a store there, or the test fails. */
struct store *shelf_open(const char *path);

/* A pending session of sub's; freed by the caller. */
struct store_session *shelf_row(const char *sub);
/* Create and forget; what store_create_checked said. id may be NULL. */
int shelf_create(struct store *s, const char *sub, int quota, const char *key,
                 uint8_t body, int64_t now_s, char id[ID_SIZE], struct err *e);
/* One that must come to be: no key, no quota that matters. */
void shelf_plain(struct store *s, const char *sub, char id[ID_SIZE]);
/* It has ended, exited, at when_ms. */
void shelf_end(struct store *s, const char *id, int64_t when_ms);
/* For store_update_if: one output byte more. */
int shelf_counts(void *arg, struct store_session *row, struct err *e);
/* How many sessions there are. */
int shelf_count(struct store *s);
/* A number asked over a connection of the test's own, and the text of it
 * when there is room; -1 without a row. */
int64_t shelf_ask(const char *path, const char *sql, char *text, size_t size);

/* Run fn in n processes (at most 16) at once; each must return 0. */
void in_processes(int n, int (*fn)(void *arg), void *arg);
/* Run fn in four threads at once. */
void in_threads(void *(*fn)(void *arg), void *arg);
/* Zeros that every process made from now on shares; munmap releases them. */
atomic_int *shared_ints(size_t count);

#endif
