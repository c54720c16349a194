/*
 * The page's files over HTTP, from a real controller: which copy is sent,
 * what a browser may keep, and the headers it is held to.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/mem.h"
#include "base/own.h"
#include "controller/page.h"
#include "tests/lib/apicast.h"
#include "tests/lib/fake_keeper.h"
#include "tests/lib/tree.h"
#include "tests/lib/webtree.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define CONFIG "/web/config.json"
#define BIG 300000
#define OWN_POLICY "default-src 'none'; frame-ancestors 'none'"

static char web[64], etag[128];

static int setup(void **state)
{
    static const char *extra[] = {"--web-dir",
                                  web,
                                  "--web-bundle",
                                  "https://b.example/sample.tar.gz?v=1",
                                  "--web-bundle-sha256",
                                  API_SHA,
                                  "--cors-origins",
                                  "https://app.example",
                                  NULL};

    (void)state;
    umask(022);
    snprintf(web, sizeof web, "/tmp/podterm-web.XXXXXX");
    assert_non_null(mkdtemp(web));
    webtree_make(web, BIG);
    tree_put(web, "only.txt", "plain");
    api_start(&api, extra);
    return 0;
}

static int teardown(void **state)
{
    char line[96];

    (void)state;
    api_finish(&api);
    snprintf(line, sizeof line, "rm -rf %s", web);
    return system(line);
}

static struct rest_answer get(const char *path, const char *headers)
{
    return rest_call(api.server.port, "GET", path, headers, NULL);
}

static void assert_body(struct rest_answer *r, const void *bytes, size_t len)
{
    assert_int_equal(r->status, 200);
    assert_int_equal(r->len, len);
    assert_memory_equal(r->body, bytes, len);
    rest_fini(r);
}

static void assert_page_headers(const struct rest_answer *r)
{
    assert_string_equal(rest_header(r, "content-security-policy"),
                        "default-src 'none'; script-src 'self'; style-src "
                        "'self'; img-src 'self' data:; font-src 'self'; "
                        "manifest-src 'self'; connect-src 'self' "
                        "ws://127.0.0.1:1; base-uri 'none'; form-action "
                        "'none'; frame-ancestors 'none'; "
                        "require-trusted-types-for 'script'");
    assert_string_equal(rest_header(r, "x-content-type-options"), "nosniff");
    assert_string_equal(rest_header(r, "referrer-policy"), "no-referrer");
    assert_string_equal(rest_header(r, "cross-origin-opener-policy"),
                        "same-origin");
    assert_string_equal(rest_header(r, "cross-origin-resource-policy"),
                        "same-origin");
    assert_string_equal(rest_header(r, "vary"), "accept-encoding");
    assert_non_null(strstr(rest_header(r, "permissions-policy"), "camera=()"));
    assert_non_null(
        strstr(rest_header(r, "permissions-policy"), "clipboard-read=(self)"));
    assert_string_equal(rest_header(r, "set-cookie"), "");
    assert_string_equal(rest_header(r, "access-control-allow-origin"), "");
}

static void the_page_is_served_with_its_headers(void **state)
{
    static const char *const paths[] = {"/", "/index.html", "/?sid=x"};

    (void)state;
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        struct rest_answer r = get(paths[i], NULL);

        assert_page_headers(&r);
        assert_string_equal(rest_header(&r, "content-type"),
                            "text/html; charset=utf-8");
        assert_string_equal(rest_header(&r, "cache-control"), "no-cache");
        assert_string_equal(rest_header(&r, "content-encoding"), "");
        assert_body(&r, WEBTREE_INDEX, strlen(WEBTREE_INDEX));
    }
}

static void a_hashed_name_may_be_kept_for_a_year(void **state)
{
    own_mem char *path = mem_printf("%s%s", web, WEBTREE_SCRIPT);
    struct rest_answer r = get(WEBTREE_SCRIPT, NULL);
    size_t len;
    own_mem char *bytes = tree_get(path, &len);

    (void)state;
    assert_page_headers(&r);
    assert_string_equal(rest_header(&r, "content-type"),
                        "text/javascript; charset=utf-8");
    assert_string_equal(rest_header(&r, "cache-control"),
                        "public, max-age=31536000, immutable");
    assert_body(&r, bytes, len);
}

static void the_copy_a_browser_likes_best_is_sent(void **state)
{
    static const struct {
        const char *accept, *coding;
    } cases[] = {
        {"gzip, deflate, br, zstd", "br"},
        {"br;q=0, gzip", "gzip"},
        {"gzip;q=0.9, br;q=0.1", "gzip"},
        {"identity", ""},
        {"deflate", ""},
        {"*;q=0, identity", ""},
        {"*", "br"},
    };
    char seen[3][128] = {{0}};

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        own_mem char *head =
            mem_printf("Accept-Encoding: %s\r\n", cases[i].accept);
        struct rest_answer r = get("/", head);
        const int which = cases[i].coding[0] == 'b'   ? 0
                          : cases[i].coding[0] == 'g' ? 1
                                                      : 2;
        size_t len;
        own_mem uint8_t *gz =
            webtree_gzip(WEBTREE_INDEX, strlen(WEBTREE_INDEX), &len);

        assert_page_headers(&r);
        assert_string_equal(rest_header(&r, "content-encoding"),
                            cases[i].coding);
        /* a strong tag is of the bytes sent: each copy has its own */
        snprintf(etag, sizeof etag, "%s", rest_header(&r, "etag"));
        assert_true(etag[0] == '"' && strlen(etag) == 34);
        if (seen[which][0])
            assert_string_equal(etag, seen[which]);
        snprintf(seen[which], sizeof seen[which], "%s", etag);
        if (which == 0)
            assert_body(&r, WEBTREE_BR, strlen(WEBTREE_BR));
        else if (which == 1)
            assert_body(&r, gz, len);
        else
            assert_body(&r, WEBTREE_INDEX, strlen(WEBTREE_INDEX));
    }
    assert_string_not_equal(seen[0], seen[1]);
    assert_string_not_equal(seen[1], seen[2]);
    assert_string_not_equal(seen[0], seen[2]);
}

