/*
 * The kernel's share of the cage, by bare system calls: what the agent asked
 * for in START. Landlock comes first, as the filters may forbid what setting
 * it up takes, and as one of them depends on what it can.
 */
#include "runner-image/parts.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Of Landlock since, where the headers are older than the kernel. */
#define FS_REFER (1ull << 13)
#define FS_TRUNCATE (1ull << 14)
#define FS_IOCTL_DEV (1ull << 15)
#define NET_BIND_TCP (1ull << 0)
#define NET_CONNECT_TCP (1ull << 1)
#define SCOPE_ALL (1ull << 0 | 1ull << 1) /* abstract sockets, signals */
#define RULE_NET_PORT 2

struct ruleset { /* struct landlock_ruleset_attr of ABI 6 */
    uint64_t fs, net, scoped;
};

struct net_port { /* struct landlock_net_port_attr */
    uint64_t access, port;
};

#define FS_FIRST ((LANDLOCK_ACCESS_FS_MAKE_SYM << 1) - 1) /* all of ABI 1 */
#define FS_READ                                                                \
    (LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_READ_FILE |               \
     LANDLOCK_ACCESS_FS_READ_DIR)
/* No devices are made anywhere. */
#define FS_NEVER (LANDLOCK_ACCESS_FS_MAKE_CHAR | LANDLOCK_ACCESS_FS_MAKE_BLOCK)
/* What is said of a file that is no directory. */
#define FS_OF_FILE                                                             \
    (LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_READ_FILE |               \
     LANDLOCK_ACCESS_FS_WRITE_FILE | FS_TRUNCATE | FS_IOCTL_DEV)

static uint64_t files_of(int abi)
{
    uint64_t all = FS_FIRST;

    if (abi >= 2)
        all |= FS_REFER;
    if (abi >= 3)
        all |= FS_TRUNCATE;
    if (abi >= 5)
        all |= FS_IOCTL_DEV;
    return all;
}

/* A path that is not there, or not to be had, stays shut. */
static int allow_path(int set, const char *path, uint64_t access)
{
    struct landlock_path_beneath_attr rule = {.allowed_access = access};
    struct stat st;
    int r = 0;

    rule.parent_fd = open(path, O_PATH | O_CLOEXEC);
    if (rule.parent_fd < 0)
        return 0;
    if (fstat(rule.parent_fd, &st) == 0 && !S_ISDIR(st.st_mode))
        rule.allowed_access &= FS_OF_FILE;
    if (rule.allowed_access)
        r = (int)syscall(SYS_landlock_add_rule, set, LANDLOCK_RULE_PATH_BENEATH,
                         &rule, 0);
    close(rule.parent_fd);
    return r;
}

static int allow_files(int set, const struct start *st, uint64_t handled)
{
    /* names only: a shell completes, `ls /` shows what there is */
    int r = allow_path(set, "/", LANDLOCK_ACCESS_FS_READ_DIR);

    for (int i = 0; st->readable[i] && r == 0; i++)
        r = allow_path(set, st->readable[i], FS_READ);
    for (int i = 0; st->writable[i] && r == 0; i++)
        r = allow_path(set, st->writable[i], handled & ~(uint64_t)FS_NEVER);
    return r;
}

static int allow_ports(int set, const struct start *st)
{
    int r = 0;

    for (int i = 0; i < st->port_count && r == 0; i++) {
        struct net_port rule = {NET_CONNECT_TCP, st->ports[i]};

        r = (int)syscall(SYS_landlock_add_rule, set, RULE_NET_PORT, &rule, 0);
    }
    return r;
}

/* The layers that Landlock made; none where any of it went wrong. */
static uint8_t close_landlock(const struct start *st, int abi)
{
    struct ruleset attr = {0};
    uint8_t held = 0;
    int set, r = 0;

    if (st->want & SHIM_LAYER_FILES && abi >= 1) {
        attr.fs = files_of(abi);
        held |= SHIM_LAYER_FILES;
    }
    if (st->want & SHIM_LAYER_PORTS && abi >= 4) {
        attr.net = NET_BIND_TCP | NET_CONNECT_TCP;
        held |= SHIM_LAYER_PORTS;
    }
    if (st->want & SHIM_LAYER_SCOPES && abi >= 6) {
        attr.scoped = SCOPE_ALL;
        held |= SHIM_LAYER_SCOPES;
    }
    if (!held)
        return 0;
    set = (int)syscall(SYS_landlock_create_ruleset, &attr, sizeof(attr), 0);
    if (set < 0)
        return 0;
    if (attr.fs)
        r = allow_files(set, st, attr.fs);
    if (r == 0 && attr.net)
        r = allow_ports(set, st);
    if (r == 0)
        r = (int)syscall(SYS_landlock_restrict_self, set, 0);
    close(set);
    return r == 0 ? held : 0;
}

static int set_filter(const struct sock_filter *code, uint16_t count)
{
    struct sock_fprog program = {count, (struct sock_filter *)code};

    return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0);
}

/* CALLS holds when every filter that is due was taken. */
static uint8_t close_calls(const struct start *st, uint8_t held)
{
    if (!(st->want & SHIM_LAYER_CALLS))
        return 0;
    for (int i = 0; i < st->filter_count; i++) {
        if (st->filters[i].when == SHIM_UNLESS_PORTS && held & SHIM_LAYER_PORTS)
            continue;
        if (set_filter(st->filters[i].code, st->filters[i].count) < 0)
            return 0;
    }
    return SHIM_LAYER_CALLS;
}

int cage_close(const struct start *st, uint8_t *held, uint8_t *landlock)
{
    int abi = (int)syscall(SYS_landlock_create_ruleset, NULL, 0,
                           LANDLOCK_CREATE_RULESET_VERSION);

    *landlock = abi > 0 ? (uint8_t)abi : 0;
    *held = close_landlock(st, abi);
    *held |= close_calls(st, *held);
    if (st->must & ~*held) {
        errno = EPERM;
        return -1;
    }
    return 0;
}
