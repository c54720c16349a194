#include "agent/shimlink.h"

#include "agent/shimlink_peer.h"
#include "base/mem.h"
#include "base/own.h"
#include "base/vocab.h"
#include "tests/lib/programs.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdarg.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#define PATIENCE_MS 5000

/* What came up, and a link to hear it on. */
struct bench {
    struct loop *loop;
    struct shimlink *link;
    char *dir;
    uint8_t cookie[SHIM_COOKIE_BYTES];
    bool is_late;
    int hellos, starteds, exiteds, stoppings, faileds, losts;
    enum shim_state state;
    enum shim_end kind;
    int value, master_fd, error;
    char text[SHIM_TEXT_MAX + 1];
    struct err why;
};

static void on_hello(void *arg, enum shim_state state, enum shim_end kind,
                     int value)
{
    struct bench *b = arg;

    b->hellos++;
    b->state = state;
    b->kind = kind;
    b->value = value;
    loop_stop(b->loop);
}

static void on_started(void *arg, int master_fd, int pid)
{
    struct bench *b = arg;

    (void)pid;
    b->starteds++;
    if (b->master_fd >= 0)
        close(b->master_fd);
    b->master_fd = master_fd;
    loop_stop(b->loop);
}

static void on_exited(void *arg, enum shim_end kind, int value)
{
    struct bench *b = arg;

    b->exiteds++;
    b->kind = kind;
    b->value = value;
    loop_stop(b->loop);
}

static void on_stopping(void *arg)
{
    struct bench *b = arg;

    b->stoppings++;
    loop_stop(b->loop);
}

static void on_failed(void *arg, int error, const char *text)
{
    struct bench *b = arg;

    b->faileds++;
    b->error = error;
    snprintf(b->text, sizeof(b->text), "%s", text);
    loop_stop(b->loop);
}

static void on_lost(void *arg, const struct err *why)
{
    struct bench *b = arg;

    b->losts++;
    b->why = *why;
    loop_stop(b->loop);
}

static const struct shimlink_verbs verbs = {on_hello,    on_started, on_exited,
                                            on_stopping, on_failed,  on_lost};

static void bench_open(struct bench *b, uid_t uid, bool is_caged, bool is_spent)
{
    struct shimlink_conf conf = {.ipc_dir = b->dir,
                                 .cookie = b->cookie,
                                 .is_cookie_spent = is_spent,
                                 .runner_uid = uid,
                                 .is_caged = is_caged,
                                 .verbs = &verbs,
                                 .arg = b};
    struct err e = {0};

    b->link = shimlink_new(b->loop, &conf, &e);
    if (!b->link)
        fail_msg("%s", e.text);
}

static int setup(void **state)
{
    struct bench *b = mem_zero(1, sizeof(*b));

    b->loop = loop_new();
    b->dir = scratch_new();
    b->master_fd = -1;
    memset(b->cookie, 0x5a, sizeof(b->cookie));
    *state = b;
    return 0;
}

static int teardown(void **state)
{
    struct bench *b = *state;

    shimlink_free(b->link);
    loop_free(b->loop);
    if (b->master_fd >= 0)
        close(b->master_fd);
    scratch_remove(b->dir);
    free(b);
    return 0;
}

static void on_late(void *arg)
{
    struct bench *b = arg;

    b->is_late = true;
    loop_stop(b->loop);
}

/* Run the loop until *count is want; fails after PATIENCE_MS. */
static void until(struct bench *b, const int *count, int want)
{
    struct loop_timer *t =
        loop_timer_start(b->loop, PATIENCE_MS, 0, on_late, b);

    while (*count < want && !b->is_late)
        loop_run(b->loop);
    loop_timer_stop(t);
    if (b->is_late)
        fail_msg("hello %d started %d exited %d stopping %d failed %d lost %d",
                 b->hellos, b->starteds, b->exiteds, b->stoppings, b->faileds,
                 b->losts);
    assert_int_equal(*count, want);
}

/* Let the loop turn for a while. */
static void turn(struct bench *b, int ms)
{
    struct loop_timer *t = loop_timer_start(b->loop, ms, 0, on_late, b);

    while (!b->is_late)
        loop_run(b->loop);
    loop_timer_stop(t);
    b->is_late = false;
}

/* --- a shim of the test's own --- */

