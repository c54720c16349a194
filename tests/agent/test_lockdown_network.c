/*
 * What a program that has taken over a process which dials for it (the egress
 * proxy) can still do there, and that the process' own work goes on.
 */
#include "agent/lockdown.h"

#include "base/http_client.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/own.h"
#include "tests/lib/locked.h"
#include "tests/lib/nocall.h"
#include "tests/lib/ownhosts.h"
#include "tests/lib/skipped.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <linux/netlink.h>
#include <net/if.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define DESCRIPTORS 128
#define NETWORK_MEMORY (96ul << 20)

static struct {
    int listen_fd, other_fd;
    uint16_t port, other; /* of them; the other is not on the list */
    char *extra;          /* a file that it may read besides */
} bed;

static int landlock(void)
{
    return (int)syscall(SYS_landlock_create_ruleset, NULL, 0,
                        LANDLOCK_CREATE_RULESET_VERSION);
}

static int lock(struct err *e)
{
    const char *const reads[] = {bed.extra, "/is/not/there", NULL};
    const uint16_t ports[] = {443, bed.port};
    const struct lockdown_network n = {.event = "test.lockdown",
                                       .reads = reads,
                                       .ports = ports,
                                       .port_count = 2,
                                       .memory_bytes = NETWORK_MEMORY,
                                       .descriptors = DESCRIPTORS};

    return lockdown_network(&n, e);
}

static int listener(uint16_t *port)
{
    struct sockaddr_in at = {.sin_family = AF_INET,
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(at);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);

    assert_int_equal(bind(fd, (struct sockaddr *)&at, len), 0);
    assert_int_equal(listen(fd, 16), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &len), 0);
    *port = ntohs(at.sin_port);
    return fd;
}

static int setup(void **arg)
{
    own_fd int fd = -1;

    locked_setup(arg);
    locked.lock = lock;
    bed.listen_fd = listener(&bed.port);
    bed.other_fd = listener(&bed.other);
    bed.extra = mem_printf("%s/extra", locked.dir);
    fd = open(bed.extra, O_WRONLY | O_CREAT, 0600);
    return fd < 0 ? -1 : 0;
}

static int teardown(void **arg)
{
    close(bed.listen_fd);
    close(bed.other_fd);
    free(bed.extra);
    locked.lock = NULL;
    return locked_teardown(arg);
}

/* --- its work --- */

static void *one_thread(void *arg)
{
    struct addrinfo hints = {.ai_family = AF_UNSPEC,
                             .ai_socktype = SOCK_STREAM,
                             .ai_flags = AI_NUMERICSERV},
                    *all = NULL;

    if (getaddrinfo("localhost", "443", &hints, &all) == 0) {
        freeaddrinfo(all);
        *(bool *)arg = true;
    }
    return NULL;
}

