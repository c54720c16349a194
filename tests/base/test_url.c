/* Which URLs a bundle may come from. */
#include "base/url.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void parses(const char *text, const char *host, int port,
                   const char *path)
{
    struct url u;
    struct err e = {0};

    if (url_parse(text, &u, &e) < 0)
        fail_msg("%s: %s", text, e.text);
    assert_string_equal(u.host, host);
    assert_int_equal(u.port, port);
    assert_string_equal(u.path, path);
    assert_int_equal(u.has_query, strchr(text, '?') != NULL);
}

static void urls_are_taken_apart(void **arg)
{
    (void)arg;
    parses("https://example.com", "example.com", 443, "/");
    parses("https://Example.COM:8443/A/b.tar.gz?sig=1&x=/y", "example.com",
           8443, "/A/b.tar.gz");
    parses("https://example.com?q", "example.com", 443, "/");
    parses("http://127.0.0.1:80/x", "127.0.0.1", 80, "/x");
    parses("https://[2A00::0:1]/x", "2a00::1", 443, "/x");
    parses("https://[::ffff:8.8.8.8]:1/", "::ffff:8.8.8.8", 1, "/");
    parses("https://a_b-c.x1/%41", "a_b-c.x1", 443, "/%41");
    parses("https://a.1a/", "a.1a", 443, "/");
    parses("file:///srv/a%20b/c", "", 0, "/srv/a b/c");
}

static void other_spellings_are_refused(void **arg)
{
    static const char *const bad[] = {
        "",
        "https",
        "https:/",
        "https://",
        "https:///x",
        "HTTPS://a.b/",
        "ftp://a.b/",
        "//a.b/",
        "javascript:x",
        " https://a.b/",
        "https://a.b/ x",
        "https://a.b/\t",
        "https://a.b/\r\nX: y",
        "https://a.b/\x7f",
        "https://a.b/\xc3\xa9",
        "https://\xc3\xa9.b/",
        "https://a.b/#f",
        "https://a.b#",
        "https://a.b\\c/",
        "https://a.b/\\",
        "https://user@a.b/",
        "https://user:pw@a.b/",
        "https://@a.b/",
        "https://a.b@c.d/",
        "https://a.b:@c.d/",
        "https://a.b%40c.d/",
        /* ways to write 127.0.0.1 */
        "https://0x7f.0.0.1/",
        "https://0x7f000001/",
        "https://2130706433/",
        "https://0177.0.0.1/",
        "https://127.1/",
        "https://127.0.1/",
        "https://127.0.0.1./",
        "https://127.000.000.001/",
        "https://0/",
        "https://1.2.3.4.5/",
        "https://256.1.1.1/",
        "https://a.0x7f/",
        "https://a.127/",
        "https://0X7F.1/",
        "https://example.com./",
        "https://.example.com/",
        "https://a..b/",
        "https://-a.b/",
        "https://a-.b/",
        "https://a.b-/",
        "https://./",
        "https://a%2eb/",
        "https://a b/",
        "https://*.b/",
        "https://a,b/",
        "https://a.b:/",
        "https://a.b:0/",
        "https://a.b:65536/",
        "https://a.b:080/",
        "https://a.b:8o/",
        "https://a.b:+80/",
        "https://a.b:80:80/",
        "https://a.b:999999999999/",
        "https://[::1/",
        "https://[]/",
        "https://[::1]x/",
        "https://[::1]:/",
        "https://[1.2.3.4]/",
        "https://[fe80::1%25lo]/",
        "https://[::g]/",
        "https://::1/",
        "https://[::1].b/",
        "file://host/x",
        "file://",
        "file://localhost/x",
        "file:///x?q",
        "file:///../x",
        "file:///a/../x",
        "file:///a/..",
        "file:///a/.",
        "file:///a/./x",
        "file:///a//x",
        "file:////x",
        "file:///a/%2e%2e/x",
        "file:///a%2f..%2fx",
        "file:///a/%2E./x",
        "file:///a%00b",
        "file:///a%0ab",
        "file:///a%",
        "file:///a%4",
        "file:///a%zz",
        "file:///a%7fb",
        "https://"
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.b/",
    };
    struct url u, before;
    struct err e = {0};
    char longest[URL_MAX + 16];

    (void)arg;
    memset(&u, 0x5a, sizeof(u));
    before = u;
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        e = (struct err){0};
        if (url_parse(bad[i], &u, &e) == 0)
            fail_msg("\"%s\" was taken as %s", bad[i], u.host);
        assert_int_equal(e.kind, ERR_INPUT);
        assert_memory_equal(&u, &before, sizeof(u));
    }
    snprintf(longest, sizeof(longest), "https://a.b/%0*d", URL_MAX - 13, 0);
    assert_int_equal(url_parse(longest, &u, &e), 0);
    strcat(longest, "x");
    assert_int_equal(url_parse(longest, &u, &e), -1);
    snprintf(
        longest, sizeof(longest), "https://%.*s", 254,
        "a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a."
        "a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a."
        "a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a."
        "a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.aa");
    assert_int_equal(url_parse(longest, &u, &e), -1);
}

