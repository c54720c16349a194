#include "base/url.h"

#include "base/addr.h"
#include "base/mem.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool url_is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool url_is_host_char(char c)
{
    return (c >= 'a' && c <= 'z') || url_is_digit(c) || c == '-' || c == '_';
}

/* A DNS name: labels of 1..63, no hyphen at an end, and a last label that is
 * not a number, so that no odd spelling of an IPv4 address passes. */
static bool url_host_is_name(const char *host)
{
    const char *label = host;

    for (const char *p = host;; p++) {
        size_t len = (size_t)(p - label);

        if (*p && *p != '.') {
            if (!url_is_host_char(*p))
                return false;
            continue;
        }
        if (len < 1 || len > 63 || label[0] == '-' || p[-1] == '-')
            return false;
        if (!*p)
            break;
        label = p + 1;
    }
    if (url_is_digit(label[0])) {
        const char *p = label;

        if (p[0] == '0' && p[1] == 'x')
            return false;
        while (url_is_digit(*p))
            p++;
        if (!*p)
            return false;
    }
    return true;
}

/* An IPv4 literal in its one spelling: inet_pton refuses octal, short and
 * hex forms. */
static bool url_host_is_v4(const char *host)
{
    struct in_addr a;

    return inet_pton(AF_INET, host, &a) == 1;
}

static int url_host_v6(const char *text, size_t len, struct url *u,
                       struct err *e)
{
    struct in6_addr a;
    char copy[64];

    if (len >= sizeof(copy))
        return err_set(e, ERR_INPUT, "URL: bad IPv6 address");
    memcpy(copy, text, len);
    copy[len] = 0;
    if (inet_pton(AF_INET6, copy, &a) != 1)
        return err_set(e, ERR_INPUT, "URL: bad IPv6 address");
    inet_ntop(AF_INET6, &a, u->host, sizeof(u->host));
    u->host_is_literal = true;
    return 0;
}

static int url_host(const char *text, size_t len, struct url *u, struct err *e)
{
    if (len < 1 || len > URL_HOST_MAX)
        return err_set(e, ERR_INPUT, "URL: a host of 1 to %d bytes is wanted",
                       URL_HOST_MAX);
    for (size_t i = 0; i < len; i++)
        u->host[i] = text[i] >= 'A' && text[i] <= 'Z'
                         ? (char)(text[i] - 'A' + 'a')
                         : text[i];
    u->host[len] = 0;
    if (url_host_is_v4(u->host))
        u->host_is_literal = true;
    else if (!url_host_is_name(u->host))
        return err_set(e, ERR_INPUT,
                       "URL: \"%.80s\" is neither a DNS name nor an address "
                       "in its usual spelling",
                       u->host);
    return 0;
}

static int url_port(const char *text, size_t len, struct url *u, struct err *e)
{
    unsigned v = 0;

    for (size_t i = 0; i < len; i++) {
        if (!url_is_digit(text[i]) || i > 4)
            return err_set(e, ERR_INPUT, "URL: bad port");
        v = v * 10 + (unsigned)(text[i] - '0');
    }
    if (len == 0 || v == 0 || v > 65535 || text[0] == '0')
        return err_set(e, ERR_INPUT, "URL: bad port");
    u->port = (uint16_t)v;
    return 0;
}

/* text[0..len) is host, host:port or [v6]:port. */
static int url_authority(const char *text, size_t len, struct url *u,
                         struct err *e)
{
    const char *colon, *close;

    if (memchr(text, '@', len))
        return err_set(e, ERR_INPUT,
                       "URL: a user or password may not stand "
                       "in it");
    if (len > 0 && text[0] == '[') {
        close = memchr(text, ']', len);
        if (!close)
            return err_set(e, ERR_INPUT, "URL: bad IPv6 address");
        if (url_host_v6(text + 1, (size_t)(close - text - 1), u, e) < 0)
            return -1;
        close++;
        if (close == text + len)
            return 0;
        if (*close != ':')
            return err_set(e, ERR_INPUT, "URL: bad port");
        return url_port(close + 1, (size_t)(text + len - close - 1), u, e);
    }
    colon = memchr(text, ':', len);
    if (!colon)
        return url_host(text, len, u, e);
    if (url_host(text, (size_t)(colon - text), u, e) < 0)
        return -1;
    return url_port(colon + 1, (size_t)(text + len - colon - 1), u, e);
}

