/*
 * Listening sockets. (Errors and their sentences: test_ws.c.) The linker lets
 * the test play a kernel without IPv6.
 */
// link: -Wl,--wrap=socket
#include "base/addr.h"
#include "base/ws.h"
#include "tests/lib/ports.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

static bool is_without_ipv6;

int __real_socket(int domain, int type, int protocol);
int __wrap_socket(int domain, int type, int protocol);

int __wrap_socket(int domain, int type, int protocol)
{
    if (is_without_ipv6 && domain == AF_INET6) {
        errno = EAFNOSUPPORT;
        return -1;
    }
    return __real_socket(domain, type, protocol);
}

static int listen_on(const char *at, bool reuse)
{
    struct err e = {0};
    const int fd = listen_tcp(at, reuse, &e);

    if (fd < 0)
        fail_msg("%s: %s", at, e.text);
    return fd;
}

/* 0, or the errno of a connection to ip at the port fd listens on. */
static int dial(int listen_fd, const char *ip, int *port)
{
    char name[ADDR_TEXT_MAX], text[ADDR_TEXT_MAX];
    struct sockaddr_storage to;
    struct err e = {0};
    int fd, r;

    assert_int_equal(listen_name(listen_fd, name, sizeof(name)), 0);
    *port = atoi(strrchr(name, ':') + 1);
    snprintf(text, sizeof(text), "%s:%d", ip, *port);
    assert_int_equal(addr_parse(text, &to, &e), 0);
    fd = socket(to.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return errno;
    r = connect(fd, (struct sockaddr *)&to, addr_len(&to)) < 0 ? errno : 0;
    close(fd);
    return r;
}

static void an_address_means_what_it_says(void **state)
{
    int port, four = listen_on("127.0.0.1:0", false);
    struct err e = {0};
    int six = listen_tcp("[::1]:0", false, &e);

    (void)state;
    assert_int_equal(dial(four, "127.0.0.1", &port), 0);
    assert_int_equal(dial(four, "127.0.0.2", &port), ECONNREFUSED);
    close(four);
    if (six < 0) /* a machine without IPv6 */
        skip();
    assert_int_equal(dial(six, "127.0.0.1", &port), ECONNREFUSED);
    assert_int_equal(dial(six, "[::1]", &port), 0);
    close(six);
    /* nor is IPv4 to be had by another name */
    assert_int_equal(listen_tcp("[::ffff:127.0.0.1]:0", false, &e), -1);
    assert_int_equal(listen_tcp("[::ffff:0.0.0.0]:0", false, &e), -1);
}

/* The name as it was asked for, or as the kernel let it be. */
static void is_named(int fd, const char *start)
{
    char name[ADDR_TEXT_MAX];

    assert_int_equal(listen_name(fd, name, sizeof(name)), 0);
    assert_int_equal(strncmp(name, start, strlen(start)), 0);
}

static void the_wildcard_of_ipv6_is_every_address(void **state)
{
    int port, fd;

    (void)state;
    ports_need_ipv6();
    fd = listen_on("[::]:0", false);
    is_named(fd, "[::]:");
    assert_int_equal(dial(fd, "[::1]", &port), 0);
    assert_int_equal(dial(fd, "127.0.0.1", &port), 0);
    assert_int_equal(dial(fd, "127.0.0.2", &port), 0);
    close(fd);
}

static void without_ipv6_the_wildcard_is_every_address_of_ipv4(void **state)
{
    struct err e = {0};
    int port, fd;

    (void)state;
    is_without_ipv6 = true;
    fd = listen_on("[::]:0", false);
    is_named(fd, "0.0.0.0:");
    assert_int_equal(dial(fd, "127.0.0.1", &port), 0);
    close(fd);
    /* what names one address is not another */
    assert_int_equal(listen_tcp("[::1]:0", false, &e), -1);
    assert_int_equal(e.kind, ERR_SYSTEM);
    is_without_ipv6 = false;
}

static void a_port_is_shared_by_those_who_ask_for_it_alone(void **state)
{
    struct err e = {0};
    char name[64];
    int one = listen_on("127.0.0.1:0", true), two;

    (void)state;
    assert_int_equal(listen_name(one, name, sizeof(name)), 0);
    two = listen_on(name, true);
    assert_int_equal(listen_tcp(name, false, &e), -1);
    assert_non_null(strstr(e.text, "in use"));
    close(one);
    close(two);
    one = listen_on("127.0.0.1:0", false);
    assert_int_equal(listen_name(one, name, sizeof(name)), 0);
    assert_int_equal(listen_tcp(name, true, &e), -1);
    close(one);
}

static void a_port_is_free_again_at_once(void **state)
{
    char name[64];
    int port, fd = listen_on("127.0.0.1:0", false);
    int peer;

    (void)state;
    assert_int_equal(listen_name(fd, name, sizeof(name)), 0);
    assert_int_equal(dial(fd, "127.0.0.1", &port), 0);
    peer = accept4(fd, NULL, NULL, SOCK_CLOEXEC);
    assert_true(peer >= 0);
    close(peer); /* lingers in TIME_WAIT */
    close(fd);
    fd = listen_on(name, false);
    close(fd);
}

static void names_fit_or_are_refused(void **state)
{
    int fd = listen_on("127.0.0.1:0", false), pipes[2];
    char name[64], small[8];

    (void)state;
    assert_int_equal(listen_name(fd, name, sizeof(name)), 0);
    assert_int_equal(strncmp(name, "127.0.0.1:", 10), 0);
    assert_int_equal(listen_name(fd, small, sizeof(small)), -1);
    assert_int_equal(pipe(pipes), 0);
    assert_int_equal(listen_name(pipes[0], name, sizeof(name)), -1);
    close(pipes[0]);
    close(pipes[1]);
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_address_means_what_it_says),
        cmocka_unit_test(the_wildcard_of_ipv6_is_every_address),
        cmocka_unit_test(without_ipv6_the_wildcard_is_every_address_of_ipv4),
        cmocka_unit_test(a_port_is_shared_by_those_who_ask_for_it_alone),
        cmocka_unit_test(a_port_is_free_again_at_once),
        cmocka_unit_test(names_fit_or_are_refused),
    };

    return cmocka_run_group_tests_name("base/ws_listen", tests, NULL, NULL);
}
