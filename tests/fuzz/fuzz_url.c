/*
 * What is parsed is in the one form that is judged: lower-case host, plain
 * path, and parsing what it says again gives the same. A redirect that is
 * joined never leaves its base's host by itself, and whatever is judged good
 * is on the list.
 */
#include "base/url.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_parsed(const char *text, const struct url *u)
{
    char again[2 * URL_MAX + 64];
    struct err e = {0};
    struct url v;

    if (strpbrk(text, "#\\ \r\n\t") || strlen(text) >= URL_MAX)
        abort();
    if (u->path[0] != '/' || strlen(u->host) > URL_HOST_MAX)
        abort();
    if (u->scheme == URL_FILE) {
        if (u->host[0] || strstr(u->path, "/../") || strstr(u->path, "//"))
            abort();
        return;
    }
    for (const char *p = u->host; *p; p++)
        if (strchr("@/?%[] ", *p) || (*p >= 'A' && *p <= 'Z'))
            abort();
    if (!u->port || !u->host[0])
        abort();
    snprintf(again, sizeof(again),
             strchr(u->host, ':') ? "%s://[%s]:%u%s" : "%s://%s:%u%s",
             u->scheme == URL_HTTPS ? "https" : "http", u->host, u->port,
             u->path);
    if (strlen(again) >= URL_MAX) /* the port was not written */
        return;
    if (url_parse(again, &v, &e) < 0 || strcmp(v.host, u->host) != 0 ||
        strcmp(v.path, u->path) != 0 || v.port != u->port ||
        v.host_is_literal != u->host_is_literal)
        abort();
}

static void check_judged(const char *text)
{
    struct url_policy p = {.file_root = "/srv"};
    struct err e = {0};
    struct url u;

    if (domain_list_parse("example.com,*.example.org,a.b:8443", &p.domains,
                          &e) < 0)
        abort();
    if (url_judge(&p, text, &u, &e) == 0) {
        size_t len = strlen(u.host);
        int is_below = len > 12 && !strcmp(u.host + len - 12, ".example.org");

        if (u.scheme == URL_HTTP ||
            (u.scheme == URL_FILE && strncmp(u.path, "/srv/", 5) != 0) ||
            (u.scheme == URL_HTTPS && strcmp(u.host, "example.com") != 0 &&
             strcmp(u.host, "a.b") != 0 && !is_below))
            abort();
    }
    domain_list_fini(&p.domains);
}

static void check_joined(const char *location)
{
    static const char base[] = "https://a.b:8443/c/d?e=/f";
    char out[URL_MAX], shown[64];
    struct err e = {0};
    struct url u;
    size_t scheme = strcspn(location, ":/?#");

    if (url_join(base, location, out, &e) < 0)
        return;
    if (memchr(out, 0, URL_MAX) == NULL)
        abort();
    url_show(out, shown, sizeof(shown));
    if (strpbrk(shown, "?#"))
        abort();
    if (url_parse(out, &u, &e) < 0)
        return;
    if (strncmp(location, "//", 2) != 0 &&
        !(scheme > 0 && location[scheme] == ':') &&
        (strcmp(u.host, "a.b") != 0 || u.port != 8443 || u.scheme != URL_HTTPS))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct domain_list l = {0};
    struct err e = {0};
    struct url u;
    char *text;

    if (size > 2 * URL_MAX)
        return 0;
    text = malloc(size + 1);
    if (!text)
        abort();
    memcpy(text, data, size);
    text[size] = 0;
    if (url_parse(text, &u, &e) == 0)
        check_parsed(text, &u);
    check_judged(text);
    check_joined(text);
    if (domain_list_parse(text, &l, &e) == 0) {
        domain_list_has(&l, "example.com", 443, 443);
        domain_list_fini(&l);
    }
    free(text);
    return 0;
}
