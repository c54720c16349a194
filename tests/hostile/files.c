/* Files that are not ours: read, written, reached by links and detours. */
#include "tests/hostile/hostile.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#define NR_OPENAT2 437

/* Beside our own program: a file of the bundle that does not run. */
static char beside[PATH_MAX], bundle[PATH_MAX];

static void find_bundle(void)
{
    ssize_t n = readlink("/proc/self/exe", bundle, sizeof(bundle) - 16);
    char *slash;

    bundle[n > 0 ? n : 0] = 0;
    slash = strrchr(bundle, '/');
    if (slash)
        *slash = 0;
    snprintf(beside, sizeof(beside), "%.4000s/hostile.py", bundle);
}

static const char *in_scratch(const char *name)
{
    static char path[PATH_MAX];

    snprintf(path, sizeof(path), "%s/%s", scratch, name);
    return path;
}

/* --- reading --- */

static void told_bytes(int fd)
{
    char bytes[64];
    ssize_t n = fd < 0 ? -1 : read(fd, bytes, sizeof(bytes));

    outcome(n, "read");
}

static void read_at(const struct attempt *a)
{
    told_bytes(open(a->text, O_RDONLY | O_NONBLOCK | O_CLOEXEC));
}

/* In a pod these are the image's own. */
static void see(const struct attempt *a)
{
    if (*told("POD")) {
        absent("the image's own");
        return;
    }
    outcome(open(a->text, O_PATH | O_CLOEXEC), "it is there");
}

static void see_state(const struct attempt *a)
{
    char path[PATH_MAX];

    if (!*told("STATE")) {
        absent("no such directory here");
        return;
    }
    snprintf(path, sizeof(path), "%s%s%s", a->text, told("STATE"),
             a->n[0] ? "/podterm.db" : "");
    outcome(open(path, O_PATH | O_CLOEXEC), "it is there");
}

/* A link of our own, followed. */
static void by_symlink(const struct attempt *a)
{
    const char *path = in_scratch("link");

    if (symlink(a->text, path) == 0)
        told_bytes(open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC));
    else
        outcome(-1, "");
    unlink(path);
}

static void by_symlink_in_tmp(const struct attempt *a)
{
    char path[64];

    snprintf(path, sizeof(path), "/tmp/hostile-link-%d", (int)getpid());
    if (symlink(a->text, path) == 0)
        told_bytes(open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC));
    else
        outcome(-1, "");
    unlink(path);
}

/* Up from a directory that is held open, further than any root is. */
static void by_dots(const struct attempt *a)
{
    char path[256] = "";
    int dir = open(scratch, O_PATH | O_DIRECTORY | O_CLOEXEC);

    for (int i = 0; i < 40; i++)
        strcat(path, "../");
    strcat(path, a->text);
    told_bytes(openat(dir, path, O_RDONLY | O_CLOEXEC));
}

/* The same a step at a time, each with a descriptor. */
static void by_steps(const struct attempt *a)
{
    int dir = open(scratch, O_PATH | O_DIRECTORY | O_CLOEXEC);

    for (int i = 0; i < 40 && dir >= 0; i++)
        dir = openat(dir, "..", O_PATH | O_DIRECTORY | O_CLOEXEC);
    told_bytes(dir < 0 ? -1 : openat(dir, a->text, O_RDONLY | O_CLOEXEC));
}

/* The directory that we hold is moved while we look up from it. */
static void by_moved_directory(const struct attempt *a)
{
    char inner[PATH_MAX], moved[PATH_MAX], path[64];
    int dir;

    snprintf(inner, sizeof(inner), "%s/a", scratch);
    mkdir(inner, 0700);
    snprintf(inner, sizeof(inner), "%s/a/b", scratch);
    mkdir(inner, 0700);
    snprintf(moved, sizeof(moved), "%s/b", scratch);
    dir = open(inner, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0 || rename(inner, moved) < 0) {
        outcome(-1, "");
        return;
    }
    snprintf(path, sizeof(path), "../../../../../../../../%s", a->text);
    told_bytes(openat(dir, path, O_RDONLY | O_CLOEXEC));
    rmdir(moved);
    snprintf(inner, sizeof(inner), "%s/a", scratch);
    rmdir(inner);
}

