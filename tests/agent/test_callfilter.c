/* The program's system calls: each filter set in a child, and then asked. */
#include "agent/callfilter.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define HIGH (1l << 32) /* what the kernel does not look at */
#define MPTCP 262

static struct callfilter calls, with_udp, arguments, no_inet;

static int setup(void **state)
{
    struct err e = {0};

    (void)state;
    assert_int_equal(callfilter_calls(false, &calls, &e), 0);
    assert_int_equal(callfilter_calls(true, &with_udp, &e), 0);
    assert_int_equal(callfilter_arguments(&arguments, &e), 0);
    assert_int_equal(callfilter_no_inet(&no_inet, &e), 0);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    callfilter_fini(&calls);
    callfilter_fini(&with_udp);
    callfilter_fini(&arguments);
    callfilter_fini(&no_inet);
    return 0;
}

static void set(const struct callfilter *f)
{
    struct sock_fprog program = {(unsigned short)f->count, f->code};

    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) < 0)
        _exit(250);
}

/* The errno of one call under the filters, 0 when it came through. Nothing of
 * it is to have an effect. */
static int ask_under(const struct callfilter *first,
                     const struct callfilter *third, long number, long a,
                     long b, long c, long d, long e)
{
    pid_t child = fork(), made;
    int status;

    if (child == 0) {
        long r;

        set(first);
        set(&arguments);
        if (third)
            set(third);
        made = getpid();
        errno = 0;
        r = syscall(number, a, b, c, d, e, 0);
        if (getpid() != made)
            _exit(0); /* one that was made */
        _exit(r < 0 ? errno : 0);
    }
    waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 300 + WTERMSIG(status);
}

static int ask(long number, long a, long b, long c)
{
    return ask_under(&calls, NULL, number, a, b, c, 0, 0);
}

static int ask_socket(long family, long type, long protocol)
{
    return ask(SYS_socket, family, type, protocol);
}

/* --- by number --- */

