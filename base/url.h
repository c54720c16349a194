/*
 * Judgement of bundle URLs: one function for agent and controller.
 */
#ifndef PODTERM_BASE_URL_H
#define PODTERM_BASE_URL_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define URL_MAX 2048 /* bytes of a URL */
#define URL_HOST_MAX 253

enum url_scheme { URL_HTTPS, URL_HTTP, URL_FILE };

struct url {
    enum url_scheme scheme;
    char host[URL_HOST_MAX + 1]; /* lower case, no brackets, no final dot */
    bool host_is_literal;        /* an IP address */
    uint16_t port;               /* explicit or the scheme's default */
    char path[URL_MAX];          /* as it stands, from '/', without query;
                                    for file: decoded */
    bool has_query;
};

struct domain_list {
    char **items; /* owned; "example.com" or "*.example.com", lower case */
    size_t count;
};
/* Comma-separated; an entry may carry ":port". */
int domain_list_parse(const char *text, struct domain_list *out, struct err *e);
void domain_list_fini(struct domain_list *l);
/* Does host:port match? "example.com" exactly, "*.example.com" what lies
 * below it; without a port in the entry only default_port matches. */
bool domain_list_has(const struct domain_list *l, const char *host,
                     uint16_t port, uint16_t default_port);

/* One entry of a list that a Host header, or an Origin, is looked up in:
 * "host" or "host:port"; "https://host" or "https://host:port" as a browser
 * sends it. -1 ERR_INPUT: no such header could ever be the same. */
int url_check_host(const char *item, struct err *e);
int url_check_origin(const char *item, struct err *e);

struct url_policy {
    struct domain_list domains; /* bundle_domains; empty = none */
    bool allow_http;            /* the local default: for loopback hosts */
    const char *file_root;      /* file: only below this; NULL = none */
};

/* Take apart and check the form: no userinfo, no fragment, no control or
 * non-ASCII characters, a host that is a DNS name or literal in its one
 * canonical spelling (no 0x7f.1, no trailing-dot tricks). */
int url_parse(const char *text, struct url *out, struct err *e);
/* localhost, 127.*.*.* or [::1]: what the URL says, not what it leads to. */
bool url_is_loopback(const struct url *u);
/* Where an API is, whose key goes there: an https URL without a query; http on
 * this machine alone. */
int url_check_api(const char *text, struct url *out, struct err *e);
/* url_parse, then the policy. ERR_DENIED names the rule and the host. */
int url_judge(const struct url_policy *p, const char *text, struct url *out,
              struct err *e);
/* The URL as it may be shown: query dropped, cut to size. */
void url_show(const char *text, char *out, size_t size);
/* Resolve a redirect's Location against base; out has URL_MAX bytes. */
int url_join(const char *base, const char *location, char *out, struct err *e);

#endif
