/* The agent's end of the shim protocol against a shim of the test's own, which
 * may be hostile. test_shimlink_real.c: the real one. */
#include "agent/shimlink.h"

#include "agent/shimlink_peer.h"
#include "base/mem.h"
#include "base/own.h"
#include "tests/lib/shimbed.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include <cmocka.h>

/* --- a shim of the test's own --- */

static int fake_connect(struct shimbed *b)
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

static void fake_hello(struct shimbed *b, int sock, uint8_t state)
{
    uint8_t msg[SHIM_LENGTH_BYTES + 1 + SHIM_HELLO_BYTES] = {
        0, 0, 0, 1 + SHIM_HELLO_BYTES, SHIM_HELLO, SHIM_VERSION, state};

    memcpy(msg + sizeof(msg) - SHIM_COOKIE_BYTES, b->cookie, SHIM_COOKIE_BYTES);
    fake_send(sock, msg, sizeof(msg), -1, 0);
}

static const uint8_t started_msg[] = {0, 0, 0, 7, SHIM_STARTED, 0, 0,
                                      0, 2, 3, 7};
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

static struct shimbed *greeted(void **state, int *sock, uint8_t shim_state)
{
    struct shimbed *b = *state;

    shimbed_open(b, getuid(), false, false);
    *sock = fake_connect(b);
    fake_hello(b, *sock, shim_state);
    shimbed_until(b, &b->hellos, 1);
    return b;
}

static void the_cookie_goes_with_the_first_right_hello(void **state)
{
    struct shimbed *b = *state;
    own_mem char *path = mem_printf("%s/%s", b->dir, SHIM_COOKIE);
    own_fd int sock = -1;
    struct stat st;

    shimbed_open(b, getuid(), false, false);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_size, SHIM_COOKIE_BYTES);
    sock = fake_connect(b);
    fake_hello(b, sock, SHIM_WAITING);
    shimbed_until(b, &b->hellos, 1);
    assert_int_equal(stat(path, &st), -1);
    assert_true(shimlink_is_up(b->link));
}

static void a_spent_cookie_is_not_shown_again(void **state)
{
    struct shimbed *b = *state;
    own_mem char *path = mem_printf("%s/%s", b->dir, SHIM_COOKIE);

    shimbed_open(b, getuid(), false, true);
    assert_int_equal(access(path, F_OK), -1);
}

/* Nobody takes it for the shim; its end of the connection. */
static int says_hello_in_vain(struct shimbed *b)
{
    int sock = fake_connect(b);

    fake_hello(b, sock, SHIM_WAITING);
    shimbed_turn(b, 50);
    assert_int_equal(b->hellos, 0);
    return sock;
}

static void a_wrong_cookie_is_shut_out(void **state)
{
    struct shimbed *b = *state;
    own_fd int sock = -1;
    char c;

    shimbed_open(b, getuid(), false, false);
    b->cookie[31] ^= 1;
    sock = says_hello_in_vain(b);
    assert_int_equal(recv(sock, &c, 1, MSG_DONTWAIT), 0);
}

static void another_user_is_shut_out(void **state)
{
    struct shimbed *b = *state;
    own_fd int sock = -1;
    char c;

    shimbed_open(b, getuid() + 1, false, false);
    sock = says_hello_in_vain(b);
    assert_int_not_equal(recv(sock, &c, 1, MSG_DONTWAIT), 1);
}

static void a_caged_shim_must_be_pid_1_of_its_namespace(void **state)
{
    struct shimbed *b = *state;

    shimbed_open(b, getuid(), true, false);
    close(says_hello_in_vain(b));
}

static void only_one_shim_is_taken(void **state)
{
    own_fd int first = -1, second = -1;
    struct shimbed *b = greeted(state, &first, SHIM_WAITING);

    second = fake_connect(b);
    fake_hello(b, second, SHIM_WAITING);
    shimbed_turn(b, 50);
    assert_int_equal(b->hellos, 1);
    close(own_fd_give(&first));
    shimbed_until(b, &b->losts, 1);
    shimbed_until(b, &b->hellos, 2);
}