static void what_is_not_listed_is_unknown_or_refused(void **state)
{
    static const struct {
        long number;
        int error;
    } rows[] = {
        {SYS_clone3, ENOSYS},
        {SYS_io_uring_setup, ENOSYS},
        {SYS_io_uring_enter, ENOSYS},
        {SYS_io_uring_register, ENOSYS},
        {SYS_keyctl, ENOSYS},
        {SYS_add_key, ENOSYS},
        {SYS_request_key, ENOSYS},
        {SYS_unshare, EPERM},
        {SYS_setns, EPERM},
        {SYS_ptrace, EPERM},
        {SYS_process_vm_readv, EPERM},
        {SYS_process_vm_writev, EPERM},
        {SYS_bpf, EPERM},
        {SYS_perf_event_open, EPERM},
        {SYS_userfaultfd, EPERM},
        {SYS_pidfd_getfd, EPERM},
        {SYS_mount, EPERM},
        {SYS_umount2, EPERM},
        {SYS_pivot_root, EPERM},
        {SYS_chroot, EPERM},
        {SYS_open_by_handle_at, EPERM},
        {SYS_kcmp, EPERM},
        {SYS_reboot, EPERM},
        {SYS_init_module, EPERM},
        {SYS_fsopen, EPERM},
        {SYS_move_mount, EPERM},
        {SYS_sethostname, EPERM},
        {SYS_swapon, EPERM},
        {SYS_fanotify_init, EPERM},
        {SYS_syslog, EPERM},
        {SYS_modify_ldt, ENOSYS},
        {SYS_memfd_secret, ENOSYS},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        if (ask(rows[i].number, 0, 0, 0) != rows[i].error)
            fail_msg("call %ld: %d", rows[i].number,
                     ask(rows[i].number, 0, 0, 0));
}

/* What a later kernel may bring, too. */
static void numbers_that_nobody_knows_are_unknown(void **state)
{
    (void)state;
    for (long n = 480; n < 1024; n++)
        if (ask(n, 0, 0, 0) != ENOSYS)
            fail_msg("call %ld comes through", n);
    assert_int_equal(ask(-1, 0, 0, 0), ENOSYS);
}

#if defined(__x86_64__)
static void other_abis_are_unknown(void **state)
{
    int status;
    pid_t child;

    (void)state;
    /* x32 has a bit of its own */
    assert_int_equal(ask(0x40000000 | SYS_getpid, 0, 0, 0), ENOSYS);
    assert_int_equal(ask(0x40000000 | 512, 0, 0, 0), ENOSYS);
    child = fork();
    if (child == 0) {
        long r = 20; /* getpid of 32 bits */

        set(&calls);
        __asm__ volatile("int $0x80" : "+a"(r) : : "memory");
        _exit(r == -ENOSYS ? 0 : 1);
    }
    waitpid(child, &status, 0);
    /* a kernel without them kills */
    assert_true(!WIFEXITED(status) || WEXITSTATUS(status) == 0);
}
#endif

/* --- by argument --- */

static void sockets_are_local_tcp_and_routes(void **state)
{
    (void)state;
    for (long flags = 0; flags <= SOCK_CLOEXEC; flags += SOCK_CLOEXEC) {
        assert_int_equal(ask_socket(AF_UNIX, SOCK_STREAM | flags, 0), 0);
        assert_int_equal(ask_socket(AF_UNIX, SOCK_DGRAM | flags, 0), 0);
        assert_int_equal(ask_socket(AF_INET, SOCK_STREAM | flags, 0), 0);
        assert_int_equal(ask_socket(AF_INET6, SOCK_STREAM | flags, 6), 0);
        assert_int_equal(ask_socket(AF_NETLINK, SOCK_RAW | flags, 0), 0);
    }
    assert_int_equal(ask(SYS_socketpair, AF_UNIX, SOCK_STREAM, 0), EFAULT);
    for (long family = 0; family < 64; family++) {
        if (family == AF_UNIX || family == AF_INET || family == AF_INET6 ||
            family == AF_NETLINK)
            continue;
        for (long type = 0; type < 11; type++)
            assert_int_equal(ask_socket(family, type, 0), EAFNOSUPPORT);
    }
    for (long protocol = 1; protocol < 23; protocol++)
        assert_int_not_equal(ask_socket(AF_NETLINK, SOCK_RAW, protocol), 0);
    for (long family = 2; family < 64; family++)
        assert_int_not_equal(ask(SYS_socketpair, family, SOCK_STREAM, 0),
                             EFAULT);
}

static void of_the_internet_only_tcp(void **state)
{
    static const long families[] = {AF_INET, AF_INET6};

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        for (long type = 0; type < 16; type++)
            for (long protocol = 0; protocol < 300; protocol += 1)
                if (type != SOCK_STREAM || (protocol != 0 && protocol != 6)) {
                    /* one in many: each takes a process */
                    if (protocol > 6 && protocol % 17 != type % 17 &&
                        protocol != MPTCP)
                        continue;
                    if (ask_socket(families[i], type, protocol) == 0)
                        fail_msg("%ld %ld %ld", families[i], type, protocol);
                }
        assert_int_equal(ask_socket(families[i], SOCK_STREAM, MPTCP),
                         EPROTONOSUPPORT);
        assert_int_equal(ask_socket(families[i], SOCK_RAW, IPPROTO_ICMP),
                         EPROTONOSUPPORT);
    }
}

/* The kernel takes an int: with more above it, it is the same call. */
static void high_bits_change_nothing(void **state)
{
    (void)state;
    assert_int_not_equal(ask_socket(AF_VSOCK | HIGH, SOCK_STREAM, 0), 0);
    assert_int_not_equal(ask_socket(AF_INET | HIGH, SOCK_DGRAM, 0), 0);
    assert_int_not_equal(ask_socket(AF_INET, SOCK_DGRAM | HIGH, 0), 0);
    assert_int_not_equal(ask_socket(AF_INET, SOCK_STREAM, MPTCP | HIGH), 0);
    assert_int_not_equal(ask_socket(AF_INET | HIGH, SOCK_RAW | HIGH, 0), 0);
    assert_int_equal(ask(SYS_ioctl, 0, TIOCSTI | HIGH, 0), EPERM);
    assert_int_equal(ask_under(&calls, NULL, SYS_setsockopt, 0,
                               IPPROTO_TCP | HIGH, TCP_FASTOPEN_CONNECT | HIGH,
                               0, 4),
                     ENOPROTOOPT);
    assert_int_equal(ask(SYS_clone, CLONE_NEWUSER | SIGCHLD | HIGH, 0, 0),
                     EPERM);
}

