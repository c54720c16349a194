#include "controller/server.h"

#include "base/addr.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/own.h"
#include "controller/app.h"
#include "controller/counts.h"
#include "controller/create.h"
#include "controller/page.h"
#include "controller/routes.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FIXED_HEADERS 7 /* of every answer */
#define MORE_HEADERS_MAX 4

/* Nothing of it may run, load or be framed. */
#define POLICY_NONE "default-src 'none'; frame-ancestors 'none'"

struct listener {
    struct app *app;
    struct ws_server *ws;
    enum route_place place;
    bool is_only; /* no second listener: both places are here */
    char name[ADDR_TEXT_MAX];
};

struct server {
    struct listener api, metrics;
};

static struct log_rate refusals = {.burst = 20, .interval_ms = 1000};

/* --- answering --- */

static size_t fixed_headers(const struct call *c, struct ws_header *h)
{
    const struct guard *g = &c->app->guard;
    bool caches = false;
    size_t n = 0;

    for (size_t i = 0; i < c->answer.header_count; i++)
        caches |= strcmp(c->answer.headers[i].name, "cache-control") == 0;
    if (!caches)
        h[n++] = (struct ws_header){"cache-control", "no-store"};
    h[n++] = (struct ws_header){"x-content-type-options", "nosniff"};
    h[n++] = (struct ws_header){"referrer-policy", "no-referrer"};
    h[n++] = (struct ws_header){"cross-origin-resource-policy", "same-origin"};
    h[n++] =
        (struct ws_header){"content-security-policy",
                           c->answer.policy ? c->answer.policy : POLICY_NONE};
    if (g->is_tls)
        h[n++] =
            (struct ws_header){"strict-transport-security", "max-age=31536000"};
    if (c->answer.type)
        h[n++] = (struct ws_header){"content-type", c->answer.type};
    return n;
}

/* Pages of listed origins may read the answer; never with credentials. */
static void add_cors(struct call *c)
{
    const struct guard *g = &c->app->guard;
    const char *origin = ws_request_header(c->r, "origin");

    if (c->answer.is_lasting)
        return; /* the page is for nobody else's */
    if (*g->origins)
        answer_header(&c->answer, "vary", "origin");
    if (guard_origin(g, origin, NULL) != ORIGIN_LISTED)
        return;
    answer_header(&c->answer, "access-control-allow-origin", origin);
    answer_header(&c->answer, "access-control-expose-headers",
                  "location, retry-after");
}

static void send_answer(struct call *c)
{
    struct ws_header h[FIXED_HEADERS + MORE_HEADERS_MAX + ANSWER_HEADERS_MAX];
    const struct answer *a = &c->answer;
    const char *body = a->body ? a->body : "";
    size_t n = fixed_headers(c, h);

    for (size_t i = 0; i < a->more_count && i < MORE_HEADERS_MAX; i++)
        h[n++] = a->more[i];
    for (size_t i = 0; i < a->header_count; i++)
        h[n++] = (struct ws_header){a->headers[i].name, a->headers[i].value};
    if (a->is_lasting)
        ws_respond_lasting(c->r, a->status, h, n, a->lasting, a->lasting_len);
    else
        ws_respond(c->r, a->status, h, n, body, strlen(body));
}

static void respond(struct call *c)
{
    int64_t us = loop_now_us() - c->begun_us;
    char client[ADDR_TEXT_MAX];

    add_cors(c);
    count_request(c->answer.status, us);
    addr_text_ip((const struct sockaddr *)ws_request_client(c->r), client);
    log_debug("api.answer", "client", "s", client, "method", "s",
              ws_request_method(c->r), "path", "s",
              c->file    ? c->file->path
              : c->route ? c->route->path
                         : "",
              "status", "i", (int64_t)c->answer.status, "us", "i", us, NULL);
    send_answer(c);
    if (c->after)
        c->after(c->app, c->after_arg);
    answer_fini(&c->answer);
    free(c);
}

/* --- on a worker --- */

static void call_run(void *arg)
{
    struct call *c = arg;
    struct err e = {0};

    if (c->route->auth == AUTH_IDENTITY &&
        identity_check(c->app->identity,
                       ws_request_header(c->r, "authorization"), &c->who,
                       &e) < 0) {
        if (e.kind == ERR_TOKEN)
            count_add(COUNT_REFUSED_IDENTITY, 1);
        if (log_rate_ok(&refusals, loop_now_ms()))
            log_err(&e, "api.identity");
        answer_err(&c->answer, &e);
        return;
    }
    c->route->handle(c);
}

static void call_done(void *arg)
{
    respond(arg);
}

/* --- guards and routing --- */

/* 421 and 403 before anything else is looked at. */
static bool pass_guards(struct call *c)
{
    const struct guard *g = &c->app->guard;
    const char *host = ws_request_header(c->r, "host");
    const char *origin = ws_request_header(c->r, "origin");

    if (!guard_host_ok(g, host)) {
        answer_problem(&c->answer, 421, "misdirected",
                       "This server does not answer to that name.");
        return false;
    }
    if (g->is_dev && guard_origin(g, origin, host) == ORIGIN_FOREIGN) {
        answer_problem(&c->answer, 403, "origin",
                       "Pages of other origins may not call this server.");
        return false;
    }
    return true;
}

static void preflight(struct call *c, const char *allow)
{
    const char *origin = ws_request_header(c->r, "origin");

    c->answer.status = 204;
    answer_header(&c->answer, "allow", allow);
    if (guard_origin(&c->app->guard, origin, NULL) != ORIGIN_LISTED)
        return;
    answer_header(&c->answer, "access-control-allow-methods", allow);
    answer_header(&c->answer, "access-control-allow-headers",
                  "authorization, content-type, idempotency-key");
    answer_header(&c->answer, "access-control-max-age", "600");
}

