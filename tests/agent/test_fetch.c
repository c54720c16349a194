/*
 * Fetching from servers that misbehave, each trick carried out on loopback.
 * As root the process gets a mount namespace of its own: a CA of the test's
 * making is then the system's, and a disk of a few KiB is full when told so.
 */
#include "agent/fetch.h"

#include "base/http_client.h"
#include "base/loop.h"
#include "base/mem.h"
#include "base/own.h"
#include "base/seal.h"
#include "tests/lib/certs.h"
#include "tests/lib/fileserver.h"
#include "tests/lib/programs.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define BODY_BYTES 300000
#define BACKOFF_MS 20
#define SYSTEM_ROOTS "/etc/ssl/certs/ca-certificates.crt"

static uint8_t body[BODY_BYTES];
static uint8_t body_sum[SHA256_BYTES];
static char *dir;
static bool has_namespace;

/* One fetch and what came of it. */
struct fixture {
    struct agent_spec spec;
    struct fileserver *server;
    struct fetch_result result;
    struct err e;
    int file_fd;
    int tells; /* calls of progress */
    int64_t done, total;
    int64_t cancel_at; /* bytes; 0 = never */
    int64_t took_ms;
};

static void on_progress(void *arg, int64_t done, int64_t total)
{
    struct fixture *f = arg;

    assert_true(done >= 0 && (total == 0 || done <= total));
    f->tells++;
    f->done = done;
    f->total = total;
}

static bool is_cancelled(void *arg)
{
    struct fixture *f = arg;

    return f->cancel_at && f->done >= f->cancel_at;
}

static int setup(void **state)
{
    struct fixture *f = mem_zero(1, sizeof(*f));
    struct spec_fetch *rules = &f->spec.fetch;

    f->file_fd = open(dir, O_RDWR | O_TMPFILE | O_CLOEXEC, 0600);
    assert_true(f->file_fd >= 0);
    rules->url.allow_http = true;
    rules->addr.allow_loopback = true;
    rules->max_bytes = 1 << 20;
    rules->max_s = 10;
    rules->max_redirects = 5;
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    fileserver_stop(f->server);
    close(f->file_fd);
    domain_list_fini(&f->spec.fetch.url.domains);
    cidr_list_fini(&f->spec.fetch.addr.deny);
    cidr_list_fini(&f->spec.fetch.addr.allow);
    free(f);
    return 0;
}

#define SERVE(f, ...)                                                          \
    static const struct fileserver_reply script[] = {__VA_ARGS__};             \
    serve(f, script, sizeof(script) / sizeof(script[0]), NULL)

static void serve(struct fixture *f, const struct fileserver_reply *script,
                  size_t count, const char *tls_dir)
{
    f->server = fileserver_start(body, sizeof(body), script, count, tls_dir);
    snprintf(f->spec.bundle_url, URL_MAX, "%s://%s:%d/b.tar.gz?secret=hunter2",
             tls_dir ? "https" : "http", tls_dir ? "localhost" : "127.0.0.1",
             fileserver_port(f->server));
}

static int fetch(struct fixture *f)
{
    struct fetch_conf conf = {.spec = &f->spec,
                              .file_fd = f->file_fd,
                              .slow_s = 1,
                              .backoff_ms = BACKOFF_MS,
                              .progress = on_progress,
                              .is_cancelled = is_cancelled,
                              .arg = f};
    int64_t start = loop_now_ms();
    int r = fetch_run(&conf, &f->result, &f->e);

    f->took_ms = loop_now_ms() - start;
    if (r < 0 && strstr(f->e.text, "hunter2"))
        fail_msg("the query is told: %s", f->e.text);
    return r;
}

static void assert_whole(struct fixture *f)
{
    struct stat st;

    if (fetch(f) < 0)
        fail_msg("%s", f->e.text);
    assert_int_equal(f->result.bytes, BODY_BYTES);
    assert_memory_equal(f->result.sha256, body_sum, sizeof(body_sum));
    assert_int_equal(fstat(f->file_fd, &st), 0);
    assert_int_equal(st.st_size, BODY_BYTES);
}

