/*
 * What the kernel's share of the cage costs: when a program is started (the
 * filters compiled by the agent, read by the shim's own reader, Landlock and
 * filters set by the process that becomes the program), and with each of its
 * system calls.
 *
 * usage: cage_bench [starts] [calls]
 */
#include "agent/sandbox.h"
#include "agent/shimlink_start.h"
#include "base/own.h"
#include "base/mem.h"
#include "runner-image/parts.h"
#include "tests/lib/figures.h"
#include "tests/lib/spec_fixture.h"
#include "tests/lib/token_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define STARTS_MAX 1000
#define ROUNDS 5

static int starts = 100, calls = 1000000;
static struct agent_spec spec;
static struct start with, without;

/* START as the shim reads it, with its cage or without. */
static void read_start(bool is_caged, struct start *out)
{
    static uint8_t bytes[SHIM_MESSAGE_MAX]; /* what it points into */
    const char *argv[] = {"/bin/true", NULL}, *env[] = {NULL};
    struct shimlink_start what = {
        .cols = 80, .rows = 24, .cwd = "/", .argv = argv, .env = env};
    struct sandbox sandbox;
    struct err e = {0};
    struct buf b;

    assert_int_equal(sandbox_init(&sandbox, &spec, "/usr", "/tmp", &e), 0);
    what.cage = is_caged ? &sandbox.cage : NULL;
    buf_init(&b, SHIM_MESSAGE_MAX);
    assert_int_equal(shimlink_start_put(&b, &what), 0);
    memcpy(bytes, b.data, b.len);
    assert_int_equal(start_read(bytes, b.len, out), 0);
    for (int i = 0; out->readable[i]; i++)
        out->readable[i] = mem_str(out->readable[i]);
    for (int i = 0; out->writable[i]; i++)
        out->writable[i] = mem_str(out->writable[i]);
    buf_fini(&b);
    sandbox_fini(&sandbox);
}

/* --- the start --- */

static double run_once(const struct start *st)
{
    int64_t start = figures_now_us();
    uint8_t held, landlock;
    int status;
    pid_t child = fork();

    if (child == 0) {
        prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        if (cage_close(st, &held, &landlock) == 0)
            execl("/bin/true", "true", NULL);
        _exit(1);
    }
    waitpid(child, &status, 0);
    assert_int_equal(status, 0);
    return (double)(figures_now_us() - start) / 1e3;
}

static void a_start(void **state)
{
    static double caged[STARTS_MAX], bare[STARTS_MAX], made[STARTS_MAX];
    const size_t n = (size_t)starts;
    double more, compile;

    (void)state;
    for (int i = 0; i < starts; i++) {
        int64_t start = figures_now_us();
        struct sandbox s;
        struct err e = {0};

        assert_int_equal(sandbox_init(&s, &spec, "/usr", "/tmp", &e), 0);
        sandbox_fini(&s);
        made[i] = (double)(figures_now_us() - start) / 1e3;
        bare[i] = run_once(&without);
        caged[i] = run_once(&with);
    }
    compile = figures_median(made, n);
    more = figures_median(caged, n) - figures_median(bare, n);
    figures_say("cage.compile.p50", compile, "ms");
    figures_say("cage.set.p50", more, "ms");
    figures_at_most("cage.start.p50", compile + more, "ms", 5);
}

/* --- each call --- */

static double time_calls(long number, long a, long b, long c)
{
    int64_t start = figures_now_us();

    for (int i = 0; i < calls; i++)
        syscall(number, a, b, c, 0, 0, 0);
    return (double)(figures_now_us() - start) * 1e3 / calls;
}

struct one_call {
    const char *name;
    long number, a, b, c;
};

/* Its time in nanoseconds, in a process of its own. */
static double measure(const struct one_call *k, const struct start *st)
{
    uint8_t held, landlock;
    double ns = 0;
    int pair[2];
    pid_t child;

    assert_int_equal(pipe(pair), 0);
    child = fork();
    if (child == 0) {
        prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        if (cage_close(st, &held, &landlock) < 0)
            _exit(1);
        ns = time_calls(k->number, k->a, k->b, k->c);
        _exit(write(pair[1], &ns, sizeof(ns)) != sizeof(ns));
    }
    assert_int_equal(read(pair[0], &ns, sizeof(ns)), sizeof(ns));
    waitpid(child, NULL, 0);
    close(pair[0]);
    close(pair[1]);
    return ns;
}

static void a_call(void **state)
{
    static const struct one_call rows[] = {
        {"getppid", SYS_getppid, 0, 0, 0},       /* by its number alone */
        {"read", SYS_read, -1, 0, 0},            /* the same */
        {"ioctl", SYS_ioctl, -1, TIOCGWINSZ, 0}, /* by arguments, too */
        {"sendto", SYS_sendto, -1, 0, 0},
        {"openat", SYS_openat, AT_FDCWD, (long)"/usr/none", O_RDONLY},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        double caged[ROUNDS], bare[ROUNDS], more;
        own_mem char *name = mem_printf("cage.call.%s", rows[i].name);

        for (int r = 0; r < ROUNDS; r++) {
            bare[r] = measure(&rows[i], &without);
            caged[r] = measure(&rows[i], &with);
        }
        more = figures_median(caged, ROUNDS) - figures_median(bare, ROUNDS);
        figures_say(name, more, "ns more");
    }
}

static int setup(void **state)
{
    own_json struct json *j = NULL;
    struct err e = {0};

    token_setup(state); /* a spec has keys */
    j = spec_fixture();
    assert_int_equal(spec_of(j, &spec, &e), 0);
    read_start(true, &with);
    read_start(false, &without);
    return 0;
}

static int teardown(void **state)
{
    spec_fini(&spec);
    return token_teardown(state);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_start),
                                       cmocka_unit_test(a_call)};

    if (argc > 1)
        starts = atoi(argv[1]);
    if (argc > 2)
        calls = atoi(argv[2]);
    if (starts < 1 || starts > STARTS_MAX || calls < 1)
        return 2;
    figures_begin("the kernel's share of the cage");
    return cmocka_run_group_tests(tests, setup, teardown);
}
