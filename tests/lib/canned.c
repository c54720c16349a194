#include "tests/lib/canned.h"

#include "base/mem.h"
#include "base/ws.h"

#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

static void canned_serve(struct canned *s, int fd)
{
    size_t len = 0;
    char end;

    while (len < sizeof(s->head) - 1 && !atomic_load(&s->is_over)) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        ssize_t n;

        if (poll(&p, 1, 20) == 0)
            continue;
        n = recv(fd, s->head + len, sizeof(s->head) - 1 - len, 0);
        if (n <= 0)
            return;
        len += (size_t)n;
        s->head[len] = 0;
        if (strstr(s->head, "\r\n\r\n"))
            break;
    }
    send(fd, s->bytes, s->len, MSG_NOSIGNAL);
    while (s->hangs && !atomic_load(&s->is_over)) {
        struct pollfd p = {.fd = fd, .events = POLLIN};

        if (poll(&p, 1, 20) > 0 && recv(fd, &end, 1, 0) <= 0)
            return;
    }
    shutdown(fd, SHUT_WR);
    while (recv(fd, &end, 1, 0) > 0) /* no reset over what was sent */
        ;
}

static void *canned_run(void *arg)
{
    struct canned *s = arg;

    while (!atomic_load(&s->is_over)) {
        struct pollfd p = {.fd = s->listen_fd, .events = POLLIN};
        int fd;

        if (poll(&p, 1, 20) <= 0)
            continue;
        fd = accept(s->listen_fd, NULL, NULL);
        if (fd < 0)
            continue;
        atomic_fetch_add(&s->conns, 1);
        canned_serve(s, fd);
        close(fd);
    }
    return NULL;
}

struct canned *canned_start(const char *bytes, size_t len, bool hangs)
{
    struct canned *s = mem_zero(1, sizeof(*s));
    struct sockaddr_in at;
    socklen_t at_len = sizeof(at);
    struct err e = {0};

    s->bytes = bytes;
    s->len = len;
    s->hangs = hangs;
    s->listen_fd = listen_tcp("127.0.0.1:0", false, &e);
    assert_true(s->listen_fd >= 0);
    assert_int_equal(getsockname(s->listen_fd, (struct sockaddr *)&at, &at_len),
                     0);
    s->port = ntohs(at.sin_port);
    assert_int_equal(pthread_create(&s->thread, NULL, canned_run, s), 0);
    return s;
}

int canned_stop(struct canned *s)
{
    int conns;

    atomic_store(&s->is_over, true);
    pthread_join(s->thread, NULL);
    close(s->listen_fd);
    conns = atomic_load(&s->conns);
    free(s);
    return conns;
}

const char *canned_url(const char *scheme, const char *host, int port)
{
    static char out[256];

    snprintf(out, sizeof(out), "%s://%s:%d/f?" SECRET, scheme, host, port);
    return out;
}

struct http_request canned_request(const char *url)
{
    return (struct http_request){
        .url = url, .allow_http = true, .total_ms = 5000, .body_max = 1000};
}

void canned_fails(const struct http_request *r, enum err_kind kind,
                  const char *says)
{
    struct http_answer a;
    struct err e = {0};

    if (http_do(r, &a, &e) == 0)
        fail_msg("%s was answered with %d", r->url, a.status);
    if (e.kind != kind || !strstr(e.text, says))
        fail_msg("%s: kind %d, \"%s\", not \"%s\"", r->url, (int)e.kind, e.text,
                 says);
    assert_null(strstr(e.text, "SECRET"));
}

int canned_group_setup(void **arg)
{
    (void)arg;
    signal(SIGPIPE, SIG_IGN); /* the servers are threads of ours */
    http_client_init();
    return 0;
}
