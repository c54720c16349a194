/*
 * The loop, batch by batch: who is dropped in the middle of one, and whose
 * turn comes when some flood and some type. The loop runs on the test's own
 * thread; the linker lets the test stand in at epoll_wait, where it plays
 * all peers, so that nothing here depends on time.
 */
// link: -Wl,--wrap=epoll_wait -Wl,--wrap=leg_event
// link: -Wl,--wrap=pair_turn -Wl,--wrap=free
#include "gateway/server.h"

#include "base/log.h"
#include "base/ws.h"
#include "gateway/relay.h"
#include "gateway/wsframe.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define LONG_MS 3600000
#define FLOODS 8
#define TYPISTS 16
#define WARM_ROUNDS 100 /* until it is known who floods */
#define KEYS 50         /* one after the other */
#define ROUNDS 800
/* bytes of a flood's frame, and of a key's there and back */
#define FRAME (16384 + 4)
#define KEY_UP 7
#define KEY_DOWN 3

static struct gateway gw;

/* What the test does in each round: before, play the peers (false = the
 * last round); after, see and put in order what the kernel told. */
static bool (*play)(void);
static void (*arrange)(struct epoll_event *events, int n);

static int round_no;
static struct pair *watched; /* the pair that is dropped */
static bool is_freed;
static int late_events, late_turns; /* of watched, once it was dropped */

int __real_epoll_wait(int fd, struct epoll_event *ev, int max, int ms);
int __wrap_epoll_wait(int fd, struct epoll_event *ev, int max, int ms);
void __real_leg_event(struct leg *l, uint32_t events);
void __wrap_leg_event(struct leg *l, uint32_t events);
bool __real_pair_turn(struct pair *p);
bool __wrap_pair_turn(struct pair *p);
void __real_free(void *p);
void __wrap_free(void *p);

int __wrap_epoll_wait(int fd, struct epoll_event *ev, int max, int ms)
{
    int n;

    (void)ms; /* the peers have had their turn */
    gw.is_over = !play();
    n = __real_epoll_wait(fd, ev, max, 0);
    if (arrange)
        arrange(ev, n);
    return n;
}

static void expect_alive(void)
{
    if (is_freed)
        fail_msg("it was freed while the batch still knew of it");
}

void __wrap_leg_event(struct leg *l, uint32_t events)
{
    if (watched && (l == &watched->client || l == &watched->agent)) {
        expect_alive();
        late_events += watched->phase == SESSION_DEAD;
    }
    __real_leg_event(l, events);
}

bool __wrap_pair_turn(struct pair *p)
{
    if (p == watched) {
        expect_alive();
        late_turns += watched->phase == SESSION_DEAD;
    }
    return __real_pair_turn(p);
}

void __wrap_free(void *p)
{
    is_freed |= p && p == watched;
    __real_free(p);
}

static int setup(void **state)
{
    static const uint8_t seed[16];
    struct err e;

    (void)state;
    log_init("gateway", "error");
    signal(SIGPIPE, SIG_IGN); /* as the program does */
    memset(&gw, 0, sizeof gw);
    gw.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    gw.listen_fd = listen_tcp("127.0.0.1:0", false, &e);
    gw.metrics_fd = gw.signal_fd = -1;
    gw.is_chore_running = true; /* there are none */
    gw.set.hello_ms = gw.set.ping_ms = gw.set.agent_ping_ms = LONG_MS;
    gw.set.dead_ms = gw.set.half_close_ms = LONG_MS;
    gw.limits.unproven_max = gw.limits.unproven_addr_max = 1000;
    limits_init(&gw.limits, seed);
    wheel_init(&gw.wheel, gw.now_ms);
    play = NULL;
    arrange = NULL;
    watched = NULL;
    round_no = 0;
    is_freed = false;
    late_events = late_turns = 0;
    return gw.epoll_fd >= 0 && gw.listen_fd >= 0 ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    watched = NULL;
    server_stop(&gw);
    return 0;
}

/* --- who is dropped in a batch --- */

static int first, second, agent_end; /* clients; the far end of an agent leg */
static bool is_first_heard_first;

static int dial(void)
{
    struct sockaddr_storage at;
    socklen_t len = sizeof at;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    getsockname(gw.listen_fd, (struct sockaddr *)&at, &len);
    assert_int_equal(connect(fd, (struct sockaddr *)&at, len), 0);
    return fd;
}

/* A socket of the pair's agent leg; the far end is the caller's. */
static int give_agent(struct pair *p)
{
    int ends[2];

    assert_int_equal(socketpair(AF_UNIX,
                                SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0,
                                ends),
                     0);
    assert_int_equal(leg_open(&p->agent, gw.epoll_fd, ends[0], gw.now_ms), 0);
    return ends[1];
}

/* The first comes, and has an agent; then both speak, and a second comes,
 * for whom it must go. */
