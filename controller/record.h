/*
 * What a session's Job keeps of its row, as text for the annotation: enough to
 * write the row anew when the store has lost it. It holds what does not change
 * once the session is there and no secret, environment or command; viewers as
 * they were at the start. A MAC under a key of ours stands at its end, so that
 * who may write Jobs, but does not have our keys, cannot make a session
 * somebody else's; it is judged before anything is read.
 */
#ifndef PODTERM_CONTROLLER_RECORD_H
#define PODTERM_CONTROLLER_RECORD_H

#include "base/store.h"
#include "controller/keys.h"

#define RECORD_MAX 16384             /* bytes of the text */
#define RECORD_VERSION 1             /* "v" */
#define RECORD_INFO "podterm record" /* HKDF: session secret to MAC key */

/* The text, the caller's. Viewers whose names do not fit are left out. */
char *record_text(const struct store_session *row, const char *installation,
                  const struct keys *keys);

/*
 * The row of a session that runs, as at its start: pending, admitted, its key
 * sealed anew. text: the annotation of the Job of session sid; NULL = none.
 *
 * returns 0 or -1: ERR_DENIED it is not ours, or another session's or
 *         installation's; ERR_INPUT ours, but of a form not known here
 */
int record_parse(const char *text, const char *sid, const char *installation,
                 const struct keys *keys, struct store_session *out,
                 struct err *e);
/* Does it name an installation that is not this one? Anybody may have written
 * that: enough to leave it alone, and for nothing else. NULL = it does not. */
bool record_is_anothers(const char *text, const char *installation);

#endif
