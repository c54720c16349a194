/* A leg's socket: what is set on it. The rest of legs: test_relay. */
#include "gateway/leg.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

/* Accepted and dialled sockets alike become legs by leg_open. */
static void no_packet_of_a_leg_waits_to_be_filled(void **state)
{
    int epoll_fd = epoll_create1(EPOLL_CLOEXEC), is_set = 0;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    socklen_t len = sizeof(is_set);
    struct leg leg;

    (void)state;
    leg_init(&leg, SOURCE_CLIENT);
    assert_int_equal(leg_open(&leg, epoll_fd, fd, 1), 0);
    assert_int_equal(getsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &is_set, &len),
                     0);
    assert_int_not_equal(is_set, 0);
    leg_close(&leg, false);
    close(epoll_fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_packet_of_a_leg_waits_to_be_filled),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