static struct url_policy policy(const char *domains)
{
    struct url_policy p = {0};
    struct err e = {0};

    if (domain_list_parse(domains, &p.domains, &e) < 0)
        fail_msg("%s: %s", domains, e.text);
    return p;
}

static enum err_kind judged(const struct url_policy *p, const char *text)
{
    struct err e = {0};
    struct url u;

    return url_judge(p, text, &u, &e) == 0 ? ERR_NONE : e.kind;
}

static void only_listed_domains_pass(void **arg)
{
    struct url_policy p =
        policy("example.com, *.Example.org,port.net:8443, 9.9.9.9");

    (void)arg;
    assert_int_equal(judged(&p, "https://example.com/x"), ERR_NONE);
    assert_int_equal(judged(&p, "https://EXAMPLE.com:443/"), ERR_NONE);
    assert_int_equal(judged(&p, "https://a.example.org/"), ERR_NONE);
    assert_int_equal(judged(&p, "https://a.b.example.org/"), ERR_NONE);
    assert_int_equal(judged(&p, "https://port.net:8443/"), ERR_NONE);
    assert_int_equal(judged(&p, "https://9.9.9.9/"), ERR_NONE);
    assert_int_equal(judged(&p, "https://example.org/"), ERR_DENIED);
    assert_int_equal(judged(&p, "https://badexample.org/"), ERR_DENIED);
    assert_int_equal(judged(&p, "https://a.example.com/"), ERR_DENIED);
    assert_int_equal(judged(&p, "https://example.com.evil/"), ERR_DENIED);
    assert_int_equal(judged(&p, "https://example.com:8443/"), ERR_DENIED);
    assert_int_equal(judged(&p, "https://port.net/"), ERR_DENIED);
    assert_int_equal(judged(&p, "https://9.9.9.8/"), ERR_DENIED);
    assert_int_equal(judged(&p, "https://localhost/"), ERR_DENIED);
    assert_int_equal(judged(&p, "https://127.0.0.1/"), ERR_DENIED);
    assert_int_equal(judged(&p, "http://example.com/"), ERR_DENIED);
    assert_int_equal(judged(&p, "http://localhost/"), ERR_DENIED);
    assert_int_equal(judged(&p, "file:///etc/passwd"), ERR_DENIED);
    domain_list_fini(&p.domains);
    p = policy("");
    assert_int_equal(judged(&p, "https://example.com/"), ERR_DENIED);
    domain_list_fini(&p.domains);
}

static void plain_http_is_for_loopback_and_listed_hosts(void **arg)
{
    struct url_policy p = policy("example.com");

    (void)arg;
    p.allow_http = true;
    assert_int_equal(judged(&p, "http://localhost:8000/x"), ERR_NONE);
    assert_int_equal(judged(&p, "http://127.0.0.1:8000/x"), ERR_NONE);
    assert_int_equal(judged(&p, "http://[::1]:8000/x"), ERR_NONE);
    assert_int_equal(judged(&p, "http://127.example.net/"), ERR_DENIED);
    assert_int_equal(judged(&p, "http://localhost.example.net/"), ERR_DENIED);
    assert_int_equal(judged(&p, "http://example.net/"), ERR_DENIED);
    assert_int_equal(judged(&p, "http://10.0.0.1/"), ERR_DENIED);
    domain_list_fini(&p.domains);
}

