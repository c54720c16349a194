/*
 * A controller with the development issuer, the real store and the fake
 * keeper in a directory of its own; what its tests say to it. Every answer of
 * api_call is kept for the OpenAPI check.
 */
#ifndef PODTERM_TESTS_LIB_API_H
#define PODTERM_TESTS_LIB_API_H

#include "base/json.h"
#include "tests/lib/rest.h"

#include <stdio.h>

#define API_SHA                                                                \
    "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"

struct api {
    char uids[24]; /* the first of its own */
    struct rest_server server;
    char state[64];  /* STATE */
    char log[65536]; /* its first lines */
    FILE *seen;      /* answers, one JSON object a line */
    char seen_path[96];
};

/* A controller on this state directory, which is its own keeper, agent and
 * shim, with more flags as api_start. false: as rest_start. */
bool api_try_start(struct rest_server *s, const char *state_dir,
                   const char *const *extra, char *text, size_t size);

/* extra: more flags, NULL-terminated, or NULL. Fails the test if it does not
 * start. A second start (after rest_stop) goes on with the same state. */
void api_start(struct api *a, const char *const *extra);
/* Ends every session, stops, and removes the state. Fails if a session's
 * directory is left. */
void api_finish(struct api *a);

/* An identity token for sub, as "Authorization: Bearer ...\r\n". */
char *api_identity(struct api *a, const char *sub);

/*
 * One call. pattern: the path of the routing table, with sid in {id}'s
 * place. headers as in rest_call. Checks what every answer must carry.
 */
struct rest_answer api_call(struct api *a, const char *method,
                            const char *pattern, const char *sid,
                            const char *query, const char *headers,
                            const char *body);
/* The same, and only its status. */
int api_status(struct api *a, const char *method, const char *pattern,
               const char *sid, const char *headers, const char *body);

/* A create body whose program behaves as mode (tests/lib/fake_keeper.h);
 * more: further members with a leading comma, or "". */
char *api_body(const char *mode, const char *more);
/* Create as who; fails unless 201. The id is in sid[27]. */
void api_create(struct api *a, const char *who, const char *mode, char sid[27]);
/* The session as its owner sees it, the caller's. */
struct json *api_get(struct api *a, const char *who, const char *sid);
/* Wait until its state is this one; fails after 10 s. */
struct json *api_wait(struct api *a, const char *who, const char *sid,
                      const char *state);
/* pid of the session's keeper; -1 = no directory any more. */
int api_keeper(struct api *a, const char *sid);
/* Is there such a process, and no zombie? */
bool api_is_alive(int pid);

#endif
