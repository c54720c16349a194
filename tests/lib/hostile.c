#include "tests/lib/hostile.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/vm_sockets.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

/* The agent's filters stand around it, not the keeper's cage alone. */
static bool is_filtered(void)
{
    return !getenv("HOST_ONLY_CAGE");
}

static int tried;

static void bad_if(bool worked, const char *what)
{
    tried++;
    if (worked)
        printf("BAD %s\n", what);
}

static const char *env(const char *name)
{
    const char *v = getenv(name);

    return v ? v : "";
}

static bool can_read(const char *path)
{
    int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    char c;
    bool got = fd >= 0 && read(fd, &c, 1) >= 0;

    if (fd >= 0)
        close(fd);
    return got;
}

static bool can_write(const char *path)
{
    int fd = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC);

    if (fd >= 0)
        close(fd);
    return fd >= 0;
}

static bool can_create(const char *path)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

    if (fd >= 0)
        close(fd);
    return fd >= 0;
}

static void who_am_i(void)
{
    FILE *f = fopen("/proc/self/status", "re");
    char line[256];
    unsigned long long caps;
    int seen = 0;

    bad_if(getuid() == 0 || geteuid() == 0, "uid 0");
    while (f && fgets(line, sizeof(line), f)) {
        if (strncmp(line, "Cap", 3) == 0 &&
            sscanf(strchr(line, ':') + 1, "%llx", &caps) == 1) {
            seen++;
            bad_if(caps != 0, line);
        }
        if (strncmp(line, "NoNewPrivs:", 11) == 0)
            bad_if(!strchr(line, '1'), "new privileges");
    }
    bad_if(seen != 5, "five capability sets were looked at");
    if (f)
        fclose(f);
    bad_if(setuid(0) == 0, "setuid 0");
}

static void other_processes(void)
{
    DIR *d = opendir("/proc");
    struct dirent *de;

    while (d && (de = readdir(d))) {
        int pid = atoi(de->d_name);

        if (pid > 1 && pid != getpid() && pid != getppid())
            bad_if(true, "another process in /proc");
    }
    if (d)
        closedir(d);
    kill(1, SIGKILL);
    kill(1, SIGSTOP);
    kill(1, SIGTERM);
    bad_if(ptrace(PTRACE_ATTACH, 1, 0, 0) == 0, "ptrace of PID 1");
    bad_if(can_read("/proc/1/mem"), "memory of PID 1");
    bad_if(can_read("/proc/1/environ"), "environment of PID 1");
    bad_if(opendir("/proc/1/fd") != NULL, "descriptors of PID 1");
    bad_if(access("/proc/1/root/", F_OK) == 0, "root of PID 1");
    for (int fd = 3; fd < 256; fd++)
        bad_if(fcntl(fd, F_GETFD) >= 0, "an inherited descriptor");
}

static void the_host(void)
{
    static const char *const hidden[] = {
        "/root",      "/etc/shadow", "/etc/ssl/private", "/etc/machine-id",
        "/etc/fstab", "/var/log",    "/var/lib",         "/opt",
        "/srv",       "/mnt",        "/sys/kernel",      "/boot",
        "/run/user",  "/run/dbus",   "/run/docker.sock", "/dev/mem",
        "/dev/kmsg",  "/dev/fuse",   "/dev/kvm",         "/dev/net"};
    char target[256];

    for (size_t i = 0; i < sizeof(hidden) / sizeof(*hidden); i++)
        bad_if(access(hidden[i], F_OK) == 0, hidden[i]);
    bad_if(access(env("HOST_STATE"), F_OK) == 0, "the session's directory");
    bad_if(access("/home/user", W_OK) != 0, "no home of its own");
    snprintf(target, sizeof(target), "/proc/1/root%.200s", env("HOST_STATE"));
    bad_if(access(target, F_OK) == 0, "the directory through PID 1");
    bad_if(can_write("/proc/sys/kernel/core_pattern"), "core_pattern");
    bad_if(can_write("/proc/sysrq-trigger"), "sysrq");
    bad_if(can_write("/proc/self/oom_score_adj"), "who dies without memory");
}

