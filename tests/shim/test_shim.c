/* What the shim is, what surroundings it gives the program, whom it trusts.
 * test_shim_life.c: how both end. */
#include "base/mem.h"
#include "base/own.h"
#include "base/vocab.h"
#include "tests/lib/programs.h"
#include "tests/lib/shimrig.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#define SHIM_BYTES_LIMIT (100 * 1024)

/* --- what it is --- */

static void it_is_small_and_static(void **state)
{
    own_mem char *path = program_path("podterm-shim");
    own_mem char *cmd = mem_printf("readelf -l %s | grep -c INTERP", path);
    struct stat st;
    FILE *f;
    int n = -1;

    (void)state;
    assert_int_equal(stat(path, &st), 0);
    assert_true(st.st_size < SHIM_BYTES_LIMIT);
    f = popen(cmd, "r");
    assert_int_equal(fscanf(f, "%d", &n), 1);
    pclose(f);
    assert_int_equal(n, 0);
}

static void bad_arguments_are_told(void **state)
{
    own_mem char *path = program_path("podterm-shim");
    own_mem char *cmd = mem_printf("%s /tmp root 2>&1; %s /nowhere 1 2>&1; "
                                   "%s /tmp 1 -5 2>&1",
                                   path, path, path);
    FILE *f = popen(cmd, "r");
    char out[2048] = "";

    (void)state;
    assert_true(fread(out, 1, sizeof(out) - 1, f) > 0);
    pclose(f);
    assert_non_null(strstr(out, "the second a user id"));
    assert_non_null(strstr(out, "IPC_DIR cannot be entered"));
    assert_non_null(strstr(out, "AGENT_WAIT_MS"));
    assert_non_null(strstr(out, "usage: podterm-shim"));
}

/* --- the program's surroundings --- */

static void the_program_gets_exactly_its_surroundings(void **state)
{
    struct rig *r = rig_ready(state, true);
    own_fd int stray = open("/etc/passwd", O_RDONLY); /* inheritable */
    own_mem char *out =
        rig_run_to_end(r,
                       "echo fds: $(echo /proc/$$/fd/*); env | sort; pwd; "
                       "grep -E 'NoNewPrivs|SigBlk|SigIgn|SigCgt' "
                       "/proc/self/status | tr -d '\\t';"
                       "ulimit -c; tty < /dev/tty; stty -a | grep -o ' iutf8'",
                       0);

    (void)stray;
    assert_non_null(strstr(out, "COLOUR=blue\r\nPATH=/usr/bin:/bin\r\nPWD="));
    assert_non_null(strstr(out, "/tmp\r\n"));
    assert_non_null(strstr(out, "NoNewPrivs:1"));
    assert_non_null(strstr(out, "SigBlk:0000000000000000"));
    assert_non_null(strstr(out, "SigIgn:0000000000000000"));
    assert_non_null(strstr(out, "\r\n0\r\n"));
    assert_non_null(strstr(out, "iutf8"));
}

static void no_descriptor_is_inherited(void **state)
{
    struct rig *r = *state;
    own_fd int stray = -1;
    own_mem char *out = NULL;

    /* dup clears close-on-exec: the shim inherits number 40 */
    stray = dup2(STDERR_FILENO, 40);
    assert_int_equal(stray, 40);
    rig_listen(r);
    rig_run(r, false, NULL);
    rig_accept(r);
    out = rig_run_to_end(r, "exec ls /proc/self/fd", 0);
    /* ls itself opens 3 to read the directory */
    assert_string_equal(out, "0  1  2  3\r\n");
}

static void limits_hold(void **state)
{
    struct rig *r = rig_ready(state, true);
    const struct shim_limits l = {.nproc = 77,
                                  .nofile = 66,
                                  .data_bytes = 512 << 20,
                                  .fsize_bytes = 1 << 20,
                                  .cpu_s = 55};
    own_mem char *out = NULL;
    struct buf b;

    rig_put_start(&b, SHIM_SANDBOX_VERSION, &l,
                  "grep -E 'processes|open files|data|file size|cpu' "
                  "/proc/self/limits | tr -s ' '");
    rig_say(r, SHIM_START, b.data, b.len);
    buf_fini(&b);
    rig_expect(r, SHIM_STARTED);
    rig_expect_exit(r, SHIM_END_CODE, 0);
    out = rig_terminal(r, NULL);
    assert_non_null(strstr(out, "Max processes 77 77"));
    assert_non_null(strstr(out, "Max open files 66 66"));
    assert_non_null(strstr(out, "Max data size 536870912 536870912"));
    assert_non_null(strstr(out, "Max file size 1048576 1048576"));
    assert_non_null(strstr(out, "Max cpu time 55 55"));
}

