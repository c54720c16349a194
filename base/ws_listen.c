#include "base/addr.h"
#include "base/own.h"
#include "base/ws.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define LISTEN_BACKLOG 1024 /* cut by net.core.somaxconn */

static int listen_bind(int fd, const struct sockaddr_storage *at,
                       const char *host_port, struct err *e)
{
    if (bind(fd, (const struct sockaddr *)at, addr_len(at)) == 0 &&
        listen(fd, LISTEN_BACKLOG) == 0)
        return 0;
    if (errno == EADDRINUSE)
        return err_set(e, ERR_SYSTEM,
                       "address in use: %s; choose another address or port",
                       host_port);
    if (errno == EADDRNOTAVAIL)
        return err_set(e, ERR_SYSTEM,
                       "%s is no address of this machine; choose another",
                       host_port);
    if (errno == EACCES)
        return err_set(e, ERR_SYSTEM,
                       "%s: not permitted (ports below 1024 are for root "
                       "alone); choose another port",
                       host_port);
    return err_sys(e, "cannot listen on %s", host_port);
}

static bool is_any_v6(const struct sockaddr_storage *at)
{
    return at->ss_family == AF_INET6 &&
           IN6_IS_ADDR_UNSPECIFIED(
               &((const struct sockaddr_in6 *)at)->sin6_addr);
}

/* [::] is IPv4's addresses too, and those alone where the kernel has no IPv6;
 * every other address means what it says. */
static int listen_socket(struct sockaddr_storage *at, struct err *e)
{
    const int type = SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK;
    const bool is_any = is_any_v6(at);
    const int only_v6 = !is_any;
    own_fd int fd = socket(at->ss_family, type, 0);

    if (fd < 0 && errno == EAFNOSUPPORT && is_any) {
        const struct sockaddr_in four = {
            .sin_family = AF_INET,
            .sin_port = ((const struct sockaddr_in6 *)at)->sin6_port};

        memcpy(at, &four, sizeof(four));
        fd = socket(AF_INET, type, 0);
    }
    if (fd < 0)
        return err_sys(e, "socket");
    if (at->ss_family == AF_INET6 && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY,
                                                &only_v6, sizeof(only_v6)) < 0)
        return err_sys(e, "IPV6_V6ONLY");
    return own_fd_give(&fd);
}

int listen_tcp(const char *host_port, bool reuse_port, struct err *e)
{
    own_fd int fd = -1;
    struct sockaddr_storage at;
    const int on = 1;

    if (addr_parse(host_port, &at, e) < 0)
        return err_wrap(e, "listen address");
    fd = listen_socket(&at, e);
    if (fd < 0)
        return -1;
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0)
        return err_sys(e, "SO_REUSEADDR");
    if (reuse_port &&
        setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)) < 0)
        return err_sys(e, "SO_REUSEPORT");
    if (listen_bind(fd, &at, host_port, e) < 0)
        return -1;
    return own_fd_give(&fd);
}

int listen_name(int fd, char *out, size_t size)
{
    struct sockaddr_storage at = {0};
    socklen_t len = sizeof(at);
    char text[ADDR_TEXT_MAX];

    if (getsockname(fd, (struct sockaddr *)&at, &len) < 0)
        return -1;
    addr_text((const struct sockaddr *)&at, text);
    return snprintf(out, size, "%s", text) < (int)size ? 0 : -1;
}
