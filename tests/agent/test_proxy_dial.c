/* From a name to a connection: which of its addresses are dialled, and when. */
// link: -Wl,--wrap=getaddrinfo,--wrap=freeaddrinfo
#include "agent/proxy_dial.h"

#include "base/mem.h"
#include "base/own.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define SOON_MS 5000
#define DEAF 4 /* descriptors of one that does not answer */

/* What the resolver answers: addresses, or a fault. */
static const char *answer[24];
static int fault;
static atomic_int look_ups;
static int slow_ms;

int __wrap_getaddrinfo(const char *host, const char *port,
                       const struct addrinfo *hints, struct addrinfo **out);
void __wrap_freeaddrinfo(struct addrinfo *all);

int __wrap_getaddrinfo(const char *host, const char *port,
                       const struct addrinfo *hints, struct addrinfo **out)
{
    struct addrinfo **at = out;

    (void)hints;
    assert_string_equal(host, "a.example");
    atomic_fetch_add(&look_ups, 1);
    usleep((useconds_t)slow_ms * 1000);
    *out = NULL;
    for (int i = 0; !fault && answer[i]; i++) {
        own_mem char *text = mem_printf(
            strchr(answer[i], ':') ? "[%s]:%s" : "%s:%s", answer[i], port);
        struct sockaddr_storage *sa = mem_zero(1, sizeof(*sa));
        struct err e = {0};

        if (addr_parse(text, sa, &e) < 0) {
            fprintf(stderr, "%s: %s\n", text, e.text);
            abort(); /* this is the worker's thread */
        }
        *at = mem_zero(1, sizeof(**at));
        (*at)->ai_family = sa->ss_family;
        (*at)->ai_addr = (struct sockaddr *)sa;
        (*at)->ai_addrlen = addr_len(sa);
        at = &(*at)->ai_next;
    }
    return fault;
}

void __wrap_freeaddrinfo(struct addrinfo *all)
{
    while (all) {
        struct addrinfo *next = all->ai_next;

        free(all->ai_addr);
        free(all);
        all = next;
    }
}

static struct {
    struct loop *loop;
    struct proxy_dial_conf conf;
    struct addr_policy rules;
    int listener, port, deaf[DEAF];
    int calls, fd;
    char to[ADDR_TEXT_MAX];
    struct err e;
} bed;

static void dialled(void *arg, int fd, const struct sockaddr *to,
                    const struct err *e)
{
    (void)arg;
    bed.calls++;
    bed.fd = fd;
    bed.e = *e;
    bed.to[0] = 0;
    if (to)
        addr_text_ip(to, bed.to);
    loop_stop(bed.loop);
}

static void too_late(void *arg)
{
    (void)arg;
    loop_stop(bed.loop);
}

static void run(int ms)
{
    struct loop_timer *t = loop_timer_start(bed.loop, ms, 0, too_late, NULL);

    loop_run(bed.loop);
    loop_timer_stop(t);
}

/* On that port of 127.0.0.66 is one whose queue is full: it does not answer. */
static void deaf(void)
{
    struct sockaddr_in sa = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)bed.port),
                             .sin_addr.s_addr = inet_addr("127.0.0.66")};

    bed.deaf[0] = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(bed.deaf[0], (struct sockaddr *)&sa, sizeof(sa)), 0);
    assert_int_equal(listen(bed.deaf[0], 0), 0);
    for (int i = 1; i < DEAF; i++) {
        bed.deaf[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        connect(bed.deaf[i], (struct sockaddr *)&sa, sizeof(sa));
    }
    usleep(10000);
}

/* A listener on 127.0.0.1, whose port every address gets. */
static int begin(void **arg)
{
    struct sockaddr_in sa = {.sin_family = AF_INET,
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(sa);
    struct err e = {0};

    (void)arg;
    memset(&bed, 0, sizeof(bed));
    memset(answer, 0, sizeof(answer));
    fault = slow_ms = 0;
    atomic_store(&look_ups, 0);
    bed.loop = loop_new();
    bed.conf = (struct proxy_dial_conf){.loop = bed.loop,
                                        .worker = worker_new(bed.loop, 1, 2),
                                        .rules = &bed.rules,
                                        .dial_ms = PROXY_DIAL_MS,
                                        .next_ms = 100};
    if (cidr_list_parse("127.0.0.1/32,127.0.0.66/32", &bed.rules.allow, &e) < 0)
        fail_msg("%s", e.text);
    bed.listener = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(bed.listener, (struct sockaddr *)&sa, len), 0);
    assert_int_equal(listen(bed.listener, 64), 0);
    getsockname(bed.listener, (struct sockaddr *)&sa, &len);
    bed.port = ntohs(sa.sin_port);
    bed.fd = -1;
    return 0;
}

