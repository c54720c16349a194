/*
 * The controller's API (tests/lib/api.h) with three people who use it, and
 * what it answered held against controller/openapi.yaml.
 */
#ifndef PODTERM_TESTS_LIB_APICAST_H
#define PODTERM_TESTS_LIB_APICAST_H

#include "tests/lib/api.h"

#define SESSIONS "/api/sessions"
#define SESSION "/api/sessions/{id}"
#define TOKEN "/api/sessions/{id}/token"

extern struct api api;
extern char *alice, *bob, *eve; /* identities */

/* A cmocka group's setup and teardown. */
int cast_setup(void **state);
int cast_teardown(void **state);

/* A session asked for. */
struct rest_answer cast_post(const char *who, const char *more_headers,
                             const char *body);
/* The answer's body, the caller's; the answer is released. */
struct json *cast_json(struct rest_answer *r);

/* Hold what write says against the OpenAPI file. check: a command word of
 * tests/controller/openapi.py. */
void cast_feed(const char *check, void (*write)(FILE *to));
/* Every answer given so far; check: "answers" or "all-answers". */
void cast_check_answers(const char *check);

#endif
