/* The store in many hands: what holds between threads and processes. */
#include "base/store.h"

#include "base/mem.h"
#include "tests/lib/shelf.h"

#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

/* In a process of its own, where a failed assertion would not be heard. */
static struct store *open_store(const char *where, struct err *e)
{
    return store_open(&(struct store_conf){.where = where}, e);
}

static int opens_and_writes(void *arg)
{
    struct err e = {0};
    struct store *s = open_store(arg, &e);
    int r;

    if (!s) {
        fprintf(stderr, "%s\n", e.text);
        return 1;
    }
    r = shelf_create(s, "ann", 1000, "", 0, NOW_S, NULL, &e);
    if (r < 0)
        fprintf(stderr, "%s\n", e.text);
    store_free(s);
    return r != STORE_CREATED;
}

static void many_may_make_it_at_once(void **arg)
{
    (void)arg;
    for (int i = 0; i < 5; i++) {
        char *path = mem_printf("%s/new-%d.db", shelf.dir, i);

        in_processes(6, opens_and_writes, path);
        assert_int_equal(
            shelf_ask(path, "SELECT count(*) FROM sessions", NULL, 0), 6);
        free(path);
    }
}

struct race {
    struct store *s;
    const char *path, *key;
    int quota;
    atomic_int *created, *refused, *other;
};

static void *creates(void *arg)
{
    struct race *r = arg;

    for (int i = 0; i < 5; i++) {
        struct err e = {0};
        const int got =
            shelf_create(r->s, "ann", r->quota, r->key, 1, NOW_S, NULL, &e);

        if (got == STORE_CREATED)
            atomic_fetch_add(r->created, 1);
        else if (got < 0 && e.kind == ERR_BUSY)
            atomic_fetch_add(r->refused, 1);
        else
            atomic_fetch_add(r->other, 1);
    }
    return NULL;
}

static int races(void *arg)
{
    struct race r = *(struct race *)arg;
    struct err e = {0};

    r.s = open_store(r.path, &e);
    if (!r.s)
        return 1;
    in_threads(creates, &r);
    store_free(r.s);
    return 0;
}

/* Three processes of four threads, five creations each. */
static void race(struct race *r, atomic_int *n)
{
    r->path = shelf.path;
    r->created = n;
    r->refused = n + 1;
    r->other = n + 2;
    in_processes(3, races, r);
}

static void the_quota_holds_between_threads_and_processes(void **arg)
{
    struct race r = {.quota = 7, .key = ""};
    atomic_int *n = shared_ints(3);

    (void)arg;
    race(&r, n);
    assert_int_equal(n[0], 7);
    assert_int_equal(n[1], 60 - 7);
    assert_int_equal(n[2], 0);
    assert_int_equal(shelf_count(shelf.s), 7);
    munmap(n, 3 * sizeof(*n));
}

static void one_key_makes_one_session_however_many_ask_at_once(void **arg)
{
    struct race r = {.quota = 100, .key = "k"};
    atomic_int *n = shared_ints(3);

    (void)arg;
    race(&r, n);
    assert_int_equal(n[0], 1);
    assert_int_equal(n[2], 59); /* replayed */
    assert_int_equal(shelf_count(shelf.s), 1);
    munmap(n, 3 * sizeof(*n));
}

static int counts_on(void *arg)
{
    struct err e = {0};
    struct store *s = open_store(shelf.path, &e);

    if (!s)
        return 1;
    for (int i = 0; i < 25; i++)
        if (store_update_if(s, arg, shelf_counts, NULL, NULL, &e) < 0)
            return 1;
    store_free(s);
    return 0;
}

static void no_change_of_another_process_is_lost(void **arg)
{
    struct store_session *row = mem_zero(1, sizeof(*row));
    char id[ID_SIZE];
    struct err e = {0};

    (void)arg;
    shelf_plain(shelf.s, "ann", id);
    in_processes(4, counts_on, id);
    assert_int_equal(store_get(shelf.s, id, row, &e), 0);
    assert_int_equal(row->output_bytes, 100);
    free(row);
}

