#include "runner-image/parts.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

/* The network namespace is the runner's own: nobody else is on its loopback,
 * and what connects there reaches whoever accepts, in any namespace. */
static int listen_on(uint16_t port)
{
    struct sockaddr_in at = {.sin_family = AF_INET,
                             .sin_port = htons(port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0)
        return -1;
    if (bind(fd, (struct sockaddr *)&at, sizeof(at)) < 0 ||
        listen(fd, SHIM_BACKLOG) < 0) {
        close(fd);
        return -1;
    }
    return fd;
}

int network_listen(struct shim *s, const struct start *st)
{
    for (int i = 0; i < st->listen_count; i++) {
        int fd = listen_on(st->listen[i]);

        if (fd < 0)
            return -1;
        s->listeners[s->listener_count].fd = fd;
        s->listeners[s->listener_count++].port = st->listen[i];
    }
    return 0;
}
