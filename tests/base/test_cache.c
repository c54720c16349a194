/* The cache of archives: no way round what a fetch would have checked. */
#include "base/cache.h"

#include "base/digest.h"
#include "base/mem.h"
#include "base/own.h"
#include "base/seal.h"
#include "tests/lib/programs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define OWNER "https://id.test\nalice"
#define BODY "the bytes of an archive"
#define GIB (INT64_C(1) << 30)
#define BYTES_MAX (2 * CACHE_BYTES_MAX) /* an archive may have, by default */

struct bench {
    char *dir, *owner_dir, *entry;
    char hex[SHA256_HEX + 1];
    int archive_fd;
    struct err e;
};

static void hex_of(const void *bytes, size_t len, char hex[SHA256_HEX + 1])
{
    uint8_t sum[SHA256_BYTES];

    sha256(bytes, len, sum);
    hex_encode(sum, sizeof(sum), hex);
}

static int tmp_file(const void *bytes, size_t len)
{
    int fd = memfd_create("archive", MFD_CLOEXEC);

    assert_return_code(fd, errno);
    assert_int_equal(write(fd, bytes, len), len);
    return fd;
}

static int setup(void **arg)
{
    struct bench *b = mem_zero(1, sizeof(*b));
    char owner[SHA256_HEX + 1];

    b->dir = scratch_new();
    hex_of(OWNER, strlen(OWNER), owner);
    hex_of(BODY, strlen(BODY), b->hex);
    b->owner_dir = mem_printf("%s/%s", b->dir, owner);
    b->entry = mem_printf("%s/%s", b->owner_dir, b->hex);
    b->archive_fd = tmp_file(BODY, strlen(BODY));
    *arg = b;
    return 0;
}

static int teardown(void **arg)
{
    struct bench *b = *arg;

    close(b->archive_fd);
    scratch_remove(b->dir);
    free(b->owner_dir);
    free(b->entry);
    free(b);
    return 0;
}

static void put(struct bench *b)
{
    if (cache_put(b->dir, OWNER, b->hex, b->archive_fd, BYTES_MAX, &b->e) < 0)
        fail_msg("%s", b->e.text);
}

static bool is_got(const char *dir, const char *owner, const char *hex)
{
    own_fd int fd = memfd_create("copy", MFD_CLOEXEC);

    return cache_get(dir, owner, hex, fd) == 0;
}

static bool is_hit(const struct bench *b)
{
    own_fd int fd = memfd_create("copy", MFD_CLOEXEC);
    char text[64] = "";

    if (cache_get(b->dir, OWNER, b->hex, fd) < 0)
        return false;
    /* at its start */
    assert_int_equal(read(fd, text, sizeof(text)), strlen(BODY));
    assert_string_equal(text, BODY);
    return true;
}

static int entries(const char *dir)
{
    DIR *d = opendir(dir);
    struct dirent *de;
    int n = 0;

    assert_non_null(d);
    while ((de = readdir(d)))
        if (strcmp(de->d_name, ".") != 0 && strcmp(de->d_name, "..") != 0)
            n++;
    closedir(d);
    return n;
}

/* --- what it is for --- */

static void what_was_put_is_got(void **arg)
{
    struct bench *b = *arg;
    struct stat st;

    assert_false(is_hit(b));
    assert_int_equal(entries(b->dir), 0); /* asking leaves nothing */
    put(b);
    assert_true(is_hit(b));
    assert_true(is_hit(b));
    assert_int_equal(stat(b->entry, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0444);
    assert_int_equal(stat(b->owner_dir, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0700);
    put(b); /* again is fine */
    assert_int_equal(entries(b->owner_dir), 1);
}

static void another_owner_has_no_part_in_it(void **arg)
{
    static const char *const others[] = {"https://id.test\nbob",
                                         "https://id.other\nalice", "public",
                                         "https://id.test\nalice2", ""};
    struct bench *b = *arg;

    put(b);
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
        assert_false(is_got(b->dir, others[i], b->hex));
    /* and the names on the disk tell no owner */
    assert_int_equal(entries(b->dir), 1);
    assert_null(strstr(b->owner_dir, "alice"));
}

/* --- what is no entry --- */

static void wrong_bytes_under_a_right_name_are_removed(void **arg)
{
    struct bench *b = *arg;
    own_fd int fd = -1;

    put(b);
    assert_int_equal(chmod(b->entry, 0600), 0);
    fd = open(b->entry, O_WRONLY);
    assert_int_equal(pwrite(fd, "T", 1, 0), 1);
    assert_int_equal(chmod(b->entry, 0400), 0);
    assert_false(is_hit(b));
    assert_int_equal(access(b->entry, F_OK), -1);
    put(b);
    assert_true(is_hit(b));
}

static void a_cut_or_grown_entry_is_removed(void **arg)
{
    static const off_t sizes[] = {0, 5, 5000};
    struct bench *b = *arg;

    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        put(b);
        assert_int_equal(truncate(b->entry, sizes[i]), 0);
        assert_false(is_hit(b));
        assert_int_equal(access(b->entry, F_OK), -1);
    }
}

static void an_entry_that_can_be_written_is_removed(void **arg)
{
    static const mode_t modes[] = {0600, 0420, 0402, 0644, 0666};
    struct bench *b = *arg;

    for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
        put(b);
        assert_int_equal(chmod(b->entry, modes[i]), 0);
        assert_false(is_hit(b));
        assert_int_equal(access(b->entry, F_OK), -1);
    }
}

