/*
 * The Messages API, asked one question, its answer streamed (the HTTP is
 * base/http_client's). Tries again when the service says that it may:
 * 429, 529 and other 5xx, 408, a connection that could not be made, an error
 * event of that kind, each before any text has come; after `Retry-After`, or
 * API_WAIT_MS, doubled each time. A certificate that is not trusted stays so:
 * it is not tried again. Redirects are not followed: the key goes to
 * nobody else.
 * source: docs.anthropic.com, "Messages", "Errors"
 */
#ifndef PODTERM_SAMPLE_CLI_API_H
#define PODTERM_SAMPLE_CLI_API_H

#include "base/err.h"
#include "sample-cli/reply.h"
#include "sample-cli/tasks.h"

#include <stddef.h>
#include <stdint.h>

#define API_URL "https://api.anthropic.com"
#define API_VERSION "2023-06-01"
#define API_TRIES_MAX 4
#define API_WAIT_MS 500
#define API_BYTES_MAX ((size_t)16 << 20) /* of an answer, all told */
#define API_ERROR_MAX 8192 /* bytes of an answer that is an error */
#define API_KEY_MAX 1024

struct api_conf {
    const char *url; /* the base: https, or http to loopback; NULL = API_URL */
    const char *key; /* NULL = none is sent (a proxy adds it) */
    const char *model, *system;
    const char *prompt; /* UTF-8 */
    size_t prompt_len;
    int64_t max_tokens;
    int64_t timeout_ms;  /* of all tries together */
    const char *ca_path; /* NULL = the system's roots */
};

/* Could it be asked so? ERR_INPUT: the URL, or a key that is none. */
int api_check(const struct api_conf *conf, struct err *e);
/* 0; -1 with ERR_DENIED (the key was refused), ERR_BUSY (after the last try),
 * ERR_TIMEOUT, ERR_TOO_LARGE, ERR_PEER, ERR_ENDED (the task was stopped),
 * ERR_SYSTEM (no libcurl). What came before is in the reply.
 * note: as in sample-cli/claude.h. */
int api_ask(const struct api_conf *conf, struct task *task, struct reply *reply,
            const char **note, struct err *e);

#endif
