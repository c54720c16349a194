/* A Redis that is slow, dead, lying or behind TLS, and a real one. */
#include "base/redis.h"

#include "base/loop.h"
#include "base/mem.h"
#include "base/own.h"
#include "base/redis_internal.h"
#include "tests/lib/certs.h"
#include "tests/lib/programs.h"
#include "tests/lib/redisd.h"
#include "tests/lib/tree.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define SHORT_MS 200

static struct redisd server;

static int start(void **arg)
{
    (void)arg;
    signal(SIGPIPE, SIG_IGN); /* as the services do */
    redisd_start(&server, NULL, NULL);
    return 0;
}

static int stop(void **arg)
{
    (void)arg;
    redisd_stop(&server);
    return 0;
}

/* --- addresses --- */

static void an_address_says_host_port_and_database(void **arg)
{
    struct redis_conf c = {0};
    struct err e = {0};

    (void)arg;
    assert_int_equal(redis_url_parse("redis://cache.example:6379", &c, &e), 0);
    assert_string_equal(c.host, "cache.example");
    assert_int_equal(c.port, 6379);
    assert_int_equal(c.db, 0);
    assert_false(c.is_tls);
    assert_int_equal(redis_url_parse("rediss://[::1]:1/15", &c, &e), 0);
    assert_string_equal(c.host, "::1");
    assert_int_equal(c.db, 15);
    assert_true(c.is_tls);
    assert_int_equal(redis_url_parse("redis://10.0.0.1:6379/", &c, &e), 0);
    assert_int_equal(c.db, 0);
    assert_true(redis_is_url("redis://"));
    assert_false(redis_is_url("/var/lib/podterm.db"));
    assert_false(redis_is_url("redis:/x"));
}

static void what_is_no_address_is_refused(void **arg)
{
    static const char *const bad[] = {
        "redis://",        "redis://h",          "redis://h:",
        "redis://h:0",     "redis://h:65536",    "redis://u:p@h:1",
        "redis://h:1/x",   "redis://h:1/1/2",    "redis://h:1/-1",
        "redis://h:1?a",   "redis://h:1/99999",  "redis://[::1",
        "redis://[::1]/1", "redis://h/1",        "redis://0x7f.1:1",
        "http://h:1",      "redis://h:1/1#frag", "redis://a b:1",
    };

    (void)arg;
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        struct redis_conf c = {.port = 7};
        struct err e = {0};

        if (redis_url_parse(bad[i], &c, &e) != -1)
            fail_msg("%s was taken", bad[i]);
        assert_int_equal(e.kind, ERR_INPUT);
        assert_int_equal(c.port, 7);
    }
}

/* --- replies --- */

static struct redis_reply *read_one(const char *bytes, size_t len, size_t step,
                                    struct err *e)
{
    struct redis_wire *w = redis_wire_new();
    struct redis_reply *r = NULL;
    int got = 0;

    for (size_t at = 0; got == 0 && at < len; at += step) {
        const size_t n = len - at < step ? len - at : step;

        got = redis_wire_feed(w, bytes + at, n, e);
        if (got == 0)
            got = redis_wire_take(w, &r, e);
    }
    if (got == 1)
        assert_false(redis_wire_has_more(w));
    redis_wire_free(w);
    return r;
}

static void a_reply_is_read_however_it_comes(void **arg)
{
    static const char text[] = "*4\r\n$5\r\na\0b\r\n\r\n:-7\r\n$-1\r\n"
                               "*2\r\n+OK\r\n*0\r\n";

    (void)arg;
    for (size_t step = 1; step < sizeof(text); step++) {
        struct err e = {0};
        struct redis_reply *r = read_one(text, sizeof(text) - 1, step, &e);

        assert_non_null(r);
        assert_int_equal(r->kind, REDIS_ARRAY);
        assert_int_equal(r->count, 4);
        assert_int_equal(r->items[0]->len, 5);
        assert_memory_equal(r->items[0]->text, "a\0b\r\n", 6);
        assert_int_equal(r->items[1]->integer, -7);
        assert_int_equal(r->items[2]->kind, REDIS_NIL);
        assert_string_equal(r->items[3]->items[0]->text, "OK");
        assert_int_equal(r->items[3]->items[1]->count, 0);
        redis_reply_free(r);
    }
}

