/* Which sockets there are, and what one may be told. */
#include "tests/hostile/hostile.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define FAMILIES 46
#define NETLINKS 23
#define HIGH (1L << 32) /* above what the kernel looks at */
#define OPT_ULP 31
#define OPT_FASTOPEN_CONNECT 30
#define OPT_REPAIR 19

/* --- families --- */

static void any_type(const struct attempt *a)
{
    static const int types[] = {SOCK_STREAM, SOCK_DGRAM,     SOCK_RAW,
                                SOCK_RDM,    SOCK_SEQPACKET, 10 /* PACKET */};
    int telling = EAFNOSUPPORT;

    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        if (socket((int)a->n[0], types[i], 0) >= 0) {
            through("a socket of type %d", types[i]);
            return;
        }
        if (errno != EAFNOSUPPORT)
            telling = errno;
    }
    errno = telling;
    outcome(-1, "");
}

/* Outside of a cage the kernel would load modules for the others. */
static bool is_common(int family)
{
    return family == AF_PACKET || family == 38 /* ALG */ ||
           family == 40 /* VSOCK */;
}

static void families(void)
{
    for (int f = 0; f < FAMILIES; f++) {
        char name[32];
        struct attempt a = {.name = name,
                            .run = any_type,
                            .n = {f},
                            .is_harmful = !is_common(f)};

        if (f == AF_UNIX || f == AF_INET || f == AF_INET6 || f == AF_NETLINK)
            continue; /* those are there */
        snprintf(name, sizeof(name), "family_%d", f);
        attempts_run(&a, 1);
    }
}

/* By number, so that no library leaves out bits. */
static void one_socket(const struct attempt *a)
{
    outcome(syscall(SYS_socket, a->n[0], a->n[1], a->n[2]), "a socket");
}

static void netlinks(void)
{
    for (int p = 1; p < NETLINKS; p++) {
        char name[32];
        struct attempt a = {.name = name,
                            .run = one_socket,
                            .n = {AF_NETLINK, SOCK_RAW, p},
                            .is_harmful = p != 9 && p != 16};

        snprintf(name, sizeof(name), "netlink_%d", p);
        attempts_run(&a, 1);
    }
}

static void one_pair(const struct attempt *a)
{
    int fds[2];

    outcome(syscall(SYS_socketpair, a->n[0], a->n[1], a->n[2], fds), "a pair");
}

/* Changing what the route socket tells of: an address for an interface that
 * is not there. */
static void route_change(const struct attempt *a)
{
    struct {
        uint32_t len;
        uint16_t type, flags;
        uint32_t seq, pid;
        uint8_t family, bits, ifa_flags, scope;
        uint32_t index;
    } ask = {sizeof(ask),
             20 /* NEWADDR */,
             5 /* REQUEST, ACK */,
             1,
             0,
             AF_INET,
             32,
             0,
             0,
             0x7ffffff0};
    struct {
        uint32_t len;
        uint16_t type, flags;
        uint32_t seq, pid;
        int32_t error;
        uint8_t rest[256];
    } answer;
    int fd = socket(AF_NETLINK, SOCK_RAW, 0);

    (void)a;
    if (fd < 0 || send(fd, &ask, sizeof(ask), 0) < 0 ||
        recv(fd, &answer, sizeof(answer), 0) < 20) {
        outcome(-1, "");
        return;
    }
    errno = -answer.error;
    outcome_reached(-1);
}

#define INET(called, type, protocol)                                           \
    {.name = "inet_" called,                                                   \
     .run = one_socket,                                                        \
     .n = {AF_INET, type, protocol}},                                          \
    {                                                                          \
        .name = "inet6_" called, .run = one_socket, .n = {                     \
            AF_INET6,                                                          \
            type,                                                              \
            protocol                                                           \
        }                                                                      \
    }