#define SPENDS 40

struct spend {
    struct store *s;
    atomic_int *won; /* SPENDS, one more for failures of another kind */
};

static void *spends(void *arg)
{
    struct spend *p = arg;

    for (int i = 0; i < SPENDS; i++) {
        struct err e = {0};
        char id[16];

        snprintf(id, sizeof(id), "t%d", i);
        if (store_spend(p->s, id, 100, 50, &e) == 0)
            atomic_fetch_add(&p->won[i], 1);
        else if (e.kind != ERR_TOKEN)
            atomic_fetch_add(&p->won[SPENDS], 1);
    }
    return NULL;
}

static int spends_in_threads(void *arg)
{
    struct spend p = *(struct spend *)arg;
    struct err e = {0};

    p.s = open_store(shelf.path, &e);
    if (!p.s)
        return 1;
    in_threads(spends, &p);
    store_free(p.s);
    return 0;
}

static void of_many_who_spend_an_id_at_once_one_wins(void **arg)
{
    struct spend p = {.won = shared_ints(SPENDS + 1)};

    (void)arg;
    in_processes(3, spends_in_threads, &p);
    for (int i = 0; i < SPENDS; i++)
        assert_int_equal(p.won[i], 1);
    assert_int_equal(p.won[SPENDS], 0);
    munmap(p.won, (SPENDS + 1) * sizeof(*p.won));
}

/* --- who starts a session, and in what --- */

#define RUNNERS 20

struct choice {
    const char *id;
    int me;
    atomic_int *won; /* RUNNERS, then choices that stood, then failures */
};

static int choose(void *arg, struct store_session *row, struct err *e)
{
    const struct choice *c = arg;

    if (row->launch_ref[0])
        return err_set(e, ERR_CONFLICT, "another has chosen");
    snprintf(row->launch_ref, sizeof(row->launch_ref), "w-%d", c->me);
    return 0;
}

static int chooses(void *arg)
{
    struct choice c = *(struct choice *)arg;
    struct err e = {0};
    struct store *s = open_store(shelf.path, &e);

    if (!s)
        return 1;
    c.me = (int)getpid();
    for (int i = 0; i < RUNNERS; i++) {
        char name[16];

        snprintf(name, sizeof(name), "w-%d", i);
        if (store_give_out(s, name, 100, 50, &e) == 0)
            atomic_fetch_add(&c.won[i], 1);
        else
            atomic_fetch_add(&c.won[RUNNERS + 1], e.kind != ERR_TOKEN);
    }
    if (store_update_if(s, c.id, choose, &c, NULL, &e) == 0)
        atomic_fetch_add(&c.won[RUNNERS], 1);
    else
        atomic_fetch_add(&c.won[RUNNERS + 1], e.kind != ERR_CONFLICT);
    store_free(s);
    return 0;
}

static void of_many_who_choose_one_choice_stands(void **arg)
{
    struct choice c = {.won = shared_ints(RUNNERS + 2)};
    char id[ID_SIZE];
    struct err e = {0};

    (void)arg;
    shelf_plain(shelf.s, "ann", id);
    c.id = id;
    in_processes(4, chooses, &c);
    for (int i = 0; i <= RUNNERS; i++)
        assert_int_equal(c.won[i], 1);
    assert_int_equal(c.won[RUNNERS + 1], 0);
    /* until it expires, and apart from token ids */
    assert_int_equal(store_give_out(shelf.s, "x", 100, 50, &e), 0);
    assert_int_equal(store_give_out(shelf.s, "x", 100, 51, &e), -1);
    assert_int_equal(e.kind, ERR_TOKEN);
    assert_int_equal(store_spend(shelf.s, "x", 100, 50, &e), 0);
    munmap(c.won, (RUNNERS + 2) * sizeof(*c.won));
}

