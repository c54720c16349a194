/*
 * A session's record in words for people: short, and escaped.
 */
#ifndef PODTERM_CLIENT_SESSIONS_H
#define PODTERM_CLIENT_SESSIONS_H

#include "base/json.h"

#include <stdint.h>

#define SESSIONS_WORD_MAX 64
#define SESSIONS_TEXT_MAX 256

struct sessions_row {
    char id[SESSIONS_WORD_MAX];
    char state[SESSIONS_WORD_MAX];
    char age[24];                    /* "3s", "5m", "2h", "4d", or "-" */
    char created[SESSIONS_WORD_MAX]; /* as the server says it */
    char bundle[SESSIONS_TEXT_MAX];  /* the last part of its path */
    char end[SESSIONS_WORD_MAX];     /* "exited 3", "signal 9", "idle" or "" */
};

void sessions_row(const struct json *session, int64_t now_s,
                  struct sessions_row *out);

#endif