static void an_entry_of_another_user_is_removed(void **arg)
{
    struct bench *b = *arg;

    if (geteuid() != 0)
        skip();
    put(b);
    assert_int_equal(chown(b->entry, 65534, 65534), 0);
    assert_false(is_hit(b));
    assert_int_equal(access(b->entry, F_OK), -1);
}

static void a_link_in_place_of_an_entry_is_not_followed(void **arg)
{
    struct bench *b = *arg;
    own_mem char *right = mem_printf("%s/right", b->dir);
    own_fd int fd = open(right, O_WRONLY | O_CREAT, 0400);
    struct stat st;

    assert_int_equal(write(fd, BODY, strlen(BODY)), strlen(BODY));
    assert_int_equal(mkdir(b->owner_dir, 0700), 0);
    assert_int_equal(symlink(right, b->entry), 0);
    assert_false(is_hit(b));
    put(b); /* replaces the link, not what it points to */
    assert_int_equal(lstat(b->entry, &st), 0);
    assert_true(S_ISREG(st.st_mode));
    assert_true(is_hit(b));
    assert_int_equal(stat(right, &st), 0);
    assert_int_equal(st.st_nlink, 1);
}

static void a_fifo_or_a_directory_is_no_entry(void **arg)
{
    struct bench *b = *arg;

    assert_int_equal(mkdir(b->owner_dir, 0700), 0);
    assert_int_equal(mkfifo(b->entry, 0400), 0);
    assert_false(is_hit(b)); /* and does not wait for a writer */
    assert_int_equal(mkdir(b->entry, 0500), 0);
    assert_false(is_hit(b));
    assert_int_equal(
        cache_put(b->dir, OWNER, b->hex, b->archive_fd, BYTES_MAX, &b->e), -1);
    assert_int_equal(rmdir(b->entry), 0);
    assert_int_equal(entries(b->owner_dir), 0); /* no half-made one either */
}

static void a_directory_that_others_may_write_is_not_used(void **arg)
{
    static const mode_t modes[] = {0770, 0707, 0720, 0702};
    struct bench *b = *arg;

    put(b);
    for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
        assert_int_equal(chmod(b->owner_dir, modes[i]), 0);
        assert_false(is_hit(b));
        assert_int_equal(
            cache_put(b->dir, OWNER, b->hex, b->archive_fd, BYTES_MAX, &b->e),
            -1);
    }
    assert_int_equal(chmod(b->owner_dir, 0700), 0);
    assert_true(is_hit(b));
    if (geteuid() == 0) {
        assert_int_equal(chown(b->owner_dir, 65534, 65534), 0);
        assert_false(is_hit(b));
    }
}

static void a_link_in_place_of_a_directory_is_not_followed(void **arg)
{
    struct bench *b = *arg;
    own_mem char *aside = mem_printf("%s/aside", b->dir);
    own_mem char *as_link = mem_printf("%s-link", b->dir);

    put(b);
    assert_int_equal(rename(b->owner_dir, aside), 0);
    assert_int_equal(symlink("aside", b->owner_dir), 0);
    assert_false(is_hit(b));
    assert_int_equal(
        cache_put(b->dir, OWNER, b->hex, b->archive_fd, BYTES_MAX, &b->e), -1);
    assert_int_equal(symlink(b->dir, as_link), 0);
    assert_false(is_got(as_link, OWNER, b->hex));
    unlink(as_link);
    assert_false(is_got("/no/where", OWNER, b->hex));
    assert_int_equal(
        cache_put("/no/where", OWNER, b->hex, b->archive_fd, BYTES_MAX, &b->e),
        -1);
    assert_non_null(strstr(b->e.text, "/no/where"));
}

