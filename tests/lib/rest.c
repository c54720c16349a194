#include "tests/lib/rest.h"

#include "base/mem.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#define REST_WAIT_S 20
#define REST_ANSWER_MAX (4 << 20)

static int dial(int port)
{
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons((unsigned short)port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct timeval wait = {.tv_sec = REST_WAIT_S};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait);
    if (connect(fd, (struct sockaddr *)&to, sizeof to) < 0) {
        close(fd);
        return -1;
    }
    return fd;
}

static void say(int fd, const char *text, size_t len)
{
    while (len > 0) {
        ssize_t n = send(fd, text, len, MSG_NOSIGNAL);

        if (n <= 0)
            return;
        text += n;
        len -= (size_t)n;
    }
}

/* Read until the length the head announces, or the end. */
static void hear(int fd, struct rest_answer *a)
{
    char *all = mem_zero(1, REST_ANSWER_MAX + 1), *end = NULL, *length;
    size_t used = 0, want = REST_ANSWER_MAX;
    ssize_t n;

    while (used < want && (n = read(fd, all + used, want - used)) > 0) {
        used += (size_t)n;
        all[used] = '\0';
        if (end || !(end = strstr(all, "\r\n\r\n")))
            continue;
        length = strcasestr(all, "\r\ncontent-length:");
        if (length && length < end)
            want = (size_t)(end + 4 - all) + strtoul(length + 17, NULL, 10);
    }
    if (end && sscanf(all, "HTTP/1.%*c %d", &a->status) == 1) {
        a->head = mem_strn(all, (size_t)(end - all));
        a->len = used - (size_t)(end + 4 - all);
        a->body = mem_strn(end + 4, a->len);
    }
    free(all);
}

int rest_ask(int port, const char *method, const char *path,
             const char *headers, const char *body)
{
    int fd = dial(port);
    char *host, *text;
    bool has_host = headers && strcasestr(headers, "host:") == headers;

    if (fd < 0)
        return -1;
    host = has_host ? mem_str("") : mem_printf("Host: 127.0.0.1:%d\r\n", port);
    text = body ? mem_printf("%s %s HTTP/1.1\r\n%s%sContent-Length: %zu\r\n"
                             "Connection: close\r\n\r\n%s",
                             method, path, host, headers ? headers : "",
                             strlen(body), body)
                : mem_printf("%s %s HTTP/1.1\r\n%s%s%sConnection: close"
                             "\r\n\r\n",
                             method, path, host, headers ? headers : "",
                             method[0] == 'P' ? "Content-Length: 0\r\n" : "");
    say(fd, text, strlen(text));
    free(host);
    free(text);
    return fd;
}

struct rest_answer rest_hear(int fd)
{
    struct rest_answer a = {0};

    if (fd < 0)
        return a;
    hear(fd, &a);
    close(fd);
    return a;
}

struct rest_answer rest_call(int port, const char *method, const char *path,
                             const char *headers, const char *body)
{
    return rest_hear(rest_ask(port, method, path, headers, body));
}

void rest_fini(struct rest_answer *a)
{
    free(a->head);
    free(a->body);
    memset(a, 0, sizeof *a);
}

const char *rest_header(const struct rest_answer *a, const char *name)
{
    static char value[1024];
    char *line = mem_printf("\r\n%s:", name);
    const char *at = a->head ? strcasestr(a->head, line) : NULL;

    value[0] = '\0';
    if (at) {
        at += strlen(line);
        at += strspn(at, " ");
        snprintf(value, sizeof value, "%.*s", (int)strcspn(at, "\r"), at);
    }
    free(line);
    return value;
}

/* --- the controller --- */

static char *program(void)
{
    const char *build = getenv("PODTERM_BUILD");

    return mem_printf("%s/bin/podterm-controller", build ? build : "build");
}

static void child(char *path, const char *const *args, int out)
{
    const char *argv[64] = {"podterm-controller"};
    size_t n = 1;

    for (; args[n - 1] && n < 63; n++)
        argv[n] = args[n - 1];
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    dup2(out, 2);
    execv(path, (char **)argv);
    _exit(127);
}

size_t rest_log(struct rest_server *s, char *out, size_t size)
{
    ssize_t n = read(s->log_fd, out, size - 1);

    out[n > 0 ? n : 0] = '\0';
    return n > 0 ? (size_t)n : 0;
}

bool rest_start(struct rest_server *s, const char *const *args, char *text,
                size_t size)
{
    char *path = program();
    int ends[2];
    size_t used = 0;
    const char *at;

    if (pipe2(ends, O_CLOEXEC) < 0)
        abort();
    memset(s, 0, sizeof *s);
    s->pid = fork();
    if (s->pid == 0)
        child(path, args, ends[1]);
    free(path);
    close(ends[1]);
    s->log_fd = ends[0];
    fcntl(s->log_fd, F_SETFL, O_NONBLOCK);
    for (int i = 0; i < 4000; i++) {
        struct pollfd p = {.fd = s->log_fd, .events = POLLIN};

        poll(&p, 1, 5);
        used += rest_log(s, text + used, size - used);
        if ((at = strstr(text, "\"controller.ready\"")) &&
            (at = strstr(at, "\"listen\":\""))) {
            at += strlen("\"listen\":\"");
            s->port = atoi(memrchr(at, ':', strcspn(at, "\"")) + 1);
            return true;
        }
        if (waitpid(s->pid, NULL, WNOHANG) == s->pid) {
            used += rest_log(s, text + used, size - used);
            close(s->log_fd);
            s->pid = 0;
            return false;
        }
    }
    rest_stop(s, SIGKILL);
    return false;
}

int rest_stop(struct rest_server *s, int signum)
{
    int status = -1;

    if (s->pid <= 0)
        return -1;
    kill(s->pid, signum);
    while (waitpid(s->pid, &status, 0) < 0 && errno == EINTR)
        ;
    while (rest_log(s, s->last, sizeof s->last) == sizeof s->last - 1)
        ;
    close(s->log_fd);
    s->pid = 0;
    return status;
}

long rest_uids(void)
{
    return 1000000 + getpid() % 20000 * 25000L;
}
