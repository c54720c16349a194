/*
 * seccomp shows 64-bit arguments; the kernel takes an int or the low half of
 * each argument judged here, so the low half is what is compared: what stands
 * above it is without effect and gets nobody round the rule.
 */
#include "keeper/filter.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#if defined(__x86_64__)
#define FILTER_ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define FILTER_ARCH AUDIT_ARCH_AARCH64
#else
#define FILTER_ARCH 0
#endif
#define FILTER_X32 0x40000000u /* x86_64: the third ABI */

#define NEW_NAMESPACES                                                         \
    (CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET |               \
     CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP)

static const struct {
    uint32_t number;
    uint16_t error;
} refused[] = {
    /* ENOSYS: callers have another way and take it. clone3's flags lie in
     * memory, where no filter sees them; clone says the same in sight. */
    {SYS_clone3, ENOSYS},
    {SYS_io_uring_setup, ENOSYS},
    {SYS_io_uring_enter, ENOSYS},
    {SYS_io_uring_register, ENOSYS},
    {SYS_keyctl, ENOSYS}, /* keyrings know no PID or mount namespace */
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
};

struct writer {
    struct sock_filter *out;
    size_t len;
};

static void put(struct writer *w, struct sock_filter one)
{
    if (w->len >= FILTER_MAX)
        abort(); /* the table outgrew the array */
    w->out[w->len++] = one;
}

static void load(struct writer *w, size_t at)
{
    put(w,
        (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (uint32_t)at));
}

static void load_argument(struct writer *w, int i)
{
    size_t low = __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__ ? 4 : 0;

    load(w, offsetof(struct seccomp_data, args) + 8 * (size_t)i + low);
}

/* If the loaded word compares so, go on; else skip `skip` instructions. */
static void unless(struct writer *w, uint16_t how, uint32_t value, uint8_t skip)
{
    put(w, (struct sock_filter)BPF_JUMP((uint16_t)(BPF_JMP | how | BPF_K),
                                        value, 0, skip));
}

static void give(struct writer *w, uint32_t action)
{
    put(w, (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, action));
}

static void refuse(struct writer *w, uint16_t error)
{
    give(w, SECCOMP_RET_ERRNO | error);
}

/* The families that stay inside: a domain not in the list is refused. */
static void put_socket(struct writer *w, uint32_t number,
                       const uint32_t *allowed, size_t count)
{
    /* load, count pairs of compare and allow, refuse, reload */
    unless(w, BPF_JEQ, number, (uint8_t)(1 + 2 * count + 1));
    load_argument(w, 0);
    for (size_t i = 0; i < count; i++) {
        unless(w, BPF_JEQ, allowed[i], 1);
        give(w, SECCOMP_RET_ALLOW);
    }
    refuse(w, EAFNOSUPPORT);
}

static void put_arguments(struct writer *w)
{
    static const uint32_t families[] = {AF_UNIX, AF_INET, AF_INET6, AF_NETLINK};

    put_socket(w, SYS_socket, families, 4);
    put_socket(w, SYS_socketpair, families, 1);
    unless(w, BPF_JEQ, SYS_clone, 4);
    load_argument(w, 0);
    unless(w, BPF_JSET, NEW_NAMESPACES, 1);
    refuse(w, EPERM);
    give(w, SECCOMP_RET_ALLOW);
    /* typing into a terminal by ioctl: it may once be another's */
    unless(w, BPF_JEQ, SYS_ioctl, 6);
    load_argument(w, 1);
    unless(w, BPF_JEQ, TIOCSTI, 1);
    refuse(w, EPERM);
    unless(w, BPF_JEQ, TIOCLINUX, 1);
    refuse(w, EPERM);
    give(w, SECCOMP_RET_ALLOW);
}

size_t filter_build(struct sock_filter out[FILTER_MAX])
{
    struct writer w = {out, 0};

    if (FILTER_ARCH == 0)
        return 0;
    /* another ABI of this machine has other numbers: none of it */
    load(&w, offsetof(struct seccomp_data, arch));
    put(&w, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, FILTER_ARCH,
                                         1, 0));
    refuse(&w, ENOSYS);
    load(&w, offsetof(struct seccomp_data, nr));
    unless(&w, BPF_JGE, FILTER_X32, 1);
    refuse(&w, ENOSYS);
    for (size_t i = 0; i < sizeof(refused) / sizeof(*refused); i++) {
        unless(&w, BPF_JEQ, refused[i].number, 1);
        refuse(&w, refused[i].error);
    }
    put_arguments(&w);
    give(&w, SECCOMP_RET_ALLOW);
    return w.len;
}