static void assert_refused(struct fixture *f, enum err_kind kind,
                           const char *words)
{
    assert_int_equal(fetch(f), -1);
    if (f->e.kind != kind || !strstr(f->e.text, words))
        fail_msg("want kind %d, \"%s\"; got %d, \"%s\"", kind, words, f->e.kind,
                 f->e.text);
}

static void assert_head_has(struct fixture *f, int i, const char *want)
{
    const char *head = fileserver_head(f->server, i);

    if (!strcasestr(head, want))
        fail_msg("request %d has no \"%s\": %s", i, want, head);
}

/* --- the plain way --- */

static void a_whole_file_comes_with_its_digest_and_progress(void **state)
{
    struct fixture *f = *state;

    SERVE(f, {0});
    assert_whole(f);
    assert_true(f->tells > 1);
    assert_int_equal(f->done, BODY_BYTES);
    assert_int_equal(f->total, BODY_BYTES);
    assert_int_equal(fileserver_requests(f->server), 1);
    assert_head_has(f, 0, "GET /b.tar.gz?secret=hunter2 HTTP/1.1");
    assert_null(strcasestr(fileserver_head(f->server, 0), "range"));
    assert_null(strcasestr(fileserver_head(f->server, 0), "accept-encoding"));
}

static void a_body_without_a_length_comes_whole(void **state)
{
    struct fixture *f = *state;

    SERVE(f, {.trick = FILESERVER_CHUNKED});
    assert_whole(f);
    assert_int_equal(f->total, 0);
}

static void a_signed_bundle_is_hashed_twice_also_when_resumed(void **state)
{
    struct fixture *f = *state;
    struct digest *d = digest_new(DIGEST_BLAKE2B_512);
    uint8_t sum[BLAKE2B_BYTES];

    SERVE(f, {.etag = "\"v1\"", .drop_at = 100000}, {.etag = "\"v1\""});
    f->spec.bundle_signature = mem_str("any");
    digest_add(d, body, sizeof(body));
    digest_end(d, sum);
    digest_free(d);
    assert_whole(f);
    assert_memory_equal(f->result.blake2b, sum, sizeof(sum));
    free(f->spec.bundle_signature);
}

/* --- drops and resuming --- */

static void a_dropped_connection_is_resumed_where_it_broke(void **state)
{
    struct fixture *f = *state;

    SERVE(f, {.etag = "\"v1\"", .drop_at = 100000},
          {.etag = "\"v1\"", .drop_at = 200000}, {.etag = "\"v1\""});
    assert_whole(f);
    assert_int_equal(fileserver_requests(f->server), 3);
    assert_head_has(f, 1, "\r\nrange: bytes=100000-\r\n");
    assert_head_has(f, 1, "\r\nif-range: \"v1\"\r\n");
    assert_head_has(f, 2, "\r\nrange: bytes=200000-\r\n");
    assert_int_equal(f->total, BODY_BYTES);
}

static void a_file_changed_meanwhile_is_fetched_anew(void **state)
{
    struct fixture *f = *state;
    static uint8_t old[BODY_BYTES];

    SERVE(
        f,
        {.etag = "\"v1\"", .drop_at = 100000, .body = old, .len = sizeof(old)},
        {.etag = "\"v2\""});
    assert_whole(f);
    assert_head_has(f, 1, "\r\nif-range: \"v1\"\r\n");
}

static void a_server_without_ranges_is_started_anew(void **state)
{
    struct fixture *f = *state;

    SERVE(f, {.etag = "\"v1\"", .drop_at = 100000},
          {.etag = "\"v1\"", .trick = FILESERVER_NO_RANGE});
    assert_whole(f);
}

