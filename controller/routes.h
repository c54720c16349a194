/*
 * The REST API's one table: method, path, who may call, and the handler.
 * controller/openapi.yaml says the same in words; a test holds them
 * together. Handlers run on a worker thread and fill c->answer.
 */
#ifndef PODTERM_CONTROLLER_ROUTES_H
#define PODTERM_CONTROLLER_ROUTES_H

#include "base/token.h"
#include "base/vocab.h"
#include "base/ws.h"
#include "controller/answer.h"

#include <stdbool.h>

struct app;
struct webdir_file;

struct owner { /* who calls: (issuer, subject) */
    char iss[TOKEN_STR_MAX];
    char sub[TOKEN_STR_MAX];
};

enum route_auth {
    AUTH_NONE,     /* open to all */
    AUTH_IDENTITY, /* an identity token */
    AUTH_DEV,      /* development issuer: loopback peer of our own uid */
    AUTH_MACHINE,  /* on the public listener: this machine alone, and not
                      what a proxy on it lets in; else it is 404 */
};

enum route_place { PLACE_API, PLACE_METRICS }; /* --metrics-listen moves it */

struct call { /* one request under way */
    struct app *app;
    struct ws_request *r;
    const struct route *route;
    const struct webdir_file *file; /* of the page's, instead */
    char sid[ID_SIZE];              /* {id} of the path */
    struct owner who; /* AUTH_IDENTITY: filled before the handler */
    struct sockaddr_storage peer, local; /* ends of the connection */
    struct answer answer;
    int64_t begun_us;
    /* On the loop, after the answer was sent; NULL = nothing. */
    void (*after)(struct app *app, void *arg);
    void *after_arg;
};

struct route {
    const char *method;
    const char *path; /* "/api/sessions/{id}" */
    enum route_auth auth;
    enum route_place place;
    void (*handle)(struct call *c);
};

extern const struct route routes[];
extern const size_t route_count;

/*
 * The route for a request, and its {id} in sid.
 *
 * allow    filled with the methods of the path, "GET, POST", when there is
 *          such a path but not with this method; "" otherwise
 * returns  the route or NULL
 */
const struct route *routes_find(const char *method, const char *path,
                                char sid[ID_SIZE], char *allow,
                                size_t allow_size);

#endif