static void files_lie_below_one_directory(void **arg)
{
    struct url_policy p = {.file_root = "/srv/bundles/"};

    (void)arg;
    assert_int_equal(judged(&p, "file:///srv/bundles/a.tar.gz"), ERR_NONE);
    assert_int_equal(judged(&p, "file:///srv/bundles/d/a.tar.gz"), ERR_NONE);
    assert_int_equal(judged(&p, "file:///srv/bundles"), ERR_DENIED);
    assert_int_equal(judged(&p, "file:///srv/bundles/"), ERR_DENIED);
    assert_int_equal(judged(&p, "file:///srv/bundles2/a"), ERR_DENIED);
    assert_int_equal(judged(&p, "file:///etc/passwd"), ERR_DENIED);
    assert_int_equal(judged(&p, "file:///srv/bundles/../x"), ERR_INPUT);
    assert_int_equal(judged(&p, "file:///srv/bundles/%2e%2e/x"), ERR_INPUT);
}

static void lists_with_nonsense_are_refused(void **arg)
{
    static const char *const bad[] = {
        "*",    "*.",   "a.*",   "*a.b",  "*.*.b",     "a b",  "https://a.b",
        "a.b/", "a.b:", "a.b:0", "a.b:x", "a.b:70000", "a..b", ".a",
        "a.b.", "::1",  "[::1]", "127.1", "a.b,*",     "-a.b",
    };
    struct domain_list l = {0};
    struct err e = {0};

    (void)arg;
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        e = (struct err){0};
        if (domain_list_parse(bad[i], &l, &e) == 0)
            fail_msg("%s was taken", bad[i]);
        assert_int_equal(e.kind, ERR_INPUT);
        assert_null(l.items);
    }
    assert_int_equal(domain_list_parse(" , a.b ,,", &l, &e), 0);
    assert_int_equal(l.count, 1);
    assert_string_equal(l.items[0], "a.b");
    domain_list_fini(&l);
    domain_list_fini(&l);
}

static void only_what_a_header_may_say_is_an_entry(void **arg)
{
    static const char *const hosts[] = {
        "example.com",    "example.com:8443", "localhost:1",  "EXAMPLE.com",
        "127.0.0.1:8080", "[::1]:8080",       "[2001:db8::1]"};
    static const char *const no_hosts[] = {
        "",          " example.com", "example.com ", "a b",
        "x:",        "x:0",          "x:65536",      "x:http",
        "https://x", "x/",           "u@x",          "::1",
        "[::1",      "[::1]8080",    "a..b",         "*.example.com",
        "*",         "127.1",        "a;b"};
    static const char *const origins[] = {
        "https://example.com", "http://localhost:8080", "https://[::1]:8443",
        "http://127.0.0.1:443"};
    static const char *const no_origins[] = {"example.com",
                                             "https://",
                                             "https://example.com/",
                                             "https://example.com/x",
                                             "https://example.com?x",
                                             "https://example.com:443",
                                             "http://example.com:80",
                                             "ftp://example.com",
                                             "file:///x",
                                             "null",
                                             "*",
                                             "https://a b",
                                             "https://u@example.com",
                                             "https:/example.com",
                                             " https://example.com"};
    struct err e = {0};

    (void)arg;
    for (size_t i = 0; i < sizeof(hosts) / sizeof(*hosts); i++)
        if (url_check_host(hosts[i], &e) < 0)
            fail_msg("%s", e.text);
    for (size_t i = 0; i < sizeof(origins) / sizeof(*origins); i++)
        if (url_check_origin(origins[i], &e) < 0)
            fail_msg("%s", e.text);
    for (size_t i = 0; i < sizeof(no_hosts) / sizeof(*no_hosts); i++)
        if (url_check_host(no_hosts[i], &e) == 0)
            fail_msg("a host: \"%s\"", no_hosts[i]);
    for (size_t i = 0; i < sizeof(no_origins) / sizeof(*no_origins); i++)
        if (url_check_origin(no_origins[i], &e) == 0)
            fail_msg("an origin: \"%s\"", no_origins[i]);
}