static void silent_connections_do_not_keep_the_shim_out(void **state)
{
    struct shimbed *b = *state;
    int crowd[3 * SHIMLINK_PENDING_MAX];
    own_fd int sock = -1;

    shimbed_open(b, getuid(), false, false);
    for (size_t i = 0; i < sizeof(crowd) / sizeof(crowd[0]); i++) {
        crowd[i] = fake_connect(b);
        shimbed_turn(b, 1);
    }
    sock = fake_connect(b);
    fake_hello(b, sock, SHIM_WAITING);
    shimbed_until(b, &b->hellos, 1);
    for (size_t i = 0; i < sizeof(crowd) / sizeof(crowd[0]); i++)
        close(crowd[i]);
}

static void a_terminal_comes_through_non_blocking(void **state)
{
    own_fd int sock = -1, master = open_master();
    struct shimbed *b = greeted(state, &sock, SHIM_RUNNING);

    fake_send(sock, started_msg, sizeof(started_msg), master, 1);
    shimbed_until(b, &b->starteds, 1);
    assert_true(fcntl(b->master_fd, F_GETFL) & O_NONBLOCK);
    assert_true(fcntl(b->master_fd, F_GETFD) & FD_CLOEXEC);
    fake_send(sock, exited_msg, sizeof(exited_msg), -1, 0);
    shimbed_until(b, &b->exiteds, 1);
    assert_int_equal(b->kind, SHIM_END_CODE);
    assert_int_equal(b->value, 7);
    fake_send(sock, stopping_msg, sizeof(stopping_msg), -1, 0);
    shimbed_until(b, &b->stoppings, 1);
}

/* The kernel's own kind, and one that is none. */
static void an_end_for_want_of_memory_is_a_kind_of_its_own(void **state)
{
    uint8_t killed[] = {0, 0, 0, 6, SHIM_EXITED, SHIM_END_MEMORY, 0, 0, 0, 9};
    own_fd int sock = -1, master = open_master();
    struct shimbed *b = greeted(state, &sock, SHIM_RUNNING);
    struct shimlink_message m;
    struct err e = {0};
    size_t used;

    fake_send(sock, started_msg, sizeof(started_msg), master, 1);
    fake_send(sock, killed, sizeof(killed), -1, 0);
    shimbed_until(b, &b->exiteds, 1);
    assert_int_equal(b->kind, SHIM_END_MEMORY);
    assert_int_equal(b->value, 9);
    killed[5] = SHIM_END_MEMORY + 1;
    assert_int_equal(shimlink_parse(killed, sizeof(killed), &m, &used, &e), -1);
    killed[5] = SHIM_END_MEMORY;
    killed[9] = 65;
    assert_int_equal(shimlink_parse(killed, sizeof(killed), &m, &used, &e), -1);
}

static void hello_and_terminal_may_arrive_in_one_read(void **state)
{
    struct shimbed *b = *state;
    own_fd int sock = -1, master = open_master();

    shimbed_open(b, getuid(), false, false);
    sock = fake_connect(b);
    fake_hello(b, sock, SHIM_RUNNING);
    fake_send(sock, started_msg, sizeof(started_msg), master, 1);
    shimbed_until(b, &b->hellos, 1);
    shimbed_until(b, &b->starteds, 1);
}

static int tcp_socket(bool is_listening)
{
    struct sockaddr_in at = {.sin_family = AF_INET,
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof(at)), 0);
    if (is_listening)
        assert_int_equal(listen(fd, 1), 0);
    return fd;
}

static const uint8_t listener_msg[] = {0, 0, 0, 3, SHIM_LISTENER, 12, 0x38};

/* Each with its own descriptor, however they are read. */
static void a_listener_and_a_terminal_come_through(void **state)
{
    own_fd int sock = -1, master = open_master(), fd = tcp_socket(true);
    struct shimbed *b = greeted(state, &sock, SHIM_RUNNING);

    fake_send(sock, listener_msg, sizeof(listener_msg), fd, 1);
    fake_send(sock, started_msg, sizeof(started_msg), master, 1);
    shimbed_until(b, &b->starteds, 1);
    assert_int_equal(b->listeners, 1);
    assert_int_equal(b->port, SHIM_PROXY_PORT);
    assert_int_equal(b->run.pid, 2);
    assert_int_equal(b->run.held, SHIM_LAYER_CALLS | SHIM_LAYER_FILES);
    assert_int_equal(b->run.landlock, 7);
    assert_int_equal(b->losts, 0);
    assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
}

