/*
 * The controller as the client sees it: one address, HTTPS, or plain HTTP on
 * loopback alone. Blocking calls, for plain commands and worker threads.
 */
#ifndef PODTERM_CLIENT_SERVER_H
#define PODTERM_CLIENT_SERVER_H

#include "base/err.h"
#include "base/http_client.h"
#include "base/json.h"

#include <stdatomic.h>
#include <stdbool.h>

#define SERVER_BODY_MAX (2 << 20) /* bytes of an answer */

struct server {
    char *base;          /* owned; without a final '/' */
    const char *ca_path; /* borrowed; NULL = the system's roots */
    bool is_loopback;
    bool is_plain; /* http: only loopback addresses are dialled */
    /* true = give calls up, within a second. May be NULL. */
    atomic_bool *is_cancelled;
};

/* ERR_INPUT: not a URL, http to another machine, a query. */
int server_open(struct server *s, const char *url, const char *ca_path,
                struct err *e);
void server_fini(struct server *s);

/*
 * One call.
 *
 * path     "/api/sessions..."
 * bearer   identity token, or NULL
 * key      Idempotency-Key, or NULL
 * body     JSON text, or NULL
 * *status  of the answer
 * returns  the answer's JSON, the caller's, whatever the status; or NULL:
 *          ERR_PEER (connection, TLS, time), ERR_INPUT (no JSON)
 */
struct json *server_call(const struct server *s, const char *method,
                         const char *path, const char *bearer, const char *key,
                         const char *body, int *status, struct err *e);

/* Is this the name of this machine's loopback, or a literal of it? */
bool server_is_loopback(const char *host);
/* text percent-encoded for a query's value; freed by the caller. */
char *server_quote(const char *text);

#endif
