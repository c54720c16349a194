/* The agent's end of the shim protocol with the real shim at the other. */
#include "base/mem.h"
#include "base/own.h"
#include "base/vocab.h"
#include "tests/lib/programs.h"
#include "tests/lib/shimbed.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdarg.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#define PATIENCE_MS 5000

/* On one machine the agent knows the shim by its number in its own namespace,
 * where the kernel tells that; in a pod, as under gVisor, by its uid alone. */
static bool is_caged;

/* The shim as PID 1 of a new PID namespace, below an unshare(1) of our own:
 * returns the process to kill. */
static pid_t shim_run(struct shimbed *b, const char *wait_ms)
{
    own_mem char *path = program_path("podterm-shim");
    char uid[16];
    pid_t pid = fork();

    assert_return_code(pid, errno);
    if (pid)
        return pid;
    snprintf(uid, sizeof(uid), "%u", (unsigned)getuid());
    /* without root a user namespace of its own is needed, in which our uid
     * is the overflow one */
    if (getuid() != 0)
        snprintf(uid, sizeof(uid), "65534");
    if (unshare(CLONE_NEWPID | (getuid() ? CLONE_NEWUSER : 0)) < 0)
        _exit(77);
    pid = fork();
    if (pid == 0) {
        execl(path, path, b->dir, uid, wait_ms, NULL);
        _exit(78);
    }
    int status = 0;

    /* a copy of the listener here would keep connections to it waiting */
    close_range(3, ~0u, 0);
    waitpid(pid, &status, 0);
    _exit(WIFEXITED(status) ? WEXITSTATUS(status) : 200 + WTERMSIG(status));
}