static int fake_connect(struct bench *b)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    snprintf(to.sun_path, sizeof(to.sun_path), "%.90s/%s", b->dir, SHIM_SOCKET);
    assert_return_code(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
    return fd;
}

/* Send bytes with count descriptors, each a copy of fd. */
static void fake_send(int sock, const void *bytes, size_t len, int fd,
                      int count)
{
    struct iovec iov = {(void *)bytes, len};
    union {
        struct cmsghdr align;
        char room[CMSG_SPACE(8 * sizeof(int))];
    } control = {0};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};

    if (count) {
        msg.msg_control = control.room;
        msg.msg_controllen = CMSG_SPACE((size_t)count * sizeof(int));
        control.align.cmsg_level = SOL_SOCKET;
        control.align.cmsg_type = SCM_RIGHTS;
        control.align.cmsg_len = CMSG_LEN((size_t)count * sizeof(int));
        for (int i = 0; i < count; i++)
            memcpy(CMSG_DATA(&control.align) + (size_t)i * sizeof(int), &fd,
                   sizeof(fd));
    }
    assert_int_equal(sendmsg(sock, &msg, MSG_NOSIGNAL), len);
}

static void fake_hello(struct bench *b, int sock, uint8_t state)
{
    uint8_t msg[SHIM_LENGTH_BYTES + 1 + SHIM_HELLO_BYTES] = {
        0, 0, 0, 1 + SHIM_HELLO_BYTES, SHIM_HELLO, SHIM_VERSION, state};

    memcpy(msg + sizeof(msg) - SHIM_COOKIE_BYTES, b->cookie, SHIM_COOKIE_BYTES);
    fake_send(sock, msg, sizeof(msg), -1, 0);
}

static const uint8_t started_msg[] = {0, 0, 0, 5, SHIM_STARTED, 0, 0, 0, 2};
static const uint8_t exited_msg[] = {0, 0, 0, 6, SHIM_EXITED, 0, 0, 0, 0, 7};
static const uint8_t stopping_msg[] = {0, 0, 0, 1, SHIM_STOPPING};

static int open_master(void)
{
    int fd = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);

    assert_return_code(fd, errno);
    return fd;
}

static int count_fds(void)
{
    int n = 0;

    for (int i = 0; i < 256; i++)
        n += fcntl(i, F_GETFD) >= 0;
    return n;
}

static struct bench *greeted(void **state, int *sock, uint8_t shim_state)
{
    struct bench *b = *state;

    bench_open(b, getuid(), false, false);
    *sock = fake_connect(b);
    fake_hello(b, *sock, shim_state);
    until(b, &b->hellos, 1);
    return b;
}

static void the_cookie_goes_with_the_first_right_hello(void **state)
{
    struct bench *b = *state;
    own_mem char *path = mem_printf("%s/%s", b->dir, SHIM_COOKIE);
    own_fd int sock = -1;
    struct stat st;

    bench_open(b, getuid(), false, false);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_size, SHIM_COOKIE_BYTES);
    sock = fake_connect(b);
    fake_hello(b, sock, SHIM_WAITING);
    until(b, &b->hellos, 1);
    assert_int_equal(stat(path, &st), -1);
    assert_true(shimlink_is_up(b->link));
}

static void a_spent_cookie_is_not_shown_again(void **state)
{
    struct bench *b = *state;
    own_mem char *path = mem_printf("%s/%s", b->dir, SHIM_COOKIE);

    bench_open(b, getuid(), false, true);
    assert_int_equal(access(path, F_OK), -1);
}

static void a_wrong_cookie_is_shut_out(void **state)
{
    struct bench *b = *state;
    own_fd int sock = -1;
    char c;

    bench_open(b, getuid(), false, false);
    sock = fake_connect(b);
    b->cookie[31] ^= 1;
    fake_hello(b, sock, SHIM_WAITING);
    turn(b, 50);
    assert_int_equal(b->hellos, 0);
    assert_int_equal(recv(sock, &c, 1, MSG_DONTWAIT), 0);
}

static void another_user_is_shut_out(void **state)
{
    struct bench *b = *state;
    own_fd int sock = -1;
    char c;

    bench_open(b, getuid() + 1, false, false);
    sock = fake_connect(b);
    fake_hello(b, sock, SHIM_WAITING);
    turn(b, 50);
    assert_int_equal(b->hellos, 0);
    assert_int_not_equal(recv(sock, &c, 1, MSG_DONTWAIT), 1);
}