static void sparse(const struct bench *b, const char *name, int64_t size,
                   int64_t used_s)
{
    own_mem char *path = mem_printf("%s/%s", b->owner_dir, name);
    struct timespec when[2] = {{.tv_sec = used_s}, {.tv_sec = used_s}};

    close(open(path, O_WRONLY | O_CREAT, 0600));
    assert_int_equal(truncate(path, size), 0);
    assert_int_equal(utimensat(AT_FDCWD, path, when, 0), 0);
}

/* What was given to us by its writer, who writes on. */
static void other_bytes_are_not_put_and_drive_nothing_out(void **arg)
{
    struct bench *b = *arg;
    own_fd int fd = tmp_file("evil", 4);

    assert_int_equal(mkdir(b->owner_dir, 0700), 0);
    sparse(b, "a", CACHE_BYTES_MAX - 1, 1000);
    assert_int_equal(cache_put(b->dir, OWNER, b->hex, fd, BYTES_MAX, &b->e),
                     -1);
    assert_int_equal(b->e.kind, ERR_INPUT);
    assert_int_equal(entries(b->owner_dir), 1); /* a */
}

/* A copy is ours: the entry may be written while it is hashed and used. */
static void what_is_got_does_not_change_with_its_entry(void **arg)
{
    struct bench *b = *arg;
    own_fd int copy = memfd_create("copy", MFD_CLOEXEC);
    own_fd int fd = -1;
    char text[64] = "";

    put(b);
    assert_int_equal(chmod(b->entry, 0600), 0);
    fd = open(b->entry, O_WRONLY);
    assert_int_equal(chmod(b->entry, 0444), 0);
    assert_int_equal(cache_get(b->dir, OWNER, b->hex, copy), 0);
    assert_int_equal(pwrite(fd, "T", 1, 0), 1); /* opened before */
    assert_int_equal(read(copy, text, sizeof(text)), strlen(BODY));
    assert_string_equal(text, BODY);
}

static void a_link_leads_to_the_entry_alone(void **arg)
{
    struct bench *b = *arg;
    own_mem char *path = mem_printf("%s/given", b->dir);
    struct stat st, entry;

    assert_int_equal(cache_link(b->dir, OWNER, b->hex, path), -1);
    put(b);
    assert_int_equal(cache_link(b->dir, "another", b->hex, path), -1);
    assert_int_equal(cache_link(b->dir, OWNER, b->hex, path), 0);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(stat(b->entry, &entry), 0);
    assert_int_equal(st.st_ino, entry.st_ino);
    assert_int_equal(cache_link(b->dir, OWNER, b->hex, path), -1);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(chmod(b->entry, 0644), 0); /* somebody may write it */
    assert_int_equal(cache_link(b->dir, OWNER, b->hex, path), -1);
    assert_int_equal(access(path, F_OK), -1);
}

/* --- how it comes and goes --- */

/* A large archive, half of it written when it is looked for. */
static void an_entry_appears_whole_or_not_at_all(void **arg)
{
    struct bench *b = *arg;
    const size_t len = 8 << 20;
    own_mem char *bytes = mem_zero(len, 1);
    own_fd int fd = -1;
    char hex[SHA256_HEX + 1];
    own_mem char *entry = NULL;
    int status = 0, looks = 0;
    pid_t pid;

    random_bytes(bytes, len);
    fd = tmp_file(bytes, len);
    hex_of(bytes, len, hex);
    entry = mem_printf("%s/%s", b->owner_dir, hex);
    pid = fork();
    if (pid == 0) {
        for (int i = 0; i < 5; i++)
            if (cache_put(b->dir, OWNER, hex, fd, BYTES_MAX, &b->e) < 0)
                _exit(1);
        _exit(0);
    }
    while (waitpid(pid, &status, WNOHANG) == 0) {
        struct stat st;

        if (stat(entry, &st) == 0)
            assert_int_equal(st.st_size, len);
        looks++;
        usleep(500);
    }
    assert_true(looks > 0);
    assert_int_equal(status, 0);
    assert_int_equal(entries(b->owner_dir), 1);
}

