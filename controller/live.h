/*
 * The sessions that have not ended: what the launcher tells of each is
 * written to its record in order, one write at a time (what comes meanwhile
 * is gathered into the next), and each is held to its start timeout and its
 * last deadline. Loop thread only.
 */
#ifndef PODTERM_CONTROLLER_LIVE_H
#define PODTERM_CONTROLLER_LIVE_H

#include "base/store.h"
#include "controller/launcher.h"

#include <stdbool.h>

struct app;
struct live;

struct live *live_new(struct app *app);
void live_free(struct live *l);
/* What the launcher's sink is to be. */
struct launch_sink live_sink(struct live *l);

/* A new session: hands what to the launcher, unless it has it already. */
void live_start(struct live *l, const struct store_session *row,
                struct launch *what);
/* One of an earlier process; trusted and what (taken) as in launcher.h. */
void live_take_up(struct live *l, const struct store_session *row,
                  const char *trusted, struct launch *what);
/* Another controller has changed the record: do what it asks for. what
 * (taken; NULL = none): the session is to be started, if nobody has. */
void live_follow(struct live *l, const struct store_session *row,
                 const char *trusted, struct launch *what);
/* From now on records that the store has lost are written anew. */
void live_watch_records(struct live *l);
/* Forget all, without a word: another controller goes on with them. */
void live_rest(struct live *l);
/* DELETE: the agent is asked to end it, and after CONTROL_MS the launcher. */
void live_delete(struct live *l, const char *sid);
/* The record's list of viewers has changed: the agent is told, again and
 * again until it has heard; at once, or TELL_GAP_MS after the last time. */
void live_viewers(struct live *l, const char *sid);
/* End all now; stopped (on the loop) when the last record is written. */
void live_stop(struct live *l, void (*stopped)(void *arg), void *arg);
int live_count(const struct live *l);

#endif
