/*
 * What a request is answered with: JSON, plain text, a problem document
 * (RFC 9457), or a file of the page's. Made on a worker (files: on the loop),
 * sent by server.c on the loop.
 */
#ifndef PODTERM_CONTROLLER_ANSWER_H
#define PODTERM_CONTROLLER_ANSWER_H

#include "base/err.h"
#include "base/json.h"
#include "base/ws.h"

#include <stdbool.h>
#include <stddef.h>

#define ANSWER_HEADERS_MAX 8
#define ANSWER_VALUE_MAX 256

struct answer {
    int status;       /* 0 = none yet */
    const char *type; /* content type, static; NULL with an empty body */
    char *body;       /* owned; NULL = empty */
    /* Instead of body: bytes that stay until the process ends; answer_lasting
     * makes it so, also of none at all. */
    bool is_lasting;
    const void *lasting;
    size_t lasting_len;
    const char *policy; /* Content-Security-Policy; NULL = nothing at all */
    const struct ws_header *more; /* further headers, static */
    size_t more_count;
    struct {
        const char *name; /* static, lower case */
        char value[ANSWER_VALUE_MAX];
    } headers[ANSWER_HEADERS_MAX];
    size_t header_count;
};

void answer_fini(struct answer *a); /* wipes the body: it may hold a token */
/* Takes root and frees it. */
void answer_json(struct answer *a, int status, struct json *root);
void answer_text(struct answer *a, int status, const char *type, char *body);
/* What lasts is sent from where it is: a file of the page's. */
void answer_lasting(struct answer *a, int status, const char *type,
                    const void *bytes, size_t len);
/* Another header; one too many or too long is dropped. */
void answer_header(struct answer *a, const char *name, const char *value);

/*
 * A problem document: type urn:podterm:problem:CODE, title by the status,
 * status, detail (a sentence for the caller), code.
 */
void answer_problem(struct answer *a, int status, const char *code,
                    const char *detail);
/* With one more member; takes value. */
void answer_problem_with(struct answer *a, int status, const char *code,
                         const char *detail, const char *member,
                         struct json *value);
/* The problem of an error. Texts about what the caller sent are told, those
 * about our own machinery are not. */
void answer_err(struct answer *a, const struct err *e);

#endif
