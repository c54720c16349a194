#include "agent/lockdown.h"

#include "agent/lockdown_internal.h"
#include "base/beneath.h"
#include "base/log.h"
#include "base/own.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/landlock.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define LOCKDOWN_CPU_S 600
/* beside its own few one for each directory of the deepest path */
#define LOCKDOWN_FDS (64 + BENEATH_DEPTH_MAX)

/* Everything extraction needs once libraries are loaded; fcntl and tgkill
 * come below, with what they may be asked. */
static const int unpacker_calls[] = {
    SCMP_SYS(read),
    SCMP_SYS(write),
    SCMP_SYS(pwrite64),
    SCMP_SYS(pread64),
    SCMP_SYS(readv),
    SCMP_SYS(writev),
    SCMP_SYS(lseek),
    SCMP_SYS(close),
    SCMP_SYS(fstat),
    SCMP_SYS(newfstatat),
    SCMP_SYS(fchmod),
    SCMP_SYS(fdatasync),
    SCMP_SYS(fsync),
    SCMP_SYS(openat2),
    SCMP_SYS(mkdirat),
    SCMP_SYS(linkat),
    SCMP_SYS(symlinkat),
    SCMP_SYS(mmap),
    SCMP_SYS(munmap),
    SCMP_SYS(mremap),
    SCMP_SYS(mprotect),
    SCMP_SYS(brk),
    SCMP_SYS(madvise),
    SCMP_SYS(futex),
    SCMP_SYS(clock_gettime),
    SCMP_SYS(gettimeofday),
    SCMP_SYS(getrandom),
    SCMP_SYS(rt_sigaction),
    SCMP_SYS(rt_sigprocmask),
    SCMP_SYS(rt_sigreturn),
    SCMP_SYS(exit),
    SCMP_SYS(exit_group),
    SCMP_SYS(getpid),
    SCMP_SYS(gettid),
    SCMP_SYS(sysinfo),
    SCMP_SYS(umask),
    SCMP_SYS(sched_getaffinity),
    LOCKDOWN_MORE_CALLS SCMP_SYS(restart_syscall),
};

/* And where the kernel has no openat2: what it is walked with. */
static const int unpacker_walk_calls[] = {
    SCMP_SYS(openat),
    SCMP_SYS(readlinkat),
    SCMP_SYS(fstatfs),
};

/* What fcntl may be asked: with an owner and a signal of its choice a
 * descriptor would kill any process of our user. */
static const int unpacker_fcntls[] = {F_GETFD, F_SETFD, F_GETFL, F_DUPFD,
                                      F_DUPFD_CLOEXEC};

/* --- what all share --- */

int lockdown_no_new_privs(struct err *e)
{
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return err_sys(e, "no_new_privs");
    return 0;
}

int lockdown_limit(int what, rlim_t value, struct err *e)
{
    struct rlimit lim = {value, value};

    if (setrlimit(what, &lim) < 0)
        return err_sys(e, "limit %d", what);
    return 0;
}

int lockdown_landlock(void)
{
    long version = syscall(SYS_landlock_create_ruleset, NULL, 0,
                           LANDLOCK_CREATE_RULESET_VERSION);

    return version > 0 ? (int)version : 0;
}

scmp_filter_ctx lockdown_filter(void)
{
    return seccomp_init(SCMP_ACT_ERRNO(EPERM));
}

int lockdown_allow(scmp_filter_ctx ctx, const int *calls, size_t count)
{
    int r = 0;

    for (size_t i = 0; r == 0 && i < count; i++)
        r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, calls[i], 0);
    return r;
}

int lockdown_allow_if(scmp_filter_ctx ctx, int call, unsigned arg,
                      uint64_t value)
{
    return seccomp_rule_add(ctx, SCMP_ACT_ALLOW, call, 1,
                            SCMP_CMP(arg, SCMP_CMP_EQ, value));
}

int lockdown_allow_abort(scmp_filter_ctx ctx)
{
    return lockdown_allow_if(ctx, SCMP_SYS(tgkill), 0, (uint64_t)getpid());
}

int lockdown_load(scmp_filter_ctx ctx, int r, struct err *e)
{
    if (r == 0)
        r = seccomp_load(ctx);
    seccomp_release(ctx);
    if (r < 0) {
        errno = -r;
        return err_sys(e, "seccomp");
    }
    return 0;
}

