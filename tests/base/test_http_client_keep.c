/* Connections kept between calls of the HTTP client. */
#include "base/http_client.h"

#include "base/mem.h"
#include "base/ws.h"
#include "tests/lib/canned.h"

#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define CALLS 3

static const char answer[] =
    "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";

/* Answers every request of a connection, until its client hangs up. */
struct patient {
    pthread_t thread;
    int listen_fd, port;
    atomic_bool is_over;
    int conns; /* the thread's */
};

static void patient_serve(int fd)
{
    char head[4096];
    size_t len = 0;
    ssize_t n;

    while ((n = recv(fd, head + len, sizeof head - 1 - len, 0)) > 0) {
        len += (size_t)n;
        head[len] = 0;
        if (!strstr(head, "\r\n\r\n"))
            continue;
        send(fd, answer, sizeof answer - 1, MSG_NOSIGNAL);
        len = 0;
    }
}

static void *patient_run(void *arg)
{
    struct patient *p = arg;

    while (!atomic_load(&p->is_over)) {
        struct pollfd at = {.fd = p->listen_fd, .events = POLLIN};
        int fd;

        if (poll(&at, 1, 20) <= 0)
            continue;
        fd = accept(p->listen_fd, NULL, NULL);
        p->conns++;
        patient_serve(fd);
        close(fd);
    }
    return NULL;
}

static void patient_start(struct patient *p)
{
    struct sockaddr_in at;
    socklen_t len = sizeof at;
    struct err e = {0};

    memset(p, 0, sizeof *p);
    p->listen_fd = listen_tcp("127.0.0.1:0", false, &e);
    assert_true(p->listen_fd >= 0);
    assert_int_equal(getsockname(p->listen_fd, (struct sockaddr *)&at, &len),
                     0);
    p->port = ntohs(at.sin_port);
    assert_int_equal(pthread_create(&p->thread, NULL, patient_run, p), 0);
}

static void patient_stop(struct patient *p)
{
    atomic_store(&p->is_over, true);
    pthread_join(p->thread, NULL);
    close(p->listen_fd);
}

static void calls(const char *url, struct http_keep *keep)
{
    for (int i = 0; i < CALLS; i++) {
        struct http_request r = canned_request(url);
        struct http_answer a;
        struct err e = {0};

        r.keep = keep;
        if (http_do(&r, &a, &e) < 0)
            fail_msg("call %d: %s", i, e.text);
        assert_int_equal(a.status, 200);
        assert_string_equal(buf_cstr(&a.body), "hello");
        http_answer_fini(&a);
    }
}

static void a_kept_connection_serves_the_next_call(void **arg)
{
    struct http_keep keep = {0};
    struct patient p;

    (void)arg;
    patient_start(&p);
    calls(canned_url("http", "127.0.0.1", p.port), &keep);
    http_keep_fini(&keep);
    patient_stop(&p);
    assert_int_equal(p.conns, 1);
}

static void without_one_every_call_dials(void **arg)
{
    struct patient p;

    (void)arg;
    patient_start(&p);
    calls(canned_url("http", "127.0.0.1", p.port), NULL);
    patient_stop(&p);
    assert_int_equal(p.conns, CALLS);
}

/* It said nothing of closing it. */
static void one_that_the_server_closed_is_dialled_anew(void **arg)
{
    struct http_keep keep = {0};
    struct canned *s = CANNED(answer);

    (void)arg;
    calls(canned_url("http", "127.0.0.1", s->port), &keep);
    http_keep_fini(&keep);
    assert_int_equal(canned_stop(s), CALLS);
}

/* What a call set for itself is not the next one's. */
static void nothing_else_stays(void **arg)
{
    static const char *const headers[] = {"x-first: 1", NULL};
    struct http_keep keep = {0};
    struct canned *s = CANNED(answer);
    struct http_request r =
        canned_request(canned_url("http", "127.0.0.1", s->port));
    struct http_answer a;
    struct err e = {0};

    (void)arg;
    r.keep = &keep;
    r.headers = headers;
    r.method = "PUT";
    r.body = "body";
    r.body_len = 4;
    assert_int_equal(http_do(&r, &a, &e), 0);
    http_answer_fini(&a);
    assert_non_null(strstr(s->head, "x-first: 1"));
    calls(r.url, &keep);
    http_keep_fini(&keep);
    assert_int_equal(strncmp(s->head, "GET ", 4), 0);
    assert_null(strstr(s->head, "x-first"));
    assert_null(strstr(s->head, "Content-Length"));
    canned_stop(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_kept_connection_serves_the_next_call),
        cmocka_unit_test(without_one_every_call_dials),
        cmocka_unit_test(one_that_the_server_closed_is_dialled_anew),
        cmocka_unit_test(nothing_else_stays),
    };

    return cmocka_run_group_tests_name("base/http_client_keep", tests,
                                       canned_group_setup, NULL);
}
