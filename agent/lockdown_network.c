#include "agent/lockdown.h"

#include "agent/lockdown_internal.h"
#include "base/log.h"
#include "base/own.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define DNS_PORT 53

/* --- files and ports --- */

/* Of a later kernel than the headers may be. */
enum {
    FS_TRUNCATE = 1 << 14,  /* version 3 */
    FS_IOCTL_DEV = 1 << 15, /* 5 */
    NET_BIND_TCP = 1 << 0,
    NET_CONNECT_TCP = 1 << 1, /* 4 */
    SCOPE_ABSTRACT_UNIX = 1 << 0,
    SCOPE_SIGNAL = 1 << 1, /* 6 */
    RULE_NET_PORT = 2,
};
struct ruleset {
    uint64_t fs, net, scoped;
};
struct port_rule {
    uint64_t access, port;
};

/* What getaddrinfo reads, and the libraries it loads by nsswitch.conf's word.
 * A file that is not there needs no rule. */
static const char *const resolver_files[] = {
    "/etc/resolv.conf",
    "/etc/hosts",
    "/etc/host.conf",
    "/etc/nsswitch.conf",
    "/etc/gai.conf",
    "/etc/services",
    "/etc/ld.so.cache",
    "/usr/lib",
    "/lib",
    "/lib64",
    "/run/systemd/resolve", /* where resolv.conf may lead, */
    "/run/NetworkManager",
    "/run/resolvconf",
    "/run/connman",
};

static uint64_t files_known(int version)
{
    uint64_t all = (LANDLOCK_ACCESS_FS_MAKE_SYM << 1) - 1;

    if (version >= 2)
        all |= LANDLOCK_ACCESS_FS_REFER;
    if (version >= 3)
        all |= FS_TRUNCATE;
    if (version >= 5)
        all |= FS_IOCTL_DEV;
    return all;
}

static int may_read(int set, const char *path, struct err *e)
{
    struct landlock_path_beneath_attr rule = {.allowed_access =
                                                  LANDLOCK_ACCESS_FS_READ_FILE};
    own_fd int fd = open(path, O_PATH | O_CLOEXEC);
    struct stat st;

    if (fd < 0)
        return 0;
    if (fstat(fd, &st) == 0 && S_ISDIR(st.st_mode))
        rule.allowed_access |= LANDLOCK_ACCESS_FS_READ_DIR;
    rule.parent_fd = fd;
    if (syscall(SYS_landlock_add_rule, set, LANDLOCK_RULE_PATH_BENEATH, &rule,
                0) < 0)
        return err_sys(e, "landlock: %s", path);
    return 0;
}

static int may_connect(int set, uint16_t port, struct err *e)
{
    struct port_rule rule = {.access = NET_CONNECT_TCP, .port = port};

    if (syscall(SYS_landlock_add_rule, set, RULE_NET_PORT, &rule, 0) < 0)
        return err_sys(e, "landlock: port %u", port);
    return 0;
}

static int lockdown_reads(int set, const struct lockdown_network *n,
                          struct err *e)
{
    for (size_t i = 0; i < COUNT(resolver_files); i++)
        if (may_read(set, resolver_files[i], e) < 0)
            return -1;
    for (const char *const *path = n->reads; path && *path; path++)
        if (may_read(set, *path, e) < 0)
            return -1;
    return 0;
}

static int lockdown_ports(int set, const struct lockdown_network *n,
                          struct err *e)
{
    for (size_t i = 0; i < n->port_count; i++)
        if (may_connect(set, n->ports[i], e) < 0)
            return -1;
    return may_connect(set, DNS_PORT, e);
}

/* A kernel without Landlock leaves it what its user may read. */
static int lockdown_paths(const struct lockdown_network *n, struct err *e)
{
    const int version = lockdown_landlock();
    struct ruleset rules = {.fs = files_known(version)};
    own_fd int set = -1;

    if (version == 0) {
        log_warn(n->event, "missing", "s", "landlock", NULL);
        return 0;
    }
    if (version >= 4)
        rules.net = NET_BIND_TCP | (n->port_count > 0 ? NET_CONNECT_TCP : 0);
    if (version >= 6)
        rules.scoped = SCOPE_ABSTRACT_UNIX | SCOPE_SIGNAL;
    set = (int)syscall(SYS_landlock_create_ruleset, &rules, sizeof(rules), 0);
    if (set < 0)
        return err_sys(e, "landlock");
    if (lockdown_reads(set, n, e) < 0 ||
        ((rules.net & NET_CONNECT_TCP) && lockdown_ports(set, n, e) < 0))
        return -1;
    if (syscall(SYS_landlock_restrict_self, set, 0) < 0)
        return err_sys(e, "landlock");
    return 0;
}

/* --- system calls --- */

/* What threads, a loop, sockets, pipes between them and a resolver ask for;
 * what hangs on an argument comes below. */