static void a_caged_shim_must_be_pid_1_of_its_namespace(void **state)
{
    struct bench *b = *state;
    own_fd int sock = -1;

    bench_open(b, getuid(), true, false);
    sock = fake_connect(b);
    fake_hello(b, sock, SHIM_WAITING);
    turn(b, 50);
    assert_int_equal(b->hellos, 0);
}

static void only_one_shim_is_taken(void **state)
{
    own_fd int first = -1, second = -1;
    struct bench *b = greeted(state, &first, SHIM_WAITING);

    second = fake_connect(b);
    fake_hello(b, second, SHIM_WAITING);
    turn(b, 50);
    assert_int_equal(b->hellos, 1);
    close(own_fd_give(&first));
    until(b, &b->losts, 1);
    until(b, &b->hellos, 2);
}

static void silent_connections_do_not_keep_the_shim_out(void **state)
{
    struct bench *b = *state;
    int crowd[3 * SHIMLINK_PENDING_MAX];
    own_fd int sock = -1;

    bench_open(b, getuid(), false, false);
    for (size_t i = 0; i < sizeof(crowd) / sizeof(crowd[0]); i++) {
        crowd[i] = fake_connect(b);
        turn(b, 1);
    }
    sock = fake_connect(b);
    fake_hello(b, sock, SHIM_WAITING);
    until(b, &b->hellos, 1);
    for (size_t i = 0; i < sizeof(crowd) / sizeof(crowd[0]); i++)
        close(crowd[i]);
}

static void a_terminal_comes_through_non_blocking(void **state)
{
    own_fd int sock = -1, master = open_master();
    struct bench *b = greeted(state, &sock, SHIM_RUNNING);

    fake_send(sock, started_msg, sizeof(started_msg), master, 1);
    until(b, &b->starteds, 1);
    assert_true(fcntl(b->master_fd, F_GETFL) & O_NONBLOCK);
    assert_true(fcntl(b->master_fd, F_GETFD) & FD_CLOEXEC);
    fake_send(sock, exited_msg, sizeof(exited_msg), -1, 0);
    until(b, &b->exiteds, 1);
    assert_int_equal(b->kind, SHIM_END_CODE);
    assert_int_equal(b->value, 7);
    fake_send(sock, stopping_msg, sizeof(stopping_msg), -1, 0);
    until(b, &b->stoppings, 1);
}

static void hello_and_terminal_may_arrive_in_one_read(void **state)
{
    struct bench *b = *state;
    own_fd int sock = -1, master = open_master();

    bench_open(b, getuid(), false, false);
    sock = fake_connect(b);
    fake_hello(b, sock, SHIM_RUNNING);
    fake_send(sock, started_msg, sizeof(started_msg), master, 1);
    until(b, &b->hellos, 1);
    until(b, &b->starteds, 1);
}

/* Everything a hostile shim may try ends the link and leaks nothing. */
static void expect_breach(void **state, uint8_t shim_state, const void *bytes,
                          size_t len, int fd, int count)
{
    own_fd int sock = -1;
    struct bench *b = greeted(state, &sock, shim_state);
    int before = count_fds();

    fake_send(sock, bytes, len, fd, count);
    until(b, &b->losts, 1);
    assert_int_equal(b->starteds, 0);
    assert_int_equal(b->why.kind, ERR_PEER);
    assert_false(shimlink_is_up(b->link));
    /* the link's own descriptor is closed, and none came to stay */
    assert_int_equal(count_fds(), before - 1);
}

static void started_without_a_descriptor_is_a_breach(void **state)
{
    expect_breach(state, SHIM_RUNNING, started_msg, sizeof(started_msg), -1, 0);
}

static void a_file_is_no_terminal(void **state)
{
    own_fd int fd = open("/dev/null", O_RDWR | O_CLOEXEC);

    expect_breach(state, SHIM_RUNNING, started_msg, sizeof(started_msg), fd, 1);
}

static void a_slave_is_no_master(void **state)
{
    own_fd int master = open_master(), slave = -1;

    unlockpt(master);
    slave = open(ptsname(master), O_RDWR | O_NOCTTY | O_CLOEXEC);
    assert_return_code(slave, errno);
    expect_breach(state, SHIM_RUNNING, started_msg, sizeof(started_msg), slave,
                  1);
}

static void two_descriptors_are_a_breach(void **state)
{
    own_fd int master = open_master();

    expect_breach(state, SHIM_RUNNING, started_msg, sizeof(started_msg), master,
                  2);
}

