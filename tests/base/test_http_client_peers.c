/* The HTTP client: whom it speaks to, under which certificate, how long. */
#include "base/http_client.h"

#include "base/addr.h"
#include "base/loop.h"
#include "base/mem.h"
#include "base/own.h"
#include "tests/lib/canned.h"
#include "tests/lib/certs.h"
#include "tests/lib/fileserver.h"
#include "tests/lib/programs.h"
#include "tests/lib/tree.h"

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

/* --- who is spoken to --- */

static void the_environment_sends_it_nowhere_else(void **arg)
{
    static const char *const names[] = {"http_proxy",  "https_proxy",
                                        "HTTPS_PROXY", "all_proxy",
                                        "ALL_PROXY",   "ftp_proxy"};
    struct canned *proxy = CANNED("HTTP/1.1 200 OK\r\n\r\nproxy");
    struct canned *s =
        CANNED("HTTP/1.1 401 No\r\nWWW-Authenticate: Basic realm=a\r\n"
               "Content-Length: 0\r\n\r\n");
    struct http_request r =
        canned_request(canned_url("http", "127.0.0.1", s->port));
    char *home = scratch_new(), *netrc = mem_printf("%s/.netrc", home);
    const char *old_home = getenv("HOME");
    char *kept = old_home ? mem_str(old_home) : NULL;
    char text[64];
    struct http_answer a;
    struct err e = {0};
    FILE *out = fopen(netrc, "w");

    (void)arg;
    snprintf(text, sizeof(text), "http://127.0.0.1:%d", proxy->port);
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
        setenv(names[i], text, 1);
    setenv("HOME", home, 1);
    assert_non_null(out);
    fputs("machine 127.0.0.1 login me password hunter2\n"
          "default login me password hunter2\n",
          out);
    fclose(out);
    assert_int_equal(http_do(&r, &a, &e), 0);
    assert_int_equal(a.status, 401);
    http_answer_fini(&a);
    assert_null(strcasestr(s->head, "authorization"));
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
        unsetenv(names[i]);
    if (kept)
        setenv("HOME", kept, 1);
    assert_int_equal(canned_stop(s), 1);
    assert_int_equal(canned_stop(proxy), 0);
    free(kept);
    free(netrc);
    scratch_remove(home);
}

struct judge {
    int asked;
    int family; /* this one alone passes; 0 = any */
    int passes; /* so many times, then no more; -1 = always */
};

static int judge(void *arg, const struct sockaddr *sa, struct err *e)
{
    struct judge *j = arg;
    char ip[ADDR_TEXT_MAX];

    addr_text_ip(sa, ip);
    j->asked++;
    if ((j->family && sa->sa_family != j->family) ||
        (j->passes >= 0 && j->asked > j->passes))
        return err_set(e, ERR_DENIED, "address %s is not public", ip);
    return 0;
}

static void a_refused_address_is_never_dialled(void **arg)
{
    struct canned *s = CANNED("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    static const char *const hosts[] = {"127.0.0.1", "localhost",
                                        "[::ffff:127.0.0.1]"};
    struct judge j = {.passes = 0};

    (void)arg;
    for (size_t i = 0; i < 3; i++) {
        struct http_request r =
            canned_request(canned_url("http", hosts[i], s->port));

        j = (struct judge){.passes = 0};
        r.judge = judge;
        r.arg = &j;
        canned_fails(&r, ERR_DENIED, "is not public");
        assert_true(j.asked >= 1);
    }
    assert_int_equal(canned_stop(s), 0);
}