static void the_shim_is_not_dumpable(void **state)
{
    struct rig *r = *state;
    char path[64];
    struct stat st;

    if (getuid() == 0) {
        /* as another user, so that the owner of /proc/PID tells */
        assert_return_code(chown(r->dir, 65534, 65534), errno);
        rig_listen(r);
        r->pid = fork();
        if (r->pid == 0) {
            own_mem char *shim = program_path("podterm-shim");

            prctl(PR_SET_PDEATHSIG, SIGKILL);
            if (setresgid(65534, 65534, 65534) < 0 ||
                setresuid(65534, 65534, 65534) < 0)
                _exit(77);
            execl(shim, shim, r->dir, "0", NULL);
            _exit(78);
        }
    } else {
        rig_listen(r);
        rig_run(r, false, NULL);
    }
    rig_accept(r);
    snprintf(path, sizeof(path), "/proc/%d/environ", (int)r->pid);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_uid, 0);
    assert_int_not_equal(st.st_uid, getuid() ? getuid() : 65534);
    rig_say_byte(r, SHIM_LEAVE, 3);
    assert_int_equal(rig_end(r), 3);
}

/* --- whom it trusts --- */

static void it_says_nothing_to_a_listener_of_its_own_namespace(void **state)
{
    struct rig *r = rig_ready(state, true);
    own_mem char *script = NULL, *out = NULL;

    /* The agent goes; the program, which may write to the directory here,
     * listens in its place and shows what it hears. */
    script = mem_printf(
        "cd %s; rm -f shim.sock; echo ready; "
        "timeout 1 python3 -c \"\n"
        "import socket\n"
        "s=socket.socket(socket.AF_UNIX); s.bind('shim.sock'); s.listen(9)\n"
        "c,_=s.accept(); print('dialled'); d=c.recv(99); "
        "print('heard',len(d))\"; echo done",
        r->dir);
    rig_start(r, script);
    free(rig_terminal(r, "ready"));
    close(r->listen_fd);
    close(r->sock_fd);
    r->listen_fd = r->sock_fd = -1;
    out = rig_terminal(r, "done");
    assert_non_null(strstr(out, "dialled"));
    assert_non_null(strstr(out, "heard 0"));
}

static void it_says_nothing_to_another_user(void **state)
{
    struct rig *r = *state;
    struct pollfd p;
    own_fd int fd = -1;
    char c;

    if (getuid() != 0)
        skip();
    assert_return_code(chmod(r->dir, 0777), errno);
    assert_return_code(seteuid(65533), errno);
    rig_listen(r);
    assert_int_equal(seteuid(0), 0);
    rig_run(r, true, "500");
    p = (struct pollfd){r->listen_fd, POLLIN, 0};
    assert_int_equal(poll(&p, 1, PATIENCE_MS), 1);
    fd = accept4(r->listen_fd, NULL, NULL, SOCK_CLOEXEC);
    assert_int_equal(recv(fd, &c, 1, 0), 0);
    assert_int_equal(rig_end(r), LEAVE_NO_AGENT);
}

static void a_second_start_is_refused(void **state)
{
    struct rig *r = rig_ready(state, true);
    static const struct shim_limits none = {0};
    struct buf b;

    rig_start(r, "sleep 4250");
    rig_put_start(&b, SHIM_SANDBOX_VERSION, &none, "echo second");
    rig_say(r, SHIM_START, b.data, b.len);
    buf_fini(&b);
    rig_expect(r, SHIM_FAILED);
    assert_int_equal(r->body[3], EALREADY);
    rig_say_byte(r, SHIM_SIGNAL, SIGKILL);
    rig_expect_exit(r, SHIM_END_SIGNAL, SIGKILL);
}

