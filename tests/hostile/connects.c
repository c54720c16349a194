/* Where a connection could lead: other machines, this one, its sockets. */
#include "tests/hostile/hostile.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#define PROXY_PORT 3128
#define BROKER_PORT 3129
#define DNS_PORT 53
#define TUNNEL "c2VjcmV0.tunnel.example"

/* --- addresses --- */

/* Literal and port; 0 = it is neither. */
static socklen_t address(const char *text, int port,
                         struct sockaddr_storage *out)
{
    struct sockaddr_in *four = (struct sockaddr_in *)out;
    struct sockaddr_in6 *six = (struct sockaddr_in6 *)out;

    memset(out, 0, sizeof(*out));
    if (inet_pton(AF_INET, text, &four->sin_addr) == 1) {
        four->sin_family = AF_INET;
        four->sin_port = htons((unsigned short)port);
        return sizeof(*four);
    }
    six->sin6_family = AF_INET6;
    six->sin6_port = htons((unsigned short)port);
    return inet_pton(AF_INET6, text, &six->sin6_addr) == 1 ? sizeof(*six) : 0;
}

/* text: where to; n: the port. */
static void tcp(const struct attempt *a)
{
    struct sockaddr_storage to;
    socklen_t len = address(a->text, (int)a->n[0], &to);

    outcome(reach(&to, len), "connected");
}

/* The port is that of a word. */
static void tcp_named(const char *word, const char *to)
{
    struct sockaddr_storage at;

    if (!*told(word))
        absent("no such port here");
    else
        outcome(reach(&at, address(to, atoi(told(word)), &at)), "connected");
}

static void host_server(const struct attempt *a)
{
    tcp_named("TCP", a->text);
}

static void agent(const struct attempt *a)
{
    tcp_named("AGENT", a->text);
}

static void controller(const struct attempt *a)
{
    tcp_named("CONTROLLER", a->text);
}

static void gateway(const struct attempt *a)
{
    tcp_named("GATEWAY", a->text);
}

/* 1 = connected to itself: the port that it got by chance was the one it
 * asked for, and nobody is there. */
static int reach_port(const char *text, int port)
{
    struct sockaddr_storage to, mine;
    socklen_t len = address(text, port, &to), size = sizeof(mine);
    int fd = socket(to.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0), r;

    r = fd < 0 ? -1 : connect(fd, (struct sockaddr *)&to, len);
    if (r == 0 && getsockname(fd, (struct sockaddr *)&mine, &size) == 0 &&
        ((struct sockaddr_in *)&mine)->sin_port == htons((uint16_t)port))
        r = 1;
    if (fd >= 0) {
        int error = errno;

        close(fd);
        errno = error;
    }
    return r;
}

/* Whatever else listens there. The refusal is one for all of them. */
static void other_ports(const struct attempt *a)
{
    int telling = 0;

    for (int port = 1; port < 65536; port++) {
        int r;

        if (port == PROXY_PORT || port == BROKER_PORT)
            continue;
        r = reach_port(a->text, port);
        if (r == 0) {
            through("port %d", port);
            return;
        }
        if (r < 0 && errno != telling && telling) {
            printf("# port %d differs\n", port);
            break;
        }
        if (r < 0)
            telling = errno;
    }
    outcome(-1, "");
}

/* A datagram, where there is a socket for it. n: port; text: where to. */
static void datagram(const struct attempt *a)
{
    struct sockaddr_storage to;
    socklen_t len = address(a->text, (int)a->n[0], &to);
    int fd = socket(to.ss_family, SOCK_DGRAM, 0);

    outcome(fd < 0 ? -1 : sendto(fd, "x", 1, 0, (struct sockaddr *)&to, len),
            "it was sent");
}

/* n: protocol. */
static void raw_send(const struct attempt *a)
{
    static const unsigned char echo[8] = {8, 0, 0xf7, 0xff};
    struct sockaddr_storage to;
    socklen_t len = address(a->text, 0, &to);
    int fd = socket(to.ss_family, (int)a->n[1], (int)a->n[0]);

    outcome(
        fd < 0 ? -1
               : sendto(fd, echo, sizeof(echo), 0, (struct sockaddr *)&to, len),
        "it was sent");
}

