/* New namespaces, others' namespaces, and what mounts. */
#include "tests/hostile/hostile.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define HIGH (1L << 32)
#define NEW_TIME 0x80L
/* numbers that are the same on every machine */
#define NR_OPEN_TREE 428
#define NR_MOVE_MOUNT 429
#define NR_FSOPEN 430
#define NR_FSCONFIG 431
#define NR_FSMOUNT 432
#define NR_FSPICK 433
#define NR_PIDFD_OPEN 434
#define NR_CLONE3 435
#define NR_MOUNT_SETATTR 442
#define NR_STATMOUNT 457
#define NR_LISTMOUNT 458
#define NR_OPEN_TREE_ATTR 467

static const struct {
    const char *name;
    long flag;
} kinds[] = {
    {"user", CLONE_NEWUSER}, {"mnt", CLONE_NEWNS},        {"pid", CLONE_NEWPID},
    {"net", CLONE_NEWNET},   {"ipc", CLONE_NEWIPC},       {"uts", CLONE_NEWUTS},
    {"time", NEW_TIME},      {"cgroup", CLONE_NEWCGROUP},
};
#define KINDS (sizeof(kinds) / sizeof(kinds[0]))

static void by_unshare(const struct attempt *a)
{
    outcome(syscall(SYS_unshare, a->n[0]), "a new one");
}

static void ended(long pid)
{
    outcome(pid, "a child in a new one");
    if (pid > 0)
        waitpid((pid_t)pid, NULL, 0);
}

static void by_clone(const struct attempt *a)
{
    long pid = syscall(SYS_clone, a->n[0] | SIGCHLD, 0L, 0L, 0L, 0L);

    if (pid == 0)
        _exit(0);
    ended(pid);
}

static void by_clone3(const struct attempt *a)
{
    uint64_t args[8] = {(uint64_t)a->n[0], 0, 0, 0, SIGCHLD};
    long pid = syscall(NR_CLONE3, args, sizeof(args));

    if (pid == 0)
        _exit(0);
    ended(pid);
}

/* text: whose; into what it has of that kind. */
static void by_setns(const struct attempt *a)
{
    char path[64];
    int fd;

    snprintf(path, sizeof(path), "/proc/%s/ns/%s", a->text,
             kinds[a->n[0]].name);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    outcome(fd < 0 ? -1 : setns(fd, 0), "entered");
}

/* By a descriptor of the process, all kinds at once. */
static void by_pidfd(const struct attempt *a)
{
    long fd = syscall(NR_PIDFD_OPEN, a->n[0], 0L);

    outcome(fd < 0 ? -1 : setns((int)fd, CLONE_NEWNS | CLONE_NEWNET),
            "entered");
}

static void each_kind(const char *prefix, void (*run)(const struct attempt *a))
{
    for (size_t i = 0; i < KINDS; i++) {
        char name[40];
        struct attempt a = {.name = name, .run = run, .n = {kinds[i].flag}};

        if (kinds[i].flag == NEW_TIME && run == by_clone)
            continue; /* a signal's number would stand there */
        snprintf(name, sizeof(name), "%s_%s", prefix, kinds[i].name);
        attempts_run(&a, 1);
    }
}

static void each_setns(void)
{
    for (size_t i = 0; i < KINDS; i++) {
        char name[40];
        struct attempt a = {
            .name = name, .run = by_setns, .n = {(long)i}, .text = "self"};

        snprintf(name, sizeof(name), "setns_%s", kinds[i].name);
        attempts_run(&a, 1);
        snprintf(name, sizeof(name), "setns_1_%s", kinds[i].name);
        a.text = "1";
        attempts_run(&a, 1);
    }
}

/* --- mounts --- */

/* Outside of a cage nobody else is to see them. */
static bool alone(void)
{
    if (is_caged())
        return true;
    if (unshare(CLONE_NEWNS) == 0 &&
        mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0)
        return true;
    outcome(-1, "");
    return false;
}

static void mount_tmpfs(const struct attempt *a)
{
    if (alone())
        outcome(mount("none", a->text, "tmpfs", 0, NULL), "mounted");
}

static void mount_proc(const struct attempt *a)
{
    if (alone())
        outcome(mount("none", a->text, "proc", 0, NULL), "mounted");
}

static void mount_bind(const struct attempt *a)
{
    if (alone())
        outcome(mount(a->text, "/tmp", NULL, MS_BIND | MS_REC, NULL), "bound");
}