static void without_a_strong_validator_nothing_is_resumed(void **state)
{
    struct fixture *f = *state;

    SERVE(f, {.etag = "W/\"v1\"", .drop_at = 100000}, {.etag = "W/\"v1\""});
    assert_whole(f);
    assert_null(strcasestr(fileserver_head(f->server, 1), "\r\nrange:"));
}

static void a_206_of_another_range_is_not_taken(void **state)
{
    struct fixture *f = *state;

    SERVE(f, {.etag = "\"v1\"", .drop_at = 100000},
          {.etag = "\"v1\"", .range = "bytes 99999-299999/300000"},
          {.etag = "\"v1\""});
    assert_whole(f);
    assert_int_equal(fileserver_requests(f->server), 3);
    /* such a server is not asked for a range again */
    assert_null(strcasestr(fileserver_head(f->server, 2), "\r\nrange:"));
}

static void a_206_of_other_bytes_is_not_taken(void **state)
{
    struct fixture *f = *state;

    SERVE(f, {.etag = "\"v1\"", .drop_at = 100000},
          {.status = 206,
           .etag = "\"v2\"",
           .range = "bytes 100000-299999/300000"},
          {.etag = "\"v2\""});
    assert_whole(f);
    assert_int_equal(fileserver_requests(f->server), 3);
}

static void a_416_starts_anew(void **state)
{
    struct fixture *f = *state;

    SERVE(f, {.etag = "\"v1\"", .drop_at = 100000}, {.status = 416},
          {.etag = "\"v1\""});
    assert_whole(f);
    assert_null(strcasestr(fileserver_head(f->server, 2), "\r\nrange:"));
}

static void a_file_that_is_always_cut_is_given_up(void **state)
{
    struct fixture *f = *state;

    SERVE(f, {.told = BODY_BYTES + 1000});
    assert_refused(f, ERR_PEER, "1000 bytes");
    assert_int_equal(fileserver_requests(f->server), FETCH_TRIES_MAX);
}

static void a_cut_chunked_body_is_no_whole_one(void **state)
{
    struct fixture *f = *state;

    SERVE(f, {.trick = FILESERVER_CHUNKED, .drop_at = 100000}, {0});
    assert_whole(f);
    assert_int_equal(fileserver_requests(f->server), 2);
}

/* --- tries --- */

static void errors_of_the_server_are_tried_again(void **state)
{
    struct fixture *f = *state;

    SERVE(f, {.status = 503}, {.status = 500, .trick = FILESERVER_CHUNKED},
          {.trick = FILESERVER_HANG_UP}, {0});
    assert_whole(f);
    assert_int_equal(fileserver_requests(f->server), 4);
    /* doubling between them */
    assert_true(f->took_ms >= 7 * BACKOFF_MS);
}

static void retry_after_is_kept_to(void **state)
{
    struct fixture *f = *state;

    SERVE(f, {.status = 429, .head = "retry-after: 1\r\n"}, {0});
    assert_whole(f);
    assert_in_range(f->took_ms, 1000, 3000);
}

static void a_retry_after_beyond_the_time_there_is_ends_at_once(void **state)
{
    struct fixture *f = *state;

    SERVE(f, {.status = 503, .head = "retry-after: 3600\r\n"});
    assert_refused(f, ERR_PEER, "503");
    assert_true(f->took_ms < 1000);
}

static void tries_are_counted(void **state)
{
    struct fixture *f = *state;

    SERVE(f, {.status = 503});
    assert_refused(f, ERR_PEER,
                   "not fetched in 6 tries: the server answered "
                   "503");
    assert_int_equal(fileserver_requests(f->server), FETCH_TRIES_MAX);
}

static void a_4xx_is_final(void **state)
{
    struct fixture *f = *state;

    SERVE(f, {.status = 404});
    assert_refused(f, ERR_INPUT, "the server answered 404");
    assert_int_equal(fileserver_requests(f->server), 1);
}

static void nobody_listening_is_said(void **state)
{
    struct fixture *f = *state;

    SERVE(f, {0});
    fileserver_stop(f->server);
    f->server = NULL;
    f->spec.fetch.max_s = 1;
    assert_refused(f, ERR_PEER, "connect to 127.0.0.1 port");
}

