/* The store of one machine: what holds between threads and processes. */
#include "base/store.h"

#include "base/mem.h"
#include "tests/lib/programs.h"

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define NOW_S 1000000
#define OWNER "https://issuer.example"

struct fixture {
    char *dir, *path;
    struct store *s;
};

static struct fixture f;

static struct store *open_at(const char *path)
{
    struct err e = {0};
    struct store *s = store_sqlite_open(path, &e);

    if (!s)
        fail_msg("%s", e.text);
    return s;
}

static int setup(void **arg)
{
    (void)arg;
    f.dir = scratch_new();
    f.path = mem_printf("%s/podterm.db", f.dir);
    f.s = open_at(f.path);
    return 0;
}

static int teardown(void **arg)
{
    (void)arg;
    store_free(f.s);
    free(f.path);
    scratch_remove(f.dir);
    f = (struct fixture){0};
    return 0;
}

/* A pending session of sub's; freed by the caller. */
static struct store_session *session(const char *sub)
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

/* Create and forget; what store_create_checked said. */
static int create(struct store *s, const char *sub, int quota, const char *key,
                  uint8_t body, int64_t now_s, char id[ID_SIZE], struct err *e)
{
    struct store_session *row = session(sub);
    uint8_t hash[32];
    int r;

    memset(hash, body, sizeof(hash));
    r = store_create_checked(s, row, quota, key, hash, now_s, e);
    if (id)
        snprintf(id, ID_SIZE, "%s", row->id);
    free(row);
    return r;
}