static const int network_calls[] = {
    /* memory, time, threads */
    SCMP_SYS(mmap),
    SCMP_SYS(munmap),
    SCMP_SYS(mremap),
    SCMP_SYS(mprotect),
    SCMP_SYS(brk),
    SCMP_SYS(madvise),
    SCMP_SYS(futex),
    SCMP_SYS(set_robust_list),
    SCMP_SYS(rseq),
    SCMP_SYS(sched_yield),
    SCMP_SYS(sched_getaffinity),
    SCMP_SYS(clock_gettime),
    SCMP_SYS(clock_nanosleep),
    SCMP_SYS(gettimeofday),
    SCMP_SYS(getrandom),
    SCMP_SYS(rt_sigaction),
    SCMP_SYS(rt_sigprocmask),
    SCMP_SYS(rt_sigreturn),
    SCMP_SYS(restart_syscall),
    SCMP_SYS(exit),
    SCMP_SYS(exit_group),
    SCMP_SYS(getpid),
    SCMP_SYS(gettid),
    SCMP_SYS(getuid),
    SCMP_SYS(geteuid),
    SCMP_SYS(getgid),
    SCMP_SYS(getegid),
    SCMP_SYS(uname),
    SCMP_SYS(sysinfo),
    LOCKDOWN_MORE_CALLS
        /* descriptors */
        SCMP_SYS(read),
    SCMP_SYS(readv),
    SCMP_SYS(pread64),
    SCMP_SYS(write),
    SCMP_SYS(writev),
    SCMP_SYS(close),
    SCMP_SYS(lseek),
    SCMP_SYS(fstat),
    SCMP_SYS(newfstatat),
    SCMP_SYS(poll),
    SCMP_SYS(ppoll),
    SCMP_SYS(epoll_create1),
    SCMP_SYS(epoll_ctl),
    SCMP_SYS(epoll_wait),
    SCMP_SYS(epoll_pwait),
    SCMP_SYS(eventfd2),
    SCMP_SYS(pipe2),
    SCMP_SYS(splice),
    /* sockets; listening ones are given, not made */
    SCMP_SYS(accept4),
    SCMP_SYS(bind), /* a netlink socket's */
    SCMP_SYS(connect),
    SCMP_SYS(shutdown),
    SCMP_SYS(getsockname),
    SCMP_SYS(getpeername),
    SCMP_SYS(getsockopt),
    SCMP_SYS(recvfrom),
    SCMP_SYS(recvmsg),
};

static const struct {
    int call;
    unsigned arg;
    uint64_t value;
} network_values[] = {
    {SCMP_SYS(fcntl), 1, F_GETFD},
    {SCMP_SYS(fcntl), 1, F_SETFD},
    {SCMP_SYS(fcntl), 1, F_GETFL},
    {SCMP_SYS(fcntl), 1, F_SETPIPE_SZ},
    {SCMP_SYS(fcntl), 1, F_DUPFD_CLOEXEC},
    {SCMP_SYS(ioctl), 1, FIONREAD},
    {SCMP_SYS(ioctl), 1, FIONBIO},
    {SCMP_SYS(ioctl), 1, FIOCLEX},
    /* a thread, as the C library makes one: never a process */
    {SCMP_SYS(clone), 0,
     CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD |
         CLONE_SYSVSEM | CLONE_SETTLS | CLONE_PARENT_SETTID |
         CLONE_CHILD_CLEARTID},
    {SCMP_SYS(prctl), 0, PR_SET_NAME}, /* of a thread */
};

/* Bits that must not be there. */
static const struct {
    int call;
    unsigned arg;
    uint64_t bits;
} network_masks[] = {
    {SCMP_SYS(openat), 2, O_ACCMODE | O_CREAT | O_TRUNC | O_APPEND},
    {SCMP_SYS(sendto), 3, MSG_FASTOPEN}, /* a way round connect(2) */
    {SCMP_SYS(sendmsg), 2, MSG_FASTOPEN},
    {SCMP_SYS(sendmmsg), 3, MSG_FASTOPEN},
};

static const struct {
    int domain, type, protocol;
} network_sockets[] = {
    {AF_INET, SOCK_STREAM, 0},
    {AF_INET, SOCK_STREAM, IPPROTO_TCP},
    {AF_INET, SOCK_DGRAM, 0},
    {AF_INET, SOCK_DGRAM, IPPROTO_UDP},
    {AF_INET6, SOCK_STREAM, 0},
    {AF_INET6, SOCK_STREAM, IPPROTO_TCP},
    {AF_INET6, SOCK_DGRAM, 0},
    {AF_INET6, SOCK_DGRAM, IPPROTO_UDP},
    {AF_NETLINK, SOCK_RAW, 0 /* route */},
};

static const struct {
    int level, name;
} network_options[] = {
    {SOL_SOCKET, SO_KEEPALIVE},   {IPPROTO_TCP, TCP_NODELAY},
    {IPPROTO_TCP, TCP_KEEPIDLE},  {IPPROTO_TCP, TCP_KEEPINTVL},
    {IPPROTO_TCP, TCP_KEEPCNT},   {IPPROTO_IP, IP_RECVERR},
    {IPPROTO_IPV6, IPV6_RECVERR},
};