/* --- the unpacker --- */

/* The tree as the only root there is. That takes a user namespace, whose
 * capabilities go at once. */
static int lockdown_root(int dir_fd)
{
    struct __user_cap_header_struct head = {.version =
                                                _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct none[2] = {0};

    if (unshare(CLONE_NEWUSER) < 0)
        return -1;
    if (fchdir(dir_fd) < 0 || chroot(".") < 0) {
        syscall(SYS_capset, &head, none);
        return -1;
    }
    return (int)syscall(SYS_capset, &head, none);
}

/* Landlock: only below dir_fd, and there no execution. A kernel without it
 * (gVisor) may make the tree our root; if not, the seccomp filter and the
 * descriptors are left. */
static int lockdown_files(int dir_fd, struct err *e)
{
    const uint64_t all =
        LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_WRITE_FILE |
        LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR |
        LANDLOCK_ACCESS_FS_REMOVE_DIR | LANDLOCK_ACCESS_FS_REMOVE_FILE |
        LANDLOCK_ACCESS_FS_MAKE_CHAR | LANDLOCK_ACCESS_FS_MAKE_DIR |
        LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_MAKE_SOCK |
        LANDLOCK_ACCESS_FS_MAKE_FIFO | LANDLOCK_ACCESS_FS_MAKE_BLOCK |
        LANDLOCK_ACCESS_FS_MAKE_SYM | LANDLOCK_ACCESS_FS_REFER;
    const uint64_t below =
        LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_READ_DIR |
        LANDLOCK_ACCESS_FS_MAKE_DIR | LANDLOCK_ACCESS_FS_MAKE_REG |
        LANDLOCK_ACCESS_FS_MAKE_SYM | LANDLOCK_ACCESS_FS_REFER;
    struct landlock_ruleset_attr attr = {.handled_access_fs = all};
    struct landlock_path_beneath_attr rule = {.allowed_access = below,
                                              .parent_fd = dir_fd};
    own_fd int set = -1;

    /* before ABI 2 no hard link may join two directories */
    if (lockdown_landlock() < 2) {
        const char *instead = lockdown_root(dir_fd) == 0 ? "chroot" : "nothing";

        log_warn("unpack.lockdown", "missing", "s", "landlock", "instead", "s",
                 instead, NULL);
        return 0;
    }
    set = (int)syscall(SYS_landlock_create_ruleset, &attr, sizeof(attr), 0);
    if (set < 0)
        return err_sys(e, "landlock");
    if (syscall(SYS_landlock_add_rule, set, LANDLOCK_RULE_PATH_BENEATH, &rule,
                0) < 0 ||
        syscall(SYS_landlock_restrict_self, set, 0) < 0)
        return err_sys(e, "landlock");
    return 0;
}

static int lockdown_calls(struct err *e)
{
    scmp_filter_ctx ctx = lockdown_filter();
    int r = ctx ? 0 : -ENOMEM;

    if (r == 0)
        r = lockdown_allow(ctx, unpacker_calls, COUNT(unpacker_calls));
    if (r == 0 && !beneath_is_native())
        r = lockdown_allow(ctx, unpacker_walk_calls,
                           COUNT(unpacker_walk_calls));
    for (size_t i = 0; r == 0 && i < COUNT(unpacker_fcntls); i++)
        r = lockdown_allow_if(ctx, SCMP_SYS(fcntl), 1,
                              (uint64_t)unpacker_fcntls[i]);
    if (r == 0)
        r = lockdown_allow_abort(ctx);
    return lockdown_load(ctx, r, e);
}

int lockdown_unpacker(int dir_fd, int64_t file_bytes, size_t memory_bytes,
                      struct err *e)
{
    if (lockdown_no_new_privs(e) < 0 ||
        lockdown_limit(RLIMIT_FSIZE, (rlim_t)file_bytes, e) < 0 ||
        lockdown_limit(RLIMIT_DATA, LOCKDOWN_MEMORY(memory_bytes), e) < 0 ||
        lockdown_limit(RLIMIT_CPU, LOCKDOWN_CPU_S, e) < 0 ||
        lockdown_limit(RLIMIT_NOFILE, LOCKDOWN_FDS, e) < 0)
        return -1;
    if (lockdown_files(dir_fd, e) < 0)
        return -1;
    return lockdown_calls(e);
}
