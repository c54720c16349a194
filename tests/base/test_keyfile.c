/* Files that hold a key. */
#include "base/keyfile.h"

#include "base/mem.h"
#include "base/own.h"
#include "tests/lib/programs.h"

#include <dirent.h>
#include <fcntl.h>
#include <grp.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static char *dir, *path;

static int setup(void **state)
{
    (void)state;
    dir = scratch_new();
    path = mem_printf("%s/key", dir);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    free(path);
    scratch_remove(dir);
    return 0;
}

static void write_key(size_t len, mode_t mode)
{
    const int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

    assert_true(fd >= 0);
    for (size_t i = 0; i < len; i++)
        assert_int_equal(write(fd, "k", 1), 1);
    assert_int_equal(fchmod(fd, mode), 0);
    close(fd);
}

/* Read with room for max; the bytes, or -1 with the error's kind. */
static long read_key(size_t max, struct err *e)
{
    struct buf out;
    long len = -1;

    *e = (struct err){0};
    buf_init(&out, max);
    if (keyfile_read(path, &out, e) == 0)
        len = (long)out.len;
    buf_fini_secret(&out);
    return len;
}

static int entries(void)
{
    DIR *d = opendir(dir);
    struct dirent *at;
    int n = 0;

    assert_non_null(d);
    while ((at = readdir(d)))
        n += at->d_name[0] != '.';
    closedir(d);
    return n;
}

static void a_key_nobody_else_may_touch_is_read(void **state)
{
    char *target = mem_printf("%s/target", dir);
    struct err e;

    (void)state;
    write_key(32, 0600);
    assert_int_equal(read_key(32, &e), 32);
    assert_int_equal(e.kind, ERR_NONE);
    write_key(32, 0400);
    assert_int_equal(read_key(64, &e), 32);
    /* a mounted secret is a link */
    assert_int_equal(rename(path, target), 0);
    assert_int_equal(symlink("target", path), 0);
    assert_int_equal(read_key(32, &e), 32);
    free(target);
}

static void a_mode_that_lets_others_in_is_refused(void **state)
{
    static const mode_t modes[] = {0640, 0620, 0610, 0604, 0602, 0601, 0666};
    struct err e;

    (void)state;
    for (size_t i = 0; i < sizeof(modes) / sizeof(*modes); i++) {
        write_key(32, modes[i]);
        assert_int_equal(read_key(32, &e), -1);
        assert_int_equal(e.kind, ERR_INPUT);
        assert_non_null(strstr(e.text, "chmod 600"));
    }
}

static void what_is_absent_too_long_or_no_file_is_told(void **state)
{
    struct err e;

    (void)state;
    assert_int_equal(read_key(32, &e), -1);
    assert_int_equal(e.kind, ERR_ABSENT);
    write_key(33, 0600);
    assert_int_equal(read_key(32, &e), -1);
    assert_int_equal(e.kind, ERR_INPUT);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(mkfifo(path, 0600), 0); /* does not hang */
    assert_int_equal(read_key(32, &e), -1);
    assert_int_equal(e.kind, ERR_INPUT);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(mkdir(path, 0700), 0);
    assert_int_equal(read_key(32, &e), -1);
    assert_int_equal(e.kind, ERR_INPUT);
    assert_int_equal(rmdir(path), 0);
    /* a size that says 0 and is not (as in /proc) is read to its end */
    assert_int_equal(symlink("/proc/self/auxv", path), 0);
    assert_int_equal(read_key(16, &e), -1);
    assert_int_equal(e.kind, ERR_INPUT);
    assert_non_null(strstr(e.text, "longer than 16"));
}

static void another_user_s_file_is_refused(void **state)
{
    struct err e;

    (void)state;
    if (geteuid() != 0)
        skip();
    write_key(32, 0600);
    assert_int_equal(chown(path, 12345, 0), 0);
    assert_int_equal(read_key(32, &e), -1);
    assert_int_equal(e.kind, ERR_INPUT);
    assert_non_null(strstr(e.text, "12345"));
}