static const struct attempt kinds[] = {
    INET("udp", SOCK_DGRAM, 0),
    INET("udp_flags", SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 17),
    INET("udplite", SOCK_DGRAM, 136),
    INET("ping", SOCK_DGRAM, 1),
    INET("raw_icmp", SOCK_RAW, 1),
    INET("raw_udp", SOCK_RAW, 17),
    INET("raw", SOCK_RAW, 255),
    INET("mptcp", SOCK_STREAM, 262),
    INET("sctp", SOCK_STREAM, 132),
    INET("sctp_packets", SOCK_SEQPACKET, 132),
    INET("dccp", 6, 33),
    INET("smc", SOCK_STREAM, 256),
    INET("rdm", SOCK_RDM, 0),
    INET("packet", 10, 0),
    {.name = "high_bits_vsock",
     .run = one_socket,
     .n = {40 | HIGH, SOCK_STREAM, 0}},
    {.name = "high_bits_packet",
     .run = one_socket,
     .n = {AF_PACKET | HIGH, SOCK_RAW, 0}},
    {.name = "high_bits_udp",
     .run = one_socket,
     .n = {AF_INET, SOCK_DGRAM | HIGH, 0}},
    {.name = "high_bits_udp_domain",
     .run = one_socket,
     .n = {AF_INET | HIGH, SOCK_DGRAM, 0}},
    {.name = "high_bits_mptcp",
     .run = one_socket,
     .n = {AF_INET, SOCK_STREAM, 262 | HIGH}},
    {.name = "high_bits_netlink",
     .run = one_socket,
     .n = {AF_NETLINK, SOCK_RAW, 16 | HIGH}},
    {.name = "pair_inet", .run = one_pair, .n = {AF_INET, SOCK_STREAM, 0}},
    {.name = "pair_tipc", .run = one_pair, .n = {30, SOCK_STREAM, 0}},
    {.name = "pair_vsock", .run = one_pair, .n = {40, SOCK_STREAM, 0}},
    {.name = "high_bits_pair",
     .run = one_pair,
     .n = {30 | HIGH, SOCK_STREAM, 0}},
    {.name = "route_change", .run = route_change},
};

/* --- fast open: a connection without connect() --- */

struct target {
    struct sockaddr_storage at;
    socklen_t len;
};

static struct target loopback(bool is_six)
{
    const uint16_t port = htons((uint16_t)atoi(told("TCP")));
    struct target t = {.len = is_six ? sizeof(struct sockaddr_in6)
                                     : sizeof(struct sockaddr_in)};