static int end(void **arg)
{
    (void)arg;
    own_fd_release(&bed.fd);
    own_fd_release(&bed.listener);
    for (int i = 0; i < DEAF; i++)
        if (bed.deaf[i] > 0)
            close(bed.deaf[i]);
    worker_free(bed.conf.worker);
    loop_free(bed.loop);
    cidr_list_fini(&bed.rules.allow);
    cidr_list_fini(&bed.rules.deny);
    return 0;
}

static void dial(void)
{
    proxy_dial_start(&bed.conf, "a.example", (uint16_t)bed.port, dialled, NULL);
    assert_int_equal(bed.calls, 0);
    run(SOON_MS);
    assert_int_equal(bed.calls, 1);
}

static void it_is_looked_up_once_and_dialled(void **arg)
{
    int error;
    socklen_t len = sizeof(error);

    (void)arg;
    answer[0] = "127.0.0.1";
    dial();
    assert_true(bed.fd >= 0);
    assert_string_equal(bed.to, "127.0.0.1");
    assert_int_equal(getsockopt(bed.fd, SOL_SOCKET, SO_ERROR, &error, &len), 0);
    assert_int_equal(atomic_load(&look_ups), 1);
}

/* Each special range: none of it is dialled, a good one beside it is. */
static void what_points_inside_is_refused(void **arg)
{
    static const char *const inside[] = {
        "0.0.0.0",
        "10.1.2.3",
        "100.64.0.1",
        "127.0.0.2",
        "169.254.169.254",
        "172.16.0.1",
        "192.0.0.8",
        "192.168.1.1",
        "198.18.0.1",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "::1",
        "::",
        "fe80::1",
        "fc00::1",
        "ff02::1",
        "::ffff:10.0.0.1",
        "::ffff:169.254.169.254",
        "::10.0.0.1",
        "64:ff9b::a00:1",
        "2002:a00:1::1",
        "2001::1",
        "2001:db8::1",
    };

    (void)arg;
    for (size_t i = 0; i < sizeof(inside) / sizeof(inside[0]); i++) {
        answer[0] = inside[i];
        answer[1] = NULL;
        bed.calls = 0;
        dial();
        if (bed.fd >= 0 || bed.e.kind != ERR_DENIED)
            fail_msg("%s: %d, %s", inside[i], bed.fd, bed.e.text);
        answer[1] = "127.0.0.1";
        bed.calls = 0;
        dial();
        assert_string_equal(bed.to, "127.0.0.1");
        own_fd_release(&bed.fd);
        bed.fd = -1;
    }
}

static void what_the_operator_denies_is_refused_though_public(void **arg)
{
    struct err e = {0};

    (void)arg;
    assert_int_equal(
        cidr_list_parse("34.118.224.0/20,127.0.0.1/32", &bed.rules.deny, &e),
        0);
    answer[0] = "34.118.224.1";
    answer[1] = "127.0.0.1"; /* deny has the last word */
    dial();
    assert_int_equal(bed.fd, -1);
    assert_int_equal(bed.e.kind, ERR_DENIED);
    assert_non_null(strstr(bed.e.text, "34.118.224.1"));
}

static void a_silent_address_does_not_hold_up_the_next(void **arg)
{
    int64_t began;

    (void)arg;
    deaf();
    answer[0] = answer[1] = "127.0.0.66";
    answer[2] = "127.0.0.1";
    began = loop_now_ms();
    dial();
    assert_string_equal(bed.to, "127.0.0.1");
    assert_in_range(loop_now_ms() - began, 190, 1000);
}