static void create_plain(struct store *s, const char *sub, char id[ID_SIZE])
{
    struct err e = {0};

    if (create(s, sub, 1000, "", 0, NOW_S, id, &e) != STORE_CREATED)
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

static void end_it(struct store *s, const char *id, int64_t when_ms)
{
    struct err e = {0};

    if (store_update_if(s, id, end_now, &when_ms, NULL, &e) < 0)
        fail_msg("%s", e.text);
}

/* A number asked over a connection of the test's own. */
static int64_t ask(const char *path, const char *sql, char *text, size_t size)
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

/* --- opening --- */

static void the_file_is_ours_alone_and_in_wal(void **arg)
{
    static const char *const names[] = {"", "-wal", "-shm"};
    char mode[16] = "", path[200];
    struct stat st;

    (void)arg;
    create_plain(f.s, "ann", NULL);
    ask(f.path, "PRAGMA journal_mode", mode, sizeof(mode));
    assert_string_equal(mode, "wal");
    for (size_t i = 0; i < 3; i++) {
        snprintf(path, sizeof(path), "%s%s", f.path, names[i]);
        assert_int_equal(stat(path, &st), 0);
        assert_int_equal(st.st_mode & 07777, 0600);
    }
}

static void refused(const char *path, const char *why)
{
    struct err e = {0};

    if (store_sqlite_open(path, &e))
        fail_msg("%s was opened", path);
    assert_int_equal(e.kind, ERR_SYSTEM);
    if (!strstr(e.text, why))
        fail_msg("\"%s\" does not say \"%s\"", e.text, why);
}

static void another_version_is_refused_with_a_sentence(void **arg)
{
    char *other = mem_printf("%s/other.db", f.dir);

    (void)arg;
    store_free(f.s);
    f.s = NULL;
    ask(f.path, "PRAGMA user_version = 2", NULL, 0);
    refused(f.path, "schema version 2");
    ask(f.path, "PRAGMA user_version = 1", NULL, 0);
    ask(f.path, "UPDATE meta SET value = 7 WHERE name = 'row_bytes'", NULL, 0);
    refused(f.path, "rows of 7 bytes");
    /* a database of something else */
    ask(other, "CREATE TABLE theirs(a)", NULL, 0);
    refused(other, "schema version 0");
    assert_int_equal(ask(other, "SELECT count(*) FROM sqlite_master", NULL, 0),
                     1); /* left as it was */
    free(other);
}

static void what_is_no_store_is_not_opened(void **arg)
{
    char *junk = mem_printf("%s/junk", f.dir);
    char *link = mem_printf("%s/link", f.dir);
    char *gone = mem_printf("%s/none/podterm.db", f.dir);
    FILE *out = fopen(junk, "w");

    (void)arg;
    assert_non_null(out);
    for (int i = 0; i < 1000; i++)
        fputs("this is not a database", out);
    fclose(out);
    refused(junk, "not a database");
    assert_int_equal(symlink(f.path, link), 0);
    refused(link, "symbolic link");
    refused(gone, "No such file");
    refused(f.dir, "not a regular file");
    free(junk);
    free(link);
    free(gone);
}

/* Run fn in n processes at once; each must return 0. */
static void in_processes(int n, int (*fn)(void *arg), void *arg)
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

static int opens_and_writes(void *arg)
{
    struct err e = {0};
    struct store *s = store_sqlite_open(arg, &e);
    int r;

    if (!s) {
        fprintf(stderr, "%s\n", e.text);
        return 1;
    }
    r = create(s, "ann", 1000, "", 0, NOW_S, NULL, &e);
    if (r < 0)
        fprintf(stderr, "%s\n", e.text);
    store_free(s);
    return r != STORE_CREATED;
}

static void many_may_make_it_at_once(void **arg)
{
    (void)arg;
    for (int i = 0; i < 5; i++) {
        char *path = mem_printf("%s/new-%d.db", f.dir, i);

        in_processes(6, opens_and_writes, path);
        assert_int_equal(ask(path, "SELECT count(*) FROM sessions", NULL, 0),
                         6);
        free(path);
    }
}

/* As another user, where root would get through. */
static int tries_to_open(void *arg)
{
    struct err e = {0};

    if (geteuid() == 0 && (setgid(65534) < 0 || setuid(65534) < 0))
        return 2;
    return store_sqlite_open(arg, &e) || e.kind != ERR_SYSTEM ||
           !strstr(e.text, "Permission denied");
}

static void a_directory_that_is_not_ours_to_write_is_told(void **arg)
{
    char *dir = mem_printf("%s/shut", f.dir);
    char *path = mem_printf("%s/podterm.db", dir);

    (void)arg;
    assert_int_equal(mkdir(dir, 0555), 0);
    in_processes(1, tries_to_open, path);
    in_processes(1, tries_to_open, f.path);
    free(dir);
    free(path);
}

static char *beside(const char *end)
{
    return mem_printf("%s%s", f.path, end);
}

static const char *const store_files[] = {"", "-wal", "-shm", "-journal"};
#define STORE_FILES (sizeof(store_files) / sizeof(*store_files))

static void a_link_in_the_place_of_a_file_of_it_is_refused(void **arg)
{
    char *victim = mem_printf("%s/victim", f.dir), text[16] = "";
    FILE *file = fopen(victim, "w");

    (void)arg;
    assert_non_null(file);
    assert_int_equal(fputs("precious", file) < 0, 0);
    fclose(file);
    store_free(f.s); /* nothing is left beside the file */
    f.s = NULL;
    for (size_t i = 0; i < STORE_FILES; i++) {
        char *path = beside(store_files[i]);

        unlink(path);
        assert_int_equal(symlink(victim, path), 0);
        refused(f.path, path);
        refused(f.path, "symbolic link");
        assert_int_equal(unlink(path), 0);
        assert_int_equal(symlink("/nonexistent/x", path), 0);
        refused(f.path, "symbolic link");
        assert_int_equal(unlink(path), 0);
        free(path);
    }
    file = fopen(victim, "r");
    assert_non_null(file);
    assert_non_null(fgets(text, sizeof(text), file));
    fclose(file);
    assert_string_equal(text, "precious");
    free(victim);
}

/* Its size and mode are as they were. */
static void refused_untouched(const char *path, const char *why)
{
    struct stat before, after;

    assert_int_equal(lstat(path, &before), 0);
    refused(f.path, path);
    refused(f.path, why);
    assert_int_equal(lstat(path, &after), 0);
    assert_int_equal(before.st_size, after.st_size);
    assert_int_equal(before.st_mode, after.st_mode);
}

static void a_file_of_it_that_others_own_or_write_is_refused(void **arg)
{
    (void)arg;
    create_plain(f.s, "ann", NULL); /* kept open: all but the journal */
    for (size_t i = 0; i < STORE_FILES; i++) {
        char *path = beside(store_files[i]);
        const int fd = open(path, O_RDWR | O_CREAT, 0600);

        assert_true(fd >= 0);
        assert_int_equal(fchmod(fd, 0620), 0);
        refused_untouched(path, "0620");
        assert_int_equal(fchmod(fd, 0602), 0);
        refused_untouched(path, "0602");
        assert_int_equal(fchmod(fd, 0600), 0);
        if (geteuid() == 0) {
            assert_int_equal(fchown(fd, 12345, 12345), 0);
            refused_untouched(path, "12345");
            assert_int_equal(fchown(fd, 0, 0), 0);
        }
        if (i + 1 == STORE_FILES)
            unlink(path);
        close(fd);
        free(path);
    }
    store_free(open_at(f.path)); /* and with all of them right it opens */
}

/* --- creating --- */

static void a_key_gives_the_same_session_again(void **arg)
{
    char first[ID_SIZE], again[ID_SIZE];
    struct err e = {0};

    (void)arg;
    assert_int_equal(create(f.s, "ann", 2, "k", 1, NOW_S, first, &e),
                     STORE_CREATED);
    assert_int_equal(create(f.s, "ann", 2, "k", 1, NOW_S + 5, again, &e),
                     STORE_REPLAYED);
    assert_string_equal(again, first);
    assert_int_equal(create(f.s, "ann", 2, "k", 2, NOW_S, NULL, &e), -1);
    assert_int_equal(e.kind, ERR_CONFLICT);
    /* another owner's key is another */
    e = (struct err){0};
    assert_int_equal(create(f.s, "bob", 2, "k", 2, NOW_S, again, &e),
                     STORE_CREATED);
    assert_string_not_equal(again, first);
    /* no key: never a replay */
    assert_int_equal(create(f.s, "ann", 2, "", 1, NOW_S, NULL, &e),
                     STORE_CREATED);
    /* a replay needs no room in the quota */
    assert_int_equal(create(f.s, "ann", 2, "k2", 1, NOW_S, NULL, &e), -1);
    assert_int_equal(e.kind, ERR_BUSY);
    e = (struct err){0};
    assert_int_equal(create(f.s, "ann", 2, "k", 1, NOW_S, again, &e),
                     STORE_REPLAYED);
    assert_int_equal(e.kind, ERR_NONE);
    /* what was refused left no key */
    assert_int_equal(create(f.s, "ann", 3, "k2", 9, NOW_S, NULL, &e),
                     STORE_CREATED);
}

static void a_key_is_forgotten_after_its_time_or_with_its_session(void **arg)
{
    char first[ID_SIZE], again[ID_SIZE];
    struct err e = {0};
    const int64_t last = NOW_S + STORE_IDEMPOTENCY_S - 1;

    (void)arg;
    assert_int_equal(create(f.s, "ann", 9, "k", 1, NOW_S, first, &e),
                     STORE_CREATED);
    assert_int_equal(create(f.s, "ann", 9, "k", 1, last, again, &e),
                     STORE_REPLAYED);
    assert_int_equal(create(f.s, "ann", 9, "k", 2, last + 1, again, &e),
                     STORE_CREATED);
    assert_string_not_equal(again, first);
    end_it(f.s, again, 1);
    assert_int_equal(store_prune(f.s, 2, &e), 1);
    assert_int_equal(create(f.s, "ann", 9, "k", 2, last + 2, first, &e),
                     STORE_CREATED);
    assert_string_not_equal(again, first);
    assert_int_equal(e.kind, ERR_NONE);
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
            create(r->s, "ann", r->quota, r->key, 1, NOW_S, NULL, &e);

        if (got == STORE_CREATED)
            atomic_fetch_add(r->created, 1);
        else if (got < 0 && e.kind == ERR_BUSY)
            atomic_fetch_add(r->refused, 1);
        else
            atomic_fetch_add(r->other, 1);
    }
    return NULL;
}