static void remount(const struct attempt *a)
{
    if (alone())
        outcome(mount(NULL, a->text, NULL, MS_REMOUNT | MS_BIND, NULL),
                "mounted anew");
}

static void share(const struct attempt *a)
{
    if (alone())
        outcome(mount(NULL, a->text, NULL, MS_SHARED, NULL), "shared");
}

static void unmount(const struct attempt *a)
{
    if (alone())
        outcome(umount2(a->text, MNT_DETACH), "gone");
}

static void change_root(const struct attempt *a)
{
    outcome(chroot(a->text), "another root");
}

static void pivot(const struct attempt *a)
{
    if (alone())
        outcome_reached(syscall(SYS_pivot_root, a->text, a->text));
}

static void number(const struct attempt *a)
{
    outcome_reached(syscall(a->n[0], a->n[1], a->n[2] ? a->n[2] : (long)a->text,
                            a->n[3], a->n[4], a->n[5]));
}

#define TO(called, function, to)                                               \
    {                                                                          \
        .name = called, .run = function, .text = to                            \
    }

static const struct attempt more[] = {
    {.name = "unshare_high_bits",
     .run = by_unshare,
     .n = {CLONE_NEWUSER | HIGH}},
    {.name = "unshare_all", .run = by_unshare, .n = {0x7e020000}},
    {.name = "clone_high_bits",
     .run = by_clone,
     .n = {CLONE_NEWUSER | (1L << 40)}},
    {.name = "clone_user_and_net",
     .run = by_clone,
     .n = {CLONE_NEWUSER | CLONE_NEWNET}},
    {.name = "clone3_plain", .run = by_clone3, .n = {0}, .is_harmful = true},
    {.name = "setns_pidfd_self", .run = by_pidfd, .n = {1}},
    TO("mount_tmpfs", mount_tmpfs, "/tmp"),
    TO("mount_proc", mount_proc, "/tmp"),
    TO("mount_bind_root", mount_bind, "/"),
    TO("mount_bind_proc", mount_bind, "/proc"),
    TO("remount_root", remount, "/"),
    TO("remount_usr", remount, "/usr"),
    TO("remount_proc", remount, "/proc"),
    TO("remount_dev", remount, "/dev"),
    TO("remount_bundle", remount, "/run/podterm/bundle"),
    TO("remount_ipc", remount, "/run/podterm/ipc"),
    TO("mount_share", share, "/"),
    TO("umount_proc", unmount, "/proc"),
    TO("umount_tmp", unmount, "/tmp"),
    TO("umount_ipc", unmount, "/run/podterm/ipc"),
    TO("umount_bundle", unmount, "/run/podterm/bundle"),
    TO("chroot_tmp", change_root, "/tmp"),
    TO("chroot_proc", change_root, "/proc/1/root"),
    TO("pivot_root", pivot, "/tmp"),
    {.name = "fsopen", .run = number, .n = {NR_FSOPEN, (long)"tmpfs"}},
    {.name = "fsconfig", .run = number, .n = {NR_FSCONFIG, -1}},
    {.name = "fsmount", .run = number, .n = {NR_FSMOUNT, -1}},
    {.name = "fspick", .run = number, .n = {NR_FSPICK, AT_FDCWD}, .text = "/"},
    {.name = "open_tree",
     .run = number,
     .n = {NR_OPEN_TREE, AT_FDCWD},
     .text = "/"},
    {.name = "open_tree_clone",
     .run = number,
     .n = {NR_OPEN_TREE, AT_FDCWD, 0, 1},
     .text = "/"},
    {.name = "open_tree_attr",
     .run = number,
     .n = {NR_OPEN_TREE_ATTR, -1},
     .text = ""},
    {.name = "move_mount", .run = number, .n = {NR_MOVE_MOUNT, -1}, .text = ""},
    {.name = "mount_setattr",
     .run = number,
     .n = {NR_MOUNT_SETATTR, -1},
     .text = ""},
    {.name = "statmount", .run = number, .n = {NR_STATMOUNT}},
    {.name = "listmount", .run = number, .n = {NR_LISTMOUNT}},
};

void namespaces_run(void)
{
    each_kind("unshare", by_unshare);
    each_kind("clone", by_clone);
    each_kind("clone3", by_clone3);
    each_setns();
    ATTEMPTS(more);
}