static bool crowd(void)
{
    switch (round_no++) {
    case 0:
        first = dial();
        return true;
    case 1:
        watched = gw.pairs;
        assert_non_null(watched);
        agent_end = give_agent(watched);
        return true; /* what is new at its socket is told apart */
    case 2:
        assert_int_equal(write(first, "G", 1), 1);
        assert_int_equal(write(agent_end, "H", 1), 1);
        second = dial();
        return true;
    default:
        return false;
    }
}

/* The events of that moment in the order that is asked for. */
static void put_in_order(struct epoll_event *ev, int n)
{
    struct epoll_event old[3];
    int from = is_first_heard_first ? 0 : 1, listener = -1;

    if (!second || is_freed)
        return;
    assert_int_equal(n, 3);
    memcpy(old, ev, sizeof old);
    for (int i = 0; i < 3; i++)
        if (old[i].data.ptr == &gw.listen_source)
            listener = i;
    assert_true(listener >= 0);
    ev[is_first_heard_first ? 2 : 0] = old[listener];
    for (int i = 0; i < 3; i++)
        if (i != listener)
            ev[from++] = old[i];
}

static void drop_in_a_batch(bool heard_first)
{
    struct epoll_event ev = {.events = EPOLLIN, .data.ptr = &gw.listen_source};

    gw.listen_source.kind = SOURCE_LISTENER;
    gw.limits.unproven_max = 1;
    assert_int_equal(epoll_ctl(gw.epoll_fd, EPOLL_CTL_ADD, gw.listen_fd, &ev),
                     0);
    fcntl(gw.listen_fd, F_SETFL, O_NONBLOCK);
    is_first_heard_first = heard_first;
    second = 0;
    play = crowd;
    arrange = put_in_order;
    assert_int_equal(server_run(&gw), EXIT_SUCCESS);
    assert_true(is_freed); /* in the end it is */
    assert_int_equal(gw.pair_count, 1);
    close(first);
    close(second);
    close(agent_end);
}

static void events_of_one_who_was_dropped_in_their_batch_find_it(void **state)
{
    (void)state;
    drop_in_a_batch(false);
    assert_int_equal(late_events, 2);
}

static void the_turn_of_one_who_was_dropped_meanwhile_finds_it(void **state)
{
    (void)state;
    drop_in_a_batch(true);
    assert_int_equal(late_events, 0);
    assert_int_equal(late_turns, 1);
}

/* --- whose turn it is --- */

struct flow { /* a session that is open, and both its peers */
    struct pair *pair;
    int client_fd, agent_fd;
    size_t sent;     /* of a flood: bytes of its frames written */
    size_t up, down; /* bytes its peers have got */
};

static struct flow floods[FLOODS], typists[TYPISTS];
static int last_round, typist_count;
static uint64_t between, most_between; /* bytes of floods */
static int keys_back;

static void flow_open(struct flow *f)
{
    static const struct sockaddr_storage peer = {.ss_family = AF_INET};
    int ends[2];
    struct pair *p;

    memset(f, 0, sizeof *f);
    assert_int_equal(socketpair(AF_UNIX,
                                SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0,
                                ends),
                     0);
    p = pair_new(&gw, ends[0], &peer, false);
    f->pair = p;
    f->client_fd = ends[1];
    f->agent_fd = give_agent(p);
    limits_leave(&gw.limits, &p->greeting->unproven);
    p->phase = SESSION_OPEN;
    relay_start(p);
    pair_arm(p);
}

static void flows_open(int typists_wanted)
{
    for (int i = 0; i < FLOODS; i++)
        flow_open(&floods[i]);
    for (int i = 0; i < typists_wanted; i++)
        flow_open(&typists[i]);
    typist_count = typists_wanted;
    keys_back = 0;
    between = most_between = 0;
}

static void flow_close(struct flow *f)
{
    close(f->client_fd);
    close(f->agent_fd);
}

static void flows_close(void)
{
    for (int i = 0; i < FLOODS; i++)
        flow_close(&floods[i]);
    for (int i = 0; i < typist_count; i++)
        flow_close(&typists[i]);
}

/* Everything that is there. */
static size_t drain(int fd)
{
    static char sink[65536];
    size_t all = 0;
    ssize_t n;

    while ((n = read(fd, sink, sizeof sink)) > 0)
        all += (size_t)n;
    return all;
}

/* The agent has more than goes in, and the client takes what comes. */
static void flood(struct flow *f)
{
    static const uint8_t frame[FRAME] = {0x82, 126, 16384 >> 8, 0};
    ssize_t n;

    f->down += drain(f->client_fd);
    f->up += drain(f->agent_fd);
    do {
        size_t at = f->sent % FRAME;

        n = write(f->agent_fd, frame + at, FRAME - at);
        f->sent += n > 0 ? (size_t)n : 0;
    } while (n > 0);
}

