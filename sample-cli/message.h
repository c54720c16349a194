/*
 * A message of the Messages API as it streams in: its events, one JSON object
 * each, become text and an end. Events and members that are not known are
 * passed over.
 * source: docs.anthropic.com, "Streaming Messages"
 */
#ifndef PODTERM_SAMPLE_CLI_MESSAGE_H
#define PODTERM_SAMPLE_CLI_MESSAGE_H

#include "base/err.h"
#include "base/json.h"

#include <stdbool.h>
#include <stddef.h>

#define MESSAGE_WORD_MAX 64

struct message {
    /* Some more of the text. -1 with *e stops. */
    int (*text)(void *arg, const char *text, size_t len, struct err *e);
    void *arg;
    bool is_over;                       /* message_stop has come: it is whole */
    bool has_text;                      /* some was told */
    char stop_reason[MESSAGE_WORD_MAX]; /* "" = not told */
    char model[MESSAGE_WORD_MAX];
};

/* One event. -1: ERR_BUSY for an error event after which another try may
 * succeed, ERR_PEER for any other one, or what `text` said. */
int message_event(struct message *m, const struct json *event, struct err *e);
/* The same as text; ERR_PEER when it is no JSON. */
int message_parse(struct message *m, const char *json, size_t len,
                  struct err *e);
/* "its answer was cut …" for a stop reason that is no whole answer; NULL for
 * one that is. */
const char *message_note(const struct message *m);
/* {"error": {"type", "message"}}: both into one line; false: it is none. */
bool message_error(const struct json *j, char *out, size_t size);
/* May another try succeed after an error of this type? */
bool message_is_passing(const char *type);

#endif