static void read_only(void)
{
    static const char *const dirs[] = {"/x",
                                       "/usr/x",
                                       "/etc/x",
                                       "/usr/bin/x",
                                       "/run/x",
                                       "/run/podterm/x",
                                       "/dev/x",
                                       "/home/x",
                                       "/var/x",
                                       "/run/podterm/ipc/x",
                                       "/run/podterm/bundle/x"};
    struct statvfs vfs;

    for (size_t i = 0; i < sizeof(dirs) / sizeof(*dirs); i++)
        bad_if(can_create(dirs[i]), dirs[i]);
    bad_if(unlink("/run/podterm/ipc/shim.sock") == 0, "unlink of the socket");
    bad_if(rename("/run/podterm/ipc/shim.sock", "/tmp/s") == 0, "its rename");
    bad_if(chmod("/run/podterm/ipc/shim.sock", 0777) == 0, "its chmod");
    bad_if(can_write("/run/podterm/shim"), "the shim's binary");
    bad_if(access("/run/podterm/ipc/cookie", F_OK) == 0 && getenv("NO_COOKIE"),
           "the cookie");
    bad_if(can_write("/etc/passwd"), "passwd");
    bad_if(statvfs("/usr", &vfs) < 0 || !(vfs.f_flag & ST_NOSUID),
           "set-user-id programs");
    bad_if(mknod("/tmp/null", S_IFCHR | 0666, 0x103) == 0, "a device");
    bad_if(mount("none", "/tmp", "tmpfs", 0, NULL) == 0, "mount");
    bad_if(mount(NULL, "/", NULL, MS_REMOUNT | MS_BIND, NULL) == 0, "remount");
    bad_if(umount2("/run/podterm/ipc", MNT_DETACH) == 0, "umount");
    bad_if(unshare(CLONE_NEWUSER) == 0, "a user namespace");
    bad_if(unshare(CLONE_NEWNET) == 0, "a network namespace");
    bad_if(chroot("/tmp") == 0, "chroot");
}

static int try_connect(int domain, int type, const void *to, socklen_t len)
{
    int fd = socket(domain, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), r;

    if (fd < 0)
        return -1;
    r = connect(fd, to, len);
    if (r < 0 && errno == EINPROGRESS) /* somebody may answer */
        r = 0;
    close(fd);
    return r;
}

static void network(void)
{
    struct sockaddr_in in = {.sin_family = AF_INET};
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    struct sockaddr_vm vm = {
        .svm_family = AF_VSOCK, .svm_cid = 2, .svm_port = 22};
    size_t len = strlen(env("HOST_NAME"));

    in.sin_port = htons((uint16_t)atoi(env("HOST_PORT")));
    in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    /* a closed port of its own loopback answers at once */
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    bad_if(connect(fd, (void *)&in, sizeof(in)) == 0, "the host's loopback");
    close(fd);
    in.sin_port = htons(53);
    inet_pton(AF_INET, "192.0.2.1", &in.sin_addr);
    bad_if(try_connect(AF_INET, SOCK_STREAM, &in, sizeof(in)) == 0,
           "a route out");
    bad_if(try_connect(AF_INET, SOCK_DGRAM, &in, sizeof(in)) == 0,
           "a datagram's route out");
    memcpy(un.sun_path + 1, env("HOST_NAME"), len);
    bad_if(try_connect(AF_UNIX, SOCK_STREAM, &un,
                       (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 +
                                   len)) == 0,
           "an abstract socket of the host");
    bad_if(is_filtered() &&
               (try_connect(AF_VSOCK, SOCK_STREAM, &vm, sizeof(vm)) == 0 ||
                socket(AF_VSOCK, SOCK_STREAM, 0) >= 0),
           "a socket to the hypervisor");
    bad_if(socket(AF_PACKET, SOCK_RAW, 0) >= 0, "a packet socket");
    bad_if(socket(AF_INET, SOCK_RAW, IPPROTO_ICMP) >= 0, "a raw socket");
}

static void system_calls(void)
{
    char c = 'x';

    if (!is_filtered())
        return;
    bad_if(syscall(SYS_io_uring_setup, 1, NULL) >= 0 || errno == EFAULT,
           "io_uring");
    bad_if(syscall(SYS_bpf, 0, NULL, 0) >= 0 || errno == EFAULT, "bpf");
    bad_if(syscall(SYS_userfaultfd, 0) >= 0, "userfaultfd");
    bad_if(syscall(SYS_keyctl, 0, -3, 1) >= 0, "keyctl");
    bad_if(ioctl(0, TIOCSTI, &c) == 0, "input into its own terminal");
}

int hostile_main(void)
{
    setvbuf(stdout, NULL, _IOLBF, 0);
    who_am_i();
    the_host();
    read_only();
    network();
    system_calls();
    other_processes();
    printf("TRIED %d\n", tried);
    return 0;
}
