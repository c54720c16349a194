/* The store's files: whose they are, what is left in them, a full disk. */
#include "base/store.h"

#include "base/mem.h"
#include "tests/lib/shelf.h"

#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

/* --- opening --- */

static void the_file_is_ours_alone_and_in_wal(void **arg)
{
    static const char *const names[] = {"", "-wal", "-shm"};
    char mode[16] = "", path[200];
    struct stat st;

    (void)arg;
    shelf_plain(shelf.s, "ann", NULL);
    shelf_ask(shelf.path, "PRAGMA journal_mode", mode, sizeof(mode));
    assert_string_equal(mode, "wal");
    for (size_t i = 0; i < 3; i++) {
        snprintf(path, sizeof(path), "%s%s", shelf.path, names[i]);
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
    char *other = mem_printf("%s/other.db", shelf.dir);

    (void)arg;
    store_free(shelf.s);
    shelf.s = NULL;
    shelf_ask(shelf.path, "PRAGMA user_version = 3", NULL, 0);
    refused(shelf.path, "schema version 3");
    shelf_ask(shelf.path, "PRAGMA user_version = 2", NULL, 0);
    shelf_ask(shelf.path, "UPDATE meta SET value = 7 WHERE name = 'row_bytes'",
              NULL, 0);
    refused(shelf.path, "rows of 7 bytes");
    /* a database of something else */
    shelf_ask(other, "CREATE TABLE theirs(a)", NULL, 0);
    refused(other, "schema version 0");
    assert_int_equal(
        shelf_ask(other, "SELECT count(*) FROM sqlite_master", NULL, 0),
        1); /* left as it was */
    free(other);
}

static void a_store_of_the_version_before_is_brought_up(void **arg)
{
    struct store_session *row = mem_zero(1, sizeof(*row));
    char id[ID_SIZE], other[ID_SIZE];
    struct err e = {0};
    struct buf out;
    int64_t rev;

    (void)arg;
    shelf_plain(shelf.s, "ann", id);
    assert_int_equal(store_get(shelf.s, id, row, &e), 0);
    rev = row->rev;
    store_free(shelf.s);
    shelf_ask(shelf.path, "DROP TABLE launches", NULL, 0);
    shelf_ask(shelf.path, "PRAGMA user_version = 1", NULL, 0);
    shelf.s = shelf_open(shelf.path);
    assert_int_equal(shelf_ask(shelf.path, "PRAGMA user_version", NULL, 0), 2);
    assert_int_equal(store_get(shelf.s, id, row, &e), 0);
    assert_int_equal(row->rev, rev);
    random_id(row->id);
    snprintf(other, sizeof(other), "%s", row->id);
    assert_int_equal(store_create_checked(shelf.s, row, 9, "",
                                          (const uint8_t[32]){0}, "blob", 4,
                                          NOW_S, &e),
                     STORE_CREATED);
    assert_true(row->rev > rev);
    buf_init(&out, STORE_LAUNCH_MAX);
    assert_int_equal(store_launch_get(shelf.s, other, &out, &e), 0);
    assert_memory_equal(out.data, "blob", 4);
    buf_fini(&out);
    free(row);
}

static void what_is_no_store_is_not_opened(void **arg)
{
    char *junk = mem_printf("%s/junk", shelf.dir);
    char *link = mem_printf("%s/link", shelf.dir);
    char *gone = mem_printf("%s/none/podterm.db", shelf.dir);
    FILE *out = fopen(junk, "w");

    (void)arg;
    assert_non_null(out);
    for (int i = 0; i < 1000; i++)
        fputs("this is not a database", out);
    fclose(out);
    refused(junk, "not a database");
    assert_int_equal(symlink(shelf.path, link), 0);
    refused(link, "symbolic link");
    refused(gone, "No such file");
    refused(shelf.dir, "not a regular file");
    free(junk);
    free(link);
    free(gone);
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
    char *dir = mem_printf("%s/shut", shelf.dir);
    char *path = mem_printf("%s/podterm.db", dir);

    (void)arg;
    assert_int_equal(mkdir(dir, 0555), 0);
    in_processes(1, tries_to_open, path);
    in_processes(1, tries_to_open, shelf.path);
    free(dir);
    free(path);
}

static char *beside(const char *end)
{
    return mem_printf("%s%s", shelf.path, end);
}

static const char *const store_files[] = {"", "-wal", "-shm", "-journal"};
#define STORE_FILES (sizeof(store_files) / sizeof(*store_files))

static void a_link_in_the_place_of_a_file_of_it_is_refused(void **arg)
{
    char *victim = mem_printf("%s/victim", shelf.dir), text[16] = "";
    FILE *file = fopen(victim, "w");

    (void)arg;
    assert_non_null(file);
    assert_int_equal(fputs("precious", file) < 0, 0);
    fclose(file);
    store_free(shelf.s); /* nothing is left beside the file */
    shelf.s = NULL;
    for (size_t i = 0; i < STORE_FILES; i++) {
        char *path = beside(store_files[i]);

        unlink(path);
        assert_int_equal(symlink(victim, path), 0);
        refused(shelf.path, path);
        refused(shelf.path, "symbolic link");
        assert_int_equal(unlink(path), 0);
        assert_int_equal(symlink("/nonexistent/x", path), 0);
        refused(shelf.path, "symbolic link");
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
    refused(shelf.path, path);
    refused(shelf.path, why);
    assert_int_equal(lstat(path, &after), 0);
    assert_int_equal(before.st_size, after.st_size);
    assert_int_equal(before.st_mode, after.st_mode);
}

static void a_file_of_it_that_others_own_or_write_is_refused(void **arg)
{
    (void)arg;
    shelf_plain(shelf.s, "ann", NULL); /* kept open: all but the journal */
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
    store_free(
        shelf_open(shelf.path)); /* and with all of them right it opens */
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
    bool has = false;

    for (size_t i = 0; i < STORE_FILES; i++) {
        char *path = beside(store_files[i]);

        has = has || file_has(path, what, len);
        free(path);
    }
    return has;
}

static void create_with_key(uint8_t key[SEALED_KEY_BYTES], char id[ID_SIZE])
{
    struct store_session *row = shelf_row("ann");
    const uint8_t hash[32] = {0};
    struct err e = {0};

    for (size_t i = 0; i < SEALED_KEY_BYTES; i++)
        key[i] = row->psk_sealed[i] = (uint8_t)(0xa0 + i * 7 + (uint8_t)id[0]);
    assert_int_equal(
        store_create_checked(shelf.s, row, 9, "", hash, NULL, 0, NOW_S, &e),
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
    struct store *gateway = shelf_open(shelf.path);

    (void)arg;
    create_with_key(key, id);
    create_with_key(other_key, other);
    for (int i = 0; i < 10; i++) /* copies of it in the log */
        assert_int_equal(
            store_update_if(shelf.s, id, shelf_counts, NULL, NULL, &e), 0);
    shelf_end(shelf.s, id, 5000);
    assert_false(anywhere(key, 16));
    assert_true(anywhere(other_key, 16));
    shelf_end(shelf.s, other, 5000);
    assert_false(anywhere(other_key, 16));
    store_free(gateway);
}

static void create_with_launch(uint8_t launch[64], char id[ID_SIZE])
{
    struct store_session *row = shelf_row("ann");
    const uint8_t hash[32] = {0};
    uint8_t *blob = mem_zero(1, STORE_LAUNCH_MAX);
    struct err e = {0};

    random_bytes(launch, 64);
    for (size_t i = 0; i < STORE_LAUNCH_MAX; i += 64)
        memcpy(blob + i, launch, 64);
    assert_int_equal(store_create_checked(shelf.s, row, 9, "", hash, blob,
                                          STORE_LAUNCH_MAX, NOW_S, &e),
                     STORE_CREATED);
    snprintf(id, ID_SIZE, "%s", row->id);
    free(row);
    free(blob);
    assert_true(anywhere(launch, 64));
}

static void a_launch_blob_leaves_every_file(void **arg)
{
    uint8_t ended[64], dropped[64];
    char id[ID_SIZE], other[ID_SIZE];
    struct err e = {0};

    (void)arg;
    create_with_launch(ended, id);
    create_with_launch(dropped, other);
    shelf_end(shelf.s, id, 5000);
    assert_false(anywhere(ended, 16));
    assert_true(anywhere(dropped, 16));
    assert_int_equal(store_launch_drop(shelf.s, other, &e), 0);
    assert_false(anywhere(dropped, 16));
}

static void a_reader_only_delays_it(void **arg)
{
    uint8_t key[SEALED_KEY_BYTES];
    char id[ID_SIZE] = "c";
    sqlite3 *reader = NULL;
    struct err e = {0};

    (void)arg;
    create_with_key(key, id);
    assert_int_equal(sqlite3_open(shelf.path, &reader), SQLITE_OK);
    assert_int_equal(sqlite3_exec(reader,
                                  "BEGIN; SELECT count(*) FROM sessions", NULL,
                                  NULL, NULL),
                     SQLITE_OK);
    shelf_end(shelf.s, id, 5000); /* does not fail for it */
    sqlite3_close_v2(reader);
    assert_int_equal(store_ping(shelf.s, &e), 0);
    assert_false(anywhere(key, 16));
}

/* --- no room --- */

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
    while ((r = shelf_create(s, "ann", 100000, "", 0, NOW_S, id, &e)) >= 0) {
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
    if (shelf_create(s, "ann", 100000, "", 0, NOW_S, id, &e) != STORE_CREATED)
        return 15;
    if (store_get(s, id, row, &e) < 0 || store_ping(s, &e) < 0)
        return 16;
    store_free(s);
    if (shelf_ask(path, "SELECT count(*) FROM sessions", NULL, 0) !=
        written + 1)
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
    char *path = mem_printf("%s/limited.db", shelf.dir);

    (void)arg;
    in_processes(1, fills_a_limited_file, path);
    free(path);
    snprintf(small_dir, sizeof(small_dir), "%s/small", shelf.dir);
    assert_int_equal(mkdir(small_dir, 0700), 0);
    in_processes(1, fills_a_small_disk, NULL);
}

#define TEST(t) cmocka_unit_test_setup_teardown(t, shelf_setup, shelf_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_file_is_ours_alone_and_in_wal),
        TEST(another_version_is_refused_with_a_sentence),
        TEST(a_store_of_the_version_before_is_brought_up),
        TEST(what_is_no_store_is_not_opened),
        TEST(a_link_in_the_place_of_a_file_of_it_is_refused),
        TEST(a_file_of_it_that_others_own_or_write_is_refused),
        TEST(a_directory_that_is_not_ours_to_write_is_told),
        TEST(the_key_leaves_every_file_with_its_end),
        TEST(a_launch_blob_leaves_every_file),
        TEST(a_reader_only_delays_it),
        TEST(a_full_disk_is_told_and_loses_nothing),
    };

    return cmocka_run_group_tests_name("base/store: its files", tests, NULL,
                                       NULL);
}
