#include "tests/lib/probe.h"

#include "runner-image/shim.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/vm_sockets.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define PROBE_SHIM_MS 3000

static const char *told(const char *name)
{
    const char *v = getenv(name);

    return v ? v : "";
}

static bool there(const char *path)
{
    return access(path, F_OK) == 0;
}

static bool opens_with(const char *path, int flags)
{
    int fd = open(path, flags | O_NONBLOCK | O_CLOEXEC);

    if (fd >= 0)
        close(fd);
    return fd >= 0;
}

static bool can_open(const char *path)
{
    return opens_with(path, O_RDONLY);
}

static bool can_write(const char *path)
{
    return opens_with(path, O_WRONLY);
}

/* At least one byte can be read there. */
static bool can_read(const char *path)
{
    int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    char c;
    bool got = fd >= 0 && read(fd, &c, 1) == 1;

    if (fd >= 0)
        close(fd);
    return got;
}

static bool can_list(const char *path)
{
    DIR *d = opendir(path);

    if (d)
        closedir(d);
    return d != NULL;
}

/* A file that is gone again at once. */
static bool can_create_in(const char *dir)
{
    char path[4096];
    int fd;

    snprintf(path, sizeof(path), "%s/.podterm-probe-%d", dir, (int)getpid());
    fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return false;
    close(fd);
    unlink(path);
    return true;
}

/* In a child, which leaves the parent as it was. */
static bool child_can(bool (*try)(void))
{
    pid_t pid = fork();
    int status = 1;

    if (pid == 0)
        _exit(try() ? 0 : 1);
    return pid > 0 && waitpid(pid, &status, 0) == pid && status == 0;
}

/* --- who and what is in view --- */

static bool is_root(const char *none)
{
    (void)none;
    return getuid() == 0 || geteuid() == 0;
}

static bool becomes_root(void)
{
    return setresuid(0, 0, 0) == 0;
}

static bool set_uid(const char *none)
{
    (void)none;
    return child_can(becomes_root);
}

/* A line of /proc/self/status; 0 when there is none. */
static unsigned long long status_of(const char *name, int base)
{
    FILE *f = fopen("/proc/self/status", "re");
    unsigned long long v = 0;
    char line[256];

    while (f && fgets(line, sizeof(line), f))
        if (strncmp(line, name, strlen(name)) == 0)
            v = strtoull(line + strlen(name), NULL, base);
    if (f)
        fclose(f);
    return v;
}

static bool capabilities(const char *none)
{
    (void)none;
    return status_of("CapEff:", 16) || status_of("CapPrm:", 16) ||
           status_of("CapInh:", 16) || status_of("CapBnd:", 16) ||
           status_of("CapAmb:", 16);
}

static bool new_privileges(const char *none)
{
    (void)none;
    return status_of("NoNewPrivs:", 10) == 0;
}

static bool set_id_programs(const char *none)
{
    struct statvfs vfs;

    (void)none;
    return statvfs("/usr", &vfs) < 0 || !(vfs.f_flag & ST_NOSUID);
}

static bool descriptors(const char *none)
{
    (void)none;
    for (int fd = 3; fd < 1024; fd++)
        if (fcntl(fd, F_GETFD) >= 0)
            return true;
    return false;
}

/* --- other processes --- */

static bool process_signal(const char *none)
{
    (void)none;
    return kill(atoi(told("PID")), 0) == 0;
}

/* Any but PID 1 and ourselves. */
static bool process_list(const char *none)
{
    DIR *d = opendir("/proc");
    struct dirent *de;
    bool found = false;

    (void)none;
    while (d && (de = readdir(d))) {
        int pid = atoi(de->d_name);

        found |= pid > 1 && pid != getpid();
    }
    if (d)
        closedir(d);
    return found;
}

static bool traces(const char *none)
{
    pid_t pid = fork();
    bool is_open;

    (void)none;
    if (pid == 0) {
        pause();
        _exit(0);
    }
    is_open = ptrace(PTRACE_ATTACH, pid, NULL, NULL) == 0;
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    return is_open;
}

