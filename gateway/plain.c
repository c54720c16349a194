#include "gateway/plain.h"

#include "base/addr.h"

#include <stdio.h>
#include <string.h>

#define METRICS_MAX 65536 /* bytes */

static const struct {
    int status;
    const char *reason;
    const char *extra; /* header lines */
    const char *body;
} answers[] = {
    {200, "OK", "", "ok\n"},
    {400, "Bad Request", "", "This is not a request podterm understands.\n"},
    {403, "Forbidden", "",
     "This page may not attach: its origin is not in the gateway's list.\n"},
    {404, "Not Found", "",
     "Nothing is here. Terminals attach at " UPGRADE_PATH ".\n"},
    {405, "Method Not Allowed", "Allow: GET\r\n", "Only GET is answered.\n"},
    {421, "Misdirected Request", "",
     "This gateway does not answer to that Host.\n"},
    {426, "Upgrade Required",
     "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n",
     "This address speaks WebSocket (version 13) alone.\n"},
    {431, "Request Header Fields Too Large", "",
     "The request's head is longer than 8192 bytes.\n"},
    {503, "Service Unavailable", "Retry-After: 1\r\n", "not ready\n"},
    {505, "HTTP Version Not Supported", "", "Only HTTP/1.1 is spoken.\n"},
};

static void plain_say(struct pair *p, int status, const char *type,
                      const void *body, size_t len)
{
    size_t i = 0;
    char head[400];
    int n;

    while (answers[i].status != status &&
           i + 1 < sizeof(answers) / sizeof(answers[0]))
        i++;
    if (!body) {
        body = answers[i].body;
        len = strlen(answers[i].body);
    }
    n = snprintf(head, sizeof(head),
                 "HTTP/1.1 %d %s\r\n%sContent-Type: %s\r\n"
                 "Content-Length: %zu\r\nCache-Control: no-store\r\n"
                 "X-Content-Type-Options: nosniff\r\n"
                 "Connection: close\r\n\r\n",
                 answers[i].status, answers[i].reason, answers[i].extra, type,
                 len);
    leg_send(&p->client, head, (size_t)n);
    leg_send(&p->client, body, len);
    pair_finish(p, CLOSE_ANSWERED);
}

void plain_answer(struct pair *p, int status)
{
    plain_say(p, status, "text/plain; charset=utf-8", NULL, 0);
}

static void plain_metrics(struct pair *p)
{
    struct buf text;

    buf_init(&text, METRICS_MAX);
    counters_text(&text);
    plain_say(p, 200, "text/plain; version=0.0.4", buf_cstr(&text), text.len);
    buf_fini(&text);
}

/* On the clients' port metrics are for this machine alone, and not for what
 * a proxy on it lets in. */
static bool may_see_metrics(const struct pair *p, const struct upgrade *u)
{
    return p->greeting->is_metrics ||
           (p->greeting->is_loopback && !u->forwarded.at);
}

void plain_request(struct pair *p, const struct upgrade *u)
{
    const struct gateway *gw = p->gw;

    if (http_text_is(u->path, "/livez"))
        plain_answer(p, 200);
    else if (http_text_is(u->path, "/readyz"))
        plain_answer(p, gw->is_store_well && !gw->is_draining &&
                                keyset_is_loaded(gw->keyset)
                            ? 200
                            : 503);
    else if (http_text_is(u->path, "/metrics") && may_see_metrics(p, u))
        plain_metrics(p);
    else if (http_text_is(u->path, UPGRADE_PATH) && !p->greeting->is_metrics)
        plain_answer(p, 426);
    else
        plain_answer(p, 404);
}
