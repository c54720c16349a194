#include "client/server.h"

#include "base/addr.h"
#include "base/buf.h"
#include "base/mem.h"
#include "base/own.h"
#include "base/seal.h"
#include "base/url.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SERVER_CONNECT_MS 10000
#define SERVER_TOTAL_MS 30000
#define SERVER_HEADERS 5

bool server_is_loopback(const char *host)
{
    struct sockaddr_storage sa;
    struct err ignored = {0};
    char text[URL_HOST_MAX + 8];

    if (strcmp(host, "localhost") == 0)
        return true;
    snprintf(text, sizeof(text), strchr(host, ':') ? "[%s]:1" : "%s:1", host);
    return addr_parse(text, &sa, &ignored) == 0 &&
           addr_is_loopback((const struct sockaddr *)&sa);
}

int server_open(struct server *s, const char *url, const char *ca_path,
                struct err *e)
{
    struct url u;
    size_t len;

    if (url_parse(url, &u, e) < 0)
        return err_wrap(e, "--server %.80s", url);
    if (u.scheme == URL_FILE || u.has_query)
        return err_set(e, ERR_INPUT, "--server %.80s: want https://HOST[:PORT]",
                       url);
    *s = (struct server){.ca_path = ca_path,
                         .is_loopback = server_is_loopback(u.host),
                         .is_plain = u.scheme == URL_HTTP};
    if (s->is_plain && !s->is_loopback)
        return err_set(e, ERR_INPUT,
                       "--server %.80s: plain http would show your identity "
                       "to the network; use https (http is for this machine "
                       "alone)",
                       url);
    len = strlen(url);
    while (len > 0 && url[len - 1] == '/')
        len--;
    s->base = mem_strn(url, len);
    return 0;
}

void server_fini(struct server *s)
{
    free(s->base);
    s->base = NULL;
}

char *server_quote(const char *text)
{
    char *out = mem_zero(strlen(text) * 3 + 1, 1), *at = out;

    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;

        if (isalnum(c) || strchr("-._~", c))
            *at++ = (char)c;
        else
            at += sprintf(at, "%%%02X", c);
    }
    return out;
}

/* A name may lead anywhere: plain http goes to loopback addresses alone. */
static int server_judge(void *arg, const struct sockaddr *sa, struct err *e)
{
    const struct server *s = arg;

    if (!s->is_plain || addr_is_loopback(sa))
        return 0;
    return err_set(e, ERR_DENIED, "plain http is for this machine alone");
}

static bool server_cancelled(void *arg)
{
    const struct server *s = arg;

    return s->is_cancelled && atomic_load(s->is_cancelled);
}

struct json *server_call(const struct server *s, const char *method,
                         const char *path, const char *bearer, const char *key,
                         const char *body, int *status, struct err *e)
{
    own_mem char *url = mem_printf("%s%s", s->base, path);
    own_mem char *key_line =
        key ? mem_printf("Idempotency-Key: %s", key) : NULL;
    char *auth = bearer ? mem_printf("Authorization: Bearer %s", bearer) : NULL;
    const char *headers[SERVER_HEADERS] = {"Accept: application/json"};
    size_t n = 1;
    struct http_request r = {.method = method,
                             .url = url,
                             .headers = headers,
                             .body = body,
                             .body_len = body ? strlen(body) : 0,
                             .ca_path = s->ca_path,
                             .allow_http = s->is_plain,
                             .connect_ms = SERVER_CONNECT_MS,
                             .total_ms = SERVER_TOTAL_MS,
                             .body_max = SERVER_BODY_MAX,
                             .judge = server_judge,
                             .is_cancelled = server_cancelled,
                             .arg = (void *)(uintptr_t)s};
    struct http_answer a;
    struct json *j = NULL;
    int failed;

    if (auth)
        headers[n++] = auth;
    if (key_line)
        headers[n++] = key_line;
    if (body)
        headers[n++] = "Content-Type: application/json";
    failed = http_do(&r, &a, e);
    if (auth)
        wipe(auth, strlen(auth));
    free(auth);
    if (failed) {
        err_wrap(e, "no answer from %s%s", s->base,
                 s->is_plain ? " (is `podterm dev` running? A server with a "
                               "certificate is https://)"
                             : "");
        return NULL;
    }
    *status = a.status;
    j = json_parse(a.body.data ? (const char *)a.body.data : "", a.body.len, e);
    if (!j)
        err_set(e, a.status >= 500 ? ERR_SYSTEM : ERR_INPUT,
                "%s answered %d, and not in JSON: is it podterm's server?",
                s->base, a.status);
    buf_fini_secret(&a.body);
    return j;
}