static void lies(const char *bytes, size_t len, const char *what)
{
    struct err e = {0};

    if (read_one(bytes, len, 16384, &e))
        fail_msg("%s was taken", what);
    if (e.kind != ERR_SYSTEM)
        fail_msg("%s was not refused", what);
}

static void many(const char *piece, size_t bytes, const char *what)
{
    const size_t n = strlen(piece);
    char *text = mem_zero(1, bytes + n);

    for (size_t at = 0; at < bytes; at += n)
        memcpy(text + at, piece, n);
    lies(text, bytes, what);
    free(text);
}

static void what_is_no_reply_of_ours_is_refused(void **arg)
{
    static const char *const bad[] = {
        "HTTP/1.1 400 Bad Request\r\n",
        "*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n:1\r\n",
        "*4097\r\n",
        "*4294967295\r\n",
        "*2147483647\r\n",
        "*-2\r\n",
        "$-2\r\n",
        ":12a\r\n",
        ":99999999999999999999999\r\n",
        "%1\r\n+a\r\n+b\r\n",
        "~1\r\n+a\r\n",
        ",1.5\r\n",
        "#t\r\n",
        ">1\r\n+a\r\n",
        "=5\r\ntxt:a\r\n",
        "(1234\r\n",
        "*2\r\n+a\r\n%1\r\n",
        "$99999999999999999999\r\n",
    };

    (void)arg;
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
        lies(bad[i], strlen(bad[i]), bad[i]);
    many("*1\r\n", 3 << 20, "a million arrays in each other");
    many("x", 2 * REDIS_REPLY_BYTES_MAX, "no reply at all");
    many("+", 2 * REDIS_REPLY_BYTES_MAX, "a line without an end");
    many("*4096\r\n:1\r\n:1\r\n", 1 << 20, "arrays that are never whole");
}

static void too_large_or_too_many_is_refused(void **arg)
{
    char *text = mem_zero(1, REDIS_REPLY_BYTES_MAX + 100);
    size_t len = 0;

    (void)arg;
    len = (size_t)sprintf(text, "$%d\r\n", REDIS_REPLY_BYTES_MAX);
    memset(text + len, 'a', REDIS_REPLY_BYTES_MAX);
    lies(text, REDIS_REPLY_BYTES_MAX + 20, "a text of 4 MiB");
    /* 64 arrays of 300: each within its limit */
    len = (size_t)sprintf(text, "*64\r\n");
    for (int i = 0; i < 64; i++) {
        len += (size_t)sprintf(text + len, "*300\r\n");
        for (int k = 0; k < 300; k++)
            len += (size_t)sprintf(text + len, ":1\r\n");
    }
    lies(text, len, "19,000 values");
    free(text);
}

/* --- a peer of the test's own --- */

struct liar {
    pthread_t thread;
    int listen_fd, port;
    const char *says;
    int drip_ms;               /* between two bytes */
    void *(*serve)(void *arg); /* NULL = lie */
    atomic_int conns;
    atomic_int conn_fd; /* the thread's, once it has spoken */
};

static void *lie(void *arg)
{
    struct liar *l = arg;
    own_fd int fd = accept(l->listen_fd, NULL, NULL);
    char in[512];

    if (fd < 0 || recv(fd, in, sizeof(in), 0) <= 0)
        return NULL;
    l->conn_fd = fd;
    if (!l->drip_ms)
        send(fd, l->says, strlen(l->says), MSG_NOSIGNAL);
    for (const char *p = l->says; l->drip_ms && *p; p++) {
        if (send(fd, p, 1, MSG_NOSIGNAL) != 1)
            return NULL;
        poll(NULL, 0, l->drip_ms);
    }
    while (!l->drip_ms && recv(fd, in, sizeof(in), 0) > 0)
        continue;
    return NULL;
}

