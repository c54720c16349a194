#include "runner-image/parts.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

/* The network namespace is the runner's own: nobody else is on its loopback,
 * and what connects there reaches whoever accepts, in any namespace. */
int network_listen(struct shim *s)
{
    struct sockaddr_in at = {.sin_family = AF_INET,
                             .sin_port = htons(SHIM_PROXY_PORT),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0)
        return -1;
    if (bind(fd, (struct sockaddr *)&at, sizeof(at)) < 0 ||
        listen(fd, SHIM_PROXY_BACKLOG) < 0) {
        close(fd);
        return -1;
    }
    s->listen_fd = fd;
    return 0;
}