static void without_a_copy_that_may_be_sent_it_is_406(void **state)
{
    static const char *const heads[] = {
        "Accept-Encoding: identity;q=0\r\n",
        "Accept-Encoding: *;q=0\r\n",
        "Accept-Encoding: br, *;q=0\r\n",
    };

    (void)state;
    for (size_t i = 0; i < sizeof heads / sizeof *heads; i++) {
        struct rest_answer r = get("/only.txt", heads[i]);

        assert_int_equal(r.status, 406);
        assert_string_equal(rest_header(&r, "content-type"),
                            "application/problem+json");
        assert_string_equal(rest_header(&r, "content-security-policy"),
                            OWN_POLICY);
        assert_non_null(strstr(rest_header(&r, "vary"), "accept-encoding"));
        assert_string_equal(rest_header(&r, "cache-control"), "no-store");
        assert_non_null(strstr(r.body, "\"not_acceptable\""));
        rest_fini(&r);
    }
}

static void assert_not_modified(const char *path, const char *headers)
{
    struct rest_answer r = get(path, headers);

    if (r.status != 304)
        fail_msg("%s: %d", headers, r.status);
    assert_int_equal(r.len, 0);
    assert_page_headers(&r);
    assert_string_equal(rest_header(&r, "etag"), etag);
    assert_string_not_equal(rest_header(&r, "cache-control"), "");
    assert_string_equal(rest_header(&r, "content-length"), "");
    assert_string_equal(rest_header(&r, "content-type"), "");
    assert_string_equal(rest_header(&r, "content-encoding"), "");
    rest_fini(&r);
}