    if (is_six)
        *(struct sockaddr_in6 *)&t.at =
            (struct sockaddr_in6){.sin6_family = AF_INET6,
                                  .sin6_port = port,
                                  .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    else
        *(struct sockaddr_in *)&t.at =
            (struct sockaddr_in){.sin_family = AF_INET,
                                 .sin_port = port,
                                 .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    return t;
}

enum way { SENDTO, SENDMSG, SENDMMSG, OPTION };

static long fast(int fd, struct target *t, enum way way, long flags)
{
    struct iovec iov = {"x", 1};
    struct mmsghdr m = {.msg_hdr = {.msg_name = &t->at,
                                    .msg_namelen = t->len,
                                    .msg_iov = &iov,
                                    .msg_iovlen = 1}};
    int one = 1;

    switch (way) {
    case SENDTO:
        return syscall(SYS_sendto, fd, "x", 1L, flags, &t->at, t->len);
    case SENDMSG:
        return syscall(SYS_sendmsg, fd, &m.msg_hdr, flags);
    case SENDMMSG:
        return syscall(SYS_sendmmsg, fd, &m, 1L, flags);
    default:
        if (setsockopt(fd, IPPROTO_TCP, OPT_FASTOPEN_CONNECT, &one,
                       sizeof(one)) < 0)
            return -1;
        return connect(fd, (struct sockaddr *)&t->at, t->len);
    }
}

/* n: the way, its flags, IPv6? */
static void fast_open(const struct attempt *a)
{
    struct target t = loopback(a->n[2]);
    int fd = socket(t.at.ss_family, SOCK_STREAM, 0);

    outcome(fd < 0 ? -1 : fast(fd, &t, (enum way)a->n[0], a->n[1]),
            "it was sent");
}

static const struct attempt fasts[] = {
    {.name = "fastopen_sendto", .run = fast_open, .n = {SENDTO, MSG_FASTOPEN}},
    {.name = "fastopen_sendmsg",
     .run = fast_open,
     .n = {SENDMSG, MSG_FASTOPEN}},
    {.name = "fastopen_sendmmsg",
     .run = fast_open,
     .n = {SENDMMSG, MSG_FASTOPEN}},
    {.name = "fastopen_option", .run = fast_open, .n = {OPTION}},
    {.name = "fastopen6_sendto",
     .run = fast_open,
     .n = {SENDTO, MSG_FASTOPEN, 1}},
    {.name = "fastopen6_sendmsg",
     .run = fast_open,
     .n = {SENDMSG, MSG_FASTOPEN, 1}},
    {.name = "fastopen6_sendmmsg",
     .run = fast_open,
     .n = {SENDMMSG, MSG_FASTOPEN, 1}},
    {.name = "fastopen6_option", .run = fast_open, .n = {OPTION, 0, 1}},
    {.name = "fastopen_more_flags",
     .run = fast_open,
     .n = {SENDTO, MSG_FASTOPEN | MSG_NOSIGNAL | MSG_DONTWAIT}},
    {.name = "high_bits_fastopen_sendto",
     .run = fast_open,
     .n = {SENDTO, MSG_FASTOPEN | HIGH}},
    {.name = "high_bits_fastopen_sendmsg",
     .run = fast_open,
     .n = {SENDMSG, MSG_FASTOPEN | HIGH}},
    {.name = "high_bits_fastopen_sendmmsg",
     .run = fast_open,
     .n = {SENDMMSG, MSG_FASTOPEN | HIGH}},
};

/* --- options --- */

/* n: level, option, length; text: the value, or NULL for a 1. */
static void option(const struct attempt *a)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;

    outcome(syscall(SYS_setsockopt, fd, a->n[0], a->n[1],
                    a->text ? (const void *)a->text : &one, a->n[2]),
            "it is set");
}

/* TCP_ULP wants a connection, which a pair of our own has. */
static void upper_layer(const struct attempt *a)
{
    struct sockaddr_in at = {.sin_family = AF_INET,
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(at);
    int server = socket(AF_INET, SOCK_STREAM, 0);
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    /* in a pod there is none, and the option is refused before it matters */
    if (listen(server, 1) == 0 &&
        getsockname(server, (struct sockaddr *)&at, &len) == 0) {
        at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        if (connect(fd, (struct sockaddr *)&at, len) < 0)
            close(server);
    }
    outcome(syscall(SYS_setsockopt, fd, a->n[0], a->n[1], a->text, a->n[2]),
            "it is set");
}

static const struct attempt options[] = {
    {.name = "ulp_tls",
     .run = upper_layer,
     .n = {IPPROTO_TCP, OPT_ULP, 4},
     .text = "tls"},
    {.name = "ulp_espintcp",
     .run = upper_layer,
     .n = {IPPROTO_TCP, OPT_ULP, 9},
     .text = "espintcp"},
    {.name = "high_bits_ulp",
     .run = upper_layer,
     .n = {IPPROTO_TCP | HIGH, OPT_ULP | HIGH, 4},
     .text = "tls"},
    {.name = "high_bits_fastopen_option",
     .run = option,
     .n = {IPPROTO_TCP | HIGH, OPT_FASTOPEN_CONNECT | HIGH, 4}},
    {.name = "tcp_repair", .run = option, .n = {IPPROTO_TCP, OPT_REPAIR, 4}},
    {.name = "socket_mark", .run = option, .n = {SOL_SOCKET, SO_MARK, 4}},
    {.name = "socket_debug", .run = option, .n = {SOL_SOCKET, SO_DEBUG, 4}},
    {.name = "socket_big_buffer",
     .run = option,
     .n = {SOL_SOCKET, 33 /* RCVBUFFORCE */, 4}},
    {.name = "ip_transparent", .run = option, .n = {IPPROTO_IP, 19, 4}},
};

void sockets_run(void)
{
    families();
    netlinks();
    ATTEMPTS(kinds);
    ATTEMPTS(fasts);
    ATTEMPTS(options);
}
