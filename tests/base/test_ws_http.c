/* HTTP at our server: requests, answers, and who makes room for whom. */
#include "tests/lib/wsbed.h"

#include <fcntl.h>
#include <malloc.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define LASTING_MAX (8 << 20)

static struct ws_request *asked; /* not answered yet */
static bool answer_later;
static uint8_t *lasting; /* answered with it, so long */
static size_t lasting_len;
static int lasting_status;

static void request(void *arg, struct ws_request *r)
{
    static const struct ws_header type[] = {
        {"content-type", "text/plain"},
        {"x-bad", "a\r\nx-injected: b"},
    };
    char text[512];
    size_t len;
    const uint8_t *body = ws_request_body(r, &len);
    const char *q = ws_request_query(r, "a");
    const char *id = ws_request_header(r, "x-request-id");

    (void)arg;
    bed.requests++;
    if (answer_later) {
        asked = r;
        return;
    }
    if (lasting) {
        ws_respond_lasting(r, lasting_status, type, 1, lasting, lasting_len);
        return;
    }
    len = (size_t)snprintf(text, sizeof(text), "%s %s a=%s id=%s body=%.*s",
                           ws_request_method(r), ws_request_path(r),
                           q ? q : "none", id ? id : "none", (int)len,
                           body ? (const char *)body : "");
    ws_respond(r, 200, type, 2, text, len);
}

static struct ws_server_conf base_conf(void)
{
    struct ws_server_conf conf = bed_conf();

    conf.request = request;
    conf.body_max = 100000;
    return conf;
}

static int start(void **state)
{
    (void)state;
    answer_later = false;
    bed_start();
    return 0;
}

static int stop(void **state)
{
    (void)state;
    bed_stop();
    if (asked)
        ws_respond(asked, 200, NULL, 0, NULL, 0);
    asked = NULL;
    free(lasting);
    lasting = NULL;
    return 0;
}

/* --- HTTP --- */

static struct peer *ask(const char *text)
{
    const struct ws_server_conf conf = base_conf();
    struct peer *p;

    if (!bed.server)
        bed_serve(&conf);
    p = bed_dial();
    peer_say(p, text);
    return p;
}

static void expect(const char *request_text, const char *answer)
{
    struct peer *p = ask(request_text);

    assert_true(peer_wait_closed(p, 2000));
    if (!strstr(p->in, answer))
        fail_msg("%s\nis not in\n%s", answer, p->in);
    peer_free(p);
}

static void requests_reach_the_handler_whole(void **state)
{
    (void)state;
    expect("GET /x/y?a=1%262&b=2 HTTP/1.1\r\nHost: h\r\n"
           "X-Request-Id: r7\r\n\r\n",
           "GET /x/y a=1&2 id=r7 body=");
    expect("GET / HTTP/1.1\r\nHost: h\r\n\r\n", "GET / a=none id=none");
    expect("GET /?ab=1 HTTP/1.1\r\nHost: h\r\n\r\n", "a=none");
    expect("GET /?a HTTP/1.1\r\nHost: h\r\n\r\n", "a= ");
    expect("POST /p HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nbody",
           "POST /p a=none id=none body=body");
    expect("POST /p HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n",
           "POST /p a=none id=none body=");
    expect("PATCH /p HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nhi",
           "PATCH /p a=none id=none body=hi");
    expect("DELETE /p HTTP/1.1\r\nHost: h\r\n\r\n", "DELETE /p");
    expect("OPTIONS /p HTTP/1.1\r\nHost: h\r\n\r\n", "OPTIONS /p");
    assert_int_equal(bed.requests, 9);
}

static void an_answer_is_well_formed_and_closes(void **state)
{
    struct peer *p = ask("GET / HTTP/1.1\r\nHost: h\r\n\r\n");

    (void)state;
    assert_true(peer_wait_closed(p, 2000));
    assert_false(p->is_reset);
    assert_non_null(strstr(p->in, "HTTP/1.1 200 OK\r\n"));
    assert_non_null(strstr(p->in, "connection: close\r\n"));
    assert_non_null(strstr(p->in, "content-length: "));
    assert_non_null(strstr(p->in, "content-type: text/plain\r\n"));
    assert_null(strstr(p->in, "injected"));
    peer_free(p);
}

static void a_line_end_in_the_target_adds_no_header(void **state)
{
    static const char *const bad[] = {
        "GET /p%0aX-Forwarded-For:%201.2.3.4 HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET /p?q=1%0aHost:h HTTP/1.1\r\nAccept: y\r\n\r\n",
        "GET /p?q=1%0d%0aHost:h HTTP/1.1\r\nAccept: y\r\n\r\n",
        "GET /p?q=1%0dz HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET /p?q=%01 HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET /p%7f HTTP/1.1\r\nHost: h\r\n\r\n",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        struct peer *p = ask(bad[i]);

        if (!peer_wait_closed(p, 2000) || !strstr(p->in, "HTTP/1.1 400 ") ||
            !strstr(p->in, "nosniff"))
            fail_msg("%s: %s", bad[i], p->in);
        peer_free(p);
    }
    assert_int_equal(bed.requests, 0);
}