static void in_threads(void *(*fn)(void *arg), void *arg)
{
    pthread_t t[4];

    for (int i = 0; i < 4; i++)
        if (pthread_create(&t[i], NULL, fn, arg))
            abort();
    for (int i = 0; i < 4; i++)
        pthread_join(t[i], NULL);
}

static int races(void *arg)
{
    struct race r = *(struct race *)arg;
    struct err e = {0};

    r.s = store_sqlite_open(r.path, &e);
    if (!r.s)
        return 1;
    in_threads(creates, &r);
    store_free(r.s);
    return 0;
}

static atomic_int *shared_ints(size_t count)
{
    void *p = mmap(NULL, count * sizeof(atomic_int), PROT_READ | PROT_WRITE,
                   MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    assert_true(p != MAP_FAILED);
    return p;
}

/* Three processes of four threads, five creations each. */
static void race(struct race *r, atomic_int *n)
{
    r->path = f.path;
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
    assert_int_equal(ask(f.path, "SELECT count(*) FROM sessions", NULL, 0), 7);
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
    assert_int_equal(ask(f.path, "SELECT count(*) FROM sessions", NULL, 0), 1);
    munmap(n, 3 * sizeof(*n));
}

static void an_ended_session_makes_room(void **arg)
{
    char id[ID_SIZE];
    struct err e = {0};

    (void)arg;
    assert_int_equal(create(f.s, "ann", 1, "", 0, NOW_S, id, &e),
                     STORE_CREATED);
    assert_int_equal(create(f.s, "ann", 1, "", 0, NOW_S, NULL, &e), -1);
    assert_int_equal(create(f.s, "bob", 1, "", 0, NOW_S, NULL, &e),
                     STORE_CREATED);
    end_it(f.s, id, 5000);
    assert_int_equal(create(f.s, "ann", 1, "", 0, NOW_S, NULL, &e),
                     STORE_CREATED);
    assert_int_equal(create(f.s, "ann", 0, "", 0, NOW_S, NULL, &e), -1);
}

/* --- changing --- */

static int late_end(void *arg, struct store_session *row, struct err *e)
{
    (void)arg;
    (void)e;
    row->state = STATE_RUNNING;
    row->reason = REASON_RUNNER_LOST;
    row->exit_code = 99;
    row->has_exit = true;
    row->exit_signal = 9;
    row->started_ms = row->ended_ms = row->output_bytes = row->input_bytes = 77;
    strcpy(row->detail, "late");
    strcpy(row->agent_addr, "127.0.0.1:9");
    memset(row->psk_sealed, 0x5a, sizeof(row->psk_sealed));
    return 0;
}

static int first_end(void *arg, struct store_session *row, struct err *e)
{
    (void)arg;
    (void)e;
    row->state = STATE_ENDED;
    row->reason = REASON_EXITED;
    row->has_exit = true;
    row->exit_code = 3;
    row->started_ms = 1;
    row->ended_ms = 2;
    row->output_bytes = 4;
    row->input_bytes = 5;
    strcpy(row->detail, "first");
    return 0;
}

static void the_first_written_end_stands(void **arg)
{
    static const uint8_t zero[SEALED_KEY_BYTES];
    struct store_session *row = mem_zero(1, sizeof(*row));
    char id[ID_SIZE];
    struct err e = {0};

    (void)arg;
    create_plain(f.s, "ann", id);
    assert_int_equal(store_update_if(f.s, id, first_end, NULL, NULL, &e), 0);
    assert_int_equal(store_update_if(f.s, id, late_end, NULL, row, &e), 0);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(row->state, STATE_ENDED);
        assert_int_equal(row->reason, REASON_EXITED);
        assert_int_equal(row->exit_code, 3);
        assert_true(row->has_exit);
        assert_int_equal(row->exit_signal, 0);
        assert_int_equal(row->started_ms, 1);
        assert_int_equal(row->ended_ms, 2);
        assert_int_equal(row->output_bytes, 4);
        assert_int_equal(row->input_bytes, 5);
        assert_string_equal(row->detail, "first");
        assert_string_equal(row->agent_addr, "127.0.0.1:9");
        assert_memory_equal(row->psk_sealed, zero, sizeof(zero));
        assert_int_equal(store_get(f.s, id, row, &e), 0);
    }
    free(row);
}