/* --- limits --- */

static void a_declared_excess_is_refused_before_a_byte(void **state)
{
    struct fixture *f = *state;

    SERVE(f, {0});
    f->spec.fetch.max_bytes = BODY_BYTES - 1;
    assert_refused(f, ERR_INPUT, "larger than 299999 bytes");
    assert_int_equal(f->tells, 0);
    assert_int_equal(fileserver_requests(f->server), 1);
}

static void an_endless_body_stops_at_the_limit(void **state)
{
    struct fixture *f = *state;
    struct stat st;

    SERVE(f, {.trick = FILESERVER_ENDLESS});
    f->spec.fetch.max_bytes = 2 * BODY_BYTES + 7;
    assert_refused(f, ERR_INPUT, "larger than 600007 bytes");
    assert_int_equal(fileserver_requests(f->server), 1);
    assert_int_equal(fstat(f->file_fd, &st), 0);
    assert_true(st.st_size <= 2 * BODY_BYTES + 7);
}

static void a_resumed_body_counts_from_the_first_byte(void **state)
{
    struct fixture *f = *state;

    SERVE(f, {.etag = "\"v1\"", .drop_at = 250000},
          {.status = 206,
           .etag = "\"v1\"",
           .trick = FILESERVER_ENDLESS,
           .range = "bytes 250000-299999/300000"});
    f->spec.fetch.max_bytes = BODY_BYTES;
    assert_refused(f, ERR_INPUT, "larger than 300000 bytes");
}

static void an_endless_refusal_is_not_read_to_its_end(void **state)
{
    struct fixture *f = *state;

    SERVE(f, {.status = 404, .trick = FILESERVER_ENDLESS});
    assert_refused(f, ERR_INPUT, "the server answered 404");
    assert_true(f->took_ms < 2000);
}

static void a_drip_is_too_slow(void **state)
{
    struct fixture *f = *state;

    SERVE(f, {.trick = FILESERVER_DRIP, .drip_bytes = 100});
    f->spec.fetch.min_bytes_s = 50000;
    f->spec.fetch.max_s = 3;
    assert_refused(f, ERR_PEER, "50000 bytes/sec");
    assert_true(f->took_ms < 5000);
}

static void a_drip_above_the_least_speed_may_not_take_for_ever(void **state)
{
    struct fixture *f = *state;

    SERVE(f, {.trick = FILESERVER_DRIP, .drip_bytes = 5000});
    f->spec.fetch.min_bytes_s = 1000;
    f->spec.fetch.max_s = 2;
    assert_refused(f, ERR_PEER, "not fetched within 2 s");
    assert_in_range(f->took_ms, 1500, 4000);
}

static void a_silent_server_is_left(void **state)
{
    struct fixture *f = *state;

    SERVE(f, {.trick = FILESERVER_SILENT});
    f->spec.fetch.max_s = 1;
    assert_refused(f, ERR_PEER, "not fetched within 1 s");
    assert_true(f->took_ms < 3000);
}

static void cancelling_stops_at_once(void **state)
{
    struct fixture *f = *state;

    SERVE(f, {.trick = FILESERVER_DRIP, .drip_bytes = 10000});
    f->cancel_at = 20000;
    assert_refused(f, ERR_TIMEOUT, "cancelled");
    assert_true(f->took_ms < 2500);
    assert_int_equal(fileserver_requests(f->server), 1);
}

/* --- where it may go --- */

static void allow(struct fixture *f, const char *domains)
{
    struct err e;

    assert_int_equal(domain_list_parse(domains, &f->spec.fetch.url.domains, &e),
                     0);
}

static void a_redirect_is_followed(void **state)
{
    struct fixture *f = *state;

    SERVE(f, {.status = 302, .head = "location: /other?a=b\r\n"}, {0});
    assert_whole(f);
    assert_head_has(f, 1, "GET /other?a=b ");
}

