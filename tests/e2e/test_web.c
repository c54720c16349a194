/*
 * The page through all of `podterm dev`: what a browser on the same origin
 * may do and no other, readers who are slow or many, and paths that would
 * lead elsewhere. Raw HTTP; a real browser's turn is tests/web.
 */
#include "base/mem.h"
#include "base/own.h"
#include "tests/lib/child.h"
#include "tests/lib/programs.h"
#include "tests/lib/stack.h"
#include "tests/lib/tree.h"
#include "tests/lib/webtree.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define BIG (3 << 20)         /* bytes of the page's script */
#define MANY 200              /* readers at once */
#define STALLED 40            /* who do not read */
#define SMALL_KIB (24 * 1024) /* what all of them may cost */

static char *web;
static struct stack *stack;
static char *script; /* as it was written */
static size_t script_len;

static int setup(void **state)
{
    static const char *more[] = {"--web-dir", NULL, NULL};
    own_mem char *path = NULL;

    (void)state;
    umask(022);
    web = scratch_new();
    webtree_make(web, BIG);
    more[1] = web;
    stack = stack_new(more);
    path = mem_printf("%s%s", web, WEBTREE_SCRIPT);
    script = tree_get(path, &script_len);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    stack_free(stack);
    scratch_remove(web);
    free(script);
    return 0;
}

static struct rest_answer ask(const char *method, const char *path,
                              const char *headers)
{
    return rest_call(stack->port, method, path, headers, NULL);
}

static int status_of(const char *path, const char *headers)
{
    struct rest_answer r = ask("GET", path, headers);
    int status = r.status;

    rest_fini(&r);
    return status;
}

static void dev_says_where_the_page_is(void **state)
{
    own_mem char *line =
        mem_printf("web terminal: http://127.0.0.1:%d/\n", stack->port);
    own_mem char *ready =
        mem_printf("podterm is ready at http://127.0.0.1:%d\n", stack->port);
    size_t len;
    own_mem char *said = tree_get(stack->log_path, &len);
    struct rest_answer r = ask("GET", "/", NULL);

    (void)state;
    assert_non_null(strstr(said, ready));
    assert_non_null(strstr(said, line));
    assert_int_equal(r.status, 200);
    assert_string_equal(r.body, WEBTREE_INDEX);
    rest_fini(&r);
}

/* Installed as a distribution would, or built as `make web` does. */
static void the_page_beside_the_program_is_served_unasked(void **state)
{
    static const char *const places[] = {"bin share/podterm/web",
                                         "build/bin web/dist"};

    (void)state;
    for (size_t i = 0; i < sizeof(places) / sizeof(*places); i++) {
        own_mem char *root = scratch_new(), *exe = program_path("podterm");
        const char *argv[] = {
            "bash",
            "-c",
            "cd \"$1\"; set -- $2 \"${3%/*}\"; mkdir -p $1 $2\n"
            "cp \"$3\"/podterm* $1; echo beside >$2/index.html\n"
            "unset PODTERM_WEB_DIR; : >said\n"
            "export PODTERM_UID_FIRST=$((1100000000 + $$ % 100000 * 5000))\n"
            "$1/podterm dev --listen 127.0.0.1:$((20000 + RANDOM % 9000)) "
            "--state state >said 2>&1 & p=$!\n"
            "for i in {1..400}; do grep -q '^web terminal' said && break; "
            "sleep 0.05; done\n"
            "curl -s --max-time 10 \"$(sed -n 's/^web terminal: //p' said)\"; "
            "kill $p; wait $p; cat said",
            "sh",
            root,
            places[i],
            exe,
            NULL};
        struct child c = {.argv = argv};

        child_expect(&c, 0);
        if (strncmp(c.out, "beside\n", 7) != 0)
            fail_msg("%s: %s%s", places[i], c.out, c.err);
        child_fini(&c);
        scratch_remove(own_mem_give(&root));
    }
}

static void the_page_may_connect_to_the_gateway_and_nowhere_else(void **state)
{
    struct rest_answer r = ask("HEAD", "/", NULL);
    own_mem char *rule =
        mem_printf("; connect-src 'self' ws://127.0.0.1:%d; base-uri 'none'",
                   stack->attach_port);

    (void)state;
    assert_int_equal(r.status, 200);
    assert_non_null(strstr(rest_header(&r, "content-security-policy"), rule));
    assert_null(strstr(rest_header(&r, "content-security-policy"), "unsafe"));
    rest_fini(&r);
}

/* A fetch of the page's own carries its Origin or none; whoever got another
 * page's script to run, or a name to lead here, carries that. */