static void multipath(const struct attempt *a)
{
    struct sockaddr_storage to;
    socklen_t len = address(a->text, atoi(told("TCP")), &to);
    int fd = socket(AF_INET, SOCK_STREAM, 262);

    outcome(fd < 0 ? -1 : connect(fd, (struct sockaddr *)&to, len),
            "connected");
}

/* --- names --- */

/* The first of resolv.conf, else where a resolver looks without one. */
static const char *resolver(void)
{
    static char line[256];
    FILE *f = fopen("/etc/resolv.conf", "re");

    while (f && fgets(line, sizeof(line), f))
        if (strncmp(line, "nameserver ", 11) == 0) {
            line[strcspn(line, "\r\n")] = 0;
            fclose(f);
            return line + 11;
        }
    if (f)
        fclose(f);
    return "127.0.0.1";
}

/* A question whose name is the message. */
static const unsigned char question[] = {
    0x13, 0x37, 1,   0,   0,   1,   0,   0,   0,   0,   0,   0,   8,   'c',
    '2',  'V',  'j', 'c', 'm', 'V', '0', 6,   't', 'u', 'n', 'n', 'e', 'l',
    7,    'e',  'x', 'a', 'm', 'p', 'l', 'e', 0,   0,   1,   0,   1};

static void dns_datagram(const struct attempt *a)
{
    struct sockaddr_storage to;
    socklen_t len = address(resolver(), DNS_PORT, &to);
    int fd = socket(to.ss_family, SOCK_DGRAM, 0);

    (void)a;
    outcome(fd < 0 ? -1
                   : sendto(fd, question, sizeof(question), 0,
                            (struct sockaddr *)&to, len),
            "it was sent");
}

static void dns_stream(const struct attempt *a)
{
    struct sockaddr_storage to;
    socklen_t len = address(*a->text ? a->text : resolver(), DNS_PORT, &to);

    outcome(reach(&to, len), "connected");
}

static void look_up(const struct attempt *a)
{
    struct addrinfo *all = NULL;

    if (getaddrinfo(a->text, "443", NULL, &all) == 0)
        through("it has an address");
    else
        refused("no-address");
}

/* --- unix sockets --- */

static void unix_reach(const struct sockaddr_un *un, socklen_t len)
{
    static const int types[] = {SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET};
    int telling = EPROTOTYPE;

    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        int fd = socket(AF_UNIX, types[i] | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

        if (connect(fd, (const struct sockaddr *)un, len) == 0) {
            through("connected");
            return;
        }
        if (errno != EPROTOTYPE)
            telling = errno;
        close(fd);
    }
    errno = telling;
    outcome(-1, "");
}

static void unix_path(const struct attempt *a)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};

    snprintf(un.sun_path, sizeof(un.sun_path), "%s", a->text);
    unix_reach(&un, sizeof(un));
}

static void unix_host(const struct attempt *a)
{
    struct attempt at = *a;

    at.text = told("SOCKET");
    if (*at.text)
        unix_path(&at);
    else
        absent("no such socket here");
}

/* The same by way of PID 1, which might see another root. */
static void unix_behind(const struct attempt *a)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};

    if (!*told("SOCKET")) {
        absent("no such socket here");
        return;
    }
    snprintf(un.sun_path, sizeof(un.sun_path), "%s%.90s", a->text,
             told("SOCKET"));
    unix_reach(&un, sizeof(un));
}

static void unix_abstract(const struct attempt *a)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    const char *name = a->text ? a->text : told("ABSTRACT");
    size_t len = strlen(name);

    if (len == 0 || len > sizeof(un.sun_path) - 1) {
        absent("no such socket here");
        return;
    }
    memcpy(un.sun_path + 1, name, len);
    unix_reach(&un,
               (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + len));
}

/* Without connect(): a datagram names where it goes. */
static void unix_abstract_sendto(const struct attempt *a)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    const char *name = told("ABSTRACT_DGRAM");
    size_t len = strlen(name);
    int fd = socket(AF_UNIX, SOCK_DGRAM, 0);

    (void)a;
    if (len == 0 || len > sizeof(un.sun_path) - 1) {
        absent("no such socket here");
        return;
    }
    memcpy(un.sun_path + 1, name, len);
    outcome(
        sendto(fd, "x", 1, 0, (struct sockaddr *)&un,
               (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + len)),
        "it was sent");
}