static void a_sandbox_it_does_not_know_is_refused(void **state)
{
    struct rig *r = rig_ready(state, true);
    static const struct shim_limits none = {0};
    struct buf b;

    rig_put_start(&b, SHIM_SANDBOX_VERSION + 1, &none, "echo loose");
    rig_say(r, SHIM_START, b.data, b.len);
    buf_fini(&b);
    rig_expect(r, SHIM_FAILED);
    assert_int_equal(r->body[3], ENOTSUP);
}

static void every_cut_of_a_start_leaves_with_74(void **state)
{
    struct rig *r = *state;
    static const struct shim_limits none = {0};
    struct buf b;

    rig_put_start(&b, SHIM_SANDBOX_VERSION, &none, "echo never");
    rig_listen(r);
    for (size_t len = 0; len < b.len; len += 3) {
        rig_run(r, false, NULL);
        rig_accept(r);
        rig_say(r, SHIM_START, b.data, len);
        assert_int_equal(rig_end(r), LEAVE_PROTOCOL);
    }
    buf_fini(&b);
}

static void broken_messages_leave_with_74(void **state)
{
    static const struct {
        uint8_t bytes[8];
        size_t len;
    } bad[] = {
        {{0, 0, 0, 0}, 4},                     /* empty */
        {{0, 1, 0x80, 1}, 4},                  /* 98305 bytes */
        {{0xff, 0xff, 0xff, 0xff}, 4},         /* 4 GiB */
        {{0, 0, 0, 1, SHIM_STARTED}, 5},       /* our own type */
        {{0, 0, 0, 1, SHIM_HELLO_OK}, 5},      /* a second one */
        {{0, 0, 0, 1, SHIM_LEAVE}, 5},         /* no code */
        {{0, 0, 0, 2, SHIM_SIGNAL, 0}, 6},     /* no signal */
        {{0, 0, 0, 2, SHIM_SIGNAL, 64}, 6},    /* real-time */
        {{0, 0, 0, 2, SHIM_BYTES_DOWN, 1}, 6}, /* reserved */
        {{0, 0, 0, 3, SHIM_SIGNAL, 2, 2}, 7},  /* too long */
    };
    struct rig *r = *state;

    rig_listen(r);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        rig_run(r, false, NULL);
        rig_accept(r);
        assert_int_equal(
            send(r->sock_fd, bad[i].bytes, bad[i].len, MSG_NOSIGNAL),
            bad[i].len);
        assert_int_equal(rig_end(r), LEAVE_PROTOCOL);
    }
}

static void a_start_may_fill_a_whole_message(void **state)
{
    struct rig *r = rig_ready(state, true);
    static const struct shim_limits none = {0};
    own_mem char *pad = mem_zero(SHIM_MESSAGE_MAX, 1);
    struct buf b;

    rig_put_start(&b, SHIM_SANDBOX_VERSION, &none, "echo ${#PAD}");
    b.data[b.len - 4 - 11 - 4 - 18 - 1] = 3; /* three variables */
    memset(pad, 'x', SHIM_MESSAGE_MAX - 1 - b.len - 4);
    memcpy(pad, "PAD=", 4);
    rig_put_str(&b, pad);
    assert_int_equal(b.len, SHIM_MESSAGE_MAX - 1);
    rig_say(r, SHIM_START, b.data, b.len);
    buf_fini(&b);
    rig_expect(r, SHIM_STARTED);
    rig_expect_exit(r, SHIM_END_CODE, 0);
}

#define T(name) cmocka_unit_test_setup_teardown(name, rig_setup, rig_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(it_is_small_and_static),
        T(bad_arguments_are_told),
        T(the_program_gets_exactly_its_surroundings),
        T(no_descriptor_is_inherited),
        T(limits_hold),
        T(the_shim_is_not_dumpable),
        T(it_says_nothing_to_a_listener_of_its_own_namespace),
        T(it_says_nothing_to_another_user),
        T(a_second_start_is_refused),
        T(a_sandbox_it_does_not_know_is_refused),
        T(every_cut_of_a_start_leaves_with_74),
        T(broken_messages_leave_with_74),
        T(a_start_may_fill_a_whole_message),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