/* In a process of uid 12345 and gid 10000: is the key read? */
static bool reads_as_another(void)
{
    struct err e;
    const pid_t pid = fork();
    int status = 0;

    if (pid == 0) {
        const bool is_other =
            setgroups(0, NULL) == 0 && setgid(10000) == 0 && setuid(12345) == 0;

        _exit(!is_other ? 2 : read_key(32, &e) == 32 ? 0 : 1);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) < 2);
    return WEXITSTATUS(status) == 0;
}

/* As a pod's fsGroup makes it of a secret. */
static void root_may_let_our_group_read_what_is_its_own(void **state)
{
    static const mode_t refused[] = {0460, 0450, 0444, 0644};

    (void)state;
    if (geteuid() != 0)
        skip();
    assert_int_equal(chmod(dir, 0711), 0);
    write_key(32, 0440);
    assert_int_equal(chown(path, 0, 10000), 0);
    assert_true(reads_as_another());
    for (size_t i = 0; i < sizeof(refused) / sizeof(*refused); i++) {
        assert_int_equal(chmod(path, refused[i]), 0);
        assert_false(reads_as_another());
    }
    /* our own files are for us alone */
    assert_int_equal(chown(path, 12345, 10000), 0);
    assert_int_equal(chmod(path, 0440), 0);
    assert_false(reads_as_another());
    assert_int_equal(chmod(path, 0400), 0);
    assert_true(reads_as_another());
}

static void a_made_key_is_private_whatever_the_umask(void **state)
{
    const mode_t before = umask(0);
    struct stat st;
    struct err e = {0};

    (void)state;
    assert_int_equal(keyfile_make(path, "0123", 4, &e), 0);
    umask(before);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(st.st_size, 4);
    assert_int_equal(st.st_nlink, 1);
    assert_int_equal(entries(), 1);
    assert_int_equal(unlink(path), 0);
    umask(0777);
    assert_int_equal(keyfile_make(path, "0123", 4, &e), 0);
    umask(before);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
}

static atomic_int made, taken, other;

static void *makes(void *arg)
{
    struct err e = {0};
    char bytes[32];

    memset(bytes, *(const char *)arg, sizeof(bytes));
    if (keyfile_make(path, bytes, sizeof(bytes), &e) == 0)
        atomic_fetch_add(&made, 1);
    else if (e.kind == ERR_CONFLICT)
        atomic_fetch_add(&taken, 1);
    else
        atomic_fetch_add(&other, 1);
    return NULL;
}

static void of_many_makers_one_wins_and_nothing_is_left(void **state)
{
    static const char names[] = "abcdefgh";
    pthread_t t[8];
    struct err e;

    (void)state;
    for (int i = 0; i < 8; i++)
        assert_int_equal(
            pthread_create(&t[i], NULL, makes, (void *)(uintptr_t)&names[i]),
            0);
    for (int i = 0; i < 8; i++)
        pthread_join(t[i], NULL);
    assert_int_equal(made, 1);
    assert_int_equal(taken, 7);
    assert_int_equal(other, 0);
    assert_int_equal(entries(), 1);
    assert_int_equal(read_key(32, &e), 32);
}

static void a_disk_that_is_full_leaves_no_half_key(void **state)
{
    struct rlimit l;
    struct err e = {0};
    int status = -1;
    pid_t pid;

    (void)state;
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        getrlimit(RLIMIT_FSIZE, &l);
        l.rlim_cur = 10;
        signal(SIGXFSZ, SIG_IGN);
        setrlimit(RLIMIT_FSIZE, &l);
        _exit(keyfile_make(path, "0123456789abcdef", 16, &e) == -1 &&
                      e.kind == ERR_SYSTEM
                  ? 0
                  : 1);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    assert_int_equal(entries(), 0);
    assert_int_equal(keyfile_make("/nowhere/key", "k", 1, &e), -1);
    assert_int_equal(e.kind, ERR_SYSTEM);
}