static bool reads_memory(const char *none)
{
    char from = 'x', to = 0;
    struct iovec a = {&to, 1}, b = {&from, 1};

    (void)none;
    return syscall(SYS_process_vm_readv, getpid(), &a, 1L, &b, 1L, 0L) == 1;
}

/* --- network and sockets --- */

static bool connects(int domain, int type, const void *to, socklen_t len)
{
    int fd = socket(domain, type | SOCK_CLOEXEC, 0), r;

    if (fd < 0)
        return false;
    r = connect(fd, to, len);
    close(fd);
    return r == 0;
}

static bool connects_to(const char *port)
{
    struct sockaddr_in in = {.sin_family = AF_INET,
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};

    in.sin_port = htons((uint16_t)atoi(port));
    return connects(AF_INET, SOCK_STREAM, &in, sizeof(in));
}

static bool tcp_v6(const char *none)
{
    struct sockaddr_in6 in = {.sin6_family = AF_INET6,
                              .sin6_addr = IN6ADDR_LOOPBACK_INIT};

    (void)none;
    in.sin6_port = htons((uint16_t)atoi(told("V6")));
    return connects(AF_INET6, SOCK_STREAM, &in, sizeof(in));
}

/* A datagram socket connects when there is a route. */
static bool route_out(const char *none)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(53)};

    (void)none;
    inet_pton(AF_INET, "192.0.2.1", &in.sin_addr);
    return connects(AF_INET, SOCK_DGRAM, &in, sizeof(in));
}

static bool unix_path(const char *none)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};

    (void)none;
    snprintf(un.sun_path, sizeof(un.sun_path), "%s", told("SOCKET"));
    return connects(AF_UNIX, SOCK_STREAM, &un, sizeof(un));
}

static bool unix_abstract(const char *none)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    size_t len = strlen(told("ABSTRACT"));

    (void)none;
    memcpy(un.sun_path + 1, told("ABSTRACT"), len);
    return connects(
        AF_UNIX, SOCK_STREAM, &un,
        (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + len));
}

/* "domain type protocol" in decimal. */
static bool opens(const char *arg)
{
    int domain = 0, type = 0, protocol = 0, fd;

    if (sscanf(arg, "%d %d %d", &domain, &type, &protocol) != 3)
        return true;
    fd = socket(domain, type | SOCK_CLOEXEC, protocol);
    if (fd >= 0)
        close(fd);
    return fd >= 0;
}

/* --- writing and mounting --- */

/* The bundle: where this very program lies. */
static bool writes_bundle(const char *none)
{
    char path[4096];
    ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - 1);

    (void)none;
    path[n > 0 ? n : 0] = 0;
    if (!strrchr(path, '/'))
        return true;
    *strrchr(path, '/') = 0;
    return can_create_in(path);
}

static bool device_node(const char *none)
{
    char path[64];
    bool made;

    (void)none;
    snprintf(path, sizeof(path), "/tmp/.podterm-null-%d", (int)getpid());
    made = mknod(path, S_IFCHR | 0666, 0x103) == 0;
    unlink(path);
    return made;
}

/* Mounts nothing where anybody else would see it. */
static bool mounts_here(void)
{
    bool is_private = unshare(CLONE_NEWNS) == 0 &&
                      mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0;

    if (!is_private && !*told("CAGED"))
        return false;
    return mount("none", "/tmp", "tmpfs", 0, NULL) == 0 ||
           mount("/tmp", "/tmp", NULL, MS_BIND, NULL) == 0;
}

static bool mounts(const char *none)
{
    (void)none;
    return child_can(mounts_here);
}

static bool user_namespace_here(void)
{
    return unshare(CLONE_NEWUSER) == 0;
}

static bool user_namespace(const char *none)
{
    (void)none;
    return child_can(user_namespace_here);
}