static void a_drop_behind_a_redirect_is_resumed(void **state)
{
    struct fixture *f = *state;

    SERVE(f, {.status = 307, .head = "location: /1\r\n"},
          {.etag = "\"v\"", .drop_at = 1000},
          {.status = 307, .head = "location: /2\r\n", .etag = "\"no\""},
          {.etag = "\"v\""});
    assert_whole(f);
    assert_head_has(f, 3, "GET /2 ");
    assert_head_has(f, 3, "\r\nrange: bytes=1000-\r\n");
}

static void too_many_redirects_are_refused(void **state)
{
    struct fixture *f = *state;

    SERVE(f, {.status = 302, .head = "location: /again\r\n"});
    f->spec.fetch.max_redirects = 3;
    assert_refused(f, ERR_INPUT, "redirected more than 3 times");
    assert_int_equal(fileserver_requests(f->server), 4);
}

static void no_redirect_leads_out(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *head;
        enum err_kind kind;
        const char *words;
    } rows[] = {
        {"location: https://evil.example/x?hunter2\r\n", ERR_DENIED,
         "evil.example"},
        {"location: http://evil.example/x\r\n", ERR_DENIED, "evil.example"},
        {"location: http://good.example.evil.example/x\r\n", ERR_DENIED,
         "evil.example"},
        {"location: http://10.0.0.1/x\r\n", ERR_DENIED, "10.0.0.1"},
        {"location: http://169.254.169.254/latest\r\n", ERR_DENIED,
         "169.254.169.254"},
        {"location: http://[::ffff:10.0.0.1]/\r\n", ERR_DENIED, ""},
        {"location: file:///etc/passwd\r\n", ERR_DENIED, "file"},
        {"location: ftp://127.0.0.1/\r\n", ERR_INPUT, ""},
        {"location: gopher://127.0.0.1/\r\n", ERR_INPUT, ""},
        {"location: http://a:b@127.0.0.1/\r\n", ERR_INPUT, ""},
        {"location: http://0x7f.1/\r\n", ERR_INPUT, ""},
        {"location: \r\n", ERR_INPUT, "without a place"},
        {"", ERR_INPUT, "without a place"},
    };

    f->spec.fetch.url.file_root = dir;
    allow(f, "good.example,10.0.0.1,169.254.169.254");
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct fileserver_reply r = {.status = 302, .head = rows[i].head};

        serve(f, &r, 1, NULL);
        if (fetch(f) == 0 || !strstr(f->e.text, rows[i].words) ||
            !strstr(f->e.text, "redirected ") ||
            (f->e.kind != rows[i].kind && f->e.kind != ERR_DENIED))
            fail_msg("%s: kind %d, %s", rows[i].head, f->e.kind, f->e.text);
        assert_int_equal(fileserver_requests(f->server), 1);
        fileserver_stop(f->server);
        f->server = NULL;
    }
}

static void http_needs_to_be_allowed(void **state)
{
    struct fixture *f = *state;

    SERVE(f, {0});
    f->spec.fetch.url.allow_http = false;
    assert_refused(f, ERR_DENIED, "http is not allowed");
    assert_int_equal(fileserver_requests(f->server), 0);
}

static void a_name_is_judged_by_what_it_resolves_to(void **state)
{
    struct fixture *f = *state;

    SERVE(f, {0});
    f->spec.fetch.addr.allow_loopback = false;
    snprintf(f->spec.bundle_url, URL_MAX, "http://localhost:%d/",
             fileserver_port(f->server));
    assert_refused(f, ERR_DENIED, "is not public");
    assert_int_equal(fileserver_requests(f->server), 0);
}

static void a_denied_range_wins(void **state)
{
    struct fixture *f = *state;
    struct err e;

    SERVE(f, {0});
    assert_int_equal(
        cidr_list_parse("127.0.0.0/8", &f->spec.fetch.addr.deny, &e), 0);
    assert_refused(f, ERR_DENIED, "127.0.0.1");
    assert_int_equal(fileserver_requests(f->server), 0);
}