static void what_a_browser_has_is_not_sent_again(void **state)
{
    static const char *const br = "Accept-Encoding: br\r\n";
    struct rest_answer r = get("/", br);
    own_mem char *one = NULL, *weak = NULL, *many = NULL, *any = NULL,
                 *identity = NULL;

    (void)state;
    snprintf(etag, sizeof etag, "%s", rest_header(&r, "etag"));
    rest_fini(&r);
    one = mem_printf("%sIf-None-Match: %s\r\n", br, etag);
    weak = mem_printf("%sIf-None-Match: W/%s\r\n", br, etag);
    many = mem_printf("%sIf-None-Match: \"x\", %s, \"y\"\r\n", br, etag);
    any = mem_printf("%sIf-None-Match: *\r\n", br);
    assert_not_modified("/", one);
    assert_not_modified("/index.html", weak);
    assert_not_modified("/", many);
    assert_not_modified("/", any);
    /* of another copy it is another tag */
    identity = mem_printf("If-None-Match: %s\r\n", etag);
    r = get("/", identity);
    assert_body(&r, WEBTREE_INDEX, strlen(WEBTREE_INDEX));
    r = get("/", "If-None-Match: \"0123456789abcdef0123456789abcdef\"\r\n");
    assert_body(&r, WEBTREE_INDEX, strlen(WEBTREE_INDEX));
    r = get("/", "If-None-Match: rubbish\r\n");
    assert_body(&r, WEBTREE_INDEX, strlen(WEBTREE_INDEX));
}

/* Its head is that of GET, line by line, and nothing follows. */
static void head_is_get_without_the_body(void **state)
{
    static const char *const paths[] = {"/", WEBTREE_SCRIPT, "/only.txt"};
    static const char *const heads[] = {"", "Accept-Encoding: gzip\r\n",
                                        "If-None-Match: *\r\n"};

    (void)state;
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++)
        for (size_t j = 0; j < sizeof heads / sizeof *heads; j++) {
            struct rest_answer whole = get(paths[i], heads[j]);
            struct rest_answer r =
                rest_call(api.server.port, "HEAD", paths[i], heads[j], NULL);

            assert_string_equal(r.head, whole.head);
            assert_int_equal(r.len, 0);
            rest_fini(&r);
            rest_fini(&whole);
        }
}

static void other_methods_are_405(void **state)
{
    static const char *const methods[] = {"POST", "PUT", "PATCH", "DELETE"};
    struct rest_answer r;

    (void)state;
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++) {
        r = rest_call(api.server.port, methods[i], "/", NULL, "x");
        assert_int_equal(r.status, 405);
        assert_string_equal(rest_header(&r, "allow"), "GET, HEAD");
        assert_string_equal(rest_header(&r, "content-security-policy"),
                            OWN_POLICY);
        rest_fini(&r);
    }
    r = rest_call(api.server.port, "OPTIONS", "/", NULL, NULL);
    assert_int_equal(r.status, 204);
    assert_string_equal(rest_header(&r, "allow"), "GET, HEAD");
    rest_fini(&r);
}

static void only_exact_paths_are_served(void **state)
{
    static const char *const paths[] = {
        "/index.htm",
        "/index.html/",
        "/INDEX.HTML",
        "/index.html.br",
        "/index.html.gz",
        "/assets",
        "/assets/",
        "/session/abc",
        "/../index.html",
        "/assets/../index.html",
        "/./index.html",
        "//",
        "//index.html",
        "/%69ndex.html",
        "/%2e%2e/etc/passwd",
        "/..%2f..%2fetc/passwd",
        "/../../../../../../etc/passwd",
        "/assets/..%5c..%5cindex.html",
        "/assets/....//index.html",
    };
    static const char *const bad[] = {"/index.html%00.js", "/%00",
                                      "/a%0d%0ax:y", "/%zz"};
    char longest[12000];

    (void)state;
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        struct rest_answer r = get(paths[i], NULL);

        if (r.status != 404)
            fail_msg("%s: %d", paths[i], r.status);
        assert_string_equal(rest_header(&r, "content-security-policy"),
                            OWN_POLICY);
        rest_fini(&r);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct rest_answer r = get(bad[i], NULL);

        if (r.status != 400)
            fail_msg("%s: %d", bad[i], r.status);
        rest_fini(&r);
    }
    memset(longest, 'a', sizeof longest - 1);
    longest[0] = '/';
    longest[sizeof longest - 1] = '\0';
    {
        struct rest_answer r = get(longest, NULL);

        assert_int_equal(r.status, 404);
        rest_fini(&r);
    }
}