/* Several agents of one owner at once, one of them killed in the middle. */
static void several_at_once_do_not_harm_each_other(void **arg)
{
    struct bench *b = *arg;
    pid_t pids[4];
    int status;

    for (int p = 0; p < 4; p++) {
        pids[p] = fork();
        if (pids[p] != 0)
            continue;
        for (int i = 0; i < 50; i++) {
            if (cache_put(b->dir, OWNER, b->hex, b->archive_fd, BYTES_MAX,
                          &b->e) < 0)
                _exit(1);
            if (!is_got(b->dir, OWNER, b->hex))
                _exit(2);
            if (p == 0 && i == 25)
                kill(getpid(), SIGKILL);
        }
        _exit(0);
    }
    for (int p = 0; p < 4; p++) {
        assert_int_equal(waitpid(pids[p], &status, 0), pids[p]);
        assert_int_equal(status, p == 0 ? SIGKILL : 0);
    }
    assert_true(is_hit(b));
}

static bool is_there(const struct bench *b, const char *name)
{
    own_mem char *path = mem_printf("%s/%s", b->owner_dir, name);

    return access(path, F_OK) == 0;
}

static void the_longest_unused_go_first(void **arg)
{
    struct bench *b = *arg;

    assert_int_equal(mkdir(b->owner_dir, 0700), 0);
    sparse(b, "a", GIB, 2000);
    sparse(b, "b", GIB, 1000);
    sparse(b, "c", GIB, 3000);
    sparse(b, "d", CACHE_BYTES_MAX - 3 * GIB - 5, 4000);
    put(b); /* a few bytes too many */
    assert_false(is_there(b, "b"));
    assert_true(is_there(b, "a") && is_there(b, "c") && is_there(b, "d"));
    assert_true(is_hit(b));
    /* a use makes an entry young again */
    sparse(b, "e", GIB, 5000);
    {
        struct timespec old[2] = {{.tv_sec = 1}, {.tv_sec = 1}};

        assert_int_equal(utimensat(AT_FDCWD, b->entry, old, 0), 0);
    }
    assert_true(is_hit(b));
    put(b);
    assert_false(is_there(b, "a"));
    assert_true(is_hit(b));
}

static void what_is_larger_than_the_cache_is_not_kept(void **arg)
{
    struct bench *b = *arg;

    put(b);
    assert_int_equal(ftruncate(b->archive_fd, CACHE_BYTES_MAX + 1), 0);
    assert_int_equal(
        cache_put(b->dir, OWNER, b->hex, b->archive_fd, BYTES_MAX, &b->e), 0);
    assert_true(is_hit(b)); /* and drives nothing out */
    assert_int_equal(entries(b->owner_dir), 1);
}

/* Right as its bytes are: nothing of it is copied. */
static void what_is_too_large_or_no_file_is_not_taken(void **arg)
{
    struct bench *b = *arg;
    int ends[2];

    assert_int_equal(cache_put(b->dir, OWNER, b->hex, b->archive_fd,
                               strlen(BODY) - 1, &b->e),
                     -1);
    assert_int_equal(b->e.kind, ERR_INPUT);
    assert_return_code(pipe(ends), errno);
    assert_int_equal(write(ends[1], BODY, strlen(BODY)), strlen(BODY));
    close(ends[1]);
    assert_int_equal(
        cache_put(b->dir, OWNER, b->hex, ends[0], BYTES_MAX, &b->e), -1);
    assert_int_equal(b->e.kind, ERR_INPUT);
    close(ends[0]);
    assert_int_equal(entries(b->dir), 0);
    assert_int_equal(
        cache_put(b->dir, OWNER, b->hex, b->archive_fd, strlen(BODY), &b->e),
        0);
    assert_true(is_hit(b));
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(what_was_put_is_got),
        T(another_owner_has_no_part_in_it),
        T(wrong_bytes_under_a_right_name_are_removed),
        T(a_cut_or_grown_entry_is_removed),
        T(an_entry_that_can_be_written_is_removed),
        T(an_entry_of_another_user_is_removed),
        T(a_link_in_place_of_an_entry_is_not_followed),
        T(a_fifo_or_a_directory_is_no_entry),
        T(a_directory_that_others_may_write_is_not_used),
        T(a_link_in_place_of_a_directory_is_not_followed),
        T(other_bytes_are_not_put_and_drive_nothing_out),
        T(what_is_got_does_not_change_with_its_entry),
        T(a_link_leads_to_the_entry_alone),
        T(an_entry_appears_whole_or_not_at_all),
        T(several_at_once_do_not_harm_each_other),
        T(the_longest_unused_go_first),
        T(what_is_larger_than_the_cache_is_not_kept),
        T(what_is_too_large_or_no_file_is_not_taken),
    };

    seal_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