/* --- from outside to this machine --- */

#define OUTSIDE "outside.test" /* by hosts; 127.0.0.1 counts as public */

/* The one service that must never be asked, on loopback. */
static int private_service(char url[64])
{
    struct sockaddr_in at = {.sin_family = AF_INET};
    socklen_t len = sizeof(at);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    inet_pton(AF_INET, "127.0.0.2", &at.sin_addr);
    assert_return_code(bind(fd, (void *)&at, len), errno);
    assert_return_code(listen(fd, 4), errno);
    assert_return_code(getsockname(fd, (void *)&at, &len), errno);
    snprintf(url, 64, "http://127.0.0.2:%d/", ntohs(at.sin_port));
    return fd;
}

static void assert_never_asked(int fd)
{
    assert_int_equal(accept(fd, NULL, NULL), -1);
    assert_int_equal(errno, EAGAIN);
}

static void set_hosts(const char *line)
{
    own_mem char *path = mem_printf("%s/hosts", dir);
    FILE *file = fopen(path, "we");

    assert_non_null(file);
    fprintf(file, "%s\n", line);
    fclose(file);
    assert_return_code(mount(path, "/etc/hosts", NULL, MS_BIND, NULL), errno);
}

/* A server that is outside as far as the rules go. */
static void serve_outside(struct fixture *f, const struct fileserver_reply *r)
{
    char name[64];
    struct err e;

    serve(f, r, 1, NULL);
    snprintf(name, sizeof(name), OUTSIDE ":%d", fileserver_port(f->server));
    allow(f, name);
    assert_int_equal(
        cidr_list_parse("127.0.0.1", &f->spec.fetch.addr.allow, &e), 0);
}

static void a_redirect_from_outside_never_leads_to_this_machine(void **state)
{
    struct fixture *f = *state;
    struct fileserver *here;
    char to[64], secret[128], outside[64], around[128];
    own_fd int fd = private_service(to);

    if (!has_namespace)
        skip();
    set_hosts("127.0.0.1 " OUTSIDE);
    snprintf(secret, sizeof(secret), "location: %s\r\n", to);
    serve_outside(f, &(struct fileserver_reply){.status = 302, .head = secret});
    snprintf(outside, sizeof(outside), "http://" OUTSIDE ":%d/",
             fileserver_port(f->server));
    snprintf(f->spec.bundle_url, URL_MAX, "%s", outside);
    assert_refused(f, ERR_DENIED, "address 127.0.0.2 is not public");
    assert_int_equal(fileserver_requests(f->server), 1);

    /* nor when it began here */
    snprintf(around, sizeof(around), "location: %s\r\n", outside);
    here = fileserver_start(
        body, sizeof(body),
        &(struct fileserver_reply){.status = 302, .head = around}, 1, NULL);
    snprintf(f->spec.bundle_url, URL_MAX, "http://127.0.0.1:%d/",
             fileserver_port(here));
    assert_refused(f, ERR_DENIED, "address 127.0.0.2 is not public");
    assert_int_equal(fileserver_requests(f->server), 2);
    fileserver_stop(here);
    umount("/etc/hosts");
    assert_never_asked(fd);
}

static void a_name_of_outside_never_leads_to_this_machine(void **state)
{
    struct fixture *f = *state;
    char to[64];
    own_fd int fd = private_service(to);
    own_mem char *name = mem_printf(OUTSIDE "%s", strrchr(to, ':'));

    if (!has_namespace)
        skip();
    set_hosts("127.0.0.2 " OUTSIDE);
    snprintf(f->spec.bundle_url, URL_MAX, "http://%s", name);
    name[strlen(name) - 1] = 0; /* the slash */
    allow(f, name);
    assert_refused(f, ERR_DENIED, "address 127.0.0.2 is not public");
    umount("/etc/hosts");
    assert_never_asked(fd);
}

