/*
 * How a session is doing, on stderr: the stages of its start as they happen,
 * a connection lost and found, its end. On a terminal one line a stage,
 * rewritten while it goes on; else plain lines; or JSON, one event a line.
 * While the program has the terminal, what must be said leaves its screen as
 * it is: it stands in the terminal's title, or, when the program draws on the
 * alternate screen and will draw it anew when asked, in the corner of the first
 * row, with the cursor where it was. What the user asked for is a line of its
 * own where there is no such corner.
 * All text of the server is escaped.
 */
#ifndef PODTERM_CLIENT_PROGRESS_H
#define PODTERM_CLIENT_PROGRESS_H

#include "client/modes.h"
#include "client/reply.h"

#include <stdbool.h>
#include <stdint.h>

#define PROGRESS_BACK_MS 4000 /* how long it is told that all is well again */
#define PROGRESS_NOTICE_MS 20000 /* how long a sentence of the server stands */
#define PROGRESS_PLAIN_MS 5000   /* between plain lines on one stage */

enum progress_kind {
    PROGRESS_QUIET, /* nothing but what went wrong */
    PROGRESS_PLAIN,
    PROGRESS_TERMINAL,
    PROGRESS_JSON,
};

struct progress;

/* fd is borrowed. color: NO_COLOR and TERM are the caller's to judge. */
struct progress *progress_new(int fd, enum progress_kind kind, bool color);
void progress_free(struct progress *p); /* takes NULL */
/* The kind and color that fit fd and the environment. */
struct progress *progress_for(int fd, bool is_json, bool is_quiet);

void progress_session(struct progress *p, const char *sid);
void progress_stage(struct progress *p, const struct reply_stage *st,
                    int64_t now_ms);
/* READY came for the first time. */
void progress_ready(struct progress *p, const struct reply_ready *r);
/* How the user gets out of what begins now; ESCAPE_NONE: not at all. */
void progress_way_out(struct progress *p, int escape_key);
/* The user watches only. */
void progress_viewer(struct progress *p);
/* The program's output begins. raw: the terminal is the program's, and what it
 * has made of it stands in screen (borrowed; of no use otherwise). */
void progress_begin(struct progress *p, bool raw, const struct modes *screen);
/* A key that interrupts was typed while stages are shown: its echo stands in
 * the line. */
void progress_interrupted(struct progress *p);
/* The terminal is ours again. Safe to call again. */
void progress_finish(struct progress *p);

/* can_leave: Ctrl-C leaves now */
void progress_lost(struct progress *p, const char *why, bool can_leave);
void progress_back(struct progress *p, uint64_t skipped);
/* Something was typed, and nothing has come for that long; how to leave, or
 * ESCAPE_NONE. */
void progress_slow(struct progress *p, int64_t ms, int escape_key);
/* A sentence of the server or of ours. */
void progress_notice(struct progress *p, const char *text);
/* What the user asked for by a key; shorter as of a narrow terminal. */
void progress_asked(struct progress *p, const char *text, const char *shorter);
/* The shell has the terminal now: nothing is said beside the program until it
 * has it again. */
void progress_suspended(struct progress *p);
void progress_resumed(struct progress *p);
/* How long what one of the above said is to stand; 0 = nothing stands, -1 =
 * until it is no longer true. */
int64_t progress_stands_ms(const struct progress *p);
/* Take it away. true: cells were written to, so the program should draw. */
bool progress_clear(struct progress *p);
/* The end: a word and a status for JSON, a sentence ("" = none) for people. */
void progress_end(struct progress *p, const struct reply_end *end, int status,
                  const char *sentence);
/* The user left, the session goes on: a sentence. */
void progress_detached(struct progress *p, const char *sid, const char *text);
/* podterm gives up: a sentence. */
void progress_failed(struct progress *p, const char *text);

#endif