static void a_name_that_is_taken_stays_as_it_is(void **state)
{
    struct err e = {0};
    struct err read_e;

    (void)state;
    write_key(5, 0600);
    assert_int_equal(keyfile_make(path, "0123456789", 10, &e), -1);
    assert_int_equal(e.kind, ERR_CONFLICT);
    assert_int_equal(read_key(32, &read_e), 5);
    assert_int_equal(unlink(path), 0);
    /* a link that leads nowhere is a taken name too */
    assert_int_equal(symlink("nowhere", path), 0);
    assert_int_equal(keyfile_make(path, "0123456789", 10, &e), -1);
    assert_int_equal(e.kind, ERR_CONFLICT);
    assert_int_equal(entries(), 1);
}

/* --- keys of one line --- */

static void write_text(const char *text, size_t len)
{
    const int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

    assert_int_equal(write(fd, text, len), len);
    assert_int_equal(fchmod(fd, 0600), 0);
    close(fd);
}

/* What it is read as, "" when it is refused with these words. */
static void line_is(const char *text, size_t len, const char *want,
                    const char *why)
{
    struct err e = {0};
    struct buf out;
    int r;

    write_text(text, len);
    buf_init_secret(&out, KEYFILE_LINE_MAX);
    r = keyfile_read_line(path, &out, &e);
    if (r != (why ? -1 : 0) || (why && !strstr(e.text, why)))
        fail_msg("\"%s\": %d %s", text, r, e.text);
    if (!why)
        assert_string_equal(buf_cstr(&out), want);
    else
        assert_null(strstr(e.text, text)); /* it may be one */
    buf_fini_secret(&out);
}
#define LINE(text, want, why) line_is(text, sizeof(text) - 1, want, why)

static void an_api_s_key_is_one_line(void **state)
{
    char long_one[KEYFILE_LINE_MAX + 2] = "";

    (void)state;
    LINE("sk-12345", "sk-12345", NULL);
    LINE("sk-12345\n", "sk-12345", NULL);
    LINE("sk-12345\r\n", "sk-12345", NULL);
    LINE("sk-1234\n", "", "less than 8");
    LINE("\n", "", "less than 8");
    LINE("sk-12345\n\n", "", "one line");
    LINE("sk-12345\nsk-67890\n", "", "one line");
    LINE("sk-12345 ", "", "without blanks");
    LINE(" sk-12345", "", "without blanks");
    LINE("sk-12345\r", "", "one line");
    LINE("sk-123\x00"
         "45",
         "", "one line");
    LINE("sk-12345\xc3\xa4", "", "one line");
    memset(long_one, 'k', sizeof(long_one) - 1);
    line_is(long_one, sizeof(long_one) - 1, "", "4097 bytes");
}

static void a_link_is_no_file_of_an_operator(void **state)
{
    own_mem char *link = mem_printf("%s/link", dir);
    struct err e = {0};
    struct buf out;

    (void)state;
    write_text("sk-12345", 8);
    assert_int_equal(symlink(path, link), 0);
    buf_init_secret(&out, KEYFILE_LINE_MAX);
    assert_int_equal(keyfile_read_line(link, &out, &e), -1);
    assert_non_null(strstr(e.text, "is a link"));
    assert_int_equal(keyfile_read_line(dir, &out, &e), -1);
    assert_non_null(strstr(e.text, "regular"));
    assert_int_equal(chmod(path, 0644), 0);
    assert_int_equal(keyfile_read_line(path, &out, &e), -1);
    assert_non_null(strstr(e.text, "chmod 600"));
    assert_int_equal(out.len, 0);
    buf_fini_secret(&out);
}

#define TEST(t) cmocka_unit_test_setup_teardown(t, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_key_nobody_else_may_touch_is_read),
        TEST(an_api_s_key_is_one_line),
        TEST(a_link_is_no_file_of_an_operator),
        TEST(a_mode_that_lets_others_in_is_refused),
        TEST(what_is_absent_too_long_or_no_file_is_told),
        TEST(another_user_s_file_is_refused),
        TEST(root_may_let_our_group_read_what_is_its_own),
        TEST(a_made_key_is_private_whatever_the_umask),
        TEST(of_many_makers_one_wins_and_nothing_is_left),
        TEST(a_disk_that_is_full_leaves_no_half_key),
        TEST(a_name_that_is_taken_stays_as_it_is),
    };

    return cmocka_run_group_tests_name("base/keyfile", tests, NULL, NULL);
}