static void data_is_not_sent_before_a_connection(void **state)
{
    (void)state;
    assert_int_equal(
        ask_under(&calls, NULL, SYS_sendto, -1, 0, 0, MSG_FASTOPEN, 0),
        EOPNOTSUPP);
    assert_int_equal(ask(SYS_sendmsg, -1, 0, MSG_FASTOPEN | MSG_NOSIGNAL),
                     EOPNOTSUPP);
    assert_int_equal(
        ask_under(&calls, NULL, SYS_sendmmsg, -1, 0, 0, MSG_FASTOPEN, 0),
        EOPNOTSUPP);
    assert_int_equal(
        ask_under(&calls, NULL, SYS_sendto, -1, 0, 0, MSG_NOSIGNAL, 0), EBADF);
    assert_int_equal(ask_under(&calls, NULL, SYS_setsockopt, -1, IPPROTO_TCP,
                               TCP_FASTOPEN_CONNECT, 0, 4),
                     ENOPROTOOPT);
    assert_int_equal(
        ask_under(&calls, NULL, SYS_setsockopt, -1, IPPROTO_TCP, 31, 0, 4),
        ENOPROTOOPT);
    assert_int_equal(ask_under(&calls, NULL, SYS_setsockopt, -1, IPPROTO_TCP,
                               TCP_NODELAY, 0, 4),
                     EBADF);
}

static void no_namespace_is_made(void **state)
{
    static const long flags[] = {CLONE_NEWUSER,  CLONE_NEWNS,  CLONE_NEWPID,
                                 CLONE_NEWNET,   CLONE_NEWIPC, CLONE_NEWUTS,
                                 CLONE_NEWCGROUP};

    (void)state;
    for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++)
        assert_int_equal(ask(SYS_clone, flags[i] | SIGCHLD, 0, 0), EPERM);
    assert_int_equal(ask(SYS_clone, SIGCHLD, 0, 0), 0);
}

static void terminals_are_not_typed_into(void **state)
{
    (void)state;
    assert_int_equal(ask(SYS_ioctl, -1, TIOCSTI, 0), EPERM);
    assert_int_equal(ask(SYS_ioctl, -1, TIOCLINUX, 0), EPERM);
    assert_int_equal(ask(SYS_ioctl, -1, TIOCSETD, 0), EPERM);
    assert_int_equal(ask(SYS_ioctl, -1, TIOCGWINSZ, 0), EBADF);
    assert_int_equal(ask(SYS_ioctl, -1, TIOCSWINSZ, 0), EBADF);
}

static void personalities_are_linux_own(void **state)
{
    (void)state;
    assert_int_equal(ask(SYS_personality, 0xffffffff, 0, 0), 0);
    assert_int_equal(ask(SYS_personality, READ_IMPLIES_EXEC, 0, 0), ENOSYS);
    assert_int_equal(ask(SYS_personality, MMAP_PAGE_ZERO, 0, 0), ENOSYS);
}

/* --- the other two --- */

static void udp_only_where_the_network_is_open(void **state)
{
    (void)state;
    assert_int_not_equal(ask_socket(AF_INET, SOCK_DGRAM, 0), 0);
    assert_int_equal(
        ask_under(&with_udp, NULL, SYS_socket, AF_INET, SOCK_DGRAM, 0, 0, 0),
        0);
    assert_int_equal(ask_under(&with_udp, NULL, SYS_socket, AF_INET6,
                               SOCK_DGRAM, IPPROTO_UDP, 0, 0),
                     0);
    assert_int_not_equal(ask_under(&with_udp, NULL, SYS_socket, AF_INET,
                                   SOCK_DGRAM, IPPROTO_ICMP, 0, 0),
                         0);
    assert_int_not_equal(
        ask_under(&with_udp, NULL, SYS_socket, AF_INET, SOCK_RAW, 17, 0, 0), 0);
}

static void without_internet_local_sockets_remain(void **state)
{
    (void)state;
    assert_int_equal(
        ask_under(&calls, &no_inet, SYS_socket, AF_INET, SOCK_STREAM, 0, 0, 0),
        EAFNOSUPPORT);
    assert_int_equal(ask_under(&calls, &no_inet, SYS_socket, AF_INET6 | HIGH,
                               SOCK_STREAM, 0, 0, 0),
                     EAFNOSUPPORT);
    assert_int_equal(
        ask_under(&calls, &no_inet, SYS_socket, AF_UNIX, SOCK_STREAM, 0, 0, 0),
        0);
}

#define T(name) cmocka_unit_test(name)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(what_is_not_listed_is_unknown_or_refused),
        T(numbers_that_nobody_knows_are_unknown),
#if defined(__x86_64__)
        T(other_abis_are_unknown),
#endif
        T(sockets_are_local_tcp_and_routes),
        T(of_the_internet_only_tcp),
        T(high_bits_change_nothing),
        T(data_is_not_sent_before_a_connection),
        T(no_namespace_is_made),
        T(terminals_are_not_typed_into),
        T(personalities_are_linux_own),
        T(udp_only_where_the_network_is_open),
        T(without_internet_local_sockets_remain),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