/* The page is same-origin with the API it calls; a listed origin's pages may
 * call that too, but the files are for nobody's pages but ours. */
static void origins_are_judged_as_for_the_api(void **state)
{
    own_mem char *own =
        mem_printf("Origin: http://127.0.0.1:%d\r\n", api.server.port);
    own_mem char *rebound =
        mem_printf("Host: evil.example:%d\r\n", api.server.port);
    struct rest_answer r;

    (void)state;
    r = get(WEBTREE_SCRIPT, own);
    assert_int_equal(r.status, 200);
    rest_fini(&r);
    r = get("/", "Origin: https://app.example\r\n");
    assert_int_equal(r.status, 200);
    assert_page_headers(&r);
    rest_fini(&r);
    r = get("/", "Origin: https://evil.example\r\n");
    assert_int_equal(r.status, 403);
    assert_null(strstr(r.body, "doctype"));
    rest_fini(&r);
    r = get("/", "Origin: null\r\n");
    assert_int_equal(r.status, 403);
    rest_fini(&r);
    r = get("/", rebound);
    assert_int_equal(r.status, 421);
    rest_fini(&r);
    r = get(CONFIG, "Origin: https://app.example\r\n");
    assert_string_equal(rest_header(&r, "access-control-allow-origin"),
                        "https://app.example");
    rest_fini(&r);
}

static void the_config_says_how_to_sign_in(void **state)
{
    struct rest_answer r =
        api_call(&api, "GET", CONFIG, NULL, NULL, NULL, NULL);
    const struct json *limits;
    struct json *j;
    int64_t n;

    (void)state;
    assert_int_equal(r.status, 200);
    assert_string_equal(rest_header(&r, "cache-control"), "no-store");
    j = cast_json(&r);
    assert_string_equal(json_get_str(j, "installation"), "podterm");
    assert_string_equal(json_get_str(j, "version"), PODTERM_VERSION);
    assert_string_equal(json_get_str(j, "attach_url"),
                        "ws://127.0.0.1:1/v1/attach");
    assert_string_equal(json_get_str(json_get(j, "sign_in"), "kind"), "dev");
    assert_string_equal(json_get_str(json_get(j, "sign_in"), "token_url"),
                        "/dev/token");
    assert_string_equal(json_get_str(json_get(j, "bundle"), "url"),
                        "https://b.example/sample.tar.gz?v=1");
    assert_string_equal(json_get_str(json_get(j, "bundle"), "sha256"), API_SHA);
    limits = json_get(j, "limits");
    assert_int_equal(json_get_int(limits, "idle_s", &n), 0);
    assert_int_equal(n, 1800);
    assert_int_equal(json_get_int(limits, "lifetime_s", &n), 0);
    assert_int_equal(n, 14400);
    assert_int_equal(json_get_int(limits, "viewers", &n), 0);
    assert_int_equal(n, 8);
    json_free(j);
    assert_int_equal(api_status(&api, "POST", CONFIG, NULL, NULL, "{}"), 405);
    cast_check_answers("answers");
}