static void liar_start(struct liar *l)
{
    struct sockaddr_in sa = {.sin_family = AF_INET,
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(sa);

    l->listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(l->listen_fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
    assert_int_equal(listen(l->listen_fd, 1), 0);
    assert_int_equal(getsockname(l->listen_fd, (struct sockaddr *)&sa, &len),
                     0);
    l->port = ntohs(sa.sin_port);
    assert_int_equal(
        pthread_create(&l->thread, NULL, l->serve ? l->serve : lie, l), 0);
}

static void liar_stop(struct liar *l)
{
    shutdown(l->listen_fd, SHUT_RDWR);
    pthread_join(l->thread, NULL);
    close(l->listen_fd);
}

static struct redis *client(int port, int command_ms)
{
    struct redis_conf c = {.host = "127.0.0.1",
                           .port = (uint16_t)port,
                           .connect_ms = 5000,
                           .command_ms = command_ms};
    struct err e = {0};
    struct redis *r = redis_new(&c, &e);

    assert_non_null(r);
    return r;
}

static struct redis_reply *ask(struct redis *r, const char *a, const char *b,
                               struct err *e)
{
    struct redis_cmd c = {0};

    redis_arg(&c, a);
    if (b)
        redis_arg(&c, b);
    return redis_call(r, &c, NULL, e);
}

static void says(struct redis *r, const char *text)
{
    struct err e = {0};
    struct redis_reply *reply = ask(r, "ECHO", text, &e);

    if (!reply)
        fail_msg("%s", e.text);
    assert_string_equal(reply->text, text);
    redis_reply_free(reply);
}

static void fails(struct redis *r, const char *why)
{
    struct err e = {0};

    if (ask(r, "ECHO", "x", &e))
        fail_msg("did not fail: %s", why);
    assert_int_equal(e.kind, ERR_SYSTEM);
    if (!strstr(e.text, why))
        fail_msg("\"%s\" does not say \"%s\"", e.text, why);
}

static void a_lying_server_is_left(void **arg)
{
    static const struct {
        const char *says, *why;
        int drip_ms;
    } rows[] = {
        {"+one\r\n+two\r\n", "more came", 0},
        {"+one\r\n*2\r\n", "more came", 0},
        {"HTTP/1.1 400\r\n", "no reply", 0},
        {"", "no answer in time", 0},
        {"$100\r\nhalf", "no answer in time", 0},
        {"-ERR \x1b]0;title\x07 \xff\r\n", "ERR ?]0;title? ?", 0},
        {"+aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "time",
         20},
    };

    (void)arg;
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        struct liar l = {.says = rows[i].says, .drip_ms = rows[i].drip_ms};
        struct redis *r;

        liar_start(&l);
        r = client(l.port, strstr(rows[i].why, "time") ? SHORT_MS : 10000);
        fails(r, rows[i].why);
        redis_free(r);
        liar_stop(&l);
    }
}

/* --- a real server --- */

#define THREADS 12
#define ECHOES 200

static void *echoes(void *arg)
{
    for (int i = 0; i < ECHOES; i++) {
        char text[64];

        snprintf(text, sizeof(text), "%lu-%d", (unsigned long)pthread_self(),
                 i);
        says(arg, text);
    }
    return NULL;
}

static void each_thread_hears_its_own_answers(void **arg)
{
    struct redis *r = client(server.port, 5000);
    pthread_t t[THREADS];

    (void)arg;
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&t[i], NULL, echoes, r), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(t[i], NULL);
    redis_free(r);
}

static void what_comes_between_two_calls_is_no_answer(void **arg)
{
    struct liar l = {.says = "+one\r\n"};
    struct redis_reply *reply;
    struct err e = {0};
    struct redis *r;

    (void)arg;
    liar_start(&l);
    r = client(l.port, SHORT_MS);
    reply = ask(r, "PING", NULL, &e);
    assert_non_null(reply);
    redis_reply_free(reply);
    /* it says something unasked, and is left; nobody else listens there */
    assert_int_equal(send(l.conn_fd, "+two\r\n", 6, MSG_NOSIGNAL), 6);
    close(l.listen_fd);
    fails(r, "Connection refused");
    redis_free(r);
    pthread_join(l.thread, NULL);
}

static void
a_slow_server_hits_the_deadline_and_its_late_answer_is_lost(void **arg)
{
    struct redis *r = client(server.port, SHORT_MS);
    struct redis_cmd c = {0};
    struct err e = {0};
    bool is_lost = false;
    int64_t from_ms;

    (void)arg;
    says(r, "before");
    redisd_freeze(&server, true);
    from_ms = loop_now_ms();
    redis_arg(&c, "ECHO");
    redis_arg(&c, "late");
    assert_null(redis_call(r, &c, &is_lost, &e));
    assert_in_range(loop_now_ms() - from_ms, SHORT_MS - 20, 5000);
    assert_int_equal(e.kind, ERR_SYSTEM);
    assert_true(is_lost);
    redisd_freeze(&server, false);
    says(r, "after");
    redis_free(r);
}