/* --- taking the agent's place --- */

/* n: port, option of SOL_SOCKET or 0. */
static void take_place(const struct attempt *a)
{
    struct sockaddr_storage at;
    socklen_t len = address(a->text, (int)a->n[0], &at);
    int fd = socket(at.ss_family, SOCK_STREAM, 0), one = 1;

    if (fd >= 0 && a->n[1])
        setsockopt(fd, SOL_SOCKET, (int)a->n[1], &one, sizeof(one));
    if (fd < 0 || bind(fd, (struct sockaddr *)&at, len) < 0)
        outcome(-1, "");
    else
        outcome(listen(fd, 1), "it listens there");
}

static void take_agents(const struct attempt *a)
{
    struct attempt at = *a;

    at.n[0] = atoi(told("AGENT"));
    if (*told("POD") && at.n[0])
        take_place(&at);
    else
        absent("the agent has another network");
}

/* In a network that is shared, any server of the program's is one too many.
 * listen() takes a port of itself, which no bind() asked for. */
static void serve(const struct attempt *a)
{
    struct sockaddr_storage at;
    socklen_t len = address(a->text, 0, &at);
    int fd = socket(at.ss_family, SOCK_STREAM, 0);

    if (!*told("POD"))
        absent("its network is its own");
    else if (a->n[0] && bind(fd, (struct sockaddr *)&at, len) < 0)
        outcome(-1, "");
    else
        outcome(listen(fd, 1), "it listens");
}

/* These would leave the machine: in a cage alone. */
#define TCP(called, to, port)                                                  \
    {                                                                          \
        .name = called, .run = tcp, .text = to, .n = {port},                   \
        .is_harmful = true                                                     \
    }
#define SEND(called, function, to, ...)                                        \
    {                                                                          \
        .name = called, .run = function, .text = to, .n = {__VA_ARGS__},       \
        .is_harmful = true                                                     \
    }
#define TO(called, function, to)                                               \
    {                                                                          \
        .name = called, .run = function, .text = to                            \
    }