static void a_refusing_address_gives_way_at_once(void **arg)
{
    int64_t began = loop_now_ms();
    struct err e = {0};

    (void)arg;
    cidr_list_fini(&bed.rules.allow);
    assert_int_equal(cidr_list_parse("127.0.0.0/8", &bed.rules.allow, &e), 0);
    bed.conf.next_ms = 60000;
    answer[0] = "127.0.0.77";
    answer[1] = "127.0.0.1";
    dial();
    assert_string_equal(bed.to, "127.0.0.1");
    assert_in_range(loop_now_ms() - began, 0, 2000);
    own_fd_release(&bed.fd);
    bed.fd = -1;
    answer[1] = "127.0.0.78";
    bed.calls = 0;
    dial();
    assert_int_equal(bed.e.kind, ERR_PEER);
    assert_non_null(strstr(bed.e.text, "a.example cannot be reached: "));
}

static void a_name_without_an_address_is_told(void **arg)
{
    (void)arg;
    dial();
    assert_int_equal(bed.e.kind, ERR_ABSENT);
    fault = EAI_NONAME;
    bed.calls = 0;
    dial();
    assert_int_equal(bed.e.kind, ERR_ABSENT);
    fault = EAI_AGAIN;
    bed.calls = 0;
    dial();
    assert_int_equal(bed.e.kind, ERR_PEER);
}

static void the_time_for_all_of_it_is_bounded(void **arg)
{
    int64_t began;

    (void)arg;
    deaf();
    bed.conf.dial_ms = 300;
    answer[0] = "127.0.0.66";
    began = loop_now_ms();
    dial();
    assert_int_equal(bed.e.kind, ERR_TIMEOUT);
    assert_in_range(loop_now_ms() - began, 250, 1500);
    slow_ms = 600; /* a look-up cannot be ended, and is not waited for */
    bed.calls = 0;
    began = loop_now_ms();
    dial();
    assert_int_equal(bed.e.kind, ERR_TIMEOUT);
    assert_in_range(loop_now_ms() - began, 250, 550);
}

static void look_ups_are_bounded(void **arg)
{
    (void)arg;
    slow_ms = 300;
    answer[0] = "127.0.0.1";
    for (int i = 0; i < 8; i++)
        proxy_dial_start(&bed.conf, "a.example", (uint16_t)bed.port, dialled,
                         NULL);
    run(SOON_MS);
    assert_true(bed.calls > 0);
    assert_int_equal(bed.fd, -1);
    assert_int_equal(bed.e.kind, ERR_BUSY);
    while (bed.calls < 8) {
        own_fd_release(&bed.fd);
        bed.fd = -1;
        run(1500);
    }
}

static void what_is_stopped_says_nothing(void **arg)
{
    struct proxy_dial *d;

    (void)arg;
    slow_ms = 100;
    answer[0] = "127.0.0.1";
    d = proxy_dial_start(&bed.conf, "a.example", (uint16_t)bed.port, dialled,
                         NULL);
    proxy_dial_stop(d); /* while it is looked up */
    run(400);
    assert_int_equal(bed.calls, 0);
    deaf();
    answer[0] = "127.0.0.66";
    d = proxy_dial_start(&bed.conf, "a.example", (uint16_t)bed.port, dialled,
                         NULL);
    run(300);
    proxy_dial_stop(d); /* while it is dialled */
    run(200);
    assert_int_equal(bed.calls, 0);
    proxy_dial_stop(NULL);
}

/* More addresses than are tried, the families taking turns. */
static void the_families_take_turns(void **arg)
{
    int64_t began = loop_now_ms();

    (void)arg;
    bed.conf.next_ms = 60000;
    for (int i = 0; i < 20; i++)
        answer[i] = "fe80::1";
    answer[20] = "127.0.0.1";
    dial();
    assert_string_equal(bed.to, "127.0.0.1");
    assert_in_range(loop_now_ms() - began, 0, 2000);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, begin, end)
    const struct CMUnitTest tests[] = {
        T(it_is_looked_up_once_and_dialled),
        T(what_points_inside_is_refused),
        T(what_the_operator_denies_is_refused_though_public),
        T(a_silent_address_does_not_hold_up_the_next),
        T(a_refusing_address_gives_way_at_once),
        T(a_name_without_an_address_is_told),
        T(the_time_for_all_of_it_is_bounded),
        T(look_ups_are_bounded),
        T(what_is_stopped_says_nothing),
        T(the_families_take_turns),
    };

    return cmocka_run_group_tests_name("agent/proxy_dial", tests, NULL, NULL);
}
