/*
 * An event stream (text/event-stream), read from pieces of any size. Bounded;
 * a line ends in LF, CR or CR LF, also across pieces.
 * source: WHATWG HTML, 9.2.6 "Interpreting an event stream"
 */
#ifndef PODTERM_SAMPLE_CLI_SSE_H
#define PODTERM_SAMPLE_CLI_SSE_H

#include "base/buf.h"
#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>

#define SSE_LINE_MAX ((size_t)1 << 20) /* bytes of a line */
#define SSE_DATA_MAX ((size_t)1 << 20) /* of an event's data */
#define SSE_NAME_MAX 63

struct sse {
    /* An event: its name ("message" where none is given) and its data,
     * without the last newline. -1 with *e stops. */
    int (*event)(void *arg, const char *name, const char *data, size_t len,
                 struct err *e);
    void *arg;
    /* private: */
    struct buf line, data;
    char name[SSE_NAME_MAX + 1];
    bool has_data, was_cr, is_begun;
};

void sse_init(struct sse *s,
              int (*event)(void *arg, const char *name, const char *data,
                           size_t len, struct err *e),
              void *arg);
void sse_fini(struct sse *s);
/* -1: ERR_TOO_LARGE, or what `event` said. An event that the stream ends in
 * is none: it takes an empty line to make one. */
int sse_feed(struct sse *s, const void *bytes, size_t len, struct err *e);

#endif