/* --- writing --- */

static void write_at(const struct attempt *a)
{
    outcome(open(a->text, O_WRONLY | O_NONBLOCK | O_CLOEXEC), "opened");
}

/* n: flags. Nothing is changed outside of a cage: it is not opened there. */
static void write_bundle(const struct attempt *a)
{
    outcome(open(beside, (int)a->n[0] | O_CLOEXEC), "opened");
}

/* Opened to be read, then again by the link that /proc has of it. */
static void reopen(const struct attempt *a)
{
    int fd = open(beside, (int)a->n[1] | O_CLOEXEC);
    char path[64];

    snprintf(path, sizeof(path), "%s/%d", a->text, fd);
    outcome(fd < 0 ? -1 : open(path, (int)a->n[0] | O_CLOEXEC), "opened");
}

static void reopen_self(const struct attempt *a)
{
    outcome(open(a->text, O_RDWR | O_CLOEXEC), "opened");
}

static void create_in(const char *dir)
{
    char path[PATH_MAX];
    int fd;

    snprintf(path, sizeof(path), "%.4000s/.hostile-%d", dir, (int)getpid());
    fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    outcome(fd, "made");
    unlink(path);
}

static void create_at(const struct attempt *a)
{
    create_in(a->text);
}

static void create_in_bundle(const struct attempt *a)
{
    (void)a;
    create_in(bundle);
}

static void rename_over_bundle(const struct attempt *a)
{
    char from[PATH_MAX];

    (void)a;
    snprintf(from, sizeof(from), "%s", in_scratch("new"));
    close(open(from, O_WRONLY | O_CREAT | O_CLOEXEC, 0755));
    outcome(rename(from, beside), "replaced");
    unlink(from);
}

static void rename_within_bundle(const struct attempt *a)
{
    char to[PATH_MAX];

    (void)a;
    snprintf(to, sizeof(to), "%.4000s/other", bundle);
    outcome(rename(beside, to), "moved");
}

static void unlink_bundle(const struct attempt *a)
{
    (void)a;
    outcome(unlink(beside), "gone");
}

static void change_mode(const struct attempt *a)
{
    outcome(chmod(*a->text ? a->text : beside, (mode_t)a->n[0]), "changed");
}

static void change_length(const struct attempt *a)
{
    (void)a;
    outcome(truncate(beside, 0), "cut");
}

static void change_time(const struct attempt *a)
{
    (void)a;
    outcome(utimensat(AT_FDCWD, beside, NULL, 0), "changed");
}

static void change_attribute(const struct attempt *a)
{
    outcome(setxattr(beside, a->text, "x", 1, 0), "set");
}

/* n: a request of ioctl on files. */
static void change_flags(const struct attempt *a)
{
    int fd = open(beside, O_RDONLY | O_CLOEXEC), flags = 0;

    outcome(fd < 0 ? -1 : ioctl(fd, (int)a->n[0], &flags), "set");
}

static void shim_socket(const struct attempt *a)
{
    const char *path = "/run/podterm/ipc/shim.sock";

    switch (a->n[0]) {
    case 0:
        outcome(unlink(path), "gone");
        break;
    case 1:
        outcome(rename(path, "/tmp/shim.sock"), "moved");
        break;
    case 2:
        outcome(chmod(path, 0600), "shut");
        break;
    default:
        create_in("/run/podterm/ipc");
    }
}

/* --- links --- */

static void hard_link(const struct attempt *a)
{
    const char *to = in_scratch("hard");

    outcome(link(a->text, to), "linked");
    unlink(to);
}