static int shim_end(pid_t pid)
{
    int status;

    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void start_sh(struct shimbed *b, const char *script)
{
    const char *argv[] = {"sh", "-c", script, NULL};
    const char *env[] = {"PATH=/usr/bin:/bin", "GREETING=hello", NULL};
    struct shimlink_start st = {.cols = 91,
                                .rows = 33,
                                .isolation = SHIM_ISOLATION_FULL,
                                .cwd = "/tmp",
                                .argv = argv,
                                .env = env};
    struct err e = {0};

    assert_int_equal(shimlink_start(b->link, &st, &e), 0);
}

static char *drain(int fd)
{
    char *out = mem_zero(4096, 1);
    size_t len = 0;

    for (int tries = 0; tries < PATIENCE_MS; tries++) {
        ssize_t n = read(fd, out + len, 4095 - len);

        if (n < 0 && errno == EIO)
            return out;
        if (n > 0)
            len += (size_t)n;
        else
            usleep(1000);
    }
    fail_msg("no end of the terminal, only: %s", out);
    return out;
}

static void the_real_shim_runs_a_program(void **state)
{
    struct shimbed *b = *state;
    own_mem char *out = NULL;
    struct err e = {0};
    pid_t pid;

    shimbed_open(b, getuid(), is_caged, false);
    pid = shim_run(b, NULL);
    shimbed_until(b, &b->hellos, 1);
    assert_int_equal(b->state, SHIM_WAITING);
    start_sh(b, "echo $GREETING; stty size; pwd; exit 5");
    shimbed_until(b, &b->starteds, 1);
    shimbed_until(b, &b->exiteds, 1);
    assert_int_equal(b->kind, SHIM_END_CODE);
    assert_int_equal(b->value, 5);
    out = drain(b->master_fd);
    assert_string_equal(out, "hello\r\n33 91\r\n/tmp\r\n");
    assert_int_equal(shimlink_leave(b->link, 0, &e), 0);
    assert_int_equal(shim_end(pid), 0);
    shimbed_until(b, &b->losts, 1);
}

static void the_real_shim_comes_back_with_the_terminal(void **state)
{
    struct shimbed *b = *state;
    own_mem char *out = NULL;
    struct err e = {0};
    pid_t pid;

    shimbed_open(b, getuid(), is_caged, false);
    pid = shim_run(b, NULL);
    shimbed_until(b, &b->hellos, 1);
    start_sh(b, "read x; echo got $x; exit 3");
    shimbed_until(b, &b->starteds, 1);
    /* the agent dies and comes back, with a spent cookie */
    shimlink_free(b->link);
    close(b->master_fd);
    b->master_fd = -1;
    shimbed_open(b, getuid(), is_caged, true);
    shimbed_until(b, &b->hellos, 2);
    assert_int_equal(b->state, SHIM_RUNNING);
    shimbed_until(b, &b->starteds, 2);
    assert_int_equal(write(b->master_fd, "you\n", 4), 4);
    shimbed_until(b, &b->exiteds, 1);
    assert_int_equal(b->value, 3);
    /* and once more, now that the program has ended */
    shimlink_free(b->link);
    close(b->master_fd);
    b->master_fd = -1;
    shimbed_open(b, getuid(), is_caged, true);
    shimbed_until(b, &b->starteds, 3);
    assert_int_equal(b->state, SHIM_ENDED);
    shimbed_until(b, &b->exiteds, 2);
    out = drain(b->master_fd);
    assert_string_equal(out, "you\r\ngot you\r\n");
    /* a second START is refused by the shim itself */
    start_sh(b, "echo again");
    shimbed_until(b, &b->faileds, 1);
    assert_int_equal(b->error, EALREADY);
    assert_int_equal(shimlink_leave(b->link, LEAVE_START_FAILED, &e), 0);
    assert_int_equal(shim_end(pid), LEAVE_START_FAILED);
}

/* The real shim does not start that program, and says this of it. */
static void not_started(struct shimbed *b, const char *program,
                        const char *says)
{
    const char *argv[] = {program, NULL}, *env[] = {NULL};
    struct shimlink_start st = {
        .cols = 80, .rows = 24, .cwd = "/", .argv = argv, .env = env};
    struct err e = {0};
    pid_t pid;

    shimbed_open(b, getuid(), is_caged, false);
    pid = shim_run(b, NULL);
    shimbed_until(b, &b->hellos, 1);
    assert_int_equal(shimlink_start(b->link, &st, &e), 0);
    shimbed_until(b, &b->faileds, 1);
    assert_int_equal(b->error, ENOENT);
    assert_string_equal(b->text, says);
    assert_int_equal(shimlink_leave(b->link, LEAVE_START_FAILED, &e), 0);
    assert_int_equal(shim_end(pid), LEAVE_START_FAILED);
}

static void a_program_that_cannot_start_is_told(void **state)
{
    not_started(*state, "/no/such/program", "cannot run /no/such/program");
}

/* The kernel's ENOENT is of the interpreter, not of the script. */
static void a_missing_interpreter_is_named(void **state)
{
    char path[] = "/tmp/podterm-script.XXXXXX";
    own_fd int fd = mkostemp(path, O_CLOEXEC);
    own_mem char *want =
        mem_printf("cannot run %s: its interpreter /no/interp", path);

    assert_true(dprintf(fd, "#! /no/interp\033[2J -x\n") > 0);
    assert_int_equal(fchmod(fd, 0755), 0);
    own_fd_release(&fd);
    fd = -1;
    not_started(*state, path, want);
    unlink(path);
}

#define T(name)                                                                \
    cmocka_unit_test_setup_teardown(name, shimbed_setup, shimbed_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(the_real_shim_runs_a_program),
        T(the_real_shim_comes_back_with_the_terminal),
        T(a_program_that_cannot_start_is_told),
        T(a_missing_interpreter_is_named),
    };

    int failed = cmocka_run_group_tests(tests, NULL, NULL);

    is_caged = system("grep -q '^NSpid:' /proc/self/status") == 0;
    if (is_caged)
        return failed + cmocka_run_group_tests(tests, NULL, NULL);
    print_message("no NSpid here: not tried as on one machine\n");
    return failed;
}