/* --- https --- */

static const struct fileserver_reply plain[] = {{0}};

static void an_unknown_certificate_is_refused(void **state)
{
    struct fixture *f = *state;
    own_mem char *own = mem_printf("%s/stranger", dir);
    own_mem char *cmd = mem_printf("cd %s && mv other.pem srv.pem && "
                                   "mv other.key srv.key",
                                   own);
    char names[64];

    assert_int_equal(mkdir(own, 0700), 0);
    certs_make(own, "other", "DNS:localhost,IP:127.0.0.1");
    assert_int_equal(system(cmd), 0);
    serve(f, plain, 1, own);
    snprintf(names, sizeof(names), "localhost:%d", fileserver_port(f->server));
    allow(f, names);
    f->spec.fetch.max_s = 1;
    assert_refused(f, ERR_PEER, "certificate");
    assert_int_equal(fileserver_requests(f->server), 0);
}

static void https_works_and_never_goes_down_to_http(void **state)
{
    struct fixture *f = *state;
    char names[64];

    if (!has_namespace)
        skip();
    serve(f, plain, 1, dir);
    snprintf(names, sizeof(names), "localhost:%d", fileserver_port(f->server));
    allow(f, names);
    f->spec.fetch.url.allow_http = false;
    assert_whole(f);

    /* the same name over http */
    fileserver_stop(f->server);
    serve(f,
          &(struct fileserver_reply){
              .status = 301, .head = "location: http://localhost/x\r\n"},
          1, dir);
    domain_list_fini(&f->spec.fetch.url.domains);
    snprintf(names, sizeof(names), "localhost:%d", fileserver_port(f->server));
    allow(f, names);
    assert_refused(f, ERR_DENIED, "http is not allowed");
}

/* --- files --- */

static void put_file(const char *name, const void *bytes, size_t len)
{
    own_mem char *path = mem_printf("%s/%s", dir, name);
    own_fd int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

    assert_int_equal(write(fd, bytes, len), len);
}

static void a_file_below_the_root_comes(void **state)
{
    struct fixture *f = *state;

    put_file("root/here", body, sizeof(body));
    f->spec.fetch.url.file_root = f->spec.file_root =
        mem_printf("%s/root", dir);
    snprintf(f->spec.bundle_url, URL_MAX, "file://%s/root/here", dir);
    assert_whole(f);
    f->spec.fetch.max_bytes = BODY_BYTES - 1;
    assert_refused(f, ERR_INPUT, "larger than");
    free(f->spec.file_root);
}

static void no_file_leads_out(void **state)
{
    struct fixture *f = *state;
    own_mem char *root = mem_printf("%s/root", dir);
    own_mem char *cmd =
        mem_printf("cd %s && echo out > outside && ln -sf ../outside root/link "
                   "&& ln -sf here root/inner && ln -sfn /etc root/etc && "
                   "rm -f root/fifo && mkfifo root/fifo && mkdir -p root/d",
                   dir);
    static const char *const bad[] = {
        "/root/link",
        "/root/inner",
        "/root/etc/passwd",
        "/root/../outside",
        "/root/%2e%2e/outside",
        "/root/fifo",
        "/root/d",
        "/root/",
        "/root",
        "/outside",
        "/rootless",
        "/root/none",
        "/root//etc/passwd",
        "/root/d/../../outside",
    };

    put_file("root/here", body, 10);
    assert_int_equal(system(cmd), 0);
    f->spec.fetch.url.file_root = root;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        snprintf(f->spec.bundle_url, URL_MAX, "file://%s%s", dir, bad[i]);
        f->e = (struct err){0};
        if (fetch(f) == 0)
            fail_msg("%s was read", bad[i]);
        assert_true(f->e.kind == ERR_INPUT || f->e.kind == ERR_DENIED);
    }
    assert_int_equal(f->done, 0);
}

/* --- the disk --- */