static void what_is_shown_has_no_query(void **arg)
{
    char out[64], small[12];

    (void)arg;
    url_show("https://a.b/c?sig=SECRET", out, sizeof(out));
    assert_string_equal(out, "https://a.b/c");
    url_show("https://a.b/c#SECRET?x", out, sizeof(out));
    assert_string_equal(out, "https://a.b/c");
    url_show("https://a.b/c?sig=SECRET", small, sizeof(small));
    assert_string_equal(small, "https://a.b");
}

static void joins(const char *base, const char *location, const char *want)
{
    char out[URL_MAX];
    struct err e = {0};

    if (url_join(base, location, out, &e) < 0)
        fail_msg("%s", e.text);
    assert_string_equal(out, want);
}

static void a_redirect_is_resolved_against_its_base(void **arg)
{
    char out[URL_MAX], longest[URL_MAX + 1];
    struct err e = {0};

    (void)arg;
    joins("https://a.b/c/d?x=1/2", "https://e.f/g", "https://e.f/g");
    joins("https://a.b/c/d?x=1/2", "//e.f/g", "https://e.f/g");
    joins("https://a.b:1/c/d?x=1/2", "/g?y", "https://a.b:1/g?y");
    joins("https://a.b/c/d?x=1/2", "g", "https://a.b/c/g");
    joins("https://a.b", "g", "https://a.b/g");
    joins("https://a.b?x=/", "g", "https://a.b/g");
    joins("https://a.b/c/d?x", "?y", "https://a.b/c/d?y");
    joins("https://a.b/c/d?x", "", "https://a.b/c/d");
    /* a URL in a query makes no scheme */
    joins("https://a.b/c", "/g?to=https://e.f", "https://a.b/g?to=https://e.f");
    joins("https://a.b/c", "g?to=x:y", "https://a.b/g?to=x:y");
    /* another scheme is for url_judge to refuse */
    joins("https://a.b/c", "file:///etc/passwd", "file:///etc/passwd");
    joins("https://a.b/c", "javascript:x", "javascript:x");
    memset(longest, 'x', URL_MAX);
    longest[URL_MAX] = 0;
    assert_int_equal(url_join("https://a.b/", longest, out, &e), -1);
    memcpy(longest, "https://", 8);
    assert_int_equal(url_join("https://a.b/", longest, out, &e), -1);
    assert_int_equal(url_join("nonsense", "/x", out, &e), -1);
}

static void an_api_is_asked_by_https_or_on_this_machine(void **arg)
{
    static const struct {
        const char *url, *why;
    } rows[] = {
        {"https://api.example.com", NULL},
        {"https://gate.example:8443/some/path/", NULL},
        {"http://127.0.0.1:8080", NULL},
        {"http://localhost:8080/x", NULL},
        {"http://[::1]:1/", NULL},
        {"http://api.example.com", "http is for this machine alone"},
        {"http://10.0.0.1", "http is for this machine alone"},
        {"http://localhost.example.com", "http is for this machine alone"},
        {"https://api.example.com/?key=x", "without a query"},
        {"file:///etc/passwd", "https URL"},
        {"https://user@api.example.com", ""},
        {"api.example.com", ""},
    };

    (void)arg;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct err e = {0};
        struct url u;
        int r = url_check_api(rows[i].url, &u, &e);

        if (r != (rows[i].why ? -1 : 0) ||
            (rows[i].why && !strstr(e.text, rows[i].why)))
            fail_msg("%s: %d %s", rows[i].url, r, e.text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(urls_are_taken_apart),
        cmocka_unit_test(other_spellings_are_refused),
        cmocka_unit_test(only_listed_domains_pass),
        cmocka_unit_test(plain_http_is_for_loopback_and_listed_hosts),
        cmocka_unit_test(files_lie_below_one_directory),
        cmocka_unit_test(lists_with_nonsense_are_refused),
        cmocka_unit_test(only_what_a_header_may_say_is_an_entry),
        cmocka_unit_test(what_is_shown_has_no_query),
        cmocka_unit_test(an_api_is_asked_by_https_or_on_this_machine),
        cmocka_unit_test(a_redirect_is_resolved_against_its_base),
    };

    return cmocka_run_group_tests_name("base/url", tests, NULL, NULL);
}