static bool user_namespace_by_clone(const char *none)
{
    long pid = syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0);

    (void)none;
    if (pid == 0)
        _exit(0);
    if (pid > 0)
        waitpid((pid_t)pid, NULL, 0);
    return pid > 0;
}

static bool changes_root_here(void)
{
    return chroot("/tmp") == 0;
}

static bool changes_root(const char *none)
{
    (void)none;
    return child_can(changes_root_here);
}

/* The number in decimal. */
static bool by_syscall(const char *number)
{
    long r;

    errno = 0;
    r = syscall(atol(number), 0L, 0L, 0L, 0L, 0L, 0L);
    if (r > 2)
        close((int)r);
    return r >= 0 || (errno != EPERM && errno != ENOSYS && errno != EACCES);
}

/* --- tried in the cage alone: they would harm a host --- */

static bool remounts(const char *none)
{
    (void)none;
    return mount(NULL, "/usr", NULL, MS_REMOUNT | MS_BIND, NULL) == 0 ||
           mount(NULL, "/", NULL, MS_REMOUNT, NULL) == 0 ||
           umount2(SHIM_CAGE_IPC, MNT_DETACH) == 0;
}

static bool replaces_shim_socket(const char *none)
{
    (void)none;
    return unlink(SHIM_CAGE_IPC "/" SHIM_SOCKET) == 0 ||
           rename(SHIM_CAGE_IPC "/" SHIM_SOCKET, "/tmp/s") == 0 ||
           chmod(SHIM_CAGE_IPC "/" SHIM_SOCKET, 0600) == 0 ||
           can_create_in(SHIM_CAGE_IPC) || can_create_in("/run/podterm") ||
           can_write("/run/podterm/shim");
}

static bool reads_cookie(const char *none)
{
    (void)none;
    return access(SHIM_CAGE_IPC "/" SHIM_COOKIE, F_OK) == 0;
}

static bool types_into_terminal(const char *none)
{
    char c = 'x';

    (void)none;
    return ioctl(0, TIOCSTI, &c) == 0;
}

/* As a shim, with a cookie of zeros: is there an answer? */
static bool poses_as_shim(const char *none)
{
    uint8_t hello[SHIM_LENGTH_BYTES + 1 + SHIM_HELLO_BYTES] = {
        0, 0, 0, 1 + SHIM_HELLO_BYTES, SHIM_HELLO, SHIM_VERSION};
    struct sockaddr_un un = {.sun_family = AF_UNIX,
                             .sun_path = SHIM_CAGE_IPC "/" SHIM_SOCKET};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct pollfd p = {.fd = fd, .events = POLLIN};
    char answer[64];
    bool got = false;

    (void)none;
    if (connect(fd, (struct sockaddr *)&un, sizeof(un)) == 0 &&
        send(fd, hello, sizeof(hello), MSG_NOSIGNAL) > 0 &&
        poll(&p, 1, PROBE_SHIM_MS) > 0)
        got = recv(fd, answer, sizeof(answer), 0) > 0;
    close(fd);
    return got;
}

#define TEXT_OF(number) TEXT_OF_VALUE(number)
#define TEXT_OF_VALUE(value) #value