static void a_server_that_was_started_again_costs_no_call(void **arg)
{
    struct redis *r = client(server.port, 5000);

    (void)arg;
    says(r, "one");
    redisd_kill(&server);
    redisd_again(&server);
    says(r, "two"); /* over a new connection, at the first try */
    redis_free(r);
}

static void a_dead_server_is_told_at_once_and_found_again(void **arg)
{
    struct redis *r = client(server.port, 5000);
    int64_t from_ms;
    int waited_ms = 0;

    (void)arg;
    says(r, "one");
    redisd_kill(&server);
    fails(r, "Connection refused");
    from_ms = loop_now_ms();
    for (int i = 0; i < 2000; i++)
        fails(r, "Connection refused");
    assert_in_range(loop_now_ms() - from_ms, 0, 5000);
    redisd_again(&server);
    for (struct err e = {0};; e = (struct err){0}) {
        struct redis_reply *reply = ask(r, "PING", NULL, &e);

        redis_reply_free(reply);
        if (reply)
            break;
        assert_true(waited_ms < 20 * REDIS_RETRY_MAX_MS);
        poll(NULL, 0, 10);
        waited_ms += 10;
    }
    redis_free(r);
}

static void *hang_up(void *arg)
{
    struct liar *l = arg;
    int fd;

    while ((fd = accept(l->listen_fd, NULL, NULL)) >= 0) {
        atomic_fetch_add(&l->conns, 1);
        close(fd);
    }
    return NULL;
}

static void one_that_hangs_up_is_not_dialled_at_each_call(void **arg)
{
    struct redis_conf c = {.host = "127.0.0.1", .db = 1};
    const int64_t from_ms = loop_now_ms();
    struct liar l = {.serve = hang_up};
    struct err e = {0};
    struct redis *r;

    (void)arg;
    liar_start(&l);
    c.port = (uint16_t)l.port;
    r = redis_new(&c, &e);
    for (int i = 0; i < 2000; i++)
        fails(r, "redis: ");
    /* pauses grow from 25 ms */
    assert_in_range(l.conns, 1, 5 + (loop_now_ms() - from_ms) / 25);
    redis_free(r);
    liar_stop(&l);
}

static void an_error_of_the_server_is_told_in_its_words(void **arg)
{
    struct redis *r = client(server.port, 5000);
    struct err e = {0};

    (void)arg;
    assert_null(ask(r, "NONSENSE", NULL, &e));
    assert_int_equal(e.kind, ERR_SYSTEM);
    assert_non_null(strstr(e.text, "unknown command"));
    says(r, "goes on");
    redis_free(r);
}

static void a_database_of_its_own(void **arg)
{
    struct redis_conf c = {0};
    struct err e = {0};
    struct redis *r;
    struct redis_reply *reply;
    char url[64];

    (void)arg;
    snprintf(url, sizeof(url), "%s/7", server.url);
    assert_int_equal(redis_url_parse(url, &c, &e), 0);
    r = redis_new(&c, &e);
    redis_reply_free(ask(r, "INCR", "in-seven", &e));
    reply = ask(server.redis, "EXISTS", "in-seven", &e);
    assert_int_equal(reply->integer, 0);
    redis_reply_free(reply);
    redis_free(r);
    snprintf(url, sizeof(url), "%s/99", server.url);
    assert_int_equal(redis_url_parse(url, &c, &e), 0);
    r = redis_new(&c, &e);
    fails(r, "out of range");
    redis_free(r);
}

/* --- users --- */