static void hard_link_bundle(const struct attempt *a)
{
    struct attempt at = *a;

    at.text = beside;
    hard_link(&at);
}

/* By descriptor, without a name. n: flags. */
static void hard_link_by_fd(const struct attempt *a)
{
    int fd = open(*a->text ? a->text : beside, O_RDONLY | O_CLOEXEC);
    const char *to = in_scratch("hard");
    char from[64];

    snprintf(from, sizeof(from), "/proc/self/fd/%d", fd);
    if (fd < 0)
        outcome(-1, "");
    else if (a->n[0])
        outcome(linkat(fd, "", AT_FDCWD, to, AT_EMPTY_PATH), "linked");
    else
        outcome(linkat(AT_FDCWD, from, AT_FDCWD, to, AT_SYMLINK_FOLLOW),
                "linked");
    unlink(to);
}

/* --- being made for others --- */

static const char *own_file(void)
{
    const char *path = in_scratch("own");

    close(open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0755));
    return path;
}

static void give_away(const struct attempt *a)
{
    const char *path = own_file();

    outcome(chown(path, (uid_t)a->n[0], (gid_t)a->n[1]), "given away");
    unlink(path);
}

static void own_attribute(const struct attempt *a)
{
    /* version 2, effective: CAP_SYS_ADMIN */
    static const uint32_t capability[5] = {0x02000001, 1u << 21};
    const char *path = own_file();

    outcome(setxattr(path, a->text, capability, sizeof(capability), 0), "set");
    unlink(path);
}

static void device(const struct attempt *a)
{
    const char *path = in_scratch("device");

    outcome(mknod(path, (mode_t)a->n[0] | 0666,
                  makedev((unsigned)a->n[1], (unsigned)a->n[2])),
            "made");
    unlink(path);
}

static void write_text(const struct attempt *a, const char *text)
{
    int fd = open(a->text, O_WRONLY | O_CLOEXEC);

    outcome(fd < 0 ? -1 : write(fd, text, strlen(text)), "written");
}

static void lower_score(const struct attempt *a)
{
    write_text(a, "-1000");
}

static void map_ids(const struct attempt *a)
{
    write_text(a, "0 0 1");
}

static void write_pid(const struct attempt *a)
{
    write_text(a, "1");
}

#define AT(called, function, path)                                             \
    {                                                                          \
        .name = called, .run = function, .text = path                          \
    }
#define HARM(called, function, path)                                           \
    {                                                                          \
        .name = called, .run = function, .text = path, .is_harmful = true      \
    }
#define OF(called, function, ...)                                              \
    {                                                                          \
        .name = called, .run = function, .n = {__VA_ARGS__}, .text = ""        \
    }