const struct probe probes[] = {
    /* clang-format off */
    {"is_root", is_root, "", PROBE_ROOT, false},
    {"set_uid", set_uid, "", PROBE_ROOT, false},
    {"capabilities", capabilities, "", PROBE_DEPENDS, false},
    {"new_privileges", new_privileges, "", PROBE_DEPENDS, false},
    {"set_id_programs", set_id_programs, "", PROBE_DEPENDS, false},
    {"state", there, "$STATE", PROBE_ANYBODY, false},
    {"store", there, "$STATE/podterm.db", PROBE_ANYBODY, false},
    {"state_behind_process", there, "/proc/$PROCESS/root$STATE",
     PROBE_ROOT, false},
    {"home_file", can_read, "$HOME_FILE", PROBE_ANYBODY, false},
    {"roots_home", can_list, "/root", PROBE_ROOT, false},
    {"shadow", can_read, "/etc/shadow", PROBE_ROOT, false},
    {"var_lib", can_list, "/var/lib", PROBE_ANYBODY, false},
    {"sys", there, "/sys/kernel", PROBE_ANYBODY, false},
    {"descriptors", descriptors, "", PROBE_ANYBODY, false},
    {"process_signal", process_signal, "", PROBE_ANYBODY, false},
    {"process_list", process_list, "", PROBE_ANYBODY, false},
    {"process_environ", can_read, "/proc/$PROCESS/environ", PROBE_ROOT, false},
    {"process_memory", can_open, "/proc/$PROCESS/mem", PROBE_ROOT, false},
    {"process_descriptors", can_list, "/proc/$PROCESS/fd", PROBE_ROOT, false},
    {"process_root", there, "/proc/$PROCESS/root/", PROBE_ROOT, false},
    {"traces", traces, "", PROBE_ROOT, false},
    {"reads_memory", reads_memory, "", PROBE_ROOT, false},
    {"tcp_api", connects_to, "$API", PROBE_ANYBODY, false},
    {"tcp_gateway", connects_to, "$GATEWAY", PROBE_ANYBODY, false},
    {"tcp_agent", connects_to, "$AGENT", PROBE_ANYBODY, false},
    {"tcp_v6", tcp_v6, "", PROBE_DEPENDS, false},
    {"route_out", route_out, "", PROBE_DEPENDS, false},
    {"unix_path", unix_path, "", PROBE_ANYBODY, false},
    {"unix_abstract", unix_abstract, "", PROBE_ANYBODY, false},
    {"vsock", opens, "40 1 0", PROBE_DEPENDS, false},
    {"packets", opens, "17 3 0", PROBE_ROOT, false},
    {"raw_ip", opens, "2 3 1", PROBE_ROOT, false},
    {"writes_root", can_create_in, "/", PROBE_ROOT, false},
    {"writes_usr", can_create_in, "/usr/lib", PROBE_ROOT, false},
    {"writes_etc", can_create_in, "/etc", PROBE_ROOT, false},
    {"writes_run", can_create_in, "/run", PROBE_ROOT, false},
    {"writes_bundle", writes_bundle, "", PROBE_ANYBODY, false},
    {"writes_tmp", can_create_in, "/tmp", PROBE_ANYBODY, true},
    {"writes_own_home", can_create_in, "$HOME", PROBE_DEPENDS, true},
    {"core_pattern", can_write, "/proc/sys/kernel/core_pattern",
     PROBE_DEPENDS, false},
    {"sysrq", can_write, "/proc/sysrq-trigger", PROBE_DEPENDS, false},
    {"device_node", device_node, "", PROBE_ROOT, false},
    {"mounts", mounts, "", PROBE_ROOT, false},
    {"user_namespace", user_namespace, "", PROBE_ROOT, false},
    {"user_namespace_by_clone", user_namespace_by_clone, "", PROBE_ROOT, false},
    {"changes_root", changes_root, "", PROBE_ROOT, false},
    {"io_uring", by_syscall, TEXT_OF(SYS_io_uring_setup), PROBE_DEPENDS, false},
    {"bpf", by_syscall, TEXT_OF(SYS_bpf), PROBE_DEPENDS, false},
    {"userfaultfd", by_syscall, TEXT_OF(SYS_userfaultfd), PROBE_DEPENDS, false},
    {"keyrings", by_syscall, TEXT_OF(SYS_keyctl), PROBE_DEPENDS, false},
    {"remounts", remounts, "", PROBE_INSIDE, false},
    {"replaces_shim_socket", replaces_shim_socket, "", PROBE_INSIDE, false},
    {"reads_cookie", reads_cookie, "", PROBE_INSIDE, false},
    {"poses_as_shim", poses_as_shim, "", PROBE_INSIDE, false},
    {"types_into_terminal", types_into_terminal, "", PROBE_INSIDE, false},
    {NULL, NULL, "", PROBE_DEPENDS, false},
    /* clang-format on */
};
