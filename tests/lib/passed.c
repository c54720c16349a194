#include "tests/lib/passed.h"

#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

ssize_t passed_recv(int sock, void *out, size_t len, int *fd)
{
    struct iovec iov = {out, len};
    union {
        struct cmsghdr align;
        char room[CMSG_SPACE(sizeof(int))];
    } control = {0};
    struct msghdr msg = {.msg_iov = &iov,
                         .msg_iovlen = 1,
                         .msg_control = control.room,
                         .msg_controllen = sizeof(control.room)};
    ssize_t n = recvmsg(sock, &msg, MSG_CMSG_CLOEXEC);

    if (n > 0 && CMSG_FIRSTHDR(&msg)) {
        if (*fd >= 0)
            close(*fd);
        memcpy(fd, CMSG_DATA(CMSG_FIRSTHDR(&msg)), sizeof(int));
    }
    return n;
}