/* Everything a hostile shim may try ends the link and leaks nothing. */
static void expect_breach(void **state, uint8_t shim_state, const void *bytes,
                          size_t len, int fd, int count)
{
    own_fd int sock = -1;
    struct shimbed *b = greeted(state, &sock, shim_state);
    int before = count_fds();

    fake_send(sock, bytes, len, fd, count);
    shimbed_until(b, &b->losts, 1);
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

static void what_does_not_listen_is_no_listener(void **state)
{
    own_fd int fd = tcp_socket(false);

    expect_breach(state, SHIM_RUNNING, listener_msg, sizeof(listener_msg), fd,
                  1);
}

static void a_listener_of_another_kind_is_none(void **state)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    own_fd int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof(sa_family_t)), 0);
    assert_int_equal(listen(fd, 1), 0);
    expect_breach(state, SHIM_RUNNING, listener_msg, sizeof(listener_msg), fd,
                  1);
}

static void a_listener_before_start_is_a_breach(void **state)
{
    own_fd int fd = tcp_socket(true);

    expect_breach(state, SHIM_WAITING, listener_msg, sizeof(listener_msg), fd,
                  1);
}

static void a_listener_without_a_descriptor_is_a_breach(void **state)
{
    expect_breach(state, SHIM_RUNNING, listener_msg, sizeof(listener_msg), -1,
                  0);
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
    struct shimbed *b = greeted(state, &sock, SHIM_WAITING);

    fake_hello(b, sock, SHIM_WAITING);
    shimbed_until(b, &b->losts, 1);
    assert_int_equal(b->hellos, 1);
}

static void the_terminal_comes_once_a_connection(void **state)
{
    own_fd int sock = -1, master = open_master();
    struct shimbed *b = greeted(state, &sock, SHIM_RUNNING);

    fake_send(sock, started_msg, sizeof(started_msg), master, 1);
    shimbed_until(b, &b->starteds, 1);
    fake_send(sock, started_msg, sizeof(started_msg), master, 1);
    shimbed_until(b, &b->losts, 1);
    assert_int_equal(b->starteds, 1);
}

static void a_shim_that_does_not_read_is_dropped(void **state)
{
    own_fd int sock = -1;
    struct shimbed *b = greeted(state, &sock, SHIM_RUNNING);
    struct err e = {0};
    int sent = 0;

    while (shimlink_signal(b->link, SIGINT, &e) == 0)
        assert_true(++sent < 1000000);
    assert_int_equal(e.kind, ERR_PEER);
    shimbed_until(b, &b->losts, 1);
}

static void nothing_can_be_said_without_a_shim(void **state)
{
    struct shimbed *b = *state;
    static const char *const argv[] = {"x", NULL}, *const none[] = {NULL};
    struct shimlink_start st = {
        .cols = 80, .rows = 24, .cwd = "/", .argv = argv, .env = none};
    struct err e = {0};

    shimbed_open(b, getuid(), false, false);
    assert_int_equal(shimlink_start(b->link, &st, &e), -1);
    assert_int_equal(e.kind, ERR_PEER);
    assert_int_equal(shimlink_signal(b->link, SIGINT, &e), -1);
    assert_int_equal(shimlink_leave(b->link, 0, &e), -1);
}

static void a_start_that_does_not_fit_is_refused_here(void **state)
{
    own_fd int sock = -1;
    struct shimbed *b = greeted(state, &sock, SHIM_WAITING);
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
    struct shimbed *b = *state;
    struct shimlink_conf conf = {.ipc_dir = "/nowhere/at/all",
                                 .cookie = b->cookie,
                                 .verbs = &shimbed_verbs};
    struct err e = {0};

    assert_null(shimlink_new(b->loop, &conf, &e));
    assert_non_null(strstr(e.text, "/nowhere/at/all"));
}

static void a_long_path_is_no_hindrance(void **state)
{
    struct shimbed *b = *state;
    char *deep = mem_str(b->dir);
    struct shimlink_conf conf = {
        .cookie = b->cookie, .verbs = &shimbed_verbs, .arg = b};
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

#define T(name)                                                                \
    cmocka_unit_test_setup_teardown(name, shimbed_setup, shimbed_teardown)

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
        T(an_end_for_want_of_memory_is_a_kind_of_its_own),
        T(hello_and_terminal_may_arrive_in_one_read),
        T(a_listener_and_a_terminal_come_through),
        T(what_does_not_listen_is_no_listener),
        T(a_listener_of_another_kind_is_none),
        T(a_listener_before_start_is_a_breach),
        T(a_listener_without_a_descriptor_is_a_breach),
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
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