static int refuses(void *arg, struct store_session *row, struct err *e)
{
    (void)arg;
    row->state = STATE_RUNNING;
    return err_set(e, ERR_DENIED, "not this one");
}

static int renames(void *arg, struct store_session *row, struct err *e)
{
    (void)arg;
    (void)e;
    random_id(row->id);
    strcpy(row->agent_uid, "uid");
    return 0;
}

static void a_refused_change_changes_nothing(void **arg)
{
    struct store_session *row = mem_zero(1, sizeof(*row));
    char id[ID_SIZE];
    struct err e = {0};
    int64_t rev;

    (void)arg;
    create_plain(f.s, "ann", id);
    assert_int_equal(store_get(f.s, id, row, &e), 0);
    rev = row->rev;
    assert_int_equal(store_update_if(f.s, id, refuses, NULL, NULL, &e), -1);
    assert_int_equal(e.kind, ERR_DENIED);
    assert_int_equal(store_get(f.s, id, row, &e), 0);
    assert_int_equal(row->state, STATE_PENDING);
    assert_int_equal(row->rev, rev);
    /* an id is for good */
    assert_int_equal(store_update_if(f.s, id, renames, NULL, row, &e), 0);
    assert_string_equal(row->id, id);
    assert_string_equal(row->agent_uid, "uid");
    assert_true(row->rev > rev);
    e = (struct err){0};
    assert_int_equal(store_get(f.s, "abcdefghijklmnopqrstuvwxyz", row, &e), -1);
    assert_int_equal(e.kind, ERR_ABSENT);
    assert_int_equal(
        store_update_if(f.s, "x' OR '1'='1", renames, NULL, NULL, &e), -1);
    assert_int_equal(e.kind, ERR_ABSENT);
    free(row);
}