static void our_page_gets_an_identity_and_no_other_page_does(void **state)
{
    static const char *const paths[] = {"/dev/token?sub=ann", "/", "/livez",
                                        "/web/config.json", "/api/sessions"};
    own_mem char *own =
        mem_printf("Origin: http://127.0.0.1:%d\r\nSec-Fetch-Site: "
                   "same-origin\r\n",
                   stack->port);
    own_mem char *name =
        mem_printf("Host: localhost:%d\r\nOrigin: http://localhost:%d\r\n",
                   stack->port, stack->port);
    own_mem char *gateway =
        mem_printf("Origin: http://127.0.0.1:%d\r\n", stack->attach_port);
    own_mem char *secure =
        mem_printf("Origin: https://127.0.0.1:%d\r\n", stack->port);
    own_mem char *below =
        mem_printf("Origin: http://127.0.0.1.evil.example:%d\r\n", stack->port);
    own_mem char *at =
        mem_printf("Origin: http://evil@127.0.0.1:%d\r\n", stack->port);
    own_mem char *rebound =
        mem_printf("Host: evil.example:%d\r\nOrigin: http://evil.example:%d"
                   "\r\n",
                   stack->port, stack->port);
    const char *const foreign[] = {"Origin: http://evil.example\r\n",
                                   "Origin: null\r\n",
                                   gateway,
                                   secure,
                                   below,
                                   at};

    (void)state;
    assert_int_equal(status_of(paths[0], own), 200);
    assert_int_equal(status_of(paths[0], name), 200);
    assert_int_equal(status_of(paths[0], NULL), 200);
    for (size_t i = 0; i < sizeof(paths) / sizeof(*paths); i++) {
        for (size_t j = 0; j < sizeof(foreign) / sizeof(*foreign); j++)
            if (status_of(paths[i], foreign[j]) != 403)
                fail_msg("%s with %s", paths[i], foreign[j]);
        assert_int_equal(status_of(paths[i], rebound), 421);
    }
}

/* All that a page does for its user, in the words a browser uses. */
static void a_page_can_do_what_a_user_wants(void **state)
{
    own_mem char *id = stack_identity(stack, "ann");
    own_mem char *head =
        mem_printf("%sOrigin: http://127.0.0.1:%d\r\nSec-Fetch-Mode: cors\r\n"
                   "Accept: */*\r\nAccept-Encoding: gzip, deflate, br, zstd\r\n"
                   "Content-Type: application/json\r\n",
                   id, stack->port);
    own_mem char *keyed = mem_printf("%sIdempotency-Key: k1\r\n", head);
    own_mem char *body = NULL, *one = NULL, *token = NULL;
    struct stack_bundle b;
    struct err e = {0};
    struct rest_answer r;
    struct json *j;
    char sid[ID_SIZE];

    (void)state;
    stack_pack(stack, "sleep", "#!/bin/sh\nexec sleep 600\n", &b);
    body = mem_printf("{\"bundle\":{\"url\":\"%s\",\"sha256\":\"%s\"},"
                      "\"cols\":80,\"rows\":24}",
                      b.url, b.sha256);
    r = rest_call(stack->port, "POST", "/api/sessions", keyed, body);
    assert_int_equal(r.status, 201);
    j = json_parse(r.body, r.len, &e);
    snprintf(sid, sizeof(sid), "%s", json_get_str(j, "id"));
    json_free(j);
    rest_fini(&r);
    /* a click that was sent twice */
    r = rest_call(stack->port, "POST", "/api/sessions", keyed, body);
    assert_int_equal(r.status, 200);
    assert_non_null(strstr(r.body, sid));
    rest_fini(&r);
    r = rest_call(stack->port, "GET", "/api/sessions?limit=1&live=true", head,
                  NULL);
    assert_int_equal(r.status, 200);
    assert_non_null(strstr(r.body, sid));
    rest_fini(&r);
    one = mem_printf("/api/sessions/%s", sid);
    token = mem_printf("/api/sessions/%s/token", sid);
    r = rest_call(stack->port, "PATCH", one, head, "{\"viewers\":[\"vic\"]}");
    assert_int_equal(r.status, 200);
    rest_fini(&r);
    {
        /* the link that was shared names the session, and no more */
        own_mem char *vic = stack_identity(stack, "vic");
        own_mem char *eve = stack_identity(stack, "eve");
        own_mem char *as_vic =
            mem_printf("%sContent-Type: application/json\r\n", vic);
        own_mem char *as_eve =
            mem_printf("%sContent-Type: application/json\r\n", eve);

        r = rest_call(stack->port, "POST", token, as_vic,
                      "{\"role\":\"viewer\"}");
        assert_int_equal(r.status, 200);
        assert_non_null(strstr(r.body, "\"token\""));
        assert_null(strstr(r.body, "\"viewers\"")); /* are the owner's */
        rest_fini(&r);
        r = rest_call(stack->port, "POST", token, as_eve,
                      "{\"role\":\"viewer\"}");
        assert_int_equal(r.status, 404);
        rest_fini(&r);
        r = rest_call(stack->port, "DELETE", one, head, NULL);
        assert_true(r.status == 202 || r.status == 200);
        rest_fini(&r);
        json_free(stack_wait(stack, "ann", sid, "ended", 10000));
        /* a viewer learns how it ended */
        r = rest_call(stack->port, "POST", token, as_vic,
                      "{\"role\":\"viewer\"}");
        assert_int_equal(r.status, 409);
        assert_non_null(strstr(r.body, "\"reason\":\"deleted\""));
        rest_fini(&r);
    }
}

