#include "agent/shimlink_peer.h"

#include "base/own.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77 /* linux 6.5; not in glibc 2.36 */
#endif
#define PEER_OVERFLOW_UID 65534

/* "NSpid: 4711 1": the outermost and the innermost number, and how many. */
static int peer_numbers(const char *path, int *count, int *last)
{
    FILE *f = fopen(path, "re");
    char line[256];
    int n = 0, at = 0, pid;

    if (!f)
        return -1;
    while (n == 0 && fgets(line, sizeof(line), f)) {
        if (strncmp(line, "NSpid:", 6) != 0)
            continue;
        for (const char *p = line + 6; sscanf(p, "%d%n", &pid, &at) == 1;
             p += at) {
            n++;
            *last = pid;
        }
    }
    fclose(f);
    *count = n;
    return n > 0 ? 0 : -1;
}

static bool peer_is_init_below(int fd, pid_t pid)
{
    own_fd int pid_fd = -1;
    socklen_t len = sizeof(pid_fd);
    int count = 0, last = 0, got;
    char path[64];

    got = getsockopt(fd, SOL_SOCKET, SO_PEERPIDFD, &pid_fd, &len);
    if (got == 0)
        snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", pid_fd);
    else
        snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
    return peer_numbers(path, &count, &last) == 0 && count == 2 && last == 1;
}

int shimlink_check_peer(int fd, uid_t uid, bool is_caged, struct err *e)
{
    struct ucred peer;
    socklen_t len = sizeof(peer);
    bool is_beside;

    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0)
        return err_sys(e, "shim socket: SO_PEERCRED");
    is_beside = peer.pid == 0;
    if (peer.uid != uid && !(is_beside && peer.uid == PEER_OVERFLOW_UID))
        return err_set(e, ERR_DENIED, "shim socket: peer has uid %u, not %u",
                       (unsigned)peer.uid, (unsigned)uid);
    if (is_caged && !is_beside && !peer_is_init_below(fd, peer.pid))
        return err_set(e, ERR_DENIED,
                       "shim socket: peer %d is not the runner's PID 1",
                       (int)peer.pid);
    return 0;
}

static bool socket_is(int fd, int what, int want)
{
    int is = -1;
    socklen_t len = sizeof(is);

    return getsockopt(fd, SOL_SOCKET, what, &is, &len) == 0 && is == want;
}

int shimlink_check_listener(int fd, struct err *e)
{
    int flags = fcntl(fd, F_GETFL);

    if (flags < 0 || !socket_is(fd, SO_DOMAIN, AF_INET) ||
        !socket_is(fd, SO_TYPE, SOCK_STREAM) ||
        !socket_is(fd, SO_PROTOCOL, IPPROTO_TCP) ||
        !socket_is(fd, SO_ACCEPTCONN, 1))
        return err_set(e, ERR_PEER,
                       "shim: what it sent is no listening TCP socket");
    if (fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
        return err_sys(e, "shim: a socket cannot be made non-blocking");
    return 0;
}

int shimlink_check_master(int fd, struct err *e)
{
    int flags = fcntl(fd, F_GETFL), unlocked = 0;
    unsigned number;

    /* gVisor answers the first of a slave, too; the second changes nothing of
     * a master that was opened */
    if (ioctl(fd, TIOCGPTN, &number) < 0 ||
        ioctl(fd, TIOCSPTLCK, &unlocked) < 0 || flags < 0 ||
        (flags & O_ACCMODE) != O_RDWR || (flags & O_PATH))
        return err_set(e, ERR_PEER, "shim: what it sent is no PTY master");
    if (fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
        return err_sys(e, "shim: PTY master cannot be made non-blocking");
    return 0;
}