static int counts(void *arg, struct store_session *row, struct err *e)
{
    (void)arg;
    (void)e;
    row->output_bytes++;
    return 0;
}

static int counts_on(void *arg)
{
    struct err e = {0};
    struct store *s = store_sqlite_open(f.path, &e);

    if (!s)
        return 1;
    for (int i = 0; i < 25; i++)
        if (store_update_if(s, arg, counts, NULL, NULL, &e) < 0)
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
    create_plain(f.s, "ann", id);
    in_processes(4, counts_on, id);
    assert_int_equal(store_get(f.s, id, row, &e), 0);
    assert_int_equal(row->output_bytes, 100);
    free(row);
}

/* --- the key goes with the session --- */

/* In a process of its own: to close the file here would drop the locks that
 * the store's connection holds on it. */
static bool file_has(const char *path, const uint8_t *what, size_t len)
{
    const pid_t pid = fork();
    int status = -1;

    assert_true(pid >= 0);
    if (pid == 0) {
        FILE *in = fopen(path, "rb");
        uint8_t *all = mem_zero(1, 8 << 20);
        const size_t n = in ? fread(all, 1, 8 << 20, in) : 0;

        _exit(n && memmem(all, n, what, len));
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status) == 1;
}

static bool anywhere(const uint8_t *what, size_t len)
{
    static const char *const names[] = {"", "-wal", "-shm", "-journal"};
    bool has = false;

    for (size_t i = 0; i < 4; i++) {
        char path[200];

        snprintf(path, sizeof(path), "%s%s", f.path, names[i]);
        has = has || file_has(path, what, len);
    }
    return has;
}

static void create_with_key(uint8_t key[SEALED_KEY_BYTES], char id[ID_SIZE])
{
    struct store_session *row = session("ann");
    const uint8_t hash[32] = {0};
    struct err e = {0};

    for (size_t i = 0; i < SEALED_KEY_BYTES; i++)
        key[i] = row->psk_sealed[i] = (uint8_t)(0xa0 + i * 7 + (uint8_t)id[0]);
    assert_int_equal(store_create_checked(f.s, row, 9, "", hash, NOW_S, &e),
                     STORE_CREATED);
    snprintf(id, ID_SIZE, "%s", row->id);
    free(row);
    assert_true(anywhere(key, SEALED_KEY_BYTES));
}

static void the_key_leaves_every_file_with_its_end(void **arg)
{
    uint8_t key[SEALED_KEY_BYTES];
    char id[ID_SIZE] = "a", other[ID_SIZE] = "b";
    uint8_t other_key[SEALED_KEY_BYTES];
    struct err e = {0};
    struct store *gateway = open_at(f.path);

    (void)arg;
    create_with_key(key, id);
    create_with_key(other_key, other);
    for (int i = 0; i < 10; i++) /* copies of it in the log */
        assert_int_equal(store_update_if(f.s, id, counts, NULL, NULL, &e), 0);
    end_it(f.s, id, 5000);
    assert_false(anywhere(key, 16));
    assert_true(anywhere(other_key, 16));
    end_it(f.s, other, 5000);
    assert_false(anywhere(other_key, 16));
    store_free(gateway);
}

static void a_reader_only_delays_it(void **arg)
{
    uint8_t key[SEALED_KEY_BYTES];
    char id[ID_SIZE] = "c";
    sqlite3 *reader = NULL;
    struct err e = {0};

    (void)arg;
    create_with_key(key, id);
    assert_int_equal(sqlite3_open(f.path, &reader), SQLITE_OK);
    assert_int_equal(sqlite3_exec(reader,
                                  "BEGIN; SELECT count(*) FROM sessions", NULL,
                                  NULL, NULL),
                     SQLITE_OK);
    end_it(f.s, id, 5000); /* does not fail for it */
    sqlite3_close_v2(reader);
    assert_int_equal(store_ping(f.s, &e), 0);
    assert_false(anywhere(key, 16));
}

/* --- lists --- */