static void a_full_disk_is_said_to_be_one(void **state)
{
    struct fixture *f = *state;
    own_mem char *disk = mem_printf("%s/disk", dir);
    int r;

    if (!has_namespace)
        skip();
    SERVE(f, {0});
    assert_int_equal(mkdir(disk, 0700), 0);
    assert_int_equal(mount("none", disk, "tmpfs", 0, "size=64k"), 0);
    close(f->file_fd);
    f->file_fd = open(disk, O_RDWR | O_TMPFILE | O_CLOEXEC, 0600);
    assert_true(f->file_fd >= 0);
    r = fetch(f);
    close(f->file_fd);
    f->file_fd = -1;
    assert_int_equal(umount(disk), 0);
    assert_int_equal(r, -1);
    assert_int_equal(f->e.kind, ERR_SYSTEM);
    assert_non_null(strstr(f->e.text, "disk full while fetching"));
    assert_int_equal(fileserver_requests(f->server), 1);
}

/* --- the whole --- */

static int group_setup(void **state)
{
    own_mem char *root = NULL, *ca = NULL;

    (void)state;
    seal_init();
    http_client_init();
    for (size_t i = 0; i < sizeof(body); i++)
        body[i] = (uint8_t)(i * 31 + i / 251);
    sha256(body, sizeof(body), body_sum);
    dir = scratch_new();
    root = mem_printf("%s/root", dir);
    ca = mem_printf("%s/srv-ca.pem", dir);
    certs_make(dir, "srv", "DNS:localhost,IP:127.0.0.1");
    has_namespace = unshare(CLONE_NEWNS) == 0 &&
                    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
                    mount(ca, SYSTEM_ROOTS, NULL, MS_BIND, NULL) == 0;
    return mkdir(root, 0755);
}

static int group_teardown(void **state)
{
    (void)state;
    if (has_namespace)
        umount(SYSTEM_ROOTS);
    scratch_remove(dir);
    return 0;
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(a_whole_file_comes_with_its_digest_and_progress),
        T(a_body_without_a_length_comes_whole),
        T(a_signed_bundle_is_hashed_twice_also_when_resumed),
        T(a_dropped_connection_is_resumed_where_it_broke),
        T(a_file_changed_meanwhile_is_fetched_anew),
        T(a_server_without_ranges_is_started_anew),
        T(without_a_strong_validator_nothing_is_resumed),
        T(a_206_of_another_range_is_not_taken),
        T(a_206_of_other_bytes_is_not_taken),
        T(a_416_starts_anew),
        T(a_file_that_is_always_cut_is_given_up),
        T(a_cut_chunked_body_is_no_whole_one),
        T(errors_of_the_server_are_tried_again),
        T(retry_after_is_kept_to),
        T(a_retry_after_beyond_the_time_there_is_ends_at_once),
        T(tries_are_counted),
        T(a_4xx_is_final),
        T(nobody_listening_is_said),
        T(a_declared_excess_is_refused_before_a_byte),
        T(an_endless_body_stops_at_the_limit),
        T(a_resumed_body_counts_from_the_first_byte),
        T(an_endless_refusal_is_not_read_to_its_end),
        T(a_drip_is_too_slow),
        T(a_drip_above_the_least_speed_may_not_take_for_ever),
        T(a_silent_server_is_left),
        T(cancelling_stops_at_once),
        T(a_redirect_is_followed),
        T(a_drop_behind_a_redirect_is_resumed),
        T(too_many_redirects_are_refused),
        T(no_redirect_leads_out),
        T(http_needs_to_be_allowed),
        T(a_name_is_judged_by_what_it_resolves_to),
        T(a_denied_range_wins),
        T(a_redirect_from_outside_never_leads_to_this_machine),
        T(a_name_of_outside_never_leads_to_this_machine),
        T(an_unknown_certificate_is_refused),
        T(https_works_and_never_goes_down_to_http),
        T(a_file_below_the_root_comes),
        T(no_file_leads_out),
        T(a_full_disk_is_said_to_be_one),
    };

    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
