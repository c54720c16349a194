#include "tests/lib/ports.h"

#include "base/own.h"
#include "tests/lib/skipped.h"

#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/socket.h>

#include <cmocka.h>

/* below what a kernel gives out by itself (ip_local_port_range) */
#define PORT_MIN 10000
#define PORT_MAX 32767
#define TRIES 200

int port_free(void)
{
    for (int i = 0; i < TRIES; i++) {
        struct sockaddr_in sa = {.sin_family = AF_INET,
                                 .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        own_fd int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        uint16_t n;
        int port;

        assert_true(fd >= 0);
        assert_int_equal(getrandom(&n, sizeof(n), 0), sizeof(n));
        port = PORT_MIN + n % (PORT_MAX - PORT_MIN + 1);
        sa.sin_port = htons((uint16_t)port);
        if (bind(fd, (struct sockaddr *)&sa, sizeof(sa)) == 0)
            return port;
    }
    fail_msg("no port of %d to %d is free", PORT_MIN, PORT_MAX);
    return 0;
}

void ports_need_ipv6(void)
{
    struct sockaddr_in6 sa = {.sin6_family = AF_INET6,
                              .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    own_fd int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0 || bind(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0)
        skipped("it needs IPv6 on loopback");
}
