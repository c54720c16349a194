#include "sample-cli/source.h"

#include "base/mem.h"
#include "base/own.h"
#include "tests/lib/programs.h"
#include "tests/lib/tree.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <cmocka.h>

// link: -Wl,--wrap=syscall -Wl,--wrap=read
static int syscall_errno; /* 0 = the real one */
long __real_syscall(long number, long a, long b, long c, long d);
long __wrap_syscall(long number, long a, long b, long c, long d);
long __wrap_syscall(long number, long a, long b, long c, long d)
{
    if (number == SYS_openat2 && syscall_errno) {
        errno = syscall_errno;
        return -1;
    }
    return __real_syscall(number, a, b, c, d);
}

static int read_errno;  /* 0 = the real one; EINTR: once */
static int read_at_end; /* as if the file had become shorter */
ssize_t __real_read(int fd, void *to, size_t len);
ssize_t __wrap_read(int fd, void *to, size_t len);
ssize_t __wrap_read(int fd, void *to, size_t len)
{
    if (read_errno) {
        errno = read_errno;
        read_errno = read_errno == EINTR ? 0 : read_errno;
        return -1;
    }
    if (read_at_end)
        return 0;
    return __real_read(fd, to, len > 3 ? 3 : len); /* in small bites */
}

static char *dir;
static int root_fd;

static int setup(void **state)
{
    (void)state;
    dir = scratch_new();
    root_fd = open(dir, O_RDONLY | O_DIRECTORY);
    syscall_errno = read_errno = read_at_end = 0;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    close(root_fd);
    scratch_remove(dir);
    return 0;
}

static void a_file_is_read_whole(void **state)
{
    struct source s = {0};
    struct err e = {0};

    (void)state;
    tree_put(dir, "a/b.c", "0123456789");
    read_errno = EINTR;
    assert_int_equal(source_read(root_fd, "a/b.c", 10, &s, &e), 0);
    assert_int_equal(s.len, 10);
    assert_string_equal(s.bytes, "0123456789");
    assert_int_equal(s.lang, LANG_C);
    assert_string_equal(s.path, "a/b.c");
    source_fini(&s);
    assert_null(s.bytes);
}

static void one_that_became_shorter_is_what_is_there(void **state)
{
    struct source s = {0};
    struct err e = {0};

    (void)state;
    tree_put(dir, "a", "0123");
    read_at_end = 1;
    assert_int_equal(source_read(root_fd, "a", 10, &s, &e), 0);
    assert_int_equal(s.len, 0);
    source_fini(&s);
}

static void refused(const char *path, int64_t most, enum err_kind kind,
                    const char *text)
{
    struct source s = {0};
    struct err e = {0};

    assert_int_equal(source_read(root_fd, path, most, &s, &e), -1);
    assert_int_equal(e.kind, kind);
    if (!strstr(e.text, text))
        fail_msg("\"%s\" does not say \"%s\"", e.text, text);
    assert_null(s.bytes);
}

static void what_cannot_be_read_says_why(void **state)
{
    own_mem char *fifo = mem_printf("%s/fifo", dir);

    (void)state;
    tree_put(dir, "a", "01234567890");
    assert_int_equal(mkfifo(fifo, 0600), 0);
    refused("absent", 10, ERR_SYSTEM, "No such file");
    refused("a", 10, ERR_TOO_LARGE, "more than 10 bytes");
    refused("fifo", 10, ERR_INPUT, "no regular file"); /* and does not hang */
    refused(".", 10, ERR_INPUT, "no regular file");
    read_errno = EIO;
    refused("a", 11, ERR_SYSTEM, "Input/output error");
    syscall_errno = EACCES;
    refused("a", 11, ERR_SYSTEM, "Permission denied");
}

static void no_link_is_followed_on_the_way(void **state)
{
    own_mem char *up = mem_printf("%s/up", dir);
    own_mem char *file = mem_printf("%s/link", dir);

    (void)state;
    tree_put(dir, "d/a", "1");
    assert_int_equal(symlink("d", up), 0);
    assert_int_equal(symlink("d/a", file), 0);
    refused("up/a", 10, ERR_SYSTEM, "symbolic links");
    refused("link", 10, ERR_SYSTEM, "symbolic links");
    refused("../x", 10, ERR_SYSTEM, "");
    syscall_errno = ENOSYS; /* without openat2 the last name is still none */
    refused("link", 10, ERR_SYSTEM, "symbolic links");
}

static void without_openat2_files_are_still_read(void **state)
{
    struct source s = {0};
    struct err e = {0};

    (void)state;
    tree_put(dir, "d/a", "1");
    syscall_errno = ENOSYS;
    assert_int_equal(source_read(root_fd, "d/a", 10, &s, &e), 0);
    assert_string_equal(s.bytes, "1");
    source_fini(&s);
}

static void lines_are_cut_at_their_ends(void **state)
{
    char text[] = "a\n\nb\r\n\r\nc\rd\re";
    const struct source s = {.bytes = text, .len = strlen(text)};
    static const struct {
        const char *text;
        bool has_cr, has_lf;
    } want[] = {{"a", false, true},
                {"", false, true},
                {"b", true, true},
                {"", true, true},
                {"c\rd\re", false, false}};
    struct source_line line = {0};
    size_t at = 0;

    (void)state;
    for (size_t i = 0; i < 5; i++) {
        assert_true(source_next(&s, &at, &line));
        assert_int_equal(line.number, i + 1);
        assert_int_equal(line.len, strlen(want[i].text));
        assert_memory_equal(line.text, want[i].text, line.len);
        assert_int_equal(line.has_cr, want[i].has_cr);
        assert_int_equal(line.has_lf, want[i].has_lf);
    }
    assert_false(source_next(&s, &at, &line));
    assert_int_equal(line.number, 5);
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(a_file_is_read_whole),
        CASE(one_that_became_shorter_is_what_is_there),
        CASE(what_cannot_be_read_says_why),
        CASE(no_link_is_followed_on_the_way),
        CASE(without_openat2_files_are_still_read),
        CASE(lines_are_cut_at_their_ends),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