static void a_killed_writer_leaves_a_whole_store(void **arg)
{
    atomic_int *told = shared_ints(1);
    char id[ID_SIZE], text[16] = "";
    struct store_session *row = mem_zero(1, sizeof(*row));
    struct err e = {0};

    (void)arg;
    shelf_plain(shelf.s, "ann", id);
    for (int i = 0; i < 3; i++) {
        const pid_t pid = fork();

        assert_true(pid >= 0);
        if (pid == 0) {
            struct store *s = open_store(shelf.path, &e);

            while (s &&
                   store_update_if(s, id, shelf_counts, NULL, NULL, &e) == 0)
                atomic_fetch_add(told, 1);
            _exit(1);
        }
        usleep(60 * 1000);
        kill(pid, SIGKILL);
        assert_int_equal(waitpid(pid, NULL, 0), pid);
    }
    if (!shelf.is_redis) {
        shelf_ask(shelf.path, "PRAGMA integrity_check", text, sizeof(text));
        assert_string_equal(text, "ok");
    }
    assert_int_equal(store_get(shelf.s, id, row, &e), 0);
    assert_true(atomic_load(told) > 0);
    /* what was told as written is; one more may be, untold, each time */
    assert_in_range(row->output_bytes, atomic_load(told),
                    atomic_load(told) + 3);
    free(row);
    munmap(told, sizeof(*told));
}

/* --- a thousand at once --- */

#define RUSH_THREADS 20
#define RUSH_EACH 50
#define RUSH_QUOTA 5

struct rush {
    atomic_int created, refused, other;
    pthread_barrier_t start;
};

static void *rushes(void *arg)
{
    struct rush *r = arg;

    pthread_barrier_wait(&r->start);
    for (int i = 0; i < RUSH_EACH; i++) {
        struct err e = {0};
        const int got =
            shelf_create(shelf.s, "ann", RUSH_QUOTA, "", 0, NOW_S, NULL, &e);

        if (got == STORE_CREATED)
            atomic_fetch_add(&r->created, 1);
        else if (got < 0 && e.kind == ERR_BUSY)
            atomic_fetch_add(&r->refused, 1);
        else
            atomic_fetch_add(&r->other, 1);
    }
    return NULL;
}

static void a_thousand_who_ask_at_once_get_the_quota(void **arg)
{
    struct rush r = {0};
    pthread_t t[RUSH_THREADS];

    (void)arg;
    pthread_barrier_init(&r.start, NULL, RUSH_THREADS);
    for (int i = 0; i < RUSH_THREADS; i++)
        assert_int_equal(pthread_create(&t[i], NULL, rushes, &r), 0);
    for (int i = 0; i < RUSH_THREADS; i++)
        pthread_join(t[i], NULL);
    pthread_barrier_destroy(&r.start);
    assert_int_equal(r.created, RUSH_QUOTA);
    assert_int_equal(r.refused, RUSH_THREADS * RUSH_EACH - RUSH_QUOTA);
    assert_int_equal(r.other, 0);
    assert_int_equal(shelf_count(shelf.s), RUSH_QUOTA);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(many_may_make_it_at_once, shelf_setup,
                                        shelf_teardown),
        SHELF_BOTH(the_quota_holds_between_threads_and_processes),
        SHELF_BOTH(one_key_makes_one_session_however_many_ask_at_once),
        SHELF_BOTH(no_change_of_another_process_is_lost),
        SHELF_BOTH(of_many_who_spend_an_id_at_once_one_wins),
        SHELF_BOTH(of_many_who_choose_one_choice_stands),
        SHELF_BOTH(a_thousand_who_ask_at_once_get_the_quota),
        SHELF_BOTH(a_killed_writer_leaves_a_whole_store),
    };

    return cmocka_run_group_tests_name("base/store: many at once", tests,
                                       shelf_redis_start, shelf_redis_stop);
}
