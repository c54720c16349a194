/*
 * One address without an identity cannot lock the others out: the attack
 * carried out, and who is who behind proxies.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/mem.h"
#include "base/own.h"
#include "tests/lib/api.h"
#include "tests/lib/fake_keeper.h"

#include <arpa/inet.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define ATTACKERS 1040  /* more than the server has places */
#define AT_ONCE_MS 3000 /* far below any deadline */
#define ME "127.0.0.1"
#define OTHER "127.0.0.2"
#define BEARER "Authorization: Bearer x\r\n"

static struct api api;
static int held[ATTACKERS];
static int held_count;

static int64_t now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * INT64_C(1000) + t.tv_nsec / 1000000;
}

/* A connection from an address, with a request said; -1 = refused. */
static int say(const char *from, const char *method, const char *path,
               const char *headers)
{
    struct sockaddr_in self = {.sin_family = AF_INET,
                               .sin_addr.s_addr = inet_addr(from)};
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)api.server.port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct timeval wait = {.tv_sec = 20};
    own_fd int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    own_mem char *text =
        mem_printf("%s %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n%s\r\n", method,
                   path, api.server.port, headers);

    if (fd < 0)
        fail_msg("no descriptor left");
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait);
    if (bind(fd, (struct sockaddr *)&self, sizeof self) < 0 ||
        connect(fd, (struct sockaddr *)&to, sizeof to) < 0 ||
        send(fd, text, strlen(text), MSG_NOSIGNAL) < 0)
        return -1;
    return own_fd_give(&fd);
}

/* The status of the answer; 0 = none came. */
static int status_of(const char *from, const char *method, const char *path,
                     const char *headers)
{
    own_fd int fd = say(from, method, path, headers);
    char text[64] = "";
    int status = 0;

    if (fd < 0 || recv(fd, text, sizeof text - 1, MSG_WAITALL) <= 0)
        return 0;
    sscanf(text, "HTTP/1.1 %d", &status);
    return status;
}

static void hold(const char *from, const char *headers, int count)
{
    own_mem char *all = mem_printf("%sContent-Length: 10\r\n", headers);

    for (int i = 0; i < count; i++)
        held[held_count++] = say(from, "POST", "/api/sessions", all);
    nanosleep(&(struct timespec){.tv_nsec = 100000000}, NULL);
}

static void start(const char *const *extra)
{
    struct rlimit r;

    getrlimit(RLIMIT_NOFILE, &r);
    r.rlim_cur = r.rlim_max;
    setrlimit(RLIMIT_NOFILE, &r);
    api_start(&api, extra);
}

static int finish(void **state)
{
    (void)state;
    for (; held_count; held_count--)
        if (held[held_count - 1] >= 0)
            close(held[held_count - 1]);
    api_finish(&api);
    memset(&api, 0, sizeof api);
    return 0;
}

/* What each of them must get at once, whatever is held. */
static void expect_served(const char *from)
{
    const int64_t before = now_ms();

    assert_int_equal(status_of(from, "GET", "/livez", ""), 200);
    assert_in_range(now_ms() - before, 0, AT_ONCE_MS);
}

static void bodies_that_never_come_lock_nobody_out(void **state)
{
    (void)state;
    start(NULL);
    hold(ME, BEARER, ATTACKERS);
    expect_served(OTHER);
    expect_served(ME);
}

static void nor_do_they_without_a_share_for_each_address(void **state)
{
    static const char *const extra[] = {"--conns-per-address", "0", NULL};

    (void)state;
    start(extra);
    hold(ME, BEARER, ATTACKERS);
    expect_served(OTHER);
    expect_served(ME);
}

static void without_an_identity_no_body_is_waited_for(void **state)
{
    const int64_t before = now_ms();

    (void)state;
    start(NULL);
    assert_int_equal(
        status_of(ME, "POST", "/api/sessions", "Content-Length: 100000\r\n"),
        401);
    assert_int_equal(
        status_of(ME, "POST", "/nothing", "Content-Length: 100000\r\n"), 404);
    assert_int_equal(status_of(ME, "POST", "/api/sessions",
                               BEARER "Content-Length: 200000\r\n"),
                     413);
    assert_in_range(now_ms() - before, 0, AT_ONCE_MS);
}

static void only_trusted_proxies_say_who_the_client_is(void **state)
{
    static const char *const extra[] = {"--trusted-proxies",
                                        "127.0.0.1/32",
                                        "--proxy-hops",
                                        "2",
                                        "--conns-per-address",
                                        "2",
                                        NULL};
    const char *one = "X-Forwarded-For: 192.0.2.1, 10.0.0.1\r\n";
    const char *two = "X-Forwarded-For: 192.0.2.2, 10.0.0.1\r\n";

    (void)state;
    start(extra);
    hold(ME, BEARER "X-Forwarded-For: 192.0.2.1, 10.0.0.1\r\n", 2);
    assert_int_equal(status_of(ME, "GET", "/livez", one), 429);
    assert_int_equal(status_of(ME, "GET", "/livez", two), 200);
    assert_int_equal(status_of(ME, "GET", "/livez", ""), 200);
    /* a stranger is itself, whatever it says */
    assert_int_equal(status_of(OTHER, "GET", "/livez", one), 200);
    hold(OTHER, BEARER "X-Forwarded-For: 192.0.2.3, 10.0.0.1\r\n", 2);
    assert_int_equal(status_of(ME, "GET", "/livez",
                               "X-Forwarded-For: 192.0.2.3, 10.0.0.1\r\n"),
                     200);
}

/* On the public listener they are this machine's own, and not what a proxy on
 * it lets in. */
static void metrics_are_not_for_everybody(void **state)
{
    const char *by_proxy = "X-Forwarded-For: 192.0.2.1\r\n";

    (void)state;
    start(NULL);
    assert_int_equal(status_of(ME, "GET", "/metrics", ""), 200);
    assert_int_equal(status_of(ME, "GET", "/metrics", by_proxy), 404);
    assert_int_equal(status_of(ME, "GET", "/readyz", by_proxy), 200);
    assert_int_equal(status_of(ME, "POST", "/metrics", "Content-Length: 1\r\n"),
                     405);
}

/* Every answer is what the API's description says, also that one. */
static void too_many_of_one_address_is_a_problem_document(void **state)
{
    static const char *const extra[] = {"--trusted-proxies", "127.0.0.1/32",
                                        "--conns-per-address", "1", NULL};
    const char *from = "X-Forwarded-For: 192.0.2.1\r\n";

    (void)state;
    start(extra);
    hold(ME, BEARER "X-Forwarded-For: 192.0.2.1\r\n", 1);
    assert_int_equal(api_status(&api, "GET", "/api/sessions", NULL, from, NULL),
                     429);
}

#define TEST(f) cmocka_unit_test_teardown(f, finish)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(bodies_that_never_come_lock_nobody_out),
        TEST(nor_do_they_without_a_share_for_each_address),
        TEST(without_an_identity_no_body_is_waited_for),
        TEST(only_trusted_proxies_say_who_the_client_is),
        TEST(metrics_are_not_for_everybody),
        TEST(too_many_of_one_address_is_a_problem_document),
    };

    fake_keeper_maybe(argc, argv);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
