/*
 * The controller's REST API as calls. Each call gets its own fresh identity.
 * A problem document becomes an error with a sentence for the user. Blocking.
 * Source: controller/openapi.yaml.
 */
#ifndef PODTERM_CLIENT_REMOTE_H
#define PODTERM_CLIENT_REMOTE_H

#include "base/json.h"
#include "base/vocab.h"
#include "client/identity.h"
#include "client/server.h"

#include <stdbool.h>

struct remote {
    struct server server;
    struct identity identity;
    bool is_quiet; /* as in identity_new */
};

/*
 * Errors of all calls: ERR_PEER (no connection; worth another try), ERR_SYSTEM
 * (5xx; worth another try), ERR_BUSY (429), ERR_TOKEN (the identity was
 * refused), ERR_DENIED, ERR_ABSENT (no such session of the caller's),
 * ERR_ENDED, ERR_CONFLICT, ERR_INPUT, and those of identity_new. JSON is the
 * caller's.
 */

/* Make a session. Tried again (same key, so never two sessions) when the
 * answer does not come. */
struct json *remote_create(const struct remote *a, const struct json *body,
                           struct err *e);
/* A fresh session token. With ERR_ENDED *ended is the session, the caller's
 * (NULL if it was not told). */
struct json *remote_token(const struct remote *a, const char *sid,
                          enum role role, struct json **ended, struct err *e);
struct json *remote_get(const struct remote *a, const char *sid, struct err *e);
/* A page: cursor NULL = the first. */
struct json *remote_list(const struct remote *a, bool all, const char *cursor,
                         struct err *e);
/* The session as it stands after DELETE. */
struct json *remote_delete(const struct remote *a, const char *sid,
                           struct err *e);

/* Say who may watch, all of them: a JSON list of subjects. The session. */
struct json *remote_viewers(const struct remote *a, const char *sid,
                            const struct json *viewers, struct err *e);

#define REMOTE_SERVER "http://127.0.0.1:8080" /* where nothing else is said */
/* The options that lead to this server as this user, where the environment
 * does not already: "", or " --server URL --as NAME". The caller's. */
char *remote_flags(const struct remote *a);

/* The id that `text` means: itself, or the one session of the caller's whose
 * id starts with it (REMOTE_PREFIX_MIN characters or more). */
#define REMOTE_PREFIX_MIN 4
int remote_find(const struct remote *a, const char *text, char sid[ID_SIZE],
                struct err *e);

#endif