static int dial(uint16_t port)
{
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons(port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    return fd >= 0 && connect(fd, (struct sockaddr *)&to, sizeof(to)) == 0 ? fd
                                                                           : -1;
}

/* A connection each way, and a byte by splice. */
static bool passes_bytes(void)
{
    int one = 1, pipes[2], to = dial(bed.port), from;
    char c = 0;

    from = accept4(bed.listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    return to >= 0 && from >= 0 &&
           setsockopt(to, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) == 0 &&
           pipe2(pipes, O_CLOEXEC | O_NONBLOCK) == 0 &&
           send(to, "x", 1, MSG_NOSIGNAL) == 1 &&
           splice(from, NULL, pipes[1], NULL, 1, 0) == 1 &&
           splice(pipes[0], NULL, from, NULL, 1, 0) == 1 &&
           recv(to, &c, 1, 0) == 1 && c == 'x' &&
           shutdown(from, SHUT_WR) == 0 && recv(to, &c, 1, 0) == 0;
}

static bool waits(void)
{
    struct epoll_event ev = {.events = EPOLLIN};
    int epoll = epoll_create1(EPOLL_CLOEXEC), event = eventfd(1, EFD_CLOEXEC);

    return epoll_ctl(epoll, EPOLL_CTL_ADD, event, &ev) == 0 &&
           epoll_wait(epoll, &ev, 1, 1000) == 1;
}

static long do_its_work(void)
{
    pthread_t thread;
    bool is_resolved = false;

    if (pthread_create(&thread, NULL, one_thread, &is_resolved) != 0 ||
        pthread_join(thread, NULL) != 0)
        return -1;
    return is_resolved && passes_bytes() && waits() &&
                   open(bed.extra, O_RDONLY) >= 0 &&
                   write(locked.pipe_fds[1], "x", 1) == 1
               ? 0
               : -1;
}

static void its_work_goes_on(void **arg)
{
    (void)arg;
    assert_true(locked_worked(do_its_work));
}

static long give_up(void)
{
    abort();
}

static void a_library_that_aborts_dies_of_that(void **arg)
{
    int status = locked_child(give_up);

    (void)arg;
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGABRT);
}

static int lock_with_pairs(struct err *e)
{
    const struct lockdown_network n = {.event = "test.lockdown",
                                       .memory_bytes = NETWORK_MEMORY,
                                       .descriptors = DESCRIPTORS,
                                       .has_pairs = true};

    return lockdown_network(&n, e);
}

/* By the name, which the library looks up in a thread. */
static long fetch(void)
{
    own_mem char *url = mem_printf("http://api.example:%u/", bed.port);
    const struct http_request r = {
        .url = url, .allow_http = true, .body_max = 100};
    struct http_answer a = {0};
    struct err e = {0};
    bool is_there = http_do(&r, &a, &e) == 0 && a.status == 200 &&
                    strcmp(buf_cstr(&a.body), "ok") == 0;

    if (!is_there)
        print_error("%s\n", e.text);
    return is_there ? 0 : -1;
}

static void answer_one(void)
{
    static const char ok[] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    struct pollfd p = {.fd = bed.listen_fd, .events = POLLIN};
    char request[1024];
    int fd;

    poll(&p, 1, 10000);
    fd = accept(bed.listen_fd, NULL, NULL);
    _exit(recv(fd, request, sizeof(request), 0) > 0 &&
                  send(fd, ok, sizeof(ok) - 1, MSG_NOSIGNAL) > 0
              ? 0
              : 1);
}

/* 0, or what did not work. */
static int fetch_by_own_name(void)
{
    if (!own_hosts("127.0.0.1 api.example\n"))
        return 10;
    locked.parent = getpid();
    locked.lock = lock_with_pairs;
    return locked_worked(fetch) ? 0 : 11;
}

static void libcurl_works_there(void **arg)
{
    pid_t server, pid;
    int status;

    (void)arg;
    if (geteuid() != 0)
        skipped("it needs root, for a hosts file of its own");
    server = fork();
    if (server == 0)
        answer_one();
    pid = fork();
    if (pid == 0)
        _exit(fetch_by_own_name());
    assert_int_equal(waitpid(pid, &status, 0), pid);
    kill(server, SIGKILL);
    waitpid(server, NULL, 0);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

/* --- a name server --- */

#define ANSWER 0x01010101 /* 1.1.1.1 */

static bool bring_up_loopback(void)
{
    struct ifreq r = {.ifr_name = "lo", .ifr_flags = IFF_UP};
    own_fd int fd = socket(AF_INET, SOCK_DGRAM, 0);

    return ioctl(fd, SIOCSIFFLAGS, &r) == 0;
}

/* A network and a view of files of our own: names are asked of 127.0.0.1. */
static bool own_world(void)
{
    own_mem char *path = mem_printf("%s/resolv", locked.dir);
    own_mem char *hosts = mem_printf("%s/hosts", locked.dir);
    own_fd int fd = open(path, O_WRONLY | O_CREAT, 0644);
    own_fd int none = open(hosts, O_WRONLY | O_CREAT, 0644);
    char real[4096];

    return write(fd, "nameserver 127.0.0.1\n", 21) == 21 && none >= 0 &&
           unshare(CLONE_NEWNS | CLONE_NEWNET) == 0 &&
           mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
           realpath("/etc/resolv.conf", real) &&
           mount(path, real, NULL, MS_BIND, NULL) == 0 &&
           mount(hosts, "/etc/hosts", NULL, MS_BIND, NULL) == 0 &&
           bring_up_loopback();
}

/* The answer to a question: one address, or (too large for a datagram) that
 * it is to be asked for by TCP. Its length. */
static size_t answer(uint8_t *msg, size_t len, bool is_cut)
{
    const bool is_a = len > 4 && msg[len - 3] == 1; /* an A record's */
    const uint8_t rr[] = {0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4, 1, 1, 1, 1};

    msg[2] = (uint8_t)(0x81 | (is_cut ? 2 : 0)); /* an answer; cut */
    msg[3] = 0x80;
    memset(msg + 6, 0, 6);
    if (!is_a || is_cut)
        return len;
    msg[7] = 1;
    memcpy(msg + len, rr, sizeof(rr));
    return len + sizeof(rr);
}

static int bound(int type)
{
    struct sockaddr_in at = {.sin_family = AF_INET,
                             .sin_port = htons(53),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, type, 0), one = 1;

    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    return bind(fd, (struct sockaddr *)&at, sizeof(at)) == 0 &&
                   (type == SOCK_DGRAM || listen(fd, 4) == 0)
               ? fd
               : -1;
}

static void answer_stream(int listening)
{
    own_fd int fd = accept(listening, NULL, NULL);
    uint8_t msg[1024];
    ssize_t n;

    /* questions come in order, each with its length in front */
    while ((n = recv(fd, msg, 2, MSG_WAITALL)) == 2) {
        size_t len = (size_t)msg[0] << 8 | msg[1];

        if (len > 512 || recv(fd, msg + 2, len, MSG_WAITALL) != (ssize_t)len)
            return;
        len = answer(msg + 2, len, false);
        msg[0] = (uint8_t)(len >> 8);
        msg[1] = (uint8_t)len;
        if (send(fd, msg, len + 2, MSG_NOSIGNAL) < 0)
            return;
    }
}

/* "cut.example" is answered by TCP alone. */
static void name_server(int udp, int tcp)
{
    struct pollfd p[2] = {{.fd = udp, .events = POLLIN},
                          {.fd = tcp, .events = POLLIN}};

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (;;) {
        struct sockaddr_in from;
        socklen_t len = sizeof(from);
        uint8_t msg[1024];
        ssize_t n;

        poll(p, 2, -1);
        if (p[1].revents)
            answer_stream(tcp);
        if (!p[0].revents)
            continue;
        n = recvfrom(udp, msg, 512, 0, (struct sockaddr *)&from, &len);
        if (n > 12)
            sendto(udp, msg,
                   answer(msg, (size_t)n, memcmp(msg + 13, "cut", 3) == 0), 0,
                   (struct sockaddr *)&from, len);
    }
}

static long resolve(const char *name)
{
    struct addrinfo hints = {.ai_family = AF_UNSPEC,
                             .ai_socktype = SOCK_STREAM},
                    *all = NULL;
    long r = -1;

    if (getaddrinfo(name, "443", &hints, &all) == 0 &&
        ((struct sockaddr_in *)all->ai_addr)->sin_addr.s_addr == ANSWER)
        r = 0;
    return r;
}

static long ask(void)
{
    return resolve("api.example");
}

static long ask_by_stream(void)
{
    return resolve("cut.example");
}

/* 0, or what did not work. */
static int names_in_own_world(void)
{
    int udp, tcp;
    pid_t server;
    int r;

    if (!own_world())
        return 10;
    udp = bound(SOCK_DGRAM);
    tcp = bound(SOCK_STREAM);
    server = fork();
    if (server == 0)
        name_server(udp, tcp);
    locked.parent = getpid();
    r = !locked_worked(ask) ? 11 : !locked_worked(ask_by_stream) ? 12 : 0;
    kill(server, SIGKILL);
    waitpid(server, NULL, 0);
    return r;
}

static void names_are_asked_of_a_server(void **arg)
{
    int status;
    pid_t pid;

    (void)arg;
    if (geteuid() != 0)
        skipped("it needs root, for a name server of its own");
    pid = fork();
    if (pid == 0)
        _exit(names_in_own_world());
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

/* --- files --- */

static long read_shadow(void)
{
    return open("/etc/shadow", O_RDONLY);
}
static long read_passwd(void)
{
    return open("/etc/passwd", O_RDONLY);
}
static long read_state(void)
{
    own_mem char *path = mem_printf("%s/archive", locked.dir);

    return open(path, O_RDONLY);
}
static long read_beside(void)
{
    return openat(locked.tree_fd, "../archive", O_RDONLY);
}
static long list_root(void)
{
    return open("/", O_RDONLY | O_DIRECTORY);
}
static long read_memory(void)
{
    return open("/proc/self/mem", O_RDONLY);
}
static long read_parents(void)
{
    own_mem char *path = mem_printf("/proc/%d/environ", locked.parent);

    return open(path, O_RDONLY);
}
static const struct locked_try reads[] = {
    LOCKED_TRY(read_shadow),  LOCKED_TRY(read_passwd), LOCKED_TRY(read_state),
    LOCKED_TRY(read_beside),  LOCKED_TRY(list_root),   LOCKED_TRY(read_memory),
    LOCKED_TRY(read_parents),
};

static long write_hosts(void)
{
    return open("/etc/hosts", O_WRONLY);
}
static long write_extra(void)
{
    return open(bed.extra, O_RDWR);
}
static long append_extra(void)
{
    return open(bed.extra, O_WRONLY | O_APPEND);
}
static long empty_extra(void)
{
    return open(bed.extra, O_RDONLY | O_TRUNC);
}
static long create(void)
{
    return openat(locked.tree_fd, "new", O_RDONLY | O_CREAT, 0644);
}
static long create_unnamed(void)
{
    return openat(locked.tree_fd, ".", O_RDWR | O_TMPFILE, 0644);
}
static long open_another_way(void)
{
    return locked_open(locked.tree_fd, "new", O_WRONLY | O_CREAT, 0644);
}
static long old_create(void)
{
    own_mem char *path = mem_printf("%s/new", locked.dir);

    return syscall(SYS_creat, path, 0644);
}
static long old_open(void)
{
    return syscall(SYS_open, "/etc/hosts", O_WRONLY);
}
static long make_dir(void)
{
    return syscall(SYS_mkdirat, locked.tree_fd, "d", 0755);
}
static long make_link(void)
{
    return syscall(SYS_symlinkat, "x", locked.tree_fd, "l");
}
static long make_node(void)
{
    return syscall(SYS_mknodat, locked.tree_fd, "n", S_IFIFO | 0666, 0);
}
static long remove_one(void)
{
    return syscall(SYS_unlinkat, AT_FDCWD, bed.extra, 0);
}
static long rename_one(void)
{
    return syscall(SYS_renameat2, AT_FDCWD, bed.extra, locked.tree_fd, "x", 0);
}
static long change_mode(void)
{
    return syscall(SYS_fchmodat, AT_FDCWD, bed.extra, 0777, 0);
}
static long cut_one(void)
{
    return syscall(SYS_truncate, bed.extra, 0);
}
static long change_root(void)
{
    return syscall(SYS_chroot, "/");
}
static long more_of_them(void)
{
    struct rlimit lim = {1 << 16, 1 << 16};

    return syscall(SYS_prlimit64, 0, RLIMIT_NOFILE, &lim, NULL);
}
static long thread_with_more(void)
{
    return syscall(SYS_clone,
                   CLONE_VM | CLONE_SIGHAND | CLONE_THREAD | CLONE_NEWNET, 0, 0,
                   0, 0);
}

/* --- sockets --- */

static long tcp(void)
{
    return syscall(SYS_socket, AF_INET, SOCK_STREAM, 0);
}
static long unix_datagram(void)
{
    return syscall(SYS_socket, AF_UNIX, SOCK_DGRAM, 0);
}
static long raw(void)
{
    return syscall(SYS_socket, AF_INET, SOCK_RAW, IPPROTO_ICMP);
}
static long raw6(void)
{
    return syscall(SYS_socket, AF_INET6, SOCK_RAW, IPPROTO_ICMPV6);
}
static long ping(void)
{
    return syscall(SYS_socket, AF_INET, SOCK_DGRAM, IPPROTO_ICMP);
}
static long multipath(void)
{
    return syscall(SYS_socket, AF_INET, SOCK_STREAM, 262 /* MPTCP */);
}
static long sctp(void)
{
    return syscall(SYS_socket, AF_INET, SOCK_STREAM, IPPROTO_SCTP);
}
static long packet(void)
{
    return syscall(SYS_socket, AF_PACKET, SOCK_RAW, 0);
}
static long vsock(void)
{
    return syscall(SYS_socket, AF_VSOCK, SOCK_STREAM, 0);
}
static long crypto(void)
{
    return syscall(SYS_socket, AF_ALG, SOCK_SEQPACKET, 0);
}
static long diagnosis(void)
{
    return syscall(SYS_socket, AF_NETLINK, SOCK_RAW, NETLINK_SOCK_DIAG);
}
static long audit(void)
{
    return syscall(SYS_socket, AF_NETLINK, SOCK_DGRAM, NETLINK_AUDIT);
}
static long listen_somewhere(void)
{
    return syscall(SYS_listen, tcp(), 1);
}
static long listen_again(void)
{
    return syscall(SYS_listen, bed.listen_fd, 100);
}
static long upper_protocol(void)
{
    return setsockopt(dial(bed.port), IPPROTO_TCP, 31 /* TCP_ULP */, "tls", 3);
}
static long to_a_device(void)
{
    return setsockopt((int)tcp(), SOL_SOCKET, SO_BINDTODEVICE, "lo", 2);
}
static long fast_open(void)
{
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons(bed.other),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};

    return sendto((int)tcp(), "x", 1, MSG_FASTOPEN, (struct sockaddr *)&to,
                  sizeof(to));
}
static long fast_open_too(void)
{
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons(bed.other),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct iovec what = {(char *)"x", 1};
    struct msghdr m = {.msg_name = &to,
                       .msg_namelen = sizeof(to),
                       .msg_iov = &what,
                       .msg_iovlen = 1};

    return sendmsg((int)tcp(), &m, MSG_FASTOPEN);
}
static long fast_open_many(void)
{
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons(bed.other),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct iovec what = {(char *)"x", 1};
    struct mmsghdr m = {.msg_hdr = {.msg_name = &to,
                                    .msg_namelen = sizeof(to),
                                    .msg_iov = &what,
                                    .msg_iovlen = 1}};

    return sendmmsg((int)tcp(), &m, 1, MSG_FASTOPEN);
}
static long dump_devices(void)
{
    struct ifreq r = {.ifr_name = "lo"};

    return ioctl((int)tcp(), SIOCGIFFLAGS, &r);
}

static void nothing_else_works(void **arg)
{
    static const struct locked_try rows[] = {
        LOCKED_TRY(write_hosts),
        LOCKED_TRY(write_extra),
        LOCKED_TRY(append_extra),
        LOCKED_TRY(empty_extra),
        LOCKED_TRY(create),
        LOCKED_TRY(create_unnamed),
        LOCKED_TRY(open_another_way),
        LOCKED_TRY(old_create),
        LOCKED_TRY(old_open),
        LOCKED_TRY(make_dir),
        LOCKED_TRY(make_link),
        LOCKED_TRY(make_node),
        LOCKED_TRY(remove_one),
        LOCKED_TRY(rename_one),
        LOCKED_TRY(change_mode),
        LOCKED_TRY(cut_one),

        LOCKED_TRY(change_root),
        LOCKED_TRY(more_of_them),
        LOCKED_TRY(thread_with_more),
        LOCKED_TRY(unix_datagram),
        LOCKED_TRY(raw),
        LOCKED_TRY(raw6),
        LOCKED_TRY(ping),
        LOCKED_TRY(multipath),
        LOCKED_TRY(sctp),
        LOCKED_TRY(packet),
        LOCKED_TRY(vsock),
        LOCKED_TRY(crypto),
        LOCKED_TRY(diagnosis),
        LOCKED_TRY(audit),
        LOCKED_TRY(listen_somewhere),
        LOCKED_TRY(listen_again),
        LOCKED_TRY(upper_protocol),
        LOCKED_TRY(to_a_device),
        LOCKED_TRY(fast_open),
        LOCKED_TRY(fast_open_too),
        LOCKED_TRY(fast_open_many),
        LOCKED_TRY(dump_devices),
    };
    int bad = 0;

    (void)arg;
    /* a socket is to be had, or some of these would fail for want of it */
    assert_true(locked_worked(tcp));
    bad += locked_tries(rows, sizeof(rows) / sizeof(rows[0]));
    bad += locked_tries(locked_common, locked_common_count);
    if (landlock() > 0)
        bad += locked_tries(reads, sizeof(reads) / sizeof(reads[0]));
    assert_int_equal(bad, 0);
}

static long dial_other(void)
{
    return dial(bed.other);
}

static long bind_somewhere(void)
{
    struct sockaddr_in at = {.sin_family = AF_INET,
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};

    return bind((int)tcp(), (struct sockaddr *)&at, sizeof(at));
}

static void other_ports_are_shut(void **arg)
{
    (void)arg;
    if (landlock() < 4)
        skipped("this kernel's Landlock knows no ports");
    assert_false(locked_worked(dial_other));
    assert_false(locked_worked(bind_somewhere));
}

/* --- limits --- */

static long map_too_much(void)
{
    void *p = mmap(NULL, NETWORK_MEMORY, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    return p == MAP_FAILED ? -1 : 0;
}

static long open_too_many(void)
{
    long fd = 0;

    for (int i = 0; i <= DESCRIPTORS && fd >= 0; i++)
        fd = eventfd(0, 0);
    return fd;
}

/* By a descriptor that was left open. */
static long write_a_file(void)
{
    return write(locked.tree_fd, "x", 1);
}

static int lock_with_a_file(struct err *e)
{
    own_mem char *path = mem_printf("%s/left", locked.dir);
    own_fd int null = open("/dev/null", O_WRONLY);

    close(locked.tree_fd);
    locked.tree_fd = open(path, O_WRONLY | O_CREAT, 0644);
    dup2(null, STDERR_FILENO); /* as where the log is no file */
    signal(SIGXFSZ, SIG_IGN);
    return lock(e);
}

static void its_limits_hold(void **arg)
{
    (void)arg;
    assert_true(HAS_SHADOW || !locked_worked(map_too_much));
    assert_false(locked_worked(open_too_many));
    locked.lock = lock_with_a_file;
    assert_false(locked_worked(write_a_file));
}

static long log_a_line(void)
{
    return write(STDERR_FILENO, "x", 1);
}

static int lock_with_a_log(struct err *e)
{
    own_mem char *path = mem_printf("%s/log", locked.dir);
    own_fd int fd = open(path, O_WRONLY | O_CREAT, 0644);

    dup2(fd, STDERR_FILENO);
    return lock(e);
}

static void a_log_in_a_file_goes_on(void **arg)
{
    (void)arg;
    locked.lock = lock_with_a_log;
    assert_true(locked_worked(log_a_line));
}

/* --- other kernels, other files --- */

static int lock_without_landlock(struct err *e)
{
    log_fd(locked.pipe_fds[1]);
    nocall(SYS_landlock_create_ruleset, ENOSYS);
    return lock(e);
}

static long write_nothing(void)
{
    return do_its_work() == 0 && write_hosts() < 0 && create() < 0 &&
                   open_another_way() < 0
               ? 0
               : -1;
}

static void a_kernel_without_landlock_is_told_of_once(void **arg)
{
    char text[4096] = "", *line;

    (void)arg;
    locked.lock = lock_without_landlock;
    assert_true(locked_worked(write_nothing));
    assert_true(read(locked.pipe_fds[0], text, sizeof(text) - 1) > 0);
    line = strstr(text, "\"ev\":\"test.lockdown\",\"missing\":\"landlock\"");
    assert_non_null(line);
    assert_null(strstr(strchr(line, '\n'), "landlock"));
}

static int lock_when(int call)
{
    int status;
    pid_t pid = fork();

    if (pid == 0) {
        struct err e = {0};

        nocall(call, EPERM);
        _exit(lock(&e) == 0 ? 0 : e.kind == ERR_SYSTEM ? 1 : 2);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void what_cannot_be_locked_fails(void **arg)
{
    (void)arg;
    if (landlock() > 0)
        assert_int_equal(lock_when(SYS_landlock_restrict_self), 1);
    assert_int_equal(lock_when(SYS_seccomp), 1);
}

/* 0: seen to be others, and only once they were. */
static int replace_names(void)
{
    const uint64_t before = lockdown_names();
    own_mem char *path = mem_printf("%s/extra", locked.dir);

    if (unshare(CLONE_NEWNS) < 0 ||
        mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
        return 10;
    if (lockdown_names() != before)
        return 11;
    if (mount(path, "/etc/hosts", NULL, MS_BIND, NULL) < 0)
        return 12;
    return lockdown_names() != before ? 0 : 13;
}

static void files_of_names_that_are_replaced_are_noticed(void **arg)
{
    int status;
    pid_t pid;

    (void)arg;
    if (geteuid() != 0)
        skipped("it needs root, to replace a file of the system's");
    pid = fork();
    if (pid == 0)
        _exit(replace_names());
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(its_work_goes_on),
        T(a_library_that_aborts_dies_of_that),
        T(libcurl_works_there),
        T(names_are_asked_of_a_server),
        T(nothing_else_works),
        T(other_ports_are_shut),
        T(its_limits_hold),
        T(a_log_in_a_file_goes_on),
        T(a_kernel_without_landlock_is_told_of_once),
        T(what_cannot_be_locked_fails),
        T(files_of_names_that_are_replaced_are_noticed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
