/*
 * What `claude -p --output-format stream-json` writes: one JSON object a
 * line. Those of type "stream_event" carry the events of sample-cli/message.h
 * as they come, one of type "result" ends it. Lines that are no such objects
 * are passed over: a version, or a wrapper around it, may add some.
 * source: docs.anthropic.com, "Claude Code SDK", "Output formats"
 */
#ifndef PODTERM_SAMPLE_CLI_CLAUDE_READ_H
#define PODTERM_SAMPLE_CLI_CLAUDE_READ_H

#include "base/buf.h"
#include "base/err.h"
#include "sample-cli/message.h"

#include <stdbool.h>
#include <stddef.h>

#define CLAUDE_LINE_MAX ((size_t)1 << 20)   /* bytes of a line */
#define CLAUDE_BYTES_MAX ((size_t)16 << 20) /* of all */

struct claude_read {
    struct message message;
    bool has_result, is_error;
    char said[ERR_TEXT_MAX]; /* an error's text, not safe to show */
    /* private: */
    struct buf line;
    size_t bytes;
};

void claude_read_init(struct claude_read *c,
                      int (*text)(void *arg, const char *text, size_t len,
                                  struct err *e),
                      void *arg);
void claude_read_fini(struct claude_read *c);
/* -1: ERR_TOO_LARGE, ERR_PEER for an error event, or what `text` said. */
int claude_read_feed(struct claude_read *c, const void *bytes, size_t len,
                     struct err *e);
/* Nothing follows. -1 with ERR_PEER: it told of an error, or no result. */
int claude_read_end(struct claude_read *c, struct err *e);

#endif