static void eight_descriptors_are_a_breach(void **state)
{
    own_fd int master = open_master();

    expect_breach(state, SHIM_RUNNING, started_msg, sizeof(started_msg), master,
                  8);
}

static void a_descriptor_with_another_message_is_a_breach(void **state)
{
    own_fd int master = open_master();

    expect_breach(state, SHIM_RUNNING, stopping_msg, sizeof(stopping_msg),
                  master, 1);
}

static void a_descriptor_with_half_a_message_is_a_breach(void **state)
{
    own_fd int master = open_master();

    expect_breach(state, SHIM_RUNNING, started_msg, sizeof(started_msg) - 1,
                  master, 1);
}

static void started_before_start_is_a_breach(void **state)
{
    own_fd int master = open_master();

    expect_breach(state, SHIM_WAITING, started_msg, sizeof(started_msg), master,
                  1);
}

static void exited_before_started_is_a_breach(void **state)
{
    expect_breach(state, SHIM_RUNNING, exited_msg, sizeof(exited_msg), -1, 0);
}

static void failed_without_start_is_a_breach(void **state)
{
    static const uint8_t msg[] = {0, 0, 0, 5, SHIM_FAILED, 0, 0, 0, 2};

    expect_breach(state, SHIM_WAITING, msg, sizeof(msg), -1, 0);
}

static void a_reserved_type_is_a_breach(void **state)
{
    static const uint8_t msg[] = {0, 0, 0, 2, SHIM_BYTES_UP, 'x'};

    expect_breach(state, SHIM_RUNNING, msg, sizeof(msg), -1, 0);
}

static void a_large_length_is_refused_before_its_body(void **state)
{
    static const uint8_t msg[] = {0, 0xff, 0xff, 0xff, SHIM_FAILED};

    expect_breach(state, SHIM_RUNNING, msg, sizeof(msg), -1, 0);
}

static void a_second_hello_is_a_breach(void **state)
{
    own_fd int sock = -1;
    struct bench *b = greeted(state, &sock, SHIM_WAITING);

    fake_hello(b, sock, SHIM_WAITING);
    until(b, &b->losts, 1);
    assert_int_equal(b->hellos, 1);
}

static void the_terminal_comes_once_a_connection(void **state)
{
    own_fd int sock = -1, master = open_master();
    struct bench *b = greeted(state, &sock, SHIM_RUNNING);

    fake_send(sock, started_msg, sizeof(started_msg), master, 1);
    until(b, &b->starteds, 1);
    fake_send(sock, started_msg, sizeof(started_msg), master, 1);
    until(b, &b->losts, 1);
    assert_int_equal(b->starteds, 1);
}

static void a_shim_that_does_not_read_is_dropped(void **state)
{
    own_fd int sock = -1;
    struct bench *b = greeted(state, &sock, SHIM_RUNNING);
    struct err e = {0};
    int sent = 0;

    while (shimlink_signal(b->link, SIGINT, &e) == 0)
        assert_true(++sent < 1000000);
    assert_int_equal(e.kind, ERR_PEER);
    until(b, &b->losts, 1);
}

static void nothing_can_be_said_without_a_shim(void **state)
{
    struct bench *b = *state;
    static const char *const argv[] = {"x", NULL}, *const none[] = {NULL};
    struct shimlink_start st = {
        .cols = 80, .rows = 24, .cwd = "/", .argv = argv, .env = none};
    struct err e = {0};

    bench_open(b, getuid(), false, false);
    assert_int_equal(shimlink_start(b->link, &st, &e), -1);
    assert_int_equal(e.kind, ERR_PEER);
    assert_int_equal(shimlink_signal(b->link, SIGINT, &e), -1);
    assert_int_equal(shimlink_leave(b->link, 0, &e), -1);
}