static void a_password_is_read_anew_and_never_told(void **arg)
{
    static const char *const more[] = {"--requirepass", "first secret", NULL};
    char *dir = scratch_new(), *file = mem_printf("%s/password", dir);
    struct redis_conf c = {.host = "127.0.0.1", .password_file = file};
    struct redisd d;
    struct redis *r;
    struct err e = {0};

    (void)arg;
    redisd_start(&d, NULL, more);
    c.port = (uint16_t)d.port;
    r = redis_new(&c, &e);
    fails(r, "password");
    tree_put(dir, "password", "wrong secret\n");
    assert_int_equal(chmod(file, 0600), 0);
    poll(NULL, 0, 30);
    for (int i = 0; i < 200; i++) { /* past the pause between two tries */
        e = (struct err){0};
        assert_null(ask(r, "PING", NULL, &e));
        assert_null(strstr(e.text, "secret"));
        if (strstr(e.text, "WRONGPASS"))
            break;
        poll(NULL, 0, 10);
    }
    assert_non_null(strstr(e.text, "WRONGPASS"));
    tree_put(dir, "password", "first secret\n");
    assert_int_equal(chmod(file, 0640), 0);
    redis_free(r);
    r = redis_new(&c, &e);
    fails(r, "mode 640"); /* as for every key */
    redis_free(r);
    assert_int_equal(chmod(file, 0600), 0);
    r = redis_new(&c, &e);
    says(r, "in");
    redis_free(r);
    redisd_stop(&d);
    free(file);
    scratch_remove(dir);
}

/* --- TLS --- */

static struct redis *tls_client(const struct redisd *d, const char *host,
                                const char *ca)
{
    struct redis_conf c = {.port = (uint16_t)d->port,
                           .is_tls = true,
                           .ca = ca,
                           .connect_ms = 5000,
                           .command_ms = 5000};
    struct err e = {0};
    struct redis *r;

    snprintf(c.host, sizeof(c.host), "%s", host);
    r = redis_new(&c, &e);
    if (!r)
        fail_msg("%s", e.text);
    return r;
}

static void over_tls_the_certificate_is_checked(void **arg)
{
    static const char *const more[] = {
        "--tls-port",  "--tls-auth-clients", "no",          "--tls-cert-file",
        "DIR/srv.pem", "--tls-key-file",     "DIR/srv.key", NULL,
    };
    char *dir = scratch_new();
    char *ca = mem_printf("%s/srv-ca.pem", dir);
    char *other = mem_printf("%s/other-ca.pem", dir);
    struct redisd d;
    struct redis *r;

    (void)arg;
    certs_make(dir, "srv", "IP:127.0.0.1");
    certs_make(dir, "other", "IP:127.0.0.1");
    redisd_start(&d, dir, more);
    r = tls_client(&d, "127.0.0.1", ca);
    for (int i = 0; i < 50; i++)
        says(r, "over TLS");
    redis_free(r);
    r = tls_client(&d, "127.0.0.1", other);
    fails(r, "TLS failed");
    redis_free(r);
    r = tls_client(&d, "localhost", ca); /* not the certificate's name */
    fails(r, "TLS failed");
    redis_free(r);
    r = tls_client(&d, "127.0.0.1", NULL); /* the system's do not know it */
    fails(r, "TLS failed");
    redis_free(r);
    r = client(d.port, 1000); /* plain, to a port that speaks TLS */
    fails(r, "redis");
    redis_free(r);
    redisd_stop(&d);
    free(ca);
    free(other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_address_says_host_port_and_database),
        cmocka_unit_test(what_is_no_address_is_refused),
        cmocka_unit_test(a_reply_is_read_however_it_comes),
        cmocka_unit_test(what_is_no_reply_of_ours_is_refused),
        cmocka_unit_test(too_large_or_too_many_is_refused),
        cmocka_unit_test(a_lying_server_is_left),
        cmocka_unit_test(what_comes_between_two_calls_is_no_answer),
        cmocka_unit_test(each_thread_hears_its_own_answers),
        cmocka_unit_test(
            a_slow_server_hits_the_deadline_and_its_late_answer_is_lost),
        cmocka_unit_test(a_server_that_was_started_again_costs_no_call),
        cmocka_unit_test(a_dead_server_is_told_at_once_and_found_again),
        cmocka_unit_test(one_that_hangs_up_is_not_dialled_at_each_call),
        cmocka_unit_test(an_error_of_the_server_is_told_in_its_words),
        cmocka_unit_test(a_database_of_its_own),
        cmocka_unit_test(a_password_is_read_anew_and_never_told),
        cmocka_unit_test(over_tls_the_certificate_is_checked),
    };

    return cmocka_run_group_tests_name("base/redis", tests, start, stop);
}