static int url_hex(char c)
{
    if (url_is_digit(c))
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

/* The path of a file: URL, decoded; no component may be "." or "..". */
static int url_file_path(const char *path, struct url *u, struct err *e)
{
    size_t n = 0;

    for (const char *p = path; *p; p++) {
        int c = (unsigned char)*p;

        if (*p == '%') {
            int hi = url_hex(p[1]), lo = hi < 0 ? -1 : url_hex(p[2]);

            if (lo < 0)
                return err_set(e, ERR_INPUT, "URL: bad %% in the path");
            c = hi * 16 + lo;
            p += 2;
        }
        if (c < 0x20 || c == 0x7f)
            return err_set(e, ERR_INPUT, "URL: control character in the path");
        u->path[n++] = (char)c;
    }
    u->path[n] = 0;
    if (strstr(u->path, "/../") || strstr(u->path, "/./") ||
        strstr(u->path, "//") ||
        (n >= 3 && strcmp(u->path + n - 3, "/..") == 0) ||
        (n >= 2 && strcmp(u->path + n - 2, "/.") == 0))
        return err_set(e, ERR_INPUT,
                       "URL: the path must be plain, without . "
                       "and .. and //");
    return 0;
}

/* What follows the scheme, or NULL. */
static const char *url_scheme_of(const char *text, struct url *u, struct err *e)
{
    static const struct {
        const char *text;
        enum url_scheme scheme;
        uint16_t port;
    } schemes[] = {{"https://", URL_HTTPS, 443},
                   {"http://", URL_HTTP, 80},
                   {"file://", URL_FILE, 0}};

    for (size_t i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++) {
        size_t len = strlen(schemes[i].text);

        if (strncmp(text, schemes[i].text, len) == 0) {
            u->scheme = schemes[i].scheme;
            u->port = schemes[i].port;
            return text + len;
        }
    }
    err_set(e, ERR_INPUT, "URL: must begin with https://");
    return NULL;
}

static int url_chars(const char *text, struct err *e)
{
    size_t len = strlen(text);

    if (len >= URL_MAX)
        return err_set(e, ERR_INPUT, "URL: %zu bytes, at most %d", len,
                       URL_MAX - 1);
    for (const char *p = text; *p; p++)
        if (*p <= 0x20 || *p >= 0x7f || strchr("\\\"<>^`{|}", *p))
            return err_set(e, ERR_INPUT,
                           "URL: character 0x%02x at byte %zu must be "
                           "percent-encoded",
                           (unsigned)(unsigned char)*p, (size_t)(p - text));
    if (strchr(text, '#'))
        return err_set(e, ERR_INPUT, "URL: a fragment has no meaning here");
    return 0;
}

int url_parse(const char *text, struct url *out, struct err *e)
{
    struct url u = {0};
    const char *rest, *path;
    size_t host_len, path_len;

    if (url_chars(text, e) < 0)
        return -1;
    rest = url_scheme_of(text, &u, e);
    if (!rest)
        return -1;
    host_len = strcspn(rest, "/?");
    path = rest + host_len;
    path_len = strcspn(path, "?");
    u.has_query = path[path_len] == '?';
    if (u.scheme == URL_FILE) {
        if (host_len != 0 || u.has_query || path[0] != '/')
            return err_set(e, ERR_INPUT,
                           "URL: a file is file:///absolute/path");
        if (url_file_path(path, &u, e) < 0)
            return -1;
        *out = u;
        return 0;
    }
    if (url_authority(rest, host_len, &u, e) < 0)
        return -1;
    memcpy(u.path, path_len ? path : "/", path_len ? path_len : 1);
    *out = u;
    return 0;
}

int url_check_host(const char *item, struct err *e)
{
    struct url u = {0};
    struct err ignored;

    if (url_authority(item, strlen(item), &u, &ignored) == 0)
        return 0;
    return err_set(e, ERR_INPUT,
                   "\"%.80s\" is no host (want one like example.com, "
                   "example.com:8443 or [::1]:8443)",
                   item);
}

int url_check_origin(const char *item, struct err *e)
{
    struct url u = {0};
    struct err ignored;
    const char *host = url_scheme_of(item, &u, &ignored);
    uint16_t own_port = u.port;

    u.port = 0;
    /* browsers leave the scheme's own port out */
    if (host && u.scheme != URL_FILE &&
        url_authority(host, strlen(host), &u, &ignored) == 0 &&
        u.port != own_port)
        return 0;
    return err_set(e, ERR_INPUT,
                   "\"%.80s\" is no origin (want one as browsers send it, like "
                   "https://example.com or http://localhost:8080)",
                   item);
}

/* --- domains --- */

static int domain_check(const char *item, size_t len, struct err *e)
{
    char host[URL_HOST_MAX + 1];
    const char *colon = memchr(item, ':', len), *from = item;
    size_t host_len = colon ? (size_t)(colon - item) : len;
    struct url u = {0};

    if (host_len > 2 && item[0] == '*' && item[1] == '.') {
        from += 2;
        host_len -= 2;
    }
    if (host_len > URL_HOST_MAX)
        return err_set(e, ERR_INPUT, "\"%.60s\" is no domain", item);
    memcpy(host, from, host_len);
    host[host_len] = 0;
    if (!url_host_is_name(host) && !url_host_is_v4(host))
        return err_set(e, ERR_INPUT,
                       "\"%.*s\" is no domain (example.com, *.example.com or "
                       "example.com:8443)",
                       (int)(len < 80 ? len : 80), item);
    if (colon &&
        url_port(colon + 1, (size_t)(item + len - colon - 1), &u, e) < 0)
        return err_wrap(e, "\"%.*s\"", (int)(len < 80 ? len : 80), item);
    return 0;
}

int domain_list_parse(const char *text, struct domain_list *out, struct err *e)
{
    struct domain_list list = {0};

    while (*text) {
        size_t len = strcspn(text, ","), lead = strspn(text, " ");
        char *item;

        if (len > lead) {
            size_t tail = len;

            while (text[tail - 1] == ' ')
                tail--;
            item = mem_strn(text + lead, tail - lead);
            for (char *p = item; *p; p++)
                if (*p >= 'A' && *p <= 'Z')
                    *p = (char)(*p - 'A' + 'a');
            list.items =
                mem_resize(list.items, list.count + 1, sizeof(*list.items));
            list.items[list.count++] = item;
            if (domain_check(item, strlen(item), e) < 0) {
                domain_list_fini(&list);
                return -1;
            }
        }
        text += len + (text[len] == ',');
    }
    *out = list;
    return 0;
}

void domain_list_fini(struct domain_list *l)
{
    if (!l)
        return;
    for (size_t i = 0; i < l->count; i++)
        free(l->items[i]);
    free(l->items);
    *l = (struct domain_list){0};
}

static bool domain_matches(const char *item, size_t item_len, const char *host)
{
    size_t host_len = strlen(host);

    if (item_len > 2 && item[0] == '*') /* "*.example.com": what lies below */
        return host_len > item_len - 1 &&
               memcmp(host + host_len - (item_len - 1), item + 1,
                      item_len - 1) == 0;
    return host_len == item_len && memcmp(host, item, item_len) == 0;
}

bool domain_list_has(const struct domain_list *l, const char *host,
                     uint16_t port, uint16_t default_port)
{
    for (size_t i = 0; i < l->count; i++) {
        const char *item = l->items[i], *colon = strchr(item, ':');
        size_t len = colon ? (size_t)(colon - item) : strlen(item);
        long want = colon ? strtol(colon + 1, NULL, 10) : default_port;

        if (want == port && domain_matches(item, len, host))
            return true;
    }
    return false;
}

/* --- policy --- */

bool url_is_loopback(const struct url *u)
{
    return strcmp(u->host, "localhost") == 0 || strcmp(u->host, "::1") == 0 ||
           (u->host_is_literal && strncmp(u->host, "127.", 4) == 0);
}

int url_check_api(const char *text, struct url *out, struct err *e)
{
    struct url u;

    if (url_parse(text, &u, e) < 0)
        return -1;
    if (u.has_query || u.scheme == URL_FILE)
        return err_set(e, ERR_INPUT,
                       "an https URL without a query is expected");
    /* anybody on the way would read the key, and what is sent */
    if (u.scheme == URL_HTTP && !url_is_loopback(&u))
        return err_set(e, ERR_INPUT,
                       "http is for this machine alone, %s must be https",
                       u.host);
    *out = u;
    return 0;
}

static int url_judge_file(const struct url_policy *p, const struct url *u,
                          struct err *e)
{
    size_t len;

    if (!p->file_root)
        return err_set(e, ERR_DENIED, "URL: file: is not allowed here");
    len = strlen(p->file_root);
    while (len > 1 && p->file_root[len - 1] == '/')
        len--;
    if (strncmp(u->path, p->file_root, len) != 0 || u->path[len] != '/' ||
        !u->path[len + 1])
        return err_set(e, ERR_DENIED,
                       "URL: files are allowed below %.200s only",
                       p->file_root);
    return 0;
}

int url_judge(const struct url_policy *p, const char *text, struct url *out,
              struct err *e)
{
    struct url u;

    if (url_parse(text, &u, e) < 0)
        return -1;
    if (u.scheme == URL_FILE) {
        if (url_judge_file(p, &u, e) < 0)
            return -1;
        *out = u;
        return 0;
    }
    if (u.scheme == URL_HTTP && !p->allow_http)
        return err_set(e, ERR_DENIED,
                       "URL: http is not allowed here, use https");
    if (u.scheme == URL_HTTP && url_is_loopback(&u)) {
        *out = u;
        return 0;
    }
    if (!domain_list_has(&p->domains, u.host, u.port,
                         u.scheme == URL_HTTPS ? 443 : 80))
        return err_set(e, ERR_DENIED,
                       "URL: host %.120s (port %u) is not in the list of "
                       "allowed domains",
                       u.host, u.port);
    *out = u;
    return 0;
}

void url_show(const char *text, char *out, size_t size)
{
    snprintf(out, size, "%.*s", (int)strcspn(text, "?#"), text);
}

/* Does it begin with a scheme? "://" may stand in a query as well. */
static bool url_has_scheme(const char *location)
{
    size_t n = strcspn(location, ":/?#");

    return n > 0 && location[n] == ':';
}

int url_join(const char *base, const char *location, char *out, struct err *e)
{
    struct url b;
    const char *authority, *slash;
    size_t root_len, end;
    int n;

    if (url_has_scheme(location)) {
        n = snprintf(out, URL_MAX, "%s", location);
        return n < URL_MAX ? 0 : err_set(e, ERR_INPUT, "redirect is too long");
    }
    if (url_parse(base, &b, e) < 0)
        return -1;
    authority = strstr(base, "://") + 3;
    root_len = (size_t)(authority - base) + strcspn(authority, "/?");
    end = strcspn(base, "?");
    slash = memrchr(base + root_len, '/', end - root_len);
    if (location[0] == '/' && location[1] == '/')
        n = snprintf(out, URL_MAX, "%.*s%s", (int)(authority - base) - 2, base,
                     location);
    else if (location[0] == '/')
        n = snprintf(out, URL_MAX, "%.*s%s", (int)root_len, base, location);
    else if (location[0] == '?' || !location[0])
        n = snprintf(out, URL_MAX, "%.*s%s", (int)end, base, location);
    else if (slash)
        n = snprintf(out, URL_MAX, "%.*s%s", (int)(slash - base + 1), base,
                     location);
    else
        n = snprintf(out, URL_MAX, "%.*s/%s", (int)root_len, base, location);
    return n < URL_MAX ? 0 : err_set(e, ERR_INPUT, "redirect is too long");
}
