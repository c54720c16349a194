/* The health port against peers that mean it no good. */
// link: -Wl,--wrap=recv
#include "agent/health.h"

#include "base/mem.h"
#include "base/own.h"
#include "base/ws.h"
#include "tests/lib/peer.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define PATIENCE_MS 5000
#define ANSWER                                                                 \
    "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"                          \
    "Content-Length: 3\r\nConnection: close\r\n\r\nok\n"

static struct loop *loop;
static struct health *health;
static int port;

/* What the responder itself read: the peers' own reads are larger. */
static size_t read_most;
static int reads;

ssize_t __real_recv(int fd, void *out, size_t len, int flags);
ssize_t __wrap_recv(int fd, void *out, size_t len, int flags);
ssize_t __wrap_recv(int fd, void *out, size_t len, int flags)
{
    if (len <= HEALTH_READ_MAX) {
        reads++;
        if (len > read_most)
            read_most = len;
    }
    return __real_recv(fd, out, len, flags);
}

static int setup(void **arg)
{
    struct sockaddr_in at;
    socklen_t len = sizeof(at);
    struct err e = {0};
    int fd = listen_tcp("127.0.0.1:0", false, &e);

    (void)arg;
    assert_true(fd >= 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &len), 0);
    port = ntohs(at.sin_port);
    loop = loop_new();
    health = health_start(loop, fd);
    reads = 0;
    read_most = 0;
    return 0;
}

static int teardown(void **arg)
{
    (void)arg;
    health_stop(health);
    loop_free(loop);
    return 0;
}

static int count_fds(void)
{
    int n = 0;

    for (int i = 0; i < 256; i++)
        n += fcntl(i, F_GETFD) >= 0;
    return n;
}

static void answers(const void *bytes, size_t len)
{
    struct peer *p = peer_dial(loop, port);

    peer_send(p, bytes, len);
    assert_true(peer_wait_closed(p, PATIENCE_MS));
    assert_false(p->is_reset);
    assert_string_equal(p->in, ANSWER);
    peer_free(p);
}

static void whatever_is_asked_the_answer_is_the_same(void **arg)
{
    static const char *const asked[] = {
        "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /../../etc/passwd HTTP/1.1\r\n\r\n",
        "POST / HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n",
        "\x16\x03\x01\x02\x00\x01\x00\x01\xfc",
        "%n%n%n%s",
        "x"};
    static uint8_t most[HEALTH_READ_MAX];

    (void)arg;
    for (size_t i = 0; i < sizeof(asked) / sizeof(asked[0]); i++)
        answers(asked[i], strlen(asked[i]));
    answers("\0", 1);
    memset(most, 0xff, sizeof(most));
    answers(most, sizeof(most));
}

static bool was_read(void *arg)
{
    (void)arg;
    return reads > 0;
}

static void no_more_than_its_share_is_read(void **arg)
{
    int before = count_fds();
    struct peer *p = peer_dial(loop, port);
    static uint8_t flood[1 << 20];

    (void)arg;
    peer_send(p, flood, sizeof(flood));
    assert_true(run_until(loop, was_read, NULL, PATIENCE_MS));
    run_for(loop, 20);
    assert_int_equal(reads, 1);
    assert_int_equal(read_most, HEALTH_READ_MAX);
    assert_int_equal(count_fds(), before + 1); /* the peer's own end */
    peer_free(p);
    answers("GET", 3);
}

static void a_silent_peer_is_closed_without_a_word(void **arg)
{
    struct peer *p = peer_dial(loop, port);

    (void)arg;
    run_for(loop, HEALTH_WAIT_MS / 2);
    assert_false(p->is_closed);
    assert_true(peer_wait_closed(p, PATIENCE_MS));
    assert_int_equal(p->len, 0);
    peer_free(p);
}

static void a_slow_peer_is_answered_at_its_first_byte(void **arg)
{
    struct peer *p = peer_dial(loop, port);

    (void)arg;
    run_for(loop, 300);
    peer_say(p, "G");
    assert_true(peer_wait(p, ANSWER, PATIENCE_MS));
    assert_true(peer_wait_closed(p, PATIENCE_MS));
    peer_free(p);
}

static void idle_connections_do_not_exhaust_it(void **arg)
{
    struct peer *crowd[5 * HEALTH_CONNS];
    const int count = sizeof(crowd) / sizeof(crowd[0]);
    int before = count_fds(), open;

    (void)arg;
    for (int i = 0; i < count; i++) {
        crowd[i] = peer_dial(loop, port);
        run_for(loop, 2);
    }
    open = count_fds() - before - count; /* at the responder's end */
    assert_true(open <= HEALTH_CONNS);
    answers("GET", 3);
    for (int i = 0; i < count; i++)
        peer_free(crowd[i]);
    run_for(loop, 20);
    assert_int_equal(count_fds(), before);
}

static void the_oldest_question_gives_way(void **arg)
{
    struct peer *first = peer_dial(loop, port), *mine;
    struct peer *crowd[2 * HEALTH_CONNS];
    int n = 0;

    (void)arg;
    for (; n < HEALTH_CONNS - 1; n++) {
        crowd[n] = peer_dial(loop, port);
        run_for(loop, 5);
    }
    assert_false(first->is_closed);
    mine = peer_dial(loop, port);
    assert_true(peer_wait_closed(first, PATIENCE_MS));
    /* a flood that goes on does not take the place of who came last */
    for (int i = 0; i < HEALTH_CONNS - 1; i++, n++) {
        crowd[n] = peer_dial(loop, port);
        run_for(loop, 5);
    }
    assert_false(mine->is_closed);
    peer_say(mine, "GET");
    assert_true(peer_wait(mine, ANSWER, PATIENCE_MS));
    peer_free(first);
    peer_free(mine);
    while (n > 0)
        peer_free(crowd[--n]);
}

static void peers_that_go_at_once_leave_nothing(void **arg)
{
    int before = count_fds();

    (void)arg;
    for (int i = 0; i < 50; i++) {
        struct linger hard = {.l_onoff = 1};
        struct peer *p = peer_dial(loop, port);

        if (i & 1) /* a reset instead of a polite end */
            setsockopt(p->fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
        if (i & 2)
            peer_say(p, "GET");
        peer_free(p);
    }
    run_for(loop, 100);
    assert_int_equal(count_fds(), before);
    answers("GET", 3);
}

static void stopping_closes_all(void **arg)
{
    int before = count_fds();
    struct peer *p = peer_dial(loop, port);

    (void)arg;
    run_for(loop, 20);
    health_stop(health);
    health = NULL;
    assert_true(peer_wait_closed(p, PATIENCE_MS));
    peer_free(p);
    run_for(loop, 5);
    assert_int_equal(count_fds(), before - 1); /* the listener too */
    health_stop(NULL);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(whatever_is_asked_the_answer_is_the_same),
        T(no_more_than_its_share_is_read),
        T(a_silent_peer_is_closed_without_a_word),
        T(a_slow_peer_is_answered_at_its_first_byte),
        T(idle_connections_do_not_exhaust_it),
        T(the_oldest_question_gives_way),
        T(peers_that_go_at_once_leave_nothing),
        T(stopping_closes_all),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