static void press(struct flow *f)
{
    static const uint8_t key[KEY_UP] = {0x82, 0x81, 1, 2, 3, 4, 'x'};

    assert_int_equal(write(f->client_fd, key, sizeof key), KEY_UP);
}

/* Each key that has come goes back. */
static void echo(struct flow *f)
{
    static const uint8_t key[KEY_DOWN] = {0x82, 1, 'x'};
    size_t keys = drain(f->agent_fd) / KEY_UP;

    f->up += keys;
    while (keys--)
        assert_int_equal(write(f->agent_fd, key, sizeof key), KEY_DOWN);
    f->down += drain(f->client_fd) / KEY_DOWN;
}

static uint64_t bytes_of_floods(void)
{
    uint64_t all = 0;

    for (int i = 0; i < FLOODS; i++)
        all += floods[i].pair->bytes_down;
    return all;
}

static void flood_all(void)
{
    for (int i = 0; i < FLOODS; i++)
        flood(&floods[i]);
}

/* One typist, who waits for each key's echo. */
static bool type_one_by_one(void)
{
    struct flow *t = &typists[0];
    size_t seen = t->down;

    flood_all();
    echo(t);
    if (round_no++ < WARM_ROUNDS)
        return true;
    if (t->down > seen) {
        uint64_t took = bytes_of_floods() - between;

        keys_back++;
        most_between = took > most_between ? took : most_between;
    }
    if (t->down > seen || round_no == WARM_ROUNDS + 1) {
        between = bytes_of_floods();
        press(t);
    }
    return keys_back < KEYS && round_no < ROUNDS;
}

static void an_echo_waits_for_few_turns_of_floods(void **state)
{
    (void)state;
    flows_open(1);
    play = type_one_by_one;
    server_run(&gw);
    assert_int_equal(keys_back, KEYS);
    /* the key is on its way in one round and its echo in the next */
    assert_in_range(most_between, 1,
                    2 * GATEWAY_BULK_TURNS * GATEWAY_TURN_FAIR);
    flows_close();
}

/* Each types in every round, whatever has come back. */
static bool type_without_pause(void)
{
    flood_all();
    for (int i = 0; i < typist_count; i++) {
        echo(&typists[i]);
        press(&typists[i]);
    }
    return round_no++ < last_round;
}

static void run_on(int rounds)
{
    round_no = 0;
    last_round = rounds;
    gw.is_over = false;
    server_run(&gw);
}

static void floods_go_on_beside_those_who_type_without_pause(void **state)
{
    const size_t share =
        ROUNDS * GATEWAY_BULK_TURNS / FLOODS * (size_t)GATEWAY_BULK_BYTES;
    uint64_t before[FLOODS], least = UINT64_MAX, most = 0;

    (void)state;
    flows_open(TYPISTS);
    play = type_without_pause;
    run_on(WARM_ROUNDS);
    for (int i = 0; i < FLOODS; i++)
        before[i] = floods[i].pair->bytes_down;
    run_on(ROUNDS);
    for (int i = 0; i < FLOODS; i++) {
        uint64_t moved = floods[i].pair->bytes_down - before[i];

        least = moved < least ? moved : least;
        most = moved > most ? moved : most;
    }
    if (least < share || most - least > 2 * GATEWAY_TURN_FAIR)
        fail_msg("floods moved %llu to %llu bytes, %zu are the least",
                 (unsigned long long)least, (unsigned long long)most, share);
    /* nor do those who type wait: a key is back two rounds later */
    for (int i = 0; i < TYPISTS; i++)
        assert_in_range(typists[i].down, WARM_ROUNDS + ROUNDS - 8,
                        WARM_ROUNDS + ROUNDS + 8);
    flows_close();
}

/* Drop the one whose turn comes last, and go on until it has come. */
static bool drop_the_last(void)
{
    flood_all();
    if (round_no++ == WARM_ROUNDS) {
        watched = gw.bulk.last;
        assert_int_equal(gw.bulk.count, FLOODS);
        pair_doom(watched, CLOSE_BUG);
    }
    return round_no < WARM_ROUNDS + FLOODS;
}

static void one_who_is_dropped_while_it_waits_is_kept_for_its_turn(void **state)
{
    (void)state;
    flows_open(0);
    play = drop_the_last;
    server_run(&gw);
    assert_int_equal(late_turns, 1);
    assert_true(is_freed);
    flows_close();
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(events_of_one_who_was_dropped_in_their_batch_find_it),
        T(the_turn_of_one_who_was_dropped_meanwhile_finds_it),
        T(an_echo_waits_for_few_turns_of_floods),
        T(floods_go_on_beside_those_who_type_without_pause),
        T(one_who_is_dropped_while_it_waits_is_kept_for_its_turn),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