static void no_path_leads_out_of_the_page(void **state)
{
    static const char *const paths[] = {
        "/../dev.log",
        "/../../etc/passwd",
        "/assets/../../../../etc/passwd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/..%2f..%2fetc/passwd",
        "/%2e%2e%2fetc%2fpasswd",
        "/..\\..\\etc\\passwd",
        "//etc/passwd",
        "/./etc/passwd",
        "/.git/config",
        "/later.txt",
        "/index.html%00",
        "/%c0%ae%c0%ae/etc/passwd",
        "/assets%2fpage-0A1B2C3D.js",
        "/index.html.gz",
        "/index.html;a=b",
        "/*",
        "http://127.0.0.1/etc/passwd",
        "*",
        "",
    };
    char path[4200];

    (void)state;
    tree_put(web, "later.txt", "what was not there at the start");
    for (size_t i = 0; i < sizeof(paths) / sizeof(*paths); i++) {
        struct rest_answer r = ask("GET", paths[i], NULL);

        if (r.status != 404 && r.status != 400)
            fail_msg("%s: %d %s", paths[i], r.status, r.body);
        assert_null(strstr(r.body, "root:"));
        rest_fini(&r);
    }
    for (size_t len = 100; len < sizeof(path); len += 1000) {
        memset(path, 'x', len);
        path[0] = '/';
        path[len] = '\0';
        assert_int_equal(status_of(path, NULL), 404);
    }
    assert_int_equal(status_of("/", NULL), 200);
}

static void assert_script(struct rest_answer *r)
{
    assert_int_equal(r->status, 200);
    assert_int_equal(r->len, script_len);
    assert_memory_equal(r->body, script, script_len);
    rest_fini(r);
}

static void two_hundred_readers_at_once_get_it_whole(void **state)
{
    int fds[MANY];

    (void)state;
    for (int i = 0; i < MANY; i++) {
        fds[i] = rest_ask(stack->port, "GET", WEBTREE_SCRIPT, NULL, NULL);
        assert_true(fds[i] >= 0);
    }
    for (int i = 0; i < MANY; i++) {
        struct rest_answer r = rest_hear(fds[i]);

        assert_script(&r);
    }
}

/* Kibibytes of memory that are the controller's alone. */
static long controller_kib(void)
{
    own_mem char *path = NULL;
    char line[256];
    long kib = 0;
    pid_t pid;
    FILE *f;

    assert_int_equal(stack_pids(stack, "podterm-controller", NULL, &pid, 1), 1);
    path = mem_printf("/proc/%d/status", pid);
    f = fopen(path, "r");
    assert_non_null(f);
    while (fgets(line, sizeof(line), f))
        if (sscanf(line, "RssAnon: %ld", &kib) == 1)
            break;
    fclose(f);
    return kib;
}

static int dial_small(void)
{
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)stack->port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), small = 4096;
    own_mem char *text = mem_printf(
        "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nAccept-Encoding: br\r\n\r\n",
        WEBTREE_SCRIPT, stack->port);

    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
    assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL),
                     (ssize_t)strlen(text));
    return fd;
}

/* Forty readers who do not read cost what they have been given and no copy of
 * the file each, and hold up nobody; one who goes on gets the rest. */
static void slow_readers_hold_up_nobody(void **state)
{
    static char in[BIG + 8192];
    const long before = controller_kib();
    int fds[STALLED];
    size_t used = 0;
    ssize_t n;

    (void)state;
    for (int i = 0; i < STALLED; i++)
        fds[i] = dial_small();
    poll(NULL, 0, 300);
    for (int i = 0; i < 5; i++) {
        struct rest_answer r = ask("GET", WEBTREE_SCRIPT, NULL);

        assert_script(&r);
    }
    if (controller_kib() > before + SMALL_KIB)
        fail_msg("%ld KiB, and %ld before", controller_kib(), before);
    /* a little at a time at first, then as fast as it comes */
    while (used < sizeof(in) &&
           (n = recv(fds[0], in + used, used < 65536 ? 1024 : sizeof(in) - used,
                     0)) > 0) {
        used += (size_t)n;
        if (used < 65536)
            poll(NULL, 0, 5);
    }
    assert_true(used > script_len);
    assert_memory_equal(in + used - script_len, script, script_len);
    for (int i = 0; i < STALLED; i++)
        close(fds[i]);
    assert_int_equal(status_of("/", NULL), 200);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dev_says_where_the_page_is),
        cmocka_unit_test(the_page_beside_the_program_is_served_unasked),
        cmocka_unit_test(the_page_may_connect_to_the_gateway_and_nowhere_else),
        cmocka_unit_test(our_page_gets_an_identity_and_no_other_page_does),
        cmocka_unit_test(a_page_can_do_what_a_user_wants),
        cmocka_unit_test(no_path_leads_out_of_the_page),
        cmocka_unit_test(two_hundred_readers_at_once_get_it_whole),
        cmocka_unit_test(slow_readers_hold_up_nobody),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
