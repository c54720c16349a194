#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/mem.h"
#include "base/own.h"

#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>

static void fresh_memory_is_zeroed_and_never_null(void **state)
{
    own_mem char *p = mem_zero(16, 4);
    own_mem char *none = mem_zero(0, 0);
    static const char zeros[64];

    (void)state;
    assert_memory_equal(p, zeros, 64);
    assert_non_null(none);
}

static void growing_keeps_the_bytes(void **state)
{
    own_mem char *p = mem_str("abc");

    (void)state;
    p = mem_resize(p, 1000, 10);
    assert_string_equal(p, "abc");
    p = mem_resize(p, 0, 0);
    assert_non_null(p);
}

static void copies_are_whole_and_terminated(void **state)
{
    own_mem char *a = mem_strn("abcdef", 3);
    own_mem char *b = mem_copy("a\0b", 3);
    own_mem char *c = mem_printf("%s-%d", "n", 7);
    own_mem char *d = mem_copy(NULL, 0);

    (void)state;
    assert_string_equal(a, "abc");
    assert_memory_equal(b, "a\0b", 3);
    assert_string_equal(c, "n-7");
    assert_non_null(d);
}

/* What a child dies of that asks for more than there is. */
static int death_of(void (*ask)(void))
{
    int status = 0;
    pid_t pid = fork();

    if (pid == 0) {
        const struct rlimit none = {0, 0};

        setrlimit(RLIMIT_CORE, &none);
        signal(SIGABRT, SIG_DFL);
        ask();
        _exit(0);
    }
    waitpid(pid, &status, 0);
    return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

static void ask_overflow(void)
{
    mem_resize(NULL, SIZE_MAX / 2, 3);
}

static void ask_nothing(void)
{
    free(mem_zero(1, 1));
}

static void a_size_that_overflows_ends_the_process(void **state)
{
    (void)state;
    assert_int_equal(death_of(ask_overflow), SIGABRT);
    assert_int_equal(death_of(ask_nothing), 0);
}

static char *given(void)
{
    own_mem char *p = mem_str("kept");

    return own_mem_give(&p);
}

static void what_is_given_away_outlives_its_scope(void **state)
{
    own_mem char *p = given();

    (void)state;
    assert_string_equal(p, "kept");
}

static int leave_fd(int *number)
{
    own_fd int closed_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    own_fd int kept_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

    *number = closed_fd;
    return own_fd_give(&kept_fd);
}

static void a_scope_closes_its_descriptor_unless_it_is_given(void **state)
{
    int closed = -1, kept_fd = leave_fd(&closed);

    (void)state;
    assert_true(closed >= 0 && kept_fd >= 0);
    assert_int_equal(fcntl(closed, F_GETFD), -1);
    assert_true(fcntl(kept_fd, F_GETFD) >= 0);
    close(kept_fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fresh_memory_is_zeroed_and_never_null),
        cmocka_unit_test(growing_keeps_the_bytes),
        cmocka_unit_test(copies_are_whole_and_terminated),
        cmocka_unit_test(a_size_that_overflows_ends_the_process),
        cmocka_unit_test(what_is_given_away_outlives_its_scope),
        cmocka_unit_test(a_scope_closes_its_descriptor_unless_it_is_given),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