/* What Chromium, Firefox and Safari send with a page's first request. */
static void heads_that_browsers_send_are_understood(void **state)
{
    static const char *const heads[] = {
        "sec-ch-ua: \"Chromium\";v=\"140\", \"Not=A?Brand\";v=\"24\"\r\n"
        "sec-ch-ua-mobile: ?0\r\n"
        "sec-ch-ua-platform: \"Linux\"\r\n"
        "Upgrade-Insecure-Requests: 1\r\n"
        "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36\r\n"
        "Accept: text/html,application/xhtml+xml,*/*;q=0.8\r\n"
        "Sec-Fetch-Site: none\r\n"
        "Sec-Fetch-Mode: navigate\r\n"
        "Sec-Fetch-User: ?1\r\n"
        "Sec-Fetch-Dest: document\r\n"
        "Sec-Purpose: prefetch\r\n"
        "Purpose: prefetch\r\n"
        "Save-Data: on\r\n"
        "Cache-Control: max-age=0\r\n"
        "Pragma: no-cache\r\n"
        "If-Modified-Since: Sat, 01 Jan 2000 00:00:00 GMT\r\n"
        "Cookie: other=of-another-port\r\n"
        "Accept-Encoding: gzip, deflate, br, zstd\r\n"
        "Accept-Language: en-GB,en-US;q=0.9\r\n",
        "User-Agent: Mozilla/5.0 (X11; rv:140.0) Gecko/20100101\r\n"
        "Accept: text/html,application/xhtml+xml;q=0.9,*/*;q=0.8\r\n"
        "Accept-Language: en-US,en;q=0.5\r\n"
        "Accept-Encoding: gzip, deflate, br, zstd\r\n"
        "DNT: 1\r\n"
        "Sec-GPC: 1\r\n"
        "Upgrade-Insecure-Requests: 1\r\n"
        "Sec-Fetch-Dest: document\r\n"
        "Sec-Fetch-Mode: navigate\r\n"
        "Sec-Fetch-Site: same-origin\r\n"
        "Priority: u=0, i\r\n"
        "TE: trailers\r\n",
        "Sec-Fetch-Dest: script\r\n"
        "User-Agent: Mozilla/5.0 (Macintosh) AppleWebKit/605.1.15\r\n"
        "Accept: */*\r\n"
        "Referer: http://127.0.0.1/\r\n"
        "Sec-Fetch-Site: same-origin\r\n"
        "Sec-Fetch-Mode: cors\r\n"
        "Accept-Language: en-GB,en;q=0.9\r\n"
        "Priority: u=1, i\r\n"
        "Accept-Encoding: gzip, deflate, br\r\n",
    };

    (void)state;
    for (size_t i = 0; i < sizeof heads / sizeof *heads; i++) {
        struct rest_answer r = get("/", heads[i]);

        if (r.status != 200)
            fail_msg("%d for\n%s", r.status, heads[i]);
        assert_string_equal(rest_header(&r, "content-encoding"), "br");
        rest_fini(&r);
    }
}

static void policies_name_the_gateway(void **state)
{
    static const char *const cases[][2] = {
        {"wss://gw.example/v1/attach", "'self' wss://gw.example;"},
        {"wss://gw.example:8443/a/b", "'self' wss://gw.example:8443;"},
        {"ws://127.0.0.1:8081/v1/attach", "'self' ws://127.0.0.1:8081;"},
        {"ws://localhost:8081/v1/attach", "'self' ws://localhost:8081;"},
        {"ws://[::1]:8081/v1/attach", "'self' ws:;"},
        {"wss://[2001:db8::1]/v1/attach", "'self' wss:;"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        own_mem char *policy = page_policy(cases[i][0]);

        if (!strstr(policy, cases[i][1]))
            fail_msg("%s", policy);
        assert_null(strstr(policy, "unsafe"));
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_page_is_served_with_its_headers),
        cmocka_unit_test(a_hashed_name_may_be_kept_for_a_year),
        cmocka_unit_test(the_copy_a_browser_likes_best_is_sent),
        cmocka_unit_test(without_a_copy_that_may_be_sent_it_is_406),
        cmocka_unit_test(what_a_browser_has_is_not_sent_again),
        cmocka_unit_test(head_is_get_without_the_body),
        cmocka_unit_test(other_methods_are_405),
        cmocka_unit_test(only_exact_paths_are_served),
        cmocka_unit_test(origins_are_judged_as_for_the_api),
        cmocka_unit_test(the_config_says_how_to_sign_in),
        cmocka_unit_test(heads_that_browsers_send_are_understood),
        cmocka_unit_test(policies_name_the_gateway),
    };

    fake_keeper_maybe(argc, argv);
    return cmocka_run_group_tests(tests, setup, teardown);
}
