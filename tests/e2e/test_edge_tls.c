/*
 * TLS at the edge: controller and gateway with certificates of a private
 * authority, the real client told of it by --ca, and everybody who should not
 * get on: other authorities, older versions, no TLS at all.
 */
#include "base/http_client.h"
#include "base/loop.h"
#include "base/mem.h"
#include "base/own.h"
#include "base/proc.h"
#include "tests/lib/certs.h"
#include "tests/lib/child.h"
#include "tests/lib/fileserver.h"
#include "tests/lib/ports.h"
#include "tests/lib/programs.h"
#include "tests/lib/seat.h"
#include "tests/lib/stack.h"
#include "tests/lib/tree.h"
#include "tests/lib/webtree.h"

#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define PAGE_BYTES (2 << 20) /* of its script */

#define SID "abcdefghijklmnopqrstuvwxyz"
#define SOON_MS 15000

extern char **environ;

struct service {
    const char *name;
    char *log;
    int port;
    pid_t pid;
};

static struct service controller = {.name = "podterm-controller"};
static struct service gateway = {.name = "podterm-gateway"};
static struct stack_bundle bundle;
static struct seat seat;
static char *dir, *podterm, *server;
static const char *live; /* the pair the services have */
static int life[2];      /* all sessions end when our end of it is closed */

/* --- services --- */