static void changes_come_in_their_order(void **arg)
{
    struct store_rev revs[8];
    char ids[4][ID_SIZE];
    struct err e = {0};
    int64_t from;

    (void)arg;
    for (int i = 0; i < 4; i++)
        create_plain(f.s, "ann", ids[i]);
    assert_int_equal(store_changed_since(f.s, 0, revs, 8, &e), 4);
    for (int i = 0; i < 4; i++) {
        assert_string_equal(revs[i].id, ids[i]);
        assert_true(i == 0 || revs[i].rev > revs[i - 1].rev);
    }
    from = revs[3].rev;
    assert_int_equal(store_changed_since(f.s, from, revs, 8, &e), 0);
    end_it(f.s, ids[2], 1);
    assert_int_equal(store_update_if(f.s, ids[0], counts, NULL, NULL, &e), 0);
    assert_int_equal(store_changed_since(f.s, from, revs, 8, &e), 2);
    assert_string_equal(revs[0].id, ids[2]);
    assert_string_equal(revs[1].id, ids[0]);
    assert_int_equal(store_changed_since(f.s, 0, revs, 3, &e), 3);
}

static void list_some(int i, char id[ID_SIZE])
{
    struct store_session *row = session(i % 3 ? "ann" : "bob");
    const uint8_t hash[32] = {0};
    struct err e = {0};

    row->created_ms = 1000 + i / 2; /* two of each time */
    assert_int_equal(store_create_checked(f.s, row, 100, "", hash, 1, &e),
                     STORE_CREATED);
    snprintf(id, ID_SIZE, "%s", row->id);
    free(row);
}

/* All pages of one list; how many rows, which must be in order. */
static int pages(const char *sub, bool only_live, int limit)
{
    char cursor[64] = "", next[64], seen[32][ID_SIZE];
    struct err e = {0};
    int64_t last = INT64_MAX;
    int total = 0;

    do {
        struct store_session *rows = NULL;
        int n = store_list(f.s, sub ? OWNER : NULL, sub, only_live, cursor,
                           limit, &rows, next, &e);

        assert_in_range(n, 0, limit);
        for (int i = 0; i < n; i++, total++) {
            assert_true(total < 32 && rows[i].created_ms <= last);
            last = rows[i].created_ms;
            assert_true(!sub || !strcmp(rows[i].owner_sub, sub));
            assert_true(!only_live || rows[i].state != STATE_ENDED);
            for (int k = 0; k < total; k++)
                assert_string_not_equal(seen[k], rows[i].id);
            snprintf(seen[total], ID_SIZE, "%s", rows[i].id);
        }
        free(rows);
        snprintf(cursor, sizeof(cursor), "%s", next);
    } while (cursor[0]);
    return total;
}

static void lists_are_paged_newest_first(void **arg)
{
    static const char *const bad[] = {"x",
                                      "1",
                                      "1.",
                                      "1.x",
                                      ".",
                                      "-",
                                      "1 abcdefghijklmnopqrstuvwxyz",
                                      "1.abcdefghijklmnopqrstuvwxyz0",
                                      "1.abcdefghijklmnopqrstuvwxy'"};
    struct store_session *rows = NULL;
    char ids[20][ID_SIZE], next[64];
    struct err e = {0};

    (void)arg;
    assert_int_equal(pages(NULL, false, 3), 0);
    for (int i = 0; i < 20; i++)
        list_some(i, ids[i]);
    end_it(f.s, ids[1], 1);
    end_it(f.s, ids[3], 1);
    for (int limit = 1; limit <= 20; limit += 3) {
        assert_int_equal(pages(NULL, false, limit), 20);
        assert_int_equal(pages("ann", false, limit), 13);
        assert_int_equal(pages("bob", false, limit), 7);
        assert_int_equal(pages("ann", true, limit), 12);
        assert_int_equal(pages("eve", false, limit), 0);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        assert_int_equal(
            store_list(f.s, NULL, NULL, false, bad[i], 5, &rows, next, &e), -1);
        assert_int_equal(e.kind, ERR_INPUT);
    }
}

static void only_old_ended_rows_are_pruned(void **arg)
{
    struct store_session *row = mem_zero(1, sizeof(*row));
    char live[ID_SIZE], old[ID_SIZE], young[ID_SIZE];
    struct err e = {0};

    (void)arg;
    create_plain(f.s, "ann", live);
    create_plain(f.s, "ann", old);
    create_plain(f.s, "ann", young);
    end_it(f.s, old, 999);
    end_it(f.s, young, 1000);
    assert_int_equal(store_prune(f.s, 1000, &e), 1);
    assert_int_equal(store_prune(f.s, 1000, &e), 0);
    assert_int_equal(store_get(f.s, old, row, &e), -1);
    assert_int_equal(e.kind, ERR_ABSENT);
    assert_int_equal(store_get(f.s, live, row, &e), 0);
    assert_int_equal(store_get(f.s, young, row, &e), 0);
    free(row);
}