static void a_start_that_does_not_fit_is_refused_here(void **state)
{
    own_fd int sock = -1;
    struct bench *b = greeted(state, &sock, SHIM_WAITING);
    own_mem char *large = mem_zero(SHIM_MESSAGE_MAX, 1);
    const char *argv[] = {"x", NULL}, *env[] = {large, NULL};
    const char *many[SHIM_ENV_MAX + 2] = {0};
    struct shimlink_start st = {
        .cols = 80, .rows = 24, .cwd = "/", .argv = argv, .env = env};
    struct err e = {0};

    memset(large, 'a', SHIM_MESSAGE_MAX - 1);
    assert_int_equal(shimlink_start(b->link, &st, &e), -1);
    assert_int_equal(e.kind, ERR_TOO_LARGE);
    for (int i = 0; i <= SHIM_ENV_MAX; i++)
        many[i] = "A=1";
    st.env = many;
    assert_int_equal(shimlink_start(b->link, &st, &e), -1);
    assert_int_equal(e.kind, ERR_TOO_LARGE);
    st.env = env + 1;
    st.rows = SHIM_SIZE_MAX + 1;
    assert_int_equal(shimlink_start(b->link, &st, &e), -1);
    assert_int_equal(e.kind, ERR_INPUT);
    st.rows = 24;
    assert_int_equal(shimlink_start(b->link, &st, &e), 0);
    assert_int_equal(shimlink_start(b->link, &st, &e), -1);
    assert_int_equal(e.kind, ERR_CONFLICT);
}

static void a_directory_that_is_not_there_is_named(void **state)
{
    struct bench *b = *state;
    struct shimlink_conf conf = {
        .ipc_dir = "/nowhere/at/all", .cookie = b->cookie, .verbs = &verbs};
    struct err e = {0};

    assert_null(shimlink_new(b->loop, &conf, &e));
    assert_non_null(strstr(e.text, "/nowhere/at/all"));
}

static void a_long_path_is_no_hindrance(void **state)
{
    struct bench *b = *state;
    char *deep = mem_str(b->dir);
    struct shimlink_conf conf = {
        .cookie = b->cookie, .verbs = &verbs, .arg = b};
    struct err e = {0};

    for (int i = 0; i < 20; i++) {
        own_mem char *up = deep;

        deep = mem_printf("%s/0123456789", up);
        assert_return_code(mkdir(deep, 0755), errno);
    }
    conf.ipc_dir = deep;
    b->link = shimlink_new(b->loop, &conf, &e);
    free(deep);
    assert_non_null(b->link);
}

/* --- the real shim --- */

/* The shim as PID 1 of a new PID namespace, below an unshare(1) of our own:
 * returns the process to kill. */
static pid_t shim_run(struct bench *b, const char *wait_ms)
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

static void start_sh(struct bench *b, const char *script)
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
    struct bench *b = *state;
    own_mem char *out = NULL;
    struct err e = {0};
    pid_t pid;

    bench_open(b, getuid(), true, false);
    pid = shim_run(b, NULL);
    until(b, &b->hellos, 1);
    assert_int_equal(b->state, SHIM_WAITING);
    start_sh(b, "echo $GREETING; stty size; pwd; exit 5");
    until(b, &b->starteds, 1);
    until(b, &b->exiteds, 1);
    assert_int_equal(b->kind, SHIM_END_CODE);
    assert_int_equal(b->value, 5);
    out = drain(b->master_fd);
    assert_string_equal(out, "hello\r\n33 91\r\n/tmp\r\n");
    assert_int_equal(shimlink_leave(b->link, 0, &e), 0);
    assert_int_equal(shim_end(pid), 0);
    until(b, &b->losts, 1);
}

static void the_real_shim_comes_back_with_the_terminal(void **state)
{
    struct bench *b = *state;
    own_mem char *out = NULL;
    struct err e = {0};
    pid_t pid;

    bench_open(b, getuid(), true, false);
    pid = shim_run(b, NULL);
    until(b, &b->hellos, 1);
    start_sh(b, "read x; echo got $x; exit 3");
    until(b, &b->starteds, 1);
    /* the agent dies and comes back, with a spent cookie */
    shimlink_free(b->link);
    close(b->master_fd);
    b->master_fd = -1;
    bench_open(b, getuid(), true, true);
    until(b, &b->hellos, 2);
    assert_int_equal(b->state, SHIM_RUNNING);
    until(b, &b->starteds, 2);
    assert_int_equal(write(b->master_fd, "you\n", 4), 4);
    until(b, &b->exiteds, 1);
    assert_int_equal(b->value, 3);
    /* and once more, now that the program has ended */
    shimlink_free(b->link);
    close(b->master_fd);
    b->master_fd = -1;
    bench_open(b, getuid(), true, true);
    until(b, &b->starteds, 3);
    assert_int_equal(b->state, SHIM_ENDED);
    until(b, &b->exiteds, 2);
    out = drain(b->master_fd);
    assert_string_equal(out, "you\r\ngot you\r\n");
    /* a second START is refused by the shim itself */
    start_sh(b, "echo again");
    until(b, &b->faileds, 1);
    assert_int_equal(b->error, EALREADY);
    assert_int_equal(shimlink_leave(b->link, LEAVE_START_FAILED, &e), 0);
    assert_int_equal(shim_end(pid), LEAVE_START_FAILED);
}

