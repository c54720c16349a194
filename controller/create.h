/*
 * The body of POST /api/sessions, taken apart and checked against form and
 * settings. No store, no clock.
 */
#ifndef PODTERM_CONTROLLER_CREATE_H
#define PODTERM_CONTROLLER_CREATE_H

#include "base/err.h"
#include "base/json.h"
#include "base/store.h"
#include "controller/settings.h"

#include <stdint.h>

#define CREATE_BODY_MAX 131072 /* bytes of a request body */
#define CREATE_COMMAND_MAX 256 /* words */
#define CREATE_WORD_MAX 4096   /* bytes of each */
#define CREATE_COMMAND_BYTES 32768
#define CREATE_ENV_MAX 128        /* variables */
#define CREATE_ENV_NAME_MAX 128   /* bytes */
#define CREATE_ENV_BYTES 32768    /* names and values together */
#define CREATE_SIGNATURE_MAX 4096 /* bytes of minisign text */
#define CREATE_IMAGE_MAX 255      /* bytes of an image's name */
#define CREATE_KEY_MAX 128        /* bytes of an idempotency key */

struct create {
    struct json *body; /* owned: the request as it came; holds env values */
    const char *url, *sha256;
    int64_t size;                     /* 0 = not said */
    const char *signature;            /* NULL = none */
    const char *image;                /* NULL = none is used here */
    const struct json *command, *env; /* NULL = none */
    int64_t cols, rows, lifetime_s, idle_s;
    char viewers[STORE_VIEWERS_MAX][TOKEN_STR_MAX];
    bool viewer_history;
};

/* 0, or -1: ERR_INPUT (what, where), ERR_DENIED (bundle's host, image). */
int create_parse(const void *text, size_t len, const struct settings *s,
                 struct create *out, struct err *e);
void create_fini(struct create *c); /* wipes the environment */
/* Wipe the values of an object of secrets in place. Takes NULL. */
void create_wipe(const struct json *env);

/* A list of subjects as PATCH and create take it: at most 8, distinct. */
int create_viewers(const struct json *list,
                   char out[STORE_VIEWERS_MAX][TOKEN_STR_MAX], struct err *e);

#endif