static void the_address_is_judged_again_when_connected(void **arg)
{
    struct canned *s = CANNED("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    struct http_request r =
        canned_request(canned_url("http", "127.0.0.1", s->port));
    struct judge j = {.passes = 1};
    struct http_answer a;
    struct err e = {0};

    (void)arg;
    r.judge = judge;
    r.arg = &j;
    canned_fails(&r, ERR_DENIED, "127.0.0.1 is not public");
    assert_int_equal(j.asked, 2);
    assert_string_equal(s->head, ""); /* no byte of the request left */
    j = (struct judge){.passes = -1};
    assert_int_equal(http_do(&r, &a, &e), 0);
    assert_int_equal(j.asked, 2);
    http_answer_fini(&a);
    canned_stop(s);
}

static void of_a_name_s_addresses_the_allowed_one_is_used(void **arg)
{
    struct canned *s = CANNED("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    struct http_request r =
        canned_request(canned_url("http", "localhost", s->port));
    struct judge j = {.family = AF_INET, .passes = -1};
    struct http_answer a;
    struct err e = {0};

    (void)arg;
    r.judge = judge;
    r.arg = &j;
    if (http_do(&r, &a, &e) < 0)
        fail_msg("%s", e.text);
    assert_int_equal(e.kind, ERR_NONE);
    assert_int_equal(a.status, 200);
    http_answer_fini(&a);
    canned_stop(s);
}

static void only_http_and_https_are_spoken(void **arg)
{
    static const char *const urls[] = {
        "file:///etc/passwd?" SECRET,  "ftp://127.0.0.1/?" SECRET,
        "gopher://127.0.0.1/?" SECRET, "dict://127.0.0.1/?" SECRET,
        "scp://127.0.0.1/?" SECRET,    "?" SECRET,
        "http://a b/?" SECRET,         "http://127.0.0.1:99999/?" SECRET,
    };
    struct canned *s = CANNED("HTTP/1.1 200 OK\r\n\r\n");
    struct http_request r;

    (void)arg;
    for (size_t i = 0; i < sizeof(urls) / sizeof(*urls); i++) {
        r = canned_request(urls[i]);
        canned_fails(&r, ERR_INPUT, "URL");
    }
    r = canned_request(canned_url("http", "127.0.0.1", s->port));
    r.allow_http = false;
    canned_fails(&r, ERR_INPUT, "URL");
    assert_int_equal(canned_stop(s), 0);
}

/* --- TLS --- */

static void a_certificate_is_checked(void **arg)
{
    const struct fileserver_reply plain = {0};
    char *dir = scratch_new(), *ca = mem_printf("%s/srv-ca.pem", dir);
    char *other = mem_printf("%s/new-ca.pem", dir);
    struct fileserver *s;
    struct http_request r;
    struct http_answer a;
    struct err e = {0};

    (void)arg;
    certs_make(dir, "srv", "IP:127.0.0.1");
    certs_make(dir, "new", "IP:127.0.0.1");
    s = fileserver_start("hello", 5, &plain, 1, dir);
    r = canned_request(canned_url("https", "127.0.0.1", fileserver_port(s)));
    r.allow_http = false;
    r.ca_path = ca;
    if (http_do(&r, &a, &e) < 0)
        fail_msg("%s", e.text);
    assert_int_equal(a.body.len, 5);
    http_answer_fini(&a);
    assert_false(a.is_untrusted);
    r.ca_path = other;
    assert_int_equal(http_do(&r, &a, &e), -1);
    assert_true(a.is_untrusted);
    canned_fails(&r, ERR_PEER, "");
    r.ca_path = NULL; /* the system's roots */
    canned_fails(&r, ERR_PEER, "");
    r.ca_path = "/nowhere/ca.pem";
    assert_int_equal(http_do(&r, &a, &e), -1);
    assert_true(a.is_untrusted);
    canned_fails(&r, ERR_PEER, "");
    r = canned_request(canned_url("https", "localhost", fileserver_port(s)));
    r.ca_path = ca; /* right root, wrong name */
    canned_fails(&r, ERR_PEER, "");
    assert_int_equal(fileserver_requests(s), 1);
    fileserver_stop(s);
    free(ca);
    free(other);
    scratch_remove(dir);
}

static char *text_of(const char *dir, const char *name)
{
    own_mem char *path = mem_printf("%s/%s", dir, name);

    return tree_get(path, &(size_t){0});
}

static void authorities_and_certificates_may_be_given_as_text(void **arg)
{
    const struct fileserver_reply plain = {0};
    char *dir = scratch_new();
    own_mem char *ca = NULL, *other = NULL, *cert = NULL, *key = NULL;
    own_mem char *strange_cert = NULL, *strange_key = NULL;
    struct fileserver *s;
    struct http_request r;
    struct http_answer a;
    struct err e = {0};

    (void)arg;
    certs_make(dir, "srv", "IP:127.0.0.1");
    certs_make(dir, "client", "DNS:us");
    certs_make(dir, "new", "IP:127.0.0.1");
    ca = text_of(dir, "srv-ca.pem");
    other = text_of(dir, "new-ca.pem");
    cert = text_of(dir, "client.pem");
    key = text_of(dir, "client.key");
    strange_cert = text_of(dir, "new.pem");
    strange_key = text_of(dir, "new.key");
    s = fileserver_start("hello", 5, &plain, 1, dir);
    r = canned_request(canned_url("https", "127.0.0.1", fileserver_port(s)));
    r.allow_http = false;
    r.ca_pem = ca;
    canned_fails(&r, ERR_PEER, ""); /* we are nobody */
    r.cert_pem = strange_cert;
    r.key_pem = strange_key;
    canned_fails(&r, ERR_PEER, "");
    r.cert_pem = cert;
    canned_fails(&r, ERR_PEER, ""); /* another's key */
    r.key_pem = key;
    if (http_do(&r, &a, &e) < 0)
        fail_msg("%s", e.text);
    assert_int_equal(a.body.len, 5);
    http_answer_fini(&a);
    r.ca_pem = other;
    canned_fails(&r, ERR_PEER, "");
    r.ca_pem = "no certificate";
    canned_fails(&r, ERR_PEER, "");
    assert_int_equal(fileserver_requests(s), 1);
    fileserver_stop(s);
    scratch_remove(dir);
}

/* The write that meets a hang-up must not be the end of a process that does
 * not ignore SIGPIPE: the library, told to set no signals, sends without. */
static void a_peer_that_hangs_up_kills_nobody(void **arg)
{
    enum { BODY = 8 << 20 };
    const struct fileserver_reply gone = {.trick = FILESERVER_HANG_UP};
    char *dir = scratch_new(), *ca = mem_printf("%s/srv-ca.pem", dir);
    char *body = mem_zero(1, BODY);
    struct fileserver *s;
    struct http_request r;
    struct sigaction now;

    (void)arg;
    certs_make(dir, "srv", "IP:127.0.0.1");
    s = fileserver_start("hello", 5, &gone, 1, dir);
    r = canned_request(canned_url("https", "127.0.0.1", fileserver_port(s)));
    r.ca_path = ca;
    r.body = body;
    r.body_len = BODY;
    signal(SIGPIPE, SIG_DFL);
    for (int i = 0; i < 3; i++)
        canned_fails(&r, ERR_PEER, "");
    sigaction(SIGPIPE, NULL, &now);
    assert_true(now.sa_handler == SIG_DFL);
    signal(SIGPIPE, SIG_IGN);
    fileserver_stop(s);
    free(body);
    free(ca);
    scratch_remove(dir);
}

/* --- time --- */

static bool is_cancelled(void *arg)
{
    (void)arg;
    return true;
}

static void time_is_bounded_in_every_way(void **arg)
{
    static const char half[] =
        "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhello";
    struct canned *s = canned_start(half, sizeof(half) - 1, true);
    struct canned *silent = canned_start("", 0, true);
    struct http_request r =
        canned_request(canned_url("http", "127.0.0.1", s->port));
    int64_t begun = loop_now_ms();

    (void)arg;
    r.total_ms = 200; /* in the midst of a body */
    canned_fails(&r, ERR_PEER, "");
    r.total_ms = 20000;
    r.low_speed_bytes = 1000;
    r.low_speed_s = 1;
    canned_fails(&r, ERR_PEER, "");
    r.low_speed_bytes = r.low_speed_s = 0;
    r.is_cancelled = is_cancelled;
    canned_fails(&r, ERR_TIMEOUT, "cancelled");
    canned_stop(s);
    r = canned_request(canned_url("http", "127.0.0.1", silent->port));
    r.total_ms = 200;
    canned_fails(&r, ERR_PEER, "");
    canned_stop(silent);
    assert_true(loop_now_ms() - begun < 8000);
}

static void failures_to_connect_do_not_tell_the_query(void **arg)
{
    struct canned *s = CANNED("");
    const char *url = canned_url("http", "127.0.0.1", s->port);
    struct http_request r = canned_request(url);

    (void)arg;
    canned_stop(s); /* nobody listens there any more */
    canned_fails(&r, ERR_PEER, "");
    r = canned_request("http://no-such-host.invalid/?" SECRET);
    canned_fails(&r, ERR_PEER, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_environment_sends_it_nowhere_else),
        cmocka_unit_test(a_refused_address_is_never_dialled),
        cmocka_unit_test(the_address_is_judged_again_when_connected),
        cmocka_unit_test(of_a_name_s_addresses_the_allowed_one_is_used),
        cmocka_unit_test(only_http_and_https_are_spoken),
        cmocka_unit_test(a_certificate_is_checked),
        cmocka_unit_test(authorities_and_certificates_may_be_given_as_text),
        cmocka_unit_test(a_peer_that_hangs_up_kills_nobody),
        cmocka_unit_test(time_is_bounded_in_every_way),
        cmocka_unit_test(failures_to_connect_do_not_tell_the_query),
    };

    return cmocka_run_group_tests_name("base/http_client: peers", tests,
                                       canned_group_setup, NULL);
}