static void a_program_that_cannot_start_is_told(void **state)
{
    struct bench *b = *state;
    const char *argv[] = {"/no/such/program", NULL}, *env[] = {NULL};
    struct shimlink_start st = {
        .cols = 80, .rows = 24, .cwd = "/", .argv = argv, .env = env};
    struct err e = {0};
    pid_t pid;

    bench_open(b, getuid(), true, false);
    pid = shim_run(b, NULL);
    until(b, &b->hellos, 1);
    assert_int_equal(shimlink_start(b->link, &st, &e), 0);
    until(b, &b->faileds, 1);
    assert_int_equal(b->error, ENOENT);
    assert_string_equal(b->text, "cannot run /no/such/program");
    assert_int_equal(shimlink_leave(b->link, LEAVE_START_FAILED, &e), 0);
    assert_int_equal(shim_end(pid), LEAVE_START_FAILED);
}

/* The kernel's ENOENT is of the interpreter, not of the script. */
static void a_missing_interpreter_is_named(void **state)
{
    struct bench *b = *state;
    char path[] = "/tmp/podterm-script.XXXXXX";
    own_fd int fd = mkostemp(path, O_CLOEXEC);
    const char *argv[] = {path, NULL}, *env[] = {NULL};
    struct shimlink_start st = {
        .cols = 80, .rows = 24, .cwd = "/", .argv = argv, .env = env};
    own_mem char *want =
        mem_printf("cannot run %s: its interpreter /no/interp", path);
    struct err e = {0};
    pid_t pid;

    assert_true(dprintf(fd, "#! /no/interp\033[2J -x\n") > 0);
    assert_int_equal(fchmod(fd, 0755), 0);
    own_fd_release(&fd);
    fd = -1;
    bench_open(b, getuid(), true, false);
    pid = shim_run(b, NULL);
    until(b, &b->hellos, 1);
    assert_int_equal(shimlink_start(b->link, &st, &e), 0);
    until(b, &b->faileds, 1);
    unlink(path);
    assert_int_equal(b->error, ENOENT);
    assert_string_equal(b->text, want);
    assert_int_equal(shimlink_leave(b->link, LEAVE_START_FAILED, &e), 0);
    assert_int_equal(shim_end(pid), LEAVE_START_FAILED);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(the_cookie_goes_with_the_first_right_hello),
        T(a_spent_cookie_is_not_shown_again),
        T(a_wrong_cookie_is_shut_out),
        T(another_user_is_shut_out),
        T(a_caged_shim_must_be_pid_1_of_its_namespace),
        T(only_one_shim_is_taken),
        T(silent_connections_do_not_keep_the_shim_out),
        T(a_terminal_comes_through_non_blocking),
        T(hello_and_terminal_may_arrive_in_one_read),
        T(started_without_a_descriptor_is_a_breach),
        T(a_file_is_no_terminal),
        T(a_slave_is_no_master),
        T(two_descriptors_are_a_breach),
        T(eight_descriptors_are_a_breach),
        T(a_descriptor_with_another_message_is_a_breach),
        T(a_descriptor_with_half_a_message_is_a_breach),
        T(started_before_start_is_a_breach),
        T(exited_before_started_is_a_breach),
        T(failed_without_start_is_a_breach),
        T(a_reserved_type_is_a_breach),
        T(a_large_length_is_refused_before_its_body),
        T(a_second_hello_is_a_breach),
        T(the_terminal_comes_once_a_connection),
        T(a_shim_that_does_not_read_is_dropped),
        T(nothing_can_be_said_without_a_shim),
        T(a_start_that_does_not_fit_is_refused_here),
        T(a_directory_that_is_not_there_is_named),
        T(a_long_path_is_no_hindrance),
        T(the_real_shim_runs_a_program),
        T(the_real_shim_comes_back_with_the_terminal),
        T(a_program_that_cannot_start_is_told),
        T(a_missing_interpreter_is_named),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
