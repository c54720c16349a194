#include "client/lend.h"

#include "base/loop.h"
#include "base/mem.h"
#include "base/own.h"
#include "base/proc.h"
#include "base/seal.h"
#include "client/server.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define LEND_SECRET_BYTES 16
#define LEND_BACKLOG 16
#define LEND_TURN (1 << 20)

/* --- the lender --- */

static bool lend_is_ready(int fd, short what, int64_t until)
{
    struct pollfd p = {.fd = fd, .events = what};
    const int64_t left = until - loop_now_ms();

    return left > 0 && poll(&p, 1, (int)left) > 0;
}

/* The request's head, terminated; false: none came, or too much. */
static bool lend_read(int fd, char head[LEND_HEAD_MAX])
{
    const int64_t until = loop_now_ms() + LEND_HEAD_MS;
    size_t len = 0;

    while (len < LEND_HEAD_MAX - 1 && lend_is_ready(fd, POLLIN, until)) {
        ssize_t n = recv(fd, head + len, LEND_HEAD_MAX - 1 - len, 0);

        if (n <= 0)
            return false;
        len += (size_t)n;
        head[len] = 0;
        if (strstr(head, "\r\n\r\n"))
            return true;
    }
    return false;
}

static void lend_send(int fd, const char *text)
{
    size_t len = strlen(text);

    while (len > 0 &&
           lend_is_ready(fd, POLLOUT, loop_now_ms() + LEND_STALL_MS)) {
        ssize_t n = send(fd, text, len, MSG_NOSIGNAL);

        if (n <= 0)
            return;
        text += n;
        len -= (size_t)n;
    }
}

static void lend_file(int fd, const struct archive *a)
{
    own_mem char *head =
        mem_printf("HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream"
                   "\r\nContent-Length: %lld\r\nConnection: close\r\n\r\n",
                   (long long)a->size);
    off_t at = 0;

    lend_send(fd, head);
    while (at < a->size &&
           lend_is_ready(fd, POLLOUT, loop_now_ms() + LEND_STALL_MS)) {
        const int64_t left = a->size - at;

        if (sendfile(fd, a->fd, &at,
                     left < LEND_TURN ? (size_t)left : LEND_TURN) <= 0 &&
            errno != EINTR && errno != EAGAIN)
            return;
    }
}

/* path: "/SECRET/NAME" */
static void lend_answer(int fd, const char *path, const struct archive *a)
{
    static const char absent[] = "HTTP/1.1 404 Not Found\r\n"
                                 "Content-Length: 0\r\nConnection: close"
                                 "\r\n\r\n";
    char head[LEND_HEAD_MAX] = "";
    own_mem char *want = mem_printf("GET %s HTTP/1.", path);
    const size_t len = strlen(want);

    if (!lend_read(fd, head))
        return;
    if (strlen(head) > len && same_bytes(head, want, len))
        lend_file(fd, a);
    else
        lend_send(fd, absent);
    shutdown(fd, SHUT_WR);
    while (lend_is_ready(fd, POLLIN, loop_now_ms() + LEND_HEAD_MS))
        if (recv(fd, head, sizeof(head), 0) <= 0)
            break;
}

/* Out of the terminal's reach: its Ctrl-C is not for us. */
static _Noreturn void lend_serve(int listen_fd, const char *path,
                                 const struct archive *a, pid_t parent)
{
    const int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);

    for (int fd = 0; fd <= 2; fd++) /* a pipe's reader waits for its end */
        dup2(null_fd, fd);
    setpgid(0, 0);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGHUP, SIG_DFL);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    while (getppid() == parent) {
        int fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC);

        if (fd < 0)
            continue;
        lend_answer(fd, path, a);
        close(fd);
    }
    _exit(0);
}

/* --- the one who lends --- */

static int lend_listen(int *port, struct err *e)
{
    struct sockaddr_in sa = {.sin_family = AF_INET,
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(sa);
    own_fd int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0 || bind(fd, (struct sockaddr *)&sa, len) < 0 ||
        listen(fd, LEND_BACKLOG) < 0 ||
        getsockname(fd, (struct sockaddr *)&sa, &len) < 0)
        return err_sys(e, "a loopback port, to give the archive away");
    *port = ntohs(sa.sin_port);
    return own_fd_give(&fd);
}

int lend_start(struct lend *l, const struct archive *a, struct err *e)
{
    uint8_t secret[LEND_SECRET_BYTES];
    char hex[LEND_SECRET_BYTES * 2 + 1];
    own_mem char *name = server_quote(a->name);
    own_mem char *path = NULL;
    const pid_t parent = getpid();
    int port = 0;
    own_fd int listen_fd = -1;

    seal_init();
    random_bytes(secret, sizeof(secret));
    hex_encode(secret, sizeof(secret), hex);
    path = mem_printf("/%s/%s", hex, name);
    listen_fd = lend_listen(&port, e);
    if (listen_fd < 0)
        return -1;
    snprintf(l->url, sizeof(l->url), "http://127.0.0.1:%d%s", port, path);
    fflush(NULL);
    l->pid = fork();
    if (l->pid == 0)
        lend_serve(listen_fd, path, a, parent);
    if (l->pid < 0) {
        l->pid = 0;
        return err_sys(e, "fork");
    }
    return 0;
}

void lend_stop(struct lend *l)
{
    if (l->pid <= 0)
        return;
    kill(l->pid, SIGKILL);
    waitpid(l->pid, NULL, 0);
    l->pid = 0;
}