/* --- spending --- */

static void an_id_is_spent_once_until_it_expires(void **arg)
{
    struct err e = {0};

    (void)arg;
    assert_int_equal(store_spend(f.s, "a", 100, 50, &e), 0);
    assert_int_equal(store_spend(f.s, "b", 100, 50, &e), 0);
    assert_int_equal(store_spend(f.s, "a", 100, 50, &e), -1);
    assert_int_equal(e.kind, ERR_TOKEN);
    assert_int_equal(store_spend(f.s, "a", 200, 99, &e), -1);
    store_free(f.s);
    f.s = open_at(f.path); /* not forgotten */
    assert_int_equal(store_spend(f.s, "a", 200, 99, &e), -1);
    assert_int_equal(store_spend(f.s, "a", 200, 100, &e), 0);
    assert_int_equal(store_spend(f.s, "a", 200, 150, &e), -1);
}

static void spent_ids_do_not_pile_up(void **arg)
{
    char id[16];
    struct err e = {0};

    (void)arg;
    for (int i = 0; i < 1100; i++) {
        snprintf(id, sizeof(id), "t%d", i);
        assert_int_equal(store_spend(f.s, id, i + 10, i, &e), 0);
    }
    assert_in_range(ask(f.path, "SELECT count(*) FROM spent", NULL, 0), 10,
                    600);
    assert_int_equal(e.kind, ERR_NONE);
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

    p.s = store_sqlite_open(f.path, &e);
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

/* --- bad times --- */

/* In a process: fill the store until it says so; all that was told as
 * written must be there, and with room again it goes on. */
static int fills(const char *path, void (*make_room)(void))
{
    struct store_session *row = mem_zero(1, sizeof(*row));
    struct err e = {0};
    struct store *s = store_sqlite_open(path, &e);
    char id[ID_SIZE], last[ID_SIZE] = "";
    int written = 0, r;

    if (!s)
        return 10;
    while ((r = create(s, "ann", 100000, "", 0, NOW_S, id, &e)) >= 0) {
        snprintf(last, sizeof(last), "%s", id);
        if (++written > 5000)
            return 11;
    }
    if (e.kind != ERR_SYSTEM || written < 3)
        return 12;
    fprintf(stderr, "after %d rows: %s\n", written, e.text);
    if (store_get(s, id, row, &e) == 0) /* told as refused, yet there */
        return 13;
    if (store_get(s, last, row, &e) < 0)
        return 14;
    make_room();
    if (create(s, "ann", 100000, "", 0, NOW_S, id, &e) != STORE_CREATED)
        return 15;
    if (store_get(s, id, row, &e) < 0 || store_ping(s, &e) < 0)
        return 16;
    store_free(s);
    if (ask(path, "SELECT count(*) FROM sessions", NULL, 0) != written + 1)
        return 17;
    free(row);
    return 0;
}

static void raise_limit(void)
{
    struct rlimit l = {RLIM_INFINITY, RLIM_INFINITY};

    getrlimit(RLIMIT_FSIZE, &l);
    l.rlim_cur = l.rlim_max;
    setrlimit(RLIMIT_FSIZE, &l);
}

static int fills_a_limited_file(void *arg)
{
    struct rlimit l;

    getrlimit(RLIMIT_FSIZE, &l);
    l.rlim_cur = 600 * 1024;
    signal(SIGXFSZ, SIG_IGN);
    if (setrlimit(RLIMIT_FSIZE, &l) < 0)
        return 1;
    return fills(arg, raise_limit);
}

static char small_dir[200];

static void enlarge(void)
{
    mount(NULL, small_dir, NULL, MS_REMOUNT, "size=16m");
}

static int fills_a_small_disk(void *arg)
{
    char path[256];

    (void)arg;
    if (unshare(CLONE_NEWNS | (geteuid() ? CLONE_NEWUSER : 0)) < 0 ||
        mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
        mount("tmpfs", small_dir, "tmpfs", 0, "size=1m") < 0)
        return 0; /* not here; the limited file was tried */
    snprintf(path, sizeof(path), "%s/podterm.db", small_dir);
    return fills(path, enlarge);
}

static void a_full_disk_is_told_and_loses_nothing(void **arg)
{
    char *path = mem_printf("%s/limited.db", f.dir);

    (void)arg;
    in_processes(1, fills_a_limited_file, path);
    free(path);
    snprintf(small_dir, sizeof(small_dir), "%s/small", f.dir);
    assert_int_equal(mkdir(small_dir, 0700), 0);
    in_processes(1, fills_a_small_disk, NULL);
}

static void a_killed_writer_leaves_a_whole_store(void **arg)
{
    atomic_int *told = shared_ints(1);
    char id[ID_SIZE], text[16] = "";
    struct store_session *row = mem_zero(1, sizeof(*row));
    struct err e = {0};

    (void)arg;
    create_plain(f.s, "ann", id);
    for (int i = 0; i < 3; i++) {
        const pid_t pid = fork();

        assert_true(pid >= 0);
        if (pid == 0) {
            struct store *s = store_sqlite_open(f.path, &e);

            while (s && store_update_if(s, id, counts, NULL, NULL, &e) == 0)
                atomic_fetch_add(told, 1);
            _exit(1);
        }
        usleep(60 * 1000);
        kill(pid, SIGKILL);
        assert_int_equal(waitpid(pid, NULL, 0), pid);
    }
    ask(f.path, "PRAGMA integrity_check", text, sizeof(text));
    assert_string_equal(text, "ok");
    assert_int_equal(store_get(f.s, id, row, &e), 0);
    assert_true(atomic_load(told) > 0);
    /* what was told as written is; one more may be, untold, each time */
    assert_in_range(row->output_bytes, atomic_load(told),
                    atomic_load(told) + 3);
    free(row);
    munmap(told, sizeof(*told));
}

static void stages_are_replaced_while_they_run(void **arg)
{
    struct store_session *row = session("ann");

    (void)arg;
    store_stage_add(row, "scheduled", "running", NULL, NOW_S * 1000 + 5);
    store_stage_add(row, "pulled", "waiting", "image", NOW_S * 1000 + 6);
    store_stage_add(row, "scheduled", "done", "node", NOW_S * 1000 + 7);
    assert_int_equal(row->stage_count, 2);
    assert_string_equal(row->stages[0].state, "done");
    assert_string_equal(row->stages[0].detail, "node");
    assert_int_equal(row->stages[0].ms, 7);
    store_stage_add(row, "scheduled", "done", "again", NOW_S * 1000 + 8);
    assert_int_equal(row->stage_count, 3);
    for (int i = 0; i < 2 * STORE_STAGES_MAX; i++)
        store_stage_add(row, "pulled", "done", "x", NOW_S * 1000 + i);
    assert_int_equal(row->stage_count, STORE_STAGES_MAX);
    assert_int_equal(row->stages[STORE_STAGES_MAX - 1].ms,
                     2 * STORE_STAGES_MAX - 1);
    free(row);
}

#define TEST(t) cmocka_unit_test_setup_teardown(t, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_file_is_ours_alone_and_in_wal),
        TEST(another_version_is_refused_with_a_sentence),
        TEST(what_is_no_store_is_not_opened),
        TEST(a_link_in_the_place_of_a_file_of_it_is_refused),
        TEST(a_file_of_it_that_others_own_or_write_is_refused),
        TEST(many_may_make_it_at_once),
        TEST(a_directory_that_is_not_ours_to_write_is_told),
        TEST(a_key_gives_the_same_session_again),
        TEST(a_key_is_forgotten_after_its_time_or_with_its_session),
        TEST(the_quota_holds_between_threads_and_processes),
        TEST(one_key_makes_one_session_however_many_ask_at_once),
        TEST(an_ended_session_makes_room),
        TEST(the_first_written_end_stands),
        TEST(a_refused_change_changes_nothing),
        TEST(no_change_of_another_process_is_lost),
        TEST(the_key_leaves_every_file_with_its_end),
        TEST(a_reader_only_delays_it),
        TEST(changes_come_in_their_order),
        TEST(lists_are_paged_newest_first),
        TEST(only_old_ended_rows_are_pruned),
        TEST(an_id_is_spent_once_until_it_expires),
        TEST(spent_ids_do_not_pile_up),
        TEST(of_many_who_spend_an_id_at_once_one_wins),
        TEST(a_full_disk_is_told_and_loses_nothing),
        TEST(a_killed_writer_leaves_a_whole_store),
        TEST(stages_are_replaced_while_they_run),
    };

    return cmocka_run_group_tests_name("base/store", tests, NULL, NULL);
}