static int allow_sockets(scmp_filter_ctx ctx)
{
    int r = 0;

    for (size_t i = 0; r == 0 && i < COUNT(network_sockets); i++)
        r = seccomp_rule_add(
            ctx, SCMP_ACT_ALLOW, SCMP_SYS(socket), 3,
            SCMP_A0(SCMP_CMP_EQ, (uint64_t)network_sockets[i].domain),
            SCMP_A1(SCMP_CMP_MASKED_EQ,
                    ~(uint64_t)(SOCK_CLOEXEC | SOCK_NONBLOCK),
                    (uint64_t)network_sockets[i].type),
            SCMP_A2(SCMP_CMP_EQ, (uint64_t)network_sockets[i].protocol));
    for (size_t i = 0; r == 0 && i < COUNT(network_options); i++)
        r = seccomp_rule_add(
            ctx, SCMP_ACT_ALLOW, SCMP_SYS(setsockopt), 2,
            SCMP_A1(SCMP_CMP_EQ, (uint64_t)network_options[i].level),
            SCMP_A2(SCMP_CMP_EQ, (uint64_t)network_options[i].name));
    return r;
}

static int allow_by_arguments(scmp_filter_ctx ctx)
{
    int r = 0;

    for (size_t i = 0; r == 0 && i < COUNT(network_values); i++)
        r = lockdown_allow_if(ctx, network_values[i].call,
                              network_values[i].arg, network_values[i].value);
    for (size_t i = 0; r == 0 && i < COUNT(network_masks); i++)
        r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, network_masks[i].call, 1,
                             SCMP_CMP(network_masks[i].arg, SCMP_CMP_MASKED_EQ,
                                      network_masks[i].bits, 0));
    /* with an owner and a signal of its choice a descriptor would kill */
    if (r == 0)
        r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(fcntl), 2,
                             SCMP_A1(SCMP_CMP_EQ, F_SETFL),
                             SCMP_A2(SCMP_CMP_MASKED_EQ, O_ASYNC, 0));
    /* its own limits may be asked for */
    if (r == 0)
        r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(prlimit64), 2,
                             SCMP_A0(SCMP_CMP_EQ, 0), SCMP_A2(SCMP_CMP_EQ, 0));
    /* its arguments lie in memory; the C library takes clone instead */
    if (r == 0)
        r = seccomp_rule_add(ctx, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
    return r;
}

static int lockdown_network_calls(const struct lockdown_network *n,
                                  struct err *e)
{
    scmp_filter_ctx ctx = lockdown_filter();
    int r = ctx ? 0 : -ENOMEM;

    if (r == 0)
        r = lockdown_allow(ctx, network_calls, COUNT(network_calls));
    if (r == 0)
        r = allow_by_arguments(ctx);
    if (r == 0)
        r = allow_sockets(ctx);
    if (r == 0 && n->has_pairs)
        r = lockdown_allow_if(ctx, SCMP_SYS(socketpair), 0, AF_UNIX);
    if (r == 0)
        r = lockdown_allow_abort(ctx);
    return lockdown_load(ctx, r, e);
}

/* --- limits --- */

/* No file grows: but the log's, which may be one, by our standard error. */
static int limit_files(struct err *e)
{
    struct stat st;

    if (fstat(STDERR_FILENO, &st) == 0 && S_ISREG(st.st_mode))
        return 0;
    return lockdown_limit(RLIMIT_FSIZE, 0, e);
}

/* So many, or as many as there may be. */
static int limit_descriptors(rlim_t count, struct err *e)
{
    struct rlimit lim;

    if (getrlimit(RLIMIT_NOFILE, &lim) < 0)
        return err_sys(e, "limit %d", RLIMIT_NOFILE);
    return lockdown_limit(RLIMIT_NOFILE,
                          lim.rlim_max < count ? lim.rlim_max : count, e);
}

/* (RLIMIT_NPROC counts threads, and others': the filter stops processes.) */
int lockdown_network(const struct lockdown_network *n, struct err *e)
{
    if (lockdown_no_new_privs(e) < 0 || lockdown_limit(RLIMIT_CORE, 0, e) < 0 ||
        lockdown_limit(RLIMIT_DATA, LOCKDOWN_MEMORY(n->memory_bytes), e) < 0 ||
        limit_files(e) < 0 || limit_descriptors(n->descriptors, e) < 0)
        return -1;
    if (lockdown_paths(n, e) < 0)
        return -1;
    return lockdown_network_calls(n, e);
}

/* --- files that were replaced --- */

uint64_t lockdown_names(void)
{
    static const char *const often[] = {"/etc/resolv.conf", "/etc/hosts"};
    uint64_t mark = 0;

    for (size_t i = 0; i < COUNT(often); i++) {
        struct stat st = {0};

        if (stat(often[i], &st) == 0)
            mark = mark * 1000003 + (st.st_dev << 32 ^ st.st_ino);
    }
    return mark;
}