static const struct attempt all[] = {
    TCP("tcp_test_net_1", "192.0.2.1", 443),
    TCP("tcp_test_net_2", "198.51.100.1", 80),
    TCP("tcp_test_net_3", "203.0.113.1", 22),
    TCP("tcp_metadata", "169.254.169.254", 80),
    TCP("tcp_private", "10.0.0.1", 443),
    TCP("tcp_kubernetes", "10.96.0.1", 443),
    TCP("tcp6_documentation", "2001:db8::1", 443),
    TCP("tcp6_mapped", "::ffff:192.0.2.1", 443),
    TCP("tcp6_nat64", "64:ff9b::c000:201", 443),
    TCP("tcp6_unique_local", "fd00::1", 443),
    TO("host_server", host_server, "127.0.0.1"),
    TO("host_server_127_0_0_2", host_server, "127.0.0.2"),
    TO("host_server_zero", host_server, "0.0.0.0"),
    TO("host_server_mapped", host_server, "::ffff:127.0.0.1"),
    TO("host_server_mapped_zero", host_server, "::ffff:0.0.0.0"),
    TO("host_server_v6", host_server, "::1"),
    TO("host_server_v6_zero", host_server, "::"),
    TO("host_server_mptcp", multipath, "127.0.0.1"),
    TO("agent_port", agent, "127.0.0.1"),
    TO("agent_port_zero", agent, "0.0.0.0"),
    TO("agent_port_v6", agent, "::1"),
    TO("controller_port", controller, "127.0.0.1"),
    TO("gateway_port", gateway, "127.0.0.1"),
    {.name = "other_ports",
     .run = other_ports,
     .text = "127.0.0.1",
     .is_harmful = true},
    {.name = "other_ports_v6",
     .run = other_ports,
     .text = "::1",
     .is_harmful = true},
    SEND("udp_send", datagram, "192.0.2.1", 9),
    {.name = "udp_send_loopback",
     .run = datagram,
     .text = "127.0.0.1",
     .n = {9}},
    SEND("udp6_send", datagram, "2001:db8::1", 9),
    SEND("udp_quic", datagram, "192.0.2.1", 443),
    SEND("icmp_send", raw_send, "192.0.2.1", 1, SOCK_RAW),
    SEND("ping_send", raw_send, "192.0.2.1", 1, SOCK_DGRAM),
    SEND("raw_send", raw_send, "192.0.2.1", 255, SOCK_RAW),
    TO("dns_udp", dns_datagram, ""),
    TO("dns_tcp", dns_stream, ""),
    SEND("dns_tcp_public", dns_stream, "192.0.2.53", 0),
    TO("dns_look_up_off_list", look_up, TUNNEL),
    TO("dns_look_up_on_list", look_up, "ok.example"),
    TO("dns_look_up_long", look_up,
       "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcde."
       "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcde."
       "tunnel.example"),
    TO("unix_host", unix_host, ""),
    TO("unix_host_behind_1", unix_behind, "/proc/1/root"),
    TO("unix_host_behind_self", unix_behind, "/proc/self/root/.."),
    TO("unix_docker", unix_path, "/run/docker.sock"),
    TO("unix_docker_var", unix_path, "/var/run/docker.sock"),
    TO("unix_containerd", unix_path, "/run/containerd/containerd.sock"),
    TO("unix_crio", unix_path, "/run/crio/crio.sock"),
    TO("unix_podman", unix_path, "/run/podman/podman.sock"),
    TO("unix_dbus", unix_path, "/run/dbus/system_bus_socket"),
    TO("unix_systemd", unix_path, "/run/systemd/private"),
    TO("unix_systemd_notify", unix_path, "/run/systemd/notify"),
    TO("unix_journal", unix_path, "/run/systemd/journal/socket"),
    TO("unix_log", unix_path, "/dev/log"),
    TO("unix_x11", unix_path, "/tmp/.X11-unix/X0"),
    TO("unix_wayland", unix_path, "/run/user/0/wayland-0"),
    TO("unix_session_bus", unix_path, "/run/user/0/bus"),
    TO("unix_redis", unix_path, "/run/redis/redis-server.sock"),
    TO("unix_postgres", unix_path, "/run/postgresql/.s.PGSQL.5432"),
    TO("unix_nscd", unix_path, "/run/nscd/socket"),
    {.name = "abstract_host", .run = unix_abstract},
    TO("abstract_x11", unix_abstract, "/tmp/.X11-unix/X0"),
    TO("abstract_containerd_shim", unix_abstract,
       "/containerd-shim/k8s.io/shim.sock"),
    {.name = "abstract_sendto", .run = unix_abstract_sendto},
    {.name = "bind_proxy",
     .run = take_place,
     .text = "127.0.0.1",
     .n = {PROXY_PORT}},
    {.name = "bind_proxy_reuseaddr",
     .run = take_place,
     .text = "127.0.0.1",
     .n = {PROXY_PORT, SO_REUSEADDR}},
    {.name = "bind_proxy_reuseport",
     .run = take_place,
     .text = "127.0.0.1",
     .n = {PROXY_PORT, SO_REUSEPORT}},
    {.name = "bind_proxy_any",
     .run = take_place,
     .text = "0.0.0.0",
     .n = {PROXY_PORT, SO_REUSEPORT}},
    {.name = "bind_proxy_any6",
     .run = take_place,
     .text = "::",
     .n = {PROXY_PORT, SO_REUSEPORT}},
    {.name = "bind_proxy_mapped",
     .run = take_place,
     .text = "::ffff:127.0.0.1",
     .n = {PROXY_PORT, SO_REUSEPORT}},
    {.name = "bind_agent",
     .run = take_agents,
     .text = "127.0.0.1",
     .n = {0, SO_REUSEPORT}},
    {.name = "bind_agent_any",
     .run = take_agents,
     .text = "0.0.0.0",
     .n = {0, SO_REUSEADDR}},
    {.name = "serve_bound", .run = serve, .text = "0.0.0.0", .n = {1}},
    {.name = "serve_unbound", .run = serve, .text = "0.0.0.0", .n = {0}},
    {.name = "serve_unbound_v6", .run = serve, .text = "::", .n = {0}},
};

void connects_run(void)
{
    ATTEMPTS(all);
}