static void service_start(struct service *s, const char *const *args)
{
    own_mem char *exe = program_path(s->name);
    const char *argv[40] = {s->name};
    struct proc_spawn how = {.path = exe,
                             .argv = (char *const *)(uintptr_t)argv,
                             .envp = environ,
                             .fd_count = 4,
                             .death_signal = SIGKILL};
    own_mem char *ready = mem_printf("\"ev\":\"%s.ready\"", s->name + 8);
    int64_t until = loop_now_ms() + SOON_MS;
    struct err e = {0};
    own_fd int log = -1, pid_fd = -1;

    for (int n = 1; args[n - 1]; n++)
        argv[n] = args[n - 1];
    s->log = mem_printf("%s/%s.log", dir, s->name);
    log = open(s->log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    how.fds = (int[]){-1, -1, log, life[1]};
    pid_fd = proc_spawn(&how, &s->pid, &e);
    if (pid_fd < 0)
        fail_msg("%s", e.text);
    for (;;) {
        own_mem char *text = tree_get(s->log, &(size_t){0});

        if (strstr(text, ready))
            return;
        if (loop_now_ms() > until || waitpid(s->pid, NULL, WNOHANG) == s->pid)
            fail_msg("%s did not start: %s", s->name, text);
        poll(NULL, 0, 10);
    }
}

static void service_stop(struct service *s)
{
    if (s->pid <= 0)
        return;
    kill(s->pid, SIGTERM);
    waitpid(s->pid, NULL, 0);
    free(s->log);
}

static char *below(const char *fmt, const char *name)
{
    own_mem char *tail = mem_printf(fmt, name);

    return mem_printf("%s/%s", dir, tail);
}

/* The pair of that name is the services' now. */
static void serve_pair(const char *name)
{
    own_mem char *pem = below("%s.pem", name), *key = below("%s.key", name);
    own_mem char *live_pem = below("%s.pem", "live");
    own_mem char *live_key = below("%s.key", "live");

    assert_int_equal(rename(key, live_key), 0);
    assert_int_equal(rename(pem, live_pem), 0);
    live = name;
}

static void start_controller(void)
{
    own_mem char *listen = mem_printf("127.0.0.1:%d", controller.port);
    own_mem char *state = below("%s", "state"), *root = below("%s", "bundles");
    own_mem char *cert = below("%s.pem", "live"),
                 *key = below("%s.key", "live");
    own_mem char *url =
        mem_printf("wss://localhost:%d/v1/attach", gateway.port);
    own_mem char *uids = mem_printf("%d", 1000000 + getpid() % 100000 * 5000);
    own_mem char *web = below("%s", "web");
    const char *args[] = {"--dev-issuer",
                          "--listen",
                          listen,
                          "--state-dir",
                          state,
                          "--attach-url",
                          url,
                          "--bundle-file-root",
                          root,
                          "--tls-cert",
                          cert,
                          "--tls-key",
                          key,
                          "--uid-first",
                          uids,
                          "--web-dir",
                          web,
                          "--life-fd",
                          "3",
                          NULL};

    service_start(&controller, args);
}

/* Its keys come from the controller, over TLS as well. */
static void start_gateway(void)
{
    own_mem char *listen = mem_printf("127.0.0.1:%d", gateway.port);
    own_mem char *store = below("state/%s", "podterm.db");
    own_mem char *seal = below("state/keys/%s", "seal");
    own_mem char *cert = below("%s.pem", "live"),
                 *key = below("%s.key", "live");
    own_mem char *ca = below("%s", "both-ca.pem");
    own_mem char *jwks = mem_printf("%s/.well-known/jwks.json", server);
    const char *args[] = {"--listen",
                          listen,
                          "--store",
                          store,
                          "--seal-key-file",
                          seal,
                          "--jwks-url",
                          jwks,
                          "--jwks-ca",
                          ca,
                          "--issuer",
                          "podterm-controller",
                          "--audience",
                          "podterm",
                          "--agent-cidrs",
                          "127.0.0.0/8",
                          "--tls-cert",
                          cert,
                          "--tls-key",
                          key,
                          NULL};

    service_start(&gateway, args);
}

static int setup(void **arg)
{
    struct stack packer = {0};
    own_mem char *one = NULL, *two = NULL, *both = NULL, *bundles = NULL;
    own_mem char *web = NULL;

    (void)arg;
    dir = packer.dir = scratch_new();
    podterm = program_path("podterm");
    certs_make(dir, "one", "DNS:localhost");
    certs_make(dir, "two", "DNS:localhost");
    certs_make(dir, "three", "DNS:localhost");
    certs_make(dir, "other", "DNS:localhost,IP:127.0.0.1");
    certs_make(dir, "srv", "DNS:localhost,IP:127.0.0.1");
    one = below("%s-ca.pem", "one");
    two = below("%s-ca.pem", "two");
    both = mem_printf("cat %s %s >%s/both-ca.pem", one, two, dir);
    assert_int_equal(system(both), 0);
    serve_pair("one");
    bundles = below("%s", "bundles");
    assert_int_equal(mkdir(bundles, 0755), 0);
    web = below("%s", "web");
    assert_int_equal(mkdir(web, 0755), 0);
    webtree_make(web, PAGE_BYTES);
    stack_pack(&packer, "prog", "exit 9", &bundle);
    controller.port = port_free();
    gateway.port = port_free();
    server = mem_printf("https://localhost:%d", controller.port);
    assert_int_equal(pipe2(life, O_CLOEXEC), 0);
    { /* a child's descriptor 3 is the end that is read */
        int read_end = life[0];

        life[0] = life[1];
        life[1] = read_end;
    }
    start_controller();
    start_gateway();
    setenv("PODTERM_AS", "tester", 1);
    setenv("PODTERM_BUNDLE", bundle.url, 1);
    setenv("PODTERM_SHA256", bundle.sha256, 1);
    setenv("TERM", "xterm-256color", 1);
    return 0;
}

static int teardown(void **arg)
{
    (void)arg;
    close(life[0]); /* the controller ends its sessions and leaves */
    if (controller.pid > 0)
        waitpid(controller.pid, NULL, 0);
    controller.pid = 0;
    free(controller.log);
    service_stop(&gateway);
    close(life[1]);
    free(podterm);
    free(server);
    scratch_remove(dir);
    return 0;
}

/* --- TLS as somebody speaks it --- */

/* A handshake with that port, trusting that authority (NULL = anybody), no
 * newer than max (0 = any). 0, or OpenSSL's reason. */
static int handshake(int port, const char *ca, int max)
{
    own_mem char *file = ca ? below("%s-ca.pem", ca) : NULL;
    own_mem char *addr = mem_printf("127.0.0.1:%d", port);
    struct wspeer *p = wspeer_dial(addr, NULL);
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    SSL *ssl;
    int why = 0;

    fcntl(p->fd, F_SETFL, fcntl(p->fd, F_GETFL) & ~O_NONBLOCK);
    if (file) {
        assert_true(SSL_CTX_load_verify_file(ctx, file));
        SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
    }
    if (max) {
        SSL_CTX_set_min_proto_version(ctx, TLS1_VERSION);
        SSL_CTX_set_max_proto_version(ctx, max);
        SSL_CTX_set_cipher_list(ctx, "ALL:@SECLEVEL=0");
    }
    ssl = SSL_new(ctx);
    SSL_set_fd(ssl, p->fd);
    ERR_clear_error();
    if (SSL_connect(ssl) != 1) {
        why = ERR_GET_REASON(ERR_peek_last_error());
        why = why ? why : -1;
    }
    ERR_clear_error();
    SSL_free(ssl);
    SSL_CTX_free(ctx);
    wspeer_free(p);
    return why;
}

/* podterm with these arguments; what it says is the caller's (child_fini). */
static struct child said(const char *ca, const char *at, const char *a,
                         const char *b, const char *c, int code)
{
    own_mem char *file = below("%s-ca.pem", ca);
    const char *argv[] = {podterm, a, "--server", at, "--ca", file, b, c, NULL};
    struct child child = {.argv = argv};

    child_expect(&child, code);
    child.argv = NULL;
    return child;
}

static void expect_said(struct child *c, const char *text)
{
    if (!strstr(c->err, text))
        fail_msg("\"%s\" is not in: %s", text, c->err);
    child_fini(c);
}

/* --- who gets on --- */

static void bytes_pass_exactly_both_ways(void **arg)
{
    static const char script[] =
        "cd \"$1\" && : >out && head -c 75000 /dev/urandom | base64 -w 76 >in "
        "&& { until grep -q READY out; do sleep 0.02; done; cat in; } | "
        "\"$2\" run --server \"$3\" --ca both-ca.pem -- sh -c "
        "'stty raw -echo; echo READY; head -c '$(wc -c <in)' | sha256sum; "
        "seq 1 20000; exit 7' >out; code=$?\n"
        "{ echo READY; sha256sum <in; seq 1 20000; } | cmp - out && exit $code";
    const char *argv[] = {"bash", "-c",    script, "sh",
                          dir,    podterm, server, NULL};
    struct child c = {.argv = argv};

    (void)arg;
    child_expect(&c, 7);
    child_fini(&c);
}

/* --- who does not --- */

static void old_versions_are_refused(void **arg)
{
    const int ports[] = {controller.port, gateway.port};
    const int versions[] = {TLS1_VERSION, TLS1_1_VERSION};

    (void)arg;
    for (int i = 0; i < 2; i++) {
        for (int k = 0; k < 2; k++)
            assert_int_equal(handshake(ports[i], NULL, versions[k]),
                             SSL_R_TLSV1_ALERT_PROTOCOL_VERSION);
        assert_int_equal(handshake(ports[i], "one", TLS1_2_VERSION), 0);
        assert_int_equal(handshake(ports[i], "one", 0), 0);
        assert_int_equal(handshake(ports[i], "other", 0),
                         SSL_R_CERTIFICATE_VERIFY_FAILED);
    }
}

static void plain_http_to_a_tls_port_is_told_apart(void **arg)
{
    const int ports[] = {controller.port, gateway.port};
    own_mem char *plain = mem_printf("http://localhost:%d", controller.port);
    struct child c;

    (void)arg;
    for (int i = 0; i < 2; i++) {
        own_mem char *addr = mem_printf("127.0.0.1:%d", ports[i]);
        struct wspeer *p = wspeer_dial(addr, NULL);

        wspeer_puts(p, "GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n");
        while (wspeer_more(p, SOON_MS) > 0)
            ;
        /* at most an alert */
        assert_true(p->in_len == 0 || (p->in[0] == 21 && p->in_len < 16));
        wspeer_free(p);
    }
    c = said("one", plain, "ls", NULL, NULL, 125);
    expect_said(&c, "https");
}

static int status_of(const char *path)
{
    own_mem char *url = mem_printf("%s%s", server, path);
    own_mem char *ca = below("%s-ca.pem", "one");
    const struct http_request r = {
        .url = url, .ca_path = ca, .body_max = 65536};
    struct http_answer a;
    struct err e = {0};

    if (http_do(&r, &a, &e) < 0)
        fail_msg("%s: %s", path, e.text);
    http_answer_fini(&a);
    return a.status;
}

/* A large file of it comes in pieces, each of them encrypted. */
static void the_page_comes_over_tls_whole(void **arg)
{
    own_mem char *url = mem_printf("%s%s", server, WEBTREE_SCRIPT);
    own_mem char *ca = below("%s-ca.pem", "one");
    own_mem char *path = below("web%s", WEBTREE_SCRIPT);
    size_t len;
    own_mem char *want = tree_get(path, &len);
    const struct http_request r = {
        .url = url, .ca_path = ca, .body_max = 2 * PAGE_BYTES};

    (void)arg;
    for (int i = 0; i < 5; i++) {
        struct http_answer a;
        struct err e = {0};

        if (http_do(&r, &a, &e) < 0)
            fail_msg("%s", e.text);
        assert_int_equal(a.status, 200);
        assert_int_equal(a.body.len, len);
        assert_memory_equal(a.body.data, want, len);
        http_answer_fini(&a);
    }
    assert_int_equal(status_of("/"), 200);
    assert_int_equal(status_of("/%2e%2e/one.pem"), 404);
    assert_int_equal(status_of("/live.key"), 404);
}

/* Whom they are for is told by a header that can be hidden there. */
static void metrics_are_not_served_over_tls(void **arg)
{
    (void)arg;
    assert_int_equal(status_of("/livez"), 200);
    assert_int_equal(status_of("/metrics"), 404);
}

static void another_authority_gets_no_identity(void **arg)
{
    static const struct fileserver_reply script[] = {{0}};
    struct fileserver *f = fileserver_start("{}", 2, script, 1, dir);
    own_mem char *at = mem_printf("https://localhost:%d", fileserver_port(f));
    struct child c;

    (void)arg;
    setenv("PODTERM_IDENTITY_COMMAND", "echo secret", 1);
    c = said("other", at, "ls", NULL, NULL, 125);
    assert_int_equal(fileserver_requests(f), 0);
    expect_said(&c, "certificate");
    c = said("other", server, "ls", NULL, NULL, 125); /* ours, the same */
    expect_said(&c, "certificate");
    unsetenv("PODTERM_IDENTITY_COMMAND");
    fileserver_stop(f);
}

static void another_authority_gets_no_token(void **arg)
{
    static const struct fileserver_reply script[] = {{0}};
    /* a gateway of another authority, beside a controller of the right one */
    struct fileserver *g = fileserver_start("{}", 2, script, 1, dir), *f;
    own_mem char *answer = mem_printf("{\"token\":\"secret\",\"attach_url\":"
                                      "\"wss://localhost:%d/v1/attach\"}",
                                      fileserver_port(g));
    own_mem char *ours = below("%s", "right"), *at = NULL;
    struct child c;

    (void)arg;
    assert_int_equal(mkdir(ours, 0700), 0);
    certs_make(ours, "srv", "DNS:localhost");
    {
        own_mem char *from = mem_printf("%s/srv-ca.pem", ours);
        own_mem char *to = below("%s", "right-ca.pem");

        assert_int_equal(rename(from, to), 0);
    }
    f = fileserver_start(answer, strlen(answer), script, 1, ours);
    at = mem_printf("https://localhost:%d", fileserver_port(f));
    setenv("PODTERM_IDENTITY_COMMAND", "echo me", 1);
    c = said("right", at, "attach", "--retry-s=1", SID, 125);
    unsetenv("PODTERM_IDENTITY_COMMAND");
    assert_true(fileserver_requests(f) > 0); /* it was given one */
    assert_int_equal(fileserver_requests(g), 0);
    expect_said(&c, "certificate");
    fileserver_stop(f);
    fileserver_stop(g);
}

/* --- renewal --- */

static void expect_new_pair(int port, const char *now, const char *before)
{
    for (int i = 0; handshake(port, now, 0) != 0; i++) {
        if (i > 500)
            fail_msg("port %d does not serve the new certificate", port);
        poll(NULL, 0, 20);
    }
    assert_int_equal(handshake(port, before, 0),
                     SSL_R_CERTIFICATE_VERIFY_FAILED);
}

static bool has_said(const struct service *s, const char *event)
{
    own_mem char *text = tree_get(s->log, &(size_t){0});

    return strstr(text, event);
}

static void expect_event(const struct service *s, const char *event)
{
    for (int i = 0; !has_said(s, event); i++) {
        if (i > 500)
            fail_msg("%s did not say %s", s->name, event);
        poll(NULL, 0, 20);
    }
}

static void put_half(const char *from, const char *end)
{
    own_mem char *script =
        mem_printf("cat %s/%s%s >%s/live%s", dir, from, end, dir, end);

    assert_int_equal(system(script), 0);
}

/* As by a tool that writes one file after the other, and tells nobody. */
static void a_certificate_before_its_key_is_taken_up_with_it(void **arg)
{
    const int ports[] = {controller.port, gateway.port};

    (void)arg;
    put_half("three", ".pem");
    expect_event(&controller, "certificate.refused");
    expect_event(&gateway, "certificate.refused");
    for (int i = 0; i < 2; i++) /* meanwhile */
        assert_int_equal(handshake(ports[i], live, 0), 0);
    put_half("three", ".key");
    for (int i = 0; i < 2; i++)
        expect_new_pair(ports[i], "three", live);
}

static void a_renewed_certificate_costs_nobody_his_session(void **arg)
{
    own_mem char *ca = below("%s", "both-ca.pem");
    const char *argv[] = {
        podterm,
        "run",
        "--server",
        server,
        "--ca",
        ca,
        "--",
        "sh",
        "-c",
        "stty -echo; echo ready; while read -r l; do echo \"<$l>\"; "
        "[ \"$l\" = end ] && exit 5; done",
        NULL};

    (void)arg;
    seat_start(&seat, argv, NULL, 80, 24, -1);
    seat_expect(&seat, "ready", SOON_MS);
    seat_say(&seat, "before\n");
    seat_expect(&seat, "<before>", SOON_MS);
    serve_pair("two");
    kill(gateway.pid, SIGHUP);
    kill(controller.pid, SIGHUP);
    expect_new_pair(gateway.port, "two", "one");
    expect_new_pair(controller.port, "two", "one");
    seat_say(&seat, "after\n");
    seat_expect(&seat, "<after>", SOON_MS);
    assert_false(seat_has(&seat, "lost"));
    seat_say(&seat, "end\n");
    assert_int_equal(seat_wait(&seat, SOON_MS), 5);
    seat_free(&seat);
    /* and a new one is made by the new certificates */
    bytes_pass_exactly_both_ways(arg);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_pass_exactly_both_ways),
        cmocka_unit_test(old_versions_are_refused),
        cmocka_unit_test(plain_http_to_a_tls_port_is_told_apart),
        cmocka_unit_test(the_page_comes_over_tls_whole),
        cmocka_unit_test(metrics_are_not_served_over_tls),
        cmocka_unit_test(another_authority_gets_no_identity),
        cmocka_unit_test(another_authority_gets_no_token),
        cmocka_unit_test(a_renewed_certificate_costs_nobody_his_session),
        cmocka_unit_test(a_certificate_before_its_key_is_taken_up_with_it),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
