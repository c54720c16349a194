/*
 * The APIs that the key broker stands before: where they are, which header
 * carries their key, what of them may be asked for, and what a program's
 * environment says of them. One table; pure functions.
 */
#ifndef PODTERM_AGENT_BROKER_APIS_H
#define PODTERM_AGENT_BROKER_APIS_H

#include "base/buf.h"
#include "base/http_head.h"
#include "base/vocab.h"

#include <stdbool.h>
#include <stddef.h>

#define BROKER_PATH_MAX 256   /* bytes of a request's path */
#define BROKER_QUERY_MAX 1024 /* bytes of its query */
#define BROKER_ENV_MAX 4      /* variables an API sets */
#define BROKER_ENV_LINE 160

struct broker_way {
    const char *method;
    const char *path; /* a segment may be "*": any one name */
};

struct broker_api_row {
    const char *name;     /* the first segment of its paths here */
    const char *upstream; /* unless the operator names another */
    const char *key_head; /* "x-api-key: ", before the key */
    const struct broker_way *ways;
    size_t way_count;
    /* Set for the program, unless it has one of its own: where the broker is
     * ("%s": "http://127.0.0.1:3129"), */
    const char *base_name, *base_value;
    /* and, unless it has one of these, what its library wants to see before
     * it asks at all. */
    const char *key_names[2];
};

const struct broker_api_row *broker_api_row(enum broker_api a);

/*
 * A request's target "/NAME/path?query" taken apart: path is from the second
 * '/' on, query from '?' or empty. -1: no such API, or one spelling too many
 * (letters, digits and "-._~:" in a path, no empty segment, no "." and "..").
 */
int broker_target(struct http_text target, enum broker_api *api,
                  struct http_text *path, struct http_text *query);
/* Does this API's table have it? */
bool broker_is_allowed(enum broker_api a, struct http_text method,
                       struct http_text path);

/* Does a header of this name pass, on the way to an API, or back? Any other
 * is left out: what carries a credential above all. */
bool broker_field_goes(struct http_text name);
bool broker_field_comes(struct http_text name);

/* "NAME=value" for a program with this environment (NULL-terminated); how
 * many. */
size_t broker_env(enum broker_api a, char *const *env,
                  char out[BROKER_ENV_MAX][BROKER_ENV_LINE]);

/* How this API says no: the body of such an answer. message: printable. */
int broker_refusal(enum broker_api a, int status, const char *message,
                   struct buf *out);

#endif