static void head_has_no_body(void **state)
{
    struct peer *p = ask("HEAD / HTTP/1.1\r\nHost: h\r\n\r\n");
    const char *end;

    (void)state;
    assert_true(peer_wait_closed(p, 2000));
    end = strstr(p->in, "\r\n\r\n");
    assert_non_null(end);
    assert_int_equal(strlen(end), 4);
    peer_free(p);
}

static void a_body_in_pieces_is_put_together(void **state)
{
    struct peer *p =
        ask("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 6\r\n\r\n");

    (void)state;
    run_for(bed.loop, 30);
    peer_say(p, "abc");
    run_for(bed.loop, 30);
    peer_say(p, "def");
    assert_true(peer_wait(p, "body=abcdef", 2000));
    peer_free(p);
}

static void a_late_answer_arrives(void **state)
{
    static const char big[300000];
    struct peer *p;

    (void)state;
    answer_later = true;
    p = ask("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    run_for(bed.loop, 100);
    assert_non_null(asked);
    assert_false(ws_request_is_gone(asked));
    ws_respond(asked, 200, NULL, 0, big, sizeof(big));
    asked = NULL;
    assert_true(peer_wait_closed(p, 3000));
    assert_true(p->len > sizeof(big));
    assert_false(p->is_reset);
    peer_free(p);
}

static void have_lasting(size_t len)
{
    lasting = malloc(LASTING_MAX);
    assert_non_null(lasting);
    for (size_t i = 0; i < LASTING_MAX; i++)
        lasting[i] = (uint8_t)(i * 2654435761u >> 24);
    lasting_len = len;
    lasting_status = 200;
}

static void a_lasting_body_arrives_as_it_is(void **state)
{
    static const size_t sizes[] = {0, 1, 32767, 32768, 32769, 65536, 300001};

    (void)state;
    have_lasting(0);
    for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
        char length[64];
        struct peer *p;
        const char *end;

        lasting_len = sizes[i];
        snprintf(length, sizeof(length), "content-length: %zu\r\n", sizes[i]);
        p = ask("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
        assert_true(peer_wait_closed(p, 3000));
        assert_false(p->is_reset);
        assert_non_null(strstr(p->in, length));
        end = strstr(p->in, "\r\n\r\n") + 4;
        assert_int_equal(p->len - (size_t)(end - p->in), sizes[i]);
        assert_memory_equal(end, lasting, sizes[i]);
        peer_free(p);
        p = ask("HEAD / HTTP/1.1\r\nHost: h\r\n\r\n");
        assert_true(peer_wait_closed(p, 3000));
        assert_non_null(strstr(p->in, length));
        assert_string_equal(strstr(p->in, "\r\n\r\n"), "\r\n\r\n");
        peer_free(p);
    }
}

static void not_modified_has_neither_body_nor_length(void **state)
{
    struct peer *p;

    (void)state;
    have_lasting(40000);
    lasting_status = 304;
    p = ask("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_true(peer_wait_closed(p, 3000));
    assert_non_null(strstr(p->in, "HTTP/1.1 304 Not Modified\r\n"));
    assert_null(strstr(p->in, "content-length"));
    assert_string_equal(strstr(p->in, "\r\n\r\n"), "\r\n\r\n");
    peer_free(p);
}

/* A reader in no hurry: reads when it is told to. */
static int dial_slow(void)
{
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port =
                                 htons((uint16_t)ws_server_port(bed.server)),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), small = 4096;
    static const char text[] = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";

    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
    assert_int_equal(send(fd, text, sizeof(text) - 1, MSG_NOSIGNAL),
                     sizeof(text) - 1);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    return fd;
}

#define SLOW 20

static void slow_readers_of_a_lasting_body_cost_little_memory(void **state)
{
    const struct ws_server_conf conf = base_conf();
    static char in[LASTING_MAX + 4096];
    size_t before, used = 0;
    int fds[SLOW];
    ssize_t n;

    (void)state;
    have_lasting(LASTING_MAX);
    bed_serve(&conf);
    run_for(bed.loop, 50);
    before = mallinfo2().uordblks + mallinfo2().hblkhd;
    for (int i = 0; i < SLOW; i++)
        fds[i] = dial_slow();
    run_for(bed.loop, 300);
    assert_int_equal(bed.requests, SLOW);
    assert_true(mallinfo2().uordblks + mallinfo2().hblkhd <
                before + SLOW * 4 * 32768);
    for (int idle = 0; idle < 200; idle++) {
        while ((n = recv(fds[0], in + used, sizeof(in) - used, 0)) > 0) {
            used += (size_t)n;
            idle = 0;
        }
        if (n == 0)
            break;
        run_for(bed.loop, 5);
    }
    assert_true(used > LASTING_MAX);
    assert_memory_equal(in + used - LASTING_MAX, lasting, LASTING_MAX);
    for (int i = 0; i < SLOW; i++)
        close(fds[i]);
    run_for(bed.loop, 50);
}

static void an_answer_after_the_server_went_is_only_freed(void **state)
{
    struct peer *p;

    (void)state;
    answer_later = true;
    p = ask("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    run_for(bed.loop, 50);
    assert_non_null(asked);
    ws_server_free(bed.server);
    bed.server = NULL;
    assert_true(ws_request_is_gone(asked));
    run_for(bed.loop, 50);
    ws_respond(asked, 200, NULL, 0, "x", 1);
    asked = NULL;
    peer_free(p);
}

static void
a_body_over_the_limit_is_413_with_an_answer_that_arrives(void **state)
{
    static char body[200001];
    struct peer *p;

    (void)state;
    memset(body, 'x', sizeof(body));
    p = ask("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 200001\r\n\r\n");
    peer_send(p, body, sizeof(body));
    assert_true(peer_wait(p, "HTTP/1.1 413 ", 2000));
    assert_int_equal(bed.requests, 0);
    peer_free(p);
}

static void without_a_handler_everything_is_404(void **state)
{
    struct ws_server_conf conf = base_conf();

    (void)state;
    conf.request = NULL;
    bed_serve(&conf);
    expect("GET / HTTP/1.1\r\nHost: h\r\n\r\n", "HTTP/1.1 404 Not Found");
}

/* --- limits --- */

static void over_the_limit_the_oldest_without_a_request_makes_room(void **state)
{
    struct ws_server_conf conf = base_conf();
    struct peer *p[3];

    (void)state;
    conf.conns_max = 2;
    bed_serve(&conf);
    for (int i = 0; i < 3; i++)
        p[i] = bed_dial();
    assert_true(peer_wait_closed(p[0], 1000));
    assert_false(p[1]->is_closed);
    assert_false(p[2]->is_closed);
    assert_int_equal(ws_server_conns(bed.server), 2);
    peer_free(p[1]);
    run_for(bed.loop, 50);
    assert_int_equal(ws_server_conns(bed.server), 1);
    peer_free(p[0]);
    peer_free(p[2]);
}

static void over_the_limit_nobody_served_makes_room(void **state)
{
    struct ws_server_conf conf = base_conf();
    struct peer *p[3];

    (void)state;
    conf.conns_max = 2;
    bed_serve(&conf);
    answer_later = true;
    p[0] = ask("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    run_for(bed.loop, 50);
    assert_non_null(asked);
    p[1] = bed_dial();
    p[2] = bed_dial();
    assert_true(peer_wait_closed(p[1], 1000));
    assert_false(p[0]->is_closed);
    assert_false(p[2]->is_closed);
    ws_respond(asked, 200, NULL, 0, "x", 1);
    asked = NULL;
    assert_true(peer_wait_closed(p[0], 1000));
    for (int i = 0; i < 3; i++)
        peer_free(p[i]);
}

static void a_slow_head_meets_its_deadline(void **state)
{
    struct ws_server_conf conf = base_conf();
    struct peer *p;
    const int64_t before = loop_now_ms();

    (void)state;
    conf.head_deadline_ms = 200;
    bed_serve(&conf);
    p = bed_dial();
    for (int i = 0; i < 10 && !p->is_closed; i++) {
        peer_say(p, i ? "x" : "GET / HTTP/1.1\r\nX-Slow: ");
        run_for(bed.loop, 50); /* a byte now and then does not help */
    }
    assert_true(p->is_closed);
    assert_in_range(loop_now_ms() - before, 190, 450);
    peer_free(p);
}

static void listening_errors_say_what_to_do(void **state)
{
    struct err e = {0};
    char name[64];
    const int fd = listen_tcp("127.0.0.1:0", false, &e);

    (void)state;
    assert_true(fd >= 0);
    assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
    assert_int_equal(listen_name(fd, name, sizeof(name)), 0);
    assert_int_equal(listen_tcp(name, false, &e), -1);
    assert_int_equal(e.kind, ERR_SYSTEM);
    assert_non_null(strstr(e.text, "choose another"));
    assert_int_equal(listen_tcp("localhost", false, &e), -1);
    assert_int_equal(e.kind, ERR_INPUT);
    close(fd);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, start, stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(requests_reach_the_handler_whole),
        TEST(an_answer_is_well_formed_and_closes),
        TEST(a_line_end_in_the_target_adds_no_header),
        TEST(head_has_no_body),
        TEST(a_body_in_pieces_is_put_together),
        TEST(a_late_answer_arrives),
        TEST(a_lasting_body_arrives_as_it_is),
        TEST(not_modified_has_neither_body_nor_length),
        TEST(slow_readers_of_a_lasting_body_cost_little_memory),
        TEST(an_answer_after_the_server_went_is_only_freed),
        TEST(a_body_over_the_limit_is_413_with_an_answer_that_arrives),
        TEST(without_a_handler_everything_is_404),
        TEST(over_the_limit_the_oldest_without_a_request_makes_room),
        TEST(over_the_limit_nobody_served_makes_room),
        TEST(a_slow_head_meets_its_deadline),
        TEST(listening_errors_say_what_to_do),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