/* Under TLS nobody has looked at the head before libwebsockets, from which a
 * header can be hidden (docs/libraries.md). */
static bool is_of_this_machine(const struct listener *l,
                               const struct ws_request *r)
{
    return !l->app->set->tls_cert &&
           addr_is_loopback((const struct sockaddr *)ws_request_peer(r)) &&
           !ws_request_header(r, "x-forwarded-for");
}

static bool is_served(const struct listener *l, const struct route *r,
                      const struct ws_request *from)
{
    if (r->auth == AUTH_DEV && !l->app->devissuer)
        return false;
    if (r->auth == AUTH_MACHINE && l->is_only && !is_of_this_machine(l, from))
        return false;
    /* liveness is asked on either port */
    return l->is_only || r->place == l->place || strcmp(r->path, "/livez") == 0;
}

/* A file of the page's, where there is no route: answered at once. */
static bool find_file(const struct listener *l, struct call *c, char *allow,
                      size_t size)
{
    const char *method = ws_request_method(c->r);

    if (l->place != PLACE_API || *allow)
        return false;
    c->file = page_find(l->app->page, ws_request_path(c->r));
    if (!c->file)
        return false;
    if (strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0) {
        page_answer(l->app->page, c->file, c);
        return true;
    }
    snprintf(allow, size, "%s", PAGE_METHODS);
    return false;
}

/* False: it is answered already. */
static bool find_route(const struct listener *l, struct call *c)
{
    const char *method = ws_request_method(c->r);
    char allow[64];

    c->route =
        routes_find(method, ws_request_path(c->r), c->sid, allow, sizeof allow);
    if (c->route && is_served(l, c->route, c->r))
        return true;
    c->route = NULL;
    if (find_file(l, c, allow, sizeof allow))
        return false;
    if (*allow && strcmp(method, "OPTIONS") == 0) {
        preflight(c, allow);
    } else if (*allow) {
        answer_problem(&c->answer, 405, "method",
                       "This address does not know that method.");
        answer_header(&c->answer, "allow", allow);
    } else {
        answer_problem(&c->answer, 404, "not_found",
                       "There is no such thing here.");
    }
    return false;
}

/* A request that is refused by its head is refused without its body: what
 * it may send is not for everybody to make us keep. */
static bool wants_body(void *arg, const struct ws_request *r)
{
    const struct listener *l = arg;
    const struct route *route;
    char allow[64], sid[ID_SIZE];

    if (l->place == PLACE_API &&
        !guard_host_ok(&l->app->guard, ws_request_header(r, "host")))
        return false;
    route = routes_find(ws_request_method(r), ws_request_path(r), sid, allow,
                        sizeof allow);
    if (!route || !is_served(l, route, r))
        return false;
    return route->auth != AUTH_IDENTITY ||
           ws_request_header(r, "authorization");
}

static void request(void *arg, struct ws_request *r)
{
    struct listener *l = arg;
    struct call *c = mem_zero(1, sizeof *c);
    socklen_t len = sizeof c->local;

    c->app = l->app;
    c->r = r;
    c->begun_us = loop_now_us();
    c->peer = *ws_request_peer(r);
    getsockname(ws_request_fd(r), (struct sockaddr *)&c->local, &len);
    /* probes of the metrics port come by address */
    if (l->place == PLACE_API && !pass_guards(c))
        respond(c);
    else if (!find_route(l, c))
        respond(c);
    else if (!worker_add(l->app->worker, call_run, call_done, c)) {
        count_add(COUNT_REFUSED_BUSY, 1);
        answer_problem(&c->answer, 503, "unavailable",
                       "Too much to do at the moment. Try again.");
        respond(c);
    }
}

/* --- set-up --- */

static int listen_on(struct listener *l, struct app *app, const char *where,
                     enum route_place place, struct err *e)
{
    struct ws_server_conf conf = {
        .request = request,
        .wants_body = wants_body,
        .arg = l,
        .body_max = CREATE_BODY_MAX,
        .conns_per_address_max = (int)app->set->conns_per_address,
        .trusted_proxies = &app->set->proxies,
        .proxy_hops = (int)app->set->proxy_hops,
    };

    l->app = app;
    l->place = place;
    conf.listen_fd = listen_tcp(where, false, e);
    if (conf.listen_fd < 0)
        return err_wrap(e,
                        place == PLACE_API ? "--listen" : "--metrics-listen");
    listen_name(conf.listen_fd, l->name, sizeof l->name);
    if (place == PLACE_API) {
        conf.cert_path = app->set->tls_cert;
        conf.key_path = app->set->tls_key;
    }
    l->ws = ws_server_new(app->ws, &conf, e);
    return l->ws ? 0 : -1;
}

struct server *server_start(struct app *app, struct err *e)
{
    const struct settings *set = app->set;
    struct server *s = mem_zero(1, sizeof *s);

    s->api.is_only = !set->metrics_listen;
    if (listen_on(&s->api, app, set->listen, PLACE_API, e) < 0 ||
        (set->metrics_listen && listen_on(&s->metrics, app, set->metrics_listen,
                                          PLACE_METRICS, e) < 0)) {
        server_stop(s);
        return NULL;
    }
    app->guard.port = ws_server_port(s->api.ws);
    return s;
}

void server_stop(struct server *s)
{
    if (!s)
        return;
    if (s->api.ws)
        ws_server_free(s->api.ws);
    if (s->metrics.ws)
        ws_server_free(s->metrics.ws);
    free(s);
}

int server_reload(struct server *s, struct err *e)
{
    return ws_server_reload(s->api.ws, e);
}

const char *server_name(const struct server *s)
{
    return s->api.name;
}