static const struct attempt all[] = {
    AT("read_shadow", read_at, "/etc/shadow"),
    AT("read_gshadow", read_at, "/etc/gshadow"),
    AT("read_ssh_key", read_at, "/etc/ssh/ssh_host_ed25519_key"),
    AT("read_ssl_private", see, "/etc/ssl/private/."),
    AT("read_machine_id", see, "/etc/machine-id"),
    AT("read_sudoers", read_at, "/etc/sudoers"),
    AT("read_root", see, "/root/."),
    AT("read_var_lib", see, "/var/lib"),
    AT("read_var_log", see, "/var/log"),
    AT("read_boot", see, "/boot"),
    AT("read_sys", see, "/sys/kernel"),
    AT("read_kcore", read_at, "/proc/kcore"),
    AT("read_kmsg", read_at, "/proc/kmsg"),
    AT("read_service_account", read_at,
       "/var/run/secrets/kubernetes.io/serviceaccount/token"),
    AT("read_cookie", read_at, "/run/podterm/ipc/cookie"),
    AT("state", see_state, ""),
    OF("state_store", see_state, 1),
    AT("state_behind_1", see_state, "/proc/1/root"),
    AT("state_behind_self", see_state, "/proc/self/root/.."),
    AT("state_behind_cwd", see_state, "/proc/self/cwd/../../../../../.."),
    AT("symlink_shadow", by_symlink, "/etc/shadow"),
    AT("symlink_root", by_symlink, "/root/.profile"),
    AT("symlink_dots", by_symlink, "../../../../../../../../etc/shadow"),
    AT("symlink_proc_1", by_symlink, "/proc/1/root/etc/shadow"),
    AT("symlink_proc_self", by_symlink, "/proc/self/root/../etc/shadow"),
    AT("symlink_proc_thread", by_symlink, "/proc/thread-self/root/etc/shadow"),
    AT("symlink_cookie", by_symlink, "/run/podterm/ipc/cookie"),
    AT("symlink_tmp_shadow", by_symlink_in_tmp, "/etc/shadow"),
    AT("symlink_tmp_root", by_symlink_in_tmp, "../root/.profile"),
    AT("dots_shadow", by_dots, "etc/shadow"),
    AT("dots_root", by_dots, "root/.profile"),
    AT("steps_shadow", by_steps, "etc/shadow"),
    AT("moved_directory", by_moved_directory, "etc/shadow"),
    AT("proc_self_root", read_at, "/proc/self/root/etc/shadow"),
    AT("proc_self_root_dots", read_at, "/proc/self/root/../../etc/shadow"),
    AT("proc_self_cwd_dots", read_at,
       "/proc/self/cwd/../../../../../../etc/shadow"),
    OF("bundle_write", write_bundle, O_WRONLY),
    OF("bundle_append", write_bundle, O_WRONLY | O_APPEND),
    OF("bundle_read_write", write_bundle, O_RDWR),
    {.name = "bundle_reopen",
     .run = reopen,
     .n = {O_RDWR, O_RDONLY},
     .text = "/proc/self/fd"},
    {.name = "bundle_reopen_path",
     .run = reopen,
     .n = {O_RDWR, O_PATH},
     .text = "/proc/self/fd"},
    {.name = "bundle_reopen_thread",
     .run = reopen,
     .n = {O_WRONLY, O_RDONLY},
     .text = "/proc/thread-self/fd"},
    {.name = "bundle_reopen_dev",
     .run = reopen,
     .n = {O_RDWR, O_RDONLY},
     .text = "/dev/fd"},
    AT("bundle_exe", reopen_self, "/proc/self/exe"),
    AT("bundle_create", create_in_bundle, ""),
    HARM("bundle_rename_over", rename_over_bundle, ""),
    HARM("bundle_rename", rename_within_bundle, ""),
    HARM("bundle_unlink", unlink_bundle, ""),
    HARM("bundle_truncate", change_length, ""),
    OF("bundle_chmod", change_mode, 0755),
    AT("bundle_times", change_time, ""),
    AT("bundle_xattr", change_attribute, "user.podterm"),
    OF("bundle_chattr", change_flags, 0x40086602 /* FS_IOC_SETFLAGS */),
    OF("shim_socket_unlink", shim_socket, 0),
    OF("shim_socket_rename", shim_socket, 1),
    OF("shim_socket_chmod", shim_socket, 2),
    OF("shim_socket_beside", shim_socket, 3),
    AT("shim_write", write_at, "/run/podterm/shim"),
    AT("hard_link_passwd", hard_link, "/etc/passwd"),
    AT("hard_link_usr", hard_link, "/usr/bin/env"),
    AT("hard_link_bundle", hard_link_bundle, ""),
    OF("hard_link_fd", hard_link_by_fd, 0),
    OF("hard_link_empty_path", hard_link_by_fd, 1),
    AT("create_root", create_at, "/"),
    AT("create_usr", create_at, "/usr/lib"),
    AT("create_etc", create_at, "/etc"),
    AT("create_run", create_at, "/run"),
    AT("create_run_podterm", create_at, "/run/podterm"),
    AT("create_dev", create_at, "/dev"),
    AT("create_home", create_at, "/home"),
    AT("create_var", create_at, "/var"),
    AT("create_proc", create_at, "/proc"),
    AT("write_passwd", write_at, "/etc/passwd"),
    AT("write_ld_preload", write_at, "/etc/ld.so.preload"),
    AT("write_core_pattern", write_at, "/proc/sys/kernel/core_pattern"),
    AT("write_modprobe", write_at, "/proc/sys/kernel/modprobe"),
    AT("write_ip_forward", write_at, "/proc/sys/net/ipv4/ip_forward"),
    AT("write_max_namespaces", write_at, "/proc/sys/user/max_user_namespaces"),
    AT("write_ptrace_scope", write_at, "/proc/sys/kernel/yama/ptrace_scope"),
    AT("write_mmap_min", write_at, "/proc/sys/vm/mmap_min_addr"),
    AT("write_hostname", write_at, "/proc/sys/kernel/hostname"),
    AT("write_sysrq", write_at, "/proc/sysrq-trigger"),
    AT("write_uevent_helper", write_at, "/sys/kernel/uevent_helper"),
    AT("write_sys_power", write_at, "/sys/power/state"),
    AT("write_cgroup", write_at, "/sys/fs/cgroup/cgroup.procs"),
    AT("write_cgroup_memory", write_at, "/sys/fs/cgroup/memory.max"),
    AT("write_cgroup_release", write_at, "/sys/fs/cgroup/memory/release_agent"),
    {.name = "oom_score",
     .run = lower_score,
     .text = "/proc/self/oom_score_adj",
     .is_harmful = true},
    {.name = "oom_score_1",
     .run = lower_score,
     .text = "/proc/1/oom_score_adj",
     .is_harmful = true},
    AT("uid_map", map_ids, "/proc/self/uid_map"),
    AT("gid_map", map_ids, "/proc/self/gid_map"),
    HARM("loginuid", write_pid, "/proc/self/loginuid"),
    AT("dev_mem", read_at, "/dev/mem"),
    AT("dev_port", read_at, "/dev/port"),
    AT("dev_kmsg", write_at, "/dev/kmsg"),
    AT("dev_sda", read_at, "/dev/sda"),
    AT("dev_vda", read_at, "/dev/vda"),
    AT("dev_nvme", read_at, "/dev/nvme0n1"),
    AT("dev_loop_control", write_at, "/dev/loop-control"),
    AT("dev_fuse", write_at, "/dev/fuse"),
    AT("dev_kvm", write_at, "/dev/kvm"),
    AT("dev_tun", write_at, "/dev/net/tun"),
    AT("dev_vsock", read_at, "/dev/vsock"),
    AT("dev_vhost", write_at, "/dev/vhost-net"),
    AT("dev_msr", read_at, "/dev/cpu/0/msr"),
    AT("dev_uinput", write_at, "/dev/uinput"),
    AT("dev_userfaultfd", write_at, "/dev/userfaultfd"),
    AT("dev_dri", write_at, "/dev/dri/card0"),
    AT("dev_tty0", write_at, "/dev/tty0"),
    AT("dev_input", read_at, "/dev/input/event0"),
    OF("mknod_null", device, S_IFCHR, 1, 3),
    OF("mknod_mem", device, S_IFCHR, 1, 1),
    OF("mknod_disk", device, S_IFBLK, 8, 0),
    OF("chown_root", give_away, 0, 0),
    OF("chown_other", give_away, 4711, -1),
    OF("chgrp_root", give_away, -1, 0),
    AT("file_capability", own_attribute, "security.capability"),
    AT("file_trusted", own_attribute, "trusted.podterm"),
};

void files_run(void)
{
    find_bundle();
    ATTEMPTS(all);
}
