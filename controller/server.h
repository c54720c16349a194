/*
 * HTTP in and out: guards, routing, authentication, and the headers every
 * answer carries. Handlers run on the workers; this runs on the loop.
 */
#ifndef PODTERM_CONTROLLER_SERVER_H
#define PODTERM_CONTROLLER_SERVER_H

#include "base/err.h"
#include "base/ws.h"

struct app;
struct server;

/*
 * Listen on app->set->listen (and --metrics-listen). The port that came out
 * goes into app->guard. NULL with *e.
 */
struct server *server_start(struct app *app, struct err *e);
void server_stop(struct server *s); /* takes NULL */
/* Certificate and key afresh; on failure the old ones stay. */
int server_reload(struct server *s, struct err *e);
/* "127.0.0.1:8080", where it listens. */
const char *server_name(const struct server *s);

#endif
