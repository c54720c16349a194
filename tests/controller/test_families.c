/*
 * The controller on a socket of both families: who comes by IPv4 and who comes
 * by IPv6 gets in, and is the same to every judgement of addresses.
 */
#include "base/addr.h"
#include "base/mem.h"
#include "base/own.h"
#include "tests/lib/ports.h"
#include "tests/lib/programs.h"
#include "tests/lib/rest.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <cmocka.h>

#define SAID_MAX 65536

static char *dir;

static int setup(void **state)
{
    (void)state;
    dir = scratch_new();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    scratch_remove(dir);
    return 0;
}

static void start_controller(struct rest_server *s, const char *listen)
{
    own_mem char *state = mem_printf("%s/state", dir);
    own_mem char *uids = mem_printf("%ld", rest_uids());
    static char said[SAID_MAX];
    const char *const args[] = {"--oidc-issuer",
                                "https://issuer.example",
                                "--oidc-audience",
                                "podterm",
                                "--oidc-jwks-url",
                                "https://127.0.0.1:1/keys",
                                "--listen",
                                listen,
                                "--state-dir",
                                state,
                                "--attach-url",
                                "wss://g.example/v1/attach",
                                "--uid-first",
                                uids,
                                NULL};

    if (!rest_start(s, args, said, sizeof said))
        fail_msg("the controller did not start: %s", said);
}

/* The status of GET path at an address, asked without a proxy's header. */
static int status_at(const char *ip, int port, const char *path)
{
    own_mem char *to = mem_printf("%s:%d", ip, port);
    own_mem char *ask = mem_printf("GET %s HTTP/1.1\r\nHost: h\r\n"
                                   "Connection: close\r\n\r\n",
                                   path);
    const struct timeval wait = {.tv_sec = 20};
    struct sockaddr_storage sa;
    struct err e = {0};
    char head[64] = "";
    own_fd int fd = -1;

    assert_int_equal(addr_parse(to, &sa, &e), 0);
    fd = socket(sa.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait);
    if (connect(fd, (struct sockaddr *)&sa, addr_len(&sa)) < 0)
        return 0;
    assert_int_equal(send(fd, ask, strlen(ask), MSG_NOSIGNAL), strlen(ask));
    if (recv(fd, head, sizeof head - 1, MSG_WAITALL) < 13)
        return 0;
    return atoi(head + strlen("HTTP/1.1 "));
}

static void ipv4_and_ipv6_get_in_and_are_of_this_machine(void **state)
{
    static const char *const ips[] = {"127.0.0.1", "127.0.0.2", "[::1]"};
    struct rest_server s;

    (void)state;
    ports_need_ipv6();
    start_controller(&s, "[::]:0");
    for (size_t i = 0; i < sizeof ips / sizeof *ips; i++) {
        assert_int_equal(status_at(ips[i], s.port, "/livez"), 200);
        assert_int_equal(status_at(ips[i], s.port, "/api/sessions"), 401);
        /* on the public listener for loopback's peers alone */
        assert_int_equal(status_at(ips[i], s.port, "/metrics"), 200);
    }
    rest_stop(&s, SIGTERM);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            ipv4_and_ipv6_get_in_and_are_of_this_machine, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
